/*
 * auth/arc.c - validation of ARC chains over known keys.
 *
 * Called by the gate's checks, the sealer, explain and tests. Structure first, then the newest
 * message signature, then the seals: what is cheap ends it first.
 */
#include "core/openssl.h"

#include "auth/arc.h"
#include "auth/dkim_tag.h"
#include "auth/dkim_verify.h"
#include "core/err.h"

const char *
arc_cv_name(enum arc_cv cv)
{
    static const char *const names[] = {
        [ARC_NONE] = "none",
        [ARC_PASS] = "pass",
        [ARC_FAIL] = "fail",
        [ARC_TEMPERROR] = "temperror",
    };

    return (unsigned)cv < ARRAY_LEN(names) ? names[cv] : "fail";
}

static void
broken(struct arc_validator *v, unsigned at, const char *text)
{
    if (v->broken)
        return;
    v->broken = true;
    v->broken_at = at;
    v->broken_text = text;
}

/* "i=1; payload": the instance, 0 if the field does not begin so. */
static unsigned
results_instance(struct str value, struct str *ret_payload)
{
    struct str payload, first = dkim_trim(str_cut(value, ';', &payload)), number;

    if (str_chr(value, ';') < 0 || !dkim_trim(payload).n)
        return 0;
    *ret_payload = dkim_trim(payload);
    if (!str_eq(dkim_trim(str_cut(first, '=', &number)), STR("i")))
        return 0;
    return arc_instance_of(dkim_trim(number));
}

static void
place(struct arc_validator *v, struct header_field *to, const struct header_field *f, unsigned i)
{
    if (to->line.p)
        broken(v, i, "a field of the set is there twice");
    *to = *f;
    v->n = MAX(v->n, i);
}

static void
take_results(struct arc_validator *v, const struct header_field *f)
{
    struct str payload = STR_NONE;
    unsigned i = results_instance(f->value, &payload);

    if (!i) {
        broken(v, 0, "an ARC-Authentication-Results field does not begin with its instance");
        return;
    }
    place(v, &v->sets[i].results, f, i);
    v->sets[i].payload = payload;
}

static void
take_signature(struct arc_validator *v, const struct header_field *f, enum dkim_kind kind)
{
    struct dkim_sig s;

    dkim_sig_parse(f, kind, &v->limits, &s); /* its faults count when it is its turn */
    if (!s.instance) {
        broken(v, 0, "an ARC field has no valid instance");
        return;
    }
    place(v, kind == DKIM_KIND_AMS ? &v->sets[s.instance].message : &v->sets[s.instance].seal, f,
          s.instance);
}

static void
collect(struct arc_validator *v)
{
    const struct dkim_headers *h = &v->message->headers;

    for (size_t i = 0; i < h->n; i++) {
        const struct header_field *f = &h->fields[i].f;

        if (f->name.n < 8 || !str_istarts(f->name, STR("arc-")))
            continue;
        if (str_ieq(f->name, STR("arc-authentication-results")))
            take_results(v, f);
        else if (str_ieq(f->name, dkim_kind_name(DKIM_KIND_AMS)))
            take_signature(v, f, DKIM_KIND_AMS);
        else if (str_ieq(f->name, dkim_kind_name(DKIM_KIND_SEAL)))
            take_signature(v, f, DKIM_KIND_SEAL);
    }
}

bool
arc_sealer(const struct arc_validator *v, unsigned i, struct dkim_sig *ret)
{
    return i >= 1 && i <= v->n && v->sets[i].seal.line.p &&
           dkim_sig_parse(&v->sets[i].seal, DKIM_KIND_SEAL, &v->limits, ret) == DKIM_OK;
}

void
arc_prepare(struct arc_validator *v, struct dkim_message *m, const struct dkim_limits *limits)
{
    memset(v, 0, offsetof(struct arc_validator, newest));
    v->limits = *limits;
    v->message = m;
    v->body = -1;
    v->newest_bad = DKIM_MISSING_TAG;
    collect(v);
    if (v->n && m->headers.too_many)
        broken(v, 0, "the header has more fields than are looked at");
    for (unsigned i = 1; i <= v->n; i++) {
        const struct arc_set *s = &v->sets[i];
        if (!s->results.line.p || !s->message.line.p || !s->seal.line.p)
            broken(v, i, "a field of the set is missing");
    }
    if (v->broken || !v->n)
        return;
    v->newest_bad = dkim_sig_parse(&v->sets[v->n].message, DKIM_KIND_AMS, &v->limits, &v->newest);
    if (v->newest_bad == DKIM_OK && v->newest.alg == DKIM_RSA_SHA1)
        v->newest_bad = DKIM_WEAK_HASH;
    if (v->newest_bad == DKIM_OK)
        v->body = dkim_body_want(&m->body, v->newest.body_canon, false,
                                 v->newest.has_length ? v->newest.length : UINT64_MAX);
}

static void
verdict(struct arc_result *r, enum dkim_reason reason, unsigned at, const char *text)
{
    r->cv = reason == DKIM_DNS || reason == DKIM_INTERNAL ? ARC_TEMPERROR : ARC_FAIL;
    r->reason = reason;
    r->at = at;
    r->text = text;
}

/* Steps 2 and 3 of RFC 8617 5.2, as far as no key is needed. */
static bool
structure(const struct arc_validator *v, struct arc_result *r)
{
    struct dkim_sig seal;

    if (v->broken) {
        verdict(r, DKIM_OK, v->broken_at, v->broken_text);
        return false;
    }
    for (unsigned i = v->n; i >= 1; i--) {
        enum dkim_reason why = dkim_sig_parse(&v->sets[i].seal, DKIM_KIND_SEAL, &v->limits, &seal);

        if (seal.cv == ARC_FAIL && i == v->n && why == DKIM_OK) {
            verdict(r, DKIM_OK, i, "the newest seal says that the chain had failed before");
            return false;
        }
        if (why == DKIM_OK && seal.alg == DKIM_RSA_SHA1)
            why = DKIM_WEAK_HASH;
        if (why != DKIM_OK) {
            verdict(r, why, i, "a seal is malformed");
            return false;
        }
        if (seal.cv != (i == 1 ? ARC_NONE : ARC_PASS)) {
            verdict(r, DKIM_OK, i, "a seal says what it cannot say at its place (cv=)");
            return false;
        }
    }
    if (v->newest_bad != DKIM_OK) {
        verdict(r, v->newest_bad, v->n, "the newest message signature is malformed");
        return false;
    }
    return true;
}

static bool
ask_all(const struct arc_validator *v, const struct auth_answers *answers, struct auth_needs *needs)
{
    struct dkim_sig seal;
    bool need = false, any;

    dkim_verify_key(&v->newest, NULL, answers, needs, NULL, &any);
    for (unsigned i = v->n; i >= 1; i--) {
        if (!arc_sealer(v, i, &seal))
            continue;
        dkim_verify_key(&seal, NULL, answers, needs, NULL, &need);
        any = any || need;
    }
    return any;
}

static enum dkim_reason
verify(const struct dkim_sig *s, struct dkim_keys *keys, const struct auth_answers *answers,
       const uint8_t *digest, size_t n)
{
    struct auth_needs none = {.n = 0};
    const struct dkim_key *key = NULL;
    bool need;
    enum dkim_reason why = dkim_verify_key(s, keys, answers, &none, &key, &need);
    int rc;

    if (why != DKIM_OK)
        return why;
    rc = n && key->pub ? dkim_pub_verify(key->pub, s->alg, digest, n, s->signature, s->signature_n)
                       : -1;
    if (rc < 0)
        return DKIM_INTERNAL;
    return rc ? DKIM_OK : DKIM_BAD_SIGNATURE;
}

static enum dkim_reason
check_message(struct arc_validator *v, uint64_t now, struct dkim_keys *keys,
              const struct auth_answers *answers, bool *ret_repeated)
{
    const struct dkim_sig *s = &v->newest;
    const struct dkim_body *body = &v->message->body;
    struct str bh = dkim_body_digest(body, v->body);
    uint64_t total = dkim_body_total(body, s->body_canon);
    uint8_t digest[DKIM_HASH_MAX];
    enum dkim_reason why;
    struct dkim_hash *h;

    if (s->expires && now > s->expires && now - s->expires > v->limits.skew)
        return DKIM_EXPIRED;
    if (!bh.n)
        return DKIM_INTERNAL;
    if (s->has_length && s->length > total)
        return DKIM_BODY_TOO_SHORT;
    if (!str_eq(bh, str_of(s->body_hash, s->body_hash_n)))
        return DKIM_BODY_CHANGED;
    if (s->has_length && s->length < total && !v->limits.partial)
        return DKIM_BODY_UNSIGNED;
    h = dkim_message_hash(v->message, false);
    if (!h)
        return DKIM_INTERNAL;
    dkim_message_hash_list(v->message, s->headers, s->header_canon);
    dkim_hash_own(h, &s->field, s->b, s->header_canon);
    why = verify(s, keys, answers, digest, dkim_message_digest(v->message, digest));
    return why == DKIM_OK ? dkim_verify_scope(&v->message->headers, s, ret_repeated) : why;
}

/* One seal: the sets before it are in `chain` already; it is left as the next one needs it. */
static enum dkim_reason
check_seal(struct arc_validator *v, unsigned i, struct dkim_hash *chain, struct dkim_keys *keys,
           const struct auth_answers *answers)
{
    const struct arc_set *set = &v->sets[i];
    struct dkim_hash *h = dkim_message_hash(v->message, false);
    uint8_t digest[DKIM_HASH_MAX];
    struct dkim_sig seal;

    dkim_hash_field(chain, &set->results, DKIM_RELAXED);
    dkim_hash_field(chain, &set->message, DKIM_RELAXED);
    dkim_hash_flush(chain);
    if (!h || chain->failed || EVP_MD_CTX_copy_ex(h->md, chain->md) != 1)
        return DKIM_INTERNAL;
    if (!arc_sealer(v, i, &seal))
        return DKIM_BAD_TAGS;
    dkim_hash_own(h, &seal.field, seal.b, DKIM_RELAXED);
    dkim_hash_field(chain, &set->seal, DKIM_RELAXED);
    return verify(&seal, keys, answers, digest, dkim_message_digest(v->message, digest));
}

static void
check_seals(struct arc_validator *v, struct dkim_keys *keys, const struct auth_answers *answers,
            struct arc_result *r)
{
    struct dkim_hash chain = {.md = EVP_MD_CTX_new()};
    enum dkim_reason why = DKIM_INTERNAL;
    unsigned i = 1;

    if (chain.md && dkim_digest_begin(chain.md, false))
        for (; i <= v->n; i++) {
            why = check_seal(v, i, &chain, keys, answers);
            if (why != DKIM_OK)
                break;
        }
    if (why != DKIM_OK)
        verdict(r, why, i, "a seal does not hold");
    EVP_MD_CTX_free(chain.md);
}

static bool
is_trusted(struct str domain, const struct str *trusted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (trusted[i].n &&
            (trusted[i].p[0] == '.' ? str_iends(domain, trusted[i]) : str_ieq(domain, trusted[i])))
            return true;
    return false;
}

static unsigned
trusted_from(const struct arc_validator *v, const struct str *trusted, size_t n)
{
    struct dkim_sig seal;
    unsigned from = 0;

    /* Whose results they are is said by From: not signed, anybody could have changed it. */
    if (!v->newest.from_signed)
        return 0;
    for (unsigned i = v->n; i >= 1; i--) {
        if (!arc_sealer(v, i, &seal) || !is_trusted(seal.domain, trusted, n))
            break;
        from = i;
    }
    return from;
}

enum auth_state
arc_run(struct arc_validator *v, uint64_t now, const struct str *trusted, size_t ntrusted,
        struct dkim_keys *keys, const struct auth_answers *answers, struct auth_needs *needs,
        struct arc_result *ret)
{
    enum dkim_reason why;

    dkim_message_end(v->message);
    memset(ret, 0, sizeof(*ret));
    ret->cv = ARC_NONE;
    ret->n = v->n;
    ret->text = "no chain";
    if ((!v->n && !v->broken) || !structure(v, ret))
        return AUTH_DONE;
    if (ask_all(v, answers, needs))
        return AUTH_NEED;
    ret->cv = ARC_PASS;
    ret->text = "every seal and the newest message signature hold";
    why = check_message(v, now, keys, answers, &ret->repeated);
    if (why != DKIM_OK)
        verdict(ret, why, v->n, "the newest message signature does not hold");
    else
        check_seals(v, keys, answers, ret);
    if (ret->cv == ARC_PASS)
        ret->trusted_from = trusted_from(v, trusted, ntrusted);
    return AUTH_DONE;
}
