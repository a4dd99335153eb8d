/*
 * courier/session_pick.c - which rows of a site go next: by class, by the shares of tenants, by
 * lane.
 *
 * Called by the plan for what has no connection, and by sessions that became free. Never waits; a
 * site whose rate is used up gets its wake-up and the reason in site->why.
 */
#include "courier/session_pick.h"

#define QUANTUM      16  /* messages of a turn, times the tenant's weight */
#define STICKY_LOOK  16u /* rows looked at for one that this source may take */
#define SIBLING_LOOK 4096u
#define LOW_EVERY    16u /* each so many picks begin with the lowest class */

uint32_t
pick_pool(const struct site *s, const struct share *sh)
{
    if (s->pool && s->pool[0])
        return source_pool(&s->c->sources, str_c(s->pool));
    return s->c->sources.tenants[sh->tenant].pool;
}

bool
pick_allows(const struct site *s, const struct share *sh, uint32_t source)
{
    const struct source *src = &s->c->sources.items[source];

    if (src->gone || src->suspended)
        return false;
    return source_allows(src, s->c->sources.tenants[sh->tenant].number) &&
           pool_has(&s->c->sources, pick_pool(s, sh), source);
}

uint32_t
pick_in_lane(struct courier *c, const struct index_lane *l, uint32_t source)
{
    uint32_t row = l->head;

    for (unsigned i = 0; i < STICKY_LOOK && row != INDEX_NONE; i++) {
        struct index_row *r = index_row(&c->index, row);
        if (r->source && (r->source > c->sources.n || c->sources.items[r->source - 1].gone))
            r->source = 0;
        if (r->source == 0 || source == UINT32_MAX || r->source == source + 1)
            return row;
        row = r->next;
    }
    return INDEX_NONE;
}

/* The share's next row; its lanes take turns. */
static uint32_t
share_pick(struct courier *c, struct share *sh, uint32_t source)
{
    uint32_t first = sh->lanes, at = first, row;

    do {
        const struct index_lane *l = index_lane(&c->index, at);
        row = pick_in_lane(c, l, source);
        if (row != INDEX_NONE) {
            sh->lanes = l->share_next;
            return row;
        }
        at = l->share_next;
    } while (at != first);
    return INDEX_NONE;
}

static uint32_t
class_pick(struct site *s, unsigned class, uint32_t source)
{
    struct share *sh = s->classes[class], *first = sh;
    bool hungry = false;
    uint32_t row;

    while (sh) {
        bool may = source == UINT32_MAX || pick_allows(s, sh, source);
        if (may && sh->deficit > 0) {
            row = share_pick(s->c, sh, source);
            if (row != INDEX_NONE) {
                sh->deficit--;
                s->classes[class] = sh->deficit > 0 ? sh : sh->next;
                return row;
            }
        } else if (may) {
            sh->deficit += (int64_t)QUANTUM * s->c->sources.tenants[sh->tenant].weight;
            hungry = true;
        }
        sh = sh->next;
        if (sh == first) {
            if (!hungry)
                return INDEX_NONE;
            hungry = false;
        }
    }
    return INDEX_NONE;
}

static uint32_t
site_pick(struct site *s, uint32_t source)
{
    uint32_t row = INDEX_NONE;
    bool low = ++s->picks % LOW_EVERY == 0;

    for (unsigned i = 0; i < SITE_CLASSES && row == INDEX_NONE; i++)
        row = class_pick(s, low ? SITE_CLASSES - 1 - i : i, source);
    return row;
}

/* Rows of the same message that go the same way, in the order of their ordinals. A very large
 * message is only looked at from the chosen row on. */
static uint32_t
take_siblings(struct site *s, uint32_t row, uint32_t source, uint32_t *rows, uint32_t max)
{
    struct index *ix = &s->c->index;
    const struct index_message *m = index_message(ix, index_row(ix, row)->message);
    uint32_t n = 0, next = m->open > SIBLING_LOOK ? row : m->rows;
    bool took = false;

    for (unsigned look = 0; look < SIBLING_LOOK && next != INDEX_NONE; look++) {
        struct index_row *r = index_row(ix, next);
        uint32_t at = next;
        next = r->sibling;
        if (r->state != ROW_READY || index_dest(ix, r->dest)->site != s ||
            !index_lane(ix, r->due)->joined)
            continue;
        if (r->source && source != UINT32_MAX && r->source != source + 1)
            continue;
        if (at != row && n + !took >= max) /* the last place is the chosen row's */
            continue;
        took = took || at == row;
        rows[n++] = at;
        index_set(ix, at, ROW_ACTIVE);
        if (n == max)
            break;
    }
    return n;
}

uint32_t
pick_untried(struct site *s, uint32_t source, uint32_t *rows, uint32_t max, uint32_t *ret_message)
{
    uint64_t now, wait;
    uint32_t row;

    if (s->retired || s->c->stopping || !site_has_work(s))
        return 0;
    if (s->rate.count) {
        now = clock_mono();
        wait = bucket_peek(&s->bucket, &s->rate, now);
        if (wait) {
            site_wake(s, wait);
            str_fmt(s->why, sizeof s->why, "the rate allowed at %.120s is used up for now",
                    s->name);
            return 0;
        }
    }
    row = site_pick(s, source);
    if (row == INDEX_NONE)
        return 0;
    if (s->rate.count)
        bucket_take(&s->bucket, &s->rate, clock_mono());
    *ret_message = index_row(&s->c->index, row)->message;
    return take_siblings(s, row, source, rows, max);
}

uint32_t
pick_rows(struct site *s, uint32_t source, uint32_t *rows, uint32_t max, uint32_t *ret_message)
{
    uint32_t n = pick_untried(s, source, rows, max, ret_message);

    for (uint32_t i = 0; i < n; i++)
        index_row(&s->c->index, rows[i])->flags |= ROW_ROUTED;
    return n;
}
