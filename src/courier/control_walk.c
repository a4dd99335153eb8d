/*
 * courier/control_walk.c - walks the rows that match the filters of a control verb, a few
 * milliseconds a turn.
 *
 * Called by the steps of control_list.c and control_change.c. What the index knows is answered from
 * it; sender and recipient are read from the log. Rows that came after the walk began are left out.
 */
#include "courier/control.h"
#include "courier/site.h"

#define TURN_NS   (2 * NS_PER_MS)
#define TURN_ROWS 65536u /* looked at */
#define LOOK_EACH 256u   /* rows between looks at the clock */

static bool
domain_matches(struct str want, struct str have)
{
    if (want.n > 1 && want.p[0] == '.')
        return str_iends(have, want);
    return str_ieq(want, have);
}

/* What the index alone can say, but for the state. */
static bool
row_matches(const struct control_call *call, const struct index_row *r)
{
    const struct courier *c = call->c;
    const struct control_filter *f = &call->f;
    const struct index_message *m;
    const struct index_dest *d;
    const struct tenant *t;
    const struct site *s;

    if (r->state == ROW_FREE || r->state == ROW_SETTLING)
        return false;
    m = index_message(&c->index, r->message);
    d = index_dest(&c->index, r->dest);
    t = &c->sources.tenants[m->tenant];
    s = d->site;
    if (f->id.n && (m->epoch != f->message.epoch || m->seq != f->message.seq ||
                    f->message.node != c->links.node))
        return false;
    if (f->domain.n && !domain_matches(f->domain, index_dest_domain(d)))
        return false;
    if (f->tenant.n && !str_eq(f->tenant, str_c(t->name)))
        return false;
    if (f->site.n && (!s || str_find(str_c(s->name), f->site) < 0))
        return false;
    if (f->source.n) {
        uint32_t src = source_find(&c->sources, f->source);
        if (src == UINT32_MAX ||
            (r->source ? r->source != src + 1 : !pool_has(&c->sources, t->pool, src)))
            return false;
    }
    return true;
}

static bool
address_matches(struct str want, struct str have)
{
    return want.p[0] == '@' ? str_iends(have, want) : str_ieq(want, have);
}

static bool
state_matches(const struct control_call *call, const struct index_row *r, const struct letter *l)
{
    return str_eq(call->f.state, str_c(control_state(call->c, r, l)));
}

/* Reads the message of the row, unless it is the one in hand. */
static void
walk_letter(struct control_call *call, struct walk_row *w)
{
    struct control_walk *at = &call->walk;

    if (at->loaded != w->message)
        at->err = letter_load(call->c, w->message, &at->l);
    at->loaded = w->message;
    if (at->err < 0)
        return;
    w->letter = &at->l;
    if (letter_rcpt(&at->l, index_row(&call->c->index, w->row)->ordinal, &w->rcpt) < 0)
        w->rcpt.address = STR_NONE;
}

static bool
letter_matches(const struct control_call *call, const struct walk_row *w)
{
    const struct control_filter *f = &call->f;

    if (f->sender.n && (!w->letter || !address_matches(f->sender, w->letter->env.sender)))
        return false;
    return !f->recipient.n || (w->letter && address_matches(f->recipient, w->rcpt.address));
}

/* 0: no match, 1: told, -1: the walk is to end. */
static int
walk_row(struct control_call *call, uint32_t row, bool needs,
         bool (*fn)(struct control_call *, const struct walk_row *))
{
    struct courier *c = call->c;
    const struct index_row *r = index_row(&c->index, row);
    struct walk_row w = {.row = row, .message = r->message};

    if (!row_matches(call, r))
        return 0;
    if (call->f.state.n && !c->scopes->by_sender && !state_matches(call, r, NULL))
        return 0;
    if (needs)
        walk_letter(call, &w);
    if (!letter_matches(call, &w))
        return 0;
    if (call->f.state.n && c->scopes->by_sender && !state_matches(call, r, w.letter))
        return 0;
    call->walk.n++;
    return fn(call, &w) ? 1 : -1;
}

bool
control_walk(struct control_call *call, bool want_letter,
             bool (*fn)(struct control_call *, const struct walk_row *))
{
    struct control_walk *w = &call->walk;
    const struct control_filter *f = &call->f;
    uint64_t until = clock_mono() + TURN_NS;
    bool needs =
        f->sender.n || f->recipient.n || want_letter || (f->state.n && call->c->scopes->by_sender);

    if (!w->begun) {
        letter_init(&w->l);
        w->begun = true;
        w->to = call->c->index.rows.next;
    }
    w->loaded = INDEX_NONE; /* what was read in a former turn may have another number now */
    for (unsigned looked = 1; w->at < w->to; looked++) {
        int told = walk_row(call, w->at++, needs, fn);
        if (told < 0)
            return true;
        if (looked >= TURN_ROWS ||
            ((looked % LOOK_EACH == 0 || (needs && told)) && clock_mono() >= until))
            return w->at >= w->to;
    }
    return true;
}
