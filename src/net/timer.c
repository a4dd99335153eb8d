/*
 * net/timer.c - the timers of a loop: two wheels and one timer descriptor.
 *
 * Every session holds a timer that every command moves, so setting one must cost nothing: a later
 * time is only stored, and the timer is put right when its old slot comes up. Waits under a second
 * go to the fine wheel (ticks of 1.05 ms), longer ones to the coarse (67 ms, 18 minutes round; what
 * lies beyond is looked at once a round). The descriptor is set only when the earliest slot comes
 * nearer, never per timer, and nothing ticks while no slot is due.
 *
 * Called by loop.c and by the owners of timers; never allocates after loop_timers_init.
 */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/err.h"
#include "net/loop_inner.h"

#define FINE_SHIFT   20
#define FINE_SLOTS   1024u
#define COARSE_SHIFT 26
#define COARSE_SLOTS 16384u
#define TIMER_FAR    (UINT64_C(1) << 55) /* ns, over a year: longer waits are cut to it */

static int
wheel_init(struct loop_wheel *w, unsigned shift, uint32_t nslots)
{
    w->slots = calloc(nslots, sizeof(struct loop_timer *));
    w->bits = calloc(nslots / 64, sizeof(uint64_t));
    w->nslots = nslots;
    w->shift = shift;
    w->done = clock_mono() >> shift;
    return w->slots && w->bits ? 0 : ERR_NOMEM;
}

static void
wheel_done(struct loop_wheel *w)
{
    /* Owners may outlive the loop: their timers must not point into it. */
    for (uint32_t i = 0; w->slots && i < w->nslots; i++) {
        while (w->slots[i]) {
            struct loop_timer *t = w->slots[i];

            w->slots[i] = t->next;
            t->next = NULL;
            t->prev = NULL;
            t->due = 0;
        }
    }
    free(w->slots);
    free(w->bits);
    *w = (struct loop_wheel){0};
}

/* The first tick in (from, to] whose slot may hold timers; 0 if there is none. */
static uint64_t
wheel_find(const struct loop_wheel *w, uint64_t from, uint64_t to)
{
    uint64_t tick = from + 1;

    while (tick <= to) {
        uint32_t slot = (uint32_t)tick & (w->nslots - 1);
        uint64_t word = w->bits[slot / 64] >> (slot % 64);

        if (word) {
            tick += (unsigned)__builtin_ctzll(word);
            return tick <= to ? tick : 0;
        }
        tick += 64 - slot % 64;
    }
    return 0;
}

/* When the next slot that holds timers comes up. Clears the bits of slots that became empty. */
static uint64_t
wheel_next(struct loop_wheel *w)
{
    uint64_t from = w->done, to = w->done + w->nslots, tick;

    while ((tick = wheel_find(w, from, to))) {
        uint32_t slot = (uint32_t)tick & (w->nslots - 1);

        if (w->slots[slot])
            return tick << w->shift;
        w->bits[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        from = tick;
    }
    return LOOP_NEVER;
}

static void
timer_unlink(struct loop_timer *t)
{
    if (!t->prev)
        return;
    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->next = NULL;
    t->prev = NULL;
}

static void
timer_place(struct loop_timers *ts, struct loop_timer *t, uint64_t now)
{
    struct loop_wheel *w = t->due < now + NS_PER_S ? &ts->fine : &ts->coarse;
    uint64_t tick = (t->due + (UINT64_C(1) << w->shift) - 1) >> w->shift;
    uint32_t slot;

    if (tick <= w->done)
        tick = w->done + 1;
    slot = (uint32_t)tick & (w->nslots - 1);
    t->at = tick << w->shift;
    t->next = w->slots[slot];
    if (t->next)
        t->next->prev = &t->next;
    t->prev = &w->slots[slot];
    w->slots[slot] = t;
    w->bits[slot / 64] |= UINT64_C(1) << (slot % 64);
    if (t->at < ts->next)
        ts->next = t->at;
}

void
loop_timer_init(struct loop_timer *t, struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    *t = (struct loop_timer){.loop = loop, .fn = fn, .ctx = ctx};
}

int
loop_timer_set(struct loop_timer *t, uint64_t in_ns)
{
    struct loop_timers *ts;
    uint64_t now;

    if (!t->loop)
        return ERR_STATE;
    ts = &t->loop->timers;
    now = clock_mono();
    t->due = now + MIN(in_ns, TIMER_FAR);
    if (t->prev && t->due >= t->at)
        return 0;
    timer_unlink(t);
    if (now < ts->next) {
        /* Nothing comes up before `next`, so every tick until now is an empty one. */
        ts->fine.done = now >> FINE_SHIFT;
        ts->coarse.done = now >> COARSE_SHIFT;
    }
    timer_place(ts, t, now);
    return 0;
}

void
loop_timer_stop(struct loop_timer *t)
{
    timer_unlink(t);
    t->due = 0;
}

static void
timers_run_slot(struct loop_timers *ts, struct loop_timer **slot, uint64_t now)
{
    struct loop_timer *list = *slot, *t;

    *slot = NULL;
    if (list)
        list->prev = &list;
    while ((t = list)) { /* a callback may stop or free any other of the list */
        timer_unlink(t);
        if (t->due > now) {
            timer_place(ts, t, now);
            continue;
        }
        t->due = 0;
        t->fn(t->ctx);
    }
}

static void
timers_run_wheel(struct loop_timers *ts, struct loop_wheel *w, uint64_t now)
{
    uint64_t from = w->done, to = now >> w->shift, tick;

    if (to <= from)
        return;
    w->done = to; /* what callbacks set from here on comes up later */
    if (to - from > w->nslots)
        from = to - w->nslots; /* once round is every slot */
    while ((tick = wheel_find(w, from, to))) {
        uint32_t slot = (uint32_t)tick & (w->nslots - 1);

        w->bits[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        timers_run_slot(ts, &w->slots[slot], now);
        from = tick;
    }
}

void
loop_timers_run(struct loop *loop)
{
    struct loop_timers *ts = &loop->timers;
    uint64_t now, fine, coarse;

    if (ts->next == LOOP_NEVER)
        return;
    now = clock_mono();
    if (now < ts->next)
        return;
    timers_run_wheel(ts, &ts->fine, now);
    timers_run_wheel(ts, &ts->coarse, now);
    fine = wheel_next(&ts->fine);
    coarse = wheel_next(&ts->coarse);
    ts->next = MIN(fine, coarse);
}

void
loop_timers_arm(struct loop *loop)
{
    struct loop_timers *ts = &loop->timers;
    struct itimerspec when = {0};
    uint64_t now, wait;

    /* Set too early is one needless wake-up; moving it later each time would be a call per turn. */
    if (ts->next >= ts->armed)
        return;
    now = clock_mono();
    wait = ts->next > now ? ts->next - now : 1;
    when.it_value.tv_sec = (time_t)(wait / NS_PER_S);
    when.it_value.tv_nsec = (long)(wait % NS_PER_S);
    if (timerfd_settime(ts->fd, 0, &when, NULL) == 0)
        ts->armed = ts->next;
}

static void
timers_fired(evutil_socket_t fd, short what, void *ctx)
{
    struct loop *loop = ctx;

    (void)fd; /* edge-triggered: it need not be read */
    (void)what;
    loop->timers.armed = LOOP_NEVER; /* loop_timers_run follows in this turn */
}

int
loop_timers_init(struct loop *loop)
{
    struct loop_timers *ts = &loop->timers;

    ts->next = ts->armed = LOOP_NEVER;
    ts->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (ts->fd < 0)
        return -errno;
    if (wheel_init(&ts->fine, FINE_SHIFT, FINE_SLOTS) ||
        wheel_init(&ts->coarse, COARSE_SHIFT, COARSE_SLOTS))
        return ERR_NOMEM;
    if (event_assign(&ts->ev, loop->base, ts->fd, EV_READ | EV_ET | EV_PERSIST, timers_fired,
                     loop) < 0 ||
        event_add(&ts->ev, NULL) < 0)
        return ERR_NOMEM;
    return 0;
}

void
loop_timers_done(struct loop *loop)
{
    struct loop_timers *ts = &loop->timers;

    if (event_initialized(&ts->ev))
        event_del(&ts->ev);
    fd_close(&ts->fd);
    wheel_done(&ts->fine);
    wheel_done(&ts->coarse);
}
