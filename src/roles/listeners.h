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
/* Makes the set equal to the plan's: binds what is new (all or nothing: on failure nothing has
 * changed and why says which), closes what is gone, keeps what stays. `added` and `gone` may be
 * NULL; they are called after success. */
int listeners_update(struct listeners *, const struct plan *, struct why *,
                     void (*added)(void *ctx, const char *name, int fd),
                     void (*gone)(void *ctx, const char *name), void *ctx);
/* Environment for a new program in our place: "name|addr|fd;..." and back. */
void listeners_export(const struct listeners *);
void listeners_import(struct listeners *);
void listeners_close(struct listeners *);

#endif
