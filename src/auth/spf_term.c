/*
 * auth/spf_term.c - the mechanisms of RFC 7208 5: what each asks for, and when it matches.
 *
 * Called by spf_run.c for one term after the other, by spf_macro.c for %{p}. Never decides what a
 * match means.
 */
#include "auth/spf_inner.h"
#include "core/err.h"

enum spf_result
spf_ends(struct spf_run *r, enum spf_result result, struct str what, const char *text)
{
    r->v.why = arena_fmt(r->arena, "%.*s %s", (int)MIN(what.n, (size_t)160), what.p, text);
    return result;
}

/* NULL: not known (run->need is set). Counts queries, ttl. */
static const struct dns_answer *
spf_ask(struct spf_run *r, struct str name, enum dns_type type)
{
    const struct dns_answer *a;

    if (++r->v.queries > r->limits->queries)
        return NULL;
    a = auth_ask(r->answers, r->needs, name, type);
    if (!a)
        r->need = true;
    else
        r->v.ttl = MIN(r->v.ttl, a->ttl);
    return a;
}

static bool
over_queries(const struct spf_run *r)
{
    return r->v.queries > r->limits->queries;
}

bool
spf_is_below(struct str name, struct str domain)
{
    return name.n > domain.n && str_iends(name, domain) && name.p[name.n - domain.n - 1] == '.';
}

static enum dns_type
family(const struct spf_run *r)
{
    return addr_is_v4(&r->in->ip) ? DNS_A : DNS_AAAA;
}

static bool
is_failure(const struct dns_answer *a)
{
    return a->status == DNS_TEMPORARY || a->status == DNS_BOGUS;
}

struct spf_step *
spf_step_add(struct spf_run *r, struct str record, struct str term, unsigned depth)
{
    if (r->v.nsteps == r->limits->steps) {
        r->v.steps_lost++;
        return &r->beyond;
    }
    if (!r->v.steps)
        r->v.steps = ARENA_ARRAY(r->arena, struct spf_step, r->limits->steps);
    if (!r->v.steps) {
        r->no_room = true;
        return &r->beyond;
    }
    struct spf_step *s = &r->v.steps[r->v.nsteps++];
    *s = (struct spf_step){
        .record = record, .term = term, .depth = (uint8_t)depth, .outcome = SPF_STEP_NO_MATCH};
    return s;
}

enum spf_hit
spf_target(struct spf_frame *f, struct str spec, struct str *ret)
{
    struct spf_run *r = f->r;
    bool wait = false;
    ssize_t n;
    char *dst;

    *ret = f->domain;
    if (!spec.n)
        return SPF_HIT_YES;
    if (str_chr(spec, '%') < 0) {
        *ret = spf_macro_name(spec);
        return SPF_HIT_YES;
    }
    dst = arena_alloc(r->arena, SPF_EXPANSION_MAX);
    n = dst ? spf_macro_expand(r, spec, f->domain, dst, &wait) : ERR_NOMEM;
    if (!dst)
        r->no_room = true;
    if (wait)
        return SPF_HIT_WAIT;
    *ret = n < 0 ? STR_NONE : spf_macro_name(str_of(dst, (size_t)n));
    return SPF_HIT_YES;
}

/* The same name in another term is the same answer, and was counted: the limit is there for the
 * sake of DNS, which is asked once. */
static void
note_void(struct spf_run *r, const struct dns_answer *a)
{
    for (unsigned i = 0; i < MIN(r->v.voids, SPF_VOIDS_KEPT); i++)
        if (r->voids[i] == a)
            return;
    if (!r->void_now)
        r->void_now = a;
}

enum spf_hit
spf_lookup(struct spf_run *r, struct str name, enum dns_type type, const struct dns_answer **ret)
{
    char normal[256];
    size_t n;

    *ret = NULL;
    if (!auth_name_normal(name, normal, &n))
        return SPF_HIT_NO;
    *ret = spf_ask(r, str_of(normal, n), type);
    if (!*ret)
        return over_queries(r) ? SPF_HIT_PERM : SPF_HIT_WAIT;
    if (is_failure(*ret))
        return SPF_HIT_TEMP;
    if ((*ret)->status != DNS_OK) {
        note_void(r, *ret);
        return SPF_HIT_NO;
    }
    return SPF_HIT_YES;
}

static bool
address_matches(const struct spf_run *r, const struct dns_answer *a, const struct spf_term *t)
{
    bool four = addr_is_v4(&r->in->ip);

    for (size_t i = 0; i < a->n; i++) {
        struct prefix net = {a->records[i].addr, (uint8_t)(four ? t->bits4 + 96 : t->bits6)};

        if (addr_is_v4(&net.addr) == four && prefix_has(&net, &r->in->ip))
            return true;
    }
    return false;
}

static enum spf_hit
term_all(struct spf_frame *f, const struct spf_term *t, struct spf_step *s)
{
    (void)f, (void)t, (void)s;
    return SPF_HIT_YES;
}

static enum spf_hit
term_ip(struct spf_frame *f, const struct spf_term *t, struct spf_step *s)
{
    (void)s;
    if (addr_is_v4(&f->r->in->ip) != (t->kind == SPF_IP4))
        return SPF_HIT_NO;
    return prefix_has(&t->net, &f->r->in->ip) ? SPF_HIT_YES : SPF_HIT_NO;
}

static enum spf_hit
term_a(struct spf_frame *f, const struct spf_term *t, struct spf_step *s)
{
    const struct dns_answer *a;
    enum spf_hit hit = spf_lookup(f->r, s->target, family(f->r), &a);

    return hit != SPF_HIT_YES ? hit : address_matches(f->r, a, t) ? SPF_HIT_YES : SPF_HIT_NO;
}

static enum spf_hit
term_exists(struct spf_frame *f, const struct spf_term *t, struct spf_step *s)
{
    const struct dns_answer *a;

    (void)t;
    return spf_lookup(f->r, s->target, DNS_A, &a);
}

static enum spf_hit
term_mx(struct spf_frame *f, const struct spf_term *t, struct spf_step *s)
{
    struct spf_run *r = f->r;
    const struct dns_answer *mx, *a;
    enum spf_hit hit = spf_lookup(r, s->target, DNS_MX, &mx), found = SPF_HIT_NO;

    if (hit != SPF_HIT_YES)
        return hit;
    if (mx->n > r->limits->names) {
        r->v.why = STR("more MX records than SPF allows to look up");
        return SPF_HIT_PERM;
    }
    /* All are asked, in no order: what DNS shuffles must not change the result. A match is worth
     * more than a failure beside it, because it would have been one in another order. */
    for (size_t i = 0; i < mx->n; i++) {
        if (!mx->records[i].name.n)
            continue; /* null MX (RFC 7505) */
        hit = spf_lookup(r, mx->records[i].name, family(r), &a);
        if (hit == SPF_HIT_PERM)
            return hit;
        if (hit == SPF_HIT_YES && address_matches(r, a, t))
            found = SPF_HIT_YES;
        else if (found != SPF_HIT_YES &&
                 (hit == SPF_HIT_WAIT || (hit == SPF_HIT_TEMP && found != SPF_HIT_WAIT)))
            found = hit;
    }
    if (found == SPF_HIT_YES)
        r->need = false;
    return found;
}

int
spf_ptr_names(struct spf_run *r, bool (*fn)(void *ctx, struct str name), void *ctx,
              const struct dns_answer **ret_ptr)
{
    const struct dns_answer *ptr, *a;
    bool wait = false;
    char name[80];

    addr_reverse(&r->in->ip, name);
    ptr = spf_ask(r, str_c(name), DNS_PTR);
    if (ret_ptr)
        *ret_ptr = ptr;
    if (!ptr)
        return over_queries(r) ? 0 : ERR_STATE;
    for (size_t i = 0; ptr->status == DNS_OK && i < MIN(ptr->n, (size_t)r->limits->names); i++) {
        struct spf_term exact = {.bits4 = 32, .bits6 = 128};

        a = spf_ask(r, ptr->records[i].name, family(r));
        if (!a && !over_queries(r))
            wait = true;
        if (!wait && a && a->status == DNS_OK && address_matches(r, a, &exact) &&
            fn(ctx, ptr->records[i].name))
            return 1;
    }
    return wait ? ERR_STATE : 0;
}

static bool
ptr_is_target(void *ctx, struct str name)
{
    const struct str *target = ctx;

    return str_ieq(name, *target) || spf_is_below(name, *target);
}

static enum spf_hit
term_ptr(struct spf_frame *f, const struct spf_term *t, struct spf_step *s)
{
    const struct dns_answer *ptr = NULL;
    struct str target = s->target;
    int rc;

    (void)t;
    if (str_ends(target, STR(".")))
        target.n--;
    rc = spf_ptr_names(f->r, ptr_is_target, &target, &ptr);
    if (rc < 0)
        return SPF_HIT_WAIT;
    if (ptr && (ptr->status == DNS_NODATA || ptr->status == DNS_NXDOMAIN))
        note_void(f->r, ptr);
    return rc > 0 ? SPF_HIT_YES : SPF_HIT_NO;
}

static enum spf_hit
term_include(struct spf_frame *f, const struct spf_term *t, struct spf_step *s)
{
    char normal[256];
    size_t n;

    (void)t;
    if (!auth_name_normal(s->target, normal, &n)) {
        f->r->v.why = STR("include of something that is no domain name");
        return SPF_HIT_PERM;
    }
    switch (spf_check_host(f->r, s->target, f->depth + 1, NULL, NULL)) {
    case SPF_PASS:
        return SPF_HIT_YES;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL:
        return SPF_HIT_NO;
    case SPF_TEMPERROR:
        return f->r->need ? SPF_HIT_WAIT : SPF_HIT_TEMP;
    case SPF_NONE:
        spf_ends(f->r, SPF_PERMERROR, s->target, "is included and has no SPF record");
        return SPF_HIT_PERM;
    case SPF_PERMERROR:
        break;
    }
    return SPF_HIT_PERM;
}

static const struct {
    enum spf_hit (*eval)(struct spf_frame *, const struct spf_term *, struct spf_step *);
    bool asks; /* counts for the limit of RFC 7208 4.6.4 */
    enum dns_type type;
} terms[] = {
    [SPF_ALL] = {term_all, false, 0}, [SPF_INCLUDE] = {term_include, true, DNS_TXT},
    [SPF_A] = {term_a, true, 0},      [SPF_MX] = {term_mx, true, DNS_MX},
    [SPF_PTR] = {term_ptr, true, 0},  [SPF_IP4] = {term_ip, false, 0},
    [SPF_IP6] = {term_ip, false, 0},  [SPF_EXISTS] = {term_exists, true, DNS_A},
};

void
spf_look_ahead(struct spf_frame *f, size_t at)
{
    unsigned left = f->r->limits->terms - MIN(f->r->v.terms, f->r->limits->terms);
    struct spf_term t;

    while (left && spf_term_next(f->record.text, &at, &t) > 0 && t.kind != SPF_ALL) {
        enum dns_type type;

        if (t.kind > SPF_EXISTS || !terms[t.kind].asks || t.kind == SPF_PTR)
            continue;
        left--;
        type = terms[t.kind].type ? terms[t.kind].type : family(f->r);
        if (str_chr(t.spec, '%') < 0)
            (void)auth_ask(f->r->answers, f->r->needs,
                           t.spec.n ? spf_macro_name(t.spec) : f->domain, type);
    }
}

/* Counts the void look-up of the term at hand, if there was one. */
static bool
over_voids(struct spf_run *r)
{
    if (!r->void_now)
        return false;
    if (r->v.voids < SPF_VOIDS_KEPT)
        r->voids[r->v.voids] = r->void_now;
    return ++r->v.voids > r->limits->voids;
}

void
spf_step_took(const struct spf_run *r, struct spf_step *s, unsigned before)
{
    s->lookups = (uint8_t)MIN(r->v.queries - before, (unsigned)UINT8_MAX);
}

enum spf_hit
spf_term_run(struct spf_frame *f, const struct spf_term *t)
{
    struct spf_run *r = f->r;
    struct spf_step *s = spf_step_add(r, f->domain, t->text, f->depth);
    unsigned before = r->v.queries;
    enum spf_hit hit = SPF_HIT_YES;

    if (terms[t->kind].asks && ++r->v.terms > r->limits->terms) {
        s->outcome = SPF_STEP_ERROR;
        r->v.why = STR("more terms with look-ups than SPF allows");
        return SPF_HIT_PERM;
    }
    if (terms[t->kind].asks)
        hit = spf_target(f, t->spec, &s->target);
    r->void_now = NULL;
    if (hit == SPF_HIT_YES)
        hit = terms[t->kind].eval(f, t, s);
    if (hit == SPF_HIT_NO && t->kind != SPF_INCLUDE && over_voids(r)) {
        r->v.why = STR("more look-ups without an answer than SPF allows");
        hit = SPF_HIT_PERM;
    }
    if (hit == SPF_HIT_PERM && over_queries(r))
        r->v.why = STR("more DNS queries than allowed here");
    if (hit == SPF_HIT_TEMP && !r->v.why.n)
        spf_ends(r, SPF_TEMPERROR, s->target, "is asked for and DNS does not answer");
    s->outcome = hit == SPF_HIT_YES  ? SPF_STEP_MATCH
                 : hit == SPF_HIT_NO ? SPF_STEP_NO_MATCH
                                     : SPF_STEP_ERROR;
    spf_step_took(r, s, before);
    return hit;
}
