/*
 * submit/submit.h - mail from programs of this machine: sendmail, mailq, newaliases, `gapura send`.
 *
 * Runs with the rights of whoever calls it, holds nothing, queues nothing: it speaks SMTP to the
 * local listener, so 250 means on disk here as everywhere.
 */
#ifndef GAPURA_SUBMIT_SUBMIT_H
#define GAPURA_SUBMIT_SUBMIT_H

/* Where the listener of kind local is; $GAPURA_SUBMIT names another: unix:PATH or ADDRESS:PORT. */
#define SUBMIT_SOCKET "/run/gapura/submit"
/* When there is no such socket. */
#define SUBMIT_PORT "127.0.0.1:25"

/* The main for a program name (sendmail, mailq, newaliases; the path before it does not matter),
 * or NULL. Exit statuses are those of sysexits.h. */
int (*submit_main_of(const char *argv0))(int argc, char **argv);
int submit_sendmail(int argc, char **argv);
int submit_mailq(int argc, char **argv);

#endif
