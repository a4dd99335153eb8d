/*
 * courier/deadline.h - the times that senders set (DELIVERBY, RFC 2852), kept from the moment that
 * a message is read: 24 bytes for a message that has one.
 */
#ifndef GAPURA_COURIER_DEADLINE_H
#define GAPURA_COURIER_DEADLINE_H

#include "courier/inner.h"
#include "spool/record.h"

/* A message has come into the index, or goes from it. */
void deadline_note(struct courier *, uint32_t message, const struct spool_envelope *);
void deadline_over(struct courier *, const struct index_message *);
/* Is its message still the one in the index? */
bool deadline_is(const struct courier *, const struct deadline *);

void deadlines_push(struct deadlines *, const struct deadline *);
/* The earliest, if it is over. */
bool deadlines_pop(struct deadlines *, uint64_t now_s, struct deadline *ret);
void deadlines_done(struct deadlines *);

#endif
