/*
 * courier/window.h - bytes of finished segments, read ahead: a queue that drains reads its segments
 * nearly in order, so one call brings many records or bodies.
 *
 * Only of segments that nobody writes any more: their bytes do not change.
 */
#ifndef GAPURA_COURIER_WINDOW_H
#define GAPURA_COURIER_WINDOW_H

#include "spool/format.h"
#include "spool/reader.h"

#define WINDOW_SIZE (256u << 10)
#define WINDOWS     8u

struct window {
    uint64_t segment, generation, at; /* what its bytes are, and from which offset on */
    uint64_t used;                    /* tick of the last use */
    size_t n;
    char *p; /* WINDOW_SIZE bytes, made when first needed */
};
struct windows {
    struct window items[WINDOWS];
    uint64_t tick;
};

/* n bytes at that offset, valid until the next call; NULL: read them in another way. */
const char *windows_read(struct windows *, struct spool_files *, const struct spool_segment *,
                         uint64_t offset, size_t n);
void windows_done(struct windows *);

#endif
