/*
 * courier/mx.c - the MX law over known answers.
 *
 * Called by the courier's routing whenever another answer has come, by explain and by tests. Never
 * asks, never waits; DNS answers are strangers' data, so every list has a ceiling.
 */
#include "courier/mx.h"

#include <stdarg.h>

struct mx_candidate {
    struct str name;
    uint16_t preference;
    uint64_t order; /* among equals */
};

struct mx_run {
    const struct mx_input *in;
    struct mx_result *out;
    struct mx_candidate c[MX_RECORDS_MAX];
    size_t n;
    char refused[48]; /* an address that may not be used */
    struct str refused_host;
    bool permissible; /* a setting could permit that address */
    bool unsure;      /* some host's address could not be asked for */
};

static const struct {
    const char *name, *enhanced;
    int code;
} mx_failures[] = {
    [MX_FAIL_NULL] = {"null-mx", "5.1.10", 556},
    [MX_FAIL_NODOMAIN] = {"no-domain", "5.1.2", 550},
    [MX_FAIL_NOADDRESS] = {"no-address", "5.4.4", 550},
    [MX_FAIL_LOOP] = {"loop", "5.4.6", 554},
    [MX_FAIL_TEMPORARY] = {"dns-temporary", "4.4.3", 451},
};

const char *
mx_failure_name(enum mx_failure f)
{
    return (unsigned)f < ARRAY_LEN(mx_failures) ? mx_failures[f].name : "unknown";
}

PRINTF_LIKE(3, 4) static void mx_fail(struct mx_run *r, enum mx_failure f, const char *fmt, ...)
{
    struct mx_result *out = r->out;
    va_list ap;

    out->status = MX_FAILED;
    out->failure = f;
    out->code = mx_failures[f].code;
    str_fmt(out->enhanced, sizeof(out->enhanced), "%s", mx_failures[f].enhanced);
    va_start(ap, fmt);
    if (vsnprintf(out->text, sizeof(out->text), fmt, ap) < 0)
        out->text[0] = '\0';
    va_end(ap);
}

PRINTF_LIKE(2, 3) static void mx_find(struct mx_run *r, const char *fmt, ...)
{
    struct mx_result *out = r->out;
    char *text;
    va_list ap;

    if (out->nfindings == MX_FINDINGS_MAX)
        return;
    text = out->findings[out->nfindings];
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof(out->findings[0]), fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    for (unsigned i = 0; i < out->nfindings; i++)
        if (!strcmp(out->findings[i], text))
            return; /* known already: hosts are looked at twice */
    out->nfindings++;
}

/* --- known answers --- */

static void
mx_ask(struct mx_run *r, struct str name, enum dns_type type)
{
    struct mx_result *out = r->out;

    for (unsigned i = 0; i < out->nquestions; i++)
        if (out->questions[i].type == type && str_eq(out->questions[i].name, name))
            return;
    if (out->nquestions < MX_QUESTIONS_MAX)
        out->questions[out->nquestions++] = (struct mx_question){name, type};
}

static const struct dns_answer *
mx_known(struct mx_run *r, struct str name, enum dns_type type)
{
    for (size_t i = 0; i < r->in->nanswers; i++) {
        const struct dns_answer *a = r->in->answers[i];

        if (a->type == type && str_ieq(a->name, name)) {
            r->out->ttl = MIN(r->out->ttl, a->ttl);
            return a;
        }
    }
    mx_ask(r, name, type);
    return NULL;
}

/* The target of an answer that is nothing but an alias. */
static bool
mx_alias(const struct dns_answer *a, struct str *ret)
{
    bool found = false;

    for (size_t i = 0; i < a->n; i++) {
        if (a->records[i].type == a->type)
            return false;
        if (a->records[i].type == DNS_CNAME && !found) {
            *ret = a->records[i].name;
            found = true;
        }
    }
    return found;
}

/* The answer at the end of the aliases; NULL: not known yet (asked), or *ret_lost if the chain is
 * too long. A loop is a chain that is too long. */
static const struct dns_answer *
mx_resolve(struct mx_run *r, struct str name, enum dns_type type, bool *ret_alias, bool *ret_lost)
{
    *ret_alias = *ret_lost = false;
    for (unsigned hops = 0; hops <= MX_ALIASES_MAX; hops++) {
        const struct dns_answer *a = mx_known(r, name, type);

        if (!a)
            return NULL;
        *ret_alias = *ret_alias || a->cname;
        if (a->status != DNS_OK || !mx_alias(a, &name))
            return a;
        *ret_alias = true;
    }
    *ret_lost = true;
    return NULL;
}

/* --- MX records to candidates --- */

static bool
mx_is_own_name(const struct mx_input *in, struct str name)
{
    for (size_t i = 0; i < in->nown_names; i++)
        if (str_ieq(in->own_names[i], name))
            return true;
    return false;
}

static bool
mx_is_own_addr(const struct mx_input *in, const struct addr *a)
{
    for (size_t i = 0; i < in->nown_addrs; i++)
        if (addr_eq(&in->own_addrs[i], a))
            return true;
    return false;
}

/* No name ends in digits alone: what does is an address written where a name belongs. */
static bool
mx_is_address_text(struct str name)
{
    struct str last = str_from(name, (size_t)(str_rchr(name, '.') + 1));
    struct addr a;
    uint64_t n;

    return addr_parse(name, &a) == 0 || str_u64(last, &n) == 0;
}

static void
mx_add(struct mx_run *r, struct str name, uint16_t preference)
{
    struct mx_candidate *c;

    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (!name.n) {
        mx_find(r, "an MX record that says \"no mail\" stands beside others: ignored");
        return;
    }
    if (name.n > 253 || !str_is_ascii(name) || str_has_ctl(name) || str_chr(name, ' ') >= 0) {
        mx_find(r, "an MX record holds no host name: ignored");
        return;
    }
    if (mx_is_address_text(name)) {
        mx_find(r, "MX %.*s is an address where a host name belongs: ignored",
                (int)MIN(name.n, 80U), name.p);
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (!str_ieq(r->c[i].name, name))
            continue;
        r->c[i].preference = MIN(r->c[i].preference, preference);
        return;
    }
    if (r->n == MX_RECORDS_MAX)
        return;
    c = &r->c[r->n++];
    *c = (struct mx_candidate){name, preference, str_ihash(name, r->in->seed)};
}

static int
mx_compare(const void *a, const void *b)
{
    const struct mx_candidate *x = a, *y = b;

    if (x->preference != y->preference)
        return x->preference < y->preference ? -1 : 1;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return str_cmp(x->name, y->name);
}

/* Drops everything from `preference` on: what we are ourselves, and what is no better. */
static void
mx_drop_from(struct mx_run *r, uint16_t preference)
{
    while (r->n && r->c[r->n - 1].preference >= preference)
        r->n--;
}

static bool
mx_loop_left(struct mx_run *r)
{
    if (r->n)
        return true;
    mx_fail(r, MX_FAIL_LOOP,
            "mail for %.*s would come back to this server: it is the best MX itself, but does not "
            "serve the domain",
            STR_ARG(r->in->domain));
    return false;
}

/* Candidates in order, without ourselves by name. False: out is final. */
static bool
mx_candidates(struct mx_run *r, const struct dns_answer *mx)
{
    size_t seen = 0;
    const struct dns_record *last = NULL;

    for (size_t i = 0; mx && i < mx->n && seen < MX_RECORDS_MAX; i++) {
        if (mx->records[i].type != DNS_MX)
            continue;
        last = &mx->records[i];
        seen++;
    }
    if (seen == 1 && (!last->name.n || str_eq(last->name, STR(".")))) {
        mx_fail(r, MX_FAIL_NULL, "%.*s takes no mail: it says so by a null MX record",
                STR_ARG(r->in->domain));
        return false;
    }
    r->out->implicit = !seen;
    if (!seen)
        mx_add(r, r->in->domain, 0);
    for (size_t i = 0, n = 0; seen && i < mx->n && n < MX_RECORDS_MAX; i++) {
        if (mx->records[i].type != DNS_MX)
            continue;
        mx_add(r, mx->records[i].name, mx->records[i].preference);
        n++;
    }
    if (mx && mx->n > MX_RECORDS_MAX)
        mx_find(r, "%zu MX records, of which %u were looked at", mx->n, MX_RECORDS_MAX);
    if (!r->n) {
        mx_fail(r, MX_FAIL_NOADDRESS, "no MX record of %.*s names a host", STR_ARG(r->in->domain));
        return false;
    }
    qsort(r->c, r->n, sizeof(r->c[0]), mx_compare);
    for (size_t i = 0; i < r->n; i++) {
        if (mx_is_own_name(r->in, r->c[i].name)) {
            mx_drop_from(r, r->c[i].preference);
            break;
        }
    }
    if (!mx_loop_left(r))
        return false;
    r->n = MIN(r->n, MX_HOSTS_MAX);
    return true;
}

/* --- addresses --- */

/* An address that is nobody's or everybody's: no setting permits it. */
static bool
mx_addr_void(const struct addr *a)
{
    static const struct addr none;

    if (addr_is_v4(a))
        return a->b[12] == 0 || a->b[12] >= 224;
    return addr_eq(a, &none) || a->b[0] == 0xff;
}

/* May mail go there? If not it is remembered, to be told if no other is left. */
static bool
mx_addr_ok(struct mx_run *r, struct str host, const struct addr *a)
{
    if (!mx_addr_void(a) && (r->in->allow_private || !addr_is_bogus(a)))
        return true;
    addr_show(a, r->refused);
    r->refused_host = host;
    r->permissible = !mx_addr_void(a);
    return false;
}

struct mx_addresses {
    struct addr a[MX_RECORDS_MAX * 2];
    uint64_t order[MX_RECORDS_MAX * 2];
    unsigned n;
    bool secure, alias, own;
};

static void
mx_take(struct mx_run *r, struct str host, struct mx_addresses *got, enum dns_type type,
        const struct dns_answer *a)
{
    bool preferred = r->in->prefer == (type == DNS_A ? MX_PREFER_V4 : MX_PREFER_V6);
    unsigned taken = 0;

    for (size_t i = 0; i < a->n && taken < MX_RECORDS_MAX; i++) {
        const struct addr *addr = &a->records[i].addr;

        if (a->records[i].type != type)
            continue;
        taken++;
        got->own = got->own || mx_is_own_addr(r->in, addr);
        if (!mx_addr_ok(r, host, addr))
            continue;
        got->a[got->n] = *addr;
        got->order[got->n++] = (preferred || !r->in->prefer ? 0 : UINT64_C(1) << 63) |
                               str_hash(str_of(addr->b, sizeof(addr->b)), r->in->seed) >> 1;
    }
}

/* One family of a host. False: not known yet. */
static bool
mx_family(struct mx_run *r, struct str host, enum dns_type type, struct mx_addresses *got)
{
    bool alias, lost;
    const struct dns_answer *a = mx_resolve(r, host, type, &alias, &lost);

    if (lost) {
        mx_find(r, "%.*s is an alias that leads nowhere", (int)MIN(host.n, 80U), host.p);
        return true;
    }
    if (!a)
        return false;
    got->alias = got->alias || alias;
    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        r->unsure = true;
    if (a->status != DNS_OK)
        return true;
    got->secure = got->secure && a->secure;
    mx_take(r, host, got, type, a);
    return true;
}

/* Smallest first, few enough for selection. */
static void
mx_order(struct mx_addresses *got, unsigned most)
{
    for (unsigned i = 0; i < MIN(got->n, most); i++) {
        unsigned best = i;
        struct addr a = got->a[i];
        uint64_t order = got->order[i];

        for (unsigned k = i + 1; k < got->n; k++)
            if (got->order[k] < got->order[best])
                best = k;
        got->a[i] = got->a[best];
        got->order[i] = got->order[best];
        got->a[best] = a;
        got->order[best] = order;
    }
    got->n = MIN(got->n, most);
}

static bool
mx_gather(struct mx_run *r, struct str host, struct mx_addresses *got)
{
    bool both = !r->in->v4 && !r->in->v6, known = true;

    memset(got, 0, sizeof(*got));
    got->secure = true;
    if (r->in->v4 || both)
        known = mx_family(r, host, DNS_A, got) && known;
    if (r->in->v6 || both)
        known = mx_family(r, host, DNS_AAAA, got) && known;
    return known;
}

/* Hosts with their addresses into the result, up to the first that is ourselves. */
static void
mx_hosts(struct mx_run *r)
{
    struct mx_result *out = r->out;
    struct mx_addresses got;
    unsigned most = MX_ADDRS_MAX / (unsigned)r->n;

    for (size_t i = 0; i < r->n; i++) {
        struct mx_host *h = &out->hosts[out->nhosts];

        mx_gather(r, r->c[i].name, &got);
        if (got.alias)
            mx_find(r, "%.*s is an alias; an MX record should name a host (RFC 2181 10.3)",
                    (int)MIN(r->c[i].name.n, 80U), r->c[i].name.p);
        mx_order(&got, most);
        if (!got.n)
            continue;
        *h = (struct mx_host){.name = r->c[i].name,
                              .preference = r->c[i].preference,
                              .first = (uint8_t)out->naddrs,
                              .n = (uint8_t)got.n,
                              .secure = got.secure,
                              .alias = got.alias};
        memcpy(out->addrs + out->naddrs, got.a, got.n * sizeof(got.a[0]));
        out->naddrs += got.n;
        out->nhosts++;
    }
}

/* Ourselves by address: everything no better goes. False: not all addresses are known. */
static bool
mx_know_hosts(struct mx_run *r)
{
    struct mx_addresses got;
    bool known = true;
    size_t own = r->n;

    for (size_t i = 0; i < r->n; i++) {
        known = mx_gather(r, r->c[i].name, &got) && known;
        if (got.own && own == r->n)
            own = i;
    }
    if (known && own < r->n)
        mx_drop_from(r, r->c[own].preference);
    return known;
}

static void
mx_no_host(struct mx_run *r)
{
    struct str d = r->in->domain;

    if (r->unsure)
        mx_fail(r, MX_FAIL_TEMPORARY, "the addresses of the hosts of %.*s cannot be looked up now",
                STR_ARG(d));
    else if (r->refused[0])
        mx_fail(r, MX_FAIL_NOADDRESS,
                "%.*s points its mail to %.*s, which has the address %s: not one on the public "
                "Internet%s",
                STR_ARG(d), STR_ARG(r->refused_host), r->refused,
                r->permissible ? " (a route with allow_private can permit it)" : "");
    else if (r->out->implicit)
        mx_fail(r, MX_FAIL_NOADDRESS, "%.*s has neither an MX record nor an address", STR_ARG(d));
    else
        mx_fail(r, MX_FAIL_NOADDRESS, "no MX host of %.*s has an address that we can reach",
                STR_ARG(d));
}

/* --- the law --- */

int
mx_literal_addr(struct str domain, struct addr *ret)
{
    if (!str_starts(domain, STR("[")) || !str_ends(domain, STR("]")))
        return ERR_SYNTAX;
    domain = str_sub(domain, 1, domain.n - 2);
    if (str_istarts(domain, STR("IPv6:")))
        domain = str_from(domain, 5);
    return addr_parse(domain, ret) < 0 ? ERR_SYNTAX : 0;
}

static void
mx_literal(struct mx_run *r)
{
    struct mx_result *out = r->out;
    struct addr a;

    if (mx_literal_addr(r->in->domain, &a) < 0) {
        mx_fail(r, MX_FAIL_NODOMAIN, "%.*s is no address literal", STR_ARG(r->in->domain));
    } else if (mx_is_own_addr(r->in, &a)) {
        r->n = 0;
        mx_loop_left(r);
    } else if (!mx_addr_ok(r, r->in->domain, &a)) {
        mx_no_host(r);
    } else {
        out->status = MX_DONE;
        out->implicit = true;
        out->hosts[0] = (struct mx_host){.name = r->in->domain, .n = 1};
        out->addrs[0] = a;
        out->nhosts = out->naddrs = 1;
    }
}

static void
mx_domain(struct mx_run *r)
{
    struct mx_result *out = r->out;
    bool alias, lost;
    const struct dns_answer *mx = mx_resolve(r, r->in->domain, DNS_MX, &alias, &lost);

    if (lost) {
        mx_fail(r, MX_FAIL_NOADDRESS, "%.*s is an alias that leads nowhere",
                STR_ARG(r->in->domain));
        return;
    }
    if (!mx) {
        out->status = MX_NEED;
        return;
    }
    out->secure = mx->secure;
    if (mx->status == DNS_TEMPORARY || mx->status == DNS_BOGUS) {
        mx_fail(r, MX_FAIL_TEMPORARY, "the MX records of %.*s cannot be looked up now%s",
                STR_ARG(r->in->domain),
                mx->status == DNS_BOGUS ? ": DNSSEC says that the answer is forged" : "");
        return;
    }
    if (mx->status == DNS_NXDOMAIN) {
        mx_fail(r, MX_FAIL_NODOMAIN, "the domain %.*s does not exist", STR_ARG(r->in->domain));
        return;
    }
    if (!mx_candidates(r, mx->status == DNS_OK ? mx : NULL))
        return;
    if (!mx_know_hosts(r)) {
        out->status = MX_NEED;
        return;
    }
    if (!mx_loop_left(r))
        return;
    r->refused[0] = '\0';
    r->unsure = false;
    mx_hosts(r);
    out->status = MX_DONE;
    if (!out->nhosts)
        mx_no_host(r);
}

void
mx_run(const struct mx_input *in, struct mx_result *ret)
{
    struct mx_run r;

    memset(ret, 0, sizeof(*ret));
    memset(&r, 0, sizeof(r));
    ret->ttl = UINT32_MAX;
    r.in = in;
    r.out = ret;
    if (in->domain.n && in->domain.p[0] == '[')
        mx_literal(&r);
    else
        mx_domain(&r);
    if (ret->ttl == UINT32_MAX)
        ret->ttl = 0;
}
