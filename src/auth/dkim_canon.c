/*
 * auth/dkim_canon.c - simple and relaxed body canonicalization as push filters.
 *
 * Called by dkim_message. Most bytes of most mail are in canonical form already: runs of them are
 * found 32 at a time and go to the hash from where they lie.
 */
#include "core/openssl.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "auth/dkim_canon.h"
#include "auth/dkim_crypto.h"
#include "core/err.h"

#define DIRECT 512u /* runs from that length on are hashed where they lie */

void
dkim_body_done(struct dkim_body *b)
{
    for (unsigned i = 0; i < DKIM_BODY_HASHES_MAX; i++)
        EVP_MD_CTX_free(b->hashes[i].md);
    memset(b, 0, sizeof(*b));
}

void
dkim_body_reset(struct dkim_body *b)
{
    memset(b->filters, 0, sizeof(b->filters));
    b->n = 0;
    b->failed = b->ended = false;
}

int
dkim_body_want(struct dkim_body *b, enum dkim_canon canon, bool sha1, uint64_t limit)
{
    struct dkim_body_hash *h;

    for (unsigned i = 0; i < b->n; i++) {
        h = &b->hashes[i];
        if (h->canon == canon && h->sha1 == sha1 && h->limit == limit)
            return (int)i;
    }
    if (b->n == DKIM_BODY_HASHES_MAX)
        return ERR_LIMIT;
    h = &b->hashes[b->n];
    if (!h->md)
        h->md = EVP_MD_CTX_new();
    if (!h->md || !dkim_digest_begin(h->md, sha1))
        return ERR_NOMEM;
    h->canon = canon;
    h->sha1 = sha1;
    h->limit = h->left = limit;
    h->digest_n = 0;
    b->filters[canon].wanted = true;
    return (int)b->n++;
}

/* Canonical bytes to all hashes of that form. */
static void
emit(struct dkim_body *b, enum dkim_canon canon, const char *p, size_t n)
{
    b->filters[canon].total += n;
    for (unsigned i = 0; i < b->n; i++) {
        struct dkim_body_hash *h = &b->hashes[i];
        size_t part = (size_t)MIN((uint64_t)n, h->left);

        if (h->canon != canon || !part)
            continue;
        h->left -= part;
        if (EVP_DigestUpdate(h->md, p, part) != 1)
            b->failed = true;
    }
}

static void
buffer_flush(struct dkim_body *b)
{
    struct dkim_filter *f = &b->filters[DKIM_RELAXED];

    if (f->n)
        emit(b, DKIM_RELAXED, b->buf, f->n);
    f->n = 0;
}

/* Only the relaxed form comes in small runs. */
static void
out(struct dkim_body *b, enum dkim_canon canon, const char *p, size_t n)
{
    struct dkim_filter *f = &b->filters[canon];

    if (canon == DKIM_SIMPLE) {
        emit(b, canon, p, n);
        return;
    }
    if (n >= DIRECT || n > sizeof(b->buf) - f->n)
        buffer_flush(b);
    if (n >= DIRECT) {
        emit(b, canon, p, n);
        return;
    }
    memcpy(b->buf + f->n, p, n);
    f->n += n;
}

static void
out_crlfs(struct dkim_body *b, enum dkim_canon canon)
{
    static const char lines[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"
                                "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
    struct dkim_filter *f = &b->filters[canon];

    while (f->crlfs) {
        uint64_t part = MIN(f->crlfs, (sizeof(lines) - 1) / 2);

        out(b, canon, lines, (size_t)part * 2);
        f->crlfs -= part;
    }
}

/* --- simple: all bytes, except empty lines at the end --- */

static void
push_simple(struct dkim_body *b, const char *p, size_t n)
{
    struct dkim_filter *f = &b->filters[DKIM_SIMPLE];
    uint64_t ends = 0;

    if (!n)
        return;
    if (f->held_cr) {
        if (*p == '\n') {
            f->crlfs++;
            p++;
            n--;
        } else {
            out_crlfs(b, DKIM_SIMPLE);
            out(b, DKIM_SIMPLE, "\r", 1);
        }
    }
    f->held_cr = n && p[n - 1] == '\r'; /* the end of a line, perhaps: the next piece tells */
    n -= f->held_cr;
    for (; n >= 2 && p[n - 1] == '\n' && p[n - 2] == '\r'; n -= 2)
        ends++;
    if (n) {
        out_crlfs(b, DKIM_SIMPLE);
        out(b, DKIM_SIMPLE, p, n);
    }
    f->crlfs += ends;
}

/* --- relaxed --- */

#ifdef __SSE2__
/* Marks tabs, and spaces with a space or CR behind them, in 16 bytes of which a 17th follows. */
static inline __m128i
stops(const char *p)
{
    const __m128i space = _mm_set1_epi8(' '), tab = _mm_set1_epi8('\t'), cr = _mm_set1_epi8('\r');
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i next = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
    __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(next, space), _mm_cmpeq_epi8(next, cr));

    return _mm_or_si128(_mm_cmpeq_epi8(a, tab), _mm_and_si128(_mm_cmpeq_epi8(a, space), odd));
}
#endif

#ifdef __SSE2__
/* The same for 32 bytes of which a 33rd follows, on processors that have wider registers. Returns
 * how many bytes from p on were looked at; a stop is at *ret. */
__attribute__((target("avx2"))) static size_t
clean_wide(const char *p, size_t n, ssize_t *ret)
{
    const __m256i space = _mm256_set1_epi8(' '), tab = _mm256_set1_epi8('\t');
    const __m256i cr = _mm256_set1_epi8('\r');
    size_t i = 0;

    for (; i + 33 <= n; i += 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        __m256i next = _mm256_loadu_si256((const __m256i *)(const void *)(p + i + 1));
        __m256i odd = _mm256_or_si256(_mm256_cmpeq_epi8(next, space), _mm256_cmpeq_epi8(next, cr));
        __m256i stop = _mm256_or_si256(_mm256_cmpeq_epi8(a, tab),
                                       _mm256_and_si256(_mm256_cmpeq_epi8(a, space), odd));
        unsigned mask = (unsigned)_mm256_movemask_epi8(stop);

        if (mask) {
            *ret = (ssize_t)(i + (unsigned)__builtin_ctz(mask));
            break;
        }
    }
    return i;
}
#endif

/* Bytes from p on that stay as they are, if p[0] is neither white space nor CR: up to a tab, or to
 * a space with a space or a CR behind it. What is at the end may still depend on what follows. */
static size_t
clean_run(const char *p, size_t n)
{
    size_t i = 0;

#ifdef __SSE2__
    ssize_t stop = -1;

    if (__builtin_cpu_supports("avx2"))
        i = clean_wide(p, n, &stop);
    if (stop >= 0)
        return (size_t)stop;
    for (; i + 33 <= n; i += 32) {
        __m128i one = stops(p + i), two = stops(p + i + 16);
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(one, two));

        if (!mask)
            continue;
        mask = (unsigned)_mm_movemask_epi8(one) | (unsigned)_mm_movemask_epi8(two) << 16;
        return i + (unsigned)__builtin_ctz(mask);
    }
#endif
    for (; i < n; i++) {
        if (p[i] == '\t')
            return i;
        if (p[i] == ' ' && (i + 1 == n || p[i + 1] == ' ' || p[i + 1] == '\r'))
            return i;
    }
    return n;
}

static void
release_relaxed(struct dkim_body *b)
{
    struct dkim_filter *f = &b->filters[DKIM_RELAXED];

    if (f->crlfs)
        out_crlfs(b, DKIM_RELAXED);
    if (f->space)
        out(b, DKIM_RELAXED, " ", 1);
    f->space = false;
}

static void
push_relaxed(struct dkim_body *b, const char *p, size_t n)
{
    struct dkim_filter *f = &b->filters[DKIM_RELAXED];
    const char *end = p + n;

    while (p < end) {
        size_t run;

        if (f->held_cr) {
            f->held_cr = false;
            if (*p == '\n') {
                f->space = false;
                f->crlfs++;
                p++;
                continue;
            }
            release_relaxed(b);
            out(b, DKIM_RELAXED, "\r", 1);
        }
        if (*p == ' ' || *p == '\t') {
            f->space = true;
            p++;
            continue;
        }
        if (*p == '\r') {
            f->held_cr = true;
            p++;
            continue;
        }
        release_relaxed(b);
        run = clean_run(p, (size_t)(end - p));
        for (;;) {
            if (run > 1 && (p[run - 1] == ' ' || p[run - 1] == '\r'))
                run--;
            else if (run > 2 && p[run - 1] == '\n' && p[run - 2] == '\r')
                run -= 2;
            else
                break;
        }
        out(b, DKIM_RELAXED, p, run);
        p += run;
    }
}

void
dkim_body_push(struct dkim_body *b, const char *p, size_t n)
{
    if (b->filters[DKIM_SIMPLE].wanted)
        push_simple(b, p, n);
    if (b->filters[DKIM_RELAXED].wanted)
        push_relaxed(b, p, n);
}

/* A lone CR at the very end is content; content ends with CRLF; only a simple empty body is one. */
static void
end_filter(struct dkim_body *b, enum dkim_canon canon)
{
    struct dkim_filter *f = &b->filters[canon];

    if (!f->wanted)
        return;
    if (f->held_cr) {
        if (canon == DKIM_RELAXED)
            release_relaxed(b);
        else
            out_crlfs(b, canon);
        out(b, canon, "\r", 1);
        f->held_cr = false;
    }
    if (f->total || f->n || canon == DKIM_SIMPLE)
        out(b, canon, "\r\n", 2);
    if (canon == DKIM_RELAXED)
        buffer_flush(b);
}

void
dkim_body_end(struct dkim_body *b)
{
    if (b->ended)
        return;
    b->ended = true;
    end_filter(b, DKIM_SIMPLE);
    end_filter(b, DKIM_RELAXED);
    for (unsigned i = 0; i < b->n; i++) {
        struct dkim_body_hash *h = &b->hashes[i];
        unsigned n = 0;

        if (EVP_DigestFinal_ex(h->md, h->digest, &n) != 1)
            b->failed = true;
        h->digest_n = n;
    }
}

struct str
dkim_body_digest(const struct dkim_body *b, int number)
{
    if (b->failed || !b->ended || number < 0 || (unsigned)number >= b->n)
        return STR_NONE;
    return str_of(b->hashes[number].digest, b->hashes[number].digest_n);
}

uint64_t
dkim_body_total(const struct dkim_body *b, enum dkim_canon canon)
{
    return b->filters[canon].total;
}
