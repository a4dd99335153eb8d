/*
 * fuzz/fuzz_smtp_server.c - the server machine under any stream of bytes.
 *
 * The first byte chooses the setting and the size of the pieces. The same bytes whole and in
 * pieces, with answers at once and late, must come to the same replies (unless TLS starts: there
 * pieces decide what was plain text). No content passed on may hold a bare CR or LF.
 */
#include "smtp_twin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct smtp_server_conf
conf_of(uint8_t choice)
{
    struct smtp_server_conf c = twin_conf();

    c.lmtp = choice & 1;
    c.bare_refuse = choice & 2;
    c.lax_lines = choice & 4;
    c.auth_plain_text = choice & 8;
    if (choice & 16) {
        c.max_size = 200;
        c.max_rcpts = 2;
        c.max_received = 1;
        c.max_header = 100;
        c.max_line = 40;
        c.max_auth_line = 60;
    }
    if (choice & 32)
        c.offer &= ~(uint32_t)SMTP_EXT_STARTTLS;
    if (choice & 64)
        c.offer |= SMTP_EXT_BINARYMIME | SMTP_EXT_DELIVERBY | SMTP_EXT_MT_PRIORITY;
    return c;
}

static void
check_content(const struct twin *t)
{
    for (unsigned i = 0; i < MIN(t->nmessages, TWIN_MESSAGES); i++) {
        struct str s = buf_view(&t->messages[i]);

        for (size_t k = 0; k < s.n; k++) {
            ENSURE(s.p[k] != '\n' || (k && s.p[k - 1] == '\r'));
            ENSURE(s.p[k] != '\r' || (k + 1 < s.n && s.p[k + 1] == '\n'));
        }
    }
}

/* Of two reasons against one message (552 and 554) the pieces decide which is seen first. */
static bool
same_replies(struct str a, struct str b)
{
    while (a.n && b.n) {
        struct str x = str_cut(a, '\n', &a), y = str_cut(b, '\n', &b);

        if (!str_eq(x, y) && !(str_starts(x, STR("55")) && str_starts(y, STR("55"))))
            return false;
    }
    return a.n == b.n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct twin whole, pieces;
    struct smtp_server_conf conf;
    struct str in;

    if (n < 1)
        return 0;
    conf = conf_of(data[0]);
    in = str_of(data + 1, n - 1);
    twin_open(&whole, &conf, false);
    twin_feed(&whole, in, 0);
    twin_open(&pieces, &conf, true);
    twin_feed(&pieces, in, 1 + data[0] % 7);
    if (!(data[0] & 64)) { /* octets of BINARYMIME need not be lines */
        check_content(&whole);
        check_content(&pieces);
    }
    if (!smtp_server_is_tls(whole.s) && !smtp_server_is_tls(pieces.s)) {
        ENSURE(same_replies(buf_view(&whole.out), buf_view(&pieces.out)));
        ENSURE(whole.nmessages == pieces.nmessages);
    }
    twin_close(&whole);
    twin_close(&pieces);
    return 0;
}
