/*
 * roles/children.h - the supervisor's children: start, channels between them, end, back-off.
 */
#ifndef GAPURA_ROLES_CHILDREN_H
#define GAPURA_ROLES_CHILDREN_H

#include "net/chan.h"
#include "net/loop.h"
#include "roles/plan.h"
#include "roles/role.h"

struct children;
struct child {
    const struct role_row *row;
    struct children *all;
    pid_t pid; /* 0: not running */
    struct chan *chan;
    bool wanted, ready;
    uint64_t generation; /* of the settings that it said it took; 0: none yet */
    uint64_t started;    /* mono ns */
    unsigned failures;   /* in a row: the back-off doubles with each */
    unsigned restarts;
    unsigned unanswered; /* questions of the watchdog */
    int last_status;     /* of waitpid */
    int control_fd;      /* its listening control socket */
    struct loop_timer again;
};
struct children {
    struct loop *loop;
    struct child of[ROLE_MAX_];
    unsigned uid, gid;  /* of the loader; the group of all roles */
    unsigned admin_gid; /* who may use the control sockets: never the roles' own group */
    unsigned uids[ROLE_MAX_];
    bool named; /* each role has a user of its own in the passwd file */
    const struct plan *plan;
    int metrics_fd;
    bool stopping;
    /* The owner's: tells listeners to a child that has just started. */
    void (*greet)(void *ctx, struct child *);
    void (*message)(void *ctx, struct child *, uint16_t type, uint64_t id, struct wire *body,
                    int fd);
    void (*lost)(void *ctx, struct child *); /* it has ended; it may be started again later */
    void (*all_gone)(void *ctx);
    void (*up)(void *ctx);                   /* one has said that it is ready */
    void (*sink)(void *ctx, struct child *); /* hand it the event sink */
    void *ctx;
};

void children_init(struct children *, struct loop *, void *ctx);
/* Looks the identities up, once: nothing asks the name service while roles run. ERR_REFUSED: the
 * roles would run as root. */
int children_identity(struct children *, const char *user, struct why *);
/* The user of a role where the passwd file has none for it. */
unsigned children_uid_fallback(enum role_id);
int children_start(struct children *, enum role_id); /* 0 or -errno: tried again later */
void children_reap(struct children *);               /* on SIGCHLD */
void children_stop_all(struct children *);           /* in order: gate first, spooler last */
void children_kill_all(struct children *);
void children_kill(struct child *); /* it is started again */
/* Hands the plan's bundle to that child. */
int children_tell_settings(struct child *, const struct plan *);

#endif
