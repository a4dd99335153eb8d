/*
 * store/secret.h - keys that this installation makes for itself and changes by itself.
 *
 * Of each name two are kept: the newest signs, both verify. What is made with one must not live
 * longer than SECRET_LIFE, after which the next one takes its place. The keeper makes them
 * (secret_renew) and publishes them to the gate alone (secret_publish); the gate reads them out of
 * its snapshot (secret_find). They open nothing and stand for nobody, so they are not sealed: the
 * database is the keeper's.
 */
#ifndef GAPURA_STORE_SECRET_H
#define GAPURA_STORE_SECRET_H

#include "store/snapshot.h"

struct store;

#define SECRET_RETURNS "returns" /* tags of gate/returned.h */
#define SECRET_BYTES   32u
#define SECRET_KEPT    2u
#define SECRET_LIFE    (30u * 86400u) /* seconds */

struct secret {
    uint64_t made; /* seconds since 1970 */
    uint8_t bytes[SECRET_BYTES];
};
struct secret_set {
    struct secret items[SECRET_KEPT]; /* the newest first */
    unsigned n;
};
void secret_wipe(struct secret_set *);

/* Makes a new one where the newest is too old, or where there is none: 1, else 0. Negative: none
 * was made, and those that there are stay. */
int secret_renew(struct store *, struct str name, uint64_t now_s, struct why *);
int secret_publish(struct store *, struct str name, struct snapshot_builder *);
bool secret_find(const struct snapshot *, struct str name, struct secret_set *ret);

#endif
