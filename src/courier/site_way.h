/*
 * courier/site_way.h - what a site's hosts did to connections from sources of one owner.
 */
#ifndef GAPURA_COURIER_SITE_WAY_H
#define GAPURA_COURIER_SITE_WAY_H

#include "courier/site.h"

struct site_way {
    uint64_t group;         /* as in struct source */
    uint64_t blocked_until; /* mono ns: no connections before */
    unsigned failures;      /* in a row, of all hosts */
    struct {
        uint64_t dead_until; /* mono ns */
        unsigned failures;
    } hosts[];
};
struct site_way *site_way(const struct site *, uint32_t source); /* NULL: no trouble so far */
struct site_way *site_way_make(struct site *, uint32_t source);  /* NULL: no memory */
void site_ways_free(struct site *);
bool site_way_alive(const struct site *, uint32_t source, unsigned host);
bool site_way_blocked(const struct site *, uint32_t source);
uint64_t site_blocked(const struct site *, uint64_t now); /* the last block's end; 0: none */
/* The first end of a block among sources that may carry the tenant's mail; 0: none. */
uint64_t site_blocked_for(const struct site *, uint32_t tenant_number, uint64_t now);
void site_unblock(struct site *); /* people want it tried */

#endif
