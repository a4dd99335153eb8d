/*
 * courier/age.h - how old mail is, whatever the clock of the machine does: see courier/age.c.
 */
#ifndef GAPURA_COURIER_AGE_H
#define GAPURA_COURIER_AGE_H

#include "courier/inner.h"
#include "spool/envelope.h"

/* When it came in, in seconds of courier_wall(): for the index. */
uint32_t age_received(const struct courier *, const struct spool_envelope *);
/* Another time that its envelope tells, moved as that was; 0 stays 0. */
uint64_t age_stamp(const struct index_message *, const struct spool_envelope *, uint64_t at);
/* A time of courier_wall() by the clock as it is set now: for records, which a later start reads; 0
 * stays 0. */
uint64_t age_clock(const struct courier *, uint64_t at);
/* Is the time of that message over, which ends at `end`, after so many tries of a recipient? */
bool age_is_over(const struct courier *, const struct index_message *, uint64_t end,
                 unsigned attempts);
/* Was the clock set? Each second, and before a stamp is read. */
void age_tick(struct courier *);
/* All is read: does the clock agree with the log? */
void age_check(const struct courier *);

#endif
