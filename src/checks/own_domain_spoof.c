/*
 * checks/own_domain_spoof.c - strangers that write as one of ours (docs/checks/own_domain_spoof.md)
 *
 * Last, when authentication has spoken. Begins in observe mode: services that send in our name and
 * mailing lists have to be found first, and the events of this check find them.
 */
#include "checks/author.h"
#include "checks/evaluate.h"
#include "checks/table.h"

static void
spoof_find(struct check_run *run, const char *name, struct str domain, const char *enhanced)
{
    const struct stage_facts *facts = check_facts(run);
    char text[700], found[400], ip[48];

    author_shown(facts->auth, found, sizeof(found));
    str_fmt(text, sizeof(text),
            "%.*s is ours, and nothing proves that %s may send for it (%s); whoever runs this "
            "service for us writes to postmaster@%.*s",
            STR_ARG(domain), addr_show(&facts->client.addr, ip), found, STR_ARG(facts->hostname));
    check_find(run, &(struct finding){.name = name,
                                      .input = domain,
                                      .rule = facts->client_name,
                                      .weight = 500,
                                      .action = VERDICT_REFUSE,
                                      .code = 550,
                                      .enhanced = enhanced,
                                      .text = str_c(text)});
}

/* Who cannot be told to be one of ours now comes again: a chain or a signature whose keys nobody
 * answers for would get him through else. */
static void
spoof_put_off(struct check_run *run, struct str domain)
{
    char text[400];

    str_fmt(text, sizeof(text),
            "%.*s is ours, and whether this is its mail cannot be found out now; try again later",
            (int)MIN(domain.n, (size_t)255), domain.p);
    check_find(run, &(struct finding){.name = "unsure",
                                      .input = domain,
                                      .action = VERDICT_TEMPFAIL,
                                      .code = 451,
                                      .enhanced = "4.4.3",
                                      .text = str_c(text)});
}

static void
spoof_judge(struct check_run *run)
{
    const struct stage_facts *facts = check_facts(run);
    const struct auth_evidence *e = facts->auth;
    struct str domain = author_ours(facts);

    if (author_known(facts).n)
        return;
    if (domain.n && !auth_evidence_proved(e)) {
        if (author_unsure(e))
            spoof_put_off(run, domain);
        else
            spoof_find(run, "author", domain, author_code(e));
        return;
    }
    if (!domain.n && author_served(facts, e->spf_in.domain) && e->have_mailfrom &&
        e->mailfrom.result != SPF_PASS && e->mailfrom.result != SPF_TEMPERROR)
        spoof_find(run, "sender", e->spf_in.domain, "5.7.23");
}

static enum step
spoof_run(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const one[] = {auth_evidence_dmarc};
    const struct auth_evidence *e = check_facts(run)->auth;

    if (!e || !e->fed)
        return STEP_NEXT;
    if (event == CHECK_START)
        return STEP_AFTER;
    if (!checks_evaluate(run, event, one, ARRAY_LEN(one)))
        return STEP_WAIT;
    spoof_judge(run);
    return STEP_NEXT;
}

static const char *const own_domain_spoof_findings[] = {"author", "sender", "unsure", NULL};

const struct check check_own_domain_spoof = {
    .name = "own_domain_spoof",
    .stage = STAGE_BODY,
    .join = STAGE_BODY,
    .place = CHECK_IN_GATE,
    .cost = 50,
    .mode = CHECK_OBSERVE,
    .findings = own_domain_spoof_findings,
    .run = spoof_run,
};
