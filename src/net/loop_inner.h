/*
 * net/loop_inner.h - what the files of this folder know of the loop: its insides, descriptors that
 * are embedded in their owners, and the buffers that all streams of a loop share.
 *
 * Included by the .c files of this folder only.
 */
#ifndef GAPURA_NET_LOOP_INNER_H
#define GAPURA_NET_LOOP_INNER_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "core/buf.h"
#include "net/loop.h"

#define LOOP_BUF      65536u /* bytes read at once */
#define LOOP_HOOKS    8u
#define LOOP_NEVER    UINT64_MAX
#define LOOP_CORK_MAX (256u << 10)
#define LOOP_WIRE_MAX (1u << 20)

struct loop_io {
    struct event ev;
    void (*fn)(void *ctx, unsigned ready);
    void *ctx;
};
/* As loop_io_add, in memory of the caller. 0 or -errno. */
int loop_io_init(struct loop_io *, struct loop *, int fd, unsigned what,
                 void (*fn)(void *ctx, unsigned ready), void *ctx);
/* Changes what is waited for (two system calls: not for the path of every message). */
int loop_io_change(struct loop_io *, unsigned what);
void loop_io_done(struct loop_io *); /* safe on a zeroed struct */

/* One ring of slots; a slot is the list of timers whose time comes up in one tick. */
struct loop_wheel {
    struct loop_timer **slots;
    uint64_t *bits;  /* a set bit: the slot may hold timers */
    uint64_t done;   /* ticks up to here are behind us */
    uint32_t nslots; /* a power of two */
    unsigned shift;  /* ns per tick, log 2 */
};

struct loop_timers {
    struct loop_wheel fine, coarse;
    uint64_t next;  /* no timer comes up before this, mono ns */
    uint64_t armed; /* what the timer descriptor is set to */
    int fd;
    struct event ev;
};

struct loop_queue {
    struct loop_call *first, **end;
};

struct loop {
    struct event_base *base;
    struct loop_timers timers;
    struct loop_queue calls, calls_next;
    struct {
        void (*fn)(void *ctx);
        void *ctx;
    } hooks[LOOP_HOOKS];
    unsigned nhooks;
    bool stop;
    uint64_t turns;
    struct loop_signal *signals;
    /* Shared by the streams: bytes as they came, bytes after TLS, bytes for the wire, and what the
     * stream in its callback has sent so far. */
    char *in, *plain;
    struct buf wire, cork;
    struct stream *orphans; /* of streams that outlived their owners; see stream_inner.h */
    unsigned norphans;
    void (*orphans_free)(struct loop *);
    struct stream *corked; /* whose callback runs */
    bool cork_seen;        /* and it was told of gathered bytes: it hears when they are gone */
};

int loop_timers_init(struct loop *);
void loop_timers_done(struct loop *);
void loop_timers_arm(struct loop *); /* before the loop sleeps */
void loop_timers_run(struct loop *); /* after it woke */

#endif
