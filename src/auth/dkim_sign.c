/*
 * auth/dkim_sign.c - what a signature of ours says and covers.
 *
 * Called by the courier, the command line and tests. Holds no key, knows no clock.
 */
#include "auth/dkim_sign.h"
#include "auth/dkim_sig.h"

#define OVER      0x1u /* once more than present: none can be added */
#define LIST      0x2u /* over only if the message is list mail */
#define EACH_MAX  10u  /* of one name */
#define NAMES_MAX 4096u

/* RFC 6376 5.4.1, and what readers' programs show or act upon. */
static const struct {
    struct str name;
    unsigned flags;
} chosen[] = {
    {STR("From"), OVER},
    {STR("Sender"), 0},
    {STR("Reply-To"), OVER},
    {STR("To"), OVER},
    {STR("Cc"), OVER},
    {STR("Subject"), OVER},
    {STR("Date"), OVER},
    {STR("Message-ID"), OVER},
    {STR("In-Reply-To"), OVER},
    {STR("References"), OVER},
    {STR("MIME-Version"), OVER},
    {STR("Content-Type"), OVER},
    {STR("Content-Transfer-Encoding"), OVER},
    {STR("Content-Disposition"), 0},
    {STR("Content-ID"), 0},
    {STR("Content-Description"), 0},
    {STR("Resent-Date"), 0},
    {STR("Resent-From"), 0},
    {STR("Resent-Sender"), 0},
    {STR("Resent-To"), 0},
    {STR("Resent-Cc"), 0},
    {STR("Resent-Message-ID"), 0},
    {STR("Auto-Submitted"), 0},
    {STR("Feedback-ID"), 0},
    {STR("List-Id"), LIST},
    {STR("List-Help"), LIST},
    {STR("List-Unsubscribe"), LIST},
    {STR("List-Unsubscribe-Post"), LIST},
    {STR("List-Subscribe"), LIST},
    {STR("List-Post"), LIST},
    {STR("List-Owner"), LIST},
    {STR("List-Archive"), LIST},
};

int
dkim_sign_prepare(struct dkim_message *m, enum dkim_canon body)
{
    int number = dkim_body_want(&m->body, body, false, UINT64_MAX);

    return MIN(number, 0);
}

static void
add_name(struct buf *out, struct str name, unsigned times)
{
    for (unsigned i = 0; i < MIN(times, EACH_MAX); i++) {
        if (out->n)
            buf_char(out, ':');
        buf_str(out, name);
    }
}

static bool
is_chosen(struct str name)
{
    for (unsigned i = 0; i < ARRAY_LEN(chosen); i++)
        if (str_ieq(chosen[i].name, name))
            return true;
    return false;
}

void
dkim_sign_headers(const struct dkim_message *m, const struct dkim_sign_params *p, struct buf *out)
{
    bool list = false;

    for (unsigned i = 0; i < ARRAY_LEN(chosen) && !list; i++)
        list = chosen[i].flags & LIST && dkim_headers_count(&m->headers, chosen[i].name);
    for (unsigned i = 0; i < ARRAY_LEN(chosen); i++) {
        bool over = chosen[i].flags & OVER || (list && chosen[i].flags & LIST);

        add_name(out, chosen[i].name, dkim_headers_count(&m->headers, chosen[i].name) + over);
    }
    for (size_t i = 0; i < p->nextra; i++)
        if (!is_chosen(p->extra[i]))
            add_name(out, p->extra[i], dkim_headers_count(&m->headers, p->extra[i]));
}

/* What would break the field that we make. */
static bool
value_ok(struct str s)
{
    return !str_has_ctl(s) && str_chr(s, ';') < 0 && str_chr(s, ' ') < 0 &&
           (str_is_ascii(s) || str_is_utf8(s));
}

static int
check(const struct dkim_message *m, const struct dkim_sign_params *p, struct why *why)
{
    unsigned from = dkim_headers_count(&m->headers, STR("from"));
    char name[256];
    size_t n;

    if (m->headers.too_many)
        return why_set(why, ERR_LIMIT, "the message has too many header fields to be signed");
    if (from != 1)
        return why_set(why, ERR_REFUSED, "a message with %u From fields is not signed", from);
    if (!value_ok(p->domain) || !value_ok(p->selector) || !value_ok(p->identity) ||
        !value_ok(p->headers) || dkim_key_name(p->selector, p->domain, name, &n) < 0)
        return why_set(why, ERR_SYNTAX, "domain, selector or identity cannot stand in a signature");
    if (p->alg != DKIM_RSA_SHA256 && p->alg != DKIM_ED25519_SHA256)
        return why_set(why, ERR_UNSUPPORTED, "only rsa-sha256 and ed25519-sha256 sign");
    if (p->expires && p->expires <= p->now)
        return why_set(why, ERR_SYNTAX, "the signature would be born expired");
    return 0;
}

static void
write_tags(const struct dkim_sign_params *p, struct str headers, struct str body_hash,
           struct dkim_draft *d)
{
    char canon[32];
    size_t n = str_fmt(canon, sizeof(canon), "%s/%s", dkim_canon_name(p->header_canon),
                       dkim_canon_name(p->body_canon));

    dkim_draft_begin(d, "DKIM-Signature");
    d->alg = p->alg;
    dkim_draft_tag(d, "v", STR("1"));
    dkim_draft_tag(d, "a", str_c(dkim_alg_name(p->alg)));
    dkim_draft_tag(d, "c", str_of(canon, n));
    dkim_draft_tag(d, "d", p->domain);
    dkim_draft_tag(d, "s", p->selector);
    if (p->identity.n)
        dkim_draft_tag(d, "i", p->identity);
    if (p->now)
        dkim_draft_number(d, "t", p->now);
    if (p->expires)
        dkim_draft_number(d, "x", p->expires);
    dkim_draft_list(d, "h", headers);
    dkim_draft_base64(d, "bh", body_hash);
    dkim_draft_hole(d);
}

int
dkim_sign_begin(struct dkim_message *m, const struct dkim_sign_params *p, struct dkim_draft *ret,
                struct why *why)
{
    struct buf CLEANUP(buf_done) names = {0};
    struct str headers = p->headers, digest;
    int rc = check(m, p, why), number;

    if (rc < 0)
        return rc;
    number = dkim_body_want(&m->body, p->body_canon, false, UINT64_MAX);
    digest = dkim_body_digest(&m->body, number);
    if (!digest.n)
        return why_set(why, ERR_STATE, "the body was not hashed for this canonicalization");
    buf_init(&names, NAMES_MAX);
    if (!headers.n) {
        dkim_sign_headers(m, p, &names);
        headers = buf_view(&names);
    }
    if (names.failed)
        return why_set(why, ERR_LIMIT, "too many fields are to be signed");
    write_tags(p, headers, digest, ret);
    if (!dkim_message_hash(m, false))
        rc = ERR_TLS;
    dkim_message_hash_list(m, headers, p->header_canon);
    if (rc == 0)
        rc = dkim_draft_digest(ret, m, p->header_canon);
    if (rc < 0) {
        dkim_draft_done(ret);
        return why_set(why, rc, "the message could not be hashed: %s", err_text(rc));
    }
    return 0;
}

int
dkim_sign(struct dkim_message *m, const struct dkim_sign_params *p, dkim_sign_fn *sign, void *ctx,
          struct buf *out, struct why *why)
{
    struct dkim_draft CLEANUP(dkim_draft_done) d = {0};
    uint8_t signature[DKIM_SIGNATURE_MAX];
    ssize_t n;
    int rc = dkim_sign_begin(m, p, &d, why);

    if (rc < 0)
        return rc;
    n = sign(ctx, d.alg, d.digest, d.digest_n, signature, sizeof(signature));
    if (n <= 0)
        return why_set(why, n ? (int)n : ERR_TLS, "the key could not sign: %s",
                       err_text(n ? (int)n : ERR_TLS));
    rc = dkim_draft_finish(&d, signature, (size_t)n, out);
    return rc < 0 ? why_set(why, rc, "the signature field does not fit") : 0;
}
