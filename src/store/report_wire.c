/*
 * store/report_wire.c - a report as bytes between two roles.
 *
 * Called by the scan, which writes, and by the keeper, which reads. Trusts no byte of what it
 * reads: lengths, numbers and enumerations are within their bounds or nothing is.
 */
#include "store/report_wire.h"

#include "mail/report_dmarc.h"
#include "mail/report_tls.h"

#define VERSION 1u

/* --- writing --- */

void
report_wire_text(struct buf *out, struct str text, size_t max)
{
    size_t end = out->n + max;

    while (text.n && out->n < end && !out->failed) {
        size_t n = str_utf8_len(text);
        unsigned char c = (unsigned char)text.p[0];
        bool control = c < 32 || c == 127 || (c == 0xc2 && n == 2 && (uint8_t)text.p[1] < 0xa0);

        if (n == 0 || control)
            buf_char(out, n ? ' ' : '?');
        else if (out->n + n <= end)
            buf_str(out, str_sub(text, 0, n));
        else
            return;
        text = str_from(text, n ? n : 1);
    }
}

/* With its length before it. */
static void
text(struct buf *out, struct str s, size_t max)
{
    CLEANUP(buf_done) struct buf clean;

    buf_init(&clean, max + 1);
    report_wire_text(&clean, s, max);
    put_str(out, buf_view(&clean));
    out->failed = out->failed || clean.failed;
}

static void
name(struct buf *out, struct str s)
{
    text(out, s, REPORT_TEXT_MAX);
}

/* Lines that were made here, of clean words. */
static void
list(struct buf *out, const struct buf *lines)
{
    put_str(out, buf_view(lines));
    out->failed = out->failed || lines->failed;
}

static uint64_t
count_of(uint64_t n)
{
    return MIN(n, REPORT_COUNT_MAX);
}

static void
facts_put(struct buf *out, const struct report_facts *f)
{
    name(out, f->mail);
    put_u64(out, f->received);
    name(out, f->from);
    name(out, f->proof);
    name(out, f->by);
}

static const char *
policy_word(uint8_t policy)
{
    static const char *const words[] = {"none", "quarantine", "reject"};

    return policy < ARRAY_LEN(words) ? words[policy] : "?";
}

static void
policy_text(struct buf *out, const struct report_dmarc *d)
{
    buf_fmt(out, "p=%s", policy_word(d->p));
    if (d->has_sp)
        buf_fmt(out, " sp=%s", policy_word(d->sp));
    if (d->has_np)
        buf_fmt(out, " np=%s", policy_word(d->np));
    buf_fmt(out, " adkim=%s aspf=%s", d->adkim == REPORT_STRICT ? "s" : "r",
            d->aspf == REPORT_STRICT ? "s" : "r");
    if (d->has_pct)
        buf_fmt(out, " pct=%u", d->pct);
    if (d->testing == REPORT_YES)
        buf_c(out, " t=y");
}

/* A line of a list; the list ends before it would be too long. */
static void
line_put(struct buf *list, const char *what, const char *word, struct str a, struct str b)
{
    CLEANUP(buf_done) struct buf line;

    buf_init(&line, REPORT_LIST_MAX);
    buf_fmt(&line, "%s\t%s\t", what, word);
    report_wire_text(&line, a, 255);
    buf_char(&line, '\t');
    report_wire_text(&line, b, 255);
    buf_char(&line, '\n');
    if (!line.failed && list->n + line.n <= list->max)
        buf_str(list, buf_view(&line));
}

static const char *
override_word(uint8_t type)
{
    static const char *const words[] = {
        "other",        "forwarded",    "sampled_out",     "trusted_forwarder",
        "mailing_list", "local_policy", "policy_test_mode"};

    return type < ARRAY_LEN(words) ? words[type] : "other";
}

static bool
row_passes(uint8_t dkim, uint8_t spf)
{
    return dkim == REPORT_RESULT_PASS || spf == REPORT_RESULT_PASS;
}

static struct str
passed_domain(const struct report_auth *a)
{
    for (; a; a = a->next)
        if (a->result == REPORT_RESULT_PASS)
            return a->domain;
    return STR_NONE;
}

static void
record_put(struct buf *out, const struct report_row *r)
{
    CLEANUP(buf_done) struct buf details;

    buf_init(&details, REPORT_LIST_MAX);
    for (const struct report_auth *a = r->dkims; a; a = a->next)
        line_put(&details, "dkim", report_result_name(a->result), a->domain, a->selector);
    for (const struct report_auth *a = r->spfs; a; a = a->next)
        line_put(&details, "spf", report_result_name(a->result), a->domain,
                 a->scope == REPORT_SCOPE_HELO ? STR("helo") : STR("mfrom"));
    for (const struct report_reason *x = r->reasons; x; x = x->next)
        line_put(&details, "reason", override_word(x->type), x->comment, STR_NONE);
    buf_add(out, r->source.b, sizeof r->source.b);
    put_u64(out, count_of(r->count));
    put_u8(out, r->disposition);
    put_u8(out, r->dkim);
    put_u8(out, r->spf);
    name(out, r->header_from);
    name(out, r->envelope_from);
    name(out, r->envelope_to);
    name(out, passed_domain(r->dkims));
    name(out, passed_domain(r->spfs));
    list(out, &details);
}

static void
dmarc_put(struct buf *out, const struct report_dmarc *d)
{
    CLEANUP(buf_done) struct buf words, errors;
    uint64_t messages = 0, passed = 0;

    for (const struct report_row *r = d->rows; r; r = r->next) { /* sums of what goes out */
        messages += count_of(r->count);
        passed += row_passes(r->dkim, r->spf) ? count_of(r->count) : 0;
    }

    buf_init(&words, REPORT_TEXT_MAX);
    buf_init(&errors, REPORT_LIST_MAX);
    policy_text(&words, d);
    for (const struct report_text *e = d->errors; e && errors.n + 260 < errors.max; e = e->next) {
        report_wire_text(&errors, e->text, 255);
        buf_char(&errors, '\n');
    }
    name(out, d->org);
    name(out, d->id);
    name(out, d->domain);
    name(out, d->email.n ? d->email : d->contact);
    list(out, &words);
    list(out, &errors);
    put_u64(out, d->begin);
    put_u64(out, d->end);
    put_u64(out, messages);
    put_u64(out, passed);
    put_u64(out, messages - passed);
    put_u32(out, d->nrows);
    put_u32(out, d->nrows);
    for (const struct report_row *r = d->rows; r; r = r->next)
        record_put(out, r);
}

static void
strings_put(struct buf *out, const struct str *items, uint32_t n)
{
    CLEANUP(buf_done) struct buf lines;

    buf_init(&lines, REPORT_LIST_MAX);
    for (uint32_t i = 0; i < n && lines.n + 260 < lines.max; i++) {
        report_wire_text(&lines, items[i], 255);
        buf_char(&lines, '\n');
    }
    list(out, &lines);
}

static void
failure_put(struct buf *out, const struct report_tls_failure *f)
{
    struct str result = str_c(report_tls_result_name(f->result));

    name(out, f->result == REPORT_TLS_OTHER && f->result_text.n ? f->result_text : result);
    name(out, f->sending_ip);
    name(out, f->receiving_ip);
    name(out, f->mx.n ? f->mx : f->mx_helo);
    name(out, f->reason.n ? f->reason : f->info);
    put_u64(out, count_of(f->count));
}

static void
tls_put(struct buf *out, const struct report_tls *t)
{
    static const char *const types[] = {"no-policy-found", "sts", "tlsa"};
    uint32_t rows = t->npolicies;
    uint64_t good = 0, failed = 0;

    name(out, t->org);
    name(out, t->id);
    name(out, t->policies ? t->policies->domain : STR_NONE);
    name(out, t->contact);
    name(out, STR_NONE);
    name(out, STR_NONE);
    put_u64(out, t->begin);
    put_u64(out, t->end);
    for (const struct report_tls_policy *p = t->policies; p; p = p->next) {
        rows += p->nfailures;
        good += count_of(p->good);
        failed += count_of(p->failed);
    }
    put_u64(out, good + failed);
    put_u64(out, good);
    put_u64(out, failed);
    put_u32(out, t->npolicies);
    put_u32(out, rows);
    for (const struct report_tls_policy *p = t->policies; p; p = p->next) {
        name(out, str_c(p->type < ARRAY_LEN(types) ? types[p->type] : "?"));
        name(out, p->domain);
        strings_put(out, p->strings, p->nstrings);
        strings_put(out, p->mxs, p->nmxs);
        put_u64(out, count_of(p->good));
        put_u64(out, count_of(p->failed));
        put_u32(out, p->nfailures);
        for (const struct report_tls_failure *f = p->failures; f; f = f->next)
            failure_put(out, f);
    }
}

int
report_wire_put(struct buf *out, const struct report_facts *f, const struct report *r)
{
    bool dmarc = r->kind == REPORT_DMARC_AGGREGATE && r->dmarc;

    if (!dmarc && !(r->kind == REPORT_TLS && r->tls))
        return ERR_UNSUPPORTED;
    put_u8(out, VERSION);
    put_u8(out, dmarc ? REPORT_KIND_DMARC : REPORT_KIND_TLS);
    facts_put(out, f);
    if (dmarc)
        dmarc_put(out, r->dmarc);
    else
        tls_put(out, r->tls);
    return out->failed ? ERR_LIMIT : 0;
}

/* --- reading --- */

/* UTF-8 without the control characters that report_wire_text() takes out, but for `marks`. */
static struct str
text_get(struct wire *w, size_t max, const char *marks)
{
    struct str s = wire_str(w);

    if (s.n > max || !str_is_utf8(s))
        w->failed = true;
    for (size_t i = 0; i < s.n && !w->failed; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool c1 =
            c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0; /* well-formed: one more is there */

        w->failed = c1 || c == 127 || (c < 32 && (!c || !strchr(marks, (char)c)));
    }
    return w->failed ? STR_NONE : s;
}

static struct str
name_get(struct wire *w)
{
    return text_get(w, REPORT_TEXT_MAX, "");
}

static struct str
list_get(struct wire *w)
{
    return text_get(w, REPORT_LIST_MAX, "\t\n");
}

static uint64_t
count_get(struct wire *w)
{
    uint64_t n = wire_u64(w);

    if (n > REPORT_COUNT_MAX)
        w->failed = true;
    return n;
}

/* A number that SQLite can hold. */
static uint64_t
sum_get(struct wire *w)
{
    uint64_t n = wire_u64(w);

    return MIN(n, (uint64_t)INT64_MAX);
}

static uint8_t
word_get(struct wire *w, uint8_t most)
{
    uint8_t v = wire_u8(w);

    if (v > most)
        w->failed = true;
    return v;
}

int
report_wire_open(struct wire *w, struct str bytes, struct report_head *ret)
{
    wire_init(w, bytes.p, bytes.n);
    if (wire_u8(w) != VERSION)
        return ERR_CORRUPT;
    ret->kind = wire_u8(w);
    ret->facts.mail = name_get(w);
    ret->facts.received = sum_get(w);
    ret->facts.from = name_get(w);
    ret->facts.proof = name_get(w);
    ret->facts.by = name_get(w);
    ret->org = name_get(w);
    ret->id = name_get(w);
    ret->domain = name_get(w);
    ret->contact = name_get(w);
    ret->policy = name_get(w);
    ret->errors = list_get(w);
    ret->since = sum_get(w);
    ret->until = sum_get(w);
    ret->messages = sum_get(w);
    ret->good = sum_get(w);
    ret->bad = sum_get(w);
    ret->records = wire_u32(w);
    ret->rows = wire_u32(w);
    if (w->failed || !ret->org.n || !ret->id.n)
        return ERR_CORRUPT;
    return ret->kind == REPORT_KIND_DMARC || ret->kind == REPORT_KIND_TLS ? 0 : ERR_CORRUPT;
}

int
report_wire_record(struct wire *w, struct report_record *ret)
{
    struct str source = wire_bytes(w, sizeof ret->source.b);

    if (source.n == sizeof ret->source.b)
        memcpy(ret->source.b, source.p, source.n);
    ret->count = count_get(w);
    ret->disposition = word_get(w, REPORT_DONE_REJECT);
    ret->dkim = word_get(w, REPORT_RESULT_PERMERROR);
    ret->spf = word_get(w, REPORT_RESULT_PERMERROR);
    ret->header_from = name_get(w);
    ret->envelope_from = name_get(w);
    ret->envelope_to = name_get(w);
    ret->signer = name_get(w);
    ret->bounce = name_get(w);
    ret->details = list_get(w);
    return w->failed ? ERR_CORRUPT : 0;
}

void
report_wire_sum(struct report_sums *sums, const struct report_record *r,
                const struct report_policy_row *p)
{
    if (r)
        *(row_passes(r->dkim, r->spf) ? &sums->good : &sums->bad) += r->count;
    if (p) {
        sums->good += p->good;
        sums->bad += p->failed;
    }
}

bool
report_wire_sums_are(const struct report_sums *sums, const struct report_head *h)
{
    return h->good == sums->good && h->bad == sums->bad && h->messages == h->good + h->bad;
}

int
report_wire_policy(struct wire *w, struct report_policy_row *ret)
{
    ret->type = name_get(w);
    ret->domain = name_get(w);
    ret->strings = list_get(w);
    ret->mxs = list_get(w);
    ret->good = count_get(w);
    ret->failed = count_get(w);
    ret->failures = wire_u32(w);
    return w->failed ? ERR_CORRUPT : 0;
}

int
report_wire_failure(struct wire *w, struct report_failure_row *ret)
{
    ret->result = name_get(w);
    ret->sending_ip = name_get(w);
    ret->receiving_ip = name_get(w);
    ret->mx = name_get(w);
    ret->info = name_get(w);
    ret->count = count_get(w);
    return w->failed ? ERR_CORRUPT : 0;
}
