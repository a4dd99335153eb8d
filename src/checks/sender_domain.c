/*
 * checks/sender_domain.c - could the sender's domain take an answer? (docs/checks/sender_domain.md)
 *
 * At MAIL. A domain that does not exist, takes no mail or lives where nobody can reach it has sent
 * nothing. A resolver that does not answer says nothing about the sender.
 */
#include "checks/evaluate.h"
#include "checks/table.h"

static const struct {
    const char *name; /* NULL: nothing is found */
    int weight;
    const char *enhanced; /* NULL: it only weighs */
    const char *what;
} results[] = {
    [AUTH_DOMAIN_OK] = {NULL, 0, NULL, NULL},
    [AUTH_DOMAIN_MISSING] = {"missing", 500, "5.1.8", "does not exist"},
    [AUTH_DOMAIN_NO_HOST] = {"no-host", 500, "5.1.8",
                             "has neither an MX record nor an address, so nobody could answer"},
    [AUTH_DOMAIN_NULL_MX] = {"null-mx", 500, "5.7.27",
                             "says by its null MX record that it takes no mail (RFC 7505)"},
    [AUTH_DOMAIN_BOGUS] = {"bogus-address", 500, "5.1.8",
                           "leads to addresses that are not public, so nobody could answer"},
    [AUTH_DOMAIN_DEAD_MX] = {"dead-mx", 200, NULL, NULL},
    [AUTH_DOMAIN_UNKNOWN] = {"unknown-now", 0, NULL, NULL},
};

static void
sender_domain_find(struct check_run *run, const struct auth_evidence *e)
{
    const struct stage_facts *facts = check_facts(run);
    struct finding f = {.name = results[e->sender].name,
                        .input = e->spf_in.domain,
                        .weight = results[e->sender].weight};
    char text[700];

    if (!f.name)
        return;
    if (!str_eq(e->sender_host, e->spf_in.domain))
        f.rule = e->sender_host;
    if (results[e->sender].enhanced) {
        str_fmt(text, sizeof(text),
                "<%.*s>: the sender's domain %s; correct the sender's address, or the DNS of %.*s",
                (int)MIN(facts->sender->text.n, (size_t)254), facts->sender->text.p,
                results[e->sender].what, STR_ARG(e->spf_in.domain));
        f.action = VERDICT_REFUSE;
        f.code = 550;
        f.enhanced = results[e->sender].enhanced;
        f.text = str_c(text);
    }
    check_find(run, &f);
}

static enum step
sender_domain_run(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const one[] = {auth_evidence_sender};
    const struct stage_facts *facts = check_facts(run);
    const struct auth_evidence *e = facts->auth;

    if (!e || facts->sender->null)
        return STEP_NEXT;
    if (facts->sender->literal) {
        check_find(run, &(struct finding){
                            .name = "literal", .input = facts->sender->domain, .weight = 200});
        return STEP_NEXT;
    }
    if (facts->serves && facts->serves(facts->served, e->spf_in.domain))
        return STEP_NEXT; /* ours: own_domain_spoof looks at it */
    if (!checks_evaluate(run, event, one, ARRAY_LEN(one)))
        return STEP_WAIT;
    if (e->have_sender)
        sender_domain_find(run, e);
    return STEP_NEXT;
}

static const char *const sender_domain_findings[] = {
    "missing", "no-host", "null-mx", "bogus-address", "dead-mx", "literal", "unknown-now", NULL};

const struct check check_sender_domain = {
    .name = "sender_domain",
    .stage = STAGE_MAIL,
    .join = STAGE_MAIL,
    .place = CHECK_IN_GATE,
    .cost = 20,
    .mode = CHECK_ON,
    .findings = sender_domain_findings,
    .run = sender_domain_run,
};
