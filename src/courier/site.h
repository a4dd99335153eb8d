/*
 * courier/site.h - a site: hosts that serve one or more domains, the work that is ready for them,
 * and the sessions open to them.
 *
 * Domains with the same MX set share a site, so that limits count per provider and not per domain.
 * Inside a site work is ranked by class; within a class tenants have shares (deficit round robin
 * by weight), within a share destinations take turns. A site lives while a destination or a
 * session points to it; new settings make new sites.
 */
#ifndef GAPURA_COURIER_SITE_H
#define GAPURA_COURIER_SITE_H

#include "courier/inner.h"
#include "net/dns.h"
#include "spool/envelope.h"

#define SITE_ADDRS   16u
#define SITES_MAX    10000000u
#define SITE_CLASSES (SPOOL_CLASS_BULK + 1u)

struct site;
struct site_way;
struct site_host {
    char *name;   /* or address; empty for paths */
    char *path;   /* LMTP over a Unix socket, Maildir */
    uint8_t kind; /* enum inside_kind */
    bool literal; /* name is an address */
    uint16_t port, preference;
    struct addr addrs[SITE_ADDRS];
    unsigned naddrs, next_addr;
    uint64_t addrs_until;  /* mono ns; 0: not known */
    uint64_t no_tls_until; /* its handshake failed: opportunistic TLS is left out */
    bool no_pipelining;
    struct dns_ask ask[2];
    bool asking[2], temporary;
    bool stale;    /* addrs are of the answer before */
    bool refused;  /* it has addresses, none of which we may speak to */
    char why[200]; /* last trouble */
    struct site *site;
};

struct share { /* of one tenant in one class */
    uint16_t tenant;
    uint8_t class;
    uint32_t lanes; /* ring; INDEX_NONE: none */
    int64_t deficit;
    struct share *next, *prev; /* ring of the class */
};

/* The other side takes no more than so many connections from that source, until then: receivers
 * count by the address that they see. */
struct site_soft {
    uint32_t source;
    uint64_t limit; /* 0: none */
    uint64_t until; /* mono ns */
};

enum site_kind { SITE_HOSTS, SITE_HOLD, SITE_DISCARD, SITE_READER };
struct site {
    struct courier *c;
    char *name;
    uint8_t kind;  /* enum site_kind */
    bool by_mx;    /* hosts were found by DNS */
    bool implicit; /* the domain has no MX: it is its own host */
    bool retired;  /* of former settings: no new work */
    bool queued;   /* on the plan's list */
    struct site_host *hosts;
    unsigned nhosts;
    int tls; /* enum route_tls */
    bool tls_wrapped, auth_unverified, allow_private;
    char *user, *password, *pool;
    uint64_t max_sessions, messages_per_session, expire;
    struct rate rate;
    struct bucket bucket;
    struct share *classes[SITE_CLASSES];
    uint64_t picks;
    uint32_t dests; /* that point here */
    uint32_t sessions, connecting, busy;
    struct session *all, *idle;
    struct site_way **ways;
    unsigned nways;
    struct site_soft *soft; /* one a source, those that are over included */
    unsigned nsoft;
    char why[200];           /* name of what it waits for; empty: nothing */
    struct loop_timer timer; /* blocks, rate; set by site_wake() */
    struct site *next_queued;
    uint64_t delivered, deferred, rate_delivered, last_delivered; /* for `top` */
};

struct sites {
    struct map names;
    struct site *queue, **queue_tail;
    size_t sweep_at; /* of the destinations' names, see dests_sweep() */
    /* Destinations with work that were not asked for in their turn: dests_left(). */
    struct loop_timer left_timer;
    size_t left_at;
    bool left;
    unsigned asking; /* destinations whose questions are open */
};
struct sites *sites_create(struct courier *);
void sites_free(struct courier *);
/* A site of that name, made empty if there is none: *ret_new says so. NULL: no memory. */
struct site *site_get(struct courier *, struct str name, bool *ret_new);
struct site_host *site_add_host(struct site *, struct str name, uint16_t port, uint16_t preference,
                                uint8_t kind, struct str path);
void site_release(struct site *); /* a destination or session left: frees it if it was the last */
void site_queue(struct site *);   /* the plan looks at it soon */
void site_wake(struct site *, uint64_t in_ns); /* the same in a while, if not sooner */

void site_lane_join(struct site *, uint32_t lane);
void site_lane_leave(struct site *, uint32_t lane);
bool site_has_work(const struct site *);

/* dest.c: where a destination's mail goes. */
void dest_leave(struct courier *, uint32_t dest); /* forgets the routing */
void dest_lanes(struct courier *, uint32_t dest); /* joins and parks its lanes as is right now */
void dests_sweep(struct courier *);   /* drops what is idle, asks anew for what is stale */
void dests_left_run(void *courier);   /* its timer */
void dests_left(struct courier *);    /* one could not be routed now: its turn comes again */
void dests_forget(struct courier *);  /* the courier goes */
void dests_reroute(struct courier *); /* new settings */
void dest_why(const struct courier *, const struct index_dest *, char *dst, size_t cap);

/* The site of a served domain's inside servers; NULL if there is none. */
struct site *dest_inside_site(struct courier *, struct str domain);

/* host.c: addresses. */
enum host_answer { HOST_READY, HOST_ASKING, HOST_NONE };
enum host_answer host_addresses(struct site *, struct site_host *);
void host_cancel(struct site_host *);
/* Next address of the host for that source, by the settings' law on IPv6. */
bool host_pick(struct site *, struct site_host *, struct source *, struct addr *ret);
/* delivery.only_to: may we speak to that address at all? */
bool host_permitted(const struct courier *, const struct addr *);
/* 1 right, 0 asked, -1 wrong: reverse DNS of an IPv6 source. */
int source_reverse(struct courier *, uint32_t source);
void source_reverse_cancel(struct courier *);

#endif
