/*
 * fuzz/fuzz_smtp_client.c - the client machine against servers that say anything.
 *
 * Two bytes choose settings; the rest is the server's, with 0xfe and a digit for what the caller
 * does in between. Held: each message is done exactly once, nothing comes after failed, success is
 * told only when the end of the body has gone out, and no line sent can hold a second one.
 */
#include "smtp/client.h"

#include "core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define BODY "Subject: x\r\n\r\n.\r\n..\r\nhi\r\n"

struct peer {
    struct smtp_client *c;
    struct smtp_client_rcpt rcpts[3];
    struct smtp_client_message m;
    bool failed, freed, flying, later, pulled, ended, tls_due;
    unsigned rcpt_told, left, rcpt_done;
    bool free_in_done;
};

static void
on_send(void *ctx, const char *p, size_t n)
{
    struct peer *peer = ctx;
    struct str s = str_of(p, n);

    ENSURE(n && !peer->freed);
    if (peer->pulled && (str_eq(s, STR(".\r\n")) || str_ends(s, STR("hi\r\n"))))
        peer->ended = true;
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
    struct peer *peer = ctx;

    if (peer->later)
        peer->tls_due = true;
    else
        smtp_client_tls_done(peer->c, true, NULL);
}
static int
pull(void *ctx, struct str *ret)
{
    struct peer *peer = ctx;

    *ret = peer->pulled ? STR_NONE : STR(BODY);
    peer->pulled = true;
    return 0;
}
static void
on_ready(void *ctx)
{
    struct peer *peer = ctx;

    ENSURE(!peer->failed && !peer->flying);
    if (!peer->left--) {
        smtp_client_quit(peer->c);
        return;
    }
    peer->flying = !smtp_client_send(peer->c, &peer->m, NULL);
    peer->rcpt_told = peer->rcpt_done = 0;
    peer->pulled = peer->ended = false;
}
static void
on_failed(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct peer *peer = ctx;

    ENSURE(!peer->failed && !peer->flying && stage <= SMTP_AT_QUIT);
    ENSURE(r->code || r->text.n);
    peer->failed = true;
}
static void
on_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    struct peer *peer = ctx;

    ENSURE(peer->flying && i < 3 && !(peer->rcpt_told & 1u << i));
    ENSURE(r->code / 100 != 3);
    peer->rcpt_told |= 1u << i;
}
static void
on_may_send(void *ctx)
{
    struct peer *peer = ctx;

    ENSURE(peer->flying);
    if (!peer->later)
        smtp_client_allow(peer->c, true);
}
static void
on_rcpt_done(void *ctx, unsigned i, const struct smtp_reply *r)
{
    struct peer *peer = ctx;

    ENSURE(peer->flying && i < 3 && !(peer->rcpt_done & 1u << i));
    ENSURE(r->code / 100 != 2 || peer->ended);
    peer->rcpt_done |= 1u << i;
}
static void
on_done(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct peer *peer = ctx;

    ENSURE(peer->flying && !peer->failed);
    ENSURE(r->code / 100 != 2 || (peer->ended && stage == SMTP_AT_DOT));
    peer->flying = false;
    if (peer->free_in_done) {
        smtp_client_free(peer->c);
        peer->freed = peer->failed = true;
    }
}
static void
on_trace(void *ctx, char dir, struct str line)
{
    (void)ctx;
    ENSURE(dir == 'S' || str_chr(line, '\n') < 0);
}
static const struct smtp_client_ops ops = {
    .send = on_send,
    .backlog = on_backlog,
    .starttls = on_starttls,
    .ready = on_ready,
    .failed = on_failed,
    .rcpt = on_rcpt,
    .may_send = on_may_send,
    .rcpt_done = on_rcpt_done,
    .done = on_done,
    .trace = on_trace,
};

static void
act(struct peer *peer, uint8_t what)
{
    switch (what % 6) {
    case 0:
        smtp_client_allow(peer->c, true);
        break;
    case 1:
        smtp_client_allow(peer->c, false);
        break;
    case 2:
        smtp_client_lost(peer->c, "reset", what & 8);
        break;
    case 3:
        smtp_client_quit(peer->c);
        break;
    case 4:
        smtp_client_tls_done(peer->c, !(what & 8), "no");
        break;
    default:
        smtp_client_drained(peer->c);
        break;
    }
    if (!peer->freed)
        (void)smtp_client_timeout(peer->c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct smtp_client_conf conf = {.ehlo = STR("me.example"), .max_reply = 4000};
    struct peer peer = {.left = 3};
    size_t at = 2, step;

    if (n < 3)
        return 0;
    conf.lmtp = data[0] & 1;
    conf.no_pipelining = data[0] & 2;
    conf.no_chunking = data[0] & 4;
    conf.tls = (data[0] >> 3) % 3;
    conf.auth_clear = data[0] & 32;
    if (data[0] & 64)
        conf.auth_user = conf.auth_password = STR("user");
    peer.later = data[0] & 128;
    peer.free_in_done = data[1] & 128;
    step = 1 + (data[1] & 31);
    for (unsigned i = 0; i < 3; i++)
        peer.rcpts[i].address = STR("a@x.example");
    peer.m = (struct smtp_client_message){.sender = STR("s@x.example"),
                                          .rcpts = peer.rcpts,
                                          .nrcpt = 1 + (data[1] >> 5) % 3,
                                          .size = sizeof(BODY) - 1,
                                          .pull = pull,
                                          .pull_ctx = &peer};
    peer.c = smtp_client_create(&conf, &ops, &peer);
    while (at < n && !peer.freed) {
        const uint8_t *mark = memchr(data + at, 0xfe, n - at);
        size_t run = MIN(step, mark ? (size_t)(mark - data) - at : n - at);

        if (!run) {
            act(&peer, at + 1 < n ? data[at + 1] : 0);
            at += 2;
            continue;
        }
        smtp_client_feed(peer.c, (const char *)data + at, run);
        at += run;
    }
    if (!peer.freed)
        smtp_client_lost(peer.c, NULL, false);
    ENSURE(!peer.flying && peer.failed);
    if (!peer.freed)
        smtp_client_free(peer.c);
    return 0;
}
