/*
 * auth/authres_parse.c - the grammar of Authentication-Results (RFC 8601 2.2).
 *
 * Called by the filter, by ARC's reader of AARs and by tests. Strict: what is not by the grammar is
 * refused whole, so that no two readers find different results in it.
 */
#include "auth/authres.h"
#include "core/err.h"

#define COMMENT_DEPTH_MAX 16u
#define VALUE_MAX         16384u

struct lexer {
    struct str in;
    size_t at;
    struct arena *arena;
    int error;
};

static bool
skip_comment(struct lexer *l)
{
    unsigned depth = 0;

    for (; l->at < l->in.n; l->at++) {
        char c = l->in.p[l->at];

        if (c == '\\') {
            l->at++;
        } else if (c == '(') {
            if (++depth > COMMENT_DEPTH_MAX)
                return false;
        } else if (c == ')' && --depth == 0) {
            l->at++;
            return true;
        }
    }
    return false;
}

static void
skip_space(struct lexer *l)
{
    while (!l->error && l->at < l->in.n) {
        char c = l->in.p[l->at];

        if (c == '(') {
            if (!skip_comment(l))
                l->error = ERR_SYNTAX;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            l->at++;
        } else {
            return;
        }
    }
}

static bool
is_token(char c, const char *also)
{
    return c > 32 && c != 127 && (!strchr("()<>@,;:\\\"/[]?=", c) || strchr(also, c));
}

static struct str
quoted(struct lexer *l)
{
    char *dst = arena_alloc(l->arena, l->in.n - l->at);
    size_t n = 0;

    if (!dst) {
        l->error = ERR_LIMIT;
        return STR_NONE;
    }
    for (l->at++; l->at < l->in.n && l->in.p[l->at] != '"'; l->at++) {
        char c = l->in.p[l->at];

        if (c == '\\' && l->at + 1 < l->in.n)
            c = l->in.p[++l->at];
        if (c == '\r' || c == '\n')
            continue;
        dst[n++] = c;
    }
    if (l->at >= l->in.n)
        l->error = ERR_SYNTAX;
    l->at++;
    return str_of(dst, n);
}

/* A token, or a quoted string; bytes of `also` belong to the token, too. */
static struct str
word(struct lexer *l, const char *also)
{
    size_t start;

    skip_space(l);
    if (l->error || l->at >= l->in.n) {
        l->error = l->error ? l->error : ERR_SYNTAX;
        return STR_NONE;
    }
    if (l->in.p[l->at] == '"')
        return quoted(l);
    start = l->at;
    while (l->at < l->in.n && l->in.p[l->at] && is_token(l->in.p[l->at], also))
        l->at++;
    if (l->at == start)
        l->error = ERR_SYNTAX;
    return str_sub(l->in, start, l->at - start);
}

static bool
take(struct lexer *l, char c)
{
    skip_space(l);
    if (l->error || l->at >= l->in.n || l->in.p[l->at] != c)
        return false;
    l->at++;
    return true;
}

static bool
at_end(struct lexer *l)
{
    skip_space(l);
    return l->error || l->at >= l->in.n;
}

/* ptype.property=value; what follows the "=" may be an address or a path (RFC 8601 2.2 pvalue). */
static void
property(struct lexer *l, struct str name, struct authres_result *r)
{
    ssize_t dot = str_chr(name, '.');
    struct authres_prop p;

    if (r->nprops == AUTHRES_PROPS_MAX) {
        l->error = ERR_LIMIT;
        return;
    }
    if (dot >= 0) {
        p.ptype = str_sub(name, 0, (size_t)dot);
        p.property = str_from(name, (size_t)dot + 1);
    } else {
        p.ptype = name;
        if (!take(l, '.')) {
            l->error = ERR_SYNTAX;
            return;
        }
        p.property = word(l, "");
    }
    if (!take(l, '='))
        l->error = ERR_SYNTAX;
    p.value = l->error ? STR_NONE : word(l, "@/:[]=<>?,");
    if (!l->error && l->at < l->in.n && l->in.p[l->at] == '@') {
        struct str domain;

        l->at++; /* "quoted local"@domain */
        domain = word(l, "[]:");
        p.value = arena_fmt(l->arena, "%.*s@%.*s", STR_ARG(p.value), STR_ARG(domain));
    }
    if (!l->error)
        r->props[r->nprops++] = p;
}

static void
result(struct lexer *l, struct authres *a)
{
    struct authres_result *r;
    struct str name = word(l, "");

    if (!l->error && str_ieq(name, STR("none")) && !a->n && at_end(l))
        return;
    if (!l->error && a->n == AUTHRES_RESULTS_MAX)
        l->error = ERR_LIMIT;
    if (l->error)
        return;
    r = &a->results[a->n++];
    *r = (struct authres_result){.method = name};
    if (take(l, '/'))
        (void)word(l, "");
    if (!take(l, '='))
        l->error = ERR_SYNTAX;
    r->result = l->error ? STR_NONE : word(l, "");
    while (!l->error && !at_end(l) && l->in.p[l->at] != ';') {
        name = word(l, "");
        if (l->error)
            return;
        if (str_ieq(name, STR("reason")) && take(l, '='))
            r->reason = word(l, "");
        else
            property(l, name, r);
    }
}

int
authres_parse(struct str value, struct arena *arena, struct authres *ret)
{
    struct lexer l = {.in = value, .arena = arena};
    uint64_t version = 1;

    memset(ret, 0, sizeof(*ret));
    if (value.n > VALUE_MAX)
        return ERR_LIMIT;
    ret->id = word(&l, "@:/[]");
    if (!at_end(&l) && l.in.p[l.at] != ';' && str_u64(word(&l, ""), &version) < 0)
        l.error = ERR_SYNTAX;
    ret->version = (uint32_t)version;
    if (!l.error && version != 1)
        l.error = ERR_UNSUPPORTED;
    if (!l.error && at_end(&l))
        l.error = ERR_SYNTAX; /* an id alone says nothing */
    while (!l.error && take(&l, ';')) {
        if (at_end(&l) && (ret->n || l.error))
            break; /* a final semicolon is common */
        result(&l, ret);
    }
    if (!l.error && !at_end(&l))
        l.error = ERR_SYNTAX;
    return l.error;
}

int
authres_id(struct str value, struct arena *arena, struct str *ret, struct str *ret_results)
{
    struct lexer l = {.in = value, .arena = arena};
    uint64_t version;
    size_t start;

    *ret = *ret_results = STR_NONE;
    if (value.n > VALUE_MAX)
        return ERR_LIMIT;
    skip_space(&l);
    if (!l.error && l.at < value.n && value.p[l.at] == '"') {
        *ret = quoted(&l);
    } else {
        start = l.at;
        while (l.at < value.n && value.p[l.at] &&
               ((unsigned char)value.p[l.at] >= 128 || is_token(value.p[l.at], "@:[]")))
            l.at++;
        *ret = str_sub(value, start, l.at - start);
    }
    if (!at_end(&l) && value.p[l.at] != ';' && str_u64(word(&l, ""), &version) < 0)
        l.error = ERR_SYNTAX;
    if (!at_end(&l) && value.p[l.at] != ';')
        l.error = ERR_SYNTAX;
    if (l.error || !ret->n)
        return ERR_SYNTAX;
    *ret_results = str_from(value, MIN(l.at + 1, value.n));
    return 0;
}
