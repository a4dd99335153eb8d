/*
 * auth/authres.c - what only we may say is taken out; our own results are written.
 *
 * Called by the gate before a message is stored. Never changes a byte of what it keeps.
 */
#include "auth/authres.h"
#include "core/err.h"
#include "mail/address.h"
#include "mail/header.h"

#define LINE_GOAL   76u
#define PARSE_MAX   65536u
#define BROKEN_NAME 80u  /* bytes that are looked at of a line that is no field */
#define VALUE_SHOW  320u /* of a stranger's text in our field */

static struct str
plain_id(struct str id, char room[256])
{
    ssize_t n;

    while (id.n && id.p[id.n - 1] == '.')
        id.n--;
    n = address_domain_ascii(id, room, 256);
    return n > 0 ? str_of(room, (size_t)n) : id;
}

bool
authres_same_id(struct str a, struct str b)
{
    char x[256], y[256];

    return str_ieq(plain_id(a, x), plain_id(b, y));
}

static bool
is_ours(struct str value, const struct str *ids, size_t nids)
{
    struct arena arena;
    bool ours; /* what cannot be read could be read by somebody as ours */
    struct str id, results;

    arena_init(&arena, PARSE_MAX);
    ours = authres_id(value, &arena, &id, &results) < 0;
    for (size_t i = 0; i < nids && !ours; i++)
        ours = authres_same_id(id, ids[i]);
    arena_done(&arena);
    return ours;
}

/* Bytes of the lines at the beginning that start with white space. */
static size_t
leading_folds(struct str block)
{
    size_t at = 0;

    while (at < block.n && (block.p[at] == ' ' || block.p[at] == '\t')) {
        const char *nl = memchr(block.p + at, '\n', block.n - at);
        at = nl ? (size_t)(nl - block.p) + 1 : block.n;
    }
    return at;
}

static bool
is_mark(struct str name)
{
    return str_istarts(name, STR("X-Gapura-")) || str_istarts(name, STR("X-Spam-")) ||
           str_ieq(name, STR("Return-Path"));
}

/* A line that is no field since its name holds what none may: readers that skip such bytes would
 * see one of ours in it. */
static bool
is_broken_ours(struct str line)
{
    char name[BROKEN_NAME];
    size_t n = 0;

    for (size_t i = 0; i < line.n && line.p[i] != ':' && n < sizeof(name); i++) {
        if (line.p[i] > ' ' && line.p[i] < 127)
            name[n++] = line.p[i];
    }
    return is_mark(str_of(name, n)) || str_ieq(str_of(name, n), STR("Authentication-Results"));
}

int
authres_filter(struct str block, const struct str *our_ids, size_t nids, struct buf *out,
               unsigned *ret_removed)
{
    size_t at = leading_folds(block), from = at;
    unsigned removed = at > 0;
    struct header_field f;
    int rc;

    while ((rc = header_next(block, &at, &f)) != 0) {
        bool drop = rc < 0 ? is_broken_ours(str_sub(block, from, at - from))
                           : is_mark(f.name) || (str_ieq(f.name, STR("Authentication-Results")) &&
                                                 is_ours(f.value, our_ids, nids));

        if (!drop)
            buf_str(out, str_sub(block, from, at - from));
        removed += drop;
        from = at;
    }
    buf_str(out, str_from(block, from));
    *ret_removed = removed;
    return out->failed ? ERR_LIMIT : 0;
}

struct authres_result *
authres_add(struct authres *a, struct str method, struct str result)
{
    struct authres_result *r;

    if (a->n == AUTHRES_RESULTS_MAX)
        return NULL;
    r = &a->results[a->n++];
    *r = (struct authres_result){.method = method, .result = result};
    return r;
}

void
authres_prop(struct authres_result *r, struct str ptype, struct str property, struct str value)
{
    if (r && value.n && r->nprops < AUTHRES_PROPS_MAX)
        r->props[r->nprops++] = (struct authres_prop){ptype, property, value};
}

void
authres_add_spf(struct authres *a, const struct spf_verdict *v, const struct spf_input *in)
{
    struct authres_result *r = authres_add(a, STR("spf"), str_c(spf_result_name(v->result)));

    if (!r)
        return;
    if (v->result != SPF_PASS && v->result != SPF_NEUTRAL)
        r->reason = v->why;
    if (v->identity == SPF_HELO)
        authres_prop(r, STR("smtp"), STR("helo"), v->domain.n ? v->domain : in->helo);
    else
        authres_prop(r, STR("smtp"), STR("mailfrom"), v->domain.n ? v->domain : in->domain);
}

void
authres_add_dmarc(struct authres *a, const struct dmarc_verdict *v)
{
    struct authres_result *r = authres_add(a, STR("dmarc"), str_c(dmarc_result_name(v->result)));

    if (!r)
        return;
    if (v->result != DMARC_RESULT_PASS)
        r->reason = str_c(v->why);
    authres_prop(r, STR("header"), STR("from"), v->domain);
    if (!v->policy_domain.n)
        return;
    /* RFC 9989 9.1: what was published, and where if elsewhere. */
    if (v->record.has_p == DMARC_TAG_GOOD)
        authres_prop(r, STR("polrec"), STR("p"), str_c(dmarc_policy_name(v->record.p)));
    if (!str_eq(v->policy_domain, v->domain))
        authres_prop(r, STR("polrec"), STR("domain"), v->policy_domain);
}

void
authres_add_iprev(struct authres *a, struct str result, const char *ip, struct str name)
{
    struct authres_result *r = authres_add(a, STR("iprev"), result);

    authres_prop(r, STR("policy"), STR("iprev"), str_c(ip));
    authres_prop(r, STR("policy"), STR("ptr"), name);
}

void
authres_add_auth(struct authres *a, struct str user)
{
    authres_prop(authres_add(a, STR("auth"), STR("pass")), STR("smtp"), STR("auth"), user);
}

/* As a value: bare if it is a token or an address, else quoted. */
static void
put_value(struct buf *out, struct str s)
{
    bool bare = s.n > 0;

    if (s.n > VALUE_SHOW) {
        size_t n = VALUE_SHOW;

        while (n > VALUE_SHOW - 4 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
            n--; /* no sequence of UTF-8 is cut */
        s = str_sub(s, 0, n);
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bare = bare && (((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') ||
                        (c && strchr("-._+@", c)));
    }
    if (bare) {
        buf_str(out, s);
        return;
    }
    buf_char(out, '"');
    for (size_t i = 0, from = 0; i <= s.n; i++) {
        unsigned char c = i < s.n ? (unsigned char)s.p[i] : 0;

        if (c >= 32 && c != 127 && c != '"' && c != '\\')
            continue;
        buf_add(out, s.p + from, i - from);
        from = i + 1;
        if (i < s.n && c >= 32 && c != 127) {
            buf_char(out, '\\');
            from = i;
        } else if (i < s.n) {
            buf_char(out, '?');
        }
    }
    buf_char(out, '"');
}

/* What was written behind the space at `at` goes to the next line if this one has become too long.
 */
static void
put_fold(struct buf *out, size_t *line, size_t at)
{
    if (out->failed || out->n - *line <= LINE_GOAL)
        return;
    buf_add(out, "  ", 2); /* room for what a fold has more than a space */
    if (out->failed)
        return;
    memmove(out->p + at + 3, out->p + at + 1, out->n - at - 3);
    memcpy(out->p + at, "\r\n\t", 3);
    *line = at + 3;
}

static void
put_row(struct buf *out, const struct authres_result *r)
{
    size_t line, at;

    buf_str(out, STR(";\r\n\t"));
    line = out->n;
    buf_str(out, r->method);
    buf_char(out, '=');
    buf_str(out, r->result);
    if (r->reason.n) {
        at = out->n;
        buf_str(out, STR(" reason="));
        put_value(out, r->reason);
        put_fold(out, &line, at);
    }
    for (unsigned k = 0; k < r->nprops; k++) {
        at = out->n;
        buf_char(out, ' ');
        buf_str(out, r->props[k].ptype);
        buf_char(out, '.');
        buf_str(out, r->props[k].property);
        buf_char(out, '=');
        put_value(out, r->props[k].value);
        put_fold(out, &line, at);
    }
}

void
authres_write(struct buf *out, const struct authres *a)
{
    buf_str(out, STR("Authentication-Results: "));
    put_value(out, a->id);
    if (!a->n)
        buf_str(out, STR("; none"));
    for (unsigned i = 0; i < a->n; i++)
        put_row(out, &a->results[i]);
    buf_str(out, STR("\r\n"));
}
