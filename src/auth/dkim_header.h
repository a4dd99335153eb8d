/*
 * auth/dkim_header.h - the header block as DKIM sees it: fields found by name from the bottom, and
 * put into a hash in canonical form (RFC 6376 3.4.1, 3.4.2, 5.4.2).
 */
#ifndef GAPURA_AUTH_DKIM_HEADER_H
#define GAPURA_AUTH_DKIM_HEADER_H

#include "auth/dkim.h"
#include "mail/header.h"

#define DKIM_NAME_BUCKETS 64u

struct dkim_field {
    struct header_field f;
    uint32_t hash;  /* of the name, lower case */
    int32_t above;  /* the next field upwards in the same bucket, or -1 */
    uint32_t taken; /* by the selection of that number */
};
struct dkim_headers {
    struct dkim_field *fields; /* from the top */
    size_t n, cap;
    bool too_many; /* more than the limit: nothing may be called signed */
    bool repeats;  /* some name stands more than once */
    uint32_t selection;
    int32_t bucket[DKIM_NAME_BUCKETS]; /* lowest field of it, or -1 */
};
void dkim_headers_done(struct dkim_headers *); /* safe on a zeroed struct */
/* Indexes a block of lines up to the blank line or the end; views into it. 0 or ERR_NOMEM. */
int dkim_headers_index(struct dkim_headers *, struct str block, unsigned max);
/* Fields of that name (case folded). */
unsigned dkim_headers_count(const struct dkim_headers *, struct str name);
/* Begins a new selection, in which each field is taken once. */
void dkim_headers_select(struct dkim_headers *);
/* The lowest field of that name that was not taken yet, or NULL. */
const struct header_field *dkim_headers_take(struct dkim_headers *, struct str name);

/* A hash that fields go into. */
struct dkim_hash {
    void *md; /* EVP_MD_CTX */
    bool failed;
    size_t n;
    char buf[2048];
};
void dkim_hash_field(struct dkim_hash *, const struct header_field *, enum dkim_canon);
/* The signature's own field: without the bytes of `hole` and without its line end. */
void dkim_hash_own(struct dkim_hash *, const struct header_field *, struct str hole,
                   enum dkim_canon);
void dkim_hash_flush(struct dkim_hash *);

#endif
