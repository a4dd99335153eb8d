/*
 * tests/unit/test_smtp_client_parts.c - of the client machine what dialogues cannot say: ceilings,
 * timeouts, offers, SCRAM, addresses, replies, doubled dots.
 */
#include "core/codec.h"
#include "net/sasl.h"
#include "smtp/client_body.h"
#include "smtp_client_rig.h"

static void
test_ceilings(void)
{
    struct dialogue d = {"ceilings", 0, 0, 1, BODY, "", ""};
    struct peer p;
    size_t fed = 0;

    peer_init(&p, &d);
    while (!p.events.n && fed < 100000) {
        feed_c(&p, "220-and on\r\n");
        fed += 12;
    }
    TEXT(buf_view(&p.events), "failed greeting 0", "an endless reply ends the session");
    OK(fed <= 8192 + 12, "at the ceiling of 8192 bytes, not later (%zu)", fed);
    peer_done(&p);

    peer_init(&p, &d);
    fed = 0;
    feed_c(&p, "220 ");
    while (!p.events.n && fed++ < 100000)
        feed_c(&p, "x");
    TEXT(buf_view(&p.events), "failed greeting 0", "an endless line too");
    peer_done(&p);

    peer_init(&p, &d);
    feed_c(&p, "220 ");
    for (unsigned i = 0; i < 3000; i++)
        feed_c(&p, "x");
    feed_c(&p, "\r\n");
    OK(p.sent.n > 0, "an over-long line under the ceiling is only cut");
    peer_done(&p);
}

static void
test_timeouts(void)
{
    struct dialogue d = {"timeouts", ALLOW_LATER, 1, 1, BODY, "", ""};
    struct peer p;
    static const struct {
        const char *feed;
        unsigned seconds;
    } steps[] = {{"", 300},           {"220 x\r\n", 300},  {"250-x\r\n250 PIPELINING\r\n", 300},
                 {"250 ok\r\n", 300}, {"250 ok\r\n", 120}, {"354 go\r\n", 0}};

    peer_init(&p, &d);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        smtp_client_feed(p.c, steps[i].feed, strlen(steps[i].feed));
        IS(smtp_client_timeout(p.c) / 1000000000, steps[i].seconds, "step %zu waits", i);
    }
    smtp_client_allow(p.c, true);
    IS(smtp_client_timeout(p.c) / 1000000000, 600, "10 minutes for the dot");
    feed_c(&p, "250 ok\r\n");
    IS(smtp_client_timeout(p.c), 0, "idle waits for nothing");
    peer_done(&p);
}

static void
test_offers(void)
{
    struct dialogue d = {"offers", 0, 0, 1, BODY, "", ""};
    static const char ehlo[] = "220 mx.example hello\r\n"
                               "250-mx.example greets\r\n250-size 52428800\r\n250-8bitmime\r\n"
                               "250-LIMITS RCPTMAX=50 MAILMAX=7 OTHER=x RCPTMAX\r\n"
                               "250-XFOO PIPELINING\r\n250-AUTH PLAIN\r\n250-AUTH=PLAIN\r\n"
                               "250-ENHANCEDSTATUSCODES\r\n250-REQUIRETLS\r\n250 DSN\r\n";
    struct peer p;

    peer_init(&p, &d);
    smtp_client_feed(p.c, ehlo, 22);
    smtp_client_feed(p.c, ehlo + 22, sizeof(ehlo) - 1 - 22);
    IS(smtp_client_offers(p.c),
       SMTP_OFFER_SIZE | SMTP_OFFER_8BITMIME | SMTP_OFFER_LIMITS | SMTP_OFFER_AUTH |
           SMTP_OFFER_ENHANCED | SMTP_OFFER_REQUIRETLS | SMTP_OFFER_DSN,
       "keywords in any case, arguments are no keywords");
    IS(smtp_client_max_size(p.c), 52428800, "SIZE");
    IS(smtp_client_max_rcpts(p.c), 50, "RCPTMAX");
    IS(smtp_client_max_mails(p.c), 7, "MAILMAX");
    TEXT(smtp_client_banner(p.c), "mx.example", "name in the greeting");
    peer_done(&p);
}

/* SCRAM's messages are random: the server's half of net/sasl answers. */
static int
lookup(void *ctx, struct str user, struct sasl_verifier *ret)
{
    (void)ctx;
    return str_eq(user, STR("user")) ? sasl_verifier_make(STR("secret"), 0, ret) : ERR_NOTFOUND;
}

static void
scram_reply(struct peer *p, enum sasl_result *result, struct sasl_server *server)
{
    struct str line = str_sub(buf_view(&p->sent), 0, p->sent.n - 2);
    char raw[1000];
    struct buf out, reply;
    ssize_t n;

    if (str_istarts(line, STR("AUTH ")))
        line = str_from(line, 19);
    n = codec_unbase64(line, raw, sizeof(raw));
    buf_init(&out, 1000);
    buf_init(&reply, 2000);
    buf_clear(&p->sent);
    if (*result == SASL_CHALLENGE)
        *result = sasl_server_step(server, str_of(raw, n > 0 ? (size_t)n : 0), &out);
    else
        *result = SASL_FAIL;
    buf_c(&reply, "334 ");
    codec_base64(&reply, buf_view(&out));
    buf_c(&reply, "\r\n");
    smtp_client_feed(p->c, reply.p, reply.n);
    buf_done(&out);
    buf_done(&reply);
}

static void
test_scram(void)
{
    static const uint8_t secret[32] = {1};
    struct dialogue d = {"scram", LOGIN_CLEAR, 0, 1, BODY, "", ""};
    enum sasl_result result = SASL_CHALLENGE;
    struct sasl_server *server = sasl_server_create(STR("SCRAM-SHA-256"), lookup, NULL, secret);
    struct peer p;

    peer_init(&p, &d);
    feed_c(&p, "220 x\r\n");
    buf_clear(&p.sent);
    feed_c(&p, "250-x\r\n250 AUTH PLAIN SCRAM-SHA-256\r\n");
    OK(str_starts(buf_view(&p.sent), STR("AUTH SCRAM-SHA-256 ")), "the best method is taken");
    scram_reply(&p, &result, server);
    scram_reply(&p, &result, server);
    IS(result, SASL_OK, "the server is content");
    TEXT(buf_view(&p.sent), "\r\n", "its proof is answered with an empty line");
    feed_c(&p, "235 ok\r\n");
    TEXT(buf_view(&p.events), "ready", "SCRAM ends ready");
    peer_done(&p);
    sasl_server_free(server);

    peer_init(&p, &d);
    feed_c(&p, "220 x\r\n");
    feed_c(&p, "250-x\r\n250 AUTH SCRAM-SHA-256\r\n");
    feed_c(&p, "235 come in\r\n");
    TEXT(buf_view(&p.events), "failed auth 0", "success without proof is none");
    peer_done(&p);
}

static void
test_addresses(void)
{
    static const struct {
        const char *address;
        int want;
    } rows[] = {
        {"a@x.example", 0},
        {"\"a b\"@x.example", 0},
        {"\"a>b\\\"c\"@x.example", 0},
        {"a@x.example>\r\nDATA", ERR_SYNTAX},
        {"a@x.example\n", ERR_SYNTAX},
        {"a@x.example> SIZE=1", ERR_SYNTAX},
        {"a b@x.example", ERR_SYNTAX},
        {"\"a@x.example", ERR_SYNTAX},
        {"\"a\\", ERR_SYNTAX},
        {"", ERR_SYNTAX},
    };
    struct dialogue d = {"addresses", 0, 0, 1, BODY, "", ""};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer p;
        const char *why;

        peer_init(&p, &d);
        IS(smtp_client_send(p.c, &p.msg, &why), ERR_STATE, "not before ready");
        feed_c(&p, "220 x\r\n");
        feed_c(&p, "250 x\r\n");
        p.rcpts[0].address = str_c(rows[i].address);
        IS(smtp_client_send(p.c, &p.msg, &why), rows[i].want, "recipient row %zu", i);
        peer_done(&p);
        peer_init(&p, &d);
        feed_c(&p, "220 x\r\n");
        feed_c(&p, "250 x\r\n");
        p.msg.sender = str_c(rows[i].address);
        IS(smtp_client_send(p.c, &p.msg, NULL), rows[i].address[0] ? rows[i].want : 0,
           "sender row %zu", i);
        peer_done(&p);
    }
}

static void
test_replies(void)
{
    static const struct {
        const char *bytes, *text, *show;
        int code;
        uint16_t enhanced[3];
    } rows[] = {
        {"250 ok\r\n", "ok", "250 ok", 250, {0, 0, 0}},
        {"250 ok\n", "ok", "250 ok", 250, {0, 0, 0}},
        {"250\r\n", "", "250 ", 250, {0, 0, 0}},
        {"550 5.1.1 no such user\r\n", "no such user", "550 5.1.1 no such user", 550, {5, 1, 1}},
        {"550-5.1.1 no\r\n550 5.1.1 user\r\n", "no\nuser", "550 5.1.1 no user", 550, {5, 1, 1}},
        {"550-5.1.1 no\r\n550 user\r\n", "no\nuser", "550 5.1.1 no user", 550, {5, 1, 1}},
        {"550-no\r\n550 5.1.1 user\r\n", "no\n5.1.1 user", "550 no 5.1.1 user", 550, {0, 0, 0}},
        {"550 4.2.2 full\r\n", "4.2.2 full", "550 4.2.2 full", 550, {0, 0, 0}},
        {"550 5.1.1\r\n", "", "550 5.1.1 ", 550, {5, 1, 1}},
        {"550 5.1.1.1 x\r\n", "5.1.1.1 x", "550 5.1.1.1 x", 550, {0, 0, 0}},
        {"550 5.1234.1 x\r\n", "5.1234.1 x", "550 5.1234.1 x", 550, {0, 0, 0}},
        {"250-a\r\n251 b\r\n", "a\nb", "251 a b", 251, {0, 0, 0}},
        {"250 a\tb\x01"
         "c\xff\r\n",
         "a b?c?",
         "250 a b?c?",
         250,
         {0, 0, 0}},
        {"250 \xc3\xbc\r\n", "\xc3\xbc", "250 \xc3\xbc", 250, {0, 0, 0}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_reply_parser parser;
        struct smtp_reply r;
        char line[100];
        size_t n = strlen(rows[i].bytes), used = 0, all = 0;
        int got = 0;

        smtp_reply_parser_init(&parser, 0);
        for (size_t at = 0; at < n && !got; at++, all += used)
            got = smtp_reply_parse(&parser, rows[i].bytes + at, 1, &used, &r);
        IS(got, 1, "reply %zu is whole", i);
        if (got != 1)
            continue;
        IS(all, n, "  all of it was taken");
        IS(r.code, rows[i].code, "  code");
        OK(!memcmp(r.enhanced, rows[i].enhanced, sizeof(r.enhanced)), "  enhanced code");
        TEXT(r.text, rows[i].text, "  text");
        TEXT(str_c(smtp_reply_show(&r, line, sizeof(line))), rows[i].show, "  shown");
    }
}

static void
test_dots(void)
{
    char text[300];

    for (size_t len = 0; len < 200; len++) {
        bool good = true;

        for (size_t at = 0; at + 1 < len && good; at++) {
            memset(text, 'x', sizeof(text));
            memcpy(text + at, "\n.", 2);
            good = client_body_dot(text, text + len, false) == text + at + 1;
        }
        memset(text, '.', sizeof(text));
        good = good && client_body_dot(text, text + len, false) == NULL;
        good = good && client_body_dot(text, text + len, true) == (len ? text : NULL);
        memset(text, '\n', sizeof(text));
        good = good && client_body_dot(text, text + len, true) == NULL;
        if (!good || len == 199)
            OK(good, "a dot is found at every place of %zu bytes", len);
    }
}

/* A body in random pieces, random contents, comes back whole from an unstuffing receiver. */
struct pieces {
    const char *p;
    size_t n, at, step;
};
static int
pull_pieces(void *ctx, struct str *ret)
{
    struct pieces *s = ctx;
    size_t n = MIN(s->step, s->n - s->at);

    *ret = str_of(s->p + s->at, n);
    s->at += n;
    return 0;
}

static bool
stuffing_holds(const char *body, size_t n, size_t step)
{
    struct dialogue d = {"stuffing", 0, 0, 1, NULL, "", ""};
    struct pieces pieces = {body, n, 0, step};
    struct buf got;
    struct str wire;
    struct peer p;
    bool good;

    peer_init(&p, &d);
    p.msg.pull = pull_pieces;
    p.msg.pull_ctx = &pieces;
    p.left = 1;
    feed_c(&p, "220 x\r\n");
    feed_c(&p, "250-x\r\n250 PIPELINING\r\n");
    buf_clear(&p.sent);
    feed_c(&p, "250 ok\r\n250 ok\r\n354 go\r\n");
    buf_init(&got, 1 << 20);
    wire = buf_view(&p.sent);
    for (;;) {
        ssize_t at = str_find(wire, STR("\r\n"));

        if (at < 0 || (at == 1 && wire.p[0] == '.'))
            break;
        if (wire.p[0] == '.')
            buf_add(&got, wire.p + 1, (size_t)at + 1);
        else
            buf_add(&got, wire.p, (size_t)at + 2);
        wire = str_from(wire, (size_t)at + 2);
    }
    good = str_eq(wire, STR(".\r\n"));
    if (n && (n < 2 || memcmp(body + n - 2, "\r\n", 2)))
        good = good && got.n == n + 2 && !memcmp(got.p, body, n);
    else
        good = good && got.n == n && (!n || !memcmp(got.p, body, n));
    buf_done(&got);
    peer_done(&p);
    return good;
}

static void
test_stuffing(void)
{
    static const char *const words[] = {"\r\n", ".", "x", "..", "\r\n.\r\n", "hello", "\r\n\r\n"};
    char body[4000];
    uint32_t seed = 7;
    bool good = true;

    for (unsigned round = 0; round < 300 && good; round++) {
        size_t n = 0, most = round * 10;

        while (n + 8 < most) {
            const char *w;

            seed = seed * 1664525 + 1013904223;
            w = words[(seed >> 16) % ARRAY_LEN(words)];
            memcpy(body + n, w, strlen(w));
            n += strlen(w);
        }
        for (size_t step = 1; step < 80 && good; step = step * 2 + 1)
            good = stuffing_holds(body, n, step);
        good = good && stuffing_holds(body, n, sizeof(body));
    }
    OK(good, "bodies come back whole, in every size of piece");
}

int
main(void)
{
    test_replies();
    test_dots();
    test_ceilings();
    test_timeouts();
    test_offers();
    test_scram();
    test_addresses();
    test_stuffing();
    return tap_done();
}
