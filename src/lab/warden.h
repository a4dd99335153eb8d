/*
 * lab/warden.h - a small process that keeps the rights which the lab gives up: it can end the
 * gateway, and clear away its control sockets, and does nothing else.
 */
#ifndef GAPURA_LAB_WARDEN_H
#define GAPURA_LAB_WARDEN_H

#include <sys/types.h>

#include "core/err.h"

struct warden {
    pid_t pid;
    int fd;
};
/* paths: of the sockets; views that live on in the new process. */
int warden_start(struct warden *, pid_t gateway, const char *const *paths, unsigned npaths,
                 struct why *why);
void warden_stop_gateway(struct warden *); /* SIGTERM */
/* The gateway is gone: its sockets too, if it was ours that made them. Ends the warden. */
void warden_end(struct warden *, bool remove);

#endif
