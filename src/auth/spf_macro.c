/*
 * auth/spf_macro.c - macros of SPF (RFC 7208 7): syntax and expansion.
 *
 * Called by the record's parser for the syntax and by the evaluator for the expansion. Every output
 * has a ceiling: what a stranger publishes may ask for 128 copies of a local part.
 */
#include "auth/spf_inner.h"
#include "core/err.h"

#define PARTS_MAX 128u

static bool
is_alnum(char c)
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9');
}

struct macro {
    char letter; /* lower case; '%', '_' or '-' for the plain ones */
    bool escape; /* written as a capital */
    bool reverse;
    unsigned digits; /* 0: all parts */
    struct str delimiters;
};

/* The macro at the start of s, which begins with '%': its length, 0 if it is none. */
static size_t
macro_parse(struct str s, bool explain, struct macro *m)
{
    size_t i = 2;

    *m = (struct macro){0};
    if (s.n < 2)
        return 0;
    if (s.p[1] == '%' || s.p[1] == '_' || s.p[1] == '-') {
        m->letter = s.p[1];
        return 2;
    }
    if (s.p[1] != '{' || s.n < 4)
        return 0;
    m->escape = s.p[i] >= 'A' && s.p[i] <= 'Z';
    m->letter = (char)(s.p[i++] | 32);
    if (m->letter < 'a' || m->letter > 'z' ||
        !strchr(explain ? "slodiphvcrt" : "slodiphv", m->letter))
        return 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        m->digits = MIN(m->digits * 10 + (unsigned)(s.p[i] - '0'), PARTS_MAX);
    if (i > 3 && !m->digits)
        return 0; /* RFC 7208 7.3: the number must not be zero */
    if (i < s.n && (s.p[i] | 32) == 'r') {
        m->reverse = true;
        i++;
    }
    m->delimiters = str_sub(s, i, 0);
    while (i < s.n && s.p[i] && strchr(".-+,/_=", s.p[i])) {
        m->delimiters.n++;
        i++;
    }
    return i < s.n && s.p[i] == '}' ? i + 1 : 0;
}

bool
spf_macro_ok(struct str text, bool explain)
{
    struct macro m;

    for (size_t i = 0; i < text.n;) {
        char c = text.p[i];
        size_t n = 1;

        if (c == '%')
            n = macro_parse(str_from(text, i), explain, &m);
        else if (c < (explain ? ' ' : '!') || c > '~')
            n = 0;
        if (!n)
            return false;
        i += n;
    }
    return true;
}

/* toplabel: letters, digits and hyphens inside, not digits alone. */
static bool
toplabel_ok(struct str s)
{
    bool other = false;

    if (!s.n || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
        other = other || s.p[i] < '0' || s.p[i] > '9';
    }
    return other;
}

bool
spf_domain_spec_ok(struct str text)
{
    struct macro m;
    size_t last = 0, len = 0;
    ssize_t dot;

    if (!text.n || !spf_macro_ok(text, false))
        return false;
    for (size_t i = 0; i < text.n; i += len) {
        len = text.p[i] == '%' ? macro_parse(str_from(text, i), false, &m) : 1;
        if (text.p[i] == '%')
            last = i + len;
    }
    if (last == text.n)
        return true; /* ends in a macro */
    text = str_from(text, last);
    if (str_ends(text, STR(".")))
        text.n--;
    dot = str_rchr(text, '.');
    return dot >= 0 && toplabel_ok(str_from(text, (size_t)dot + 1));
}

struct out {
    char *p;
    size_t n;
    bool full;
};

static void
put(struct out *o, struct str s)
{
    if (s.n > SPF_EXPANSION_MAX - o->n) {
        o->full = true;
        return;
    }
    memcpy(o->p + o->n, s.p, s.n);
    o->n += s.n;
}

/* %{i}: dotted quad, or dotted nibbles. dst of 80 bytes. */
static struct str
dotted(const struct addr *a, char *dst)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    if (addr_is_v4(a))
        return str_c(addr_show(a, dst));
    for (size_t i = 0; i < 32; i++) {
        if (i)
            dst[n++] = '.';
        dst[n++] = hex[(i & 1 ? a->b[i / 2] : a->b[i / 2] >> 4) & 15];
    }
    return str_of(dst, n);
}

struct best_name {
    struct str domain;
    struct str best;
    char text[256];
    unsigned rank; /* 3 the domain itself, 2 below it, 1 any */
};

static bool
better_name(void *ctx, struct str name)
{
    struct best_name *b = ctx;
    unsigned rank = str_ieq(name, b->domain) ? 3 : spf_is_below(name, b->domain) ? 2 : 1;

    if (rank > b->rank && str_copy(name, b->text, sizeof(b->text))) {
        b->rank = rank;
        b->best = str_of(b->text, name.n);
    }
    return rank == 3;
}

struct values {
    char text[512];
    struct best_name names;
};

/* The value of a letter. */
static struct str
value_of(struct spf_run *r, char letter, struct str domain, struct values *v, bool *ret_need)
{
    size_t n = 0;

    switch (letter) {
    case 's':
        n = str_fmt(v->text, sizeof(v->text), "%.*s@%.*s", STR_ARG(r->sender_local),
                    STR_ARG(r->sender_domain));
        return str_of(v->text, n);
    case 'l':
        return r->sender_local;
    case 'o':
        return r->sender_domain;
    case 'd':
        return domain;
    case 'i':
        return dotted(&r->in->ip, v->text);
    case 'p':
        v->names = (struct best_name){.domain = domain, .best = STR("unknown")};
        if (spf_ptr_names(r, better_name, &v->names, NULL) < 0)
            *ret_need = true;
        return v->names.best;
    case 'h':
        return r->in->helo;
    case 'v':
        return addr_is_v4(&r->in->ip) ? STR("in-addr") : STR("ip6");
    case 'c':
        return str_c(addr_show(&r->in->ip, v->text));
    case 'r':
        return r->in->receiver.n ? r->in->receiver : STR("unknown");
    default: /* t */
        n = str_fmt(v->text, sizeof(v->text), "%llu", (unsigned long long)r->in->time);
        return str_of(v->text, n);
    }
}

static void
put_escaped(struct out *o, struct str s)
{
    char code[4];

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
            put(o, str_of(&c, 1));
        else
            put(o, str_of(code, str_fmt(code, sizeof(code), "%%%02X", (unsigned char)c)));
    }
}

/* Splits at the delimiters, reverses, keeps the right-hand parts, joins by dots (RFC 7208 7.3). */
static void
put_parts(struct out *o, const struct macro *m, struct str value)
{
    struct str parts[PARTS_MAX];
    struct str delimiters = m->delimiters.n ? m->delimiters : STR(".");
    size_t n = 0, start = 0, from;

    if (!m->digits && !m->reverse && !m->delimiters.n) {
        m->escape ? put_escaped(o, value) : put(o, value);
        return;
    }
    for (size_t i = 0; i <= value.n; i++) {
        if (i < value.n && str_chr(delimiters, value.p[i]) < 0)
            continue;
        if (n == PARTS_MAX) {
            o->full = true;
            return;
        }
        parts[n++] = str_sub(value, start, i - start);
        start = i + 1;
    }
    from = m->digits && m->digits < n ? n - m->digits : 0;
    for (size_t i = from; i < n; i++) {
        struct str part = parts[m->reverse ? n - 1 - i : i];

        if (i > from)
            put(o, STR("."));
        m->escape ? put_escaped(o, part) : put(o, part);
    }
}

ssize_t
spf_macro_expand(struct spf_run *r, struct str text, struct str domain, char *dst, bool *ret_need)
{
    struct out o = {.p = dst};
    struct values *v = ARENA_NEW(r->arena, struct values);

    if (!v) {
        r->no_room = true;
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < text.n && !o.full;) {
        struct macro m;
        size_t n = 1;

        if (text.p[i] != '%') {
            put(&o, str_sub(text, i, 1));
        } else {
            n = macro_parse(str_from(text, i), true, &m);
            if (m.letter == '%')
                put(&o, STR("%"));
            else if (m.letter == '_')
                put(&o, STR(" "));
            else if (m.letter == '-')
                put(&o, STR("%20"));
            else
                put_parts(&o, &m, value_of(r, m.letter, domain, v, ret_need));
        }
        i += MAX(n, (size_t)1);
    }
    return o.full ? (ssize_t)ERR_LIMIT : (ssize_t)o.n;
}

struct str
spf_macro_name(struct str s)
{
    if (str_ends(s, STR(".")))
        s.n--;
    while (s.n > 253) {
        ssize_t dot = str_chr(s, '.');

        if (dot < 0)
            return STR_NONE;
        s = str_from(s, (size_t)dot + 1);
    }
    return s;
}
