/*
 * roles/supervisor.h - `gapura run`: binds, starts roles, watches, reloads, hands over.
 */
#ifndef GAPURA_ROLES_SUPERVISOR_H
#define GAPURA_ROLES_SUPERVISOR_H

/* In the foreground until SIGTERM or SIGINT; SIGHUP reloads, SIGUSR2 restarts in place with the
 * listening sockets kept. Returns the exit status. */
int supervisor_main(const char *file);

#endif
