/*
 * auth/evidence.c - one message's authentication, evaluator by evaluator.
 *
 * Called by the checks and by the gate. Never asks anybody and never decides whether mail is
 * wanted. A mail without signatures costs a walk over its header and no more.
 */
#include "core/openssl.h"

#include <openssl/rand.h>

#include "auth/evidence.h"
#include "core/err.h"
#include "mail/address.h"

#define KEYS_MAX    4096u /* parsed keys remembered */
#define SPARE_MAX   64u
#define SPF_STEPS   40u /* kept for explain */
#define COMMON_MAX  (1u << 20)
#define RESULTS_MAX (64u << 10) /* of one field out of a chain */

/* ---- what all messages share ---- */

static int
common_trusted(struct auth_common *c, const struct conf_list *list)
{
    const struct str *items = list->items;
    struct str *copies = ARENA_ARRAY(&c->arena, struct str, list->n + 1);
    char name[256];

    for (size_t i = 0; copies && i < list->n; i++) {
        bool below = items[i].n && items[i].p[0] == '.';
        ssize_t n = address_domain_ascii(str_from(items[i], below), name, sizeof(name));

        if (n <= 0)
            continue;
        copies[c->ntrusted] = arena_fmt(&c->arena, "%s%.*s", below ? "." : "", (int)n, name);
        if (copies[c->ntrusted++].p == NULL)
            return ERR_NOMEM;
    }
    c->trusted = copies;
    return copies ? 0 : ERR_NOMEM;
}

int
auth_common_create(struct auth_common **ret, const struct settings_verify *conf,
                   struct str hostname, struct str psl, struct why *why)
{
    struct auth_common *c = calloc(1, sizeof(*c));
    int rc = c ? 0 : ERR_NOMEM;
    uint64_t seed = 0; /* of a hash over strangers' texts */

    if (rc < 0)
        return why_set(why, rc, "no memory for the verification of senders");
    arena_init(&c->arena, COMMON_MAX);
    if (RAND_bytes((unsigned char *)&seed, sizeof(seed)) != 1)
        seed = (uint64_t)(uintptr_t)c;
    c->hostname = arena_str(&c->arena, hostname);
    c->ids[c->nids++] = conf->authserv_id.n ? arena_str(&c->arena, conf->authserv_id) : c->hostname;
    if (conf->authserv_id.n)
        c->ids[c->nids++] = c->hostname;
    c->spf = spf_limits_default;
    c->spf.steps = SPF_STEPS;
    c->dkim = dkim_limits_default;
    c->dkim.signatures = (unsigned)conf->dkim_signatures;
    c->dkim.min_bits = (unsigned)conf->dkim_min_bits;
    c->dkim.max_bits = (unsigned)conf->dkim_max_bits;
    c->tree = conf->dmarc_method == DMARC_METHOD_TREE;
    c->keys = dkim_keys_create(KEYS_MAX, seed, &c->dkim);
    c->spare = calloc(SPARE_MAX, sizeof(struct dkim_message *));
    if (!c->keys || !c->spare || !c->ids[0].p || common_trusted(c, &conf->arc_trusted) < 0)
        rc = why_set(why, ERR_NOMEM, "no memory for the verification of senders");
    else if (!c->tree)
        rc = psl_read(psl, &c->psl, why);
    if (rc < 0) {
        auth_common_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

int
auth_common_lists(struct auth_common *c, const struct conf *conf, struct why *why)
{
    return dns_lists_create(&c->lists, conf, why);
}

void
auth_common_free(struct auth_common *c)
{
    if (!c)
        return;
    dns_lists_free(c->lists);
    while (c->nspare)
        dkim_message_free(c->spare[--c->nspare]);
    free(c->spare);
    dkim_keys_free(c->keys);
    psl_close(c->psl);
    arena_done(&c->arena);
    free(c);
}

static struct dkim_message *
message_take(struct auth_common *c)
{
    return c->nspare ? c->spare[--c->nspare] : dkim_message_create();
}

static void
message_give(struct auth_common *c, struct dkim_message *m)
{
    if (m && c->nspare < SPARE_MAX)
        c->spare[c->nspare++] = m;
    else
        dkim_message_free(m);
}

/* ---- a message ---- */

void
auth_evidence_open(struct auth_evidence *e, struct auth_common *common, struct arena *arena,
                   const struct addr *client, struct str helo, struct str local, struct str domain,
                   uint64_t now, uint64_t mono)
{
    auth_evidence_close(e);
    e->common = common;
    e->arena = arena;
    e->now = now;
    e->begun = mono;
    auth_known_init(&e->known, arena);
    e->spf_in = (struct spf_input){.ip = *client,
                                   .helo = helo,
                                   .local = local,
                                   .domain = domain,
                                   .receiver = common->hostname,
                                   .time = now,
                                   .limits = &common->spf};
}

void
auth_evidence_close(struct auth_evidence *e)
{
    if (!e->common)
        return;
    message_give(e->common, e->message);
    memset(e, 0, offsetof(struct auth_evidence, author));
}

static void
needs_clear(struct auth_needs *needs)
{
    needs->n = 0;
    needs->full = false;
}

static enum auth_state
evidence_spf(struct auth_evidence *e, enum spf_identity identity, uint64_t mono,
             struct auth_needs *needs, struct spf_verdict *ret)
{
    struct auth_answers table = auth_known_table(&e->known);

    e->spf_in.identity = identity;
    e->spf_in.elapsed_ns = mono - e->begun;
    return spf_run(&e->spf_in, &table, needs, e->arena, ret);
}

enum auth_state
auth_evidence_sender(struct auth_evidence *e, uint64_t mono UNUSED, struct auth_needs *needs)
{
    struct auth_answers table = auth_known_table(&e->known);

    needs_clear(needs);
    if (e->have_sender || !e->spf_in.domain.n)
        return AUTH_DONE;
    if (auth_domain_run(e->spf_in.domain, &e->spf_in.ip, &table, needs, &e->sender,
                        &e->sender_host) == AUTH_NEED)
        return AUTH_NEED;
    e->have_sender = true;
    return AUTH_DONE;
}

enum auth_state
auth_evidence_lists(struct auth_evidence *e, uint64_t mono, struct auth_needs *needs)
{
    struct auth_answers table = auth_known_table(&e->known);
    struct dns_lists_input in = {.client = &e->spf_in.ip,
                                 .sender = e->spf_in.domain,
                                 .helo = e->spf_in.helo,
                                 .now = mono,
                                 .elapsed_ns = mono - e->begun,
                                 .hindered = e->hindered};

    needs_clear(needs);
    if (e->have_lists || !e->common->lists)
        return AUTH_DONE;
    if (!e->lists)
        e->lists = ARENA_NEW(e->arena, struct dns_lists_report);
    if (!e->lists)
        return AUTH_DONE;
    if (dns_lists_run(e->common->lists, &in, &table, needs, e->arena, e->lists) == AUTH_NEED)
        return AUTH_NEED;
    e->have_lists = true;
    return AUTH_DONE;
}

enum auth_state
auth_evidence_helo(struct auth_evidence *e, uint64_t mono, struct auth_needs *needs)
{
    needs_clear(needs);
    if (e->have_helo)
        return AUTH_DONE;
    if (evidence_spf(e, SPF_HELO, mono, needs, &e->helo) == AUTH_NEED)
        return AUTH_NEED;
    e->have_helo = true;
    return AUTH_DONE;
}

enum auth_state
auth_evidence_mailfrom(struct auth_evidence *e, uint64_t mono, struct auth_needs *needs)
{
    needs_clear(needs);
    if (e->have_mailfrom ||
        !e->spf_in.domain.n) /* the null sender: the HELO identity is all there is */
        return AUTH_DONE;
    if (evidence_spf(e, SPF_MAILFROM, mono, needs, &e->mailfrom) == AUTH_NEED)
        return AUTH_NEED;
    e->have_mailfrom = true;
    return AUTH_DONE;
}

/* ---- fields that only we may write ---- */

static bool
maybe_ours(const struct header_field *f)
{
    switch (f->name.n ? f->name.p[0] | 32 : 0) {
    case 'a':
        return str_ieq(f->name, STR("Authentication-Results"));
    case 'r':
        return str_ieq(f->name, STR("Return-Path"));
    case 'x':
        return str_istarts(f->name, STR("X-Gapura-")) || str_istarts(f->name, STR("X-Spam-"));
    default:
        return false;
    }
}

bool
auth_evidence_foreign(struct str header)
{
    struct header_field f;
    size_t at = 0;
    int rc;

    while ((rc = header_next(header, &at, &f)) != 0) {
        if (rc < 0 || maybe_ours(&f)) /* what is no field may look like one */
            return true;
    }
    return false;
}

/* ---- header and body ---- */

static void
count_signatures(struct auth_evidence *e, struct str header)
{
    struct header_field f;
    size_t at = 0;
    int rc;

    while ((rc = header_next(header, &at, &f)) != 0) {
        if (rc < 0 || !f.name.n) {
            e->foreign = true; /* what is no field may look like one */
            continue;
        }
        if ((f.name.p[0] | 32) == 'd' && str_ieq(f.name, dkim_kind_name(DKIM_KIND_SIGNATURE)))
            e->nsignatures++;
        else if ((f.name.p[0] | 32) == 'a' && str_istarts(f.name, STR("ARC-")))
            e->nseals++;
        else
            e->foreign = e->foreign || maybe_ours(&f);
    }
}

int
auth_evidence_header(struct auth_evidence *e, struct str header)
{
    e->header = header;
    e->fed = true;
    dmarc_author(header, &e->author);
    count_signatures(e, header);
    if (!e->nsignatures && !e->nseals)
        return 0;
    e->message = message_take(e->common);
    if (e->nsignatures)
        e->dkim = ARENA_NEW(e->arena, struct dkim_verifier);
    if (e->nseals)
        e->arc = ARENA_NEW(e->arena, struct arc_validator);
    if (!e->message || (e->nsignatures && !e->dkim) || (e->nseals && !e->arc) ||
        dkim_message_headers(e->message, header, &e->common->dkim) < 0) {
        e->dkim = NULL;
        e->arc = NULL;
        return ERR_NOMEM;
    }
    if (e->dkim)
        dkim_verify_prepare(e->dkim, e->message, &e->common->dkim);
    if (e->arc)
        arc_prepare(e->arc, e->message, &e->common->dkim);
    return 0;
}

void
auth_evidence_body(struct auth_evidence *e, const char *p, size_t n)
{
    if (e->message)
        dkim_message_body(e->message, p, n);
}

enum auth_state
auth_evidence_dkim(struct auth_evidence *e, uint64_t mono UNUSED, struct auth_needs *needs)
{
    struct auth_answers table = auth_known_table(&e->known);

    needs_clear(needs);
    if (!e->dkim || e->have_dkim)
        return AUTH_DONE;
    if (dkim_verify_run(e->dkim, e->now, e->common->keys, &table, needs) == AUTH_NEED)
        return AUTH_NEED;
    e->have_dkim = true;
    return AUTH_DONE;
}

enum auth_state
auth_evidence_arc(struct auth_evidence *e, uint64_t mono UNUSED, struct auth_needs *needs)
{
    struct auth_answers table = auth_known_table(&e->known);

    needs_clear(needs);
    if (!e->arc || e->have_arc)
        return AUTH_DONE;
    if (arc_run(e->arc, e->now, e->common->trusted, e->common->ntrusted, e->common->keys, &table,
                needs, &e->chain) == AUTH_NEED)
        return AUTH_NEED;
    e->have_arc = true;
    return AUTH_DONE;
}

/* ---- DMARC ---- */

static enum dmarc_auth
spf_says(enum spf_result result)
{
    if (result == SPF_PASS)
        return DMARC_AUTH_PASS;
    return result == SPF_TEMPERROR ? DMARC_AUTH_TEMPERROR : DMARC_AUTH_OTHER;
}

static struct dmarc_identifier
spf_identifier(const struct auth_evidence *e)
{
    const struct spf_verdict *v = e->spf_in.domain.n ? &e->mailfrom : &e->helo;

    if (!(e->spf_in.domain.n ? e->have_mailfrom : e->have_helo))
        return (struct dmarc_identifier){.auth = DMARC_AUTH_OTHER};
    return (struct dmarc_identifier){.auth = spf_says(v->result), .domain = v->domain};
}

static size_t
dkim_identifiers(const struct auth_evidence *e, struct dmarc_identifier *ids)
{
    size_t n = 0;

    for (unsigned i = 0; e->have_dkim && i < e->dkim->n; i++) {
        const struct dkim_result *r = &e->dkim->results[i];

        ids[n++] =
            (struct dmarc_identifier){.auth = r->status == DKIM_PASS        ? DMARC_AUTH_PASS
                                              : r->status == DKIM_TEMPERROR ? DMARC_AUTH_TEMPERROR
                                                                            : DMARC_AUTH_OTHER,
                                      .domain = str_c(r->domain_ascii)};
    }
    return n;
}

/* "dmarc=pass header.from=AUTHOR" in the results that a trusted sealer sealed. */
static bool
says_proved(struct str payload, struct str author)
{
    struct arena arena;
    struct authres *a;
    bool proved = false;

    arena_init(&arena, RESULTS_MAX * 2);
    a = ARENA_NEW(&arena, struct authres);
    if (!a || authres_parse(payload, &arena, a) < 0)
        a = NULL;
    for (unsigned i = 0; a && i < a->n; i++) {
        const struct authres_result *r = &a->results[i];

        if (!str_ieq(r->method, STR("dmarc")) || !str_ieq(r->result, STR("pass")))
            continue;
        for (unsigned k = 0; k < r->nprops; k++) {
            const struct authres_prop *p = &r->props[k];

            proved |= str_ieq(p->ptype, STR("header")) && str_ieq(p->property, STR("from")) &&
                      str_ieq(p->value, author);
        }
    }
    arena_done(&arena);
    return proved;
}

static bool
is_vouched(struct auth_evidence *e)
{
    struct str author = str_of(e->author.domain, e->author.n);

    if (!e->have_arc || e->chain.cv != ARC_PASS || !e->chain.trusted_from || !author.n)
        return false;
    for (unsigned i = e->chain.trusted_from; i <= e->chain.n; i++) {
        if (says_proved(e->arc->sets[i].payload, author))
            return true;
    }
    return false;
}

enum auth_state
auth_evidence_dmarc(struct auth_evidence *e, uint64_t mono UNUSED, struct auth_needs *needs)
{
    struct auth_answers table = auth_known_table(&e->known);
    struct dmarc_identifier ids[DKIM_SIGS_MAX];
    struct dmarc_input in = {
        .author = &e->author,
        .spf = spf_identifier(e),
        .dkim = ids,
        .ndkim = dkim_identifiers(e, ids),
        .psl = e->common->psl,
    };

    needs_clear(needs);
    if (!e->fed || e->have_dmarc)
        return AUTH_DONE;
    if (dmarc_run(&in, &table, needs, e->arena, &e->dmarc) == AUTH_NEED)
        return AUTH_NEED;
    e->have_dmarc = true;
    e->vouched = is_vouched(e);
    return AUTH_DONE;
}

bool
auth_evidence_proved(const struct auth_evidence *e)
{
    return e->have_dmarc &&
           ((e->author.n && (e->dmarc.spf_aligned || e->dmarc.dkim_aligned)) || e->vouched);
}

/* ---- results ---- */

static void
add_spf(const struct auth_evidence *e, const struct spf_verdict *v, struct authres *a)
{
    authres_add_spf(a, v, &e->spf_in);
}

void
auth_evidence_results(const struct auth_evidence *e, struct authres *ret)
{
    ret->id = e->common->ids[0];
    ret->version = 1;
    ret->n = 0;
    if (e->have_helo)
        add_spf(e, &e->helo, ret);
    if (e->have_mailfrom)
        add_spf(e, &e->mailfrom, ret);
    for (unsigned i = 0; e->have_dkim && i < e->dkim->n; i++)
        auth_rows_dkim(ret, &e->dkim->results[i]);
    if (e->fed && !e->nsignatures)
        authres_add(ret, STR("dkim"), STR("none"));
    if (e->have_arc)
        auth_rows_arc(ret, &e->chain);
    if (e->have_dmarc)
        authres_add_dmarc(ret, &e->dmarc);
}
