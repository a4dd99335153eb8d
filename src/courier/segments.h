/*
 * courier/segments.h - the log's segments as the courier sees them: what still needs each, and when
 * the spooler may have it back.
 *
 * A segment is given back (TELL_FREE) when no writer writes it any more, no open message has its
 * record or a chunk there, and no pin is left. One of our own that speaks of messages elsewhere
 * (intents, outcomes, copies, resumptions) also waits until the segments of those messages are
 * re-headed (TELL_FREED): else a crash would bring settled mail back (invariant 7).
 */
#ifndef GAPURA_COURIER_SEGMENTS_H
#define GAPURA_COURIER_SEGMENTS_H

#include "spool/format.h"

#define SEGMENT_NONE          UINT32_MAX
#define SEGMENTS_MAX          65536u
#define SEGMENT_START_UNKNOWN UINT64_MAX

struct segment {
    struct spool_segment s;
    uint64_t start;      /* linear position of the first batch, for the ring */
    uint64_t bytes;      /* of messages, copies and chunks that were read from here */
    uint64_t live_bytes; /* of those still needed */
    uint64_t told;       /* mono ns of the last TELL_FREE; 0: not told */
    uint32_t live;       /* messages and chunk holders */
    uint32_t seen_live;  /* `live` at compaction's last look */
    uint64_t tried;      /* mono ns when compaction was last through with it */
    uint64_t dense;      /* from this offset on: copies, which waste no more than they must */
    uint64_t blame;      /* of slack.c: bytes that would come free without it */
    uint32_t pins;       /* things that must not lose it now */
    uint32_t next;       /* of the hash chain */
    bool used, left;
    bool own;  /* of the courier's stream */
    bool dead; /* its writer was gone when we started: the bytes do not change */
    bool compacting;
    uint64_t *refs; /* own: bit per slot that its records speak of */
    uint32_t nrefs; /* bits set */
};
struct segments {
    struct segment *items; /* by slot */
    uint32_t n, cap, refs_words;
    uint32_t buckets[1024];
    void (*free)(void *ctx, uint64_t number, uint64_t generation); /* sends TELL_FREE */
    void *ctx;
};

void segments_init(struct segments *);
void segments_done(struct segments *);
/* Finds or adds. An older generation of the same file is forgotten: the spooler re-headed it. */
uint32_t segments_get(struct segments *, const struct spool_segment *, bool own);
uint32_t segments_find(const struct segments *, uint64_t number, uint64_t generation);
static inline struct segment *
segments_at(const struct segments *s, uint32_t slot)
{
    return &s->items[slot];
}
void segments_hold(struct segments *, uint32_t slot, uint64_t bytes);    /* live + 1 */
void segments_release(struct segments *, uint32_t slot, uint64_t bytes); /* live - 1 */
void segments_pin(struct segments *, uint32_t slot);
void segments_unpin(struct segments *, uint32_t slot);
void segments_left(struct segments *, uint32_t slot); /* its writer is gone from it */
/* A durable record in `own` speaks of something in `other`. */
void segments_refer(struct segments *, uint32_t own, uint32_t other);
/* The spooler says that it is re-headed. */
void segments_freed(struct segments *, uint64_t number, uint64_t generation);
/* Tells again what was told over 10 s ago and not confirmed; and what nothing needs. */
void segments_tick(struct segments *, uint64_t mono);

#endif
