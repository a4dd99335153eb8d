/*
 * courier/early.c - for each epoch a sorted array of notes on messages that are still to come.
 *
 * Called by intake. Filled while our own log is read, and only looked up afterwards, so that it is
 * sorted a few times in all. Never loses a note that could still change what becomes of a
 * recipient.
 */
#include "courier/early.h"

#include "core/err.h"
#include "spool/record.h"

#define EARLY_FIRST 256u

void
early_init(struct early *e, void (*dropped)(void *ctx, uint32_t own), void *ctx)
{
    *e = (struct early){.dropped = dropped, .ctx = ctx};
}

void
early_done(struct early *e)
{
    for (size_t i = 0; i < e->n; i++)
        free(e->epochs[i].items);
    free(e->epochs);
    early_init(e, e->dropped, e->ctx);
}

static struct early_epoch *
epoch_find(const struct early *e, uint32_t epoch)
{
    for (size_t i = e->n; i-- > 0;) { /* few, and mostly the youngest is meant */
        if (e->epochs[i].epoch == epoch)
            return &e->epochs[i];
    }
    return NULL;
}

static struct early_epoch *
epoch_get(struct early *e, uint32_t epoch)
{
    struct early_epoch *p = epoch_find(e, epoch);

    if (p)
        return p;
    if (e->n == e->cap) {
        size_t cap = e->cap ? 2 * e->cap : 16;
        struct early_epoch *grown = reallocarray(e->epochs, cap, sizeof *grown);
        if (!grown)
            return NULL;
        e->epochs = grown;
        e->cap = cap;
    }
    p = &e->epochs[e->n++];
    *p = (struct early_epoch){.epoch = epoch};
    return p;
}

static int
by_order(const void *a, const void *b)
{
    const struct early_note *x = a, *y = b;

    return (x->order > y->order) - (x->order < y->order);
}

static int
by_recipient(const void *a, const void *b)
{
    const struct early_note *x = a, *y = b;

    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    if (x->ordinal != y->ordinal)
        return x->ordinal < y->ordinal ? -1 : 1;
    return by_order(a, b);
}

static bool
settles(const struct early_note *n)
{
    return n->kind == EARLY_OUTCOME && spool_result_settles(n->result);
}

/* First note behind `at` that speaks of another message. */
static size_t
message_end(const struct early_epoch *p, size_t at)
{
    size_t end = at + 1;

    while (end < p->n && p->items[end].seq == p->items[at].seq)
        end++;
    return end;
}

/* Of one message's notes: what came before a recipient was settled changes nothing any more. Notes
 * on all recipients at once depend on the order, so beside them everything stays. */
static size_t
message_reduce(struct early *e, struct early_epoch *p, size_t at, size_t end, size_t kept)
{
    bool all = p->items[end - 1].ordinal == EARLY_ALL;

    while (at < end) {
        size_t first = at, stop = at + 1;
        while (stop < end && p->items[stop].ordinal == p->items[at].ordinal)
            stop++;
        for (size_t i = at; !all && i < stop; i++)
            first = settles(&p->items[i]) ? i : first;
        for (; at < stop; at++) {
            if (at >= first)
                p->items[kept++] = p->items[at];
            else
                e->dropped(e->ctx, p->items[at].own);
        }
    }
    return kept;
}

static void
epoch_reduce(struct early *e, struct early_epoch *p)
{
    size_t kept = 0, end;

    if (p->n > 1)
        qsort(p->items, p->n, sizeof *p->items, by_recipient);
    for (size_t at = 0; at < p->n; at = end) {
        end = message_end(p, at);
        kept = message_reduce(e, p, at, end, kept);
    }
    p->n = kept;
    p->hint = 0;
    p->sorted = true;
}

/* Room for one more: by what is superfluous, else by memory. */
static int
epoch_room(struct early *e, struct early_epoch *p)
{
    size_t cap = p->cap ? 2 * p->cap : EARLY_FIRST;
    struct early_note *grown;

    epoch_reduce(e, p);
    if (p->n < p->cap / 4 * 3)
        return 0;
    grown = reallocarray(p->items, cap, sizeof *grown);
    if (!grown) /* little was dropped: soon it is all to be sorted again, but it goes on */
        return p->n < p->cap ? 0 : ERR_NOMEM;
    p->items = grown;
    p->cap = cap;
    return 0;
}

int
early_add(struct early *e, uint32_t epoch, const struct early_note *note)
{
    struct early_epoch *p = epoch_get(e, epoch);
    uint32_t order;

    if (!p)
        return ERR_NOMEM;
    if (p->n == p->cap && epoch_room(e, p) < 0)
        return ERR_NOMEM;
    order = ++p->orders;
    p->items[p->n] = *note;
    p->items[p->n++].order = order & INT32_MAX;
    p->sorted = false;
    return 0;
}

/* Messages of an epoch come nearly in order: the next one's notes stand where the last one's end.
 */
static size_t
note_at(const struct early_epoch *p, uint64_t seq)
{
    size_t lo = 0, hi = p->n;

    if (p->hint <= p->n && (p->hint == 0 || p->items[p->hint - 1].seq < seq)) {
        if (p->hint == p->n || p->items[p->hint].seq >= seq)
            return p->hint;
        lo = p->hint;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->items[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct early_note *
early_find(struct early *e, uint32_t epoch, uint64_t seq, size_t *ret_n)
{
    struct early_epoch *p = epoch_find(e, epoch);
    size_t at, end;

    *ret_n = 0;
    if (!p || p->n == 0)
        return NULL;
    if (!p->sorted)
        epoch_reduce(e, p);
    at = note_at(p, seq);
    p->hint = at;
    if (at == p->n || p->items[at].seq != seq)
        return NULL;
    end = message_end(p, at);
    p->hint = end;
    *ret_n = end - at;
    if (p->items[end - 1].ordinal == EARLY_ALL)
        qsort(&p->items[at], end - at, sizeof *p->items, by_order);
    return &p->items[at];
}

void
early_drop(struct early *e, uint32_t epoch)
{
    struct early_epoch *p = epoch_find(e, epoch), gone;

    if (!p)
        return;
    gone = *p;
    *p = e->epochs[--e->n];
    for (size_t i = 0; i < gone.n; i++)
        e->dropped(e->ctx, gone.items[i].own);
    free(gone.items);
}

size_t
early_count(const struct early *e)
{
    size_t n = 0;

    for (size_t i = 0; i < e->n; i++)
        n += e->epochs[i].n;
    return n;
}
