/*
 * checks/evaluate.h - runs evaluators of auth/ from a row: what they need is asked, all at once.
 */
#ifndef GAPURA_CHECKS_EVALUATE_H
#define GAPURA_CHECKS_EVALUATE_H

#include "auth/evidence.h"
#include "policy/stage.h"

/* Passes an event of the row on to the evaluators: false while answers are waited for (STEP_WAIT).
 * True: each is done, or cannot be. facts->auth is there. */
bool checks_evaluate(struct check_run *, enum check_event, auth_evidence_fn *const *fns, size_t n);

#endif
