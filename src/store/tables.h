/*
 * store/tables.h - text tables of recipients and aliases become keys and values. Pure: text in.
 *
 * Recipients: an address or a local part a line; what follows it is ignored. Aliases: `from: to,
 * to`, goes on in lines that begin with a space; `@domain: to` is a catch-all. # begins a comment
 * at the start of a line or behind a space. Keys are lower-cased (snapshot_address).
 */
#ifndef GAPURA_STORE_TABLES_H
#define GAPURA_STORE_TABLES_H

#include "core/err.h"
#include "core/str.h"

struct table_links {
    struct str path;   /* for messages */
    struct str domain; /* of the block that names the file: local parts are its */
    /* Another domain that we serve: its lines are for its own block. Others are errors. */
    bool (*served)(void *ctx, struct str domain);
    /* value: addresses, each NUL-terminated; empty for recipients. ERR_EXISTS: there twice. */
    int (*add)(void *ctx, struct str key, struct str value);
    void *ctx;
};
/* 0, or the first failure, with why: "file:line: what is wrong". */
int table_recipients(struct str text, const struct table_links *, struct why *);
int table_aliases(struct str text, const struct table_links *, struct why *);

/* Key of "local" or "local@domain" as snapshots hold it: length, or negative. */
ssize_t table_key(struct str address, struct str domain, char *dst, size_t cap);

#endif
