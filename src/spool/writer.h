/*
 * spool/writer.h - one stream's only writer: gathers records, writes a batch, syncs, tells.
 *
 * A record's way: spool_writer_add() queues it in the loop thread -> the committer thread, as soon
 * as the last sync is done (at once when idle; no timer), lays all that is queued into the ring
 * (header, directory, bodies; CRC while copying), writes it with one call, syncs once, publishes
 * `durable` -> the loop thread is woken and runs every record's done(). Only then may a 250 go.
 *
 * Records that producers add inside done() go into one batch: the committer is told once, when
 * spool_writer_poll() ends. A batch never crosses the end of a segment; what does not fit goes to
 * the next one, and without a next one at hand it fails with ERR_FULL rather than wait.
 *
 * Failure (invariant 6): the segment is sealed where it was last durable and never touched again;
 * done(status < 0) goes to every record of the batch; their ids are voided in a fresh segment by
 * the writer itself before it takes new records; until that void is durable add() refuses.
 *
 * Order: records stand in the log in the order in which they were added. One that fails takes along
 * all that were added behind it, and nothing is taken before done() has told all of them: who adds
 * them again in their order keeps it.
 */
#ifndef GAPURA_SPOOL_WRITER_H
#define GAPURA_SPOOL_WRITER_H

#include <sys/uio.h>

#include "core/err.h"
#include "spool/format.h"
#include "spool/io.h"
#include "spool/share.h"

struct spool_out { /* one record on its way; the caller owns it until done() is called */
    uint8_t type;
    uint64_t seq;       /* from spool_writer_seq() for MESSAGE and CHUNK; else 0: the writer's */
    struct str payload; /* bytes stay the caller's until done() */
    const struct iovec *body; /* pieces laid one behind the other */
    unsigned nbody;
    void (*done)(struct spool_out *, int status); /* loop thread; never inside add() */
    /* Filled before done(0): */
    struct spool_loc loc;      /* of the record in its directory */
    struct spool_loc body_loc; /* of the body bytes */
    uint64_t generation;
    uint32_t body_crc;
    uint32_t body_len;
    struct spool_out *next; /* the writer's, like status */
    int status;
};

enum spool_writer_state {
    SPOOL_WRITER_READY,
    SPOOL_WRITER_STARVED, /* no segment at hand: add() gives ERR_FULL */
    SPOOL_WRITER_BROKEN,  /* a write or sync failed: waits for a fresh segment to void ids in, and
                             for a poll that tells what failed */
};

struct spool_writer_ops {
    /* Loop thread: fewer than `standby` segments are at hand; answer with spool_writer_give(), now
     * or later. Called once per segment wanted. */
    void (*need_segment)(void *ctx);
    /* Loop thread: a segment is full, failed or closed; its descriptor is closed already. */
    void (*segment_left)(void *ctx, uint64_t number, bool failed);
    /* Committer thread: make the loop thread call spool_writer_poll() soon. Comes once by itself
     * after spool_writer_create(), so that the first poll asks for segments. */
    void (*wake)(void *ctx);
    /* Loop thread, after segment_left, or NULL: it failed before anything in it was durable, so
     * that no reader will ever tell of it. What it failed with is voided elsewhere by now: the
     * spooler may have it back. */
    void (*segment_empty)(void *ctx, uint64_t number, uint64_t generation);
};
struct spool_writer_conf {
    uint32_t node, epoch;
    uint16_t stream;
    uint64_t max_batch;        /* bytes; default 4 MiB, at most a quarter of the ring */
    uint64_t max_pending;      /* bytes queued before add() gives ERR_LIMIT; default 64 MiB */
    uint64_t ring_size;        /* default 32 MiB */
    unsigned standby;          /* segments wanted in hand beside the current one; default 1 */
    const struct spool_io *io; /* NULL: the system */
    bool start_later;          /* no thread until spool_writer_start() */
};
struct spool_writer;

int spool_writer_create(struct spool_writer **ret, const struct spool_writer_conf *,
                        const struct spool_writer_ops *, void *ctx);
/* For a role that gives up its rights between: a thread keeps those that its maker had. */
int spool_writer_start(struct spool_writer *);
/* Waits for the batch in flight, fails what is queued with ERR_CLOSED, ends the thread. Runs done()
 * and segment_left() for all that is held. Never called inside a callback. */
void spool_writer_free(struct spool_writer *);
/* Takes fd: opened for writing (O_DIRECT if the device allows), its header already durable. */
void spool_writer_give(struct spool_writer *, int fd, const struct spool_segment *s);
/* The spooler has none (space or quota): 452 to clients once what is at hand is full. Cleared by
 * the next give, which the spooler owes: need_segment is not called again for it. */
void spool_writer_starve(struct spool_writer *);
uint64_t spool_writer_seq(struct spool_writer *); /* the next id's sequence; loop thread */
/* Bytes that a record may take, with its body; larger ones are never taken. */
uint64_t spool_writer_max(const struct spool_writer *);
/* 0, ERR_FULL (no segment), ERR_LIMIT (too much queued), ERR_STATE (broken, not yet recovered, or
 * failures are not told yet): later. ERR_TOOBIG (larger than max_batch): never. done() may be told
 * it too, where a segment is smaller than the record. */
int spool_writer_add(struct spool_writer *, struct spool_out *);
void spool_writer_poll(struct spool_writer *); /* runs done() of all that finished */
enum spool_writer_state spool_writer_state(const struct spool_writer *);
struct spool_share *spool_writer_share(struct spool_writer *);
struct spool_writer_stats {
    uint64_t batches, syncs, bytes, records, errors, pending_bytes;
    uint64_t oldest_wait_ns; /* of the oldest record not yet durable; 0 if none */
    uint64_t sync_ns_sum, sync_ns_max;
};
void spool_writer_stats(const struct spool_writer *, struct spool_writer_stats *ret);

#endif
