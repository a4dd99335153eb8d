/*
 * checks/arc.c - does the chain of those who handed the message on hold? (docs/checks/arc.md)
 *
 * When the header is judged. A chain proves who said what; whose word counts is
 * `verify.arc_trusted`.
 */
#include "checks/evaluate.h"
#include "checks/table.h"

static void
arc_find(struct check_run *run, const struct auth_evidence *e)
{
    static const struct {
        const char *name;
        int weight;
    } results[] = {
        [ARC_NONE] = {"none", 0},
        [ARC_PASS] = {"pass", 0},
        [ARC_FAIL] = {"fail", 50},
        [ARC_TEMPERROR] = {"temperror", 0},
    };
    const struct arc_result *r = &e->chain;
    struct dkim_sig newest;
    struct finding f = {.name = results[r->cv].name, .weight = results[r->cv].weight};

    if (r->n && arc_sealer(e->arc, r->n, &newest))
        f.input = newest.domain;
    if (r->cv == ARC_PASS && r->trusted_from)
        f.name = "trusted";
    if (r->cv != ARC_PASS)
        f.rule = str_c(r->text);
    check_find(run, &f);
}

static enum step
arc_run_row(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const one[] = {auth_evidence_arc};
    const struct auth_evidence *e = check_facts(run)->auth;

    if (!e || !e->arc)
        return STEP_NEXT;
    if (!checks_evaluate(run, event, one, ARRAY_LEN(one)))
        return STEP_WAIT;
    if (e->have_arc)
        arc_find(run, e);
    return STEP_NEXT;
}

static const char *const arc_findings[] = {"none", "pass", "trusted", "fail", "temperror", NULL};

const struct check check_arc = {
    .name = "arc",
    .stage = STAGE_HEADER,
    .join = STAGE_HEADER,
    .place = CHECK_IN_GATE,
    .cost = 41,
    .mode = CHECK_ON,
    .findings = arc_findings,
    .run = arc_run_row,
};
