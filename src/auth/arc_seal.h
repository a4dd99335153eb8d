/*
 * auth/arc_seal.h - adds our set to a chain (RFC 8617 5.1).
 *
 * The tags of our fields stand in alphabetical order, as the common test suite has them: whoever
 * seals the same with the same key gets the same bytes.
 */
#ifndef GAPURA_AUTH_ARC_SEAL_H
#define GAPURA_AUTH_ARC_SEAL_H

#include "auth/arc.h"
#include "auth/dkim_draft.h"

struct arc_seal_params {
    struct str domain, selector;
    enum dkim_alg alg;
    uint64_t now;       /* t= */
    enum arc_cv cv;     /* what validation found; ARC_TEMPERROR cannot be sealed */
    struct str payload; /* authserv-id and results: "mx.example; spf=pass ...; arc=none" */
    struct str headers; /* h= of the message signature; empty: dkim_sign_headers()'s choice */
    enum dkim_canon header_canon, body_canon;
};
/* After dkim_message_headers, before the body. 0 or negative. */
int arc_seal_prepare(struct dkim_message *, enum dkim_canon body);
/* Appends the three fields to out, newest on top. v was prepared over the same message.
 * ERR_REFUSED: the chain ends here (50 sets, or its newest seal says cv=fail already). */
int arc_seal(struct dkim_message *, const struct arc_validator *v, const struct arc_seal_params *,
             dkim_sign_fn *, void *ctx, struct buf *out, struct why *);
/* The payload out of the message's Authentication-Results fields of that authserv-id, joined in
 * order. ERR_NOTFOUND if there is none. */
int arc_payload(const struct dkim_message *, struct str authserv_id, struct buf *out);

#endif
