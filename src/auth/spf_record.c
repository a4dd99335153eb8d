/*
 * auth/spf_record.c - the grammar of SPF records (RFC 7208 12).
 *
 * Called by the evaluator, once to check a whole record and once to walk it. Allocates nothing;
 * views point into the record.
 */
#include "auth/spf_inner.h"
#include "core/err.h"

static bool
is_alpha(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool
spf_is_record(struct str txt)
{
    return str_istarts(txt, STR("v=spf1")) && (txt.n == 6 || txt.p[6] == ' ');
}

/* "/0" or "/" and a number without leading zero, at most max. */
static bool
take_bits(struct str s, unsigned max, uint8_t *ret)
{
    unsigned n = 0;

    if (!s.n || s.n > 3 || (s.n > 1 && s.p[0] == '0'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]))
            return false;
        n = n * 10 + (unsigned)(s.p[i] - '0');
    }
    *ret = (uint8_t)n;
    return n <= max;
}

/* Index of the '/' before the digits that s ends with, or -1. */
static ssize_t
last_cidr(struct str s)
{
    size_t i = s.n;

    while (i && is_digit(s.p[i - 1]))
        i--;
    return i && s.p[i - 1] == '/' ? (ssize_t)i - 1 : -1;
}

/* Takes dual-cidr-length off the end of *s. */
static bool
take_dual(struct str *s, struct spf_term *t)
{
    ssize_t at = last_cidr(*s);

    if (at < 0)
        return true;
    if (at > 0 && s->p[at - 1] == '/') {
        if (!take_bits(str_from(*s, (size_t)at + 1), 128, &t->bits6))
            return false;
        s->n = (size_t)at - 1;
        at = last_cidr(*s);
        if (at < 0)
            return true;
    }
    if (!take_bits(str_from(*s, (size_t)at + 1), 32, &t->bits4))
        return false;
    s->n = (size_t)at;
    return true;
}

/* arg begins behind the name: "", ":spec", "/24", ":spec/24//64". */
static bool
term_host(struct str arg, struct spf_term *t)
{
    if (!take_dual(&arg, t))
        return false;
    if (!arg.n)
        return true;
    t->spec = str_from(arg, 1);
    return arg.p[0] == ':' && spf_domain_spec_ok(t->spec);
}

static bool
term_optional(struct str arg, struct spf_term *t)
{
    if (!arg.n)
        return true;
    t->spec = str_from(arg, 1);
    return arg.p[0] == ':' && spf_domain_spec_ok(t->spec);
}

static bool
term_named(struct str arg, struct spf_term *t)
{
    return arg.n && term_optional(arg, t);
}

static bool
term_bare(struct str arg, struct spf_term *t)
{
    (void)t;
    return !arg.n;
}

static bool
term_ip(struct str arg, struct spf_term *t)
{
    unsigned most = t->kind == SPF_IP4 ? 32 : 128;
    uint8_t bits = (uint8_t)most;
    struct str ip, len;
    bool four = t->kind == SPF_IP4;

    if (!arg.n || arg.p[0] != ':')
        return false;
    ip = str_from(arg, 1);
    if (str_chr(ip, '/') >= 0) {
        ip = str_cut(ip, '/', &len);
        if (!take_bits(len, most, &bits))
            return false;
    }
    for (size_t i = 0; i < ip.n; i++)
        if (!is_digit(ip.p[i]) && ip.p[i] != '.' &&
            (four || (ip.p[i] != ':' && ((ip.p[i] | 32) < 'a' || (ip.p[i] | 32) > 'f'))))
            return false;
    if (addr_parse(ip, &t->net.addr) < 0 || (four && !addr_is_v4(&t->net.addr)) ||
        (!four && str_chr(ip, ':') < 0))
        return false;
    t->net.bits = (uint8_t)(four ? bits + 96 : bits);
    return true;
}

static const struct {
    const char *name;
    enum spf_kind kind;
    bool (*parse)(struct str arg, struct spf_term *);
} mechanisms[] = {
    {"all", SPF_ALL, term_bare}, {"include", SPF_INCLUDE, term_named}, {"a", SPF_A, term_host},
    {"mx", SPF_MX, term_host},   {"ptr", SPF_PTR, term_optional},      {"ip4", SPF_IP4, term_ip},
    {"ip6", SPF_IP6, term_ip},   {"exists", SPF_EXISTS, term_named},
};

/* name *( ALPHA / DIGIT / "-" / "_" / "." ) at the start of s: its length. */
static size_t
name_len(struct str s)
{
    size_t i = 0;

    if (!s.n || !is_alpha(s.p[0]))
        return 0;
    while (i < s.n && (is_alpha(s.p[i]) || is_digit(s.p[i]) || s.p[i] == '-' || s.p[i] == '_' ||
                       s.p[i] == '.'))
        i++;
    return i;
}

static bool
term_modifier(struct str name, struct str value, struct spf_term *t)
{
    t->spec = value;
    t->kind = SPF_UNKNOWN;
    if (str_ieq(name, STR("redirect")))
        t->kind = SPF_REDIRECT;
    else if (str_ieq(name, STR("exp")))
        t->kind = SPF_EXP;
    else
        return spf_macro_ok(value, false);
    return spf_domain_spec_ok(value);
}

static int
term_parse(struct str text, struct spf_term *t)
{
    static const char qualifiers[] = "+-~?";
    static const enum spf_result meaning[] = {SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL};
    struct str s = text, name;
    const char *q;
    size_t n;

    *t = (struct spf_term){.text = text, .qualifier = SPF_PASS, .bits4 = 32, .bits6 = 128};
    n = name_len(s);
    if (n && n < s.n && s.p[n] == '=')
        return term_modifier(str_sub(s, 0, n), str_from(s, n + 1), t) ? 0 : ERR_SYNTAX;
    q = s.n && s.p[0] ? strchr(qualifiers, s.p[0]) : NULL;
    if (q) {
        t->qualifier = meaning[q - qualifiers];
        s = str_from(s, 1);
        n = name_len(s);
    }
    name = str_sub(s, 0, n);
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        if (!str_ieq(name, str_c(mechanisms[i].name)))
            continue;
        t->kind = mechanisms[i].kind;
        return mechanisms[i].parse(str_from(s, n), t) ? 0 : ERR_SYNTAX;
    }
    return ERR_SYNTAX;
}

int
spf_term_next(struct str record, size_t *at, struct spf_term *ret)
{
    size_t start = *at, end;
    int rc;

    while (start < record.n && record.p[start] == ' ')
        start++;
    if (start >= record.n)
        return 0;
    for (end = start; end < record.n && record.p[end] != ' ';)
        end++;
    *at = end;
    rc = term_parse(str_sub(record, start, end - start), ret);
    return rc < 0 ? rc : 1;
}

int
spf_record_check(struct str text, struct spf_record *ret, struct str *reterr_term)
{
    struct spf_record r = {.text = str_from(text, 6)};
    struct spf_term t;
    size_t at = 0;
    int rc;

    while ((rc = spf_term_next(r.text, &at, &t)) > 0) {
        struct spf_term *once = t.kind == SPF_REDIRECT ? &r.redirect
                                : t.kind == SPF_EXP    ? &r.exp
                                                       : NULL;

        r.has_all = r.has_all || t.kind == SPF_ALL;
        if (once && once->spec.n) {
            rc = ERR_SYNTAX; /* RFC 7208 6: at most once each */
            break;
        }
        if (once)
            *once = t;
    }
    if (rc < 0) {
        *reterr_term = t.text;
        return rc;
    }
    *ret = r;
    return 0;
}
