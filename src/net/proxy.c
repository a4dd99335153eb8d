/*
 * net/proxy.c - PROXY protocol headers, v1 as text and v2 as bytes.
 *
 * Called by listeners for peers in the setting's networks, before anything else of the stream.
 * TLVs are passed over unread: nothing here depends on them.
 */
#include "net/proxy.h"
#include "core/err.h"

#define V1_MAX   107u /* the longest line of the specification, CRLF included */
#define V2_FIXED 16u

static const uint8_t v2_signature[12] = {13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10};

void
proxy_init(struct proxy *x)
{
    *x = (struct proxy){.result = PROXY_MORE};
}

static enum proxy_result
refuse(struct proxy *x, const char *why)
{
    x->why = why;
    return PROXY_REFUSED;
}

/* One word up to the next space; the specification allows a single space only. */
static bool
word(struct str *rest, struct str *ret)
{
    *ret = str_cut(*rest, ' ', rest);
    return ret->n > 0;
}

static bool
v1_port(struct str s, uint16_t *ret)
{
    uint64_t v;

    if (!s.n || s.p[0] < '0' || s.p[0] > '9' || (s.n > 1 && s.p[0] == '0'))
        return false;
    if (str_u64(s, &v) < 0 || v > 65535)
        return false;
    *ret = (uint16_t)v;
    return true;
}

static bool
v1_addr(struct str s, bool v4, struct addr *ret)
{
    return (str_chr(s, ':') < 0) == v4 && str_chr(s, '[') < 0 && addr_parse(s, ret) == 0;
}

/* The line without CRLF. */
static enum proxy_result
v1_line(struct proxy *x, struct str line)
{
    struct str rest = str_from(line, 6), family, src, dst, sport, dport;
    bool v4;

    if (!word(&rest, &family))
        return refuse(x, "PROXY line without a family");
    if (str_eq(family, STR("UNKNOWN")))
        return PROXY_LOCAL;
    v4 = str_eq(family, STR("TCP4"));
    if (!v4 && !str_eq(family, STR("TCP6")))
        return refuse(x, "PROXY line of an unknown family");
    if (!word(&rest, &src) || !word(&rest, &dst) || !word(&rest, &sport))
        return refuse(x, "PROXY line is too short");
    dport = rest;
    if (!v1_addr(src, v4, &x->src.addr) || !v1_addr(dst, v4, &x->dst.addr) ||
        !v1_port(sport, &x->src.port) || !v1_port(dport, &x->dst.port))
        return refuse(x, "PROXY line with a bad address or port");
    return PROXY_PARSED;
}

static enum proxy_result
v1_byte(struct proxy *x)
{
    static const char start[] = "PROXY ";

    if (x->head_n <= sizeof(start) - 1)
        return x->head[x->head_n - 1] == (uint8_t)start[x->head_n - 1]
                   ? PROXY_MORE
                   : refuse(x, "No PROXY header");
    if (x->head[x->head_n - 1] != '\n')
        return x->head_n < V1_MAX ? PROXY_MORE : refuse(x, "PROXY line is too long");
    if (x->head[x->head_n - 2] != '\r')
        return refuse(x, "PROXY line does not end in CRLF");
    return v1_line(x, str_of(x->head, x->head_n - 2u));
}

static struct endpoint
v2_endpoint(const uint8_t *addr, const uint8_t *port, bool v4)
{
    struct endpoint e = {.port = (uint16_t)(port[0] << 8 | port[1])};

    if (v4) {
        e.addr.b[10] = e.addr.b[11] = 0xff;
        memcpy(e.addr.b + 12, addr, 4);
    } else {
        memcpy(e.addr.b, addr, 16);
    }
    return e;
}

/* Bytes of addresses that a family needs; what this header cannot be, is refused. */
static int
v2_needs(struct proxy *x)
{
    uint8_t command = x->head[12], family = x->head[13];

    if (command >> 4 != 2 || (command & 15) > 1) {
        x->why = "PROXY v2 of an unknown version or command";
        return -1;
    }
    if ((command & 15) == 0 || family >> 4 == 0)
        return 0; /* LOCAL, or AF_UNSPEC: whatever follows is passed over */
    if ((family & 15) != 1 || family >> 4 > 3) {
        x->why = "PROXY v2 that is not a stream connection";
        return -1;
    }
    return family >> 4 == 1 ? 12 : family >> 4 == 2 ? 36 : 0; /* AF_UNIX: kept as local */
}

/* The addresses are there. */
static enum proxy_result
v2_done(struct proxy *x)
{
    bool v4 = x->head[13] >> 4 == 1;
    const uint8_t *a = x->head + V2_FIXED;
    size_t len = v4 ? 4 : 16;

    if (x->skip)
        return PROXY_MORE;
    if (x->head_n == V2_FIXED)
        return PROXY_LOCAL;
    x->src = v2_endpoint(a, a + 2 * len, v4);
    x->dst = v2_endpoint(a + len, a + 2 * len + 2, v4);
    return PROXY_PARSED;
}

static enum proxy_result
v2_byte(struct proxy *x)
{
    unsigned length;
    int needs;

    if (x->head_n <= sizeof(v2_signature))
        return x->head[x->head_n - 1] == v2_signature[x->head_n - 1] ? PROXY_MORE
                                                                     : refuse(x, "No PROXY header");
    if (x->head_n < V2_FIXED)
        return PROXY_MORE;
    length = (unsigned)x->head[14] << 8 | x->head[15];
    needs = v2_needs(x);
    if (needs < 0)
        return PROXY_REFUSED;
    if (length > PROXY_V2_MAX || length < (unsigned)needs)
        return refuse(x, "PROXY v2 of a bad length");
    if (x->head_n < V2_FIXED + (unsigned)needs)
        return PROXY_MORE;
    x->skip = (uint16_t)(length - (unsigned)needs);
    return v2_done(x);
}

enum proxy_result
proxy_feed(struct proxy *x, const char *p, size_t n, size_t *used)
{
    size_t i = 0;

    while (i < n && x->result == PROXY_MORE) {
        if (x->skip) {
            size_t len = MIN(n - i, (size_t)x->skip);

            x->skip = (uint16_t)(x->skip - len);
            i += len;
            x->result = v2_done(x);
            continue;
        }
        x->head[x->head_n++] = (uint8_t)p[i++];
        x->result = x->head[0] == v2_signature[0] ? v2_byte(x) : v1_byte(x);
    }
    *used = i;
    return x->result;
}
