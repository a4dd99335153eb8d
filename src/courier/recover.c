/*
 * courier/recover.c - the start: everything that dead writers left, then delivery opens.
 *
 * Called by courier.c once. Message streams are read before the courier's own, since those speak
 * of them; streams that are still written come later from their tails (courier/early.h).
 */
#include "courier/intake_inner.h"
#include "courier/scope.h"

bool
intake_is_live(const struct courier *c, uint32_t epoch)
{
    for (unsigned i = 0; i < c->nlive; i++) {
        if (c->live[i] == epoch)
            return true;
    }
    for (unsigned i = 0; c->recovering && i < COURIER_TAILS; i++) {
        if (c->tails[i].tail && c->tails[i].epoch == epoch)
            return true;
    }
    return false;
}

static int
recover_pass(struct courier *c, const struct spool_listing *all, bool own, struct why *why)
{
    size_t n;
    int err;

    for (size_t at = 0; at < all->n; at += n) {
        const struct spool_segment *s = &all->items[at];
        for (n = 1; at + n < all->n && s[n].epoch == s->epoch; n++)
            ;
        /* Epochs only grow: one that is younger than ours is being written, told of or not. */
        if ((s->stream >> 8 == SPOOL_STREAM_COURIER) != own || s->epoch >= c->own_epoch ||
            intake_is_live(c, s->epoch))
            continue;
        for (size_t i = 0; i < n; i++) {
            if (segments_get(&c->segments, &s[i], own) == SEGMENT_NONE)
                return why_set(why, ERR_LIMIT, "more than %u segments in the spool", SEGMENTS_MAX);
        }
        err = spool_epoch_read(c->links.spool_dir, s, n, NULL, &intake_ops, c);
        if (err < 0)
            return why_set(why, err,
                           "epoch %u of the spool cannot be read: %s; nothing was delivered and "
                           "nothing is lost: mend what is named and start again",
                           s->epoch, err_text(err));
        intake_chunks_over(c, s->epoch);
    }
    return 0;
}

/* Rows are in the order that their messages were read: oldest first. */
static void
recover_open(struct courier *c)
{
    uint32_t n = c->index.rows.next;

    for (uint32_t i = 0; i < n; i++) {
        if (index_row(&c->index, i)->state == ROW_ACTIVE)
            intake_row_open(c, i);
    }
}

int
intake_recover(struct courier *c, const uint32_t *live, unsigned nlive, struct why *why)
{
    struct spool_listing all = {0};
    int err = spool_list(c->links.spool_dir, NULL, &all, why);

    if (err < 0)
        return err;
    if (all.unreadable > 0)
        event_alarm("%zu segment files have a damaged header and were set aside: %s; what they "
                    "hold is not delivered, the files are kept",
                    (size_t)all.unreadable, why ? why->text : "");
    c->recovering = true;
    c->live = live;
    c->nlive = nlive;
    err = recover_pass(c, &all, false, why);
    if (err == 0)
        err = recover_pass(c, &all, true, why);
    spool_listing_done(&all);
    c->recovering = false;
    c->live = NULL;
    c->nlive = 0;
    if (err < 0)
        return err;
    scopes_settle(c);
    recover_open(c);
    return 0;
}

static void
unpin(void *ctx, uint32_t own)
{
    struct courier *c = ctx;

    segments_unpin(&c->segments, own);
}

void
intake_caught_up(struct courier *c, uint32_t epoch)
{
    early_drop(&c->early, epoch, unpin, c);
}

void
intake_epoch_over(struct courier *c, uint32_t epoch)
{
    intake_chunks_over(c, epoch);
    intake_caught_up(c, epoch);
    for (uint32_t i = 0; i < c->segments.n; i++) {
        const struct segment *g = segments_at(&c->segments, i);
        if (g->used && !g->own && g->s.epoch == epoch && !g->left)
            segments_left(&c->segments, i);
    }
}
