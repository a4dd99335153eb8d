/*
 * checks/evaluate.c - between a pure evaluator and the pipeline's questions.
 *
 * Called by the rows spf, sender_domain, dkim, arc and dmarc. What DNS does not answer in time, and
 * what there is no room for, is known as a temporary failure: every evaluation ends.
 */
#include "checks/evaluate.h"

#include "core/clock.h"

#define PASSES_MAX 64u /* of one call, over answers that were known already */

/* The question is answered out of what is known, asked, or given up. */
static void
evaluate_take(struct check_run *run, struct auth_known *known, const struct auth_question *q,
              bool late)
{
    struct str name = str_of(q->name, q->n);
    const struct dns_answer *a = check_cached(run, name, q->type);

    if (a && auth_known_add(known, a) == 0)
        return;
    if (!a && !late && check_ask(run, name, q->type) == 0)
        return;
    if (!a && !late && run->nasks)
        return; /* as many as may be open are: the next pass asks it */
    (void)auth_known_fail(known, q);
}

static const struct dns_answer *
evaluate_cached(void *ctx, struct str name, enum dns_type type)
{
    return check_cached(ctx, name, type);
}

/* True: nothing is waited for. */
static bool
evaluate_passes(struct check_run *run, bool late, auth_evidence_fn *const *fns, size_t n)
{
    struct auth_needs needs __attribute__((uninitialized));
    struct auth_evidence *e = check_facts(run)->auth;

    for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
        uint64_t now = clock_mono();
        bool done = true;

        for (size_t i = 0; i < n; i++) {
            if (fns[i](e, now, &needs) == AUTH_DONE)
                continue;
            done = false;
            for (unsigned k = 0; k < needs.n; k++)
                evaluate_take(run, &e->known, &needs.items[k], late);
        }
        if (done)
            return true;
        if (run->nasks && !late)
            return false;
    }
    return true;
}

bool
checks_evaluate(struct check_run *run, enum check_event event, auth_evidence_fn *const *fns,
                size_t n)
{
    struct auth_evidence *e = check_facts(run)->auth;
    bool over;

    if (event == CHECK_DNS) {
        (void)auth_known_add(&e->known, run->answer);
        if (run->nasks)
            return false;
    }
    e->known.cached = evaluate_cached;
    e->known.cached_ctx = run;
    over = evaluate_passes(run, event == CHECK_TIMER, fns, n);
    e->known.cached = NULL;
    return over;
}
