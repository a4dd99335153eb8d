/*
 * lab/traffic.h - sample mail for both wings: submitted with a login, or brought by a stranger.
 */
#ifndef GAPURA_LAB_TRAFFIC_H
#define GAPURA_LAB_TRAFFIC_H

#include "lab/settings.h"
#include "net/loop.h"

struct traffic;
/* Nothing flows before traffic_flow(). conf lives longer. NULL: no memory. */
struct traffic *traffic_create(struct loop *, const struct conf *);
void traffic_free(struct traffic *);
void traffic_flow(struct traffic *, bool on);
/* Is that an address or login of sample mail? */
bool traffic_is_sample(const struct traffic *, struct str login, const struct addr *client);

#endif
