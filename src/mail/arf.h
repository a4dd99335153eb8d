/*
 * mail/arf.h - feedback reports (RFC 5965, 6591, 6650): the fields read, whole reports written.
 * Pure.
 *
 * Whole messages are read by mail/dsn.h, which finds the part with the fields, the returned header,
 * and the complaints of providers that send no such part.
 */
#ifndef GAPURA_MAIL_ARF_H
#define GAPURA_MAIL_ARF_H

#include "core/addr.h"
#include "core/arena.h"
#include "core/buf.h"

#define ARF_LIST_MAX 1000u /* recipients, domains and URIs of a report, each */

struct arf_list {
    struct str *items;
    unsigned n;
};
struct arf {            /* empty or 0: not told */
    struct str type;    /* lower case: "abuse", "fraud", "virus", "auth-failure", "opt-out" */
    struct str version; /* "1", "0.1" */
    struct str user_agent;
    struct str mail_from; /* without <>; has_mail_from with an empty one: <> */
    bool has_mail_from;
    struct arf_list rcpts; /* Original-Rcpt-To, without <> */
    bool has_source;
    struct addr source;         /* Source-IP */
    struct str source_text;     /* as it is written; may be hidden by the provider */
    uint64_t arrival;           /* wall s: Arrival-Date, or Received-Date of old drafts */
    struct str reporting_mta;   /* without its type */
    struct str envid;           /* Original-Envelope-Id */
    struct arf_list domains;    /* Reported-Domain */
    struct arf_list uris;       /* Reported-URI */
    uint64_t incidents;         /* 1 if the report does not tell */
    struct str auth_results;    /* Authentication-Results, unfolded */
    struct str auth_failure;    /* RFC 6591: "dkim", "spf", "dmarc" */
    struct str delivery_result; /* RFC 6591: "delivered", "spam", "reject" */
    bool whole;                 /* RFC 5965 3.1: type, version and user agent are there */
};
/* Reads the fields of a message/feedback-report part (any line ends). Texts are copied to the
 * arena. 1: a report; 0: no Feedback-Type and no other field of one; ERR_NOMEM. */
int arf_parse(struct arf *ret, struct str fields, struct arena *);

struct arf_message {
    struct str from;       /* "Abuse desk <abuse@host>" */
    struct str to;         /* address */
    struct str message_id; /* of this report, with <> */
    struct str subject;    /* empty: that of the type */
    struct str text;       /* a sentence for people; empty: ours */
    uint64_t now;          /* wall s */
    const struct arf *report;
    struct str original; /* header, or the whole message */
    bool original_whole; /* message/rfc822, else text/rfc822-headers */
};
/* Writes a whole message with CRLF line ends; out->failed if it passed its ceiling. */
void arf_write(struct buf *out, const struct arf_message *);

#endif
