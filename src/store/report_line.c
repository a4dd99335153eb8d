/*
 * store/report_line.c - a report for people and for programs.
 *
 * Called by whoever shows reports. Prints nothing itself; texts are a stranger's and are shown as
 * they are, without control characters.
 */
#include "store/report_line.h"

#include "core/clock.h"
#include "mail/report_dmarc.h"

#define TEXT_MAX (16u << 10)

static const char *const kinds[] = {"", "dmarc", "tls"};

void
report_line_set(json_t *row, const char *key, struct str text)
{
    json_t *value = json_stringn(text.n ? text.p : "", text.n);

    json_object_set_new(row, key, value ? value : json_string("?"));
}

static void
set_count(json_t *row, const char *key, uint64_t n)
{
    json_object_set_new(row, key, json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX)));
}

static json_t *
with_text(json_t *row, const struct buf *text)
{
    if (row)
        report_line_set(row, "text", buf_view(text));
    return row;
}

/* "2026-11-23 16:45" */
static const char *
date(uint64_t s, char dst[32])
{
    clock_iso(MIN(s, UINT64_C(253402300799)) * NS_PER_S, dst);
    dst[10] = ' ';
    dst[16] = '\0';
    return dst;
}

/* --- the head --- */

static void
head_proof(struct buf *b, const struct report_facts *f)
{
    buf_fmt(b, "  mail      %.*s from %.*s\n", STR_ARG(f->mail), STR_ARG(f->from));
    if (f->proof.n)
        buf_fmt(b, "  sender    proved by %.*s (%.*s)\n", STR_ARG(f->proof), STR_ARG(f->by));
    else
        buf_c(b, "  sender    not proved: anybody could have written this report\n");
}

static void
head_text(struct buf *b, const struct report_head *h, uint64_t number)
{
    bool tls = h->kind == REPORT_KIND_TLS;
    char from[32], to[32];
    struct str errors = h->errors;

    buf_fmt(b, "%s report ", tls ? "TLS" : "DMARC");
    if (number)
        buf_fmt(b, "%llu ", (unsigned long long)number);
    buf_fmt(b, "of %.*s about %.*s\n", STR_ARG(h->org), STR_ARG(h->domain));
    buf_fmt(b, "  id        %.*s\n  time      %s to %s UTC\n", STR_ARG(h->id), date(h->since, from),
            date(h->until, to));
    if (number)
        head_proof(b, &h->facts);
    if (h->contact.n)
        buf_fmt(b, "  contact   %.*s\n", STR_ARG(h->contact));
    if (h->policy.n)
        buf_fmt(b, "  policy    %.*s\n", STR_ARG(h->policy));
    while (errors.n) {
        struct str one = str_cut(errors, '\n', &errors);
        buf_fmt(b, "  error     %.*s\n", STR_ARG(one));
    }
    buf_fmt(b, "  %s  %llu: %llu %s, %llu failed", tls ? "sessions" : "messages",
            (unsigned long long)h->messages, (unsigned long long)h->good, tls ? "good" : "passed",
            (unsigned long long)h->bad);
}

json_t *
report_line_head(const struct report_head *h, uint64_t number)
{
    CLEANUP(buf_done) struct buf b;
    json_t *row = json_object();

    buf_init(&b, TEXT_MAX);
    if (!row)
        return NULL;
    if (number)
        set_count(row, "number", number);
    json_object_set_new(row, "kind", json_string(kinds[h->kind == 2 ? 2 : 1]));
    report_line_set(row, "domain", h->domain);
    report_line_set(row, "org", h->org);
    report_line_set(row, "id", h->id);
    set_count(row, "since", h->since);
    set_count(row, "until", h->until);
    set_count(row, "messages", h->messages);
    set_count(row, "passed", h->good);
    set_count(row, "failed", h->bad);
    set_count(row, "records", h->rows);
    report_line_set(row, "contact", h->contact);
    report_line_set(row, "policy", h->policy);
    report_line_set(row, "errors", h->errors);
    if (number) {
        set_count(row, "received", h->facts.received);
        report_line_set(row, "mail", h->facts.mail);
        report_line_set(row, "sender", h->facts.from);
        report_line_set(row, "proof", h->facts.proof.n ? h->facts.proof : STR("none"));
        report_line_set(row, "proved_by", h->facts.by);
    }
    head_text(&b, h, number);
    return with_text(row, &b);
}

/* --- DMARC --- */

static json_t *
detail(struct str what, struct str result, struct str a, struct str b)
{
    json_t *x = json_object();
    bool spf = str_eq(what, STR("spf"));

    if (!x)
        return NULL;
    report_line_set(x, "what", what);
    report_line_set(x, "result", result);
    if (str_eq(what, STR("reason"))) {
        report_line_set(x, "comment", a);
        return x;
    }
    report_line_set(x, "domain", a);
    report_line_set(x, spf ? "scope" : "selector", b);
    return x;
}

/* "dkim\tpass\texample.org\ts1" and the others. */
static void
details(struct str lines, struct buf *text, json_t *list)
{
    while (lines.n) {
        struct str rest = str_cut(lines, '\n', &lines), what, result, a, b;

        what = str_cut(rest, '\t', &rest);
        result = str_cut(rest, '\t', &rest);
        a = str_cut(rest, '\t', &rest);
        b = str_cut(rest, '\t', &rest);
        if (!what.n)
            continue;
        buf_fmt(text, "\n      %.*s %.*s", STR_ARG(what), STR_ARG(result));
        if (a.n)
            buf_fmt(text, " %.*s", STR_ARG(a));
        if (b.n)
            buf_fmt(text, " (%.*s)", STR_ARG(b));
        json_array_append_new(list, detail(what, result, a, b));
    }
}

static const char *
aligned(uint8_t result)
{
    return result == REPORT_RESULT_PASS ? "pass" : "fail";
}

json_t *
report_line_record(const struct report_record *r)
{
    CLEANUP(buf_done) struct buf b;
    json_t *row = json_object(), *list = json_array();
    const char *done = report_disposition_name(r->disposition & 3);
    char ip[48];

    buf_init(&b, TEXT_MAX);
    if (!row || !list) {
        json_decref(row);
        json_decref(list);
        return NULL;
    }
    addr_show(&r->source, ip);
    buf_fmt(&b, "  %s  %llu as %.*s: dkim %s, spf %s, done %s", ip, (unsigned long long)r->count,
            STR_ARG(r->header_from), aligned(r->dkim), aligned(r->spf), done);
    details(r->details, &b, list);
    json_object_set_new(row, "source", json_string(ip));
    set_count(row, "messages", r->count);
    json_object_set_new(row, "disposition", json_string(done));
    json_object_set_new(row, "dkim", json_string(aligned(r->dkim)));
    json_object_set_new(row, "spf", json_string(aligned(r->spf)));
    report_line_set(row, "header_from", r->header_from);
    report_line_set(row, "envelope_from", r->envelope_from);
    report_line_set(row, "envelope_to", r->envelope_to);
    json_object_set_new(row, "details", list);
    return with_text(row, &b);
}

/* --- TLS --- */

static json_t *
lines_of(struct str text)
{
    json_t *list = json_array();

    while (list && text.n) {
        struct str one = str_cut(text, '\n', &text);
        if (one.n)
            json_array_append_new(list, json_stringn(one.p, one.n));
    }
    return list;
}

json_t *
report_line_policy(const struct report_policy_row *p)
{
    CLEANUP(buf_done) struct buf b;
    json_t *row = json_object();

    buf_init(&b, TEXT_MAX);
    if (!row)
        return NULL;
    buf_fmt(&b, "  policy %.*s of %.*s: %llu good, %llu failed", STR_ARG(p->type),
            STR_ARG(p->domain), (unsigned long long)p->good, (unsigned long long)p->failed);
    report_line_set(row, "policy_type", p->type);
    report_line_set(row, "domain", p->domain);
    set_count(row, "passed", p->good);
    set_count(row, "failed", p->failed);
    json_object_set_new(row, "policy_string", lines_of(p->strings));
    json_object_set_new(row, "mx_host", lines_of(p->mxs));
    return with_text(row, &b);
}

json_t *
report_line_failure(const struct report_failure_row *f)
{
    CLEANUP(buf_done) struct buf b;
    json_t *row = json_object();
    struct str to = f->mx.n ? f->mx : f->receiving_ip;

    buf_init(&b, TEXT_MAX);
    if (!row)
        return NULL;
    buf_fmt(&b, "  %.*s  %llu", STR_ARG(f->result), (unsigned long long)f->count);
    if (f->sending_ip.n)
        buf_fmt(&b, ", from %.*s", STR_ARG(f->sending_ip));
    if (to.n)
        buf_fmt(&b, ", to %.*s", STR_ARG(to));
    if (f->info.n)
        buf_fmt(&b, ": %.*s", STR_ARG(f->info));
    report_line_set(row, "result_type", f->result);
    set_count(row, "sessions", f->count);
    report_line_set(row, "sending_ip", f->sending_ip);
    report_line_set(row, "receiving_ip", f->receiving_ip);
    report_line_set(row, "receiving_mx", f->mx);
    report_line_set(row, "info", f->info);
    return with_text(row, &b);
}
