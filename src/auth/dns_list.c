/*
 * auth/dns_list.c - what DNS lists say, and whether they may be believed.
 *
 * Called by the check `dns_list` through auth/evidence.h. Never asks anybody, and knows no weight
 * that decides: a list makes findings and nothing else.
 */
#include <stdlib.h>

#include "auth/dns_list.h"
#include "core/clock.h"
#include "core/err.h"

#define MINUTE       (60 * NS_PER_S)
#define WELL_NS      (60 * MINUTE)     /* until its test points are looked at again */
#define SICK_NS      (10 * MINUTE)     /* until a list that is not as it must be is tried again */
#define SILENT_NS    (1 * MINUTE)      /* until one that does not answer is */
#define REMIND_NS    (6 * 60 * MINUTE) /* between two words about the same trouble */
#define FAILURES_MAX 5u                /* in a row: then its test points are looked at anew */
#define ARENA_MAX    (256u << 10)
#define SHOWN_CODES  8u

enum state { LIST_UNTESTED, LIST_GOOD, LIST_OFF };
struct health { /* of one family's part */
    enum state state;
    uint64_t until;
    unsigned failures;
    bool told; /* that it is not well */
};
struct list {
    struct str name;
    const struct settings_dns_list *conf;
    struct dns_list_code codes[DNS_LIST_CODES_MAX];
    unsigned ncodes;
    struct health health[2];           /* addresses of IPv4 and all names; addresses of IPv6 */
    uint64_t told[DNS_LIST_TROUBLES_]; /* when, so that it is not said with each message */
};
struct dns_lists {
    struct arena arena;
    struct list *lists;
    size_t n;
};

/* ---- made from the settings ---- */

static void
list_fill(struct list *l, const struct conf_section *s)
{
    const struct settings_dns_list *conf = s->data;
    const struct str *codes = conf->codes.items;

    l->name = s->label;
    l->conf = conf;
    for (size_t i = 0; i < conf->codes.n && l->ncodes < DNS_LIST_CODES_MAX; i++)
        l->ncodes += dns_list_code_parse(codes[i], (enum dns_list_kind)conf->kind,
                                         &l->codes[l->ncodes]) == 0;
}

int
dns_lists_create(struct dns_lists **ret, const struct conf *conf, struct why *why)
{
    const struct conf_section *s;
    struct dns_lists *all;
    size_t n = 0;

    *ret = NULL;
    for (s = conf_first(conf, "dns_list"); s; s = conf_next(s))
        n++;
    if (!n)
        return 0;
    if (n > DNS_LISTS_MAX)
        return why_set(why, ERR_LIMIT, "there are %zu dns_list blocks: at most %u are asked", n,
                       DNS_LISTS_MAX);
    all = calloc(1, sizeof(*all));
    if (!all)
        return why_set(why, ERR_NOMEM, "no memory for DNS lists");
    arena_init(&all->arena, ARENA_MAX);
    all->lists = ARENA_ARRAY(&all->arena, struct list, n);
    if (!all->lists) {
        dns_lists_free(all);
        return why_set(why, ERR_NOMEM, "no memory for DNS lists");
    }
    for (s = conf_first(conf, "dns_list"); s; s = conf_next(s))
        list_fill(&all->lists[all->n++], s);
    *ret = all;
    return 0;
}

void
dns_lists_free(struct dns_lists *all)
{
    if (!all)
        return;
    arena_done(&all->arena);
    free(all);
}

/* ---- one run ---- */

struct run {
    const struct dns_lists_input *in;
    const struct auth_answers *answers;
    struct auth_needs *needs;
    struct arena *arena;
    struct dns_lists_report *report;
    bool waits;
};

static void
tell(struct run *r, struct list *l, enum dns_list_trouble trouble, const struct addr *answer)
{
    struct dns_lists_report *report = r->report;

    if (l->told[trouble] && r->in->now - l->told[trouble] < REMIND_NS)
        return;
    if (report->nwords == ARRAY_LEN(report->words))
        return;
    l->told[trouble] = MAX(r->in->now, UINT64_C(1));
    report->words[report->nwords++] = (struct dns_list_word){
        .list = l->name, .trouble = trouble, .answer = answer ? *answer : (struct addr){{0}}};
}

/* What kind of answer it is, whatever its codes mean. */
enum said { SAID_NOTHING, SAID_LISTED, SAID_NO, SAID_TROUBLE };

static enum said
classify(const struct dns_answer *a, enum dns_list_trouble *ret_trouble, struct addr *ret_answer)
{
    static const uint8_t refused[3] = {127, 255, 255};

    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        return SAID_NOTHING;
    for (size_t i = 0; i < a->n; i++) {
        const uint8_t *v4 = a->records[i].addr.b + 12;

        if (a->records[i].type != DNS_A || !addr_is_v4(&a->records[i].addr))
            continue;
        *ret_answer = a->records[i].addr;
        if (v4[0] != 127) {
            *ret_trouble = DNS_LIST_FOREIGN;
            return SAID_TROUBLE;
        }
        if (memcmp(v4, refused, sizeof(refused)))
            continue;
        *ret_trouble = v4[3] == 252   ? DNS_LIST_TYPO
                       : v4[3] == 254 ? DNS_LIST_PUBLIC
                       : v4[3] == 255 ? DNS_LIST_QUOTA
                                      : DNS_LIST_REFUSES;
        return SAID_TROUBLE;
    }
    return a->n ? SAID_LISTED : SAID_NO;
}

static void
switch_off(struct run *r, struct list *l, struct health *h, enum dns_list_trouble trouble,
           const struct addr *answer)
{
    h->state = LIST_OFF;
    h->until = r->in->now + (trouble == DNS_LIST_SILENT ? SILENT_NS : SICK_NS);
    h->failures = 0;
    h->told = true;
    tell(r, l, trouble, answer);
}

static const struct dns_answer *
ask(struct run *r, const struct list *l, const char *what)
{
    char name[256];

    str_fmt(name, sizeof(name), "%s.%.*s", what, STR_ARG(l->conf->zone));
    return auth_ask(r->answers, r->needs, str_c(name), DNS_A);
}

/* Reversed, as in-addr.arpa and ip6.arpa have it, without those. */
static void
reversed(const struct addr *a, char dst[80])
{
    addr_reverse(a, dst);
    *strstr(dst, addr_is_v4(a) ? ".in-addr.arpa" : ".ip6.arpa") = '\0';
}

/* The names that a list must have, and must not have (RFC 5782 5). */
static void
test_points(const struct list *l, bool six, char must[80], char must_not[80])
{
    struct addr a = {{0}};

    if (l->conf->of != DNS_LIST_CLIENT) {
        str_fmt(must, 80, "test");
        str_fmt(must_not, 80, "invalid");
        return;
    }
    /* ::ffff:127.0.0.2 as an IPv6 address: its nibbles, not the IPv4 form. */
    (void)addr_parse(six ? STR("::7f00:2") : STR("127.0.0.2"), &a);
    reversed(&a, must);
    if (six)
        memcpy(must + strlen("2.0.0.0.0.0.f.7."), "f.f.f.f.", 8);
    memcpy(must_not, must, 80);
    must_not[0] = '1';
}

/* May it be asked? LIST_UNTESTED: its test points are waited for. */
static enum state
health_of(struct run *r, struct list *l, struct health *h, bool late)
{
    enum dns_list_trouble trouble = DNS_LIST_SILENT;
    const struct dns_answer *has, *has_not;
    char must[80], must_not[80];
    struct addr answer;
    enum said said, said_not;

    if (h->state != LIST_UNTESTED && r->in->now < h->until)
        return h->state;
    test_points(l, h == &l->health[1], must, must_not);
    has = ask(r, l, must);
    has_not = ask(r, l, must_not);
    if ((!has || !has_not) && !late)
        return LIST_UNTESTED;
    said = has ? classify(has, &trouble, &answer) : SAID_NOTHING;
    if (said != SAID_TROUBLE) {
        said_not = has_not ? classify(has_not, &trouble, &answer) : SAID_NOTHING;
        if (said_not == SAID_TROUBLE)
            said = said_not;
        else if (said_not == SAID_LISTED)
            trouble = DNS_LIST_ALL;
        else if (said == SAID_NO)
            trouble = DNS_LIST_NOTHING;
        else if (said == SAID_LISTED && said_not == SAID_NO)
            trouble = DNS_LIST_WELL;
    }
    if (trouble == DNS_LIST_SILENT && r->in->hindered)
        return LIST_OFF; /* for this message: it is not the list's fault */
    if (trouble != DNS_LIST_WELL) {
        switch_off(r, l, h, trouble, said == SAID_TROUBLE ? &answer : NULL);
        return LIST_OFF;
    }
    h->state = LIST_GOOD;
    h->until = r->in->now + WELL_NS;
    if (h->told) {
        memset(l->told, 0, sizeof(l->told));
        tell(r, l, DNS_LIST_WELL, NULL);
    }
    h->told = false;
    return LIST_GOOD;
}

/* What is looked up in that list, as a name in front of its zone; false: nothing. */
static bool
subject_of(const struct run *r, const struct list *l, char name[256], struct str *ret)
{
    const struct addr *client = r->in->client;
    const struct prefix *trusted = l->conf->trusted.items;
    struct str domain = l->conf->of == DNS_LIST_SENDER ? r->in->sender : r->in->helo;
    char shown[80];
    struct addr literal;
    size_t n;

    for (size_t i = 0; i < l->conf->trusted.n; i++) {
        if (prefix_has(&trusted[i], client))
            return false;
    }
    if (addr_is_bogus(client)) /* private, loopback: no list knows it, and none need know of it */
        return false;
    if (l->conf->of == DNS_LIST_CLIENT) {
        if (!addr_is_v4(client) && !l->conf->ipv6)
            return false;
        reversed(client, name);
        *ret = arena_str(r->arena, str_c(addr_show(client, shown)));
        return ret->p != NULL;
    }
    if (domain.n + 1 + l->conf->zone.n > 253 || !auth_name_normal(domain, name, &n) || !n ||
        name[0] == '[' || memchr(name, '.', n) == NULL || addr_parse(domain, &literal) == 0)
        return false;
    *ret = domain;
    return true;
}

static const struct dns_list_code *
code_of(const struct list *l, const uint8_t v4[4])
{
    for (unsigned i = 0; i < l->ncodes; i++) {
        const struct dns_list_code *c = &l->codes[i];
        bool fits = true;

        for (unsigned k = 0; k < 4; k++)
            fits = fits && (c->bits[k] ? c->bits[k] == 255 || (v4[k] & c->bits[k])
                                       : v4[k] >= c->from[k] && v4[k] <= c->to[k]);
        if (fits)
            return c;
    }
    return NULL;
}

/* Several codes are one finding: the one that the settings name first. */
static void
found(struct run *r, struct list *l, const struct dns_answer *a, struct str subject)
{
    struct dns_lists_report *report = r->report;
    const struct dns_list_code *best = NULL;
    char codes[SHOWN_CODES * 20], shown[48];
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        const struct addr *answer = &a->records[i].addr;
        const struct dns_list_code *c = code_of(l, answer->b + 12);

        if (!c) { /* it may mean anything, also "ask no more": nobody is judged by half of it */
            tell(r, l, DNS_LIST_UNNAMED, answer);
            return;
        }
        best = !best || c < best ? c : best;
        if (i < SHOWN_CODES)
            n += str_fmt(codes + n, sizeof(codes) - n, "%s%s", n ? " " : "",
                         addr_show(answer, shown));
    }
    if (!best || report->nhits == DNS_LISTS_MAX)
        return;
    report->hits[report->nhits++] =
        (struct dns_list_hit){.list = l->name,
                              .subject = subject,
                              .codes = arena_str(r->arena, str_of(codes, n)),
                              .name = best->name};
}

static void
judge(struct run *r, struct list *l, struct health *h, const struct dns_answer *a,
      struct str subject)
{
    enum dns_list_trouble trouble;
    struct addr answer;

    switch (a ? classify(a, &trouble, &answer) : SAID_NOTHING) {
    case SAID_NOTHING:
        if (!r->in->hindered && ++h->failures >= FAILURES_MAX) {
            h->failures = 0;
            h->state = LIST_UNTESTED;
        }
        break;
    case SAID_TROUBLE:
        switch_off(r, l, h, trouble, &answer);
        break;
    case SAID_LISTED:
        h->failures = 0;
        found(r, l, a, subject);
        break;
    case SAID_NO:
        h->failures = 0;
        break;
    }
}

/* Asks, or with `last` judges: what is judged is judged once, when all have answered. */
static void
run_list(struct run *r, struct list *l, bool last)
{
    bool six = l->conf->of == DNS_LIST_CLIENT && !addr_is_v4(r->in->client);
    bool late = r->in->elapsed_ns >= l->conf->timeout;
    struct health *h = &l->health[six];
    const struct dns_answer *a;
    struct str subject;
    char name[256];
    enum state state;

    if (!subject_of(r, l, name, &subject))
        return;
    state = health_of(r, l, h, late);
    if (state == LIST_OFF)
        return;
    a = ask(r, l, name);
    if (last && state == LIST_GOOD)
        judge(r, l, h, a, subject);
    if (last || late || (state == LIST_GOOD && a))
        return;
    r->waits = true;
    r->report->wait_ns = MIN(r->report->wait_ns, l->conf->timeout - r->in->elapsed_ns);
}

enum auth_state
dns_lists_run(struct dns_lists *all, const struct dns_lists_input *in,
              const struct auth_answers *answers, struct auth_needs *needs, struct arena *arena,
              struct dns_lists_report *ret)
{
    struct run r = {.in = in, .answers = answers, .needs = needs, .arena = arena, .report = ret};

    needs->n = 0;
    needs->full = false;
    ret->nhits = ret->nwords = 0;
    ret->wait_ns = UINT64_MAX;
    for (size_t i = 0; all && i < all->n; i++)
        run_list(&r, &all->lists[i], false);
    if (r.waits)
        return AUTH_NEED;
    for (size_t i = 0; all && i < all->n; i++)
        run_list(&r, &all->lists[i], true);
    needs->n = 0;
    return AUTH_DONE;
}
