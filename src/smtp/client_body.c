/*
 * smtp/client_body.c - the one scan over a body that goes out by DATA.
 *
 * Called by client_send.c for each piece. Lines that begin with a dot are rare, so 64 bytes are
 * asked at once whether they hold "\n." anywhere; only blocks that do are looked at closely.
 */
#include "smtp/client_body.h"

typedef unsigned char body_lane __attribute__((vector_size(16)));

/* Does "\n." begin at one of the 64 places from p? Reads 65 bytes. */
static bool
body_block_has(const char *p)
{
    body_lane hits = {0};
    uint64_t half[2];

    for (unsigned i = 0; i < 4; i++) {
        body_lane here, next;

        memcpy(&here, p + 16 * i, sizeof(here));
        memcpy(&next, p + 16 * i + 1, sizeof(next));
        hits |= (body_lane)(here == '\n') & (body_lane)(next == '.');
    }
    memcpy(half, &hits, sizeof(half));
    return half[0] | half[1];
}

const char *
client_body_dot(const char *p, const char *end, bool bol)
{
    if (p < end && bol && *p == '.')
        return p;
    while (end - p >= 65 && !body_block_has(p))
        p += 64;
    while (end - p >= 2) {
        const char *lf = memchr(p, '\n', (size_t)(end - p) - 1);

        if (!lf)
            return NULL;
        if (lf[1] == '.')
            return lf + 1;
        p = lf + 1;
    }
    return NULL;
}
