/*
 * spool/pool.h - the spooler's side: epochs, segments, space. The only room that creates, renames
 * and frees segment files.
 *
 * A spool directory:
 *     node               node id, next epoch, next file number (replaced by rename, synced)
 *     lock               flock: two instances never share a spool
 *     seg/NNNNNNNN.seg   every segment file, free or used; its header tells
 *
 * A segment's life: created and pre-written with zeros -> free -> handed to a stream (new
 * generation, header durable) -> used -> all settled, courier says free -> re-headed free and
 * durable -> may be handed out again. A file whose header cannot be read is set aside: it is never
 * written to, given out or removed, and counts as used until it can be read. Free ones stay
 * pre-written; above the high mark (twice `ready`, and `reserve`) they are unlinked. `reserve` free
 * segments are kept for outcomes, intents and compaction (courier streams): intake never gets them.
 */
#ifndef GAPURA_SPOOL_POOL_H
#define GAPURA_SPOOL_POOL_H

#include "core/err.h"
#include "spool/format.h"
#include "spool/io.h"

struct spool_pool_conf {
    const char *dir;
    uint64_t segment_size; /* 4 MiB .. 1 GiB */
    uint64_t quota;        /* bytes for all segment files; 0: no limit but the disk */
    uint64_t min_free;     /* bytes of the file system left alone */
    unsigned reserve;      /* segments kept for courier streams */
    unsigned ready;        /* free pre-written segments to have at hand */
    const struct spool_io *io;
};
struct spool_pool;

/* Opens or makes the spool, takes the lock, reads every header. ERR_VERSION with a clear why if a
 * segment must not be read by this version; -EWOULDBLOCK if another instance holds it. */
int spool_pool_open(struct spool_pool **ret, const struct spool_pool_conf *, struct why *);
void spool_pool_close(struct spool_pool *);
uint32_t spool_pool_node(const struct spool_pool *);
/* A new epoch for the stream, durable before it is returned; negative on failure. Its former writer
 * is gone: what that one was given and never wrote to is free again. */
int64_t spool_pool_epoch(struct spool_pool *, uint16_t stream);
/* A segment for that stream's epoch, header durable, fd open for writing (O_DIRECT unless the
 * probe refused it). Without a free one at hand a file is made but not pre-written, if space
 * allows: slower to write to, but intake does not wait. ERR_FULL: no space, quota or only the
 * reserve left. */
int spool_pool_take(struct spool_pool *, uint16_t stream, uint32_t epoch, int *ret_fd,
                    struct spool_segment *ret);
/* The highest epoch given out so far; epochs count from 1. */
uint32_t spool_pool_last_epoch(const struct spool_pool *);
/* All of it is settled: re-headed free, durable on return. ERR_STALE or ERR_NOTFOUND: it was freed
 * before. ERR_STATE, ask again later: it voids a failed batch of an earlier segment of its epoch
 * that is still used, and must outlive it; or it is set aside, since its header cannot be read. */
int spool_pool_free(struct spool_pool *, uint64_t number, uint64_t generation);
/* The same at once, by the word of its writer: nothing in it was ever durable, and what it failed
 * with is voided in a segment behind it. */
int spool_pool_free_empty(struct spool_pool *, uint64_t number, uint64_t generation);
/* Makes good a segment whose header could not be written, else pre-writes one if fewer than `ready`
 * and `reserve` are free and space allows: 1 did, 0 nothing to do, negative failed. Slow (a whole
 * segment is written): called when idle. */
int spool_pool_prepare(struct spool_pool *);

/* Looks again at files that were set aside: how many of them could be read, and are in the books
 * now. Slow on a disk that fails. */
unsigned spool_pool_again(struct spool_pool *);

struct spool_space {
    uint64_t segments_free, segments_used;
    uint64_t segments_unreadable; /* set aside, see above */
    uint64_t bytes_total, bytes_free_disk;
    uint64_t intake_bytes; /* what intake may still take before 452 */
    bool intake_open;
    bool direct;            /* O_DIRECT works here */
    const char *direct_why; /* if not */
};
void spool_pool_space(struct spool_pool *, struct spool_space *ret);

#endif
