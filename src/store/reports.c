/*
 * store/reports.c - writes received reports into the store, and lets old ones go.
 *
 * Called by the keeper with what the scan role read. What stands in it is a stranger's: it gets
 * into SQL only as parameters. A report that is not whole yet, or no longer, is nobody's to see.
 */
#include "store/reports.h"

#include <sqlite3.h>

#define WEIGHT_BYTES 512u /* a record is hardly ever longer */
#define GROUP_MAX    255u

/* --- who proved to have sent it --- */

/* Where what one organisation may have begins: its last two labels, or three below such as co.uk.
 * A guess, since the keeper reads no list of suffixes; a wrong one shares a share with neighbours.
 */
static struct str
group_of(struct str domain)
{
    ssize_t dot = str_rchr(domain, '.'), second, third;
    struct str rest;

    if (dot <= 0)
        return domain;
    rest = str_sub(domain, 0, (size_t)dot);
    second = str_rchr(rest, '.');
    if (second < 0)
        return domain;
    if (domain.n - (size_t)dot - 1 > 2 || rest.n - (size_t)second - 1 > 3)
        return str_from(domain, (size_t)second + 1);
    third = str_rchr(str_sub(rest, 0, (size_t)second), '.');
    return str_from(domain, (size_t)(third + 1));
}

/* Empty: nobody. */
static struct str
sender_group(const struct report_facts *f, char room[GROUP_MAX + 1])
{
    struct str group = str_sub(group_of(f->by), 0, GROUP_MAX);

    if (!f->proof.n)
        return STR_NONE;
    if (!group.n)
        return STR("?");
    str_copy(group, room, GROUP_MAX + 1);
    str_lower(room, group.n);
    return str_of(room, group.n);
}

/* --- one report --- */

struct reports_write {
    struct store *store;
    struct wire w;
    struct report_head h; /* views of the bytes */
    sqlite3_int64 number, replaces;
    uint32_t rows, policies, failures; /* written */
    uint32_t left;                     /* failures of the policy that was written last */
    char group[GROUP_MAX + 1];
};

static int
corrupt(struct why *why)
{
    return why_set(why, ERR_SYNTAX, "what the scan role said of the report is not of its form");
}

/* To the last byte, before anything is written. */
static bool
is_whole(struct wire w, const struct report_head *h)
{
    struct report_policy_row policy;
    struct report_failure_row failure;
    struct report_record record;
    struct report_sums sums = {0};
    uint64_t rows = h->records;

    for (uint32_t i = 0; i < h->records; i++) {
        if (h->kind == REPORT_KIND_DMARC) {
            if (report_wire_record(&w, &record) < 0)
                return false;
            report_wire_sum(&sums, &record, NULL);
            continue;
        }
        if (report_wire_policy(&w, &policy) < 0)
            return false;
        report_wire_sum(&sums, NULL, &policy);
        rows += policy.failures;
        for (uint32_t k = 0; k < policy.failures; k++)
            if (report_wire_failure(&w, &failure) < 0)
                return false;
    }
    return wire_end(&w) && rows == h->rows && report_wire_sums_are(&sums, h);
}

struct known { /* the same report, from before */
    sqlite3_int64 number;
    bool same_mail, same_sender, proved;
};

/* The one of several that says most: 1 there is one, 0 none. Who proves to be somebody else cannot
 * take a report's place by its name: there are two of it then. */
static int
find(struct store *s, const struct report_head *h, struct str group, struct known *ret,
     struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "SELECT number, mail = ?5, sender_group = ?6, sender_group != '' FROM "
                          "reports WHERE kind = ?1 AND org = ?2 AND id = ?3 AND domain = ?4 AND "
                          "whole = 1 ORDER BY 2 DESC, 3 DESC, 4 LIMIT 1",
                          &st, why);

    if (r < 0)
        return r;
    sqlite3_bind_int(st, 1, h->kind);
    if (store_bind(st, 2, h->org) < 0 || store_bind(st, 3, h->id) < 0 ||
        store_bind(st, 4, h->domain) < 0 || store_bind(st, 5, h->facts.mail) < 0 ||
        store_bind(st, 6, group) < 0)
        return why_set(why, ERR_NOMEM, "out of memory");
    r = store_step(s, st, why);
    if (r == 1)
        *ret = (struct known){sqlite3_column_int64(st, 0), sqlite3_column_int(st, 1) != 0,
                              sqlite3_column_int(st, 2) != 0, sqlite3_column_int(st, 3) != 0};
    return r;
}

static int
run_number(struct store *s, const char *sql, sqlite3_int64 number, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, sql, &st, why);

    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, number);
    return store_step(s, st, why);
}

static int
head_add(struct store *s, const struct report_head *h, struct str group, uint64_t weight,
         sqlite3_int64 *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    const struct str texts[] = {h->org,         h->id,       h->domain,     h->contact,
                                h->policy,      h->errors,   h->facts.mail, h->facts.from,
                                h->facts.proof, h->facts.by, group};
    const uint64_t numbers[] = {h->since, h->until, h->messages,       h->good,
                                h->bad,   h->rows,  h->facts.received, weight};
    int r = store_prepare(
        s,
        "INSERT INTO reports(kind, org, id, domain, contact, policy, errors, mail,"
        " sender, proof, proved_by, sender_group, since, until, messages, good, bad, records,"
        " received, weight, whole) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
        "?, ?, 0)",
        &st, why);

    if (r < 0)
        return r;
    sqlite3_bind_int(st, 1, h->kind);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (store_bind(st, (int)i + 2, texts[i]) < 0)
            return why_set(why, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sqlite3_bind_int64(st, (int)(2 + ARRAY_LEN(texts) + i), (sqlite3_int64)numbers[i]);
    r = store_step(s, st, why);
    *ret = sqlite3_last_insert_rowid(store_db(s));
    return r;
}

/* A prepared row again with other values. */
static int
row_step(struct store *s, struct sqlite3_stmt *st, struct why *why)
{
    int r = store_step(s, st, why);

    sqlite3_reset(st);
    return r;
}

static int
record_add(struct store *s, struct sqlite3_stmt *st, const struct report_record *x, struct why *why)
{
    const struct str texts[] = {x->header_from, x->envelope_from, x->envelope_to,
                                x->signer,      x->bounce,        x->details};
    char ip[48];

    store_bind(st, 3, str_c(addr_show(&x->source, ip)));
    sqlite3_bind_int64(st, 4, (sqlite3_int64)x->count);
    sqlite3_bind_int(st, 5, x->disposition);
    sqlite3_bind_int(st, 6, x->dkim);
    sqlite3_bind_int(st, 7, x->spf);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (store_bind(st, (int)i + 8, texts[i]) < 0)
            return why_set(why, ERR_NOMEM, "out of memory");
    return row_step(s, st, why);
}

struct statements {
    struct sqlite3_stmt *record, *policy, *failure;
};

static void
statements_done(struct statements *st)
{
    sqlite3_finalize(st->record);
    sqlite3_finalize(st->policy);
    sqlite3_finalize(st->failure);
}

static int
statements_make(struct reports_write *x, struct statements *st, struct why *why)
{
    int r;

    if (x->h.kind == REPORT_KIND_DMARC)
        return store_prepare(
            x->store,
            "INSERT INTO report_records(report, n, source, messages, disposition, dkim, spf,"
            " header_from, envelope_from, envelope_to, signer, bounce, details)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &st->record, why);
    r = store_prepare(x->store,
                      "INSERT INTO report_policies(report, n, type, domain, strings, mxs, good,"
                      " failed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                      &st->policy, why);
    if (r == 0)
        r = store_prepare(x->store,
                          "INSERT INTO report_failures(report, policy, n, result, sending_ip,"
                          " receiving_ip, mx, info, sessions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                          &st->failure, why);
    return r;
}

static int
failure_add(struct reports_write *x, struct sqlite3_stmt *st, struct why *why)
{
    struct report_failure_row f;

    if (report_wire_failure(&x->w, &f) < 0)
        return corrupt(why);
    const struct str texts[] = {f.result, f.sending_ip, f.receiving_ip, f.mx, f.info};
    sqlite3_bind_int64(st, 1, x->number);
    sqlite3_bind_int64(st, 2, x->policies);
    sqlite3_bind_int64(st, 3, ++x->failures);
    for (size_t k = 0; k < ARRAY_LEN(texts); k++)
        if (store_bind(st, (int)k + 4, texts[k]) < 0)
            return why_set(why, ERR_NOMEM, "out of memory");
    sqlite3_bind_int64(st, 9, (sqlite3_int64)f.count);
    x->left--;
    return row_step(x->store, st, why);
}

static int
policy_add(struct reports_write *x, struct sqlite3_stmt *st, struct why *why)
{
    struct report_policy_row p;

    if (report_wire_policy(&x->w, &p) < 0)
        return corrupt(why);
    const struct str texts[] = {p.type, p.domain, p.strings, p.mxs};
    sqlite3_bind_int64(st, 1, x->number);
    sqlite3_bind_int64(st, 2, ++x->policies);
    for (size_t k = 0; k < ARRAY_LEN(texts); k++)
        if (store_bind(st, (int)k + 3, texts[k]) < 0)
            return why_set(why, ERR_NOMEM, "out of memory");
    sqlite3_bind_int64(st, 7, (sqlite3_int64)p.good);
    sqlite3_bind_int64(st, 8, (sqlite3_int64)p.failed);
    x->left = p.failures;
    return row_step(x->store, st, why);
}

static int
row_add(struct reports_write *x, const struct statements *st, struct why *why)
{
    struct report_record record;

    if (x->h.kind != REPORT_KIND_DMARC)
        return x->left ? failure_add(x, st->failure, why) : policy_add(x, st->policy, why);
    if (report_wire_record(&x->w, &record) < 0)
        return corrupt(why);
    sqlite3_bind_int64(st->record, 1, x->number);
    sqlite3_bind_int64(st->record, 2, x->rows + 1);
    return record_add(x->store, st->record, &record, why);
}

/* All rows are there: from now on it is to be seen, and the one that it replaces no longer. */
static int
show(struct reports_write *x, struct why *why)
{
    int r = 0;

    if (x->replaces)
        r = run_number(x->store, "UPDATE reports SET whole = 0 WHERE number = ?", x->replaces, why);
    return r < 0 ? r
                 : run_number(x->store, "UPDATE reports SET whole = 1 WHERE number = ?", x->number,
                              why);
}

static int
rows_add(struct reports_write *x, unsigned most, struct why *why)
{
    CLEANUP(statements_done) struct statements st = {0};
    int r = statements_make(x, &st, why);

    for (unsigned i = 0; r == 0 && i < most && x->rows < x->h.rows; i++) {
        r = row_add(x, &st, why);
        x->rows++;
    }
    return r == 0 && x->rows == x->h.rows ? show(x, why) : r;
}

int
reports_go(struct reports_write *x, unsigned most, struct why *why)
{
    int r = store_begin(x->store, why);

    if (r == 0)
        r = store_end(x->store, rows_add(x, most, why), why);
    return r < 0 ? r : x->rows < x->h.rows;
}

uint64_t
reports_number(const struct reports_write *x)
{
    return x ? (uint64_t)x->number : 0;
}

void
reports_write_free(struct reports_write *x)
{
    free(x);
}

int
reports_begin(struct store *s, struct str bytes, struct reports_write **ret,
              struct reports_kept *ret_kept, struct why *why)
{
    struct reports_write *x = calloc(1, sizeof(*x));
    struct known known = {0};
    struct str group;
    bool again;
    int r;

    if (!x)
        return why_set(why, ERR_NOMEM, "out of memory");
    x->store = s;
    r = report_wire_open(&x->w, bytes, &x->h);
    if (r < 0 || !x->h.facts.mail.n || !is_whole(x->w, &x->h)) {
        free(x);
        return corrupt(why);
    }
    group = sender_group(&x->h.facts, x->group);
    r = find(s, &x->h, group, &known, why);
    again = r == 1 && (known.same_mail || known.same_sender || !group.n);
    *ret_kept = (struct reports_kept){.said = KEEP_DONE, .number = (uint64_t)known.number};
    if (again && !known.same_mail)
        ret_kept->said = KEEP_AGAIN;
    if (r == 1 && !again && !known.proved)
        x->replaces = known.number;
    /* Few records with long texts take as much room as many. */
    if (r >= 0 && !again)
        r = head_add(s, &x->h, group, MAX((uint64_t)x->h.rows, bytes.n / WEIGHT_BYTES + 1),
                     &x->number, why);
    if (r < 0 || again) {
        free(x);
        return MIN(r, 0);
    }
    ret_kept->number = (uint64_t)x->number;
    ret_kept->replaced = x->replaces != 0;
    *ret = x;
    return 1;
}

/* --- all of them --- */

static int
one_number(struct store *s, const char *sql, sqlite3_int64 a, sqlite3_int64 *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, sql, &st, why);

    if (r < 0)
        return r;
    if (sqlite3_bind_parameter_count(st))
        sqlite3_bind_int64(st, 1, a);
    r = store_step(s, st, why);
    if (r == 1)
        *ret = sqlite3_column_int64(st, 0);
    return r;
}

/* The oldest of nobody's; then the oldest of whoever has most there: who sends much pushes out his
 * own, and not what others say. */
static int
too_many(struct store *s, sqlite3_int64 *ret, struct why *why)
{
    int r = one_number(s,
                       "SELECT number FROM reports WHERE whole = 1 AND sender_group = '' "
                       "ORDER BY received, number LIMIT 1",
                       0, ret, why);

    return r != 0 ? r
                  : one_number(s,
                               "SELECT number FROM reports WHERE whole = 1 AND sender_group = "
                               "(SELECT sender_group FROM reports WHERE whole = 1 GROUP BY "
                               "sender_group ORDER BY sum(weight) DESC, sender_group LIMIT 1) "
                               "ORDER BY received, number LIMIT 1",
                               0, ret, why);
}

/* The first that must go: 1 and which, 0 none. */
static int
next_to_go(struct store *s, const struct reports_law *law, sqlite3_int64 *ret, struct why *why)
{
    sqlite3_int64 weight = 0;
    int r = one_number(s, "SELECT number FROM reports WHERE whole = 1 AND received < ? LIMIT 1",
                       (sqlite3_int64)(law->now - MIN(law->keep, law->now)), ret, why);

    if (r != 0)
        return r;
    r = one_number(s, "SELECT coalesce(sum(weight), 0) FROM reports WHERE whole = 1", 0, &weight,
                   why);
    if (r < 0 || weight <= (sqlite3_int64)law->records)
        return MIN(r, 0);
    return too_many(s, ret, why);
}

/* At most `most` rows of it; *ret_n: how many there were. */
static int
rows_drop(struct store *s, sqlite3_int64 number, unsigned most, unsigned *ret_n, struct why *why)
{
    static const char *const tables[] = {"report_records", "report_failures", "report_policies"};
    char sql[200];
    int r = 0;

    *ret_n = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(tables) && *ret_n < most; i++) {
        str_fmt(sql, sizeof(sql),
                "DELETE FROM %s WHERE report = ?1 AND n < %u + "
                "(SELECT min(n) FROM %s WHERE report = ?1)",
                tables[i], most - *ret_n, tables[i]);
        r = run_number(s, sql, number, why);
        *ret_n += r == 0 ? (unsigned)sqlite3_changes(store_db(s)) : 0;
    }
    return r;
}

static int
some_go(struct store *s, const struct reports_law *law, bool *ret_more, struct why *why)
{
    unsigned budget = law->most, n;
    sqlite3_int64 number = 0;
    int r = 0;

    *ret_more = true;
    while (budget > 0) {
        r = one_number(s, "SELECT number FROM reports WHERE whole = 0 AND number != ? LIMIT 1",
                       (sqlite3_int64)law->being_written, &number, why);
        if (r == 0) {
            r = next_to_go(s, law, &number, why);
            *ret_more = r != 0;
            if (r == 1)
                r = run_number(s, "UPDATE reports SET whole = 0 WHERE number = ?", number, why);
            if (r < 0 || !*ret_more)
                return r;
        }
        r = r < 0 ? r : rows_drop(s, number, budget, &n, why);
        if (r == 0 && n < budget)
            r = run_number(s, "DELETE FROM reports WHERE number = ?", number, why);
        if (r < 0)
            return r;
        budget -= MIN(n + 1, budget);
    }
    return 0;
}

int
reports_expire(struct store *s, const struct reports_law *law, bool *ret_more, struct why *why)
{
    bool more = false;
    int r = store_begin(s, why);

    if (r == 0)
        r = store_end(s, some_go(s, law, &more, why), why);
    if (r == 0)
        *ret_more = more;
    return r;
}
