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
    buf_done(&out);
}

/* What a sandboxed process does: libc is asked for nothing that it would have to load. */
static void
test_preloaded(void)
{
    struct buf out;

    buf_init(&out, 1000);
    IS(charset_decode(STR("IBM037"), STR("\xc1"), &out), 0, "known before");
    charset_preload();
    buf_clear(&out);
    IS(charset_decode(STR("IBM037"), STR("\xc1"), &out), ERR_UNSUPPORTED, "and no more after");
    IS(charset_decode(STR("klingon"), STR("a"), &out), ERR_UNSUPPORTED, "as what is none");
    buf_clear(&out);
    IS(charset_decode(STR("windows-1251"), STR("\xc0"), &out), 0, "another name of a loaded one");
    TEXT(buf_view(&out), "\xd0\x90", "is read");
    buf_clear(&out);
    IS(charset_decode(STR("ISO8859-2"), STR("\xe8"), &out), 0, "and one without its dash");
    TEXT(buf_view(&out), "\xc4\x8d", "too");
    buf_done(&out);
}

int
main(void)
{
    test_cases();
    test_preloaded();
    test_cases();
    test_unknown();
    return tap_done();
}
