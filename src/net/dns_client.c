/*
 * net/dns_client.c - the asking side: known answers, questions under way, who waits for them.
 *
 * Called by gate, courier and others that look up names. One entry per (type, name): it holds the
 * answer while it is fresh and the askers while it is open; the least recently used answers go
 * first. A question that the resolver works on longer than askers wait *lingers*: it holds its
 * place and is not asked a second time. Never calls an asker before dns_client_ask returned.
 */
#include <stdlib.h>

#include "core/clock.h"
#include "core/map.h"
#include "net/dns_inner.h"

#define DNS_TTL_MIN  5u /* seconds */
#define DNS_TTL_MAX  3600u
#define DNS_TTL_FAIL 10u
#define DNS_WAIT_NS  (15 * NS_PER_S) /* for the resolver, which gives up itself before that */
#define DNS_LINGER_NS                                                                              \
    (300 * NS_PER_S)        /* then a question that the resolver forgot is ours to forget */
#define DNS_QUOTA_MAX 8000u /* questions for strangers; the resolver takes some more */
#define DNS_KEY_MAX   1024u /* longer names are refused, not remembered */
#define DNS_ARENA_MAX (256u << 10)
#define DNS_BYTES_MAX (64u << 20) /* of all answers: a name can have 48 KB of them */

/* One allocation; lives while an entry or a delivery holds it. */
struct dns_known {
    unsigned refs;
    size_t bytes; /* with this struct */
    struct dns_answer answer;
};

struct dns_entry {
    struct dns_client *client;
    struct dns_known *known; /* NULL until first answered */
    uint64_t expires;        /* mono ns */
    uint64_t id;             /* of the question under way */
    struct dns_ask *asks;
    struct loop_call call;   /* hands `known` to the askers */
    struct loop_timer timer; /* for the resolver's answer */
    uint64_t lingers;        /* mono ns of the end of that; 0: the resolver is done with it */
    struct dns_quota *payer; /* of the question under way; NULL: the house's own */
    struct dns_entry *newer, *older;
    bool open, delivering;
    size_t key_n;
    char key[]; /* type (2 bytes), name */
};

struct dns_client {
    struct loop *loop;
    struct chan *chan;
    struct map map;
    struct dns_entry *newest, *oldest;
    unsigned n, max;
    size_t bytes; /* of what entries know */
    uint64_t ids;
    struct dns_quotas *quotas;
    struct arena arena; /* of one answer being decoded */
};

static struct dns_known *
dns_known_copy(const struct dns_answer *a)
{
    size_t bytes = a->name.n, at = sizeof(struct dns_known) + a->n * sizeof(struct dns_record);
    struct dns_known *k;
    struct dns_record *records;
    char *text;

    for (size_t i = 0; i < a->n; i++)
        bytes += a->records[i].name.n + a->records[i].data.n;
    k = calloc(1, at + bytes + 1);
    if (!k)
        return NULL;
    k->refs = 1;
    k->bytes = at + bytes + 1;
    k->answer = *a;
    records = (struct dns_record *)(void *)(k + 1);
    text = (char *)k + at;
    if (a->name.n)
        memcpy(text, a->name.p, a->name.n);
    k->answer.name.p = text;
    text += a->name.n;
    k->answer.records = records;
    for (size_t i = 0; i < a->n; i++) {
        struct str *parts[] = {&records[i].name, &records[i].data};

        records[i] = a->records[i];
        for (size_t j = 0; j < ARRAY_LEN(parts); j++) {
            if (parts[j]->n)
                memcpy(text, parts[j]->p, parts[j]->n);
            parts[j]->p = text;
            text += parts[j]->n;
        }
    }
    return k;
}

static void
dns_known_unref(struct dns_known *k)
{
    if (k && --k->refs == 0)
        free(k);
}

/* What the entry knows from now on; NULL: nothing. */
static void
dns_entry_know(struct dns_entry *e, struct dns_known *k)
{
    e->client->bytes += k ? k->bytes : 0;
    e->client->bytes -= e->known ? e->known->bytes : 0;
    dns_known_unref(e->known);
    e->known = k;
}

static void
dns_lru_out(struct dns_entry *e)
{
    struct dns_client *c = e->client;

    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void
dns_lru_in(struct dns_entry *e)
{
    struct dns_client *c = e->client;

    e->older = c->newest;
    e->newer = NULL;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

/* The resolver is done with the question, or gone. */
static void
dns_entry_over(struct dns_entry *e)
{
    e->lingers = 0;
    dns_quota_return(e->payer);
    e->payer = NULL;
}

static void
dns_entry_free(struct dns_entry *e)
{
    struct dns_client *c = e->client;

    while (e->asks) {
        struct dns_ask *ask = e->asks;

        e->asks = ask->next;
        ask->next = NULL;
        ask->prev = NULL;
    }
    loop_call_cancel(c->loop, &e->call);
    loop_timer_stop(&e->timer);
    dns_entry_over(e);
    dns_lru_out(e);
    (void)map_del(&c->map, str_of(e->key, e->key_n));
    dns_entry_know(e, NULL);
    c->n--;
    free(e);
}

struct dns_client *
dns_client_create(struct loop *loop, struct chan *to_resolver, unsigned max_cached)
{
    struct dns_client *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->loop = loop;
    c->chan = to_resolver;
    c->max = MAX(max_cached, 16u);
    c->quotas = dns_quotas_create(MIN(c->max / 2, DNS_QUOTA_MAX));
    if (!c->quotas) {
        free(c);
        return NULL;
    }
    map_init(&c->map, c->max, false);
    arena_init(&c->arena, DNS_ARENA_MAX);
    return c;
}

void
dns_client_free(struct dns_client *c)
{
    if (!c)
        return;
    while (c->newest)
        dns_entry_free(c->newest);
    dns_quotas_unref(c->quotas);
    map_done(&c->map);
    arena_done(&c->arena);
    free(c);
}

struct dns_quotas *
dns_client_quotas(struct dns_client *c)
{
    return c->quotas;
}

/* Fills key; 0 if the name is too long to be kept. */
static size_t
dns_key(struct str name, enum dns_type type, char key[DNS_KEY_MAX])
{
    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n + 2 > DNS_KEY_MAX)
        return 0;
    key[0] = (char)((unsigned)type >> 8);
    key[1] = (char)type;
    if (name.n)
        memcpy(key + 2, name.p, name.n);
    str_lower(key + 2, name.n);
    return name.n + 2;
}

static struct str
dns_entry_name(const struct dns_entry *e)
{
    return str_of(e->key + 2, e->key_n - 2);
}

static enum dns_type
dns_entry_type(const struct dns_entry *e)
{
    return (enum dns_type)((uint8_t)e->key[0] << 8 | (uint8_t)e->key[1]);
}

static bool
dns_entry_used(const struct dns_entry *e)
{
    return e->open || e->asks || e->delivering || e->payer;
}

/* Forgets the oldest answer that nobody waits for; false: there is none. Those in use go to the
 * front on the way: they would else stand at the end and each newcomer would walk over all of them.
 */
static bool
dns_evict(struct dns_client *c)
{
    for (unsigned left = c->n; left; left--) {
        struct dns_entry *e = c->oldest;

        if (!dns_entry_used(e)) {
            dns_entry_free(e);
            return true;
        }
        dns_lru_out(e);
        dns_lru_in(e);
    }
    return false;
}

/* Takes the answer (NULL: none could be had) and wakes the askers. */
static void
dns_entry_settle(struct dns_entry *e, const struct dns_answer *answer, bool keep)
{
    struct dns_answer none = {
        .name = dns_entry_name(e), .type = dns_entry_type(e), .status = DNS_TEMPORARY};
    struct dns_known *k = dns_known_copy(answer ? answer : &none);
    uint64_t ttl;

    e->open = false;
    loop_timer_stop(&e->timer);
    if (!k) { /* no memory: the askers hear what there was, or nothing until they time out */
        e->expires = 0;
    } else {
        bool failed = k->answer.status == DNS_TEMPORARY || k->answer.status == DNS_BOGUS;

        ttl = failed ? DNS_TTL_FAIL : MIN(MAX(k->answer.ttl, DNS_TTL_MIN), DNS_TTL_MAX);
        e->expires = keep ? clock_mono() + ttl * NS_PER_S : 0;
        dns_entry_know(e, k);
    }
    if (e->asks)
        loop_defer(e->client->loop, &e->call);
}

/* The deferred call: everybody who waits now hears the answer. */
static void
dns_entry_deliver(void *ctx)
{
    struct dns_entry *e = ctx;
    struct dns_ask *asks = e->asks, *ask;
    struct dns_known *k = e->known;

    if (!k || e->open) /* asked anew meanwhile: they wait for that */
        return;
    k->refs++;
    e->delivering = true;
    e->asks = NULL; /* who asks again from here on gets a turn of his own */
    if (asks)
        asks->prev = &asks;
    while ((ask = asks)) {
        dns_ask_cancel(ask);
        ask->fn(ask->ctx, &k->answer);
    }
    e->delivering = false;
    dns_known_unref(k);
}

/* Askers waited long enough, the resolver may not be done: it says so, or time does. */
static void
dns_entry_linger(struct dns_entry *e)
{
    uint64_t now = clock_mono();

    if (!e->lingers)
        e->lingers = now + DNS_LINGER_NS;
    if (e->open)
        dns_entry_settle(e, NULL, true);
    if (now < e->lingers)
        loop_timer_set(&e->timer, e->lingers - now);
    else
        dns_entry_over(e);
}

static void
dns_entry_timeout(void *ctx)
{
    dns_entry_linger(ctx);
}

static struct dns_entry *
dns_entry_new(struct dns_client *c, const char *key, size_t key_n)
{
    struct dns_entry *e;

    if (c->n >= c->max && !dns_evict(c))
        return NULL;
    e = calloc(1, sizeof(*e) + key_n);
    if (!e)
        return NULL;
    e->client = c;
    e->key_n = key_n;
    memcpy(e->key, key, key_n);
    e->call = (struct loop_call){.fn = dns_entry_deliver, .ctx = e};
    loop_timer_init(&e->timer, c->loop, dns_entry_timeout, e);
    if (map_put(&c->map, str_of(e->key, key_n), e) < 0) {
        free(e);
        return NULL;
    }
    dns_lru_in(e);
    c->n++;
    return e;
}

/* Puts the question to the resolver, or answers a name that cannot exist. */
static void
dns_entry_open(struct dns_entry *e, struct dns_quota *payer)
{
    struct dns_client *c = e->client;
    struct dns_answer never = {
        .name = dns_entry_name(e), .type = dns_entry_type(e), .status = DNS_NXDOMAIN};
    struct buf body;
    char normal[256];
    size_t n;
    int err;

    e->open = true;
    if (e->lingers) { /* the resolver is still at it */
        loop_timer_set(&e->timer, DNS_WAIT_NS);
        return;
    }
    e->payer = payer;
    e->id = ++c->ids;
    if (!dns_name_normal(dns_entry_name(e), normal, &n)) {
        never.ttl = DNS_TTL_MAX;
        dns_entry_over(e);
        dns_entry_settle(e, &never, true);
        return;
    }
    buf_init(&body, DNS_KEY_MAX);
    put_u16(&body, (uint16_t)dns_entry_type(e));
    put_str16(&body, dns_entry_name(e));
    err = chan_send(c->chan, DNS_MSG_ASK, e->id, &body, -1);
    buf_done(&body);
    if (err) {
        dns_entry_over(e);
        dns_entry_settle(e, NULL, false);
        return;
    }
    loop_timer_set(&e->timer, DNS_WAIT_NS);
}

static struct dns_entry *
dns_find(struct dns_client *c, struct str name, enum dns_type type)
{
    char key[DNS_KEY_MAX];
    size_t n = dns_key(name, type, key);

    return n ? map_get(&c->map, str_of(key, n)) : NULL;
}

const struct dns_answer *
dns_client_cached(struct dns_client *c, struct str name, enum dns_type type)
{
    struct dns_entry *e = dns_find(c, name, type);

    if (!e || e->open || !e->known || clock_mono() >= e->expires)
        return NULL;
    if (e != c->newest) {
        dns_lru_out(e);
        dns_lru_in(e);
    }
    return &e->known->answer;
}

int
dns_client_ask(struct dns_client *c, struct str name, enum dns_type type, struct dns_ask *ask,
               void (*fn)(void *ctx, const struct dns_answer *), void *ctx)
{
    return dns_client_ask_for(c, NULL, name, type, ask, fn, ctx);
}

/* Would the answer cost the resolver anything? */
static bool
dns_entry_costs(const struct dns_entry *e)
{
    return !e ||
           !(e->open || e->lingers || (e->known && clock_mono() < e->expires) || e->call.queued);
}

int
dns_client_ask_for(struct dns_client *c, struct dns_quota *quota, struct str name,
                   enum dns_type type, struct dns_ask *ask,
                   void (*fn)(void *ctx, const struct dns_answer *), void *ctx)
{
    char key[DNS_KEY_MAX];
    size_t n = dns_key(name, type, key);
    struct dns_entry *e = n ? map_get(&c->map, str_of(key, n)) : NULL;
    bool costs = n && dns_entry_costs(e);

    if (costs && dns_quota_charge(quota) < 0)
        return ERR_LIMIT;
    if (!e && n)
        e = dns_entry_new(c, key, n);
    if (!e) {
        if (costs)
            dns_quota_return(quota);
        return ERR_LIMIT;
    }
    dns_lru_out(e);
    dns_lru_in(e);
    *ask = (struct dns_ask){.fn = fn, .ctx = ctx, .next = e->asks, .prev = &e->asks};
    if (ask->next)
        ask->next->prev = &ask->next;
    e->asks = ask;
    if (e->open)
        return 0;
    if (e->known && (clock_mono() < e->expires || e->call.queued))
        loop_defer(c->loop, &e->call);
    else
        dns_entry_open(e, costs ? quota : NULL);
    return 0;
}

void
dns_ask_cancel(struct dns_ask *ask)
{
    if (!ask->prev)
        return;
    *ask->prev = ask->next;
    if (ask->next)
        ask->next->prev = ask->prev;
    ask->next = NULL;
    ask->prev = NULL;
}

bool
dns_client_message(struct dns_client *c, uint16_t type, uint64_t id, struct wire *body)
{
    struct dns_answer answer;
    struct dns_entry *e;

    if (type != DNS_MSG_ANSWER)
        return false;
    arena_reset(&c->arena);
    if (dns_answer_decode(body, &c->arena, &answer) < 0)
        return true; /* `body` has failed, which ends the channel */
    e = dns_find(c, answer.name, answer.type);
    if (!e || e->id != id || !(e->open || e->lingers))
        return true;
    if (answer.later) {
        dns_entry_linger(e);
        return true;
    }
    dns_entry_over(e);
    dns_entry_settle(e, &answer, true);
    while (c->bytes > DNS_BYTES_MAX && dns_evict(c))
        ;
    return true;
}

void
dns_client_lost(struct dns_client *c)
{
    for (struct dns_entry *e = c->newest; e; e = e->older) {
        dns_entry_over(e);
        if (e->open)
            dns_entry_settle(e, NULL, false);
        else
            loop_timer_stop(&e->timer);
    }
}
