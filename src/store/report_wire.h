/*
 * store/report_wire.h - what a report says, on its way from the scan role to the keeper.
 *
 * The scan reads the mail and writes this; the keeper reads it as it reads all that a role with
 * strangers' bytes sends: bounded, and to the last byte or not at all. Texts are UTF-8 without
 * control characters, and numbers of the head are sums of what follows, or it is of nobody's form.
 *
 *     report_wire_open(&w, bytes, &head); then head.records times report_wire_record() (DMARC), or
 *     report_wire_policy() and report_wire_failure() (TLS); report_wire_whole(&w).
 */
#ifndef GAPURA_STORE_REPORT_WIRE_H
#define GAPURA_STORE_REPORT_WIRE_H

#include "core/addr.h"
#include "core/wire.h"
#include "mail/report.h"

#define REPORT_WIRE_MAX (512u << 20)
#define REPORT_TEXT_MAX 512u /* of a name, an id, an address */
#define REPORT_LIST_MAX 2048u
#define REPORT_COUNT_MAX                                                                           \
    UINT64_C(1000000000000) /* of messages in one record: sums stay numbers                        \
                             */
#define REPORT_KIND_DMARC 1u
#define REPORT_KIND_TLS   2u

/* Of the mail, and what our gate found of its sender. */
struct report_facts {
    struct str mail;   /* its id in the log */
    uint64_t received; /* wall s */
    struct str from;   /* address of its From field */
    struct str proof;  /* what proves that address: dmarc, dkim, spf; empty: nothing */
    struct str by;     /* the domain that does */
};
struct report_head {
    uint8_t kind; /* REPORT_KIND_* */
    struct report_facts facts;
    struct str org, id, domain, contact;
    struct str policy; /* in words of its record */
    struct str errors; /* a line each */
    uint64_t since, until, messages, good, bad;
    uint32_t records; /* or policies */
    uint32_t rows;    /* these, and of TLS their failures: what it takes in the store */
};
struct report_record { /* of DMARC */
    struct addr source;
    uint64_t count;
    uint8_t disposition, dkim, spf; /* as in mail/report_dmarc.h */
    struct str header_from, envelope_from, envelope_to;
    struct str signer;  /* domain of a signature that passed */
    struct str bounce;  /* domain whose SPF passed */
    struct str details; /* lines of fields with tabs between: dkim, spf, reason */
};
struct report_policy_row { /* of TLS */
    struct str type, domain, strings, mxs;
    uint64_t good, failed;
    uint32_t failures;
};
struct report_failure_row {
    struct str result, sending_ip, receiving_ip, mx, info;
    uint64_t count;
};

/* ERR_UNSUPPORTED: of another kind; ERR_LIMIT. */
int report_wire_put(struct buf *out, const struct report_facts *, const struct report *);

/* All give 0 or ERR_CORRUPT; texts are views. */
int report_wire_open(struct wire *, struct str bytes, struct report_head *ret);
int report_wire_record(struct wire *, struct report_record *ret);
int report_wire_policy(struct wire *, struct report_policy_row *ret);
int report_wire_failure(struct wire *, struct report_failure_row *ret);

/* The numbers of the head are the sums of what follows: added up by a reader that goes through all
 * of it, a record or a policy (the other is NULL) at a time. */
struct report_sums {
    uint64_t good, bad;
};
void report_wire_sum(struct report_sums *, const struct report_record *,
                     const struct report_policy_row *);
bool report_wire_sums_are(const struct report_sums *, const struct report_head *);

/* Text as it may stand in the store: cut at max, at a whole character. */
void report_wire_text(struct buf *out, struct str text, size_t max);

#endif
