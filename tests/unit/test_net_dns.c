/* Answers on the wire, hostile ones too; the client's cache and joined questions, with the test as
 * the resolver. */
#include "core/clock.h"
#include "net/dns_direct.h"
#include "tap.h"

static struct arena arena;

static struct dns_answer
sample(enum dns_type type, struct dns_record *r, size_t n)
{
    return (struct dns_answer){.name = STR("mail.example.test"),
                               .type = type,
                               .status = DNS_OK,
                               .secure = true,
                               .cname = true,
                               .ttl = 300,
                               .records = r,
                               .n = n};
}

static void
test_names(void)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"Example.TEST.", "example.test"},
        {"", ""},
        {".", ""},
        {"_25._tcp.mx.example.test", "_25._tcp.mx.example.test"},
        {"a..b", NULL},
        {".a", NULL},
        {"a..", NULL},
        {"a b", NULL},
        {"a\\.b", NULL},
        {"caf\xc3\xa9.test", NULL},
        {"a\x01.test", NULL},
        {"0123456789012345678901234567890123456789012345678901234567890123.test", NULL},
        {"012345678901234567890123456789012345678901234567890123456789012.test",
         "012345678901234567890123456789012345678901234567890123456789012.test"},
    };
    char dst[256], longest[400];
    size_t n;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool good = dns_name_normal(str_c(rows[i].in), dst, &n);

        IS(good, rows[i].want != NULL, "name \"%s\"", rows[i].in);
        if (good && rows[i].want)
            TEXT(str_of(dst, n), rows[i].want, "is \"%s\"", rows[i].want);
    }
    for (size_t i = 0; i < sizeof(longest); i++)
        longest[i] = i % 2 ? '.' : 'a';
    OK(dns_name_normal(str_of(longest, 253), dst, &n), "253 bytes");
    OK(!dns_name_normal(str_of(longest, 255), dst, &n), "255 bytes are too many");
}

static void
test_servers(void)
{
    struct endpoint e[3];
    char text[56];

    IS(dns_direct_servers(STR("# nameserver 9.9.9.9\nsearch a.test\nnameserver 192.0.2.1\r\n"
                              "nameserver\tfe80::1%eth0\nnameserver ::1 # here\nnameserver x"),
                          e, 3),
       2, "resolv.conf: two servers that can be asked");
    TEXT(str_c(endpoint_show(&e[0], text)), "192.0.2.1:53", "the first");
    TEXT(str_c(endpoint_show(&e[1], text)), "[::1]:53", "the second");
    IS(dns_direct_servers(STR("nameserver 1.1.1.1\nnameserver 1.0.0.1\nnameserver 8.8.8.8\n"
                              "nameserver 8.8.4.4\n"),
                          e, 3),
       3, "no more than there is room for");
    IS(dns_direct_servers(STR(""), e, 3), 0, "an empty file names none");
}

static void
test_encode(void)
{
    struct dns_record records[] = {
        {.type = DNS_MX, .preference = 10, .name = STR("mx1.example.test")},
        {.type = DNS_MX, .preference = 20, .name = STR("")},
    };
    struct dns_answer a = sample(DNS_MX, records, 2), got;
    struct buf b = {.max = CHAN_BODY_MAX};
    unsigned refused = 0, taken = 0;
    struct wire w;

    dns_answer_encode(&b, &a);
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), 0, "decodes");
    TEXT(got.name, "mail.example.test", "name");
    OK(got.secure && got.cname && got.ttl == 300 && got.status == DNS_OK, "flags and TTL");
    IS(got.n, 2, "two records");
    IS(got.records[0].preference, 10, "preference");
    TEXT(got.records[0].name, "mx1.example.test", "exchange");
    TEXT(got.records[1].name, "", "the root");
    for (size_t cut = 0; cut < b.n; cut++) {
        wire_init(&w, b.p, cut);
        refused += dns_answer_decode(&w, &arena, &got) < 0 && w.failed;
    }
    IS(refused, b.n, "every truncation is refused");
    for (size_t i = 0; i < b.n; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            b.p[i] ^= (char)(1 << bit);
            wire_init(&w, b.p, b.n);
            if (dns_answer_decode(&w, &arena, &got) == 0)
                taken += got.n;
            b.p[i] ^= (char)(1 << bit);
            arena_reset(&arena);
        }
    }
    OK(taken > 0, "flipped bits neither crash nor lie about counts");
    buf_char(&b, 'x');
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), ERR_SYNTAX, "a byte too many");
    buf_clear(&b);
    a.n = 0; /* DNS_OK without records */
    dns_answer_encode(&b, &a);
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), ERR_SYNTAX, "good news without records");
    buf_done(&b);
    arena_done(&arena);
}

static void
test_encode_types(void)
{
    static char big[16384];
    struct dns_record many[120];
    struct dns_record txt = {.type = DNS_TXT, .data = STR("v=spf1 -all")};
    struct dns_record a4 = {.type = DNS_A}, a6 = {.type = DNS_AAAA};
    struct dns_answer a = sample(DNS_TXT, &txt, 1), got;
    struct buf b = {.max = CHAN_BODY_MAX};
    struct wire w;

    dns_answer_encode(&b, &a);
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), 0, "TXT");
    TEXT(got.records[0].data, "v=spf1 -all", "its data");
    addr_parse(STR("192.0.2.1"), &a4.addr);
    addr_parse(STR("2001:db8::1"), &a6.addr);
    a = sample(DNS_A, &a4, 1);
    buf_clear(&b);
    dns_answer_encode(&b, &a);
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), 0, "A");
    OK(addr_eq(&got.records[0].addr, &a4.addr), "its address");
    a6.type = DNS_A;
    a = sample(DNS_A, &a6, 1);
    buf_clear(&b);
    dns_answer_encode(&b, &a);
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), ERR_SYNTAX, "an A record with an IPv6 address");
    memset(big, 'x', sizeof(big));
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = (struct dns_record){.type = DNS_TXT, .data = str_of(big, 500)};
    a = sample(DNS_TXT, many, ARRAY_LEN(many));
    buf_clear(&b);
    dns_answer_encode(&b, &a);
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), 0, "many records");
    IS(got.n, 100, "a hundred at most");
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i].data.n = sizeof(big);
    buf_clear(&b);
    dns_answer_encode(&b, &a);
    OK(!b.failed && b.n <= CHAN_BODY_MAX, "large ones are cut to what a channel takes");
    wire_init(&w, b.p, b.n);
    IS(dns_answer_decode(&w, &arena, &got), 0, "and decode");
    IS(got.n, 3, "to those that fit");
    buf_done(&b);
    arena_done(&arena);
}

/* www.example.test CNAME mail.example.test; mail A 192.0.2.7 (TTL 60), with compression. */
static const uint8_t packet[] = {
    0,    0,   0x81, 0x80, 0,   1,    0,   2,   0,   0,    0,   0,                /* header */
    3,    'w', 'w',  'w',  7,   'E',  'x', 'a', 'm', 'p',  'l', 'e',              /* 12 */
    4,    't', 'e',  's',  't', 0,    0,   1,   0,   1,                           /* 24 */
    0xc0, 12,  0,    5,    0,   1,    0,   0,   1,   0x2c, 0,   7,                /* 34 */
    4,    'm', 'a',  'i',  'l', 0xc0, 16,                                         /* 46 */
    0xc0, 46,  0,    1,    0,   1,    0,   0,   0,   60,   0,   4,   192, 0, 2, 7 /* 53 */
};

static void
test_packet(void)
{
    uint8_t bad[sizeof(packet)];
    struct dns_answer got;
    unsigned broken = 0, lied = 0;
    char text[48];

    IS(dns_packet_parse(packet, sizeof(packet), STR("www.example.test"), DNS_A, &arena, &got), 0,
       "a packet");
    IS(got.status, DNS_OK, "found");
    OK(got.cname, "through an alias");
    IS(got.ttl, 60, "least TTL");
    IS(got.n, 1, "one address");
    TEXT(str_c(addr_show(&got.records[0].addr, text)), "192.0.2.7", "this one");
    TEXT(got.name, "www.example.test", "under the name asked");
    IS(dns_packet_parse(packet, sizeof(packet), STR("other.test"), DNS_A, &arena, &got), 0,
       "records of another name");
    IS(got.status, DNS_NODATA, "do not count");
    IS(dns_packet_parse(packet, sizeof(packet), STR("www.example.test"), DNS_CNAME, &arena, &got),
       0, "the alias itself");
    TEXT(got.records[0].name, "mail.example.test", "asked for");
    for (size_t cut = 0; cut < sizeof(packet); cut++)
        broken += dns_packet_parse(packet, cut, STR("www.example.test"), DNS_A, &arena, &got) < 0;
    IS(broken, sizeof(packet), "every truncation is noticed");
    arena_done(&arena);
    for (size_t i = 0; i < sizeof(packet); i++) {
        for (unsigned v = 0; v < 256; v++) {
            memcpy(bad, packet, sizeof(packet));
            bad[i] = (uint8_t)v;
            if (dns_packet_parse(bad, sizeof(bad), STR("www.example.test"), DNS_A, &arena, &got) ==
                0)
                lied += (got.n > 0) != (got.status == DNS_OK) || got.n > 2;
            arena_reset(&arena);
        }
    }
    IS(lied, 0, "any byte of any value: status and records agree");
    memcpy(bad, packet, sizeof(packet));
    bad[35] = 34; /* the first owner points at itself */
    IS(dns_packet_parse(bad, sizeof(bad), STR("www.example.test"), DNS_A, &arena, &got),
       ERR_CORRUPT, "a pointer to itself");
    bad[35] = 46; /* forward */
    IS(dns_packet_parse(bad, sizeof(bad), STR("www.example.test"), DNS_A, &arena, &got),
       ERR_CORRUPT, "a pointer forward");
    memcpy(bad, packet, sizeof(packet));
    bad[3] = 0x83;
    IS(dns_packet_parse(bad, sizeof(bad), STR("www.example.test"), DNS_A, &arena, &got), 0,
       "NXDOMAIN behind an alias");
    IS(got.status, DNS_NXDOMAIN, "is NXDOMAIN");
    IS(got.n, 0, "without records");
    memcpy(bad, packet, sizeof(packet));
    bad[2] |= 2;
    IS(dns_packet_parse(bad, sizeof(bad), STR("www.example.test"), DNS_A, &arena, &got), 0,
       "a message that was cut off");
    OK(got.status == DNS_TEMPORARY && got.n == 0, "is no answer, whatever it holds");
    memcpy(bad, packet, sizeof(packet));
    bad[3] = 0x82;
    IS(dns_packet_parse(bad, sizeof(bad), STR("www.example.test"), DNS_A, &arena, &got), 0,
       "SERVFAIL");
    IS(got.status, DNS_TEMPORARY, "is temporary");
    arena_done(&arena);
}

/* A resolver that only remembers what it was asked. */
struct fake {
    struct chan *c;
    struct dns_client *client;
    unsigned asked;
    uint64_t id;
    char name[256];
    uint16_t type;
};

static void
fake_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct fake *f = ctx;

    (void)fd;
    IS(type, DNS_MSG_ASK, "a question");
    f->asked++;
    f->id = id;
    f->type = wire_u16(body);
    (void)str_copy(wire_str16(body), f->name, sizeof(f->name));
}

static void
client_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct fake *f = ctx;

    (void)fd;
    OK(dns_client_message(f->client, type, id, body), "an answer");
}

static const struct chan_ops fake_ops = {.message = fake_message};
static const struct chan_ops client_ops = {.message = client_message};

static void
fake_answer(struct fake *f, struct loop *loop, enum dns_status status, uint32_t ttl)
{
    struct dns_record r = {.type = DNS_MX, .preference = 5, .name = STR("mx.example.test")};
    struct dns_answer a = {.name = str_c(f->name),
                           .type = f->type,
                           .status = status,
                           .ttl = ttl,
                           .records = &r,
                           .n = status == DNS_OK};
    struct buf b = {.max = CHAN_BODY_MAX};

    dns_answer_encode(&b, &a);
    chan_send(f->c, DNS_MSG_ANSWER, f->id, &b, -1);
    buf_done(&b);
    loop_once(loop, true);
}

struct asker {
    struct dns_ask ask;
    unsigned called;
    enum dns_status status;
    size_t n;
    char mx[64];
    struct asker *cancels;
    struct dns_client *again;
};

static void
on_answer(void *ctx, const struct dns_answer *a)
{
    struct asker *k = ctx;
    struct dns_client *again = k->again;

    k->called++;
    k->status = a->status;
    k->n = a->n;
    if (a->n)
        (void)str_copy(a->records[0].name, k->mx, sizeof(k->mx));
    if (k->cancels)
        dns_ask_cancel(&k->cancels->ask);
    k->again = NULL;
    if (again)
        dns_client_ask(again, a->name, a->type, &k->ask, on_answer, k);
}

static void
ask(struct fake *f, struct loop *loop, struct asker *k, const char *name)
{
    IS(dns_client_ask(f->client, str_c(name), DNS_MX, &k->ask, on_answer, k), 0, "ask for %s",
       name);
    loop_once(loop, false);
}

static void
test_client_known(struct loop *loop, struct fake *f)
{
    struct asker k[2] = {{.called = 0}};
    const struct dns_answer *known;

    ask(f, loop, &k[0], "Example.TEST.");
    ask(f, loop, &k[1], "example.test");
    IS(f->asked, 1, "the same question twice is asked once");
    TEXT(str_c(f->name), "example.test", "in its normal form");
    OK(dns_client_cached(f->client, STR("example.test"), DNS_MX) == NULL, "not known yet");
    fake_answer(f, loop, DNS_OK, 300);
    IS(k[0].called + k[1].called, 2, "both hear the answer");
    TEXT(str_c(k[1].mx), "mx.example.test", "whole");
    known = dns_client_cached(f->client, STR("EXAMPLE.test"), DNS_MX);
    OK(known && known->n == 1, "it is known now");
    k[0].called = 0;
    dns_client_ask(f->client, STR("example.test"), DNS_MX, &k[0].ask, on_answer, &k[0]);
    IS(k[0].called, 0, "a known answer comes after the call");
    loop_once(loop, false);
    IS(k[0].called, 1, "but in the same turn");
    IS(f->asked, 1, "without a question");
    clock_advance(301 * NS_PER_S);
    OK(!dns_client_cached(f->client, STR("example.test"), DNS_MX), "its time is over");
    ask(f, loop, &k[0], "example.test");
    IS(f->asked, 2, "asked anew");
    fake_answer(f, loop, DNS_TEMPORARY, 0);
    IS(k[0].status, DNS_TEMPORARY, "a failure is told");
    clock_advance(9 * NS_PER_S);
    OK(dns_client_cached(f->client, STR("example.test"), DNS_MX), "and kept for ten seconds");
    clock_advance(2 * NS_PER_S);
    OK(!dns_client_cached(f->client, STR("example.test"), DNS_MX), "no longer");
}

/* Cancelling, and asking again from inside. */
static void
test_client_cancel(struct loop *loop, struct fake *f)
{
    struct asker k[3] = {{.called = 0}};

    k[1].cancels = &k[0];
    ask(f, loop, &k[0], "cancel.test");
    ask(f, loop, &k[1], "cancel.test"); /* heard first */
    ask(f, loop, &k[2], "cancel.test");
    dns_ask_cancel(&k[2].ask);
    dns_ask_cancel(&k[2].ask);
    k[1].again = f->client;
    fake_answer(f, loop, DNS_NXDOMAIN, 1);
    IS(k[2].called, 0, "cancelled before");
    IS(k[0].called, 0, "cancelled by another's callback");
    loop_once(loop, false);
    IS(k[1].called, 2, "asked again inside: called again");
    clock_advance(3 * NS_PER_S);
    OK(dns_client_cached(f->client, STR("cancel.test"), DNS_MX), "five seconds at least");
}

/* The resolver dies, or never answers. */
static void
test_client_lost(struct loop *loop, struct fake *f)
{
    struct asker k[3] = {{.called = 0}};

    ask(f, loop, &k[0], "lost.test");
    dns_client_lost(f->client);
    IS(k[0].called, 0, "deferred");
    loop_once(loop, false);
    IS(k[0].status, DNS_TEMPORARY, "resolver gone");
    OK(!dns_client_cached(f->client, STR("lost.test"), DNS_MX), "which is not kept");
    fake_answer(f, loop, DNS_OK, 100);
    OK(!dns_client_cached(f->client, STR("lost.test"), DNS_MX), "an answer to nobody is dropped");
    ask(f, loop, &k[1], "slow.test");
    clock_advance(16 * NS_PER_S);
    loop_once(loop, false);
    IS(k[1].called, 1, "a resolver that hangs");
    IS(k[1].status, DNS_TEMPORARY, "is a temporary failure");
    ask(f, loop, &k[2], "bad..name.test");
    IS(k[2].called, 1, "a name that cannot be");
    IS(k[2].status, DNS_NXDOMAIN, "does not exist, without a question");
}

static void
test_client(void)
{
    struct loop *loop;
    struct fake f = {0};
    struct chan *side;
    int fds[2];

    clock_own(100 * NS_PER_S, 100 * NS_PER_S);
    loop = loop_create();
    chan_pair(fds);
    f.c = chan_create(loop, fds[0], &fake_ops, &f);
    side = chan_create(loop, fds[1], &client_ops, &f);
    f.client = dns_client_create(loop, side, 16);
    test_client_known(loop, &f);
    test_client_cancel(loop, &f);
    test_client_lost(loop, &f);
    dns_client_free(f.client);
    chan_free(f.c);
    chan_free(side);
    loop_free(loop);
    clock_release();
}

/* Many large answers: the cache has a ceiling of bytes, too, whoever asks for them. */
static void
test_client_bytes(void)
{
    static char big[16000];
    struct loop *loop = loop_create();
    struct dns_record records[3];
    struct fake f = {0};
    struct chan *side;
    struct asker k = {.called = 0};
    unsigned kept = 0;
    char name[32];
    int fds[2];

    chan_pair(fds);
    f.c = chan_create(loop, fds[0], &fake_ops, &f);
    side = chan_create(loop, fds[1], &client_ops, &f);
    f.client = dns_client_create(loop, side, 20000);
    memset(big, 'x', sizeof(big));
    for (size_t i = 0; i < ARRAY_LEN(records); i++)
        records[i] = (struct dns_record){.type = DNS_TXT, .data = str_of(big, sizeof(big))};
    for (unsigned i = 0; i < 2000; i++) {
        struct dns_answer a = {.name = str_c(name),
                               .type = DNS_TXT,
                               .status = DNS_OK,
                               .ttl = 3600,
                               .records = records,
                               .n = ARRAY_LEN(records)};
        struct buf b = {.max = CHAN_BODY_MAX};

        str_fmt(name, sizeof(name), "n%u.test", i);
        a.name = str_c(name);
        dns_client_ask(f.client, a.name, DNS_TXT, &k.ask, on_answer, &k);
        loop_once(loop, false);
        dns_answer_encode(&b, &a);
        chan_send(f.c, DNS_MSG_ANSWER, f.id, &b, -1);
        buf_done(&b);
        loop_once(loop, true);
    }
    IS(k.called, 2000, "2000 answers of 48 KB are heard");
    for (unsigned i = 0; i < 2000; i++) {
        str_fmt(name, sizeof(name), "n%u.test", i);
        kept += dns_client_cached(f.client, str_c(name), DNS_TXT) != NULL;
    }
    OK(kept > 500 && kept < 1500, "as many as 64 MB hold are kept: %u", kept);
    OK(dns_client_cached(f.client, STR("n1999.test"), DNS_TXT), "the newest is");
    OK(!dns_client_cached(f.client, STR("n0.test"), DNS_TXT), "the oldest is not");
    dns_client_free(f.client);
    chan_free(f.c);
    chan_free(side);
    loop_free(loop);
}

static void
test_client_ceiling(void)
{
    struct loop *loop = loop_create();
    struct fake f = {0};
    struct chan *side;
    struct asker k[17] = {{.called = 0}};
    char name[32];
    int fds[2];

    chan_pair(fds);
    f.c = chan_create(loop, fds[0], &fake_ops, &f);
    side = chan_create(loop, fds[1], &client_ops, &f);
    f.client = dns_client_create(loop, side, 16);
    for (unsigned i = 0; i < 16; i++) {
        str_fmt(name, sizeof(name), "n%u.test", i);
        ask(&f, loop, &k[i], name);
    }
    IS(dns_client_ask(f.client, STR("more.test"), DNS_MX, &k[16].ask, on_answer, &k[16]), ERR_LIMIT,
       "all places hold open questions");
    fake_answer(&f, loop, DNS_OK, 300); /* n15 */
    OK(dns_client_cached(f.client, STR("n15.test"), DNS_MX), "one is answered");
    ask(&f, loop, &k[16], "more.test");
    OK(!dns_client_cached(f.client, STR("n15.test"), DNS_MX), "and makes room for the next");
    fake_answer(&f, loop, DNS_OK, 300);
    IS(k[16].called, 1, "which is answered");
    dns_client_lost(f.client);
    loop_once(loop, false);
    for (unsigned i = 100; i < 115; i++) {
        str_fmt(name, sizeof(name), "n%u.test", i);
        ask(&f, loop, &k[0], name);
        fake_answer(&f, loop, DNS_OK, 300);
        OK(dns_client_cached(f.client, STR("more.test"), DNS_MX), "what is used stays");
    }
    OK(dns_client_cached(f.client, STR("n114.test"), DNS_MX), "the newest stays");
    dns_client_ask(f.client, STR("open.test"), DNS_MX, &k[1].ask, on_answer, &k[1]);
    dns_client_free(f.client);
    OK(k[1].ask.prev == NULL, "askers are let go when the client ends");
    dns_client_free(NULL);
    chan_free(f.c);
    chan_free(side);
    loop_free(loop);
}

int
main(void)
{
    arena_init(&arena, 1 << 20);
    test_names();
    test_servers();
    test_encode();
    test_encode_types();
    test_packet();
    test_client();
    test_client_ceiling();
    test_client_bytes();
    return tap_done();
}
