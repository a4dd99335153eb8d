/*
 * auth/evidence.h - what one message's authentication has found so far.
 *
 * The state that the rows of checks/ (which run the evaluators) and the gate (which feeds header
 * and body, and writes our field) share. A message's way: auth_evidence_open() at MAIL; the row
 * `spf` runs auth_evidence_spf(); auth_evidence_header() when the header is here, which makes what
 * signatures need only if there are some; auth_evidence_body() in pieces; then `dkim`, `arc` and
 * `dmarc` run theirs. auth_evidence_results() is the one list for our field, events and findings.
 *
 * Each evaluation says AUTH_DONE, or AUTH_NEED with the questions; the caller adds the answers to
 * `known` and runs it again. Lives in its message; views into the arena and the header.
 */
#ifndef GAPURA_AUTH_EVIDENCE_H
#define GAPURA_AUTH_EVIDENCE_H

#include "auth/arc.h"
#include "auth/authres.h"
#include "auth/dkim_verify.h"
#include "auth/dns_list.h"
#include "auth/domain.h"
#include "auth/known.h"
#include "auth/rows.h"
#include "auth/settings.h"

/* Of all messages under one generation of the settings. */
struct auth_common {
    struct str hostname, ids[2]; /* ids[0] is written; foreign fields under either are removed */
    size_t nids;
    bool tree; /* the organization is found by the tree walk */
    struct psl *psl;
    struct spf_limits spf;
    struct dkim_limits dkim;
    const struct str *trusted; /* sealers: A-labels, lower case */
    size_t ntrusted;
    struct dkim_keys *keys;
    struct dns_lists *lists;     /* NULL: none */
    struct dkim_message **spare; /* used again: making one costs more than a small message */
    unsigned nspare;
    struct arena arena;
};
/* psl: the list's text if the settings name one. Copies what it keeps. */
int auth_common_create(struct auth_common **ret, const struct settings_verify *,
                       struct str hostname, struct str psl, struct why *);
/* The DNS lists of the settings. */
int auth_common_lists(struct auth_common *, const struct conf *, struct why *);
void auth_common_free(struct auth_common *);

struct auth_evidence {
    struct auth_common *common; /* NULL: nothing is gathered */
    struct arena *arena;
    struct auth_known known;
    uint64_t now;   /* seconds of Unix time */
    uint64_t begun; /* mono ns: MAIL */
    struct spf_input spf_in;
    struct spf_verdict helo, mailfrom; /* for the null sender `helo` only */
    bool have_helo, have_mailfrom;
    enum auth_domain sender; /* the sender's domain, if have_sender */
    struct str sender_host;  /* the name that decided */
    bool have_sender;
    struct dns_lists_report *lists; /* what DNS lists say; NULL: none was asked */
    bool have_lists;
    bool hindered;     /* the client has too many questions open: silence proves nothing */
    struct str header; /* as it came */
    bool fed;          /* header and author are set */
    bool foreign;      /* it may hold fields that only we may write */
    unsigned nsignatures, nseals;
    struct dkim_message *message; /* of a message with signatures or seals */
    struct dkim_verifier *dkim;
    struct arc_validator *arc;
    struct arc_result chain;
    bool have_dkim, have_arc;
    struct dmarc_verdict dmarc;
    bool have_dmarc;
    bool vouched; /* a trusted sealer says that the author was proved when it came to him */
    /* Not cleared with the rest: valid when `fed`. */
    struct dmarc_author author;
};
/* The struct may hold an old message, closed. helo and sender are views that stay. */
void auth_evidence_open(struct auth_evidence *, struct auth_common *, struct arena *,
                        const struct addr *client, struct str helo, struct str local,
                        struct str domain, uint64_t now, uint64_t mono);
void auth_evidence_close(struct auth_evidence *); /* gives back what is pooled; twice is fine */

/* Evaluations have one form; mono is the time now, for limits. What is done stays done. */
typedef enum auth_state auth_evidence_fn(struct auth_evidence *, uint64_t mono,
                                         struct auth_needs *);
auth_evidence_fn auth_evidence_sender, auth_evidence_helo, auth_evidence_mailfrom;
auth_evidence_fn auth_evidence_lists;
/* The header block as it came, which must stay where it is; then the bytes behind the blank line
 * in pieces. 0 or ERR_NOMEM. */
int auth_evidence_header(struct auth_evidence *, struct str header);
static inline bool
auth_evidence_wants_body(const struct auth_evidence *e)
{
    return e->message != NULL;
}
void auth_evidence_body(struct auth_evidence *, const char *p, size_t n);
auth_evidence_fn auth_evidence_dkim, auth_evidence_arc;
auth_evidence_fn auth_evidence_dmarc; /* after all of the above, or what of them was done */

/* Is the author proved: by SPF or a signature in line with From, or by a trusted sealer's word? */
bool auth_evidence_proved(const struct auth_evidence *);
/* All that was found, as rows; views. The one list of header, events and findings. */
void auth_evidence_results(const struct auth_evidence *, struct authres *ret);
/* May the header hold fields that only we may write (authres_filter takes them out)? */
bool auth_evidence_foreign(struct str header);

#endif
