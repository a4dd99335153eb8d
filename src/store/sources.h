/*
 * store/sources.h - the files that say who exists: recipient tables, aliases, SQLite lists.
 *
 * The keeper loads them all at each change. A file that cannot be read or has an error keeps its
 * last good contents, and the problem is told; a domain without any good contents is published as
 * "!" (its unknown recipients get 451).
 */
#ifndef GAPURA_STORE_SOURCES_H
#define GAPURA_STORE_SOURCES_H

#include "core/conf.h"
#include "net/loop.h"
#include "store/snapshot.h"

struct sources_links {
    /* Bytes of a file that this role may not open itself; may be NULL. */
    struct str (*file)(void *ctx, struct str path);
    void *file_ctx;
    void (*problem)(void *ctx, const char *text);
    void *ctx;
};
struct sources;
struct sources *sources_create(const struct sources_links *);
void sources_free(struct sources *);
/* Reads all that conf names. 0 or ERR_NOMEM; problems of files are told, not returned. */
int recipient_sources_load(struct sources *, const struct conf *);
/* Served domains, recipients and aliases. conf: the one of the last load. */
int sources_publish(const struct sources *, const struct conf *, struct snapshot_builder *);
/* Are all files of that domain whole? If not, who is not listed may exist all the same. */
bool sources_good(const struct sources *, struct str domain);

/* store/watch.c: calls fn, a little later, when one of the files changes, comes or goes. */
struct watch;
struct watch *watch_create(struct loop *, void (*fn)(void *ctx), void *ctx); /* NULL: no inotify */
void watch_free(struct watch *);
void watch_clear(struct watch *);
void watch_add(struct watch *, const char *path);

#endif
