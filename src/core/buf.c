/*
 * core/buf.c - a growing byte buffer with a ceiling and sticky failure.
 *
 * Called wherever bytes are put together. Never grows past its ceiling, never leaves half an
 * append.
 */
#include <stdarg.h>

#include "core/buf.h"

#define BUF_FIRST 256 /* bytes of the first allocation, unless the ceiling is lower */

void
buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void
buf_done(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void
buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

void
buf_shrink(struct buf *b, size_t keep)
{
    if (b->n || b->cap <= keep)
        return;
    free(b->p);
    b->p = NULL;
    b->cap = 0;
}

static bool
buf_grow(struct buf *b, size_t n)
{
    size_t need, cap;
    char *p;

    if (b->failed || b->n > b->max || n > b->max - b->n) {
        b->failed = true;
        return false;
    }
    need = b->n + n;
    if (need <= b->cap)
        return true;
    cap = MAX(b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2, (size_t)BUF_FIRST);
    cap = MIN(MAX(cap, need), b->max);
    p = realloc(b->p, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

char *
buf_room(struct buf *b, size_t n)
{
    if (!buf_grow(b, n))
        return NULL;
    if (!b->p && !buf_grow(b, 1))
        return NULL;
    return b->p + b->n;
}

void
buf_used(struct buf *b, size_t n)
{
    ENSURE(n <= b->cap - b->n);
    b->n += n;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0 || !buf_grow(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void
buf_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void
buf_c(struct buf *b, const char *cstr)
{
    buf_str(b, str_c(cstr));
}

void
buf_char(struct buf *b, char c)
{
    if (!buf_grow(b, 1))
        return;
    b->p[b->n++] = c;
}

void
buf_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, digits + at, sizeof(digits) - at);
}

void
buf_fmt(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof(small)) {
        buf_add(b, small, (size_t)n);
    } else if (buf_grow(b, (size_t)n)) {
        /* vsnprintf wants a byte for its NUL that the ceiling may not grant */
        char *text = malloc((size_t)n + 1);

        if (text && vsnprintf(text, (size_t)n + 1, fmt, again) == n)
            buf_add(b, text, (size_t)n);
        else
            b->failed = true;
        free(text);
    }
    va_end(again);
}

void
buf_drop(struct buf *b, size_t n)
{
    n = MIN(n, b->n);
    if (n == 0)
        return;
    b->n -= n;
    memmove(b->p, b->p + n, b->n);
}

/* Bytes at the beginning that stand in JSON as they are; most texts are nothing else. */
static size_t
json_plain(struct str s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) { /* eight at once; what may be none is looked at alone */
        uint64_t x, quote, slash, del;

        memcpy(&x, s.p + i, 8);
        quote = x ^ ones * '"';
        slash = x ^ ones * '\\';
        del = x ^ ones * 0x7f;
        if ((x | (x - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones)) & highs)
            break;
    }
    for (; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            break;
    }
    return i;
}

void
buf_json(struct buf *b, struct str s)
{
    size_t start = b->n, plain = 0, i = json_plain(s);

    if (i == s.n) {
        char *p = buf_room(b, s.n + 2);

        if (!p)
            return;
        p[0] = p[s.n + 1] = '"';
        if (s.n)
            memcpy(p + 1, s.p, s.n);
        buf_used(b, s.n + 2);
        return;
    }
    buf_char(b, '"');
    while (i < s.n && !b->failed) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = 1;
        unsigned hidden = 0;

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        if (c >= 0x80) {
            n = str_utf8_len(str_from(s, i));
            hidden = n ? str_hidden(s.p + i, n) : 0;
            if (n && !hidden) {
                i += n;
                continue;
            }
        }
        buf_add(b, s.p + plain, i - plain);
        if (hidden)
            buf_fmt(b, "\\u%04x", hidden);
        else if (c >= 0x80)
            buf_c(b, "\xef\xbf\xbd"); /* U+FFFD, one for each byte that fits nowhere */
        else if (c == '"' || c == '\\')
            buf_add(b, (char[]){'\\', (char)c}, 2);
        else
            buf_fmt(b, "\\u%04x", (unsigned)c);
        i += hidden ? n : 1;
        plain = i;
    }
    if (s.n)
        buf_add(b, s.p + plain, i - plain);
    buf_char(b, '"');
    if (b->failed)
        b->n = start;
}
