/*
 * store/keeper_domain.c - control verbs about signing keys: domain.dkim.list, show, activate,
 * retire, remove; the table of all of them (those that make keys are in keeper_make.c).
 *
 * Called by the keeper's role for the control socket. Never shows a private key.
 */
#include "store/keeper_domain.h"
#include "core/clock.h"

#define STRING_MAX 255u /* bytes of one string of a TXT record (RFC 1035 3.3.14) */

/* --- rows for people and programs --- */

/* As a line of a zone file: strings of at most 255 bytes, which receivers join. */
static void
zone_text(struct buf *out, const struct keys_row *k, struct str value)
{
    buf_fmt(out, "%.*s._domainkey.%.*s. IN TXT (", STR_ARG(k->selector), STR_ARG(k->domain));
    while (value.n) {
        struct str part = str_sub(value, 0, STRING_MAX);

        value = str_from(value, part.n);
        buf_fmt(out, "\n    \"%.*s\"", STR_ARG(part));
    }
    buf_c(out, " )");
}

static json_t *
parts_of(struct str value)
{
    json_t *parts = json_array();

    while (value.n) {
        struct str part = str_sub(value, 0, STRING_MAX);

        value = str_from(value, part.n);
        json_array_append_new(parts, json_stringn(part.p, part.n));
    }
    return parts;
}

void
keeper_domain_line(const struct keeper_reply *reply, const struct keys_row *k, bool record)
{
    CLEANUP(buf_done) struct buf value = {0}, zone = {0};
    char name[256 + KEYS_SELECTOR_MAX + 16];
    json_t *row = json_pack("{s:s%, s:s%, s:s, s:i, s:s%, s:s, s:s, s:I, s:I}", "domain",
                            k->domain.p, k->domain.n, "selector", k->selector.p, k->selector.n,
                            "type", keys_alg_name(k->alg), "bits", (int)k->bits, "tenant",
                            k->tenant.n ? k->tenant.p : "", k->tenant.n, "state",
                            keys_state_name(k->state), "published", keys_seen_name(k->found),
                            "since", (json_int_t)k->since, "checked", (json_int_t)k->checked);
    char *text;

    buf_init(&value, 8192);
    buf_init(&zone, 16384);
    str_fmt(name, sizeof(name), "%.*s._domainkey.%.*s", STR_ARG(k->selector), STR_ARG(k->domain));
    if (row && k->reason.n)
        json_object_set_new(row, "reason", json_stringn(k->reason.p, k->reason.n));
    if (row && record) {
        keys_record(k, &value);
        zone_text(&zone, k, buf_view(&value));
        json_object_set_new(row, "name", json_string(name));
        json_object_set_new(row, "value", json_stringn(value.p, value.n));
        json_object_set_new(row, "parts", parts_of(buf_view(&value)));
        json_object_set_new(row, "text", json_stringn(zone.p, zone.n));
    }
    text = row ? json_dumps(row, JSON_COMPACT) : NULL;
    if (text)
        reply->line(reply->ctx, str_c(text));
    free(text);
    json_decref(row);
}

/* --- what a verb is about --- */

/* The domain in its stored form, or the verb ends. */
bool
keeper_domain_arg(const struct verb_call *c, char dst[256], struct str *ret)
{
    struct str name = verb_arg(c, "domain");

    if (keys_domain(name, dst, ret) == 0)
        return true;
    verb_end(c, 2, "that is not a domain name; write for example example.com");
    return false;
}

static bool
reason_given(const struct verb_call *c)
{
    if (str_trim(verb_arg(c, "reason")).n)
        return true;
    verb_end(c, 2, "say why with --reason TEXT; nothing was changed");
    return false;
}

int
keeper_summary_row(void *ctx, const struct keys_row *k)
{
    struct keeper_summary *s = ctx;
    unsigned alg = k->alg == KEYS_ED25519;

    if (s->selector.n && str_eq(k->selector, s->selector)) {
        s->taken = true;
        s->state = k->state;
    }
    if (k->state == KEYS_RETIRED)
        return 0;
    s->n++;
    s->any = true;
    (void)str_copy(k->tenant, s->tenant, sizeof(s->tenant));
    if (k->state == KEYS_WAITING) {
        s->waiting[alg]++;
        (void)str_copy(k->selector, s->newest[alg], sizeof(s->newest[alg]));
    }
    if (k->state == KEYS_ACTIVE) {
        s->active[alg]++;
        if (!alg)
            s->bits = k->bits;
    }
    return 0;
}

/* --- the others --- */

struct listing {
    struct verb_call *c;
    struct str tenant, selector;
    bool record;
};

static int
list_row(void *ctx, const struct keys_row *k)
{
    struct listing *l = ctx;

    if ((l->tenant.n && !str_eq(l->tenant, k->tenant)) ||
        (l->selector.n && !str_eq(l->selector, k->selector)) ||
        (l->record && !l->selector.n && k->state == KEYS_RETIRED))
        return 0;
    keeper_domain_line(l->c->reply, k, l->record);
    l->c->n++;
    return 0;
}

static void
list(struct verb_call *c, bool record)
{
    struct listing l = {c, verb_arg(c, "tenant"), verb_arg(c, "selector"), record};
    struct str domain = STR_NONE;
    char room[256], text[64];
    int r;

    if ((record || verb_arg(c, "domain").n) && !keeper_domain_arg(c, room, &domain))
        return;
    r = keys_each(c->keeper->store, domain, list_row, &l);
    str_fmt(text, sizeof(text), "%u key%s", c->n, c->n == 1 ? "" : "s");
    if (r == 0 && record && !c->n)
        verb_end(c, 1, "the domain has no such key; `gapura domain dkim add` makes one");
    else
        verb_end(c, r < 0 ? 1 : 0, r < 0 ? err_text(r) : record ? "" : text);
}

static void
dkim_list(struct verb_call *c)
{
    list(c, false);
}

static void
dkim_show(struct verb_call *c)
{
    list(c, true);
}

static void
end_change(struct verb_call *c, int r, const struct why *why, struct str domain, const char *done)
{
    if (r < 0) {
        verb_end(c, 1, why->text[0] ? why->text : err_text(r));
        return;
    }
    keeper_publish_soon(c->keeper);
    keeper_keys_run(c->keeper, domain);
    verb_end(c, 0, done);
}

static void
dkim_activate(struct verb_call *c)
{
    struct str domain, selector = verb_arg(c, "selector");
    struct keeper_summary s = {.selector = selector};
    struct store *store = c->keeper->store;
    struct why why = {{0}};
    uint64_t now = clock_wall_s();
    char room[256];
    int r = 0;

    if (!keeper_domain_arg(c, room, &domain))
        return;
    r = keys_each(store, domain, keeper_summary_row, &s);
    if (r < 0) {
        verb_end(c, 1, err_text(r));
        return;
    }
    if (selector.n && s.taken && s.state == KEYS_RETIRED) {
        verb_end(c, 1, "that key is retired: its private half was erased; nothing was changed");
        return;
    }
    if (selector.n)
        r = keys_change(store, domain, selector, KEYS_ACTIVE, now, STR_NONE, &why);
    else if (!s.waiting[0] && !s.waiting[1])
        r = why_set(&why, ERR_NOTFOUND, "no key of the domain waits; name one with --selector");
    for (unsigned i = 0; i < 2 && r == 0 && !selector.n; i++)
        if (s.waiting[i])
            r = keys_change(store, domain, str_c(s.newest[i]), KEYS_ACTIVE, now, STR_NONE, &why);
    end_change(c, r, &why, domain, "Mail is signed with it from now on.");
}

static void
dkim_retire(struct verb_call *c)
{
    struct str domain, selector = verb_arg(c, "selector");
    struct keeper_summary s = {.selector = selector};
    struct why why = {{0}};
    char room[256];
    int r;

    if (!reason_given(c) || !keeper_domain_arg(c, room, &domain))
        return;
    r = keys_each(c->keeper->store, domain, keeper_summary_row, &s);
    if (r < 0) {
        verb_end(c, 1, err_text(r));
        return;
    }
    r = s.taken && s.state >= KEYS_RETIRING
            ? why_set(&why, ERR_STATE, "that key signs no more as it is; nothing was changed")
            : keys_change(c->keeper->store, domain, selector, KEYS_RETIRING, clock_wall_s(),
                          verb_arg(c, "reason"), &why);
    end_change(c, r, &why, domain,
               "The key signs no more. Leave its record in DNS until a Notice says that it can "
               "go.");
}

static void
dkim_remove(struct verb_call *c)
{
    struct str domain;
    struct why why = {{0}};
    char room[256];

    if (!reason_given(c) || !keeper_domain_arg(c, room, &domain))
        return;
    end_change(
        c,
        keys_remove(c->keeper->store, domain, verb_arg(c, "selector"), verb_arg(c, "reason"), &why),
        &why, domain,
        "The key is gone. Mail that it signed and that is still on its way needs its record "
        "in DNS for some days.");
}

const struct keeper_verb_row domain_verbs[] = {
    {"domain.dkim.add", keeper_dkim_add, false},
    {"domain.dkim.import", keeper_dkim_import, false},
    {"domain.dkim.list", dkim_list, true},
    {"domain.dkim.show", dkim_show, true},
    {"domain.dkim.rotate", keeper_dkim_rotate, false},
    {"domain.dkim.retire", dkim_retire, false},
    {"domain.dkim.activate", dkim_activate, false},
    {"domain.dkim.remove", dkim_remove, false},
};
const size_t domain_nverbs = ARRAY_LEN(domain_verbs);
