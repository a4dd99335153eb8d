/*
 * spool/record_tail.h - the open end of every payload: tagged fields of later versions.
 *
 * For envelope.c, which knows those of an envelope, and record_small.c, which knows one of an
 * outcome.
 */
#ifndef GAPURA_SPOOL_RECORD_TAIL_H
#define GAPURA_SPOOL_RECORD_TAIL_H

#include "core/wire.h"

/* Steps over {u16 tag, u32 length, bytes} until the end; false if they do not fill it exactly. The
 * field of that tag (0: none) is kept. */
static inline bool
record_tail_find(struct wire *w, uint16_t tag, struct str *ret)
{
    while (!w->failed && wire_left(w) > 0) {
        bool mine = wire_u16(w) == tag;
        struct str value = wire_str(w);

        if (mine && tag)
            *ret = value;
    }
    return wire_end(w);
}

static inline bool
record_tail(struct wire *w)
{
    struct str none;

    return record_tail_find(w, 0, &none);
}

static inline void
record_tail_put(struct buf *out, uint16_t tag, struct str value)
{
    put_u16(out, tag);
    put_str(out, value);
}

#endif
