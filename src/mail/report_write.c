/*
 * mail/report_write.c - an aggregate report as XML, a TLS report as JSON.
 *
 * Called by whoever reports to others. Text of strangers is in both (domains, selectors, answers of
 * servers), so all of it is made well-formed here.
 */
#include <time.h>

#include "core/err.h"
#include "mail/report_dmarc.h"
#include "mail/report_tls.h"

static const char *const policies[] = {"none", "quarantine", "reject"};
static const char *const dispositions[] = {"none", "pass", "quarantine", "reject"};
static const char *const results[] = {"none",    "pass",   "fail",      "softfail",
                                      "neutral", "policy", "temperror", "permerror"};
static const char *const overrides[] = {
    "other",        "forwarded",    "sampled_out",     "trusted_forwarder",
    "mailing_list", "local_policy", "policy_test_mode"};
static const char *const discoveries[] = {NULL, "psl", "treewalk"};
static const char *const tls_types[] = {"no-policy-found", "sts", "tlsa"};
static const char *const tls_results[] = {"other",
                                          "starttls-not-supported",
                                          "certificate-host-mismatch",
                                          "certificate-expired",
                                          "certificate-not-trusted",
                                          "validation-failure",
                                          "tlsa-invalid",
                                          "dnssec-invalid",
                                          "dane-required",
                                          "sts-policy-fetch-error",
                                          "sts-policy-invalid",
                                          "sts-webpki-invalid"};

#define WORD(list, i) ((i) < ARRAY_LEN(list) ? (list)[i] : (list)[0])

const char *
report_result_name(enum report_result r)
{
    return WORD(results, r);
}

const char *
report_disposition_name(enum report_disposition d)
{
    return WORD(dispositions, d);
}

const char *
report_tls_result_name(enum report_tls_result r)
{
    return WORD(tls_results, r);
}

/* ---- XML ---------------------------------------------------------------------------------------
 */

/* What XML 1.0 cannot hold (2.2) becomes U+FFFD. */
static void
put_text(struct buf *b, struct str s)
{
    while (s.n) {
        size_t n = str_utf8_len(s);
        unsigned char c = (unsigned char)*s.p;
        bool nonchar =
            n == 3 && c == 0xef && (unsigned char)s.p[1] == 0xbf && (unsigned char)s.p[2] >= 0xbe;
        if (n == 0 || nonchar || (c < ' ' && !strchr("\t\n", (char)c)) || c == 0) {
            buf_c(b, "\xef\xbf\xbd");
            n = n ? n : 1;
        } else if (c == '<') {
            buf_c(b, "&lt;");
        } else if (c == '>') {
            buf_c(b, "&gt;");
        } else if (c == '&') {
            buf_c(b, "&amp;");
        } else {
            buf_add(b, s.p, n);
        }
        s = str_from(s, n);
    }
}

static void
put(struct buf *b, unsigned depth, const char *name, struct str text)
{
    buf_fmt(b, "%*s<%s>", (int)(2 * depth), "", name);
    put_text(b, text);
    buf_fmt(b, "</%s>\n", name);
}

static void
put_c(struct buf *b, unsigned depth, const char *name, const char *text)
{
    put(b, depth, name, str_c(text));
}

static void
put_if(struct buf *b, unsigned depth, const char *name, struct str text)
{
    if (text.n)
        put(b, depth, name, text);
}

static void
put_number(struct buf *b, unsigned depth, const char *name, uint64_t v)
{
    buf_fmt(b, "%*s<%s>%llu</%s>\n", (int)(2 * depth), "", name, (unsigned long long)v, name);
}

/* All eight groups: the schema of RFC 7489 knows no "::". */
static void
put_addr(struct buf *b, const struct addr *a)
{
    char text[48];

    if (addr_is_v4(a))
        addr_show(a, text);
    else
        for (unsigned i = 0; i < 8; i++)
            str_fmt(text + (i ? 5 * i - 1 : 0), 6, i ? ":%02x%02x" : "%02x%02x", a->b[2 * i],
                    a->b[2 * i + 1]);
    put_c(b, 3, "source_ip", text);
}

static void
put_meta(struct buf *b, const struct report_dmarc *r)
{
    buf_c(b, "  <report_metadata>\n");
    put(b, 2, "org_name", r->org);
    put(b, 2, "email", r->email);
    put_if(b, 2, "extra_contact_info", r->contact);
    put(b, 2, "report_id", r->id);
    buf_c(b, "    <date_range>\n");
    put_number(b, 3, "begin", r->begin);
    put_number(b, 3, "end", r->end);
    buf_c(b, "    </date_range>\n");
    for (const struct report_text *t = r->errors; t; t = t->next)
        put(b, 2, "error", t->text);
}

static void
put_policy(struct buf *b, const struct report_dmarc *r, enum report_form form)
{
    bool old = form == REPORT_FORM_7489;

    buf_c(b, "  <policy_published>\n");
    put(b, 2, "domain", r->domain);
    put_c(b, 2, "adkim", r->adkim == REPORT_STRICT ? "s" : "r");
    put_c(b, 2, "aspf", r->aspf == REPORT_STRICT ? "s" : "r");
    put_c(b, 2, "p", WORD(policies, r->p));
    if (old || r->has_sp)
        put_c(b, 2, "sp", WORD(policies, r->has_sp ? r->sp : r->p));
    if (old)
        put_number(b, 2, "pct", r->has_pct ? r->pct : 100);
    else if (r->has_np)
        put_c(b, 2, "np", WORD(policies, r->np));
    put(b, 2, "fo", r->fo.n ? r->fo : STR("0"));
    if (!old && r->testing)
        put_c(b, 2, "testing", r->testing == REPORT_YES ? "y" : "n");
    if (!old && r->discovery && r->discovery < ARRAY_LEN(discoveries))
        put_c(b, 2, "discovery_method", discoveries[r->discovery]);
    buf_c(b, "  </policy_published>\n");
}

/* Each RFC lacks reasons that the other one knows: those are other, named in the comment. */
static void
put_reason(struct buf *b, const struct report_reason *r, bool old)
{
    bool lacks =
        old ? r->type == REPORT_OVERRIDE_POLICY_TEST_MODE
            : r->type == REPORT_OVERRIDE_FORWARDED || r->type == REPORT_OVERRIDE_SAMPLED_OUT;
    struct str comment = lacks && !r->comment.n ? str_c(overrides[r->type]) : r->comment;

    buf_c(b, "        <reason>\n");
    put_c(b, 5, "type", lacks ? "other" : WORD(overrides, r->type));
    put_if(b, 5, "comment", comment);
    buf_c(b, "        </reason>\n");
}

static void
put_dkim(struct buf *b, const struct report_auth *a)
{
    buf_c(b, "      <dkim>\n");
    put(b, 4, "domain", a->domain);
    put(b, 4, "selector", a->selector);
    put_c(b, 4, "result",
          WORD(results, a->result == REPORT_RESULT_SOFTFAIL ? REPORT_RESULT_FAIL : a->result));
    put_if(b, 4, "human_result", a->human);
    buf_c(b, "      </dkim>\n");
}

static void
put_spf(struct buf *b, struct str domain, const char *scope, uint8_t result)
{
    buf_c(b, "      <spf>\n");
    put(b, 4, "domain", domain);
    put_c(b, 4, "scope", scope);
    put_c(b, 4, "result",
          WORD(results, result == REPORT_RESULT_POLICY ? REPORT_RESULT_NEUTRAL : result));
    buf_c(b, "      </spf>\n");
}

/* RFC 9990 knows one, of MAIL FROM; RFC 7489 and its schema want at least one. */
static void
put_spfs(struct buf *b, const struct report_row *r, bool old)
{
    unsigned n = 0;

    for (const struct report_auth *a = r->spfs; a; a = a->next) {
        bool helo = a->scope == REPORT_SCOPE_HELO;
        if (!old && (helo || n))
            continue;
        put_spf(b, a->domain, helo ? "helo" : "mfrom", a->result);
        n++;
    }
    if (n == 0)
        put_spf(b, r->envelope_from, "mfrom", REPORT_RESULT_NONE);
}

static void
put_row(struct buf *b, const struct report_row *r, bool old)
{
    uint8_t done = old && r->disposition == REPORT_DONE_PASS ? REPORT_DONE_NONE : r->disposition;

    buf_c(b, "  <record>\n    <row>\n");
    put_addr(b, &r->source);
    put_number(b, 3, "count", r->count);
    buf_c(b, "      <policy_evaluated>\n");
    put_c(b, 4, "disposition", WORD(dispositions, done));
    put_c(b, 4, "dkim", r->dkim == REPORT_RESULT_PASS ? "pass" : "fail");
    put_c(b, 4, "spf", r->spf == REPORT_RESULT_PASS ? "pass" : "fail");
    for (const struct report_reason *why = r->reasons; why; why = why->next)
        put_reason(b, why, old);
    buf_c(b, "      </policy_evaluated>\n    </row>\n    <identifiers>\n");
    put_if(b, 3, "envelope_to", r->envelope_to);
    put(b, 3, "envelope_from", r->envelope_from);
    put(b, 3, "header_from", r->header_from);
    buf_c(b, "    </identifiers>\n    <auth_results>\n");
    for (const struct report_auth *a = r->dkims; a; a = a->next)
        put_dkim(b, a);
    put_spfs(b, r, old);
    buf_c(b, "    </auth_results>\n  </record>\n");
}

int
report_dmarc_write(const struct report_dmarc *r, enum report_form form, struct buf *out)
{
    bool old = form == REPORT_FORM_7489;

    if (!r->rows || !r->id.n || !r->org.n || !r->domain.n)
        return ERR_STATE;
    buf_c(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    buf_c(out, old ? "<feedback>\n  <version>1.0</version>\n"
                   : "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n");
    put_meta(out, r);
    if (!old)
        put_if(out, 2, "generator", r->generator);
    buf_c(out, "  </report_metadata>\n");
    put_policy(out, r, form);
    for (const struct report_row *row = r->rows; row && !out->failed; row = row->next)
        put_row(out, row, old);
    buf_c(out, "</feedback>\n");
    return out->failed ? ERR_LIMIT : 0;
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

static void
member(struct buf *b, const char *name, struct str text)
{
    buf_fmt(b, "\"%s\":", name);
    buf_json(b, text);
}

static void
member_if(struct buf *b, const char *name, struct str text)
{
    if (!text.n)
        return;
    buf_char(b, ',');
    member(b, name, text);
}

static void
member_time(struct buf *b, const char *name, uint64_t wall_s)
{
    time_t t = (time_t)MIN(wall_s, (uint64_t)253402300799); /* the last second of year 9999 */
    struct tm tm;

    gmtime_r(&t, &tm);
    buf_fmt(b, "\"%s\":\"%04d-%02d-%02dT%02d:%02d:%02dZ\"", name, tm.tm_year + 1900, tm.tm_mon + 1,
            tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void
member_list(struct buf *b, const char *name, const struct str *list, uint32_t n)
{
    if (!n)
        return;
    buf_fmt(b, ",\"%s\":[", name);
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            buf_char(b, ',');
        buf_json(b, list[i]);
    }
    buf_char(b, ']');
}

static void
tls_failure(struct buf *b, const struct report_tls_failure *f)
{
    struct str own = f->result_text.n ? f->result_text : STR("validation-failure");

    buf_char(b, '{');
    member(b, "result-type",
           f->result == REPORT_TLS_OTHER ? own : str_c(WORD(tls_results, f->result)));
    member_if(b, "sending-mta-ip", f->sending_ip);
    member_if(b, "receiving-mx-hostname", f->mx);
    member_if(b, "receiving-mx-helo", f->mx_helo);
    member_if(b, "receiving-ip", f->receiving_ip);
    buf_fmt(b, ",\"failed-session-count\":%llu", (unsigned long long)f->count);
    member_if(b, "additional-information", f->info);
    member_if(b, "failure-reason-code", f->reason);
    buf_char(b, '}');
}

static void
tls_policy(struct buf *b, const struct report_tls_policy *p)
{
    buf_c(b, "{\"policy\":{");
    member(b, "policy-type", str_c(WORD(tls_types, p->type)));
    member_list(b, "policy-string", p->strings, p->nstrings);
    member_if(b, "policy-domain", p->domain);
    member_list(b, "mx-host", p->mxs, p->nmxs);
    buf_fmt(b,
            "},\"summary\":{\"total-successful-session-count\":%llu,"
            "\"total-failure-session-count\":%llu}",
            (unsigned long long)p->good, (unsigned long long)p->failed);
    for (const struct report_tls_failure *f = p->failures; f; f = f->next) {
        buf_c(b, f == p->failures ? ",\"failure-details\":[" : ",");
        tls_failure(b, f);
    }
    buf_c(b, p->failures ? "]}" : "}");
}

int
report_tls_write(const struct report_tls *r, struct buf *out)
{
    if (!r->policies || !r->id.n || !r->org.n)
        return ERR_STATE;
    buf_char(out, '{');
    member(out, "organization-name", r->org);
    buf_c(out, ",\"date-range\":{");
    member_time(out, "start-datetime", r->begin);
    buf_char(out, ',');
    member_time(out, "end-datetime", r->end);
    buf_char(out, '}');
    member_if(out, "contact-info", r->contact);
    buf_char(out, ',');
    member(out, "report-id", r->id);
    buf_c(out, ",\"policies\":[");
    for (const struct report_tls_policy *p = r->policies; p && !out->failed; p = p->next) {
        if (p != r->policies)
            buf_char(out, ',');
        tls_policy(out, p);
    }
    buf_c(out, "]}\n");
    return out->failed ? ERR_LIMIT : 0;
}

/* ---- names -------------------------------------------------------------------------------------
 */

static void
name_put(struct buf *out, struct str who, struct str domain, uint64_t begin, uint64_t end,
         struct str unique, const char *ending)
{
    buf_fmt(out, "%.*s!%.*s!%llu!%llu", STR_ARG(who), STR_ARG(domain), (unsigned long long)begin,
            (unsigned long long)end);
    if (unique.n)
        buf_fmt(out, "!%.*s", STR_ARG(unique));
    buf_c(out, ending);
}

void
report_dmarc_filename(const struct report_dmarc *r, struct str receiver, struct str unique,
                      struct buf *out)
{
    name_put(out, receiver, r->domain, r->begin, r->end, unique, ".xml.gz");
}

void
report_tls_filename(const struct report_tls *r, struct str sender, struct str domain,
                    struct str unique, struct buf *out)
{
    name_put(out, sender, domain, r->begin, r->end, unique, ".json.gz");
}
