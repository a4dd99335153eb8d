/*
 * auth/domain.c - MX, addresses, and whether they can be real.
 *
 * Called by the gate's check of senders' domains. Never asks anybody.
 */
#include "auth/domain.h"

#define HOSTS_MAX 3u /* MX hosts looked at: one good one is enough */

enum found { FOUND_WAIT, FOUND_NONE, FOUND_GOOD, FOUND_BOGUS, FOUND_TEMPORARY };

struct run {
    const struct auth_answers *answers;
    struct auth_needs *needs;
    bool any; /* every address is fine */
};

static bool
failed(const struct dns_answer *a)
{
    return a->status == DNS_TEMPORARY || a->status == DNS_BOGUS;
}

static enum found
addresses_of(const struct run *r, const struct dns_answer *a)
{
    enum found found = failed(a) ? FOUND_TEMPORARY : FOUND_NONE;

    for (size_t i = 0; i < a->n; i++) {
        if (a->records[i].type != DNS_A && a->records[i].type != DNS_AAAA)
            continue;
        if (r->any || !addr_is_bogus(&a->records[i].addr))
            return FOUND_GOOD;
        found = FOUND_BOGUS;
    }
    return found;
}

/* Both families; the second is asked only if the first has nothing, unless `both`. */
static enum found
host(const struct run *r, struct str name, bool both)
{
    const struct dns_answer *a = auth_ask(r->answers, r->needs, name, DNS_A), *aaaa = NULL;
    enum found v4 = a ? addresses_of(r, a) : FOUND_WAIT, v6;

    if (v4 == FOUND_GOOD)
        return v4;
    if (both || v4 != FOUND_WAIT)
        aaaa = auth_ask(r->answers, r->needs, name, DNS_AAAA);
    v6 = aaaa ? addresses_of(r, aaaa) : FOUND_WAIT;
    if (v6 == FOUND_GOOD)
        return v6;
    if (v4 == FOUND_WAIT || v6 == FOUND_WAIT)
        return FOUND_WAIT;
    if (v4 == FOUND_TEMPORARY || v6 == FOUND_TEMPORARY)
        return FOUND_TEMPORARY;
    return v4 == FOUND_BOGUS || v6 == FOUND_BOGUS ? FOUND_BOGUS : FOUND_NONE;
}

static enum found
hosts(const struct run *r, const struct dns_answer *mx, struct str *ret_host)
{
    unsigned seen[FOUND_TEMPORARY + 1] = {0}, n = 0;

    for (size_t i = 0; i < mx->n && n < HOSTS_MAX; i++) {
        enum found found;

        if (mx->records[i].type != DNS_MX || !mx->records[i].name.n)
            continue;
        found = host(r, mx->records[i].name, false);
        n++;
        seen[found]++;
        if (found == FOUND_GOOD)
            return found;
        if (found == FOUND_BOGUS)
            *ret_host = mx->records[i].name;
    }
    if (seen[FOUND_WAIT])
        return FOUND_WAIT;
    /* Hosts that were not looked at may be good ones. */
    if (seen[FOUND_TEMPORARY] || n < mx->n)
        return FOUND_TEMPORARY;
    return seen[FOUND_BOGUS] ? FOUND_BOGUS : FOUND_NONE;
}

static bool
is_null_mx(const struct dns_answer *mx)
{
    return mx->n == 1 && mx->records[0].type == DNS_MX && !mx->records[0].name.n;
}

static enum auth_state
ends(const struct run *r, enum found found, enum auth_domain none, enum auth_domain *ret)
{
    static const enum auth_domain results[] = {
        [FOUND_GOOD] = AUTH_DOMAIN_OK,
        [FOUND_BOGUS] = AUTH_DOMAIN_BOGUS,
        [FOUND_TEMPORARY] = AUTH_DOMAIN_UNKNOWN,
    };

    if (found == FOUND_WAIT)
        return AUTH_NEED;
    r->needs->n = 0;
    *ret = found == FOUND_NONE ? none : results[found];
    return AUTH_DONE;
}

enum auth_state
auth_domain_run(struct str domain, const struct addr *client, const struct auth_answers *answers,
                struct auth_needs *needs, enum auth_domain *ret, struct str *ret_host)
{
    struct run r = {.answers = answers, .needs = needs, .any = addr_is_bogus(client)};
    const struct dns_answer *mx, *a;
    enum found found;

    needs->n = 0;
    needs->full = false;
    *ret_host = domain;
    mx = auth_ask(answers, needs, domain, DNS_MX);
    found = host(&r, domain, true); /* along with it: most who have no MX live at their name */
    a = auth_answers_find(answers, domain, DNS_A);
    if (!mx)
        return AUTH_NEED;
    if (mx->status == DNS_NXDOMAIN || (a && a->status == DNS_NXDOMAIN))
        return ends(&r, FOUND_NONE, AUTH_DOMAIN_MISSING, ret);
    if (failed(mx))
        return ends(&r, FOUND_TEMPORARY, AUTH_DOMAIN_UNKNOWN, ret);
    if (is_null_mx(mx))
        return ends(&r, FOUND_NONE, AUTH_DOMAIN_NULL_MX, ret);
    if (!mx->n)
        return ends(&r, found, AUTH_DOMAIN_NO_HOST, ret);
    return ends(&r, hosts(&r, mx, ret_host), AUTH_DOMAIN_DEAD_MX, ret);
}
