/*
 * tests/unit/test_net_proxy.c - PROXY headers whole, byte by byte and with other bytes behind.
 */
#include "core/err.h"
#include "net/proxy.h"
#include "tap.h"

#define SIG       "\r\n\r\n\0\r\nQUIT\n"
#define ROW(text) (text), sizeof(text) - 1

static const struct {
    const char *name;
    const char *p;
    size_t n;
    enum proxy_result want;
    const char *src, *dst;
} rows[] = {
    {"v1", ROW("PROXY TCP4 192.0.2.1 198.51.100.7 4711 25\r\n"), PROXY_PARSED, "192.0.2.1:4711",
     "198.51.100.7:25"},
    {"v1 IPv6", ROW("PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n"), PROXY_PARSED,
     "[2001:db8::1]:65535", "[2001:db8::2]:0"},
    {"v1 unknown", ROW("PROXY UNKNOWN\r\n"), PROXY_LOCAL, NULL, NULL},
    {"v1 unknown with text", ROW("PROXY UNKNOWN a b c\r\n"), PROXY_LOCAL, NULL, NULL},
    {"v1 family", ROW("PROXY UDP4 192.0.2.1 198.51.100.7 4711 25\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 mixed", ROW("PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 port", ROW("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 port 01", ROW("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 five words", ROW("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 two spaces", ROW("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 bare LF", ROW("PROXY UNKNOWN\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 short", ROW("PROXY TCP4 192.0.2.1\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v1 nothing", ROW("PROXY \r\n"), PROXY_REFUSED, NULL, NULL},
    {"no header", ROW("EHLO x\r\n"), PROXY_REFUSED, NULL, NULL},
    {"no v2", ROW("\r\nEHLO x\r\n"), PROXY_REFUSED, NULL, NULL},
    {"v2", ROW(SIG "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\7\x12\x67\0\x19"), PROXY_PARSED,
     "192.0.2.1:4711", "198.51.100.7:25"},
    {"v2 with TLVs", ROW(SIG "\x21\x11\0\x10\xc0\0\2\1\xc6\x33\x64\7\x12\x67\0\x19\4\0\1x"),
     PROXY_PARSED, "192.0.2.1:4711", "198.51.100.7:25"},
    {"v2 local", ROW(SIG "\x20\0\0\0"), PROXY_LOCAL, NULL, NULL},
    {"v2 local with addresses", ROW(SIG "\x20\x11\0\x04zzzz"), PROXY_LOCAL, NULL, NULL},
    {"v2 unspecified", ROW(SIG "\x21\0\0\3abc"), PROXY_LOCAL, NULL, NULL},
    {"v2 unix", ROW(SIG "\x21\x31\0\3abc"), PROXY_LOCAL, NULL, NULL},
    {"v2 datagram", ROW(SIG "\x21\x12\0\x0czzzzzzzzzzzz"), PROXY_REFUSED, NULL, NULL},
    {"v2 too short", ROW(SIG "\x21\x11\0\x0bzzzzzzzzzzz"), PROXY_REFUSED, NULL, NULL},
    {"v2 too long", ROW(SIG "\x21\x11\x10\x01"), PROXY_REFUSED, NULL, NULL},
    {"v2 version", ROW(SIG "\x31\x11\0\0"), PROXY_REFUSED, NULL, NULL},
    {"v2 command", ROW(SIG "\x22\x11\0\0"), PROXY_REFUSED, NULL, NULL},
    {"v2 family", ROW(SIG "\x21\x41\0\0"), PROXY_REFUSED, NULL, NULL},
};

static void
test_rows(void)
{
    char shown[56], in[128];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy whole, bytes;
        size_t used, one, taken = 0;

        memset(in, 'E', sizeof(in));
        memcpy(in, rows[i].p, rows[i].n);
        proxy_init(&whole);
        IS(proxy_feed(&whole, in, sizeof(in), &used), rows[i].want, "%s", rows[i].name);
        if (rows[i].want == PROXY_REFUSED) {
            OK(whole.why && used <= rows[i].n, "it says why");
        } else {
            IS(used, rows[i].n, "takes the header and no more");
        }
        if (rows[i].src) {
            TEXT(str_c(endpoint_show(&whole.src, shown)), rows[i].src, "source");
            TEXT(str_c(endpoint_show(&whole.dst, shown)), rows[i].dst, "destination");
        }
        proxy_init(&bytes);
        while (taken < sizeof(in) && proxy_feed(&bytes, in + taken, 1, &one) == PROXY_MORE)
            taken += one;
        OK(bytes.result == whole.result && taken + 1 == used, "the same byte by byte");
    }
}

static void
test_endless(void)
{
    struct proxy x;
    char in[300];
    size_t used;

    memset(in, 'x', sizeof(in));
    memcpy(in, "PROXY UNKNOWN ", 14);
    proxy_init(&x);
    IS(proxy_feed(&x, in, sizeof(in), &used), PROXY_REFUSED, "a line without end");
    IS(used, 107, "is refused at its ceiling");
    proxy_init(&x);
    IS(proxy_feed(&x, in, 0, &used), PROXY_MORE, "no bytes");
}

int
main(void)
{
    test_rows();
    test_endless();
    return tap_done();
}
