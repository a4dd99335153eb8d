/*
 * roles/stream_link.h - joins a role's spool writer to the spooler role: epoch, segments, space.
 */
#ifndef GAPURA_ROLES_STREAM_LINK_H
#define GAPURA_ROLES_STREAM_LINK_H

#include "roles/role.h"
#include "spool/writer.h"

struct stream_link {
    struct role *role;
    uint16_t stream;
    uint32_t node, epoch;
    struct spool_writer *writer;
    struct spool_writer_stats counted; /* what metrics know of its counters */
    struct loop_waker *waker;
    struct loop_timer again; /* asks anew after "full" */
    unsigned wanted;         /* segments that the writer waits for */
    unsigned asked;          /* of these, how many the spooler has been asked for */
    unsigned failures;       /* segments left as failed, in a row: asks wait longer each time */
    uint64_t batches_failed; /* batches that were good before the last failure */
    /* The writer exists and has a segment, or was told that there is none: the role goes on with
     * its start. */
    void (*opened)(struct role *);
    bool told_opened;
};
/* Asks the spooler for an epoch; `opened` follows. */
int stream_link_open(struct stream_link *, struct role *, uint16_t stream,
                     void (*opened)(struct role *));
/* ASK_*_ANSWER of the spooler: true if it was for us (fd taken). */
bool stream_link_message(struct stream_link *, uint16_t type, struct wire *body, int fd);
void stream_link_renewed(struct stream_link *); /* spooler is there again: asks are repeated */

/* A segment in a channel message. */
void stream_link_put_segment(struct buf *, const struct spool_segment *);
void stream_link_get_segment(struct wire *, struct spool_segment *ret);

#endif
