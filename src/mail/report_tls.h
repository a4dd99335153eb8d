/*
 * mail/report_tls.h - what an SMTP TLS report says (RFC 8460), and writing one. Read by
 * mail/report.h.
 */
#ifndef GAPURA_MAIL_REPORT_TLS_H
#define GAPURA_MAIL_REPORT_TLS_H

#include "core/buf.h"

enum report_tls_type { REPORT_TLS_NO_POLICY, REPORT_TLS_STS, REPORT_TLS_TLSA };
enum report_tls_result {                   /* RFC 8460 4.3 */
                         REPORT_TLS_OTHER, /* a word of its own: see result_text */
                         REPORT_TLS_STARTTLS_NOT_SUPPORTED,
                         REPORT_TLS_CERTIFICATE_HOST_MISMATCH,
                         REPORT_TLS_CERTIFICATE_EXPIRED,
                         REPORT_TLS_CERTIFICATE_NOT_TRUSTED,
                         REPORT_TLS_VALIDATION_FAILURE,
                         REPORT_TLS_TLSA_INVALID,
                         REPORT_TLS_DNSSEC_INVALID,
                         REPORT_TLS_DANE_REQUIRED,
                         REPORT_TLS_STS_POLICY_FETCH_ERROR,
                         REPORT_TLS_STS_POLICY_INVALID,
                         REPORT_TLS_STS_WEBPKI_INVALID,
};
const char *report_tls_result_name(enum report_tls_result); /* "sts-policy-invalid" */

struct report_tls_failure {
    struct report_tls_failure *next;
    uint8_t result;                                   /* enum report_tls_result */
    struct str result_text;                           /* as it came; written for REPORT_TLS_OTHER */
    struct str sending_ip, receiving_ip, mx, mx_helo; /* empty if not told */
    struct str info, reason;
    uint64_t count;
};
struct report_tls_policy {
    struct report_tls_policy *next;
    uint8_t type;      /* enum report_tls_type */
    struct str domain; /* lower case */
    struct str *strings, *mxs;
    uint32_t nstrings, nmxs;
    uint64_t good, failed; /* sessions */
    struct report_tls_failure *failures;
    uint32_t nfailures;
};
struct report_tls {
    struct str org, contact, id;
    uint64_t begin, end; /* wall s */
    struct report_tls_policy *policies;
    uint32_t npolicies;
    uint64_t good, failed; /* sums over the policies */
};

/* Writes the JSON. ERR_STATE: no policy, id or organisation; ERR_LIMIT: the buffer's ceiling. */
int report_tls_write(const struct report_tls *, struct buf *out);
/* "sender!domain!begin!end!unique.json.gz" (RFC 8460 5.1), without the last part if empty. */
void report_tls_filename(const struct report_tls *, struct str sender, struct str domain,
                         struct str unique, struct buf *out);

#endif
