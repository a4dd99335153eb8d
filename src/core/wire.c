/*
 * core/wire.c - little-endian cursors over records and messages.
 *
 * Called by the spool, the stores and the channels between roles. Never reads past the end,
 * whatever a length field says; never allocates when reading.
 */
#include "core/wire.h"

/* The next n bytes, or NULL once anything failed. */
static const uint8_t *
wire_take(struct wire *w, size_t n)
{
    const uint8_t *p = w->p;

    if (w->failed || n > (size_t)(w->end - w->p)) {
        w->failed = true;
        return NULL;
    }
    if (n)
        w->p += n;
    return p;
}

uint8_t
wire_u8(struct wire *w)
{
    const uint8_t *p = wire_take(w, 1);

    return p ? *p : 0;
}

uint16_t
wire_u16(struct wire *w)
{
    const uint8_t *p = wire_take(w, 2);

    return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

uint32_t
wire_u32(struct wire *w)
{
    const uint8_t *p = wire_take(w, 4);

    return p ? p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

uint64_t
wire_u64(struct wire *w)
{
    const uint8_t *p = wire_take(w, 8);
    uint64_t v = 0;

    if (!p)
        return 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

struct str
wire_bytes(struct wire *w, size_t n)
{
    const uint8_t *p = wire_take(w, n);

    return p ? str_of(p, n) : STR_NONE;
}

struct str
wire_str(struct wire *w)
{
    uint32_t n = wire_u32(w);

    return wire_bytes(w, n);
}

struct str
wire_str16(struct wire *w)
{
    uint16_t n = wire_u16(w);

    return wire_bytes(w, n);
}

void
wire_skip(struct wire *w, size_t n)
{
    wire_take(w, n);
}

size_t
wire_left(const struct wire *w)
{
    return w->failed ? 0 : (size_t)(w->end - w->p);
}

bool
wire_end(const struct wire *w)
{
    return !w->failed && w->p == w->end;
}

void
put_u8(struct buf *b, uint8_t v)
{
    buf_char(b, (char)v);
}

void
put_u16(struct buf *b, uint16_t v)
{
    buf_add(b, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8)}, 2);
}

void
put_u32(struct buf *b, uint32_t v)
{
    buf_add(b, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)},
            4);
}

void
put_u64(struct buf *b, uint64_t v)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> 8 * i);
    buf_add(b, bytes, sizeof(bytes));
}

void
put_str(struct buf *b, struct str s)
{
    if (s.n > UINT32_MAX || !buf_room(b, s.n + 4)) { /* both or neither */
        b->failed = true;
        return;
    }
    put_u32(b, (uint32_t)s.n);
    buf_str(b, s);
}

void
put_str16(struct buf *b, struct str s)
{
    if (s.n > UINT16_MAX || !buf_room(b, s.n + 2)) {
        b->failed = true;
        return;
    }
    put_u16(b, (uint16_t)s.n);
    buf_str(b, s);
}
