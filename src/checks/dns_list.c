/*
 * checks/dns_list.c - is the client, or what it says it is, in a DNS list?
 * (docs/checks/dns_list.md)
 *
 * Starts at MAIL and goes on in the background until the header is judged. A list only weighs: it
 * never refuses anybody, and one that is not as it must be is left out and told.
 */
#include "checks/evaluate.h"
#include "checks/table.h"
#include "core/event.h"

/* What the operator reads: what happened, what stays safe, what to do. */
static void
dns_list_tell(const struct dns_list_word *w)
{
    char shown[48];
    const char *answer = addr_show(&w->answer, shown);
    int n = (int)w->list.n;
    const char *list = w->list.p;

    switch (w->trouble) {
    case DNS_LIST_WELL:
        event_notice("the DNS list %.*s answers as it must again: it is asked again", n, list);
        break;
    case DNS_LIST_SILENT:
        event_warning("the DNS list %.*s does not answer: mail is judged without it, and it is "
                      "tried again each minute. See whether its zone is right and its name servers "
                      "are there.",
                      n, list);
        break;
    case DNS_LIST_ALL:
        event_alarm("the DNS list %.*s lists everybody (even 127.0.0.1 or INVALID, which no list "
                    "may): it is left out, no mail is judged by it, and it is tried again every 10 "
                    "minutes. It has probably closed: take its dns_list block out of the settings.",
                    n, list);
        break;
    case DNS_LIST_NOTHING:
        event_alarm("the DNS list %.*s does not list its own test entry (127.0.0.2 or TEST): it is "
                    "left out, no mail is judged by it, and it is tried again every 10 minutes. "
                    "Its zone may be misspelt, closed, or need a key.",
                    n, list);
        break;
    case DNS_LIST_TYPO:
        event_alarm("the DNS list %.*s answers %s, its sign for a zone name that is wrong: it is "
                    "left out and no mail is judged by it. Correct `zone` of its dns_list block.",
                    n, list, answer);
        break;
    case DNS_LIST_PUBLIC:
        event_alarm("the DNS list %.*s answers %s: it does not serve public resolvers. It is left "
                    "out and no mail is judged by it. Let dns.forward name a resolver of your own, "
                    "or none, or use the zone with a key that the list's operator gives.",
                    n, list, answer);
        break;
    case DNS_LIST_QUOTA:
        event_alarm("the DNS list %.*s answers %s: it was asked more than it serves for free. It "
                    "is left out and no mail is judged by it. Subscribe to it, or take its "
                    "dns_list block out of the settings.",
                    n, list, answer);
        break;
    case DNS_LIST_REFUSES:
        event_alarm("the DNS list %.*s answers %s, which says that it refuses to serve us: it is "
                    "left out and no mail is judged by it. Its operator's pages tell what the code "
                    "means.",
                    n, list, answer);
        break;
    case DNS_LIST_FOREIGN:
        event_alarm("the DNS list %.*s answers %s, which is no list's answer: it is left out and "
                    "no mail is judged by it. The zone was sold, or a resolver in dns.forward "
                    "makes up answers for names that do not exist.",
                    n, list, answer);
        break;
    case DNS_LIST_UNNAMED:
        event_alarm("the DNS list %.*s answers %s, a code that its settings do not name: that "
                    "answer is not counted. See what the list's operator says it means and name it "
                    "in `codes` of its dns_list block.",
                    n, list, answer);
        break;
    case DNS_LIST_TROUBLES_:
        break;
    }
}

static void
dns_list_find(struct check_run *run, const struct dns_lists_report *report)
{
    for (unsigned i = 0; i < report->nhits; i++) {
        const struct dns_list_hit *h = &report->hits[i];

        check_find(run, &(struct finding){.name = h->name,
                                          .input = h->subject,
                                          .rule = h->codes,
                                          .list = h->list,
                                          .weight = dns_list_weight(h->name)});
    }
}

static enum step
dns_list_run(struct check_run *run, enum check_event event)
{
    static auth_evidence_fn *const one[] = {auth_evidence_lists};
    struct auth_evidence *e = check_facts(run)->auth;
    bool done;

    if (!e || !e->common->lists)
        return STEP_NEXT;
    e->hindered = check_hindered(run);
    done = checks_evaluate(run, event, one, ARRAY_LEN(one));
    if (!e->lists)
        return STEP_NEXT;
    for (unsigned i = 0; i < e->lists->nwords; i++)
        dns_list_tell(&e->lists->words[i]);
    e->lists->nwords = 0;
    if (!done) {
        check_wake(run, e->lists->wait_ns);
        return STEP_WAIT;
    }
    if (e->have_lists)
        dns_list_find(run, e->lists);
    return STEP_NEXT;
}

const struct check check_dns_list = {
    .name = "dns_list",
    .stage = STAGE_MAIL,
    .join = STAGE_HEADER,
    .place = CHECK_IN_GATE,
    .cost = 25,
    .mode = CHECK_OBSERVE,
    .findings = dns_list_names,
    .run = dns_list_run,
};
