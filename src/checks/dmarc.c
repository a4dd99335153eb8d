/*
 * checks/dmarc.c - what does the author's domain want, and what is odd about From?
 * (docs/checks/dmarc.md)
 *
 * At the end, when SPF, DKIM and ARC have spoken. A published reject alone refuses nothing: lists
 * and forwarders break alignment of honest mail (RFC 9989 7.4), so it weighs.
 */
#include "checks/evaluate.h"
#include "checks/table.h"

static const struct {
    unsigned bit;
    int weight;
} oddities[] = {
    {DMARC_FROM_MISSING, 300},   {DMARC_FROM_REPEATED, 400}, {DMARC_FROM_MALFORMED, 300},
    {DMARC_FROM_NO_DOMAIN, 200}, {DMARC_FROM_SEVERAL, 50},   {DMARC_FROM_DOMAINS, 300},
    {DMARC_FROM_SHOWN, 150},
};

static void
dmarc_find_author(struct check_run *run, const struct dmarc_author *a)
{
    for (size_t i = 0; i < ARRAY_LEN(oddities); i++) {
        if (a->oddities & oddities[i].bit)
            check_find(run, &(struct finding){.name = dmarc_from_name(oddities[i].bit),
                                              .input = str_of(a->domains[0].text,
                                                              a->ndomains ? a->domains[0].n : 0),
                                              .weight = oddities[i].weight});
    }
}

/* What the author's domain asks for, where the message is not proved to be his. */
static void
dmarc_find_failure(struct check_run *run, const struct auth_evidence *e)
{
    static const struct {
        const char *name;
        int weight;
    } policies[] = {
        [DMARC_NONE] = {"fail", 50},
        [DMARC_QUARANTINE] = {"fail-quarantine", 400},
        [DMARC_REJECT] = {"fail-reject", 500},
    };
    const struct dmarc_verdict *v = &e->dmarc;

    if (e->vouched) {
        check_find(run, &(struct finding){.name = "vouched", .input = v->domain});
        return;
    }
    check_find(run, &(struct finding){.name = policies[v->policy].name,
                                      .input = v->domain,
                                      .rule = v->policy_domain,
                                      .weight = policies[v->policy].weight});
}

static void
dmarc_find(struct check_run *run, const struct auth_evidence *e)
{
    const struct dmarc_verdict *v = &e->dmarc;

    dmarc_find_author(run, &e->author);
    switch (v->result) {
    case DMARC_RESULT_PASS:
        check_find(run,
                   &(struct finding){.name = "pass",
                                     .input = v->domain,
                                     .rule = v->spf_aligned && v->dkim_aligned ? STR("SPF and DKIM")
                                             : v->spf_aligned                  ? STR("SPF")
                                                                               : STR("DKIM"),
                                     .weight = -50});
        break;
    case DMARC_RESULT_FAIL:
        dmarc_find_failure(run, e);
        break;
    case DMARC_RESULT_TEMPERROR:
    case DMARC_RESULT_PERMERROR:
        check_find(run, &(struct finding){.name = v->result == DMARC_RESULT_TEMPERROR ? "temperror"
                                                                                      : "permerror",
                                          .input = v->domain,
                                          .rule = str_c(v->why)});
        break;
    case DMARC_RESULT_NONE:
        break;
    }
}

static enum step
dmarc_run_row(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const one[] = {auth_evidence_dmarc};
    const struct auth_evidence *e = check_facts(run)->auth;

    if (!e || !e->fed)
        return STEP_NEXT;
    if (!checks_evaluate(run, event, one, ARRAY_LEN(one)))
        return STEP_WAIT;
    if (e->have_dmarc)
        dmarc_find(run, e);
    return STEP_NEXT;
}

static const char *const dmarc_findings[] = {
    "pass",           "fail",         "fail-quarantine", "fail-reject",   "vouched",
    "temperror",      "permerror",    "from-missing",    "from-repeated", "from-malformed",
    "from-no-domain", "from-several", "from-domains",    "from-shown",    NULL};

const struct check check_dmarc = {
    .name = "dmarc",
    .stage = STAGE_BODY,
    .join = STAGE_BODY,
    .place = CHECK_IN_GATE,
    .cost = 40,
    .mode = CHECK_ON,
    .findings = dmarc_findings,
    .run = dmarc_run_row,
};
