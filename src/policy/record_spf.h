/*
 * policy/record_spf.h - in a decision record: how SPF came to its results, term by term.
 *
 * Bytes (little-endian; `str8` is a length and that many bytes):
 *
 *     n u8 >= 1, each: identity u8, result, domain str8; terms, voids, queries u8; lost u8,
 *         nsteps u8, each: outcome u8 (bits 0-1), depth u8, lookups u8; record (empty: that of the
 *         step before), term, target str8
 *
 * The gate fills it from what auth/ found, which this room does not know. Terms beyond the ceiling
 * of bytes are counted.
 */
#ifndef GAPURA_POLICY_RECORD_SPF_H
#define GAPURA_POLICY_RECORD_SPF_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/wire.h"

#define RECORD_SPF_IDENTITIES 2u
#define RECORD_SPF_STEPS_MAX  40u
#define RECORD_SPF_BYTES_MAX  1024u /* of the texts of one identity's terms */

enum record_spf_identity { RECORD_SPF_MAILFROM, RECORD_SPF_HELO, RECORD_SPF_IDENTITIES_ };
enum record_spf_outcome { /* as enum spf_outcome has them */
                          RECORD_SPF_MATCH,
                          RECORD_SPF_NO_MATCH,
                          RECORD_SPF_FOLLOWED,
                          RECORD_SPF_ERROR,
};
struct record_spf_step {
    struct str record, term, target; /* target empty: nothing was looked up */
    uint8_t outcome, depth, lookups;
};
struct record_spf {
    uint8_t identity;
    struct str result, domain;
    uint8_t terms, voids, queries; /* used of the limits; 255: or more */
    uint8_t lost;                  /* steps that found no room here; 255: or more */
    struct record_spf_step *steps;
    unsigned nsteps;
};
/* One more step, if there is room for it (RECORD_SPF_STEPS_MAX places are the caller's). */
void record_spf_add(struct record_spf *, const struct record_spf_step *, size_t *bytes);

void record_spf_encode(struct buf *out, const struct record_spf *, unsigned n);
/* ERR_CORRUPT, ERR_NOMEM. Views into the bytes. */
int record_spf_decode(struct wire *, struct arena *, struct record_spf ret[RECORD_SPF_IDENTITIES],
                      unsigned *ret_n);
/* Each line after `indent`. */
void record_spf_text(struct buf *out, const struct record_spf *, const char *indent);
void record_spf_json(struct buf *out, const struct record_spf *, unsigned n); /* an array */

#endif
