/*
 * checks/recipient.c - is the recipient ours to take, and is this network harvesting addresses?
 * (docs/checks/recipient.md)
 *
 * What is known of the recipient stands in the facts; here it becomes an answer that tells a
 * foreign postmaster what to do. Without this check the gate refuses with fewer words.
 */
#include "checks/table.h"

static void
recipient_refuse(struct check_run *run, const char *name, int weight, uint16_t code,
                 const char *enhanced, const char *text)
{
    check_find(run, &(struct finding){.name = name,
                                      .input = check_facts(run)->rcpt->text,
                                      .weight = weight,
                                      .action = code < 500 ? VERDICT_TEMPFAIL : VERDICT_REFUSE,
                                      .code = code,
                                      .enhanced = enhanced,
                                      .text = str_c(text)});
}

static void
recipient_unknown(struct check_run *run, const struct stage_facts *facts)
{
    char text[900];

    if (facts->rcpt_why.n)
        str_fmt(text, sizeof(text), "<%.*s>: %.*s", STR_ARG(facts->rcpt->text),
                (int)MIN(facts->rcpt_why.n, (size_t)500), facts->rcpt_why.p);
    else
        str_fmt(text, sizeof(text),
                "<%.*s>: there is no such recipient; check the spelling, or ask postmaster@%.*s",
                STR_ARG(facts->rcpt->text), STR_ARG(facts->rcpt->domain));
    recipient_refuse(run, "unknown", 50, facts->rcpt_code / 100 == 5 ? facts->rcpt_code : 550,
                     facts->rcpt_enhanced ? facts->rcpt_enhanced : "5.1.1", text);
}

static void
recipient_not_served(struct check_run *run, const struct stage_facts *facts)
{
    char text[900];

    str_fmt(text, sizeof(text),
            "We do not accept mail for %.*s: its MX record should not point here, or we have not "
            "been told of it. Senders of this network must log in to send through %.*s",
            STR_ARG(facts->rcpt->domain), STR_ARG(facts->hostname));
    recipient_refuse(run, "not-served", 200, 550, "5.7.1", text);
}

static enum step
recipient_run(struct check_run *run, enum check_event event)
{
    const struct stage_facts *facts = check_facts(run);

    (void)event;
    if (facts->rcpt_flood) {
        recipient_refuse(run, "harvest", 300, 450, "4.7.1",
                         "Your network asked for too many unknown recipients; try again later");
        return STEP_DONE;
    }
    if (facts->rcpt_state == STAGE_RCPT_NOT_SERVED)
        recipient_not_served(run, facts);
    else if (facts->rcpt_state == STAGE_RCPT_UNKNOWN)
        recipient_unknown(run, facts);
    return STEP_NEXT;
}

static const char *const recipient_findings[] = {"harvest", "not-served", "unknown", NULL};

const struct check check_recipient = {
    .name = "recipient",
    .stage = STAGE_RCPT,
    .join = STAGE_RCPT,
    .place = CHECK_IN_GATE,
    .cost = 1,
    .all_clients = true,
    .mode = CHECK_ON,
    .findings = recipient_findings,
    .run = recipient_run,
};
