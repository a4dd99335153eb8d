/*
 * courier/unread.c - see courier/unread.h.
 *
 * Writes no record but that of a hold: a crash would only try it again sooner.
 */
#include "courier/unread.h"

#include <errno.h>

#include "core/event.h"
#include "courier/outcome.h"

#define PASSES_GAP (5 * NS_PER_S)

/* Between the tries that an error of the disk gets. */
static const uint64_t gaps[] = {5 * NS_PER_S, 60 * NS_PER_S};

/* It says nothing about the bytes: memory and descriptors come back, compaction moved them. */
static bool
passes(int err)
{
    return err == ERR_NOMEM || err == ERR_STALE || err == -ENOMEM || err == -EMFILE ||
           err == -ENFILE || err == -EINTR || err == -EAGAIN;
}

static void
unread_told(struct courier *c, const struct index_message *m, int err)
{
    struct spool_id id = courier_id(c, m);
    char text[SPOOL_ID_TEXT];

    event_warning("message %s cannot be read from the log now: %s. Nothing of it was sent; it is "
                  "read again soon, and held if that fails too: look at the disk",
                  spool_id_show(&id, text), err_text(err));
}

void
unread_rows(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n, int err,
            const struct letter *l)
{
    struct index_message *m = index_message(&c->index, message);
    uint64_t gap = PASSES_GAP;

    if (!passes(err)) {
        if (err == ERR_CORRUPT || m->unread >= ARRAY_LEN(gaps)) {
            m->unread = 0;
            outcome_unreadable(c, message, rows, n, err);
            return;
        }
        gap = gaps[m->unread++];
        unread_told(c, m, err);
    }
    for (uint32_t i = 0; i < n; i++)
        index_wait(&c->index, rows[i], courier_tick_of(c, courier_wall(c) + gap));
    courier_wheel_soon(c);
    outcome_returned(c, message, rows, n, l);
}
