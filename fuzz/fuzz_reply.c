/*
 * fuzz/fuzz_reply.c - replies of servers: whole and byte by byte must give the same.
 */
#include "smtp/client.h"

#include "core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* All replies of the input as text; `step` bytes are given at a time. */
static void
read_all(const char *p, size_t n, size_t step, struct buf *out)
{
    struct smtp_reply_parser parser;
    struct smtp_reply r;
    char line[3000];
    size_t used;

    smtp_reply_parser_init(&parser, 2000);
    for (size_t at = 0; at < n; at += used) {
        size_t give = MIN(step, n - at);
        int got = smtp_reply_parse(&parser, p + at, give, &used, &r);

        ENSURE(used <= give);
        if (got < 0) {
            buf_fmt(out, "error %d\n", got);
            return;
        }
        ENSURE(got || used == give);
        if (!got)
            continue;
        ENSURE(r.code >= 200 && r.code <= 599 && r.text.n <= sizeof(parser.text));
        ENSURE(!r.enhanced[0] || r.enhanced[0] == r.code / 100);
        for (size_t i = 0; i < r.text.n; i++)
            ENSURE((unsigned char)r.text.p[i] >= 32 || r.text.p[i] == '\n');
        ENSURE(str_is_utf8(r.text));
        buf_fmt(out, "%s\n", smtp_reply_show(&r, line, sizeof(line)));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf whole, cut;

    buf_init(&whole, 4 << 20);
    buf_init(&cut, 4 << 20);
    read_all((const char *)data, n, n, &whole);
    read_all((const char *)data, n, 1, &cut);
    ENSURE(str_eq(buf_view(&whole), buf_view(&cut)));
    buf_done(&whole);
    buf_done(&cut);
    return 0;
}
