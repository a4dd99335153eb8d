/*
 * courier/purge.h - removal of many messages by one record for each epoch that has some of them.
 *
 * A purge names an epoch, a sequence below which it acts, and what the mail must have: domain,
 * tenant, sender. It is durable before the first row goes; a start that reads it takes the same
 * rows away again as their messages are read. A row that a connection has is let alone, and goes
 * when it comes back unsent.
 */
#ifndef GAPURA_COURIER_PURGE_H
#define GAPURA_COURIER_PURGE_H

#include "courier/letter.h"
#include "spool/record.h"

struct purge {
    struct spool_id id;                      /* its own name */
    uint32_t epoch;                          /* of the messages */
    uint64_t below;                          /* sequence */
    char *domain, *tenant, *sender, *reason; /* "": any */
    uint32_t slot;                           /* own segment that holds the record */
    uint64_t generation;
    bool durable, failed, pinned; /* pinned: rows that it acts on may still come */
    struct purge *next;
};

/* Writes one for each epoch that has open messages; *ret_last gets the name of the last of them:
 * when that is durable all are. 0, ERR_NOTFOUND (nothing is open), ERR_LIMIT, ERR_NOMEM. The caller
 * sets courier.purge_waiter, which is called then, until it has gone over the rows. */
int purge_write(struct courier *, const struct spool_scope *, struct spool_id *ret_last);
/* 1: durable, 0: not yet, negative: it was given up. */
int purge_state(const struct courier *, const struct spool_id *last);
/* The purge that acts on this row, or NULL; the letter is of its message, or NULL: it is loaded. */
struct purge *purge_of(struct courier *, uint32_t row, const struct letter *);
/* Read back; it becomes the first of courier.purges, and the caller goes over what it acts on. */
void purge_record(struct courier *, uint32_t slot, const struct spool_scope *);
/* Rows of a message that was just read: those that a purge acts on are freed. */
void purge_rows(struct courier *, uint32_t message, const struct letter *);
/* One row that no connection has: freed, with the purge's segment kept for its message's. */
void purge_row(struct courier *, const struct purge *, uint32_t row);
/* A copy of that message is durable in our own segment: purges that took it away while the copy was
 * under way are kept for as long as that segment. */
void purges_copied(struct courier *, uint32_t epoch, uint64_t seq, uint32_t own);
void purges_tick(struct courier *); /* forgets those whose record is gone */
void purges_free(struct courier *);

#endif
