/* Signing keys: the seal, the law of their life in virtual time, the table, and the signer's wall.
 */
#include "store/keys.h"

#include <sqlite3.h>
#include <unistd.h>

#include "auth/dkim_crypto.h"
#include "core/clock.h"
#include "store/asks.h"
#include "store/settings.h"
#include "store/signer.h"
#include "store/store.h"
#include "tap.h"

static char dir[] = "/tmp/test_store_keys.XXXXXX";

static void
test_seal(void)
{
    char line[SEAL_MASTER_TEXT], other_line[SEAL_MASTER_TEXT];
    struct seal_master m, other;
    struct buf sealed, clear, moved;

    IS(seal_master_make(line), 0, "a master key");
    IS(seal_master_make(other_line), 0, "and another");
    OK(strcmp(line, other_line) != 0, "they differ");
    IS(seal_master_parse(str_c(line), &m), 0, "its line is read");
    IS(seal_master_parse(str_c(other_line), &other), 0, "the other's too");
    IS(seal_master_parse(STR("gapura-master-key-1 AAAA\n"), &(struct seal_master){0}), ERR_SYNTAX,
       "too short");
    IS(seal_master_parse(STR(""), &(struct seal_master){0}), ERR_SYNTAX, "an empty file");
    buf_init(&sealed, 1000);
    buf_init(&clear, 1000);
    buf_init(&moved, 1000);
    IS(seal_close(&m, STR("a\0s\0t"), STR("secret"), &sealed), 0, "sealed");
    OK(str_find(buf_view(&sealed), STR("secret")) < 0, "not to be seen");
    IS(seal_open(&m, STR("a\0s\0t"), buf_view(&sealed), &clear), 0, "opened");
    TEXT(buf_view(&clear), "secret", "as it was");
    buf_clear(&clear);
    IS(seal_open(&m, STR("b\0s\0t"), buf_view(&sealed), &clear), ERR_CORRUPT, "of another domain");
    IS(seal_open(&m, STR("a\0s\0u"), buf_view(&sealed), &clear), ERR_CORRUPT, "of another tenant");
    IS(seal_open(&other, STR("a\0s\0t"), buf_view(&sealed), &clear), ERR_REFUSED,
       "under another master key");
    for (size_t i = 0; i < sealed.n; i++) {
        sealed.p[i] ^= 1;
        if (seal_open(&m, STR("a\0s\0t"), buf_view(&sealed), &clear) == 0)
            OK(false, "byte %zu may be changed", i);
        IS(seal_open(&m, STR("a\0s\0t"), str_sub(buf_view(&sealed), 0, i), &clear), ERR_CORRUPT,
           "cut at %zu", i);
        sealed.p[i] ^= 1;
    }
    IS(clear.n, 0, "nothing of it came out");
    seal_wipe(&sealed);
    seal_wipe(&clear);
    seal_wipe(&moved);
}

#define DAY 86400u
static const struct keys_times times = {.settle = 600, .grace = 7 * DAY};

/* Lets the law act; *now stays. */
static void
act(struct keys_fact *f, unsigned n, uint64_t now)
{
    enum keys_step steps[8];

    keys_law(f, n, &times, now, steps);
    for (unsigned i = 0; i < n; i++) {
        if (steps[i] == KEYS_STAY)
            continue;
        f[i].state = steps[i] == KEYS_ACTIVATE ? KEYS_ACTIVE
                     : steps[i] == KEYS_RETIRE ? KEYS_RETIRING
                                               : KEYS_RETIRED;
        f[i].since = now;
    }
}

static void
test_law(void)
{
    struct keys_fact f[3] = {{.state = KEYS_WAITING, .number = 1, .since = 1000}};
    uint64_t now = 2000;

    act(f, 1, now);
    IS(f[0].state, KEYS_WAITING, "not seen: it waits");
    f[0].seen = now;
    act(f, 1, now + 599);
    IS(f[0].state, KEYS_WAITING, "seen: others may not have it yet");
    act(f, 1, now - 1000);
    IS(f[0].state, KEYS_WAITING, "a clock that was set back");
    act(f, 1, now += 600);
    IS(f[0].state, KEYS_ACTIVE, "settled: it signs");

    f[1] = (struct keys_fact){.state = KEYS_WAITING, .number = 2, .since = now};
    act(f, 2, now += 30 * DAY);
    OK(f[0].state == KEYS_ACTIVE && f[1].state == KEYS_WAITING, "rotated: the old one goes on");
    f[1].seen = now;
    f[1].seen = 0; /* and gone again before it settled */
    act(f, 2, now += DAY);
    OK(f[0].state == KEYS_ACTIVE && f[1].state == KEYS_WAITING, "a record that went again");
    f[1].seen = now;
    act(f, 2, now += 600);
    OK(f[0].state == KEYS_RETIRING && f[1].state == KEYS_ACTIVE, "both in one step");
    act(f, 2, now + 7 * DAY - 1);
    IS(f[0].state, KEYS_RETIRING, "its record is still needed");
    act(f, 2, now + 7 * DAY);
    IS(f[0].state, KEYS_RETIRED, "grace is over");
    IS(f[1].state, KEYS_ACTIVE, "the other signs on");

    /* An operator activates an old one while a newer waits unseen; then the newer is seen. */
    f[0] = (struct keys_fact){.state = KEYS_ACTIVE, .number = 3, .since = now, .seen = 1};
    f[1] = (struct keys_fact){.state = KEYS_ACTIVE, .number = 4, .since = now - 5, .seen = 1};
    f[2] = (struct keys_fact){.state = KEYS_WAITING, .number = 2, .since = 1, .seen = 1};
    act(f, 3, now);
    OK(f[0].state == KEYS_ACTIVE && f[1].state == KEYS_RETIRING, "what began to sign last stays");
    IS(f[2].state, KEYS_WAITING, "an older key never follows a newer one by itself");

    /* Each algorithm has its own succession. */
    f[0] = (struct keys_fact){.state = KEYS_ACTIVE, .alg = KEYS_RSA, .number = 1, .since = now};
    f[1] = (struct keys_fact){
        .state = KEYS_WAITING, .alg = KEYS_ED25519, .number = 2, .since = now, .seen = now};
    act(f, 2, now + DAY);
    OK(f[0].state == KEYS_ACTIVE && f[1].state == KEYS_ACTIVE, "RSA and Ed25519 sign together");
}

static int
count_row(void *ctx, const struct keys_row *k)
{
    unsigned *n = ctx;

    (void)k;
    ++*n;
    return 0;
}

static struct conf *
parse(const char *text)
{
    static const struct conf_block *const blocks[] = {&settings_main_block, &settings_tenant_block,
                                                      &settings_dkim_block};
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    struct conf *conf = NULL;

    texts.items[0] = (struct conf_text){STR("/t.conf"), str_c(text)};
    texts.n = 1;
    conf_parse(&conf, &texts, blocks, ARRAY_LEN(blocks), 1, &errs);
    OK(conf, "settings");
    conf_errors_done(&errs);
    return conf;
}

/* --- the signer, with the real keys behind it --- */

static int
make(uint8_t alg, unsigned bits, void **ret)
{
    return dkim_private_make((enum dkim_alg)alg, bits, (struct dkim_private **)ret);
}

static int
load(struct str text, void **ret, struct str *why)
{
    return dkim_private_load(text, (struct dkim_private **)ret, why);
}

static int
clone_key(const void *key, void **ret)
{
    return dkim_private_clone(key, (struct dkim_private **)ret);
}

static void
free_key(void *key)
{
    dkim_private_free(key);
}

static uint8_t
alg_of(const void *key)
{
    return (uint8_t)dkim_private_alg(key);
}

static unsigned
bits_of(const void *key)
{
    return dkim_private_bits(key);
}

static int
text_of(const void *key, struct buf *out)
{
    return dkim_private_text(key, out);
}

static ssize_t
public_of(const void *key, char *dst, size_t cap)
{
    return dkim_private_public(key, dst, cap);
}

static ssize_t
sign(void *key, uint8_t alg, const uint8_t *digest, size_t n, uint8_t *dst, size_t cap)
{
    return dkim_private_sign(key, (enum dkim_alg)alg, digest, n, dst, cap);
}

static const struct signer_crypto crypto = {make,    load,    clone_key, free_key, alg_of,
                                            bits_of, text_of, public_of, sign};

static struct loop *loop;
static struct chan *asker, *at_signer;
static struct signer *signer;
static struct {
    unsigned n;
    bool good;
    char public[2048], sealed[8192];
    size_t sealed_n;
    uint8_t status[SIGN_MAX];
    size_t signature_n[SIGN_MAX];
    uint8_t signature[1024];
    unsigned nitems;
} got;

static void
asker_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    (void)id;
    (void)fd;
    got.n++;
    if (type == ASK_KEY_ANSWER) {
        struct str s;

        got.good = wire_u8(body);
        s = wire_str(body);
        wire_u8(body);
        wire_u16(body);
        s = wire_str(body);
        OK(str_copy(s, got.public, sizeof(got.public)), "public half");
        s = wire_str(body);
        got.sealed_n = MIN(s.n, sizeof(got.sealed));
        memcpy(got.sealed, s.p, got.sealed_n);
    } else {
        IS(type, ASK_SIGN_ANSWER, "an answer");
        got.nitems = wire_u16(body);
        for (unsigned i = 0; i < got.nitems; i++) {
            struct str s;

            got.status[i] = wire_u8(body);
            s = wire_str(body);
            got.signature_n[i] = s.n;
            if (s.n)
                memcpy(got.signature, s.p, s.n);
        }
    }
    OK(wire_end(body), "whole");
}

static void
signer_got(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    (void)fd;
    OK(signer_message(signer, at_signer, type, id, body), "its type");
}

static void
closed(void *ctx)
{
    (void)ctx;
}

static void
wait_answer(void)
{
    unsigned before = got.n;

    while (got.n == before)
        loop_once(loop, true);
}

static void
ask_make(const char *domain, const char *tenant, uint8_t alg, unsigned bits)
{
    struct buf b;

    buf_init(&b, 1000);
    put_str(&b, str_c(domain));
    put_str(&b, STR("s"));
    put_str(&b, str_c(tenant));
    put_u8(&b, alg);
    put_u16(&b, (uint16_t)bits);
    put_str(&b, STR_NONE);
    chan_send(asker, ASK_KEY_MAKE, 1, &b, -1);
    buf_done(&b);
    wait_answer();
}

static uint8_t
ask_sign(uint32_t tenant, const char *domain)
{
    uint8_t digest[32] = {1, 2, 3};
    struct buf b;

    buf_init(&b, 1000);
    put_u32(&b, tenant);
    put_u16(&b, 1);
    put_str(&b, str_c(domain));
    put_str(&b, STR("s"));
    put_str(&b, str_of(digest, 32));
    chan_send(asker, ASK_SIGN, 2, &b, -1);
    buf_done(&b);
    wait_answer();
    return got.status[0];
}

static void
add_key(struct store *store, const char *domain, const char *tenant, uint8_t alg)
{
    struct why why = {{0}};

    ask_make(domain, tenant, alg, 1024);
    OK(got.good, "a key for %s", domain);
    IS(keys_add(store,
                &(struct keys_row){.domain = str_c(domain),
                                   .selector = STR("s"),
                                   .tenant = str_c(tenant),
                                   .public = str_c(got.public),
                                   .sealed = str_of(got.sealed, got.sealed_n),
                                   .state = KEYS_ACTIVE,
                                   .created = 1,
                                   .since = 1,
                                   .alg = alg},
                &why),
       0, "stored %s", why.text);
}

static unsigned nleft;

static void
left_out(void *ctx, const struct keys_row *k, const char *why)
{
    (void)ctx;
    OK(k->selector.n && why[0], "left out: %s", why);
    nleft++;
}

static int
publish(struct store *store, const struct conf *conf, bool sealed, uint64_t generation)
{
    struct snapshot_builder *b = snapshot_build(generation);

    IS(keys_publish(store, conf, b, sealed, left_out, NULL), 0, "published");
    return snapshot_finish(b);
}

static void
damaged_rows(struct store *store, const struct conf *conf)
{
    struct snapshot index;
    struct keys_set set;

    /* A row that no program of ours wrote takes no other key with it. */
    IS(sqlite3_exec(store_db(store),
                    "UPDATE dkim_keys SET domain = replace(hex(zeroblob(200)), '0', 'x') WHERE "
                    "domain = 'stolen.example'; UPDATE dkim_keys SET alg = 9 WHERE domain = "
                    "'lost.example'",
                    NULL, NULL, NULL),
       SQLITE_OK, "damaged");
    IS(signer_set_snapshot(signer, publish(store, conf, true, 6)), 0, "published");
    IS(nleft, 2, "without the two");
    IS(ask_sign(8, "b.example"), SIGN_DONE, "the others sign");
    IS(snapshot_map(&index, publish(store, conf, false, 7)), 0, "the index, too");
    OK(keys_find(&index, STR("b.example"), &set) && !keys_find(&index, STR("lost.example"), &set),
       "without it");
    snapshot_unmap(&index);
}

static void
two_owners(struct store *store)
{
    struct why why = {{0}};

    /* Two that add keys at the same time, for two owners. */
    for (unsigned i = 0; i < 2; i++)
        IS(keys_add(store,
                    &(struct keys_row){.domain = STR("two.example"),
                                       .selector = i ? STR("s2") : STR("s1"),
                                       .tenant = i ? STR("b") : STR("a"),
                                       .sealed = STR("x")},
                    &why),
           i ? ERR_EXISTS : 0, "the first has it");
    OK(strstr(why.text, "another owner"), "and the second is told: %s", why.text);
    IS(keys_add(store,
                &(struct keys_row){.domain = STR("two.example"),
                                   .selector = STR("s2"),
                                   .tenant = STR("a"),
                                   .sealed = STR("x")},
                &why),
       0, "the owner may");
    for (unsigned i = 0; i < 20; i++) {
        char selector[8];

        str_fmt(selector, sizeof(selector), "m%u", i);
        IS(keys_add(store,
                    &(struct keys_row){.domain = STR("two.example"),
                                       .selector = str_c(selector),
                                       .tenant = STR("a"),
                                       .sealed = STR("x")},
                    &why),
           i < KEYS_PER_DOMAIN - 2 ? 0 : ERR_LIMIT, "key %u", i + 3);
    }
}

static void
moved_key(struct store *store, const struct conf *conf)
{
    struct snapshot index;
    struct keys_sealed sealed;
    struct why why = {{0}};

    /* A keeper that moves a sealed key to a tenant's domain gains nothing. */
    IS(snapshot_map(&index, publish(store, conf, true, 2)), 0, "a snapshot");
    OK(keys_sealed_find(&index, STR("own.example"), STR("s"), &sealed), "a sealed key");
    IS(keys_add(store,
                &(struct keys_row){.domain = STR("stolen.example"),
                                   .selector = STR("s"),
                                   .sealed = sealed.sealed,
                                   .state = KEYS_ACTIVE,
                                   .alg = KEYS_RSA},
                &why),
       0, "stored under another name");
    snapshot_unmap(&index);
    IS(signer_set_snapshot(signer, publish(store, conf, true, 3)), 0, "published");
    IS(ask_sign(0, "stolen.example"), SIGN_BROKEN, "does not open there");
}

static void
test_signer(void)
{
    static const struct chan_ops asks = {asker_message, closed}, signs = {signer_got, closed};
    struct conf *conf =
        parse("hostname = h.example\ntenant a {\n number = 7\n}\ntenant b {\n number = 8\n}\n"
              "dkim {\n platform = platform.example\n}\n");
    char line[SEAL_MASTER_TEXT], path[200];
    struct seal_master master;
    struct store *store = NULL;
    struct snapshot index;
    struct keys_set set;
    struct keys_sealed sealed;
    struct why why = {{0}};
    unsigned n = 0;
    int pair[2];

    loop = loop_create();
    OK(chan_pair(pair) == 0, "a channel");
    asker = chan_create(loop, pair[0], &asks, NULL);
    at_signer = chan_create(loop, pair[1], &signs, NULL);
    seal_master_make(line);
    seal_master_parse(str_c(line), &master);
    signer = signer_create(
        &(struct signer_links){.loop = loop, .crypto = &crypto, .master = &master}, conf);
    str_fmt(path, sizeof(path), "%s/store.db", dir);
    IS(store_open(&store, path, &why), 0, "a store %s", why.text);
    add_key(store, "a.example", "a", KEYS_RSA);
    OK(keys_record_compare(STR("v=DKIM1; p=AAAA"),
                           &(struct keys_row){.public = str_c(got.public)}) == KEYS_DIFFERENT,
       "another key in DNS");
    add_key(store, "b.example", "b", KEYS_ED25519);
    add_key(store, "own.example", "", KEYS_RSA);
    add_key(store, "platform.example", "", KEYS_RSA);
    add_key(store, "lost.example", "gone", KEYS_RSA);
    IS(keys_each(store, STR_NONE, count_row, &n), 0, "listed");
    IS(n, 5, "all of them");

    IS(ask_sign(7, "a.example"), SIGN_UNKNOWN, "before the snapshot");
    IS(signer_set_snapshot(signer, publish(store, conf, true, 1)), 0, "the keyring's snapshot");
    IS(ask_sign(7, "a.example"), SIGN_DONE, "a tenant signs for its domain");
    IS(got.signature_n[0], 128, "RSA of 1024 bits");
    IS(ask_sign(8, "b.example"), SIGN_DONE, "the other for its own");
    IS(got.signature_n[0], 64, "Ed25519");
    IS(ask_sign(8, "a.example"), SIGN_REFUSED, "another tenant's mail");
    IS(ask_sign(0, "a.example"), SIGN_REFUSED, "the system's mail");
    IS(ask_sign(7, "own.example"), SIGN_REFUSED, "a tenant with the system's key");
    IS(ask_sign(0, "own.example"), SIGN_DONE, "the system with its own");
    IS(ask_sign(8, "platform.example"), SIGN_DONE, "the platform signs all mail");
    IS(ask_sign(0, "lost.example"), SIGN_REFUSED, "a tenant that the settings do not have");
    IS(ask_sign(0, "none.example"), SIGN_UNKNOWN, "no such key");

    moved_key(store, conf);
    IS(snapshot_map(&index, publish(store, conf, false, 4)), 0, "the index for all");
    OK(keys_any(&index), "is not empty");
    OK(!keys_sealed_find(&index, STR("own.example"), STR("s"), &sealed), "holds no sealed key");
    OK(keys_find(&index, STR("a.example"), &set) && set.n == 1 && set.items[0].tenant == 7,
       "a tenant's key");
    OK(keys_find(&index, STR("lost.example"), &set) && set.items[0].tenant == KEYS_NO_TENANT,
       "nobody's key");
    OK(!keys_find(&index, STR("none.example"), &set), "none");
    snapshot_unmap(&index);
    IS(keys_change(store, STR("a.example"), STR("s"), KEYS_RETIRED, 9, STR_NONE, &why), 0,
       "retired");
    IS(signer_set_snapshot(signer, publish(store, conf, true, 5)), 0, "published");
    IS(ask_sign(7, "a.example"), SIGN_UNKNOWN, "and erased");
    IS(keys_change(store, STR("a.example"), STR("s"), KEYS_ACTIVE, 9, STR_NONE, &why), ERR_NOTFOUND,
       "never again");

    damaged_rows(store, conf);
    two_owners(store);

    signer_free(signer);
    chan_free(asker);
    chan_free(at_signer);
    loop_free(loop);
    store_close(store);
    conf_free(conf);
}

static void
test_names(void)
{
    char room[256];
    struct str s;

    OK(keys_domain(STR("Ex-ample.COM"), room, &s) == 0, "a domain");
    TEXT(s, "ex-ample.com", "in lower case");
    OK(keys_domain(STR("m\xc3\xbcller.de"), room, &s) == 0, "an international one");
    TEXT(s, "xn--mller-kva.de", "in A-labels");
    OK(keys_domain(STR("a b"), room, &s) < 0 && keys_domain(STR(""), room, &s) < 0, "none");
    OK(keys_selector_ok(STR("g20261123r")) && !keys_selector_ok(STR("a.b")) &&
           !keys_selector_ok(STR("-a")) && !keys_selector_ok(STR("A")) &&
           !keys_selector_ok(STR("")),
       "selectors");
    {
        struct keys_row k = {.alg = KEYS_ED25519, .public = STR("AB==")};

        OK(keys_record_compare(STR("v=DKIM1; k=ed25519; p=A B==;"), &k) == KEYS_PUBLISHED, "same");
        OK(keys_record_compare(STR("v=DKIM1; p=AB=="), &k) == KEYS_DIFFERENT, "of another type");
        OK(keys_record_compare(STR("v=DKIM1; k=ed25519; p="), &k) == KEYS_DIFFERENT, "revoked");
        OK(keys_record_compare(STR("v=spf1 -all"), &k) == KEYS_MISSING, "something else");
    }
}

int
main(void)
{
    char path[220];

    if (!mkdtemp(dir))
        return 1;
    test_seal();
    test_law();
    test_names();
    test_signer();
    for (unsigned i = 0; i < 3; i++) {
        str_fmt(path, sizeof(path), "%s/store.db%s", dir, i == 0 ? "" : i == 1 ? "-wal" : "-shm");
        unlink(path);
    }
    rmdir(dir);
    return tap_done();
}
