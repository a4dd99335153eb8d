/*
 * tests/unit/test_smtp_client.c - the client machine against scripted servers.
 *
 * A dialogue is text: lines "S: ..." are fed, lines "C: ..." must have been sent by then. "!allow",
 * "!deny", "!tls", "!notls", "!lost", "!quit", "!timeout" act for the caller. Every dialogue runs
 * with the server's bytes whole, one by one, and cut once at each place: events and bytes sent must
 * be the same.
 */
#include "smtp/client.h"

#include "core/buf.h"
#include "core/codec.h"
#include "net/sasl.h"
#include "smtp/client_body.h"
#include "tap.h"

#define ALLOW_LATER   1u
#define LMTP          2u
#define NO_PIPELINING 4u
#define NO_CHUNKING   8u
#define TLS_MAY       16u
#define TLS_MUST      32u
#define LOGIN         64u
#define LOGIN_CLEAR   128u
#define EIGHT_BIT     256u
#define UTF8          512u
#define DSN_WANTED    1024u
#define PULL_FAILS    2048u
#define TLS_LATER     4096u
#define TLS_WRAPPED   8192u
#define WRONG_SIZE    16384u
#define FREE_IN_DONE  32768u
#define ONE_WRITE     65536u /* not cut: the dialogue is about bytes that come together */

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

static void
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

static void
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

#define HELLO      "S: 220 mx.example ESMTP\nC: EHLO me.example\n"
#define PLAIN_EHLO HELLO "S: 250 mx.example\n"
#define PIPE_EHLO  HELLO "S: 250-mx.example\nS: 250 PIPELINING\n"
#define CHUNK_EHLO HELLO "S: 250-mx.example\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
#define MAIL       "C: MAIL FROM:<s@x.example>\n"
#define RCPT_A     "C: RCPT TO:<a@x.example>\n"
#define RCPT_B     "C: RCPT TO:<b@x.example>\n"
#define BODY       "Subject: x\r\n\r\nhi\r\n"
#define BODY_SENT  "C: Subject: x\nC: \nC: hi\nC: .\n"

static const struct dialogue dialogues[] = {
    /* the way to ready */
    {"greeting of many lines", 0, 0, 1, BODY,
     "S: 220-mx.example ESMTP\nS: 220-no spam\nS: 220 go on\nC: EHLO me.example\nS: 250 ok\n",
     "ready"},
    {"greeting says no", 0, 1, 1, BODY, "S: 554 5.7.1 not you\nC: QUIT\n", "failed greeting 554"},
    {"greeting says later", 0, 1, 1, BODY, "S: 451 try later\nC: QUIT\n", "failed greeting 451"},
    {"greeting 421", 0, 1, 1, BODY, "S: 421 too busy\n", "failed greeting 421"},
    {"greeting of the wrong kind", 0, 1, 1, BODY, "S: 250 hello\n", "failed greeting 0"},
    {"greeting is not SMTP", 0, 1, 1, BODY, "S: SSH-2.0-OpenSSH\n", "failed greeting 0"},
    {"HELO when EHLO is unknown", 0, 1, 1, BODY,
     HELLO "S: 502 what\nC: HELO me.example\nS: 250 ok\n" MAIL "S: 250 ok\n" RCPT_A
           "S: 250 ok\nC: DATA\nS: 354 go\n" BODY_SENT "S: 250 queued\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"EHLO later", 0, 1, 1, BODY, HELLO "S: 450 later\nC: QUIT\n", "failed ehlo 450"},
    {"HELO refused too", 0, 1, 1, BODY, HELLO "S: 550 no\nC: HELO me.example\nS: 550 no\nC: QUIT\n",
     "failed ehlo 550"},
    {"LHLO has no fallback", LMTP, 1, 1, BODY, "S: 220 x\nC: LHLO me.example\nS: 500 no\nC: QUIT\n",
     "failed ehlo 500"},
    {"replies before their commands", ONE_WRITE, 1, 1, BODY, "S: 220 x\nS: 250 ok\n",
     "failed ehlo 0"},
    /* one message */
    {"lock step", NO_PIPELINING, 1, 2, BODY,
     PIPE_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 250 ok\n" RCPT_B
                    "S: 251 ok\nC: DATA\nS: 354 go\n" BODY_SENT "S: 250 2.0.0 queued\n",
     "ready; rcpt 0 250; rcpt 1 251; may; done dot 250; ready"},
    {"pipelined", 0, 1, 2, BODY,
     PIPE_EHLO MAIL RCPT_A RCPT_B "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                                  "S: 250 queued\n",
     "ready; rcpt 0 250; rcpt 1 250; may; done dot 250; ready"},
    {"two messages on one session", 0, 2, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 250 queued\n" MAIL RCPT_A
                           "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 554 spam\n!quit\nC: QUIT\nS: 221 bye\n",
     "ready; rcpt 0 250; may; done dot 250; ready; rcpt 0 250; may; done dot 554; ready; "
     "failed quit 221"},
    {"BDAT", 0, 1, 2, BODY,
     CHUNK_EHLO MAIL RCPT_A RCPT_B
     "S: 250 ok\nS: 550 no\nS: 250 ok\nC: BDAT 18 LAST\nC: Subject: x\nC: \nC: hi\nS: 250 queued\n",
     "ready; rcpt 0 550; rcpt 1 250; may; done dot 250; ready"},
    {"BDAT switched off", NO_CHUNKING, 1, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                            "S: 250 queued\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"BDAT without pipelining", NO_PIPELINING, 1, 1, BODY,
     CHUNK_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 250 ok\nC: BDAT 18 LAST\nC: Subject: x\nC: \nC: hi\n"
                     "S: 250 queued\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"BDAT refused is reset before the next", 0, 2, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "S: 250 ok\nS: 250 ok\nC: BDAT 18 LAST\nC: Subject: x\nC: \nC: hi\n"
                            "S: 552 5.3.4 too big\nC: RSET\n" MAIL RCPT_A
                            "S: 250 ok\nS: 250 ok\nS: 550 no\n",
     "ready; rcpt 0 250; may; done dot 552; ready; rcpt 0 550; done rcpt 550; ready"},
    {"BDAT of the wrong size", WRONG_SIZE, 1, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "S: 250 ok\nS: 250 ok\nC: BDAT 19 LAST\nC: Subject: x\nC: \nC: hi\n",
     "ready; rcpt 0 250; may; done body 0; failed body 0"},
    {"body cannot be read", PULL_FAILS, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n",
     "ready; rcpt 0 250; may; done body 0; failed body 0"},
    /* refusals */
    {"MAIL refused, lock step", NO_PIPELINING, 1, 1, BODY, PIPE_EHLO MAIL "S: 550 5.7.1 no\n",
     "ready; done mail 550; ready"},
    {"MAIL refused, pipelined", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 450 later\nS: 503 no mail\nS: 503 no mail\n",
     "ready; done mail 450; ready"},
    {"MAIL refused, and yet 354", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 450 later\nS: 503 no mail\nS: 354 go\nC: .\nS: 554 none\n",
     "ready; done mail 450; ready"},
    {"MAIL refused, but recipients taken, and 354", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 450 later\nS: 250 ok\nS: 354 go\n",
     "ready; done mail 450; failed data 0"},
    {"all recipients refused, lock step: no DATA", NO_PIPELINING, 2, 2, BODY,
     PIPE_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 550 no\n" RCPT_B "S: 450 no\nC: RSET\nS: 250 ok\n" MAIL
                    "S: 421 bye\n",
     "ready; rcpt 0 550; rcpt 1 450; done rcpt 450; ready; done mail 421; failed mail 421"},
    {"all recipients refused, pipelined", 0, 2, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 550 no\nS: 554 no rcpt\nC: RSET\n" MAIL RCPT_A
                           "C: DATA\n",
     "ready; rcpt 0 550; done rcpt 550; ready"},
    {"all recipients refused, and yet 354", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 no rcpt\n",
     "ready; rcpt 0 550; done rcpt 550; ready"},
    {"all refused, 354, then lost", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\n!lost\n",
     "ready; rcpt 0 550; done rcpt 550; failed data 0"},
    {"DATA refused", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 451 later\n",
     "ready; rcpt 0 250; done data 451; ready"},
    {"DATA answered with success", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\n",
     "ready; rcpt 0 250; done data 0; failed data 0"},
    {"dot refused", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 550-5.7.1 spam\nS: 550 5.7.1 really\n",
     "ready; rcpt 0 250; may; done dot 550; ready"},
    {"RSET refused", NO_PIPELINING, 2, 1, BODY,
     PIPE_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 550 no\nC: RSET\nS: 500 what\n",
     "ready; rcpt 0 550; done rcpt 550; ready; done rset 500; failed rset 500"},
    /* permission */
    {"allowed later", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n!allow\n" BODY_SENT
                           "S: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"denied behind 354", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n!deny\n",
     "ready; rcpt 0 250; may; done data 0; failed data 0"},
    {"denied before BDAT", ALLOW_LATER, 2, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "S: 250 ok\nS: 250 ok\n!deny\nC: RSET\n" MAIL RCPT_A
                            "S: 250 ok\nS: 250 ok\nS: 250 ok\n!deny\n",
     "ready; rcpt 0 250; may; done data 0; ready; rcpt 0 250; may; done data 0; ready"},
    {"success before the body is a lie", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 queued\n!allow\n",
     "ready; rcpt 0 250; may; done data 0; failed data 0"},
    {"half a reply before the body", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 que%.\n!allow\nC: Subject: x\nC: \nC: hi\n"
     "S: ued\n",
     "ready; rcpt 0 250; may; done body 0; failed body 0"},
    {"421 while permission is awaited", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nS: 421 bye\n!allow\n",
     "ready; rcpt 0 250; may; done data 421; failed data 421"},
    /* ends of connections */
    {"421 at MAIL", 0, 1, 1, BODY, PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 421 bye\n",
     "ready; done mail 421; failed mail 421"},
    {"421 at RCPT", 0, 1, 2, BODY,
     PIPE_EHLO MAIL RCPT_A RCPT_B "C: DATA\nS: 250 ok\nS: 550 no\nS: 421 bye\n",
     "ready; rcpt 0 550; done rcpt 421; failed rcpt 421"},
    {"421 at the dot", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT "S: 421 bye\n",
     "ready; rcpt 0 250; may; done dot 421; failed dot 421"},
    {"421 when idle", 0, 0, 1, BODY, PIPE_EHLO "!wait\nS: 421 idle too long\n",
     "ready; failed mail 421"},
    {"unasked reply when idle", 0, 0, 1, BODY, PIPE_EHLO "!wait\nS: 250 ok\n",
     "ready; failed mail 0"},
    {"lost at the dot: unknown", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 250-queued\n!lost\n",
     "ready; rcpt 0 250; may; done dot 0; failed dot 0"},
    {"timeout at RCPT", 0, 1, 1, BODY, PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\n!timeout\n",
     "ready; done rcpt 0; failed rcpt 0"},
    {"lost in the greeting", 0, 1, 1, BODY, "S: 220%.\n!lost\n", "failed greeting 0"},
    {"lost after QUIT", 0, 0, 1, BODY, PIPE_EHLO "!quit\nC: QUIT\n!lost\n", "ready; failed quit 0"},
    {"quit while a message runs", NO_PIPELINING, 2, 1, BODY,
     PIPE_EHLO MAIL "!quit\nS: 550 no\nC: QUIT\nS: 221 bye\n",
     "ready; done mail 550; failed quit 221"},
    {"freed in done", FREE_IN_DONE, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 250 queued\nS: 250 more\n",
     "ready; rcpt 0 250; may; done dot 250"},
    /* extensions */
    {"SIZE and 8BITMIME", EIGHT_BIT, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250-SIZE 1000\nS: 250 8BITMIME\n"
           "C: MAIL FROM:<s@x.example> SIZE=18 BODY=8BITMIME\nS: 550 no\n",
     "ready; done mail 550; ready"},
    {"too large for the server", 0, 1, 1, BODY, HELLO "S: 250-x\nS: 250 SIZE 17\n",
     "ready; refused SIZE"},
    {"SIZE without a number", 0, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250 SIZE\nC: MAIL FROM:<s@x.example> SIZE=18\n", "ready"},
    {"8-bit body, server without 8BITMIME", EIGHT_BIT, 1, 1, BODY, PLAIN_EHLO,
     "ready; refused 8BITMIME"},
    {"SMTPUTF8", UTF8, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250-8BITMIME\nS: 250 SMTPUTF8\n"
           "C: MAIL FROM:<s\xc3\xb6@x.example> SMTPUTF8\n",
     "ready"},
    {"SMTPUTF8 not offered", UTF8, 1, 1, BODY, PLAIN_EHLO, "ready; refused SMTPUTF8"},
    {"DSN", DSN_WANTED, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250 dsn\nC: MAIL FROM:<s@x.example> RET=HDRS ENVID=QQ314\nS: 250 ok\n"
           "C: RCPT TO:<a@x.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@x.example\n",
     "ready"},
    {"DSN not offered", DSN_WANTED, 1, 1, BODY, PLAIN_EHLO MAIL "S: 250 ok\n" RCPT_A, "ready"},
    /* LMTP */
    {"LMTP: a reply for each", LMTP, 1, 3, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A RCPT_B
     "C: RCPT TO:<c@x.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 "
     "go\n" BODY_SENT "S: 250 done\nS: 452 full\n",
     "ready; rcpt 0 250; rcpt 1 550; rcpt 2 250; may; rcpt_done 0 250; rcpt_done 2 452; "
     "done dot 452; ready"},
    {"LMTP: lost between the replies", LMTP, 1, 3, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A RCPT_B
     "C: RCPT TO:<c@x.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 "
     "go\n" BODY_SENT "S: 250 done\n!lost\n",
     "ready; rcpt 0 250; rcpt 1 550; rcpt 2 250; may; rcpt_done 0 250; rcpt_done 2 0; "
     "done dot 0; failed dot 0"},
    {"LMTP: more replies than recipients", LMTP, 1, 1, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT "S: 250 done\n!wait\nS: 250 done\n",
     "ready; rcpt 0 250; may; rcpt_done 0 250; done dot 250; ready; failed mail 0"},
    {"LMTP: 354 for nobody", LMTP, 1, 1, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\n",
     "ready; rcpt 0 550; done rcpt 550; failed data 0"},
    /* TLS */
    {"STARTTLS, and EHLO again", TLS_MAY, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: EHLO me.example\n"
           "S: 250-x\nS: 250 SIZE 5\n",
     "starttls; ready"},
    {"clear text behind STARTTLS is dropped", TLS_MUST | TLS_LATER, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nS: 250 injected\n!tls\n"
           "C: EHLO me.example\nS: 250 x\n",
     "starttls; ready"},
    {"TLS wanted, not offered", TLS_MUST, 0, 1, BODY, PLAIN_EHLO, "failed starttls 0"},
    {"TLS wanted, HELO only", TLS_MUST, 0, 1, BODY,
     HELLO "S: 500 what\nC: HELO me.example\nS: 250 x\n", "failed starttls 0"},
    {"TLS wanted, refused", TLS_MUST, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\nC: QUIT\n",
     "failed starttls 454"},
    {"TLS nice, refused", TLS_MAY, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 not now\n", "ready"},
    {"handshake fails", TLS_MAY | TLS_LATER, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n!notls\n",
     "starttls; failed starttls 0"},
    {"TLS from the first byte", TLS_MUST | TLS_WRAPPED, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\n", "ready"},
    /* AUTH */
    {"AUTH PLAIN", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH LOGIN PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 235 2.7.0 ok\n",
     "ready"},
    {"AUTH PLAIN for a server without initial responses", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 334 PLAIN ok\n"
           "C: AHVzZXIAc2VjcmV0\nS: 235 ok\n",
     "ready"},
    {"AUTH=LOGIN of old", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH=LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\n"
           "S: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 ok\n",
     "ready"},
    {"AUTH refused", LOGIN_CLEAR, 0, 1, BODY,
     HELLO
     "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 535 5.7.8 no\nC: QUIT\n",
     "failed auth 535"},
    {"AUTH goes on for ever", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 334 \n"
           "C: AHVzZXIAc2VjcmV0\nS: 334 \nC: *\nS: 501 cancelled\nC: QUIT\n",
     "failed auth 0"},
    {"no login method that we know", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH GSSAPI\n", "failed auth 0"},
    {"no password in clear", LOGIN, 0, 1, BODY, HELLO "S: 250-x\nS: 250 AUTH PLAIN\n",
     "failed auth 0"},
    {"AUTH wanted, not offered", LOGIN_CLEAR, 0, 1, BODY, PLAIN_EHLO, "failed auth 0"},
    /* bodies */
    {"dots are doubled", 0, 1, 1, ".\r\n..\r\nx.\r\n.y\r\n",
     PIPE_EHLO MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: ..\nC: ...\nC: x.\nC: ..y\n"
     "C: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"empty body", 0, 1, 1, "",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"body without a last CRLF", 0, 1, 1, "a",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: a\nC: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"body that ends in a bare LF", 0, 1, 1, "a\n",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: a%n\nC: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"a bare LF smuggles no dot", 0, 1, 1, "a\n.\r\nb\r\n",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: a%n..\nC: b\nC: .\n"
                           "S: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    /* hostile replies */
    {"classes differ within a reply", 0, 1, 1, BODY, "S: 220-x\nS: 554 no\n", "failed greeting 0"},
    {"NUL in a reply", 0, 0, 1, BODY,
     "S: 220 x%0y\nC: EHLO me.example\nS: 250-%0\nS: 250 PIPE%0LINING\n", "ready"},
    {"code without text", 0, 0, 1, BODY, "S: 220\nC: EHLO me.example\nS: 250-\nS: 250\n", "ready"},
    {"no separator", 0, 0, 1, BODY, "S: 220x\n", "failed greeting 0"},
    {"code out of range", 0, 0, 1, BODY, "S: 199 x\n", "failed greeting 0"},
    {"empty line", 0, 0, 1, BODY, "S: \n", "failed greeting 0"},
};

static void
test_dialogues(void)
{
    for (size_t i = 0; i < ARRAY_LEN(dialogues); i++)
        run(&dialogues[i]);
}

/* --- what the table cannot say --- */

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
    test_dialogues();
    test_ceilings();
    test_timeouts();
    test_offers();
    test_scram();
    test_addresses();
    test_stuffing();
    return tap_done();
}
