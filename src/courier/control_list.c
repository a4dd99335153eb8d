/*
 * courier/control_list.c - queue list, show, summary, and the verbs that change rows.
 *
 * Called by control.c. What the index knows is answered from it; sender and recipient are read from
 * the log, for at most SCAN_MAX messages of one request.
 */
#include "courier/control.h"
#include "courier/outcome.h"
#include "courier/site.h"

#define SCAN_MAX 200000u

const char *
control_state(const struct courier *c, const struct index_row *r)
{
    const struct index_dest *d = index_dest(&c->index, r->dest);

    switch (r->state) {
    case ROW_READY:
        if (d->parked || c->sources.tenants[index_message(&c->index, r->message)->tenant].suspended)
            return "suspended";
        return "ready";
    case ROW_WAITING:
        return r->flags & ROW_ASIDE ? "aside" : "waiting";
    case ROW_ACTIVE:
    case ROW_SETTLING:
        return "active";
    case ROW_SCOPED:
        return "suspended";
    default:
        return "held";
    }
}

static void
why_ready(const struct courier *c, const struct index_row *r, char *dst, size_t cap)
{
    const struct index_dest *d = index_dest(&c->index, r->dest);
    const struct tenant *t = &c->sources.tenants[index_message(&c->index, r->message)->tenant];
    const struct site *s = d->site;
    const struct scope *sc = NULL;

    if (d->parked)
        sc = scopes_match(c, index_dest_domain(d), NULL, STR_NONE, NULL, s ? s->name : NULL);
    else if (t->suspended)
        sc = scopes_match(c, STR_NONE, t->name, STR_NONE, NULL, NULL);
    if (sc)
        str_fmt(dst, cap, "suspended: %s", sc->reason);
    else
        dest_why(c, d, dst, cap);
}

void
control_why(const struct courier *c, const struct index_row *r, const struct letter *l, char *dst,
            size_t cap)
{
    const struct index_dest *d = index_dest(&c->index, r->dest);
    const struct scope *sc;

    switch (r->state) {
    case ROW_READY:
        why_ready(c, r, dst, cap);
        break;
    case ROW_WAITING:
        if (r->flags & ROW_ASIDE)
            str_fmt(dst, cap,
                    "set aside: it failed, and nobody may be told; removed when its time "
                    "is over");
        else if (r->attempts)
            str_fmt(dst, cap, "next attempt after: %s", d->why ? d->why : "a temporary failure");
        else
            str_fmt(dst, cap, "the sender asked for a later time");
        break;
    case ROW_ACTIVE:
        str_fmt(dst, cap, "a connection has it");
        break;
    case ROW_SETTLING:
        str_fmt(dst, cap, "done; its outcome is being written");
        break;
    case ROW_SCOPED:
        sc = l ? scopes_match(c, STR_NONE, NULL, l->env.sender, NULL, NULL) : NULL;
        str_fmt(dst, cap, "suspended: %s", sc ? sc->reason : "by its sender");
        break;
    default:
        str_fmt(dst, cap, "%s", reasons_text(&c->reasons, r->due));
        break;
    }
}

static bool
domain_matches(struct str want, struct str have)
{
    if (want.n > 1 && want.p[0] == '.')
        return str_iends(have, want);
    return str_ieq(want, have);
}

/* What the index alone can say. */
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
    return !f->state.n || str_eq(f->state, str_c(control_state(c, r)));
}

static bool
address_matches(struct str want, struct str have)
{
    return want.p[0] == '@' ? str_iends(have, want) : str_ieq(want, have);
}

/* Walks rows that match all filters; fn gets the letter if it was read (`want_letter` or a filter
 * needs it). Returns rows told; fn returns false to end. */
struct walk_row {
    uint32_t row, message;
    const struct letter *letter; /* NULL: not read, or not readable */
    struct spool_rcpt rcpt;
};
static uint64_t
walk(struct control_call *call, bool want_letter, bool (*fn)(void *ctx, const struct walk_row *),
     void *ctx, bool *ret_cut)
{
    struct courier *c = call->c;
    const struct control_filter *f = &call->f;
    bool needs = f->sender.n > 0 || f->recipient.n > 0 || want_letter;
    uint32_t loaded = INDEX_NONE, scans = 0, from = 0, to = c->index.rows.next;
    struct letter l;
    uint64_t n = 0;
    int err = ERR_NOTFOUND;

    *ret_cut = false;
    letter_init(&l);
    for (uint32_t i = from; i < to; i++) {
        const struct index_row *r = index_row(&c->index, i);
        struct walk_row w = {.row = i};
        if (!row_matches(call, r))
            continue;
        w.message = r->message;
        if (needs && loaded != w.message) {
            if (++scans > SCAN_MAX) {
                *ret_cut = true;
                break;
            }
            err = letter_load(c, w.message, &l);
            loaded = w.message;
        }
        if (needs && err == 0) {
            w.letter = &l;
            if (letter_rcpt(&l, r->ordinal, &w.rcpt) < 0)
                w.rcpt.address = STR_NONE;
        }
        if (f->sender.n && (!w.letter || !address_matches(f->sender, l.env.sender)))
            continue;
        if (f->recipient.n && (!w.letter || !address_matches(f->recipient, w.rcpt.address)))
            continue;
        n++;
        if (!fn(ctx, &w))
            break;
    }
    letter_done(&l);
    return n;
}

static void
row_line(struct control_call *call, const struct walk_row *w)
{
    struct courier *c = call->c;
    const struct index_row *r = index_row(&c->index, w->row);
    const struct index_message *m = index_message(&c->index, w->message);
    const struct index_dest *d = index_dest(&c->index, r->dest);
    const struct site *s = d->site;
    struct spool_id id = courier_id(c, m);
    uint64_t now = courier_wall(c) / NS_PER_S;
    char text[SPOOL_ID_TEXT], why[512];

    control_text(call, "id", str_c(spool_id_show(&id, text)));
    control_number(call, "ordinal", r->ordinal);
    control_number(call, "age_s", now > m->received ? now - m->received : 0);
    if (w->letter) {
        control_number(call, "size", w->letter->env.size);
        control_text(call, "sender", w->letter->env.sender);
        control_text(call, "recipient", w->rcpt.address);
    }
    control_text(call, "domain", index_dest_domain(d));
    if (s)
        control_text(call, "site", str_c(s->name));
    control_text(call, "tenant", str_c(c->sources.tenants[m->tenant].name));
    control_text(call, "state", str_c(control_state(c, r)));
    control_number(call, "attempts", r->attempts);
    if (r->state == ROW_WAITING)
        control_number(call, "next", courier_tick_wall(c, r->due) / NS_PER_S);
    control_why(c, r, w->letter, why, sizeof why);
    control_text(call, "reason", str_c(why));
    control_line(call);
}

static bool
list_one(void *ctx, const struct walk_row *w)
{
    struct control_call *call = ctx;

    row_line(call, w);
    return --call->f.limit > 0;
}

void
control_list(struct control_call *call)
{
    bool cut;
    uint64_t n = walk(call, true, list_one, call, &cut);

    if (cut)
        control_end(call, 0, "looked at %u messages only: name more with filters", SCAN_MAX);
    else if (n == 0)
        control_end(call, 0, "nothing that waits is like that");
    else if (call->f.limit == 0 && call->c->index.rows.count > n)
        control_end(call, 0, "%llu lines; there may be more: --limit", (unsigned long long)n);
    else
        control_end(call, 0, "%s", "");
}

void
control_show(struct control_call *call)
{
    bool cut;
    uint64_t n;

    call->f.limit = UINT64_MAX;
    n = walk(call, true, list_one, call, &cut);
    if (n == 0)
        control_end(call, 1, "no message of that id waits; `gapura explain` looks in the log too");
    else
        control_end(call, 0, "%s", "");
}

struct summary {
    struct control_call *call;
    struct {
        uint64_t rows[8], oldest, next;
    } * by_dest;
};

static bool
summary_one(void *ctx, const struct walk_row *w)
{
    struct summary *s = ctx;
    const struct index_row *r = index_row(&s->call->c->index, w->row);
    const struct index_message *m = index_message(&s->call->c->index, w->message);

    s->by_dest[r->dest].rows[r->state]++;
    if (!s->by_dest[r->dest].oldest || m->received < s->by_dest[r->dest].oldest)
        s->by_dest[r->dest].oldest = m->received;
    if (r->state == ROW_WAITING && (!s->by_dest[r->dest].next || r->due < s->by_dest[r->dest].next))
        s->by_dest[r->dest].next = r->due;
    return true;
}

static void
summary_line(struct control_call *call, uint32_t dest, const uint64_t rows[8], uint64_t oldest,
             uint64_t next)
{
    struct courier *c = call->c;
    const struct index_dest *d = index_dest(&c->index, dest);
    const struct site *s = d->site;
    uint64_t total = 0, now = courier_wall(c) / NS_PER_S;
    char why[512];

    for (int i = 0; i < 8; i++)
        total += rows[i];
    if (total == 0)
        return;
    if (s)
        control_text(call, "site", str_c(s->name));
    control_text(call, "domain", index_dest_domain(d));
    control_number(call, "recipients", total);
    control_number(call, "waiting", rows[ROW_WAITING]);
    control_number(call, "ready", rows[ROW_READY]);
    control_number(call, "active", rows[ROW_ACTIVE]);
    control_number(call, "held", rows[ROW_HELD] + rows[ROW_SCOPED]);
    control_number(call, "oldest_s", now > oldest ? now - oldest : 0);
    if (next)
        control_number(call, "next", courier_tick_wall(c, (uint32_t)next) / NS_PER_S);
    if (rows[ROW_READY]) {
        dest_why(c, d, why, sizeof why);
        control_text(call, "reason", str_c(why));
    } else if (d->why && rows[ROW_WAITING]) {
        control_text(call, "reason", str_c(d->why));
    }
    control_line(call);
}

void
control_summary(struct control_call *call)
{
    struct courier *c = call->c;
    struct summary s = {.call = call};
    uint64_t n;
    bool cut;

    s.by_dest = calloc(MAX(c->index.dests.next, 1u), sizeof *s.by_dest);
    if (!s.by_dest) {
        control_end(call, 1, "no memory for a summary of %u destinations", c->index.dests.count);
        return;
    }
    n = walk(call, false, summary_one, &s, &cut);
    for (uint32_t i = 0; i < c->index.dests.next; i++)
        summary_line(call, i, s.by_dest[i].rows, s.by_dest[i].oldest, s.by_dest[i].next);
    free(s.by_dest);
    control_end(call, 0, "%s", n ? "" : "nothing waits");
}

/* --- changes --- */

struct change {
    struct control_call *call;
    uint32_t *rows;
    size_t n, cap;
    bool failed;
};

static bool
change_collect(void *ctx, const struct walk_row *w)
{
    struct change *ch = ctx;

    if (ch->n == ch->cap) {
        size_t cap = ch->cap ? 2 * ch->cap : 1024;
        uint32_t *grown = reallocarray(ch->rows, cap, sizeof *grown);
        if (!grown) {
            ch->failed = true;
            return false;
        }
        ch->rows = grown;
        ch->cap = cap;
    }
    ch->rows[ch->n++] = w->row;
    return true;
}

/* One row: true if it was changed. A row in a connection's hand is left alone. */
static bool
change_one(struct control_call *call, struct str verb, uint32_t row)
{
    struct courier *c = call->c;
    struct index_row *r = index_row(&c->index, row);
    bool held = r->state == ROW_HELD || (r->state == ROW_WAITING && (r->flags & ROW_ASIDE));

    if (r->state == ROW_ACTIVE || r->state == ROW_SETTLING || r->state == ROW_FREE)
        return false;
    if (str_eq(verb, STR("retry"))) {
        if (r->state != ROW_WAITING || held)
            return false;
        index_ready(&c->index, row);
        return true;
    }
    if (str_eq(verb, STR("release"))) {
        if (!held)
            return false;
        outcome_operator(c, r->message, &row, 1, SPOOL_RELEASED, STR("released by an operator"));
        return true;
    }
    if (str_eq(verb, STR("hold"))) {
        outcome_operator(c, r->message, &row, 1, SPOOL_HELD, call->f.reason);
        return true;
    }
    outcome_operator(c, r->message, &row, 1, SPOOL_REMOVED, call->f.reason);
    return true;
}

/* A site that waits for its next try is tried at once when people ask for it. */
static void
unblock_sites(struct courier *c)
{
    struct str name;
    struct site *s;
    size_t at = 0;

    while ((s = map_next(&c->sites->names, &at, &name)) != NULL) {
        s->blocked_until = 0;
        for (unsigned i = 0; i < s->nhosts; i++)
            s->hosts[i].dead_until = 0;
        site_queue(s);
    }
}

void
control_change(struct control_call *call, struct str verb)
{
    const struct control_filter *f = &call->f;
    struct change ch = {.call = call};
    bool cut, wants = str_eq(verb, STR("hold")) || str_eq(verb, STR("remove"));
    uint64_t n = 0;

    if (!f->all && !f->id.n && !f->domain.n && !f->tenant.n && !f->sender.n && !f->recipient.n &&
        !f->source.n && !f->site.n && !f->state.n) {
        control_end(call, 2, "of what? Name an id, a filter, or --all; nothing was changed");
        return;
    }
    if (wants && !f->reason.n) {
        control_end(call, 2, "that wants --reason TEXT; nothing was changed");
        return;
    }
    walk(call, false, change_collect, &ch, &cut);
    if (ch.failed || cut) {
        control_end(call, 1,
                    "too many rows to look at in one go: narrow the filter; nothing was "
                    "changed");
        free(ch.rows);
        return;
    }
    for (size_t i = 0; i < ch.n; i++)
        n += change_one(call, verb, ch.rows[i]);
    free(ch.rows);
    if (str_eq(verb, STR("retry"))) {
        unblock_sites(call->c);
        n += n == 0 && ch.n > 0; /* ready rows whose site was blocked */
    }
    if (n == 0)
        control_end(call, 1, "nothing that waits is like that; nothing was changed");
    else
        control_end(call, 0, "%llu recipient%s: %.*s", (unsigned long long)n, n == 1 ? "" : "s",
                    STR_ARG(verb));
}
