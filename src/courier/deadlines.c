/*
 * courier/deadlines.c - the times that senders set, the earliest first.
 *
 * Called by deadline.c and late.c. Knows no clock and no message.
 */
#include "courier/deadlines.h"

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

void
deadlines_keep(struct deadlines *l, bool (*keep)(const void *ctx, const struct deadline *),
               const void *ctx)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (keep(ctx, &l->heap[i]))
            l->heap[kept++] = l->heap[i];
    }
    l->n = kept;
    for (size_t i = kept / 2; i-- > 0;)
        sift_down(l, i);
}

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
