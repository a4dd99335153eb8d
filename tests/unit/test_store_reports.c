/* Received reports: as bytes between two roles, which may be anybody's; in the store, once each and
 * for their time; as lines. */
#include "store/reports.h"

#include <jansson.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/err.h"
#include "mail/report_dmarc.h"
#include "mail/report_tls.h"
#include "store/report_line.h"
#include "tap.h"

static const char *proved_by = "o.test";
static char path[] = "/tmp/test_store_reports.XXXXXX";

/* --- reports --- */

static void
dmarc_bytes(struct buf *out, const char *id, const char *proof, const char *mail, uint64_t received,
            unsigned records)
{
    struct report_auth dkim = {
        .domain = STR("a.test"), .selector = STR("s\t1"), .result = REPORT_RESULT_PASS};
    struct report_auth spf = {.domain = STR("b.test"), .result = REPORT_RESULT_SOFTFAIL};
    struct report_reason reason = {.type = REPORT_OVERRIDE_FORWARDED, .comment = STR("a\nlist")};
    struct report_row *rows = calloc(records + 1u, sizeof *rows);
    struct report_dmarc d = {.org = STR("o.test"),
                             .id = str_c(id),
                             .email = STR("d@o.test"),
                             .domain = STR("a.test"),
                             .begin = 1700000000,
                             .end = 1700086399,
                             .p = REPORT_POLICY_REJECT,
                             .has_sp = true,
                             .nrows = records,
                             .rows = records ? rows : NULL};
    struct report r = {.kind = REPORT_DMARC_AGGREGATE, .dmarc = &d};
    struct report_facts f = {.mail = str_c(mail),
                             .received = received,
                             .from = STR("d@o.test"),
                             .proof = str_c(proof),
                             .by = str_c(proved_by)};

    ENSURE(rows);
    for (unsigned i = 0; i < records; i++) {
        rows[i] = (struct report_row){.next = i + 1 < records ? &rows[i + 1] : NULL,
                                      .count = i ? UINT64_MAX : 3,
                                      .dkim = REPORT_RESULT_PASS,
                                      .spf = REPORT_RESULT_FAIL,
                                      .disposition = REPORT_DONE_QUARANTINE,
                                      .header_from = STR("a.test"),
                                      .dkims = &dkim,
                                      .spfs = &spf,
                                      .reasons = &reason};
        addr_parse(STR("192.0.2.1"), &rows[i].source);
        d.messages += rows[i].count;
        d.passed += rows[i].count;
    }
    buf_clear(out);
    IS(report_wire_put(out, &f, &r), 0, "%s is written", id);
    free(rows);
}

static void
tls_bytes(struct buf *out, const char *id)
{
    struct report_tls_failure fail = {.result = REPORT_TLS_CERTIFICATE_EXPIRED,
                                      .mx = STR("mx.a.test"),
                                      .sending_ip = STR("192.0.2.9"),
                                      .count = 2};
    struct str strings[] = {STR("version: STSv1"), STR("mode: enforce")};
    struct report_tls_policy p = {.type = REPORT_TLS_STS,
                                  .domain = STR("a.test"),
                                  .strings = strings,
                                  .nstrings = 2,
                                  .good = 5,
                                  .failed = 2,
                                  .failures = &fail,
                                  .nfailures = 1};
    struct report_tls t = {.org = STR("o.test"),
                           .id = str_c(id),
                           .begin = 1700000000,
                           .end = 1700086399,
                           .policies = &p,
                           .npolicies = 1,
                           .good = 5,
                           .failed = 2};
    struct report r = {.kind = REPORT_TLS, .tls = &t};
    struct report_facts f = {.mail = STR("m1")};

    buf_clear(out);
    IS(report_wire_put(out, &f, &r), 0, "%s is written", id);
}

/* --- the wire --- */

static void
test_wire(void)
{
    CLEANUP(buf_done) struct buf b;
    struct report_head h;
    struct report_record x;
    struct wire w;
    struct report other = {.kind = REPORT_DMARC_FAILURE};
    struct report_facts none = {0};

    buf_init(&b, 1u << 20);
    IS(report_wire_put(&b, &none, &other), ERR_UNSUPPORTED, "failure reports are not kept");
    dmarc_bytes(&b, "r1", "dmarc", "m1", 7, 2);
    IS(report_wire_open(&w, buf_view(&b), &h), 0, "read back");
    TEXT(h.org, "o.test", "who");
    TEXT(h.policy, "p=reject sp=none adkim=r aspf=r", "the policy in words");
    OK(h.records == 2 && h.rows == 2 && h.facts.received == 7, "numbers");
    IS(report_wire_record(&w, &x), 0, "a record");
    TEXT(x.details,
         "dkim\tpass\ta.test\ts 1\nspf\tsoftfail\tb.test\tmfrom\nreason\tforwarded\ta list\t\n",
         "its details, where nothing can begin a line or a field");
    TEXT(x.signer, "a.test", "who signed");
    TEXT(x.bounce, "", "no SPF passed");
    IS(report_wire_record(&w, &x), 0, "another");
    OK(x.count == REPORT_COUNT_MAX && wire_end(&w), "a count that no sum could hold is cut");
}

static void
test_text(void)
{
    CLEANUP(buf_done) struct buf b;

    buf_init(&b, 100);
    report_wire_text(&b, STR("a\tb\x7f\xc2\x9b\xff\xc3\xa9"), 100);
    TEXT(buf_view(&b), "a b  ?\xc3\xa9", "no control characters, and UTF-8");
    buf_clear(&b);
    report_wire_text(&b, STR("ab\xc3\xa9z"), 3);
    TEXT(buf_view(&b), "ab", "cut at a whole character");
}

/* --- the store --- */

static unsigned
count(struct store *s, const char *sql)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    struct why why = {{0}};

    return store_prepare(s, sql, &st, &why) == 0 && store_step(s, st, &why) == 1
               ? (unsigned)sqlite3_column_int(st, 0)
               : 9999;
}

/* Written to its end in pieces of three records. */
static int
reports_keep(struct store *s, struct str bytes, struct reports_kept *ret, struct why *why)
{
    struct reports_write *x = NULL;
    int r = reports_begin(s, bytes, &x, ret, why);

    while (r == 1)
        r = reports_go(x, 3, why);
    reports_write_free(x);
    return r;
}

static unsigned
expire(struct store *s, const struct reports_law *law)
{
    struct why why = {{0}};
    unsigned before = count(s, "SELECT count(*) FROM reports"), calls = 0;
    bool more = true;

    while (more && calls++ < 1000 && reports_expire(s, law, &more, &why) == 0)
        continue;
    OK(!more, "it comes to an end: %s", why.text);
    return before - count(s, "SELECT count(*) FROM reports");
}

static void
replaced(struct buf *b, struct str was, struct str is)
{
    ssize_t at = str_find(buf_view(b), was);

    ENSURE(at >= 0 && was.n == is.n);
    memcpy(b->p + at, is.p, is.n);
}

/* What the scan role says, in other hands: nothing of it is kept. */
static void
test_forged(struct store *s)
{
    static const struct {
        struct str was, is;
        const char *what;
    } rows[] = {
        {STR("\3\0\0\0\0\0\0\0\3\0"), STR("\4\0\0\0\0\0\0\0\3\0"),
         "a sum that is not its records'"},
        {STR("\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0"), STR("\3\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1\0"),
         "what passed, told otherwise"},
        {STR("o.test"), STR("o\x1b[2Jt"), "what a terminal obeys"},
        {STR("o.test"), STR("o\ntest"), "a line of its own"},
        {STR("o.test"), STR("o\xc2\x9b[JJ"), "what a terminal obeys in another form"},
        {.what = NULL},
    };
    CLEANUP(buf_done) struct buf b;
    struct reports_kept kept;
    struct why why = {{0}};

    buf_init(&b, 1u << 20);
    for (size_t i = 0; rows[i].what; i++) {
        dmarc_bytes(&b, "h1", "", "m1", 100, 1);
        replaced(&b, rows[i].was, rows[i].is);
        IS(reports_keep(s, buf_view(&b), &kept, &why), ERR_SYNTAX, "%s", rows[i].what);
    }
    tls_bytes(&b, "h2");
    replaced(&b, STR("\7\0\0\0\0\0\0\0\5\0"), STR("\1\0\0\0\0\0\0\0\5\0"));
    IS(reports_keep(s, buf_view(&b), &kept, &why), ERR_SYNTAX, "sessions that have no sum");
    IS(count(s, "SELECT count(*) FROM reports WHERE id LIKE 'h%'"), 0, "nothing is kept");
}

static void
test_keep(struct store *s)
{
    CLEANUP(buf_done) struct buf b;
    struct reports_kept kept;
    struct why why = {{0}};

    buf_init(&b, 1u << 20);
    dmarc_bytes(&b, "r1", "", "m1", 100, 3);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_DONE && kept.number,
       "kept");
    IS(count(s, "SELECT count(*) FROM report_records"), 3, "with its records");
    uint64_t number = kept.number;
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_DONE &&
           kept.number == number,
       "the same mail again is done already");
    dmarc_bytes(&b, "r1", "", "m2", 100, 9);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_AGAIN &&
           kept.number == number,
       "the same report in another mail is refused");
    IS(count(s, "SELECT count(*) FROM report_records"), 3, "and changes nothing");
    dmarc_bytes(&b, "r1", "dkim", "m3", 100, 2);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_DONE && kept.replaced,
       "proved it takes that place");
    IS(count(s, "SELECT count(*) FROM report_records r JOIN reports p ON p.number = r.report "
                "WHERE p.whole"),
       2, "the former records are nobody's to see");
    IS(expire(s, &(struct reports_law){.records = 1000, .most = 1}), 1, "and go");
    IS(count(s, "SELECT count(*) FROM report_records"), 2, "in pieces");
    dmarc_bytes(&b, "r1", "dmarc", "m4", 100, 5);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_AGAIN,
       "which nobody takes then");
    dmarc_bytes(&b, "r1", "", "m5", 100, 5);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_AGAIN,
       "nor does nobody");
    proved_by = "sub.evil.test";
    dmarc_bytes(&b, "r1", "dmarc", "m6", 100, 4);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_DONE && !kept.replaced,
       "who proves to be somebody else is kept beside it");
    dmarc_bytes(&b, "taken", "dmarc", "m7", 100, 1);
    reports_keep(s, buf_view(&b), &kept, &why);
    proved_by = "evil.test";
    dmarc_bytes(&b, "r1", "dmarc", "m8", 100, 4);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_AGAIN,
       "once for all of his names");
    proved_by = "O.test";
    dmarc_bytes(&b, "taken", "dmarc", "m9", 100, 2);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_DONE,
       "whose id a stranger took before is kept");
    proved_by = "o.test";
    IS(count(s, "SELECT count(*) FROM reports WHERE whole AND id = 'r1' AND proved_by = 'o.test'"),
       1, "the first is as it was");
    tls_bytes(&b, "r1");
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_DONE,
       "a TLS report of that id is another report");
    IS(count(s, "SELECT sessions FROM report_failures"), 2, "with its failures");
    IS(count(s, "SELECT records FROM reports WHERE kind = 2"), 2, "and counts both rows");
    dmarc_bytes(&b, "nobody", "", "", 100, 1);
    IS(reports_keep(s, buf_view(&b), &kept, &why), ERR_SYNTAX, "of no mail");
}

/* Cut anywhere, with a byte more, and with each byte changed: kept whole or not at all. */
static void
test_hostile(struct store *s)
{
    CLEANUP(buf_done) struct buf good, b;
    struct reports_kept kept;
    struct why why = {{0}};
    unsigned before = count(s, "SELECT count(*) FROM reports"), bad = 0, torn = 0;

    buf_init(&good, 1u << 20);
    buf_init(&b, 1u << 20);
    tls_bytes(&good, "h1");
    for (size_t n = 0; n < good.n; n++)
        bad += reports_keep(s, str_sub(buf_view(&good), 0, n), &kept, &why) == ERR_SYNTAX;
    IS(bad, (unsigned)good.n, "cut off anywhere");
    buf_str(&b, buf_view(&good));
    buf_char(&b, 0);
    IS(reports_keep(s, buf_view(&b), &kept, &why), ERR_SYNTAX, "with a byte behind it");
    IS(count(s, "SELECT count(*) FROM reports"), before, "nothing of these stayed");
    dmarc_bytes(&good, "h2", "", "m9", 100, 2);
    for (size_t i = 0; i < good.n; i++) {
        struct report_head h;
        struct report_record x;
        struct wire w;

        buf_clear(&b);
        buf_str(&b, buf_view(&good));
        b.p[i] = (char)(b.p[i] ^ 0x81);
        if (report_wire_open(&w, buf_view(&b), &h) == 0)
            while (report_wire_record(&w, &x) == 0 && wire_left(&w))
                torn += !str_is_utf8(x.details) || x.count > REPORT_COUNT_MAX ||
                        x.disposition > REPORT_DONE_REJECT;
    }
    IS(torn, 0, "what is read is within its bounds");
}

static void
test_expire(struct store *s)
{
    CLEANUP(buf_done) struct buf b;
    struct reports_kept kept;
    struct why why = {{0}};
    struct reports_law law = {.now = 2000, .keep = 1000, .records = 1000000, .most = 4};
    char id[16], mail[16];

    buf_init(&b, 1u << 20);
    sqlite3_exec(store_db(s), "DELETE FROM reports", NULL, NULL, NULL);
    IS(count(s, "SELECT (SELECT count(*) FROM report_records) + (SELECT count(*) FROM "
                "report_policies) + (SELECT count(*) FROM report_failures)"),
       0, "rows go with their report");
    for (unsigned i = 0; i < 10; i++) {
        str_fmt(id, sizeof id, "e%u", i);
        str_fmt(mail, sizeof mail, "em%u", i);
        dmarc_bytes(&b, id, i < 5 ? "spf" : "", mail, i < 2 ? 900 : 1000 + i, 10);
        reports_keep(s, buf_view(&b), &kept, &why);
    }
    IS(expire(s, &law), 2, "those that are too old");
    IS(count(s, "SELECT count(*) FROM reports WHERE received < 1000"), 0, "and no others");
    law.records = 45;
    IS(expire(s, &law), 4, "too many records");
    IS(count(s, "SELECT count(*) FROM reports WHERE proof = ''"), 1, "nobody's go first");
    IS(count(s, "SELECT count(*) FROM reports WHERE id = 'e9'"), 1, "the latest of them last");
    law.records = 20;
    IS(expire(s, &law), 2, "then the oldest");
    IS(count(s, "SELECT count(*) FROM reports WHERE id IN ('e3', 'e4')"), 2, "and these stay");
    IS(expire(s, &law), 0, "nothing is left to do");
}

/* Who sends more than all others together pushes out his own. */
static void
test_flood(struct store *s)
{
    CLEANUP(buf_done) struct buf b;
    struct reports_kept kept;
    struct why why = {{0}};
    struct reports_law law = {.now = 5000, .keep = 4000, .records = 50, .most = 100};
    char id[16], by[32];

    buf_init(&b, 1u << 20);
    sqlite3_exec(store_db(s), "DELETE FROM reports", NULL, NULL, NULL);
    for (unsigned i = 0; i < 60; i++) {
        bool flood = i >= 10;

        str_fmt(id, sizeof id, "f%u", i);
        str_fmt(by, sizeof by, flood ? "a%u.evil.test" : "mail%u.good%u.co.uk", i, i % 5);
        proved_by = by;
        dmarc_bytes(&b, id, "dmarc", id, 2000 + i, 2);
        reports_keep(s, buf_view(&b), &kept, &why);
    }
    proved_by = "o.test";
    OK(expire(s, &law) > 0, "there are too many");
    IS(count(s, "SELECT count(*) FROM reports WHERE proved_by LIKE '%.co.uk'"), 10,
       "what others say stays");
    OK(count(s, "SELECT count(*) FROM reports WHERE proved_by LIKE '%.evil.test'") > 0,
       "and what fits of his");
    IS(count(s, "SELECT count(*) FROM reports WHERE id = 'f59'"), 1, "the latest");
}

/* What was not written to its end is seen by nobody, goes, and can be written again. */
static void
test_torn(struct store *s)
{
    CLEANUP(buf_done) struct buf b;
    struct reports_write *x = NULL;
    struct reports_kept kept;
    struct why why = {{0}};
    struct reports_law law = {.now = 2000, .keep = 1000, .records = 1000, .most = 100};

    buf_init(&b, 1u << 20);
    sqlite3_exec(store_db(s), "DELETE FROM reports", NULL, NULL, NULL);
    dmarc_bytes(&b, "torn", "dmarc", "t1", 1500, 10);
    OK(reports_begin(s, buf_view(&b), &x, &kept, &why) == 1 && reports_go(x, 4, &why) == 1,
       "four of ten");
    IS(count(s, "SELECT count(*) FROM reports WHERE whole"), 0, "not to be seen");
    law.being_written = reports_number(x);
    IS(expire(s, &law), 0, "it stays while it is written");
    reports_write_free(x);
    OK(reports_keep(s, buf_view(&b), &kept, &why) == 0 && kept.said == KEEP_DONE, "again");
    law.being_written = 0;
    IS(expire(s, &law), 1, "the torn one goes");
    OK(count(s, "SELECT count(*) FROM report_records") == 10 &&
           count(s, "SELECT count(*) FROM reports WHERE whole") == 1,
       "the other stays");
}

/* Few records with long texts are as many as their bytes. */
static void
test_weight(struct store *s)
{
    CLEANUP(buf_done) struct buf b;
    static char texts[300], id[400];
    struct reports_law law = {.now = 2000, .keep = 1000, .records = 100, .most = 1000};
    struct reports_kept kept;
    struct why why = {{0}};

    buf_init(&b, 1u << 20);
    sqlite3_exec(store_db(s), "DELETE FROM reports", NULL, NULL, NULL);
    memset(texts, 'x', sizeof(texts) - 1);
    dmarc_bytes(&b, "short", "", "w", 1500, 60);
    reports_keep(s, buf_view(&b), &kept, &why);
    IS(count(s, "SELECT weight FROM reports"), 60, "short records count one each");
    for (unsigned i = 0; i < 50; i++) {
        str_fmt(id, sizeof(id), "%u%s", i, texts);
        dmarc_bytes(&b, id, "", id, 1600 + i, 1);
        reports_keep(s, buf_view(&b), &kept, &why);
    }
    IS(count(s, "SELECT max(weight) FROM reports WHERE records = 1"), 2, "long ones more");
    IS(expire(s, &law), 1, "so they are too many");
    IS(count(s, "SELECT sum(weight) FROM reports"), 100, "and fit when the oldest went");
}

/* A store of the version before: its reports and their records stay. */
static void
test_former_version(void)
{
    static const char old[] =
        "PRAGMA foreign_keys=OFF;"
        "DROP TABLE reports;"
        "CREATE TABLE reports (number INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL,"
        " org TEXT NOT NULL, id TEXT NOT NULL, domain TEXT NOT NULL, contact TEXT NOT NULL,"
        " policy TEXT NOT NULL, errors TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT"
        " NULL, messages INTEGER NOT NULL, good INTEGER NOT NULL, bad INTEGER NOT NULL, records"
        " INTEGER NOT NULL, received INTEGER NOT NULL, mail TEXT NOT NULL, sender TEXT NOT NULL,"
        " proof TEXT NOT NULL, proved_by TEXT NOT NULL, weight INTEGER NOT NULL DEFAULT 0,"
        " UNIQUE (kind, org, id, domain)) STRICT;"
        "INSERT INTO reports VALUES (7, 1, 'o', 'x', 'd', '', '', '', 1, 2, 3, 3, 0, 1, 1500, 'm',"
        " '', 'dmarc', 'O.test', 1), (9, 1, 'o', 'y', 'd', '', '', '', 1, 2, 3, 3, 0, 1, 1500,"
        " 'n', '', '', '', 1);"
        "DELETE FROM report_records;"
        "INSERT INTO report_records VALUES (7, 1, '::', 3, 0, 1, 1, '', '', '', '', '', ''),"
        " (9, 1, '::', 3, 0, 1, 1, '', '', '', '', '', '');"
        "DELETE FROM reports WHERE number = 9;"
        "PRAGMA user_version=5;";
    struct store *s = NULL;
    struct why why = {{0}};

    IS(store_open(&s, path, &why), 0, "open");
    IS(sqlite3_exec(store_db(s), old, NULL, NULL, NULL), SQLITE_OK, "as it was: %s",
       sqlite3_errmsg(store_db(s)));
    store_close(s);
    IS(store_open(&s, path, &why), 0, "brought up to date: %s", why.text);
    IS(count(s, "SELECT count(*) FROM report_records WHERE report = 7"), 1, "records stay");
    IS(count(s, "SELECT count(*) FROM reports WHERE whole AND sender_group = 'o.test'"), 1,
       "and is known by its sender");
    IS(count(s, "SELECT seq FROM sqlite_sequence WHERE name = 'reports'"), 9,
       "no number is given twice");
    IS(count(s, "PRAGMA foreign_keys"), 1, "rows go with their report again");
    sqlite3_exec(store_db(s), "DELETE FROM reports WHERE number = 7", NULL, NULL, NULL);
    IS(count(s, "SELECT count(*) FROM report_records WHERE report = 7"), 0, "they do");
    store_close(s);
}

/* --- lines --- */

static void
test_lines(void)
{
    CLEANUP(buf_done) struct buf b;
    struct report_head h;
    struct report_record x;
    struct wire w;
    json_t *row;

    buf_init(&b, 1u << 20);
    dmarc_bytes(&b, "r1", "", "m1", 7, 1);
    report_wire_open(&w, buf_view(&b), &h);
    row = report_line_head(&h, 17);
    OK(json_integer_value(json_object_get(row, "number")) == 17, "its number");
    OK(strstr(json_string_value(json_object_get(row, "text")), "not proved: anybody"), "a warning");
    TEXT(str_c(json_string_value(json_object_get(row, "proof"))), "none", "for programs too");
    json_decref(row);
    row = report_line_head(&h, 0);
    OK(!json_object_get(row, "number") && !json_object_get(row, "proof"), "of a file: neither");
    json_decref(row);
    report_wire_record(&w, &x);
    row = report_line_record(&x);
    TEXT(str_c(json_string_value(json_object_get(row, "text"))),
         "  192.0.2.1  3 as a.test: dkim pass, spf fail, done quarantine\n      dkim pass a.test "
         "(s 1)\n      spf softfail b.test (mfrom)\n      reason forwarded a list",
         "a record");
    OK(json_array_size(json_object_get(row, "details")) == 3, "with its details");
    json_decref(row);
}

int
main(void)
{
    struct store *s = NULL;
    struct why why = {{0}};
    int fd = mkstemp(path);

    fd_close(&fd);
    test_wire();
    test_text();
    test_lines();
    IS(store_open(&s, path, &why), 0, "a store: %s", why.text);
    if (s) {
        test_forged(s);
        test_keep(s);
        test_hostile(s);
        test_expire(s);
        test_flood(s);
        test_torn(s);
        test_weight(s);
    }
    store_close(s);
    test_former_version();
    (void)unlink(path);
    return tap_done();
}
