/*
 * courier/control_change.c - queue retry, hold, release and remove.
 *
 * Called by control.c, in steps. Rows of one message that stand together get one record. A row in a
 * connection's hand is left alone.
 */
#include "courier/control.h"
#include "courier/intake.h"
#include "courier/outcome.h"
#include "courier/purge.h"
#include "courier/recover.h"
#include "courier/site_way.h"

struct change {
    uint8_t result; /* of the outcome; 0: retry, which changes the index alone */
    bool purges;    /* one record for all was written: rows go without one of their own */
    struct spool_id last;
    const char *did;
    uint64_t matched, changed;
    uint32_t message, n; /* the rows gathered so far */
    uint32_t rows[CONTROL_GROUP];
};

static struct str
change_text(const struct control_call *call)
{
    const struct change *ch = call->own;

    return ch->result == SPOOL_RELEASED ? STR("released by an operator") : call->f.reason;
}

static void
purge_flush(struct control_call *call)
{
    struct change *ch = call->own;
    struct courier *c = call->c;

    outcome_purged(c, ch->message, ch->rows, ch->n, call->f.reason);
    for (uint32_t i = 0; i < ch->n; i++) {
        const struct purge *p = purge_of(c, ch->rows[i], NULL);
        if (p)
            purge_row(c, p, ch->rows[i]);
    }
    if (index_message(&c->index, ch->message)->open == 0)
        intake_message_over(c, ch->message);
}

static void
change_flush(struct control_call *call)
{
    struct change *ch = call->own;

    if (ch->n > 0 && ch->purges)
        purge_flush(call);
    else if (ch->n > 0)
        outcome_operator(call->c, ch->message, ch->rows, ch->n, ch->result, change_text(call));
    ch->changed += ch->n;
    ch->n = 0;
}

static bool
is_held(const struct index_row *r)
{
    return r->state == ROW_HELD || (r->state == ROW_WAITING && (r->flags & ROW_ASIDE));
}

static bool
change_one(struct control_call *call, const struct walk_row *w)
{
    struct change *ch = call->own;
    const struct index_row *r = index_row(&call->c->index, w->row);

    ch->matched++;
    if (ch->purges && !purge_of(call->c, w->row, w->letter)) /* it came after the record */
        return true;
    if (r->state == ROW_ACTIVE || (ch->result == SPOOL_RELEASED && !is_held(r)))
        return true;
    if (ch->result == 0) {
        if (r->state == ROW_WAITING && !is_held(r)) {
            index_ready(&call->c->index, w->row);
            ch->changed++;
        }
        return true;
    }
    if (ch->n == CONTROL_GROUP || (ch->n > 0 && ch->message != w->message))
        change_flush(call);
    ch->message = w->message;
    ch->rows[ch->n++] = w->row;
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
        site_unblock(s);
        site_queue(s);
    }
}

static bool
change_step(struct control_call *call)
{
    struct change *ch = call->own;
    bool over = control_walk(call, false, change_one);

    change_flush(call); /* rows may change hands before the next turn */
    if (!over)
        return false;
    if (ch->result == 0) {
        unblock_sites(call->c);
        ch->changed += ch->changed == 0 && ch->matched > 0; /* ready, but their site was blocked */
    }
    if (ch->changed == 0 && ch->matched > 0)
        control_end(call, 1,
                    "%llu like that, all in a state where %s does nothing; nothing was changed",
                    (unsigned long long)ch->matched, ch->did);
    else if (ch->changed == 0)
        control_end(call, 1, "nothing that waits is like that; nothing was changed");
    else
        control_end(call, 0, "%llu recipient%s: %s", (unsigned long long)ch->changed,
                    ch->changed == 1 ? "" : "s", ch->did);
    return true;
}

/* Waits for the record, then takes the rows away; a crash in between is made good by the next
 * start.
 */
static bool
purge_step(struct control_call *call)
{
    struct change *ch = call->own;
    int state = purge_state(call->c, &ch->last);

    call->waits = state == 0;
    if (state == 0)
        return false;
    if (state < 0) {
        control_end(call, 1, "the removal could not be written; nothing was removed");
        return true;
    }
    return change_step(call);
}

/* What a record can say: no site, source or state, since those change, and no single recipient. */
static bool
purge_fits(const struct control_call *call)
{
    const struct control_filter *f = &call->f;
    size_t done, of;

    return !recover_progress(call->c, &done, &of) && !f->id.n && !f->recipient.n && !f->source.n &&
           !f->site.n && !f->state.n;
}

static void
change_done(struct control_call *call)
{
    struct change *ch = call->own;

    if (ch->purges)
        call->c->purge_waiter = NULL;
    free(call->own);
}

static void
change(struct control_call *call, uint8_t result, const char *did)
{
    const struct control_filter *f = &call->f;
    struct change *ch;

    if (!f->all && !f->id.n && !f->domain.n && !f->tenant.n && !f->sender.n && !f->recipient.n &&
        !f->source.n && !f->site.n && !f->state.n) {
        control_end(call, 2, "of what? Name an id, a filter, or --all; nothing was changed");
        return;
    }
    if ((result == SPOOL_HELD || result == SPOOL_REMOVED) && !f->reason.n) {
        control_end(call, 2, "that wants --reason TEXT; nothing was changed");
        return;
    }
    ch = calloc(1, sizeof *ch);
    if (!ch) {
        control_end(call, 1, "no memory for that now; nothing was changed");
        return;
    }
    ch->result = result;
    ch->did = did;
    call->own = ch;
    call->done = change_done;
    call->step = change_step;
}

void
control_retry(struct control_call *call)
{
    change(call, 0, "retry");
}

void
control_hold(struct control_call *call)
{
    change(call, SPOOL_HELD, "hold");
}

void
control_release(struct control_call *call)
{
    change(call, SPOOL_RELEASED, "release");
}

void
control_remove(struct control_call *call)
{
    const struct control_filter *f = &call->f;
    struct spool_scope rec = {.domain = f->domain,
                              .tenant = f->tenant,
                              .sender = f->sender,
                              .reason = f->reason,
                              .by = STR("control")};
    struct change *ch;
    int err;

    change(call, SPOOL_REMOVED, "remove");
    ch = call->own;
    if (!ch || !purge_fits(call))
        return;
    err = purge_write(call->c, &rec, &ch->last);
    if (err < 0) /* nothing waits, or too many of them: a record for each message does it too */
        return;
    ch->purges = true;
    call->c->purge_waiter = &call->turn;
    call->finishes = true;
    call->step = purge_step;
}
