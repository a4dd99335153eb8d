/*
 * spool/record_small.c - payloads without recipients: intent, outcome, void, scope.
 *
 * Called by the courier for both ways and by the writer for voids. As in envelope.c a decoder
 * checks everything and gives views.
 */
#include "core/err.h"
#include "spool/record.h"
#include "spool/record_tail.h"

static void
id_put(struct buf *out, const struct spool_id *id)
{
    put_u32(out, id->node);
    put_u32(out, id->epoch);
    put_u64(out, id->seq);
}

static void
id_get(struct wire *w, struct spool_id *ret)
{
    ret->node = wire_u32(w);
    ret->epoch = wire_u32(w);
    ret->seq = wire_u64(w);
}

static void
endpoint_put(struct buf *out, const struct endpoint *e)
{
    buf_add(out, e->addr.b, sizeof e->addr.b);
    put_u16(out, e->port);
}

static void
endpoint_get(struct wire *w, struct endpoint *ret)
{
    struct str addr = wire_bytes(w, sizeof ret->addr.b);

    if (addr.n == sizeof ret->addr.b)
        memcpy(ret->addr.b, addr.p, sizeof ret->addr.b);
    ret->port = wire_u16(w);
}

static void
ordinals_put(struct buf *out, const uint32_t *ordinals, uint32_t n)
{
    put_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        put_u32(out, ordinals[i]);
}

static struct str
ordinals_get(struct wire *w, uint32_t *ret_n)
{
    uint32_t n = wire_u32(w);

    if (w->failed || n > wire_left(w) / 4) {
        w->failed = true;
        return STR_NONE;
    }
    *ret_n = n;
    return wire_bytes(w, (size_t)n * 4);
}

uint32_t
spool_ordinal_at(struct str wire, uint32_t i)
{
    struct wire w;

    ENSURE(i < wire.n / 4);
    wire_init(&w, wire.p + (size_t)i * 4, 4);
    return wire_u32(&w);
}

void
spool_intent_encode(struct buf *out, const struct spool_intent *i, const uint32_t *ordinals)
{
    id_put(out, &i->id);
    put_u32(out, i->attempt);
    put_u32(out, i->source);
    endpoint_put(out, &i->peer);
    ordinals_put(out, ordinals, i->nordinals);
}

int
spool_intent_decode(const struct spool_record *r, struct spool_intent *ret)
{
    struct spool_intent i = {0};
    struct wire w;

    wire_init(&w, r->payload.p, r->payload.n);
    id_get(&w, &i.id);
    i.attempt = wire_u32(&w);
    i.source = wire_u32(&w);
    endpoint_get(&w, &i.peer);
    i.ordinals_wire = ordinals_get(&w, &i.nordinals);
    if (!record_tail(&w))
        return ERR_CORRUPT;
    *ret = i;
    return 0;
}

#define OUTCOME_SIGNED_BY 1u
#define OUTCOME_TOLD      2u /* one byte: 1 */

void
spool_outcome_encode(struct buf *out, const struct spool_outcome *o, const uint32_t *ordinals)
{
    id_put(out, &o->id);
    put_u8(out, o->result);
    put_u8(out, o->intent_open);
    put_u16(out, o->code);
    for (size_t i = 0; i < ARRAY_LEN(o->enhanced); i++)
        put_u16(out, o->enhanced[i]);
    put_u32(out, o->attempts);
    put_u64(out, o->due);
    put_u64(out, o->wall);
    put_u32(out, o->source);
    endpoint_put(out, &o->peer);
    put_str16(out, o->text);
    ordinals_put(out, ordinals, o->nordinals);
    if (o->signed_by.n)
        record_tail_put(out, OUTCOME_SIGNED_BY, o->signed_by);
    if (o->told)
        record_tail_put(out, OUTCOME_TOLD, STR("\1"));
}

int
spool_outcome_decode(const struct spool_record *r, struct spool_outcome *ret)
{
    struct spool_outcome o = {0};
    struct wire w, tail;
    struct str told = STR_NONE;

    wire_init(&w, r->payload.p, r->payload.n);
    id_get(&w, &o.id);
    o.result = wire_u8(&w);
    o.intent_open = wire_u8(&w);
    o.code = wire_u16(&w);
    for (size_t i = 0; i < ARRAY_LEN(o.enhanced); i++)
        o.enhanced[i] = wire_u16(&w);
    o.attempts = wire_u32(&w);
    o.due = wire_u64(&w);
    o.wall = wire_u64(&w);
    o.source = wire_u32(&w);
    endpoint_get(&w, &o.peer);
    o.text = wire_str16(&w);
    o.ordinals_wire = ordinals_get(&w, &o.nordinals);
    tail = w;
    (void)record_tail_find(&tail, OUTCOME_TOLD, &told);
    o.told = told.n > 0;
    if (!record_tail_find(&w, OUTCOME_SIGNED_BY, &o.signed_by) || o.result == 0 ||
        o.result > SPOOL_ASIDE || o.intent_open > 1)
        return ERR_CORRUPT;
    *ret = o;
    return 0;
}

void
spool_void_encode(struct buf *out, const struct spool_void *v)
{
    put_u32(out, v->epoch);
    put_u64(out, v->first);
    put_u64(out, v->last);
}

int
spool_void_decode(const struct spool_record *r, struct spool_void *ret)
{
    struct spool_void v;
    struct wire w;

    wire_init(&w, r->payload.p, r->payload.n);
    v.epoch = wire_u32(&w);
    v.first = wire_u64(&w);
    v.last = wire_u64(&w);
    if (!record_tail(&w) || v.first > v.last)
        return ERR_CORRUPT;
    *ret = v;
    return 0;
}

void
spool_scope_encode(struct buf *out, const struct spool_scope *s)
{
    id_put(out, &s->scope);
    put_u8(out, s->verb);
    put_u8(out, s->forever);
    put_u64(out, s->made);
    put_u64(out, s->until);
    id_put(out, &s->ceiling);
    put_str16(out, s->domain);
    put_str16(out, s->tenant);
    put_str16(out, s->sender);
    put_str16(out, s->source);
    put_str16(out, s->campaign);
    put_str16(out, s->provider);
    put_str16(out, s->reason);
    put_str16(out, s->by);
    put_str16(out, s->target);
}

int
spool_scope_decode(const struct spool_record *r, struct spool_scope *ret)
{
    struct spool_scope s = {0};
    struct wire w;

    wire_init(&w, r->payload.p, r->payload.n);
    id_get(&w, &s.scope);
    s.verb = wire_u8(&w);
    s.forever = wire_u8(&w);
    s.made = wire_u64(&w);
    s.until = wire_u64(&w);
    id_get(&w, &s.ceiling);
    s.domain = wire_str16(&w);
    s.tenant = wire_str16(&w);
    s.sender = wire_str16(&w);
    s.source = wire_str16(&w);
    s.campaign = wire_str16(&w);
    s.provider = wire_str16(&w);
    s.reason = wire_str16(&w);
    s.by = wire_str16(&w);
    s.target = wire_str16(&w);
    if (!record_tail(&w) || s.verb == 0 || s.verb > SPOOL_MOVE || s.forever > 1)
        return ERR_CORRUPT;
    *ret = s;
    return 0;
}
