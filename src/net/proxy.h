/*
 * net/proxy.h - the PROXY protocol, versions 1 and 2, as a push parser (HAProxy's specification).
 *
 * Only for peers that a setting trusts: what it says replaces the socket's address. Takes exactly
 * the header and not a byte behind it; every length is bounded before anything is kept.
 */
#ifndef GAPURA_NET_PROXY_H
#define GAPURA_NET_PROXY_H

#include "core/addr.h"

#define PROXY_V2_MAX 4096u /* bytes behind the fixed 16: addresses and TLVs */

enum proxy_result {
    PROXY_MORE,    /* feed further bytes */
    PROXY_PARSED,  /* src and dst are known */
    PROXY_LOCAL,   /* LOCAL or UNKNOWN: keep the socket's own addresses */
    PROXY_REFUSED, /* no PROXY header, a broken one, or not TCP: close */
};

struct proxy {
    enum proxy_result result;
    struct endpoint src, dst;
    const char *why; /* of PROXY_REFUSED */
    /* private */
    uint8_t head[108]; /* the whole v1 line, or v2 up to the end of the addresses */
    uint16_t head_n;
    uint16_t skip; /* v2: bytes of TLVs still to come */
};

void proxy_init(struct proxy *);
/* *used: bytes taken of p. Once the result is not PROXY_MORE nothing more is taken. */
enum proxy_result proxy_feed(struct proxy *, const char *p, size_t n, size_t *used);

#endif
