/*
 * auth/dkim_draft.h - a signature field under construction: all but the value of b=.
 *
 * Between dkim_draft_digest() and dkim_draft_finish() the private key may be asked in any way, also
 * in another process: the draft is plain bytes.
 */
#ifndef GAPURA_AUTH_DKIM_DRAFT_H
#define GAPURA_AUTH_DKIM_DRAFT_H

#include "auth/dkim_message.h"
#include "core/buf.h"
#include "core/err.h"

#define DKIM_DRAFT_MAX 16384u /* bytes of a signature field that we make */

/* Signs a digest: bytes of the signature, or negative. The only way to a private key. */
typedef ssize_t dkim_sign_fn(void *ctx, enum dkim_alg, const uint8_t *digest, size_t n,
                             uint8_t *dst, size_t cap);

struct dkim_draft {
    struct buf text; /* the field without its line end */
    size_t hole;     /* where the value of b= goes */
    size_t column;   /* of the last line */
    bool one_line;   /* the value of b= is not folded */
    uint8_t digest[DKIM_HASH_MAX];
    size_t digest_n;
    enum dkim_alg alg;
};
void dkim_draft_begin(struct dkim_draft *, const char *field_name);
void dkim_draft_done(struct dkim_draft *); /* safe on a zeroed struct; for CLEANUP */
/* "name=value" with a semicolon before it if it is not the first; folds the line where needed. */
void dkim_draft_tag(struct dkim_draft *, const char *name, struct str value);
void dkim_draft_number(struct dkim_draft *, const char *name, uint64_t value);
void dkim_draft_list(struct dkim_draft *, const char *name, struct str colon_list);
void dkim_draft_base64(struct dkim_draft *, const char *name, struct str bytes);
void dkim_draft_hole(struct dkim_draft *); /* b= */
/* Adds the field itself to the message's header hash, which is complete then. 0 or negative. */
int dkim_draft_digest(struct dkim_draft *, struct dkim_message *, enum dkim_canon);
/* The finished field with its line end. */
int dkim_draft_finish(const struct dkim_draft *, const uint8_t *signature, size_t n,
                      struct buf *out);

#endif
