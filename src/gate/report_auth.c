/*
 * gate/report_auth.c - what authentication found, as an object of events (docs/events.md).
 *
 * Called by gate/report.c. Says what the evaluators said, in their words; never decides.
 */
#include "core/event.h"
#include "gate/session.h"

static void
put_spf_terms(struct event *e, const struct spf_verdict *v)
{
    event_array(e, "terms");
    for (unsigned i = 0; i < v->nsteps; i++) {
        const struct spf_step *s = &v->steps[i];

        event_object(e, "");
        event_text(e, "record", s->record);
        event_text(e, "term", s->term);
        if (s->target.n)
            event_text(e, "target", s->target);
        event_c(e, "outcome", spf_outcome_name(s->outcome));
        if (s->lookups)
            event_u64(e, "lookups", s->lookups);
        if (s->depth)
            event_u64(e, "depth", s->depth);
        event_end(e);
    }
    event_end(e);
    if (v->steps_lost)
        event_u64(e, "terms_lost", v->steps_lost);
}

static void
put_spf(struct event *e, const struct spf_verdict *v)
{
    event_object(e, "");
    event_c(e, "identity", v->identity == SPF_HELO ? "helo" : "mailfrom");
    event_text(e, "domain", v->domain);
    event_c(e, "result", spf_result_name(v->result));
    if (v->mechanism.n)
        event_text(e, "mechanism", v->mechanism);
    if (v->result != SPF_PASS && v->result != SPF_NONE) {
        event_text(e, "why", v->why);
        put_spf_terms(e, v);
    }
    event_end(e);
}

static void
put_dkim(struct event *e, const struct dkim_result *r)
{
    event_object(e, "");
    event_text(e, "domain", r->domain_ascii[0] ? str_c(r->domain_ascii) : r->domain);
    event_text(e, "selector", r->selector);
    event_c(e, "result", dkim_status_name(r->status));
    if (r->status != DKIM_PASS)
        event_c(e, "why", dkim_reason_text(r->reason));
    if (r->alg != DKIM_ALG_NONE)
        event_c(e, "algorithm", dkim_alg_name(r->alg));
    if (r->bits)
        event_u64(e, "bits", r->bits);
    if (r->body_unsigned)
        event_u64(e, "body_unsigned", r->body_unsigned);
    if (r->testing)
        event_bool(e, "testing", true);
    if (r->repeated)
        event_bool(e, "repeated", true);
    event_end(e);
}

static void
put_arc(struct event *e, const struct auth_evidence *a)
{
    event_object(e, "arc");
    event_c(e, "result", arc_cv_name(a->chain.cv));
    event_u64(e, "sets", a->chain.n);
    if (a->chain.cv != ARC_PASS)
        event_c(e, "why", a->chain.text);
    if (a->chain.trusted_from)
        event_u64(e, "trusted_from", a->chain.trusted_from);
    if (a->vouched)
        event_bool(e, "vouched", true);
    event_end(e);
}

static void
put_author(struct event *e, const struct dmarc_author *author)
{
    event_array(e, "from");
    for (unsigned i = 0; i < author->ndomains; i++)
        event_text(e, "", str_of(author->domains[i].text, author->domains[i].n));
    event_end(e);
    if (!author->oddities)
        return;
    event_array(e, "from_oddities");
    for (unsigned bit = 1; bit <= DMARC_FROM_SHOWN; bit <<= 1) {
        if (author->oddities & bit)
            event_c(e, "", dmarc_from_name(bit));
    }
    event_end(e);
}

static void
put_dmarc(struct event *e, const struct dmarc_verdict *v)
{
    event_object(e, "dmarc");
    event_text(e, "domain", v->domain);
    event_c(e, "result", dmarc_result_name(v->result));
    if (v->policy_domain.n) {
        event_text(e, "policy_domain", v->policy_domain);
        event_c(e, "policy", dmarc_policy_name(v->policy));
        if (v->source[0])
            event_c(e, "tag", v->source);
    }
    if (v->organization.n)
        event_text(e, "organization", v->organization);
    if (v->testing)
        event_bool(e, "testing", true);
    event_bool(e, "spf_aligned", v->spf_aligned);
    event_bool(e, "dkim_aligned", v->dkim_aligned);
    if (v->result != DMARC_RESULT_PASS)
        event_c(e, "why", v->why);
    event_end(e);
}

void
report_authentication(struct event *e, const struct tx *tx)
{
    const struct auth_evidence *a = &tx->auth;

    if (!a->common || !(a->have_helo || a->have_mailfrom || a->fed))
        return;
    event_object(e, "authentication");
    if (a->have_helo || a->have_mailfrom) {
        event_array(e, "spf");
        if (a->have_mailfrom)
            put_spf(e, &a->mailfrom);
        if (a->have_helo)
            put_spf(e, &a->helo);
        event_end(e);
    }
    if (a->have_dkim) {
        event_array(e, "dkim");
        for (unsigned i = 0; i < a->dkim->n; i++)
            put_dkim(e, &a->dkim->results[i]);
        event_end(e);
        if (a->dkim->skipped)
            event_u64(e, "dkim_skipped", a->dkim->skipped);
    }
    if (a->have_arc)
        put_arc(e, a);
    if (a->fed)
        put_author(e, &a->author);
    if (a->have_dmarc) {
        put_dmarc(e, &a->dmarc);
        event_bool(e, "proved", auth_evidence_proved(a));
    }
    event_end(e);
}
