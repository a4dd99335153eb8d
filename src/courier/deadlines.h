/*
 * courier/deadlines.h - a heap of the times that senders set (DELIVERBY, RFC 2852): 24 bytes for a
 * message that has one. Pure; courier/deadline.h fills it, courier/late.h empties it.
 */
#ifndef GAPURA_COURIER_DEADLINES_H
#define GAPURA_COURIER_DEADLINES_H

#include "core/base.h"

struct deadline { /* of a message */
    uint64_t seq;
    uint32_t epoch, message;
    uint32_t by; /* wall s */
};
struct deadlines {
    struct deadline *heap; /* the earliest first */
    size_t n, cap;
    size_t live; /* of messages that are in the index; the owner counts */
};

/* Without memory nothing is kept, and the message is told of by its next try. */
void deadlines_push(struct deadlines *, const struct deadline *);
/* The earliest, if it is over. */
bool deadlines_pop(struct deadlines *, uint64_t now_s, struct deadline *ret);
/* Drops those of which keep() says false. */
void deadlines_keep(struct deadlines *, bool (*keep)(const void *ctx, const struct deadline *),
                    const void *ctx);
void deadlines_done(struct deadlines *);

#endif
