/*
 * auth/dkim_canon.h - the body in canonical form into any number of hashes, in one pass (RFC 6376
 * 3.4.3, 3.4.4). Push: pieces of any size, cut anywhere.
 */
#ifndef GAPURA_AUTH_DKIM_CANON_H
#define GAPURA_AUTH_DKIM_CANON_H

#include "auth/dkim.h"

#define DKIM_BODY_HASHES_MAX 20u

struct dkim_body_hash {
    void *md; /* EVP_MD_CTX */
    enum dkim_canon canon;
    bool sha1;
    uint64_t limit; /* l=; UINT64_MAX: all */
    uint64_t left;
    uint8_t digest[DKIM_HASH_MAX];
    size_t digest_n;
};
/* One filter for each canonicalization that somebody wants. */
struct dkim_filter {
    uint64_t crlfs; /* ends of line held back: they count only if something follows */
    uint64_t total; /* bytes of the canonical body */
    bool wanted, held_cr, space;
    size_t n; /* in buf */
};
struct dkim_body {
    struct dkim_body_hash hashes[DKIM_BODY_HASHES_MAX];
    unsigned n;
    struct dkim_filter filters[2]; /* by enum dkim_canon */
    bool failed, ended;
    char buf[4096]; /* of the relaxed filter */
};
void dkim_body_done(struct dkim_body *);  /* safe on a zeroed struct */
void dkim_body_reset(struct dkim_body *); /* keeps the hash contexts for the next message */
/* A hash that is wanted, before the first piece: its number, ERR_LIMIT or ERR_NOMEM. The same wish
 * gives the same number. */
int dkim_body_want(struct dkim_body *, enum dkim_canon, bool sha1, uint64_t limit);
void dkim_body_push(struct dkim_body *, const char *p, size_t n);
void dkim_body_end(struct dkim_body *);
/* After the end: the digest, or empty if the library failed. */
struct str dkim_body_digest(const struct dkim_body *, int number);
/* Bytes of the canonical body. */
uint64_t dkim_body_total(const struct dkim_body *, enum dkim_canon);

#endif
