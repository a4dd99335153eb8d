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
    int fd;
    char prefix[32]; /* of each datagram */
    char file[512];
    uint64_t rotate_size, keep;
    unsigned gid;
};
/* Opens what the plan says and makes it the supervisor's own sink too. */
int sink_open(struct sink *, const struct plan *, unsigned gid, struct why *);
void sink_tell(const struct sink *, struct chan *);
/* Renames FILE to FILE.1 and so on if it is over its size: true if roles must be told again. */
bool sink_rotate(struct sink *);

#endif
