/*
 * store/sqlite_lookup.c - a recipient asked of somebody else's SQLite database, read-only.
 *
 * Runs in a thread of the keeper. Opens the file anew for each question: it may have been replaced,
 * and the gate remembers answers.
 */
#include <sqlite3.h>

#include "core/clock.h"
#include "store/directory.h"

#define TIME_MAX (5 * NS_PER_S)

static int
progress(void *ctx)
{
    const uint64_t *until = ctx;

    return clock_mono() > *until;
}

static int
bind(sqlite3_stmt *st, const struct lookup *l)
{
    const struct str values[] = {l->address, l->local, l->domain};
    int n = sqlite3_bind_parameter_count(st), r = SQLITE_OK;

    if (n > (int)ARRAY_LEN(values))
        return SQLITE_RANGE;
    for (int i = 0; i < n && r == SQLITE_OK; i++)
        r = sqlite3_bind_text(st, i + 1, values[i].p, (int)values[i].n, SQLITE_STATIC);
    return r;
}

/* A text with an @ in the first column is where the mail goes, unless it is the recipient. */
static void
take_row(struct lookup *l, sqlite3_stmt *st)
{
    const unsigned char *p = sqlite3_column_text(st, 0);
    struct str text = str_of(p, p ? (size_t)sqlite3_column_bytes(st, 0) : 0);

    l->result = LOOKUP_FOUND;
    if (str_chr(text, '@') > 0 && !str_ieq(text, l->address))
        directory_lookup_add(l, text);
}

static void
ask(sqlite3 *db, struct lookup *l)
{
    sqlite3_stmt *st = NULL;
    int r = sqlite3_prepare_v2(db, l->query.p, (int)l->query.n, &st, NULL);

    r = r == SQLITE_OK ? bind(st, l) : r;
    while (r == SQLITE_OK || (r == SQLITE_ROW && l->result != LOOKUP_TEMPORARY)) {
        r = sqlite3_step(st);
        if (r == SQLITE_ROW)
            take_row(l, st);
    }
    if (r == SQLITE_RANGE)
        directory_lookup_failed(l, "%s: recipient_query has more than three ?", l->place.p);
    else if (r != SQLITE_DONE && l->result != LOOKUP_TEMPORARY)
        directory_lookup_failed(l, "%s: recipient_query: %s", l->place.p, sqlite3_errmsg(db));
    sqlite3_finalize(st);
}

void
sqlite_lookup(struct lookup *l)
{
    sqlite3 *db = NULL;
    uint64_t until = clock_mono() + TIME_MAX;

    if (sqlite3_open_v2(l->place.p, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        directory_lookup_failed(l, "cannot open %s: %s", l->place.p,
                                db ? sqlite3_errmsg(db) : "no memory");
    } else {
        sqlite3_busy_timeout(db, 1000);
        sqlite3_progress_handler(db, 10000, progress, &until);
        ask(db, l);
    }
    sqlite3_close_v2(db);
}
