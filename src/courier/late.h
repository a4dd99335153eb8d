/*
 * courier/late.h - mail whose time runs out while it waits for its turn: its sender is told, or it
 * is returned.
 *
 * Two clocks. A time that the sender set (DELIVERBY, RFC 2852) is kept from the moment that the
 * message is read, wherever its recipients wait. The times of the settings (expire, warn_after)
 * are found by a look at all rows that are ready, a part of them each second: what waits in the
 * wheel meets them at its next try.
 */
#ifndef GAPURA_COURIER_LATE_H
#define GAPURA_COURIER_LATE_H

#include "courier/inner.h"

struct late *late_create(struct courier *);
void late_free(struct courier *);
void late_opened(struct courier *); /* all that was said of mail is known: senders may be told */

#endif
