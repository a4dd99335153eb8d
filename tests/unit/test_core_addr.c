/* tests/unit/test_core_addr.c - texts of addresses, prefixes and classes. */
#include "core/addr.h"
#include "core/err.h"
#include "tap.h"

static struct addr
A(const char *text) {
    struct addr a;

    if (addr_parse(str_c(text), &a) < 0)
        OK(false, "%s is an address", text);
    return a;
}

static void
test_text(void)
{
    static const char *const pairs[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"[192.0.2.1]", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"[::]", "::"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
    };
    static const char *const bad[] = {
        "",          "1.2.3",   "1.2.3.4.5", "1.2.3.256",  "01.2.3.4",   " 1.2.3.4",
        "1.2.3.4 ",  "::g",     "1::2::3",   "[::",        "::]",        "[]",
        "fe80::1%1", "[[::1]]", "1.2.3.4/8", "0x7f000001", "2130706433", "1:2:3:4:5:6:7:8:9"};
    struct addr a;
    char text[48], reverse[80];

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        a = A(pairs[i][0]);
        TEXT(str_c(addr_show(&a, text)), pairs[i][1], "%s", pairs[i][0]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        IS(addr_parse(str_c(bad[i]), &a), ERR_SYNTAX, "refuses `%s`", bad[i]);
    IS(addr_parse(STR("1.2.3.4\0"), &a), ERR_SYNTAX, "refuses a NUL");
    a = A("192.0.2.1");
    TEXT(str_c(addr_reverse(&a, reverse)), "1.2.0.192.in-addr.arpa", "reverse v4");
    a = A("2001:db8::567:89ab");
    TEXT(str_c(addr_reverse(&a, reverse)),
         "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "reverse v6");
}

static void
test_endpoint(void)
{
    static const char *const bad[] = {
        ":25",    "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1",     "[::1]25",
        "[::1]:", "[::1",     "1.2.3.4:+5",    "1.2.3.4:000025", "host:25"};
    struct endpoint e;
    char text[56];

    IS(endpoint_parse(STR("0.0.0.0:25"), 0, &e), 0, "v4 with a port");
    TEXT(str_c(endpoint_show(&e, text)), "0.0.0.0:25", "shown");
    IS(endpoint_parse(STR("[::]:587"), 25, &e), 0, "v6 with a port");
    TEXT(str_c(endpoint_show(&e, text)), "[::]:587", "shown");
    IS(endpoint_parse(STR("127.0.0.1"), 25, &e), 0, "default port");
    IS(e.port, 25, "is taken");
    IS(endpoint_parse(STR("2001:db8::1"), 25, &e), 0, "bare v6");
    TEXT(str_c(endpoint_show(&e, text)), "[2001:db8::1]:25", "has the default port");
    IS(endpoint_parse(STR("[2001:db8::1]"), 25, &e), 0, "v6 in brackets");
    IS(endpoint_parse(STR("127.0.0.1:0"), 25, &e), 0, "port 0 may be asked for");
    IS(e.port, 0, "and is kept");
    IS(endpoint_parse(STR("127.0.0.1"), 0, &e), ERR_SYNTAX, "no port at all");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        IS(endpoint_parse(str_c(bad[i]), 25, &e), ERR_SYNTAX, "refuses `%s`", bad[i]);
}

static bool
has(const char *prefix, const char *addr)
{
    struct prefix p;
    struct addr a = A(addr);

    if (prefix_parse(str_c(prefix), &p) < 0) {
        OK(false, "%s is a prefix", prefix);
        return false;
    }
    return prefix_has(&p, &a);
}

static void
test_prefix(void)
{
    static const char *const bad[] = {"1.2.3.4/33", "::/129",       "1.2.3.4/", "/8",
                                      "1.2.3.4/-1", "1.2.3.4/0008", "1.2.3/8"};
    struct prefix p;
    char text[48];

    OK(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"), "/24");
    OK(has("192.0.2.128/25", "192.0.2.128") && !has("192.0.2.128/25", "192.0.2.127"), "/25");
    OK(has("192.0.2.1", "192.0.2.1") && !has("192.0.2.1", "192.0.2.2"), "a single address");
    OK(has("0.0.0.0/0", "8.8.8.8") && !has("0.0.0.0/0", "2001:db8::1"), "all of IPv4");
    OK(has("::/0", "8.8.8.8") && has("::/0", "2001:db8::1"), "all");
    OK(has("2001:db8::/33", "2001:db8:7fff::") && !has("2001:db8::/33", "2001:db8:8000::"), "/33");
    IS(prefix_parse(STR("192.0.2.77/24"), &p), 0, "host bits");
    IS(p.bits, 120, "IPv4 /24 is 120");
    TEXT(str_c(addr_show(&p.addr, text)), "192.0.2.0", "are cleared");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        IS(prefix_parse(str_c(bad[i]), &p), ERR_SYNTAX, "refuses `%s`", bad[i]);
}

static void
test_class(void)
{
    static const char *const bogus[] = {
        "0.0.0.0",      "10.1.2.3",     "100.64.0.1",     "127.0.0.1",       "169.254.1.1",
        "172.16.0.1",   "172.31.255.1", "192.168.0.1",    "192.0.2.1",       "198.18.0.1",
        "198.51.100.1", "203.0.113.1",  "224.0.0.1",      "255.255.255.255", "::",
        "::1",          "::127.0.0.1",  "fe80::1",        "fc00::1",         "fd00::1",
        "ff02::1",      "2001:db8::1",  "100::1",         "64:ff9b::7f00:1", "2002:7f00:1::",
        "3fff::1",      "2001::1",      "::ffff:10.0.0.1"};
    static const char *const fine[] = {"8.8.8.8",         "100.63.255.255",  "100.128.0.0",
                                       "172.32.0.1",      "172.15.0.1",      "198.20.0.1",
                                       "2600::1",         "2a00:1450::1",    "64:ff9b::808:808",
                                       "2002:808:808::1", "2001:4860::8888", "223.255.255.1"};
    struct addr a;

    for (size_t i = 0; i < ARRAY_LEN(bogus); i++) {
        a = A(bogus[i]);
        OK(addr_is_bogus(&a), "%s is no public host", bogus[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        a = A(fine[i]);
        OK(!addr_is_bogus(&a), "%s is one", fine[i]);
    }
    a = A("127.9.9.9");
    OK(addr_is_loopback(&a), "loopback v4");
    a = A("::1");
    OK(addr_is_loopback(&a), "loopback v6");
    a = A("128.0.0.1");
    OK(!addr_is_loopback(&a), "not loopback");
}

static void
test_show_v4(void)
{
    unsigned wrong = 0;
    struct addr a;
    char text[48], want[48];

    addr_parse(STR("0.0.0.0"), &a);
    for (unsigned i = 0; i < 256; i++) {
        a.b[12] = (uint8_t)i;
        a.b[13] = (uint8_t)(i * 7);
        a.b[14] = (uint8_t)(255 - i);
        a.b[15] = (uint8_t)i;
        str_fmt(want, sizeof(want), "%u.%u.%u.%u", a.b[12], a.b[13], a.b[14], a.b[15]);
        wrong += !str_eq(str_c(addr_show(&a, text)), str_c(want));
    }
    IS(wrong, 0, "each byte of an IPv4 address");
}

int
main(void)
{
    test_show_v4();
    test_text();
    test_endpoint();
    test_prefix();
    test_class();
    return tap_done();
}
