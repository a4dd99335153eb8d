/*
 * store/store.c - opens the SQLite database and gives its few shared operations.
 *
 * Called by users.c and the keeper, in one thread. Never reads anything that a stranger sent.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "core/clock.h"

struct store {
    sqlite3 *db;
};

static int
db_fail(struct store *s, struct why *why, const char *doing)
{
    int code = s->db ? sqlite3_errcode(s->db) : SQLITE_NOMEM;
    const char *text = s->db ? sqlite3_errmsg(s->db) : "out of memory";

    switch (code & 0xff) {
    case SQLITE_FULL:
        return why_set(why, ERR_FULL, "%s: the disk is full; nothing was changed", doing);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return why_set(why, ERR_CORRUPT, "%s: the store is damaged (%s); put a backup in its place",
                       doing, text);
    case SQLITE_CONSTRAINT:
        return why_set(why, ERR_EXISTS, "%s: %s", doing, text);
    default:
        return why_set(why, ERR_STATE, "%s: %s", doing, text);
    }
}

static int
db_exec(struct store *s, const char *sql, struct why *why)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(s, why, "store");
}

/* SQLite gives its side files the mode of the main file, so that is made first. */
static int
create_file(const char *path, struct why *why)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return why_set(why, -errno,
                       "cannot open the store %s: %s; its directory must exist and "
                       "be writable for the keeper's user",
                       path, strerror(errno));
    close(fd);
    return 0;
}

int
store_open(struct store **ret, const char *path, struct why *why)
{
    struct store *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return why_set(why, ERR_NOMEM, "out of memory for the store");
    r = create_file(path, why);
    if (r == 0 &&
        sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK)
        r = db_fail(s, why, "cannot open the store");
    if (r == 0) {
        sqlite3_busy_timeout(s->db, 5000); /* a backup or an sqlite3 shell may hold it shortly */
        sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 64 << 20);
        /* Temporary files would be outside of the keeper's sandbox. */
        r = db_exec(s,
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                    "PRAGMA trusted_schema=OFF; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;",
                    why);
    }
    if (r == 0)
        r = store_migrate(s, why);
    if (r < 0) {
        store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void
store_close(struct store *s)
{
    if (!s)
        return;
    sqlite3_close_v2(s->db);
    free(s);
}

struct sqlite3 *
store_db(struct store *s)
{
    return s->db;
}

int
store_begin(struct store *s, struct why *why)
{
    return db_exec(s, "BEGIN IMMEDIATE", why);
}

int
store_end(struct store *s, int r, struct why *why)
{
    if (r == 0)
        r = db_exec(s, "COMMIT", why);
    if (r < 0 && !sqlite3_get_autocommit(s->db))
        (void)db_exec(s, "ROLLBACK", NULL);
    return r;
}

int
store_prepare(struct store *s, const char *sql, struct sqlite3_stmt **ret, struct why *why)
{
    return sqlite3_prepare_v2(s->db, sql, -1, ret, NULL) == SQLITE_OK ? 0
                                                                      : db_fail(s, why, "store");
}

void
store_finalize(struct sqlite3_stmt **st)
{
    sqlite3_finalize(*st);
    *st = NULL;
}

int
store_bind(struct sqlite3_stmt *st, int at, struct str text)
{
    return sqlite3_bind_text(st, at, text.n ? text.p : "", (int)text.n, SQLITE_TRANSIENT) ==
                   SQLITE_OK
               ? 0
               : ERR_NOMEM;
}

struct str
store_column(struct sqlite3_stmt *st, int at)
{
    const unsigned char *p = sqlite3_column_text(st, at);

    return str_of(p, p ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

int
store_step(struct store *s, struct sqlite3_stmt *st, struct why *why)
{
    switch (sqlite3_step(st)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return db_fail(s, why, "store");
    }
}

int
store_next(struct store *s, const char *counter, uint64_t *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    uint64_t value;
    int r = store_prepare(s,
                          "INSERT INTO counters(name, value) VALUES (?, 1) ON CONFLICT(name) DO "
                          "UPDATE SET value = value + 1 RETURNING value",
                          &st, why);

    if (r == 0)
        r = store_bind(st, 1, str_c(counter));
    if (r < 0)
        return r;
    r = store_step(s, st, why);
    if (r < 0)
        return r;
    value = (uint64_t)sqlite3_column_int64(st, 0);
    r = store_step(s, st, why); /* the change is made when the statement is through */
    if (r < 0)
        return r;
    *ret = value;
    return 0;
}

int
store_note(struct store *s, const char *what, struct str name, struct str reason, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, "INSERT INTO changes(at, what, name, reason) VALUES (?, ?, ?, ?)", &st,
                          why);

    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)clock_wall_s());
    r = store_bind(st, 2, str_c(what));
    r = r < 0 ? r : store_bind(st, 3, name);
    r = r < 0 ? r : store_bind(st, 4, reason);
    return r < 0 ? r : store_step(s, st, why);
}
