/*
 * checks/reverse.c - does the client's address have a name, and does the name lead back to it?
 * (docs/checks/reverse.md)
 *
 * Started at connect, needed at RCPT: the answers come while the client talks. Only weighs. A
 * resolver that does not answer says nothing about the client.
 */
#include "checks/table.h"

#define NAMES_MAX 3u /* of the reverse record: more is play */

struct reverse {
    char names[NAMES_MAX][ADDRESS_DOMAIN_MAX + 1];
    unsigned n, at;
};

static void
reverse_find(struct check_run *run, const char *name, int weight, struct str rule)
{
    check_find(run, &(struct finding){.name = name, .weight = weight, .rule = rule});
}

/* Asks for the addresses of the next name. */
static enum step
reverse_forward(struct check_run *run)
{
    struct reverse *r = run->memory;
    enum dns_type type = addr_is_v4(&check_facts(run)->client.addr) ? DNS_A : DNS_AAAA;

    if (r->at == r->n) {
        reverse_find(run, "name-mismatch", 100, r->n ? str_c(r->names[0]) : STR_NONE);
        return STEP_NEXT;
    }
    return check_ask(run, str_c(r->names[r->at]), type) < 0 ? STEP_NEXT : STEP_WAIT;
}

static enum step
reverse_named(struct check_run *run, const struct dns_answer *a)
{
    struct reverse *r = run->memory;

    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        return STEP_NEXT;
    for (size_t i = 0; i < a->n && r->n < NAMES_MAX; i++) {
        if (a->records[i].type == DNS_PTR && address_domain_ok(a->records[i].name) &&
            str_copy(a->records[i].name, r->names[r->n], sizeof(r->names[0])))
            r->n++;
    }
    if (!r->n) {
        reverse_find(run, "no-name", 150, STR_NONE);
        return STEP_NEXT;
    }
    return reverse_forward(run);
}

static enum step
reverse_back(struct check_run *run, const struct dns_answer *a)
{
    struct reverse *r = run->memory;
    const struct addr *client = &check_facts(run)->client.addr;

    if (a->status == DNS_TEMPORARY)
        return STEP_NEXT;
    for (size_t i = 0; i < a->n; i++) {
        if ((a->records[i].type == DNS_A || a->records[i].type == DNS_AAAA) &&
            addr_eq(&a->records[i].addr, client)) {
            check_client_name(run, str_c(r->names[r->at]));
            return STEP_NEXT;
        }
    }
    r->at++;
    return reverse_forward(run);
}

static enum step
reverse_run(struct check_run *run, enum check_event event)
{
    char name[80];

    if (event == CHECK_START)
        return check_ask(run, str_c(addr_reverse(&check_facts(run)->client.addr, name)), DNS_PTR) <
                       0
                   ? STEP_NEXT
                   : STEP_WAIT;
    if (event == CHECK_TIMER)
        return STEP_NEXT;
    return run->answer->type == DNS_PTR ? reverse_named(run, run->answer)
                                        : reverse_back(run, run->answer);
}

const struct check check_reverse = {
    .name = "reverse",
    .stage = STAGE_CONNECT,
    .join = STAGE_RCPT,
    .place = CHECK_IN_GATE,
    .cost = 20,
    .mode = CHECK_ON,
    .memory = sizeof(struct reverse),
    .run = reverse_run,
};
