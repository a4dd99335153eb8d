/*
 * spool/writer.c - the loop thread's half of a stream's writer: queueing, completions, segments.
 *
 * Called by the roles that own a stream (gate, desk, courier). Nothing here waits for a disk:
 * commit.c does, in the thread that spool_writer_create() starts. Callbacks are run from
 * spool_writer_poll() and spool_writer_free() alone.
 */
#include "spool/writer.h"

#include <signal.h>

#include "core/clock.h"
#include "spool/writer_inner.h"

#define DEFAULT_BATCH   (UINT64_C(4) << 20)
#define DEFAULT_PENDING (UINT64_C(64) << 20)
#define DEFAULT_RING    (UINT64_C(32) << 20)

static void
writer_defaults(struct spool_writer *w)
{
    struct spool_writer_conf *c = &w->conf;

    if (c->ring_size == 0)
        c->ring_size = DEFAULT_RING;
    if (c->max_batch == 0)
        c->max_batch = DEFAULT_BATCH;
    c->max_batch = MIN(c->max_batch, c->ring_size / 4) & ~(uint64_t)(SPOOL_UNIT - 1);
    c->max_batch = MAX(c->max_batch, 4 * SPOOL_UNIT); /* a batch of VOIDs */
    if (c->max_pending == 0)
        c->max_pending = DEFAULT_PENDING;
    if (c->standby == 0)
        c->standby = 1;
    w->io = c->io ? c->io : &spool_io_system;
}

/* Memory that a failure will need is taken now. */
static int
writer_reserve(struct spool_writer *w)
{
    w->void_ids = calloc(WRITER_BATCH_RECORDS, sizeof *w->void_ids);
    w->void_outs = calloc(WRITER_VOID_RUNS, sizeof *w->void_outs);
    buf_init(&w->void_payloads, WRITER_VOID_RUNS * WRITER_VOID_BYTES);
    if (!w->void_ids || !w->void_outs ||
        !buf_room(&w->void_payloads, WRITER_VOID_RUNS * WRITER_VOID_BYTES))
        return ERR_NOMEM;
    return 0;
}

/* The role's signals are the loop thread's. */
int
spool_writer_start(struct spool_writer *w)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&w->thread, NULL, writer_commit_thread, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0)
        return -err;
    w->has_thread = true;
    return 0;
}

int
spool_writer_create(struct spool_writer **ret, const struct spool_writer_conf *conf,
                    const struct spool_writer_ops *ops, void *ctx)
{
    struct spool_writer *w = calloc(1, sizeof *w);
    int err;

    if (!w)
        return ERR_NOMEM;
    w->conf = *conf;
    w->ops = *ops;
    w->ctx = ctx;
    w->state = SPOOL_WRITER_STARVED;
    out_list_clear(&w->queue);
    out_list_clear(&w->finished);
    out_list_clear(&w->backlog);
    w->standby_tail = &w->standby;
    w->share.fd = w->share.wake_fd = -1;
    atomic_store(&w->seq, 1);
    writer_defaults(w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    w->has_lock = true;
    err = spool_share_create(&w->share, conf->node, conf->stream, conf->epoch, w->conf.ring_size);
    if (err == 0)
        err = writer_reserve(w);
    if (err == 0 && !conf->start_later)
        err = spool_writer_start(w);
    if (err < 0) {
        spool_writer_free(w);
        return err;
    }
    *ret = w;
    return 0;
}

static void
run_done(struct spool_writer *w, struct spool_out *o)
{
    struct spool_out *next;

    for (; o; o = next) {
        next = o->next;
        w->pending_bytes -= out_bytes(o);
        o->done(o, o->status);
    }
}

static void
tell_left(struct spool_writer *w, struct writer_segment *left)
{
    struct writer_segment *next;

    for (; left; left = next) {
        next = left->next;
        fd_close(&left->fd);
        w->ops.segment_left(w->ctx, left->s.number, left->failed);
        if (left->failed && left->empty) {
            left->next = w->empties;
            w->empties = left;
        } else {
            free(left);
        }
    }
}

static void
empties_done(struct spool_writer *w, bool tell)
{
    struct writer_segment *e;

    while ((e = w->empties) != NULL) {
        w->empties = e->next;
        if (tell && w->ops.segment_empty)
            w->ops.segment_empty(w->ctx, e->s.number, e->s.generation);
        free(e);
    }
}

static void
writer_stop(struct spool_writer *w)
{
    if (!w->has_thread)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->has_thread = false;
    spool_share_close(&w->share);
}

void
spool_writer_free(struct spool_writer *w)
{
    if (!w)
        return;
    writer_stop(w);
    out_list_move(&w->backlog, &w->queue);
    for (struct spool_out *o = w->backlog.head; o; o = o->next)
        o->status = ERR_CLOSED;
    out_list_move(&w->finished, &w->backlog);
    run_done(w, w->finished.head);
    tell_left(w, w->left);
    tell_left(w, w->current);
    tell_left(w, w->standby);
    empties_done(w, false);
    spool_share_done(&w->share);
    free(w->void_ids);
    free(w->void_outs);
    buf_done(&w->void_payloads);
    if (w->has_lock) {
        pthread_cond_destroy(&w->cond);
        pthread_mutex_destroy(&w->lock);
    }
    free(w);
}

void
spool_writer_give(struct spool_writer *w, int fd, const struct spool_segment *s)
{
    struct writer_segment *seg = calloc(1, sizeof *seg);
    bool wake;

    if (w->owed > 0)
        w->owed--;
    if (!seg || s->size < 2 * SPOOL_UNIT) {
        free(seg);
        fd_close(&fd);
        w->ops.segment_left(w->ctx, s->number, false);
        return;
    }
    seg->s = *s;
    seg->fd = fd;
    pthread_mutex_lock(&w->lock);
    *w->standby_tail = seg;
    w->standby_tail = &seg->next;
    w->nstandby++;
    if (w->state == SPOOL_WRITER_STARVED)
        w->state = SPOOL_WRITER_READY;
    wake = w->committer_sleeps && w->state == SPOOL_WRITER_BROKEN;
    pthread_mutex_unlock(&w->lock);
    if (wake)
        pthread_cond_signal(&w->cond);
}

void
spool_writer_starve(struct spool_writer *w)
{
    pthread_mutex_lock(&w->lock);
    if (w->state == SPOOL_WRITER_READY && !w->holds_current && w->nstandby == 0)
        w->state = SPOOL_WRITER_STARVED;
    pthread_mutex_unlock(&w->lock);
}

uint64_t
spool_writer_seq(struct spool_writer *w)
{
    return atomic_fetch_add_explicit(&w->seq, 1, memory_order_relaxed);
}

uint64_t
spool_writer_max(const struct spool_writer *w)
{
    return w->conf.max_batch - SPOOL_BATCH_HEADER;
}

/* Sets body_len; false if the record can never go into one batch. */
static bool
out_measure(const struct spool_writer *w, struct spool_out *o)
{
    uint64_t body = 0;

    for (unsigned i = 0; i < o->nbody; i++) {
        if (o->body[i].iov_len > w->conf.max_batch)
            return false;
        body += o->body[i].iov_len;
        if (body > w->conf.max_batch)
            return false;
    }
    o->body_len = (uint32_t)body;
    return o->payload.n <= w->conf.max_batch &&
           SPOOL_BATCH_HEADER + out_bytes(o) <= w->conf.max_batch;
}

int
spool_writer_add(struct spool_writer *w, struct spool_out *o)
{
    uint64_t bytes;
    bool wake = false;
    int err = 0;

    if (!out_measure(w, o))
        return ERR_TOOBIG;
    bytes = out_bytes(o);
    if (bytes > w->conf.max_pending || w->pending_bytes > w->conf.max_pending - bytes)
        return ERR_LIMIT;
    pthread_mutex_lock(&w->lock);
    if (w->stopping)
        err = ERR_CLOSED;
    else if (w->state == SPOOL_WRITER_STARVED)
        err = ERR_FULL;
    else if (w->state == SPOOL_WRITER_BROKEN || w->untold)
        err = ERR_STATE;
    if (err == 0) {
        if (o->seq == 0)
            o->seq = spool_writer_seq(w);
        if (!w->queue.head)
            w->queue_since = clock_mono();
        out_list_push(&w->queue, o);
        wake = w->committer_sleeps;
    }
    pthread_mutex_unlock(&w->lock);
    if (err < 0)
        return err;
    w->pending_bytes += bytes;
    if (w->polling)
        w->kick = true; /* one batch of all that done() calls add: told at the end of poll */
    else if (wake)
        pthread_cond_signal(&w->cond);
    return 0;
}

/* Asks for what is missing; give() may be called inside. */
static void
writer_ask(struct spool_writer *w)
{
    for (;;) {
        unsigned have;
        pthread_mutex_lock(&w->lock);
        have = w->nstandby + (w->holds_current ? 1 : 0) + w->owed;
        pthread_mutex_unlock(&w->lock);
        if (have >= w->conf.standby + 1)
            return;
        w->owed++;
        w->ops.need_segment(w->ctx);
    }
}

void
spool_writer_poll(struct spool_writer *w)
{
    struct writer_segment *left;
    struct spool_out *done;
    bool untold;

    pthread_mutex_lock(&w->lock);
    untold = w->untold;
    done = w->finished.head;
    out_list_clear(&w->finished);
    left = w->left;
    w->left = NULL;
    w->wake_sent = false;
    pthread_mutex_unlock(&w->lock);
    tell_left(w, left);
    w->polling = true;
    run_done(w, done);
    w->polling = false;
    if (untold) { /* none can have failed since: none was taken */
        pthread_mutex_lock(&w->lock);
        w->untold = false;
        pthread_mutex_unlock(&w->lock);
    }
    if (w->kick) {
        w->kick = false;
        pthread_mutex_lock(&w->lock);
        pthread_cond_signal(&w->cond);
        pthread_mutex_unlock(&w->lock);
    }
    if (w->empties && spool_writer_state(w) == SPOOL_WRITER_READY)
        empties_done(w, true);
    writer_ask(w);
}

enum spool_writer_state
spool_writer_state(const struct spool_writer *w)
{
    struct spool_writer *own = (struct spool_writer *)w; /* for its lock */
    enum spool_writer_state state;

    pthread_mutex_lock(&own->lock);
    state = w->state == SPOOL_WRITER_READY && w->untold ? SPOOL_WRITER_BROKEN : w->state;
    pthread_mutex_unlock(&own->lock);
    return state;
}

struct spool_share *
spool_writer_share(struct spool_writer *w)
{
    return &w->share;
}

void
spool_writer_stats(const struct spool_writer *w, struct spool_writer_stats *ret)
{
    struct spool_writer *own = (struct spool_writer *)w; /* for its lock */
    uint64_t since, now;

    pthread_mutex_lock(&own->lock);
    since = w->flight_since ? w->flight_since : w->queue_since;
    pthread_mutex_unlock(&own->lock);
    now = since ? clock_mono() : 0;
    *ret = (struct spool_writer_stats){
        .batches = w->batches,
        .syncs = w->syncs,
        .bytes = w->bytes,
        .records = w->records,
        .errors = w->errors,
        .pending_bytes = w->pending_bytes,
        .oldest_wait_ns = now > since ? now - since : 0,
        .sync_ns_sum = w->sync_ns_sum,
        .sync_ns_max = w->sync_ns_max,
    };
}
