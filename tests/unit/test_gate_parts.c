/*
 * tests/unit/test_gate_parts.c - the gate's pure parts: rewritten senders, the trace field, the
 * table of limits, blocks of a body.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/err.h"
#include "gate/body.h"
#include "gate/limits.h"
#include "gate/received.h"
#include "gate/srs.h"
#include "mail/address.h"
#include "tap.h"

#define DAY UINT64_C(86400)
#define NOW (UINT64_C(20000) * DAY)

static struct srs ours, theirs;

static void
test_srs_round(void)
{
    static const char *const senders[] = {
        "ann@example.com",
        "Ann.O'Hara+x=y@Sub.Example.COM",
        "\"a b\"@example.com",
        "bounces+12345-abcd-user=example.net@em1234.example.com",
        "SRS0=XjO9=2V=otherdomain.com=test@example.com",
        "SRS1=abcd=first.test==XjO9=2V=otherdomain.com=test@example.com",
        "SRS0+XjO9=2V=otherdomain.com=test@example.com",
        "\"a@\\\"b\"@example.com",
        "ann@[192.0.2.1]",
        "SRS1=none@example.com",
        "SRS1=a=b=c@example.com",
        "SRS1=a=#e==b@example.com",
        "\"SRS0=a b\"@example.com",
        "\"\"@example.com",
        "\"@b\"@example.com",
    };
    char fwd[SRS_MAX + 1], back[SRS_MAX + 1];
    struct address a;

    for (size_t i = 0; i < ARRAY_LEN(senders); i++) {
        ssize_t n = srs_forward(&ours, str_c(senders[i]), NOW, fwd, sizeof(fwd)), m;
        struct str local = str_sub(str_of(fwd, (size_t)MAX(n, 0)), 0,
                                   (size_t)MAX(n, 0) - MIN((size_t)MAX(n, 0), (size_t)10));

        if (!OK(n > 10 && str_ends(str_of(fwd, (size_t)n), STR("@ours.test")), "%s becomes %s",
                senders[i], fwd))
            continue;
        OK(srs_is(local), "looks like SRS");
        IS(address_parse(str_of(fwd, (size_t)n), 0, &a), 0, "is an address");
        m = srs_reverse(&ours, local, NOW + 3 * DAY, back, sizeof(back));
        if (str_starts(str_c(senders[i]), STR("SRS1=abcd")))
            TEXT(str_of(back, (size_t)MAX(m, 0)), "SRS0=XjO9=2V=otherdomain.com=test@first.test",
                 "the first hop takes it");
        else
            TEXT(str_of(back, (size_t)MAX(m, 0)), senders[i], "and comes back");
        IS(srs_reverse(&theirs, local, NOW, back, sizeof(back)), ERR_REFUSED, "not by another key");
    }
    IS(srs_forward(&ours, STR(""), NOW, fwd, sizeof(fwd)), 0, "the null sender stays null");
    IS(srs_forward(&ours, STR("nobody"), NOW, fwd, sizeof(fwd)), ERR_SYNTAX, "no address");
}

static void
test_srs_time_and_case(void)
{
    char fwd[SRS_MAX + 1], back[SRS_MAX + 1], again[SRS_MAX + 1];
    ssize_t n = srs_forward(&ours, STR("Ann@example.com"), NOW, fwd, sizeof(fwd));
    struct str local = str_of(fwd, (size_t)n - 10);

    OK(srs_reverse(&ours, local, NOW + 21 * DAY, back, sizeof(back)) > 0, "good for its days");
    IS(srs_reverse(&ours, local, NOW + 22 * DAY, back, sizeof(back)), ERR_STALE, "then stale");
    OK(srs_reverse(&ours, local, NOW - DAY, back, sizeof(back)) > 0,
       "made over midnight by a gate whose clock is ahead");
    IS(srs_reverse(&ours, local, NOW - 2 * DAY, back, sizeof(back)), ERR_STALE,
       "not from the day after tomorrow");
    IS(srs_forward(&ours, str_of(fwd, (size_t)n), NOW, again, sizeof(again)), n,
       "our own is not rewritten again");
    for (ssize_t i = 0; i < n; i++)
        fwd[i] = (char)(fwd[i] >= 'a' && fwd[i] <= 'z' ? fwd[i] - 32 : fwd[i]);
    OK(srs_reverse(&ours, local, NOW, back, sizeof(back)) > 0, "case may be lost on the way");
    for (size_t i = 5; i < local.n; i++) {
        char kept = fwd[i];

        fwd[i] = kept == '7' ? '8' : '7';
        if (srs_reverse(&ours, local, NOW, back, sizeof(back)) > 0)
            OK(false, "byte %zu may be changed", i);
        fwd[i] = kept;
    }
    OK(true, "no byte may be changed");
}

/* Every seed, whole and cut at every byte: nothing but an error may come of it. */
static void
srs_seed(struct str text)
{
    char dst[SRS_MAX + 1];

    for (size_t n = 0; n <= text.n; n++) {
        struct str s = str_sub(text, 0, n);

        srs_reverse(&ours, s, NOW, dst, sizeof(dst));
        srs_forward(&ours, s, NOW, dst, sizeof(dst));
    }
}

static void
test_srs_seeds(void)
{
    static const char *const dirs[] = {"srs", "socketmap", "netstring", "milter"};
    const char *root = getenv("GAPURA_SUITES");
    unsigned n = 0;

    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        char dir[512], path[900], text[4096];
        struct dirent *e;
        DIR *d;

        str_fmt(dir, sizeof(dir), "%s/srs-milter-postsrsd/seeds/%s",
                root ? root : "../shared/suites", dirs[i]);
        d = opendir(dir);
        while (d && (e = readdir(d))) {
            int fd;
            ssize_t got;

            str_fmt(path, sizeof(path), "%s/%s", dir, e->d_name);
            fd = e->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
            got = fd < 0 ? -1 : read(fd, text, sizeof(text));
            fd_close(&fd);
            if (got < 0)
                continue;
            srs_seed(str_of(text, (size_t)got));
            n++;
        }
        if (d)
            closedir(d);
    }
    if (n)
        OK(true, "%u seeds", n);
    else
        tap_skip("seeds of SRS", "no test suites at GAPURA_SUITES");
}

static void
test_received(void)
{
    struct received r = {.helo = STR("client.test"),
                         .client_name = STR("rev.client.test"),
                         .hostname = STR("mx.test"),
                         .id = STR("0123"),
                         .rcpt = STR("a@b.test"),
                         .tls_version = STR("TLSv1.3"),
                         .tls_cipher = STR("TLS_X"),
                         .esmtp = true,
                         .auth = true,
                         .date = STR("Mon, 23 Nov 2026 06:44:24 +0000")};
    struct buf b;

    addr_parse(STR("192.0.2.1"), &r.client);
    buf_init(&b, 4096);
    received_write(&b, &r);
    TEXT(buf_view(&b),
         "Received: from client.test (rev.client.test [192.0.2.1])\r\n"
         "\t(using TLSv1.3 with cipher TLS_X)\r\n"
         "\tby mx.test with ESMTPSA id 0123\r\n"
         "\tfor <a@b.test>;\r\n"
         "\tMon, 23 Nov 2026 06:44:24 +0000\r\n",
         "the whole field");
    buf_clear(&b);
    r = (struct received){.helo = STR("evil) by other (\r\nX: y"),
                          .hostname = STR("mx.test"),
                          .id = STR("1"),
                          .date = STR("D")};
    addr_parse(STR("2001:db8::1"), &r.client);
    received_write(&b, &r);
    TEXT(buf_view(&b),
         "Received: from unknown (unknown [IPv6:2001:db8::1])\r\n\tby mx.test with SMTP id "
         "1;\r\n\tD\r\n",
         "nothing of a client's can end a line or open a comment");
    buf_done(&b);
    TEXT(str_c(received_protocol(true, true, true, false)), "UTF8SMTPS", "protocol");
    TEXT(str_c(received_protocol(true, false, false, true)), "ESMTPA", "protocol");
    TEXT(str_c(received_protocol(false, false, true, false)), "SMTP", "protocol");
}

static void
test_limits(void)
{
    struct limits l;
    struct limit *held, *e;
    struct addr a, b;

    limits_init(&l, 8);
    addr_parse(STR("192.0.2.1"), &a);
    addr_parse(STR("192.0.2.99"), &b);
    held = limits_get(&l, LIMITS_NETWORK, &a);
    OK(held && held == limits_get(&l, LIMITS_NETWORK, &b), "one /24 is one entry");
    OK(limits_get(&l, LIMITS_ADDRESS, &a) != limits_get(&l, LIMITS_ADDRESS, &b), "two addresses");
    addr_parse(STR("2001:db8::1"), &a);
    addr_parse(STR("2001:db8::ffff:0:1"), &b);
    OK(limits_get(&l, LIMITS_NETWORK, &a) == limits_get(&l, LIMITS_NETWORK, &b), "one /64");
    addr_parse(STR("2001:db8:0:7::1"), &b);
    OK(limits_get(&l, LIMITS_WIDE, &a) == limits_get(&l, LIMITS_WIDE, &b), "one /48");
    addr_parse(STR("2001:db8:1:7::1"), &b);
    OK(limits_get(&l, LIMITS_WIDE, &a) != limits_get(&l, LIMITS_WIDE, &b), "and another");
    addr_parse(STR("192.0.2.1"), &a);
    addr_parse(STR("192.0.99.1"), &b);
    OK(limits_get(&l, LIMITS_WIDE, &a) == limits_get(&l, LIMITS_WIDE, &b), "one /16");
    held = limits_get(&l, LIMITS_NETWORK, &a);
    held->sessions = 1;
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];

        e = limits_user(&l, str_of(name, str_fmt(name, sizeof(name), "user%u", i)));
        if (!e)
            OK(false, "an idle entry gives way");
    }
    addr_parse(STR("192.0.2.5"), &a);
    OK(limits_get(&l, LIMITS_NETWORK, &a) == held && held->sessions == 1, "a held one stays");
    OK(limits_user(&l, STR("Ann")) == limits_user(&l, STR("aNN")), "logins without case");
    OK(limits_tenant(&l, 1) != limits_tenant(&l, 2), "tenants");
    OK(l.map.n <= 8, "never over the ceiling");
    for (e = l.newest; e; e = e->older)
        e->sessions = 1;
    OK(!limits_user(&l, STR("one more")), "full of held ones: none");
    limits_done(&l);
}

static void
test_body(void)
{
    static const char header[] = "A: b\r\nC: \r\n d\r\n\r\n";
    struct block_pool pool = {.ceiling = 3 * BLOCK_BYTES};
    char text[BLOCK_ROOM + 100];
    struct arena arena;
    struct body b;
    struct str h;

    arena_init(&arena, 1u << 20);
    body_init(&b);
    memset(text, 'h', sizeof(text));
    memcpy(text + BLOCK_ROOM - 2, "\r\n\r\nrest", 8);
    OK(body_add(&b, &pool, text, sizeof(text)), "a body over a block");
    IS(b.nblocks, 2, "two blocks");
    h = body_header(&b, &arena, sizeof(text));
    IS(h.n, BLOCK_ROOM + 2, "a header that ends across blocks is found");
    OK(str_ends(h, STR("\r\n\r\n")), "with its blank line");
    buf_str(&b.front, STR("Received: x\r\n"));
    IS(body_pieces(&b, true), 3, "our fields and two blocks");
    OK(!body_add(&b, &pool, text, sizeof(text)) || !body_add(&b, &pool, text, sizeof(text)),
       "a ceiling");
    OK(block_pool_short(&pool), "which is near before");
    body_clear(&b, &pool);
    IS(pool.used, 0, "all is given back");
    OK(body_add(&b, &pool, "\r\nno header", 11), "a body");
    TEXT(body_header(&b, &arena, 100), "\r\n", "without a header");
    OK(body_has_header(&b), "whose end is there");
    body_clear(&b, &pool);
    for (size_t i = 0; i < sizeof(header) - 1; i++) {
        OK(!body_has_header(&b), "no blank line in %zu bytes", i);
        OK(body_add(&b, &pool, header + i, 1), "one more");
    }
    OK(body_has_header(&b), "it is found however the bytes come");
    body_drop(&b, &pool);
    IS(pool.used, 0, "what is dropped goes back to the pool");
    body_clear(&b, &pool);
    buf_done(&b.front);
    block_pool_done(&pool);
    arena_done(&arena);
}

/* Long sessions stand at the old end of the table: room is made behind them. */
static void
test_limits_held(void)
{
    struct limits l;
    struct limit *e;
    char name[16];

    limits_init(&l, 400);
    for (unsigned i = 0; i < 200; i++) {
        e = limits_user(&l, str_of(name, str_fmt(name, sizeof(name), "long%u", i)));
        e->sessions = 1;
    }
    for (unsigned i = 0; i < 1000; i++)
        OK(limits_user(&l, str_of(name, str_fmt(name, sizeof(name), "short%u", i))),
           "old sessions keep no newcomer out");
    for (unsigned i = 0; i < 200; i++) {
        e = limits_user(&l, str_of(name, str_fmt(name, sizeof(name), "long%u", i)));
        OK(e && e->sessions == 1, "and are not forgotten");
    }
    limits_done(&l);
}

/* More sessions by new settings need more room; fewer give it back. */
static void
test_limits_ceiling(void)
{
    struct limits l;
    struct limit *e;
    char name[16];

    limits_init(&l, 4);
    for (unsigned i = 0; i < 4; i++)
        limits_user(&l, str_of(name, str_fmt(name, sizeof(name), "long%u", i)))->sessions = 1;
    OK(!limits_user(&l, STR("more")), "all are held");
    limits_ceiling(&l, 8);
    for (unsigned i = 0; i < 4; i++)
        OK(limits_user(&l, str_of(name, str_fmt(name, sizeof(name), "new%u", i))), "room for it");
    limits_ceiling(&l, 6);
    OK(limits_user(&l, STR("more")), "those that nobody holds give way");
    OK(l.map.n == 6, "under the new ceiling, not %zu", l.map.n);
    e = limits_user(&l, STR("long0"));
    OK(e && e->sessions == 1, "held ones stay");
    limits_done(&l);
}

int
main(void)
{
    srs_init(&ours, STR("ours.test"), STR("0123456789abcdef"), 21);
    srs_init(&theirs, STR("ours.test"), STR("fedcba9876543210"), 21);
    test_srs_round();
    test_srs_time_and_case();
    test_srs_seeds();
    test_received();
    test_limits();
    test_limits_held();
    test_limits_ceiling();
    test_body();
    return tap_done();
}
