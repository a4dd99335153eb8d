/*
 * tests/unit/test_mail_charset.c - charsets of mail as UTF-8, at once and in pieces.
 */
#include "core/err.h"
#include "mail/charset.h"
#include "tap.h"

static const struct {
    const char *name, *text, *want;
    unsigned bad;
} cases[] = {
    {"utf-8", "a\xc3\xa4\xe2\x82\xac", "a\xc3\xa4\xe2\x82\xac", 0},
    {"utf-8", "\xc3", "\xef\xbf\xbd", 1},
    {"utf-8", "a\xed\xa0\x80z", "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz", 3},
    {"iso-8859-1", "a\xe4", "a\xc3\xa4", 0},
    {"windows-1252", "\x80", "\xe2\x82\xac", 0},
    {"koi8-r", "\xc1", "\xd0\xb0", 0},
    {"iso-2022-jp", "\x1b$B$\"\x1b(Bx", "\xe3\x81\x82x", 0},
    {"shift_jis", "\x82\xa0", "\xe3\x81\x82", 0},
    {"gb18030", "\x81\x30\x81\x30", "\xc2\x80", 0},
    {"gb18030", "a\x81", "a\xef\xbf\xbd", 1},
    /* libc holds back a letter that an accent may follow: here nothing does. */
    {"windows-1255", "x\xe0", "x\xd7\x90", 0},
    {"windows-1258", "x\xe0", "x\xc3\xa0", 0},
    {"windows-1258", "a\xd2", "\xe1\xba\xa3", 0},
};

static void
test_cases(void)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_c(cases[i].text);
        struct charset c;
        struct buf whole, pieces;

        buf_init(&whole, 1000);
        buf_init(&pieces, 1000);
        IS(charset_decode(str_c(cases[i].name), text, &whole), 0, "%s is known", cases[i].name);
        TEXT(buf_view(&whole), cases[i].want, "its text");
        charset_begin(&c, str_c(cases[i].name));
        for (size_t at = 0; at < text.n; at++)
            charset_feed(&c, text.p + at, 1, &pieces);
        charset_end(&c, &pieces);
        TEXT(buf_view(&pieces), cases[i].want, "byte for byte");
        IS(c.bad, cases[i].bad, "what was not of it");
        buf_done(&whole);
        buf_done(&pieces);
    }
}

static void
test_unknown(void)
{
    struct buf out;

    buf_init(&out, 1000);
    IS(charset_decode(STR("klingon"), STR("a\xc3\xa4"), &out), ERR_UNSUPPORTED, "no such charset");
    TEXT(buf_view(&out), "a\xc3\xa4", "is read as UTF-8");
    IS(charset_decode(STR("IBM037"), STR("\xc1"), &out), ERR_UNSUPPORTED, "none that mail has");
    IS(charset_decode(STR("ISO-2022-CN-EXT"), STR("\x0e"), &out), ERR_UNSUPPORTED,
       "nor one whose converter fails at the end of its bytes");
    buf_done(&out);
}

/* What a sandboxed process does: libc is asked for nothing that it would have to load. */
static void
test_preloaded(void)
{
    struct buf out;

    buf_init(&out, 1000);
    charset_preload();
    IS(charset_decode(STR("klingon"), STR("a"), &out), ERR_UNSUPPORTED, "as what is none");
    buf_clear(&out);
    IS(charset_decode(STR("windows-1251"), STR("\xc0"), &out), 0, "another name of a loaded one");
    TEXT(buf_view(&out), "\xd0\x90", "is read");
    buf_clear(&out);
    IS(charset_decode(STR("ISO8859-2"), STR("\xe8"), &out), 0, "and one without its dash");
    TEXT(buf_view(&out), "\xc4\x8d", "too");
    buf_done(&out);
}

/* Names that Windows, Outlook's TNEF (code pages) and old clients have for what is loaded. */
static void
test_names(void)
{
    static const struct {
        const char *name, *bytes;
        size_t n;
        const char *text;
    } rows[] = {
        {"utf-16le", "i\0n\0", 4, "in"},
        {"UTF-16BE", "\0i\0n", 4, "in"},
        {"cp1200", "i\0", 2, "i"},
        {"ucs-2", "i\0", 2, "i"},
        {"unicode", "i\0", 2, "i"},
        {"utf-32le", "i\0\0\0", 4, "i"},
        {"UTF-32BE", "\0\0\0i", 4, "i"},
        {"cp936", "\xc4\xe3", 2, "\xe4\xbd\xa0"},
        {"EUC-CN", "\xc4\xe3", 2, "\xe4\xbd\xa0"},
        {"cp54936", "\xc4\xe3", 2, "\xe4\xbd\xa0"},
        {"cp950", "\xa7\x41", 2, "\xe4\xbd\xa0"},
        {"cn-big5", "\xa7\x41", 2, "\xe4\xbd\xa0"},
        {"windows-31j", "\x82\xa0", 2, "\xe3\x81\x82"},
        {"cp51932", "\xa4\xa2", 2, "\xe3\x81\x82"},
        {"cp50220", "\x1b$B$\"\x1b(B", 8, "\xe3\x81\x82"},
        {"ksc5601", "\xb0\xa1", 2, "\xea\xb0\x80"},
        {"cp51949", "\xb0\xa1", 2, "\xea\xb0\x80"},
        {"cp20866", "\xc1", 1, "\xd0\xb0"},
        {"koi8r", "\xc1", 1, "\xd0\xb0"},
        {"cp21866", "\xa4", 1, "\xd1\x94"},
        {"ibm866", "\xa0", 1, "\xd0\xb0"},
        {"cp28591", "\xe9", 1, "\xc3\xa9"},
        {"cp28592", "\xe8", 1, "\xc4\x8d"},
        {"cp28605", "\xa4", 1, "\xe2\x82\xac"},
        {"latin2", "\xe8", 1, "\xc4\x8d"},
        {"l9", "\xa4", 1, "\xe2\x82\xac"},
        {"cp20127", "a", 1, "a"},
        {"cp10000", "\x8e", 1, "\xc3\xa9"},
        {"x-mac-cyrillic", "\xe0", 1, "\xd0\xb0"},
        {"x-cp1250", "\xe8", 1, "\xc4\x8d"},
        {"cp65000", "+AOk-", 5, "\xc3\xa9"},
    };
    CLEANUP(buf_done) struct buf out;

    buf_init(&out, 1000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&out);
        IS(charset_decode(str_c(rows[i].name), str_of(rows[i].bytes, rows[i].n), &out), 0, "%s",
           rows[i].name);
        OK(str_eq(buf_view(&out), str_c(rows[i].text)), "%s is read: %.*s", rows[i].name,
           STR_ARG(buf_view(&out)));
    }
}

static uint32_t seed = 1;

static uint32_t
below(size_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % (uint32_t)n;
}

/* Bytes of no sense, many of them signs that change a converter's state. */
static size_t
noise(char *dst, size_t room)
{
    static const char signs[] = "+-+-AZaz/09=g2Dd\x1b\x1b$()BJ@~{}\x0e\x0f\xd8\xdc\xe3\x81\x80\xa4";
    size_t n = 1 + below(room);
    bool any = below(3) == 0;

    for (size_t i = 0; i < n; i++)
        dst[i] = any ? (char)below(256) : signs[below(sizeof(signs) - 1)];
    return n;
}

static void
test_pieces(void)
{
    static const char *const names[] = {
        "utf-8", "utf-7",       "utf-16",   "utf-32",   "iso-2022-jp", "euc-jp", "cp932",
        "cp949", "iso-2022-kr", "gb18030",  "gbk",      "big5",        "cp1255", "cp1258",
        "cp874", "utf-16le",    "utf-16be", "utf-32be", "latin1",      "koi8-r"};
    CLEANUP(buf_done) struct buf whole, pieces;
    char text[40];

    buf_init(&whole, 1000);
    buf_init(&pieces, 1000);
    for (size_t i = 0; i < ARRAY_LEN(names) * 4000; i++) {
        struct str name = str_c(names[i % ARRAY_LEN(names)]);
        size_t n = noise(text, sizeof(text)), take;
        struct charset one, many;

        buf_clear(&whole);
        buf_clear(&pieces);
        charset_begin(&one, name);
        charset_feed(&one, text, n, &whole);
        charset_end(&one, &whole);
        charset_begin(&many, name);
        for (size_t at = 0; at < n; at += take) {
            take = 1 + below(n - at);
            charset_feed(&many, text + at, take, &pieces);
        }
        charset_end(&many, &pieces);
        if (one.bad != many.bad || !str_eq(buf_view(&whole), buf_view(&pieces)))
            OK(false, "%.*s, row %zu: %u and %u places", STR_ARG(name), i, one.bad, many.bad);
    }
    OK(true, "noise is read alike however it comes");
}

int
main(void)
{
    test_cases();
    test_pieces();
    test_names();
    test_preloaded();
    test_cases();
    test_unknown();
    test_names();
    return tap_done();
}
