/*
 * spool/record.h - payloads of the records that say something of messages: intent, outcome, void,
 * scope. What a message itself is stands in spool/envelope.h.
 *
 * Encoders append to a buf; decoders give views into the record and check everything, since the
 * courier treats the log as hostile input: ERR_CORRUPT. Unknown fields at the end of a payload are
 * skipped (spool/record_tail.h). Times are wall-clock nanoseconds, 0 where there is none.
 */
#ifndef GAPURA_SPOOL_RECORD_H
#define GAPURA_SPOOL_RECORD_H

#include "spool/format.h"

struct spool_intent {
    struct spool_id id;
    uint32_t attempt;
    uint32_t source; /* CRC-32C of the source's name: settings may change */
    struct endpoint peer;
    uint32_t nordinals;
    struct str ordinals_wire; /* u32 each; encode takes an array */
};
void spool_intent_encode(struct buf *out, const struct spool_intent *i, const uint32_t *ordinals);
int spool_intent_decode(const struct spool_record *r, struct spool_intent *ret);

enum spool_result {
    SPOOL_DELIVERED = 1, /* 2yz from the next hop */
    SPOOL_FAILED = 2,    /* 5yz, or policy: will not be tried again */
    SPOOL_EXPIRED = 3,
    SPOOL_RETRY = 4,   /* due again at `due` */
    SPOOL_UNKNOWN = 5, /* connection lost after the final dot; due again at `due` */
    SPOOL_HELD = 6,    /* operator or law; waits for release */
    SPOOL_RELEASED = 7,
    SPOOL_REMOVED = 8, /* by an operator, with reason */
    SPOOL_ASIDE = 9,   /* backscatter law: kept, not bounced */
};
static inline bool
spool_result_settles(uint8_t r)
{
    return r == SPOOL_DELIVERED || r == SPOOL_FAILED || r == SPOOL_EXPIRED || r == SPOOL_REMOVED;
}

struct spool_outcome { /* same result for several recipients of one message */
    struct spool_id id;
    uint8_t result;
    uint8_t intent_open; /* 1: also says that an intent for these recipients is closed */
    uint16_t code;       /* SMTP reply code or 0 */
    uint16_t enhanced[3];
    uint32_t attempts; /* so far */
    uint64_t due;      /* wall ns, RETRY and UNKNOWN */
    uint64_t wall;     /* when */
    uint32_t source;
    struct endpoint peer;
    struct str text;      /* reply or reason, clipped to 512 bytes by the caller */
    struct str signed_by; /* keys of its DKIM signatures, with spaces between; may be empty */
    bool told;            /* the sender was told that they are late, then or before */
    uint32_t nordinals;   /* 0: all recipients still open */
    struct str ordinals_wire;
};
void spool_outcome_encode(struct buf *out, const struct spool_outcome *o, const uint32_t *ordinals);
int spool_outcome_decode(const struct spool_record *r, struct spool_outcome *ret);
/* i-th ordinal of an ordinals_wire. */
uint32_t spool_ordinal_at(struct str wire, uint32_t i);

/* Ids [first, last] of one epoch. */
struct spool_void {
    uint32_t epoch;
    uint64_t first, last;
};
void spool_void_encode(struct buf *out, const struct spool_void *v);
int spool_void_decode(const struct spool_record *r, struct spool_void *ret);

enum spool_verb { SPOOL_SUSPEND = 1, SPOOL_RESUME = 2, SPOOL_PURGE = 3, SPOOL_MOVE = 4 };
struct spool_scope { /* acts on messages with seq/epoch below the ceiling, or on all to come */
    struct spool_id scope; /* its own name */
    uint8_t verb;
    uint8_t forever;      /* 1: also on what comes later (suspend); 0: ids below `ceiling` */
    uint64_t made, until; /* wall ns; until 0: no end */
    struct spool_id ceiling;
    struct str domain, tenant, sender, source, campaign, provider; /* empty: any */
    struct str reason, by, target;
};
void spool_scope_encode(struct buf *out, const struct spool_scope *s);
int spool_scope_decode(const struct spool_record *r, struct spool_scope *ret);

#endif
