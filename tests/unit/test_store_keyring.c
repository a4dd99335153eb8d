/* The keyring over a channel: logins of every mechanism, ceilings, expiry, rubbish. */
#include "store/keyring.h"

#include <unistd.h>

#include "core/clock.h"
#include "net/sasl.h"
#include "store/asks.h"
#include "store/settings.h"
#include "store/snapshot.h"
#include "tap.h"

static const struct conf_block *const blocks[] = {&settings_main_block, &settings_auth_block};

struct got {
    unsigned n;
    uint64_t id;
    uint8_t result;
    char data[2048], user[300];
    size_t ndata;
};
static struct loop *loop;
static struct keyring *keyring;
static struct chan *gate, *at_keyring, *keeper, *to_keeper;
static struct got got;
static bool timed_out, gone;

static void
gate_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct str data, user;

    (void)ctx;
    (void)fd;
    if (type != ASK_AUTH_ANSWER)
        return;
    got.n++;
    got.id = id;
    got.result = wire_u8(body);
    data = wire_str(body);
    user = wire_str(body);
    got.ndata = MIN(data.n, sizeof(got.data));
    if (got.ndata)
        memcpy(got.data, data.p, got.ndata);
    str_fmt(got.user, sizeof(got.user), "%.*s", STR_ARG(user));
    OK(wire_end(body), "a whole answer");
}

static void
keyring_got(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)fd;
    OK(keyring_message(keyring, *(struct chan **)ctx, type, id, body), "type %#x is its", type);
}

/* A keeper whose Dovecot knows dove:coo. */
static void
keeper_message_got(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct str mech = wire_str(body), user = wire_str(body), password = wire_str(body);
    bool good = str_eq(password, STR("coo"));
    struct buf out;

    (void)ctx;
    (void)fd;
    buf_init(&out, 1000);
    IS(type, ASK_PASSWORD, "the keeper is asked");
    if (str_eq(mech, STR("OAUTHBEARER")))
        good = str_find(password, STR("auth=Bearer good\1")) >= 0;
    put_u8(&out, str_eq(user, STR("dove")) && good ? AUTH_ANSWER_OK : AUTH_ANSWER_FAIL);
    put_str(&out, STR("Dove@example.com"));
    chan_send(keeper, ASK_PASSWORD_ANSWER, id, &out, -1);
    buf_done(&out);
}

static void
closed(void *ctx)
{
    (void)ctx;
    gone = true;
}

static void
on_timeout(void *ctx)
{
    (void)ctx;
    timed_out = true;
}

/* Turns the loop until there is another answer; false after 20 s. */
static bool
wait_answer(void)
{
    struct loop_timer t;
    unsigned before = got.n;

    timed_out = false;
    loop_timer_init(&t, loop, on_timeout, NULL);
    loop_timer_set(&t, 20 * NS_PER_S);
    while (got.n == before && !timed_out)
        loop_once(loop, true);
    loop_timer_stop(&t);
    return !timed_out;
}

static bool plus; /* the gate's listener has TLS */

static void
send_start(uint64_t session, const char *mech, struct str initial)
{
    struct buf b;

    buf_init(&b, 60000);
    put_u64(&b, session);
    put_str(&b, str_c(mech));
    put_u8(&b, initial.p != NULL);
    put_str(&b, initial);
    put_u8(&b, plus);
    put_str(&b, STR_NONE);
    put_str(&b, plus ? STR("hash of a certificate") : STR_NONE);
    chan_send(gate, ASK_AUTH_START, session * 10, &b, -1);
    buf_done(&b);
}

static void
send_step(uint64_t session, struct str response)
{
    struct buf b;

    buf_init(&b, 60000);
    put_u64(&b, session);
    put_str(&b, response);
    chan_send(gate, ASK_AUTH_STEP, session * 10 + 1, &b, -1);
    buf_done(&b);
}

/* A whole login by the client's side; the last answer is in `got`. */
static void
login(uint64_t session, const char *mech, const char *user, const char *password)
{
    struct sasl_client *c = sasl_client_create(str_c(mech), str_c(user), str_c(password), true);
    struct buf out;
    enum sasl_result r;

    buf_init(&out, 10000);
    r = sasl_client_step(c, STR_NONE, &out);
    send_start(session, mech, out.n || !strcmp(mech, "PLAIN") ? buf_view(&out) : STR_NONE);
    while (wait_answer() && got.result == AUTH_ANSWER_CHALLENGE && r != SASL_FAIL) {
        buf_clear(&out);
        r = sasl_client_step(c, str_of(got.data, got.ndata), &out);
        send_step(session, buf_view(&out));
    }
    if (got.result == AUTH_ANSWER_OK && got.ndata) {
        buf_clear(&out);
        IS(sasl_client_step(c, str_of(got.data, got.ndata), &out), SASL_OK,
           "the server proved itself");
    }
    sasl_client_free(c);
    buf_done(&out);
}

static void
test_mechanisms(void)
{
    static const char *const mechs[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256"};
    uint64_t session = 100;

    for (size_t i = 0; i < ARRAY_LEN(mechs); i++) {
        login(session++, mechs[i], "Alice@Example.com", "secret");
        IS(got.result, AUTH_ANSWER_OK, "%s: right", mechs[i]);
        TEXT(str_c(got.user), "alice@example.com", "the login as it is stored");
        login(session++, mechs[i], "alice@example.com", "wrong");
        IS(got.result, AUTH_ANSWER_FAIL, "%s: wrong password", mechs[i]);
        login(session++, mechs[i], "nobody", "secret");
        IS(got.result, AUTH_ANSWER_FAIL, "%s: nobody", mechs[i]);
    }
    IS(keyring_exchanges(keyring), 0, "nothing stays open");
}

static void
test_rubbish(void)
{
    static const char long_text[20000] = "x";

    send_start(1, "NTLM", STR_NONE);
    OK(wait_answer() && got.result == AUTH_ANSWER_FAIL && got.id == 10, "unknown mechanism");
    send_start(2, "PLAIN", str_of(long_text, sizeof(long_text)));
    OK(wait_answer() && got.result == AUTH_ANSWER_FAIL, "too long");
    send_start(3, "SCRAM-SHA-256", STR("n,,rubbish"));
    OK(wait_answer() && got.result == AUTH_ANSWER_FAIL, "no SCRAM");
    send_step(4, STR("x"));
    OK(wait_answer() && got.result == AUTH_ANSWER_TEMP, "a step of nothing");
    send_start(6, "PLAIN", STR(""));
    OK(wait_answer() && got.result == AUTH_ANSWER_FAIL && got.id == 60, "empty response");
}

static void
test_life(const struct conf *few)
{
    struct buf b;

    keyring_set_conf(keyring, few);
    for (uint64_t i = 0; i < 4; i++) {
        send_start(200 + i, "LOGIN", STR_NONE);
        OK(wait_answer(), "answered");
        IS(got.result, i < 3 ? AUTH_ANSWER_CHALLENGE : AUTH_ANSWER_TEMP, "login %d of 3", (int)i);
    }
    IS(keyring_exchanges(keyring), 3, "three are open");
    buf_init(&b, 100);
    put_u64(&b, 200);
    chan_send(gate, ASK_AUTH_CANCEL, 0, &b, -1);
    buf_done(&b);
    send_start(201, "LOGIN", STR_NONE); /* the same number again begins anew */
    OK(wait_answer() && got.result == AUTH_ANSWER_CHALLENGE, "begun anew");
    IS(keyring_exchanges(keyring), 2, "one was cancelled");
    send_start(300, "PLAIN", STR("\0alice@example.com\0secret"));
    while (keyring_exchanges(keyring) < 3)
        loop_once(loop, true);
    keyring_lost(keyring, at_keyring); /* while its password is being checked */
    IS(keyring_exchanges(keyring), 0, "a lost gate leaves nothing");
    send_start(302, "LOGIN", STR_NONE);
    OK(wait_answer(), "the next one is served");
    timed_out = false;
    while (keyring_exchanges(keyring) && !timed_out)
        loop_once(loop, true);
    IS(keyring_exchanges(keyring), 0, "expired after a second");
}

static struct conf *
parse(const char *text)
{
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    struct conf *conf = NULL;

    texts.items[0] = (struct conf_text){STR("test.conf"), str_c(text)};
    texts.n = 1;
    conf_parse(&conf, &texts, blocks, ARRAY_LEN(blocks), 1, &errs);
    OK(conf, "settings");
    conf_errors_done(&errs);
    return conf;
}

static int
make_snapshot(void)
{
    struct snapshot_builder *b = snapshot_build(1);
    struct sasl_verifier v;
    char text[SASL_VERIFIER_TEXT];

    sasl_verifier_make(STR("secret"), 4096, &v);
    sasl_verifier_show(&v, text);
    snapshot_add(b, SNAPSHOT_VERIFIER, STR("alice@example.com"), str_c(text));
    return snapshot_finish(b);
}

int
main(void)
{
    static const struct chan_ops gate_ops = {gate_message, closed},
                                 keyring_ops = {keyring_got, closed},
                                 keeper_ops = {keeper_message_got, closed};
    struct conf *plain = parse("hostname = h.example\n");
    struct conf *few = parse("hostname = h.example\nauth {\n max_exchanges = 3\n"
                             " exchange_timeout = 1s\n}\n");
    struct conf *dovecot = parse("hostname = h.example\nauth {\n passwords = dovecot\n}\n");
    struct conf *bearer = parse("hostname = h.example\nauth {\n passwords = dovecot\n"
                                " mechanisms = PLAIN, OAUTHBEARER\n}\n");
    struct keyring_links links;
    struct why why = {{0}};
    struct buf cut;
    int a[2], b[2];

    loop = loop_create();
    chan_pair(a);
    chan_pair(b);
    gate = chan_create(loop, a[0], &gate_ops, NULL);
    at_keyring = chan_create(loop, a[1], &keyring_ops, &at_keyring);
    keeper = chan_create(loop, b[0], &keeper_ops, NULL);
    to_keeper = chan_create(loop, b[1], &keyring_ops, &to_keeper);
    links = (struct keyring_links){.loop = loop, .keeper = to_keeper};
    IS(keyring_create(&keyring, &links, plain, &why), 0, "created %s", why.text);
    send_start(1, "PLAIN", STR("\0a\0b"));
    OK(wait_answer() && got.result == AUTH_ANSWER_TEMP, "no snapshot yet: temporary");
    IS(keyring_set_snapshot(keyring, make_snapshot()), 0, "snapshot");
    OK(keyring_set_snapshot(keyring, dup(0)) < 0, "rubbish is no snapshot; the former one stays");
    test_mechanisms();
    test_rubbish();
    test_life(few);
    keyring_set_conf(keyring, dovecot);
    login(400, "PLAIN", "dove", "coo");
    IS(got.result, AUTH_ANSWER_OK, "Dovecot knows it");
    TEXT(str_c(got.user), "dove@example.com", "by its own name for it");
    send_start(450, "OAUTHBEARER", STR("n,a=dove,\1auth=Bearer good\1\1"));
    OK(wait_answer() && got.result == AUTH_ANSWER_FAIL, "no token where none is set up");
    keyring_set_conf(keyring, bearer);
    send_start(451, "OAUTHBEARER", STR("n,a=dove,\1auth=Bearer good\1\1"));
    OK(wait_answer() && got.result == AUTH_ANSWER_OK, "Dovecot knows the token");
    TEXT(str_c(got.user), "dove@example.com", "and whose it is");
    send_start(452, "OAUTHBEARER", STR("n,a=dove,\1auth=Bearer bad\1\1"));
    OK(wait_answer() && got.result == AUTH_ANSWER_CHALLENGE, "a bad one is told as a challenge");
    OK(str_find(str_of(got.data, got.ndata), STR("invalid_token")) >= 0, "in RFC 7628's words");
    send_step(452, STR("\1"));
    OK(wait_answer() && got.result == AUTH_ANSWER_FAIL, "and then is the end");
    keyring_set_conf(keyring, dovecot);
    login(401, "LOGIN", "dove", "caw");
    IS(got.result, AUTH_ANSWER_FAIL, "Dovecot says no");
    send_start(402, "SCRAM-SHA-256", STR_NONE);
    OK(wait_answer() && got.result == AUTH_ANSWER_FAIL, "SCRAM is not offered then");
    keyring_set_keeper(keyring, NULL);
    login(403, "PLAIN", "dove", "coo");
    IS(got.result, AUTH_ANSWER_TEMP, "no keeper: temporary");
    send_start(404, "LOGIN", STR_NONE);
    OK(wait_answer(), "left open");
    buf_init(&cut, 100);
    put_u32(&cut, 5);
    chan_send(gate, ASK_AUTH_START, 7, &cut, -1); /* not whole: the channel takes it as fatal */
    buf_done(&cut);
    while (!gone)
        loop_once(loop, true);
    OK(gone, "the channel was given up");
    keyring_free(keyring);
    chan_free(gate);
    chan_free(at_keyring);
    chan_free(keeper);
    chan_free(to_keeper);
    loop_free(loop);
    conf_free(plain);
    conf_free(few);
    conf_free(dovecot);
    conf_free(bearer);
    return tap_done();
}
