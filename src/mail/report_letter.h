/*
 * mail/report_letter.h - DMARC aggregate and TLS reports as whole mails (RFC 9990 3.5, RFC 8460
 * 5.3), pure. Called by whoever reports to the owners of domains; nothing is sent here.
 */
#ifndef GAPURA_MAIL_REPORT_LETTER_H
#define GAPURA_MAIL_REPORT_LETTER_H

#include "mail/report_dmarc.h"
#include "mail/report_tls.h"

struct report_letter {
    struct str from;       /* "DMARC reports <dmarc@host>" */
    struct str to;         /* address */
    struct str submitter;  /* our domain; in the subject and in the file's name */
    struct str unique;     /* part of the file's name; may be empty */
    struct str message_id; /* with <> */
    uint64_t now;          /* wall s */
};
/* Write a mail with CRLF line ends: words for people, the report in gzip. ERR_STATE as the writers
 * of the reports; ERR_LIMIT: the buffer's ceiling, or a report of more than 64 MiB. */
int report_dmarc_letter(const struct report_dmarc *, enum report_form, const struct report_letter *,
                        struct buf *out);
/* `domain`: whose TLS policies they are. */
int report_tls_letter(const struct report_tls *, struct str domain, const struct report_letter *,
                      struct buf *out);

#endif
