/*
 * tests/unit/smtp_client_rig.h - a scripted server for the client machine.
 *
 * A dialogue is text: lines "S: ..." are fed, lines "C: ..." must have been sent by then. "!allow",
 * "!deny", "!tls", "!notls", "!lost", "!quit", "!timeout" act for the caller; any other only parts
 * the server's writes. Every dialogue runs with the server's bytes whole, one by one, and cut once
 * at each place: events and bytes sent must be the same.
 */
#ifndef GAPURA_SMTP_CLIENT_RIG_H
#define GAPURA_SMTP_CLIENT_RIG_H

#include "smtp/client.h"

#include "core/buf.h"
#include "tap.h"

#define ALLOW_LATER      1u
#define LMTP             2u
#define NO_PIPELINING    4u
#define NO_CHUNKING      8u
#define TLS_MAY          16u
#define TLS_MUST         32u
#define LOGIN            64u
#define LOGIN_CLEAR      128u
#define EIGHT_BIT        256u
#define UTF8             512u
#define DSN_WANTED       1024u
#define PULL_FAILS       2048u
#define TLS_LATER        4096u
#define TLS_WRAPPED      8192u
#define LOGIN_UNVERIFIED 16384u
#define WRONG_SIZE       16384u
#define FREE_IN_DONE     32768u
#define REQUIRETLS       131072u
#define ONE_WRITE        65536u /* not cut: the dialogue is about bytes that come together */

struct dialogue {
    const char *name;
    unsigned flags;
    unsigned messages, rcpts;
    const char *body;
    const char *script;
    const char *events; /* joined by "; " */
};

struct peer {
    const struct dialogue *d;
    struct smtp_client *c;
    struct buf sent, events;
    size_t checked;
    unsigned left;
    struct smtp_client_rcpt rcpts[10];
    struct smtp_client_message msg;
    bool pulled, freed;
    unsigned pull_errors;
};

static void
event(struct peer *p, const char *fmt, ...)
{
    char text[300];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (p->events.n)
        buf_c(&p->events, "; ");
    buf_c(&p->events, text);
}

static void
on_send(void *ctx, const char *bytes, size_t n)
{
    buf_add(&((struct peer *)ctx)->sent, bytes, n);
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
    struct peer *p = ctx;

    event(p, "starttls");
    if (!(p->d->flags & TLS_LATER))
        smtp_client_tls_done(p->c, true, NULL);
}

static int
pull(void *ctx, struct str *ret)
{
    struct peer *p = ctx;

    if (p->d->flags & PULL_FAILS)
        return ERR_CORRUPT;
    *ret = p->pulled ? STR_NONE : str_c(p->d->body);
    p->pulled = true;
    return 0;
}

static void
on_ready(void *ctx)
{
    struct peer *p = ctx;
    const char *why = NULL;
    int err;

    event(p, "ready");
    if (!p->left)
        return;
    p->left--;
    p->pulled = false;
    err = smtp_client_send(p->c, &p->msg, &why);
    if (err)
        event(p, "refused %s", why);
}

static void
on_failed(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    event(ctx, "failed %s %d", smtp_client_stage_name(stage), r->code);
}

static void
on_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    event(ctx, "rcpt %u %d", i, r->code);
}

static void
on_may_send(void *ctx)
{
    struct peer *p = ctx;

    event(p, "may");
    if (!(p->d->flags & ALLOW_LATER))
        smtp_client_allow(p->c, true);
}

static void
on_rcpt_done(void *ctx, unsigned i, const struct smtp_reply *r)
{
    event(ctx, "rcpt_done %u %d", i, r->code);
}

static void
on_done(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct peer *p = ctx;

    event(p, "done %s %d", smtp_client_stage_name(stage), r->code);
    if (p->d->flags & FREE_IN_DONE) {
        smtp_client_free(p->c);
        p->freed = true;
    }
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
};

static void
peer_init(struct peer *p, const struct dialogue *d)
{
    static const char *const addresses[] = {"a@x.example", "b@x.example", "c@x.example"};
    struct smtp_client_conf conf = {
        .ehlo = STR("me.example"),
        .lmtp = d->flags & LMTP,
        .no_pipelining = d->flags & NO_PIPELINING,
        .no_chunking = d->flags & NO_CHUNKING,
        .tls_wrapped = d->flags & TLS_WRAPPED,
        .auth_clear = d->flags & LOGIN_CLEAR,
        .auth_show = !(d->flags & LOGIN_UNVERIFIED),
    };

    memset(p, 0, sizeof(*p));
    p->d = d;
    if (d->flags & TLS_MAY)
        conf.tls = SMTP_TLS_MAY;
    if (d->flags & TLS_MUST)
        conf.tls = SMTP_TLS_MUST;
    if (d->flags & (LOGIN | LOGIN_CLEAR)) {
        conf.auth_user = STR("user");
        conf.auth_password = STR("secret");
    }
    buf_init(&p->sent, 1 << 20);
    buf_init(&p->events, 4096);
    p->left = d->messages;
    for (unsigned i = 0; i < d->rcpts && i < ARRAY_LEN(p->rcpts); i++)
        p->rcpts[i].address = str_c(addresses[i % 3]);
    if (d->flags & DSN_WANTED) {
        p->rcpts[0].notify = 2 | 4;
        p->rcpts[0].orcpt = STR("rfc822;a+2Bb@x.example");
        p->msg.ret = 2;
        p->msg.envid = STR("QQ314");
    }
    p->msg.requiretls = (d->flags & REQUIRETLS) != 0;
    p->msg.sender = d->flags & UTF8 ? STR("s\xc3\xb6@x.example") : STR("s@x.example");
    p->msg.rcpts = p->rcpts;
    p->msg.nrcpt = d->rcpts;
    p->msg.size = d->body ? strlen(d->body) + (d->flags & WRONG_SIZE ? 1 : 0) : 0;
    p->msg.body_8bit = d->flags & EIGHT_BIT;
    p->msg.pull = pull;
    p->msg.pull_ctx = p;
    p->c = smtp_client_create(&conf, &ops, p);
}

static void
peer_done(struct peer *p)
{
    if (!p->freed)
        smtp_client_free(p->c);
    buf_done(&p->sent);
    buf_done(&p->events);
}

/* cut: 0 whole; 1 byte by byte; k > 1: cut once after k - 1 bytes of each S block. */
static void
feed(struct peer *p, struct str s, size_t cut)
{
    if (p->freed)
        return;
    if (cut == 1) {
        for (size_t i = 0; i < s.n && !p->freed; i++) {
            char *alone = malloc(1); /* so that ASan sees a read too far */

            alone[0] = s.p[i];
            smtp_client_feed(p->c, alone, 1);
            free(alone);
        }
        return;
    }
    if (cut > 1 && cut - 1 < s.n) {
        smtp_client_feed(p->c, s.p, cut - 1);
        if (!p->freed)
            smtp_client_feed(p->c, s.p + cut - 1, s.n - (cut - 1));
        return;
    }
    smtp_client_feed(p->c, s.p, s.n);
}

UNUSED static void
feed_c(struct peer *p, const char *text)
{
    smtp_client_feed(p->c, text, strlen(text));
}

static void
act(struct peer *p, struct str what)
{
    if (str_eq(what, STR("allow")))
        smtp_client_allow(p->c, true);
    else if (str_eq(what, STR("deny")))
        smtp_client_allow(p->c, false);
    else if (str_eq(what, STR("tls")))
        smtp_client_tls_done(p->c, true, NULL);
    else if (str_eq(what, STR("notls")))
        smtp_client_tls_done(p->c, false, "bad certificate");
    else if (str_eq(what, STR("lost")))
        smtp_client_lost(p->c, "reset", false);
    else if (str_eq(what, STR("timeout")))
        smtp_client_lost(p->c, NULL, true);
    else if (str_eq(what, STR("quit")))
        smtp_client_quit(p->c);
}

/* Script escapes: NUL is written as %0, a bare LF as %n, end of an S line without CRLF as %. at the
 * end. */
static void
unescape(struct buf *out, struct str line)
{
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '%' && i + 1 < line.n && line.p[i + 1] == '0') {
            buf_char(out, 0);
            i++;
        } else if (line.p[i] == '%' && i + 1 < line.n && line.p[i + 1] == 'n') {
            buf_char(out, '\n');
            i++;
        } else if (line.p[i] == '%' && i + 2 == line.n && line.p[i + 1] == '.') {
            return;
        } else {
            buf_char(out, line.p[i]);
        }
    }
    buf_c(out, "\r\n");
}

/* False with a text in `why` if a C line was not what was sent. */
static bool
play(struct peer *p, size_t cut, struct buf *why)
{
    struct str rest = str_c(p->d->script);
    struct buf block, want;
    bool good = true;

    buf_init(&block, 1 << 20);
    buf_init(&want, 1 << 20);
    while (rest.n && good) {
        struct str line = str_cut(rest, '\n', &rest);

        if (str_starts(line, STR("S: ")))
            unescape(&block, str_from(line, 3));
        if (str_starts(line, STR("S: ")) && str_starts(rest, STR("S: ")))
            continue; /* gathers: one write of the server */
        if (block.n) {
            feed(p, buf_view(&block), cut);
            buf_clear(&block);
        }
        if (str_starts(line, STR("!"))) {
            act(p, str_from(line, 1));
        } else if (str_starts(line, STR("C: "))) {
            buf_clear(&want);
            unescape(&want, str_from(line, 3));
            good =
                p->sent.n >= p->checked + want.n && !memcmp(p->sent.p + p->checked, want.p, want.n);
            if (!good)
                buf_fmt(why, "wanted %.*s, sent %.*s", STR_ARG(buf_view(&want)),
                        (int)(p->sent.n - p->checked), p->sent.p + p->checked);
            p->checked += want.n;
        }
    }
    buf_done(&block);
    buf_done(&want);
    if (good && p->checked != p->sent.n) {
        buf_fmt(why, "also sent %.*s", (int)(p->sent.n - p->checked), p->sent.p + p->checked);
        good = false;
    }
    if (good && !str_eq(buf_view(&p->events), str_c(p->d->events))) {
        buf_fmt(why, "events: %.*s", STR_ARG(buf_view(&p->events)));
        good = false;
    }
    return good;
}

UNUSED static void
run(const struct dialogue *d)
{
    size_t longest = 2 + strlen(d->script);
    struct buf why;

    buf_init(&why, 8192);
    for (size_t cut = 0; cut < (d->flags & ONE_WRITE ? 1 : MIN(longest, 400U)); cut++) {
        struct peer p;
        bool good;

        peer_init(&p, d);
        good = play(&p, cut, &why);
        peer_done(&p);
        if (!good) {
            OK(false, "%s (cut %zu): %.*s", d->name, cut, STR_ARG(buf_view(&why)));
            buf_done(&why);
            return;
        }
    }
    buf_done(&why);
    OK(true, "%s", d->name);
}

#define BODY "Subject: x\r\n\r\nhi\r\n"

#endif
