/*
 * ctl/ctl.h - the verbs of the command line and the control socket's protocol, both ends.
 *
 * One table (ctl/verbs.c) says for each verb: its words ("queue list"), which role answers, its
 * options with help, how the lines are printed for people. The wire is lines of JSON over a Unix
 * stream socket, one per role (RUN_DIR/NAME.ctl, mode 0660, group gapura):
 *     {"verb":"queue.list","args":{...}}
 *     {"line":{...}}  ...  {"end":0,"text":"..."}
 */
#ifndef GAPURA_CTL_CTL_H
#define GAPURA_CTL_CTL_H

#include "net/stream.h"

/* From now on the JSON library wipes what it gives back. ctl_server_create() has it done. */
void ctl_wipe_json(void);

/* Server side: a role's end of the socket. fd: bound and listening (the supervisor's doing). */
struct ctl_server;
struct ctl_call;
struct ctl_server *ctl_server_create(struct loop *, int fd,
                                     void (*call)(void *ctx, struct ctl_call *, struct str verb,
                                                  struct str args),
                                     void *ctx);
void ctl_server_free(struct ctl_server *);
/* Lines may be sent at once or later; output is bounded: ERR_LIMIT pauses are the caller's to
 * respect through ctl_call_full()/on_drained. The call is freed after ctl_call_end. */
void ctl_call_line(struct ctl_call *, struct str json);
void ctl_call_end(struct ctl_call *, int status, const char *text);
bool ctl_call_full(const struct ctl_call *);
bool ctl_call_gone(const struct ctl_call *); /* its client has left: only the end is missing */
void ctl_call_on_drained(struct ctl_call *, void (*fn)(void *ctx), void *ctx);
/* Told when the client went away before the end: then the call must not be used again. */
void ctl_call_on_gone(struct ctl_call *, void (*fn)(void *ctx), void *ctx);

/* Client side: the program's command line (everything but `run` and roles). argv[0] is "gapura".
 * Returns the exit status: 0 done, 1 refused or not found, 2 usage, 3 cannot reach the role. */
int ctl_main(int argc, char **argv);
/* How -c FILE is understood: finds the control sockets' directory in the settings. Set by
 * roles/main.c, which knows all rows. 0 or negative with why. */
void ctl_set_run_dir_reader(int (*read)(const char *conf_file, char *dst, size_t cap,
                                        struct why *why));
#define CTL_RUN_DIR "/run/gapura"
#define CTL_VERSION "0.1.0"

#endif
