/* tests/unit/test_core_str.c - views, words, numbers and units. */
#include "core/err.h"
#include "core/str.h"
#include "tap.h"

#define S(text) str_c(text)

static void
test_compare(void)
{
    char a[40], b[40];

    OK(str_eq(S("ab"), S("ab")) && !str_eq(S("ab"), S("aB")), "equal");
    OK(str_eq(STR_NONE, S("")), "no bytes equal no bytes");
    OK(str_ieq(S("MAIL From"), S("mail fROM")), "without case");
    OK(!str_ieq(S("abcdefgh@"), S("abcdefgh`")), "only letters fold, in the tail");
    OK(!str_ieq(S("[bcdefgh"), S("{bcdefgh")), "only letters fold, in words");
    for (int c = 0; c < 256; c++) { /* the word-wise way against the byte-wise one */
        memset(a, c, 8);
        memset(b, c >= 'A' && c <= 'Z' ? c + 32 : c, 8);
        str_lower(a, 8);
        if (memcmp(a, b, 8) != 0)
            OK(false, "byte %d lowers rightly", c);
    }
    OK(str_cmp(S("a"), S("b")) < 0 && str_cmp(S("b"), S("a")) > 0, "order of bytes");
    OK(str_cmp(S("a"), S("ab")) < 0 && str_cmp(S("ab"), S("a")) > 0, "then of length");
    IS(str_cmp(STR_NONE, STR_NONE), 0, "nothing is nothing");
    OK(str_starts(S("abc"), S("ab")) && !str_starts(S("a"), S("ab")), "starts");
    OK(str_istarts(S("ABc"), S("ab")) && str_starts(S("a"), STR_NONE), "starts, folded and empty");
    OK(str_ends(S("abc"), S("bc")) && !str_ends(S("c"), S("bc")), "ends");
    OK(str_iends(S("aBC"), S("bc")) && str_ends(STR_NONE, STR_NONE), "ends, folded and empty");
}

static void
test_find(void)
{
    struct str rest, word, s = S("  a\tbb  ");

    IS(str_chr(S("abcb"), 'b'), 1, "first");
    IS(str_rchr(S("abcb"), 'b'), 3, "last");
    IS(str_chr(STR_NONE, 'b'), -1, "none in nothing");
    IS(str_find(S("hello"), S("llo")), 2, "needle");
    IS(str_find(S("hello"), S("lo!")), -1, "no needle");
    IS(str_find(STR_NONE, STR_NONE), 0, "empty needle");
    TEXT(str_trim(S(" \t a b\t ")), "a b", "trim");
    TEXT(str_trim(S(" \t ")), "", "trim of blanks");
    TEXT(str_from(S("abc"), 1), "bc", "from");
    TEXT(str_from(S("abc"), 9), "", "from, clamped");
    TEXT(str_sub(S("abcdef"), 2, 3), "cde", "sub");
    TEXT(str_sub(S("abc"), 2, 99), "c", "sub, clamped");
    TEXT(str_cut(S("k=v=w"), '=', &rest), "k", "cut: before");
    TEXT(rest, "v=w", "cut: behind");
    TEXT(str_cut(S("kv"), '=', &rest), "kv", "cut without the mark");
    TEXT(rest, "", "leaves nothing");
    TEXT(str_cut(STR_NONE, '=', &rest), "", "cut of nothing");
    word = str_word(&s);
    TEXT(word, "a", "first word");
    word = str_word(&s);
    TEXT(word, "bb", "second word");
    word = str_word(&s);
    TEXT(word, "", "no more words");
}

static void
test_utf8(void)
{
    unsigned odd = 0;
    static const char *const defused[] = {
        "plain, \xc3\xa4 \xe2\x82\xac",
        "plain, \xc3\xa4 \xe2\x82\xac",
        "\x1b[31m\r\n\x7f",
        "?[31m???",
        "\xc2\x9b"
        "31m \xc2\xa0",
        "??31m \xc2\xa0",
        "\x9b"
        "31m \xe2\x82",
        "?31m ??",
        "a\xe2\x80\xae"
        "b\xe2\x81\xa6",
        "a???b???",
    };
    static const char *const good[] = {"",
                                       "a",
                                       "abcdefghijkl",
                                       "\xc3\xa4",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "aaaaaaaa\xe2\x82\xac"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "aaaaaaaa\xe2\x28\xa1",
                                      "\xf0\x90\x80\x28"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        OK(str_is_utf8(S(good[i])), "well-formed %zu", i);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        OK(!str_is_utf8(S(bad[i])), "malformed %zu", i);
    IS(str_utf8_len(S("\xe2\x82\xac!")), 3, "length of a sequence");
    for (unsigned c = 0; c < 256; c++) {
        char text[20];

        for (size_t at = 0; at < sizeof(text); at++) {
            memset(text, 'a', sizeof(text));
            text[at] = (char)c;
            odd += str_is_ascii(str_of(text, sizeof(text))) != (c > 0 && c < 128);
        }
    }
    IS(odd, 0, "each byte at each place");
    OK(str_is_ascii(S("abc\x7f")) && !str_is_ascii(S("\x80")) && !str_is_ascii(STR("\0")), "ASCII");
    for (size_t i = 0; i < ARRAY_LEN(defused); i += 2) {
        char room[64];

        str_fmt(room, sizeof(room), "%s", defused[i]);
        str_defuse(room, strlen(room));
        OK(str_eq(S(room), S(defused[i + 1])), "fit for a terminal: %s", room);
    }
    OK(str_has_ctl(S("a\tb")) && str_has_ctl(S("\x7f")) && !str_has_ctl(S("a b\xc3\xa4")),
       "control characters");
}

static void
test_hash(void)
{
    OK(str_hash(S("abc"), 1) == str_hash(S("abc"), 1), "same text, same hash");
    OK(str_hash(S("abc"), 1) != str_hash(S("abc"), 2), "another seed, another hash");
    OK(str_hash(S("abc"), 1) != str_hash(S("abd"), 1), "another text, another hash");
    OK(str_hash(STR("a\0"), 1) != str_hash(STR("a"), 1), "length counts");
    OK(str_ihash(S("Some.Host.EXAMPLE"), 7) == str_ihash(S("some.host.example"), 7), "folded");
    OK(str_ihash(S("some.host"), 7) == str_hash(S("some.host"), 7), "lower-case text: same hash");
}

static void
test_copy(void)
{
    char dst[4] = "zzz";

    OK(str_copy(S("abc"), dst, 4) && strcmp(dst, "abc") == 0, "fits");
    OK(!str_copy(S("abcd"), dst, 4) && dst[0] == '\0', "does not fit");
    OK(!str_copy(STR("a\0b"), dst, 4), "holds a NUL");
    OK(str_copy(STR_NONE, dst, 1) && !str_copy(STR_NONE, dst, 0), "edges");
    IS(str_fmt(dst, 4, "%d", 12345), 3, "str_fmt clamps");
    OK(strcmp(dst, "123") == 0, "and ends the text");
    IS(str_fmt(dst, 0, "x"), 0, "into nothing");
}

static void
test_numbers(void)
{
    uint64_t v = 77;
    int64_t i = 0;

    OK(str_u64(S("18446744073709551615"), &v) == 0 && v == UINT64_MAX, "largest");
    v = 77;
    IS(str_u64(S("18446744073709551616"), &v), ERR_LIMIT, "one more");
    IS(str_u64(S("99999999999999999999999x"), &v), ERR_SYNTAX, "garbage behind too much");
    IS(str_u64(S(""), &v), ERR_SYNTAX, "nothing");
    IS(str_u64(S(" 1"), &v), ERR_SYNTAX, "blank before");
    IS(str_u64(S("+1"), &v), ERR_SYNTAX, "plus");
    IS(str_u64(STR("1\0"), &v), ERR_SYNTAX, "NUL behind");
    IS(v, 77, "untouched");
    OK(str_points(S("1.5"), &i) == 0 && i == 150, "points");
    OK(str_points(S("-2"), &i) == 0 && i == -200, "without a fraction");
    OK(str_points(S("0.05"), &i) == 0 && i == 5, "hundredths");
    OK(str_points(S("9999999.99"), &i) == 0 && i == 999999999, "the most");
    static const char *const bad[] = {"",    "-",  ".",   "1.",       ".5",    "1.234", "1.-2",
                                      "--1", "+1", "1e3", "10000000", "1.5.5", " 1"};
    for (size_t k = 0; k < ARRAY_LEN(bad); k++)
        IS(str_points(str_c(bad[k]), &i), ERR_SYNTAX, "no points: %s", bad[k]);
    OK(str_hex64(S("00FFffFFffFFffFFff"), &v) == 0 && v == UINT64_MAX, "hex");
    IS(str_hex64(S("10000000000000000"), &v), ERR_LIMIT, "hex too large");
    IS(str_hex64(S("0x1"), &v), ERR_SYNTAX, "no prefix");
    IS(str_hex64(S("g"), &v), ERR_SYNTAX, "no hex");
}

static void
test_units(void)
{
    uint64_t v = 0, period = 0;
    char text[32];

    OK(str_size(S("10 MB"), &v) == 0 && v == 10 << 20, "10 MB");
    OK(str_size(S("64KiB"), &v) == 0 && v == 64 << 10, "64KiB");
    OK(str_size(S("1g"), &v) == 0 && v == 1 << 30, "1g");
    OK(str_size(S("4096"), &v) == 0 && v == 4096, "4096");
    IS(str_size(S("99999999999999 TB"), &v), ERR_LIMIT, "too many");
    IS(str_size(S("10 MB 3"), &v), ERR_SYNTAX, "rest");
    IS(str_size(S("10 zB"), &v), ERR_SYNTAX, "unknown unit");
    IS(str_size(S("MB"), &v), ERR_SYNTAX, "no number");
    IS(str_size(S("-1"), &v), ERR_SYNTAX, "minus");
    OK(str_duration(S("5m"), &v) == 0 && v == 300000000000u, "5m");
    OK(str_duration(S("300 s"), &v) == 0 && v == 300000000000u, "300 s");
    OK(str_duration(S("250ms"), &v) == 0 && v == 250000000u, "250ms");
    OK(str_duration(S("90"), &v) == 0 && v == 90000000000u, "90");
    OK(str_duration(S("1h30m"), &v) == 0 && v == 5400000000000u, "1h30m");
    OK(str_duration(S("2d 3h"), &v) == 0 && v == 183600000000000u, "2d 3h");
    IS(str_duration(S("1h 30"), &v), ERR_SYNTAX, "a bare number in a sum");
    IS(str_duration(S("1 fortnight"), &v), ERR_SYNTAX, "unknown unit");
    IS(str_duration(S(""), &v), ERR_SYNTAX, "nothing");
    IS(str_duration(S("18446744073709551615 d"), &v), ERR_LIMIT, "too long");
    IS(str_duration(S("18446744073709551615"), &v), ERR_LIMIT, "too many seconds");
    IS(str_duration(S("200000d 200000d"), &v), ERR_LIMIT, "too long a sum");
    OK(str_rate(S("100/s"), &v, &period) == 0 && v == 100 && period == 1000000000u, "100/s");
    OK(str_rate(S("30 / min"), &v, &period) == 0 && period == 60000000000u, "30 / min");
    OK(str_rate(S("5000/day"), &v, &period) == 0 && period == 86400000000000u, "5000/day");
    OK(str_rate(S("10/5m"), &v, &period) == 0 && period == 300000000000u, "10/5m");
    IS(str_rate(S("0/s"), &v, &period), ERR_SYNTAX, "none a second");
    IS(str_rate(S("1/0s"), &v, &period), ERR_SYNTAX, "one each nothing");
    IS(str_rate(S("100"), &v, &period), ERR_SYNTAX, "no period");
    TEXT(S(str_show_size(10 << 20, text)), "10.0 MB", "shows 10.0 MB");
    TEXT(S(str_show_size(1536, text)), "1.5 KB", "shows 1.5 KB");
    TEXT(S(str_show_size(0, text)), "0 B", "shows 0 B");
    TEXT(S(str_show_size(UINT64_MAX, text)), "15.9 EB", "shows the largest");
    TEXT(S(str_show_duration(300000000000u, text)), "5m", "shows 5m");
    TEXT(S(str_show_duration(183600000000000u, text)), "2d 3h", "shows 2d 3h");
    TEXT(S(str_show_duration(250000000u, text)), "250ms", "shows 250ms");
    TEXT(S(str_show_duration(1, text)), "1ns", "shows 1ns");
    TEXT(S(str_show_duration(0, text)), "0s", "shows 0s");
    TEXT(S(str_show_duration(UINT64_MAX, text)), "213503d 23h", "shows the longest");
}

int
main(void)
{
    test_compare();
    test_find();
    test_utf8();
    test_hash();
    test_copy();
    test_numbers();
    test_units();
    return tap_done();
}
