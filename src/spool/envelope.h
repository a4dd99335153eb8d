/*
 * spool/envelope.h - payloads of the records that bring a message: MESSAGE, and COPY, which
 * compaction writes of one.
 *
 * Encoders append to a buf; decoders give views into the record, valid as long as its bytes, and
 * check everything, since the courier treats the log as hostile input. Unknown fields at the end of
 * a payload are skipped (spool/record_tail.h). docs/formats/log.md has the bytes.
 */
#ifndef GAPURA_SPOOL_ENVELOPE_H
#define GAPURA_SPOOL_ENVELOPE_H

#include "spool/format.h"

enum spool_class { /* order is rank: a lower one overtakes inside a destination */
                   SPOOL_CLASS_SYSTEM = 0, /* DSNs and our own notices */
                   SPOOL_CLASS_INSIDE = 1, /* inbound mail for an inside server */
                   SPOOL_CLASS_TRANSACTIONAL = 2,
                   SPOOL_CLASS_BULK = 3,
};

#define SPOOL_MAIL_INBOUND    0x0001u /* came through the guard */
#define SPOOL_MAIL_SUBMITTED  0x0002u /* came from an authenticated user or a trusted network */
#define SPOOL_MAIL_DSN_OK     0x0004u /* the envelope domain was authenticated: a DSN may go there */
#define SPOOL_MAIL_8BIT       0x0008u /* BODY=8BITMIME, or 8-bit bytes were seen */
#define SPOOL_MAIL_UTF8       0x0010u /* SMTPUTF8 was asked for */
#define SPOOL_MAIL_HOLD       0x0020u /* born on hold */
#define SPOOL_MAIL_REQUIRETLS 0x0040u
#define SPOOL_MAIL_CHUNKED    0x0080u /* body lies in chunks, listed in the payload */
#define SPOOL_MAIL_TLS        0x0100u /* arrived over TLS */
#define SPOOL_MAIL_BINARY     0x0200u /* BODY=BINARYMIME: lines mean nothing, it goes by BDAT alone */
#define SPOOL_MAIL_DELIVERBY  0x0400u /* deliver_by is there: told here so that an index knows */

#define SPOOL_NOTIFY_NEVER   1u /* RFC 3461 4.1; 0 means no NOTIFY was given */
#define SPOOL_NOTIFY_SUCCESS 2u
#define SPOOL_NOTIFY_FAILURE 4u
#define SPOOL_NOTIFY_DELAY   8u

enum spool_by { /* RFC 2852: what becomes of a message that is late */
                SPOOL_BY_NONE = 0,
                SPOOL_BY_NOTIFY = 1, /* its sender is told, it is still tried */
                SPOOL_BY_RETURN = 2, /* it is returned */
};
#define SPOOL_PRIORITY_MAX 9 /* RFC 6710: -9 to 9 */

enum spool_ret { SPOOL_RET_NONE = 0, SPOOL_RET_FULL = 1, SPOOL_RET_HDRS = 2 };

#define SPOOL_RCPT_HOLD 1u /* flags: born on hold, by the verdict of the guard */

struct spool_rcpt {
    struct str address; /* as it will stand in RCPT TO, without <> */
    struct str orcpt;   /* RFC 3461 value, still xtext ("rfc822;..."), or empty */
    struct str via;     /* name of a route that the gate chose (inside host set), or empty */
    uint8_t notify;
    uint8_t flags;
};

struct spool_chunk {      /* one piece of a large body, in order */
    struct spool_loc loc; /* of the body bytes */
    uint32_t length;
    uint32_t crc;
    uint64_t generation;
};

struct spool_envelope {
    struct spool_id id;
    uint32_t tenant;
    uint16_t flags; /* SPOOL_MAIL_* */
    uint8_t class;
    uint8_t ret;         /* enum spool_ret */
    uint64_t received;   /* wall ns */
    uint64_t expires;    /* wall ns; 0: by queue settings */
    uint64_t not_before; /* wall ns; 0: now */
    struct addr client;
    struct str helo, user; /* user: login or trusted network's name; empty for strangers */
    struct str sender;     /* MAIL FROM without <>; empty is the null sender */
    struct str envid;      /* xtext as given */
    struct str message_id; /* of the header, for events and for repeats */
    uint64_t settings;     /* generation that decided */
    uint64_t size;         /* whole body in bytes */
    /* Tagged fields behind the others: absent when zero. */
    uint64_t deliver_by; /* wall ns, if by_mode */
    uint8_t by_mode;     /* enum spool_by */
    bool by_trace;       /* each relay tells the sender */
    int8_t priority;
    struct str decision;  /* why it was taken: bytes of policy/record.h, not looked at here */
    struct str report_to; /* whom failures are told, with NULs between; empty: the sender */
    uint32_t nrcpt;
    uint32_t nchunks;
    struct str chunks_wire; /* read with spool_chunk_next */
    struct str rcpts_wire;  /* read with spool_rcpt_next */
};

/* rcpts and chunks are arrays; env->nrcpt and ->nchunks count them; the _wire fields are ignored.
 */
void spool_envelope_encode(struct buf *out, const struct spool_envelope *env,
                           const struct spool_rcpt *rcpts, const struct spool_chunk *chunks);
/* node and epoch of the id come from the segment; seq from the record. ERR_CORRUPT. */
int spool_envelope_decode(const struct spool_record *r, uint32_t node, uint32_t epoch,
                          struct spool_envelope *ret);
/* 1 got one, 0 end, ERR_CORRUPT; *at starts at 0 (a byte offset into rcpts_wire/chunks_wire). */
int spool_rcpt_next(const struct spool_envelope *env, size_t *at, struct spool_rcpt *ret);
int spool_chunk_next(const struct spool_envelope *env, size_t *at, struct spool_chunk *ret);
void spool_chunk_put(struct buf *wire, const struct spool_chunk *chunk);

struct spool_copy_state { /* of each remaining recipient, in the order of the copy's recipients */
    uint32_t ordinal;     /* in the original message: ids never move */
    uint32_t attempts;
    uint64_t due;
    uint8_t result; /* RETRY, HELD, UNKNOWN, ASIDE or 0 */
};
/* A copy's payload: the original's id, its state rows, then an envelope as above. Its chunks, if
 * it has any, are env->chunks_wire as it stands, built with spool_chunk_put. */
void spool_copy_encode(struct buf *out, const struct spool_envelope *env,
                       const struct spool_rcpt *rcpts, const struct spool_copy_state *states);
/* `states` gets a view read with spool_copy_state_at. */
int spool_copy_decode(const struct spool_record *r, struct spool_envelope *ret,
                      struct str *ret_states);
int spool_copy_state_at(struct str states, uint32_t i, struct spool_copy_state *ret);

#endif
