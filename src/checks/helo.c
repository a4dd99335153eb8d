/*
 * checks/helo.c - what the client calls itself (docs/checks/helo.md).
 *
 * The engine has refused what is no name at all; here a well-formed name is weighed. Nobody but us
 * is called as we are: that one would be refused, and is only observed unless settings say `on`.
 */
#include "checks/table.h"
#include "core/err.h"

/* Address inside "[192.0.2.1]" or "[IPv6:...]". */
static int
literal_addr(struct str helo, struct addr *ret)
{
    struct str inner;

    if (helo.n < 3 || helo.p[0] != '[' || helo.p[helo.n - 1] != ']')
        return ERR_SYNTAX;
    inner = str_sub(helo, 1, helo.n - 2);
    if (str_istarts(inner, STR("IPv6:")))
        inner = str_from(inner, 5);
    return addr_parse(inner, ret);
}

static void
helo_find(struct check_run *run, const char *name, int weight)
{
    check_find(run,
               &(struct finding){.name = name, .weight = weight, .input = check_facts(run)->helo});
}

static enum step
helo_run(struct check_run *run, enum check_event event)
{
    const struct stage_facts *facts = check_facts(run);
    struct str helo = facts->helo;
    struct addr a;

    (void)event;
    if (str_ieq(helo, facts->hostname)) {
        check_find(run, &(struct finding){.name = "own-name",
                                          .input = helo,
                                          .rule = facts->hostname,
                                          .weight = 500,
                                          .action = VERDICT_REFUSE,
                                          .code = 550,
                                          .enhanced = "5.7.1",
                                          .text = STR("That is the name of this server; say your "
                                                      "own in EHLO")});
        return STEP_NEXT;
    }
    if (helo.n && helo.p[0] == '[') {
        if (literal_addr(helo, &a) < 0)
            helo_find(run, "bad-literal", 200);
        else if (!addr_eq(&a, &facts->client.addr))
            helo_find(run, "literal-mismatch", 200);
        else
            helo_find(run, "literal", 50);
        return STEP_NEXT;
    }
    if (addr_parse(helo, &a) == 0)
        helo_find(run, "bare-address", 250);
    else if (str_ieq(helo, STR("localhost")) || str_istarts(helo, STR("localhost.")))
        helo_find(run, "localhost", 200);
    else if (!address_domain_ok(helo))
        helo_find(run, "bad-name", 200);
    else if (str_chr(helo, '.') < 0)
        helo_find(run, "not-fqdn", 100);
    return STEP_NEXT;
}

static const char *const helo_findings[] = {"own-name", "bad-literal",  "literal-mismatch",
                                            "literal",  "bare-address", "localhost",
                                            "bad-name", "not-fqdn",     NULL};

const struct check check_helo = {
    .name = "helo",
    .stage = STAGE_HELO,
    .join = STAGE_HELO,
    .place = CHECK_IN_GATE,
    .cost = 2,
    .mode = CHECK_OBSERVE,
    .findings = helo_findings,
    .run = helo_run,
};
