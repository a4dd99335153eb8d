/*
 * courier/segments.c - counts what needs each segment and gives back what nothing needs.
 *
 * Called by intake, outcome, compaction and scopes. Opens no file, sends nothing itself.
 */
#include "courier/segments.h"

#include "core/clock.h"
#include "core/err.h"

#define TELL_AGAIN (10 * NS_PER_S)

void
segments_init(struct segments *s)
{
    *s = (struct segments){0};
    for (size_t i = 0; i < ARRAY_LEN(s->buckets); i++)
        s->buckets[i] = SEGMENT_NONE;
}

void
segments_done(struct segments *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        free(s->items[i].refs);
    free(s->items);
    segments_init(s);
}

static uint32_t *
bucket_of(struct segments *s, uint64_t number)
{
    return &s->buckets[number % ARRAY_LEN(s->buckets)];
}

/* Of any generation. */
static uint32_t
segments_number(const struct segments *s, uint64_t number)
{
    uint32_t i = s->buckets[number % ARRAY_LEN(s->buckets)];

    while (i != SEGMENT_NONE && s->items[i].s.number != number)
        i = s->items[i].next;
    return i;
}

uint32_t
segments_find(const struct segments *s, uint64_t number, uint64_t generation)
{
    uint32_t i = segments_number(s, number);

    return i != SEGMENT_NONE && s->items[i].s.generation == generation ? i : SEGMENT_NONE;
}

/* Nothing needs it: say so, once until the time to say it again. */
static void
segment_check(struct segments *s, uint32_t slot)
{
    struct segment *g = &s->items[slot];

    if (!g->used || !g->left || g->live > 0 || g->pins > 0 || g->nrefs > 0 || g->told)
        return;
    g->told = clock_mono();
    if (s->free)
        s->free(s->ctx, g->s.number, g->s.generation);
}

/* Takes the slot out: nobody may speak of it any more. */
static void
segment_forget(struct segments *s, uint32_t slot)
{
    struct segment *g = &s->items[slot];
    uint32_t *at = bucket_of(s, g->s.number);
    uint64_t bit = UINT64_C(1) << (slot % 64);

    while (*at != slot)
        at = &s->items[*at].next;
    *at = g->next;
    free(g->refs);
    *g = (struct segment){0};
    for (uint32_t i = 0; i < s->n; i++) {
        struct segment *o = &s->items[i];
        if (!o->refs || !(o->refs[slot / 64] & bit))
            continue;
        o->refs[slot / 64] &= ~bit;
        o->nrefs--;
        segment_check(s, i);
    }
}

static bool
segments_grow(struct segments *s)
{
    uint32_t cap = s->cap ? 2 * s->cap : 256;
    struct segment *grown;

    if (cap > SEGMENTS_MAX)
        return false;
    grown = reallocarray(s->items, cap, sizeof *grown);
    if (!grown)
        return false;
    s->items = grown;
    for (uint32_t i = 0; i < s->n; i++) {
        uint64_t *refs = s->items[i].refs;
        if (!refs)
            continue;
        refs = reallocarray(refs, cap / 64, sizeof *refs);
        if (!refs)
            return false;
        memset(refs + s->refs_words, 0, (cap / 64 - s->refs_words) * sizeof *refs);
        s->items[i].refs = refs;
    }
    s->cap = cap;
    s->refs_words = cap / 64;
    return true;
}

uint32_t
segments_get(struct segments *s, const struct spool_segment *seg, bool own)
{
    uint32_t slot = segments_number(s, seg->number);
    struct segment *g;

    if (slot != SEGMENT_NONE) {
        g = &s->items[slot];
        if (g->s.generation == seg->generation)
            return slot;
        segment_forget(s, slot);
    }
    for (slot = 0; slot < s->n && s->items[slot].used; slot++)
        ;
    if (slot == s->cap && !segments_grow(s))
        return SEGMENT_NONE;
    if (slot == s->n)
        s->n++;
    g = &s->items[slot];
    *g = (struct segment){.s = *seg,
                          .used = true,
                          .own = own,
                          .start = SEGMENT_START_UNKNOWN,
                          .next = *bucket_of(s, seg->number)};
    *bucket_of(s, seg->number) = slot;
    return slot;
}

void
segments_hold(struct segments *s, uint32_t slot, uint64_t bytes)
{
    struct segment *g = &s->items[slot];

    g->live++;
    g->live_bytes += bytes;
    g->bytes += bytes;
}

void
segments_release(struct segments *s, uint32_t slot, uint64_t bytes)
{
    struct segment *g = &s->items[slot];

    ENSURE(g->live > 0);
    g->live--;
    g->live_bytes -= MIN(bytes, g->live_bytes);
    segment_check(s, slot);
}

void
segments_pin(struct segments *s, uint32_t slot)
{
    s->items[slot].pins++;
}

void
segments_unpin(struct segments *s, uint32_t slot)
{
    ENSURE(s->items[slot].pins > 0);
    s->items[slot].pins--;
    segment_check(s, slot);
}

void
segments_left(struct segments *s, uint32_t slot)
{
    s->items[slot].left = true;
    segment_check(s, slot);
}

void
segments_refer(struct segments *s, uint32_t own, uint32_t other)
{
    struct segment *g;
    uint64_t bit;

    if (own == other || own == SEGMENT_NONE || other == SEGMENT_NONE || !s->items[other].used)
        return;
    g = &s->items[own];
    bit = UINT64_C(1) << (other % 64);
    if (!g->refs) {
        g->refs = calloc(s->refs_words, sizeof *g->refs);
        if (!g->refs) { /* kept for ever rather than freed too early; the next start counts anew */
            g->pins++;
            return;
        }
    }
    if (g->refs[other / 64] & bit)
        return;
    g->refs[other / 64] |= bit;
    g->nrefs++;
}

void
segments_freed(struct segments *s, uint64_t number, uint64_t generation)
{
    uint32_t slot = segments_find(s, number, generation);

    if (slot != SEGMENT_NONE && s->items[slot].live == 0 && s->items[slot].pins == 0)
        segment_forget(s, slot);
}

void
segments_tick(struct segments *s, uint64_t mono)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct segment *g = &s->items[i];
        if (g->used && g->told && mono - g->told > TELL_AGAIN)
            g->told = 0;
        segment_check(s, i);
    }
}
