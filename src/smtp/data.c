/*
 * smtp/data.c - content framing in one pass over the bytes.
 *
 * Called by the server for each piece of input while a body is open. Copies nothing, allocates
 * nothing; each byte of clean text is looked at once, sixteen at a time where SSE2 is there.
 */
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "smtp/data.h"

enum framer_state {
    FRAME_BOL,    /* behind a true CRLF, or at the start: a dot counts here */
    FRAME_TEXT,   /* anywhere else */
    FRAME_CR,     /* one CR or more, not yet passed on */
    FRAME_DOT,    /* a dot at FRAME_BOL, not passed on */
    FRAME_DOT_CR, /* that dot and a CR */
};

/*
 * Length of the clean beginning of p: every CR has its LF and the other way round, no line begins
 * with a dot (if dots matter). A CR that ends the piece is left out: its LF may come.
 */
static size_t
clean_by_line(const char *p, size_t n, bool bol, bool dots)
{
    size_t i = 0;

    for (;;) {
        const char *nl, *cr;

        if (dots && bol && i < n && p[i] == '.')
            return i;
        if (i >= n)
            return n;
        nl = memchr(p + i, '\n', n - i);
        cr = memchr(p + i, '\r', nl ? (size_t)(nl - p) - i : n - i);
        if (!nl || cr != nl - 1)
            return cr ? (size_t)(cr - p) : nl ? (size_t)(nl - p) : n;
        i = (size_t)(nl - p) + 1;
        bol = true;
    }
}

#ifdef __SSE2__
/* Bit i: byte i is c, of 64 bytes in four registers. */
static inline uint64_t
mask_of(__m128i v0, __m128i v1, __m128i v2, __m128i v3, char c)
{
    __m128i want = _mm_set1_epi8(c);
    uint32_t m0 = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v0, want));
    uint32_t m1 = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v1, want));
    uint32_t m2 = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v2, want));
    uint32_t m3 = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v3, want));

    return (m0 | m1 << 16) | (uint64_t)(m2 | m3 << 16) << 32;
}

static inline __m128i
load16(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* The lowest bit of `starts` whose byte is a dot, as a mask; usually there is one start or none. */
static inline uint64_t
first_dot(const char *p, uint64_t starts)
{
    for (; starts; starts &= starts - 1)
        if (p[__builtin_ctzll(starts)] == '.')
            return starts & -starts;
    return 0;
}

static size_t
clean(const char *p, size_t n, bool bol, bool dots)
{
    uint64_t after_cr = 0, after_lf = bol;
    size_t i = 0;

    for (; n - i >= 64; i += 64) {
        __m128i v0 = load16(p + i), v1 = load16(p + i + 16);
        __m128i v2 = load16(p + i + 32), v3 = load16(p + i + 48);
        uint64_t cr = mask_of(v0, v1, v2, v3, '\r');
        uint64_t lf = mask_of(v0, v1, v2, v3, '\n');
        uint64_t due = cr << 1 | after_cr; /* where LFs must stand, and nowhere else */
        uint64_t odd = due ^ lf;

        if (dots)
            odd |= first_dot(p + i, lf << 1 | after_lf);
        if (odd) {
            size_t at = (size_t)__builtin_ctzll(odd);

            return i + at - (due >> at & 1); /* a CR without LF: stop at the CR itself */
        }
        after_cr = cr >> 63;
        after_lf = lf >> 63;
    }
    i -= after_cr; /* the rest decides about that CR */
    return i + clean_by_line(p + i, n - i, after_lf, dots);
}
#else
#define clean clean_by_line
#endif

void
smtp_framer_init(struct smtp_framer *f, bool dots, void (*sink)(void *ctx, const char *, size_t),
                 void *ctx)
{
    *f = (struct smtp_framer){.state = FRAME_BOL, .dots = dots, .sink = sink, .ctx = ctx};
}

static void
put(struct smtp_framer *f, const char *p, size_t n)
{
    f->open = p[n - 1] != '\n';
    f->sink(f->ctx, p, n);
}

/* A line end that was no CRLF. */
static void
put_bare(struct smtp_framer *f)
{
    f->bare = true;
    put(f, "\r\n", 2);
}

/* States that hold something back: true if byte c was taken. */
static bool
held_byte(struct smtp_framer *f, char c)
{
    switch ((enum framer_state)f->state) {
    case FRAME_CR:
        if (c == '\n') {
            put(f, "\r\n", 2);
            f->state = FRAME_BOL;
            return true;
        }
        if (c == '\r') {
            f->bare = true;
            return true;
        }
        put_bare(f);
        break;
    case FRAME_DOT:
        if (c == '\r') {
            f->state = FRAME_DOT_CR;
            return true;
        }
        break; /* the dot was stuffing */
    case FRAME_DOT_CR:
        if (c == '\n') {
            f->ended = true;
            return true;
        }
        f->state = FRAME_CR; /* the dot was stuffing; the CR may begin a run */
        return false;
    case FRAME_BOL:
    case FRAME_TEXT:
        break;
    }
    f->state = FRAME_TEXT;
    return false;
}

/* A byte that ended a clean stretch: always taken. */
static void
odd_byte(struct smtp_framer *f, char c)
{
    if (c == '\r') {
        f->state = FRAME_CR;
    } else if (c == '\n') {
        put_bare(f);
        f->state = FRAME_TEXT;
    } else {
        f->state = FRAME_DOT;
    }
}

size_t
smtp_framer_feed(struct smtp_framer *f, const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && !f->ended) {
        size_t len;

        if (f->state >= FRAME_CR) {
            i += held_byte(f, p[i]);
            continue;
        }
        len = clean(p + i, n - i, f->state == FRAME_BOL, f->dots);
        if (len) {
            put(f, p + i, len);
            f->state = p[i + len - 1] == '\n' ? FRAME_BOL : FRAME_TEXT;
            i += len;
        }
        if (i < n)
            odd_byte(f, p[i++]);
    }
    return i;
}

void
smtp_framer_finish(struct smtp_framer *f)
{
    if (f->state == FRAME_CR)
        put_bare(f);
    else if (f->open)
        put(f, "\r\n", 2);
    f->state = FRAME_BOL;
}
