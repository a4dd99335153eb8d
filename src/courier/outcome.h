/*
 * courier/outcome.h - what became of recipients: rows, records, events, reports.
 *
 * A row's end: outcome_rows() decides (retry, expire, fail), changes the rows, sends the event,
 * makes a report if one is due, and adds the OUTCOME record. Settled rows stay SETTLING until the
 * record is durable; only then does their segment lose them.
 */
#ifndef GAPURA_COURIER_OUTCOME_H
#define GAPURA_COURIER_OUTCOME_H

#include "courier/inner.h"
#include "courier/letter.h"
#include "courier/reply_class.h"
#include "net/tls.h"
#include "smtp/client.h"
#include "spool/record.h"

struct attempt {                 /* facts of a try, for record, event and report */
    const struct letter *letter; /* NULL: read when needed */
    const struct endpoint *peer;
    const char *host, *site, *pool, *command;
    const struct source *source;
    const struct endpoint *local;
    const struct tls_info *tls; /* NULL: no TLS */
    const char *signed_by;      /* keys of its signatures, with spaces between; NULL or empty */
    const char *unsigned_why;   /* it should have had one */
    uint64_t session;           /* number of the connection; 0: none */
    uint64_t route_expire;
    bool intent;       /* an intent is open for these rows */
    bool tried;        /* counts as an attempt */
    bool by_operator;  /* somebody's own word, which a removal of many does not undo */
    bool no_domain;    /* DNS trouble: the shorter expiry */
    bool next_has_dsn; /* the next hop took over the duty to report */
    bool forwarded;    /* unsigned_why is about a seal */
    bool traced;       /* the sender is told that the message went on (RFC 2852) */
    bool final;        /* the next hop is the mailbox itself (LMTP, Maildir) */
};
struct result {
    uint8_t result; /* enum spool_result; RETRY may become EXPIRED */
    uint8_t class;  /* enum reply_class_id */
    uint16_t code, enhanced[3];
    struct str text;
    uint64_t due; /* wall ns: not before (RETRY); 0: by the law */
    bool sticky;  /* retry from the same source */
    /* Of replies alone: */
    bool hard;
    uint8_t scope, confidence; /* as in reply_class_result; confidence 0: none */
    struct reply_advice advice;
    struct str pattern; /* that decided */
};
void outcome_rows(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n,
                  const struct attempt *, const struct result *);
/* They wait for something of ours, without a try: the sender is told as of any delay. */
void outcome_waits(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n,
                   const struct attempt *, const struct result *);
/* Fills from a reply at that stage of `host` (NULL: not known): class, advice, and what becomes of
 * the rows. The pattern lives until the next settings. */
void outcome_from_reply(struct courier *, struct result *ret, enum smtp_client_stage stage,
                        const char *host, const struct smtp_reply *r);
/* A pending row whose intent was open when the last courier ended. */
void outcome_after_crash(struct courier *, uint32_t row);
/* A row whose time has come: ready again, or expired. */
void outcome_due(struct courier *, uint32_t row);
/* Operator's verbs. reason: for the record and the event. */
void outcome_operator(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n,
                      uint8_t result, struct str reason);
/* The event of rows that a purge takes away: its record stands for theirs. */
void outcome_purged(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n,
                    struct str reason);
/* A connection gives them back: those that a purge took away meanwhile go now. letter: loaded, of
 * that message, or NULL. */
void outcome_returned(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n,
                      const struct letter *);
/* Says again what holds a row: compaction's copies carry no text. */
void outcome_again(struct courier *, uint32_t row, uint8_t result, struct str text);
/* Notes of a row that waits that its sender was told of the delay, so that no later start tells him
 * again. Nothing if he was not. */
#define OUTCOME_TOLD_TEXT "its sender was told that it is late"
void outcome_told(struct courier *, uint32_t row);
/* Notes of a row that waits that a crash left its outcome unknown, so that the second one holds it.
 * Nothing if none did. */
void outcome_crashed(struct courier *, uint32_t row);
/* The message cannot be read: all its rows are held, the operator is told. */
void outcome_unreadable(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n,
                        int err);

/* report.c: one event of a KumoMTA-like kind for these rows. */
void report_event(struct courier *, const char *type, uint32_t message, const uint32_t *rows,
                  uint32_t n, const struct attempt *, const struct result *);
/* bounce.c: a report to the sender. Between begin and end failures of that message are gathered
 * into one report; outcomes follow it into the log. The letter must stay loaded. */
void bounce_begin(struct courier *, uint32_t message, const struct letter *);
void bounce_end(struct courier *);
enum bounce_kind { BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_SUCCESS, BOUNCE_TRACE };
/* True: it was made, or none was asked for. False: nobody may be told (backscatter, null sender).
 */
bool bounce_rows(struct courier *, enum bounce_kind, uint32_t message, const uint32_t *rows,
                 uint32_t n, const struct attempt *, const struct result *, uint64_t until);

#endif
