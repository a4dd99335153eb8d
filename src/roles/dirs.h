/*
 * roles/dirs.h - directories and control sockets that roles find made for them.
 */
#ifndef GAPURA_ROLES_DIRS_H
#define GAPURA_ROLES_DIRS_H

#include "roles/children.h"

/* The control directory, locked: *ret_lock stays open for as long as we run. ERR_EXISTS: another
 * Gapura has it. */
int dirs_lock(const struct plan *, const struct children *, int *ret_lock, struct why *);
/* Directory of the event file; of the spool and the store, each its role's own. */
int dirs_make_events(const struct plan *, const struct children *, struct why *);
/* What is wrong is longer than a `why` holds: paths may have 500 characters. */
int dirs_make(const struct plan *, const struct children *, struct buf *story);
/* Would it find fault with a directory that is there? Changes nothing; root alone learns it. */
int dirs_look_spool(const struct plan *, const struct children *, struct buf *story);
int dirs_look_store(const struct plan *, const struct children *, struct buf *story);
/* The file of the master key, read-only; made with a fresh key where there is none. */
int dirs_master(const struct plan *, int *ret_fd, struct why *);
/* Binds a socket for each role that answers verbs. */
int dirs_make_control(const struct plan *, struct children *, struct why *);

#endif
