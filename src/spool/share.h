/*
 * spool/share.h - what a writer shows its readers without a message: how far the log is durable,
 * and the last megabytes of it in memory.
 *
 * A memfd: one page of atomics, a table of segments, and a ring mapped twice in a row, so that any
 * batch is contiguous. Positions are linear: bytes of batches since the epoch began (segment
 * headers not counted). The batch at position p stands at ring offset p % ring_size as long as
 * p >= low. A reader copies out, then looks at `low` again: if it has passed p the copy is void.
 * No reader passes `durable`. A reader checks every index it takes from here: the writer is
 * another process.
 */
#ifndef GAPURA_SPOOL_SHARE_H
#define GAPURA_SPOOL_SHARE_H

#include <stdatomic.h>

#include "spool/format.h"

#define SPOOL_SHARE_SEGMENTS 4096u /* a power of two; older entries are overwritten */

struct spool_share_segment {
    _Atomic uint64_t start;  /* linear position of its first batch */
    _Atomic uint64_t number; /* file */
    _Atomic uint64_t generation;
    _Atomic uint64_t seq;
    _Atomic uint64_t size;
};
struct spool_share_page {
    uint64_t magic;
    uint32_t node, epoch;
    uint16_t stream;
    uint64_t ring_size;
    _Atomic uint64_t durable; /* published after the sync returns */
    _Atomic uint64_t low;
    _Atomic uint64_t nsegments; /* entry i is segments[i % SPOOL_SHARE_SEGMENTS] */
    _Atomic uint32_t asleep;    /* the reader sets 1 before it sleeps, the writer wakes it once */
    _Atomic uint32_t closed;    /* the writer ended in order */
    struct spool_share_segment segments[SPOOL_SHARE_SEGMENTS];
};
struct spool_share {
    int fd;      /* memfd to hand on */
    int wake_fd; /* eventfd to hand on: the writer adds 1 when the reader sleeps */
    struct spool_share_page *page;
    uint8_t *ring; /* 2 * ring_size of address space */
    size_t ring_size;
    /* As the page said when it was made or joined: its other end may write what it likes there. */
    uint32_t node, epoch;
    uint16_t stream;
    bool writer;
};

/* ring_size: a power of two of at least 1 MiB. Memory is used only as far as it is written. */
int spool_share_create(struct spool_share *s, uint32_t node, uint16_t stream, uint32_t epoch,
                       size_t ring_size);
int spool_share_attach(struct spool_share *s, int fd, int wake_fd); /* takes both descriptors */
void spool_share_done(struct spool_share *s);
/* Writer: the next batch will stand at `start`, in this segment. */
void spool_share_enter(struct spool_share *s, uint64_t start, const struct spool_segment *segment);
/* Writer: bytes [pos, pos + n) of the ring are about to be written. Call it before they are. */
void spool_share_claim(struct spool_share *s, uint64_t pos, size_t n);
/* Writer: all before `end` is on disk. Wakes the reader if it said that it sleeps. */
void spool_share_publish(struct spool_share *s, uint64_t end);
/* Writer: no more will come. */
void spool_share_close(struct spool_share *s);
/* Copies n bytes at linear position pos if they are (still) in the ring: 0, ERR_STALE, or
 * ERR_STATE if they are not durable yet. */
int spool_share_copy(const struct spool_share *s, uint64_t pos, void *dst, size_t n);
/* Which segment holds pos, and where in its file. ERR_STALE if the table no longer knows. */
int spool_share_locate(const struct spool_share *s, uint64_t pos, struct spool_loc *ret,
                       uint64_t *ret_generation);
bool spool_share_has(const struct spool_share *s, uint64_t number); /* the table names that file */
/* Segments that the table has between those two, or before `before` if `after` is NULL: nothing in
 * them was ever durable. */
void spool_share_between(const struct spool_share *s, const struct spool_segment *after,
                         const struct spool_segment *before,
                         void (*fn)(void *ctx, const struct spool_segment *), void *ctx);
/* The same with all that the table and the page tell of the segment; *ret_start is the position of
 * its first batch. */
int spool_share_segment_at(const struct spool_share *s, uint64_t pos, struct spool_segment *ret,
                           uint64_t *ret_start);

#endif
