/*
 * mail/dsn.h - delivery reports read: RFC 3464 and the forms that servers used before it and beside
 * it, auto-replies, challenges, complaints. Pure: a push reader, bounded, that never fails on
 * content.
 *
 * A message is fed as it comes (LF, CRLF or CR line ends); at the end its kind is told, and for
 * each recipient what became of it and the words of the server that decided. Where a
 * message/delivery-status part speaks it is believed, and the text for people only fills what it
 * leaves out; else the text is read by the table of shapes in mail/dsn_shapes.c. What a report says
 * is a stranger's claim: whether it speaks of a message of ours is for the caller to check, by
 * envid, message_id or the address that it came to.
 *
 *     dsn_reader_create(&r, &limits); dsn_reader_feed(r, ...) ...; report = dsn_reader_end(r);
 */
#ifndef GAPURA_MAIL_DSN_H
#define GAPURA_MAIL_DSN_H

#include "mail/arf.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED };

enum dsn_kind {
    DSN_KIND_NONE,       /* not a report */
    DSN_KIND_FAILURE,    /* at least one recipient failed for good */
    DSN_KIND_DELAY,      /* is still being tried */
    DSN_KIND_DELIVERY,   /* arrived */
    DSN_KIND_RELAY,      /* handed to a server that does not confirm */
    DSN_KIND_EXPANSION,  /* given to the members of a list */
    DSN_KIND_AUTO_REPLY, /* a person's or program's automatic answer: the mail arrived */
    DSN_KIND_CHALLENGE,  /* wants the sender to prove something before the mail is shown */
    DSN_KIND_FEEDBACK,   /* a complaint: see dsn_report.feedback */
    DSN_KINDS
};
const char *dsn_kind_name(enum dsn_kind); /* "auto_reply" */

enum dsn_phase { /* what the reply answered, as far as the report tells */
                 DSN_PHASE_UNKNOWN,
                 DSN_PHASE_CONNECT,
                 DSN_PHASE_HELO,
                 DSN_PHASE_MAIL,
                 DSN_PHASE_RCPT,
                 DSN_PHASE_DATA, /* the command; or it is not told whether that or the final dot */
                 DSN_PHASE_DOT,
};

struct dsn_limits {
    uint32_t text;     /* bytes of text for people, and as many of the raw message */
    uint32_t status;   /* bytes of machine-readable parts */
    uint32_t original; /* bytes of the returned header */
    uint32_t rcpts;    /* of a report; further ones are not told */
    uint32_t reply;    /* bytes of the reply text of one recipient */
    uint32_t memory;   /* bytes of the arena with what is told */
};
extern const struct dsn_limits dsn_limits_default; /* 256K, 256K, 64K, 1000, 4000, 8M */

struct dsn_outcome {     /* of one recipient; views live until the reader is freed */
    struct str final;    /* address without type and <>; empty if the report does not tell */
    struct str original; /* the same of Original-Recipient */
    enum dsn_action action;
    enum dsn_phase phase;
    uint16_t code;   /* SMTP reply code; 0 none */
    char status[12]; /* RFC 3463: of the reply that decides, else of the Status field; or "" */
    struct str diagnostic_type; /* of Diagnostic-Code, lower case: "smtp", "x-postfix" */
    struct str diagnostic;      /* its text, unfolded */
    struct str remote_mta;      /* name or address; empty if none was reached or told */
    struct str reply;           /* the text that decides, one line of UTF-8; may be empty */
    struct str category;        /* what the reporting server files it under: "bad-mailbox" */
    uint64_t last_attempt;      /* wall s; 0 if it is not told */
    uint64_t will_retry_until;
};
struct dsn_report {
    enum dsn_kind kind;
    bool machine; /* by a delivery-status part or notification, not by text for people */
    struct str reporting_mta; /* without its type */
    struct str envid;         /* Original-Envelope-Id */
    struct str message_id;    /* of the original message, with its <> */
    struct str original;      /* the returned header as far as it came, CRLF line ends */
    struct str from;          /* the mailbox of the report's own From; empty if none is sound */
    uint64_t arrival;         /* wall s; 0 */
    const struct dsn_outcome *rcpts;
    unsigned nrcpt;
    const struct arf *feedback; /* KIND_FEEDBACK; else NULL */
    bool cut;                   /* a ceiling was reached: there may be more */
};

struct dsn_reader;
int dsn_reader_create(struct dsn_reader **ret, const struct dsn_limits *); /* ERR_NOMEM */
void dsn_reader_feed(struct dsn_reader *, const char *p, size_t n);
/* The message is whole: what it says, until the reader is freed. Never NULL. */
const struct dsn_report *dsn_reader_end(struct dsn_reader *);
void dsn_reader_free(struct dsn_reader *);

#endif
