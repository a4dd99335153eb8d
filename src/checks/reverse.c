/*
 * checks/reverse.c - does the client's address have a name, and does the name lead back to it?
 * (docs/checks/reverse.md)
 *
 * Started at connect, needed at RCPT: the answers come while the client talks. Only weighs. A
 * resolver that does not answer says nothing about the client.
 */
#include "checks/table.h"

#define NAMES_MAX 3u /* of the reverse record: more is play */

struct reverse { /* no names: the resolver's cache holds them, and sessions are many */
    unsigned at; /* which of the names is being tried */
};

static void
reverse_find(struct check_run *run, const char *name, int weight, struct str rule)
{
    char shown[48];
    struct str client = str_c(addr_show(&check_facts(run)->client.addr, shown));

    check_find(run,
               &(struct finding){.name = name, .input = client, .weight = weight, .rule = rule});
}

static enum step
reverse_ask(struct check_run *run)
{
    char name[80];
    struct str question = str_c(addr_reverse(&check_facts(run)->client.addr, name));

    return check_ask(run, question, DNS_PTR) < 0 ? STEP_NEXT : STEP_WAIT;
}

/* The next name of the reverse record: its addresses are asked for. */
static enum step
reverse_named(struct check_run *run, const struct dns_answer *a)
{
    const struct reverse *r = run->memory;
    enum dns_type type = addr_is_v4(&check_facts(run)->client.addr) ? DNS_A : DNS_AAAA;
    unsigned seen = 0;

    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        return STEP_NEXT;
    for (size_t i = 0; i < a->n; i++) {
        const struct dns_record *record = &a->records[i];

        if (record->type != DNS_PTR || !address_domain_ok(record->name) || seen++ != r->at)
            continue;
        return check_ask(run, record->name, type) < 0 ? STEP_NEXT : STEP_WAIT;
    }
    if (r->at == 0)
        reverse_find(run, "no-name", 150, STR_NONE);
    else
        reverse_find(run, "name-mismatch", 100, STR_NONE);
    return STEP_NEXT;
}

static enum step
reverse_back(struct check_run *run, const struct dns_answer *a)
{
    const struct addr *client = &check_facts(run)->client.addr;
    struct reverse *r = run->memory;

    if (a->status == DNS_TEMPORARY)
        return STEP_NEXT;
    for (size_t i = 0; i < a->n; i++) {
        if ((a->records[i].type == DNS_A || a->records[i].type == DNS_AAAA) &&
            addr_eq(&a->records[i].addr, client)) {
            check_client_name(run, a->name);
            return STEP_NEXT;
        }
    }
    if (++r->at < NAMES_MAX)
        return reverse_ask(run);
    reverse_find(run, "name-mismatch", 100, a->name);
    return STEP_NEXT;
}

static enum step
reverse_run(struct check_run *run, enum check_event event)
{
    switch (event) {
    case CHECK_START:
        return reverse_ask(run);
    case CHECK_DNS:
        return run->answer->type == DNS_PTR ? reverse_named(run, run->answer)
                                            : reverse_back(run, run->answer);
    case CHECK_WAKE:
    case CHECK_AFTER:
    case CHECK_TIMER:
        break;
    }
    return STEP_NEXT;
}

static const char *const reverse_findings[] = {"no-name", "name-mismatch", NULL};

const struct check check_reverse = {
    .name = "reverse",
    .stage = STAGE_CONNECT,
    .join = STAGE_RCPT,
    .place = CHECK_IN_GATE,
    .cost = 20,
    .mode = CHECK_ON,
    .memory = sizeof(struct reverse),
    .findings = reverse_findings,
    .run = reverse_run,
};
