/*
 * spool/envelope.c - payloads of messages and copies: envelope, recipients, chunks.
 *
 * Called by the gate (encode) and by the courier (both ways). A decoder checks the whole payload
 * before it returns, so that counts it hands out are those of the bytes; never allocates, never
 * copies text. The other records are in record_small.c.
 */
#include "spool/envelope.h"

#include "core/err.h"
#include "core/wire.h"
#include "spool/record.h"

#define CHUNK_BYTES    32u
#define STATE_BYTES    20u
#define RCPT_MIN_BYTES 8u

/* Tagged fields of an envelope. A number once given is never used for anything else. */
enum envelope_tag {
    TAG_DELIVER_BY = 1, /* when u64, mode u8, trace u8 */
    TAG_PRIORITY = 2,   /* u8: the priority and 9 */
    TAG_DECISION = 3,   /* bytes of policy/record.h */
    TAG_REPORT_TO = 4,  /* addresses with NULs between */
};
#define DELIVER_BY_BYTES 10u
#define PRIORITY_BYTES   1u

static void
rcpt_put(struct buf *out, const struct spool_rcpt *r)
{
    put_u8(out, r->notify);
    put_u8(out, r->flags);
    put_str16(out, r->address);
    put_str16(out, r->orcpt);
    put_str16(out, r->via);
}

void
spool_chunk_put(struct buf *wire, const struct spool_chunk *chunk)
{
    put_u64(wire, chunk->loc.segment);
    put_u64(wire, chunk->loc.offset);
    put_u32(wire, chunk->length);
    put_u32(wire, chunk->crc);
    put_u64(wire, chunk->generation);
}

static void
envelope_put(struct buf *out, const struct spool_envelope *env, const struct spool_rcpt *rcpts)
{
    size_t bytes = 0;

    put_u32(out, env->tenant);
    put_u16(out, env->flags);
    put_u8(out, env->class);
    put_u8(out, env->ret);
    put_u64(out, env->received);
    put_u64(out, env->expires);
    put_u64(out, env->not_before);
    put_u64(out, env->settings);
    put_u64(out, env->size);
    buf_add(out, env->client.b, sizeof env->client.b);
    put_str16(out, env->helo);
    put_str16(out, env->user);
    put_str16(out, env->sender);
    put_str16(out, env->envid);
    put_str16(out, env->message_id);
    for (uint32_t i = 0; i < env->nrcpt; i++)
        bytes += RCPT_MIN_BYTES + rcpts[i].address.n + rcpts[i].orcpt.n + rcpts[i].via.n;
    if (bytes > UINT32_MAX)
        out->failed = true;
    put_u32(out, env->nrcpt);
    put_u32(out, (uint32_t)bytes);
    for (uint32_t i = 0; i < env->nrcpt; i++)
        rcpt_put(out, &rcpts[i]);
    put_u32(out, env->nchunks);
}

static void
tags_put(struct buf *out, const struct spool_envelope *env)
{
    if (env->by_mode) {
        put_u16(out, TAG_DELIVER_BY);
        put_u32(out, DELIVER_BY_BYTES);
        put_u64(out, env->deliver_by);
        put_u8(out, env->by_mode);
        put_u8(out, env->by_trace);
    }
    if (env->priority) {
        put_u16(out, TAG_PRIORITY);
        put_u32(out, PRIORITY_BYTES);
        put_u8(out, (uint8_t)(env->priority + SPOOL_PRIORITY_MAX));
    }
    if (env->decision.n) {
        put_u16(out, TAG_DECISION);
        put_str(out, env->decision);
    }
    if (env->report_to.n) {
        put_u16(out, TAG_REPORT_TO);
        put_str(out, env->report_to);
    }
}

void
spool_envelope_encode(struct buf *out, const struct spool_envelope *env,
                      const struct spool_rcpt *rcpts, const struct spool_chunk *chunks)
{
    envelope_put(out, env, rcpts);
    for (uint32_t i = 0; i < env->nchunks; i++)
        spool_chunk_put(out, &chunks[i]);
    tags_put(out, env);
}

/* One recipient off the cursor; false if it does not check out. */
static bool
rcpt_get(struct wire *w, struct spool_rcpt *ret)
{
    ret->notify = wire_u8(w);
    ret->flags = wire_u8(w);
    ret->address = wire_str16(w);
    ret->orcpt = wire_str16(w);
    ret->via = wire_str16(w);
    return !w->failed && ret->address.n > 0;
}

/* Counts promised in the payload must be those of the bytes: callers size arrays by them. */
static bool
rcpts_check(struct str bytes, uint32_t n)
{
    struct spool_rcpt r;
    struct wire w;

    wire_init(&w, bytes.p, bytes.n);
    for (uint32_t i = 0; i < n; i++) {
        if (!rcpt_get(&w, &r))
            return false;
    }
    return wire_end(&w);
}

/* One tagged field; what a later version adds to its end is passed over. */
static bool
tag_get(uint16_t tag, struct str value, struct spool_envelope *ret)
{
    struct wire w;
    uint8_t n;

    wire_init(&w, value.p, value.n);
    switch (tag) {
    case TAG_DELIVER_BY:
        ret->deliver_by = wire_u64(&w);
        ret->by_mode = wire_u8(&w);
        n = wire_u8(&w);
        ret->by_trace = n == 1;
        return !w.failed && n <= 1 &&
               (ret->by_mode == SPOOL_BY_NOTIFY || ret->by_mode == SPOOL_BY_RETURN);
    case TAG_PRIORITY:
        n = wire_u8(&w);
        ret->priority = (int8_t)(n - SPOOL_PRIORITY_MAX);
        return !w.failed && n <= 2 * SPOOL_PRIORITY_MAX;
    case TAG_DECISION:
        ret->decision = value;
        return true;
    case TAG_REPORT_TO:
        ret->report_to = value;
        return true;
    default:
        return true;
    }
}

static bool
tags_get(struct wire *w, struct spool_envelope *ret)
{
    while (!w->failed && wire_left(w) > 0) {
        uint16_t tag = wire_u16(w);
        struct str value = wire_bytes(w, wire_u32(w));
        if (w->failed || !tag_get(tag, value, ret))
            return false;
    }
    return wire_end(w);
}

static int
envelope_get(struct wire *w, struct spool_envelope *ret)
{
    struct str client;
    uint32_t bytes;

    ret->tenant = wire_u32(w);
    ret->flags = wire_u16(w);
    ret->class = wire_u8(w);
    ret->ret = wire_u8(w);
    ret->received = wire_u64(w);
    ret->expires = wire_u64(w);
    ret->not_before = wire_u64(w);
    ret->settings = wire_u64(w);
    ret->size = wire_u64(w);
    client = wire_bytes(w, sizeof ret->client.b);
    ret->helo = wire_str16(w);
    ret->user = wire_str16(w);
    ret->sender = wire_str16(w);
    ret->envid = wire_str16(w);
    ret->message_id = wire_str16(w);
    ret->nrcpt = wire_u32(w);
    bytes = wire_u32(w);
    ret->rcpts_wire = wire_bytes(w, bytes);
    ret->nchunks = wire_u32(w);
    if (w->failed || ret->nchunks > wire_left(w) / CHUNK_BYTES)
        return ERR_CORRUPT;
    ret->chunks_wire = wire_bytes(w, (size_t)ret->nchunks * CHUNK_BYTES);
    if (w->failed || !tags_get(w, ret) || !rcpts_check(ret->rcpts_wire, ret->nrcpt))
        return ERR_CORRUPT;
    if (ret->class > SPOOL_CLASS_BULK || ret->ret > SPOOL_RET_HDRS)
        return ERR_CORRUPT;
    memcpy(ret->client.b, client.p, sizeof ret->client.b);
    return 0;
}

int
spool_envelope_decode(const struct spool_record *r, uint32_t node, uint32_t epoch,
                      struct spool_envelope *ret)
{
    struct spool_envelope env = {.id = {node, epoch, r->seq}};
    struct wire w;
    int err;

    wire_init(&w, r->payload.p, r->payload.n);
    err = envelope_get(&w, &env);
    if (err < 0)
        return err;
    *ret = env;
    return 0;
}

int
spool_rcpt_next(const struct spool_envelope *env, size_t *at, struct spool_rcpt *ret)
{
    struct spool_rcpt r;
    struct wire w;

    if (*at >= env->rcpts_wire.n)
        return 0;
    wire_init(&w, env->rcpts_wire.p + *at, env->rcpts_wire.n - *at);
    if (!rcpt_get(&w, &r))
        return ERR_CORRUPT;
    *at = env->rcpts_wire.n - wire_left(&w);
    *ret = r;
    return 1;
}

int
spool_chunk_next(const struct spool_envelope *env, size_t *at, struct spool_chunk *ret)
{
    struct spool_chunk c;
    struct wire w;

    if (*at >= env->chunks_wire.n)
        return 0;
    wire_init(&w, env->chunks_wire.p + *at, env->chunks_wire.n - *at);
    c.loc.segment = wire_u64(&w);
    c.loc.offset = wire_u64(&w);
    c.length = wire_u32(&w);
    c.crc = wire_u32(&w);
    c.generation = wire_u64(&w);
    if (w.failed)
        return ERR_CORRUPT;
    *at += CHUNK_BYTES;
    *ret = c;
    return 1;
}

void
spool_copy_encode(struct buf *out, const struct spool_envelope *env, const struct spool_rcpt *rcpts,
                  const struct spool_copy_state *states)
{
    put_u32(out, env->id.node);
    put_u32(out, env->id.epoch);
    put_u64(out, env->id.seq);
    put_u32(out, env->nrcpt);
    for (uint32_t i = 0; i < env->nrcpt; i++) {
        put_u32(out, states[i].ordinal);
        put_u32(out, states[i].attempts);
        put_u64(out, states[i].due);
        put_u32(out, states[i].result);
    }
    envelope_put(out, env, rcpts);
    if (env->chunks_wire.n != (size_t)env->nchunks * CHUNK_BYTES)
        out->failed = true;
    buf_str(out, env->chunks_wire);
    tags_put(out, env);
}

int
spool_copy_decode(const struct spool_record *r, struct spool_envelope *ret, struct str *ret_states)
{
    struct spool_envelope env = {0};
    struct spool_copy_state state;
    struct str states;
    struct wire w;
    uint32_t n;
    int err;

    wire_init(&w, r->payload.p, r->payload.n);
    env.id.node = wire_u32(&w);
    env.id.epoch = wire_u32(&w);
    env.id.seq = wire_u64(&w);
    n = wire_u32(&w);
    if (w.failed || n > wire_left(&w) / STATE_BYTES)
        return ERR_CORRUPT;
    states = wire_bytes(&w, (size_t)n * STATE_BYTES);
    err = envelope_get(&w, &env);
    if (err < 0)
        return err;
    if (env.nrcpt != n)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < n; i++) {
        if (spool_copy_state_at(states, i, &state) < 0)
            return ERR_CORRUPT;
    }
    *ret = env;
    *ret_states = states;
    return 0;
}

int
spool_copy_state_at(struct str states, uint32_t i, struct spool_copy_state *ret)
{
    struct spool_copy_state s;
    struct wire w;
    uint32_t result;

    if (i >= states.n / STATE_BYTES)
        return ERR_NOTFOUND;
    wire_init(&w, states.p + (size_t)i * STATE_BYTES, STATE_BYTES);
    s.ordinal = wire_u32(&w);
    s.attempts = wire_u32(&w);
    s.due = wire_u64(&w);
    result = wire_u32(&w);
    if (result > SPOOL_ASIDE)
        return ERR_CORRUPT;
    s.result = (uint8_t)result;
    *ret = s;
    return 0;
}
