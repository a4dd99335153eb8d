/*
 * auth/dkim_header.c - index of header fields by name; their canonical forms into a hash.
 *
 * Called by verifier, signer and the ARC files. Never changes a byte of the message.
 */
#include "core/openssl.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "auth/dkim_header.h"
#include "core/err.h"

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

static uint64_t
mix(uint64_t h, uint64_t word)
{
    /* 0x20 folds letters, and a few bytes that no name has beside each other. */
    h = (h ^ (word | UINT64_C(0x2020202020202020))) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint32_t
name_hash(struct str name)
{
    uint64_t h = name.n, word;
    size_t i = 0;

    for (; name.n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, name.p + i, sizeof(word));
        h = mix(h, word);
    }
    word = 0;
    if (i < name.n)
        memcpy(&word, name.p + i, name.n - i);
    h = mix(h, word);
    return (uint32_t)(h ^ h >> 32);
}

void
dkim_headers_done(struct dkim_headers *h)
{
    free(h->fields);
    memset(h, 0, sizeof(*h));
}

static int
room(struct dkim_headers *h, unsigned max)
{
    size_t cap = h->cap ? h->cap * 2 : 64;
    struct dkim_field *more;

    if (h->n < h->cap)
        return 0;
    cap = MIN(cap, MAX(max, 1u));
    more = reallocarray(h->fields, cap, sizeof(*more));
    if (!more)
        return ERR_NOMEM;
    h->fields = more;
    h->cap = cap;
    return 0;
}

static struct dkim_field *
next_named(const struct dkim_headers *h, int32_t at, uint32_t hash, struct str name)
{
    for (; at >= 0; at = h->fields[at].above) {
        struct dkim_field *f = &h->fields[at];
        if (f->hash == hash && str_ieq(f->f.name, name))
            return f;
    }
    return NULL;
}

int
dkim_headers_index(struct dkim_headers *h, struct str block, unsigned max)
{
    struct header_field f;
    size_t at = 0;
    int rc;

    h->n = 0;
    h->too_many = h->repeats = false;
    h->selection = 0;
    for (unsigned i = 0; i < DKIM_NAME_BUCKETS; i++)
        h->bucket[i] = -1;
    while ((rc = header_next(block, &at, &f)) != 0) {
        struct dkim_field *to;

        if (rc < 0)
            continue;
        if (h->n == max) {
            h->too_many = true;
            return 0;
        }
        if (room(h, max) < 0)
            return ERR_NOMEM;
        to = &h->fields[h->n];
        to->f = f;
        to->hash = name_hash(f.name);
        to->taken = 0;
        h->repeats =
            h->repeats || next_named(h, h->bucket[to->hash % DKIM_NAME_BUCKETS], to->hash, f.name);
        to->above = h->bucket[to->hash % DKIM_NAME_BUCKETS];
        h->bucket[to->hash % DKIM_NAME_BUCKETS] = (int32_t)h->n++;
    }
    return 0;
}

unsigned
dkim_headers_count(const struct dkim_headers *h, struct str name)
{
    uint32_t hash = name_hash(name);
    const struct dkim_field *f;
    unsigned n = 0;

    for (int32_t at = h->bucket[hash % DKIM_NAME_BUCKETS]; at >= 0; at = f->above) {
        f = next_named(h, at, hash, name);
        if (!f)
            break;
        n++;
    }
    return n;
}

void
dkim_headers_select(struct dkim_headers *h)
{
    h->selection++;
}

const struct header_field *
dkim_headers_take(struct dkim_headers *h, struct str name)
{
    uint32_t hash = name_hash(name);
    struct dkim_field *f;

    for (int32_t at = h->bucket[hash % DKIM_NAME_BUCKETS]; at >= 0; at = f->above) {
        f = next_named(h, at, hash, name);
        if (!f)
            break;
        if (f->taken == h->selection)
            continue;
        f->taken = h->selection;
        return &f->f;
    }
    return NULL;
}

/* --- canonical forms --- */

void
dkim_hash_flush(struct dkim_hash *h)
{
    if (h->n && EVP_DigestUpdate(h->md, h->buf, h->n) != 1)
        h->failed = true;
    h->n = 0;
}

static void
put(struct dkim_hash *h, const char *p, size_t n)
{
    if (n > sizeof(h->buf) - h->n) {
        dkim_hash_flush(h);
        if (n >= sizeof(h->buf)) {
            if (EVP_DigestUpdate(h->md, p, n) != 1)
                h->failed = true;
            return;
        }
    }
    memcpy(h->buf + h->n, p, n);
    h->n += n;
}

/* A word of a text that goes on for `rest` bytes: most are short, and 16 bytes are one move. */
static void
put_word(struct dkim_hash *h, const char *p, size_t n, size_t rest)
{
    if (n <= 16 && rest >= 16 && sizeof(h->buf) - h->n >= 16) {
        memcpy(h->buf + h->n, p, 16);
        h->n += n;
        return;
    }
    put(h, p, n);
}

static bool
is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

/* A value in relaxed form may come in two pieces, so what is pending outlives a piece. */
struct relaxed {
    bool begun, space;
};

/* 1 for the bytes that are not simply copied. */
static const uint8_t special[256] = {[' '] = 1, ['\t'] = 1, ['\r'] = 1, ['\n'] = 1};

/* Bytes of the word that p begins with. */
static size_t
word_n(const char *p, const char *end)
{
    const char *at = p;

#ifdef __SSE2__
    for (; end - at >= 16; at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i space = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(' ')),
                                     _mm_cmpeq_epi8(v, _mm_set1_epi8('\t')));
        __m128i line = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r')),
                                    _mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(space, line));

        if (mask)
            return (size_t)(at - p) + (unsigned)__builtin_ctz(mask);
    }
#endif
    while (at < end && !special[(unsigned char)*at])
        at++;
    return (size_t)(at - p);
}

static void
put_relaxed(struct dkim_hash *h, struct relaxed *r, const char *p, size_t n)
{
    const char *end = p + n;

    while (p < end) {
        size_t word = word_n(p, end);

        if (word) {
            if (r->space && r->begun)
                put(h, " ", 1);
            r->space = false;
            r->begun = true;
            put_word(h, p, word, (size_t)(end - p));
            p += word;
            continue;
        }
        if (is_wsp(*p)) {
            r->space = true;
        } else if (*p == '\r' && (p + 1 == end || p[1] != '\n')) {
            if (r->space && r->begun)
                put(h, " ", 1);
            r->space = false;
            r->begun = true;
            put(h, "\r", 1);
        }
        p++;
    }
}

static void
put_name(struct dkim_hash *h, struct str name)
{
    size_t at;

    if (name.n >= sizeof(h->buf) - h->n)
        dkim_hash_flush(h);
    if (name.n >= sizeof(h->buf)) { /* longer than any line may be: not worth speed */
        for (size_t i = 0; i < name.n; i++) {
            char c = lower(name.p[i]);
            put(h, &c, 1);
        }
    } else {
        at = h->n;
        for (size_t i = 0; i < name.n; i++)
            h->buf[at + i] = lower(name.p[i]);
        h->n += name.n;
    }
    put(h, ":", 1);
}

/* The field's bytes without its final line end. */
static struct str
unended(const struct header_field *f)
{
    return str_of(f->line.p, (size_t)(f->value.p + f->value.n - f->line.p));
}

void
dkim_hash_field(struct dkim_hash *h, const struct header_field *f, enum dkim_canon canon)
{
    struct relaxed r = {0};

    if (canon == DKIM_SIMPLE) {
        struct str all = unended(f);
        put(h, all.p, all.n);
    } else {
        put_name(h, f->name);
        put_relaxed(h, &r, f->value.p, f->value.n);
    }
    put(h, "\r\n", 2);
}

void
dkim_hash_own(struct dkim_hash *h, const struct header_field *f, struct str hole,
              enum dkim_canon canon)
{
    struct str all = unended(f);
    size_t before = (size_t)(hole.p - f->value.p);
    const char *after = hole.p + hole.n;
    struct relaxed r = {0};

    if (canon == DKIM_SIMPLE) {
        put(h, all.p, (size_t)(hole.p - all.p));
        put(h, after, (size_t)(all.p + all.n - after));
        return;
    }
    put_name(h, f->name);
    put_relaxed(h, &r, f->value.p, before);
    put_relaxed(h, &r, after, (size_t)(f->value.p + f->value.n - after));
}
