/*
 * courier/site_way.c - what a site's hosts did to connections from sources of one owner.
 *
 * Called by sessions and plan. A receiver refuses by the address that it sees: a tenant whose
 * address is on a block list must not hold up the mail of others. Sources of one pool share a way,
 * a tenant's own sources have one of their own; a site without trouble has none.
 */
#include "courier/site_way.h"

static struct site_way *
way_of(const struct site *s, uint64_t group)
{
    for (unsigned i = 0; i < s->nways; i++) {
        if (s->ways[i]->group == group)
            return s->ways[i];
    }
    return NULL;
}

struct site_way *
site_way(const struct site *s, uint32_t source)
{
    return way_of(s, s->c->sources.items[source].group);
}

struct site_way *
site_way_make(struct site *s, uint32_t source)
{
    struct site_way *w = site_way(s, source), **grown;

    if (w)
        return w;
    grown = reallocarray(s->ways, s->nways + 1, sizeof(struct site_way *));
    if (!grown)
        return NULL;
    s->ways = grown;
    w = calloc(1, sizeof *w + s->nhosts * sizeof w->hosts[0]);
    if (!w)
        return NULL;
    w->group = s->c->sources.items[source].group;
    s->ways[s->nways++] = w;
    return w;
}

void
site_ways_free(struct site *s)
{
    for (unsigned i = 0; i < s->nways; i++)
        free(s->ways[i]);
    free(s->ways);
    s->ways = NULL;
    s->nways = 0;
}

bool
site_way_alive(const struct site *s, uint32_t source, unsigned host)
{
    const struct site_way *w = site_way(s, source);

    return !w || w->hosts[host].dead_until <= clock_mono();
}

bool
site_way_blocked(const struct site *s, uint32_t source)
{
    const struct site_way *w = site_way(s, source);

    return w && w->blocked_until > clock_mono();
}

uint64_t
site_blocked(const struct site *s, uint64_t now)
{
    uint64_t until = 0;

    for (unsigned i = 0; i < s->nways; i++)
        until = MAX(until, s->ways[i]->blocked_until);
    return until > now ? until : 0;
}

uint64_t
site_blocked_for(const struct site *s, uint32_t tenant, uint64_t now)
{
    uint64_t first = 0;

    for (unsigned i = 0; i < s->nways; i++) {
        const struct site_way *w = s->ways[i];
        if (w->blocked_until <= now || !source_group_carries(w->group, tenant))
            continue;
        first = first ? MIN(first, w->blocked_until) : w->blocked_until;
    }
    return first;
}

void
site_unblock(struct site *s)
{
    for (unsigned i = 0; i < s->nways; i++) {
        struct site_way *w = s->ways[i];
        w->blocked_until = 0;
        for (unsigned h = 0; h < s->nhosts; h++)
            w->hosts[h].dead_until = 0;
    }
}
