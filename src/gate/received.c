/*
 * gate/received.c - the Received field.
 *
 * Called by gate/body.c once for each message; copies pieces, formats nothing. What a client said
 * of itself has passed the grammar of the smtp engine; whatever could still end a line or open a
 * comment is left out here once more.
 */
#include "gate/received.h"

const char *
received_protocol(bool esmtp, bool utf8, bool tls, bool auth)
{
    static const char *const plain[] = {"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"};
    static const char *const wide[] = {"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"};
    unsigned at = (tls ? 1u : 0u) | (auth ? 2u : 0u);

    if (!esmtp)
        return "SMTP";
    return utf8 ? wide[at] : plain[at];
}

/* Names of hosts only: letters that cannot end the clause they stand in. */
static void
add_name(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c == 127 || c == '(' || c == ')' || c == '\\' || c == '"' || c == ';') {
            buf_c(out, "unknown");
            return;
        }
    }
    buf_str(out, s);
}

void
received_write(struct buf *out, const struct received *r)
{
    char address[48];

    buf_str(out, STR("Received: from "));
    add_name(out, r->helo.n ? r->helo : STR("unknown"));
    buf_str(out, STR(" ("));
    if (r->local.n) {
        buf_str(out, STR("local "));
        buf_str(out, r->local);
        buf_str(out, STR(")\r\n"));
    } else {
        add_name(out, r->client_name.n ? r->client_name : STR("unknown"));
        buf_str(out, addr_is_v4(&r->client) ? STR(" [") : STR(" [IPv6:"));
        buf_c(out, addr_show(&r->client, address));
        buf_str(out, STR("])\r\n"));
    }
    if (r->tls_version.n) {
        buf_str(out, STR("\t(using "));
        add_name(out, r->tls_version);
        buf_str(out, STR(" with cipher "));
        add_name(out, r->tls_cipher);
        buf_str(out, STR(")\r\n"));
    }
    buf_str(out, STR("\tby "));
    buf_str(out, r->hostname);
    buf_str(out, STR(" with "));
    buf_c(out, received_protocol(r->esmtp, r->utf8, r->tls_version.n > 0, r->auth));
    buf_str(out, STR(" id "));
    buf_str(out, r->id);
    if (r->tag.n) { /* on a line of its own: short enough for every encoding of a report */
        buf_str(out, STR("\r\n\t(return "));
        buf_str(out, r->tag);
        buf_char(out, ')');
    }
    /* RFC 5322 field lines are 998 at most, and a longer path says nothing that the log does not.
     */
    if (r->rcpt.n && r->rcpt.n < 900) {
        buf_str(out, STR("\r\n\tfor <"));
        buf_str(out, r->rcpt);
        buf_char(out, '>');
    }
    if (r->priority)
        buf_fmt(out, "\r\n\tPRIORITY %d", r->priority);
    buf_str(out, STR(";\r\n\t"));
    buf_str(out, r->date);
    buf_str(out, STR("\r\n"));
}
