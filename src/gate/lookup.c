/*
 * gate/lookup.c - questions about recipients to keeper and courier, and a cache of the answers.
 *
 * Called by rcpt.c. Never blocks: an answer is in the table, or the asker waits in the entry's
 * list, together with all others who want to know the same.
 */
#include "gate/lookup.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/map.h"

#define ASKS_MAX 4096u /* questions open at once, each kind */
#define ASK_TIMEOUT                                                                                \
    (60 * NS_PER_S) /* a callout may have to connect; the client waits 5 minutes                   \
                     */
#define TEMPORARY_LIFE (10 * NS_PER_S)
#define INSIDE_MAX     65536u
#define TEXT_MAX       512u
#define ADDRESSES_MAX  60000u
#define KEY_MAX        1024u

struct lookup_entry {
    struct lookup *lookup;
    uint8_t kind;
    bool asked;     /* waits for an answer: never forgotten */
    bool telling;   /* its answer is being read: not now */
    uint64_t until; /* mono ns */
    uint64_t ask;
    struct lookup_wait *waits;
    struct lookup_entry *newer, *older;
    struct lookup_answer answer;
    char *texts; /* owns what the answer's views point at */
    size_t key_n;
    char key[]; /* kind, domain, NUL, address */
};
struct inside_entry {
    struct lookup_inside inside;
    size_t n;
    char domain[];
};
struct lookup {
    struct loop *loop;
    struct chan *chans[LOOKUP_KINDS];
    struct chan_asks *asks[LOOKUP_KINDS];
    const struct settings_smtp *conf;
    size_t max;
    uint64_t positive, negative;
    struct map map, inside;
    struct lookup_entry *newest, *oldest;
};

struct lookup *
lookup_create(const struct gate_links *links)
{
    struct lookup *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->loop = links->loop;
    l->chans[LOOKUP_DIRECTORY] = links->keeper;
    l->chans[LOOKUP_CALLOUT] = links->courier;
    l->max = 1024;
    map_init(&l->map, SIZE_MAX / 2, false);
    map_init(&l->inside, INSIDE_MAX, true);
    for (unsigned i = 0; i < LOOKUP_KINDS; i++) {
        l->asks[i] = chan_asks_create(links->loop, ASKS_MAX);
        if (!l->asks[i]) {
            lookup_free(l);
            return NULL;
        }
    }
    return l;
}

static void
entry_unlink(struct lookup *l, struct lookup_entry *e)
{
    if (e->newer)
        e->newer->older = e->older;
    else
        l->newest = e->older;
    if (e->older)
        e->older->newer = e->newer;
    else
        l->oldest = e->newer;
}

static void
entry_front(struct lookup *l, struct lookup_entry *e)
{
    e->newer = NULL;
    e->older = l->newest;
    if (l->newest)
        l->newest->newer = e;
    else
        l->oldest = e;
    l->newest = e;
}

static void
entry_free(struct lookup *l, struct lookup_entry *e)
{
    map_del(&l->map, str_of(e->key, e->key_n));
    entry_unlink(l, e);
    free(e->texts);
    free(e);
}

void
lookup_free(struct lookup *l)
{
    struct inside_entry *in;
    size_t at = 0;
    struct str key;

    if (!l)
        return;
    for (unsigned i = 0; i < LOOKUP_KINDS; i++)
        chan_asks_free(l->asks[i]);
    while (l->newest)
        entry_free(l, l->newest);
    while ((in = map_next(&l->inside, &at, &key)))
        free(in);
    map_done(&l->map);
    map_done(&l->inside);
    free(l);
}

void
lookup_conf(struct lookup *l, const struct settings_smtp *conf)
{
    l->max = conf->lookup_cache;
    l->positive = conf->callout_positive;
    l->negative = conf->callout_negative;
}

/* ---- answers ---- */

static void
wait_remove(struct lookup_wait *w)
{
    *w->prev = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->next = NULL;
    w->prev = NULL;
}

void
lookup_cancel(struct lookup_wait *w)
{
    if (w->prev)
        wait_remove(w);
}

/* Keeps the answer with its texts; a text that is not clean becomes none. */
static void
entry_keep(struct lookup_entry *e, const struct lookup_answer *a, uint64_t life)
{
    struct str text = str_sub(a->text, 0, TEXT_MAX);
    size_t n = text.n + a->addresses.n;
    char *texts = n ? malloc(n) : NULL;

    free(e->texts);
    e->texts = texts;
    e->answer = (struct lookup_answer){.result = a->result, .code = a->code};
    e->until = clock_mono() + life;
    if (!texts) {
        if (a->addresses.n) /* without its targets the answer would be another one */
            e->answer.result = LOOKUP_TEMPORARY;
        return;
    }
    if (text.n)
        memcpy(texts, text.p, text.n);
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)texts[i] < ' ' || texts[i] == 127)
            texts[i] = ' ';
    }
    if (a->addresses.n)
        memcpy(texts + text.n, a->addresses.p, a->addresses.n);
    e->answer.text = str_of(texts, text.n);
    e->answer.addresses = str_of(texts + text.n, a->addresses.n);
}

/* Calls all who wait. Each is taken out first: it may ask again, or free itself. */
static void
entry_tell(struct lookup_entry *e)
{
    struct lookup_wait *list = e->waits;

    e->waits = NULL;
    e->telling = true;
    if (list)
        list->prev = &list;
    while (list) {
        struct lookup_wait *w = list;

        wait_remove(w);
        w->fn(w->ctx, &e->answer);
    }
    e->telling = false;
}

/* u8 result, u32 ttl_s, u16 n, n * str address */
static uint64_t
read_directory(struct wire *body, struct lookup_answer *ret, struct buf *addresses)
{
    uint64_t life;
    unsigned n;

    ret->result = wire_u8(body);
    life = (uint64_t)wire_u32(body) * NS_PER_S;
    n = wire_u16(body);
    for (unsigned i = 0; i < n && !body->failed; i++) {
        buf_str(addresses, wire_str(body));
        buf_char(addresses, '\0');
    }
    ret->addresses = buf_view(addresses);
    if (addresses->failed)
        ret->result = LOOKUP_TEMPORARY;
    return life;
}

/* u8 result, u16 code, str text */
static uint64_t
read_callout(const struct lookup *l, struct wire *body, struct lookup_answer *ret)
{
    ret->result = wire_u8(body);
    ret->code = wire_u16(body);
    ret->text = wire_str(body);
    return ret->result == LOOKUP_FOUND ? l->positive : l->negative;
}

static void
entry_answered(void *ctx, int status, struct wire *body, int fd)
{
    struct lookup_entry *e = ctx;
    struct lookup_answer a = {.result = LOOKUP_TEMPORARY};
    struct buf addresses;
    uint64_t life = 0;

    fd_close(&fd);
    buf_init(&addresses, ADDRESSES_MAX);
    if (status == 0 && e->kind == LOOKUP_DIRECTORY)
        life = read_directory(body, &a, &addresses);
    else if (status == 0)
        life = read_callout(e->lookup, body, &a);
    if (status < 0 || !wire_end(body) || a.result > LOOKUP_REFUSED)
        a = (struct lookup_answer){.result = LOOKUP_TEMPORARY};
    if (a.result == LOOKUP_TEMPORARY)
        life = TEMPORARY_LIFE;
    entry_keep(e, &a, life);
    buf_done(&addresses);
    e->asked = false;
    entry_tell(e);
}

/* ---- questions ---- */

static int
entry_ask(struct lookup *l, struct lookup_entry *e, struct str domain, struct str address)
{
    static const uint16_t types[LOOKUP_KINDS] = {ASK_LOOKUP, ASK_CALLOUT};
    struct chan *chan = l->chans[e->kind];
    struct buf body;
    int rc;

    if (!chan || !chan_open(chan))
        return ERR_CLOSED;
    e->ask = chan_ask_add(l->asks[e->kind], ASK_TIMEOUT, entry_answered, e);
    if (!e->ask)
        return ERR_LIMIT;
    buf_init(&body, CHAN_BODY_MAX);
    put_str(&body, domain);
    if (e->kind == LOOKUP_CALLOUT)
        put_str(&body, STR_NONE); /* the null sender: an answer for everybody */
    put_str(&body, address);
    rc = body.failed ? ERR_NOMEM : chan_send(chan, types[e->kind], e->ask, &body, -1);
    buf_done(&body);
    if (rc < 0)
        chan_ask_cancel(l->asks[e->kind], e->ask);
    else
        e->asked = true;
    return rc;
}

static void
evict(struct lookup *l)
{
    struct lookup_entry *e = l->oldest;

    for (unsigned i = 0; e && l->map.n >= l->max && i < 64; i++) {
        struct lookup_entry *newer = e->newer;

        if (!e->asked && !e->waits && !e->telling)
            entry_free(l, e);
        e = newer;
    }
}

/* Its length; 0: too long. */
static size_t
entry_key(enum lookup_kind kind, struct str domain, struct str address, char key[KEY_MAX])
{
    size_t n = domain.n + address.n + 2;

    if (n > KEY_MAX)
        return 0;
    key[0] = (char)('0' + kind);
    memcpy(key + 1, domain.p, domain.n);
    key[domain.n + 1] = '\0';
    memcpy(key + domain.n + 2, address.p, address.n);
    return n;
}

bool
lookup_knows(const struct lookup *l, enum lookup_kind kind, struct str domain, struct str address)
{
    char key[KEY_MAX];
    size_t n = entry_key(kind, domain, address, key);
    const struct lookup_entry *e = n ? map_get(&l->map, str_of(key, n)) : NULL;

    return e && !e->asked && e->until > clock_mono();
}

static struct lookup_entry *
entry_get(struct lookup *l, enum lookup_kind kind, struct str domain, struct str address)
{
    char key[KEY_MAX];
    size_t n = entry_key(kind, domain, address, key);
    struct lookup_entry *e;

    if (!n)
        return NULL;
    e = map_get(&l->map, str_of(key, n));
    if (e) {
        entry_unlink(l, e);
        entry_front(l, e);
        return e;
    }
    evict(l);
    e = l->map.n < l->max + ASKS_MAX ? calloc(1, sizeof(*e) + n) : NULL;
    if (!e)
        return NULL;
    e->lookup = l;
    e->kind = (uint8_t)kind;
    e->key_n = n;
    memcpy(e->key, key, n);
    if (map_put(&l->map, str_of(e->key, n), e) < 0) {
        free(e);
        return NULL;
    }
    entry_front(l, e);
    return e;
}

int
lookup_get(struct lookup *l, enum lookup_kind kind, struct str domain, struct str address,
           struct lookup_wait *wait, void (*fn)(void *ctx, const struct lookup_answer *), void *ctx,
           const struct lookup_answer **ret)
{
    struct lookup_entry *e = entry_get(l, kind, domain, address);
    int rc;

    if (!e)
        return ERR_LIMIT;
    if (!e->asked && e->until > clock_mono()) {
        *ret = &e->answer;
        return 1;
    }
    if (!e->asked) {
        rc = entry_ask(l, e, domain, address);
        if (rc < 0)
            return rc;
    }
    *wait = (struct lookup_wait){.fn = fn, .ctx = ctx, .next = e->waits, .prev = &e->waits};
    if (wait->next)
        wait->next->prev = &wait->next;
    e->waits = wait;
    return 0;
}

void
lookup_lost(struct lookup *l, enum lookup_kind kind)
{
    chan_asks_fail(l->asks[kind], ERR_CLOSED);
}

/* ---- inside servers ---- */

/* str domain, u64 max_size, u8 bits */
static void
inside_told(struct lookup *l, struct wire *body)
{
    struct str domain = wire_str(body);
    struct inside_entry *e = map_get(&l->inside, domain);
    struct lookup_inside inside;

    inside.max_size = wire_u64(body);
    inside.bits = wire_u8(body);
    if (!wire_end(body) || !domain.n || domain.n > ADDRESS_DOMAIN_MAX)
        return;
    if (!e) {
        e = calloc(1, sizeof(*e) + domain.n);
        if (!e)
            return;
        memcpy(e->domain, domain.p, domain.n);
        e->n = domain.n;
        if (map_put(&l->inside, str_of(e->domain, e->n), e) < 0) {
            free(e);
            return;
        }
    }
    e->inside = inside;
}

bool
lookup_inside(const struct lookup *l, struct str domain, struct lookup_inside *ret)
{
    const struct inside_entry *e = l ? map_get(&l->inside, domain) : NULL;

    if (!e)
        return false;
    *ret = e->inside;
    return true;
}

bool
lookup_message(struct lookup *l, uint16_t type, uint64_t id, struct wire *body)
{
    enum lookup_kind kind = type == ASK_LOOKUP_ANSWER ? LOOKUP_DIRECTORY : LOOKUP_CALLOUT;

    if (type == TELL_INSIDE) {
        inside_told(l, body);
        return true;
    }
    if (type != ASK_LOOKUP_ANSWER && type != ASK_CALLOUT_ANSWER)
        return false;
    if (!chan_ask_answer(l->asks[kind], id, body, -1))
        wire_skip(body, wire_left(body)); /* it came too late */
    return true;
}
