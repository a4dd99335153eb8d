/*
 * auth/spf_run.c - check_host() of RFC 7208 4 as a pure evaluator over known answers.
 *
 * Called by the gate (through its DNS client), by `gapura auth spf` and by tests. It never asks
 * anybody; recursion is bounded by the number of terms that may cause look-ups.
 */
#include "auth/spf_inner.h"
#include "core/err.h"
#include "mail/address.h"

const struct spf_limits spf_limits_default = {
    .terms = 10,
    .voids = 2,
    .names = 10,
    .queries = 120, /* RFC 7208 4.6.4 allows ten mx of ten hosts each: 110 and the records */
    .steps = 128,
    .time_ns = UINT64_C(20000000000),
};

const char *
spf_result_name(enum spf_result r)
{
    static const char *const names[] = {"none",     "neutral",   "pass",     "fail",
                                        "softfail", "temperror", "permerror"};
    return names[r];
}

const char *
spf_outcome_name(enum spf_outcome o)
{
    static const char *const names[] = {"match", "no match", "followed", "error"};
    return names[o];
}

/* Ends with "WHAT text": the subject is a stranger's, so it is clipped. */
static enum spf_result
ends(struct spf_run *r, enum spf_result result, struct str what, const char *text)
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

static struct spf_step *
step_add(struct spf_run *r, struct str record, struct str term, unsigned depth)
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

/* How a term ended. */
enum hit { HIT_NO, HIT_YES, HIT_TEMP, HIT_PERM, HIT_WAIT };

struct frame { /* one record under evaluation */
    struct spf_run *r;
    struct str domain; /* <domain> of check_host() */
    unsigned depth;
    struct spf_record record;
};

static enum spf_result check_host(struct spf_run *, struct str domain, unsigned depth,
                                  struct spf_record *ret_last, struct str *ret_domain);

/* The name that a term is about, macros expanded; what is no name has n 0. */
static enum hit
target_of(struct frame *f, struct str spec, struct str *ret)
{
    struct spf_run *r = f->r;
    bool wait = false;
    ssize_t n;
    char *dst;

    *ret = f->domain;
    if (!spec.n)
        return HIT_YES;
    if (str_chr(spec, '%') < 0) {
        *ret = spf_macro_name(spec);
        return HIT_YES;
    }
    dst = arena_alloc(r->arena, SPF_EXPANSION_MAX);
    n = dst ? spf_macro_expand(r, spec, f->domain, dst, &wait) : ERR_NOMEM;
    if (!dst)
        r->no_room = true;
    if (wait)
        return HIT_WAIT;
    *ret = n < 0 ? STR_NONE : spf_macro_name(str_of(dst, (size_t)n));
    return HIT_YES;
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

/* A look-up for a term: HIT_YES with records, HIT_NO without. A name that cannot be asked has none,
 * and nothing was looked up (RFC 7208 4.8). */
static enum hit
lookup(struct spf_run *r, struct str name, enum dns_type type, const struct dns_answer **ret)
{
    char normal[256];
    size_t n;

    *ret = NULL;
    if (!auth_name_normal(name, normal, &n))
        return HIT_NO;
    *ret = spf_ask(r, str_of(normal, n), type);
    if (!*ret)
        return over_queries(r) ? HIT_PERM : HIT_WAIT;
    if (is_failure(*ret))
        return HIT_TEMP;
    if ((*ret)->status != DNS_OK) {
        note_void(r, *ret);
        return HIT_NO;
    }
    return HIT_YES;
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

static enum hit
term_all(struct frame *f, const struct spf_term *t, struct spf_step *s)
{
    (void)f, (void)t, (void)s;
    return HIT_YES;
}

static enum hit
term_ip(struct frame *f, const struct spf_term *t, struct spf_step *s)
{
    (void)s;
    if (addr_is_v4(&f->r->in->ip) != (t->kind == SPF_IP4))
        return HIT_NO;
    return prefix_has(&t->net, &f->r->in->ip) ? HIT_YES : HIT_NO;
}

static enum hit
term_a(struct frame *f, const struct spf_term *t, struct spf_step *s)
{
    const struct dns_answer *a;
    enum hit hit = lookup(f->r, s->target, family(f->r), &a);

    return hit != HIT_YES ? hit : address_matches(f->r, a, t) ? HIT_YES : HIT_NO;
}

static enum hit
term_exists(struct frame *f, const struct spf_term *t, struct spf_step *s)
{
    const struct dns_answer *a;

    (void)t;
    return lookup(f->r, s->target, DNS_A, &a);
}

static enum hit
term_mx(struct frame *f, const struct spf_term *t, struct spf_step *s)
{
    struct spf_run *r = f->r;
    const struct dns_answer *mx, *a;
    enum hit hit = lookup(r, s->target, DNS_MX, &mx), found = HIT_NO;

    if (hit != HIT_YES)
        return hit;
    if (mx->n > r->limits->names) {
        r->v.why = STR("more MX records than SPF allows to look up");
        return HIT_PERM;
    }
    /* All are asked, in no order: what DNS shuffles must not change the result. A match is worth
     * more than a failure beside it, because it would have been one in another order. */
    for (size_t i = 0; i < mx->n; i++) {
        if (!mx->records[i].name.n)
            continue; /* null MX (RFC 7505) */
        hit = lookup(r, mx->records[i].name, family(r), &a);
        if (hit == HIT_PERM)
            return hit;
        if (hit == HIT_YES && address_matches(r, a, t))
            found = HIT_YES;
        else if (found != HIT_YES && (hit == HIT_WAIT || (hit == HIT_TEMP && found != HIT_WAIT)))
            found = hit;
    }
    if (found == HIT_YES)
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

static enum hit
term_ptr(struct frame *f, const struct spf_term *t, struct spf_step *s)
{
    const struct dns_answer *ptr = NULL;
    struct str target = s->target;
    int rc;

    (void)t;
    if (str_ends(target, STR(".")))
        target.n--;
    rc = spf_ptr_names(f->r, ptr_is_target, &target, &ptr);
    if (rc < 0)
        return HIT_WAIT;
    if (ptr && (ptr->status == DNS_NODATA || ptr->status == DNS_NXDOMAIN))
        note_void(f->r, ptr);
    return rc > 0 ? HIT_YES : HIT_NO;
}

static enum hit
term_include(struct frame *f, const struct spf_term *t, struct spf_step *s)
{
    char normal[256];
    size_t n;

    (void)t;
    if (!auth_name_normal(s->target, normal, &n)) {
        f->r->v.why = STR("include of something that is no domain name");
        return HIT_PERM;
    }
    switch (check_host(f->r, s->target, f->depth + 1, NULL, NULL)) {
    case SPF_PASS:
        return HIT_YES;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL:
        return HIT_NO;
    case SPF_TEMPERROR:
        return f->r->need ? HIT_WAIT : HIT_TEMP;
    case SPF_NONE:
        ends(f->r, SPF_PERMERROR, s->target, "is included and has no SPF record");
        return HIT_PERM;
    case SPF_PERMERROR:
        break;
    }
    return HIT_PERM;
}

static const struct {
    enum hit (*eval)(struct frame *, const struct spf_term *, struct spf_step *);
    bool asks; /* counts for the limit of RFC 7208 4.6.4 */
    enum dns_type type;
} terms[] = {
    [SPF_ALL] = {term_all, false, 0}, [SPF_INCLUDE] = {term_include, true, DNS_TXT},
    [SPF_A] = {term_a, true, 0},      [SPF_MX] = {term_mx, true, DNS_MX},
    [SPF_PTR] = {term_ptr, true, 0},  [SPF_IP4] = {term_ip, false, 0},
    [SPF_IP6] = {term_ip, false, 0},  [SPF_EXISTS] = {term_exists, true, DNS_A},
};

/* The record waits for an answer: what the terms behind will ask is asked along with it. */
static void
look_ahead(struct frame *f, size_t at)
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

/* What the step took since `before`. */
static void
step_took(const struct spf_run *r, struct spf_step *s, unsigned before)
{
    s->lookups = (uint8_t)MIN(r->v.queries - before, (unsigned)UINT8_MAX);
}

/* One mechanism with its limits. */
static enum hit
term_run(struct frame *f, const struct spf_term *t)
{
    struct spf_run *r = f->r;
    struct spf_step *s = step_add(r, f->domain, t->text, f->depth);
    unsigned before = r->v.queries;
    enum hit hit = HIT_YES;

    if (terms[t->kind].asks && ++r->v.terms > r->limits->terms) {
        s->outcome = SPF_STEP_ERROR;
        r->v.why = STR("more terms with look-ups than SPF allows");
        return HIT_PERM;
    }
    if (terms[t->kind].asks)
        hit = target_of(f, t->spec, &s->target);
    r->void_now = NULL;
    if (hit == HIT_YES)
        hit = terms[t->kind].eval(f, t, s);
    if (hit == HIT_NO && t->kind != SPF_INCLUDE && over_voids(r)) {
        r->v.why = STR("more look-ups without an answer than SPF allows");
        hit = HIT_PERM;
    }
    if (hit == HIT_PERM && over_queries(r))
        r->v.why = STR("more DNS queries than allowed here");
    if (hit == HIT_TEMP && !r->v.why.n)
        ends(r, SPF_TEMPERROR, s->target, "is asked for and DNS does not answer");
    s->outcome = hit == HIT_YES  ? SPF_STEP_MATCH
                 : hit == HIT_NO ? SPF_STEP_NO_MATCH
                                 : SPF_STEP_ERROR;
    step_took(r, s, before);
    return hit;
}

/* The one SPF record of a domain. SPF_PASS: found. */
static enum spf_result
fetch(struct spf_run *r, struct str domain, struct spf_record *ret)
{
    const struct dns_answer *a;
    struct str found = STR_NONE, bad = STR_NONE;
    enum hit hit = lookup(r, domain, DNS_TXT, &a);
    unsigned n = 0;

    if (hit == HIT_WAIT)
        return SPF_TEMPERROR;
    if (hit == HIT_PERM)
        return ends(r, SPF_PERMERROR, domain, "needs more DNS queries than allowed here");
    if (hit == HIT_TEMP)
        return ends(r, SPF_TEMPERROR, domain, "is asked for and DNS does not answer");
    for (size_t i = 0; a && i < a->n; i++) {
        if (!spf_is_record(a->records[i].data))
            continue;
        found = a->records[i].data;
        n++;
    }
    if (!n)
        return ends(r, SPF_NONE, domain, "has no SPF record");
    if (n > 1)
        return ends(r, SPF_PERMERROR, domain, "has more than one SPF record");
    if (spf_record_check(found, ret, &bad) < 0) {
        step_add(r, domain, bad, 0)->outcome = SPF_STEP_ERROR;
        return ends(r, SPF_PERMERROR, bad, "is an error in the SPF record");
    }
    return SPF_PASS;
}

static enum spf_result
redirect(struct frame *f, struct spf_record *ret_last, struct str *ret_domain)
{
    struct spf_run *r = f->r;
    struct spf_step *s = step_add(r, f->domain, f->record.redirect.text, f->depth);
    unsigned before = r->v.queries;
    enum spf_result result;
    char normal[256];
    size_t n;

    s->outcome = SPF_STEP_ERROR;
    if (++r->v.terms > r->limits->terms) {
        r->v.why = STR("more terms with look-ups than SPF allows");
        return SPF_PERMERROR;
    }
    if (target_of(f, f->record.redirect.spec, &s->target) == HIT_WAIT)
        return SPF_TEMPERROR;
    if (!auth_name_normal(s->target, normal, &n)) {
        r->v.why = STR("redirect to something that is no domain name");
        return SPF_PERMERROR;
    }
    s->outcome = SPF_STEP_FOLLOWED;
    result = check_host(r, s->target, f->depth, ret_last, ret_domain);
    step_took(r, s, before);
    if (result == SPF_NONE)
        return ends(r, SPF_PERMERROR, s->target, "is redirected to and has no SPF record");
    return result;
}

/* SPF_TEMPERROR with r->need set: an answer is missing. ret_last is the record that decided. */
static enum spf_result
check_host(struct spf_run *r, struct str domain, unsigned depth, struct spf_record *ret_last,
           struct str *ret_domain)
{
    struct frame f = {.r = r, .domain = domain, .depth = depth};
    enum spf_result result = fetch(r, domain, &f.record);
    struct spf_term t;
    size_t at = 0;

    if (result != SPF_PASS)
        return result;
    if (ret_last) {
        *ret_last = f.record;
        *ret_domain = domain;
    }
    while (spf_term_next(f.record.text, &at, &t) > 0) {
        if (t.kind > SPF_EXISTS)
            continue;
        switch (term_run(&f, &t)) {
        case HIT_NO:
            continue;
        case HIT_YES:
            if (depth == 0)
                r->v.mechanism = t.text;
            return t.qualifier;
        case HIT_TEMP:
            return SPF_TEMPERROR;
        case HIT_PERM:
            return SPF_PERMERROR;
        case HIT_WAIT:
            r->need = true;
            look_ahead(&f, at);
            return SPF_TEMPERROR;
        }
    }
    if (f.record.redirect.spec.n && !f.record.has_all)
        return redirect(&f, ret_last, ret_domain);
    if (depth == 0)
        r->v.mechanism = STR("default");
    return SPF_NEUTRAL;
}

/* The owner's words on a fail (RFC 7208 6.2): whatever is wrong with them, there are none. False
 * if an answer is missing. */
static bool
explain(struct spf_run *r, const struct spf_record *record, struct str domain)
{
    struct frame f = {.r = r, .domain = domain};
    const struct dns_answer *a;
    struct spf_step *s;
    unsigned before = r->v.queries;
    bool wait = false;
    char *dst;
    ssize_t n;

    if (!record->exp.spec.n)
        return true;
    s = step_add(r, domain, record->exp.text, 0);
    s->outcome = SPF_STEP_ERROR;
    if (target_of(&f, record->exp.spec, &s->target) == HIT_WAIT)
        return false;
    switch (lookup(r, s->target, DNS_TXT, &a)) {
    case HIT_WAIT:
        return false;
    case HIT_YES:
        break;
    default:
        step_took(r, s, before);
        return true;
    }
    step_took(r, s, before);
    if (a->n != 1 || !spf_macro_ok(a->records[0].data, true))
        return true;
    dst = arena_alloc(r->arena, SPF_EXPANSION_MAX);
    n = dst ? spf_macro_expand(r, a->records[0].data, domain, dst, &wait) : -1;
    if (wait)
        return false;
    if (n >= 0 && str_is_ascii(str_of(dst, (size_t)n)) && !str_has_ctl(str_of(dst, (size_t)n))) {
        r->v.explanation = str_of(dst, (size_t)n);
        s->outcome = SPF_STEP_FOLLOWED;
    }
    return true;
}

/* The domain under check in A-labels; empty if it cannot be one (RFC 7208 4.3). */
static struct str
initial_domain(struct spf_run *r, struct str domain)
{
    char ascii[256], normal[256];
    ssize_t n;
    size_t len;
    bool letter = false;

    if (domain.n && !str_is_ascii(domain)) {
        n = address_domain_ascii(domain, ascii, sizeof(ascii));
        domain = n < 0 ? STR_NONE : str_of(ascii, (size_t)n);
    }
    if (!auth_name_normal(domain, normal, &len) || normal[0] == '[')
        return STR_NONE;
    for (size_t i = (size_t)(str_rchr(str_of(normal, len), '.') + 1); i < len; i++)
        letter = letter || normal[i] < '0' || normal[i] > '9';
    if (!letter || str_chr(str_of(normal, len), '.') < 0)
        return STR_NONE; /* an address, or not fully qualified */
    return arena_str(r->arena, str_of(normal, len));
}

static const char *
verdict_text(enum spf_result result)
{
    static const char *const texts[] = {
        [SPF_NONE] = "no policy is published",
        [SPF_NEUTRAL] = "the domain says nothing about this address",
        [SPF_PASS] = "the domain names this address as a sender",
        [SPF_FAIL] = "the domain says that this address may not send for it",
        [SPF_SOFTFAIL] = "the domain says that this address probably may not send for it",
        [SPF_TEMPERROR] = "DNS did not answer",
        [SPF_PERMERROR] = "the published policy cannot be read",
    };
    return texts[result];
}

static enum spf_result
run(struct spf_run *r)
{
    struct spf_record last = {0};
    struct str last_domain = STR_NONE;
    enum spf_result result;

    if (!r->sender_domain.n) {
        r->v.why = STR("there is no domain name to check");
        return SPF_NONE;
    }
    result = check_host(r, r->sender_domain, 0, &last, &last_domain);
    if (!r->need && result == SPF_FAIL && !explain(r, &last, last_domain))
        r->need = true;
    return result;
}

enum auth_state
spf_run(const struct spf_input *in, const struct auth_answers *answers, struct auth_needs *needs,
        struct arena *arena, struct spf_verdict *ret)
{
    struct spf_run r = {.in = in,
                        .limits = in->limits ? in->limits : &spf_limits_default,
                        .answers = answers,
                        .needs = needs,
                        .arena = arena,
                        .v.ttl = 86400};
    bool helo = in->identity == SPF_HELO || !in->domain.n;

    needs->n = 0;
    needs->full = false;
    r.sender_domain = initial_domain(&r, helo ? in->helo : in->domain);
    r.sender_local = helo || !in->local.n ? STR("postmaster") : in->local;
    r.v.identity = helo ? SPF_HELO : SPF_MAILFROM;
    r.v.domain = r.sender_domain;
    r.v.result = run(&r);
    if (r.no_room) {
        r.v.result = SPF_TEMPERROR;
        r.v.why = STR("no room for this evaluation");
    } else if (r.need && needs->n && in->elapsed_ns < r.limits->time_ns) {
        return AUTH_NEED;
    } else if (r.need) {
        r.v.result = SPF_TEMPERROR;
        r.v.why = STR("the look-ups took longer than allowed");
    }
    needs->n = 0;
    if (r.v.result != SPF_FAIL)
        r.v.explanation = STR_NONE;
    if (!r.v.why.n ||
        (r.v.result != SPF_TEMPERROR && r.v.result != SPF_PERMERROR && r.v.result != SPF_NONE))
        r.v.why = str_c(verdict_text(r.v.result));
    *ret = r.v;
    return AUTH_DONE;
}
