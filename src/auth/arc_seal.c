/*
 * auth/arc_seal.c - the three fields of an ARC set: results, message signature, seal.
 *
 * Called by the courier where mail is forwarded, by the command line and tests. The private key is
 * behind a callback and is asked twice: the seal covers the message signature.
 */
#include "core/openssl.h"

#include "auth/arc_seal.h"
#include "auth/authres.h"
#include "auth/dkim_sign.h"
#include "auth/dkim_tag.h"

#define PAYLOAD_MAX 16384u
#define EACH_MAX    10u /* of one name, as dkim_sign.c has it */
#define ARENA_MAX   (sizeof(struct authres) + 65536u)

int
arc_seal_prepare(struct dkim_message *m, enum dkim_canon body)
{
    return dkim_sign_prepare(m, body);
}

/* Value of a field as one line: folding and white space become single spaces. */
static void
add_flat(struct buf *out, struct str value)
{
    bool space = false;

    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        bool white = c == ' ' || c == '\t' || c == '\r' || c == '\n';

        if (!white && space)
            buf_char(out, ' ');
        if (!white)
            buf_char(out, c);
        space = white;
    }
}

/* The results of a field under our id, as they came; false if it is another's or not by the
 * grammar. */
static bool
results_of(struct str value, struct str authserv_id, struct arena *arena, struct str *ret)
{
    struct authres *a;
    struct str id;

    arena_reset(arena);
    a = ARENA_NEW(arena, struct authres);
    if (!a || authres_parse(value, arena, a) < 0 || authres_id(value, arena, &id, ret) < 0 ||
        !authres_same_id(id, authserv_id))
        return false;
    *ret = dkim_trim(*ret);
    if (ret->n && ret->p[ret->n - 1] == ';')
        *ret = dkim_trim(str_sub(*ret, 0, ret->n - 1));
    return true;
}

int
arc_payload(const struct dkim_message *m, struct str authserv_id, struct buf *out)
{
    struct str name = STR("authentication-results"), results;
    struct arena arena;
    bool any = false;

    arena_init(&arena, ARENA_MAX);
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct header_field *f = &m->headers.fields[i].f;

        if (!str_ieq(f->name, name) || !results_of(f->value, authserv_id, &arena, &results))
            continue;
        if (!any)
            buf_str(out, authserv_id);
        any = true;
        if (results.n) {
            buf_c(out, "; ");
            add_flat(out, results);
        }
    }
    arena_done(&arena);
    if (out->failed)
        return ERR_LIMIT;
    return any ? 0 : ERR_NOTFOUND;
}

/* Up to a ";" that stands in no quotes and no comment. */
static struct str
cut_result(struct str s, struct str *rest)
{
    unsigned depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\\') {
            i++;
        } else if (c == '"' && !depth) {
            quoted = !quoted;
        } else if (c == '(' && !quoted) {
            depth++;
        } else if (c == ')' && !quoted && depth) {
            depth--;
        } else if (c == ';' && !quoted && !depth) {
            *rest = str_from(s, i + 1);
            return str_sub(s, 0, i);
        }
    }
    *rest = STR_NONE;
    return s;
}

/* "ARC-Authentication-Results: i=1; mx.example;\r\n\tspf=..." */
static void
write_results(const struct arc_seal_params *p, unsigned i, struct buf *out)
{
    struct str rest = p->payload;

    buf_fmt(out, "ARC-Authentication-Results: i=%u", i);
    while (rest.n) {
        struct str item = dkim_trim(cut_result(rest, &rest));

        if (!item.n)
            continue;
        buf_c(out, ";\r\n\t");
        add_flat(out, item);
    }
    buf_c(out, "\r\n");
}

static int
sign_draft(struct dkim_draft *d, dkim_sign_fn *sign, void *ctx, struct buf *out)
{
    uint8_t signature[DKIM_SIGNATURE_MAX];
    ssize_t n = sign(ctx, d->alg, d->digest, d->digest_n, signature, sizeof(signature));

    if (n <= 0)
        return n ? (int)n : ERR_TLS;
    return dkim_draft_finish(d, signature, (size_t)n, out);
}

static int
seal_message(struct dkim_message *m, const struct arc_seal_params *p, unsigned i,
             dkim_sign_fn *sign, void *ctx, struct buf *out)
{
    const struct dkim_sign_params choice = {.domain = p->domain};
    struct dkim_draft CLEANUP(dkim_draft_done) d = {0};
    struct buf CLEANUP(buf_done) names = {0};
    int number = dkim_body_want(&m->body, p->body_canon, false, UINT64_MAX);
    struct str headers = p->headers, bh = dkim_body_digest(&m->body, number);
    char canon[32], at[8];
    int rc;

    buf_init(&names, 4096);
    if (!headers.n) {
        dkim_sign_headers(m, &choice, &names);
        /* Those that are there, and no more: who handles it next may well add his own. */
        for (unsigned n = MIN(dkim_headers_count(&m->headers, STR("dkim-signature")), EACH_MAX); n;
             n--)
            buf_c(&names, ":DKIM-Signature");
        headers = buf_view(&names);
    }
    if (!bh.n || names.failed)
        return !bh.n ? ERR_STATE : ERR_LIMIT;
    dkim_draft_begin(&d, "ARC-Message-Signature");
    d.alg = p->alg;
    d.one_line = true;
    dkim_draft_tag(&d, "a", str_c(dkim_alg_name(p->alg)));
    dkim_draft_hole(&d);
    dkim_draft_base64(&d, "bh", bh);
    dkim_draft_tag(
        &d, "c",
        str_of(canon, str_fmt(canon, sizeof(canon), "%s/%s", dkim_canon_name(p->header_canon),
                              dkim_canon_name(p->body_canon))));
    dkim_draft_tag(&d, "d", p->domain);
    dkim_draft_list(&d, "h", headers);
    dkim_draft_tag(&d, "i", str_of(at, str_fmt(at, sizeof(at), "%u", i)));
    dkim_draft_tag(&d, "s", p->selector);
    dkim_draft_number(&d, "t", p->now);
    if (!dkim_message_hash(m, false))
        return ERR_TLS;
    dkim_message_hash_list(m, headers, p->header_canon);
    rc = dkim_draft_digest(&d, m, p->header_canon);
    return rc < 0 ? rc : sign_draft(&d, sign, ctx, out);
}

static void
hash_text(struct dkim_hash *h, struct str line)
{
    struct header_field f;
    size_t at = 0;

    if (header_next(line, &at, &f) == 1)
        dkim_hash_field(h, &f, DKIM_RELAXED);
}

static int
seal_seal(struct dkim_message *m, const struct arc_validator *v, const struct arc_seal_params *p,
          unsigned i, struct str results, struct str message, dkim_sign_fn *sign, void *ctx,
          struct buf *out)
{
    struct dkim_draft CLEANUP(dkim_draft_done) d = {0};
    struct dkim_hash *h = dkim_message_hash(m, false);
    char at[8];
    int rc;

    if (!h)
        return ERR_TLS;
    /* RFC 8617 5.1.2: who seals a failure covers only what he adds. */
    for (unsigned k = 1; k < i && p->cv != ARC_FAIL; k++) {
        dkim_hash_field(h, &v->sets[k].results, DKIM_RELAXED);
        dkim_hash_field(h, &v->sets[k].message, DKIM_RELAXED);
        dkim_hash_field(h, &v->sets[k].seal, DKIM_RELAXED);
    }
    hash_text(h, results);
    hash_text(h, message);
    dkim_draft_begin(&d, "ARC-Seal");
    d.alg = p->alg;
    d.one_line = true;
    dkim_draft_tag(&d, "a", str_c(dkim_alg_name(p->alg)));
    dkim_draft_hole(&d);
    dkim_draft_tag(&d, "cv", str_c(arc_cv_name(p->cv)));
    dkim_draft_tag(&d, "d", p->domain);
    dkim_draft_tag(&d, "i", str_of(at, str_fmt(at, sizeof(at), "%u", i)));
    dkim_draft_tag(&d, "s", p->selector);
    dkim_draft_number(&d, "t", p->now);
    rc = dkim_draft_digest(&d, m, DKIM_RELAXED);
    return rc < 0 ? rc : sign_draft(&d, sign, ctx, out);
}

static int
check(const struct arc_validator *v, const struct arc_seal_params *p, struct why *why)
{
    struct dkim_sig newest;
    char name[256];
    size_t n;

    if (v->n >= ARC_SETS_MAX)
        return why_set(why, ERR_REFUSED, "the chain has %u sets already", v->n);
    if (arc_sealer(v, v->n, &newest) && newest.cv == ARC_FAIL)
        return why_set(why, ERR_REFUSED, "the chain has failed before: nothing is added to it");
    if (p->cv == ARC_TEMPERROR)
        return why_set(why, ERR_STATE, "the chain could not be validated yet");
    if (p->cv == ARC_FAIL && !v->n)
        return why_set(why, ERR_REFUSED, "there is no set whose failure could be sealed");
    if (p->cv == ARC_PASS && (v->broken || !v->n))
        return why_set(why, ERR_REFUSED, "this chain does not pass");
    if (p->cv == ARC_NONE && (v->n || v->broken))
        return why_set(why, ERR_REFUSED, "there is a chain: its state is pass or fail");
    if (dkim_key_name(p->selector, p->domain, name, &n) < 0 || str_has_ctl(p->headers) ||
        str_chr(p->headers, ';') >= 0)
        return why_set(why, ERR_SYNTAX, "domain or selector cannot stand in a seal");
    return 0;
}

int
arc_seal(struct dkim_message *m, const struct arc_validator *v, const struct arc_seal_params *p,
         dkim_sign_fn *sign, void *ctx, struct buf *out, struct why *why)
{
    struct buf CLEANUP(buf_done) results = {0};
    struct buf CLEANUP(buf_done) message = {0};
    struct buf CLEANUP(buf_done) seal = {0};
    unsigned i = v->n + 1;
    int rc = check(v, p, why);

    if (rc < 0)
        return rc;
    buf_init(&results, PAYLOAD_MAX);
    buf_init(&message, DKIM_DRAFT_MAX + 2 * DKIM_SIGNATURE_MAX);
    buf_init(&seal, DKIM_DRAFT_MAX + 2 * DKIM_SIGNATURE_MAX);
    write_results(p, i, &results);
    rc = results.failed ? ERR_LIMIT : seal_message(m, p, i, sign, ctx, &message);
    if (rc == 0)
        rc = seal_seal(m, v, p, i, buf_view(&results), buf_view(&message), sign, ctx, &seal);
    if (rc < 0)
        return why_set(why, rc, "the set could not be made: %s", err_text(rc));
    buf_str(out, buf_view(&seal));
    buf_str(out, buf_view(&message));
    buf_str(out, buf_view(&results));
    return out->failed ? why_set(why, ERR_LIMIT, "the set does not fit") : 0;
}
