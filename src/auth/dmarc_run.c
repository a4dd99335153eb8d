/*
 * auth/dmarc_run.c - policy discovery, tree walk, alignment and verdict of DMARC (RFC 9989 4.10).
 *
 * Called by the gate, by `gapura auth` and by tests. Never asks anybody; each walk is at most eight
 * names, and walks are made only where they could change something. Authors of several domains are
 * evaluated one by one.
 */
#include "auth/dmarc.h"

#define LABELS_KEPT 7u /* of names with more than eight labels (RFC 9989 4.10) */

enum state { KNOWN, WAIT, TEMPORARY };
struct node { /* a name of a walk */
    struct str domain;
    struct dmarc_record record;
    bool has;
};
struct run {
    const struct dmarc_input *in;
    const struct auth_answers *answers;
    struct auth_needs *needs;
    struct str author;
    struct dmarc_verdict v;
};

static unsigned
labels(struct str domain)
{
    unsigned n = 1;

    for (size_t i = 0; i < domain.n; i++)
        n += domain.p[i] == '.';
    return n;
}

static struct str
parent(struct str domain)
{
    struct str rest;

    (void)str_cut(domain, '.', &rest);
    return rest;
}

static bool
is_within(struct str name, struct str domain)
{
    return str_eq(name, domain) ||
           (name.n > domain.n && str_ends(name, domain) && name.p[name.n - domain.n - 1] == '.');
}

/* The one record at _dmarc.domain. */
static enum state
ask(struct run *r, struct str domain, struct node *ret, enum dns_status *ret_status)
{
    static const char label[] = "_dmarc.";
    const struct dns_answer *a;
    struct dmarc_record one;
    char name[280] __attribute__((uninitialized));
    unsigned n = 0;

    domain.n = MIN(domain.n, sizeof(name) - sizeof(label));
    memcpy(name, label, sizeof(label) - 1);
    memcpy(name + sizeof(label) - 1, domain.p, domain.n);
    *ret = (struct node){.domain = domain};
    a = auth_ask(r->answers, r->needs, str_of(name, sizeof(label) - 1 + domain.n), DNS_TXT);
    if (!a)
        return WAIT;
    r->v.ttl = MIN(r->v.ttl, a->ttl);
    *ret_status = a->status;
    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        return TEMPORARY;
    for (size_t i = 0; i < a->n; i++)
        if (dmarc_record_parse(a->records[i].data, &one) == 0) {
            ret->record = one;
            n++;
        }
    ret->has = n == 1;
    return KNOWN;
}

struct walk {
    struct node nodes[DMARC_WALK_MAX];
    enum dns_status status[DMARC_WALK_MAX];
    unsigned n;
};

/* From the domain to the top, until a record says where the organization is. What is not known is
 * asked along with all that stands above it. */
static enum state
walk(struct run *r, struct str domain, struct walk *w)
{
    enum state worst = KNOWN;

    w->n = 0;
    for (struct str at = domain; at.n && w->n < DMARC_WALK_MAX;) {
        struct node *node = &w->nodes[w->n];
        enum state state = ask(r, at, node, &w->status[w->n]);

        w->n++;
        if (state != KNOWN && worst != WAIT)
            worst = state;
        if (worst == KNOWN && node->has && node->record.psd != 'u')
            break;
        at = parent(at);
        while (at.n && labels(at) > LABELS_KEPT)
            at = parent(at);
    }
    return worst;
}

/* The organizational domain by a finished walk (RFC 9989 4.10.2). */
static struct str
organization_of(struct str domain, const struct walk *w)
{
    struct str org = domain;

    for (unsigned i = 0; i < w->n; i++) {
        const struct node *node = &w->nodes[i];

        if (!node->has)
            continue;
        if (node->record.psd == 'n')
            return node->domain;
        if (node->record.psd == 'y' && i > 0) {
            /* One label below, of the name that the walk began with. */
            struct str below = domain;
            while (parent(below).n > node->domain.n)
                below = parent(below);
            return below;
        }
        org = node->domain;
    }
    return org;
}

static enum state
organization(struct run *r, struct str domain, struct walk *w, struct str *ret)
{
    enum state state;

    if (r->in->psl) {
        struct str org = psl_registrable(r->in->psl, domain);

        *ret = org.n ? org : domain;
        return KNOWN;
    }
    state = walk(r, domain, w);
    if (state == KNOWN)
        *ret = organization_of(domain, w);
    return state;
}

/* At least one reporting address that is a URI. */
static bool
has_uri(struct str list)
{
    while (list.n) {
        struct str uri = str_trim(str_cut(list, ',', &list));
        ssize_t colon = str_chr(uri, ':');

        if (colon > 0 && (size_t)colon + 1 < uri.n && (uri.p[0] | 32) >= 'a' &&
            (uri.p[0] | 32) <= 'z')
            return true;
    }
    return false;
}

/* Does the author's domain exist (RFC 9989 3.2: NXDOMAIN says no)? */
static enum state
exists(struct run *r, bool *ret)
{
    const struct dns_answer *a = auth_ask(r->answers, r->needs, r->author, DNS_A);

    if (!a)
        return WAIT;
    r->v.ttl = MIN(r->v.ttl, a->ttl);
    *ret = a->status != DNS_NXDOMAIN;
    return KNOWN;
}

static void
take_policy(struct run *r, const char *source, enum dmarc_policy policy)
{
    r->v.policy = policy;
    str_fmt(r->v.source, sizeof(r->v.source), "%s", source);
    if (!r->v.record.testing || policy == DMARC_NONE)
        return;
    r->v.testing = true;
    r->v.policy = policy == DMARC_REJECT ? DMARC_QUARANTINE : DMARC_NONE; /* RFC 9989 4.7, t */
}

/* The policy that applies, from the record found at node. False: DMARC does not apply. */
static enum state
choose(struct run *r, const struct node *node, bool *ret_applies)
{
    const struct dmarc_record *rec = &node->record;
    enum dmarc_policy p = rec->has_p == DMARC_TAG_GOOD ? rec->p : DMARC_NONE;
    enum dmarc_policy sp = rec->has_sp == DMARC_TAG_GOOD ? rec->sp : p;
    bool there = true;

    r->v.record = *rec;
    r->v.policy_domain = node->domain;
    *ret_applies = true;
    if (rec->has_p == DMARC_TAG_BAD || rec->has_sp == DMARC_TAG_BAD ||
        rec->has_np == DMARC_TAG_BAD) {
        *ret_applies = has_uri(rec->rua);
        take_policy(r, "p", DMARC_NONE);
        return KNOWN;
    }
    if (str_eq(node->domain, r->author)) {
        take_policy(r, "p", p);
        return KNOWN;
    }
    if (rec->has_np == DMARC_TAG_GOOD && exists(r, &there) == WAIT)
        return WAIT;
    if (!there)
        take_policy(r, "np", rec->np);
    else
        take_policy(r, rec->has_sp == DMARC_TAG_GOOD ? "sp" : "p", sp);
    return KNOWN;
}

static void
keep_steps(struct run *r, const struct walk *w)
{
    r->v.nsteps = w->n;
    for (unsigned i = 0; i < w->n; i++)
        r->v.steps[i] = (struct dmarc_step){w->nodes[i].domain, w->status[i], w->nodes[i].has};
}

/* The record that applies: the author's, the organization's, the public suffix's. */
static enum state
discover(struct run *r, struct node *ret)
{
    struct walk w;
    struct str org;
    enum state state;

    w.n = 1;
    state = ask(r, r->author, &w.nodes[0], &w.status[0]);
    *ret = w.nodes[0];
    if (state == KNOWN)
        keep_steps(r, &w);
    if (state != KNOWN || ret->has)
        return state;
    state = organization(r, r->author, &w, &org);
    if (state != KNOWN)
        return state;
    r->v.organization = org;
    if (r->in->psl) {
        if (str_eq(org, r->author))
            return KNOWN;
        w.n = 2;
        state = ask(r, org, &w.nodes[1], &w.status[1]);
        *ret = w.nodes[1];
        if (state == KNOWN)
            keep_steps(r, &w);
        return state;
    }
    keep_steps(r, &w);
    for (unsigned i = 1; i < w.n && !(ret->has && str_eq(ret->domain, org)); i++)
        if (w.nodes[i].has && (str_eq(w.nodes[i].domain, org) || w.nodes[i].record.psd == 'y'))
            *ret = w.nodes[i];
    return KNOWN;
}

/* Is the identifier the author's? */
static enum state
aligned(struct run *r, struct str domain, bool strict, bool *ret)
{
    char normal[256];
    struct str org;
    struct walk w;
    enum state state;
    size_t n;

    *ret = false;
    if (!auth_name_normal(domain, normal, &n))
        return KNOWN;
    domain = str_of(normal, n);
    *ret = str_eq(domain, r->author);
    if (*ret || strict)
        return KNOWN;
    if (!r->v.organization.n) {
        state = organization(r, r->author, &w, &org);
        if (state != KNOWN)
            return state;
        r->v.organization = org;
        if (!r->in->psl)
            keep_steps(r, &w);
    }
    /* Another organization's name cannot have ours above it. */
    if (!is_within(domain, r->v.organization))
        return KNOWN;
    state = organization(r, domain, &w, &org);
    if (state == KNOWN)
        *ret = str_eq(org, r->v.organization);
    return state;
}

/* All identifiers against the author. WAIT, or KNOWN with *ret_maybe: one that could have been the
 * author's could not be looked up now. */
static enum state
align(struct run *r, bool *ret_maybe)
{
    bool waiting = false, yes;

    *ret_maybe = false;
    for (size_t i = 0; i <= MIN(r->in->ndkim, (size_t)DMARC_SIGNATURES_MAX); i++) {
        const struct dmarc_identifier *id = i ? &r->in->dkim[i - 1] : &r->in->spf;
        bool strict = i ? r->v.record.strict_dkim : r->v.record.strict_spf;

        if (id->auth == DMARC_AUTH_OTHER || !id->domain.n)
            continue;
        switch (aligned(r, id->domain, strict, &yes)) {
        case WAIT:
            waiting = true;
            continue;
        case TEMPORARY:
            *ret_maybe = true;
            continue;
        case KNOWN:
            break;
        }
        if (yes && id->auth == DMARC_AUTH_TEMPERROR)
            *ret_maybe = true;
        else if (yes && i)
            r->v.dkim_aligned = true;
        else if (yes)
            r->v.spf_aligned = true;
    }
    return waiting ? WAIT : KNOWN;
}

/* The author's very domain is in line with him whatever the policy, which cannot be had now. */
static void
align_same(struct run *r)
{
    char normal[256];
    size_t n;

    r->v.unsure = true;
    for (size_t i = 0; i <= MIN(r->in->ndkim, (size_t)DMARC_SIGNATURES_MAX); i++) {
        const struct dmarc_identifier *id = i ? &r->in->dkim[i - 1] : &r->in->spf;

        if (id->auth != DMARC_AUTH_PASS || !auth_name_normal(id->domain, normal, &n) ||
            !str_eq(str_of(normal, n), r->author))
            continue;
        r->v.unsure = false;
        *(i ? &r->v.dkim_aligned : &r->v.spf_aligned) = true;
    }
}

static enum state
ends(struct run *r, enum dmarc_result result, enum dmarc_advice advice, const char *why)
{
    r->v.result = result;
    r->v.advice = advice;
    r->v.why = why;
    return KNOWN;
}

static enum state
evaluate(struct run *r)
{
    static const enum dmarc_advice advice[] = {DMARC_ACCEPT, DMARC_HOLD, DMARC_REFUSE};
    bool applies, maybe;
    struct node node;
    enum state state;

    state = discover(r, &node);
    if (state == WAIT)
        return WAIT;
    if (state == TEMPORARY) {
        align_same(r);
        return ends(r, DMARC_RESULT_TEMPERROR, DMARC_DEFER,
                    "DNS did not answer for the author's policy");
    }
    if (!node.has) {
        /* Nothing follows from it here, and yet who sent the message may be asked. */
        if (align(r, &maybe) == WAIT)
            return WAIT;
        r->v.unsure = maybe && !r->v.spf_aligned && !r->v.dkim_aligned;
        return ends(r, DMARC_RESULT_NONE, DMARC_ACCEPT, "no policy is published");
    }
    if (choose(r, &node, &applies) == WAIT)
        return WAIT;
    if (!applies)
        return ends(r, DMARC_RESULT_PERMERROR, DMARC_ACCEPT, "the published policy cannot be read");
    if (align(r, &maybe) == WAIT)
        return WAIT;
    if (r->v.spf_aligned || r->v.dkim_aligned)
        return ends(r, DMARC_RESULT_PASS, DMARC_ACCEPT, "authenticated as the author's domain");
    r->v.unsure = maybe;
    if (maybe)
        return ends(r, DMARC_RESULT_TEMPERROR, DMARC_DEFER,
                    "what could have shown the author could not be looked up now");
    ends(r, DMARC_RESULT_FAIL, advice[r->v.policy],
         "nothing that was authenticated belongs to the author's domain");
    if (r->v.advice == DMARC_REFUSE && !r->in->other_signs)
        r->v.advice = DMARC_HOLD;
    return KNOWN;
}

/* How much a verdict speaks against the message: its advice, then its result. */
static unsigned
weight(const struct dmarc_verdict *v)
{
    static const unsigned char results[] = {
        [DMARC_RESULT_PASS] = 0,      [DMARC_RESULT_NONE] = 1, [DMARC_RESULT_PERMERROR] = 2,
        [DMARC_RESULT_TEMPERROR] = 3, [DMARC_RESULT_FAIL] = 4,
    };

    return (unsigned)v->advice * ARRAY_LEN(results) + results[v->result];
}

/* Nobody can say whose the message is: whatever the policies of those named, people look first. */
static void
judge_author(struct dmarc_verdict *v, unsigned oddities)
{
    static const struct {
        unsigned bit;
        const char *why;
    } rows[] = {
        {DMARC_FROM_MISSING, "there is no From field: no author's policy can be asked for"},
        {DMARC_FROM_MALFORMED, "the From field cannot be read in one way only"},
        {DMARC_FROM_DOMAINS, "the From field names authors of different domains"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!(oddities & rows[i].bit) || v->advice >= DMARC_HOLD)
            continue;
        v->advice = DMARC_HOLD;
        if (v->result == DMARC_RESULT_PASS && rows[i].bit == DMARC_FROM_MALFORMED)
            v->result = DMARC_RESULT_PERMERROR;
        v->why = rows[i].why;
    }
}

static enum state
run(const struct dmarc_input *in, const struct auth_answers *answers, struct auth_needs *needs,
    struct arena *arena, struct dmarc_verdict *ret)
{
    struct run r = {.in = in, .answers = answers, .needs = needs};
    enum state state = KNOWN;
    uint32_t ttl = 86400;

    *ret = (struct dmarc_verdict){.why = "no author's domain could be read"};
    for (unsigned i = 0; i < in->author->ndomains; i++) {
        const struct dmarc_author_domain *d = &in->author->domains[i];

        r.v = (struct dmarc_verdict){.ttl = ttl, .why = ""};
        r.author = r.v.domain = arena_str(arena, str_of(d->text, d->n));
        r.v.unsure = !r.author.p;
        if (!r.author.p)
            ends(&r, DMARC_RESULT_TEMPERROR, DMARC_DEFER, "no room for this evaluation");
        else if (evaluate(&r) == WAIT)
            state = WAIT;
        ttl = MIN(ttl, r.v.ttl);
        if (!i || weight(&r.v) > weight(ret))
            *ret = r.v;
    }
    ret->ttl = ttl;
    judge_author(ret, in->author->oddities);
    return state;
}

enum auth_state
dmarc_run(const struct dmarc_input *in, const struct auth_answers *answers,
          struct auth_needs *needs, struct arena *arena, struct dmarc_verdict *ret)
{
    struct dmarc_verdict v;

    needs->n = 0;
    needs->full = false;
    if (run(in, answers, needs, arena, &v) == WAIT)
        return AUTH_NEED;
    needs->n = 0;
    *ret = v;
    return AUTH_DONE;
}
