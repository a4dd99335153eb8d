/*
 * checks/alignment.c - only mail whose author is proved or known (docs/checks/alignment.md)
 *
 * Enforces the setting `require`, last of all. Refuses with words that a foreign postmaster can act
 * on; what DNS that does not answer could still prove is put off, never refused.
 */
#include "checks/author.h"
#include "checks/evaluate.h"
#include "checks/table.h"
#include "mail/header.h"
#include "store/settings.h"

static bool
is_report(struct str header)
{
    struct header_field f;
    struct str type;

    if (!header_find(header, STR("Content-Type"), &f))
        return false;
    type = str_trim(f.value);
    return str_istarts(type, STR("multipart/report")) &&
           (type.n == 16 || strchr("; \t\r(", type.p[16]));
}

/* Could it be a report of somebody else's mail server? None reports under a name of ours. */
static bool
may_return(const struct stage_facts *facts)
{
    return facts->returns != STAGE_RETURNS_NOT && is_report(facts->header) && !author_ours(facts).n;
}

/* The name of the finding if this mail needs no proof; *ret_rule says more. */
static const char *
alignment_exempt(const struct stage_facts *facts, struct str *ret_rule)
{
    *ret_rule = author_known(facts);
    if (ret_rule->n)
        return "known";
    if (facts->rcpts_office)
        return "office";
    if (facts->rcpts_reports && is_report(facts->header))
        return "report";
    if (facts->returns == STAGE_RETURNS_OURS && may_return(facts))
        return "return";
    return NULL;
}

/* Is something not known for a reason of our own, or since DNS does not answer? Where proof is
 * required SPF and DKIM are always looked at (gate/setup.c): no result is none that counts. */
static bool
alignment_unsure(const struct stage_facts *facts, bool observe)
{
    const struct auth_evidence *e = facts->auth;
    bool spf = e->spf_in.domain.n ? e->have_mailfrom : e->have_helo;

    if (author_unsure(e) || (facts->returns == STAGE_RETURNS_UNKNOWN && may_return(facts)))
        return true;
    return !observe && e->author.n && (!spf || (e->dkim && !e->have_dkim));
}

static void
alignment_text(const struct stage_facts *facts, char *dst, size_t cap)
{
    const struct auth_evidence *e = facts->auth;
    const char *oddity = "It names no author's domain.";
    char found[400], ip[48];

    if (e->author.n) {
        author_shown(e, found, sizeof(found));
        str_fmt(dst, cap,
                "Mail from %.100s is taken only if SPF or DKIM proves it, and neither does: %s. "
                "Send it through a server that the SPF record of %.100s names (this one is %s), "
                "or sign it with DKIM, d=%.100s; questions go to postmaster@%.*s",
                e->author.domain, found, e->author.domain, addr_show(&facts->client.addr, ip),
                e->author.domain, STR_ARG(facts->hostname));
        return;
    }
    for (unsigned bit = 1; bit <= DMARC_FROM_SHOWN; bit <<= 1) {
        if (e->author.oddities & bit) {
            oddity = dmarc_from_text(bit);
            break;
        }
    }
    str_fmt(dst, cap,
            "Mail is taken only from an author whom SPF or DKIM proves, and From does not name "
            "one: %s Write one From field with one address; questions go to postmaster@%.*s",
            oddity, STR_ARG(facts->hostname));
}

static void
alignment_judge(struct check_run *run, bool observe)
{
    const struct stage_facts *facts = check_facts(run);
    const struct auth_evidence *e = facts->auth;
    struct finding f = {.input = str_of(e->author.domain, e->author.n), .observed = observe};
    char text[1100];

    f.name = alignment_exempt(facts, &f.rule);
    if (!f.name && alignment_unsure(facts, observe)) {
        f.name = "unsure";
        f.action = VERDICT_TEMPFAIL;
        f.code = 451;
        f.enhanced = "4.4.3";
        str_fmt(text, sizeof(text),
                "Whether this is mail of %.100s cannot be found out now; try again later",
                e->author.n ? e->author.domain : "its author");
        f.text = str_c(text);
    } else if (!f.name) {
        f.name = "unproved";
        f.weight = 300;
        f.action = VERDICT_REFUSE;
        f.code = 550;
        f.enhanced = author_code(e);
        alignment_text(facts, text, sizeof(text));
        f.text = str_c(text);
    }
    check_find(run, &f);
}

static enum step
alignment_run(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const one[] = {auth_evidence_dmarc};
    const struct settings_main *conf = conf_get(check_facts(run)->conf, "");
    const struct auth_evidence *e = check_facts(run)->auth;

    if (!e || !e->fed || conf->require == REQUIRE_NONE)
        return STEP_NEXT;
    if (event == CHECK_START)
        return STEP_AFTER;
    if (!checks_evaluate(run, event, one, ARRAY_LEN(one)))
        return STEP_WAIT;
    if (!auth_evidence_proved(e))
        alignment_judge(run, conf->require == REQUIRE_OBSERVE);
    return STEP_NEXT;
}

static const char *const alignment_findings[] = {"known",  "office",   "report", "return",
                                                 "unsure", "unproved", NULL};

const struct check check_alignment = {
    .name = "alignment",
    .stage = STAGE_BODY,
    .join = STAGE_BODY,
    .place = CHECK_IN_GATE,
    .cost = 60,
    .mode = CHECK_ON,
    .findings = alignment_findings,
    .run = alignment_run,
};
