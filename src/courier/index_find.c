/*
 * courier/index_find.c - messages by id: for each epoch, leaves of (sequence, number) in order.
 *
 * Called by intake for every record and by the control verbs. Eight bytes a message: ids come
 * nearly in order, so a leaf is mostly appended to; no hash of a million entries is kept.
 */
#include "courier/index_inner.h"

#define LEAF_MAX 508u

struct find_item {
    uint32_t low; /* sequence minus the leaf's base */
    uint32_t message;
};
struct find_leaf {
    uint64_t base;
    uint32_t n, cap;
    struct find_item items[];
};
struct index_epoch {
    uint32_t epoch;
    uint32_t nleaves, cap;
    struct find_leaf **leaves; /* sorted by base; each holds base .. next base - 1 */
};

static size_t
epoch_at(const struct index *ix, uint32_t epoch)
{
    size_t lo = 0, hi = ix->nepochs;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (ix->epochs[mid]->epoch < epoch)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct index_epoch *
epoch_find(const struct index *ix, uint32_t epoch)
{
    size_t at = epoch_at(ix, epoch);

    return at < ix->nepochs && ix->epochs[at]->epoch == epoch ? ix->epochs[at] : NULL;
}

static struct index_epoch *
epoch_get(struct index *ix, uint32_t epoch)
{
    struct index_epoch *e = epoch_find(ix, epoch);
    size_t at = epoch_at(ix, epoch);

    if (e)
        return e;
    if (ix->nepochs == ix->epochs_cap) {
        size_t cap = ix->epochs_cap ? 2 * ix->epochs_cap : 16;
        struct index_epoch **grown = realloc(ix->epochs, cap * sizeof(void *));
        if (!grown)
            return NULL;
        ix->epochs = grown;
        ix->epochs_cap = cap;
    }
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->epoch = epoch;
    memmove(ix->epochs + at + 1, ix->epochs + at, (ix->nepochs - at) * sizeof(void *));
    ix->epochs[at] = e;
    ix->nepochs++;
    return e;
}

/* The leaf that holds or would hold seq: the last one with base <= seq. */
static uint32_t
leaf_at(const struct index_epoch *e, uint64_t seq)
{
    uint32_t lo = 0, hi = e->nleaves;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (e->leaves[mid]->base <= seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? lo - 1 : 0;
}

static uint32_t
item_at(const struct find_leaf *f, uint64_t seq)
{
    uint32_t lo = 0, hi = f->n;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (f->base + f->items[mid].low < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool
leaf_insert(struct index_epoch *e, uint32_t at, uint64_t base, uint32_t cap)
{
    struct find_leaf *f = malloc(sizeof *f + cap * sizeof(struct find_item));

    if (f && e->nleaves == e->cap) {
        uint32_t n = e->cap ? 2 * e->cap : 4;
        struct find_leaf **grown = realloc(e->leaves, n * sizeof(void *));
        if (!grown) {
            free(f);
            return false;
        }
        e->leaves = grown;
        e->cap = n;
    }
    if (!f)
        return false;
    *f = (struct find_leaf){.base = base, .cap = cap};
    memmove(e->leaves + at + 1, e->leaves + at, (e->nleaves - at) * sizeof(void *));
    e->leaves[at] = f;
    e->nleaves++;
    return true;
}

/* Cuts a full leaf in two; the caller looks for its place again. */
static bool
leaf_split(struct index_epoch *e, uint32_t at, uint64_t seq)
{
    struct find_leaf *f = e->leaves[at], *g;
    uint32_t half = f->n / 2;
    uint64_t base;

    if (seq > f->base + f->items[f->n - 1].low) /* behind all: begin a new one */
        return leaf_insert(e, at + 1, seq, LEAF_MAX);
    base = f->base + f->items[half].low;
    if (!leaf_insert(e, at + 1, base, LEAF_MAX))
        return false;
    g = e->leaves[at + 1];
    f = e->leaves[at];
    g->n = f->n - half;
    for (uint32_t i = 0; i < g->n; i++) {
        g->items[i] = f->items[half + i];
        g->items[i].low = (uint32_t)(f->base + f->items[half + i].low - base);
    }
    f->n = half;
    return true;
}

/* Room for seq in the leaf at *at. */
static bool
leaf_room(struct index_epoch *e, uint64_t seq, uint32_t *at)
{
    struct find_leaf *f;

    if (e->nleaves == 0 || seq < e->leaves[0]->base) {
        *at = 0;
        return leaf_insert(e, 0, seq, 16);
    }
    for (;;) {
        *at = leaf_at(e, seq);
        f = e->leaves[*at];
        if (seq - f->base > UINT32_MAX)
            return leaf_insert(e, ++*at, seq, 16);
        if (f->n < f->cap)
            return true;
        if (f->cap < LEAF_MAX) { /* small epochs stay small */
            uint32_t cap = MIN(LEAF_MAX, f->cap * 4);
            struct find_leaf *grown = realloc(f, sizeof *f + cap * sizeof(struct find_item));
            if (!grown)
                return false;
            grown->cap = cap;
            e->leaves[*at] = grown;
            return true;
        }
        if (!leaf_split(e, *at, seq))
            return false;
    }
}

uint32_t
index_message_add(struct index *ix, uint32_t epoch, uint64_t seq)
{
    struct index_epoch *e = epoch_get(ix, epoch);
    struct index_message *m;
    struct find_leaf *f;
    uint32_t at, i, number;

    if (!e || !leaf_room(e, seq, &at))
        return INDEX_NONE;
    f = e->leaves[at];
    i = item_at(f, seq);
    if (i < f->n && f->base + f->items[i].low == seq)
        return INDEX_NONE;
    number = slab_take(&ix->messages);
    if (number == INDEX_NONE)
        return number;
    memmove(f->items + i + 1, f->items + i, (f->n - i) * sizeof(struct find_item));
    f->items[i] = (struct find_item){(uint32_t)(seq - f->base), number};
    f->n++;
    m = index_message(ix, number);
    m->epoch = epoch;
    m->seq = seq;
    m->rows = INDEX_NONE;
    m->segment = INDEX_NONE;
    return number;
}

uint32_t
index_message_find(const struct index *ix, uint32_t epoch, uint64_t seq)
{
    uint32_t m = index_message_from(ix, epoch, seq);

    return m != INDEX_NONE && index_message(ix, m)->seq == seq ? m : INDEX_NONE;
}

uint32_t
index_message_from(const struct index *ix, uint32_t epoch, uint64_t seq)
{
    const struct index_epoch *e = epoch_find(ix, epoch);
    uint32_t at;

    if (!e || e->nleaves == 0)
        return INDEX_NONE;
    for (at = leaf_at(e, seq); at < e->nleaves; at++) {
        const struct find_leaf *f = e->leaves[at];
        uint32_t i = item_at(f, seq);
        if (i < f->n)
            return f->items[i].message;
    }
    return INDEX_NONE;
}

static void
find_remove(struct index *ix, uint32_t epoch, uint64_t seq)
{
    size_t which = epoch_at(ix, epoch);
    struct index_epoch *e = ix->epochs[which];
    uint32_t at = leaf_at(e, seq);
    struct find_leaf *f = e->leaves[at];
    uint32_t i = item_at(f, seq);

    f->n--;
    memmove(f->items + i, f->items + i + 1, (f->n - i) * sizeof(struct find_item));
    if (f->n > 0)
        return;
    /* The last leaf stays while it is the only one: the next id is likely to go there. */
    if (e->nleaves == 1 && which + 1 == ix->nepochs)
        return;
    free(f);
    e->nleaves--;
    memmove(e->leaves + at, e->leaves + at + 1, (e->nleaves - at) * sizeof(void *));
    if (e->nleaves > 0)
        return;
    free(e->leaves);
    free(e);
    ix->nepochs--;
    memmove(ix->epochs + which, ix->epochs + which + 1, (ix->nepochs - which) * sizeof(void *));
}

void
index_message_drop(struct index *ix, uint32_t message)
{
    struct index_message *m = index_message(ix, message);

    while (m->rows != INDEX_NONE)
        index_row_free(ix, m->rows);
    find_remove(ix, m->epoch, m->seq);
    slab_give(&ix->messages, message);
}

void
index_find_done(struct index *ix)
{
    for (size_t i = 0; i < ix->nepochs; i++) {
        for (uint32_t j = 0; j < ix->epochs[i]->nleaves; j++)
            free(ix->epochs[i]->leaves[j]);
        free(ix->epochs[i]->leaves);
        free(ix->epochs[i]);
    }
    free(ix->epochs);
    ix->epochs = NULL;
    ix->nepochs = ix->epochs_cap = 0;
}

size_t
index_find_memory(const struct index *ix)
{
    size_t n = ix->epochs_cap * sizeof(void *);

    for (size_t i = 0; i < ix->nepochs; i++) {
        const struct index_epoch *e = ix->epochs[i];
        n += sizeof *e + e->cap * sizeof(void *);
        for (uint32_t j = 0; j < e->nleaves; j++)
            n += sizeof(struct find_leaf) + e->leaves[j]->cap * sizeof(struct find_item) + 16;
    }
    return n;
}

bool
index_epoch_last(const struct index *ix, uint32_t from, uint32_t *ret_epoch, uint64_t *ret_seq)
{
    for (size_t i = epoch_at(ix, from); i < ix->nepochs; i++) {
        const struct index_epoch *e = ix->epochs[i];

        for (uint32_t k = e->nleaves; k-- > 0;) {
            const struct find_leaf *f = e->leaves[k];
            if (f->n == 0)
                continue;
            *ret_epoch = e->epoch;
            *ret_seq = f->base + f->items[f->n - 1].low;
            return true;
        }
    }
    return false;
}
