/*
 * courier/session_soft.c - how many connections a site takes from one source, as far as it said so.
 *
 * Called by sessions (a reply, a refused connection) and by the plan before it opens one. Other
 * sources to the same site are not held back by it.
 */
#include "courier/session.h"

unsigned
session_count(const struct site *s, uint32_t source, bool busy)
{
    unsigned n = 0;

    for (const struct session *x = s->all; x; x = x->next)
        n += x->source == source && (!busy || x->state == SESSION_BUSY);
    return n;
}

static struct site_soft *
soft_get(const struct site *s, uint32_t source)
{
    for (unsigned i = 0; i < s->nsoft; i++) {
        if (s->soft[i].source == source)
            return &s->soft[i];
    }
    return NULL;
}

/* A place for one more: that of one which is over, or a new one. */
static struct site_soft *
soft_add(struct site *s, uint64_t now)
{
    struct site_soft *grown;

    for (unsigned i = 0; i < s->nsoft; i++) {
        if (s->soft[i].until <= now)
            return &s->soft[i];
    }
    grown = reallocarray(s->soft, s->nsoft + 1, sizeof *grown);
    if (!grown)
        return NULL;
    s->soft = grown;
    return &s->soft[s->nsoft++];
}

void
session_soften(struct site *s, uint32_t source, uint64_t limit, uint64_t until)
{
    uint64_t now = clock_mono();
    struct site_soft *soft = soft_get(s, source);

    if (soft && soft->until > now) {
        soft->limit = MIN(soft->limit, limit);
        soft->until = MAX(soft->until, until);
        return;
    }
    soft = soft ? soft : soft_add(s, now);
    if (soft) /* without memory it is told again by the next refusal */
        *soft = (struct site_soft){source, limit, until};
}

bool
session_site_full(const struct site *s, uint32_t source, uint64_t *ret_until)
{
    const struct site_soft *soft = soft_get(s, source);

    if (!soft || soft->until <= clock_mono() || session_count(s, source, false) < soft->limit)
        return false;
    *ret_until = soft->until;
    return true;
}
