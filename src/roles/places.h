/*
 * roles/places.h - what a start takes beside ports: directories, the event sink, the master key.
 */
#ifndef GAPURA_ROLES_PLACES_H
#define GAPURA_ROLES_PLACES_H

#include "roles/children.h"
#include "roles/sink.h"

#define PLACES_STORY (8u << 10) /* bytes of what may be told */

struct places {
    struct sink sink;
    int master; /* -1: there is no keyring */
};
/* Fills *ret whether it succeeds or not; `story` says what is wrong. */
int places_open(struct places *ret, const struct plan *, const struct children *,
                struct buf *story);
/* Would a restart with `next` find its places, now that we run with `now`? Nothing stays open. */
int places_try(const struct plan *next, const struct plan *now, const struct children *,
               struct buf *story);

#endif
