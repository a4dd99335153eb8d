/*
 * submit/server.h - the local listener: where it is, and one message to it, blocking.
 */
#ifndef GAPURA_SUBMIT_SERVER_H
#define GAPURA_SUBMIT_SERVER_H

#include "core/err.h"
#include "smtp/client.h"

struct server;
/* A descriptor of the listener that $GAPURA_SUBMIT names, or of the usual socket, or, if there is
 * no such socket, of port 25 of the loopback. -errno with why. */
int server_dial(struct why *why);
/* Dials and says EHLO. 0, or ERR_CLOSED with why: nothing can be sent now. */
int server_open(struct server **ret, const char *helo, bool verbose, struct why *why);
void server_close(struct server *);            /* QUIT; NULL is fine */
struct str server_name(const struct server *); /* as it greeted; empty if it said none */
unsigned server_max_rcpts(const struct server *);
/* All of the message's recipients or none: one refusal keeps it from all. 0, or an exit status of
 * sysexits with why. */
int server_send(struct server *, const struct smtp_client_message *, struct why *why);

#endif
