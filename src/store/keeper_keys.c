/*
 * store/keeper_keys.c - the life of signing keys: looks their records up now and then, and lets the
 * law decide who signs.
 *
 * Called by the keeper, in its loop. Never sees a private key that is not sealed; never asks more
 * than a few questions of DNS at once.
 */
#include "core/clock.h"
#include "store/keeper_inner.h"
#include "store/keys.h"

#define PROBES_MAX 16u /* questions under way */
#define TICK_MOST  (60 * NS_PER_S)
#define TELL_GAP   NS_PER_S
#define DUE_MAX    4096u /* of one look: the next one begins when these are answered */

struct probe {
    struct keeper_keys *keys;
    struct dns_ask ask;
    bool open;
    char domain[256], selector[KEYS_SELECTOR_MAX + 1];
};

/* A key as the law and the look-ups see it. */
struct life {
    char domain[256], selector[KEYS_SELECTOR_MAX + 1];
    struct keys_fact fact;
    uint64_t checked;
};
struct lives {
    struct life *items;
    size_t n, cap;
};

struct keeper_keys {
    struct keeper *keeper;
    struct loop_timer tick;
    struct loop_call again;
    struct probe probes[PROBES_MAX];
    unsigned nprobes;
    struct lives due; /* of one look at the table: due.items[at] is the next */
    size_t at;
    bool more;    /* others were due as well */
    bool changed; /* since it was published last, at `told` */
    uint64_t told;
};

const struct settings_dkim *
keeper_dkim(const struct keeper *k)
{
    static const struct settings_dkim none = {.sign = true,
                                              .required = DKIM_REQUIRED_YES,
                                              .bits = 2048,
                                              .check = 300 * NS_PER_S,
                                              .recheck = 21600 * NS_PER_S,
                                              .settle = 900 * NS_PER_S,
                                              .grace = 604800 * NS_PER_S};
    const struct conf_section *s = conf_first(k->conf, "dkim");

    return s ? s->data : &none;
}

static void
notice(struct keeper *k, const char *text)
{
    if (k->links.notice)
        k->links.notice(k->links.ctx, text);
}

static int
lives_add(struct lives *all, const struct life *l)
{
    if (all->n == all->cap) {
        size_t cap = MAX(all->cap * 2, (size_t)16);
        struct life *items = reallocarray(all->items, cap, sizeof(*items));

        if (!items)
            return ERR_NOMEM;
        all->items = items;
        all->cap = cap;
    }
    all->items[all->n++] = *l;
    return 0;
}

/* False: nothing is to become of it, or its names are none (keys_publish() tells of such). */
static bool
life_of(const struct keys_row *row, struct life *l)
{
    *l = (struct life){.fact = {.state = row->state,
                                .alg = row->alg,
                                .number = row->number,
                                .since = row->since,
                                .seen = row->seen},
                       .checked = row->checked};
    return row->state < KEYS_RETIRED && str_copy(row->domain, l->domain, sizeof(l->domain)) &&
           str_copy(row->selector, l->selector, sizeof(l->selector));
}

static int
gather_row(void *ctx, const struct keys_row *row)
{
    struct lives *all = ctx;
    struct life l;

    return life_of(row, &l) ? lives_add(all, &l) : 0;
}

/* --- the law --- */

static void
tell_step(struct keeper *k, const struct life *l, enum keys_step step)
{
    char text[600];

    switch (step) {
    case KEYS_ACTIVATE:
        str_fmt(text, sizeof(text), "mail of %s is signed with the key %s from now on", l->domain,
                l->selector);
        break;
    case KEYS_RETIRE:
        str_fmt(text, sizeof(text),
                "the key %s of %s signs no more; leave its record %s._domainkey.%s in DNS until a "
                "Notice says that it can go",
                l->selector, l->domain, l->selector, l->domain);
        break;
    default:
        str_fmt(text, sizeof(text),
                "the private key %s of %s is erased; its record %s._domainkey.%s can be removed "
                "from DNS",
                l->selector, l->domain, l->selector, l->domain);
    }
    notice(k, text);
}

/* Each change has all keys published anew: while many are looked up, once a second. */
static void
keys_tell(struct keeper_keys *keys)
{
    uint64_t now = clock_mono();

    if (!keys->changed || (keys->nprobes && now - keys->told < TELL_GAP))
        return;
    keys->changed = false;
    keys->told = now;
    keeper_publish_soon(keys->keeper);
}

static void
keys_changed(struct keeper *k)
{
    if (!k->keys) {
        keeper_publish_soon(k);
        return;
    }
    k->keys->changed = true;
    keys_tell(k->keys);
}

/* One domain's keys: lives[0..n). */
static bool
law_domain(struct keeper *k, const struct life *lives, unsigned n)
{
    static const enum keys_state next[] = {
        [KEYS_ACTIVATE] = KEYS_ACTIVE, [KEYS_RETIRE] = KEYS_RETIRING, [KEYS_ERASE] = KEYS_RETIRED};
    const struct settings_dkim *d = keeper_dkim(k);
    const struct keys_times times = {d->settle / NS_PER_S, d->grace / NS_PER_S};
    struct keys_fact facts[KEYS_PER_DOMAIN];
    enum keys_step steps[KEYS_PER_DOMAIN];
    uint64_t now = clock_wall_s();
    bool changed = false;

    n = MIN(n, KEYS_PER_DOMAIN);
    for (unsigned i = 0; i < n; i++)
        facts[i] = lives[i].fact;
    if (!keys_law(facts, n, &times, now, steps))
        return false;
    for (unsigned i = 0; i < n; i++) {
        struct why why = {{0}};

        if (steps[i] == KEYS_STAY)
            continue;
        if (keys_change(k->store, str_c(lives[i].domain), str_c(lives[i].selector), next[steps[i]],
                        now, STR_NONE, &why) < 0) {
            keeper_problem(k, "the key %s of %s stays as it was: %s", lives[i].selector,
                           lives[i].domain, why.text);
            continue;
        }
        tell_step(k, &lives[i], steps[i]);
        changed = true;
    }
    return changed;
}

/* One domain's keys, in the order of their numbers. */
void
keeper_keys_run(struct keeper *k, struct str domain)
{
    struct lives all = {0};

    if (keys_each(k->store, domain, gather_row, &all) == 0 && all.n &&
        law_domain(k, all.items, (unsigned)MIN(all.n, (size_t)KEYS_PER_DOMAIN)))
        keys_changed(k);
    free(all.items);
}

/* --- records --- */

struct compare {
    const struct probe *probe;
    const struct dns_answer *answer;
    enum keys_seen found, before;
    uint8_t state;
};

static int
compare_row(void *ctx, const struct keys_row *row)
{
    struct compare *c = ctx;

    if (!str_eq(row->selector, str_c(c->probe->selector)))
        return 0;
    c->before = row->found;
    c->state = row->state;
    c->found = KEYS_MISSING;
    for (size_t i = 0; i < c->answer->n; i++) {
        enum keys_seen seen = c->answer->records[i].type == DNS_TXT
                                  ? keys_record_compare(c->answer->records[i].data, row)
                                  : KEYS_MISSING;

        if (seen == KEYS_PUBLISHED || c->found == KEYS_MISSING)
            c->found = seen;
    }
    return 0;
}

static void
probe_answered(void *ctx, const struct dns_answer *a)
{
    struct probe *p = ctx;
    struct keeper_keys *keys = p->keys;
    struct keeper *k = keys->keeper;
    struct compare c = {.probe = p, .answer = a};

    p->open = false;
    keys->nprobes--;
    if (a->status != DNS_TEMPORARY && a->status != DNS_BOGUS)
        (void)keys_each(k->store, str_c(p->domain), compare_row, &c);
    /* Removed meanwhile: nothing is found, and nothing needs to be. */
    (void)keys_found(k->store, str_c(p->domain), str_c(p->selector), c.found, clock_wall_s());
    if (c.found != KEYS_UNCHECKED && c.found != c.before) {
        if (c.state == KEYS_ACTIVE && c.found != KEYS_PUBLISHED)
            keeper_problem(k,
                           "mail of %s is signed with the key %s, and the record %s._domainkey.%s "
                           "is %s in DNS: receivers see no valid signature. Publish what `gapura "
                           "domain dkim show %s` says",
                           p->domain, p->selector, p->selector, p->domain, keys_seen_name(c.found),
                           p->domain);
        keys->changed = true;
    }
    if (c.found == KEYS_PUBLISHED)
        keeper_keys_run(k, str_c(p->domain));
    keys_tell(keys);
    if (keys->at < keys->due.n || (keys->more && !keys->nprobes))
        loop_defer(k->links.loop, &keys->again);
}

static bool
due(const struct settings_dkim *d, const struct life *l, uint64_t now)
{
    uint64_t gap = (l->fact.state == KEYS_WAITING ? d->check : d->recheck) / NS_PER_S;

    return l->checked > now || now - l->checked >= gap;
}

static bool
probing(const struct keeper_keys *keys, const struct life *l)
{
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        const struct probe *p = &keys->probes[i];

        if (p->open && !strcmp(p->domain, l->domain) && !strcmp(p->selector, l->selector))
            return true;
    }
    return false;
}

static void
probe_start(struct keeper_keys *keys, const struct life *l)
{
    struct keeper *k = keys->keeper;
    struct probe *p = keys->probes;
    char name[256 + KEYS_SELECTOR_MAX + 16];
    size_t n;

    while (p->open)
        p++;
    *p = (struct probe){.keys = keys, .open = true};
    str_fmt(p->domain, sizeof(p->domain), "%s", l->domain);
    str_fmt(p->selector, sizeof(p->selector), "%s", l->selector);
    n = str_fmt(name, sizeof(name), "%s._domainkey.%s", l->selector, l->domain);
    keys->nprobes++;
    if (dns_client_ask(k->links.dns, str_of(name, n), DNS_TXT, &p->ask, probe_answered, p) == 0)
        return;
    p->open = false;
    keys->nprobes--;
}

/* --- one look at the whole table --- */

struct look {
    struct keeper_keys *keys;
    const struct settings_dkim *dkim;
    uint64_t now;
    struct lives one; /* keys of the domain whose rows come now */
    struct lives act; /* one of each domain where the law says something */
};

static int
look_domain(struct look *l)
{
    const struct keys_times times = {l->dkim->settle / NS_PER_S, l->dkim->grace / NS_PER_S};
    struct keys_fact facts[KEYS_PER_DOMAIN];
    enum keys_step steps[KEYS_PER_DOMAIN];
    unsigned n = (unsigned)MIN(l->one.n, (size_t)KEYS_PER_DOMAIN);
    int r = 0;

    for (unsigned i = 0; i < n; i++)
        facts[i] = l->one.items[i].fact;
    if (n && keys_law(facts, n, &times, l->now, steps))
        r = lives_add(&l->act, &l->one.items[0]);
    l->one.n = 0;
    return r;
}

static int
look_row(void *ctx, const struct keys_row *row)
{
    struct look *l = ctx;
    struct keeper_keys *keys = l->keys;
    struct life life;
    int r = 0;

    if (!life_of(row, &life))
        return 0;
    if (l->one.n && strcmp(l->one.items[0].domain, life.domain) != 0)
        r = look_domain(l);
    if (r == 0 && l->one.n < KEYS_PER_DOMAIN)
        r = lives_add(&l->one, &life);
    if (r < 0 || !due(l->dkim, &life, l->now) || probing(keys, &life))
        return r;
    if (keys->due.n == DUE_MAX) {
        keys->more = true;
        return 0;
    }
    return lives_add(&keys->due, &life);
}

/* The table is read once for many records; those that are due are asked for a few at a time. */
static void
look_all(struct keeper_keys *keys)
{
    struct keeper *k = keys->keeper;
    struct look l = {.keys = keys, .dkim = keeper_dkim(k), .now = clock_wall_s()};

    keys->due.n = keys->at = 0;
    keys->more = false;
    if (keys_each(k->store, STR_NONE, look_row, &l) == 0)
        (void)look_domain(&l);
    for (size_t i = 0; i < l.act.n; i++)
        keeper_keys_run(k, str_c(l.act.items[i].domain));
    free(l.one.items);
    free(l.act.items);
}

static void
look(void *ctx)
{
    struct keeper_keys *keys = ctx;

    if (keys->at == keys->due.n)
        look_all(keys);
    if (!keys->keeper->links.dns)
        keys->at = keys->due.n;
    while (keys->at < keys->due.n && keys->nprobes < PROBES_MAX) {
        const struct life *l = &keys->due.items[keys->at++];

        if (!probing(keys, l))
            probe_start(keys, l);
    }
}

static void
on_tick(void *ctx)
{
    struct keeper_keys *keys = ctx;

    look(keys);
    loop_timer_set(&keys->tick, MIN(keeper_dkim(keys->keeper)->check, TICK_MOST));
}

int
keeper_keys_create(struct keeper *k)
{
    struct keeper_keys *keys = calloc(1, sizeof(*keys));

    if (!keys)
        return ERR_NOMEM;
    keys->keeper = k;
    keys->again = (struct loop_call){.fn = look, .ctx = keys};
    loop_timer_init(&keys->tick, k->links.loop, on_tick, keys);
    k->keys = keys;
    keeper_keys_conf(k);
    return 0;
}

void
keeper_keys_conf(struct keeper *k)
{
    if (k->keys)
        loop_timer_set(&k->keys->tick, MIN(keeper_dkim(k)->check, NS_PER_S));
}

void
keeper_keys_free(struct keeper *k)
{
    struct keeper_keys *keys = k->keys;

    if (!keys)
        return;
    for (unsigned i = 0; i < PROBES_MAX; i++)
        if (keys->probes[i].open)
            dns_ask_cancel(&keys->probes[i].ask);
    loop_timer_stop(&keys->tick);
    loop_call_cancel(k->links.loop, &keys->again);
    free(keys->due.items);
    free(keys);
    k->keys = NULL;
}
