/*
 * spool/listing.h - which used segments a spool has.
 *
 * Only headers are read. Nothing is written or repaired. Single-threaded.
 */
#ifndef GAPURA_SPOOL_LISTING_H
#define GAPURA_SPOOL_LISTING_H

#include "core/err.h"
#include "spool/format.h"
#include "spool/io.h"

/* The used segments of one spool, sorted by (epoch, seq). A file whose header does not check out is
 * counted as unreadable, left out and named in `why`; so is one whose header the disk does not
 * give, which is in `unread` as well: it may be read later, and nobody knows whose it is. The
 * listing still succeeds. ERR_VERSION with a why if one must not be read by this version. */
struct spool_unread {
    uint64_t number; /* of the file */
    int err;         /* -errno */
};
struct spool_listing {
    struct spool_segment *items;
    size_t n;
    size_t unreadable;
    struct spool_unread *unread;
    size_t nunread;
};
int spool_list(const char *dir, const struct spool_io *io, struct spool_listing *ret,
               struct why *why);
void spool_listing_done(struct spool_listing *);
/* Does the disk give that file's header now, and is the file whole? 1, 0 if it is of no used
 * segment, or why not: -ENOENT while it is not there, -EIO for half a copy. */
int spool_header_try(const char *dir, uint64_t number, const struct spool_io *io);
/* The disk did not give what was asked for: it may later. */
bool spool_is_disk_error(int err);

#endif
