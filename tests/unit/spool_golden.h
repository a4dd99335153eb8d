/*
 * tests/unit/spool_golden.h - the records of the golden segments of version 1.
 *
 * The generator (tests/support/spool_golden.c) writes them, test_spool_format.c reads them back. A
 * golden file once committed is never made anew: a later version gets one of its own beside it.
 */
#ifndef GAPURA_SPOOL_GOLDEN_H
#define GAPURA_SPOOL_GOLDEN_H

#include "core/crc32c.h"
#include "spool/envelope.h"
#include "spool/record.h"

#define GOLDEN_UNITS 6u
#define GOLDEN_FILE  "spool-v1.seg"
#define GOLDEN_TAGS  "spool-v1-tags.seg" /* envelopes with the tagged fields that came later */
#define GOLDEN_BODY  "From: a@example.org\r\nSubject: golden\r\n\r\nBody.\r\n"

static const struct spool_segment golden_segment = {
    .number = 7,
    .generation = UINT64_C(0x1122334455),
    .size = GOLDEN_UNITS * SPOOL_UNIT,
    .seq = 3,
    .node = 0xa1b2c3d4,
    .epoch = 9,
    .stream = SPOOL_STREAM_GATE << 8 | 1,
    .version = SPOOL_VERSION,
    .state = SPOOL_SEGMENT_USED,
    .compatible = SPOOL_SEGMENT_PREWRITTEN,
};
static const struct spool_rcpt golden_rcpts[2] = {
    {{"to@example.net", 14}, {"rfc822;to@example.net", 21}, {"", 0}, SPOOL_NOTIFY_FAILURE, 0},
    {{"b@example.com", 13}, {"", 0}, {"inside", 6}, 0, 1},
};
static const struct spool_chunk golden_chunks[2] = {
    {{5, 8192}, 262144, 0x01020304, 77},
    {{6, 4096}, 17, 0xdeadbeef, 78},
};
static const uint32_t golden_ordinals[2] = {0, 1};
static const struct endpoint golden_peer = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}}, 25};

static inline struct spool_envelope
golden_envelope(void)
{
    return (struct spool_envelope){
        .id = {0xa1b2c3d4, 9, 41},
        .tenant = 12,
        .flags = SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_8BIT,
        .class = SPOOL_CLASS_TRANSACTIONAL,
        .ret = SPOOL_RET_HDRS,
        .received = UINT64_C(1700000000000000000),
        .expires = UINT64_C(1700000432000000000),
        .not_before = 5,
        .client = golden_peer.addr,
        .helo = STR("client.example.org"),
        .user = STR("anna"),
        .sender = STR("anna@example.org"),
        .envid = STR("QQ314159"),
        .message_id = STR("<1@example.org>"),
        .settings = 33,
        .size = sizeof GOLDEN_BODY - 1,
        .nrcpt = 2,
    };
}
static inline struct spool_outcome
golden_outcome(void)
{
    return (struct spool_outcome){
        .id = {0xa1b2c3d4, 9, 41},
        .result = SPOOL_RETRY,
        .intent_open = 1,
        .code = 451,
        .enhanced = {4, 7, 1},
        .attempts = 2,
        .due = UINT64_C(1700000300000000000),
        .wall = UINT64_C(1700000001000000000),
        .source = 0xcafe,
        .peer = golden_peer,
        .text = STR("4.7.1 greylisted"),
        .nordinals = 2,
    };
}
static inline struct spool_scope
golden_scope(void)
{
    return (struct spool_scope){
        .scope = {0xa1b2c3d4, 9, 44},
        .verb = SPOOL_SUSPEND,
        .forever = 1,
        .made = 1,
        .until = 2,
        .ceiling = {0xa1b2c3d4, 9, 43},
        .domain = STR("example.net"),
        .tenant = STR("12"),
        .sender = STR("s"),
        .source = STR("ip-1"),
        .campaign = STR("c"),
        .provider = STR("p"),
        .reason = STR("their disk is full"),
        .by = STR("root"),
        .target = STR("t"),
    };
}
/* Payload i of the golden segment: type by type. */
static inline uint8_t
golden_payload(unsigned i, struct buf *out)
{
    struct spool_envelope env = golden_envelope();
    struct spool_intent intent = {
        .id = env.id, .attempt = 2, .source = 0xcafe, .peer = golden_peer, .nordinals = 2};
    struct spool_outcome outcome = golden_outcome();
    struct spool_void voided = {9, 100, 105};
    struct spool_scope scope = golden_scope();
    struct spool_copy_state states[2] = {{4, 1, 99, SPOOL_RETRY}, {8, 2, 0, SPOOL_HELD}};

    switch (i) {
    case 0:
        spool_envelope_encode(out, &env, golden_rcpts, NULL);
        return SPOOL_MESSAGE;
    case 1:
        return SPOOL_CHUNK;
    case 2:
        spool_intent_encode(out, &intent, golden_ordinals);
        return SPOOL_INTENT;
    case 3:
        spool_outcome_encode(out, &outcome, golden_ordinals);
        return SPOOL_OUTCOME;
    case 4:
        spool_void_encode(out, &voided);
        return SPOOL_VOID;
    case 5:
        spool_scope_encode(out, &scope);
        return SPOOL_SCOPE;
    case 6:
        spool_copy_encode(out, &env, golden_rcpts, states);
        return SPOOL_COPY;
    case 7:
        env.flags |= SPOOL_MAIL_CHUNKED;
        env.nchunks = 2;
        spool_envelope_encode(out, &env, golden_rcpts, golden_chunks);
        return SPOOL_MESSAGE;
    default:
        return 0;
    }
}
#define GOLDEN_RECORDS 8u

/* The same of the segment with tagged fields. */
static inline uint8_t
golden_tagged(unsigned i, struct buf *out)
{
    struct spool_envelope env = golden_envelope();
    struct spool_copy_state states[2] = {{4, 1, 99, SPOOL_RETRY}, {8, 2, 0, SPOOL_HELD}};

    env.flags |= SPOOL_MAIL_DELIVERBY;
    env.deliver_by = UINT64_C(1700000600000000000);
    env.by_mode = SPOOL_BY_RETURN;
    env.by_trace = true;
    env.priority = -9;
    switch (i) {
    case 0:
        spool_envelope_encode(out, &env, golden_rcpts, NULL);
        return SPOOL_MESSAGE;
    case 1:
        env.by_mode = SPOOL_BY_NOTIFY;
        env.by_trace = false;
        env.priority = 9;
        spool_copy_encode(out, &env, golden_rcpts, states);
        return SPOOL_COPY;
    case 2:
        env.flags |= SPOOL_MAIL_CHUNKED | SPOOL_MAIL_BINARY;
        env.nchunks = 2;
        env.by_mode = SPOOL_BY_NONE;
        env.priority = 3;
        spool_envelope_encode(out, &env, golden_rcpts, golden_chunks);
        return SPOOL_MESSAGE;
    default:
        return 0;
    }
}
#define GOLDEN_TAGGED 3u

/* Batch `number` with records [from, to) at `dst`; returns its bytes. Every type but the second
 * message carries no body, the chunk carries the same body as the message. */
static inline uint64_t
golden_batch(uint8_t *dst, uint64_t number, uint64_t position, unsigned from, unsigned to,
             uint8_t (*payload_of)(unsigned i, struct buf *out))
{
    struct spool_batch b = {.number = number,
                            .prev_end = position,
                            .position = position,
                            .wall = UINT64_C(1700000000500000000),
                            .nrecords = to - from};
    uint32_t salt = spool_salt(&golden_segment);
    uint64_t body_at;
    struct buf dir, payload;

    buf_init(&dir, 1 << 16);
    buf_init(&payload, 1 << 16);
    for (int pass = 0; pass < 2; pass++) { /* the second one knows where bodies begin */
        body_at = SPOOL_BATCH_HEADER + dir.n;
        buf_clear(&dir);
        b.data_bytes = 0;
        for (unsigned i = from; i < to; i++) {
            struct spool_record r = {.seq = 41 + i};
            buf_clear(&payload);
            r.type = payload_of(i, &payload);
            r.payload = buf_view(&payload);
            if (r.type == SPOOL_CHUNK || i == 0) {
                r.body_off = body_at + b.data_bytes;
                r.body_len = sizeof GOLDEN_BODY - 1;
                r.body_crc = crc32c(salt, GOLDEN_BODY, r.body_len);
                memcpy(dst + r.body_off, GOLDEN_BODY, pass * r.body_len);
                b.data_bytes += round_up(r.body_len, 8);
            }
            spool_record_encode(&dir, &r);
        }
    }
    ENSURE(!dir.failed && !payload.failed);
    memcpy(dst + SPOOL_BATCH_HEADER, dir.p, dir.n);
    b.dir_bytes = (uint32_t)dir.n;
    b.dir_crc = crc32c(salt, dir.p, dir.n);
    b.length = round_up(body_at + b.data_bytes, SPOOL_UNIT);
    spool_batch_encode(&b, &golden_segment, dst);
    buf_done(&dir);
    buf_done(&payload);
    return b.length;
}

static inline void
golden_make(uint8_t file[GOLDEN_UNITS * SPOOL_UNIT])
{
    uint64_t at = SPOOL_UNIT;

    memset(file, 0, GOLDEN_UNITS * SPOOL_UNIT);
    spool_segment_encode(&golden_segment, file);
    at += golden_batch(file + at, 20, 81920, 0, 3, golden_payload);
    at += golden_batch(file + at, 21, 81920 + SPOOL_UNIT, 3, 4, golden_payload);
    golden_batch(file + at, 22, 81920 + 2 * SPOOL_UNIT, 4, GOLDEN_RECORDS, golden_payload);
}
static inline void
golden_make_tagged(uint8_t file[GOLDEN_UNITS * SPOOL_UNIT])
{
    memset(file, 0, GOLDEN_UNITS * SPOOL_UNIT);
    spool_segment_encode(&golden_segment, file);
    golden_batch(file + SPOOL_UNIT, 20, 81920, 0, GOLDEN_TAGGED, golden_tagged);
}

#endif
