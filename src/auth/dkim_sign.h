/*
 * auth/dkim_sign.h - DKIM signatures on our own mail (RFC 6376 5).
 *
 * Two keys (RSA and Ed25519) are two calls over the same message: the body is hashed once. The
 * private key is behind dkim_sign_fn; who must ask another process calls begin and finish himself.
 */
#ifndef GAPURA_AUTH_DKIM_SIGN_H
#define GAPURA_AUTH_DKIM_SIGN_H

#include "auth/dkim_draft.h"

struct dkim_sign_params {
    struct str domain, selector; /* d=, s= as they shall be written */
    struct str identity;         /* i=; empty: none */
    enum dkim_alg alg;
    enum dkim_canon header_canon, body_canon;
    uint64_t now;            /* t=, Unix seconds; 0: none */
    uint64_t expires;        /* x=; 0: none */
    struct str headers;      /* h= as it shall be; empty: dkim_sign_headers() chooses */
    const struct str *extra; /* more names that are signed if present */
    size_t nextra;
};
/* After dkim_message_headers, before the body: 0 or negative. */
int dkim_sign_prepare(struct dkim_message *, enum dkim_canon body);
/* The names to sign, colon-separated, into out: every field of ours that is there, From and kin
 * once more than they are there so that none can be added. List-* are treated so on list mail only:
 * a list that takes up other mail adds them rightfully. */
void dkim_sign_headers(const struct dkim_message *, const struct dkim_sign_params *,
                       struct buf *out);
/* After dkim_message_end. ERR_REFUSED: no From, or two; ERR_LIMIT; ERR_SYNTAX: a parameter. */
int dkim_sign_begin(struct dkim_message *, const struct dkim_sign_params *, struct dkim_draft *ret,
                    struct why *);
/* Begin, sign, finish: appends the field to out. */
int dkim_sign(struct dkim_message *, const struct dkim_sign_params *, dkim_sign_fn *, void *ctx,
              struct buf *out, struct why *);

#endif
