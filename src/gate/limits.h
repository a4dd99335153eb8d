/*
 * gate/limits.h - what one address, one network or one account has done lately: a bounded table.
 *
 * Entries without sessions are forgotten least recently used first; the table never grows over its
 * ceiling. Pure: time comes in.
 */
#ifndef GAPURA_GATE_LIMITS_H
#define GAPURA_GATE_LIMITS_H

#include "core/addr.h"
#include "core/map.h"
#include "core/rate.h"

#define LIMITS_MAX         131072u /* entries, if the settings need no more */
#define LIMITS_PER_SESSION 3u      /* that one session holds: address, network, wide network */
#define LIMITS_KEY         17u

enum limits_kind {
    LIMITS_ADDRESS,
    LIMITS_NETWORK, /* /24 of IPv4, /64 of IPv6 */
    LIMITS_WIDE,    /* /16 of IPv4, /48 of IPv6: what one customer can rent in a piece */
    LIMITS_USER,
    LIMITS_KNOWN, /* a user from a network of his */
    LIMITS_UID,   /* a user of this machine */
    LIMITS_TENANT,
};
struct limit {
    char key[LIMITS_KEY];
    unsigned sessions;
    unsigned asking; /* of these, that wait for an answer about a recipient */
    unsigned untold; /* connections turned away since the last event of one */
    uint64_t told;   /* mono ns, of that */
    struct bucket connections, auth_failures, unknown_rcpts, empty_mails;
    struct limit *newer, *older;
};
struct limits {
    struct map map;
    struct limit *newest, *oldest;
    uint64_t seed;
    size_t max;
};
void limits_init(struct limits *, size_t max);
/* Another ceiling. What is remembered beyond a lower one is forgotten when the next entry is made.
 */
void limits_ceiling(struct limits *, size_t max);
void limits_done(struct limits *);
/* The entry, made if need be and moved to the front; NULL if all are in use or memory is out.
 * Valid until another limits_get unless it has sessions. */
struct limit *limits_get(struct limits *, enum limits_kind, const struct addr *);
struct limit *limits_user(struct limits *, struct str user);
/* The user's own count in a network from which he has logged in. make false: NULL if he has not. */
struct limit *limits_known(struct limits *, struct str user, const struct addr *, bool make);
struct limit *limits_uid(struct limits *, uint32_t uid);
struct limit *limits_tenant(struct limits *, uint32_t tenant);

#endif
