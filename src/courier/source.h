/*
 * courier/source.h - sources, pools and tenants: who may leave from where, and how often.
 *
 * Pure. The law of exclusivity: a source that is some tenant's own is never chosen for another
 * tenant's mail nor for the system's, whatever pool or route names it.
 */
#ifndef GAPURA_COURIER_SOURCE_H
#define GAPURA_COURIER_SOURCE_H

#include "core/conf.h"
#include "core/map.h"

#define SOURCES_MAX   65534u
#define TENANT_SYSTEM 0u
#define POOL_NONE     UINT32_MAX

struct source {
    char *name;
    char *ehlo; /* empty: our host name */
    struct addr address;
    bool any;           /* unspecified: the kernel's choice */
    uint32_t exclusive; /* tenant's number in the log, if `owned` */
    bool owned;
    bool gone; /* no longer in the settings; finishes what it has */
    uint64_t max_sessions, sessions;
    uint32_t crc;           /* of the name, for records */
    uint8_t reverse;        /* IPv6: 0 not asked, 1 right, 2 wrong */
    uint64_t reverse_until; /* mono ns */
    uint64_t suspended;     /* count of suspensions */
    uint64_t group;         /* those that share what a site does to one of them */
};
struct pool_member {
    uint32_t source;
    int64_t weight, current; /* smooth weighted round robin */
};
struct pool {
    char *name;
    struct pool_member *members;
    size_t n;
};
struct tenant {
    uint32_t number; /* in the log */
    char *name;
    uint32_t pool;
    uint32_t weight;
    uint64_t suspended; /* count of suspensions */
};
struct sources {
    struct source *items;
    size_t n;
    struct pool *pools;
    size_t npools;
    struct tenant *tenants;
    size_t ntenants, tenants_cap;
};

int source_load(struct sources *, const struct conf *); /* again: keeps numbers and counts */
void source_done(struct sources *);
/* Index of a tenant's row by its number in the log; made if unknown. UINT16_MAX: no room. */
uint16_t source_tenant(struct sources *, uint32_t number);
/* Its name; empty if the settings no longer know the number. */
const char *source_tenant_name(const struct sources *, uint32_t number);
uint32_t source_pool(const struct sources *, struct str name); /* POOL_NONE */
uint32_t source_find(const struct sources *, struct str name); /* UINT32_MAX */
/* May that source carry this tenant's mail at all? */
bool source_allows(const struct source *, uint32_t tenant_number);
/* The same of all sources of a group. */
bool source_group_carries(uint64_t group, uint32_t tenant_number);
bool pool_has(const struct sources *, uint32_t pool, uint32_t source);
/* Picks a source of the pool for that tenant: UINT32_MAX and *ret_why if there is none now. `fits`
 * may refuse some (address family, limits of the site); NULL: all fit. */
uint32_t pool_pick(struct sources *, uint32_t pool, uint32_t tenant_number,
                   bool (*fits)(void *ctx, uint32_t source), void *ctx, const char **ret_why);

#endif
