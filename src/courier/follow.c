/*
 * courier/follow.c - the live streams of other roles: joined, read in slices, finished when their
 * writer is gone.
 *
 * Called by the role (a gate has a stream), by service.c when delivery opens, and by the loop.
 * Nothing is read before all that was said of mail is known; no step reads longer than a slice, so
 * that sessions have their turn.
 */
#include "courier/follow.h"

#include "core/event.h"
#include "courier/intake.h"
#include "courier/intake_inner.h"
#include "courier/retry.h"
#include "courier/unseen.h"

#define TAIL_BATCHES 64u /* read in one go before sessions get their turn */
#define TAIL_STEP    8u  /* of those, before a look at the clock */
#define TAIL_SLICE   (20 * NS_PER_MS)

/* --- a disk that does not give what it holds --- */

/* True: it is asked again, where the reading stands. */
static bool
disk_waits(struct courier_tail *t, struct tail_wait *w, uint32_t epoch, int err)
{
    uint64_t gap;

    if (!spool_is_disk_error(err))
        return false;
    if (w->tries == 0) {
        t->c->unread++;
        event_alarm("the disk does not give the log of epoch %u: %s. Mail that was not read yet "
                    "waits there, all other is delivered; nothing of it is removed, and it is read "
                    "on as soon as the disk gives it: mend the disk",
                    epoch, err_text(err));
    }
    gap = retry_disk(&w->tries);
    w->until = clock_mono() + gap;
    if (t->timer.due == 0 || t->timer.due > w->until)
        loop_timer_set(&t->timer, gap);
    return true;
}

static void
disk_gave(struct courier_tail *t, struct tail_wait *w, uint32_t epoch)
{
    if (w->tries == 0)
        return;
    *w = (struct tail_wait){0};
    t->c->unread--;
    event_notice("the disk gives the log of epoch %u again: it is read on", epoch);
}

static bool
is_time(const struct tail_wait *w)
{
    return w->tries == 0 || clock_mono() >= w->until;
}

static void
tail_timer(void *ctx)
{
    struct courier_tail *t = ctx;
    uint64_t now = clock_mono(), at = 0;

    for (int i = 0; i < 2; i++) {
        const struct tail_wait *w = i ? &t->missed_wait : &t->wait;
        if (w->tries > 0 && w->until > now)
            at = at ? MIN(at, w->until) : w->until;
    }
    if (at)
        loop_timer_set(&t->timer, at - now);
    loop_defer(t->c->loop, &t->again);
}

/* --- what nobody followed --- */

/* Word of a gate may be lost with its channel: when the next one is followed, what the former left
 * is read as dead, before the tail and in slices like it. It is younger than our own epoch, so that
 * our dead ones said nothing of it. */
static void
missed_failed(struct courier_tail *t, int err)
{
    t->c->unread++;
    event_alarm("the end of epoch %u cannot be read: %s; its mail is safe on disk and is "
                "delivered after the courier's next start",
                t->missed_at < t->missed.n ? t->missed.items[t->missed_at].epoch : t->epoch - 1,
                err_text(err));
}

static void
missed_done(struct courier_tail *t)
{
    spool_epoch_close(t->missed_epoch);
    t->missed_epoch = NULL;
    spool_listing_done(&t->missed);
    t->missed_at = 0;
}

/* What of them was read already may not go back either. */
static void
missed_pin(const struct courier_tail *t)
{
    struct courier *c = t->c;

    for (size_t i = t->missed_at; i < t->missed.n; i++) {
        const struct spool_segment *s = &t->missed.items[i];
        uint32_t slot = segments_find(&c->segments, s->number, s->generation);
        if (slot != SEGMENT_NONE)
            segments_pin(&c->segments, slot);
    }
}

/* Those that nothing was written to are known as well, else they would not be given back. */
static int
missed_known(struct courier_tail *t)
{
    struct segments *all = &t->c->segments;

    for (size_t i = 0; i < t->missed.n; i++) {
        uint32_t slot = segments_get(all, &t->missed.items[i], false);
        if (slot == SEGMENT_NONE)
            return ERR_LIMIT;
        segments_at(all, slot)->dead = true;
    }
    return 0;
}

static void
missed_begin(struct courier_tail *t)
{
    struct spool_listing *all = &t->missed;
    size_t kept = 0;
    int err;

    if (t->epoch <= t->before + 1)
        return;
    err = spool_list(t->c->links.spool_dir, NULL, all, NULL);
    if (err == 0)
        err = unseen_note(t->c, all);
    if (err < 0) {
        missed_failed(t, err);
        missed_done(t);
        return;
    }
    for (size_t i = 0; i < all->n; i++) {
        const struct spool_segment *s = &all->items[i];
        if (s->stream == t->stream && s->epoch > t->before && s->epoch < t->epoch)
            all->items[kept++] = *s;
    }
    all->n = kept;
    err = missed_known(t);
    if (err < 0) {
        missed_failed(t, err);
        missed_pin(t);
    }
    if (kept == 0 || err < 0)
        missed_done(t);
}

/* A batch or less: 1, 0 when all is read, negative. Nothing goes back to the spooler before its
 * epoch was read whole. */
static int
missed_step(struct courier_tail *t)
{
    struct courier *c = t->c;
    const struct spool_segment *s = t->missed.items + t->missed_at;
    size_t n = 1;
    int got;

    if (t->missed_at == t->missed.n)
        return 0;
    while (t->missed_at + n < t->missed.n && s[n].epoch == s->epoch)
        n++;
    if (!t->missed_epoch) {
        got =
            spool_epoch_open(&t->missed_epoch, c->links.spool_dir, s, n, NULL, &intake_dead_ops, c);
        if (got < 0)
            return got;
    }
    got = spool_epoch_step(t->missed_epoch);
    if (got >= 0)
        disk_gave(t, &t->missed_wait, s->epoch);
    if (got != 0)
        return got;
    spool_epoch_close(t->missed_epoch);
    t->missed_epoch = NULL;
    t->missed_at += n;
    intake_epoch_over(c, s->epoch);
    return 1;
}

/* True: there is more, and the next turn goes on. */
static bool
missed_run(struct courier_tail *t)
{
    struct courier *c = t->c;
    uint64_t until = clock_mono() + TAIL_SLICE;
    unsigned steps = 0;
    int got = 0;

    while (t->missed.n > 0 && (got = missed_step(t)) == 1) {
        if (clock_mono() < until && ++steps != c->recover_steps)
            continue;
        loop_defer_next(c->loop, &t->again);
        return true;
    }
    if (got < 0 && t->missed_epoch &&
        disk_waits(t, &t->missed_wait, t->missed.items[t->missed_at].epoch, got))
        return false;
    if (got < 0) {
        missed_failed(t, got);
        missed_pin(t);
    }
    missed_done(t);
    return false;
}

/* --- tails --- */

static void
tail_close(struct courier_tail *t)
{
    if (!t->tail)
        return;
    loop_io_free(t->wake);
    loop_call_cancel(t->c->loop, &t->again);
    loop_timer_stop(&t->timer);
    missed_done(t);
    spool_tail_free(t->tail);
    *t = (struct courier_tail){0};
}

/* What is behind the failure is read by the next start: until then nothing of that epoch goes back
 * to the spooler, nor what was said of its messages. */
static void
tail_failed(struct courier_tail *t)
{
    struct courier *c = t->c;

    t->failed = true;
    loop_io_free(t->wake);
    t->wake = NULL;
    c->unread++;
    for (uint32_t i = 0; i < c->segments.n; i++) {
        const struct segment *g = segments_at(&c->segments, i);
        if (g->used && !g->own && g->s.epoch == t->epoch)
            segments_pin(&c->segments, i);
    }
}

/* The next batches, for as long as others can wait: steps done, or an error. */
static int
tail_read(struct courier_tail *t)
{
    uint64_t until = clock_mono() + TAIL_SLICE;
    unsigned n = 0, max = t->c->recover_steps ? t->c->recover_steps : TAIL_BATCHES;
    unsigned step = MIN(TAIL_STEP, max);
    int got;

    do {
        got = spool_tail_run(t->tail, step);
        n += got > 0 ? (unsigned)got : 0;
    } while (got == (int)step && n < max && clock_mono() < until);
    return got < 0 ? got : (int)n;
}

/* The writer is gone: what it left is read to the end, in slices. */
static void
tail_finish(struct courier_tail *t)
{
    struct courier *c = t->c;
    uint64_t until = clock_mono() + TAIL_SLICE;
    unsigned step = c->recover_steps ? c->recover_steps : TAIL_STEP;
    uint32_t epoch = t->epoch;
    int err = ERR_STATE;

    while (!t->failed && (err = spool_tail_finish(t->tail, step)) == 1) {
        disk_gave(t, &t->wait, epoch);
        if (clock_mono() >= until || c->recover_steps) {
            loop_defer_next(c->loop, &t->again);
            return;
        }
    }
    if (!t->failed && disk_waits(t, &t->wait, epoch, err))
        return;
    disk_gave(t, &t->wait, epoch);
    if (err < 0 && !t->failed) {
        event_alarm("the end of epoch %u cannot be read: %s; its mail is safe on disk and is "
                    "delivered after the courier's next start",
                    epoch, err_text(err));
        tail_failed(t);
    }
    t->finished = true;
    if (t->missed.n == 0)
        tail_close(t);
    if (err == 0)
        intake_epoch_over(c, epoch);
}

/* --- the loop --- */

static void
tail_run(void *ctx)
{
    struct courier_tail *t = ctx;
    int got;

    if (!t->c->opened) /* what was said of its messages comes first */
        return;
    if (t->missed.n > 0 && is_time(&t->missed_wait) && missed_run(t))
        return;
    if (t->finished && t->missed.n == 0)
        tail_close(t);
    if (!t->tail || t->finished || !is_time(&t->wait))
        return;
    if (t->ended) {
        tail_finish(t);
        return;
    }
    if (t->failed)
        return;
    got = tail_read(t);
    if (disk_waits(t, &t->wait, t->epoch, got))
        return;
    disk_gave(t, &t->wait, t->epoch);
    if (got < 0) {
        event_alarm("the log of epoch %u cannot be followed: %s; its mail is safe on disk and is "
                    "delivered after the courier's next start",
                    t->epoch, err_text(got));
        tail_failed(t);
        return;
    }
    if (!t->caught_up && spool_tail_lag(t->tail) == 0) {
        t->caught_up = true;
        intake_caught_up(t->c, t->epoch);
    }
    if (!spool_tail_sleep(t->tail))
        loop_defer_next(t->c->loop, &t->again);
}

static void
tail_woken(void *ctx, unsigned ready)
{
    (void)ready;
    tail_run(ctx);
}

int
courier_attach(struct courier *c, uint16_t stream, uint32_t epoch, int share_fd, int wake_fd)
{
    struct courier_tail *t = NULL;
    struct spool_share share;
    uint32_t before = c->own_epoch;
    int err;

    for (unsigned i = 0; i < COURIER_TAILS; i++) {
        if (!c->tails[i].tail || c->tails[i].stream != stream)
            continue;
        before = MAX(before, c->tails[i].epoch);
        c->tails[i].ended = true;
        loop_defer(c->loop, &c->tails[i].again);
    }
    for (unsigned i = 0; i < COURIER_TAILS && !t; i++)
        t = c->tails[i].tail ? NULL : &c->tails[i];
    err = spool_share_attach(&share, share_fd, wake_fd);
    if (err < 0)
        return err;
    if (share.stream != stream || share.epoch != epoch) {
        spool_share_done(&share);
        return ERR_CORRUPT;
    }
    if (!t) {
        spool_share_done(&share);
        return ERR_LIMIT;
    }
    *t = (struct courier_tail){
        .c = c, .epoch = epoch, .before = before, .stream = stream, .share = share};
    err = spool_tail_create(&t->tail, c->links.spool_dir, share, NULL, &intake_ops, c);
    if (err < 0) {
        *t = (struct courier_tail){0};
        return err;
    }
    t->has_share = true;
    if (c->opened)
        missed_begin(t);
    t->again = (struct loop_call){.fn = tail_run, .ctx = t};
    loop_timer_init(&t->timer, c->loop, tail_timer, t);
    t->wake = loop_io_add(c->loop, spool_tail_wake_fd(t->tail), LOOP_READ, tail_woken, t);
    if (!t->wake) {
        tail_close(t);
        return ERR_NOMEM;
    }
    loop_defer(c->loop, &t->again);
    return 0;
}

void
follow_opened(struct courier *c)
{
    for (unsigned i = 0; i < COURIER_TAILS; i++) {
        if (!c->tails[i].tail)
            continue;
        missed_begin(&c->tails[i]);
        loop_defer(c->loop, &c->tails[i].again);
    }
}

void
follow_done(struct courier *c)
{
    for (unsigned i = 0; i < COURIER_TAILS; i++)
        tail_close(&c->tails[i]);
}

bool
follow_progress(const struct courier *c, size_t *read, size_t *of)
{
    bool reads = false;
    size_t done, all;

    for (unsigned i = 0; i < COURIER_TAILS; i++) {
        const struct courier_tail *t = &c->tails[i];
        if (!t->tail)
            continue;
        if (t->missed.n > 0 && t->missed_wait.tries == 0) {
            reads = true;
            *read += t->missed_at + (t->missed_epoch ? spool_epoch_at(t->missed_epoch) : 0);
            *of += t->missed.n;
        }
        if (t->wait.tries > 0 || !spool_tail_progress(t->tail, &done, &all))
            continue;
        reads = true;
        *read += done;
        *of += all;
    }
    return reads;
}
