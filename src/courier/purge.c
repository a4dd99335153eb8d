/*
 * courier/purge.c - purges in force: written, read back, and what they act on.
 *
 * Called by control (remove by filter), intake (messages that are read) and outcome (rows that come
 * back). Never frees a row before the record that says so is durable.
 */
#include "courier/purge.h"

#include "core/event.h"
#include "courier/outs.h"
#include "courier/own.h"

#define PURGES_MAX 4096u

static void
purge_free(struct purge *p)
{
    free(p->domain);
    free(p->tenant);
    free(p->sender);
    free(p->reason);
    free(p);
}

void
purges_free(struct courier *c)
{
    struct purge *p;

    while ((p = c->purges) != NULL) {
        c->purges = p->next;
        purge_free(p);
    }
}

static struct purge *
purge_by_id(const struct courier *c, const struct spool_id *id)
{
    struct purge *p = c->purges;

    while (p && !spool_id_eq(&p->id, id))
        p = p->next;
    return p;
}

static struct purge *
purge_add(struct courier *c, const struct spool_scope *from, uint32_t slot)
{
    struct purge *p = c->npurges < PURGES_MAX ? calloc(1, sizeof *p) : NULL;

    if (!p)
        return NULL;
    *p = (struct purge){.id = from->scope,
                        .epoch = from->ceiling.epoch,
                        .below = from->ceiling.seq,
                        .domain = str_dup(from->domain),
                        .tenant = str_dup(from->tenant),
                        .sender = str_dup(from->sender),
                        .reason = str_dup(from->reason),
                        .slot = slot};
    if (!p->domain || !p->tenant || !p->sender || !p->reason) {
        purge_free(p);
        return NULL;
    }
    p->next = c->purges;
    c->purges = p;
    c->npurges++;
    return p;
}

static void
purge_drop(struct courier *c, struct purge *p)
{
    struct purge **at = &c->purges;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    c->npurges--;
    purge_free(p);
}

static void
purge_settle(struct courier *c, struct purge *p, uint32_t slot)
{
    p->slot = slot;
    p->generation = segments_at(&c->segments, slot)->s.generation;
    p->durable = p->pinned = true;
    segments_pin(&c->segments, slot);
}

/* --- written --- */

static void
purge_durable(struct out *o, int status)
{
    struct courier *c = o->c;
    struct purge *p = purge_by_id(c, &(struct spool_id){c->links.node, o->epoch, o->seq});
    uint32_t own = status == 0 ? own_segment(c, &o->o.loc, o->o.generation) : SEGMENT_NONE;

    if (p && own != SEGMENT_NONE)
        purge_settle(c, p, own);
    else if (p)
        p->failed = true;
    if (p && c->purge_waiter)
        loop_defer(c->loop, c->purge_waiter);
    out_give(o);
}

static int
purge_one(struct courier *c, struct spool_scope *rec)
{
    struct out *o = out_take(c, SPOOL_SCOPE);
    struct purge *p;
    int err;

    rec->scope = (struct spool_id){c->links.node, c->own_epoch, spool_writer_seq(c->links.writer)};
    p = o ? purge_add(c, rec, SEGMENT_NONE) : NULL;
    if (!p) {
        if (o)
            out_give(o);
        return o ? ERR_LIMIT : ERR_NOMEM;
    }
    spool_scope_encode(&o->payload, rec);
    o->epoch = rec->scope.epoch;
    o->seq = rec->scope.seq;
    o->durable = purge_durable;
    err = out_add(o);
    if (err < 0) {
        out_give(o);
        purge_drop(c, p);
    }
    return err;
}

int
purge_write(struct courier *c, const struct spool_scope *from, struct spool_id *ret_last)
{
    struct spool_scope rec = *from;
    uint32_t epoch = 0;
    uint64_t last;
    int err = ERR_NOTFOUND;

    if (c->purge_waiter) /* one at a time */
        return ERR_LIMIT;
    rec.verb = SPOOL_PURGE;
    rec.forever = 0;
    rec.made = courier_wall(c);
    rec.until = 0;
    while (index_epoch_last(&c->index, epoch, &epoch, &last)) {
        rec.ceiling = (struct spool_id){c->links.node, epoch, last + 1};
        err = purge_one(c, &rec);
        if (err < 0)
            return err;
        *ret_last = rec.scope;
        epoch++;
    }
    return err;
}

int
purge_state(const struct courier *c, const struct spool_id *last)
{
    const struct purge *p = purge_by_id(c, last);

    if (!p || p->failed)
        return ERR_CLOSED;
    return p->durable;
}

/* --- read back --- */

void
purge_record(struct courier *c, uint32_t slot, const struct spool_scope *rec)
{
    struct purge *p = purge_by_id(c, &rec->scope) ? NULL : purge_add(c, rec, slot);

    if (!p) {
        if (!purge_by_id(c, &rec->scope))
            event_alarm("a removal of many messages (%.*s) was read and cannot be kept: memory or "
                        "the limit of %u; mail that it took away may be sent",
                        STR_ARG(rec->reason), PURGES_MAX);
        return;
    }
    purge_settle(c, p, slot);
}

/* --- what they act on --- */

static bool
ends_or_is(const char *want, struct str have, char ending)
{
    return want[0] == ending && want[1] ? str_iends(have, str_c(want)) : str_ieq(str_c(want), have);
}

/* Without its record in the log nothing would keep what it takes away from coming back. */
static bool
purge_is_kept(const struct courier *c, const struct purge *p)
{
    const struct segment *g;

    if (!p->durable)
        return false;
    g = segments_at(&c->segments, p->slot);
    return g->used && g->s.generation == p->generation && !g->told;
}

/* The sender is looked at by the caller: it may have to be read. */
static bool
purge_acts(const struct courier *c, const struct purge *p, const struct index_row *r)
{
    const struct index_message *m = index_message(&c->index, r->message);
    const char *tenant = c->sources.tenants[m->tenant].name;

    return m->epoch == p->epoch && m->seq < p->below && purge_is_kept(c, p) &&
           (!p->domain[0] ||
            ends_or_is(p->domain, index_dest_domain(index_dest(&c->index, r->dest)), '.')) &&
           (!p->tenant[0] || (tenant && str_eq(str_c(p->tenant), str_c(tenant))));
}

static bool
sender_is(struct courier *c, const struct purge *p, uint32_t message, const struct letter *l)
{
    struct letter own;
    bool is;

    if (!p->sender[0])
        return true;
    if (l && l->env.sender.p)
        return ends_or_is(p->sender, l->env.sender, '@');
    letter_init(&own);
    is = letter_load(c, message, &own) == 0 && ends_or_is(p->sender, own.env.sender, '@');
    letter_done(&own);
    return is;
}

struct purge *
purge_of(struct courier *c, uint32_t row, const struct letter *l)
{
    const struct index_row *r = index_row(&c->index, row);

    for (struct purge *p = c->purges; p; p = p->next) {
        if (purge_acts(c, p, r) && sender_is(c, p, r->message, l))
            return p;
    }
    return NULL;
}

void
purge_row(struct courier *c, const struct purge *p, uint32_t row)
{
    const struct index_message *m = index_message(&c->index, index_row(&c->index, row)->message);

    if (m->segment != SEGMENT_NONE)
        segments_refer(&c->segments, p->slot, m->segment);
    index_row_free(&c->index, row);
}

void
purge_rows(struct courier *c, uint32_t message, const struct letter *l)
{
    uint32_t next, n = 0;
    char text[SPOOL_ID_TEXT];
    struct spool_id id = courier_id(c, index_message(&c->index, message));

    if (!c->purges)
        return;
    for (uint32_t row = index_message(&c->index, message)->rows; row != INDEX_NONE; row = next) {
        const struct purge *p = purge_of(c, row, l);
        next = index_row(&c->index, row)->sibling;
        if (!p)
            continue;
        /* Of what is read at a start the former courier told, but for what a connection had. */
        if (c->recovered || (index_row(&c->index, row)->flags & ROW_INTENT))
            c->purged(c, message, &row, 1, str_c(p->reason));
        purge_row(c, p, row);
        n++;
    }
    if (n > 0 && c->recovered)
        event_notice(
            "%u recipients of message %s were removed: it was under way when mail like it was", n,
            spool_id_show(&id, text));
}

void
purges_copied(struct courier *c, uint32_t epoch, uint64_t seq, uint32_t own)
{
    for (const struct purge *p = c->purges; p; p = p->next) {
        if (p->epoch == epoch && seq < p->below && purge_is_kept(c, p))
            segments_refer(&c->segments, p->slot, own);
    }
}

/* No message of that epoch can come any more that was there when the purge was made. */
static bool
purge_is_over(const struct courier *c, const struct purge *p)
{
    if (!c->recovered || c->unread > 0)
        return false;
    for (unsigned i = 0; i < COURIER_TAILS; i++) {
        if (c->tails[i].tail && c->tails[i].epoch == p->epoch &&
            (!c->tails[i].caught_up || c->tails[i].ended))
            return false;
    }
    return true;
}

void
purges_tick(struct courier *c)
{
    struct purge *next;

    for (struct purge *p = c->purges; p; p = next) {
        next = p->next;
        if (p->pinned && !c->purge_waiter && purge_is_over(c, p)) {
            p->pinned = false;
            segments_unpin(&c->segments, p->slot);
        }
        if (p->failed || (p->durable && !p->pinned &&
                          segments_find(&c->segments, segments_at(&c->segments, p->slot)->s.number,
                                        p->generation) != p->slot))
            purge_drop(c, p);
    }
}
