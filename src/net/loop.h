/*
 * net/loop.h - one thread's event loop, thin over libevent: descriptors, timers, signals, and a
 * queue of deferred calls.
 *
 * Completions never call back before the call returns: they go through loop_defer(). Everything
 * runs in the loop's thread but loop_wake().
 */
#ifndef GAPURA_NET_LOOP_H
#define GAPURA_NET_LOOP_H

#include "core/base.h"

struct loop;

struct loop *loop_create(void); /* NULL: no memory or no epoll */
void loop_free(struct loop *);
void loop_run(struct loop *);              /* until loop_stop */
void loop_once(struct loop *, bool block); /* one turn; for tests */
void loop_stop(struct loop *);
struct event_base *loop_base(struct loop *); /* libevent's, for libunbound */

/* Descriptors are registered once, edge-triggered, for reading and writing: the handler must read
 * and write until EAGAIN. */
#define LOOP_READ   1u
#define LOOP_WRITE  2u
#define LOOP_HANGUP 4u /* the peer sent its FIN: read until 0; comes with LOOP_READ */
struct loop_io;
struct loop_io *loop_io_add(struct loop *, int fd, unsigned what,
                            void (*fn)(void *ctx, unsigned ready), void *ctx);
void loop_io_free(struct loop_io *); /* does not close the descriptor; NULL is fine */

/* A timer embedded in its owner; zeroed is unset. Never early; late by at most 2 ms for waits under
 * a second and 70 ms for longer ones (which share wake-ups). Moving one to a later time is a store.
 */
struct loop_timer {
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
    uint64_t due;                    /* mono ns; 0 when not set */
    uint64_t at;                     /* the wheel's: when its slot comes up, mono ns */
    struct loop_timer *next, **prev; /* the wheel's: others of the slot */
};
void loop_timer_init(struct loop_timer *, struct loop *, void (*fn)(void *), void *ctx);
int loop_timer_set(struct loop_timer *, uint64_t in_ns); /* again: moves it */
void loop_timer_stop(struct loop_timer *);

/* Runs fn(ctx) later in this turn, after the present callback. The owner embeds the struct;
 * queueing it twice before it ran is one run. */
struct loop_call {
    void (*fn)(void *ctx);
    void *ctx;
    struct loop_call *next, **prev;
    bool queued;
};
void loop_defer(struct loop *, struct loop_call *);
/* As loop_defer, but after the next look at the descriptors: for work that is cut in slices. */
void loop_defer_next(struct loop *, struct loop_call *);
void loop_call_cancel(struct loop *, struct loop_call *);
/* At the end of each turn (event_flush and the like): up to 8, in order of adding. */
void loop_each_turn(struct loop *, void (*fn)(void *ctx), void *ctx);

/* Turns made so far: how often this thread woke up. */
uint64_t loop_turns(const struct loop *);

int loop_signal(struct loop *, int signo, void (*fn)(void *ctx, int signo), void *ctx);
/* Any thread: makes the loop call the function given at creation of the waker. */
struct loop_waker;
struct loop_waker *loop_waker_create(struct loop *, void (*fn)(void *ctx), void *ctx);
void loop_wake(struct loop_waker *);
void loop_waker_free(struct loop_waker *);

#endif
