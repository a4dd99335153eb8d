/*
 * courier/early.h - outcomes read before the message that they concern.
 *
 * After a restart of the courier alone, its own old epochs speak of messages in streams that are
 * still being written and are read later, from their tails. What was said of each is kept here in
 * order and applied when the message comes; what is left when the tail has caught up is dropped
 * (those messages' segments are gone).
 */
#ifndef GAPURA_COURIER_EARLY_H
#define GAPURA_COURIER_EARLY_H

#include "core/base.h"

enum early_kind { EARLY_OUTCOME, EARLY_INTENT, EARLY_COPIED, EARLY_VOID };
struct early_note {
    uint64_t seq;
    uint32_t epoch;
    uint32_t ordinal;                      /* UINT32_MAX: all that are open */
    uint32_t own;                          /* slot of the own segment that said it */
    uint32_t due;                          /* tick; HELD: number of the reason */
    uint8_t kind, result, attempts, flags; /* flags: EARLY_F_* */
    uint32_t order;
};
#define EARLY_F_CRASH  1u
#define EARLY_F_CLOSES 2u

struct early {
    struct early_note *items;
    size_t n, cap;
    bool sorted;
};
void early_done(struct early *);
int early_add(struct early *, const struct early_note *);
/* Notes on that message, in the order they were made: *ret_n of them. */
const struct early_note *early_find(struct early *, uint32_t epoch, uint64_t seq, size_t *ret_n);
/* Calls fn for each note of the epoch (to unpin its segment), then drops them. */
void early_drop(struct early *, uint32_t epoch, void (*fn)(void *ctx, uint32_t own), void *ctx);

#endif
