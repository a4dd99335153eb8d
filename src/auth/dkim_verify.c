/*
 * auth/dkim_verify.c - DKIM signatures of a message against body, header and published keys.
 *
 * Called by the gate's checks, explain, the command line and tests. Never asks DNS, never looks at
 * a clock. What is cheap is judged first: grammar, ceilings, time, body hash; the key's arithmetic
 * comes last and once.
 */
#include "auth/dkim_verify.h"
#include "auth/dkim_tag.h"
#include "core/err.h"
#include "mail/address.h"

#define RECORDS_MAX 4u /* key records looked at under one name */
#define PARTIAL_MAX 2u /* different l= of one message; whole bodies have two forms at most */

/* Asks for the hash of the body. Every other l= is another pass over it, and who signs
 * chooses how many: whole bodies have few forms, so only parts are counted. */
static enum dkim_reason
want_body(struct dkim_verifier *v, const struct dkim_sig *s, unsigned *partial, int *ret)
{
    struct dkim_body *b = &v->message->body;
    unsigned before = b->n;

    if (s->has_length && *partial == PARTIAL_MAX)
        return DKIM_TOO_MANY;
    *ret = dkim_body_want(b, s->body_canon, s->alg == DKIM_RSA_SHA1,
                          s->has_length ? s->length : UINT64_MAX);
    *partial += s->has_length && b->n > before;
    return DKIM_OK;
}

void
dkim_verify_prepare(struct dkim_verifier *v, struct dkim_message *m,
                    const struct dkim_limits *limits)
{
    struct str name = dkim_kind_name(DKIM_KIND_SIGNATURE);
    unsigned max = MIN(limits->signatures, DKIM_SIGS_MAX), partial = 0;

    v->limits = *limits;
    v->message = m;
    v->n = v->skipped = 0;
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct header_field *f = &m->headers.fields[i].f;
        struct dkim_sig *s = &v->sigs[v->n];
        int *body = &v->body[v->n];

        if (f->name.n != name.n || !str_ieq(f->name, name))
            continue;
        if (v->n == max) {
            v->skipped++;
            continue;
        }
        v->parsed[v->n] = dkim_sig_parse(f, DKIM_KIND_SIGNATURE, limits, s);
        *body = -1;
        if (v->parsed[v->n] == DKIM_OK && m->headers.too_many)
            v->parsed[v->n] = DKIM_TOO_LARGE;
        if (v->parsed[v->n] == DKIM_OK && s->alg == DKIM_RSA_SHA1 && !limits->legacy)
            v->parsed[v->n] = DKIM_WEAK_HASH;
        if (v->parsed[v->n] == DKIM_OK)
            v->parsed[v->n] = want_body(v, s, &partial, body);
        v->n++;
    }
}

/* --- keys --- */

static enum dkim_reason
key_of_answer(const struct dns_answer *a, struct dkim_keys *keys, const struct dkim_key **ret)
{
    unsigned looked = 0;

    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        return DKIM_DNS;
    *ret = NULL;
    for (size_t i = 0; a->status == DNS_OK && i < a->n && looked < RECORDS_MAX; i++) {
        bool is_key = a->n == 1;

        if (a->records[i].type != DNS_TXT)
            continue;
        /* Several records are undefined (RFC 6376 3.6.2.2): the first that is a key counts. Other
         * text beside it takes nobody's place; alone, its fault is told. */
        is_key = is_key || dkim_key_is_record(a->records[i].data);
        looked += is_key;
        if (*ret && !is_key)
            continue;
        *ret = dkim_keys_get(keys, a->records[i].data);
        if (!*ret)
            return DKIM_INTERNAL;
        if ((*ret)->bad != DKIM_KEY_SYNTAX)
            return DKIM_OK;
    }
    return *ret ? DKIM_OK : DKIM_NO_KEY;
}

/* DKIM_OK with the answer, DKIM_BAD_DOMAIN, or DKIM_DNS with the question noted. */
static enum dkim_reason
ask_key(const struct dkim_sig *s, const struct auth_answers *answers, struct auth_needs *needs,
        const struct dns_answer **ret)
{
    char name[256];
    size_t n;

    if (dkim_key_name(s->selector, s->domain, name, &n) < 0)
        return DKIM_BAD_DOMAIN;
    *ret = auth_ask(answers, needs, str_of(name, n), DNS_TXT);
    return *ret ? DKIM_OK : DKIM_DNS;
}

static enum dkim_reason
judge_key(const struct dkim_sig *s, const struct dns_answer *a, struct dkim_keys *keys,
          const struct dkim_key **ret)
{
    enum dkim_reason why = key_of_answer(a, keys, ret);

    if (why != DKIM_OK)
        return why;
    if ((*ret)->bad != DKIM_OK)
        return (*ret)->bad;
    if ((*ret)->ed25519 != (s->alg == DKIM_ED25519_SHA256))
        return DKIM_KEY_TYPE;
    if (!(s->alg == DKIM_RSA_SHA1 ? (*ret)->sha1 : (*ret)->sha256))
        return DKIM_KEY_HASH;
    return (*ret)->mail ? DKIM_OK : DKIM_KEY_SERVICE;
}

enum dkim_reason
dkim_verify_key(const struct dkim_sig *s, struct dkim_keys *keys,
                const struct auth_answers *answers, struct auth_needs *needs,
                const struct dkim_key **ret, bool *ret_need)
{
    const struct dns_answer *a;
    enum dkim_reason why = ask_key(s, answers, needs, &a);

    *ret_need = why == DKIM_DNS;
    return why == DKIM_OK && keys ? judge_key(s, a, keys, ret) : why;
}

/* t=s: the domain of i= must be d= itself. Both were found well-formed. */
static bool
identity_is_domain(const struct dkim_sig *s)
{
    ssize_t at = str_rchr(s->identity, '@');
    struct str host = str_from(s->identity, (size_t)(at + 1));

    /* Written differently (quoted, other labels) is taken as a subdomain: the strict side. */
    return !s->identity.n || str_ieq(host, s->domain);
}

/* --- one signature --- */

static enum dkim_reason
check_times(const struct dkim_verifier *v, const struct dkim_sig *s, uint64_t now)
{
    if (s->expires && now > s->expires && now - s->expires > v->limits.skew)
        return DKIM_EXPIRED;
    if (s->signed_at > now && s->signed_at - now > v->limits.future)
        return DKIM_FUTURE;
    return DKIM_OK;
}

static enum dkim_reason
check_body(const struct dkim_verifier *v, unsigned i, struct dkim_result *r)
{
    const struct dkim_sig *s = &v->sigs[i];
    const struct dkim_body *body = &v->message->body;
    struct str digest = dkim_body_digest(body, v->body[i]);
    uint64_t total = dkim_body_total(body, s->body_canon);

    if (!digest.n)
        return DKIM_INTERNAL;
    if (s->has_length && s->length > total)
        return DKIM_BODY_TOO_SHORT;
    r->body_unsigned = s->has_length ? total - s->length : 0;
    if (!str_eq(digest, str_of(s->body_hash, s->body_hash_n)))
        return DKIM_BODY_CHANGED;
    return DKIM_OK;
}

static enum dkim_reason
check_signature(struct dkim_verifier *v, const struct dkim_sig *s, const struct dkim_key *key)
{
    struct dkim_message *m = v->message;
    struct dkim_hash *h = dkim_message_hash(m, s->alg == DKIM_RSA_SHA1);
    uint8_t digest[DKIM_HASH_MAX];
    size_t n;
    int rc;

    if (!h || !key->pub)
        return DKIM_INTERNAL;
    dkim_message_hash_list(m, s->headers, s->header_canon);
    dkim_hash_own(h, &s->field, s->b, s->header_canon);
    n = dkim_message_digest(m, digest);
    rc = n ? dkim_pub_verify(key->pub, s->alg, digest, n, s->signature, s->signature_n) : -1;
    if (rc < 0)
        return DKIM_INTERNAL;
    return rc ? DKIM_OK : DKIM_BAD_SIGNATURE;
}

static unsigned
times_signed(const struct dkim_sig *s, struct str name)
{
    struct str list = s->headers, one;
    bool first = true;
    unsigned n = 0;

    while (dkim_list_next(&list, &first, &one))
        n += str_ieq(one, name);
    return n;
}

/* Fields of which there is one (RFC 5322 3.6), and what a reader's program goes by. */
static const struct str singles[] = {
    STR("subject"),    STR("date"),        STR("to"),           STR("cc"),
    STR("reply-to"),   STR("sender"),      STR("message-id"),   STR("content-type"),
    STR("references"), STR("in-reply-to"), STR("mime-version"),
};

/* Some of the fields of that name are signed, and not all. */
static bool
is_repeated(const struct dkim_headers *h, const struct dkim_sig *s, struct str name)
{
    unsigned n = dkim_headers_count(h, name);
    unsigned covered = n > 1 ? times_signed(s, name) : n;

    return covered > 0 && covered < n;
}

enum dkim_reason
dkim_verify_scope(const struct dkim_headers *h, const struct dkim_sig *s, bool *ret_repeated)
{
    *ret_repeated = false;
    if (!h->repeats)
        return DKIM_OK;
    for (unsigned i = 0; i < ARRAY_LEN(singles) && !*ret_repeated; i++)
        *ret_repeated = is_repeated(h, s, singles[i]);
    if (is_repeated(h, s, STR("from")))
        return DKIM_SECOND_FROM;
    return is_repeated(h, s, STR("content-type")) ? DKIM_SECOND_TYPE : DKIM_OK;
}

/* It verified: is all that readers look at under the signature? */
static enum dkim_reason
check_scope(const struct dkim_verifier *v, const struct dkim_sig *s, struct dkim_result *r)
{
    enum dkim_reason why = dkim_verify_scope(&v->message->headers, s, &r->repeated);

    return why == DKIM_OK && r->body_unsigned && !v->limits.partial ? DKIM_BODY_UNSIGNED : why;
}

static enum dkim_reason
evaluate(struct dkim_verifier *v, unsigned i, struct dkim_keys *keys,
         const struct dns_answer *answer)
{
    const struct dkim_sig *s = &v->sigs[i];
    struct dkim_result *r = &v->results[i];
    const struct dkim_key *key = NULL;
    /* The key's own faults first: they are the same for every message of the signer. */
    enum dkim_reason why = judge_key(s, answer, keys, &key);

    if (key) {
        r->bits = key->bits;
        r->testing = key->testing;
    }
    if (why == DKIM_OK && !key)
        why = DKIM_INTERNAL;
    if (why != DKIM_OK)
        return why;
    if (key->strict && !identity_is_domain(s))
        return DKIM_KEY_IDENTITY;
    why = check_body(v, i, r);
    if (why == DKIM_OK)
        why = check_signature(v, s, key);
    r->verified = why == DKIM_OK;
    return why == DKIM_OK ? check_scope(v, s, r) : why;
}

static void
describe(const struct dkim_sig *s, struct dkim_result *r)
{
    ssize_t n = 0;

    memset(r, 0, sizeof(*r));
    r->domain = s->domain;
    r->selector = s->selector;
    r->identity = s->identity;
    r->headers = s->headers;
    r->b = dkim_trim(s->b);
    r->alg = s->alg;
    r->signed_at = s->signed_at;
    r->expires = s->expires;
    r->has_length = s->has_length;
    if (str_is_ascii(s->domain) && str_copy(s->domain, r->domain_ascii, sizeof(r->domain_ascii)))
        str_lower(r->domain_ascii, s->domain.n);
    else
        n = address_domain_ascii(s->domain, r->domain_ascii, sizeof(r->domain_ascii));
    if (n < 0)
        r->domain_ascii[0] = '\0';
}

/* What is wrong before a key is needed: such a signature costs no look-up. */
static enum dkim_reason
early(const struct dkim_verifier *v, unsigned i, uint64_t now)
{
    return v->parsed[i] != DKIM_OK ? v->parsed[i] : check_times(v, &v->sigs[i], now);
}

enum auth_state
dkim_verify_run(struct dkim_verifier *v, uint64_t now, struct dkim_keys *keys,
                const struct auth_answers *answers, struct auth_needs *needs)
{
    const struct dns_answer *found[DKIM_SIGS_MAX];
    enum dkim_reason why[DKIM_SIGS_MAX];
    const unsigned n = v->n;
    bool need = false;

    dkim_message_end(v->message);
    for (unsigned i = 0; i < n; i++) {
        why[i] = early(v, i, now);
        if (why[i] != DKIM_OK)
            continue;
        why[i] = ask_key(&v->sigs[i], answers, needs, &found[i]);
        need = need || why[i] == DKIM_DNS;
    }
    if (need)
        return AUTH_NEED;
    for (unsigned i = 0; i < n; i++) {
        struct dkim_result *r = &v->results[i];

        describe(&v->sigs[i], r);
        r->reason = why[i] == DKIM_OK ? evaluate(v, i, keys, found[i]) : why[i];
        r->status = dkim_reason_status(r->reason);
    }
    return AUTH_DONE;
}
