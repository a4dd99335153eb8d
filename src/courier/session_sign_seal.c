/*
 * courier/session_sign_seal.c - ARC sets on strangers' mail that leaves by an alias (RFC 8617 5.1).
 *
 * Called by session_sign.c (which key) and session_sign_hash.c (the message is hashed). What the
 * guard found travels in the Authentication-Results that it put above its own Received field; a
 * field further down is somebody else's and is never believed. A seal is a courtesy: mail goes
 * without one rather than wait for long.
 */
#include "auth/arc_seal.h"
#include "auth/authres.h"
#include "auth/settings.h"
#include "core/event.h"
#include "courier/session_sign_inner.h"

#define PAYLOAD_MAX 16384u
#define NO_KEY_GAP  (3600 * NS_PER_S)

static const char no_index[] = "the keeper has not told the keys";
static const char no_key[] = "no key of arc.domain without a tenant seals";
static const char no_seal[] = "the key that seals cannot sign now";
static const char no_results[] = "the guard has left no Authentication-Results";
static const char no_chain[] = "its chain was not validated when it came";
static const char chain_over[] = "the chain has failed before or is full";
static const char no_header[] = "its header cannot be sealed";

struct sign_seal {
    struct arc_validator chain; /* views into the reader's header */
    struct buf payload;
    uint64_t now;
    enum arc_cv cv;
    struct {
        uint8_t bytes[DKIM_SIGNATURE_MAX];
        size_t n;
    } made[2]; /* of the message, of the seal */
    unsigned nmade, at;
    bool pending;
};

void
sign_seal_free(struct sign_entry *e)
{
    if (!e->seal)
        return;
    buf_done(&e->seal->payload);
    free(e->seal);
    e->seal = NULL;
}

static const struct settings_arc *
arc_settings(const struct courier *c)
{
    const struct conf_section *s = conf_first(c->conf, "arc");

    return s ? s->data : NULL;
}

bool
sign_seals(const struct courier *c, const struct spool_envelope *env)
{
    const struct settings_arc *a = arc_settings(c);

    /* Strangers' mail to the outside: nothing but an alias makes it so (gate/rcpt.c). */
    return a && a->seal && (env->flags & SPOOL_MAIL_INBOUND) &&
           env->class == SPOOL_CLASS_TRANSACTIONAL;
}

/* --- which key --- */

static bool
choose(const struct courier *c, struct sign_work *w)
{
    const struct settings_arc *a = arc_settings(c);
    const struct keys_public *best = NULL;
    struct keys_set set;

    if (!keys_find(&c->keys, a->domain, &set))
        return false;
    for (unsigned i = 0; i < set.n; i++) {
        const struct keys_public *k = &set.items[i];

        if (k->state != KEYS_ACTIVE || k->tenant != 0 ||
            (a->selector.n && !str_eq(k->selector, a->selector)))
            continue;
        if (!best || (best->alg != KEYS_RSA && k->alg == KEYS_RSA))
            best = k;
    }
    *w = (struct sign_work){.nkeys = 1};
    if (!best || !str_copy(a->domain, w->keys[0].domain, sizeof w->keys[0].domain) ||
        !str_copy(best->selector, w->keys[0].selector, sizeof w->keys[0].selector))
        return false;
    w->keys[0].alg = best->alg;
    w->keys[0].seals = true;
    str_fmt(w->asked, sizeof w->asked, "arc=%s._domainkey.%s", w->keys[0].selector,
            w->keys[0].domain);
    return true;
}

static enum sign_answer
unsealed(struct session *s, const char *why)
{
    s->unsigned_why = why;
    return SIGN_NOT;
}

static enum sign_answer
without_key(struct session *s)
{
    struct signing *g = s->c->signing;
    uint64_t now = clock_mono();

    if (!g->no_seal_told || now - g->no_seal_told >= NO_KEY_GAP) {
        g->no_seal_told = now;
        event_warning("forwarded mail goes without a seal: %.*s has no key that signs and belongs "
                      "to no tenant; `gapura domain dkim add` makes one, or set arc.seal = no",
                      STR_ARG(arc_settings(s->c)->domain));
    }
    return unsealed(s, no_key);
}

enum sign_answer
sign_seal_want(struct session *s, const struct sign_name *name)
{
    struct courier *c = s->c;
    struct sign_entry *e = map_get(&c->signing->entries, str_of(name, sizeof *name));
    struct sign_work fresh;
    uint64_t gap;

    s->forwarded = true;
    if (e && e->state != SIGN_SETTLED)
        return sign_wait_for(e, s);
    if (!c->keys.base)
        return clock_mono() - c->mono0 < SIGN_GRACE
                   ? sign_hold(s, SIGN_WAIT_INDEX, sign_gap(c->mono0))
                   : unsealed(s, no_index);
    if (!choose(c, &fresh))
        return without_key(s);
    if (e && e->asked && !strcmp(e->asked, fresh.asked) && clock_mono() < e->until)
        return sign_entry_give(e, s);
    if (e)
        sign_entry_free(e);
    if (sign_key_rests(c, &fresh.keys[0], &gap))
        return gap ? sign_hold(s, SIGN_WAIT_KEY, gap) : unsealed(s, no_seal);
    e = sign_entry_create(c, name, &fresh);
    if (e)
        e->seal = calloc(1, sizeof *e->seal);
    if (!e || !e->seal) {
        if (e)
            sign_entry_free(e);
        return unsealed(s, no_seal);
    }
    buf_init(&e->seal->payload, PAYLOAD_MAX);
    e->seal->now = clock_wall_s();
    sign_entry_queue(e, s->message);
    return sign_wait_for(e, s);
}

/* --- the set --- */

int
sign_seal_head(struct sign_entry *e, struct dkim_message *m)
{
    arc_prepare(&e->seal->chain, m, &dkim_limits_default);
    return arc_seal_prepare(m, DKIM_RELAXED);
}

/* What stands above the first Received is ours. */
static struct str
own_fields(struct str head)
{
    struct header_field f;
    size_t at = 0, end = 0;

    while (header_next(head, &at, &f) == 1 && !str_ieq(f.name, STR("Received")))
        end = at;
    return str_sub(head, 0, end);
}

/* arc= in our own results, as the guard validated it; ARC_NONE if it says nothing and there is no
 * chain. ERR_NOTFOUND: there is one, and nobody has looked. */
static int
chain_state(const struct arc_validator *v, struct str payload, enum arc_cv *ret)
{
    static const enum arc_cv states[] = {ARC_NONE, ARC_PASS, ARC_FAIL, ARC_TEMPERROR};
    struct authres *list;
    struct arena arena;
    int err = !v->n && !v->broken ? 0 : ERR_NOTFOUND;

    *ret = ARC_NONE;
    arena_init(&arena, sizeof *list + 65536);
    list = ARENA_NEW(&arena, struct authres);
    if (!list || authres_parse(payload, &arena, list) < 0) {
        arena_done(&arena);
        return list ? ERR_NOTFOUND : ERR_NOMEM;
    }
    for (unsigned i = 0; i < list->n; i++)
        for (unsigned k = 0; k < ARRAY_LEN(states); k++)
            if (str_ieq(list->results[i].method, STR("arc")) &&
                str_ieq(list->results[i].result, str_c(arc_cv_name(states[k])))) {
                *ret = states[k];
                err = 0;
            }
    arena_done(&arena);
    return err;
}

/* The payload of our results field and the chain's state; NULL, or why there is no seal. */
static const char *
results(struct sign_entry *e, struct str head)
{
    struct courier *c = e->c;
    struct sign_seal *q = e->seal;
    const struct conf_section *section = conf_first(c->conf, "verify");
    const struct settings_verify *v = section ? section->data : NULL;
    struct str id = v && v->authserv_id.n ? v->authserv_id : c->main->hostname;
    struct dkim_message *m = c->signing->message; /* nobody else's between two calls */
    enum arc_cv found;

    if (dkim_message_headers(m, own_fields(head), &dkim_limits_default) < 0 ||
        arc_payload(m, id, &q->payload) < 0)
        return no_results;
    if (chain_state(&q->chain, buf_view(&q->payload), &found) < 0 || found == ARC_TEMPERROR)
        return no_chain;
    q->cv = q->chain.broken || found == ARC_FAIL ? ARC_FAIL : q->chain.n ? ARC_PASS : ARC_NONE;
    if (found == ARC_NONE && q->cv != ARC_NONE)
        return no_chain;
    if (str_find(buf_view(&q->payload), STR("; arc=")) < 0)
        buf_c(&q->payload, "; arc=none");
    return q->payload.failed ? no_results : NULL;
}

/* The sealer asks for two signatures, one after the other; what the keyring has not made yet ends
 * the run, and the answer begins it anew. */
static ssize_t
seal_sign(void *ctx, enum dkim_alg alg, const uint8_t *digest, size_t n, uint8_t *dst, size_t cap)
{
    struct sign_entry *e = ctx;
    struct sign_seal *q = e->seal;
    struct dkim_draft *d = &e->work->drafts[0];
    unsigned i = q->at++;

    (void)alg;
    if (i < q->nmade && q->made[i].n <= cap) {
        memcpy(dst, q->made[i].bytes, q->made[i].n);
        return (ssize_t)q->made[i].n;
    }
    if (i >= ARRAY_LEN(q->made) || n > sizeof d->digest)
        return ERR_LIMIT;
    memcpy(d->digest, digest, n);
    d->digest_n = n;
    e->work->ndrafts = 1;
    q->pending = true;
    return ERR_STATE;
}

static int
seal_run(struct sign_entry *e)
{
    const struct sign_key *k = &e->work->keys[0];
    struct sign_seal *q = e->seal;
    struct arc_seal_params p = {
        .domain = str_c(k->domain),
        .selector = str_c(k->selector),
        .alg = k->alg == KEYS_ED25519 ? DKIM_ED25519_SHA256 : DKIM_RSA_SHA256,
        .now = q->now,
        .cv = q->cv,
        .payload = buf_view(&q->payload),
        .header_canon = DKIM_RELAXED,
        .body_canon = DKIM_RELAXED,
    };
    int err;

    q->at = 0;
    q->pending = false;
    buf_clear(&e->front);
    err = arc_seal(e->reader->message, &q->chain, &p, seal_sign, e, &e->front, NULL);
    if (err < 0 && q->pending)
        return sign_keyring_ask(e);
    if (err == 0)
        str_fmt(e->work->signed_by, sizeof e->work->signed_by, "%s", e->work->asked);
    sign_entry_settle(e, err == 0 ? NULL : err == ERR_REFUSED ? chain_over : no_header);
    return 0;
}

int
sign_seal_hashed(struct sign_entry *e)
{
    const char *why;

    dkim_message_end(e->reader->message);
    why = results(e, sign_reader_head(e->reader));
    if (!why)
        return seal_run(e);
    sign_entry_settle(e, why);
    return 0;
}

int
sign_seal_made(struct sign_entry *e, struct str signature)
{
    struct sign_seal *q = e->seal;

    if (q->nmade == ARRAY_LEN(q->made) || signature.n > sizeof q->made[0].bytes)
        return ERR_CLOSED;
    memcpy(q->made[q->nmade].bytes, signature.p, signature.n);
    q->made[q->nmade++].n = signature.n;
    return seal_run(e);
}
