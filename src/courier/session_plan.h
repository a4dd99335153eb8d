/*
 * courier/session_plan.h - matches ready rows to sessions: which connection is next, and which is
 * opened.
 */
#ifndef GAPURA_COURIER_SESSION_PLAN_H
#define GAPURA_COURIER_SESSION_PLAN_H

#include "courier/site.h"
#include "smtp/client.h"

struct session;
void plan_run(void *courier);
void plan_close_idle(struct site *);
void plan_retire(struct courier *); /* new settings: sites finish what they have */

/* No host of the site can be reached from that source: what waits gets its name, one message its
 * failed try. Others of its owner are not tried before the next gap is over. */
void plan_site_failed(struct site *, uint32_t source, const char *host, const struct endpoint *peer,
                      enum smtp_client_stage, const struct smtp_reply *);
void plan_site_works(struct site *, uint32_t source, uint32_t host); /* a session became ready */

#endif
