/*
 * mail/dsn_write.c - delivery status notifications as whole messages (RFC 3461 6, 3464, 6533).
 *
 * Called by the courier when a sender is to be told. Pure: what it is given goes out, cleaned of
 * everything that could begin a new line or part; nothing is looked up and nothing is sent.
 */
#include "mail/dsn_write.h"

#include "core/codec.h"
#include "mail/lines.h"

struct dsn_action_row {
    const char *name;   /* of the Action field */
    const char *status; /* when none, or no sound one, was given */
    const char *text;   /* heads the recipients of this kind */
};
static const struct dsn_action_row dsn_actions[] = {
    [DSN_FAILED] = {"failed", "5.0.0", "Your message could not be delivered to:"},
    [DSN_DELAYED] = {"delayed", "4.0.0",
                     "Your message has not been delivered yet. You need not send it again; we "
                     "keep trying for:"},
    [DSN_DELIVERED] = {"delivered", "2.0.0", "Your message was delivered to:"},
    [DSN_RELAYED] = {"relayed", "2.0.0",
                     "Your message was handed to a server that does not confirm delivery, for:"},
    [DSN_EXPANDED] = {"expanded", "2.0.0", "Your message was given to a list of addresses, for:"},
};

/* An address with its type: "rfc822; a@b", or RFC 6533 3 "utf-8; " as it is or as \x{hex}. */
static void
dsn_address(struct buf *out, const char *name, struct str address, bool utf8)
{
    bool ascii = str_is_ascii(address) || !address.n;

    buf_fmt(out, "%s: %s; ", name, ascii ? "rfc822" : "utf-8");
    if (ascii || utf8) {
        lines_clean(out, address, utf8);
        buf_c(out, "\r\n");
        return;
    }
    for (size_t at = 0; at < address.n;) {
        size_t len = str_utf8_len(str_from(address, at));
        const unsigned char *p = (const unsigned char *)address.p + at;
        uint32_t point = len > 1 ? p[0] & (0x7fu >> len) : len == 1 ? p[0] : 0xfffd;
        bool plain = len == 1 && !strchr("+=\\ ", (char)p[0]); /* QCHAR */

        for (size_t i = 1; i < len; i++)
            point = point << 6 | (p[i] & 0x3f);
        if (plain)
            lines_clean(out, str_of(p, 1), false);
        else
            buf_fmt(out, "\\x{%X}", point);
        at += len ? len : 1;
    }
    buf_c(out, "\r\n");
}

/* Decodes xtext into one clean line; what is no xtext is not repeated at all. */
static bool
dsn_xtext(struct str in, char *dst, size_t cap, struct str *ret)
{
    ssize_t n = codec_unxtext(in, dst, cap);

    if (n < 0)
        return false;
    *ret = str_of(dst, (size_t)n);
    return !str_has_ctl(*ret);
}

/* --- parts --- */

static enum dsn_action
dsn_main_action(const struct dsn *d)
{
    enum dsn_action best = d->nrcpt ? d->rcpts[0].action : DSN_FAILED;

    for (size_t i = 0; i < d->nrcpt; i++)
        best = MIN(best, d->rcpts[i].action);
    return best;
}

static void
dsn_head(struct buf *out, const struct dsn *d, const char *boundary, bool eight_bit)
{
    static const char *const subjects[] = {
        [DSN_FAILED] = "Undelivered mail returned to sender",
        [DSN_DELAYED] = "Delayed mail, still being tried",
        [DSN_DELIVERED] = "Mail delivered",
        [DSN_RELAYED] = "Mail relayed",
        [DSN_EXPANDED] = "Mail delivered to a list",
    };

    lines_folded(out, "From: ", d->from, " ", d->utf8);
    buf_c(out, "To: <");
    lines_clean(out, d->to, d->utf8);
    buf_c(out, ">\r\n");
    buf_fmt(out, "Subject: %s\r\n", subjects[dsn_main_action(d)]);
    lines_date(out, "Date", d->now);
    buf_c(out, "Message-ID: ");
    lines_clean(out, d->message_id, d->utf8);
    buf_c(out, "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=delivery-status;\r\n");
    buf_fmt(out, " boundary=\"%s\"\r\n", boundary);
    if (eight_bit)
        buf_c(out, "Content-Transfer-Encoding: 8bit\r\n");
    buf_c(out, "\r\nThis is a delivery report in MIME format.\r\n\r\n");
}

static void
dsn_part(struct buf *out, const char *boundary, const char *description, const char *type,
         bool eight_bit)
{
    buf_fmt(out, "--%s\r\nContent-Description: %s\r\nContent-Type: %s\r\n", boundary, description,
            type);
    if (eight_bit)
        buf_c(out, "Content-Transfer-Encoding: 8bit\r\n");
    buf_c(out, "\r\n");
}

static void
dsn_for_people(struct buf *out, const struct dsn *d)
{
    lines_folded(out, "This is the mail system at ", d->reporting_mta, "", d->utf8);
    for (size_t action = 0; action < ARRAY_LEN(dsn_actions); action++) {
        bool headed = false;

        for (size_t i = 0; i < d->nrcpt; i++) {
            const struct dsn_rcpt *r = &d->rcpts[i];

            if (r->action != (enum dsn_action)action)
                continue;
            if (!headed) {
                buf_c(out, "\r\n");
                lines_folded(out, "", str_c(dsn_actions[action].text), "", false);
            }
            headed = true;
            buf_c(out, "\r\n  <");
            lines_clean(out, r->address, d->utf8);
            buf_c(out, ">\r\n");
            if (r->reason.n)
                lines_folded(out, "    ", r->reason, "    ", d->utf8);
            if (r->remote_mta.n && r->diagnostic.n)
                lines_folded(out, "    The server asked was ", r->remote_mta, "    ", d->utf8);
            if (r->diagnostic.n)
                lines_folded(out, "    It said: ", r->diagnostic, "    ", d->utf8);
            if (r->action == DSN_DELAYED)
                lines_date(out, "    We shall try until", r->will_retry_until);
        }
    }
    if (d->id.n) {
        buf_c(out, "\r\n");
        lines_folded(out, "If you ask for help, please tell this number: ", d->id, "", d->utf8);
    }
    buf_c(out, "\r\n");
}

static bool
dsn_status_ok(const char status[12])
{
    struct str s = str_of(status, strnlen(status, 12));
    unsigned dots = 0;

    if (s.n < 5 || s.n > 9 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.' ||
        s.p[s.n - 1] == '.')
        return false;
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '.' && s.p[i - 1] == '.')
            return false;
        if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
            return false;
        dots += s.p[i] == '.';
    }
    return dots == 2;
}

static void
dsn_original_rcpt(struct buf *out, const struct dsn *d, struct str orcpt)
{
    struct str xtext, text, type = str_cut(orcpt, ';', &xtext);
    char decoded[1024];

    if (!type.n || !xtext.n || str_has_ctl(type))
        return;
    /* The utf-8 type has an encoding of its own (RFC 6533 3), which stays. */
    if (str_ieq(type, STR("utf-8")))
        text = xtext;
    else if (!dsn_xtext(xtext, decoded, sizeof(decoded), &text))
        return;
    buf_c(out, "Original-Recipient: ");
    lines_clean(out, type, false);
    buf_c(out, ";");
    lines_clean(out, text, d->utf8);
    buf_c(out, "\r\n");
}

static void
dsn_for_programs(struct buf *out, const struct dsn *d)
{
    char decoded[256];
    struct str envid;

    lines_folded(out, "Reporting-MTA: dns; ", d->reporting_mta, " ", d->utf8);
    if (d->envid.n && dsn_xtext(d->envid, decoded, sizeof(decoded), &envid))
        lines_folded(out, "Original-Envelope-Id: ", envid, " ", d->utf8);
    lines_date(out, "Arrival-Date", d->arrival);
    if (d->deliver_by)
        lines_date(out, "Deliver-By-Date", d->deliver_by);
    for (size_t i = 0; i < d->nrcpt; i++) {
        const struct dsn_rcpt *r = &d->rcpts[i];
        const struct dsn_action_row *row = &dsn_actions[r->action];

        buf_c(out, "\r\n");
        dsn_original_rcpt(out, d, r->orcpt);
        dsn_address(out, "Final-Recipient", r->address, d->utf8);
        buf_fmt(out, "Action: %s\r\n", row->name);
        buf_fmt(out, "Status: %.11s\r\n", dsn_status_ok(r->status) ? r->status : row->status);
        if (r->remote_mta.n)
            lines_folded(out, "Remote-MTA: dns; ", r->remote_mta, " ", d->utf8);
        if (r->diagnostic.n)
            lines_folded(out, "Diagnostic-Code: smtp; ", r->diagnostic, " ", d->utf8);
        lines_date(out, "Last-Attempt-Date", r->last_attempt);
        if (r->action == DSN_DELAYED)
            lines_date(out, "Will-Retry-Until", r->will_retry_until);
    }
    buf_c(out, "\r\n");
}

static void
dsn_returned(struct buf *out, const struct dsn *d, const char *boundary, bool eight_bit)
{
    /* [utf8][whole] */
    static const char *const types[2][2] = {{"text/rfc822-headers", "message/rfc822"},
                                            {"message/global-headers", "message/global"}};
    struct str original = d->original;
    ssize_t blank = str_find(original, STR("\r\n\r\n"));

    dsn_part(out, boundary, d->original_whole ? "Your message" : "The header of your message",
             types[d->utf8 || d->original_utf8][d->original_whole], eight_bit);
    if (!d->original_whole && str_starts(original, STR("\r\n")))
        original.n = 0;
    else if (!d->original_whole && blank >= 0)
        original.n = (size_t)blank + 2;
    buf_str(out, original);
    if (original.n && !str_ends(original, STR("\r\n")))
        buf_c(out, "\r\n");
    buf_fmt(out, "\r\n--%s--\r\n", boundary);
}

void
dsn_write(struct buf *out, const struct dsn *d)
{
    char boundary[48];
    bool original_8bit = d->original.n && !str_is_ascii(d->original);

    lines_boundary(boundary, d->message_id, d->now, d->original);
    dsn_head(out, d, boundary, original_8bit || d->utf8);
    dsn_part(out, boundary, "Notification",
             d->utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii", d->utf8);
    dsn_for_people(out, d);
    dsn_part(out, boundary, "Delivery report",
             d->utf8 ? "message/global-delivery-status" : "message/delivery-status", d->utf8);
    dsn_for_programs(out, d);
    dsn_returned(out, d, boundary, original_8bit);
}
