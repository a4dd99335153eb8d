/*
 * authtool/verify_show.c - what `gapura auth verify` found, for people and for programs.
 *
 * Called by verify.c. All text out of the message or DNS goes through tool_print or tool_json.
 */
#include "authtool/show.h"
#include "authtool/verify.h"

static void
show_part(const char *name, const char *skipped, const struct spf_verdict *p, struct str domain)
{
    printf("  %s ", name);
    if (skipped) {
        printf("not checked: %s\n", skipped);
        return;
    }
    tool_print(p->domain.n ? p->domain : domain);
    printf(": %s: ", spf_result_name(p->result));
    tool_show_spf(p, &spf_limits_default);
}

static void
show_signature(unsigned number, const struct dkim_sig *s, const struct dkim_result *r)
{
    printf("  %u. %s: ", number, dkim_status_name(r->status));
    tool_print(r->domain.n ? r->domain : STR("(no d=)"));
    printf(" selector ");
    tool_print(r->selector.n ? r->selector : STR("(no s=)"));
    printf(", %s", dkim_alg_name(r->alg));
    if (r->bits)
        printf(" of %u bits", r->bits);
    printf(", %s/%s: %s\n", dkim_canon_name(s->header_canon), dkim_canon_name(s->body_canon),
           dkim_reason_text(r->reason));
    if (r->identity.n) {
        printf("     for ");
        tool_print(r->identity);
        putchar('\n');
    }
    if (r->has_length)
        printf("     l=%llu: %llu bytes of the body are not signed\n",
               (unsigned long long)s->length, (unsigned long long)r->body_unsigned);
    if (r->repeated)
        printf("     a field that may stand once stands more often than it was signed\n");
    if (r->testing)
        printf("     the key says that it is being tested (t=y)\n");
}

static void
show_dkim(const struct verify *v)
{
    const struct dkim_verifier *d = v->e.have_dkim ? v->e.dkim : NULL;

    printf("DKIM\n");
    if (!v->e.nsignatures)
        printf("  none: the message has no signature\n");
    for (unsigned i = 0; d && i < d->n; i++)
        show_signature(i + 1, &d->sigs[i], &d->results[i]);
    if (d && d->skipped)
        printf("  %u more signatures were not looked at\n", d->skipped);
}

static void
show_arc(const struct verify *v)
{
    const struct arc_result *r = &v->e.chain;

    printf("ARC\n");
    if (!v->e.have_arc) {
        printf("  none\n");
        return;
    }
    printf("  %s", arc_cv_name(r->cv));
    if (r->n)
        printf(": %u set%s", r->n, r->n == 1 ? "" : "s");
    if (r->cv == ARC_FAIL || r->cv == ARC_TEMPERROR)
        printf(": %s%s%s", r->text, r->reason != DKIM_OK ? ": " : "",
               r->reason != DKIM_OK ? dkim_reason_text(r->reason) : "");
    if (r->at)
        printf(" (instance %u)", r->at);
    putchar('\n');
    for (unsigned i = 1; i <= r->n; i++) {
        struct dkim_sig seal;

        if (!arc_sealer(v->e.arc, i, &seal))
            continue;
        printf("    %u. sealed by ", i);
        tool_print(seal.domain);
        printf(", cv=%s%s\n", arc_cv_name(seal.cv),
               r->trusted_from && i >= r->trusted_from ? ", trusted" : "");
    }
}

static const char *
step_text(const struct dmarc_step *s)
{
    if (s->record)
        return "a record";
    return s->status == DNS_OK          ? "no valid record"
           : s->status == DNS_NODATA    ? "no record"
           : s->status == DNS_NXDOMAIN  ? "no such name"
           : s->status == DNS_TEMPORARY ? "DNS did not answer"
                                        : "DNSSEC says forged";
}

static void
show_dmarc(const struct verify *v)
{
    const struct dmarc_verdict *d = &v->e.dmarc;

    printf("DMARC\n  author ");
    tool_print(d->domain.n ? d->domain : STR("(no domain)"));
    putchar('\n');
    for (unsigned bit = 1; bit <= DMARC_FROM_SHOWN; bit <<= 1)
        if (v->e.author.oddities & bit)
            printf("  %s: %s\n", dmarc_from_name(bit), dmarc_from_text(bit));
    for (unsigned i = 0; i < d->nsteps; i++) {
        printf("    _dmarc.");
        tool_print(d->steps[i].domain);
        printf(": %s\n", step_text(&d->steps[i]));
    }
    printf("  %s: %s\n", dmarc_result_name(d->result), d->why ? d->why : "");
    if (d->policy_domain.n) {
        printf("  policy %s (%s= of ", dmarc_policy_name(d->policy), d->source);
        tool_print(d->policy_domain);
        printf("%s)", d->testing ? ", lowered by t=y" : "");
        if (d->organization.n) {
            printf(", organization ");
            tool_print(d->organization);
        }
        printf("\n  aligned: SPF %s, DKIM %s\n", d->spf_aligned ? "yes" : "no",
               d->dkim_aligned ? "yes" : "no");
    }
    printf("  advice: %s\n", dmarc_advice_name(d->advice));
}

void
tool_verify_show(const struct verify *v)
{
    struct str rest = buf_view(&v->field), silent = tool_source_silent(v->source);

    if (v->input.converted)
        printf("Lines ended with LF; CRLF was taken, as SMTP sends.\n");
    printf("SPF\n");
    show_part("helo", v->no_helo, &v->e.helo, v->e.spf_in.helo);
    show_part("mailfrom", v->no_mailfrom, &v->e.mailfrom, v->e.spf_in.domain);
    if (!v->no_mailfrom && !strcmp(v->sender_where, "Return-Path"))
        printf("  (the envelope sender is from Return-Path)\n");
    show_dkim(v);
    show_arc(v);
    show_dmarc(v);
    if (silent.n) {
        printf("DNS gave no answer for ");
        tool_print(silent);
        printf(" and perhaps others: ask again later, or another server by --resolver.\n");
    }
    putchar('\n');
    while (rest.n) {
        struct str line = str_cut(rest, '\n', &rest);

        if (str_ends(line, STR("\r")))
            line.n--;
        if (str_starts(line, STR("\t")))
            printf("    ");
        tool_print(str_trim(line));
        putchar('\n');
    }
}

static json_t *
part_json(const char *skipped, const struct spf_verdict *p)
{
    return skipped ? json_pack("{s:s}", "skipped", skipped)
                   : tool_show_spf_json(p, &spf_limits_default);
}

static json_t *
signature_json(const struct dkim_sig *s, const struct dkim_result *r)
{
    json_t *j = json_object();

    json_object_set_new(j, "result", json_string(dkim_status_name(r->status)));
    json_object_set_new(j, "reason", json_string(dkim_reason_text(r->reason)));
    json_object_set_new(j, "domain", tool_json(r->domain));
    json_object_set_new(j, "selector", tool_json(r->selector));
    if (r->identity.n)
        json_object_set_new(j, "identity", tool_json(r->identity));
    json_object_set_new(j, "algorithm", json_string(dkim_alg_name(r->alg)));
    json_object_set_new(j, "bits", json_integer(r->bits));
    json_object_set_new(j, "header_canon", json_string(dkim_canon_name(s->header_canon)));
    json_object_set_new(j, "body_canon", json_string(dkim_canon_name(s->body_canon)));
    json_object_set_new(j, "headers", tool_json(r->headers));
    if (r->signed_at)
        json_object_set_new(j, "signed_at", json_integer((json_int_t)r->signed_at));
    if (r->expires)
        json_object_set_new(j, "expires", json_integer((json_int_t)r->expires));
    if (r->has_length)
        json_object_set_new(j, "body_unsigned", json_integer((json_int_t)r->body_unsigned));
    json_object_set_new(j, "testing", json_boolean(r->testing));
    json_object_set_new(j, "repeated", json_boolean(r->repeated));
    return j;
}

static json_t *
dkim_json(const struct verify *v)
{
    const struct dkim_verifier *d = v->e.have_dkim ? v->e.dkim : NULL;
    json_t *all = json_array();

    for (unsigned i = 0; d && i < d->n; i++)
        json_array_append_new(all, signature_json(&d->sigs[i], &d->results[i]));
    return all;
}

static json_t *
arc_json(const struct verify *v)
{
    const struct arc_result *r = &v->e.chain;
    json_t *j = json_object(), *seals = json_array();

    if (!v->e.have_arc) {
        json_decref(j);
        json_decref(seals);
        return json_pack("{s:s,s:i}", "result", "none", "instances", 0);
    }
    json_object_set_new(j, "result", json_string(arc_cv_name(r->cv)));
    json_object_set_new(j, "why", json_string(r->text ? r->text : ""));
    json_object_set_new(j, "reason", json_string(dkim_reason_text(r->reason)));
    json_object_set_new(j, "instances", json_integer(r->n));
    json_object_set_new(j, "at", json_integer(r->at));
    json_object_set_new(j, "trusted_from", json_integer(r->trusted_from));
    for (unsigned i = 1; i <= r->n; i++) {
        struct dkim_sig seal;

        if (arc_sealer(v->e.arc, i, &seal))
            json_array_append_new(seals,
                                  json_pack("{s:i,s:o,s:s}", "instance", (int)i, "domain",
                                            tool_json(seal.domain), "cv", arc_cv_name(seal.cv)));
    }
    json_object_set_new(j, "seals", seals);
    return j;
}

static json_t *
dmarc_json(const struct verify *v)
{
    const struct dmarc_verdict *d = &v->e.dmarc;
    json_t *j = json_object(), *steps = json_array(), *odd = json_array();

    json_object_set_new(j, "result", json_string(dmarc_result_name(d->result)));
    json_object_set_new(j, "why", json_string(d->why ? d->why : ""));
    json_object_set_new(j, "author", tool_json(d->domain));
    json_object_set_new(j, "organization", tool_json(d->organization));
    json_object_set_new(j, "policy_domain", tool_json(d->policy_domain));
    json_object_set_new(j, "policy", json_string(dmarc_policy_name(d->policy)));
    json_object_set_new(j, "source", json_string(d->source));
    json_object_set_new(j, "advice", json_string(dmarc_advice_name(d->advice)));
    json_object_set_new(j, "testing", json_boolean(d->testing));
    json_object_set_new(j, "spf_aligned", json_boolean(d->spf_aligned));
    json_object_set_new(j, "dkim_aligned", json_boolean(d->dkim_aligned));
    for (unsigned i = 0; i < d->nsteps; i++)
        json_array_append_new(steps, json_pack("{s:o,s:s}", "domain", tool_json(d->steps[i].domain),
                                               "found", step_text(&d->steps[i])));
    json_object_set_new(j, "steps", steps);
    for (unsigned bit = 1; bit <= DMARC_FROM_SHOWN; bit <<= 1)
        if (v->e.author.oddities & bit)
            json_array_append_new(odd, json_string(dmarc_from_name(bit)));
    json_object_set_new(j, "oddities", odd);
    return j;
}

json_t *
tool_verify_json(const struct verify *v)
{
    static const char *const statuses[] = {"pass", "fail", "usage", "temperror"};
    json_t *j = json_object();

    json_object_set_new(j, "result", json_string(statuses[tool_verify_status(v)]));
    json_object_set_new(j, "converted", json_boolean(v->input.converted));
    json_object_set_new(j, "spf",
                        json_pack("{s:o,s:o}", "helo", part_json(v->no_helo, &v->e.helo),
                                  "mailfrom", part_json(v->no_mailfrom, &v->e.mailfrom)));
    json_object_set_new(j, "dkim", dkim_json(v));
    json_object_set_new(j, "dkim_skipped", json_integer(v->e.have_dkim ? v->e.dkim->skipped : 0));
    json_object_set_new(j, "arc", arc_json(v));
    json_object_set_new(j, "dmarc", dmarc_json(v));
    json_object_set_new(j, "field", tool_json(buf_view(&v->field)));
    return j;
}
