/*
 * checks/spf.c - may this client send for the domains of MAIL FROM and HELO? (docs/checks/spf.md)
 *
 * Starts at MAIL and goes on in the background until the header is judged: its answer is needed
 * there, and alone it never ends a session, since forwarders break it.
 */
#include "checks/evaluate.h"
#include "checks/table.h"

#define TRACE_MAX 240u /* bytes of terms in a finding; the event has all of them */

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

/* The terms that were looked at, the last one decided: "include:a.test > ip4:192.0.2.1 > -all". */
static struct str
spf_trace(const struct spf_verdict *v, char room[TRACE_MAX])
{
    size_t n = 0;

    for (unsigned i = 0; i < v->nsteps && n < TRACE_MAX - 1; i++)
        n += str_fmt(room + n, TRACE_MAX - n, "%s%.*s", i ? " > " : "", STR_ARG(v->steps[i].term));
    return n ? str_of(room, n) : v->why;
}

static void
spf_find(struct check_run *run, const struct spf_verdict *v, bool helo)
{
    const char *name = helo ? results[v->result].helo : results[v->result].name;
    bool error = v->result == SPF_TEMPERROR || v->result == SPF_PERMERROR;
    struct finding f = {.name = name, .input = v->domain, .rule = v->mechanism};
    char room[TRACE_MAX];

    if (!name)
        return;
    f.weight = helo ? results[v->result].helo_weight : results[v->result].weight;
    if (error)
        f.rule = v->why;
    else if (v->result != SPF_PASS)
        f.rule = spf_trace(v, room);
    check_find(run, &f);
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
