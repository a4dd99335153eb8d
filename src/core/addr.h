/*
 * core/addr.h - network addresses are 16 bytes everywhere (IPv4 mapped into ::ffff:0:0/96).
 *
 * No sockets here: text in and out, prefixes, classes of address.
 */
#ifndef GAPURA_CORE_ADDR_H
#define GAPURA_CORE_ADDR_H

#include "core/str.h"

struct addr {
    uint8_t b[16];
};
struct endpoint {
    struct addr addr;
    uint16_t port;
};
struct prefix {
    struct addr addr;
    uint8_t bits; /* of 128; an IPv4 /24 is 120 */
};

bool addr_is_v4(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b);
int addr_parse(struct str text, struct addr *ret); /* "192.0.2.1", "2001:db8::1", optional [] */
const char *addr_show(const struct addr *a, char dst[48]); /* v4 in dotted form, v6 by RFC 5952 */
int endpoint_parse(struct str text, uint16_t default_port,
                   struct endpoint *ret); /* a:25, [v6]:25 */
const char *endpoint_show(const struct endpoint *e, char dst[56]);
int prefix_parse(struct str text,
                 struct prefix *ret); /* a single address is a full-length prefix */
bool prefix_has(const struct prefix *p, const struct addr *a);
struct addr addr_masked(const struct addr *a, unsigned bits);
bool addr_is_loopback(const struct addr *a);
/* Loopback, private, link-local, unspecified, multicast, documentation, CGNAT: not a public host.
 */
bool addr_is_bogus(const struct addr *a);
/* Reverse name without final dot: 4.3.2.1.in-addr.arpa or nibbles.ip6.arpa */
const char *addr_reverse(const struct addr *a, char dst[80]);

#endif
