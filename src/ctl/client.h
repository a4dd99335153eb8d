/*
 * ctl/client.h - the command line's end of the control sockets: blocking, one verb at a time.
 */
#ifndef GAPURA_CTL_CLIENT_H
#define GAPURA_CTL_CLIENT_H

#include <jansson.h>

#include "core/err.h"
#include "ctl/verbs.h"

#define CLIENT_STILL_S 2u
struct client_reply {
    /* A line; false ends the reading. */
    bool (*line)(void *ctx, json_t *line);
    /* Nothing has come for CLIENT_STILL_S seconds, asked again each time: false gives up, with why.
     * NULL: waits. */
    bool (*still)(void *ctx, struct why *why);
    void *ctx;
    int end;         /* the role's status: 0 done, else refused */
    char text[8200]; /* its sentence */
};
/* Sends the verb to the role (all gates, if there are several) and reads to its end. wait_s: for
 * each line; 0 without end. 0, ERR_NOTFOUND (no socket), ERR_REFUSED (not allowed), ERR_CLOSED,
 * ERR_TIMEOUT, -errno; why names the path. */
int client_call(const char *run_dir, enum ctl_role role, const char *wire, json_t *args,
                unsigned wait_s, struct client_reply *reply, struct why *why);

#endif
