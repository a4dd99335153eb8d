/*
 * gate/srs.h - the Sender Rewriting Scheme: envelope senders of what we forward, and their way
 * back.
 *
 * SRS0=HASH=TT=domain=local@ours for a first hop, SRS1=HASH=hop==rest@ours when the sender was
 * rewritten elsewhere already. HASH is a keyed digest of what follows it, TT the day; both are in
 * letters whose case may be lost on the way. Pure: time comes in.
 */
#ifndef GAPURA_GATE_SRS_H
#define GAPURA_GATE_SRS_H

#include "core/err.h"
#include "core/str.h"

struct srs {
    struct str domain; /* empty: no forwarding to the outside */
    uint8_t key[32];
    uint32_t days; /* life of an address */
};
#define SRS_MAX 640u /* bytes of a rewritten sender; longer ones are ERR_LIMIT */

void srs_init(struct srs *, struct str domain, struct str secret, uint32_t days);
/* The sender of a forwarded message into dst (cap SRS_MAX + 1): length, ERR_SYNTAX, ERR_LIMIT. The
 * null sender stays null (0), one of our own SRS addresses too stays as it is. */
ssize_t srs_forward(const struct srs *, struct str sender, uint64_t now_s, char *dst, size_t cap);
bool srs_is(struct str local); /* looks like SRS0 or SRS1 */
/* The address that a bounce to local@ours is for: length; ERR_SYNTAX, ERR_REFUSED (not signed by
 * us), ERR_STALE (too old). */
ssize_t srs_reverse(const struct srs *, struct str local, uint64_t now_s, char *dst, size_t cap);

#endif
