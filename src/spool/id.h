/*
 * spool/id.h - the name of a message: node, writer epoch, sequence. 128 bits, never from a clock.
 *
 * Epochs are given out by the spooler, one to each start of each writer, and never repeat on a
 * node: so (epoch, seq) is unique on it and says which stream holds the message. As text it is
 * 26 characters of base32. A recipient is (id, ordinal); ordinals count from 0.
 */
#ifndef GAPURA_SPOOL_ID_H
#define GAPURA_SPOOL_ID_H

#include "core/str.h"

struct spool_id {
    uint32_t node;
    uint32_t epoch;
    uint64_t seq;
};

#define SPOOL_ID_TEXT 27 /* with its NUL */

void spool_id_bytes(const struct spool_id *id, uint8_t dst[16]); /* big-endian: sorts by age */
void spool_id_from(const uint8_t src[16], struct spool_id *ret);
const char *spool_id_show(const struct spool_id *id, char dst[SPOOL_ID_TEXT]);
int spool_id_parse(struct str text, struct spool_id *ret);
static inline bool
spool_id_eq(const struct spool_id *a, const struct spool_id *b)
{
    return a->seq == b->seq && a->epoch == b->epoch && a->node == b->node;
}

#endif
