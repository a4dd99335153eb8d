/*
 * lab/traffic.c - sends sample mail at the pace that its rows name, a connection for each message.
 *
 * Called by lab.c. What the gateway answers is no concern of this file: the gateway's events tell
 * it. A message whose turn comes while SENDERS_MAX are on their way is left out.
 */
#include "lab/traffic.h"

#include <stdlib.h>

#include "core/clock.h"
#include "mail/date.h"
#include "net/stream.h"
#include "smtp/client.h"

#define SENDERS_MAX 16u
#define SEND_MOST   (60 * NS_PER_S)
#define MESSAGE_MAX 65536u

struct flow { /* a `mail` block */
    struct traffic *all;
    const struct settings_mail *mail;
    struct loop_timer timer;
    size_t turn; /* of `to` */
};

struct sender {
    struct traffic *all;
    struct stream *stream;
    struct smtp_client *client;
    struct smtp_client_conf conf;
    struct smtp_client_rcpt rcpt;
    struct smtp_client_message message;
    struct buf text;
    bool pulled, sent, ending;
    struct loop_timer late;
    struct loop_call end;
    struct sender *next, **prev;
};

struct traffic {
    struct loop *loop;
    const struct settings_lab *lab;
    struct sender *senders;
    unsigned nsenders;
    uint64_t number, start;
    bool on;
    size_t n;
    struct flow flows[];
};

/* --- a message on its way --- */

static void
sender_free(void *ctx)
{
    struct sender *s = ctx;
    struct traffic *t = s->all;

    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    t->nsenders--;
    loop_call_cancel(t->loop, &s->end);
    loop_timer_stop(&s->late);
    smtp_client_free(s->client);
    if (s->stream)
        stream_close(s->stream, true);
    buf_done(&s->text);
    free(s);
}

static void
sender_end(struct sender *s)
{
    if (s->ending)
        return;
    s->ending = true;
    loop_defer(s->all->loop, &s->end);
}

static void
on_late(void *ctx)
{
    sender_end(ctx);
}

static int
pull(void *ctx, struct str *ret)
{
    struct sender *s = ctx;

    *ret = s->pulled ? STR_NONE : buf_view(&s->text);
    s->pulled = true;
    return 0;
}

static void
on_send(void *ctx, const char *p, size_t n)
{
    struct sender *s = ctx;

    if (!s->ending && stream_send(s->stream, p, n) < 0)
        sender_end(s);
}

static size_t
on_backlog(void *ctx)
{
    const struct sender *s = ctx;
    return s->ending ? 0 : stream_queued(s->stream);
}

static void
on_starttls(void *ctx)
{
    sender_end(ctx); /* never asked for */
}

static void
on_ready(void *ctx)
{
    struct sender *s = ctx;
    const char *why;

    if (s->ending)
        return;
    if (s->sent) {
        smtp_client_quit(s->client);
        return;
    }
    s->sent = true;
    if (smtp_client_send(s->client, &s->message, &why) < 0)
        smtp_client_quit(s->client);
}

static void
on_failed(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *reply)
{
    (void)stage;
    (void)reply;
    sender_end(ctx);
}

static void
on_rcpt(void *ctx, unsigned i, const struct smtp_reply *reply)
{
    (void)ctx;
    (void)i;
    (void)reply;
}

static void
on_may_send(void *ctx)
{
    struct sender *s = ctx;
    smtp_client_allow(s->client, true);
}

static void
on_done(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *reply)
{
    (void)ctx;
    (void)stage;
    (void)reply;
}

static const struct smtp_client_ops client_ops = {
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

static size_t
on_bytes(void *ctx, const char *p, size_t n)
{
    struct sender *s = ctx;

    if (!s->ending)
        smtp_client_feed(s->client, p, n);
    return n;
}

static void
on_drained(void *ctx)
{
    struct sender *s = ctx;

    if (!s->ending)
        smtp_client_drained(s->client);
}

static void
on_closed(void *ctx, int status, const char *why)
{
    (void)status;
    (void)why;
    sender_end(ctx);
}

static const struct stream_ops stream_ops = {
    .data = on_bytes,
    .drained = on_drained,
    .closed = on_closed,
};

static void
write_message(struct sender *s, const struct settings_mail *m)
{
    struct traffic *t = s->all;
    char date[40];

    date_show(clock_wall_s(), date);
    buf_init(&s->text, MESSAGE_MAX);
    buf_fmt(&s->text,
            "From: <%.*s>\r\nTo: <%.*s>\r\nSubject: %.*s\r\nDate: %s\r\n"
            "Message-ID: <sample.%llx.%llu@lab.test>\r\nX-Gapura-Lab: sample mail\r\n\r\n%.*s\r\n",
            STR_ARG(m->from), STR_ARG(s->rcpt.address), STR_ARG(m->subject), date,
            (unsigned long long)t->start, (unsigned long long)++t->number, STR_ARG(m->text));
}

static bool
sender_open(struct sender *s, const struct settings_mail *m)
{
    const struct settings_lab *lab = s->all->lab;
    bool out = m->wing == LAB_OUT;
    struct addr local = m->client;

    s->conf = (struct smtp_client_conf){
        .ehlo = m->helo,
        .tls = SMTP_TLS_NEVER,
        .auth_user = out ? lab->robot : STR_NONE,
        .auth_password = out ? lab->password : STR_NONE,
        .auth_clear = true,
    };
    s->message = (struct smtp_client_message){
        .sender = m->from,
        .rcpts = &s->rcpt,
        .nrcpt = 1,
        .size = s->text.n,
        .pull = pull,
        .pull_ctx = s,
    };
    s->client = smtp_client_create(&s->conf, &client_ops, s);
    if (s->client)
        s->stream = stream_connect(s->all->loop, out ? &lab->submission : &lab->mx, &local,
                                   5 * NS_PER_S, &stream_ops, s, NULL);
    return s->stream && !s->text.failed;
}

static void
send_one(struct flow *f)
{
    struct traffic *t = f->all;
    const struct settings_mail *m = f->mail;
    const struct str *to = m->to.items;
    struct sender *s = t->nsenders < SENDERS_MAX ? calloc(1, sizeof(*s)) : NULL;

    if (!s)
        return;
    s->all = t;
    s->rcpt.address = to[f->turn++ % m->to.n];
    s->end = (struct loop_call){.fn = sender_free, .ctx = s};
    loop_timer_init(&s->late, t->loop, on_late, s);
    loop_timer_set(&s->late, SEND_MOST);
    s->next = t->senders;
    s->prev = &t->senders;
    if (s->next)
        s->next->prev = &s->next;
    t->senders = s;
    t->nsenders++;
    write_message(s, m);
    if (!sender_open(s, m))
        sender_end(s);
}

/* --- the pace --- */

static uint64_t
flow_gap(const struct flow *f)
{
    return f->mail->rate.period_ns / f->mail->rate.count;
}

static void
on_turn(void *ctx)
{
    struct flow *f = ctx;

    if (!f->all->on)
        return;
    send_one(f);
    loop_timer_set(&f->timer, flow_gap(f));
}

struct traffic *
traffic_create(struct loop *loop, const struct conf *conf)
{
    const struct conf_section *s;
    struct traffic *t;
    size_t n = 0;

    for (s = conf_first(conf, "mail"); s; s = conf_next(s))
        n++;
    t = calloc(1, sizeof(*t) + n * sizeof(t->flows[0]));
    if (!t)
        return NULL;
    t->loop = loop;
    t->lab = conf_get(conf, "");
    t->start = clock_wall_s();
    t->n = n;
    s = conf_first(conf, "mail");
    for (size_t i = 0; s; s = conf_next(s), i++) {
        t->flows[i].all = t;
        t->flows[i].mail = s->data;
        loop_timer_init(&t->flows[i].timer, loop, on_turn, &t->flows[i]);
    }
    return t;
}

void
traffic_free(struct traffic *t)
{
    if (!t)
        return;
    traffic_flow(t, false);
    while (t->senders)
        sender_free(t->senders);
    free(t);
}

/* The first of each kind come spread over the first gap, so that they do not come together. */
void
traffic_flow(struct traffic *t, bool on)
{
    t->on = on;
    for (size_t i = 0; i < t->n; i++) {
        struct flow *f = &t->flows[i];

        loop_timer_stop(&f->timer);
        if (on && f->mail->rate.count)
            loop_timer_set(&f->timer, flow_gap(f) * (i + 1) / (t->n + 1) + 1);
    }
}

bool
traffic_is_sample(const struct traffic *t, struct str login, const struct addr *client)
{
    if (login.n)
        return str_ieq(login, t->lab->robot);
    for (size_t i = 0; i < t->n; i++) {
        if (t->flows[i].mail->wing == LAB_IN && addr_eq(&t->flows[i].mail->client, client))
            return true;
    }
    return false;
}
