/*
 * import/hop.c - transports and next hops of transport(5).
 *
 * Called by the parts that write domains and routes.
 */
#include "import/hop.h"

static bool
one_of(struct str s, const char *words)
{
    struct str rest = str_c(words), word;

    while ((word = str_word(&rest)).n)
        if (str_eq(word, s))
            return true;
    return false;
}

/* "[host]:port", "[host]", "host:port", "host". */
static struct hop
hop_host(struct import *im, const char *scheme, struct str at, const char *port)
{
    struct hop h = {.kind = HOP_HOST};
    struct str host = at, number = STR_NONE;
    ssize_t close = str_rchr(at, ']');

    if (at.p[0] == '[' && close > 0) {
        host = str_sub(at, 1, (size_t)close - 1);
        number = str_from(at, (size_t)close + 1);
        if (number.n && number.p[0] == ':')
            number = str_from(number, 1);
    } else {
        host = str_cut(at, ':', &number);
        h.by_mx = true;
    }
    if (str_istarts(host, STR("ipv6:")))
        host = str_from(host, 5);
    if (str_eq(number, STR("smtp")))
        number = STR("25");
    if (str_eq(number, STR("submission")))
        number = STR("587");
    if (str_eq(number, STR("smtps")) || str_eq(number, STR("submissions")))
        number = STR("465");
    if (!number.n)
        number = str_c(port);
    if (str_chr(host, ':') >= 0)
        h.text =
            arena_fmt(&im->cf.arena, "%s://[%.*s]:%.*s", scheme, STR_ARG(host), STR_ARG(number));
    else if (domain_like(host))
        h.text = arena_fmt(&im->cf.arena, "%s://%.*s:%.*s", scheme, STR_ARG(host), STR_ARG(number));
    else
        h.kind = HOP_NONE;
    return h;
}

static struct hop
hop_lmtp(struct import *im, struct str at)
{
    struct str path;
    struct str how = str_cut(at, ':', &path);

    if (str_eq(how, STR("unix")) && path.n && path.p[0] == '/')
        return (struct hop){HOP_HOST, arena_fmt(&im->cf.arena, "lmtp:%.*s", STR_ARG(path)), false};
    if (str_eq(how, STR("unix")) && path.n) {
        struct str dir = maincf_get(&im->cf, "queue_directory");

        return (struct hop){HOP_HOST,
                            arena_fmt(&im->cf.arena, "lmtp:%.*s/%.*s", STR_ARG(dir), STR_ARG(path)),
                            false};
    }
    if (str_eq(how, STR("inet")))
        at = path;
    return at.n ? hop_host(im, "lmtp", at, "24") : (struct hop){.kind = HOP_NONE};
}

struct hop
hop_of(struct import *im, struct str value)
{
    struct str at, transport = str_trim(str_cut(value, ':', &at));
    struct hop h;

    at = str_trim(at);
    if (str_eq(transport, STR("lmtp"))) {
        h = hop_lmtp(im, at);
        h.by_mx = false;
        return h;
    }
    if (one_of(transport, "local virtual"))
        return (struct hop){.kind = HOP_LOCAL};
    if (transport.n && !one_of(transport, "smtp relay smtps"))
        return (struct hop){.kind = HOP_NONE};
    return at.n ? hop_host(im, "smtp", at, "25") : (struct hop){.kind = HOP_MX};
}
