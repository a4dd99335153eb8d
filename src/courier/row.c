/*
 * courier/row.c - what a result makes of a recipient's row.
 *
 * Called by outcome when it was just decided, and by intake when it is read back: the two must
 * agree, or a restart changes what becomes of mail. Writes no record, tells nobody.
 */
#include "courier/row.h"

#include "spool/record.h"

void
row_became(struct courier *c, uint32_t row, const struct row_change *ch)
{
    struct index_row *r = index_row(&c->index, row);

    if (ch->closes)
        r->flags &= ~ROW_INTENT & ROW_FLAGS;
    switch (ch->result) {
    case SPOOL_RETRY: /* a clear answer: a later crash is the first again */
        r->flags &= ~ROW_CRASHED & ROW_FLAGS;
        index_wait(&c->index, row, ch->due);
        courier_wheel_soon(c);
        break;
    case SPOOL_UNKNOWN:
        index_wait(&c->index, row, ch->due);
        courier_wheel_soon(c);
        break;
    case SPOOL_HELD:
        index_set(&c->index, row, ROW_HELD);
        r->due = ch->due;
        break;
    case SPOOL_RELEASED:
        r->flags &= ~(ROW_CRASHED | ROW_ASIDE) & ROW_FLAGS;
        if (ch->read_back)
            index_set(&c->index, row, ROW_ACTIVE);
        else
            index_ready(&c->index, row);
        break;
    case SPOOL_ASIDE:
        r->flags |= ROW_ASIDE;
        index_wait(&c->index, row, ch->due);
        courier_wheel_soon(c);
        break;
    default: /* settled */
        if (ch->read_back)
            index_row_free(&c->index, row);
        else
            index_set(&c->index, row, ROW_SETTLING);
        break;
    }
}
