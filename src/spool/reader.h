/*
 * spool/reader.h - reading streams: recovery of what dead writers left, and the live tail.
 *
 * Recovery walks an epoch's segments in order. A batch that does not check out is a torn tail only
 * if no later valid batch of this generation follows; else the range is set aside, reading resumes
 * at the next valid batch and `damage` is told (ids lost are those between the neighbours).
 * Only the last batch of an epoch needs its bodies checked: any earlier one was synced before the
 * next was written.
 */
#ifndef GAPURA_SPOOL_READER_H
#define GAPURA_SPOOL_READER_H

#include "core/err.h"
#include "spool/format.h"
#include "spool/io.h"
#include "spool/listing.h"
#include "spool/share.h"

struct spool_place {                     /* where a record was read, for the index */
    const struct spool_segment *segment; /* valid during the call */
    struct spool_loc loc;                /* of the record */
    struct spool_loc batch;              /* of its batch: body at batch.offset + record.body_off */
    uint64_t position;                   /* linear */
};
struct spool_reader_ops {
    /* Each record of each valid batch, in order. A negative return ends the reading with it. */
    int (*record)(void *ctx, const struct spool_place *, const struct spool_record *);
    /* Bytes [from, to) of that segment cannot be trusted though later ones can. lost ids are
     * after_seq < seq < before_seq of the epoch (before_seq UINT64_MAX if unknown). */
    void (*damage)(void *ctx, const struct spool_segment *, uint64_t from, uint64_t to,
                   uint64_t after_seq, uint64_t before_seq);
    /* A segment was read to its end (recovery) or left behind (tail). May come twice for one. */
    void (*segment_end)(void *ctx, const struct spool_segment *);
};

/* Reads all segments of one epoch (n neighbours of a listing), in order: what a start does for each
 * epoch of the listing. It knows from a later segment how far an earlier one was durable, so it
 * leaves out a batch that failed and was voided, and finds what is lost at a segment's end. */
int spool_epoch_read(const char *dir, const struct spool_segment *segments, size_t n,
                     const struct spool_io *io, const struct spool_reader_ops *, void *ctx);

/* The same in steps, for a reader that has other things to do: each step tells one batch at most,
 * 1 while there is more, 0 at the end, negative. What a step reads is bounded by a batch, or by a
 * few megabytes where batches are looked for. After an error of the disk (spool_is_disk_error) the
 * same step may be tried again: nothing is told twice or left out, and a copy that was put in the
 * file's place meanwhile is read on. After any other it is closed.
 * Segments are copied; ops must live as long as this. */
struct spool_epoch;
int spool_epoch_open(struct spool_epoch **ret, const char *dir,
                     const struct spool_segment *segments, size_t n, const struct spool_io *io,
                     const struct spool_reader_ops *, void *ctx);
int spool_epoch_step(struct spool_epoch *);
size_t spool_epoch_at(const struct spool_epoch *); /* segments that were read */
void spool_epoch_close(struct spool_epoch *);

/* Reads one segment's batches from `offset` (SPOOL_UNIT: its start) on. `last` says that no later
 * segment of this epoch holds a batch (a standby that was never written to does not count), so that
 * its tail may be torn. *ret_end gets the file offset behind the last valid batch. A batch that
 * failed and was voided may be told here; apply VOID records, or use spool_epoch_read(). */
int spool_segment_read(const char *dir, const struct spool_segment *, uint64_t offset, bool last,
                       const struct spool_io *io, const struct spool_reader_ops *, void *ctx,
                       uint64_t *ret_end);

/* The live tail of one writer's epoch: reads from the ring, falls back to the files. What was
 * durable when the tail was made is read from the segments that are still there: a reader that
 * comes back does not see again what it had settled. Takes the share. */
struct spool_tail;
int spool_tail_create(struct spool_tail **ret, const char *dir, struct spool_share share,
                      const struct spool_io *io, const struct spool_reader_ops *, void *ctx);
void spool_tail_free(struct spool_tail *);
/* Reads what is durable and unread, at most max_batches; returns batches read or an error. A step
 * through what lay in the files when the tail was made counts as one, as spool_epoch_step() takes
 * it. An error of the disk may be tried again, as there; after another the tail is only freed: it
 * would tell records again, or leave some out. */
int spool_tail_run(struct spool_tail *, unsigned max_batches);
/* Says that the reader goes to sleep; false if there is more to read (do not sleep then). */
bool spool_tail_sleep(struct spool_tail *);
/* Written to for each wake: wait for its edges (EPOLLET). It is another role's and is not read
 * here: who has it as well can make a read of it wait. */
int spool_tail_wake_fd(const struct spool_tail *);
uint64_t spool_tail_lag(const struct spool_tail *); /* bytes durable and not yet read */
/* How much of that past is read, in segments; false if it is behind us. */
bool spool_tail_progress(const struct spool_tail *, size_t *ret_read, size_t *ret_of);
/* The writer is gone: reads on behind `durable` as recovery does (a batch may be synced and not
 * published), in at most so many steps: 1 while there is more, 0 at the end, or an error. The tail
 * is freed by the caller afterwards. */
int spool_tail_finish(struct spool_tail *, unsigned max_steps);

/* Opened segment files for bodies, few at a time (an LRU of descriptors), checked by generation. */
struct spool_files;
struct spool_files *spool_files_create(const char *dir, unsigned max_open,
                                       const struct spool_io *io);
void spool_files_free(struct spool_files *);
/* Reads n bytes at loc; ERR_STALE if the file has another generation now (checked at opening and
 * after the read), ERR_NOTFOUND, -errno. */
int spool_files_read(struct spool_files *, const struct spool_loc *, uint64_t generation, void *dst,
                     size_t n);
/* The same for a body or chunk, checked against its checksum: ERR_CORRUPT. */
int spool_files_read_body(struct spool_files *, const struct spool_loc *, uint64_t generation,
                          void *dst, uint32_t n, uint32_t crc);
void spool_files_forget(struct spool_files *, uint64_t segment);

#endif
