/*
 * courier/deadline.c - the times that senders set, the earliest first.
 *
 * Called by intake, when a message comes into the index or goes, and by late.c, which tells.
 */
#include "courier/deadline.h"

#define STALE_MIN 1024u

static void
sift_down(struct deadlines *l, size_t i)
{
    struct deadline e = l->heap[i];

    for (size_t child; (child = 2 * i + 1) < l->n; i = child) {
        child += child + 1 < l->n && l->heap[child + 1].by < l->heap[child].by;
        if (l->heap[child].by >= e.by)
            break;
        l->heap[i] = l->heap[child];
    }
    l->heap[i] = e;
}

static void
sift_up(struct deadlines *l, size_t i)
{
    struct deadline e = l->heap[i];

    for (; i > 0 && l->heap[(i - 1) / 2].by > e.by; i = (i - 1) / 2)
        l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = e;
}

bool
deadline_is(const struct courier *c, const struct deadline *e)
{
    const struct index_message *m = index_message(&c->index, e->message);

    return m->open > 0 && m->epoch == e->epoch && m->seq == e->seq;
}

/* Mail that is delivered leaves its entry: they are cleared out when they are most of all. */
static void
clear_out(struct courier *c)
{
    struct deadlines *l = &c->deadlines;
    size_t kept = 0;

    if (l->n < 2 * l->live + STALE_MIN)
        return;
    for (size_t i = 0; i < l->n; i++) {
        if (deadline_is(c, &l->heap[i]))
            l->heap[kept++] = l->heap[i];
    }
    l->n = l->live = kept;
    for (size_t i = kept / 2; i-- > 0;)
        sift_down(l, i);
}

/* Without memory the message is told of by its next try, as before its time was kept. */
void
deadlines_push(struct deadlines *l, const struct deadline *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct deadline *grown = reallocarray(l->heap, cap, sizeof *grown);
        if (!grown)
            return;
        l->heap = grown;
        l->cap = cap;
    }
    l->heap[l->n] = *e;
    sift_up(l, l->n++);
}

bool
deadlines_pop(struct deadlines *l, uint64_t now_s, struct deadline *ret)
{
    if (l->n == 0 || l->heap[0].by > now_s)
        return false;
    *ret = l->heap[0];
    l->heap[0] = l->heap[--l->n];
    if (l->n > 0)
        sift_down(l, 0);
    return true;
}

void
deadlines_done(struct deadlines *l)
{
    free(l->heap);
    *l = (struct deadlines){0};
}

void
deadline_note(struct courier *c, uint32_t message, const struct spool_envelope *env)
{
    struct index_message *m = index_message(&c->index, message);
    struct deadline e = {.seq = m->seq, .epoch = m->epoch, .message = message};

    if (!(m->flags & SPOOL_MAIL_DELIVERBY))
        return;
    m->notify = env->by_mode == SPOOL_BY_NOTIFY;
    e.by = (uint32_t)MIN(env->deliver_by / NS_PER_S, UINT32_MAX);
    deadlines_push(&c->deadlines, &e);
    c->deadlines.live++;
}

void
deadline_over(struct courier *c, const struct index_message *m)
{
    if (!(m->flags & SPOOL_MAIL_DELIVERBY))
        return;
    c->deadlines.live -= c->deadlines.live > 0;
    clear_out(c);
}
