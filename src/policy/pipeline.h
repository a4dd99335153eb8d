/*
 * policy/pipeline.h - the plan of rows, made from the settings, and one session's walk over it.
 *
 * For the gate, which owns both; rows see policy/stage.h only. Everything is cancelled by
 * pipeline_done() or, for a message's rows, by pipeline_forget().
 */
#ifndef GAPURA_POLICY_PIPELINE_H
#define GAPURA_POLICY_PIPELINE_H

#include "net/dns_quota.h"
#include "policy/stage.h"

#define STAGE_ROWS_MAX 32u
struct stage_plan {
    const struct check *rows[STAGE_ROWS_MAX];
    uint8_t modes[STAGE_ROWS_MAX]; /* enum check_mode, never OFF */
    unsigned n;
    unsigned first[STAGE_MAX_ + 1]; /* rows of stage s: first[s] .. first[s + 1] - 1 */
    size_t memory;                  /* of all rows */
    uint64_t deadline;              /* ns that one stage may wait for answers */
};
/* mode() gives the mode of a row by settings, or a negative number for the row's own.
 * ERR_LIMIT: more rows than the plan holds. */
int stage_plan_build(struct stage_plan *ret, const struct check *const *checks, size_t n,
                     int (*mode)(void *ctx, const char *name), void *ctx, uint64_t deadline);

struct pipeline {
    const struct stage_plan *plan;
    struct stage_facts *facts;
    struct loop *loop;
    struct dns_client *dns;  /* may be NULL */
    struct dns_quota *quota; /* on whose behalf it is asked; the owner sets it, NULL: the house's */
    struct check_run *runs;  /* plan->n, and their memory behind them */
    struct check_ask *spare; /* for the next questions */
    char *client_name;
    struct loop_timer timer;
    void (*done)(void *ctx, const struct finding *decisive);
    void *ctx;
    uint64_t ends; /* mono ns: the deadline of the stage that waits */
    uint8_t stage; /* the one that waits; STAGE_MAX_ if none */
    bool inside;   /* rows are being started: no completion from within */
};
/* Borrows everything. ERR_NOMEM. */
int pipeline_init(struct pipeline *, const struct stage_plan *, struct stage_facts *, struct loop *,
                  struct dns_client *, void (*done)(void *ctx, const struct finding *decisive),
                  void *ctx);
/* Nothing is asked or told any more; the client's name stays readable. Safe on a zeroed one. */
void pipeline_stop(struct pipeline *);
void pipeline_done(struct pipeline *); /* likewise; also behind pipeline_stop() */
/* Runs a stage; findings of its rows go to v. True: over, *ret_decisive is set (NULL: go on).
 * False: done() will be called from the loop. */
bool pipeline_run(struct pipeline *, enum stage, struct verdict *v,
                  const struct finding **ret_decisive);
/* The message is over: rows of MAIL and later stages are cancelled. */
void pipeline_forget(struct pipeline *);

#endif
