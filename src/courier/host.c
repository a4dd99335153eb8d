/*
 * courier/host.c - addresses of a site's hosts, and the reverse DNS of IPv6 sources.
 *
 * Called by plan before a connection is opened. Answers come through the loop; then the site is
 * queued again.
 */
#include "courier/site.h"

#define LIFE_MIN  (30 * NS_PER_S)
#define LIFE_FAIL (60 * NS_PER_S)
#define LIFE_MAX  (86400 * NS_PER_S)

static void
host_answered(struct site_host *h)
{
    if (h->asking[0] || h->asking[1])
        return;
    if (h->stale && !h->temporary)
        h->naddrs = 0;
    h->stale = false;
    if (h->naddrs > 0)
        h->addrs_until = MIN(h->addrs_until, clock_mono() + (h->temporary ? LIFE_FAIL : LIFE_MAX));
    if (h->naddrs == 0) {
        h->addrs_until = clock_mono() + LIFE_FAIL;
        str_fmt(h->why, sizeof h->why,
                h->temporary ? "DNS gives no answer for the addresses of %.120s"
                : h->refused ? "%.120s has only private addresses, which DNS may not send us to"
                             : "%.120s has no address",
                h->name);
    }
    h->next_addr = 0;
    site_queue(h->site);
}

static void
host_take(struct site_host *h, const struct dns_answer *a)
{
    uint64_t until = clock_mono() + MAX(a->ttl * NS_PER_S, LIFE_MIN);
    unsigned n = h->stale ? 0 : h->naddrs;

    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        h->temporary = true;
    for (size_t i = 0; a->status == DNS_OK && i < a->n && n < SITE_ADDRS; i++) {
        if (a->records[i].type != DNS_A && a->records[i].type != DNS_AAAA)
            continue;
        if (!h->site->allow_private && addr_is_bogus(&a->records[i].addr)) {
            h->refused = true;
            continue;
        }
        h->addrs[n++] = a->records[i].addr;
        h->naddrs = n;
        h->stale = false;
    }
    h->addrs_until = MIN(h->addrs_until, until);
}

static void
host_answer4(void *ctx, const struct dns_answer *a)
{
    struct site_host *h = ctx;

    h->asking[0] = false;
    host_take(h, a);
    host_answered(h);
}

static void
host_answer6(void *ctx, const struct dns_answer *a)
{
    struct site_host *h = ctx;

    h->asking[1] = false;
    host_take(h, a);
    host_answered(h);
}

enum host_answer
host_addresses(struct site *s, struct site_host *h)
{
    struct courier *c = s->c;
    struct str name = str_c(h->name);

    if (h->kind == INSIDE_LMTP_UNIX || h->kind == INSIDE_MAILDIR || h->literal)
        return HOST_READY;
    if (h->asking[0] || h->asking[1])
        return HOST_ASKING;
    if (h->addrs_until > clock_mono())
        return h->naddrs ? HOST_READY : HOST_NONE;
    if (!c->links.dns) {
        h->temporary = true;
        str_fmt(h->why, sizeof h->why, "there is no resolver to ask for %.120s", h->name);
        return HOST_NONE;
    }
    h->stale = h->naddrs > 0; /* what was known holds until there is another answer */
    h->temporary = h->refused = false;
    h->addrs_until = UINT64_MAX;
    if (dns_client_ask(c->links.dns, name, DNS_A, &h->ask[0], host_answer4, h) == 0)
        h->asking[0] = true;
    if (c->delivery->ipv6 != IPV6_NEVER &&
        dns_client_ask(c->links.dns, name, DNS_AAAA, &h->ask[1], host_answer6, h) == 0)
        h->asking[1] = true;
    if (h->asking[0] || h->asking[1])
        return HOST_ASKING;
    h->temporary = true; /* not their fault: nothing is over for want of an answer */
    h->addrs_until = clock_mono() + NS_PER_S;
    str_fmt(h->why, sizeof h->why, "the resolver has too many questions");
    return h->naddrs ? HOST_READY : HOST_NONE;
}

void
host_cancel(struct site_host *h)
{
    for (int i = 0; i < 2; i++) {
        if (h->asking[i])
            dns_ask_cancel(&h->ask[i]);
        h->asking[i] = false;
    }
}

bool
host_permitted(const struct courier *c, const struct addr *a)
{
    const struct prefix *p = c->delivery->only_to.items;

    for (size_t i = 0; i < c->delivery->only_to.n; i++) {
        if (prefix_has(&p[i], a))
            return true;
    }
    return c->delivery->only_to.n == 0;
}

/* May this source speak to that address? */
static bool
address_fits(struct site *s, struct source *src, const struct addr *a)
{
    bool v4 = addr_is_v4(a);

    if (!host_permitted(s->c, a))
        return false;
    if (!src->any && addr_is_v4(&src->address) != v4)
        return false;
    if (v4 || s->c->delivery->ipv6 == IPV6_ALWAYS || addr_is_bogus(a))
        return true;
    if (s->c->delivery->ipv6 == IPV6_NEVER || src->any)
        return false; /* which address the kernel would choose is not known: no reverse to check */
    return source_reverse(s->c, (uint32_t)(src - s->c->sources.items)) > 0;
}

bool
host_pick(struct site *s, struct site_host *h, struct source *src, struct addr *ret)
{
    bool outside = h->naddrs > 0;

    for (unsigned i = 0; i < h->naddrs; i++) {
        unsigned at = (h->next_addr + i) % h->naddrs;
        if (!address_fits(s, src, &h->addrs[at]))
            continue;
        *ret = h->addrs[at];
        h->next_addr = at;
        return true;
    }
    for (unsigned i = 0; i < h->naddrs; i++) {
        if (host_permitted(s->c, &h->addrs[i]))
            outside = false;
    }
    if (outside)
        str_fmt(h->why, sizeof h->why,
                "%.100s is outside of the networks of delivery.only_to: no connection is made",
                h->name);
    else
        str_fmt(h->why, sizeof h->why, "%.100s has no address that source %.60s may speak to",
                h->name, src->name);
    return false;
}

/* A look at one source's reverse DNS: PTR, then each name's AAAA. */
struct reverse {
    struct courier *c;
    uint32_t source;
    struct dns_ask ask;
    bool asking;
    char names[4][256];
    unsigned n, at;
    struct reverse *next;
};
static struct reverse *reverse_list; /* one process has one courier; freed with it */

static void
reverse_end(struct reverse *r, uint8_t verdict, uint64_t life)
{
    struct reverse **at = &reverse_list;
    struct source *s = &r->c->sources.items[r->source];

    s->reverse = verdict;
    s->reverse_until = clock_mono() + life;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    free(r);
}

static void reverse_next(struct reverse *r);

static void
reverse_forward(void *ctx, const struct dns_answer *a)
{
    struct reverse *r = ctx;

    r->asking = false;
    for (size_t i = 0; a->status == DNS_OK && i < a->n; i++) {
        if (addr_eq(&a->records[i].addr, &r->c->sources.items[r->source].address)) {
            reverse_end(r, 1, 3600 * NS_PER_S);
            return;
        }
    }
    reverse_next(r);
}

static void
reverse_next(struct reverse *r)
{
    if (r->at == r->n) {
        reverse_end(r, 2, 600 * NS_PER_S);
        return;
    }
    r->asking = dns_client_ask(r->c->links.dns, str_c(r->names[r->at++]), DNS_AAAA, &r->ask,
                               reverse_forward, r) == 0;
    if (!r->asking)
        reverse_end(r, 2, 10 * NS_PER_S);
}

static void
reverse_pointer(void *ctx, const struct dns_answer *a)
{
    struct reverse *r = ctx;

    r->asking = false;
    for (size_t i = 0; a->status == DNS_OK && i < a->n && r->n < ARRAY_LEN(r->names); i++) {
        if (a->records[i].type == DNS_PTR &&
            str_copy(a->records[i].name, r->names[r->n], sizeof r->names[0]))
            r->n++;
    }
    reverse_next(r);
}

int
source_reverse(struct courier *c, uint32_t source)
{
    struct source *s = &c->sources.items[source];
    struct reverse *r;
    char name[80];

    if (s->reverse && s->reverse_until > clock_mono())
        return s->reverse == 1 ? 1 : -1;
    for (r = reverse_list; r; r = r->next) {
        if (r->source == source && r->c == c)
            return s->reverse == 1 ? 1 : 0;
    }
    r = c->links.dns ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return -1;
    r->c = c;
    r->source = source;
    r->next = reverse_list;
    reverse_list = r;
    r->asking = dns_client_ask(c->links.dns, str_c(addr_reverse(&s->address, name)), DNS_PTR,
                               &r->ask, reverse_pointer, r) == 0;
    if (!r->asking)
        reverse_end(r, 2, 10 * NS_PER_S);
    return s->reverse == 1 ? 1 : 0;
}

void
source_reverse_cancel(struct courier *c)
{
    struct reverse **at = &reverse_list, *r;

    while ((r = *at) != NULL) {
        if (r->c != c) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        if (r->asking)
            dns_ask_cancel(&r->ask);
        free(r);
    }
}
