/*
 * fuzz/fuzz_proxy.c - PROXY headers from any bytes: whole and byte by byte, and no byte too many.
 */
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct proxy whole, bytes;
    size_t used, total = 0, part = 1;
    const char *p = (const char *)data;

    proxy_init(&whole);
    proxy_feed(&whole, p, n, &used);
    ENSURE(used <= n && used <= 16 + PROXY_V2_MAX);
    ENSURE((whole.result == PROXY_REFUSED) == (whole.why != NULL));
    proxy_init(&bytes);
    for (; total < n && bytes.result == PROXY_MORE; total += part)
        proxy_feed(&bytes, p + total, 1, &part);
    ENSURE(bytes.result == whole.result && total == used);
    return 0;
}
