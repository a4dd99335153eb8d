/*
 * store/reports.c - writes received reports into the store, and lets old ones go.
 *
 * Called by the keeper with what the scan role read. What stands in it is a stranger's: it gets
 * into SQL only as parameters.
 */
#include "store/reports.h"

#include <sqlite3.h>

#define WEIGHT_BYTES 512u /* a record is hardly ever longer */
#define WEIGHT_GONE                                                                                \
    20000u /* at a time: some tenths of a second in which the keeper does nothing else */

/* --- one report --- */

struct known { /* the same report, from before */
    sqlite3_int64 number;
    bool proved, same_mail;
};

/* 1 there is one, 0 none. */
static int
find(struct store *s, const struct report_head *h, struct known *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "SELECT number, proof != '', mail = ?5 FROM reports "
                          "WHERE kind = ?1 AND org = ?2 AND id = ?3 AND domain = ?4",
                          &st, why);

    if (r < 0)
        return r;
    sqlite3_bind_int(st, 1, h->kind);
    if (store_bind(st, 2, h->org) < 0 || store_bind(st, 3, h->id) < 0 ||
        store_bind(st, 4, h->domain) < 0 || store_bind(st, 5, h->facts.mail) < 0)
        return why_set(why, ERR_NOMEM, "out of memory");
    r = store_step(s, st, why);
    if (r == 1)
        *ret = (struct known){sqlite3_column_int64(st, 0), sqlite3_column_int(st, 1) != 0,
                              sqlite3_column_int(st, 2) != 0};
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
head_add(struct store *s, const struct report_head *h, uint64_t weight, sqlite3_int64 *ret,
         struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    const struct str texts[] = {h->org,         h->id,      h->domain,     h->contact,
                                h->policy,      h->errors,  h->facts.mail, h->facts.from,
                                h->facts.proof, h->facts.by};
    const uint64_t numbers[] = {h->since, h->until, h->messages,       h->good,
                                h->bad,   h->rows,  h->facts.received, weight};
    int r = store_prepare(
        s,
        "INSERT INTO reports(kind, org, id, domain, contact, policy, errors, mail,"
        " sender, proof, proved_by, since, until, messages, good, bad, records,"
        " received, weight) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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

static int
corrupt(struct why *why)
{
    return why_set(why, ERR_CORRUPT, "what the scan role said of the report is not of its form");
}

static int
records_add(struct store *s, struct wire *w, const struct report_head *h, sqlite3_int64 number,
            struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    struct report_record x;
    int r = store_prepare(s,
                          "INSERT INTO report_records(report, n, source, messages, disposition,"
                          " dkim, spf, header_from, envelope_from, envelope_to, signer, bounce,"
                          " details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                          &st, why);

    for (uint32_t i = 0; r == 0 && i < h->records; i++) {
        if (report_wire_record(w, &x) < 0)
            return corrupt(why);
        sqlite3_bind_int64(st, 1, number);
        sqlite3_bind_int64(st, 2, i + 1);
        r = record_add(s, st, &x, why);
    }
    return r == 0 && h->records != h->rows ? corrupt(why) : r;
}

static int
failures_add(struct store *s, struct wire *w, struct sqlite3_stmt *st, uint32_t count, uint32_t *n,
             struct why *why)
{
    struct report_failure_row x;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < count; i++) {
        if (report_wire_failure(w, &x) < 0)
            return corrupt(why);
        const struct str texts[] = {x.result, x.sending_ip, x.receiving_ip, x.mx, x.info};
        sqlite3_bind_int64(st, 3, ++*n);
        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            if (store_bind(st, (int)k + 4, texts[k]) < 0)
                return why_set(why, ERR_NOMEM, "out of memory");
        sqlite3_bind_int64(st, 9, (sqlite3_int64)x.count);
        r = row_step(s, st, why);
    }
    return r;
}

static int
policies_add(struct store *s, struct wire *w, const struct report_head *h, sqlite3_int64 number,
             struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL, *failures = NULL;
    struct report_policy_row x;
    uint32_t nfailures = 0;
    int r = store_prepare(s,
                          "INSERT INTO report_policies(report, n, type, domain, strings, mxs, good,"
                          " failed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                          &st, why);

    if (r == 0)
        r = store_prepare(s,
                          "INSERT INTO report_failures(report, policy, n, result, sending_ip,"
                          " receiving_ip, mx, info, sessions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                          &failures, why);
    for (uint32_t i = 0; r == 0 && i < h->records; i++) {
        if (report_wire_policy(w, &x) < 0)
            return corrupt(why);
        const struct str texts[] = {x.type, x.domain, x.strings, x.mxs};
        sqlite3_bind_int64(st, 1, number);
        sqlite3_bind_int64(st, 2, i + 1);
        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            if (store_bind(st, (int)k + 3, texts[k]) < 0)
                return why_set(why, ERR_NOMEM, "out of memory");
        sqlite3_bind_int64(st, 7, (sqlite3_int64)x.good);
        sqlite3_bind_int64(st, 8, (sqlite3_int64)x.failed);
        r = row_step(s, st, why);
        sqlite3_bind_int64(failures, 1, number);
        sqlite3_bind_int64(failures, 2, i + 1);
        if (r == 0)
            r = failures_add(s, w, failures, x.failures, &nfailures, why);
    }
    return r == 0 && (uint64_t)h->records + nfailures != h->rows ? corrupt(why) : r;
}

static int
add(struct store *s, struct wire *w, const struct report_head *h, uint64_t weight,
    struct reports_kept *ret, struct why *why)
{
    struct known known = {0};
    sqlite3_int64 number = 0;
    int r = find(s, h, &known, why);

    *ret = (struct reports_kept){.said = KEEP_DONE};
    if (r == 1) {
        ret->number = (uint64_t)known.number;
        ret->replaced = !known.same_mail && !known.proved && h->facts.proof.n;
        if (!ret->replaced) {
            ret->said = known.same_mail ? KEEP_DONE : KEEP_AGAIN;
            return 0;
        }
        r = run_number(s, "DELETE FROM reports WHERE number = ?", known.number, why);
    }
    if (r == 0)
        r = head_add(s, h, weight, &number, why);
    if (r == 0)
        r = h->kind == REPORT_KIND_DMARC ? records_add(s, w, h, number, why)
                                         : policies_add(s, w, h, number, why);
    if (r == 0 && !wire_end(w))
        r = corrupt(why);
    ret->number = (uint64_t)number;
    return r;
}

int
reports_keep(struct store *s, struct str bytes, struct reports_kept *ret, struct why *why)
{
    struct reports_kept kept = {.said = KEEP_LATER};
    struct report_head h = {0};
    struct wire w;
    int r = report_wire_open(&w, bytes, &h);

    if (r < 0 || !h.facts.mail.n)
        return corrupt(why);
    r = store_begin(s, why);
    if (r < 0)
        return r;
    /* Few records with long texts take as much room as many. */
    r = store_end(s, add(s, &w, &h, MAX((uint64_t)h.rows, bytes.n / WEIGHT_BYTES + 1), &kept, why),
                  why);
    if (r == 0)
        *ret = kept;
    return r;
}

/* --- all of them --- */

static int
weight_all(struct store *s, sqlite3_int64 *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, "SELECT coalesce(sum(weight), 0) FROM reports", &st, why);

    if (r == 0)
        r = store_step(s, st, why);
    if (r == 1)
        *ret = sqlite3_column_int64(st, 0);
    return MIN(r, 0);
}

struct leaving {
    sqlite3_int64 number, weight;
};

/* The first that must go: 1 and which, 0 none. */
static int
next_to_go(struct store *s, const struct reports_law *law, sqlite3_int64 weight,
           struct leaving *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "SELECT number, weight FROM reports WHERE received < ?1 UNION ALL "
                          "SELECT * FROM (SELECT number, weight FROM reports WHERE ?3 > ?2 "
                          "ORDER BY proof != '', received, number LIMIT 1) LIMIT 1",
                          &st, why);

    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)(law->now - MIN(law->keep, law->now)));
    sqlite3_bind_int64(st, 2, (sqlite3_int64)law->records);
    sqlite3_bind_int64(st, 3, weight);
    r = store_step(s, st, why);
    if (r == 1)
        *ret = (struct leaving){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1)};
    return r;
}

int
reports_expire(struct store *s, const struct reports_law *law, unsigned most, unsigned *ret_gone,
               struct why *why)
{
    struct leaving it = {0};
    sqlite3_int64 all = 0, left = WEIGHT_GONE;
    unsigned gone = 0;
    int r = weight_all(s, &all, why); /* once: it reads all of an index */

    while (r == 0 && gone < most && left > 0 && (r = next_to_go(s, law, all, &it, why)) == 1) {
        r = run_number(s, "DELETE FROM reports WHERE number = ?", it.number, why);
        all -= it.weight;
        left -= it.weight;
        gone++;
    }
    if (r < 0)
        return r;
    *ret_gone = gone;
    return 0;
}
