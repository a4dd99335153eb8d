/*
 * core/wire.h - little-endian cursors for records on disk and messages between roles.
 *
 * Both are sticky: after the first failure every call does nothing and reads give 0 or empty views;
 * the caller checks once. A message reader must end with wire_end(): every byte consumed.
 */
#ifndef GAPURA_CORE_WIRE_H
#define GAPURA_CORE_WIRE_H

#include "core/buf.h"

struct wire {
    const uint8_t *p, *end;
    bool failed;
};

static inline void
wire_init(struct wire *w, const void *p, size_t n)
{
    *w = (struct wire){.p = p, .end = (const uint8_t *)p + n};
}
uint8_t wire_u8(struct wire *w);
uint16_t wire_u16(struct wire *w);
uint32_t wire_u32(struct wire *w);
uint64_t wire_u64(struct wire *w);
struct str wire_bytes(struct wire *w, size_t n); /* a view into the input */
struct str wire_str(struct wire *w);             /* u32 length, bytes */
struct str wire_str16(struct wire *w);           /* u16 length, bytes */
void wire_skip(struct wire *w, size_t n);
size_t wire_left(const struct wire *w);
bool wire_end(const struct wire *w); /* no failure and nothing left */

void put_u8(struct buf *b, uint8_t v);
void put_u16(struct buf *b, uint16_t v);
void put_u32(struct buf *b, uint32_t v);
void put_u64(struct buf *b, uint64_t v);
void put_str(struct buf *b, struct str s);   /* u32 length, bytes */
void put_str16(struct buf *b, struct str s); /* u16 length, bytes; over 65535 sets b->failed */

#endif
