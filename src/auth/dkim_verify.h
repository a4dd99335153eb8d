/*
 * auth/dkim_verify.h - DKIM verification: signatures in, a result for each out (RFC 6376 6).
 *
 * Pure: time and known answers are inputs. Run again from the start until it says AUTH_DONE; no
 * cryptography is done before every key is known.
 */
#ifndef GAPURA_AUTH_DKIM_VERIFY_H
#define GAPURA_AUTH_DKIM_VERIFY_H

#include "auth/answers.h"
#include "auth/dkim_key.h"
#include "auth/dkim_message.h"
#include "auth/dkim_sig.h"

struct dkim_result {
    enum dkim_status status;
    enum dkim_reason reason;
    bool verified;                         /* the mathematics held, whatever the status says */
    struct str domain, selector, identity; /* as written; may be empty if the field is malformed */
    char domain_ascii[256]; /* d= in A-labels, lower case: what alignment compares; "" if malformed
                             */
    struct str headers;     /* h= */
    struct str b;           /* b=: the first bytes tell signatures apart (RFC 6008) */
    enum dkim_alg alg;
    unsigned bits;
    uint64_t signed_at, expires; /* 0: not said */
    bool has_length;
    uint64_t body_unsigned; /* bytes of the canonical body behind l= */
    bool testing;           /* the key record says t=y */
    bool repeated;          /* a field that may stand once stands more often than it was signed */
};

struct dkim_verifier {
    struct dkim_limits limits;
    struct dkim_message *message;
    unsigned n;       /* signatures looked at */
    unsigned skipped; /* beyond the limit */
    struct dkim_sig sigs[DKIM_SIGS_MAX];
    enum dkim_reason parsed[DKIM_SIGS_MAX];
    int body[DKIM_SIGS_MAX]; /* number of the body hash */
    struct dkim_result results[DKIM_SIGS_MAX];
};
/* After dkim_message_headers: reads the signature fields, asks for body hashes. */
void dkim_verify_prepare(struct dkim_verifier *, struct dkim_message *, const struct dkim_limits *);
/* After dkim_message_end. now: seconds of Unix time. AUTH_DONE fills results[0..n-1]. */
enum auth_state dkim_verify_run(struct dkim_verifier *, uint64_t now, struct dkim_keys *,
                                const struct auth_answers *, struct auth_needs *);
/* The key of a signature, for ARC too: DKIM_OK; else what stops it (AUTH_NEED noted: DKIM_DNS with
 * *ret_need). */
enum dkim_reason dkim_verify_key(const struct dkim_sig *, struct dkim_keys *,
                                 const struct auth_answers *, struct auth_needs *,
                                 const struct dkim_key **ret, bool *ret_need);

/* Are the fields under a signature that holds all that readers could take for them? For ARC too.
 * *ret_repeated: some field of which there is one stands more often than it was signed. */
enum dkim_reason dkim_verify_scope(const struct dkim_headers *, const struct dkim_sig *,
                                   bool *ret_repeated);

#endif
