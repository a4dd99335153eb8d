/*
 * core/buf.h - a growing byte buffer, born with its ceiling.
 *
 * Errors are sticky: once an append would pass the ceiling (or memory is out) `failed` is set, the
 * contents stay as they were and every later append is ignored; the caller checks once at the end.
 */
#ifndef GAPURA_CORE_BUF_H
#define GAPURA_CORE_BUF_H

#include "core/str.h"

struct buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max;
    bool failed;
};

void buf_init(struct buf *b, size_t max);    /* allocates nothing yet */
void buf_done(struct buf *b);                /* frees; safe on a zeroed struct; for CLEANUP */
void buf_clear(struct buf *b);               /* n = 0, failed = false, keeps memory */
void buf_shrink(struct buf *b, size_t keep); /* frees memory if cap > keep and n == 0 */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_c(struct buf *b, const char *cstr);
void buf_char(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v); /* decimal */
void buf_fmt(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for n more bytes to be written by the caller at p+n, then buf_used. NULL if it cannot be. */
char *buf_room(struct buf *b, size_t n);
void buf_used(struct buf *b, size_t n);
void buf_drop(struct buf *b, size_t n); /* removes n bytes from the front */
/* JSON string with quotes; invalid UTF-8 becomes U+FFFD, control characters \u00XX. */
void buf_json(struct buf *b, struct str s);

static inline struct str
buf_view(const struct buf *b)
{
    return (struct str){b->p, b->n};
}

#endif
