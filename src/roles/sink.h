/*
 * roles/sink.h - where events go: the file (rotated here), syslog, journald or stderr. The
 * supervisor opens it and hands descriptors to the roles.
 */
#ifndef GAPURA_ROLES_SINK_H
#define GAPURA_ROLES_SINK_H

#include "net/chan.h"
#include "roles/plan.h"

struct sink {
    int kind; /* enum event_sink_kind */
    int to;   /* enum events_to */
    int fd;
    uint64_t inode;  /* of the log daemon's socket */
    char prefix[32]; /* of each datagram */
    char file[512];
    uint64_t rotate_size, keep;
    int language; /* of sentences, enum lang */
    unsigned gid;
};
/* Opens what the plan says. */
int sink_open(struct sink *, const struct plan *, unsigned gid, struct why *);
/* True if the plan wants what is open already. */
bool sink_same(const struct sink *, const struct plan *);
void sink_use(const struct sink *); /* the supervisor's own events go there */
void sink_close(struct sink *);
void sink_tell(const struct sink *, struct chan *);
/* Renames FILE to FILE.1 and so on if it is over its size; finds the log daemon again if it was
 * started anew, or makes FILE again if it was renamed or removed. True if roles must be told the
 * new descriptor. */
bool sink_look(struct sink *);

#endif
