/* The keeper in a temporary folder: snapshots follow tables, users and settings; look-ups. */
#include "store/keeper.h"

#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>

#include "core/clock.h"
#include "mail/report_tls.h"
#include "net/sasl.h"
#include "store/asks.h"
#include "store/directory.h"
#include "store/keeper_inner.h"
#include "store/report_wire.h"
#include "store/secret.h"
#include "store/settings.h"
#include "store/settings_reports.h"
#include "store/users.h"
#include "tap.h"

static const struct conf_block *const blocks[] = {&settings_main_block,   &settings_domain_block,
                                                  &settings_tenant_block, &settings_sender_block,
                                                  &settings_auth_block,   &settings_reports_block};
static char dir[] = "/tmp/test_store_keeper.XXXXXX";
static struct loop *loop;
static struct keeper *keeper;
static struct snapshot views[KEEPER_VIEWS_];
static unsigned published, problems;
static struct conf *last;
static char problem[600], ended[300], lines[4000];
static int end_status;
static struct chan *gate, *at_keeper;
static struct {
    unsigned n;
    uint8_t result;
    uint32_t ttl;
    uint16_t addresses;
    char first[300];
} answer;

static void
on_publish(void *ctx, enum keeper_view view, uint64_t generation, int fd)
{
    uint64_t before = views[view].generation;

    (void)ctx;
    snapshot_unmap(&views[view]);
    IS(snapshot_map(&views[view], dup(fd)), 0, "a snapshot");
    OK(views[view].generation == generation && generation > before, "newer than before");
    published++;
}

static void
on_problem(void *ctx, const char *text)
{
    (void)ctx;
    str_fmt(problem, sizeof(problem), "%s", text);
    problems++;
}

static void
on_line(void *ctx, struct str json)
{
    (void)ctx;
    str_fmt(lines + strlen(lines), sizeof(lines) - strlen(lines), "%.*s\n", STR_ARG(json));
}

static void
on_end(void *ctx, int status, const char *text)
{
    (void)ctx;
    end_status = status;
    str_fmt(ended, sizeof(ended), "%s", text);
}

static void
gate_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    (void)fd;
    if (type == ASK_KEEP_ANSWER)
        return;
    OK(type == ASK_LOOKUP_ANSWER && id == 77, "an answer");
    answer.result = wire_u8(body);
    answer.ttl = wire_u32(body);
    answer.addresses = wire_u16(body);
    answer.first[0] = '\0';
    for (unsigned i = 0; i < answer.addresses; i++) {
        struct str s = wire_str(body);

        if (!i)
            str_fmt(answer.first, sizeof(answer.first), "%.*s", STR_ARG(s));
    }
    OK(wire_end(body), "whole");
    answer.n++;
}

static void
keeper_got(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    (void)fd;
    OK(keeper_message(keeper, at_keeper, type, id, body), "its type");
}

static void
closed(void *ctx)
{
    (void)ctx;
}

static void
set_true(void *ctx)
{
    *(bool *)ctx = true;
}

/* Turns the loop until *count is more than `before`, for at most 20 s. */
static bool
wait_more(const unsigned *count, unsigned before)
{
    struct loop_timer t;
    bool late = false;

    loop_timer_init(&t, loop, set_true, &late);
    loop_timer_set(&t, 20 * NS_PER_S);
    while (*count <= before && !late)
        loop_once(loop, true);
    loop_timer_stop(&t);
    return !late;
}

static void
write_file(const char *name, const char *text)
{
    char path[200], fresh[200];
    FILE *f;

    str_fmt(path, sizeof(path), "%s/%s", dir, name);
    str_fmt(fresh, sizeof(fresh), "%s/new", dir);
    f = fopen(fresh, "we");
    if (!f)
        return;
    fputs(text, f);
    fclose(f);
    OK(rename(fresh, path) == 0, "wrote %s", name);
}

static struct conf *
parse(const char *domain_rows)
{
    static struct conf_texts texts;
    static char text[2000], path[200];
    struct conf_errors errs = {0};
    struct conf *conf = NULL;

    str_fmt(path, sizeof(path), "%s/test.conf", dir);
    str_fmt(text, sizeof(text),
            "hostname = h.example\ndomain example.com {\n inside = "
            "smtp://127.0.0.1\n%s}\n",
            domain_rows);
    texts.items[0] = (struct conf_text){str_c(path), str_c(text)};
    texts.n = 1;
    conf_parse(&conf, &texts, blocks, ARRAY_LEN(blocks), 1, &errs);
    for (size_t i = 0; i < errs.n; i++)
        printf("# %.*s\n", STR_ARG(errs.items[i].text));
    OK(conf, "settings");
    conf_errors_done(&errs);
    return conf;
}

static bool
has(enum snapshot_table table, const char *key)
{
    struct str value;

    return snapshot_address(&views[KEEPER_VIEW_ROLES], table, str_c(key), &value);
}

static void
test_tables(void)
{
    struct str value;
    unsigned before;

    OK(wait_more(&published, 1), "published at the start");
    OK(has(SNAPSHOT_RCPT, "Alice@example.com") && !has(SNAPSHOT_RCPT, "bob@example.com"), "table");
    OK(has(SNAPSHOT_ALIAS, "info@example.com"), "alias");
    OK(snapshot_get(&views[0], SNAPSHOT_ALIAS, STR("@example.com"), &value), "catch-all");
    TEXT(str_sub(value, 0, value.n - 1), "all@example.com", "its address");
    OK(snapshot_get(&views[0], SNAPSHOT_DOMAIN, STR("example.com"), &value) && !value.n, "domain");
    before = published;
    write_file("rcpts", "alice\nbob\n");
    OK(wait_more(&published, before + 1), "published when the table changed");
    OK(has(SNAPSHOT_RCPT, "bob@example.com"), "with the new recipient");
    before = published;
    write_file("rcpts", "alice\n@@@\n");
    OK(wait_more(&published, before + 1), "an error in the table");
    OK(strstr(problem, "rcpts:2: `@@@`"), "is told: %s", problem);
    OK(has(SNAPSHOT_RCPT, "bob@example.com"), "the last good contents stay");
}

static void
verb(const char *name, const char *args)
{
    static const struct keeper_reply reply = {on_line, on_end, NULL};

    lines[0] = '\0';
    end_status = -1;
    OK(keeper_verb(keeper, str_c(name), str_c(args), &reply), "verb %s", name);
}

/* A store that takes nothing for a while: a full disk, somebody's lock. */
static void
test_published_later(void)
{
    sqlite3 *db = store_db(keeper_store(keeper));
    unsigned before = published, told = problems;

    IS(sqlite3_exec(db, "ALTER TABLE counters RENAME TO away", NULL, NULL, NULL), SQLITE_OK,
       "away");
    write_file("rcpts", "alice\nbob\nlater\n");
    OK(wait_more(&problems, told), "it cannot be published");
    OK(strstr(problem, "cannot publish"), "is told: %s", problem);
    OK(!has(SNAPSHOT_RCPT, "later@example.com") && published == before, "and is not");
    IS(sqlite3_exec(db, "ALTER TABLE away RENAME TO counters", NULL, NULL, NULL), SQLITE_OK,
       "back");
    OK(wait_more(&published, before + 2), "by itself, when it can be");
    OK(has(SNAPSHOT_RCPT, "later@example.com"), "with what came meanwhile");
    IS(problems, told + 1, "told once");
}

static void
test_users(void)
{
    struct sasl_verifier v;
    struct str value;
    unsigned before = published;

    verb("user.add", "{\"login\":\"Bob\",\"password\":\"pw\",\"senders\":\"example.com\"}");
    IS(end_status, 0, "%s", ended);
    OK(wait_more(&published, before + 1), "published when a user came");
    OK(snapshot_get(&views[KEEPER_VIEW_KEYRING], SNAPSHOT_VERIFIER, STR("bob"), &value) &&
           sasl_verifier_parse(value, &v) == 0 && sasl_verifier_check(&v, STR("pw")),
       "the keyring's has the verifier");
    OK(!snapshot_get(&views[KEEPER_VIEW_ROLES], SNAPSHOT_VERIFIER, STR("bob"), &value),
       "the gate's has not");
    OK(snapshot_get(&views[KEEPER_VIEW_ROLES], SNAPSHOT_USER, STR("bob"), &value),
       "but the rights");
    verb("user.add", "{\"login\":\"bob\",\"password\":\"pw\"}");
    IS(end_status, 1, "twice: %s", ended);
    verb("user.add", "{\"login\":\"x\",\"password\":\"pw\",\"tenant\":\"none\"}");
    IS(end_status, 1, "no tenant: %s", ended);
    verb("user.list", "{}");
    OK(strstr(lines, "\"login\":\"bob\"") && !strstr(lines, "SCRAM"), "listed: %s", ended);
    verb("user.remove", "{\"login\":\"bob\"}");
    IS(end_status, 2, "why? %s", ended);
    verb("user.remove", "{\"login\":\"bob\",\"reason\":\"left\"}");
    IS(end_status, 0, "removed: %s", ended);
    verb("user.password", "{\"login\":\"bob\",\"password\":\"x\"}");
    IS(end_status, 1, "gone: %s", ended);
    verb("user.list", "[1");
    IS(end_status, 2, "rubbish: %s", ended);
    OK(!keeper_verb(keeper, STR("queue.list"), STR("{}"),
                    &(struct keeper_reply){on_line, on_end, NULL}),
       "not its verb");
}

static void
ask_lookup(const char *address)
{
    struct buf b;
    unsigned before = answer.n;

    buf_init(&b, 1000);
    put_str(&b, STR("example.com"));
    put_str(&b, str_c(address));
    chan_send(gate, ASK_LOOKUP, 77, &b, -1);
    buf_done(&b);
    OK(wait_more(&answer.n, before), "answered for %s", address);
}

static void
test_sqlite(void)
{
    char path[200], rows[600];
    struct conf *asked, *listed, *absent;
    struct why why;
    unsigned before = published;
    struct str value;
    sqlite3 *db;

    str_fmt(path, sizeof(path), "%s/people.db", dir);
    sqlite3_open(path, &db);
    sqlite3_exec(db,
                 "CREATE TABLE p (mail, local, goes); INSERT INTO p VALUES "
                 "('ann@example.com', 'ann', NULL), ('ben@example.com', 'ben', 'b@else.example'),"
                 "('o''hara@example.com', 'o''hara', NULL)",
                 NULL, NULL, NULL);
    str_fmt(rows, sizeof(rows),
            " recipients = sqlite\n recipient_table = people.db\n"
            " recipient_query = \"SELECT goes FROM p WHERE mail = ? OR local "
            "= ?\"\n lookup_ttl = 9s\n");
    asked = parse(rows);
    IS(keeper_set_conf(keeper, asked, &why), 0, "new settings");
    OK(wait_more(&published, before + 1), "published");
    OK(!has(SNAPSHOT_RCPT, "ann@example.com"), "not in the snapshot");
    ask_lookup("ann@example.com");
    OK(answer.result == LOOKUP_FOUND && answer.ttl == 9 && answer.addresses == 0, "there");
    ask_lookup("ben@example.com");
    OK(answer.result == LOOKUP_FOUND && answer.addresses == 1, "there, and goes elsewhere");
    TEXT(str_c(answer.first), "b@else.example", "namely");
    ask_lookup("x' OR '1'='1@example.com");
    IS(answer.result, LOOKUP_UNKNOWN, "no injection");
    ask_lookup("o'hara@example.com");
    IS(answer.result, LOOKUP_FOUND, "a quote is a letter");
    sqlite3_exec(db, "DROP TABLE p", NULL, NULL, NULL);
    before = problems;
    ask_lookup("ann@example.com");
    OK(answer.result == LOOKUP_TEMPORARY && answer.ttl == 5, "a broken query is temporary");
    OK(problems == before + 1 && strstr(problem, "no such table"), "and told: %s", problem);
    sqlite3_exec(db,
                 "CREATE TABLE p (mail); INSERT INTO p VALUES ('Eve@example.com'), ('fay'), "
                 "('x@elsewhere.example')",
                 NULL, NULL, NULL);
    sqlite3_close(db);
    listed = parse(" recipients = sqlite\n recipient_table = people.db\n recipient_query = "
                   "\"SELECT mail FROM p\"\n");
    before = published;
    IS(keeper_set_conf(keeper, listed, &why), 0, "a listing query");
    OK(wait_more(&published, before + 1), "published");
    OK(has(SNAPSHOT_RCPT, "eve@example.com") && has(SNAPSHOT_RCPT, "fay@example.com") &&
           !has(SNAPSHOT_RCPT, "x@elsewhere.example"),
       "the list is in the snapshot");
    ask_lookup("nobody@example.com");
    IS(answer.result, LOOKUP_UNKNOWN, "not in the list");
    last = absent = parse(" recipients = table\n recipient_table = gone\n");
    before = published;
    IS(keeper_set_conf(keeper, absent, &why), 0, "a table that is not there");
    conf_free(asked);
    conf_free(listed);
    OK(wait_more(&published, before + 1), "published");
    OK(snapshot_get(&views[0], SNAPSHOT_DOMAIN, STR("example.com"), &value) &&
           str_eq(value, STR("!")),
       "its recipients are not known: %s", problem);
    ask_lookup("ann@example.com");
    IS(answer.result, LOOKUP_TEMPORARY, "and nobody is called unknown");
}

static void
test_ldap_filter(void)
{
    struct lookup l = {.query = STR("(|(mail=%s)(&(uid=%u)(d=%d)(p=100%%)))"),
                       .address = STR("a*(b)\\\x01\xc3\xa9@x"),
                       .local = STR("a*"),
                       .domain = STR("x")};
    struct buf b;

    buf_init(&b, 1000);
    ldap_filter(&b, &l);
    TEXT(str_c(b.p), "(|(mail=a\\2a\\28b\\29\\5c\\01\\c3\\a9@x)(&(uid=a\\2a)(d=x)(p=100%)))",
         "strangers' bytes are escaped");
    buf_done(&b);
}

/* Keys that the installation makes for itself are the gate's to know, and nobody else's. */
static void
test_secret(void)
{
    struct secret_set set;

    OK(secret_find(&views[KEEPER_VIEW_ROLES], STR(SECRET_RETURNS), &set) && set.n == 1,
       "the gate is told");
    OK(!secret_find(&views[KEEPER_VIEW_KEYRING], STR(SECRET_RETURNS), &set) &&
           !secret_find(&views[KEEPER_VIEW_COURIER], STR(SECRET_RETURNS), &set),
       "others are not");
}

/* --- received reports --- */

struct reports { /* one each 20 ms */
    struct loop_timer timer;
    unsigned n;
};

static void
report_send(unsigned n, const struct report_facts *f, const struct report *r)
{
    struct buf b;
    int fd = memfd_create("report", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    buf_init(&b, 1u << 20);
    OK(report_wire_put(&b, f, r) == 0 && write(fd, b.p, b.n) == (ssize_t)b.n &&
           fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0,
       "report %u", n);
    buf_done(&b);
    keeper_report(keeper, at_keeper, n, fd);
}

static void
report_keep(unsigned n, uint64_t received)
{
    char id[16], mail[16];
    struct report_tls_policy p = {.type = REPORT_TLS_STS, .domain = STR("example.com")};
    struct report_tls t = {.org = STR("o.test"),
                           .id = str_of(id, str_fmt(id, sizeof(id), "r%u", n)),
                           .policies = &p,
                           .npolicies = 1};
    struct report r = {.kind = REPORT_TLS, .tls = &t};
    struct report_facts f = {.mail = str_of(mail, str_fmt(mail, sizeof(mail), "m%u", n)),
                             .received = received};

    report_send(n, &f, &r);
}

static void
on_next_report(void *ctx)
{
    struct reports *x = ctx;

    report_keep(x->n++, clock_wall_s());
    loop_timer_set(&x->timer, 20 * NS_PER_MS);
}

static unsigned
reports_from(uint64_t received)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    struct why why;

    OK(store_prepare(keeper->store, "SELECT count(*) FROM reports WHERE received = ? AND whole",
                     &st, &why) == 0,
       "asked");
    sqlite3_bind_int64(st, 1, (sqlite3_int64)received);
    return store_step(keeper->store, st, &why) == 1 ? (unsigned)sqlite3_column_int(st, 0) : 9999;
}

/* Reports that come without a pause do not put off the end of the old ones. */
static void
test_reports_go_while_others_come(void)
{
    struct reports x = {.n = 1};
    bool gone = false;

    report_keep(0, 1);
    IS(reports_from(1), 1, "an old one");
    loop_timer_init(&x.timer, loop, on_next_report, &x);
    loop_timer_set(&x.timer, 20 * NS_PER_MS);
    while (!gone && x.n < 500) {
        loop_once(loop, true);
        gone = reports_from(1) == 0;
    }
    loop_timer_stop(&x.timer);
    OK(gone, "is gone after %u others", x.n);
}

/* A large one is written in pieces: the keeper has its turn in between, and nobody sees a part. */
static void
test_large_report(void)
{
    static struct report_tls_failure failures[5000];
    struct report_tls_policy p = {.type = REPORT_TLS_STS,
                                  .domain = STR("example.com"),
                                  .failures = failures,
                                  .nfailures = ARRAY_LEN(failures)};
    struct report_tls t = {
        .org = STR("o.test"), .id = STR("large"), .policies = &p, .npolicies = 1};
    struct report r = {.kind = REPORT_TLS, .tls = &t};
    struct report_facts f = {.mail = STR("large"), .received = 77};
    unsigned turns = 0;

    for (size_t i = 0; i + 1 < ARRAY_LEN(failures); i++)
        failures[i].next = &failures[i + 1];
    report_send(9000, &f, &r);
    report_keep(9001, 78);
    IS(reports_from(77) + reports_from(78), 0,
       "a part of it is nobody's to see, the next one waits");
    for (; turns < 100 && reports_from(78) == 0; turns++) {
        OK(turns == 0 || reports_from(77) == 0 || reports_from(78) == 0, "in their order");
        loop_once(loop, false);
    }
    OK(turns >= 2, "others had %u turns", turns);
    IS(reports_from(77), 1, "it is there");
}

/* A store that takes nothing says so once a minute, however many reports come. */
static void
test_report_alarms(void)
{
    unsigned before = problems;

    sqlite3_exec(store_db(keeper->store), "PRAGMA query_only=1", NULL, NULL, NULL);
    for (unsigned i = 0; i < 20; i++)
        report_keep(10000 + i, 99);
    IS(problems, before + 1, "%s", problem);
    OK(strstr(problem, "its mail is safe"), "which is said");
    sqlite3_exec(store_db(keeper->store), "PRAGMA query_only=0", NULL, NULL, NULL);
    report_keep(10000, 99);
    IS(reports_from(99), 1, "and goes on when it can");
}

/* A clock that says two years later ends no report. */
static void
test_reports_and_the_clock(void)
{
    uint64_t received = clock_wall_s();

    report_keep(20000, received);
    clock_own(clock_mono(), clock_wall() + UINT64_C(730) * 86400 * NS_PER_S);
    clock_advance(7200 * NS_PER_S);
    for (unsigned i = 0; i < 50; i++) {
        clock_advance(NS_PER_S);
        loop_once(loop, false);
    }
    IS(reports_from(77), 0, "what is old goes");
    OK(reports_from(received) > 0, "it is still there");
    clock_release();
}

static void
remove_dir(void)
{
    static const char *const names[] = {"rcpts",        "aliases",      "people.db", "store.db",
                                        "store.db-wal", "store.db-shm", ""};
    char path[300];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        str_fmt(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)remove(path);
    }
}

int
main(void)
{
    static const struct chan_ops gate_ops = {gate_message, closed},
                                 keeper_ops = {keeper_got, closed};
    static char store[200];
    struct keeper_links links = {.publish = on_publish, .problem = on_problem};
    struct conf *first;
    struct why why = {{0}};
    uint64_t generation = 0;
    int pair[2];

    if (!mkdtemp(dir))
        return 1;
    write_file("rcpts", "Alice\n");
    write_file("aliases", "info: alice\n");
    first = parse(" recipients = table\n recipient_table = rcpts\n aliases = aliases\n"
                  " catch_all = all@example.com\n");
    loop = loop_create();
    str_fmt(store, sizeof(store), "%s/store.db", dir);
    links.loop = loop;
    links.store_path = store;
    IS(keeper_create(&keeper, &links, first, &why), 0, "created %s", why.text);
    IS(keeper_snapshot(keeper, KEEPER_VIEW_ROLES, &generation), -1, "nothing before the loop ran");
    chan_pair(pair);
    gate = chan_create(loop, pair[0], &gate_ops, NULL);
    at_keeper = chan_create(loop, pair[1], &keeper_ops, NULL);
    test_tables();
    test_published_later();
    test_users();
    test_sqlite();
    test_ldap_filter();
    test_secret();
    test_reports_go_while_others_come();
    test_large_report();
    test_report_alarms();
    test_reports_and_the_clock();
    OK(keeper_snapshot(keeper, KEEPER_VIEW_ROLES, &generation) >= 0 && generation,
       "for late roles");
    keeper_lost(keeper, at_keeper);
    keeper_free(keeper);
    chan_free(gate);
    chan_free(at_keeper);
    for (int i = 0; i < KEEPER_VIEWS_; i++)
        snapshot_unmap(&views[i]);
    loop_free(loop);
    conf_free(first);
    conf_free(last);
    remove_dir();
    return tap_done();
}
