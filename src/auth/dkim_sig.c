/*
 * auth/dkim_sig.c - signature fields into struct dkim_sig (RFC 6376 3.5, RFC 8617 4.1).
 *
 * Called by the verifier, the ARC validator and fuzz targets. Checks everything that needs neither
 * key nor message, so that nothing malformed costs a look-up.
 */
#include "auth/dkim_sig.h"
#include "auth/dkim_tag.h"
#include "core/err.h"
#include "mail/address.h"

#define MUST_V  0x01u
#define MUST_BH 0x02u /* and h= */
#define MUST_CV 0x04u /* and no h= */
#define ARC_I   0x08u /* i= is an instance */
#define FROM    0x10u /* h= must name From */

#define ARC_INSTANCES_MAX 50u

static const struct {
    struct str name;
    unsigned rules;
} kinds[] = {
    [DKIM_KIND_SIGNATURE] = {STR("DKIM-Signature"), MUST_V | MUST_BH | FROM},
    [DKIM_KIND_AMS] = {STR("ARC-Message-Signature"), MUST_BH | ARC_I},
    [DKIM_KIND_SEAL] = {STR("ARC-Seal"), MUST_CV | ARC_I},
};

struct str
dkim_kind_name(enum dkim_kind kind)
{
    return kinds[kind].name;
}

static struct str
value_of(const struct dkim_tags *tags, const char *name)
{
    const struct dkim_tag *t = dkim_tags_find(tags, str_c(name));

    return t ? t->value : STR_NONE;
}

static bool
has(const struct dkim_tags *tags, const char *name)
{
    return dkim_tags_find(tags, str_c(name)) != NULL;
}

unsigned
arc_instance_of(struct str text)
{
    uint64_t n;

    if (text.n < 1 || text.n > 2 || str_u64(text, &n) < 0 || n < 1 || n > ARC_INSTANCES_MAX)
        return 0;
    return (unsigned)n;
}

/* RFC 6376 3.5 "i=": dkim-quoted-printable. The decoded text, or ERR_SYNTAX. */
static ssize_t
unquote(struct str in, char *dst, size_t cap)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];

        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        if (c == '=') {
            const char *hi = i + 2 < in.n ? strchr(hex, in.p[i + 1]) : NULL;
            const char *lo = i + 2 < in.n ? strchr(hex, in.p[i + 2]) : NULL;

            if (!hi || !lo || !*hi || !*lo)
                return ERR_SYNTAX;
            c = (char)((hi - hex) << 4 | (lo - hex));
            i += 2;
        }
        if (n == cap || !c)
            return ERR_SYNTAX;
        dst[n++] = c;
    }
    return (ssize_t)n;
}

/* Domains as written: LDH or U-labels; an underscore is seen in the field and harms nobody. */
static bool
domain_ok(struct str name)
{
    char ascii[256];
    size_t label = 0;
    ssize_t n;

    if (!name.n || name.n > 253)
        return false;
    if (!str_is_ascii(name)) {
        n = address_domain_ascii(name, ascii, sizeof(ascii));
        return n > 0;
    }
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_';

        if (c == '.' ? !label : !good)
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0;
}

static ssize_t
ascii_of(struct str name, char *dst, size_t cap)
{
    if (str_is_ascii(name)) {
        if (!str_copy(name, dst, cap))
            return ERR_SYNTAX;
        str_lower(dst, name.n);
        return (ssize_t)name.n;
    }
    return address_domain_ascii(name, dst, cap);
}

int
dkim_key_name(struct str selector, struct str domain, char *dst, size_t *ret_n)
{
    static const struct str between = STR("._domainkey.");
    char sel[256], dom[256];
    ssize_t ns = ascii_of(selector, sel, sizeof(sel)), nd = ascii_of(domain, dom, sizeof(dom));

    if (ns <= 0 || nd <= 0 || (size_t)ns + (size_t)nd + between.n > 253 ||
        !domain_ok(str_of(sel, (size_t)ns)) || !domain_ok(str_of(dom, (size_t)nd)))
        return ERR_SYNTAX;
    memcpy(dst, sel, (size_t)ns);
    memcpy(dst + ns, between.p, between.n);
    memcpy(dst + (size_t)ns + between.n, dom, (size_t)nd);
    *ret_n = (size_t)ns + between.n + (size_t)nd;
    dst[*ret_n] = '\0';
    return 0;
}

/* i= is d= or below it. */
static bool
identity_ok(const struct dkim_sig *s)
{
    char text[512], own[256], theirs[256];
    ssize_t n = unquote(s->identity, text, sizeof(text)), at, nd, ni;
    struct str host;

    if (n < 0)
        return false;
    at = str_rchr((struct str){text, (size_t)n}, '@');
    if (at < 0)
        return false;
    host = str_of(text + at + 1, (size_t)(n - at - 1));
    if (!domain_ok(host))
        return false;
    nd = ascii_of(s->domain, own, sizeof(own));
    ni = ascii_of(host, theirs, sizeof(theirs));
    if (nd <= 0 || ni < nd || memcmp(theirs + (ni - nd), own, (size_t)nd) != 0)
        return false;
    return ni == nd || theirs[ni - nd - 1] == '.';
}

static enum dkim_reason
parse_canon(struct str value, struct dkim_sig *s)
{
    struct str body, header = str_cut(value, '/', &body);
    const struct {
        struct str text;
        enum dkim_canon *to;
    } both[] = {{header, &s->header_canon}, {body, &s->body_canon}};

    if (str_chr(value, '/') < 0)
        body = STR("simple");
    for (unsigned i = 0; i < ARRAY_LEN(both); i++) {
        struct str text = i ? body : header;

        if (str_eq(text, STR("simple")))
            *both[i].to = DKIM_SIMPLE;
        else if (str_eq(text, STR("relaxed")))
            *both[i].to = DKIM_RELAXED;
        else
            return DKIM_BAD_CANON;
    }
    return DKIM_OK;
}

static enum dkim_reason
parse_times(const struct dkim_tags *tags, struct dkim_sig *s)
{
    if (has(tags, "t") && str_u64(value_of(tags, "t"), &s->signed_at) < 0)
        return DKIM_BAD_TIME;
    if (has(tags, "x") && str_u64(value_of(tags, "x"), &s->expires) < 0)
        return DKIM_BAD_TIME;
    if (has(tags, "x") && (!s->expires || (has(tags, "t") && s->expires <= s->signed_at)))
        return DKIM_BAD_TIME;
    return DKIM_OK;
}

/* Bytes of 33 to 126, of which a value has no others but white space and those over 127. */
static bool
field_name_ok(struct str name)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    size_t i = 0;
    uint64_t w;

    for (; name.n - i >= sizeof(w); i += sizeof(w)) {
        memcpy(&w, name.p + i, sizeof(w));
        if (((w - ones * 33) | w | (w + ones)) & tops)
            return false;
    }
    for (; i < name.n; i++)
        if (name.p[i] <= 32 || name.p[i] >= 127)
            return false;
    return name.n > 0;
}

static enum dkim_reason
parse_headers(const struct dkim_tags *tags, const struct dkim_limits *limits, unsigned rules,
              struct dkim_sig *s)
{
    struct str rest = value_of(tags, "h"), name;
    bool first = true;
    unsigned n = 0;

    s->headers = rest;
    if (!rest.n) /* ARC's test suite and validators take an empty list */
        return rules & FROM ? DKIM_BAD_HEADERS : DKIM_OK;
    while (dkim_list_next(&rest, &first, &name)) {
        if (!field_name_ok(name) || ++n > limits->signed_names)
            return DKIM_BAD_HEADERS;
        if (name.n == 4 && str_ieq(name, STR("from")))
            s->from_signed = true;
        /* RFC 8617 4.1.2: seals are made after the message signature. */
        if (s->kind == DKIM_KIND_AMS && str_ieq(name, STR("arc-seal")))
            return DKIM_BAD_HEADERS;
    }
    return rules & FROM && !s->from_signed ? DKIM_FROM_UNSIGNED : DKIM_OK;
}

static enum dkim_reason
parse_bytes(const struct dkim_tags *tags, unsigned rules, struct dkim_sig *s)
{
    const struct dkim_tag *b = dkim_tags_find(tags, STR("b"));
    ssize_t n = dkim_base64(b->value, s->signature, sizeof(s->signature));

    if (n <= 0)
        return n == ERR_LIMIT ? DKIM_TOO_LARGE : DKIM_BAD_BASE64;
    s->b = b->raw;
    s->signature_n = (size_t)n;
    if (!(rules & MUST_BH))
        return DKIM_OK;
    n = dkim_base64(value_of(tags, "bh"), s->body_hash, sizeof(s->body_hash));
    if (n != (s->alg == DKIM_RSA_SHA1 ? 20 : 32))
        return DKIM_BAD_BASE64;
    s->body_hash_n = (size_t)n;
    return DKIM_OK;
}

/* i=, t=, x=, l=, q=, c=: what may be there. */
static enum dkim_reason
parse_optional(const struct dkim_tags *tags, unsigned rules, struct dkim_sig *s)
{
    enum dkim_reason why = parse_times(tags, s);

    if (why == DKIM_OK && rules & MUST_BH && has(tags, "c"))
        why = parse_canon(value_of(tags, "c"), s);
    if (why != DKIM_OK)
        return why;
    s->has_length = rules & MUST_BH && has(tags, "l");
    if (s->has_length && str_u64(value_of(tags, "l"), &s->length) < 0)
        return DKIM_BAD_LENGTH;
    if (rules & MUST_BH && has(tags, "q") && !dkim_list_has(value_of(tags, "q"), STR("dns/txt")))
        return DKIM_BAD_QUERY;
    if (rules & ARC_I || !has(tags, "i"))
        return DKIM_OK;
    s->identity = value_of(tags, "i");
    return identity_ok(s) ? DKIM_OK : DKIM_BAD_IDENTITY;
}

static enum dkim_reason
parse_arc(const struct dkim_tags *tags, unsigned rules, struct dkim_sig *s)
{
    struct str cv = value_of(tags, "cv");

    s->instance = arc_instance_of(value_of(tags, "i"));
    if (!s->instance)
        return DKIM_BAD_INSTANCE;
    if (!(rules & MUST_CV))
        return DKIM_OK;
    if (has(tags, "h"))
        return DKIM_BAD_HEADERS;
    if (str_eq(cv, STR("none")))
        s->cv = ARC_NONE;
    else if (str_eq(cv, STR("pass")))
        s->cv = ARC_PASS;
    else if (str_eq(cv, STR("fail")))
        s->cv = ARC_FAIL;
    else
        return DKIM_MISSING_TAG;
    return DKIM_OK;
}

static enum dkim_reason
parse_required(const struct dkim_tags *tags, unsigned rules, struct dkim_sig *s)
{
    s->domain = value_of(tags, "d");
    s->selector = value_of(tags, "s");
    s->alg = dkim_alg_of(value_of(tags, "a"));
    if (rules & MUST_V && !has(tags, "v"))
        return DKIM_MISSING_TAG;
    if (rules & MUST_V && !str_eq(value_of(tags, "v"), STR("1")))
        return DKIM_BAD_VERSION;
    if (!has(tags, "a") || !has(tags, "b") || !has(tags, "d") || !has(tags, "s"))
        return DKIM_MISSING_TAG;
    if (rules & MUST_BH && (!has(tags, "bh") || !has(tags, "h")))
        return DKIM_MISSING_TAG;
    if (!domain_ok(s->domain) || !domain_ok(s->selector))
        return DKIM_BAD_DOMAIN;
    return s->alg == DKIM_ALG_NONE ? DKIM_UNKNOWN_ALGORITHM : DKIM_OK;
}

enum dkim_reason
dkim_sig_parse(const struct header_field *field, enum dkim_kind kind,
               const struct dkim_limits *limits, struct dkim_sig *ret)
{
    unsigned rules = kinds[kind].rules;
    struct dkim_tags tags __attribute__((uninitialized)); /* 2.5 KB: what is used is set */
    enum dkim_reason why;

    memset(ret, 0, offsetof(struct dkim_sig, signature));
    ret->signature_n = 0;
    ret->field = *field;
    ret->kind = kind;
    ret->alg = DKIM_ALG_NONE;
    /* Seals have no c=. A message signature without one is relaxed to all validators and to ARC's
     * test suite, though RFC 8617 takes over DKIM's default. */
    if (rules & ARC_I)
        ret->header_canon = ret->body_canon = DKIM_RELAXED;
    if (field->line.n > limits->signature_bytes)
        return DKIM_TOO_LARGE;
    if (dkim_tags_parse(field->value, &tags) < 0)
        return DKIM_BAD_TAGS;
    /* The instance first: a structure can be judged even if the rest is of no use. */
    why = rules & ARC_I ? parse_arc(&tags, rules, ret) : DKIM_OK;
    if (why == DKIM_OK)
        why = parse_required(&tags, rules, ret);
    if (why == DKIM_OK)
        why = parse_headers(&tags, limits, rules, ret);
    if (why == DKIM_OK)
        why = parse_optional(&tags, rules, ret);
    if (why == DKIM_OK)
        why = parse_bytes(&tags, rules, ret);
    return why;
}
