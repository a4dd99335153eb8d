/*
 * auth/dkim_key.h - key records (RFC 6376 3.6.1, RFC 8463 4.2) and the cache of parsed keys.
 *
 * The cache goes by the text of the record, so it needs no lifetime: a record that has changed is
 * another entry.
 */
#ifndef GAPURA_AUTH_DKIM_KEY_H
#define GAPURA_AUTH_DKIM_KEY_H

#include "auth/dkim.h"
#include "auth/dkim_crypto.h"

struct dkim_key {
    enum dkim_reason bad; /* DKIM_OK, or why it is of no use */
    bool ed25519;
    bool testing;      /* t=y */
    bool strict;       /* t=s: i= must be d= itself */
    bool sha256, sha1; /* h= allows it */
    bool mail;         /* s= is * or email */
    unsigned bits;
    struct dkim_pub *pub; /* NULL if bad, or too short to be worth it */
};
/* Parses a record and makes the key ready. ret->bad says what is wrong. */
void dkim_key_parse(struct str record, const struct dkim_limits *, struct dkim_key *ret);
/* Does the text look like a key record at all (it has a p=)? Others may stand beside it. */
bool dkim_key_is_record(struct str record);

struct dkim_keys;
struct dkim_keys *dkim_keys_create(unsigned max, uint64_t seed, const struct dkim_limits *);
void dkim_keys_free(struct dkim_keys *);
/* Valid until the next call; NULL without memory. */
const struct dkim_key *dkim_keys_get(struct dkim_keys *, struct str record);

#endif
