/*
 * tests/support/lib/cases_relay.c - the real client speaks to a second real server in memory.
 */
#include "cases.h"
#include "smtp/client.h"
#include "smtp_twin.h"

struct relay {
    struct twin server;
    struct smtp_client *client;
    struct buf wire; /* all that the client sent */
    size_t given;    /* of it to the server */
    struct str body;
    bool pulled, ready, over;
};

static void
on_send(void *ctx, const char *p, size_t n)
{
    buf_add(&((struct relay *)ctx)->wire, p, n);
}

static size_t
on_backlog(void *ctx)
{
    (void)ctx;
    return 0;
}

static void
on_starttls(void *ctx)
{
    (void)ctx;
}

static void
on_ready(void *ctx)
{
    ((struct relay *)ctx)->ready = true;
}

static void
on_failed(void *ctx, enum smtp_client_stage at, const struct smtp_reply *r)
{
    (void)at;
    (void)r;
    ((struct relay *)ctx)->over = true;
}

static void
on_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    (void)ctx;
    (void)i;
    (void)r;
}

static void
on_may_send(void *ctx)
{
    smtp_client_allow(((struct relay *)ctx)->client, true);
}

static void
on_done(void *ctx, enum smtp_client_stage at, const struct smtp_reply *r)
{
    (void)at;
    (void)r;
    ((struct relay *)ctx)->over = true;
}

static const struct smtp_client_ops ops = {
    .send = on_send,
    .backlog = on_backlog,
    .starttls = on_starttls,
    .ready = on_ready,
    .failed = on_failed,
    .rcpt = on_rcpt,
    .may_send = on_may_send,
    .rcpt_done = on_rcpt,
    .done = on_done,
};

static int
pull(void *ctx, struct str *ret)
{
    struct relay *r = ctx;

    *ret = r->pulled ? STR_NONE : r->body;
    r->pulled = true;
    return 0;
}

/* One exchange in each direction; false when nothing moves any more. */
static bool
pump(struct relay *r)
{
    struct buf out = r->server.out;
    bool moved = out.n > 0 || r->given < r->wire.n;
    size_t to = r->wire.n;

    buf_init(&r->server.out, out.max);
    smtp_client_feed(r->client, out.p, out.n);
    buf_done(&out);
    twin_feed(&r->server, str_sub(buf_view(&r->wire), r->given, to - r->given), 0);
    r->given = to;
    return moved;
}

static const char *
judge(const struct relay *r, bool chunking)
{
    struct str wire = buf_view(&r->wire), rest;
    unsigned ends = 0;
    ssize_t at;

    if (!r->over)
        return "the dialogue did not come to its end";
    if (r->server.nmessages != 1)
        return "not exactly one message arrived";
    if (!str_eq(buf_view(&r->server.messages[0]), r->body))
        return "the content was changed on its way";
    if (chunking)
        return NULL;
    rest = str_from(wire, (size_t)MAX(str_find(wire, STR("DATA\r\n")), 0) + 4);
    for (; (at = str_find(rest, STR("\r\n.\r\n"))) >= 0; rest = str_from(rest, (size_t)at + 3))
        ends++;
    return ends == 1 ? NULL : "CRLF.CRLF stands inside the content on the wire";
}

const char *
cases_relay(struct str content, bool chunking)
{
    static const struct smtp_client_rcpt to = {.address = STR("c@d.example")};
    struct smtp_server_conf conf = twin_conf();
    struct smtp_client_conf client = {
        .ehlo = STR("relay.example"), .no_chunking = !chunking, .tls = SMTP_TLS_NEVER};
    struct relay r = {.body = content};
    struct smtp_client_message m = {
        .sender = STR("a@b.example"),
        .rcpts = &to,
        .nrcpt = 1,
        .size = content.n,
        .body_8bit = true,
        .pull = pull,
        .pull_ctx = &r,
    };
    const char *why = NULL, *wrong;

    conf.max_size = 64u << 20;
    buf_init(&r.wire, 256u << 20);
    twin_open(&r.server, &conf, false);
    r.client = smtp_client_create(&client, &ops, &r);
    while (!r.over && pump(&r))
        if (r.ready && !r.over) {
            r.ready = false;
            if (smtp_client_send(r.client, &m, &why) < 0)
                break;
        }
    wrong = judge(&r, chunking);
    smtp_client_free(r.client);
    twin_close(&r.server);
    buf_done(&r.wire);
    return wrong;
}
