/*
 * courier/recover.c - the start: what dead writers left becomes the index, while delivery goes on.
 *
 * Called by service.c once, then from the loop, a slice at a time. Our own dead epochs come first:
 * they are small, and what they say of messages that are still to be read is kept in
 * courier/early.h. When all of them are read delivery opens, with the suspensions that are in
 * force; then the message streams follow, oldest epoch first, and each message is opened as it is
 * read, with what was said of it applied. Streams that are still written come from their tails
 * (courier/service.c).
 *
 * Never opens a row before all of our own dead epochs were read, never lets a dead epoch's segment
 * go before that epoch was read whole. Epochs only grow: one that is younger than ours is being
 * written, told of or not, and is never read as dead.
 */
#include "courier/recover.h"

#include <errno.h>

#include "courier/age.h"
#include "courier/follow.h"
#include "courier/intake_inner.h"
#include "courier/retry.h"
#include "courier/scope.h"
#include "courier/unseen.h"

#define SLICE (20 * NS_PER_MS) /* reading before the loop's other work gets its turn */
/* More looks at a file whose header the disk does not give, after 1, 2, 4 and 8 s, before that is
 * told: it may be of our own, and say what became of mail. */
#define LOOKS 4u

enum phase { PHASE_LIST, PHASE_OWN, PHASE_MESSAGES };

/* Of an epoch that the disk does not give to its end: where its reading stands. */
struct parked {
    struct parked *next;
    size_t at, n; /* items of the listing */
    struct spool_epoch *epoch;
    unsigned tries;
    uint64_t due; /* mono */
};

struct recover {
    struct courier *c;
    struct recover_told told;
    struct spool_listing all;
    uint32_t *live; /* epochs that are read from tails */
    unsigned nlive;
    enum phase phase;
    size_t at, n; /* the epoch being read: items of the listing */
    struct spool_epoch *epoch;
    size_t total, done;     /* segments of dead epochs; of epochs that were read whole */
    unsigned failed;        /* epochs that could not be read */
    uint64_t began, opened; /* mono */
    uint64_t messages, rcpts;
    struct loop_call call;
    struct loop_timer timer; /* until the disk is asked again */
    unsigned tries;          /* to list, or to read an epoch of our own, that failed in a row */
    struct parked *parked;
};

static bool
is_own(const struct spool_segment *s)
{
    return s->stream >> 8 == SPOOL_STREAM_COURIER;
}

static bool
epoch_is_live(const struct recover *r, uint32_t epoch)
{
    const struct courier *c = r->c;

    for (unsigned i = 0; i < r->nlive; i++) {
        if (r->live[i] == epoch)
            return true;
    }
    for (unsigned i = 0; i < COURIER_TAILS; i++) {
        if (c->tails[i].tail && c->tails[i].epoch == epoch)
            return true;
    }
    return false;
}

/* First item of the listing of that epoch or a later one. */
static size_t
epoch_item(const struct recover *r, uint32_t epoch)
{
    size_t lo = 0, hi = r->all.n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->all.items[mid].epoch < epoch)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool
intake_is_later(const struct courier *c, uint32_t epoch)
{
    const struct recover *r = c->recover;
    size_t at;

    if (!r || r->phase != PHASE_OWN)
        return false;
    if (unseen_any(c)) /* of any epoch */
        return true;
    at = epoch_item(r, epoch);
    if (at < r->all.n && r->all.items[at].epoch == epoch && !is_own(&r->all.items[at]))
        return true;
    return epoch_is_live(r, epoch);
}

/* --- the listing --- */

/* Leaves only what dead writers left; their segments are known from now on, since records of one
 * may speak of any other. */
static int
listing_take(struct recover *r, struct why *why)
{
    struct courier *c = r->c;
    size_t kept = 0;
    uint32_t slot;

    for (size_t i = 0; i < r->all.n; i++) {
        struct spool_segment s = r->all.items[i];
        if (s.epoch >= c->own_epoch || epoch_is_live(r, s.epoch))
            continue;
        slot = segments_get(&c->segments, &s, is_own(&s));
        if (slot == SEGMENT_NONE)
            return why_set(why, ERR_LIMIT, "more than %u segments in the spool", SEGMENTS_MAX);
        segments_at(&c->segments, slot)->dead = true;
        r->all.items[kept++] = s;
    }
    r->all.n = r->total = kept;
    return 0;
}

/* The next epoch of the phase becomes [at, at + n); false: there is none. */
static bool
epoch_next(struct recover *r)
{
    const struct spool_segment *items = r->all.items;

    for (r->at += r->n; r->at < r->all.n; r->at += r->n) {
        for (r->n = 1; r->at + r->n < r->all.n; r->n++) {
            if (items[r->at + r->n].epoch != items[r->at].epoch)
                break;
        }
        if (is_own(&items[r->at]) == (r->phase == PHASE_OWN))
            return true;
    }
    return false;
}

/* --- the end of an epoch, of a phase --- */

/* What cannot be read now stays as it is: neither it nor what we noted of it may be recycled. */
static void
epoch_keep(struct recover *r, int err)
{
    struct segments *segments = &r->c->segments;
    const struct spool_segment *items = r->all.items + r->at;

    for (size_t i = 0; i < r->n; i++) {
        uint32_t slot = segments_find(segments, items[i].number, items[i].generation);
        if (slot != SEGMENT_NONE)
            segments_pin(segments, slot);
    }
    r->failed++;
    r->c->unread++;
    event_alarm("epoch %u of the log cannot be read to its end: %s; what was not read is kept on "
                "disk and is not delivered, all other mail is: mend the disk, then restart. The "
                "first of its files is seg/%08llu.seg",
                items->epoch, err_text(err), (unsigned long long)items->number);
}

/* It goes on later where it stands. False: no memory. */
static bool
epoch_park(struct recover *r, int err)
{
    const struct spool_segment *s = r->all.items + r->at + spool_epoch_at(r->epoch);
    struct parked *p = calloc(1, sizeof *p);

    if (!p)
        return false;
    *p = (struct parked){.next = r->parked, .at = r->at, .n = r->n, .epoch = r->epoch};
    p->due = clock_mono() + retry_disk(&p->tries);
    r->parked = p;
    r->failed++;
    r->c->unread++;
    event_alarm("the disk does not give all of epoch %u of the log (seg/%08llu.seg or one behind "
                "it: %s). Mail that was not read yet waits there, all other is delivered; nothing "
                "of it is removed, and it is read on as soon as the disk gives it: mend the disk, "
                "or restore the file",
                s->epoch, (unsigned long long)s->number, err_text(err));
    return true;
}

static void
own_segments_left(struct recover *r)
{
    struct courier *c = r->c;

    for (size_t i = 0; i < r->all.n; i++) {
        const struct spool_segment *s = &r->all.items[i];
        uint32_t slot = segments_find(&c->segments, s->number, s->generation);
        if (is_own(s) && slot != SEGMENT_NONE)
            segments_left(&c->segments, slot);
    }
}

/* Rows are in the order that their messages were read: oldest first. */
static void
rows_open_all(struct courier *c)
{
    uint32_t n = c->index.rows.next;

    for (uint32_t i = 0; i < n; i++) {
        if (index_row(&c->index, i)->state == ROW_ACTIVE)
            intake_row_open(c, i);
    }
}

/* All that was ever said is known. */
static void
recover_open(struct recover *r)
{
    struct courier *c = r->c;
    char took[32];

    r->opened = clock_mono();
    if (r->done < r->total)
        event_notice("delivery opens: what became of mail so far is read in %s (%zu notes on mail "
                     "that follows); reading %zu segments of mail beside it",
                     str_show_duration(r->opened - r->began, took), early_count(&c->early),
                     r->total - r->done);
    r->phase = PHASE_MESSAGES;
    r->at = r->n = 0;
    r->messages += c->index.messages.count;
    r->rcpts += c->index.rows.count;
    c->recovering = false;
    own_segments_left(r);
    scopes_settle(c);
    rows_open_all(c);
    r->told.opened(r->told.ctx, 0, NULL);
}

static void
parked_wait(struct recover *r)
{
    uint64_t now = clock_mono(), due = UINT64_MAX;

    for (const struct parked *p = r->parked; p; p = p->next)
        due = MIN(due, p->due);
    loop_timer_set(&r->timer, due > now ? due - now : 1);
}

static void
recover_end(struct recover *r)
{
    struct courier *c = r->c;
    char took[32];

    event_notice("the queue is read%s: %llu messages for %llu recipients in %s",
                 r->failed ? " but for what an Alarm named" : "", (unsigned long long)r->messages,
                 (unsigned long long)r->rcpts, str_show_duration(clock_mono() - r->began, took));
    age_check(c);
    c->recovered = true;
    if (r->parked)
        parked_wait(r);
    else
        recover_free(c);
}

/* --- steps --- */

static void
epoch_end(struct recover *r)
{
    struct courier *c = r->c;
    uint32_t epoch = r->all.items[r->at].epoch;

    spool_epoch_close(r->epoch);
    r->epoch = NULL;
    r->done += r->n;
    if (r->phase == PHASE_OWN)
        intake_chunks_over(c, epoch);
    else
        intake_epoch_over(c, epoch);
}

/* Tails are read between our steps: only what a step brought is ours to count. */
static int
epoch_step(struct recover *r)
{
    struct courier *c = r->c;
    uint64_t messages = c->read_messages, rcpts = c->read_rcpts;
    int got = spool_epoch_step(r->epoch);

    if (r->phase == PHASE_MESSAGES) {
        r->messages += c->read_messages - messages;
        r->rcpts += c->read_rcpts - rcpts;
    }
    return got;
}

/* A batch or less. 1: there is more, 0: all is read, negative: delivery cannot open. */
static int
recover_step(struct recover *r)
{
    struct courier *c = r->c;
    int got;

    if (!r->epoch && !epoch_next(r)) {
        if (r->phase == PHASE_MESSAGES)
            return 0;
        recover_open(r);
        return 1;
    }
    got = r->epoch ? 0
                   : spool_epoch_open(&r->epoch, c->links.spool_dir, r->all.items + r->at, r->n,
                                      NULL, &intake_dead_ops, c);
    if (got == 0)
        got = epoch_step(r);
    if (got == 1)
        return 1;
    if (got == 0) {
        epoch_end(r);
        return 1;
    }
    if (r->phase == PHASE_OWN)
        return got;
    if (!r->epoch || !spool_is_disk_error(got) || !epoch_park(r, got)) {
        epoch_keep(r, got);
        spool_epoch_close(r->epoch);
    }
    r->epoch = NULL;
    r->done += r->n;
    return 1;
}

static void
recover_fail(struct recover *r, int err, const struct why *said)
{
    struct courier *c = r->c;
    struct recover_told told = r->told;
    struct why why = {{0}};

    if (said)
        why = *said;
    else
        why_set(&why, err,
                "epoch %u of the spool cannot be read: %s; nothing was delivered and nothing is "
                "lost: mend what is named and start again",
                r->all.items[r->at].epoch, err_text(err));
    recover_free(c);
    told.opened(told.ctx, err, &why);
}

/* What became of mail is not known before: nothing can be sent that might have been sent. */
static void
own_again(struct recover *r, int err)
{
    const struct spool_segment *s = r->all.items + r->at;

    s += r->epoch ? spool_epoch_at(r->epoch) : 0;
    if (r->tries == 0)
        event_alarm("the disk does not give what the courier wrote of mail in epoch %u "
                    "(seg/%08llu.seg or one behind it: %s). Delivery waits until it does, and it "
                    "is asked again by itself; new mail is taken and nothing is lost. Mend the "
                    "disk, or restore the file. If that cannot be: stop Gapura, move the file out "
                    "of the spool and start; mail that it told of as delivered may then be sent "
                    "again",
                    s->epoch, (unsigned long long)s->number, err_text(err));
    loop_timer_set(&r->timer, retry_disk(&r->tries));
}

/* Those that the disk did not give at the look before and that are not there now: somebody has them
 * away to mend them, and what was said of their mail may not be forgotten. */
static int
list_missing(struct recover *r, const struct spool_listing *before)
{
    struct spool_listing *all = &r->all;
    struct spool_unread *more;

    if (before->nunread == 0)
        return 0;
    more = reallocarray(all->unread, all->nunread + before->nunread, sizeof *more);
    if (!more)
        return ERR_NOMEM;
    all->unread = more;
    for (size_t i = 0; i < before->nunread; i++) {
        int got = spool_header_try(r->c->links.spool_dir, before->unread[i].number, NULL);
        if (got == -ENOENT)
            more[all->nunread++] = (struct spool_unread){before->unread[i].number, got};
    }
    return 0;
}

/* All that is on disk. 1, 0: looked at again by the timer, negative. */
static int
recover_list(struct recover *r, struct why *why)
{
    struct courier *c = r->c;
    struct spool_listing before = r->all;
    struct why none = {{0}};
    int err;

    why = why ? why : &none;
    r->all = (struct spool_listing){0};
    err = spool_list(c->links.spool_dir, NULL, &r->all, why);
    if (err == 0)
        err = list_missing(r, &before);
    spool_listing_done(&before);
    if (err < 0)
        return err;
    if (r->all.nunread > 0 && r->tries < LOOKS) {
        loop_timer_set(&r->timer, NS_PER_S << r->tries++);
        return 0;
    }
    r->tries = 0;
    if (r->all.unreadable > 0)
        event_alarm("%zu segment files have a damaged header and were set aside: %s; mail that "
                    "they hold is not delivered, the files are kept. If one is of the courier's "
                    "own stream, what it said of mail is lost: some may be sent twice, some that "
                    "was removed may go",
                    r->all.unreadable, why->text);
    err = unseen_note(c, &r->all);
    if (err == 0)
        err = listing_take(r, why);
    if (err < 0)
        return err;
    event_notice("reading the log: %zu segments", r->total);
    r->phase = PHASE_OWN;
    return 1;
}

static void
recover_run(void *courier)
{
    struct courier *c = courier;
    struct recover *r = c->recover;
    uint64_t until = clock_mono() + SLICE;
    unsigned steps = 0;
    int got;

    if (c->stopping)
        return;
    do {
        got = recover_step(r);
        if (got == 1 && r->phase == PHASE_OWN)
            r->tries = 0;
    } while (got == 1 && clock_mono() < until && ++steps != c->recover_steps);
    if (got == 1)
        loop_defer_next(c->loop, &r->call);
    else if (got == 0)
        recover_end(r);
    else if (r->epoch && spool_is_disk_error(got))
        own_again(r, got);
    else
        recover_fail(r, got, NULL);
}

static void
parked_end(struct recover *r, struct parked **at)
{
    struct parked *p = *at;
    uint32_t epoch = r->all.items[p->at].epoch;

    *at = p->next;
    spool_epoch_close(p->epoch);
    free(p);
    r->c->unread--;
    intake_epoch_over(r->c, epoch);
    event_notice("epoch %u of the log is read to its end: the disk gave it", epoch);
}

/* A slice of what the disk did not give before. */
static void
parked_run(struct recover *r)
{
    struct courier *c = r->c;
    uint64_t now = clock_mono(), until = now + SLICE;
    struct parked **at = &r->parked;
    int got = 1;

    while (*at && (*at)->due > now)
        at = &(*at)->next;
    while (*at && got == 1 && clock_mono() < until)
        got = spool_epoch_step((*at)->epoch);
    if (*at && got == 0) {
        parked_end(r, at);
    } else if (*at && got < 0) {
        if (!spool_is_disk_error(got)) { /* no memory: the next start */
            (*at)->due = UINT64_MAX;
            event_alarm("epoch %u of the log cannot be read on: %s; what was not read is kept on "
                        "disk and is delivered after the courier's next start",
                        r->all.items[(*at)->at].epoch, err_text(got));
        } else {
            (*at)->due = now + retry_disk(&(*at)->tries);
        }
    }
    if (r->parked)
        parked_wait(r);
    else
        recover_free(c);
}

static void
recover_timer(void *courier)
{
    struct courier *c = courier;
    struct recover *r = c->recover;
    struct why why = {{0}};
    int got = 1;

    if (c->stopping)
        return;
    if (c->recovered) {
        parked_run(r);
        return;
    }
    if (r->phase == PHASE_LIST)
        got = recover_list(r, &why);
    if (got < 0)
        recover_fail(r, got, &why);
    else if (got == 1)
        loop_defer(c->loop, &r->call);
}

int
recover_begin(struct courier *c, const uint32_t *live, unsigned nlive,
              const struct recover_told *told, struct why *why)
{
    struct recover *r = calloc(1, sizeof *r);
    int got;

    if (!r)
        return why_set(why, ERR_NOMEM, "no memory");
    c->recover = r;
    *r = (struct recover){.c = c,
                          .told = *told,
                          .nlive = nlive,
                          .began = clock_mono(),
                          .call = {.fn = recover_run, .ctx = c}};
    loop_timer_init(&r->timer, c->loop, recover_timer, c);
    r->live = calloc(nlive + 1, sizeof *r->live);
    if (r->live && nlive > 0)
        memcpy(r->live, live, nlive * sizeof *live);
    got = r->live ? recover_list(r, why) : ERR_NOMEM;
    if (got < 0) {
        recover_free(c);
        return got;
    }
    c->recovering = true;
    if (got == 1)
        loop_defer(c->loop, &r->call);
    return 0;
}

void
recover_free(struct courier *c)
{
    struct recover *r = c->recover;

    if (!r)
        return;
    c->recover = NULL;
    loop_call_cancel(c->loop, &r->call);
    loop_timer_stop(&r->timer);
    spool_epoch_close(r->epoch);
    while (r->parked) {
        struct parked *p = r->parked;
        r->parked = p->next;
        spool_epoch_close(p->epoch);
        free(p);
    }
    spool_listing_done(&r->all);
    free(r->live);
    free(r);
}

bool
recover_progress(const struct courier *c, size_t *ret_read, size_t *ret_of)
{
    const struct recover *r = c->recover;
    bool reads = r != NULL && !c->recovered; /* what the disk does not give is no progress */

    *ret_read = r ? r->done + (r->epoch ? spool_epoch_at(r->epoch) : 0) : 0;
    *ret_of = r ? r->total : 0;
    return follow_progress(c, ret_read, ret_of) || reads;
}

/* --- epochs that end later --- */

void
intake_caught_up(struct courier *c, uint32_t epoch)
{
    if (!unseen_any(c)) /* else what it speaks of may be there */
        early_drop(&c->early, epoch);
}

void
intake_epoch_over(struct courier *c, uint32_t epoch)
{
    intake_chunks_over(c, epoch);
    intake_caught_up(c, epoch);
    for (uint32_t i = 0; i < c->segments.n; i++) {
        const struct segment *g = segments_at(&c->segments, i);
        if (g->used && !g->own && g->s.epoch == epoch && !g->left)
            segments_left(&c->segments, i);
    }
}
