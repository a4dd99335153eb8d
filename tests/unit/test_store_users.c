/* Logins in a temporary database: added, changed, listed, removed, published; rights. */
#include "store/users.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "net/sasl.h"
#include "store/settings.h"
#include "store/store.h"
#include "tap.h"

static const struct conf_block *const blocks[] = {&settings_main_block, &settings_domain_block,
                                                  &settings_tenant_block, &settings_sender_block};
static char path[] = "/tmp/test_store_users.XXXXXX";

static struct conf *
parse(const char *text)
{
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    struct conf *conf = NULL;

    texts.items[0] = (struct conf_text){STR("test.conf"), str_c(text)};
    texts.n = 1;
    conf_parse(&conf, &texts, blocks, ARRAY_LEN(blocks), 1, &errs);
    conf_errors_done(&errs);
    return conf;
}

static int
on_row(void *ctx, struct str login, struct str tenant, struct str senders, uint64_t created)
{
    buf_fmt(ctx, "%.*s/%.*s/%.*s%s;", STR_ARG(login), STR_ARG(tenant), STR_ARG(senders),
            created > 1000000000 ? "" : "?");
    return 0;
}

static void
test_changes(struct store *s)
{
    struct why why;
    struct buf rows;

    IS(users_add(s, STR("Alice@Example.com"), STR("secret"), STR("acme"),
                 STR("example.com, .Example.org"), 4096, &why),
       0, "added");
    IS(users_add(s, STR("alice@example.com"), STR("other"), STR_NONE, STR_NONE, 4096, &why),
       ERR_EXISTS, "not twice: %s", why.text);
    IS(users_add(s, STR("bob"), STR("secret"), STR_NONE, STR("not a domain"), 4096, &why),
       ERR_SYNTAX, "bad sender: %s", why.text);
    IS(users_add(s, STR("bob"), STR(""), STR_NONE, STR_NONE, 4096, &why), ERR_SYNTAX,
       "no password: %s", why.text);
    IS(users_add(s, STR("b\nb"), STR("x"), STR_NONE, STR_NONE, 4096, &why), ERR_SYNTAX,
       "bad login: %s", why.text);
    IS(users_add(s, STR("bob"), STR("secret"), STR_NONE, STR_NONE, 4096, &why), 0,
       "a refused one left nothing behind");
    IS(users_password(s, STR("nobody"), STR("x"), 4096, &why), ERR_NOTFOUND, "unknown: %s",
       why.text);
    IS(users_password(s, STR("BOB"), STR("changed"), 5000, &why), 0, "password changed");
    buf_init(&rows, 4096);
    IS(users_list(s, on_row, &rows), 0, "listed");
    TEXT(buf_view(&rows), "alice@example.com/acme/.Example.org,example.com;bob//;", "rows");
    buf_done(&rows);
}

static void
test_publish(struct store *s)
{
    struct conf *conf = parse("hostname = h.example\ntenant acme {\n number = 9\n class = bulk\n}\n"
                              "user carol {\n tenant = acme\n envelope = a@b.example\n"
                              " from = \"*\"\n class = transactional\n}\n");
    struct snapshot_builder *b = snapshot_build(1);
    struct user_rights r;
    struct snapshot roles, keyring;
    struct sasl_verifier v;
    struct str value;

    OK(conf, "settings");
    IS(users_publish(s, conf, b, false), 0, "published");
    IS(snapshot_map(&roles, snapshot_finish(b)), 0, "rights");
    b = snapshot_build(2);
    IS(users_publish(s, conf, b, true), 0, "published");
    IS(snapshot_map(&keyring, snapshot_finish(b)), 0, "verifiers");
    OK(!snapshot_get(&roles, SNAPSHOT_VERIFIER, STR("bob"), &value), "no verifier for the gate");
    OK(snapshot_get(&keyring, SNAPSHOT_VERIFIER, STR("bob"), &value) &&
           sasl_verifier_parse(value, &v) == 0 && sasl_verifier_check(&v, STR("changed")) &&
           !sasl_verifier_check(&v, STR("secret")) && v.iterations == 5000,
       "the keyring's checks the new password");
    OK(snapshot_get(&roles, SNAPSHOT_USER, STR("alice@example.com"), &value) &&
           user_rights_decode(value, &r) == 0,
       "alice's rights");
    OK(r.tenant == 9 && r.class == 3, "her tenant, and its class");
    OK(user_may_use(r.envelope, STR("x@sub.example.org"), STR("alice@example.com")), ".domain");
    OK(user_may_use(r.from, STR("X@EXAMPLE.com"), STR("alice@example.com")), "domain");
    OK(!user_may_use(r.from, STR("x@sub.example.com"), STR("alice@example.com")), "not below");
    OK(!user_may_use(r.from, STR("x@badexample.org"), STR("alice@example.com")), "not beside");
    OK(snapshot_get(&roles, SNAPSHOT_USER, STR("carol"), &value) &&
           user_rights_decode(value, &r) == 0,
       "a login of the settings");
    OK(r.tenant == 9 && r.class == 2, "its own class");
    OK(user_may_use(r.from, STR("any@where.example"), STR("carol")), "* in From");
    OK(!user_may_use(r.envelope, STR("any@where.example"), STR("carol")), "not in the envelope");
    OK(user_may_use(r.envelope, STR("a@b.example"), STR("carol")), "the address");
    OK(user_may_use(STR_NONE, STR("me@x.example"), STR("ME@x.example")), "its own name");
    OK(user_may_use(STR_NONE, STR_NONE, STR("me@x.example")), "the null sender");
    OK(!user_may_use(STR_NONE, STR("you@x.example"), STR("me@x.example")), "nothing else");
    for (size_t cut = 0; cut < value.n; cut++)
        if (user_rights_decode(str_sub(value, 0, cut), &r) == 0)
            OK(false, "rights cut at %zu were taken", cut);
    snapshot_unmap(&roles);
    snapshot_unmap(&keyring);
    conf_free(conf);
}

static void
test_again(void)
{
    struct store *s = NULL;
    struct why why = {{0}};
    struct stat st;
    uint64_t n = 0;

    IS(store_open(&s, path, &why), 0, "opened again: %s", why.text);
    OK(stat(path, &st) == 0 && (st.st_mode & 077) == 0, "nobody else may read it");
    IS(store_next(s, "snapshot", &n, &why), 0, "a number");
    IS(n, 1, "the first");
    IS(store_next(s, "snapshot", &n, &why), 0, "another");
    IS(n, 2, "the second");
    IS(users_remove(s, STR("bob"), STR("left"), &why), 0, "removed");
    IS(users_remove(s, STR("bob"), STR("left"), &why), ERR_NOTFOUND, "gone");
    sqlite3_exec(store_db(s), "PRAGMA user_version=1000", NULL, NULL, NULL);
    store_close(s);
    IS(store_open(&s, path, &why), ERR_VERSION, "a newer one is refused: %s", why.text);
    unlink(path);
    if (truncate(path, 0) < 0) {
        FILE *f = fopen(path, "we");

        for (int i = 0; f && i < 5000; i++)
            fputs("this is no database\n", f);
        if (f)
            fclose(f);
    }
    OK(store_open(&s, path, &why) < 0, "no database: %s", why.text);
    OK(store_open(&s, "/nonexistent/x.db", &why) < 0, "no folder: %s", why.text);
}

int
main(void)
{
    struct store *s = NULL;
    struct why why = {{0}};
    char side[64];
    int fd = mkstemp(path);

    close(fd);
    unlink(path);
    IS(store_open(&s, path, &why), 0, "created: %s", why.text);
    if (!s)
        return tap_done();
    test_changes(s);
    test_publish(s);
    store_close(s);
    test_again();
    unlink(path);
    str_fmt(side, sizeof(side), "%s-wal", path);
    unlink(side);
    str_fmt(side, sizeof(side), "%s-shm", path);
    unlink(side);
    return tap_done();
}
