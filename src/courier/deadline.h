/*
 * courier/deadline.h - the times that senders set (DELIVERBY, RFC 2852), kept from the moment that
 * a message is read.
 */
#ifndef GAPURA_COURIER_DEADLINE_H
#define GAPURA_COURIER_DEADLINE_H

#include "courier/inner.h"
#include "spool/envelope.h"

/* A message has come into the index, or goes from it. */
void deadline_note(struct courier *, uint32_t message, const struct spool_envelope *);
void deadline_over(struct courier *, const struct index_message *);
/* Is its message still the one in the index? */
bool deadline_is(const struct courier *, const struct deadline *);

#endif
