/*
 * auth/dkim.h - what all DKIM and ARC files share: results, reasons, ceilings (RFC 6376, 8301,
 * 8463, 8616).
 *
 * A message's way, inbound: dkim_message_headers() indexes the header block, dkim_verify_prepare()
 * and arc_prepare() read the signature fields and ask for body hashes, dkim_message_body() is fed
 * the body once, in any pieces; then dkim_verify_run() and arc_run() say DONE or note the keys that
 * must be asked, and are run again with the answers. Outbound: dkim_sign_prepare(), the body,
 * dkim_sign() with the private key behind a callback.
 */
#ifndef GAPURA_AUTH_DKIM_H
#define GAPURA_AUTH_DKIM_H

#include "core/str.h"

#define DKIM_HASH_MAX      32u   /* bytes of SHA-256 */
#define DKIM_SIGNATURE_MAX 1024u /* bytes: RSA of 8192 bits */
#define DKIM_SIGS_MAX      16u   /* signatures that a verifier can look at; limits say fewer */

enum dkim_alg { DKIM_RSA_SHA256, DKIM_ED25519_SHA256, DKIM_RSA_SHA1, DKIM_ALG_NONE };
const char *dkim_alg_name(enum dkim_alg);      /* "rsa-sha256" */
enum dkim_alg dkim_alg_of(struct str name);    /* as written in a=; DKIM_ALG_NONE */
enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED }; /* RFC 6376 3.4 */
const char *dkim_canon_name(enum dkim_canon);

/* As Authentication-Results says it (RFC 8601 2.7.1). */
enum dkim_status {
    DKIM_PASS,
    DKIM_FAIL,      /* the hash of the body or the signature does not fit; or it has expired */
    DKIM_NEUTRAL,   /* signed by a rule that nobody here knows */
    DKIM_POLICY,    /* not acceptable whatever the mathematics say: weak, or not all is signed */
    DKIM_TEMPERROR, /* the key could not be looked up now */
    DKIM_PERMERROR, /* the signature field or the key record is useless */
};
const char *dkim_status_name(enum dkim_status);

enum dkim_reason {
    DKIM_OK,
    /* the signature field */
    DKIM_BAD_TAGS,
    DKIM_MISSING_TAG,
    DKIM_BAD_VERSION,
    DKIM_UNKNOWN_ALGORITHM,
    DKIM_BAD_CANON,
    DKIM_BAD_DOMAIN,
    DKIM_BAD_IDENTITY,
    DKIM_BAD_QUERY,
    DKIM_BAD_TIME,
    DKIM_BAD_LENGTH,
    DKIM_BAD_BASE64,
    DKIM_BAD_HEADERS,
    DKIM_FROM_UNSIGNED,
    DKIM_TOO_LARGE,
    DKIM_TOO_MANY,
    DKIM_BAD_INSTANCE,
    /* the key */
    DKIM_NO_KEY,
    DKIM_KEY_SYNTAX,
    DKIM_KEY_REVOKED,
    DKIM_KEY_TYPE,
    DKIM_KEY_HASH,
    DKIM_KEY_SERVICE,
    DKIM_KEY_TOO_LARGE,
    DKIM_KEY_IDENTITY,
    DKIM_DNS,
    /* the message */
    DKIM_EXPIRED,
    DKIM_FUTURE,
    DKIM_BODY_CHANGED,
    DKIM_BODY_TOO_SHORT,
    DKIM_BAD_SIGNATURE,
    DKIM_WEAK_HASH,
    DKIM_WEAK_KEY,
    DKIM_BODY_UNSIGNED,
    DKIM_SECOND_FROM,
    DKIM_SECOND_TYPE,
    DKIM_INTERNAL,
    DKIM_REASONS
};
const char *dkim_reason_text(enum dkim_reason); /* for people, a clause without a full stop */
enum dkim_status dkim_reason_status(enum dkim_reason);

/* Ceilings, all looked at before any cryptography. */
struct dkim_limits {
    unsigned signatures;    /* looked at, at most DKIM_SIGS_MAX; those behind are DKIM_TOO_MANY */
    unsigned fields;        /* of the header block that are indexed; more: no signature is valid */
    unsigned signed_names;  /* in h= */
    size_t signature_bytes; /* of a signature field */
    size_t record_bytes;    /* of a key record */
    unsigned min_bits;      /* of an RSA key; fewer: DKIM_WEAK_KEY (RFC 8301: 1024) */
    unsigned max_bits;      /* more: DKIM_KEY_TOO_LARGE */
    uint32_t skew;          /* seconds by which clocks may differ, for x= */
    uint32_t future;        /* seconds by which t= may lie ahead */
    bool legacy;            /* RFC 6376 without RFC 8301: rsa-sha1 counts (old test data only) */
    bool partial;           /* a body with more than l= covers may pass */
};
extern const struct dkim_limits dkim_limits_default;

#endif
