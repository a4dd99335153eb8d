/*
 * courier/early.h - what our own log says of messages that are still to be read.
 *
 * At the start the courier reads its own dead epochs first. What they say of each message is kept
 * here and applied when the message comes: out of a dead epoch or out of the tail of one that is
 * still written. What is left when that epoch was read whole is dropped (those messages' segments
 * are gone). 24 bytes a note; of a recipient that was settled one note stays, so that the whole
 * takes less than the rows would that those recipients no longer need.
 */
#ifndef GAPURA_COURIER_EARLY_H
#define GAPURA_COURIER_EARLY_H

#include "core/base.h"

enum early_kind { EARLY_OUTCOME, EARLY_INTENT, EARLY_COPIED };
#define EARLY_ALL UINT32_MAX /* ordinal: all that are open; also of COPIED */

struct early_note {
    uint64_t seq;
    uint32_t ordinal;
    uint32_t due;        /* tick; HELD: number of the reason */
    uint32_t told : 1;   /* the sender was told that it is late */
    uint32_t order : 31; /* of the epoch's notes; set by early_add() */
    uint16_t own;        /* slot of the own segment that said it */
    uint8_t attempts;
    uint8_t kind : 2, result : 4, flags : 2; /* enum early_kind, enum spool_result, EARLY_F_* */
};
#define EARLY_F_CRASH  1u
#define EARLY_F_CLOSES 2u

struct early_epoch { /* notes on one epoch's messages */
    uint32_t epoch;
    uint32_t orders; /* notes ever taken */
    bool sorted;
    size_t n, cap, hint; /* hint: the place behind what was found last */
    struct early_note *items;
};
struct early {
    struct early_epoch *epochs;
    size_t n, cap;
    /* A note was let go: its own segment is needed by one thing less. */
    void (*dropped)(void *ctx, uint32_t own);
    void *ctx;
};
void early_init(struct early *, void (*dropped)(void *ctx, uint32_t own), void *ctx);
void early_done(struct early *); /* tells nobody */
/* Keeps the note. ERR_NOMEM: then nothing of that epoch may be delivered. */
int early_add(struct early *, uint32_t epoch, const struct early_note *);
/* Notes on that message, *ret_n of them: for each recipient in the order they were made. Valid
 * until the next call. */
const struct early_note *early_find(struct early *, uint32_t epoch, uint64_t seq, size_t *ret_n);
/* That epoch was read whole: its notes are dropped. */
void early_drop(struct early *, uint32_t epoch);
size_t early_count(const struct early *);

#endif
