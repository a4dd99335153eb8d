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

/* The one SPF record of a domain. SPF_PASS: found. */
static enum spf_result
fetch(struct spf_run *r, struct str domain, struct spf_record *ret)
{
    const struct dns_answer *a;
    struct str found = STR_NONE, bad = STR_NONE;
    enum spf_hit hit = spf_lookup(r, domain, DNS_TXT, &a);
    unsigned n = 0;

    if (hit == SPF_HIT_WAIT)
        return SPF_TEMPERROR;
    if (hit == SPF_HIT_PERM)
        return spf_ends(r, SPF_PERMERROR, domain, "needs more DNS queries than allowed here");
    if (hit == SPF_HIT_TEMP)
        return spf_ends(r, SPF_TEMPERROR, domain, "is asked for and DNS does not answer");
    for (size_t i = 0; a && i < a->n; i++) {
        if (!spf_is_record(a->records[i].data))
            continue;
        found = a->records[i].data;
        n++;
    }
    if (!n)
        return spf_ends(r, SPF_NONE, domain, "has no SPF record");
    if (n > 1)
        return spf_ends(r, SPF_PERMERROR, domain, "has more than one SPF record");
    if (spf_record_check(found, ret, &bad) < 0) {
        spf_step_add(r, domain, bad, 0)->outcome = SPF_STEP_ERROR;
        return spf_ends(r, SPF_PERMERROR, bad, "is an error in the SPF record");
    }
    return SPF_PASS;
}

static enum spf_result
redirect(struct spf_frame *f, struct spf_record *ret_last, struct str *ret_domain)
{
    struct spf_run *r = f->r;
    struct spf_step *s = spf_step_add(r, f->domain, f->record.redirect.text, f->depth);
    unsigned before = r->v.queries;
    enum spf_result result;
    char normal[256];
    size_t n;

    s->outcome = SPF_STEP_ERROR;
    if (++r->v.terms > r->limits->terms) {
        r->v.why = STR("more terms with look-ups than SPF allows");
        return SPF_PERMERROR;
    }
    if (spf_target(f, f->record.redirect.spec, &s->target) == SPF_HIT_WAIT)
        return SPF_TEMPERROR;
    if (!auth_name_normal(s->target, normal, &n)) {
        r->v.why = STR("redirect to something that is no domain name");
        return SPF_PERMERROR;
    }
    s->outcome = SPF_STEP_FOLLOWED;
    result = spf_check_host(r, s->target, f->depth, ret_last, ret_domain);
    spf_step_took(r, s, before);
    if (result == SPF_NONE)
        return spf_ends(r, SPF_PERMERROR, s->target, "is redirected to and has no SPF record");
    return result;
}

enum spf_result
spf_check_host(struct spf_run *r, struct str domain, unsigned depth, struct spf_record *ret_last,
               struct str *ret_domain)
{
    struct spf_frame f = {.r = r, .domain = domain, .depth = depth};
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
        switch (spf_term_run(&f, &t)) {
        case SPF_HIT_NO:
            continue;
        case SPF_HIT_YES:
            if (depth == 0)
                r->v.mechanism = t.text;
            return t.qualifier;
        case SPF_HIT_TEMP:
            return SPF_TEMPERROR;
        case SPF_HIT_PERM:
            return SPF_PERMERROR;
        case SPF_HIT_WAIT:
            r->need = true;
            spf_look_ahead(&f, at);
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
    struct spf_frame f = {.r = r, .domain = domain};
    const struct dns_answer *a;
    struct spf_step *s;
    unsigned before = r->v.queries;
    bool wait = false;
    char *dst;
    ssize_t n;

    if (!record->exp.spec.n)
        return true;
    s = spf_step_add(r, domain, record->exp.text, 0);
    s->outcome = SPF_STEP_ERROR;
    if (spf_target(&f, record->exp.spec, &s->target) == SPF_HIT_WAIT)
        return false;
    switch (spf_lookup(r, s->target, DNS_TXT, &a)) {
    case SPF_HIT_WAIT:
        return false;
    case SPF_HIT_YES:
        break;
    default:
        spf_step_took(r, s, before);
        return true;
    }
    spf_step_took(r, s, before);
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
    result = spf_check_host(r, r->sender_domain, 0, &last, &last_domain);
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
