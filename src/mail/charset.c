/*
 * mail/charset.c - names of charsets, and their conversion to UTF-8.
 *
 * Called by mail/word.c, mail/param.c and readers of text parts. Names come from strangers: only
 * letters, digits and a few signs reach iconv.
 */
#include "mail/charset.h"

#include <errno.h>
#include <iconv.h>

#include "core/err.h"

#define NAME_MAX_ 40u
#define PIECE     4096u

static const char replacement[] = "\xef\xbf\xbd";

/* What mail, Windows and its code pages (those of TNEF) call them, where iconv knows another name,
 * or where a process that can open no more files knows one alone. */
static const struct {
    const char *name, *iconv;
} aliases[] = {
    {"x-sjis", "CP932"},
    {"shift_jis", "CP932"},
    {"shift-jis", "CP932"},
    {"sjis", "CP932"},
    {"windows-31j", "CP932"},
    {"ms_kanji", "CP932"},
    {"cp943", "CP932"},
    {"ks_c_5601-1987", "CP949"},
    {"ks_c_5601-1989", "CP949"},
    {"ks_c_5601", "CP949"},
    {"ksc5601", "CP949"},
    {"ksc_5601", "CP949"},
    {"euc-kr", "CP949"},
    {"euckr", "CP949"},
    {"cp51949", "CP949"},
    {"x-windows-949", "CP949"},
    {"gb2312", "GBK"},
    {"gb_2312-80", "GBK"},
    {"x-gbk", "GBK"},
    {"cp936", "GBK"},
    {"ms936", "GBK"},
    {"euc-cn", "GBK"},
    {"cp51936", "GBK"},
    {"cp54936", "GB18030"},
    {"big5", "BIG5-HKSCS"},
    {"big-5", "BIG5-HKSCS"},
    {"cn-big5", "BIG5-HKSCS"},
    {"x-x-big5", "BIG5-HKSCS"},
    {"cp950", "BIG5-HKSCS"},
    {"x-euc-jp", "EUC-JP"},
    {"eucjp", "EUC-JP"},
    {"cp20932", "EUC-JP"},
    {"cp51932", "EUC-JP"},
    {"iso-2022-jp", "ISO-2022-JP-3"},
    {"iso-2022-jp-1", "ISO-2022-JP-3"},
    {"cp50220", "ISO-2022-JP-3"},
    {"cp50221", "ISO-2022-JP-3"},
    {"cp50222", "ISO-2022-JP-3"},
    {"cp50225", "ISO-2022-KR"},
    {"iso-8859-8-i", "ISO-8859-8"},
    {"iso-8859-8-e", "ISO-8859-8"},
    {"iso-8859-6-i", "ISO-8859-6"},
    {"latin2", "ISO-8859-2"},
    {"l2", "ISO-8859-2"},
    {"latin3", "ISO-8859-3"},
    {"latin4", "ISO-8859-4"},
    {"latin5", "ISO-8859-9"},
    {"l5", "ISO-8859-9"},
    {"latin6", "ISO-8859-10"},
    {"latin9", "ISO-8859-15"},
    {"latin-9", "ISO-8859-15"},
    {"l9", "ISO-8859-15"},
    {"cp28603", "ISO-8859-13"},
    {"cp28605", "ISO-8859-15"},
    {"koi8r", "KOI8-R"},
    {"koi", "KOI8-R"},
    {"cp20866", "KOI8-R"},
    {"koi8-ru", "KOI8-U"},
    {"cp21866", "KOI8-U"},
    {"x-mac-roman", "MACINTOSH"},
    {"macroman", "MACINTOSH"},
    {"mac", "MACINTOSH"},
    {"cp10000", "MACINTOSH"},
    {"x-mac-cyrillic", "MAC-CYRILLIC"},
    {"cp10007", "MAC-CYRILLIC"},
    {"unicode-1-1-utf-7", "UTF-7"},
    {"utf-7", "UTF-7"},
    {"cp65000", "UTF-7"},
    {"cp1200", "UTF-16LE"}, /* Windows writes no other order */
    {"unicode", "UTF-16LE"},
    {"ucs-2", "UTF-16LE"},
    {"iso-10646-ucs-2", "UTF-16LE"},
    {"cp1201", "UTF-16BE"},
    {"unicodefffe", "UTF-16BE"},
    {"utf16", "UTF-16"},
    {"tis-620", "CP874"},
    {"windows-874", "CP874"},
};
/* What a stranger may choose among libc's converters, most of which no mail needs and nobody looks
 * after. All of them can be had by a process that can open no more files, too. */
static const char *const known[] = {
    "CP932",         "CP949",       "GBK",         "GB18030",     "BIG5-HKSCS",   "EUC-JP",
    "ISO-2022-JP-3", "ISO-2022-KR", "UTF-7",       "UTF-16",      "UTF-16LE",     "UTF-16BE",
    "UTF-32",        "UTF-32LE",    "UTF-32BE",    "KOI8-R",      "MAC-CYRILLIC", "KOI8-U",
    "CP874",         "CP1250",      "CP1251",      "CP1252",      "CP1253",       "CP1254",
    "CP1255",        "CP1256",      "CP1257",      "CP1258",      "ISO-8859-2",   "ISO-8859-3",
    "ISO-8859-4",    "ISO-8859-5",  "ISO-8859-6",  "ISO-8859-7",  "ISO-8859-8",   "ISO-8859-9",
    "ISO-8859-10",   "ISO-8859-11", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15",  "ISO-8859-16",
    "MACINTOSH",     "CP437",       "CP850",       "CP852",       "CP866",
};
/* As libc's own state: the process's. Left open for good: closing would unload the module. */
static iconv_t loaded[ARRAY_LEN(known)];
static bool only_loaded;

static const char *const utf8_names[] = {
    "utf-8",     "utf8",      "us-ascii",     "ascii",   "unicode-1-1-utf-8", "ansi_x3.4-1968",
    "iso646-us", "x-unknown", "unknown-8bit", "default", "cp20127",           "cp65001"};
static const char *const latin1_names[] = {"iso-8859-1", "latin1", "latin-1", "iso8859-1",
                                           "iso_8859-1", "l1",     "cp819",   "cp28591"};

static bool
named(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_ieq(name, str_c(names[i])))
            return true;
    }
    return false;
}

static bool
may_ask(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_ieq(str_c(name), str_c(known[i])))
            return !only_loaded || loaded[i] != (iconv_t)-1;
    return false;
}

/* Windows names and ISO names without their first dash. */
static struct str
plain_name(struct str name, char room[NAME_MAX_ + 16])
{
    static const struct {
        const char *is, *becomes;
    } heads[] = {{"windows-", "CP"},
                 {"x-cp", "CP"},
                 {"ibm", "CP"},
                 {"iso8859-", "ISO-8859-"},
                 {"iso_8859-", "ISO-8859-"},
                 {"cp2859", "ISO-8859-"}};

    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        if (str_istarts(name, str_c(heads[i].is)))
            return str_of(room, str_fmt(room, NAME_MAX_ + 16, "%s%.*s", heads[i].becomes,
                                        STR_ARG(str_from(name, strlen(heads[i].is)))));
    return name;
}

/* The name that iconv is asked for; false if it cannot be one. */
static bool
iconv_name(struct str name, char dst[NAME_MAX_ + 1])
{
    char room[NAME_MAX_ + 16];

    if (name.n == 0 || name.n > NAME_MAX_)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr("-_.:+", c)))
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        if (str_ieq(name, str_c(aliases[i].name)))
            return str_copy(str_c(aliases[i].iconv), dst, NAME_MAX_ + 1);
    }
    return str_copy(plain_name(name, room), dst, NAME_MAX_ + 1);
}

int
charset_begin(struct charset *c, struct str name)
{
    char wanted[NAME_MAX_ + 1];

    *c = (struct charset){.kind = CHARSET_UTF8};
    if (name.n == 0 || named(name, utf8_names, ARRAY_LEN(utf8_names)))
        return 0;
    if (named(name, latin1_names, ARRAY_LEN(latin1_names))) {
        c->kind = CHARSET_LATIN1;
        return 0;
    }
    if (!iconv_name(name, wanted) || !may_ask(wanted))
        return ERR_UNSUPPORTED;
    iconv_t cd = iconv_open("UTF-8", wanted);
    if (cd == (iconv_t)-1)
        return ERR_UNSUPPORTED;
    c->kind = CHARSET_ICONV;
    c->iconv = cd;
    c->by_byte = str_ieq(str_c(wanted), STR("UTF-7"));
    return 0;
}

/* ---- UTF-8 -------------------------------------------------------------------------------------
 */

/* Bytes of the well-formed character at p; if it is none, how many of them one U+FFFD stands for
 * (the longest beginning of a character), negative; 0 if the end of the piece cuts it off. */
static int
utf8_length(const uint8_t *p, size_t n)
{
    int want = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (want == 0 || p[0] > 0xf4)
        return -1;
    for (int i = 1; i < want; i++) {
        uint8_t low = 0x80, high = 0xbf; /* RFC 3629 4: no overlong forms, no surrogates */
        if ((size_t)i >= n)
            return 0;
        if (i == 1 && (p[0] == 0xe0 || p[0] == 0xf0))
            low = p[0] == 0xe0 ? 0xa0 : 0x90;
        if (i == 1 && (p[0] == 0xed || p[0] == 0xf4))
            high = p[0] == 0xed ? 0x9f : 0x8f;
        if (p[i] < low || p[i] > high)
            return -i;
    }
    return want;
}

/* Bytes used; the rest is a character that is cut off. */
static size_t
put_utf8(struct buf *out, const char *text, size_t n, uint32_t *bad)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t from = 0, at = 0;

    while (at < n) {
        int len = utf8_length(p + at, n - at);
        if (len > 0) {
            at += (size_t)len;
            continue;
        }
        buf_add(out, text + from, at - from);
        if (len == 0)
            return at;
        buf_add(out, replacement, 3);
        ++*bad;
        at += (size_t)-len;
        from = at;
    }
    buf_add(out, text + from, at - from);
    return n;
}

uint32_t
charset_put_utf8(struct buf *out, struct str text)
{
    uint32_t bad = 0;

    if (!text.n)
        return 0;
    size_t used = put_utf8(out, text.p, text.n, &bad);

    if (used < text.n) {
        buf_add(out, replacement, 3);
        bad++;
    }
    return bad;
}

/* ---- the others --------------------------------------------------------------------------------
 */

static void
put_latin1(struct buf *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)p[i];
        if (b < 0x80) {
            buf_char(out, p[i]);
        } else {
            buf_char(out, (char)(0xc0 | b >> 6));
            buf_char(out, (char)(0x80 | (b & 0x3f)));
        }
    }
}

/* Bytes used; the rest is incomplete. */
static size_t
put_iconv(struct charset *c, struct buf *out, char *p, size_t n)
{
    char room[PIECE], *from = p, *to;
    size_t left = n, space;

    while (left) {
        to = room;
        space = sizeof(room);
        size_t rc = iconv(c->iconv, &from, &left, &to, &space);
        int why = errno;
        buf_add(out, room, sizeof(room) - space);
        if (rc != (size_t)-1)
            break;
        if (why == EINVAL || !left)
            break;
        if (why == EILSEQ) {
            buf_add(out, replacement, 3);
            c->bad++;
            from++;
            left--;
        }
    }
    return n - left;
}

static size_t
put_piece(struct charset *c, struct buf *out, char *p, size_t n)
{
    switch (c->kind) {
    case CHARSET_LATIN1:
        put_latin1(out, p, n);
        return n;
    case CHARSET_ICONV:
        return put_iconv(c, out, p, n);
    default:
        return put_utf8(out, p, n, &c->bad);
    }
}

void
charset_feed(struct charset *c, const char *p, size_t n, struct buf *out)
{
    char room[PIECE];

    while (n) {
        size_t take = MIN(n, c->by_byte ? 1 : sizeof(room) - c->nheld), used;
        memcpy(room, c->held, c->nheld);
        memcpy(room + c->nheld, p, take);
        size_t all = c->nheld + take;
        p += take;
        n -= take;
        used = put_piece(c, out, room, all);
        if (all - used > sizeof(c->held)) { /* nothing that makes sense is so long */
            used = all;
            c->bad++;
        }
        c->nheld = (uint8_t)(all - used);
        memcpy(c->held, room + used, c->nheld);
    }
}

/* Some of libc's converters (windows-1255, -1258 ...) hold a letter back until they know what
 * follows it. */
static void
put_rest(struct charset *c, struct buf *out)
{
    char room[64], *to = room;
    size_t space = sizeof(room);

    if (iconv(c->iconv, NULL, NULL, &to, &space) != (size_t)-1)
        buf_add(out, room, sizeof(room) - space);
}

void
charset_again(struct charset *c, struct buf *out)
{
    if (c->iconv)
        put_rest(c, out);
    if (c->nheld) {
        buf_add(out, replacement, 3);
        c->bad++;
    }
    if (c->iconv)
        (void)iconv(c->iconv, NULL, NULL, NULL, NULL);
    c->nheld = 0;
}

void
charset_end(struct charset *c, struct buf *out)
{
    if (out)
        charset_again(c, out);
    if (c->iconv)
        iconv_close(c->iconv);
    c->iconv = NULL;
    c->nheld = 0;
}

int
charset_decode(struct str name, struct str text, struct buf *out)
{
    struct charset c;
    int rc = charset_begin(&c, name);

    charset_feed(&c, text.p, text.n, out);
    charset_end(&c, out);
    return rc;
}

void
charset_preload(void)
{
    for (size_t i = 0; !only_loaded && i < ARRAY_LEN(known); i++)
        loaded[i] = iconv_open("UTF-8", known[i]);
    only_loaded = true;
}
