/*
 * spool/record_tail.h - the open end of every payload: tagged fields of later versions.
 *
 * For record.c, which knows those of an envelope, and record_small.c, which steps over all.
 */
#ifndef GAPURA_SPOOL_RECORD_TAIL_H
#define GAPURA_SPOOL_RECORD_TAIL_H

#include "core/wire.h"

/* Steps over {u16 tag, u32 length, bytes} until the end; false if they do not fill it exactly. */
static inline bool
record_tail(struct wire *w)
{
    while (!w->failed && wire_left(w) > 0) {
        wire_u16(w);
        wire_skip(w, wire_u32(w));
    }
    return wire_end(w);
}

#endif
