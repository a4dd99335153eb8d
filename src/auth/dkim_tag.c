/*
 * auth/dkim_tag.c - tag lists, their lists of items and their base64.
 *
 * Called by the parsers of signatures and key records. Never allocates, never copies.
 */
#include <endian.h>

#include "auth/dkim_tag.h"
#include "core/err.h"

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str
dkim_trim(struct str s)
{
    while (s.n && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool
is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
name_ok(struct str name)
{
    if (!name.n || !is_alpha(name.p[0]))
        return false;
    for (size_t i = 1; i < name.n; i++) {
        char c = name.p[i];
        if (!is_alpha(c) && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

/* VALCHAR, folding white space, and UTF-8 beyond ASCII (RFC 8616 5). */
static bool
value_ok(struct str value)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    bool high = false;
    size_t i = 0;

    while (i < value.n) {
        unsigned char c = (unsigned char)value.p[i];
        uint64_t w;

        /* Eight at a time as long as all are of 33 to 126: signatures are long. */
        if (value.n - i >= sizeof(w)) {
            memcpy(&w, value.p + i, sizeof(w));
            if (!(((w - ones * 33) | w | (w + ones)) & tops)) {
                i += sizeof(w);
                continue;
            }
        }
        if (c == 127 || (c < 32 && !is_space((char)c)))
            return false;
        high = high || c > 127;
        i++;
    }
    return !high || str_is_utf8(value);
}

int
dkim_tags_parse(struct str text, struct dkim_tags *ret)
{
    struct str rest = text;

    ret->n = 0;
    memset(ret->one, 0, sizeof(ret->one));
    while (rest.n) {
        ssize_t end = str_chr(rest, ';'), eq;
        struct str spec = end < 0 ? rest : str_sub(rest, 0, (size_t)end);
        struct dkim_tag t;

        rest = end < 0 ? STR_NONE : str_from(rest, (size_t)end + 1);
        eq = str_chr(spec, '=');
        if (eq < 0) {
            if (end < 0 && !dkim_trim(spec).n && ret->n)
                break; /* behind the final semicolon */
            return ERR_SYNTAX;
        }
        t.name = dkim_trim(str_sub(spec, 0, (size_t)eq));
        t.raw = str_from(spec, (size_t)eq + 1);
        t.value = dkim_trim(t.raw);
        if (!name_ok(t.name) || !value_ok(t.value) || dkim_tags_find(ret, t.name))
            return ERR_SYNTAX;
        if (ret->n == DKIM_TAGS_MAX)
            return ERR_LIMIT;
        ret->items[ret->n++] = t;
        if (t.name.n == 1)
            ret->one[(unsigned char)t.name.p[0]] = (uint8_t)ret->n;
    }
    return ret->n ? 0 : ERR_SYNTAX;
}

const struct dkim_tag *
dkim_tags_find(const struct dkim_tags *tags, struct str name)
{
    unsigned at;

    if (name.n == 1) { /* nearly all that there are */
        at = name.p[0] & 0x80 ? 0 : tags->one[(unsigned char)name.p[0]];
        return at ? &tags->items[at - 1] : NULL;
    }
    for (unsigned i = 0; i < tags->n; i++) {
        const struct dkim_tag *t = &tags->items[i];
        if (t->name.n == name.n && str_eq(t->name, name))
            return t;
    }
    return NULL;
}

bool
dkim_list_next(struct str *rest, bool *first, struct str *ret)
{
    ssize_t colon;

    if (!*first && !rest->p)
        return false;
    *first = false;
    colon = str_chr(*rest, ':');
    *ret = dkim_trim(colon < 0 ? *rest : str_sub(*rest, 0, (size_t)colon));
    *rest = colon < 0 ? STR_NONE : str_of(rest->p + colon + 1, rest->n - (size_t)colon - 1);
    return true;
}

bool
dkim_list_has(struct str value, struct str item)
{
    struct str one;
    bool first = true;

    while (dkim_list_next(&value, &first, &one))
        if (str_ieq(one, item))
            return true;
    return false;
}

/* 0x80 | value of a digit, 1 for white space, 2 for "=", 0 for what is none of them. */
static const uint8_t base64_class[256] = {
    ['A'] = 0x80 | 0,  ['B'] = 0x80 | 1,  ['C'] = 0x80 | 2,  ['D'] = 0x80 | 3,  ['E'] = 0x80 | 4,
    ['F'] = 0x80 | 5,  ['G'] = 0x80 | 6,  ['H'] = 0x80 | 7,  ['I'] = 0x80 | 8,  ['J'] = 0x80 | 9,
    ['K'] = 0x80 | 10, ['L'] = 0x80 | 11, ['M'] = 0x80 | 12, ['N'] = 0x80 | 13, ['O'] = 0x80 | 14,
    ['P'] = 0x80 | 15, ['Q'] = 0x80 | 16, ['R'] = 0x80 | 17, ['S'] = 0x80 | 18, ['T'] = 0x80 | 19,
    ['U'] = 0x80 | 20, ['V'] = 0x80 | 21, ['W'] = 0x80 | 22, ['X'] = 0x80 | 23, ['Y'] = 0x80 | 24,
    ['Z'] = 0x80 | 25, ['a'] = 0x80 | 26, ['b'] = 0x80 | 27, ['c'] = 0x80 | 28, ['d'] = 0x80 | 29,
    ['e'] = 0x80 | 30, ['f'] = 0x80 | 31, ['g'] = 0x80 | 32, ['h'] = 0x80 | 33, ['i'] = 0x80 | 34,
    ['j'] = 0x80 | 35, ['k'] = 0x80 | 36, ['l'] = 0x80 | 37, ['m'] = 0x80 | 38, ['n'] = 0x80 | 39,
    ['o'] = 0x80 | 40, ['p'] = 0x80 | 41, ['q'] = 0x80 | 42, ['r'] = 0x80 | 43, ['s'] = 0x80 | 44,
    ['t'] = 0x80 | 45, ['u'] = 0x80 | 46, ['v'] = 0x80 | 47, ['w'] = 0x80 | 48, ['x'] = 0x80 | 49,
    ['y'] = 0x80 | 50, ['z'] = 0x80 | 51, ['0'] = 0x80 | 52, ['1'] = 0x80 | 53, ['2'] = 0x80 | 54,
    ['3'] = 0x80 | 55, ['4'] = 0x80 | 56, ['5'] = 0x80 | 57, ['6'] = 0x80 | 58, ['7'] = 0x80 | 59,
    ['8'] = 0x80 | 60, ['9'] = 0x80 | 61, ['+'] = 0x80 | 62, ['/'] = 0x80 | 63, [' '] = 1,
    ['\t'] = 1,        ['\r'] = 1,        ['\n'] = 1,        ['='] = 2,
};

/* Decodes while four digits stand together. Returns how many characters it took. */
static size_t
quads(struct str in, uint8_t *out, size_t cap, size_t *n)
{
    const uint8_t *p = (const uint8_t *)in.p;
    size_t at = 0, to = *n;

    for (; in.n - at >= 4 && to + 4 <= cap; at += 4, to += 3) {
        uint32_t a = base64_class[p[at]], b = base64_class[p[at + 1]];
        uint32_t c = base64_class[p[at + 2]], d = base64_class[p[at + 3]];
        uint32_t word = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);

        if (!(a & b & c & d & 0x80))
            break;
        word = htobe32(word << 8); /* its last byte is written over */
        memcpy(out + to, &word, 4);
    }
    *n = to;
    return at;
}

ssize_t
dkim_base64(struct str in, void *dst, size_t cap)
{
    uint8_t *out = dst;
    size_t n = 0, digits = 0, pads = 0;
    uint32_t word = 0;

    for (size_t i = 0; i < in.n; i++) {
        uint8_t c;

        if (digits % 4 == 0 && !pads)
            i += quads(str_from(in, i), out, cap, &n);
        if (i == in.n)
            break;
        c = base64_class[(unsigned char)in.p[i]];
        if (c == 1)
            continue;
        if (c == 2) {
            pads++;
            continue;
        }
        if (!(c & 0x80) || pads)
            return ERR_SYNTAX;
        word = word << 6 | (c & 63u);
        if (++digits % 4 == 0) {
            if (n + 3 > cap)
                return ERR_LIMIT;
            out[n++] = (uint8_t)(word >> 16);
            out[n++] = (uint8_t)(word >> 8);
            out[n++] = (uint8_t)word;
        }
    }
    digits %= 4;
    if (digits == 1 || pads > 2 || (pads && digits + pads != 4))
        return ERR_SYNTAX;
    if (digits == 3) {
        if (n + 2 > cap)
            return ERR_LIMIT;
        out[n++] = (uint8_t)(word >> 10);
        out[n++] = (uint8_t)(word >> 2);
    } else if (digits == 2) {
        if (n + 1 > cap)
            return ERR_LIMIT;
        out[n++] = (uint8_t)(word >> 4);
    }
    return (ssize_t)n;
}
