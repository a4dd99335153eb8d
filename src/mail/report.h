/*
 * mail/report.h - reports about our mail that others send: DMARC aggregate reports (RFC 9990 and
 * 7489), DMARC failure reports (RFC 6591, 9991), TLS reports (RFC 8460). Push, pure, bounded.
 *
 * A report comes as a file (plain, gzip or zip, told apart by its first bytes) or within a mail:
 *
 *     report_open(&r, &limits, arena); report_feed(r, p, n) ...; report_end(r, &report, &why);
 *     report_close(r);
 *
 * and the same with report_mail_*. What is told lies in the caller's arena, up to 1 KB a record. A
 * bad one gives ERR_SYNTAX or ERR_LIMIT, and `why` says what is wrong and where.
 */
#ifndef GAPURA_MAIL_REPORT_H
#define GAPURA_MAIL_REPORT_H

#include "core/err.h"
#include "mail/arf.h"

struct report_limits {
    uint64_t packed; /* bytes as they come */
    uint64_t bytes;  /* unpacked, at each of at most two layers */
    uint32_t rows;   /* records; of TLS: policies and failures together */
    uint32_t depth;  /* of elements or of JSON */
    uint32_t text;   /* bytes of one text; comments of people are cut there, others refused */
};
/* 10 MiB, 64 MiB, 50000, 16, 4096 */
extern const struct report_limits report_limits_default;

enum report_kind { REPORT_OTHER, REPORT_DMARC_AGGREGATE, REPORT_DMARC_FAILURE, REPORT_TLS };
const char *report_kind_name(enum report_kind); /* "dmarc_aggregate" */

struct report_dmarc;   /* mail/report_dmarc.h */
struct report_failure; /* below */
struct report_tls;     /* mail/report_tls.h */

struct report {
    enum report_kind kind; /* known, where it can be, of a bad one too */
    struct report_dmarc *dmarc;
    struct report_failure *failure;
    struct report_tls *tls;
};

/* A failure report: one mail that failed. Texts as they came, unfolded; empty if not told. */
struct report_failure {
    struct arf arf;             /* what RFC 5965 and 6591 name: source, arrival, auth_failure ... */
    struct str reported_domain; /* the first, lower case */
    struct str identity_alignment, message_id;
    struct str dkim_domain, dkim_selector, dkim_identity, spf_dns;
    struct str original;      /* header of the mail, CRLF; cut at 64 KiB */
    struct str from, subject; /* of the original, raw */
    bool from_text;           /* no feedback-report part: read from the words for people */
};

struct report_reader;
/* ERR_NOMEM. The limits are copied, the arena borrowed. */
int report_open(struct report_reader **ret, const struct report_limits *, struct arena *);
/* The next bytes. An error stays and is told by report_end; feeding may go on. */
int report_feed(struct report_reader *, const char *p, size_t n);
/* ret->kind is set in any case; the rest only with 0. */
int report_end(struct report_reader *, struct report *ret, struct why *why);
void report_close(struct report_reader *);

struct report_mail;
int report_mail_open(struct report_mail **ret, const struct report_limits *, struct arena *);
void report_mail_feed(struct report_mail *, const char *p, size_t n);
/* ERR_NOTFOUND: the mail is no report (kind is REPORT_OTHER). Reports within forwarded or returned
 * mails are not looked for: a bounce of a report that we sent is none. */
int report_mail_end(struct report_mail *, struct report *ret, struct why *why);
void report_mail_close(struct report_mail *);

/* A whole text at once: a mail, or a file of one of the forms above. */
int report_read(struct str text, const struct report_limits *, struct arena *, struct report *ret,
                struct why *why);
/* What is this mail? By its structure and by what its attachments are; a broken report is known as
 * what it wants to be. */
enum report_kind report_mail_kind(struct str mail, const struct report_limits *);

/* gzip (RFC 1952), as reports are sent; false: the buffer's ceiling. */
bool report_gzip(struct str text, struct buf *out);

#endif
