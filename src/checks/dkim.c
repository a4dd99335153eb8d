/*
 * checks/dkim.c - do the message's signatures hold? (docs/checks/dkim.md)
 *
 * When the header is judged, with the whole body hashed. A signature that fails is worth as much as
 * none (RFC 6376 6.1); what those that hold are worth is for dmarc and alignment.
 */
#include "checks/evaluate.h"
#include "checks/table.h"

/* By enum dkim_status. The weight counts once a message, and a failure only if none passes. */
static const struct {
    const char *name;
    int weight;
} results[] = {
    [DKIM_PASS] = {"pass", -20},         [DKIM_FAIL] = {"fail", 50},
    [DKIM_NEUTRAL] = {"neutral", 0},     [DKIM_POLICY] = {"policy", 30},
    [DKIM_TEMPERROR] = {"temperror", 0}, [DKIM_PERMERROR] = {"permerror", 20},
};

static void
dkim_find(struct check_run *run, const struct dkim_verifier *v)
{
    bool weighed[ARRAY_LEN(results)] = {false}, passes = false;

    for (unsigned i = 0; i < v->n; i++)
        passes |= v->results[i].status == DKIM_PASS;
    for (unsigned i = 0; i < v->n; i++) {
        const struct dkim_result *r = &v->results[i];
        struct finding f = {.name = results[r->status].name,
                            .input = r->domain_ascii[0] ? str_c(r->domain_ascii) : r->domain,
                            .rule = r->status == DKIM_PASS ? r->selector
                                                           : str_c(dkim_reason_text(r->reason))};

        if (!weighed[r->status] && (r->status == DKIM_PASS || !passes))
            f.weight = results[r->status].weight;
        weighed[r->status] = true;
        check_find(run, &f);
    }
    if (v->skipped)
        check_find(run, &(struct finding){.name = "too-many", .weight = 100});
}

static enum step
dkim_run(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const one[] = {auth_evidence_dkim};
    const struct auth_evidence *e = check_facts(run)->auth;

    if (!e || !e->dkim)
        return STEP_NEXT;
    if (!checks_evaluate(run, event, one, ARRAY_LEN(one)))
        return STEP_WAIT;
    if (e->have_dkim)
        dkim_find(run, e->dkim);
    return STEP_NEXT;
}

static const char *const dkim_findings[] = {"pass",      "fail",      "neutral",  "policy",
                                            "temperror", "permerror", "too-many", NULL};

const struct check check_dkim = {
    .name = "dkim",
    .stage = STAGE_HEADER,
    .join = STAGE_HEADER,
    .place = CHECK_IN_GATE,
    .cost = 40,
    .mode = CHECK_ON,
    .findings = dkim_findings,
    .run = dkim_run,
};
