/*
 * courier/intake.h - from records of the log to rows of the index.
 */
#ifndef GAPURA_COURIER_INTAKE_H
#define GAPURA_COURIER_INTAKE_H

#include "courier/inner.h"
#include "spool/envelope.h"

/* For readers: ctx is the courier. */
extern const struct spool_reader_ops intake_ops;
/* Of an epoch that is read whole before any of it is left: then intake_epoch_over(). */
extern const struct spool_reader_ops intake_dead_ops;

/* A tail has read all that was durable when it began. */
void intake_caught_up(struct courier *, uint32_t epoch);
/* All segments of that epoch are left. */
void intake_epoch_over(struct courier *, uint32_t epoch);

/* A message of our own stream that became durable. */
struct intake_own {
    uint64_t seq;
    struct spool_loc loc, body_loc;
    uint64_t generation;
    struct str payload;
    uint32_t record_len, body_len, body_crc;
    uint8_t type;
};
void intake_own_message(struct courier *, const struct intake_own *);

/* The message has no open recipient any more: lets its segments go. */
void intake_message_over(struct courier *, uint32_t message);
/* Compaction: the message now lies elsewhere. */
void intake_moved(struct courier *, uint32_t message, const struct intake_own *,
                  const struct spool_envelope *);

/* Does a piece of that message's body lie in the segment? */
bool intake_chunks_in(struct courier *, uint32_t epoch, uint64_t seq, uint32_t slot);
void intake_done(struct courier *);

#endif
