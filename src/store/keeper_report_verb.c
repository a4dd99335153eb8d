/*
 * store/keeper_report_verb.c - control verbs about received reports: report.list, show, sources.
 *
 * Called by the keeper's role for the control socket; only reads. Each line has its text for people
 * where a table has no place for it.
 */
#include <sqlite3.h>

#include "core/clock.h"
#include "store/keeper_inner.h"
#include "store/report_line.h"

#define LINES      1000
#define LINES_MOST 2000

/* --- what was asked for --- */

struct want {
    struct str domain;
    char room[256];
    int kind; /* 0: any */
    int64_t since, limit;
    bool proved;
};

static bool
want_read(const struct verb_call *c, struct want *w)
{
    struct str kind = verb_arg(c, "kind"), since = verb_arg(c, "since"), domain;
    const json_t *limit = json_object_get(c->args, "limit");
    uint64_t span = 0;

    *w = (struct want){.limit = LINES};
    if (kind.n) {
        w->kind = str_ieq(kind, STR("dmarc"))                                 ? REPORT_KIND_DMARC
                  : str_ieq(kind, STR("tls")) || str_ieq(kind, STR("tlsrpt")) ? REPORT_KIND_TLS
                                                                              : 0;
        if (!w->kind) {
            verb_end(c, 2, "--kind is dmarc or tls");
            return false;
        }
    }
    if (since.n && str_duration(since, &span) < 0) {
        verb_end(c, 2, "--since is a time span; write for example 7d");
        return false;
    }
    w->since = since.n ? (int64_t)(clock_wall_s() - MIN(span / NS_PER_S, clock_wall_s())) : 0;
    domain = verb_arg(c, "domain");
    if (domain.n && !str_copy(domain, w->room, sizeof(w->room))) {
        verb_end(c, 2, "that is not a domain name; write for example example.com");
        return false;
    }
    str_lower(w->room, domain.n);
    w->domain = str_of(w->room, domain.n);
    if (json_is_integer(limit))
        w->limit = MIN(MAX(json_integer_value(limit), (json_int_t)1), (json_int_t)LINES_MOST);
    w->proved = json_is_true(json_object_get(c->args, "proved"));
    return true;
}

/* ?1 domain, ?2 kind, ?3 since, ?4 limit, ?5 proved. */
static int
want_bind(struct sqlite3_stmt *st, const struct want *w)
{
    int last = sqlite3_bind_parameter_count(st);

    if (store_bind(st, 1, w->domain) < 0)
        return ERR_NOMEM;
    if (last >= 2)
        sqlite3_bind_int(st, 2, w->kind);
    if (last >= 3)
        sqlite3_bind_int64(st, 3, w->since);
    if (last >= 4)
        sqlite3_bind_int64(st, 4, w->limit);
    if (last >= 5)
        sqlite3_bind_int(st, 5, w->proved);
    return 0;
}

/* --- lines --- */

static void
line(struct verb_call *c, json_t *row)
{
    char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;

    if (text) {
        c->reply->line(c->reply->ctx, str_c(text));
        c->n++;
    }
    free(text);
    json_decref(row);
}

static void
set_number(json_t *row, const char *key, struct sqlite3_stmt *st, int at)
{
    json_object_set_new(row, key, json_integer(sqlite3_column_int64(st, at)));
}

struct field { /* of a row, in the order of its SELECT */
    const char *key;
    bool text;
};

static json_t *
row_of(struct sqlite3_stmt *st, const struct field *fields, size_t n)
{
    json_t *row = json_object();

    for (size_t i = 0; row && i < n; i++) {
        if (fields[i].text)
            report_line_set(row, fields[i].key, store_column(st, (int)i));
        else
            set_number(row, fields[i].key, st, (int)i);
    }
    return row;
}

/* Runs a query whose rows become lines by `make`: 0 or negative with why. */
static int
each(struct verb_call *c, const char *sql, const struct want *w,
     json_t *(*make)(struct sqlite3_stmt *), struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(c->keeper->store, sql, &st, why);

    if (r == 0)
        r = want_bind(st, w);
    while (r == 0 && (r = store_step(c->keeper->store, st, why)) == 1) {
        line(c, make(st));
        r = 0;
    }
    return r;
}

static void
end_with(struct verb_call *c, int r, const struct why *why, const char *text)
{
    verb_end(c, r < 0 ? 1 : 0, r < 0 ? (why->text[0] ? why->text : err_text(r)) : text);
}

/* --- report list --- */

#define HEAD_COLUMNS                                                                               \
    "number, kind, org, id, domain, contact, policy, errors, mail, sender, proof, proved_by, "     \
    "since, until, messages, good, bad, records, received"

static uint64_t
count_at(struct sqlite3_stmt *st, int at)
{
    return (uint64_t)MAX(sqlite3_column_int64(st, at), (sqlite3_int64)0);
}

static json_t *
shown_head(struct sqlite3_stmt *st)
{
    struct report_head h = {.kind = (uint8_t)sqlite3_column_int(st, 1),
                            .org = store_column(st, 2),
                            .id = store_column(st, 3),
                            .domain = store_column(st, 4),
                            .contact = store_column(st, 5),
                            .policy = store_column(st, 6),
                            .errors = store_column(st, 7),
                            .facts = {.mail = store_column(st, 8),
                                      .from = store_column(st, 9),
                                      .proof = store_column(st, 10),
                                      .by = store_column(st, 11),
                                      .received = count_at(st, 18)},
                            .since = count_at(st, 12),
                            .until = count_at(st, 13),
                            .messages = count_at(st, 14),
                            .good = count_at(st, 15),
                            .bad = count_at(st, 16),
                            .rows = (uint32_t)count_at(st, 17)};

    return report_line_head(&h, count_at(st, 0));
}

/* Of a table, which has its own columns. */
static json_t *
listed_head(struct sqlite3_stmt *st)
{
    json_t *row = shown_head(st);

    if (row)
        json_object_del(row, "text");
    return row;
}

static void
report_list(struct verb_call *c)
{
    struct want w;
    struct why why = {{0}};
    char text[80];
    int r;

    if (!want_read(c, &w))
        return;
    r = each(c,
             "SELECT " HEAD_COLUMNS " FROM reports WHERE whole = 1 AND "
             "(?1 = '' OR domain = ?1 OR number IN "
             "(SELECT report FROM report_policies WHERE domain = ?1)) "
             "AND (?2 = 0 OR kind = ?2) AND received >= ?3 AND (?5 = 0 OR proof != '') "
             "ORDER BY number DESC LIMIT ?4",
             &w, listed_head, &why);
    str_fmt(text, sizeof(text), "%u report%s%s", c->n, c->n == 1 ? "" : "s",
            c->n == (unsigned)w.limit ? "; there may be more: --limit" : "");
    end_with(c, r, &why, text);
}

/* --- report show --- */

static json_t *
shown_record(struct sqlite3_stmt *st)
{
    struct report_record x = {.count = count_at(st, 1),
                              .disposition = (uint8_t)sqlite3_column_int(st, 2),
                              .dkim = (uint8_t)sqlite3_column_int(st, 3),
                              .spf = (uint8_t)sqlite3_column_int(st, 4),
                              .header_from = store_column(st, 5),
                              .envelope_from = store_column(st, 6),
                              .envelope_to = store_column(st, 7),
                              .details = store_column(st, 8)};

    (void)addr_parse(store_column(st, 0), &x.source);
    return report_line_record(&x);
}

static json_t *
shown_policy(struct sqlite3_stmt *st)
{
    struct report_policy_row x = {.type = store_column(st, 0),
                                  .domain = store_column(st, 1),
                                  .good = count_at(st, 2),
                                  .failed = count_at(st, 3),
                                  .strings = store_column(st, 4),
                                  .mxs = store_column(st, 5)};

    return report_line_policy(&x);
}

static json_t *
shown_failure(struct sqlite3_stmt *st)
{
    struct report_failure_row x = {.result = store_column(st, 0),
                                   .count = count_at(st, 1),
                                   .sending_ip = store_column(st, 2),
                                   .receiving_ip = store_column(st, 3),
                                   .mx = store_column(st, 4),
                                   .info = store_column(st, 5)};

    return report_line_failure(&x);
}

static void
report_show(struct verb_call *c)
{
    static const struct {
        const char *sql;
        json_t *(*make)(struct sqlite3_stmt *);
    } parts[] = {
        {"SELECT " HEAD_COLUMNS " FROM reports WHERE number = ?1 AND whole = 1", shown_head},
        {"SELECT source, messages, disposition, dkim, spf, header_from, envelope_from, envelope_to,"
         " details FROM report_records WHERE report = ?1 AND ?2 = 0 AND ?3 = 0 "
         "ORDER BY messages DESC, n LIMIT ?4",
         shown_record},
        {"SELECT type, domain, good, failed, strings, mxs FROM report_policies WHERE report = ?1 "
         "AND ?2 = 0 AND ?3 = 0 ORDER BY n LIMIT ?4",
         shown_policy},
        {"SELECT result, sessions, sending_ip, receiving_ip, mx, info FROM report_failures "
         "WHERE report = ?1 AND ?2 = 0 AND ?3 = 0 ORDER BY sessions DESC, n LIMIT ?4",
         shown_failure},
    };
    struct want w;
    struct why why = {{0}};
    uint64_t number;
    int r = 0;

    if (!want_read(c, &w))
        return;
    if (str_u64(verb_arg(c, "number"), &number) < 0) {
        verb_end(c, 2, "a report has a number: `gapura report list` shows it");
        return;
    }
    w.domain = verb_arg(c, "number");
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++) {
        r = each(c, parts[i].sql, &w, parts[i].make, &why);
        if (r == 0 && c->n == 0)
            r = why_set(&why, ERR_NOTFOUND, "there is no report of that number in the store");
    }
    end_with(c, r, &why, c->n > (unsigned)w.limit ? "there may be more records: --limit" : "");
}

/* --- report sources --- */

static json_t *
source_row(struct sqlite3_stmt *st)
{
    static const struct field fields[] = {
        {"source", true},  {"messages", false}, {"passed", false}, {"failed", false},
        {"dkim", false},   {"spf", false},      {"none", false},   {"quarantine", false},
        {"reject", false}, {"signer", true},    {"bounce", true},  {"reporters", false},
        {"proved", false}, {"last", false}};
    json_t *row = row_of(st, fields, ARRAY_LEN(fields));

    json_object_set_new(row, "kind", json_string("dmarc"));
    return row;
}

static json_t *
tls_row(struct sqlite3_stmt *st)
{
    static const struct field fields[] = {
        {"source", true}, {"messages", false},  {"passed", false}, {"failed", false},
        {"result", true}, {"reporters", false}, {"proved", false}, {"last", false}};
    json_t *row = row_of(st, fields, ARRAY_LEN(fields));

    json_object_set_new(row, "kind", json_string("tls"));
    return row;
}

/* A subdomain has no report of its own: it is found by its From. */
#define OF_DOMAIN                                                                                  \
    "JOIN reports p ON p.number = r.report WHERE p.whole = 1 AND p.kind = 1 AND "                  \
    "(p.domain = ?1 OR (substr(?1, -length(p.domain) - 1) = '.' || p.domain AND "                  \
    "r.header_from = ?1)) AND ?2 IN (0, 1) AND p.until >= ?3 AND (?5 = 0 OR p.proof != '') "
#define OF_POLICY                                                                                  \
    "JOIN reports p ON p.number = r.report WHERE p.whole = 1 AND ?2 IN (0, 2) AND p.until >= ?3 "  \
    "AND "                                                                                         \
    "(?5 = 0 OR p.proof != '') "

static void
report_sources(struct verb_call *c)
{
    static const struct {
        const char *sql;
        json_t *(*make)(struct sqlite3_stmt *);
    } parts[] = {
        {"SELECT r.source, sum(r.messages) AS n, "
         "sum(CASE WHEN r.dkim = 1 OR r.spf = 1 THEN r.messages ELSE 0 END), "
         "sum(CASE WHEN r.dkim = 1 OR r.spf = 1 THEN 0 ELSE r.messages END), "
         "sum(CASE WHEN r.dkim = 1 THEN r.messages ELSE 0 END), "
         "sum(CASE WHEN r.spf = 1 THEN r.messages ELSE 0 END), "
         "sum(CASE WHEN r.disposition < 2 THEN r.messages ELSE 0 END), "
         "sum(CASE WHEN r.disposition = 2 THEN r.messages ELSE 0 END), "
         "sum(CASE WHEN r.disposition = 3 THEN r.messages ELSE 0 END), "
         "max(r.signer), max(r.bounce), count(DISTINCT p.org), "
         "sum(CASE WHEN p.proof != '' THEN r.messages ELSE 0 END), max(p.until) "
         "FROM report_records r " OF_DOMAIN "GROUP BY r.source ORDER BY n DESC, r.source LIMIT ?4",
         source_row},
        {"SELECT r.type, sum(r.good) + sum(r.failed) AS n, sum(r.good), sum(r.failed), '', "
         "count(DISTINCT p.org), "
         "sum(CASE WHEN p.proof != '' THEN r.good + r.failed ELSE 0 END), max(p.until) "
         "FROM report_policies r " OF_POLICY
         "AND r.domain = ?1 GROUP BY r.type ORDER BY n DESC, r.type LIMIT ?4",
         tls_row},
        {"SELECT r.mx, sum(r.sessions) AS n, 0, sum(r.sessions), r.result, count(DISTINCT p.org), "
         "sum(CASE WHEN p.proof != '' THEN r.sessions ELSE 0 END), max(p.until) "
         "FROM report_failures r " OF_POLICY
         "AND EXISTS (SELECT 1 FROM report_policies q WHERE q.report = r.report AND "
         "q.n = r.policy AND q.domain = ?1) "
         "GROUP BY r.result, r.mx ORDER BY n DESC, r.result LIMIT ?4",
         tls_row},
    };
    struct want w;
    struct why why = {{0}};
    char text[120];
    int r = 0;

    if (!want_read(c, &w))
        return;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(parts); i++)
        r = each(c, parts[i].sql, &w, parts[i].make, &why);
    str_fmt(text, sizeof(text), "%s",
            c->n
                ? ""
                : "no report in the store speaks of that domain; `gapura domain dns` shows what to "
                  "publish so that reports come");
    end_with(c, r, &why, text);
}

const struct keeper_verb_row report_verbs[] = {
    {"report.list", report_list, true},
    {"report.show", report_show, true},
    {"report.sources", report_sources, true},
};
const size_t report_nverbs = ARRAY_LEN(report_verbs);
