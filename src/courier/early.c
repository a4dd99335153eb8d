/*
 * courier/early.c - a sorted array of notes on messages that are still to come.
 *
 * Called by intake. Filled during recovery only, so that it is sorted once.
 */
#include "courier/early.h"

#include "core/err.h"

void
early_done(struct early *e)
{
    free(e->items);
    *e = (struct early){0};
}

int
early_add(struct early *e, const struct early_note *note)
{
    if (e->n == e->cap) {
        size_t cap = e->cap ? 2 * e->cap : 256;
        struct early_note *grown = reallocarray(e->items, cap, sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        e->items = grown;
        e->cap = cap;
    }
    e->items[e->n] = *note;
    e->items[e->n].order = (uint32_t)e->n;
    e->n++;
    e->sorted = false;
    return 0;
}

static int
compare(const void *a, const void *b)
{
    const struct early_note *x = a, *y = b;

    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

const struct early_note *
early_find(struct early *e, uint32_t epoch, uint64_t seq, size_t *ret_n)
{
    size_t lo = 0, hi = e->n, end;

    *ret_n = 0;
    if (e->n == 0)
        return NULL;
    if (!e->sorted)
        qsort(e->items, e->n, sizeof *e->items, compare);
    e->sorted = true;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct early_note *n = &e->items[mid];
        if (n->epoch < epoch || (n->epoch == epoch && n->seq < seq))
            lo = mid + 1;
        else
            hi = mid;
    }
    for (end = lo; end < e->n && e->items[end].epoch == epoch && e->items[end].seq == seq; end++)
        ;
    *ret_n = end - lo;
    return e->items + lo;
}

void
early_drop(struct early *e, uint32_t epoch, void (*fn)(void *ctx, uint32_t own), void *ctx)
{
    size_t kept = 0;

    for (size_t i = 0; i < e->n; i++) {
        if (e->items[i].epoch == epoch)
            fn(ctx, e->items[i].own);
        else
            e->items[kept++] = e->items[i];
    }
    e->n = kept;
    if (kept == 0)
        early_done(e);
}
