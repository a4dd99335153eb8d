/*
 * core/str.c - text views: comparing, searching, splitting, classes of bytes, keyed hashes.
 *
 * Called from everywhere. Never allocates, never keeps a view. Numbers and units: str_number.c.
 */
#include <stdarg.h>

#include "core/str.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

static inline unsigned char
lower_byte(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

static inline uint64_t
load_u64(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}

/* Eight bytes at once: bit 7 of each sum tells whether the byte is over 'Z' or at least 'A'. */
static inline uint64_t
lower_u64(uint64_t w)
{
    uint64_t seven = w & ~HIGHS;
    uint64_t over_z = seven + (0x7f - 'Z') * ONES;
    uint64_t from_a = seven + (0x80 - 'A') * ONES;
    uint64_t upper = ~w & (from_a ^ over_z) & HIGHS;

    return w | upper >> 2;
}

struct str
str_c(const char *cstr)
{
    return cstr ? str_of(cstr, strlen(cstr)) : STR_NONE;
}

bool
str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
str_ieq(struct str a, struct str b)
{
    size_t i = 0;

    if (a.n != b.n)
        return false;
    for (; i + 8 <= a.n; i += 8)
        if (lower_u64(load_u64(a.p + i)) != lower_u64(load_u64(b.p + i)))
            return false;
    for (; i < a.n; i++)
        if (lower_byte((unsigned char)a.p[i]) != lower_byte((unsigned char)b.p[i]))
            return false;
    return true;
}

int
str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool
str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_of(s.p, prefix.n), prefix);
}

bool
str_istarts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_ieq(str_of(s.p, prefix.n), prefix);
}

bool
str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix);
}

bool
str_iends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_ieq(str_from(s, s.n - suffix.n), suffix);
}

ssize_t
str_chr(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? at - s.p : -1;
}

ssize_t
str_rchr(struct str s, char c)
{
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;

    return at ? at - s.p : -1;
}

ssize_t
str_find(struct str s, struct str needle)
{
    const char *at;

    if (needle.n == 0)
        return 0;
    if (needle.n > s.n)
        return -1;
    at = memmem(s.p, s.n, needle.p, needle.n);
    return at ? at - s.p : -1;
}

static inline bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str
str_trim(struct str s)
{
    while (s.n && is_blank(s.p[0]))
        s = str_of(s.p + 1, s.n - 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str
str_from(struct str s, size_t at)
{
    at = MIN(at, s.n);
    return at ? str_of(s.p + at, s.n - at) : s;
}

struct str
str_sub(struct str s, size_t at, size_t len)
{
    s = str_from(s, at);
    s.n = MIN(s.n, len);
    return s;
}

struct str
str_cut(struct str s, char c, struct str *rest)
{
    ssize_t at = str_chr(s, c);

    if (at < 0) {
        *rest = str_from(s, s.n);
        return s;
    }
    *rest = str_from(s, (size_t)at + 1);
    return str_of(s.p, (size_t)at);
}

struct str
str_word(struct str *rest)
{
    struct str s = *rest;
    size_t skip = 0, n = 0;

    while (skip < s.n && is_blank(s.p[skip]))
        skip++;
    s = str_from(s, skip);
    while (n < s.n && !is_blank(s.p[n]))
        n++;
    *rest = str_from(s, n);
    return str_of(s.p, n);
}

bool
str_is_ascii(struct str s)
{
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) { /* eight at once: no high bit, no zero */
        uint64_t x = load_u64(s.p + i);

        if ((x | (x - HIGHS / 0x80)) & HIGHS)
            return false;
    }
    for (; i < s.n; i++)
        if ((unsigned char)s.p[i] - 1u >= 127u)
            return false;
    return true;
}

/* RFC 3629 4: the second byte's range depends on the first, which keeps out overlong forms,
 * surrogates and what lies beyond U+10FFFF. */
size_t
str_utf8_len(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low = 0x80, high = 0xbf;
    size_t n;

    if (s.n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (s.n < n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool
str_is_utf8(struct str s)
{
    size_t i = 0;

    while (i < s.n) {
        size_t n;

        while (i + 8 <= s.n && !(load_u64(s.p + i) & HIGHS))
            i += 8;
        if (i == s.n)
            break;
        n = str_utf8_len(str_from(s, i));
        if (!n)
            return false;
        i += n;
    }
    return true;
}

bool
str_has_ctl(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 32 || s.p[i] == 127)
            return true;
    return false;
}

unsigned
str_hidden(const char *p, size_t n)
{
    unsigned char a, b, c;

    if (n < 2)
        return 0;
    a = (unsigned char)p[0];
    b = (unsigned char)p[1];
    if (n == 2)
        return a == 0xc2 && b < 0xa0 ? b : 0;
    if (n != 3 || a != 0xe2)
        return 0;
    c = (unsigned char)p[2];
    if (b == 0x80 && (c == 0x8e || c == 0x8f || (c >= 0xa8 && c <= 0xae)))
        return 0x2000u + (c & 0x3f);
    return b == 0x81 && c >= 0xa6 && c <= 0xa9 ? 0x2040u + (c & 0x3f) : 0;
}

void
str_defuse(char *p, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        unsigned char c = (unsigned char)p[i];

        len = str_utf8_len(str_of(p + i, n - i));
        if (!len || c < 32 || c == 127 || (len > 1 && str_hidden(p + i, len))) {
            len = MAX(len, (size_t)1);
            memset(p + i, '?', len);
        }
    }
}

void
str_lower(char *p, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        uint64_t w = lower_u64(load_u64(p + i));
        memcpy(p + i, &w, sizeof(w));
    }
    for (; i < n; i++)
        p[i] = (char)lower_byte((unsigned char)p[i]);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotate(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

static inline void
sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

/* SipHash with one round a word and three at the end: peers choose our keys, so the hash must not
 * be one whose collisions can be computed without the seed. */
static inline uint64_t
hash_words(struct str s, uint64_t seed, bool fold)
{
    uint64_t second = rotate(seed, 29) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    struct sip h = {seed ^ UINT64_C(0x736f6d6570736575), second ^ UINT64_C(0x646f72616e646f6d),
                    seed ^ UINT64_C(0x6c7967656e657261), second ^ UINT64_C(0x7465646279746573)};
    uint64_t w, last = 0;
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) {
        w = load_u64(s.p + i);
        if (fold)
            w = lower_u64(w);
        h.v3 ^= w;
        sip_round(&h);
        h.v0 ^= w;
    }
    if (i < s.n)
        memcpy(&last, s.p + i, s.n - i);
    if (fold)
        last = lower_u64(last);
    last |= (uint64_t)s.n << 56;
    h.v3 ^= last;
    sip_round(&h);
    h.v0 ^= last;
    h.v2 ^= 0xff;
    sip_round(&h);
    sip_round(&h);
    sip_round(&h);
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

uint64_t
str_hash(struct str s, uint64_t seed)
{
    return hash_words(s, seed, false);
}

uint64_t
str_ihash(struct str s, uint64_t seed)
{
    return hash_words(s, seed, true);
}

char *
str_dup(struct str s)
{
    char *copy = malloc(s.n + 1);

    if (!copy)
        return NULL;
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

bool
str_copy(struct str s, char *dst, size_t cap)
{
    if (cap == 0)
        return false;
    dst[0] = '\0';
    if (s.n >= cap || str_chr(s, '\0') >= 0)
        return false;
    if (s.n)
        memcpy(dst, s.p, s.n);
    dst[s.n] = '\0';
    return true;
}

size_t
str_fmt(char *dst, size_t cap, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (cap == 0)
        return 0;
    va_start(ap, fmt);
    n = vsnprintf(dst, cap, fmt, ap);
    va_end(ap);
    if (n < 0) {
        dst[0] = '\0';
        return 0;
    }
    return MIN((size_t)n, cap - 1);
}
