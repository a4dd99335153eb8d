/*
 * tests/unit/test_smtp_line.c - command lines, parameters, xtext; and replies as bytes.
 */
#include "smtp/line.h"
#include "smtp/reply.h"
#include "tap.h"

static void
test_line_ends(void)
{
    static const struct {
        const char *raw;
        bool lax;
        enum smtp_line_fault fault;
        const char *text;
    } rows[] = {
        {"NOOP\r\n", false, SMTP_LINE_FINE, "NOOP"}, {"NOOP \t\r\n", false, SMTP_LINE_FINE, "NOOP"},
        {"NOOP\n", false, SMTP_LINE_BARE, ""},       {"NOOP\n", true, SMTP_LINE_FINE, "NOOP"},
        {"NO\rOP\r\n", true, SMTP_LINE_BARE, ""},    {"NOOP\r\r\n", true, SMTP_LINE_BARE, ""},
        {"\r\n", false, SMTP_LINE_EMPTY, ""},        {"\n", true, SMTP_LINE_EMPTY, ""},
        {"  \r\n", false, SMTP_LINE_EMPTY, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str got = {0};

        IS(smtp_line_text(str_c(rows[i].raw), rows[i].lax, &got), rows[i].fault, "line %zu", i);
        TEXT(got, rows[i].text, "its text %zu", i);
    }
}

static void
test_xtext(void)
{
    static const struct {
        const char *text;
        bool x, utf8, unitext;
    } rows[] = {
        {"abc", true, true, true},           {"a+2Bb", true, true, true},
        {"a+2bb", false, false, false},      {"a+2", false, false, false},
        {"+", false, false, false},          {"a=b", false, false, false},
        {"a b", false, false, false},        {"", false, false, false},
        {"\\x{E9}", true, true, true},       {"\\x{110000}", true, false, false},
        {"\\x{D800}", true, false, false},   {"\\x{E}", true, false, false},
        {"\\x{E9", true, false, false},      {"\\y", true, false, false},
        {"jos\xc3\xa9", false, false, true}, {"jos\xc3", false, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str s = str_c(rows[i].text);

        IS(smtp_xtext_ok(s), rows[i].x, "xtext %s", rows[i].text);
        IS(smtp_utf8_xtext_ok(s, false), rows[i].utf8, "utf-8 xtext %s", rows[i].text);
        IS(smtp_utf8_xtext_ok(s, true), rows[i].unitext, "unitext %s", rows[i].text);
    }
}

static void
test_params(void)
{
    struct str rest = STR("SIZE=10  BODY=8BITMIME SMTPUTF8");
    struct smtp_param p;

    IS(smtp_param_next(&rest, &p), 1, "first");
    TEXT(p.name, "SIZE", "name");
    TEXT(p.value, "10", "value");
    IS(smtp_param_next(&rest, &p), 1, "second");
    IS(smtp_param_next(&rest, &p), 1, "third");
    OK(!p.value.p, "no value");
    IS(smtp_param_next(&rest, &p), 0, "end");
    rest = STR("X==1");
    IS(smtp_param_next(&rest, &p), ERR_SYNTAX, "two signs");
    rest = STR("-X");
    IS(smtp_param_next(&rest, &p), ERR_SYNTAX, "bad first letter");
    rest = STR("X=\x01");
    IS(smtp_param_next(&rest, &p), ERR_SYNTAX, "control character");
}

static void
test_helo(void)
{
    OK(smtp_helo_ok(STR("mail.example.com")), "a name");
    OK(smtp_helo_ok(STR("[IPv6:2001:db8::1]")), "a literal");
    OK(smtp_helo_ok(STR("my_pc")), "what exists");
    OK(!smtp_helo_ok(STR("")), "nothing");
    OK(!smtp_helo_ok(STR("a b")), "two words");
    OK(!smtp_helo_ok(STR("a\"b")), "a quote");
    OK(!smtp_helo_ok(STR("\xc3\xa9")), "not ASCII");
}

static void
test_reply(void)
{
    struct buf out;
    struct str line, text;
    char big[1400];
    unsigned lines = 0, over = 0;

    buf_init(&out, 8192);
    smtp_reply_build(&out, 250, "2.1.0", STR("one\ntwo\n"), false);
    TEXT(buf_view(&out), "250-2.1.0 one\r\n250-2.1.0 two\r\n250 2.1.0 \r\n", "three lines");
    buf_clear(&out);
    smtp_reply_build(&out, 550, NULL, STR("a\rb\x01\xc3\xa9"), false);
    TEXT(buf_view(&out), "550 a?b???\r\n", "what does not belong");
    buf_clear(&out);
    smtp_reply_build(&out, 550, NULL, STR("\xc3\xa9"), true);
    TEXT(buf_view(&out), "550 \xc3\xa9\r\n", "UTF-8 for those who asked");
    buf_clear(&out);
    memset(big, 'x', sizeof(big));
    smtp_reply_build(&out, 550, "5.7.1", str_of(big, sizeof(big)), false);
    for (text = buf_view(&out); text.n; lines++) {
        line = str_cut(text, '\n', &text);
        over += line.n + 1 > SMTP_REPLY_LINE_MAX;
    }
    IS(lines, 3, "a long text is folded");
    IS(over, 0, "no line is too long");
    TEXT(str_c(smtp_reply_default_enh(451)), "4.0.0", "default code");
    OK(!smtp_reply_default_enh(354), "3yz has none");
    buf_done(&out);
}

static void
test_datetime(void)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-23T11:14:03Z", 1795432443},
        {"2026-11-23t11:14:03.123z", 1795432443},
        {"2026-11-23T18:14:03+07:00", 1795432443},
        {"2026-11-23T05:44:03-05:30", 1795432443},
        {"2026-13-23T11:14:03Z", -1},
        {"2026-00-23T11:14:03Z", -1},
        {"2026-11-31T11:14:03Z", -1},
        {"2026-11-23T24:14:03Z", -1},
        {"2026-11-23T11:14:03", -1},
        {"2026-11-23T11:14:03+0700", -1},
        {"2026-11-23T11:14:03.Z", -1},
        {"2026-11-23 11:14:03Z", -1},
        {"2026-11-23", -1},
        {"", -1},
    };
    char shown[SMTP_DATETIME];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t at = 0;
        int rc = smtp_datetime_parse(str_c(cases[i].text), &at);

        IS(rc == 0 ? (int64_t)at : -1, cases[i].want, "%s", cases[i].text);
    }
    smtp_datetime_show(1795432443, shown);
    TEXT(str_c(shown), "2026-11-23T11:14:03Z", "shown");
}

int
main(void)
{
    test_datetime();
    test_line_ends();
    test_xtext();
    test_params();
    test_helo();
    test_reply();
    return tap_done();
}
