/*
 * tests/support/lib/cases_proxy.c - PROXY headers: result, addresses, and never a byte too many.
 */
#include "cases.h"
#include "net/proxy.h"

/* The bytes that the header claims to have: v1 up to its LF, v2 by its length. */
static size_t
claimed(struct str in)
{
    ssize_t nl;

    if (in.n >= 16 && in.p[0] == '\r')
        return 16 + ((size_t)(unsigned char)in.p[14] << 8 | (unsigned char)in.p[15]);
    nl = str_chr(in, '\n');
    return nl < 0 ? in.n : (size_t)nl + 1;
}

static bool
endpoints_are(const struct proxy *x, struct str want)
{
    char src[56], dst[56], text[160];

    str_fmt(text, sizeof(text), "src %s dst %s", endpoint_show(&x->src, src),
            endpoint_show(&x->dst, dst));
    return str_find(want, str_c(text)) >= 0;
}

static bool
expected(const struct proxy *x, struct str want)
{
    if (str_starts(want, STR("accept: unknown")) || str_starts(want, STR("accept: local")))
        return x->result == PROXY_LOCAL;
    if (str_starts(want, STR("accept: TCP")))
        return x->result == PROXY_PARSED && endpoints_are(x, want);
    if (str_find(want, STR("accept")) == 0)
        return x->result == PROXY_PARSED || x->result == PROXY_LOCAL;
    if (str_starts(want, STR("refuse")) || str_starts(want, STR("reject")))
        return x->result == PROXY_REFUSED;
    if (str_find(want, STR("DGRAM")) >= 0)
        return x->result == PROXY_REFUSED;
    return x->result != PROXY_MORE; /* the suite leaves it open: decided, and within bounds */
}

void
cases_proxy(const char *path, const json_t *all)
{
    const json_t *one;
    size_t i;

    (void)path;
    json_array_foreach(all, i, one)
    {
        char raw[4096 + 256];
        ssize_t n = cases_hex(one, "hex", raw, sizeof(raw));
        struct str in = str_of(raw, n < 0 ? 0 : (size_t)n), want = cases_text(one, "expect");
        struct proxy whole, bytes;
        size_t used, total = 0, part = 1;
        bool good;

        proxy_init(&whole);
        proxy_feed(&whole, in.p, in.n, &used);
        proxy_init(&bytes);
        for (; total < in.n && bytes.result == PROXY_MORE; total += part)
            proxy_feed(&bytes, in.p + total, 1, &part);
        good = n >= 0 && expected(&whole, want) && used <= claimed(in) &&
               bytes.result == whole.result && total == used;
        if (whole.result == PROXY_PARSED || whole.result == PROXY_LOCAL)
            good = good && used == claimed(in);
        cases_ok(good, "proxy %.*s: %.*s", STR_ARG(cases_text(one, "name")), STR_ARG(want));
    }
}
