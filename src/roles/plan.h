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

#define PLAN_LISTENS 256u
#define PLAN_FILES   256u

struct plan_listen {
    char name[64];
    struct endpoint at;
};
enum plan_bundle { PLAN_GATE, PLAN_COURIER, PLAN_RESOLVER, PLAN_KEEPER, PLAN_BARE, PLAN_BUNDLES };
struct plan {
    uint64_t generation;
    char hostname[256], user[64];
    int wings;
    char spool_dir[512], control_dir[512], store[512];
    int events_to;
    char events_file[512];
    uint64_t rotate_size, keep;
    struct endpoint metrics; /* port 0: off */
    struct plan_listen listens[PLAN_LISTENS];
    unsigned nlistens;
    char files[PLAN_FILES][256]; /* to watch: settings, certificates, keys */
    unsigned nfiles;
    int bundles[PLAN_BUNDLES]; /* memfds */
};

/* Child side: reads and checks FILE, sends plan or errors over descriptor 3, exits. */
int loader_main(const char *file, uint64_t generation);
/* Starts the loader as uid/gid (if we are root) and waits for it, at most 30 s. On ERR_SYNTAX
 * *ret_errors (malloc'd text, a line each) says all that is wrong. */
int plan_load(struct plan *ret, const char *file, uint64_t generation, unsigned uid, unsigned gid,
              char **ret_errors);
void plan_done(struct plan *);

/* `gapura check`: prints every error to stderr, or one line to stdout. Exit status. */
int check_main(const char *file);

#endif
