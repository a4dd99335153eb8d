/*
 * courier/dest_mx.c - destinations by DNS: feeds the MX law (courier/mx.h) with answers until it
 * has hosts, and makes a site of them.
 *
 * Called by dest.c; answers come through the loop. Domains with the same hosts in the same order
 * share a site. Cancelled by freeing.
 */
#include "core/openssl.h"

#include "core/event.h"
#include "courier/dest.h"
#include "courier/mx.h"
#include "courier/outcome.h"

#define FRESH_MIN     (60u << 4)   /* ticks, about a minute */
#define FRESH_MAX     (3600u << 4) /* about an hour */
#define ROUNDS_MAX    8u           /* the law asks again at most so often: aliases of aliases */
#define ANSWERS_MAX   256u
#define OWN_NAMES     64u
#define SITE_NAME     600u
#define NAME_SPARE    24u  /* for what stands behind the hosts */
#define SUM_BYTES     6u   /* of a set, in its name */
#define DNS_NAME_LONG 253u /* no name is longer */
#define OWN_ADDRS     64u
#define OWN_LOOKS     256u /* addresses of an answer's hosts that are asked after */
#define SITES_ALIKE   64u  /* sets of hosts with one name */
#define ASKING_MAX    256u /* destinations whose questions are open at a time, 6 KB each */

struct mx_ask {
    struct mx_asking *of;
    struct dns_ask ask;
    bool open;
};
struct mx_asking {
    struct courier *c;
    uint32_t dest;
    const struct conf_section *route;
    bool backup;
    struct arena arena;
    struct str domain;
    const struct dns_answer *answers[ANSWERS_MAX];
    size_t nanswers;
    struct mx_ask asks[MX_QUESTIONS_MAX];
    unsigned open, rounds;
    struct loop_call step; /* runs the law; never inside dest_mx_ask() */
};

void
dest_mx_cancel(struct index_dest *d)
{
    struct mx_asking *q = d->asking;

    if (!q)
        return;
    for (size_t i = 0; i < ARRAY_LEN(q->asks); i++) {
        if (q->asks[i].open)
            dns_ask_cancel(&q->asks[i].ask);
    }
    loop_call_cancel(q->c->loop, &q->step);
    q->c->sites->asking--;
    arena_done(&q->arena);
    free(q);
    d->asking = NULL;
}

/* Rows of the same message at the front of the destination's first lane, ACTIVE then: such as had
 * hosts before, or such as never had. */
static uint32_t
take_some(struct courier *c, uint32_t dest, uint32_t *rows, uint32_t max, uint32_t *ret_message)
{
    uint32_t row = index_lane(&c->index, index_dest(&c->index, dest)->lanes)->head, n = 0;
    uint32_t routed = index_row(&c->index, row)->flags & ROW_ROUTED;

    *ret_message = index_row(&c->index, row)->message;
    while (n < max && row != INDEX_NONE && index_row(&c->index, row)->message == *ret_message &&
           (index_row(&c->index, row)->flags & ROW_ROUTED) == routed) {
        uint32_t next = index_row(&c->index, row)->next;
        index_set(&c->index, row, ROW_ACTIVE);
        rows[n++] = row;
        row = next;
    }
    return n;
}

/* All ready rows of the destination end this try with that result. */
static void
dest_fail(struct courier *c, uint32_t dest, const struct result *r, const char *site,
          bool no_domain)
{
    struct attempt a = {.site = site, .tried = true};
    uint32_t rows[256], n, message;

    while (index_dest(&c->index, dest)->lanes != INDEX_NONE) {
        n = take_some(c, dest, rows, ARRAY_LEN(rows), &message);
        a.no_domain = no_domain && !(index_row(&c->index, rows[0])->flags & ROW_ROUTED);
        outcome_rows(c, message, rows, n, &a, r);
    }
}

static uint8_t
mx_class(enum mx_failure why)
{
    switch (why) {
    case MX_FAIL_TEMPORARY:
        return REPLY_CLASS_DNS;
    case MX_FAIL_NULL:
        return REPLY_CLASS_NO_MAIL;
    case MX_FAIL_LOOP:
        return REPLY_CLASS_ROUTE; /* ours or theirs to mend: the domain is not dead */
    default:
        return REPLY_CLASS_DOMAIN;
    }
}

static void
mx_failed(struct courier *c, uint32_t dest, const struct mx_result *v)
{
    bool temporary = v->failure == MX_FAIL_TEMPORARY;
    struct result r = {.result = temporary ? SPOOL_RETRY : SPOOL_FAILED,
                       .class = mx_class(v->failure),
                       .text = str_c(v->text)};
    struct str rest = str_c(v->enhanced);
    uint64_t part;

    for (int i = 0; i < 3; i++) {
        struct str word = str_cut(rest, '.', &rest);
        if (str_u64(word, &part) == 0)
            r.enhanced[i] = (uint16_t)part;
    }
    index_dest(&c->index, dest)->state = DEST_FAILED;
    index_dest(&c->index, dest)->fresh = 0;
    dest_fail(c, dest, &r, NULL, temporary);
}

static uint32_t
fresh_until(const struct courier *c, uint32_t ttl)
{
    uint64_t ticks = (uint64_t)ttl * NS_PER_S >> TICK_SHIFT;

    return c->index.wheel.now + (uint32_t)MIN(MAX(ticks, FRESH_MIN), FRESH_MAX);
}

/* Strangers name their hosts: no byte of it may mean something in a site's name. */
static size_t
host_put(char *dst, size_t cap, struct str host)
{
    size_t n = MIN(host.n, cap - 1);

    for (size_t i = 0; i < n; i++) {
        char b = host.p[i];
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                     b == '-' || b == '.';
        dst[i] = plain ? b : '_';
    }
    dst[n] = '\0';
    return n;
}

/* The sum of a set, the same after every start: strangers choose hosts and preferences, so one that
 * they could aim at would let them take the names of another set. */
static size_t
sum_put(char *dst, size_t cap, const struct buf *set)
{
    unsigned char sum[EVP_MAX_MD_SIZE] = {0};
    size_t n = str_fmt(dst, cap, "#");

    if (set->failed || EVP_Digest(set->p, set->n, sum, NULL, EVP_sha256(), NULL) != 1)
        sum[0] = 0; /* no memory: alike by name, and told apart by site_is_of() */
    for (unsigned i = 0; i < SUM_BYTES; i++)
        n += str_fmt(dst + n, cap - n, "%02x", sum[i]);
    return n;
}

/* Sites are told apart by their hosts and the order among them; equals in the order of names. The
 * name is for people and may be that of another set: see site_is_of(). */
static size_t
site_name(const struct conf_section *route, const struct mx_result *v, char name[SITE_NAME])
{
    CLEANUP(buf_done) struct buf set = {0};
    size_t n = 0;
    bool taken[MX_HOSTS_MAX] = {false};

    buf_init(&set, 16u << 10);
    if (route)
        n = str_fmt(name, SITE_NAME, "%.*s/", STR_ARG(route->label));
    for (unsigned i = 0; i < v->nhosts; i++) {
        const struct mx_host *h = NULL;
        unsigned at = 0;
        for (unsigned j = 0; j < v->nhosts; j++) {
            const struct mx_host *x = &v->hosts[j];
            if (taken[j] ||
                (h && (x->preference > h->preference ||
                       (x->preference == h->preference && str_cmp(x->name, h->name) >= 0))))
                continue;
            h = x;
            at = j;
        }
        if (!h)
            break;
        taken[at] = true;
        put_str16(&set, h->name);
        put_u16(&set, h->preference);
        if (n + h->name.n + NAME_SPARE >= SITE_NAME)
            continue;
        if (i)
            name[n++] = ',';
        n += host_put(name + n, SITE_NAME - n, h->name);
    }
    if (v->nhosts > 1) /* the same names with other preferences are another set */
        n += sum_put(name + n, SITE_NAME - n, &set);
    return n;
}

static struct site_host *
host_of(const struct site *s, const struct mx_host *from)
{
    for (unsigned i = 0; i < s->nhosts; i++) {
        if (str_eq(str_c(s->hosts[i].name), from->name))
            return &s->hosts[i];
    }
    return NULL;
}

/* Exactly these hosts, no more and no others: whoever can make a name for his hosts that is like
 * another site's must not get into that site. */
static bool
site_is_of(const struct site *s, const struct mx_result *v)
{
    if (!s->by_mx || s->nhosts != v->nhosts || s->implicit != v->implicit)
        return false;
    for (unsigned i = 0; i < v->nhosts; i++) {
        const struct site_host *h = host_of(s, &v->hosts[i]);
        if (!h || (v->nhosts > 1 && h->preference != v->hosts[i].preference))
            return false;
    }
    return true;
}

static bool
site_host_of(struct site *s, const struct mx_result *v, const struct mx_host *from, uint64_t until)
{
    struct site_host *h = host_of(s, from);

    if (!h) /* a fresh site */
        h = site_add_host(s, from->name, (uint16_t)s->c->delivery->mx_port, from->preference,
                          INSIDE_SMTP, STR_NONE);
    if (!h)
        return false;
    h->naddrs = MIN(from->n, SITE_ADDRS);
    memcpy(h->addrs, v->addrs + from->first, h->naddrs * sizeof h->addrs[0]);
    h->addrs_until = until;
    return true;
}

struct site *
dest_mx_site(struct courier *c, const struct conf_section *route, const struct mx_result *v)
{
    uint64_t until = clock_mono() + MAX(v->ttl, 60u) * NS_PER_S;
    char name[SITE_NAME];
    size_t n = site_name(route, v, name);
    bool fresh = false, good = true;
    struct site *s = NULL;

    for (unsigned like = 0; like < SITES_ALIKE; like++) {
        if (like > 0)
            str_fmt(name + n, SITE_NAME - n, "~%u", like + 1);
        s = site_get(c, str_c(name), &fresh);
        if (!s || fresh || site_is_of(s, v))
            break;
        s = NULL;
    }
    if (!s)
        return NULL;
    if (fresh) {
        good = dest_site_set(c, s, route ? route->data : NULL);
        s->by_mx = true;
        s->implicit = v->implicit;
    }
    for (unsigned i = 0; i < v->nhosts && good; i++)
        good = site_host_of(s, v, &v->hosts[i], until);
    if (good)
        return s;
    site_release(s);
    return NULL;
}

/* Without a site its mail is tried again later: nothing else would look at it. */
static void
mx_join(struct courier *c, const struct mx_asking *q, struct mx_result *v)
{
    struct site *s = dest_mx_site(c, q->route, v);

    if (s && index_dest(&c->index, q->dest)->site == s) {
        index_dest(&c->index, q->dest)->fresh = fresh_until(c, v->ttl);
        return;
    }
    if (s) {
        dest_join(c, q->dest, s, fresh_until(c, v->ttl)); /* q is gone now */
        return;
    }
    v->failure = MX_FAIL_TEMPORARY;
    str_fmt(v->enhanced, sizeof v->enhanced, "4.3.2");
    str_fmt(v->text, sizeof v->text,
            "there is no room for another set of mail hosts that is named like this one");
    mx_failed(c, q->dest, v);
}

static size_t
own_names(const struct courier *c, struct str *names)
{
    size_t n = 0;

    names[n++] = c->main->hostname;
    for (size_t i = 0; i < c->sources.n && n < OWN_NAMES; i++) {
        if (!c->sources.items[i].gone && c->sources.items[i].ehlo[0])
            names[n++] = str_c(c->sources.items[i].ehlo);
    }
    return n;
}

static void
own_look(const struct courier *c, const struct addr *a, struct addr *own, size_t *n)
{
    const struct endpoint e = {.addr = *a, .port = (uint16_t)c->delivery->mx_port};

    for (size_t i = 0; i < *n; i++) {
        if (addr_eq(&own[i], a))
            return;
    }
    if (*n < OWN_ADDRS && c->links.listens(c->links.listens_ctx, &e))
        own[(*n)++] = *a;
}

/* Those of the addresses known so far at which we would meet ourselves, under whatever name. */
static size_t
own_addrs(const struct mx_asking *q, struct addr *own)
{
    const struct courier *c = q->c;
    unsigned looks = 0;
    struct addr a;
    size_t n = 0;

    if (!c->links.listens)
        return 0;
    if (mx_literal_addr(q->domain, &a) == 0)
        own_look(c, &a, own, &n);
    for (size_t i = 0; i < q->nanswers; i++) {
        const struct dns_answer *from = q->answers[i];
        for (size_t k = 0; k < from->n && looks < OWN_LOOKS; k++) {
            if (from->records[k].type != DNS_A && from->records[k].type != DNS_AAAA)
                continue;
            own_look(c, &from->records[k].addr, own, &n);
            looks++;
        }
    }
    return n;
}

/* A private copy: the client's cache may turn over before the law runs again. */
static const struct dns_answer *
answer_copy(struct arena *a, const struct dns_answer *from)
{
    struct dns_answer *to = ARENA_NEW(a, struct dns_answer);

    if (!to)
        return NULL;
    *to = *from;
    to->name = arena_str(a, from->name);
    to->records = ARENA_ARRAY(a, struct dns_record, MAX(from->n, 1));
    if (!to->name.p || !to->records)
        return NULL;
    for (size_t i = 0; i < from->n; i++) {
        to->records[i] = from->records[i];
        to->records[i].name = arena_str(a, from->records[i].name);
        to->records[i].data = STR_NONE;
        if (!to->records[i].name.p)
            return NULL;
    }
    return to;
}

static void
mx_answer(void *ctx, const struct dns_answer *from)
{
    struct mx_ask *ask = ctx;
    struct mx_asking *q = ask->of;
    const struct dns_answer *copy = answer_copy(&q->arena, from);

    ask->open = false;
    if (copy && q->nanswers < ANSWERS_MAX)
        q->answers[q->nanswers++] = copy;
    if (--q->open == 0)
        loop_defer(q->c->loop, &q->step);
}

/* Asks what the law wants to know: 0, ERR_LIMIT if there is no room for a question now, or another
 * code if nobody can be asked. */
static int
mx_questions(struct mx_asking *q, const struct mx_result *v)
{
    bool full = false;

    if (++q->rounds > ROUNDS_MAX || !q->c->links.dns)
        return ERR_NOTFOUND;
    for (unsigned i = 0; i < v->nquestions; i++) {
        struct mx_ask *ask = &q->asks[i];
        struct str name = arena_str(&q->arena, v->questions[i].name);
        if (!name.p)
            continue;
        ask->of = q;
        ask->open = dns_client_ask(q->c->links.dns, name, v->questions[i].type, &ask->ask,
                                   mx_answer, ask) == 0;
        q->open += ask->open;
        full = full || (!ask->open && name.n <= DNS_NAME_LONG);
    }
    return q->open > 0 ? 0 : full ? ERR_LIMIT : ERR_NOTFOUND;
}

static void
mx_step(void *ctx)
{
    struct mx_asking *q = ctx;
    struct courier *c = q->c;
    const struct settings_route *route = q->route ? q->route->data : NULL;
    uint32_t dest = q->dest;
    struct index_dest *d = index_dest(&c->index, dest);
    struct str names[OWN_NAMES];
    struct addr addrs[OWN_ADDRS];
    struct mx_result *v = malloc(sizeof *v);
    int asked;
    struct mx_input in = {
        .domain = q->domain,
        .own_names = names,
        .nown_names = own_names(c, names),
        .own_addrs = addrs,
        .nown_addrs = own_addrs(q, addrs),
        .allow_private = route && route->allow_private,
        .v4 = true,
        .v6 = c->delivery->ipv6 != IPV6_NEVER,
        .seed = c->wall0 ^ c->links.node,
        .answers = q->answers,
        .nanswers = q->nanswers,
    };

    if (v)
        mx_run(&in, v);
    asked = v && v->status == MX_NEED ? mx_questions(q, v) : ERR_STATE;
    if (asked == 0) {
        free(v);
        return;
    }
    if (!d->site)
        d->state = DEST_NEW;
    if (!v || asked == ERR_LIMIT) { /* it takes its turn anew: nothing was learnt about it */
        free(v);
        dest_mx_cancel(d);
        dests_left(c);
        return;
    }
    if (v->status == MX_NEED) {
        v->status = MX_FAILED;
        v->failure = MX_FAIL_TEMPORARY;
        str_fmt(v->enhanced, sizeof v->enhanced, "4.4.3");
        str_fmt(v->text, sizeof v->text, "no DNS answer for %.*s can be had now",
                STR_ARG(str_sub(q->domain, 0, 200)));
    }
    if (v->status == MX_DONE) {
        mx_join(c, q, v); /* frees q by dest_leave() when it succeeds */
    } else if (d->site && v->failure == MX_FAIL_TEMPORARY) {
        d->fresh = c->index.wheel.now + FRESH_MIN; /* what was known holds until then */
    } else {
        if (d->site)
            dest_leave(c, dest); /* frees q */
        mx_failed(c, dest, v);
    }
    free(v);
    dest_mx_cancel(d);
}

void
dest_mx_ask(struct courier *c, uint32_t dest, const struct dest_way *way)
{
    struct index_dest *d = index_dest(&c->index, dest);
    struct mx_asking *q = c->sites->asking < ASKING_MAX ? calloc(1, sizeof *q) : NULL;

    if (!q) {
        dests_left(c);
        return;
    }
    c->sites->asking++;
    q->c = c;
    q->dest = dest;
    q->route = way->inside ? NULL : way->route;
    q->backup = way->backup;
    arena_init(&q->arena, 1u << 20);
    q->domain = arena_str(&q->arena, index_dest_domain(d));
    q->step = (struct loop_call){.fn = mx_step, .ctx = q};
    d->asking = q;
    if (!d->site) /* else what was known holds until the answer */
        d->state = DEST_ASKING;
    loop_defer(c->loop, &q->step);
}
