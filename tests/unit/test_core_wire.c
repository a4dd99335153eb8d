/* tests/unit/test_core_wire.c - writing and reading, and short or lying input. */
#include "core/wire.h"
#include "tap.h"

static void
test_round(void)
{
    struct buf b;
    struct wire w;
    struct str s;

    buf_init(&b, 1000);
    put_u8(&b, 0xfe);
    put_u16(&b, 0xfedc);
    put_u32(&b, 0xfedcba98);
    put_u64(&b, UINT64_C(0xfedcba9876543210));
    put_str(&b, STR("hello"));
    put_str16(&b, STR(""));
    buf_c(&b, "raw!");
    OK((uint8_t)b.p[1] == 0xdc && (uint8_t)b.p[3] == 0x98, "little end first");
    wire_init(&w, b.p, b.n);
    OK(wire_u8(&w) == 0xfe, "u8");
    OK(wire_u16(&w) == 0xfedc, "u16");
    OK(wire_u32(&w) == 0xfedcba98, "u32");
    OK(wire_u64(&w) == UINT64_C(0xfedcba9876543210), "u64");
    s = wire_str(&w);
    TEXT(s, "hello", "text");
    s = wire_str16(&w);
    TEXT(s, "", "empty text");
    IS(wire_left(&w), 4, "left");
    OK(!wire_end(&w), "not at the end");
    wire_skip(&w, 1);
    s = wire_bytes(&w, 3);
    TEXT(s, "aw!", "bytes");
    OK(wire_end(&w), "at the end");
    OK(wire_u8(&w) == 0 && w.failed && !wire_end(&w), "reading on fails");
    buf_done(&b);
}

static void
test_hostile(void)
{
    struct wire w;
    struct str s;

    wire_init(&w,
              "\xff\xff\xff\xff"
              "abc",
              7);
    s = wire_str(&w);
    OK(s.n == 0 && w.failed, "a length over the end");
    IS(wire_left(&w), 0, "nothing is left after a failure");
    TEXT(wire_bytes(&w, 0), "", "and even nothing cannot be read");
    wire_init(&w,
              "\x04\x00"
              "abc",
              5);
    OK(wire_str16(&w).n == 0 && w.failed, "one over the end");
    wire_init(&w, "abc", 3);
    wire_skip(&w, SIZE_MAX);
    OK(w.failed, "a skip that would wrap");
    wire_init(&w, "abc", 3);
    OK(wire_u32(&w) == 0 && w.failed && wire_u8(&w) == 0, "sticky");
    wire_init(&w, NULL, 0);
    OK(wire_end(&w), "an empty message");
    OK(wire_bytes(&w, 0).n == 0 && !w.failed, "has no bytes");
}

static void
test_ceiling(void)
{
    static char long_text[70000];
    struct buf b;

    buf_init(&b, 100000);
    put_str16(&b, str_of(long_text, 65536));
    OK(b.failed && b.n == 0, "too long for 16 bits");
    buf_clear(&b);
    put_str16(&b, str_of(long_text, 65535));
    IS(b.n, 65537, "just short enough");
    put_str(&b, str_of(long_text, 40000));
    OK(b.failed && b.n == 65537, "a text past the ceiling leaves no length behind");
    buf_done(&b);
}

int
main(void)
{
    test_round();
    test_hostile();
    test_ceiling();
    return tap_done();
}
