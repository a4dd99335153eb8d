/*
 * courier/slack.c - the law of compaction in calm: the victim is the segment that gives most space
 * for what must be copied out of it.
 *
 * Called by courier/compaction.c. A segment of outcomes has nothing to copy: it comes free when the
 * segments that it speaks of do, so they answer for its bytes. Reads no file, moves nothing.
 */
#include "courier/slack.h"

#include "core/clock.h"
#include "core/err.h"

#define TRY_AGAIN (60 * NS_PER_S) /* a victim in which something stayed is left alone so long */
/* Bytes that any full segment wastes: its last record did not fit. */
#define TAIL_WASTE (UINT64_C(256) << 10)

struct sums {
    uint64_t total, live;
};

static bool
is_closed(const struct segment *g)
{
    return g->used && g->left && !g->told;
}

/* Bytes of it that hold nothing open, as far as copying them again would win anything. */
static uint64_t
waste_of(const struct segment *g)
{
    uint64_t size = segment_size(g), waste = size - MIN(g->live_bytes, size);

    return g->dense ? MIN(waste, g->dense + g->bytes - g->live_bytes) : waste;
}

/* Calls for each segment that the records of `g` speak of. */
static uint64_t
each_ref(struct segments *all, const struct segment *g, uint64_t blame)
{
    uint64_t n = 0;

    for (uint32_t w = 0; g->nrefs > 0 && w < all->refs_words; w++) {
        for (uint64_t bits = g->refs[w]; bits; bits &= bits - 1) {
            struct segment *other = segments_at(all, w * 64 + (uint32_t)__builtin_ctzll(bits));
            n += !other->told;
            other->blame += blame;
        }
    }
    return n;
}

/* What `g` wastes is laid to what keeps it. False: nothing but what is going already. */
static bool
lay_blame(struct segments *all, struct segment *g)
{
    uint64_t keepers = (g->live > 0 || g->pins > 0) + each_ref(all, g, 0), share;

    if (keepers == 0)
        return false;
    share = waste_of(g) / keepers;
    each_ref(all, g, share);
    if (g->live > 0)
        g->blame += share;
    return true;
}

static struct sums
count(struct segments *all)
{
    struct sums sum = {0};

    for (uint32_t i = 0; i < all->n; i++)
        segments_at(all, i)->blame = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        struct segment *g = segments_at(all, i);
        if (!is_closed(g) || !lay_blame(all, g))
            continue;
        sum.total += segment_size(g);
        sum.live += MIN(g->live_bytes, segment_size(g));
    }
    return sum;
}

static bool
is_worth_it(const struct segment *g, uint64_t mono)
{
    return is_closed(g) && g->live > 0 && g->pins == 0 && !g->compacting &&
           g->blame > segment_size(g) / 32 + TAIL_WASTE &&
           (!g->tried || mono - g->tried > TRY_AGAIN);
}

uint32_t
slack_victim(struct segments *all, unsigned percent, uint64_t mono)
{
    struct sums sum = count(all);
    uint32_t victim = SEGMENT_NONE;
    double best = 0;

    if ((sum.total - sum.live) * 100 <= sum.total * percent)
        return SEGMENT_NONE;
    for (uint32_t i = 0; i < all->n; i++) {
        const struct segment *g = segments_at(all, i);
        double worth;
        if (!is_worth_it(g, mono))
            continue;
        worth = (double)g->blame / (double)(g->live_bytes + SPOOL_UNIT);
        if (worth <= best)
            continue;
        best = worth;
        victim = i;
    }
    return victim;
}
