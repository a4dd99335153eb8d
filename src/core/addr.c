/*
 * core/addr.c - network addresses as 16 bytes: text, prefixes, classes.
 *
 * Called by sessions, settings and checks. Never opens a socket, never asks a resolver.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "core/addr.h"
#include "core/err.h"

#define V4_OFFSET 12 /* bytes before the IPv4 address */
#define V4_BITS   96

static const uint8_t v4_mapped[V4_OFFSET] = {[10] = 0xff, [11] = 0xff};

bool
addr_is_v4(const struct addr *a)
{
    return memcmp(a->b, v4_mapped, V4_OFFSET) == 0;
}

bool
addr_eq(const struct addr *a, const struct addr *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

int
addr_parse(struct str text, struct addr *ret)
{
    char copy[INET6_ADDRSTRLEN];
    struct addr a = {{0}};

    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = str_sub(text, 1, text.n - 2);
    if (!str_copy(text, copy, sizeof(copy)))
        return ERR_SYNTAX;
    if (str_chr(text, ':') >= 0) {
        if (inet_pton(AF_INET6, copy, a.b) != 1)
            return ERR_SYNTAX;
    } else {
        memcpy(a.b, v4_mapped, V4_OFFSET);
        if (inet_pton(AF_INET, copy, a.b + V4_OFFSET) != 1)
            return ERR_SYNTAX;
    }
    *ret = a;
    return 0;
}

/* Stands in every message; inet_ntop() would format it with printf. */
static void
show_v4(const uint8_t b[4], char *dst)
{
    for (unsigned i = 0; i < 4; i++) {
        if (b[i] >= 100)
            *dst++ = (char)('0' + b[i] / 100);
        if (b[i] >= 10)
            *dst++ = (char)('0' + b[i] / 10 % 10);
        *dst++ = (char)('0' + b[i] % 10);
        *dst++ = i < 3 ? '.' : '\0';
    }
}

const char *
addr_show(const struct addr *a, char dst[48])
{
    if (addr_is_v4(a))
        show_v4(a->b + V4_OFFSET, dst);
    else
        ENSURE(inet_ntop(AF_INET6, a->b, dst, 48)); /* 48 bytes are enough */
    return dst;
}

/* An IPv6 address without brackets never has a port: its last group would look like one. */
static int
endpoint_split(struct str text, struct str *ret_host, struct str *ret_port, bool *ret_has_port)
{
    ssize_t colon = str_rchr(text, ':');
    ssize_t close = str_rchr(text, ']');

    *ret_host = text;
    *ret_port = STR_NONE;
    *ret_has_port = false;
    if (text.n && text.p[0] == '[') {
        if (close < 0)
            return ERR_SYNTAX;
        if ((size_t)close + 1 == text.n)
            return 0;
        if (text.p[close + 1] != ':')
            return ERR_SYNTAX;
        colon = close + 1;
    } else if (colon < 0 || str_chr(text, ':') != colon) {
        return 0;
    }
    *ret_host = str_of(text.p, (size_t)colon);
    *ret_port = str_from(text, (size_t)colon + 1);
    *ret_has_port = true;
    return 0;
}

int
endpoint_parse(struct str text, uint16_t default_port, struct endpoint *ret)
{
    struct str host, port;
    struct endpoint e;
    uint64_t number = default_port;
    bool has_port;
    int r = endpoint_split(text, &host, &port, &has_port);

    if (r < 0)
        return r;
    if (has_port) {
        r = str_u64(port, &number);
        if (r < 0 || port.n > 5 || number > UINT16_MAX)
            return ERR_SYNTAX;
    } else if (default_port == 0) {
        return ERR_SYNTAX;
    }
    r = addr_parse(host, &e.addr);
    if (r < 0)
        return r;
    e.port = (uint16_t)number;
    *ret = e;
    return 0;
}

const char *
endpoint_show(const struct endpoint *e, char dst[56])
{
    char host[48];

    addr_show(&e->addr, host);
    str_fmt(dst, 56, addr_is_v4(&e->addr) ? "%s:%u" : "[%s]:%u", host, (unsigned)e->port);
    return dst;
}

int
prefix_parse(struct str text, struct prefix *ret)
{
    struct str host, length = STR_NONE;
    struct addr a;
    uint64_t bits = 128;
    int r;

    host = str_cut(text, '/', &length);
    r = addr_parse(host, &a);
    if (r < 0)
        return r;
    if (host.n != text.n) {
        unsigned base = str_chr(host, ':') >= 0 ? 0 : V4_BITS;

        r = str_u64(length, &bits);
        if (r < 0 || length.n > 3 || bits > 128 - base)
            return ERR_SYNTAX;
        bits += base;
    }
    ret->addr = addr_masked(&a, (unsigned)bits);
    ret->bits = (uint8_t)bits;
    return 0;
}

struct addr
addr_masked(const struct addr *a, unsigned bits)
{
    struct addr masked = *a;

    for (unsigned i = 0; i < 16; i++) {
        unsigned keep = bits > 8 * i ? MIN(bits - 8 * i, 8u) : 0;

        masked.b[i] &= (uint8_t)(0xff00u >> keep);
    }
    return masked;
}

bool
prefix_has(const struct prefix *p, const struct addr *a)
{
    unsigned bits = MIN((unsigned)p->bits, 128u);
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(p->addr.b, a->b, whole) != 0)
        return false;
    return rest == 0 || (p->addr.b[whole] ^ a->b[whole]) >> (8 - rest) == 0;
}

bool
addr_is_loopback(const struct addr *a)
{
    static const struct addr six = {{[15] = 1}};

    return addr_is_v4(a) ? a->b[V4_OFFSET] == 127 : addr_eq(a, &six);
}

struct v4_range {
    uint32_t net;
    unsigned bits;
};

/* The IANA special-purpose registry for IPv4 (RFC 6890 and later), multicast and class E. */
static const struct v4_range v4_bogus[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* CGNAT, RFC 6598 */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link-local */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* IETF protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays, withdrawn */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 4},  /* multicast */
    {0xf0000000, 4},  /* reserved, broadcast */
};

static bool
v4_is_bogus(const uint8_t b[4])
{
    uint32_t v = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];

    for (size_t i = 0; i < ARRAY_LEN(v4_bogus); i++)
        if ((v ^ v4_bogus[i].net) >> (32 - v4_bogus[i].bits) == 0)
            return true;
    return false;
}

/* Only 2000::/3 is global unicast; within it the pieces that never hold a public host. */
static const struct prefix v6_bogus[] = {
    {{{0x20, 0x01, 0x00, 0x00}}, 32},             /* Teredo */
    {{{0x20, 0x01, 0x00, 0x02, 0x00, 0x00}}, 48}, /* benchmarks */
    {{{0x20, 0x01, 0x00, 0x10}}, 28},             /* ORCHID */
    {{{0x20, 0x01, 0x00, 0x20}}, 28},             /* ORCHIDv2 */
    {{{0x20, 0x01, 0x0d, 0xb8}}, 32},             /* documentation */
    {{{0x3f, 0xff, 0x00}}, 20},                   /* documentation, RFC 9637 */
};

bool
addr_is_bogus(const struct addr *a)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

    if (addr_is_v4(a))
        return v4_is_bogus(a->b + V4_OFFSET);
    if (memcmp(a->b, nat64, sizeof(nat64)) == 0) /* RFC 6052: an IPv4 host behind a translator */
        return v4_is_bogus(a->b + V4_OFFSET);
    if (a->b[0] == 0x20 && a->b[1] == 0x02) /* 6to4, RFC 3056: the IPv4 router is inside */
        return v4_is_bogus(a->b + 2);
    if (a->b[0] >> 5 != 1)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(v6_bogus); i++)
        if (prefix_has(&v6_bogus[i], a))
            return true;
    return false;
}

const char *
addr_reverse(const struct addr *a, char dst[80])
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *v4 = a->b + V4_OFFSET;
    size_t n = 0;

    if (addr_is_v4(a)) {
        str_fmt(dst, 80, "%u.%u.%u.%u.in-addr.arpa", v4[3], v4[2], v4[1], v4[0]);
        return dst;
    }
    for (unsigned i = 16; i-- > 0;) {
        dst[n++] = hex[a->b[i] & 15];
        dst[n++] = '.';
        dst[n++] = hex[a->b[i] >> 4];
        dst[n++] = '.';
    }
    str_fmt(dst + n, 80 - n, "ip6.arpa");
    return dst;
}
