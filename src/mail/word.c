/*
 * mail/word.c - encoded words.
 *
 * Called by readers of headers. Lenient as receivers are: a word may stand next to others or inside
 * of quotes, may be longer than 75 characters and may hold spaces in its Q text.
 */
#include "mail/word.h"

#include "core/err.h"
#include "mail/charset.h"
#include "mail/transfer.h"

#define JOINED_MOST (64u << 10)
#define WORD_MOST   2048u /* bytes of one; RFC 2047 2 knows 75 */
#define RUNS_MOST   500u  /* of one value: each opens a converter; further ones stay as they are */

struct word {
    struct str charset, text;
    bool base64;
    size_t length; /* of all of it */
};

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A value that is read for words from its beginning to its end. */
struct words {
    struct str value;
    size_t end; /* the first "?=" at or behind the last place that was asked for */
};

/* Where the word whose text begins at `from` ends. Places come in rising order, so that all of a
 * value's are found in one pass over it, however many beginnings it has. */
static size_t
word_end(struct words *all, size_t from)
{
    if (all->end < from) {
        ssize_t at = str_find(str_from(all->value, from), STR("?="));
        all->end = at < 0 ? SIZE_MAX : from + (size_t)at;
    }
    return all->end;
}

/* =?charset[*language]?B|Q?text?= at that place. */
static bool
word_parse(struct words *all, size_t place, struct word *ret)
{
    struct str s = str_from(all->value, place);
    size_t at = 2, from;

    if (s.n < 8 || s.p[0] != '=' || s.p[1] != '?')
        return false;
    while (at < s.n && at < 80 && s.p[at] != '?' && s.p[at] > ' ')
        at++;
    if (at + 4 >= s.n || s.p[at] != '?' || s.p[at + 2] != '?')
        return false;
    ret->charset = str_sub(s, 2, at - 2);
    for (size_t i = 0; i < ret->charset.n; i++) {
        if (ret->charset.p[i] == '*') /* RFC 2231 5: a language */
            ret->charset.n = i;
    }
    char encoding = s.p[at + 1];
    if (!ret->charset.n || !encoding || !strchr("BbQq", encoding))
        return false;
    ret->base64 = encoding == 'B' || encoding == 'b';
    from = at + 3;
    size_t end = word_end(all, place + from);
    if (end == SIZE_MAX || end - place - from >= WORD_MOST)
        return false;
    ret->text = str_sub(s, from, end - place - from);
    ret->length = end - place + 2;
    for (size_t i = 0; i < ret->text.n; i++) {
        if (ret->text.p[i] == '\n' && !is_space(s.p[from + i + 1]))
            return false;
    }
    return true;
}

/* Q is quoted-printable with _ for a space (RFC 2047 4.2). */
static size_t
word_q(struct str text, char *dst, unsigned *odd)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '\r' || c == '\n') { /* a word that was folded */
            while (i + 1 < text.n && is_space(text.p[i + 1]))
                i++;
            continue;
        }
        int high = c == '=' && i + 2 < text.n ? transfer_hex(text.p[i + 1]) : -1;
        int low = high >= 0 ? transfer_hex(text.p[i + 2]) : -1;
        if (low >= 0) {
            dst[n++] = (char)(high << 4 | low);
            i += 2;
            continue;
        }
        *odd |= c == '=' ? WORD_ODD_CONTENT : 0;
        dst[n++] = c == '_' ? ' ' : c;
    }
    return n;
}

static void
word_bytes(const struct word *w, struct buf *out, unsigned *odd)
{
    char *dst = buf_room(out, transfer_room(w->text.n));
    struct transfer t;

    if (!dst)
        return;
    if (!w->base64) {
        buf_used(out, word_q(w->text, dst, odd));
        return;
    }
    transfer_init(&t, TRANSFER_BASE64);
    buf_used(out, transfer_feed(&t, w->text.p, w->text.n, dst));
    *odd |= t.odd || t.nbits ? WORD_ODD_CONTENT : 0; /* also an end within a group of four */
}

/* Text between words, unfolded: a line end and the white space around it are one space. */
static void
put_raw(struct str s, struct buf *out, unsigned *odd)
{
    CLEANUP(buf_done) struct buf plain;

    buf_init(&plain, s.n + 1);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c != '\r' && c != '\n') {
            buf_char(&plain, c);
            continue;
        }
        while (i + 1 < s.n && is_space(s.p[i + 1]))
            i++;
        while (plain.n && is_space(plain.p[plain.n - 1]))
            plain.n--;
        buf_char(&plain, ' ');
    }
    *odd |= charset_put_utf8(out, buf_view(&plain)) ? WORD_ODD_RAW : 0;
}

/* A run of words of one charset, the first of them at that place; where it ends. */
static size_t
put_words(struct words *all, size_t place, const struct word *first, struct buf *out, unsigned *odd)
{
    CLEANUP(buf_done) struct buf bytes;
    size_t used = place + first->length, before = out->n;
    struct str s = all->value;
    struct word next;

    buf_init(&bytes, JOINED_MOST);
    word_bytes(first, &bytes, odd);
    while (used < s.n) {
        size_t at = used;
        while (at < s.n && is_space(s.p[at]))
            at++;
        if (!word_parse(all, at, &next) || !str_ieq(next.charset, first->charset))
            break;
        word_bytes(&next, &bytes, odd);
        used = at + next.length;
    }
    struct charset c;
    if (charset_begin(&c, first->charset) < 0)
        *odd |= WORD_ODD_CHARSET;
    charset_feed(&c, bytes.p, bytes.n, out);
    charset_end(&c, out);
    *odd |= c.bad || bytes.failed ? WORD_ODD_CONTENT : 0;
    for (size_t i = before; i < out->n; i++) {
        if ((unsigned char)out->p[i] < ' ' && out->p[i] != '\t') {
            out->p[i] = ' '; /* a line end here would forge a field for the next reader */
            *odd |= WORD_ODD_CONTROL;
        }
    }
    return used;
}

bool
word_present(struct str value)
{
    struct words all = {value, 0};
    struct word w;

    for (size_t at = 0; at < value.n; at++) {
        if (value.p[at] == '=' && word_parse(&all, at, &w))
            return true;
    }
    return false;
}

/* Text between words, or behind the last one; `behind` and `before` a word. Where they touch, some
 * readers see a space. */
static void
put_between(struct str s, bool behind, bool before, bool spaced, struct buf *out, unsigned *odd)
{
    bool first = behind && s.n && !is_space(s.p[0]);
    bool last = before && s.n && !is_space(s.p[s.n - 1]);

    if (first || last)
        *odd |= WORD_ODD_TOUCHED;
    if (first && spaced)
        buf_char(out, ' ');
    put_raw(s, out, odd);
    if (last && spaced)
        buf_char(out, ' ');
}

static unsigned
decode(struct str value, bool spaced, struct buf *out)
{
    unsigned odd = 0;
    size_t at = 0, raw;
    unsigned runs = 0;
    bool behind_word = false;

    while (value.n && is_space(value.p[0]))
        value = str_sub(value, 1, value.n - 1);
    while (value.n && is_space(value.p[value.n - 1]))
        value.n--;
    struct words all = {value, 0};
    for (raw = 0; at < value.n;) {
        struct word w;
        if (value.p[at] != '=' || runs == RUNS_MOST || !word_parse(&all, at, &w)) {
            at++;
            continue;
        }
        struct str between = str_sub(value, raw, at - raw);
        bool blank = behind_word;
        for (size_t i = 0; i < between.n; i++)
            blank &= is_space(between.p[i]);
        if (!blank) /* white space between two words is not text (RFC 2047 6.2) */
            put_between(between, behind_word, true, spaced, out, &odd);
        at = put_words(&all, at, &w, out, &odd);
        raw = at;
        runs++;
        behind_word = true;
    }
    put_between(str_sub(value, raw, value.n - raw), behind_word, false, spaced, out, &odd);
    return odd;
}

unsigned
word_decode(struct str value, struct buf *out)
{
    return decode(value, false, out);
}

unsigned
word_decode_spaced(struct str value, struct buf *out)
{
    return decode(value, true, out);
}
