/*
 * roles/listeners.h - the sockets that the supervisor binds and keeps over every restart.
 */
#ifndef GAPURA_ROLES_LISTENERS_H
#define GAPURA_ROLES_LISTENERS_H

#include "roles/plan.h"

struct listeners {
    struct listeners_row {
        struct plan_listen at;
        int fd;
    } rows[PLAN_LISTENS];
    unsigned n;
};
/* Closes what the plan does not want: before the first preparation of a restart in place, where one
 * of the former program may be in the way of a new address. */
void listeners_keep(struct listeners *, const struct plan *);
/* What the plan wants, as `next`: sockets that are there already, and new ones. All or nothing: on
 * failure nothing has changed and why says which could not be bound. ERR_STATE: one of `now` that
 * the plan does not want is in the way. */
int listeners_prepare(const struct listeners *now, const struct plan *, struct listeners *next,
                      struct why *);
void listeners_abandon(const struct listeners *now, struct listeners *next);
/* Makes `next` the set: closes what is not in it. `gone` is called for each name that lost an
 * address (whoever serves the name must close them all), then `added` for each socket that is new
 * or whose name was gone. Both may be NULL. */
void listeners_commit(struct listeners *, const struct listeners *next,
                      void (*added)(void *ctx, const char *name, int fd),
                      void (*gone)(void *ctx, const char *name), void *ctx);
/* Environment for a new program in our place: "name|address or unix:path|fd|users;..." and back. */
void listeners_export(const struct listeners *);
void listeners_import(struct listeners *);

#endif
