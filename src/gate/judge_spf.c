/*
 * gate/judge_spf.c - how SPF came to its results, for the decision record in the log.
 *
 * Called when the record is made. Copies views, decides nothing.
 */
#include "gate/session.h"

_Static_assert((int)RECORD_SPF_MATCH == SPF_STEP_MATCH &&
                   (int)RECORD_SPF_NO_MATCH == SPF_STEP_NO_MATCH &&
                   (int)RECORD_SPF_FOLLOWED == SPF_STEP_FOLLOWED &&
                   (int)RECORD_SPF_ERROR == SPF_STEP_ERROR &&
                   (int)RECORD_SPF_MAILFROM == SPF_MAILFROM && (int)RECORD_SPF_HELO == SPF_HELO,
               "what SPF found is written as it is");

static uint8_t
clipped(unsigned n)
{
    return (uint8_t)MIN(n, (unsigned)UINT8_MAX);
}

static void
take(struct record *r, struct arena *arena, const struct spf_verdict *v)
{
    struct record_spf *spf = &r->spf[r->nspf];
    unsigned nsteps = MIN(v->nsteps, RECORD_SPF_STEPS_MAX);
    size_t bytes = 0;

    if (!nsteps) /* no policy, or none that could be read: the finding says all there is */
        return;
    *spf = (struct record_spf){.identity = (uint8_t)v->identity,
                               .result = str_c(spf_result_name(v->result)),
                               .domain = v->domain,
                               .terms = clipped(v->terms),
                               .voids = clipped(v->voids),
                               .queries = clipped(v->queries),
                               .steps = ARENA_ARRAY(arena, struct record_spf_step, nsteps)};
    if (!spf->steps)
        return;
    for (unsigned i = 0; i < v->nsteps; i++) {
        const struct spf_step *s = &v->steps[i];

        record_spf_add(spf,
                       &(struct record_spf_step){.record = s->record,
                                                 .term = s->term,
                                                 .target = s->target,
                                                 .outcome = (uint8_t)s->outcome,
                                                 .depth = s->depth,
                                                 .lookups = s->lookups},
                       &bytes);
    }
    spf->lost = clipped(spf->lost + v->steps_lost);
    r->nspf++;
}

void
judge_spf(struct tx *tx, struct record *r)
{
    const struct auth_evidence *e = &tx->auth;

    if (!e->common) /* nobody looked */
        return;
    if (e->have_mailfrom)
        take(r, &tx->arena, &e->mailfrom);
    if (e->have_helo)
        take(r, &tx->arena, &e->helo);
}
