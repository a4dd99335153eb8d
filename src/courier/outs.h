/*
 * courier/outs.h - records of ours on their way to the log.
 *
 * A record is taken from a free list, filled, added; its bytes live in it until the batch is
 * durable. What the writer cannot take now (no segment, failed disk) waits here in order and is
 * added again: outcomes are never dropped. Intents alone are refused instead, since the dot can
 * wait.
 *
 * A record that can never be written (larger than a batch may be) is given up with an Alarm and
 * holds nothing up; what it spoke of is set aside by its durable(), and so is what waited for it.
 *
 * Order: records that can wait reach the log in the order in which they were given here. The writer
 * gives back all that stands behind a failure before it takes more (spool/writer.h), and what was
 * given meanwhile waits behind what comes back.
 */
#ifndef GAPURA_COURIER_OUTS_H
#define GAPURA_COURIER_OUTS_H

#include "courier/inner.h"
#include "spool/record.h"

#define OUT_ROWS 8u

struct session;
struct out {
    struct spool_out o;
    struct courier *c;
    struct out *next, *all_next, *all_prev;
    struct out *after; /* added when this one is durable, see out_add_after() */
    struct buf payload, body;
    struct iovec body_piece;
    /* The record is durable (0), or was given up: ERR_CLOSED (the writer ends), ERR_TOOBIG. */
    void (*durable)(struct out *, int status);
    uint64_t given; /* order in which records were given: 0 not yet */
    bool can_wait;  /* waits for the writer instead of being refused */
    bool reported;  /* an outcome whose report must be durable first */
    uint32_t epoch; /* of the message it speaks of */
    uint64_t seq;
    uint32_t message;
    uint32_t nrows, cap;
    uint32_t *rows; /* room, or heap */
    uint32_t room[OUT_ROWS];
    struct session *session;
    void *ctx;
    uint64_t number;
};

struct outs *outs_create(struct courier *);
void outs_free(struct outs *);
struct out *out_take(struct courier *, uint8_t type); /* NULL: no memory */
void out_give(struct out *);
bool out_rows(struct out *, const uint32_t *rows, uint32_t n);
/* The payload is encoded. 0, or negative if it cannot wait, or never fits (ERR_TOOBIG, which was
 * told): the caller has it back. */
int out_add(struct out *);
/* As out_add(), but not before `first`, which was added in this turn of the loop, is durable: after
 * a crash the outcome must not stand there without what it brought about. */
void out_add_after(struct out *, struct out *first);
/* The message is still the one that the record speaks of. */
bool out_message_is(const struct out *);
/* Records that can wait are kept back until the release, in their order: what must stand before
 * them in the log is added in between (a report before the outcomes that it tells of). */
void outs_hold(struct courier *);
void outs_open_first(struct courier *); /* out_add() goes before what is held, until outs_hold() */
void outs_release(struct courier *, struct out *report); /* NULL: none was written */
void outs_again(struct courier *);                       /* adds what waits */
/* The log took no record of ours a moment ago: nothing new is begun that would need one. Over when
 * one is durable again: of those that wait, or a probe that outs_again() writes each second. */
bool outs_full(const struct courier *);
#define OUTS_FULL_TEXT                                                                             \
    "the log takes no record of what is sent (no room, or its disk failed): nothing is sent "      \
    "until "                                                                                       \
    "it does"
void outs_orphan(struct courier *); /* the courier goes, records may still be under way */
size_t outs_waiting(const struct courier *);
size_t outs_open(const struct courier *); /* taken and not given back */
/* Records are numbered as they are given. Is none of those up to a number under way? Walks over all
 * that are open. */
uint64_t outs_given(const struct courier *);
bool outs_durable(const struct courier *, uint64_t given);

#endif
