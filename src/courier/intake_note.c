/*
 * courier/intake_note.c - intents and outcomes read from our own former epochs.
 *
 * Called by intake during recovery, and for tails whose messages come after what was said of them.
 */
#include "courier/intake_inner.h"
#include "courier/row.h"
#include "spool/record.h"

/* What an outcome makes of one row. */
static void
row_apply(struct courier *c, uint32_t row, const struct early_note *n)
{
    struct index_row *r = index_row(&c->index, row);

    if (n->kind == EARLY_INTENT) {
        r->flags |= ROW_INTENT;
        if (r->state != ROW_ACTIVE)
            index_set(&c->index, row, ROW_ACTIVE); /* it was out of its list then */
        return;
    }
    r->attempts = n->attempts;
    if (n->attempts > 0) /* by what is not written down: the longer time counts */
        r->flags |= ROW_ROUTED;
    if (n->told)
        r->flags |= ROW_WARNED;
    if (n->flags & EARLY_F_CRASH)
        r->flags |= ROW_CRASHED;
    row_became(c, row,
               &(struct row_change){.result = n->result,
                                    .closes = n->flags & EARLY_F_CLOSES,
                                    .due = n->due,
                                    .read_back = true});
}

void
intake_note_apply(struct courier *c, uint32_t message, const struct early_note *n)
{
    uint32_t row, next;

    if (n->kind == EARLY_COPIED)
        return;
    if (n->ordinal != EARLY_ALL) {
        row = index_row_find(&c->index, message, n->ordinal);
        if (row != INDEX_NONE)
            row_apply(c, row, n);
        return;
    }
    for (row = index_message(&c->index, message)->rows; row != INDEX_NONE; row = next) {
        next = index_row(&c->index, row)->sibling;
        row_apply(c, row, n);
    }
}

int
intake_note_keep(struct courier *c, uint32_t epoch, const struct early_note *note)
{
    int err = early_add(&c->early, epoch, note);

    if (err == 0)
        segments_pin(&c->segments, note->own);
    return err;
}

/* Applies to the message if it is there, keeps it for later if it is still to come. */
static int
note_each(struct courier *c, const struct spool_id *id, struct early_note *note,
          struct str ordinals, uint32_t n)
{
    uint32_t message = index_message_find(&c->index, id->epoch, id->seq);
    bool later = message == INDEX_NONE && intake_is_later(c, id->epoch);
    int err = 0;

    if (message == INDEX_NONE && !later)
        return 0;
    if (!later)
        segments_refer(&c->segments, note->own, index_message(&c->index, message)->segment);
    for (uint32_t i = 0; err == 0 && i < MAX(n, 1u); i++) {
        note->ordinal = n ? spool_ordinal_at(ordinals, i) : EARLY_ALL;
        if (later)
            err = intake_note_keep(c, id->epoch, note);
        else
            intake_note_apply(c, message, note);
    }
    if (!later && index_message(&c->index, message)->open == 0)
        intake_message_over(c, message);
    return err;
}

/* When a result that is read back is due. Of one that was written at a time which is still to come
 * the clock went back since: what was meant to be waited is, from now on, and no longer. */
static uint64_t
due_now(struct courier *c, const struct spool_outcome *o)
{
    uint64_t now = courier_wall(c);

    if (o->wall <= now)
        return o->due;
    return now + (o->due > o->wall ? o->due - o->wall : 0);
}

int
intake_note(struct courier *c, uint32_t slot, const struct spool_record *r)
{
    struct early_note note = {.own = (uint16_t)slot};
    struct spool_outcome o;
    struct spool_intent i;

    if (r->type == SPOOL_INTENT && spool_intent_decode(r, &i) == 0) {
        note.kind = EARLY_INTENT;
        note.seq = i.id.seq;
        return note_each(c, &i.id, &note, i.ordinals_wire, i.nordinals);
    }
    if (r->type != SPOOL_OUTCOME || spool_outcome_decode(r, &o) < 0)
        return 0;
    note.kind = EARLY_OUTCOME;
    note.seq = o.id.seq;
    note.result = o.result & 15u;
    note.attempts = (uint8_t)MIN(o.attempts, 255u);
    c->log_wall = MAX(c->log_wall, o.wall);
    note.due = o.result == SPOOL_HELD ? reasons_number(&c->reasons, o.text)
                                      : courier_tick_of(c, due_now(c, &o));
    note.told = o.told;
    if (o.intent_open)
        note.flags |= EARLY_F_CLOSES;
    if (o.result == SPOOL_UNKNOWN && str_eq(o.text, STR(OUTCOME_CRASH_TEXT)))
        note.flags |= EARLY_F_CRASH;
    return note_each(c, &o.id, &note, o.ordinals_wire, o.nordinals);
}
