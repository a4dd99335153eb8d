/*
 * store/keeper_make.c - control verbs that make signing keys: domain.dkim.add, import, rotate.
 *
 * New keys are the keyring's work: the verb ends when it has answered. A key that is imported
 * passes through here once, to the keyring; it is wiped and never stored.
 */
#include <time.h>

#include "core/clock.h"
#include "store/keeper_domain.h"

#define MAKE_WAIT (50 * NS_PER_S) /* less than the command line waits */
#define CALLS_MAX 32u

struct domain_call {
    struct keeper *keeper;
    struct keeper_reply reply;
    char domain[256], tenant[256];
    struct {
        char selector[KEYS_SELECTOR_MAX + 1];
        uint8_t alg;
        unsigned bits;
    } todo[2];
    unsigned ntodo, at;
    struct buf text; /* of an imported key; wiped */
    bool imported;
    uint64_t ask;
    struct domain_call *next;
};

static void
call_end(struct domain_call *d, int status, const char *text)
{
    struct domain_call **p = &d->keeper->domain_calls;

    while (*p && *p != d)
        p = &(*p)->next;
    if (*p)
        *p = d->next;
    if (d->ask)
        chan_ask_cancel(d->keeper->key_asks, d->ask);
    seal_wipe(&d->text);
    d->reply.end(d->reply.ctx, status, text);
    free(d);
}

static bool
selector_free(struct keeper *k, struct str domain, const char *selector)
{
    struct keeper_summary s = {.selector = str_c(selector)};

    return keys_each(k->store, domain, keeper_summary_row, &s) == 0 && !s.taken;
}

/* prefix, date, r or e, and a number if that was used already. */
static bool
selector_make(struct keeper *k, struct str domain, uint8_t alg, char dst[KEYS_SELECTOR_MAX + 1])
{
    const struct settings_dkim *d = keeper_dkim(k);
    struct str prefix = d->selector.n ? d->selector : STR("g");
    time_t now = (time_t)clock_wall_s();
    struct tm tm;
    char day[16];

    if (!gmtime_r(&now, &tm) || !strftime(day, sizeof(day), "%Y%m%d", &tm))
        return false;
    for (unsigned i = 1; i < 100; i++) {
        str_fmt(dst, KEYS_SELECTOR_MAX + 1, "%.*s%s%c", STR_ARG(prefix), day,
                alg == KEYS_ED25519 ? 'e' : 'r');
        if (i > 1)
            str_fmt(dst + strlen(dst), KEYS_SELECTOR_MAX + 1 - strlen(dst), "%u", i);
        if (selector_free(k, domain, dst))
            return true;
    }
    return false;
}

/* --- making keys --- */

static void call_next(struct domain_call *);

static void
call_store(struct domain_call *d, uint8_t alg, unsigned bits, struct str public, struct str sealed)
{
    struct keeper *k = d->keeper;
    uint64_t now = clock_wall_s();
    struct why why = {{0}};
    struct keys_row row = {.domain = str_c(d->domain),
                           .selector = str_c(d->todo[d->at].selector),
                           .tenant = str_c(d->tenant),
                           .public = public,
                           .sealed = sealed,
                           .created = now,
                           .since = now,
                           .alg = alg,
                           .bits = bits,
                           .state = KEYS_WAITING};

    if (keys_add(k->store, &row, &why) < 0) {
        call_end(d, 1, why.text);
        return;
    }
    /* To look at once would only teach our resolver that there is no record. */
    if (!d->imported)
        (void)keys_found(k->store, row.domain, row.selector, KEYS_UNCHECKED, now);
    keeper_publish_soon(k);
    keeper_domain_line(&d->reply, &row, true);
    d->at++;
    call_next(d);
}

static void
on_made(void *ctx, int status, struct wire *body, int fd)
{
    struct domain_call *d = ctx;
    bool good = wire_u8(body) != 0;
    struct str why = wire_str(body);
    uint8_t alg = wire_u8(body);
    unsigned bits = wire_u16(body);
    struct str public = wire_str(body), sealed = wire_str(body);
    char text[300];

    fd_close(&fd);
    d->ask = 0;
    if (status < 0 || !wire_end(body) || alg > KEYS_ED25519)
        call_end(d, 1,
                 "the keyring did not answer; no key was added. `gapura status` shows whether it "
                 "runs; try again");
    else if (good)
        call_store(d, alg, bits, public, sealed);
    else {
        str_fmt(text, sizeof(text), "no key was added: %.*s", STR_ARG(why));
        call_end(d, 1, text);
    }
}

static void
call_finish(struct domain_call *d)
{
    char text[400];

    str_fmt(text, sizeof(text),
            "Publish the record%s above. %s signs with the new key%s soon after it is seen in DNS, "
            "or at once with `gapura domain dkim activate %s`.",
            d->ntodo == 1 ? "" : "s", d->domain, d->ntodo == 1 ? "" : "s", d->domain);
    keeper_keys_conf(d->keeper); /* an imported key may be published already */
    call_end(d, 0, text);
}

static void
call_next(struct domain_call *d)
{
    struct keeper *k = d->keeper;
    struct buf b;
    int r = ERR_CLOSED;

    if (d->at == d->ntodo) {
        call_finish(d);
        return;
    }
    buf_init(&b, CHAN_BODY_MAX);
    put_str(&b, str_c(d->domain));
    put_str(&b, str_c(d->todo[d->at].selector));
    put_str(&b, str_c(d->tenant));
    put_u8(&b, d->todo[d->at].alg);
    put_u16(&b, (uint16_t)d->todo[d->at].bits);
    put_str(&b, buf_view(&d->text));
    if (k->links.keyring && chan_open(k->links.keyring) && !b.failed)
        d->ask = chan_ask_add(k->key_asks, MAKE_WAIT, on_made, d);
    if (d->ask)
        r = chan_send(k->links.keyring, ASK_KEY_MAKE, d->ask, &b, -1);
    seal_wipe(&b);
    if (r < 0)
        call_end(d, 1,
                 "the keyring is not there, and it alone makes keys; nothing was added. It runs "
                 "unless `wings = inbound`; try again in a moment");
}

/* A call that waits for the keyring; NULL: the verb has ended. */
static struct domain_call *
call_create(const struct verb_call *c, struct str domain, struct str tenant)
{
    struct keeper *k = c->keeper;
    unsigned n = 0;
    struct domain_call *d;

    for (d = k->domain_calls; d; d = d->next)
        n++;
    d = n < CALLS_MAX ? calloc(1, sizeof(*d)) : NULL;
    if (!d || !str_copy(domain, d->domain, sizeof(d->domain)) ||
        !str_copy(tenant, d->tenant, sizeof(d->tenant))) {
        free(d);
        verb_end(c, 1, "many keys are being made: try again in a minute; nothing was changed");
        return NULL;
    }
    d->keeper = k;
    d->reply = *c->reply;
    buf_init(&d->text, SEAL_CLEAR_MAX);
    d->next = k->domain_calls;
    k->domain_calls = d;
    return d;
}

/* Whose keys the domain's are: what was asked, what they are so far, what the settings say. */
static bool
find_tenant(const struct verb_call *c, struct str domain, const struct keeper_summary *s,
            struct str *ret)
{
    struct str want = verb_arg(c, "tenant");
    const struct conf_section *section = conf_find(c->keeper->conf, "domain", domain);
    char text[700];

    if (s->any && want.n && !str_eq(want, str_c(s->tenant))) {
        str_fmt(text, sizeof(text),
                "%.*s has keys of %s%s; a domain has one owner: retire or remove these first",
                STR_ARG(domain), s->tenant[0] ? "the tenant " : "the system", s->tenant);
        verb_end(c, 1, text);
        return false;
    }
    *ret = want.n    ? want
           : s->any  ? str_c(s->tenant)
           : section ? ((const struct settings_domain *)section->data)->tenant
                     : STR_NONE;
    if (!ret->n || conf_find(c->keeper->conf, "tenant", *ret))
        return true;
    verb_end(c, 1, "there is no tenant of that name in the settings; nothing was changed");
    return false;
}

static unsigned
bits_arg(const struct verb_call *c, unsigned otherwise)
{
    const json_t *v = json_object_get(c->args, "bits");
    json_int_t n = json_is_integer(v) ? json_integer_value(v) : (json_int_t)otherwise;

    return n >= 1024 && n <= 4096 ? (unsigned)n : 0;
}

static bool
todo_add(struct domain_call *d, uint8_t alg, unsigned bits, struct str selector)
{
    unsigned at = d->ntodo++;

    d->todo[at].alg = alg;
    d->todo[at].bits = alg == KEYS_RSA ? bits : 2048;
    if (selector.n)
        return str_copy(selector, d->todo[at].selector, sizeof(d->todo[at].selector));
    return selector_make(d->keeper, str_c(d->domain), alg, d->todo[at].selector);
}

static void
start(struct domain_call *d, bool named)
{
    if (named)
        call_next(d);
    else
        call_end(d, 2,
                 "a selector has 1 to 63 of a-z, 0-9, - and _, and no - at its ends; nothing was "
                 "changed");
}

/* What was asked for with --type: bit 0 RSA, bit 1 Ed25519; 0: none of the words. */
static unsigned
types_arg(const struct verb_call *c)
{
    struct str type = verb_arg(c, "type");

    return !type.n || str_eq(type, STR("rsa")) ? 1u
           : str_eq(type, STR("ed25519"))      ? 2u
           : str_eq(type, STR("both"))         ? 3u
                                               : 0u;
}

static bool
numbers_ok(const struct verb_call *c, unsigned types, unsigned bits)
{
    if (types && bits)
        return true;
    verb_end(c, 2, types ? "--bits: RSA keys have 1024 to 4096" : "--type: rsa, ed25519 or both");
    return false;
}

void
keeper_dkim_add(struct verb_call *c)
{
    struct str domain, tenant, selector = verb_arg(c, "selector");
    unsigned types = types_arg(c), bits = bits_arg(c, (unsigned)keeper_dkim(c->keeper)->bits);
    struct keeper_summary s = {0};
    struct domain_call *d;
    char room[256], second[KEYS_SELECTOR_MAX + 16] = "";
    bool named = !selector.n || keys_selector_ok(selector);

    if (!keeper_domain_arg(c, room, &domain) || !numbers_ok(c, types, bits))
        return;
    if (keys_each(c->keeper->store, domain, keeper_summary_row, &s) < 0 ||
        s.n + 2 > KEYS_PER_DOMAIN) {
        verb_end(c, 1, "the domain has many keys; remove some first (`gapura domain dkim list`)");
        return;
    }
    if (!find_tenant(c, domain, &s, &tenant))
        return;
    d = call_create(c, domain, tenant);
    if (!d)
        return;
    if (selector.n && types == 3)
        str_fmt(second, sizeof(second), "%.*s-ed25519", STR_ARG(selector));
    if (types & 1u)
        named = todo_add(d, KEYS_RSA, bits, selector) && named;
    if (types & 2u)
        named = todo_add(d, KEYS_ED25519, bits, second[0] ? str_c(second) : selector) && named;
    start(d, named);
}

void
keeper_dkim_import(struct verb_call *c)
{
    struct str domain, tenant, selector = verb_arg(c, "selector"), text = verb_arg(c, "file");
    struct keeper_summary s = {0};
    struct domain_call *d;
    char room[256];

    if (!keeper_domain_arg(c, room, &domain))
        return;
    if (keys_each(c->keeper->store, domain, keeper_summary_row, &s) < 0 ||
        s.n + 1 > KEYS_PER_DOMAIN) {
        verb_end(c, 1, "the domain has many keys; remove some first (`gapura domain dkim list`)");
        return;
    }
    if (!find_tenant(c, domain, &s, &tenant))
        return;
    d = call_create(c, domain, tenant);
    if (!d)
        return;
    buf_str(&d->text, text);
    d->imported = true;
    if (!text.n || d->text.failed)
        call_end(d, 2, "the file holds no key, or too much; nothing was changed");
    else
        start(d, selector.n && keys_selector_ok(selector) && todo_add(d, KEYS_RSA, 2048, selector));
}

/* A new key beside each that signs; the law lets it take over. */
void
keeper_dkim_rotate(struct verb_call *c)
{
    struct str domain, tenant;
    struct keeper_summary s = {0};
    struct domain_call *d;
    unsigned bits;
    char room[256], text[300];
    bool named = true;

    if (!keeper_domain_arg(c, room, &domain))
        return;
    if (keys_each(c->keeper->store, domain, keeper_summary_row, &s) < 0 ||
        s.n + 2 > KEYS_PER_DOMAIN) {
        verb_end(c, 1, "the domain has many keys; remove some first (`gapura domain dkim list`)");
        return;
    }
    bits = bits_arg(c, MAX(s.bits, (unsigned)keeper_dkim(c->keeper)->bits));
    if (!numbers_ok(c, 1, bits) || !find_tenant(c, domain, &s, &tenant))
        return;
    if (s.waiting[0] + s.waiting[1]) {
        str_fmt(text, sizeof(text),
                "a new key of the domain waits already (%s): publish its record, `gapura domain "
                "dkim activate`, or remove it",
                s.waiting[0] ? s.newest[0] : s.newest[1]);
        verb_end(c, 1, text);
        return;
    }
    if (!s.active[0] && !s.active[1]) {
        verb_end(c, 1, "no key of the domain signs; `gapura domain dkim add` makes one");
        return;
    }
    d = call_create(c, domain, tenant);
    if (!d)
        return;
    if (s.active[0])
        named = todo_add(d, KEYS_RSA, bits, STR_NONE) && named;
    if (s.active[1])
        named = todo_add(d, KEYS_ED25519, bits, STR_NONE) && named;
    start(d, named);
}

void
keeper_domain_answer(struct keeper *k, uint64_t id, struct wire *body)
{
    (void)chan_ask_answer(k->key_asks, id, body, -1);
}

void
keeper_domain_lost(struct keeper *k)
{
    chan_asks_fail(k->key_asks, ERR_CLOSED);
}

int
keeper_domain_create(struct keeper *k)
{
    k->key_asks = chan_asks_create(k->links.loop, CALLS_MAX);
    return k->key_asks ? 0 : ERR_NOMEM;
}

void
keeper_domain_free(struct keeper *k)
{
    while (k->domain_calls)
        call_end(k->domain_calls, 1, "the keeper is stopping");
    if (k->key_asks)
        chan_asks_free(k->key_asks);
    k->key_asks = NULL;
}
