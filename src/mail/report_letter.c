/*
 * mail/report_letter.c - mails around reports: fields that both RFCs ask for, a sentence, a file.
 *
 * Called by whoever sends reports. What is given goes out cleaned of all that could begin a line, a
 * field or a part.
 */
#include "mail/report_letter.h"

#include "core/codec.h"
#include "core/err.h"
#include "mail/lines.h"
#include "mail/report.h"

#define REPORT_MAX (64u << 20) /* before it is packed */
#define LINE       76u

struct kind {
    const char *what, *type, *top; /* of the file, of the mail */
    bool tls;
};
static const struct kind dmarc_kind = {"DMARC aggregate", "application/gzip", "multipart/mixed",
                                       false};
static const struct kind tls_kind = {"TLS", "application/tlsrpt+gzip",
                                     "multipart/report; report-type=\"tlsrpt\"", true};

static void
field(struct buf *out, const char *name, struct str value)
{
    buf_c(out, name);
    buf_c(out, ": ");
    lines_clean(out, value, false);
    buf_c(out, "\r\n");
}

static void
head(struct buf *out, const struct kind *k, const struct report_letter *l, struct str domain,
     struct str id, const char *boundary)
{
    lines_folded(out, "From: ", l->from, " ", false);
    buf_c(out, "To: <");
    lines_clean(out, l->to, false);
    buf_c(out, ">\r\nSubject: Report Domain: ");
    lines_clean(out, domain, false);
    buf_c(out, "\r\n Submitter: ");
    lines_clean(out, l->submitter, false);
    buf_c(out, "\r\n Report-ID: <");
    lines_clean(out, id, false);
    buf_c(out, ">\r\n");
    lines_date(out, "Date", l->now);
    field(out, "Message-ID", l->message_id);
    buf_c(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
    if (k->tls) {
        field(out, "TLS-Report-Domain", domain);
        field(out, "TLS-Report-Submitter", l->submitter);
    }
    buf_fmt(out, "Content-Type: %s;\r\n boundary=\"%s\"\r\n\r\n", k->top, boundary);
}

static void
for_people(struct buf *out, const struct kind *k, struct str domain, struct str submitter,
           const char *boundary)
{
    buf_fmt(out, "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", boundary);
    buf_fmt(out, "This is a %s report about mail of ", k->what);
    lines_clean(out, domain, false);
    buf_c(out, ",\r\nby ");
    lines_clean(out, submitter, false);
    buf_c(out, ". The attachment is for programs.\r\n\r\n");
}

/* A name in quotes: those of its own, and backslashes, become dashes. */
static void
put_name(struct buf *out, const char *lead, struct str name)
{
    size_t from;

    buf_c(out, lead);
    from = out->n;
    lines_clean(out, name, false);
    for (size_t i = from; i < out->n; i++) {
        if (strchr("\"\\/", out->p[i]))
            out->p[i] = '-';
    }
    buf_char(out, '"');
}

static int
file(struct buf *out, const struct kind *k, struct str report, struct str name,
     const char *boundary)
{
    CLEANUP(buf_done) struct buf packed, text;

    buf_init(&packed, REPORT_MAX);
    buf_init(&text, 2 * REPORT_MAX);
    if (!report_gzip(report, &packed))
        return ERR_LIMIT;
    codec_base64(&text, buf_view(&packed));
    buf_fmt(out, "--%s\r\nContent-Type: %s;\r\n", boundary, k->type);
    put_name(out, " name=\"", name);
    put_name(out, "\r\nContent-Disposition: attachment;\r\n filename=\"", name);
    buf_c(out, "\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    for (size_t at = 0; at < text.n; at += LINE) {
        buf_str(out, str_sub(buf_view(&text), at, LINE));
        buf_c(out, "\r\n");
    }
    buf_fmt(out, "\r\n--%s--\r\n", boundary);
    return out->failed || text.failed ? ERR_LIMIT : 0;
}

/* The boundary needs no look at the content: base64 has no "=_". */
static int
letter(struct buf *out, const struct kind *k, const struct report_letter *l, struct str domain,
       struct str id, struct str name, struct str report)
{
    char boundary[48];

    lines_boundary(boundary, l->message_id, l->now, STR(""));
    head(out, k, l, domain, id, boundary);
    for_people(out, k, domain, l->submitter, boundary);
    return file(out, k, report, name, boundary);
}

int
report_dmarc_letter(const struct report_dmarc *r, enum report_form form,
                    const struct report_letter *l, struct buf *out)
{
    CLEANUP(buf_done) struct buf xml, name;

    buf_init(&xml, REPORT_MAX);
    buf_init(&name, 4096);
    int did = report_dmarc_write(r, form, &xml);
    report_dmarc_filename(r, l->submitter, l->unique, &name);
    return did < 0 ? did
                   : letter(out, &dmarc_kind, l, r->domain, r->id, buf_view(&name), buf_view(&xml));
}

int
report_tls_letter(const struct report_tls *r, struct str domain, const struct report_letter *l,
                  struct buf *out)
{
    CLEANUP(buf_done) struct buf json, name;

    buf_init(&json, REPORT_MAX);
    buf_init(&name, 4096);
    int did = report_tls_write(r, &json);
    report_tls_filename(r, l->submitter, domain, l->unique, &name);
    return did < 0 ? did
                   : letter(out, &tls_kind, l, domain, r->id, buf_view(&name), buf_view(&json));
}
