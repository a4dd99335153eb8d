/*
 * courier/callout.h - questions to inside servers: does this recipient exist, what do you take?
 *
 * A callout speaks SMTP as far as RCPT and never sends mail. What EHLO offers is told to the gate,
 * which advertises no more than the inside server can take.
 */
#ifndef GAPURA_COURIER_CALLOUT_H
#define GAPURA_COURIER_CALLOUT_H

#include "courier/inner.h"

struct site;
struct smtp_client;
struct callouts *callouts_create(struct courier *);
void callouts_free(struct courier *);
void callouts_reset(struct courier *);    /* new settings */
void callouts_tick(struct courier *);     /* each second: probes that are due, load to the gate */
void callouts_tell_all(struct courier *); /* a gate came (again): all that is known */
void callout_ask(struct courier *, struct chan *from, uint64_t id, struct wire *body);
/* A delivery session to an inside site saw what the server offers. */
void callout_seen(struct courier *, struct str domain, uint32_t offers, uint64_t max_size);

#endif
