/*
 * mail/arf_write.c - feedback reports as whole messages (RFC 5965).
 *
 * Called by whoever tells another operator of a complaint or of abuse. Pure: what it is given goes
 * out, cleaned of everything that could begin a new line or part; nothing is sent.
 */
#include "mail/arf.h"
#include "mail/lines.h"

#define ADDR_TEXT 48u

static void
field(struct buf *out, const char *name, struct str value)
{
    char lead[64];

    if (!value.n)
        return;
    str_fmt(lead, sizeof(lead), "%s: ", name);
    lines_folded(out, lead, value, " ", false);
}

static void
fields(struct buf *out, const char *name, const struct arf_list *list)
{
    for (unsigned i = 0; i < list->n; i++)
        field(out, name, list->items[i]);
}

static void
path(struct buf *out, const char *name, struct str address)
{
    buf_fmt(out, "%s: <", name);
    lines_clean(out, address, false);
    buf_c(out, ">\r\n");
}

static void
head(struct buf *out, const struct arf_message *m, struct str type, const char *boundary)
{
    lines_folded(out, "From: ", m->from, " ", false);
    path(out, "To", m->to);
    if (m->subject.n) {
        lines_folded(out, "Subject: ", m->subject, " ", false);
    } else {
        buf_c(out, "Subject: Report of ");
        lines_clean(out, type, false);
        buf_c(out, "\r\n");
    }
    lines_date(out, "Date", m->now);
    buf_c(out, "Message-ID: ");
    lines_clean(out, m->message_id, false);
    buf_c(out, "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=feedback-report;\r\n");
    buf_fmt(out, " boundary=\"%s\"\r\n\r\n", boundary);
}

static void
for_people(struct buf *out, const struct arf_message *m, struct str type, const char *boundary)
{
    char source[ADDR_TEXT];

    buf_fmt(out, "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", boundary);
    if (m->text.n) {
        lines_folded(out, "", m->text, "", false);
    } else {
        buf_c(out, "This is a report of ");
        lines_clean(out, type, false);
        buf_c(out, " about a message that came\r\nfrom your network");
        if (m->report->has_source)
            buf_fmt(out, ", from %s", addr_show(&m->report->source, source));
        buf_c(out, ". The second part is for programs (RFC 5965).\r\n");
    }
    buf_c(out, "\r\n");
}

static void
for_programs(struct buf *out, const struct arf *a, struct str type, const char *boundary)
{
    char source[ADDR_TEXT];

    buf_fmt(out, "--%s\r\nContent-Type: message/feedback-report\r\n\r\n", boundary);
    field(out, "Feedback-Type", type);
    field(out, "User-Agent", a->user_agent.n ? a->user_agent : STR("Gapura"));
    field(out, "Version", a->version.n ? a->version : STR("1"));
    if (a->has_mail_from)
        path(out, "Original-Mail-From", a->mail_from);
    for (unsigned i = 0; i < a->rcpts.n; i++)
        path(out, "Original-Rcpt-To", a->rcpts.items[i]);
    lines_date(out, "Arrival-Date", a->arrival);
    if (a->has_source)
        field(out, "Source-IP", str_c(addr_show(&a->source, source)));
    if (a->reporting_mta.n)
        lines_folded(out, "Reporting-MTA: dns; ", a->reporting_mta, " ", false);
    field(out, "Original-Envelope-Id", a->envid);
    field(out, "Auth-Failure", a->auth_failure);
    field(out, "Delivery-Result", a->delivery_result);
    field(out, "Authentication-Results", a->auth_results);
    fields(out, "Reported-Domain", &a->domains);
    fields(out, "Reported-URI", &a->uris);
    if (a->incidents > 1)
        buf_fmt(out, "Incidents: %llu\r\n", (unsigned long long)a->incidents);
    buf_c(out, "\r\n");
}

static void
returned(struct buf *out, const struct arf_message *m, const char *boundary)
{
    struct str original = m->original;
    ssize_t blank = str_find(original, STR("\r\n\r\n"));

    buf_fmt(out, "--%s\r\nContent-Type: %s\r\nContent-Disposition: inline\r\n", boundary,
            m->original_whole ? "message/rfc822" : "text/rfc822-headers");
    if (original.n && !str_is_ascii(original))
        buf_c(out, "Content-Transfer-Encoding: 8bit\r\n");
    buf_c(out, "\r\n");
    if (!m->original_whole && blank >= 0)
        original.n = (size_t)blank + 2;
    buf_str(out, original);
    if (original.n && !str_ends(original, STR("\r\n")))
        buf_c(out, "\r\n");
    buf_fmt(out, "\r\n--%s--\r\n", boundary);
}

void
arf_write(struct buf *out, const struct arf_message *m)
{
    struct str type = m->report->type.n ? m->report->type : STR("abuse");
    char boundary[48];

    lines_boundary(boundary, m->message_id, m->now, m->original);
    head(out, m, type, boundary);
    for_people(out, m, type, boundary);
    for_programs(out, m->report, type, boundary);
    returned(out, m, boundary);
}
