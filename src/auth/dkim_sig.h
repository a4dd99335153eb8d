/*
 * auth/dkim_sig.h - one signature field, parsed: DKIM-Signature, ARC-Message-Signature or ARC-Seal.
 *
 * The three differ by a row of a table: which tags must be there and what i= means. A successor
 * (DKIM2) is another row. Pure; views into the field.
 */
#ifndef GAPURA_AUTH_DKIM_SIG_H
#define GAPURA_AUTH_DKIM_SIG_H

#include "auth/dkim.h"
#include "mail/header.h"

enum dkim_kind { DKIM_KIND_SIGNATURE, DKIM_KIND_AMS, DKIM_KIND_SEAL };
struct str dkim_kind_name(enum dkim_kind); /* the field's name */

enum arc_cv { ARC_NONE, ARC_PASS, ARC_FAIL, ARC_TEMPERROR /* a validator's, never in cv= */ };

struct dkim_sig {
    struct header_field field;
    enum dkim_kind kind;
    enum dkim_alg alg;
    enum dkim_canon header_canon, body_canon;
    struct str domain, selector; /* as written */
    struct str identity;         /* i= as written; empty if absent */
    struct str headers;          /* h= as written; dkim_list_next() walks it */
    struct str b;                /* raw, white space included: what is not signed */
    bool has_length;
    uint64_t length;             /* l= */
    uint64_t signed_at, expires; /* t=, x=; 0: absent */
    unsigned instance;           /* ARC: 1 to 50 */
    enum arc_cv cv;              /* ARC-Seal */
    bool from_signed;            /* h= names From */
    uint8_t body_hash[DKIM_HASH_MAX];
    size_t body_hash_n;
    uint8_t signature[DKIM_SIGNATURE_MAX];
    size_t signature_n;
};
/* DKIM_OK, or what is wrong; domain, selector and identity are set as far as they were read. */
enum dkim_reason dkim_sig_parse(const struct header_field *, enum dkim_kind,
                                const struct dkim_limits *, struct dkim_sig *ret);
/* The name of the key, A-labels (RFC 8616 4): "sel._domainkey.example.com". dst of 256 bytes; 0 or
 * ERR_SYNTAX. */
int dkim_key_name(struct str selector, struct str domain, char *dst, size_t *ret_n);
/* ARC instance from text: 1 to 50, else 0. */
unsigned arc_instance_of(struct str text);

#endif
