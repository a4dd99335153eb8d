/*
 * courier/explain.h - what the log says of some messages, gathered in a thread of its own.
 *
 * The thread opens segment files by itself and shares nothing with the loop but the job, which is
 * the loop's again when it is told of. What it gathers has a ceiling.
 */
#ifndef GAPURA_COURIER_EXPLAIN_H
#define GAPURA_COURIER_EXPLAIN_H

#include <stdatomic.h>

#include "courier/inner.h"
#include "store/worker.h"

#define EXPLAIN_IDS 20u

struct explain_found {
    struct spool_record record; /* its payload lies behind this struct */
    uint32_t node, epoch;       /* of the segment it was read from */
};
struct explain_list {
    struct explain_found **items; /* the message or its oldest copy first, then as they were read */
    size_t n, cap;
};
struct explain_read {
    struct worker_job job;
    char *dir;
    struct str address; /* or Message-ID, its own copy; ids are looked for first. p NULL: one id */
    struct spool_id ids[EXPLAIN_IDS];
    size_t nids;
    struct explain_list lists[EXPLAIN_IDS];
    size_t bytes;
    bool older, cut; /* more messages, or more records, than are told */
    int err;
    int unread; /* what the disk did not give, which is left out: -errno, or 0 */
    atomic_bool stop;
    void (*ready)(void *ctx);
    void *ctx;
};

/* ready() is called in the loop, later, unless explain_read_drop() came before. 0, ERR_LIMIT (too
 * many run), ERR_NOMEM. */
int explain_read_start(struct explain_read **ret, struct courier *, struct str address,
                       const struct spool_id *, void (*ready)(void *ctx), void *ctx);
/* Frees it now, or when the thread has let go of it. */
void explain_read_drop(struct explain_read *);
void explain_readers_free(struct courier *);

#endif
