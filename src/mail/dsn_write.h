/*
 * mail/dsn_write.h - delivery status notifications written (RFC 3461, 3464, 6533), pure.
 */
#ifndef GAPURA_MAIL_DSN_WRITE_H
#define GAPURA_MAIL_DSN_WRITE_H

#include "mail/dsn.h"

struct dsn_rcpt {
    struct str address;
    struct str orcpt; /* xtext form "rfc822;..." or empty */
    enum dsn_action action;
    char status[12];           /* "5.1.1" */
    struct str remote_mta;     /* name; empty if none was reached */
    struct str diagnostic;     /* "550 5.1.1 ..." as the server said it; empty if ours */
    struct str reason;         /* a sentence for people; may be empty */
    uint64_t last_attempt;     /* wall s; 0 none */
    uint64_t will_retry_until; /* wall s; DELAYED */
};
struct dsn {
    struct str reporting_mta; /* our host name */
    struct str from;          /* "Mail Delivery System <mailer-daemon@host>" */
    struct str to;            /* original envelope sender */
    struct str envid;         /* xtext form or empty */
    struct str id;            /* message id in the queue, for people */
    struct str message_id;    /* of this DSN, with <> */
    uint64_t arrival;         /* wall s */
    uint64_t deliver_by;      /* wall s; 0: nobody asked (RFC 2852) */
    uint64_t now;             /* wall s */
    const struct dsn_rcpt *rcpts;
    size_t nrcpt;
    struct str original; /* headers, or the whole message */
    bool original_whole; /* message/rfc822, else text/rfc822-headers */
    bool utf8;           /* message/global-* forms (RFC 6533) */
    bool original_utf8;  /* its header is UTF-8 (RFC 6532): message/global, whatever the rest is */
};
/* Writes a whole message with CRLF line ends; out->failed if it passed its ceiling. */
void dsn_write(struct buf *out, const struct dsn *d);

#endif
