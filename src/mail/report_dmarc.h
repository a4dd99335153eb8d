/*
 * mail/report_dmarc.h - what a DMARC aggregate report says (RFC 9990; RFC 7489 appendix C), and
 * writing one.
 *
 * Read by mail/report.h. A reader is lenient where senders are known to be sloppy (order, missing
 * defaults, wrappers, text between elements) and refuses what could be counted wrongly.
 */
#ifndef GAPURA_MAIL_REPORT_DMARC_H
#define GAPURA_MAIL_REPORT_DMARC_H

#include "core/addr.h"
#include "core/buf.h"

enum report_policy { REPORT_POLICY_NONE, REPORT_POLICY_QUARANTINE, REPORT_POLICY_REJECT };
enum report_disposition { /* what was done; PASS (RFC 9990): passed under an enforcing policy */
                          REPORT_DONE_NONE,
                          REPORT_DONE_PASS,
                          REPORT_DONE_QUARANTINE,
                          REPORT_DONE_REJECT,
};
enum report_result {
    REPORT_RESULT_NONE,
    REPORT_RESULT_PASS,
    REPORT_RESULT_FAIL,
    REPORT_RESULT_SOFTFAIL,
    REPORT_RESULT_NEUTRAL,
    REPORT_RESULT_POLICY,
    REPORT_RESULT_TEMPERROR,
    REPORT_RESULT_PERMERROR,
};
enum report_override {
    REPORT_OVERRIDE_OTHER,
    REPORT_OVERRIDE_FORWARDED,   /* RFC 7489 only */
    REPORT_OVERRIDE_SAMPLED_OUT, /* RFC 7489 only */
    REPORT_OVERRIDE_TRUSTED_FORWARDER,
    REPORT_OVERRIDE_MAILING_LIST,
    REPORT_OVERRIDE_LOCAL_POLICY,
    REPORT_OVERRIDE_POLICY_TEST_MODE, /* RFC 9990 only */
};
enum report_alignment { REPORT_RELAXED, REPORT_STRICT };
enum report_scope { REPORT_SCOPE_MFROM, REPORT_SCOPE_HELO };
enum report_discovery { REPORT_DISCOVERY_UNTOLD, REPORT_DISCOVERY_PSL, REPORT_DISCOVERY_TREEWALK };
enum report_yes { REPORT_UNTOLD, REPORT_NO, REPORT_YES };

struct report_text {
    struct report_text *next;
    struct str text;
};
struct report_reason {
    struct report_reason *next;
    uint8_t type; /* enum report_override */
    struct str comment;
};
struct report_auth { /* one signature, or one SPF check */
    struct report_auth *next;
    struct str domain, selector, human;
    uint8_t result; /* enum report_result */
    uint8_t scope;  /* enum report_scope */
};
struct report_row {
    struct report_row *next;
    struct addr source;
    uint64_t count;
    uint8_t disposition; /* enum report_disposition */
    uint8_t dkim, spf;   /* aligned: REPORT_RESULT_PASS, else REPORT_RESULT_FAIL */
    struct report_reason *reasons;
    struct str envelope_to, envelope_from, header_from; /* lower case */
    struct report_auth *dkims, *spfs;
};
struct report_dmarc {
    bool rfc9990; /* its namespace */
    struct str version, org, email, contact, id, generator;
    uint64_t begin, end; /* wall s, both included */
    struct report_text *errors;
    struct str domain;            /* lower case */
    uint8_t adkim, aspf;          /* enum report_alignment */
    uint8_t p, sp, np;            /* enum report_policy; sp is p, np is sp if not told */
    uint8_t testing, psd;         /* enum report_yes */
    uint8_t discovery;            /* enum report_discovery */
    bool has_sp, has_np, has_pct; /* were told */
    uint8_t pct;                  /* 100 if not told */
    struct str fo;                /* "0" if not told */
    struct report_row *rows;
    uint32_t nrows;
    uint64_t messages, passed; /* sums of counts; passed: dkim or spf aligned */
};

const char *report_result_name(enum report_result);           /* "softfail" */
const char *report_disposition_name(enum report_disposition); /* "quarantine" */

enum report_form {
    REPORT_FORM_9990,
    REPORT_FORM_7489, /* no namespace; pct; what only RFC 9990 knows is said as RFC 7489 can */
};
/* Writes the XML. Texts are made well-formed; what a schema asks for and the struct has not (an SPF
 * result, sp in RFC 7489) is written as its default. ERR_STATE: no row, id, organisation or domain;
 * ERR_LIMIT: over the buffer's ceiling. */
int report_dmarc_write(const struct report_dmarc *, enum report_form, struct buf *out);
/* "receiver!domain!begin!end!unique.xml.gz" (RFC 9990 3.5.1), without the last part if empty. */
void report_dmarc_filename(const struct report_dmarc *, struct str receiver, struct str unique,
                           struct buf *out);

#endif
