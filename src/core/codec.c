/*
 * core/codec.c - base64 (RFC 4648 4), hex, Crockford base32 for ids, xtext (RFC 3461 4).
 *
 * Called by protocol and storage code. Decoders never guess: what an encoder would not have written
 * is refused.
 */
#include "core/codec.h"
#include "core/err.h"

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";
static const char id_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void
codec_base64(struct buf *out, struct str in)
{
    const uint8_t *p = (const uint8_t *)in.p;
    size_t need, i;
    char *at;

    if (__builtin_mul_overflow(in.n / 3 + (in.n % 3 != 0), (size_t)4, &need)) {
        out->failed = true;
        return;
    }
    at = buf_room(out, need);
    if (!at)
        return;
    for (i = 0; i + 3 <= in.n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];

        *at++ = base64_digits[v >> 18];
        *at++ = base64_digits[v >> 12 & 63];
        *at++ = base64_digits[v >> 6 & 63];
        *at++ = base64_digits[v & 63];
    }
    if (i < in.n) {
        bool two = i + 2 == in.n;
        uint32_t v = (uint32_t)p[i] << 16 | (two ? (uint32_t)p[i + 1] << 8 : 0);

        *at++ = base64_digits[v >> 18];
        *at++ = base64_digits[v >> 12 & 63];
        *at++ = two ? base64_digits[v >> 6 & 63] : '=';
        *at++ = '=';
    }
    buf_used(out, need);
}

/* 0..63, or 64 for what is no digit. */
static inline uint32_t
base64_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

ssize_t
codec_unbase64(struct str in, void *dst, size_t cap)
{
    uint8_t *out = dst;
    size_t pad = 0, n, at = 0;

    if (in.n % 4)
        return ERR_SYNTAX;
    if (in.n == 0)
        return 0;
    if (in.p[in.n - 1] == '=')
        pad = in.p[in.n - 2] == '=' ? 2 : 1;
    n = in.n / 4 * 3 - pad;
    for (size_t i = 0; i < in.n; i += 4) {
        size_t digits = i + 4 == in.n ? 4 - pad : 4;
        uint32_t v = 0;

        for (size_t j = 0; j < 4; j++) {
            uint32_t d = j < digits ? base64_value((unsigned char)in.p[i + j]) : 0;

            if (d > 63)
                return ERR_SYNTAX;
            v = v << 6 | d;
        }
        if ((digits == 2 && v & 0xffff) || (digits == 3 && v & 0xff))
            return ERR_SYNTAX; /* stray bits: a second spelling of the same bytes */
        for (size_t j = 0; j + 1 < digits; j++) {
            if (at == cap)
                return ERR_LIMIT;
            out[at++] = (uint8_t)(v >> (16 - 8 * j));
        }
    }
    return (ssize_t)n;
}

void
codec_hex(struct buf *out, struct str in)
{
    size_t need;
    char *at;

    if (__builtin_mul_overflow(in.n, (size_t)2, &need)) {
        out->failed = true;
        return;
    }
    at = buf_room(out, need);
    if (!at)
        return;
    for (size_t i = 0; i < in.n; i++) {
        *at++ = hex_lower[(uint8_t)in.p[i] >> 4];
        *at++ = hex_lower[(uint8_t)in.p[i] & 15];
    }
    buf_used(out, need);
}

static inline int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

ssize_t
codec_unhex(struct str in, void *dst, size_t cap)
{
    uint8_t *out = dst;

    if (in.n % 2)
        return ERR_SYNTAX;
    for (size_t i = 0; i < in.n / 2; i++) {
        int high = hex_value(in.p[2 * i]), low = hex_value(in.p[2 * i + 1]);

        if (high < 0 || low < 0)
            return ERR_SYNTAX;
        if (i == cap)
            return ERR_LIMIT;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return (ssize_t)(in.n / 2);
}

/* 26 digits hold 130 bits: the first one carries only the id's top 3. Order of texts is order of
 * ids. */
void
codec_id_text(const uint8_t id[16], char dst[27])
{
    unsigned bits = 0, have = 2; /* two zero bits stand before the id */
    size_t in = 0;

    for (size_t i = 0; i < 26; i++) {
        if (have < 5) {
            bits = (bits << 8 | id[in++]) & 0xfff;
            have += 8;
        }
        have -= 5;
        dst[i] = id_digits[bits >> have & 31];
    }
    dst[26] = '\0';
}

static int
id_value(char c)
{
    const char *at;

    if (c >= 'A' && c <= 'Z')
        c = (char)(c | 0x20);
    at = c ? memchr(id_digits, c, 32) : NULL;
    return at ? (int)(at - id_digits) : -1;
}

int
codec_id_parse(struct str text, uint8_t id[16])
{
    uint8_t bytes[16];
    unsigned bits = 0, have = 0;
    size_t out = 0;

    if (text.n != 26)
        return ERR_SYNTAX;
    for (size_t i = 0; i < 26; i++) {
        int d = id_value(text.p[i]);

        if (d < 0 || (i == 0 && d > 7))
            return ERR_SYNTAX;
        bits = (bits << 5 | (unsigned)d) & 0xfff;
        have += i ? 5 : 3;
        if (have >= 8) {
            have -= 8;
            bytes[out++] = (uint8_t)(bits >> have);
        }
    }
    ENSURE(out == sizeof(bytes));
    memcpy(id, bytes, sizeof(bytes));
    return 0;
}

/* RFC 3461 4: xchar is any printable ASCII but "+" and "="; all else is "+" and two upper-case hex
 * digits. */
static inline bool
is_xchar(unsigned char c)
{
    return c > 32 && c < 127 && c != '+' && c != '=';
}

void
codec_xtext(struct buf *out, struct str in)
{
    size_t start = out->n;

    for (size_t i = 0; i < in.n && !out->failed; i++) {
        unsigned char c = (unsigned char)in.p[i];

        if (is_xchar(c))
            buf_char(out, (char)c);
        else
            buf_add(out, (char[]){'+', hex_upper[c >> 4], hex_upper[c & 15]}, 3);
    }
    if (out->failed)
        out->n = MIN(out->n, start);
}

ssize_t
codec_unxtext(struct str in, void *dst, size_t cap)
{
    uint8_t *out = dst;
    size_t at = 0;

    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];

        if (c == '+') {
            int high = i + 2 < in.n ? hex_value(in.p[i + 1]) : -1;
            int low = i + 2 < in.n ? hex_value(in.p[i + 2]) : -1;

            if (high < 0 || low < 0 || in.p[i + 1] >= 'a' || in.p[i + 2] >= 'a')
                return ERR_SYNTAX;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (!is_xchar(c)) {
            return ERR_SYNTAX;
        }
        if (at == cap)
            return ERR_LIMIT;
        out[at++] = c;
    }
    return (ssize_t)at;
}
