/*
 * checks/spf.c - may this client send for the domains of MAIL FROM and HELO? (docs/checks/spf.md)
 *
 * Starts at MAIL and goes on in the background until the header is judged: its answer is needed
 * there, and alone it never ends a session, since forwarders break it.
 */
#include "checks/evaluate.h"
#include "checks/table.h"

static const struct {
    const char *name, *helo; /* NULL: nothing is found */
    int weight, helo_weight;
} results[] = {
    [SPF_NONE] = {NULL, NULL, 0, 0},
    [SPF_NEUTRAL] = {NULL, NULL, 0, 0},
    [SPF_PASS] = {"pass", "helo-pass", -20, 0},
    [SPF_FAIL] = {"fail", "helo-fail", 100, 100},
    [SPF_SOFTFAIL] = {"softfail", "helo-softfail", 30, 30},
    [SPF_TEMPERROR] = {"temperror", NULL, 0, 0},
    [SPF_PERMERROR] = {"permerror", NULL, 30, 0},
};

static void
spf_find(struct check_run *run, const struct spf_verdict *v, bool helo)
{
    const char *name = helo ? results[v->result].helo : results[v->result].name;

    if (name)
        check_find(run,
                   &(struct finding){
                       .name = name,
                       .input = v->domain,
                       .rule = v->mechanism.n ? v->mechanism : v->why,
                       .weight = helo ? results[v->result].helo_weight : results[v->result].weight,
                   });
}

static enum step
spf_run_row(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const both[] = {auth_evidence_helo, auth_evidence_mailfrom};
    const struct auth_evidence *e = check_facts(run)->auth;

    if (!e)
        return STEP_NEXT;
    if (!checks_evaluate(run, event, both, ARRAY_LEN(both)))
        return STEP_WAIT;
    if (e->have_helo)
        spf_find(run, &e->helo, true);
    if (e->have_mailfrom)
        spf_find(run, &e->mailfrom, false);
    return STEP_NEXT;
}

static const char *const spf_findings[] = {"pass",      "fail",          "softfail",
                                           "permerror", "temperror",     "helo-pass",
                                           "helo-fail", "helo-softfail", NULL};

const struct check check_spf = {
    .name = "spf",
    .stage = STAGE_MAIL,
    .join = STAGE_HEADER,
    .place = CHECK_IN_GATE,
    .cost = 30,
    .mode = CHECK_ON,
    .findings = spf_findings,
    .run = spf_run_row,
};
