/*
 * net/chan_ask.c - questions on a channel that wait for their answers.
 *
 * Called by roles that ask others. An id names a place in the table and the count of questions so
 * far, so that a late answer never meets another's question. Calls each function exactly once, or
 * never after chan_ask_cancel.
 */
#include "net/chan.h"

#define ASK_INDEX_BITS 24

struct chan_question {
    uint64_t id; /* 0: free */
    void (*fn)(void *ctx, int status, struct wire *body, int fd);
    void *ctx;
    struct loop_timer timer;
    struct chan_asks *asks;
    uint32_t next_free;
};

struct chan_asks {
    struct loop *loop;
    struct chan_question *questions;
    uint64_t count;
    uint32_t max, used, free; /* used: places ever taken; free: 1 + index of a free one, or 0 */
};

struct chan_asks *
chan_asks_create(struct loop *loop, unsigned max)
{
    struct chan_asks *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->loop = loop;
    a->max = MIN(MAX(max, 1u), 1u << ASK_INDEX_BITS);
    a->questions = calloc(a->max, sizeof(*a->questions));
    if (!a->questions) {
        free(a);
        return NULL;
    }
    return a;
}

void
chan_asks_free(struct chan_asks *a)
{
    if (!a)
        return;
    for (uint32_t i = 0; i < a->used; i++)
        loop_timer_stop(&a->questions[i].timer);
    free(a->questions);
    free(a);
}

static void
ask_release(struct chan_question *q)
{
    struct chan_asks *a = q->asks;

    loop_timer_stop(&q->timer);
    q->id = 0;
    q->next_free = a->free;
    a->free = (uint32_t)(q - a->questions) + 1;
}

static void
ask_end(struct chan_question *q, int status, struct wire *body, int fd)
{
    void (*fn)(void *ctx, int status, struct wire *body, int fd) = q->fn;
    void *ctx = q->ctx;
    struct wire none = {0};

    ask_release(q); /* first: fn may ask again or cancel */
    fn(ctx, status, body ? body : &none, fd);
}

static void
ask_timeout(void *ctx)
{
    ask_end(ctx, ERR_TIMEOUT, NULL, -1);
}

uint64_t
chan_ask_add(struct chan_asks *a, uint64_t timeout_ns,
             void (*fn)(void *ctx, int status, struct wire *body, int fd), void *ctx)
{
    struct chan_question *q;

    if (a->free) {
        q = &a->questions[a->free - 1];
        a->free = q->next_free;
    } else if (a->used < a->max) {
        q = &a->questions[a->used++];
        q->asks = a;
        loop_timer_init(&q->timer, a->loop, ask_timeout, q);
    } else {
        return 0;
    }
    q->id = (++a->count << ASK_INDEX_BITS) | (uint64_t)(q - a->questions);
    q->fn = fn;
    q->ctx = ctx;
    loop_timer_set(&q->timer, timeout_ns);
    return q->id;
}

static struct chan_question *
ask_find(struct chan_asks *a, uint64_t id)
{
    uint64_t at = id & ((UINT64_C(1) << ASK_INDEX_BITS) - 1);

    return id && at < a->used && a->questions[at].id == id ? &a->questions[at] : NULL;
}

bool
chan_ask_answer(struct chan_asks *a, uint64_t id, struct wire *body, int fd)
{
    struct chan_question *q = ask_find(a, id);

    if (!q) { /* too late: its asker has gone on */
        wire_skip(body, wire_left(body));
        fd_close(&fd);
        return false;
    }
    ask_end(q, 0, body, fd);
    return true;
}

void
chan_ask_cancel(struct chan_asks *a, uint64_t id)
{
    struct chan_question *q = ask_find(a, id);

    if (q)
        ask_release(q);
}

void
chan_asks_fail(struct chan_asks *a, int status)
{
    uint64_t last = a->count; /* what is asked by the callbacks meanwhile is not meant */

    for (uint32_t i = 0; i < a->used; i++) {
        struct chan_question *q = &a->questions[i];

        if (q->id && q->id >> ASK_INDEX_BITS <= last)
            ask_end(q, status, NULL, -1);
    }
}
