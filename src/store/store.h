/*
 * store/store.h - the SQLite database of what people enter at run time; the keeper alone opens it.
 *
 * WAL, synchronous=FULL: what was confirmed is on disk. The schema is a list of numbered steps
 * (store/schema.c); a database of a newer program is refused.
 */
#ifndef GAPURA_STORE_STORE_H
#define GAPURA_STORE_STORE_H

#include "core/err.h"
#include "core/str.h"

struct sqlite3;
struct sqlite3_stmt;
struct store;

/* Creates the file (mode 0600) where there is none, and brings its schema up to date. */
int store_open(struct store **ret, const char *path, struct why *);
void store_close(struct store *);
struct sqlite3 *store_db(struct store *);

int store_begin(struct store *, struct why *);
/* Ends what store_begin began: commits if r is 0, else rolls back. Returns r or the failure. */
int store_end(struct store *, int r, struct why *);
/* A number that only grows, over restarts as well: generations of snapshots. Negative: error. */
int store_next(struct store *, const char *counter, uint64_t *ret, struct why *);
/* Notes who changed what; in the transaction of the change. */
int store_note(struct store *, const char *what, struct str name, struct str reason, struct why *);

/* Small conveniences over prepared statements; all give 0 or a negative code with why. */
int store_prepare(struct store *, const char *sql, struct sqlite3_stmt **ret, struct why *);
void store_finalize(struct sqlite3_stmt **); /* for CLEANUP */
int store_bind(struct sqlite3_stmt *, int at, struct str text);
struct str store_column(struct sqlite3_stmt *, int at);
/* 1 a row, 0 the end. */
int store_step(struct store *, struct sqlite3_stmt *, struct why *);

/* store/schema.c */
int store_migrate(struct store *, struct why *);

#endif
