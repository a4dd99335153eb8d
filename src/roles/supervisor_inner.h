/*
 * roles/supervisor_inner.h - what the supervisor has in hand, for its two files: supervisor.c (the
 * turns) and supervisor_start.c (what comes before).
 */
#ifndef GAPURA_ROLES_SUPERVISOR_INNER_H
#define GAPURA_ROLES_SUPERVISOR_INNER_H

#include <limits.h>

#include "core/clock.h"
#include "roles/children.h"
#include "roles/listeners.h"
#include "roles/reload.h"
#include "roles/sink.h"
#include "roles/watchdog.h"

#define SINK_LOOK (15 * NS_PER_S) /* between two looks at the events' file or daemon */

struct supervisor {
    char file[PATH_MAX];    /* of the settings, absolute */
    char program[PATH_MAX]; /* what SIGUSR2 starts: the file may have been replaced since */
    struct loop *loop;
    struct plan *plan;
    struct endpoint metrics; /* of the start: holds until the next */
    struct listeners listeners;
    struct children children;
    struct sink sink;
    struct reload reload;
    struct watchdog watchdog;
    struct loop_timer late, renew, look, lines;
    struct loop_io *watch;
    int watch_fd, lock, master;
    bool restart, testing; /* testing: the settings are tried before a restart */
    bool restart_next;     /* it waits for the end of a reload */
};

/* Settings, lock, sockets, places, identities. Negative: nothing was started, and `why` says why;
 * what is wrong with the settings is on stderr. */
int supervisor_prepare(struct supervisor *, struct why *why);
void supervisor_start_roles(struct supervisor *);
/* To a plan: the port of the metrics and the group of admins, which hold until the next start. */
void supervisor_add_metrics(void *supervisor, struct plan *);

#endif
