/*
 * courier/deadline.c - see courier/deadline.h.
 *
 * Called by intake, when a message comes into the index or goes, and by late.c, which tells.
 */
#include "courier/deadline.h"

#include "courier/age.h"

#define STALE_MIN 1024u

bool
deadline_is(const struct courier *c, const struct deadline *e)
{
    const struct index_message *m = index_message(&c->index, e->message);

    return m->open > 0 && m->epoch == e->epoch && m->seq == e->seq;
}

static bool
is_open(const void *ctx, const struct deadline *e)
{
    return deadline_is(ctx, e);
}

void
deadline_note(struct courier *c, uint32_t message, const struct spool_envelope *env)
{
    struct index_message *m = index_message(&c->index, message);
    struct deadline e = {.seq = m->seq, .epoch = m->epoch, .message = message};

    if (!(m->flags & SPOOL_MAIL_DELIVERBY))
        return;
    m->notify = env->by_mode == SPOOL_BY_NOTIFY;
    e.by = (uint32_t)MIN(age_stamp(m, env, env->deliver_by) / NS_PER_S, UINT32_MAX);
    deadlines_push(&c->deadlines, &e);
    c->deadlines.live++;
}

/* Mail that is delivered leaves its entry: they are cleared out when they are most of all. */
void
deadline_over(struct courier *c, const struct index_message *m)
{
    struct deadlines *l = &c->deadlines;

    if (!(m->flags & SPOOL_MAIL_DELIVERBY))
        return;
    l->live -= l->live > 0;
    if (l->n < 2 * l->live + STALE_MIN)
        return;
    deadlines_keep(l, is_open, c);
    l->live = l->n;
}
