/*
 * roles/watchdog.h - are the roles up, and do they still answer? The service manager is told.
 *
 * READY=1 goes out when every role that is wanted has said that it is up: the gate says so when its
 * listeners accept. From then on each role is asked now and then; the runtime of every role answers
 * (roles/role.c), so that silence is a loop that does not turn.
 */
#ifndef GAPURA_ROLES_WATCHDOG_H
#define GAPURA_ROLES_WATCHDOG_H

#include "roles/children.h"

struct watchdog {
    struct children *children;
    struct loop_timer late, ask;
    bool up;           /* READY=1 was said */
    unsigned late_for; /* looks in vain */
    uint64_t every;    /* ns between two questions; 0: none are asked */
};
void watchdog_init(struct watchdog *, struct loop *, struct children *);
void watchdog_start(struct watchdog *);    /* the roles were started */
void watchdog_role_up(struct watchdog *);  /* one more said so */
void watchdog_settings(struct watchdog *); /* the children's plan is another */
/* sd_notify(3), where there is a service manager. */
void watchdog_notify(const char *state);

#endif
