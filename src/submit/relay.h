/*
 * submit/relay.h - sendmail -bs: SMTP on standard input and output, by way of the local listener.
 */
#ifndef GAPURA_SUBMIT_RELAY_H
#define GAPURA_SUBMIT_RELAY_H

/* Until the server ends the session. EX_OK, or EX_TEMPFAIL after a 421. */
int relay_run(int in, int out);

#endif
