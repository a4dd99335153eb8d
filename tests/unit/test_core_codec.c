/* tests/unit/test_core_codec.c - encodings there and back, and what decoders refuse. */
#include "core/codec.h"
#include "core/err.h"
#include "tap.h"

static void
test_base64(void)
{
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"}};
    static const char *const bad[] = {"Zg",       "Zg=",  "Zh==",   "Zm9=", "====", "Z===",
                                      "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm-_", "=Zg=", "Zg=v"};
    char out[256];
    struct buf b;

    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_clear(&b);
        codec_base64(&b, str_c(pairs[i][0]));
        TEXT(b, pairs[i][1], "encodes %zu", i);
        ssize_t n = codec_unbase64(buf_view(&b), out, sizeof(out));
        TEXT(str_of(out, (size_t)n), pairs[i][0], "and back");
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        IS(codec_unbase64(str_c(bad[i]), out, sizeof(out)), ERR_SYNTAX, "refuses %s", bad[i]);
    IS(codec_unbase64(STR("Zm9v"), out, 2), ERR_LIMIT, "too small a place");
    IS(codec_unbase64(STR("Zm8="), out, 2), 2, "just enough");
    buf_done(&b);
    buf_init(&b, 7);
    codec_base64(&b, STR("abcdef"));
    OK(b.failed && b.n == 0, "a ceiling leaves nothing");
    buf_done(&b);
}

static void
test_hex(void)
{
    uint8_t out[4];
    struct buf b;

    buf_init(&b, 100);
    codec_hex(&b, STR("\x00\xab\xff"));
    TEXT(b, "00abff", "hex");
    IS(codec_unhex(STR("00aBfF"), out, sizeof(out)), 3, "and back");
    OK(memcmp(out, "\x00\xab\xff", 3) == 0, "same bytes");
    IS(codec_unhex(STR("0"), out, 4), ERR_SYNTAX, "odd");
    IS(codec_unhex(STR("0g"), out, 4), ERR_SYNTAX, "no digit");
    IS(codec_unhex(STR("0011223344"), out, 4), ERR_LIMIT, "too long");
    buf_done(&b);
}

static void
test_id(void)
{
    uint8_t id[16], back[16];
    char text[27], upper[27];
    bool same = true;
    uint32_t seed = 1;

    memset(id, 0, 16);
    codec_id_text(id, text);
    TEXT(str_c(text), "00000000000000000000000000", "zero");
    memset(id, 0xff, 16);
    codec_id_text(id, text);
    TEXT(str_c(text), "7zzzzzzzzzzzzzzzzzzzzzzzzz", "all ones");
    id[15] = 0;
    codec_id_text(id, text);
    TEXT(str_c(text), "7zzzzzzzzzzzzzzzzzzzzzzzr0", "last bits");
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 16; i++)
            id[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 16);
        codec_id_text(id, text);
        for (int i = 0; i < 27; i++)
            upper[i] = text[i] >= 'a' ? (char)(text[i] - 32) : text[i];
        same = same && codec_id_parse(str_c(text), back) == 0 && memcmp(id, back, 16) == 0;
        same = same && codec_id_parse(str_c(upper), back) == 0 && memcmp(id, back, 16) == 0;
    }
    OK(same, "a thousand there and back, in both cases");
    IS(codec_id_parse(STR("80000000000000000000000000"), back), ERR_SYNTAX, "over 128 bits");
    IS(codec_id_parse(STR("0000000000000000000000000"), back), ERR_SYNTAX, "short");
    IS(codec_id_parse(STR("000000000000000000000000000"), back), ERR_SYNTAX, "long");
    IS(codec_id_parse(STR("0000000000000u000000000000"), back), ERR_SYNTAX, "no such digit");
    IS(codec_id_parse(STR("0000000000000\0000000000000"), back), ERR_SYNTAX, "NUL");
}

static void
test_xtext(void)
{
    char out[64];
    struct buf b;
    ssize_t n;

    buf_init(&b, 100);
    codec_xtext(&b, STR("a+b=c d\x80"));
    TEXT(b, "a+2Bb+3Dc+20d+80", "xtext");
    n = codec_unxtext(buf_view(&b), out, sizeof(out));
    TEXT(str_of(out, (size_t)n), "a+b=c d\x80", "and back");
    IS(codec_unxtext(STR("a+2"), out, 64), ERR_SYNTAX, "cut short");
    IS(codec_unxtext(STR("a+"), out, 64), ERR_SYNTAX, "cut shorter");
    IS(codec_unxtext(STR("a+2b"), out, 64), ERR_SYNTAX, "lower-case digits");
    IS(codec_unxtext(STR("a b"), out, 64), ERR_SYNTAX, "a space");
    IS(codec_unxtext(STR("a=b"), out, 64), ERR_SYNTAX, "an equals sign");
    IS(codec_unxtext(STR("abc"), out, 2), ERR_LIMIT, "too long");
    buf_done(&b);
}

int
main(void)
{
    test_base64();
    test_hex();
    test_id();
    test_xtext();
    return tap_done();
}
