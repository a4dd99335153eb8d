/*
 * courier/reply_class_text.c - words of a reply: what servers say in many spellings becomes one.
 *
 * Called by the parser of patterns and by the classifier, so both see the same words. Never
 * allocates; what does not fit is left out.
 */
#include "courier/reply_class_text.h"

#include <string.h>

/* What a byte can be. */
#define EDGE   1u /* between chunks */
#define JOINT  2u /* within one, between parts */
#define FRINGE 4u /* of no meaning at a part's ends */
#define UMLAUT 8u /* may be followed by e */
static const uint8_t bytes[256] = {
    [0] = EDGE,     [' '] = EDGE,    ['\t'] = EDGE,          ['\r'] = EDGE,
    ['\n'] = EDGE,  ['<'] = EDGE,    ['>'] = EDGE,           ['('] = EDGE,
    [')'] = EDGE,   ['['] = EDGE,    [']'] = EDGE,           ['{'] = EDGE,
    ['}'] = EDGE,   ['"'] = EDGE,    [','] = EDGE,           [';'] = EDGE,
    ['|'] = EDGE,   ['/'] = JOINT,   [':'] = JOINT | FRINGE, ['='] = JOINT | FRINGE,
    ['#'] = FRINGE, ['\''] = FRINGE, ['`'] = FRINGE,         ['*'] = FRINGE,
    ['.'] = FRINGE, ['!'] = FRINGE,  ['?'] = FRINGE,         ['-'] = FRINGE,
    ['_'] = FRINGE, ['~'] = FRINGE,  ['\\'] = FRINGE,        ['a'] = UMLAUT,
    ['o'] = UMLAUT, ['u'] = UMLAUT,
};

static bool
is(char c, uint8_t what)
{
    return bytes[(unsigned char)c] & what;
}

struct reader {
    struct reply_text *t;
    const struct map *names;
    bool patterns; /* hosts stay */
    bool open;     /* a word is being written */
    bool after_code, line_start, after_colon;
    bool remote; /* the enhanced code stood beside a reply code */
};

static void
word_end(struct reader *r)
{
    r->open = false;
}

static void
word_byte(struct reader *r, char c)
{
    struct reply_text *t = r->t;

    if (!r->open) {
        if (t->nwords == REPLY_WORDS_MAX || t->n == REPLY_TEXT_MAX)
            return;
        t->at[t->nwords] = t->n;
        t->len[t->nwords++] = 0;
        r->open = true;
    }
    if (t->n == REPLY_TEXT_MAX || t->len[t->nwords - 1] >= REPLY_WORD_MAX)
        return;
    /* ae, oe, ue: the Umlaut that ASCII has not */
    if (c == 'e' && t->len[t->nwords - 1] > 0 && is(t->bytes[t->n - 1], UMLAUT))
        return;
    t->bytes[t->n++] = c;
    t->len[t->nwords - 1]++;
}

static void
word_whole(struct reader *r, struct str word)
{
    word_end(r);
    for (size_t i = 0; i < word.n && i < REPLY_WORD_MAX; i++) {
        struct reply_text *t = r->t;
        if (i == 0) {
            if (t->nwords == REPLY_WORDS_MAX || t->n + word.n > REPLY_TEXT_MAX)
                return;
            t->at[t->nwords] = t->n;
            t->len[t->nwords++] = 0;
        }
        t->bytes[t->n++] = word.p[i];
        t->len[t->nwords - 1]++;
    }
}

static void
word_point(struct reader *r, uint32_t cp)
{
    if (cp < 0x800) {
        word_byte(r, (char)(0xc0 | cp >> 6));
        word_byte(r, (char)(0x80 | (cp & 0x3f)));
        return;
    }
    if (cp >= 0x10000) {
        word_byte(r, (char)(0xf0 | cp >> 18));
        word_byte(r, (char)(0x80 | (cp >> 12 & 0x3f)));
    } else {
        word_byte(r, (char)(0xe0 | cp >> 12));
    }
    word_byte(r, (char)(0x80 | (cp >> 6 & 0x3f)));
    word_byte(r, (char)(0x80 | (cp & 0x3f)));
}

/* Written without spaces between words. */
static bool
is_unspaced(uint32_t cp)
{
    return (cp >= 0x2e80 && cp <= 0x9fff) || (cp >= 0xac00 && cp <= 0xd7af) ||
           (cp >= 0xf900 && cp <= 0xfaff) || cp >= 0x20000;
}

/* A code point of 128 and above. */
static void
word_fold(struct reader *r, uint32_t cp)
{
    static const char latin[] = "aaaaaaaceeeeiiiidnooooo ouuuuytsaaaaaaaceeeeiiiidnooooo ouuuuyty";
    static const char extended[] = "aaaaaaccccccccddddeeeeeeeeeegggg"
                                   "gggghhhhiiiiiiiiiiiijjkkklllllll"
                                   "lllnnnnnnnnnoooooooorrrrrrssssss"
                                   "ssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

    if (cp >= 0xff01 && cp <= 0xff5e) /* full width */
        cp -= 0xfee0;
    if (cp >= 0x300 && cp <= 0x36f) /* combining accents */
        return;
    if (cp < 0x80) {
        if ((cp >= '0' && cp <= '9') || ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z'))
            word_byte(r, (char)(cp >= 'A' && cp <= 'Z' ? cp | 0x20 : cp));
        else
            word_end(r);
    } else if (cp == 0xdf) {
        word_byte(r, 's');
        word_byte(r, 's');
    } else if (cp >= 0xc0 && cp <= 0xff && cp != 0xd7 && cp != 0xf7) {
        word_byte(r, latin[cp - 0xc0]);
    } else if (cp >= 0x100 && cp <= 0x17f) {
        word_byte(r, extended[cp - 0x100]);
    } else if (cp < 0x100 || (cp >= 0x2000 && cp <= 0x206f) || (cp >= 0x3000 && cp <= 0x3003) ||
               (cp >= 0x3008 && cp <= 0x3020) || cp == 0x30fb) {
        word_end(r); /* punctuation */
    } else if (is_unspaced(cp)) {
        word_end(r);
        word_point(r, cp);
        word_end(r);
    } else if (cp >= 0x410 && cp <= 0x42f) {
        word_point(r, cp + 0x20);
    } else if (cp == 0x401 || cp == 0x451) {
        word_point(r, 0x435);
    } else if (cp >= 0x400 && cp <= 0x40f) {
        word_point(r, cp + 0x50);
    } else {
        word_point(r, cp);
    }
}

/* Any text without structure of its own. */
static void
read_words(struct reader *r, struct str s)
{
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = c < 0x80 ? 1 : str_utf8_len(str_from(s, i));
        uint32_t cp = c;
        if (n == 0) { /* not UTF-8: then most likely Latin-1 */
            word_fold(r, c);
            i++;
            continue;
        }
        if (n > 1)
            cp = c & (0xffu >> (n + 1));
        for (size_t k = 1; k < n; k++)
            cp = cp << 6 | ((unsigned char)s.p[i + k] & 0x3f);
        if (cp == '-' && i == 1 && (s.p[0] | 0x20) == 'e' && s.n >= 6 &&
            str_istarts(str_from(s, 2), STR("mail"))) {
            i += n; /* e-mail and email are one word */
            continue;
        }
        if (cp < 0x80) {
            if (c >= 'A' && c <= 'Z')
                word_byte(r, (char)(c | 0x20));
            else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
                word_byte(r, (char)c);
            else
                word_end(r);
        } else {
            word_fold(r, cp);
        }
        i += n;
    }
    word_end(r);
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

bool
reply_text_enhanced(struct str s, uint16_t ret[3])
{
    uint16_t part[3] = {0};
    unsigned n = 0, digits = 0;

    if (s.n < 5 || !strchr("245", s.p[0]) || s.p[1] != '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.') {
            if (digits == 0 || ++n > 2)
                return false;
            digits = 0;
        } else if (is_digit(s.p[i]) && ++digits <= 3) {
            part[n] = (uint16_t)(part[n] * 10 + (s.p[i] - '0'));
        } else {
            return false;
        }
    }
    if (n != 2 || digits == 0)
        return false;
    memcpy(ret, part, sizeof part);
    return true;
}

static bool
is_ip4(struct str s)
{
    unsigned dots = 0, digits = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' && digits > 0) {
            dots++;
            digits = 0;
        } else if (!is_digit(s.p[i]) || ++digits > 3) {
            return false;
        }
    }
    return dots == 3 && digits > 0;
}

static bool
is_ip6(struct str s)
{
    unsigned colons = 0;

    if (str_istarts(s, STR("IPv6:")))
        s = str_from(s, 5);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == ':')
            colons++;
        else if (!is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'f') && c != '.')
            return false;
    }
    return colons >= 2 && s.n > 3;
}

bool
reply_text_is_host(struct str s)
{
    size_t label = 0, letters = 0;
    unsigned dots = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.') {
            if (label == 0 || i + 1 == s.n)
                return false;
            /* "refused.Please": two sentences */
            if (s.p[i + 1] >= 'A' && s.p[i + 1] <= 'Z' && s.p[i - 1] >= 'a' && s.p[i - 1] <= 'z')
                return false;
            dots++;
            label = letters = 0;
            continue;
        }
        if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_')
            return false;
        label++;
        letters += is_letter(c);
    }
    return dots > 0 && letters == label && label >= 2 && label <= 24;
}

static void
read_host(struct reader *r, struct str s)
{
    char lower[256];
    struct str name;

    if (s.n > sizeof lower) {
        word_whole(r, STR("%"));
        return;
    }
    memcpy(lower, s.p, s.n);
    str_lower(lower, s.n);
    name = str_of(lower, s.n);
    if (r->patterns) {
        word_whole(r, str_sub(name, 0, REPLY_WORD_MAX));
        return;
    }
    for (struct str at = name; r->names && at.n > 0;) {
        ssize_t dot;
        if (map_get(r->names, str_sub(at, 0, REPLY_WORD_MAX))) {
            word_whole(r, str_sub(at, 0, REPLY_WORD_MAX));
            return;
        }
        dot = str_chr(at, '.');
        if (dot < 0)
            break;
        at = str_from(at, (size_t)dot + 1);
    }
    word_whole(r, STR("%"));
}

static struct str
strip(struct str s)
{
    while (s.n > 0 && is(s.p[0], FRINGE))
        s = str_from(s, 1);
    while (s.n > 0 && is(s.p[s.n - 1], FRINGE))
        s.n--;
    return s;
}

/* 3 digits of a reply code, followed by nothing or by `-`. */
static unsigned
code_at(struct str s)
{
    unsigned code;

    if (s.n < 3 || !is_digit(s.p[0]) || !is_digit(s.p[1]) || !is_digit(s.p[2]))
        return 0;
    if (s.n > 3 && s.p[3] != '-')
        return 0;
    code = (unsigned)((s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0'));
    return code >= 200 && code < 600 ? code : 0;
}

static void
read_part(struct reader *r, struct str s)
{
    uint16_t enhanced[3];

    s = strip(s);
    if (s.n == 0)
        return;
    if (reply_text_enhanced(s, enhanced)) {
        if (r->t->enhanced[0] == 0 || (r->after_code && !r->remote)) {
            memcpy(r->t->enhanced, enhanced, sizeof enhanced);
            r->remote = r->after_code;
        }
        return;
    }
    if (is_ip4(s)) {
        word_whole(r, STR("#"));
        return;
    }
    if (reply_text_is_host(s))
        read_host(r, s);
    else
        read_words(r, s);
}

/* Between white space and brackets, no URL. */
static void
read_chunk(struct reader *r, struct str s)
{
    struct str part;
    ssize_t at = str_rchr(s, '@');

    if (at > 0 && (size_t)at + 1 < s.n) {
        ssize_t colon = str_chr(str_sub(s, 0, (size_t)at), ':');
        if (colon > 0)
            read_chunk(r, str_sub(s, 0, (size_t)colon));
        word_whole(r, STR("@"));
        s = str_from(s, (size_t)at + 1);
        colon = str_chr(s, ':');
        if (colon > 0)
            read_chunk(r, str_from(s, (size_t)colon + 1));
        return;
    }
    if (is_ip6(s)) {
        word_whole(r, STR("#"));
        return;
    }
    while (s.n > 0) {
        size_t n = 0;
        while (n < s.n && !is(s.p[n], JOINT))
            n++;
        part = str_sub(s, 0, n);
        s = str_from(s, n + 1);
        read_part(r, part);
    }
}

static void
read_url(struct reader *r, struct str s)
{
    ssize_t scheme = str_find(s, STR("://"));
    size_t host = 0;

    if (scheme >= 0)
        s = str_from(s, (size_t)scheme + 3);
    while (host < s.n && !strchr("/?#:", s.p[host]))
        host++;
    read_part(r, str_sub(s, 0, host));
    s = str_from(s, host);
    while (s.n > 0) { /* its path: words, no hosts */
        size_t n = 0;
        struct str part;
        while (n < s.n && !strchr("/?#=&:+", s.p[n]))
            n++;
        part = strip(str_sub(s, 0, n));
        s = str_from(s, n + 1);
        if (is_ip4(part))
            word_whole(r, STR("#"));
        else if (str_chr(part, '@') > 0)
            word_whole(r, STR("@"));
        else
            read_words(r, part);
    }
}

/* A reply code at the chunk's begin is taken off. True: nothing is left. */
static bool
read_code(struct reader *r, struct str *s, bool enhanced_next)
{
    unsigned code = code_at(*s);
    bool joined = s->n > 3;

    if (code == 0)
        return false;
    if (joined && s->n > 4 && !is_letter(s->p[4]) && !is_digit(s->p[4]) &&
        !strchr("'\"#<[(", s->p[4]))
        return false;
    if (code != r->t->code && !r->line_start && !r->after_colon && !enhanced_next && !joined)
        return false;
    if (code != r->t->code && code < 400 && !r->line_start)
        return false;
    if (r->t->code == 0)
        r->t->code = (uint16_t)code;
    r->after_code = true;
    *s = str_from(*s, joined ? 4 : 3);
    return s->n == 0;
}

static bool
next_is_enhanced(struct str rest)
{
    uint16_t enhanced[3];
    size_t n = 0;

    while (rest.n > 0 && (is(rest.p[0], EDGE) || rest.p[0] == '#'))
        rest = str_from(rest, 1);
    while (n < rest.n && !is(rest.p[n], EDGE))
        n++;
    return reply_text_enhanced(strip(str_sub(rest, 0, n)), enhanced);
}

static bool
is_url(struct str chunk)
{
    return (chunk.n > 8 && str_find(chunk, STR("://")) >= 0) || str_istarts(chunk, STR("www."));
}

void
reply_text_read(struct reply_text *ret, struct str text, const struct map *names)
{
    struct reader r = {.t = ret, .names = names, .patterns = names == NULL, .line_start = true};
    bool after_code = false; /* the chunk before was a reply code */

    ret->code = ret->nwords = ret->n = 0;
    memset(ret->enhanced, 0, sizeof ret->enhanced);
    text = str_sub(text, 0, REPLY_TEXT_MAX);
    for (size_t i = 0; i < text.n;) {
        struct str chunk;
        size_t n = 0;
        if (is(text.p[i], EDGE)) {
            r.line_start = r.line_start || text.p[i] == '\n';
            i++;
            continue;
        }
        while (i + n < text.n && !is(text.p[i + n], EDGE))
            n++;
        chunk = str_sub(text, i, n);
        i += n;
        r.after_code = after_code;
        after_code = false;
        if (is_url(chunk))
            read_url(&r, chunk);
        else if (!r.patterns && read_code(&r, &chunk, next_is_enhanced(str_from(text, i))))
            after_code = true;
        else
            read_chunk(&r, chunk);
        r.line_start = false;
        r.after_colon = n > 0 && text.p[i - 1] == ':';
    }
}
