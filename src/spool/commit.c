/*
 * spool/commit.c - the committer thread: batches laid into the ring, written, synced, published.
 *
 * Started and ended by writer.c. Never takes memory, never runs a completion, never touches a
 * segment after a write or sync of it failed: such a segment is left, and the ids of the batch are
 * voided in the next one before anything else is written (invariant 6).
 */
#include <errno.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/crc32c.h"
#include "spool/record.h"
#include "spool/writer_inner.h"

#define COPY_PIECE 4096u /* stays in the first-level cache between checksum and copy */

struct batch {
    struct out_list records;
    uint32_t n;
    uint32_t dir_bytes;
    uint64_t data_bytes, length;
    uint32_t flags;
};

/* Hands a list with its statuses to spool_writer_poll and wakes the loop thread if need be. */
static void
finish(struct spool_writer *w, struct out_list *list)
{
    bool wake;

    if (!list->head)
        return;
    pthread_mutex_lock(&w->lock);
    out_list_move(&w->finished, list);
    wake = !w->wake_sent;
    w->wake_sent = true;
    pthread_mutex_unlock(&w->lock);
    if (wake)
        w->ops.wake(w->ctx);
}

static void
out_list_status(struct out_list *list, int status)
{
    for (struct spool_out *o = list->head; o; o = o->next)
        o->status = status;
}

/*
 * A batch that failed takes along all that was added behind it, and add() refuses until their
 * owners know: they add again what they will, in their order, and nothing of theirs has passed.
 */
static void
finish_failed(struct spool_writer *w, struct out_list *batch, int status, int behind)
{
    struct out_list all;
    bool wake = false;

    out_list_clear(&all);
    out_list_status(batch, status);
    out_list_move(&all, batch);
    pthread_mutex_lock(&w->lock);
    out_list_move(&w->backlog, &w->queue);
    w->queue_since = 0;
    out_list_status(&w->backlog, behind);
    out_list_move(&all, &w->backlog);
    if (all.head) {
        w->untold = true;
        out_list_move(&w->finished, &all);
        wake = !w->wake_sent;
        w->wake_sent = true;
    }
    pthread_mutex_unlock(&w->lock);
    if (wake)
        w->ops.wake(w->ctx);
}

/* Takes records off `from` as long as the batch stays within `limit` bytes. */
static void
batch_gather(struct out_list *from, uint64_t limit, struct batch *b)
{
    uint64_t total = SPOOL_BATCH_HEADER;

    *b = (struct batch){0};
    out_list_clear(&b->records);
    while (from->head && b->n < WRITER_BATCH_RECORDS) {
        struct spool_out *o = from->head;
        uint64_t bytes = out_bytes(o);
        if (round_up(total + bytes, SPOOL_UNIT) > limit)
            break;
        total += bytes;
        from->head = o->next;
        if (!from->head)
            from->tail = &from->head;
        out_list_push(&b->records, o);
        b->n++;
        b->dir_bytes += (uint32_t)SPOOL_RECORD_SIZE(o->payload.n);
    }
    b->data_bytes = total - SPOOL_BATCH_HEADER - b->dir_bytes;
    b->length = round_up(total, SPOOL_UNIT);
}

/* Copies a body and returns its checksum: one pass over the source. */
static uint32_t
body_copy(uint8_t *dst, const struct spool_out *o, uint32_t crc)
{
    for (unsigned i = 0; i < o->nbody; i++) {
        const uint8_t *src = o->body[i].iov_base;
        size_t left = o->body[i].iov_len;
        while (left > 0) {
            size_t n = MIN(left, COPY_PIECE);
            crc = crc32c(crc, src, n);
            memcpy(dst, src, n);
            src += n;
            dst += n;
            left -= n;
        }
    }
    return crc;
}

/* Writes the batch's bytes into the ring and each record's place into the record. */
static uint8_t *
batch_lay(struct spool_writer *w, const struct batch *b)
{
    const struct spool_segment *s = &w->current->s;
    uint8_t *base = w->share.ring + (w->position & (w->share.ring_size - 1));
    uint64_t dir_at = SPOOL_BATCH_HEADER, data_at = dir_at + b->dir_bytes;
    struct spool_batch header;

    ENSURE(w->current);
    spool_share_claim(&w->share, w->position, b->length);
    for (struct spool_out *o = b->records.head; o; o = o->next) {
        struct spool_record r = {.type = o->type, .seq = o->seq, .payload = o->payload};
        uint64_t padded = round_up(o->body_len, 8);
        if (o->body_len > 0) {
            r.body_off = data_at;
            r.body_len = o->body_len;
            r.body_crc = body_copy(base + data_at, o, w->salt);
            memset(base + data_at + o->body_len, 0, padded - o->body_len);
        }
        o->loc = (struct spool_loc){s->number, w->offset + dir_at};
        o->body_loc = (struct spool_loc){s->number, o->body_len ? w->offset + data_at : 0};
        o->generation = s->generation;
        o->body_crc = r.body_crc;
        dir_at += spool_record_put(base + dir_at, &r);
        data_at += padded;
    }
    memset(base + data_at, 0, b->length - data_at);
    header = (struct spool_batch){
        .length = b->length,
        .number = w->number,
        .prev_end = w->position,
        .position = w->position,
        .wall = clock_wall(),
        .nrecords = b->n,
        .dir_bytes = b->dir_bytes,
        .dir_crc = crc32c(w->salt, base + SPOOL_BATCH_HEADER, b->dir_bytes),
        .data_bytes = b->data_bytes,
        .flags = b->flags,
    };
    spool_batch_encode(&header, s, base);
    return base;
}

/* One write, one sync. After a failure the file is not touched again. */
static int
batch_write(struct spool_writer *w, const struct batch *b, const uint8_t *base)
{
    uint64_t before, took;
    ssize_t put = w->io->pwrite(w->io->ctx, w->current->fd, base, b->length, w->offset);
    int err;

    if (put < 0)
        return (int)put;
    if ((uint64_t)put != b->length)
        return -EIO;
    before = clock_mono();
    err = w->io->sync(w->io->ctx, w->current->fd);
    took = clock_mono() - before;
    atomic_fetch_add_explicit(&w->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->sync_ns_sum, took, memory_order_relaxed);
    if (took > atomic_load_explicit(&w->sync_ns_max, memory_order_relaxed))
        atomic_store_explicit(&w->sync_ns_max, took, memory_order_relaxed);
    return err;
}

/* Closes the current segment and has the loop thread tell the spooler. */
static void
segment_leave(struct spool_writer *w, bool failed)
{
    struct writer_segment *seg = w->current;
    bool wake;

    if (!seg)
        return;
    w->current = NULL;
    fd_close(&seg->fd);
    seg->failed = failed;
    seg->empty = w->offset == SPOOL_UNIT;
    pthread_mutex_lock(&w->lock);
    w->holds_current = false;
    if (failed)
        w->state = SPOOL_WRITER_BROKEN;
    seg->next = w->left;
    w->left = seg;
    wake = !w->wake_sent;
    w->wake_sent = true;
    pthread_mutex_unlock(&w->lock);
    if (wake)
        w->ops.wake(w->ctx);
}

/* Goes on to the next segment at hand, if there is one; else stays where it is. */
static bool
segment_next(struct spool_writer *w)
{
    struct writer_segment *seg;

    pthread_mutex_lock(&w->lock);
    seg = w->standby;
    if (seg) {
        w->standby = seg->next;
        if (!w->standby)
            w->standby_tail = &w->standby;
        w->nstandby--;
    }
    pthread_mutex_unlock(&w->lock);
    if (!seg)
        return false;
    seg->next = NULL;
    segment_leave(w, false);
    pthread_mutex_lock(&w->lock);
    w->holds_current = true;
    pthread_mutex_unlock(&w->lock);
    w->current = seg;
    w->salt = spool_salt(&seg->s);
    w->offset = SPOOL_UNIT;
    spool_share_enter(&w->share, w->position, &seg->s);
    return true;
}

/* The batch with its outcome: published and finished, or left with its segment. */
static int
batch_commit(struct spool_writer *w, struct batch *b)
{
    int err = batch_write(w, b, batch_lay(w, b));

    w->number++;
    if (err < 0) {
        atomic_fetch_add_explicit(&w->errors, 1, memory_order_relaxed);
        segment_leave(w, true);
        return err;
    }
    w->offset += b->length;
    w->position += b->length;
    atomic_fetch_add_explicit(&w->batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->records, b->n, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes, b->length, memory_order_relaxed);
    spool_share_publish(&w->share, w->position);
    return 0;
}

/* No segment at hand: nobody waits for one. */
static void
fail_all(struct spool_writer *w)
{
    struct out_list none;

    out_list_clear(&none);
    pthread_mutex_lock(&w->lock);
    if (w->state == SPOOL_WRITER_READY && w->nstandby == 0)
        w->state = SPOOL_WRITER_STARVED;
    pthread_mutex_unlock(&w->lock);
    finish_failed(w, &none, 0, ERR_FULL);
}

/* Commits what fits of the backlog's front. */
static void
commit_some(struct spool_writer *w)
{
    struct batch b = {0};
    uint64_t room = w->current ? w->current->s.size - w->offset : 0;
    int err;

    batch_gather(&w->backlog, MIN(w->conf.max_batch, room), &b);
    if (b.n == 0) {
        if (w->current && w->offset == SPOOL_UNIT) { /* larger than a whole segment */
            struct out_list one;
            struct spool_out *o = w->backlog.head;
            w->backlog.head = o->next;
            if (!w->backlog.head)
                w->backlog.tail = &w->backlog.head;
            out_list_clear(&one);
            out_list_push(&one, o);
            out_list_status(&one, ERR_TOOBIG);
            finish(w, &one);
        } else if (!segment_next(w)) {
            fail_all(w);
        }
        return;
    }
    err = batch_commit(w, &b);
    if (err < 0) {
        for (struct spool_out *o = b.records.head; o; o = o->next)
            w->void_ids[w->nvoid++] = o->seq;
        finish_failed(w, &b.records, err, ERR_STATE);
        return;
    }
    out_list_status(&b.records, 0);
    finish(w, &b.records);
}

static int
compare_ids(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* One batch of VOID records for runs of ids, from the list's end. Returns ids covered. */
static size_t
void_gather(struct spool_writer *w, struct out_list *list)
{
    size_t at = w->nvoid;

    out_list_clear(list);
    buf_clear(&w->void_payloads);
    for (unsigned n = 0; n < WRITER_VOID_RUNS && at > 0; n++) {
        struct spool_void v = {.epoch = w->conf.epoch, .last = w->void_ids[at - 1]};
        struct spool_out *o = &w->void_outs[n];
        v.first = v.last;
        at--;
        while (at > 0 && w->void_ids[at - 1] + 1 >= v.first)
            v.first = w->void_ids[--at];
        *o = (struct spool_out){.type = SPOOL_VOID, .seq = spool_writer_seq(w)};
        o->payload.n = w->void_payloads.n;
        spool_void_encode(&w->void_payloads, &v);
        o->payload.p = w->void_payloads.p + o->payload.n;
        o->payload.n = w->void_payloads.n - o->payload.n;
        out_list_push(list, o);
    }
    ENSURE(!w->void_payloads.failed);
    return w->nvoid - at;
}

/*
 * Voids the ids of failed batches in a fresh segment; READY again when all are durable. A failure
 * in between leaves the rest for the segment after it.
 */
static void
commit_voids(struct spool_writer *w)
{
    struct out_list list;
    struct batch b = {0};
    size_t covered;

    qsort(w->void_ids, w->nvoid, sizeof *w->void_ids, compare_ids);
    while (w->nvoid > 0) {
        uint64_t room = w->current ? w->current->s.size - w->offset : 0;
        covered = void_gather(w, &list);
        batch_gather(&list, MIN(w->conf.max_batch, room), &b);
        if (list.head) { /* did not fit whole */
            if (!segment_next(w))
                return;
            continue;
        }
        b.flags = SPOOL_BATCH_VOID;
        if (batch_commit(w, &b) < 0)
            return;
        w->nvoid -= covered;
    }
    pthread_mutex_lock(&w->lock);
    w->state = SPOOL_WRITER_READY;
    pthread_mutex_unlock(&w->lock);
}

/* With the lock held: true if there is something to do now. */
static bool
committer_has_work(const struct spool_writer *w)
{
    if (w->stopping || w->queue.head || w->backlog.head)
        return true;
    return w->nvoid > 0 && w->nstandby > 0;
}

static void
committer_take(struct spool_writer *w)
{
    if (!w->flight_since)
        w->flight_since = w->queue_since;
    w->queue_since = 0;
    out_list_move(&w->backlog, &w->queue);
}

void *
writer_commit_thread(void *arg)
{
    struct spool_writer *w = arg;

    pthread_setname_np(pthread_self(), "spool-commit");
    w->ops.wake(w->ctx);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        if (!w->backlog.head)
            w->flight_since = 0;
        while (!committer_has_work(w)) {
            w->committer_sleeps = true;
            pthread_cond_wait(&w->cond, &w->lock);
            w->committer_sleeps = false;
        }
        if (w->stopping)
            break;
        committer_take(w);
        pthread_mutex_unlock(&w->lock);
        if (w->nvoid > 0)
            commit_voids(w);
        if (w->nvoid > 0)
            fail_all(w);
        else if (w->backlog.head)
            commit_some(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}
