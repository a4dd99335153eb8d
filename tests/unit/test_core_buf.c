/* tests/unit/test_core_buf.c - growing, ceilings, sticky failure, JSON. */
#include "core/buf.h"
#include "tap.h"

static void
test_append(void)
{
    struct buf b;

    buf_init(&b, 10000);
    buf_c(&b, "abc");
    buf_str(&b, STR("def"));
    buf_char(&b, '-');
    buf_u64(&b, 0);
    buf_u64(&b, UINT64_MAX);
    TEXT(b, "abcdef-018446744073709551615", "pieces");
    buf_clear(&b);
    buf_fmt(&b, "%s=%d", "x", 5);
    TEXT(b, "x=5", "formatted");
    buf_fmt(&b, "%0600d", 1);
    OK(b.n == 603 && !b.failed, "formatted, larger than the small room");
    buf_drop(&b, 600);
    TEXT(b, "001", "dropped from the front");
    buf_drop(&b, 99);
    IS(b.n, 0, "dropping more than there is");
    buf_shrink(&b, 100);
    OK(b.p == NULL && b.cap == 0, "memory given back");
    memcpy(buf_room(&b, 4), "wxyz", 4);
    buf_used(&b, 3);
    TEXT(b, "wxy", "written by the caller");
    buf_add(&b, NULL, 0);
    buf_str(&b, STR_NONE);
    TEXT(buf_view(&b), "wxy", "nothing adds nothing");
    OK(buf_room(&b, 0) != NULL, "room for nothing");
    buf_done(&b);
    buf_done(&b);
    OK(b.p == NULL, "done twice");
}

static void
test_ceiling(void)
{
    struct buf b, zero = {0};

    buf_init(&b, 5);
    buf_c(&b, "abcde");
    OK(!b.failed, "exactly full");
    buf_char(&b, 'f');
    OK(b.failed && b.n == 5, "one more fails");
    buf_clear(&b);
    buf_c(&b, "abcdef");
    OK(b.failed && b.n == 0, "all or nothing");
    buf_c(&b, "a");
    IS(b.n, 0, "failure is sticky");
    OK(buf_room(&b, 1) == NULL, "no room after a failure");
    buf_clear(&b);
    OK(buf_room(&b, SIZE_MAX) == NULL, "no overflow");
    buf_clear(&b);
    buf_fmt(&b, "%d", 123456);
    OK(b.failed && b.n == 0, "formatting obeys");
    buf_clear(&b);
    buf_json(&b, STR("abcd"));
    OK(b.failed && b.n == 0, "JSON leaves no half");
    buf_clear(&b);
    buf_fmt(&b, "%s", "abcde");
    TEXT(b, "abcde", "formatting fills to the last byte");
    buf_done(&b);
    buf_init(&b, 300);
    buf_fmt(&b, "%0300d", 1);
    OK(!b.failed && b.n == 300, "also a large text");
    buf_done(&b);
    buf_char(&zero, 'a');
    OK(zero.failed, "a zeroed buffer takes nothing");
    buf_done(&zero);
}

/* Each ASCII byte at each place of a text that is plain otherwise. */
static void
test_json_places(void)
{
    unsigned wrong = 0;
    struct buf b;

    buf_init(&b, 1000);
    for (unsigned c = 0; c < 128; c++) {
        for (size_t at = 0; at < 20; at++) {
            bool plain = c >= 32 && c < 127 && c != '"' && c != '\\';
            char text[20], want[64], one[8];

            memset(text, 'a', sizeof(text));
            text[at] = (char)c;
            if (plain)
                str_fmt(one, sizeof(one), "%c", (int)c);
            else if (c == '"' || c == '\\')
                str_fmt(one, sizeof(one), "\\%c", (int)c);
            else
                str_fmt(one, sizeof(one), "\\u%04x", c);
            str_fmt(want, sizeof(want), "\"%.*s%s%.*s\"", (int)at, "aaaaaaaaaaaaaaaaaaaa", one,
                    (int)(19 - at), "aaaaaaaaaaaaaaaaaaaa");
            buf_clear(&b);
            buf_json(&b, str_of(text, sizeof(text)));
            wrong += !str_eq(buf_view(&b), str_c(want));
        }
    }
    IS(wrong, 0, "each byte at each place");
    buf_done(&b);
    buf_init(&b, 21);
    buf_json(&b, STR("aaaaaaaaaaaaaaaaaaaa"));
    OK(b.failed && b.n == 0, "as a whole or not at all");
    buf_done(&b);
}

static void
test_json(void)
{
    struct buf b;

    buf_init(&b, 1000);
    buf_json(&b, STR("a\"b\\c\n\x01\x7f"));
    TEXT(b, "\"a\\\"b\\\\c\\u000a\\u0001\\u007f\"", "escapes");
    buf_clear(&b);
    buf_json(&b, STR("\xc3\xa4\xff\xe2\x82x"));
    TEXT(b, "\"\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"", "malformed UTF-8");
    buf_clear(&b);
    buf_json(&b, STR("\xc2\x9b"
                     "a\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa9\xc2\x85\xc2\xa0"));
    TEXT(buf_view(&b), "\"\\u009ba\\u2028\\u202e\\u2069\\u0085\xc2\xa0\"",
         "what terminals obey, or take for the end of a line, is spelt out");
    buf_clear(&b);
    buf_json(&b, STR_NONE);
    TEXT(b, "\"\"", "nothing");
    buf_clear(&b);
    buf_json(&b, STR("\0"));
    TEXT(b, "\"\\u0000\"", "NUL");
    buf_done(&b);
}

int
main(void)
{
    test_json_places();
    test_append();
    test_ceiling();
    test_json();
    return tap_done();
}
