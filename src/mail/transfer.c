/*
 * mail/transfer.c - base64, quoted-printable and uuencode as push decoders.
 *
 * Called by mail/mime.c and mail/word.c. Never allocates. White space that ends a quoted-printable
 * line is not content (RFC 2045 6.7 rule 3); more than TRANSFER_WHITE_MAX of it is kept as it is.
 */
#include "mail/transfer.h"

#define ROOM_SPARE (TRANSFER_WHITE_MAX + 8u)

/* 1..64: the value and one, so that 0 is what does not belong. */
#define WHITE  65
#define EQUALS 66
static const uint8_t base64_table[256] = {
    ['A'] = 1,      ['B'] = 2,      ['C'] = 3,      ['D'] = 4,  ['E'] = 5,      ['F'] = 6,
    ['G'] = 7,      ['H'] = 8,      ['I'] = 9,      ['J'] = 10, ['K'] = 11,     ['L'] = 12,
    ['M'] = 13,     ['N'] = 14,     ['O'] = 15,     ['P'] = 16, ['Q'] = 17,     ['R'] = 18,
    ['S'] = 19,     ['T'] = 20,     ['U'] = 21,     ['V'] = 22, ['W'] = 23,     ['X'] = 24,
    ['Y'] = 25,     ['Z'] = 26,     ['a'] = 27,     ['b'] = 28, ['c'] = 29,     ['d'] = 30,
    ['e'] = 31,     ['f'] = 32,     ['g'] = 33,     ['h'] = 34, ['i'] = 35,     ['j'] = 36,
    ['k'] = 37,     ['l'] = 38,     ['m'] = 39,     ['n'] = 40, ['o'] = 41,     ['p'] = 42,
    ['q'] = 43,     ['r'] = 44,     ['s'] = 45,     ['t'] = 46, ['u'] = 47,     ['v'] = 48,
    ['w'] = 49,     ['x'] = 50,     ['y'] = 51,     ['z'] = 52, ['0'] = 53,     ['1'] = 54,
    ['2'] = 55,     ['3'] = 56,     ['4'] = 57,     ['5'] = 58, ['6'] = 59,     ['7'] = 60,
    ['8'] = 61,     ['9'] = 62,     ['+'] = 63,     ['/'] = 64, ['='] = EQUALS, [' '] = WHITE,
    ['\t'] = WHITE, ['\r'] = WHITE, ['\n'] = WHITE,
};

int
transfer_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

enum transfer_kind
transfer_kind_of(struct str value)
{
    static const struct {
        const char *word;
        enum transfer_kind kind;
    } rows[] = {
        {"7bit", TRANSFER_IDENTITY},       {"8bit", TRANSFER_IDENTITY},
        {"binary", TRANSFER_IDENTITY},     {"base64", TRANSFER_BASE64},
        {"quoted-printable", TRANSFER_QP}, {"x-uuencode", TRANSFER_UUENCODE},
        {"uuencode", TRANSFER_UUENCODE},   {"x-uue", TRANSFER_UUENCODE},
        {"uue", TRANSFER_UUENCODE},
    };
    size_t n = 0;

    while (n < value.n && !strchr(" \t\r\n;(", value.p[n]))
        n++;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_ieq(str_sub(value, 0, n), str_c(rows[i].word)))
            return rows[i].kind;
    }
    return TRANSFER_UNKNOWN;
}

enum transfer_kind
transfer_kind_like(struct str value)
{
    static const struct {
        const char *word;
        enum transfer_kind kind;
    } rows[] = {
        {"base64", TRANSFER_BASE64},
        {"quotedprintable", TRANSFER_QP},
        {"uuencode", TRANSFER_UUENCODE},
    };
    char plain[64];
    size_t n = 0;

    for (size_t i = 0; i < value.n && n < sizeof(plain); i++) {
        char c = (char)(value.p[i] >= 'A' && value.p[i] <= 'Z' ? value.p[i] | 32 : value.p[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            plain[n++] = c;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_find(str_of(plain, n), str_c(rows[i].word)) >= 0)
            return rows[i].kind;
    }
    return TRANSFER_UNKNOWN;
}

const char *
transfer_kind_name(enum transfer_kind kind)
{
    static const char *const names[] = {[TRANSFER_IDENTITY] = "8bit",
                                        [TRANSFER_BASE64] = "base64",
                                        [TRANSFER_QP] = "quoted-printable",
                                        [TRANSFER_UUENCODE] = "x-uuencode",
                                        [TRANSFER_UNKNOWN] = ""};

    return names[kind];
}

void
transfer_init(struct transfer *t, enum transfer_kind kind)
{
    *t = (struct transfer){.kind = kind};
}

size_t
transfer_room(size_t n)
{
    return 2 * n + ROOM_SPARE; /* LF alone becomes CRLF */
}

/* ---- base64 ------------------------------------------------------------------------------------
 */

/* What stands behind = : two sextets hold one byte, three hold two. */
static size_t
base64_pad(struct transfer *t, char *dst)
{
    size_t n = t->nbits == 12 ? 1 : t->nbits == 18 ? 2 : 0;

    if (n)
        dst[0] = (char)(t->bits >> (t->nbits - 8));
    if (n == 2)
        dst[1] = (char)(t->bits >> 2);
    t->padded = true;
    t->nbits = 0;
    t->bits = 0;
    return n;
}

/* One byte outside of the fast way; bytes written. Groups of four alone are decoded: what is left
 * of one at the end is dropped and counted. */
static size_t
base64_byte(struct transfer *t, uint8_t c, char *dst)
{
    uint8_t v = base64_table[c];

    if (v == WHITE)
        return 0;
    if (v == EQUALS)
        return base64_pad(t, dst);
    if (v == 0) {
        t->odd++;
        return 0;
    }
    t->after_pad |= t->padded;
    if (t->padded && t->stop)
        return 0;
    t->padded = false;
    t->bits = t->bits << 6 | (uint32_t)(v - 1);
    t->nbits += 6;
    if (t->nbits < 24)
        return 0;
    t->nbits = 0;
    dst[0] = (char)(t->bits >> 16);
    dst[1] = (char)(t->bits >> 8);
    dst[2] = (char)t->bits;
    t->bits = 0;
    return 3;
}

static size_t
base64_feed(struct transfer *t, const char *p, size_t n, char *dst)
{
    const uint8_t *s = (const uint8_t *)p, *end = s + n;
    char *at = dst;

    while (s < end) {
        /* Whole groups, four bytes into three, as long as nothing else comes between. */
        while (t->nbits == 0 && !t->padded && end - s >= 4) {
            uint8_t a = (uint8_t)(base64_table[s[0]] - 1), b = (uint8_t)(base64_table[s[1]] - 1),
                    c = (uint8_t)(base64_table[s[2]] - 1), d = (uint8_t)(base64_table[s[3]] - 1);
            if ((a | b | c | d) & 0xc0)
                break;
            uint32_t v = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
            at[0] = (char)(v >> 16);
            at[1] = (char)(v >> 8);
            at[2] = (char)v;
            at += 3;
            s += 4;
        }
        if (s < end)
            at += base64_byte(t, *s++, at);
    }
    return (size_t)(at - dst);
}

/* ---- quoted-printable --------------------------------------------------------------------------
 */

static size_t
qp_white(struct transfer *t, char *dst)
{
    size_t n = t->nwhite;

    memcpy(dst, t->white, n);
    t->nwhite = 0;
    t->long_white = false;
    return n;
}

/* White space that may end its line. */
static size_t
qp_hold_white(struct transfer *t, const char *p, size_t n, char *dst)
{
    size_t held;

    if (!t->long_white && t->nwhite + n <= sizeof(t->white)) {
        memcpy(t->white + t->nwhite, p, n);
        t->nwhite += (uint8_t)n;
        return 0;
    }
    held = qp_white(t, dst);
    t->long_white = true;
    memcpy(dst + held, p, n);
    return held + n;
}

/* "=" and at most one byte behind it are held. */
static size_t
qp_held(struct transfer *t, char c, char *dst)
{
    if (t->nheld == 1 && (c == ' ' || c == '\t' || c == '\r'))
        return 0; /* white space behind a soft break */
    if (t->nheld == 1 && c == '\n') {
        t->nheld = 0;
        return 0;
    }
    int low = transfer_hex(c);
    if (t->nheld == 1) {
        t->nheld = low < 0 ? 0 : 2;
        t->held[1] = c;
        if (low >= 0)
            return 0;
        t->odd++;
        dst[0] = '=';
        dst[1] = c;
        return 2;
    }
    int high = transfer_hex(t->held[1]);
    t->nheld = 0;
    if (high >= 0 && low >= 0) {
        dst[0] = (char)(high << 4 | low);
        return 1;
    }
    t->odd++;
    dst[0] = '=';
    dst[1] = t->held[1];
    dst[2] = c;
    return 3;
}

/* Bytes that are neither = nor part of a line end. */
static size_t
qp_run(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && p[i] != '=' && p[i] != '\r' && p[i] != '\n')
        i++;
    return i;
}

static size_t
qp_feed(struct transfer *t, const char *p, size_t n, char *dst)
{
    char *at = dst;

    for (size_t i = 0; i < n; i++) {
        if (t->nheld) {
            at += qp_held(t, p[i], at);
            continue;
        }
        size_t run = qp_run(p + i, n - i), text = run;
        bool escape = i + run < n && p[i + run] == '=';
        while (!escape && text > 0 && (p[i + text - 1] == ' ' || p[i + text - 1] == '\t'))
            text--; /* perhaps the end of its line */
        if (text) {
            at += qp_white(t, at);
            memcpy(at, p + i, text);
            at += text;
        }
        at += qp_hold_white(t, p + i + text, run - text, at);
        i += run;
        if (i == n)
            break;
        if (p[i] == '=') {
            at += qp_white(t, at);
            t->nheld = 1;
        } else if (p[i] == '\n') {
            t->nwhite = 0;
            t->long_white = false;
            *at++ = '\r';
            *at++ = '\n';
        }
    }
    return (size_t)(at - dst);
}

/* ---- uuencode ----------------------------------------------------------------------------------
 */

#define UU_NOT_BEGIN 255u /* in `left`: this line is another one */
enum uu_state { UU_BEFORE, UU_LENGTH, UU_LINE, UU_REST, UU_OVER };

static size_t
uu_byte(struct transfer *t, char c, char *dst)
{
    if (t->left == 0)
        return 0;
    if (c < ' ' || c > '`') {
        t->odd++;
        return 0;
    }
    t->bits = t->bits << 6 | (((uint32_t)c - ' ') & 0x3f);
    t->nbits += 6;
    if (t->nbits < 8)
        return 0;
    t->nbits -= 8;
    t->left--;
    *dst = (char)(t->bits >> t->nbits);
    return 1;
}

static void
uu_before(struct transfer *t, char c)
{
    static const char begin[] = "begin ";

    if (t->left < sizeof(begin) - 1)
        t->left = c == begin[t->left] ? (uint8_t)(t->left + 1) : UU_NOT_BEGIN;
    if (c != '\n')
        return;
    t->state = t->left == sizeof(begin) - 1 ? UU_LENGTH : UU_BEFORE;
    t->left = 0;
}

void
transfer_init_uu_line(struct transfer *t)
{
    *t = (struct transfer){.kind = TRANSFER_UUENCODE, .state = UU_LENGTH};
}

/* A length of 0 ends it. */
static size_t
uu_feed(struct transfer *t, const char *p, size_t n, char *dst)
{
    char *at = dst;

    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        switch (t->state) {
        case UU_BEFORE: /* up to the end of a line that starts with "begin " */
            uu_before(t, c);
            break;
        case UU_LENGTH:
            if (c == '\r' || c == '\n')
                break;
            t->left = (uint8_t)((c - ' ') & 0x3f);
            t->bits = t->nbits = 0;
            t->state = c < ' ' || c > '`' ? UU_REST : t->left ? UU_LINE : UU_OVER;
            break;
        case UU_LINE:
            if (c == '\n')
                t->state = UU_LENGTH;
            else if (c != '\r')
                at += uu_byte(t, c, at);
            break;
        case UU_REST:
            t->odd++;
            if (c == '\n')
                t->state = UU_LENGTH;
            break;
        default:
            break;
        }
    }
    return (size_t)(at - dst);
}

/* ---- all ---------------------------------------------------------------------------------------
 */

size_t
transfer_feed(struct transfer *t, const char *p, size_t n, char *dst)
{
    switch (t->kind) {
    case TRANSFER_BASE64:
        return base64_feed(t, p, n, dst);
    case TRANSFER_QP:
        return qp_feed(t, p, n, dst);
    case TRANSFER_UUENCODE:
        return uu_feed(t, p, n, dst);
    default:
        memcpy(dst, p, n);
        return n;
    }
}

size_t
transfer_end(struct transfer *t, char *dst)
{
    size_t n = 0;

    if (t->kind == TRANSFER_BASE64 && t->nbits)
        t->cut++;
    if (t->kind == TRANSFER_QP) {
        n = qp_white(t, dst);
        if (t->nheld) {
            t->odd++;
            if (t->nheld == 2) {
                dst[n++] = '=';
                dst[n++] = t->held[1];
            }
        }
    }
    return n;
}
