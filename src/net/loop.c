/*
 * net/loop.c - one turn: sleep until descriptors or timers are ready, call their owners, then the
 * deferred calls, then the hooks of the turn.
 *
 * Called by every role's main. Everything runs in the loop's thread except loop_wake. Holds no lock
 * and makes no epoll_ctl call after a descriptor's registration.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/err.h"
#include "net/loop_inner.h"

#define LOOP_ROUNDS 8u /* deferred calls that defer calls: so deep in one turn */

struct loop_signal {
    struct event ev;
    struct loop_signal *next;
    void (*fn)(void *ctx, int signo);
    void *ctx;
};

struct loop_waker {
    struct loop_io io;
    struct loop *loop;
    int fd;
    atomic_bool asked;
    void (*fn)(void *ctx);
    void *ctx;
};

struct loop *
loop_create(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    struct event_config *conf = event_config_new();

    if (!loop || !conf)
        goto fail;
    loop->timers.fd = -1;
    loop->calls.end = &loop->calls.first;
    loop->calls_next.end = &loop->calls_next.first;
    buf_init(&loop->wire, LOOP_WIRE_MAX);
    buf_init(&loop->cork, LOOP_CORK_MAX);
    /* One thread, no libevent timers of our own: neither its locks nor its clock are needed. */
    event_config_require_features(conf, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
    event_config_set_flag(conf, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                                    EVENT_BASE_FLAG_NO_CACHE_TIME);
    loop->base = event_base_new_with_config(conf);
    loop->in = malloc(LOOP_BUF);
    if (!loop->base || !loop->in || loop_timers_init(loop) < 0)
        goto fail;
    event_config_free(conf);
    return loop;
fail:
    if (conf)
        event_config_free(conf);
    loop_free(loop);
    return NULL;
}

void
loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->orphans_free)
        loop->orphans_free(loop);
    while (loop->signals) {
        struct loop_signal *s = loop->signals;

        loop->signals = s->next;
        event_del(&s->ev);
        free(s);
    }
    if (loop->base)
        loop_timers_done(loop);
    if (loop->base)
        event_base_free(loop->base);
    buf_done(&loop->wire);
    buf_done(&loop->cork);
    free(loop->in);
    free(loop->plain);
    free(loop);
}

struct event_base *
loop_base(struct loop *loop)
{
    return loop->base;
}

uint64_t
loop_turns(const struct loop *loop)
{
    return loop->turns;
}

static void
queue_add(struct loop_queue *q, struct loop_call *call)
{
    if (call->queued)
        return;
    call->queued = true;
    call->next = NULL;
    call->prev = q->end;
    *q->end = call;
    q->end = &call->next;
}

/* Appends all of `from` to `to`. */
static void
queue_splice(struct loop_queue *to, struct loop_queue *from)
{
    if (!from->first)
        return;
    *to->end = from->first;
    from->first->prev = to->end;
    to->end = from->end;
    *from = (struct loop_queue){.end = &from->first};
}

void
loop_defer(struct loop *loop, struct loop_call *call)
{
    queue_add(&loop->calls, call);
}

void
loop_defer_next(struct loop *loop, struct loop_call *call)
{
    queue_add(&loop->calls_next, call);
}

void
loop_call_cancel(struct loop *loop, struct loop_call *call)
{
    if (!call->queued)
        return;
    *call->prev = call->next;
    if (call->next)
        call->next->prev = call->prev;
    else if (loop->calls.end == &call->next)
        loop->calls.end = call->prev;
    else if (loop->calls_next.end == &call->next)
        loop->calls_next.end = call->prev;
    call->next = NULL;
    call->prev = NULL;
    call->queued = false;
}

static void
loop_run_calls(struct loop *loop)
{
    for (unsigned round = 0; round < LOOP_ROUNDS && loop->calls.first; round++) {
        struct loop_call *list = loop->calls.first, *call;

        list->prev = &list;
        loop->calls = (struct loop_queue){.end = &loop->calls.first};
        while ((call = list)) { /* a call may cancel any other of the list */
            list = call->next;
            if (list)
                list->prev = &list;
            call->next = NULL;
            call->prev = NULL;
            call->queued = false;
            call->fn(call->ctx);
        }
    }
}

static void
loop_turn(struct loop *loop, bool block)
{
    queue_splice(&loop->calls, &loop->calls_next);
    if (loop->calls.first)
        block = false;
    loop_timers_arm(loop);
    event_base_loop(loop->base, EVLOOP_ONCE | (block ? 0 : EVLOOP_NONBLOCK));
    loop->turns++;
    loop_timers_run(loop);
    loop_run_calls(loop);
    for (unsigned i = 0; i < loop->nhooks; i++)
        loop->hooks[i].fn(loop->hooks[i].ctx);
}

void
loop_once(struct loop *loop, bool block)
{
    loop_turn(loop, block);
}

void
loop_run(struct loop *loop)
{
    loop->stop = false;
    while (!loop->stop)
        loop_turn(loop, true);
}

void
loop_stop(struct loop *loop)
{
    loop->stop = true;
}

void
loop_each_turn(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    ENSURE(loop->nhooks < LOOP_HOOKS);
    loop->hooks[loop->nhooks].fn = fn;
    loop->hooks[loop->nhooks++].ctx = ctx;
}

static void
io_ready(evutil_socket_t fd, short what, void *ctx)
{
    struct loop_io *io = ctx;
    unsigned ready = 0;

    (void)fd;
    if (what & EV_READ)
        ready |= LOOP_READ;
    if (what & EV_WRITE)
        ready |= LOOP_WRITE;
    if (what & EV_CLOSED)
        ready |= LOOP_READ | LOOP_HANGUP;
    io->fn(io->ctx, ready);
}

static int
io_register(struct loop_io *io, struct event_base *base, int fd, unsigned what)
{
    short events = EV_ET | EV_PERSIST;

    if (what & LOOP_READ)
        events |= EV_READ | EV_CLOSED;
    if (what & LOOP_WRITE)
        events |= EV_WRITE;
    if (event_assign(&io->ev, base, fd, events, io_ready, io) < 0)
        return ERR_STATE;
    return event_add(&io->ev, NULL) < 0 ? -(errno ? errno : EINVAL) : 0;
}

int
loop_io_init(struct loop_io *io, struct loop *loop, int fd, unsigned what,
             void (*fn)(void *ctx, unsigned ready), void *ctx)
{
    int err;

    *io = (struct loop_io){.fn = fn, .ctx = ctx};
    err = io_register(io, loop->base, fd, what);
    if (err)
        *io = (struct loop_io){0};
    return err;
}

int
loop_io_change(struct loop_io *io, unsigned what)
{
    struct event_base *base = event_get_base(&io->ev);
    int fd = event_get_fd(&io->ev);

    event_del(&io->ev);
    return io_register(io, base, fd, what);
}

void
loop_io_done(struct loop_io *io)
{
    if (!io->fn)
        return;
    event_del(&io->ev);
    io->fn = NULL;
}

struct loop_io *
loop_io_add(struct loop *loop, int fd, unsigned what, void (*fn)(void *ctx, unsigned ready),
            void *ctx)
{
    struct loop_io *io = malloc(sizeof(*io));

    if (io && loop_io_init(io, loop, fd, what, fn, ctx) < 0) {
        free(io);
        return NULL;
    }
    return io;
}

void
loop_io_free(struct loop_io *io)
{
    if (!io)
        return;
    loop_io_done(io);
    free(io);
}

static void
signal_came(evutil_socket_t signo, short what, void *ctx)
{
    struct loop_signal *s = ctx;

    (void)what;
    s->fn(s->ctx, signo);
}

int
loop_signal(struct loop *loop, int signo, void (*fn)(void *ctx, int signo), void *ctx)
{
    struct loop_signal *s = calloc(1, sizeof(*s));

    if (!s)
        return ERR_NOMEM;
    s->fn = fn;
    s->ctx = ctx;
    if (event_assign(&s->ev, loop->base, signo, EV_SIGNAL | EV_PERSIST, signal_came, s) < 0 ||
        event_add(&s->ev, NULL) < 0) {
        free(s);
        return -EINVAL;
    }
    s->next = loop->signals;
    loop->signals = s;
    return 0;
}

static void
waker_ready(void *ctx, unsigned ready)
{
    struct loop_waker *w = ctx;

    (void)ready; /* edge-triggered: each write wakes, so the counter need not be read */
    atomic_store(&w->asked, false); /* before fn: what is asked for from now on wakes again */
    w->fn(w->ctx);
}

struct loop_waker *
loop_waker_create(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct loop_waker *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->loop = loop;
    w->fn = fn;
    w->ctx = ctx;
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->fd < 0 || loop_io_init(&w->io, loop, w->fd, LOOP_READ, waker_ready, w) < 0) {
        fd_close(&w->fd);
        free(w);
        return NULL;
    }
    return w;
}

void
loop_wake(struct loop_waker *w)
{
    uint64_t one = 1;

    if (atomic_exchange(&w->asked, true))
        return;
    /* Can only fail when the counter is full, and then a wake-up is due anyway. */
    while (write(w->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void
loop_waker_free(struct loop_waker *w)
{
    if (!w)
        return;
    loop_io_done(&w->io);
    fd_close(&w->fd);
    free(w);
}
