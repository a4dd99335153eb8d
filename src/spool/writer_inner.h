/*
 * spool/writer_inner.h - what the writer's two threads share.
 *
 * writer.c is the loop thread's side, commit.c the committer's. A field belongs to the lock, to one
 * thread, or is atomic; the groups below say which. Segments are allocated in give(), so that the
 * committer never needs memory, least of all after a failure.
 */
#ifndef GAPURA_SPOOL_WRITER_INNER_H
#define GAPURA_SPOOL_WRITER_INNER_H

#include <pthread.h>

#include "spool/writer.h"

#define WRITER_BATCH_RECORDS 16384u /* ceiling of one batch; bounds the void list too */
#define WRITER_VOID_RUNS     256u   /* VOID records of one batch */
#define WRITER_VOID_BYTES    20u    /* payload of one */

struct writer_segment {
    struct spool_segment s;
    int fd;
    bool failed;
    bool empty; /* nothing in it was ever durable */
    struct writer_segment *next;
};

struct out_list {
    struct spool_out *head, **tail;
};

struct spool_writer {
    struct spool_writer_conf conf;
    struct spool_writer_ops ops;
    void *ctx;
    const struct spool_io *io;
    struct spool_share share;
    pthread_t thread;
    bool has_thread, has_lock;

    /* Under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct out_list queue;    /* added, not yet seen by the committer */
    struct out_list finished; /* waiting for spool_writer_poll */
    struct writer_segment *standby, **standby_tail;
    unsigned nstandby;
    struct writer_segment *left; /* closed, to be told by spool_writer_poll */
    enum spool_writer_state state;
    bool holds_current, committer_sleeps, stopping, wake_sent;
    bool untold; /* failed records wait for spool_writer_poll: add() refuses */
    uint64_t queue_since, flight_since; /* monotonic ns; 0: nothing there */

    /* Loop thread only. */
    unsigned owed; /* segments asked for and not yet given */
    bool polling, kick;
    struct writer_segment *empties; /* told when what failed with them is voided */
    uint64_t pending_bytes;

    /* Committer only. */
    struct out_list backlog; /* taken from the queue, did not fit the last batch */
    struct writer_segment *current;
    uint32_t salt;   /* of current */
    uint64_t offset; /* in current, where the next batch goes */
    uint64_t position, number;
    uint64_t *void_ids; /* of batches that failed; WRITER_BATCH_RECORDS */
    size_t nvoid;
    struct spool_out *void_outs; /* WRITER_VOID_RUNS */
    struct buf void_payloads;

    _Atomic uint64_t seq;
    _Atomic uint64_t batches, syncs, bytes, records, errors, sync_ns_sum, sync_ns_max;
};

static inline void
out_list_clear(struct out_list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}
static inline void
out_list_push(struct out_list *l, struct spool_out *o)
{
    o->next = NULL;
    *l->tail = o;
    l->tail = &o->next;
}
/* Moves all of `from` behind `to`. */
static inline void
out_list_move(struct out_list *to, struct out_list *from)
{
    if (!from->head)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    out_list_clear(from);
}
/* Bytes that a record and its body take in a batch. */
static inline uint64_t
out_bytes(const struct spool_out *o)
{
    return SPOOL_RECORD_SIZE(o->payload.n) + round_up(o->body_len, 8);
}

/* commit.c: the thread's body; arg is the writer. */
void *writer_commit_thread(void *arg);

#endif
