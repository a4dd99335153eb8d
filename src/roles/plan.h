/*
 * roles/plan.h - what the supervisor needs to know of the settings, already read for it.
 *
 * The loader (an unprivileged, sandboxed child) parses; the supervisor gets this small typed
 * message and the bundles' descriptors, so that nothing is parsed with privileges.
 */
#ifndef GAPURA_ROLES_PLAN_H
#define GAPURA_ROLES_PLAN_H

#include "core/addr.h"
#include "core/conf.h"
#include "core/err.h"
#include "net/loop.h"
#include "roles/bounds.h"

struct plan_listen {
    char name[PLAN_NAME_MAX];
    struct endpoint at;
    char path[PLAN_SOCKET_MAX]; /* a Unix socket in place of the endpoint; else empty */
    bool all_users;             /* may open it */
};
struct plan {
    uint64_t generation;
    char hostname[256], user[64];
    int wings;
    char spool_dir[512], control_dir[512], store[512];
    int events_to;
    char events_file[512];
    uint64_t rotate_size, keep;
    int language;            /* enum lang */
    uint64_t watchdog;       /* ns; 0: off */
    struct endpoint metrics; /* port 0: off */
    struct plan_listen listens[PLAN_LISTENS];
    unsigned nlistens;
    char lacking[512];           /* names of listeners that the absent wing does not open */
    char notes[PLAN_NOTES_MAX];  /* a line each: what to warn of */
    char files[PLAN_FILES][512]; /* to watch: certificates, keys, tables */
    unsigned nfiles;
    struct plan_fixed { /* settings that hold until the next start (roles/fixed.h) */
        char name[64];
        uint32_t digest;
    } fixed[PLAN_FIXED];
    unsigned nfixed;
    unsigned admin_gid;        /* the supervisor's: group of sockets that not all may open */
    int bundles[PLAN_BUNDLES]; /* memfds */
};

/* Starts the loader as uid/gid (if we are root) and waits for it, at most 30 s. On ERR_SYNTAX
 * *ret_errors (malloc'd text, a line each) says all that is wrong. */
int plan_load(struct plan *ret, const char *file, uint64_t generation, unsigned uid, unsigned gid,
              char **ret_errors);
/* The same beside other work. `done` comes once, from the loop: with 0 and a plan that is the
 * callee's (plan_free); or a code, NULL and what is wrong (may be empty). */
struct plan_ask {
    struct loop *loop;
    const char *file;
    uint64_t generation;
    unsigned uid, gid;
    void (*done)(void *ctx, int rc, struct plan *, const char *errors);
    void *ctx;
};
int plan_load_start(const struct plan_ask *);
/* What differs of the settings that hold until a start: names into `ret`; true if there are any. */
bool plan_fixed_differs(const struct plan *, const struct plan *, struct buf *ret);
void plan_done(struct plan *);
void plan_free(struct plan *); /* NULL is fine */

#endif
