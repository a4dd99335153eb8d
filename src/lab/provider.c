/*
 * lab/provider.c - fake mailbox providers: joins streams to SMTP servers that answer by law.c.
 *
 * Called by lab.c. A session's memory is bounded by max_message, their number by max_sessions, and
 * one that says nothing for five minutes is closed. Believes nothing: who connects may be anybody
 * on this machine.
 */
#include "lab/provider.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "lab/cert.h"
#include "lab/law.h"
#include "lab/mailbox.h"
#include "net/stream.h"
#include "net/tls.h"
#include "smtp/server.h"

#define IDLE_MOST  (300 * NS_PER_S)
#define SENDER_MAX 512u
#define REPLY_MAX  900u

struct provider {
    struct providers *all;
    struct law law;
    struct mailbox box;
    struct smtp_server_conf smtp;
    struct listener *listener;
};

struct session {
    struct provider *p;
    struct stream *stream;
    struct smtp_server *smtp;
    struct law_client *client;
    enum lab_stage drop;
    struct loop_timer delay, idle;
    struct loop_call end;
    struct session *next, **prev;
    char from[SENDER_MAX];
    unsigned messages, rcpts;
    struct buf body;
    int code; /* the reply that waits for its time */
    char enhanced[16], text[REPLY_MAX];
    unsigned times; /* LMTP answers a message once for each recipient */
    bool ending, feeding, left;
};

struct providers {
    struct loop *loop;
    const struct settings_lab *lab;
    struct tls_context *tls;
    struct session *sessions;
    uint64_t nsessions;
    size_t n;
    struct provider items[];
};

/* --- the end of a session --- */

static void
session_end(void *ctx)
{
    struct session *s = ctx;
    struct providers *all = s->p->all;

    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    all->nsessions--;
    law_leave(&s->p->law, s->client);
    loop_call_cancel(all->loop, &s->end);
    loop_timer_stop(&s->delay);
    loop_timer_stop(&s->idle);
    smtp_server_free(s->smtp);
    if (s->stream)
        stream_close(s->stream, false);
    buf_done(&s->body);
    free(s);
}

/* From any callback: what is gathered goes out if `flush`, memory goes a little later. */
static void
session_close(struct session *s, bool flush)
{
    if (s->ending)
        return;
    s->ending = true;
    if (s->stream)
        stream_close(s->stream, flush);
    s->stream = NULL;
    loop_defer(s->p->all->loop, &s->end);
}

/* --- answers --- */

static void
session_reply(struct session *s)
{
    unsigned times = s->times;

    for (unsigned i = 0; i < times && !s->ending; i++)
        smtp_server_reply(s->smtp, s->code, s->enhanced[0] ? s->enhanced : NULL, "%s", s->text);
    if (!s->ending && s->left && !s->feeding) {
        s->left = false;
        stream_resume(s->stream);
    }
}

static void
on_delay(void *ctx)
{
    struct session *s = ctx;

    if (!s->ending)
        session_reply(s);
}

static void
session_say(struct session *s, unsigned times, int code, const char *enhanced, struct str text)
{
    uint64_t latency = s->p->law.p->latency;

    s->times = times;
    s->code = code;
    str_fmt(s->enhanced, sizeof(s->enhanced), "%s", enhanced);
    str_fmt(s->text, sizeof(s->text), "%.*s", STR_ARG(text));
    if (!latency || loop_timer_set(&s->delay, latency) < 0)
        session_reply(s);
}

/* The stage is reached: hangs up if this is where it happens, else the law's answer or `good`. */
static void
session_stage(struct session *s, enum lab_stage stage, const struct lab_reply *bad, int good,
              const char *enhanced, struct str text)
{
    if (s->drop == stage) {
        session_close(s, false);
        return;
    }
    if (bad)
        session_say(s, 1, bad->code, bad->enhanced, bad->text);
    else
        session_say(s, 1, good, enhanced, text);
}

/* --- what the SMTP server asks --- */

static void
on_send(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;

    if (!s->ending && stream_send(s->stream, p, n) < 0)
        session_close(s, false);
}

static void
on_connect(void *ctx)
{
    struct session *s = ctx;
    const struct lab_reply *bad =
        law_connect(&s->p->law, &stream_peer(s->stream)->addr, clock_mono(), &s->client, &s->drop);

    session_stage(s, LAB_AT_CONNECT, bad, 220, "", STR("ready"));
}

static void
on_helo(void *ctx, struct str name, bool ehlo)
{
    (void)name;
    (void)ehlo;
    session_stage(ctx, LAB_AT_HELO, NULL, 250, "", STR("at your service"));
}

static void
on_mail(void *ctx, const struct smtp_mail_params *m)
{
    struct session *s = ctx;

    s->rcpts = 0;
    buf_clear(&s->body);
    if (!str_copy(m->from.text, s->from, sizeof(s->from)))
        s->from[0] = 0;
    session_stage(s, LAB_AT_MAIL, law_mail(&s->p->law, s->messages, clock_mono()), 250, "2.1.0",
                  STR("sender fine"));
}

static void
on_rcpt(void *ctx, const struct smtp_rcpt_params *r)
{
    struct session *s = ctx;
    const struct lab_reply *bad =
        law_rcpt(&s->p->law, s->client, str_c(s->from), r->to.text, clock_mono());

    s->rcpts += !bad;
    session_stage(s, LAB_AT_RCPT, bad, 250, "2.1.5", STR("recipient fine"));
}

static void
on_data(void *ctx)
{
    session_stage(ctx, LAB_AT_DATA, NULL, 354, "", STR("go on"));
}

static void
on_body(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;

    if (s->drop == LAB_AT_BODY) {
        session_close(s, false);
        return;
    }
    if (s->body.n < s->body.max)
        buf_add(&s->body, p, MIN(n, s->body.max - s->body.n));
}

/* The whole message is here: into a folder with it, and the reply. */
static void
session_take(struct session *s, const struct header_scan *scan)
{
    struct law *l = &s->p->law;
    struct str all = buf_view(&s->body);
    size_t header = MIN((size_t)scan->bytes, all.n);
    struct law_facts facts = {str_c(s->from), str_sub(all, 0, header), str_from(all, header),
                              smtp_server_is_tls(s->smtp)};
    const struct lab_reply *accept = &l->replies[LAW_ACCEPT];
    char why[256], text[REPLY_MAX], head[SENDER_MAX + 32];
    bool spam = law_message(l, s->client, &facts, clock_mono(), why, sizeof(why));
    size_t n = str_fmt(head, sizeof(head), "Return-Path: <%s>\r\n", s->from);

    s->messages++;
    mailbox_put(&s->p->box, spam, str_of(head, n), all);
    if (s->drop == LAB_AT_DOT) {
        session_close(s, false);
        return;
    }
    str_fmt(text, sizeof(text), "%.*s%s%s%s", STR_ARG(accept->text),
            why[0] ? (spam ? ", filed in spam (" : ", filed in inbox (") : "", why,
            why[0] ? ")" : "");
    session_say(s, s->p->smtp.lmtp ? s->rcpts : 1, accept->code, accept->enhanced, str_c(text));
}

static void
on_data_end(void *ctx, const struct header_scan *scan)
{
    struct session *s = ctx;

    if (!s->ending) /* else it hung up within this very piece of the body */
        session_take(s, scan);
}

static void
on_reset(void *ctx)
{
    struct session *s = ctx;

    s->rcpts = 0;
    buf_clear(&s->body);
    buf_shrink(&s->body, 0);
}

static void
on_starttls(void *ctx)
{
    static const char noise[] = "I said that I could, but I cannot.\r\n";
    struct session *s = ctx;

    if (s->ending)
        return;
    if (s->p->law.p->tls == LAB_TLS_BROKEN) {
        (void)stream_send(s->stream, noise, sizeof(noise) - 1);
        session_close(s, true);
        return;
    }
    stream_drop_pending(s->stream);
    if (stream_start_tls(s->stream, s->p->all->tls, true, STR_NONE) < 0)
        session_close(s, false);
}

static void
on_quit(void *ctx)
{
    session_close(ctx, true);
}

static const struct smtp_server_ops server_ops = {
    .send = on_send,
    .connect = on_connect,
    .helo = on_helo,
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data = on_data,
    .body = on_body,
    .data_end = on_data_end,
    .reset = on_reset,
    .starttls = on_starttls,
    .quit = on_quit,
};

/* --- what the stream tells --- */

static size_t
on_bytes(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;
    size_t used;

    if (s->ending)
        return n;
    loop_timer_set(&s->idle, IDLE_MOST);
    s->feeding = true;
    used = smtp_server_feed(s->smtp, p, n);
    s->feeding = false;
    if (s->ending)
        return n;
    s->left = used < n;
    return used;
}

static void
on_secured(void *ctx, int status, const char *why)
{
    struct session *s = ctx;

    (void)why;
    if (status < 0)
        session_close(s, false);
    else
        smtp_server_tls_done(s->smtp, true);
}

static void
on_closed(void *ctx, int status, const char *why)
{
    (void)status;
    (void)why;
    session_close(ctx, false);
}

static const struct stream_ops stream_ops = {
    .data = on_bytes,
    .secured = on_secured,
    .closed = on_closed,
};

static void
on_idle(void *ctx)
{
    struct session *s = ctx;

    if (!s->ending)
        smtp_server_close(s->smtp, "4.4.2", "you were silent for too long");
}

static void
on_accept(void *ctx, int fd, const struct endpoint *peer)
{
    struct provider *p = ctx;
    struct providers *all = p->all;
    struct session *s = all->nsessions < all->lab->max_sessions ? calloc(1, sizeof(*s)) : NULL;

    (void)peer;
    if (!s) {
        fd_close(&fd);
        return;
    }
    s->p = p;
    s->drop = LAB_STAGES;
    s->end = (struct loop_call){.fn = session_end, .ctx = s};
    buf_init(&s->body, all->lab->max_message);
    loop_timer_init(&s->delay, all->loop, on_delay, s);
    loop_timer_init(&s->idle, all->loop, on_idle, s);
    s->stream = stream_create(all->loop, fd, &stream_ops, s, NULL);
    s->smtp = s->stream ? smtp_server_create(&p->smtp, &server_ops, s) : NULL;
    if (!s->smtp) {
        if (s->stream)
            stream_close(s->stream, false);
        else
            fd_close(&fd);
        free(s);
        return;
    }
    s->next = all->sessions;
    s->prev = &all->sessions;
    if (s->next)
        s->next->prev = &s->next;
    all->sessions = s;
    all->nsessions++;
    loop_timer_set(&s->idle, IDLE_MOST);
    smtp_server_start(s->smtp);
}

/* --- all of them --- */

static void
provider_offer(struct provider *p, const struct settings_provider *c, bool tls)
{
    p->smtp = (struct smtp_server_conf){
        .hostname = c->hostname,
        .banner_text = STR("Gapura lab"),
        .offer = SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 |
                 SMTP_EXT_CHUNKING | SMTP_EXT_ENHANCED,
        .max_size = c->max_size,
        .max_rcpts = 100,
        .max_line = 2048,
        .max_auth_line = 512,
        .max_commands = 1000,
        .max_errors = 100,
        .max_received = 100,
        .max_header = 256u << 10,
        .lmtp = c->lmtp,
    };
    if (tls && c->tls != LAB_TLS_NO)
        p->smtp.offer |= SMTP_EXT_STARTTLS;
}

static int
provider_start(struct provider *p, struct providers *all, const struct conf_section *section,
               const char *mail_dir, struct why *why)
{
    const struct settings_provider *c = section->data;
    char at[56];
    int fd, rc;

    p->all = all;
    p->box = (struct mailbox){.inbox = -1, .spam = -1};
    provider_offer(p, c, all->tls != NULL);
    rc = law_init(&p->law, c, all->lab->memory);
    if (rc)
        return why_set(why, rc, "provider %.*s: %s", STR_ARG(section->label), err_text(rc));
    rc = mailbox_open(&p->box, mail_dir, section->label, all->lab->keep, why);
    if (rc)
        return rc;
    fd = listener_bind(&c->address, 128);
    if (fd < 0)
        return why_set(why, fd, "provider %.*s cannot listen at %s: %s. Does another lab run?",
                       STR_ARG(section->label), endpoint_show(&c->address, at), err_text(fd));
    p->listener = listener_create(all->loop, fd, on_accept, p);
    if (!p->listener)
        fd_close(&fd);
    return p->listener ? 0 : ERR_NOMEM;
}

static int
make_tls(struct providers *all, const struct conf *conf, struct why *why)
{
    CLEANUP(buf_done) struct buf cert = {0}, key = {0};
    struct tls_key_pair pair;
    struct str *names = calloc(all->n + 1, sizeof(*names));
    const struct conf_section *s = conf_first(conf, "provider");
    int rc = names ? 0 : ERR_NOMEM;

    for (size_t i = 0; names && s; s = conf_next(s), i++)
        names[i] = ((const struct settings_provider *)s->data)->hostname;
    if (!rc)
        rc = lab_cert_make(names, all->n, &cert, &key, why);
    free(names);
    if (rc)
        return rc;
    pair = (struct tls_key_pair){buf_view(&cert), buf_view(&key)};
    return tls_server_context(&all->tls, &(struct tls_server_conf){.pairs = &pair, .npairs = 1},
                              why);
}

int
providers_start(struct providers **ret, struct loop *loop, const struct conf *conf,
                const char *mail_dir, struct why *why)
{
    const struct conf_section *s;
    struct providers *all;
    size_t n = 0;
    int rc;

    for (s = conf_first(conf, "provider"); s; s = conf_next(s))
        n++;
    if (!n)
        return why_set(why, ERR_NOTFOUND, "no provider is named: is `include` in lab.conf right?");
    all = calloc(1, sizeof(*all) + n * sizeof(all->items[0]));
    if (!all)
        return ERR_NOMEM;
    all->loop = loop;
    all->lab = conf_get(conf, "");
    all->n = n;
    rc = make_tls(all, conf, why);
    s = conf_first(conf, "provider");
    for (size_t i = 0; s && !rc; s = conf_next(s), i++)
        rc = provider_start(&all->items[i], all, s, mail_dir, why);
    if (rc) {
        providers_free(all);
        return rc;
    }
    *ret = all;
    return 0;
}

void
providers_free(struct providers *all)
{
    if (!all)
        return;
    while (all->sessions)
        session_end(all->sessions);
    for (size_t i = 0; i < all->n; i++) {
        struct provider *p = &all->items[i];

        if (!p->all)
            continue; /* the start did not come so far */
        listener_free(p->listener);
        mailbox_close(&p->box);
        law_done(&p->law);
    }
    tls_context_unref(all->tls);
    free(all);
}
