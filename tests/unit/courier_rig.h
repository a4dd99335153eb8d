/*
 * tests/unit/courier_rig.h - a courier with a real loop, a real spool on disk, a writer that plays
 * the gate, a spooler at the other end of a channel, and an SMTP sink on 127.0.0.1.
 *
 * The clock is the test's: rig_for() turns the loop until a condition holds, and rig_pass() moves
 * time on. Nothing sleeps for a fixed time.
 */
#ifndef GAPURA_COURIER_RIG_H
#define GAPURA_COURIER_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "courier/inner.h"
#include "courier/session.h"
#include "net/stream.h"
#include "spool/pool.h"
#include "store/asks.h"
#include "tap.h"

#define RIG_SEGMENT (4u << 20)

struct rig_stream { /* a writer and its supply of segments */
    struct rig *rig;
    struct spool_writer *writer;
    struct loop_waker *waker;
    uint16_t stream;
    uint32_t epoch;
    unsigned owed;
};
struct rig_mail {
    struct spool_out out;
    struct buf payload, body;
    struct iovec piece;
    bool done;
    int status;
    uint64_t seq;
};
struct sink_conn {
    struct rig *rig;
    struct stream *stream;
    char line[1024];
    size_t n;
    bool data;
    unsigned rcpts, refused, mails;
    char body[65536];
    size_t body_n;
    struct endpoint peer;
    struct sink_conn *next;
    bool over;
};
struct rig {
    char dir[64];
    struct loop *loop;
    struct spool_pool *pool;
    struct conf *conf;
    struct rig_stream gate, own;
    bool sick_gate; /* its disk is rig_disk as well, from its next life on */
    struct courier *courier;
    struct chan *to_spooler, *spooler;
    struct chan *to_gate, *gate_end;
    int port;
    struct listener *listener;
    struct sink_conn *conns;
    /* the sink's behaviour and what it saw */
    const char *banner, *mail, *rcpt, *data, *dot, *ehlo;
    const char *rset;    /* NULL: taken */
    unsigned mails_each; /* so many on one connection, then 421; 0: any number */
    const char *first;   /* greets the first connection instead of the banner */
    const char *blocked; /* an address that is refused at the door */
    bool hang_after_dot, lmtp;
    unsigned connections, messages, rcpts;
    char last_body[65536], last_rcpt[512], last_mail[512];
    char seen[65536]; /* RCPT lines, one after the other */
    unsigned freed;
    const char *via, *orcpt; /* of the recipients of mail; NULL: none */
    bool no_free;
    bool no_segments;       /* the spooler has none for now */
    unsigned recover_steps; /* of a slice of the start */
    bool attach_first;      /* the gate is followed before the start has read anything */
    /* events */
    unsigned deliveries, transients, bounces, expirations, asides, holds, removed, alarms;
    char last_event[8192], first_bounce[2048];
    char freq[64];
};

/* The disk under our own stream: syncs wait or fail when a test says so. */
static struct {
    _Atomic bool hold;
    _Atomic unsigned held, fail, pass; /* pass: so many go all the same */
} rig_disk;

static inline int
rig_disk_sync(void *ctx, int fd)
{
    rig_disk.held++;
    while (rig_disk.hold && !rig_disk.pass)
        poll(NULL, 0, 1);
    rig_disk.held--;
    if (rig_disk.hold)
        rig_disk.pass--;
    if (rig_disk.fail > 0) {
        rig_disk.fail--;
        return -EIO;
    }
    return spool_io_system.sync(ctx, fd);
}
/* Without a turn of the loop. */
#define RIG_UNTIL(cond)                                                                            \
    do {                                                                                           \
        for (unsigned turn_ = 0; !(cond) && turn_ < 15000; turn_++)                                \
            poll(NULL, 0, 1);                                                                      \
        OK(cond, "%s", #cond);                                                                     \
    } while (0)

static inline int
rig_segment(struct rig_stream *s)
{
    struct spool_segment seg;
    int fd, err = spool_pool_take(s->rig->pool, s->stream, s->epoch, &fd, &seg);

    if (err == 0)
        spool_writer_give(s->writer, fd, &seg);
    return err;
}
static inline void
rig_need(void *ctx)
{
    struct rig_stream *s = ctx;

    if (s->rig->no_segments)
        s->owed++;
    else
        rig_segment(s);
}
static inline void
rig_segments_again(struct rig *r, struct rig_stream *s)
{
    r->no_segments = false;
    for (; s->owed > 0; s->owed--)
        rig_segment(s);
}
static inline void
rig_left(void *ctx, uint64_t number, bool failed)
{
    (void)ctx;
    (void)number;
    (void)failed;
}
static inline void
rig_empty(void *ctx, uint64_t number, uint64_t generation)
{
    struct rig_stream *s = ctx;

    if (s != &s->rig->own) /* the courier finds them */
        return;
    IS(spool_pool_free_empty(s->rig->pool, number, generation), 0, "an empty segment comes back");
}
static inline void
rig_wake(void *ctx)
{
    struct rig_stream *s = ctx;

    loop_wake(s->waker);
}
static inline void
rig_poll(void *ctx)
{
    struct rig_stream *s = ctx;

    if (s->writer)
        spool_writer_poll(s->writer);
}

static inline bool
rig_stream_open(struct rig *r, struct rig_stream *s, uint16_t stream)
{
    static const struct spool_writer_ops ops = {rig_need, rig_left, rig_wake, rig_empty};
    static struct spool_io io;
    struct spool_writer_conf conf = {
        .node = spool_pool_node(r->pool), .stream = stream, .ring_size = 8u << 20, .standby = 1};
    int64_t epoch = spool_pool_epoch(r->pool, stream);

    io = spool_io_system;
    io.sync = rig_disk_sync;
    if (s == &r->own || r->sick_gate)
        conf.io = &io;

    s->rig = r;
    s->stream = stream;
    s->epoch = conf.epoch = (uint32_t)epoch;
    s->waker = loop_waker_create(r->loop, rig_poll, s);
    if (epoch < 0 || spool_writer_create(&s->writer, &conf, &ops, s) < 0)
        return false;
    spool_writer_poll(s->writer);
    return true;
}
static inline void
rig_stream_close(struct rig_stream *s)
{
    spool_writer_free(s->writer);
    s->writer = NULL;
    loop_waker_free(s->waker);
    s->waker = NULL;
}

/* --- the spooler's end --- */
static inline void
spooler_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct rig *r = ctx;
    uint64_t number = wire_u64(body), generation = wire_u64(body);
    struct buf b;

    (void)id;
    (void)wire_u8(body);
    fd_close(&fd);
    if (type != TELL_FREE || r->no_free)
        return;
    if (spool_pool_free(r->pool, number, generation) < 0)
        return;
    r->freed++;
    buf_init(&b, 64);
    put_u64(&b, number);
    put_u64(&b, generation);
    chan_send(r->spooler, TELL_FREED, 0, &b, -1);
    buf_done(&b);
}
static inline void
courier_side_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct rig *r = ctx;

    fd_close(&fd);
    if (r->courier && courier_message(r->courier, r->to_spooler, type, id, body))
        return;
    wire_skip(body, wire_left(body));
}
static inline void
chan_gone(void *ctx)
{
    (void)ctx;
}

/* --- the sink --- */
static inline void
sink_say(struct sink_conn *c, const char *text)
{
    if (text && !c->over)
        stream_send(c->stream, text, strlen(text));
}
static inline void
sink_body_line(struct sink_conn *c, const char *p, size_t n)
{
    struct rig *r = c->rig;

    if (n == 3 && memcmp(p, ".\r\n", 3) == 0) {
        c->data = false;
        memcpy(r->last_body, c->body, c->body_n);
        r->last_body[c->body_n] = '\0';
        if (r->hang_after_dot) {
            c->over = true;
            stream_close(c->stream, false);
            return;
        }
        r->messages++;
        if (r->lmtp) {
            for (unsigned i = 0; i < c->rcpts; i++)
                sink_say(c, r->dot);
        } else {
            sink_say(c, r->dot);
        }
        return;
    }
    if (p[0] == '.')
        p++, n--;
    if (c->body_n + n < sizeof c->body - 1) {
        memcpy(c->body + c->body_n, p, n);
        c->body_n += n;
    }
}
static inline void
sink_command(struct sink_conn *c, const char *p, size_t n)
{
    struct rig *r = c->rig;
    struct str line = str_of(p, n);

    if (str_istarts(line, STR("EHLO")) || str_istarts(line, STR("LHLO"))) {
        sink_say(c, r->ehlo);
    } else if (str_istarts(line, STR("MAIL"))) {
        str_copy(line, r->last_mail, sizeof r->last_mail);
        c->rcpts = c->refused = 0;
        if (r->mails_each && c->mails++ >= r->mails_each)
            sink_say(c, "421 4.7.0 enough for one connection\r\n");
        else
            sink_say(c, r->mail);
    } else if (r->rset && str_istarts(line, STR("RSET"))) {
        sink_say(c, r->rset);
    } else if (str_istarts(line, STR("RCPT"))) {
        const char *answer = r->rcpt;
        r->rcpts++;
        str_copy(line, r->last_rcpt, sizeof r->last_rcpt);
        if (strlen(r->seen) + n < sizeof r->seen)
            memcpy(r->seen + strlen(r->seen), p, n);
        if (str_find(line, STR("bad")) >= 0)
            answer = "550 5.1.1 no such user\r\n";
        if (str_find(line, STR("later")) >= 0)
            answer = "451 4.7.1 come back later\r\n";
        if (answer[0] == '2')
            c->rcpts++;
        sink_say(c, answer);
    } else if (str_istarts(line, STR("DATA"))) {
        if (c->rcpts == 0) {
            sink_say(c, "554 5.5.1 no valid recipients\r\n");
        } else {
            c->data = r->data[0] == '3';
            c->body_n = 0;
            sink_say(c, r->data);
        }
    } else if (str_istarts(line, STR("QUIT"))) {
        sink_say(c, "221 bye\r\n");
        c->over = true;
        stream_close(c->stream, true);
    } else {
        sink_say(c, "250 2.0.0 ok\r\n");
    }
}
static inline size_t
sink_data(void *ctx, const char *p, size_t n)
{
    struct sink_conn *c = ctx;

    for (size_t i = 0; i < n && !c->over; i++) {
        if (c->n < sizeof c->line)
            c->line[c->n++] = p[i];
        if (p[i] != '\n')
            continue;
        if (c->data)
            sink_body_line(c, c->line, c->n);
        else
            sink_command(c, c->line, c->n);
        c->n = 0;
    }
    return n;
}
static inline void
sink_closed(void *ctx, int status, const char *why)
{
    struct sink_conn *c = ctx;

    (void)status;
    (void)why;
    c->over = true;
    stream_close(c->stream, false);
}
static const struct stream_ops sink_ops = {.data = sink_data, .closed = sink_closed};
static inline void
sink_accept(void *ctx, int fd, const struct endpoint *peer)
{
    struct rig *r = ctx;
    struct sink_conn *c = calloc(1, sizeof *c);
    char from[64];

    c->rig = r;
    c->peer = *peer;
    c->next = r->conns;
    r->conns = c;
    r->connections++;
    c->stream = stream_create(r->loop, fd, &sink_ops, c, NULL);
    if (r->blocked && strcmp(addr_show(&peer->addr, from), r->blocked) == 0)
        sink_say(c, "554 5.7.1 your address is on a list\r\n");
    else if (r->first && r->connections == 1)
        sink_say(c, r->first);
    else
        sink_say(c, r->banner);
}
static inline void
sink_open(struct rig *r)
{
    struct endpoint at = {.port = (uint16_t)r->port};
    struct sockaddr_in sa;
    socklen_t n = sizeof sa;
    int fd;

    addr_parse(STR("127.0.0.1"), &at.addr);
    fd = listener_bind(&at, 64);
    getsockname(fd, (struct sockaddr *)(void *)&sa, &n);
    r->port = ntohs(sa.sin_port);
    r->listener = listener_create(r->loop, fd, sink_accept, r);
}
static inline void
sink_close(struct rig *r)
{
    listener_free(r->listener);
    r->listener = NULL;
}
static inline void
sink_plain(struct rig *r)
{
    r->banner = "220 sink ESMTP\r\n";
    r->ehlo = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 "
              "SIZE 50000000\r\n";
    r->mail = r->rcpt = r->dot = "250 2.0.0 ok\r\n";
    r->data = "354 go\r\n";
    r->hang_after_dot = r->lmtp = false;
}

/* --- events --- */
static inline bool
event_is(struct str line, const char *type)
{
    char want[64];

    str_fmt(want, sizeof want, "\"type\":\"%s\"", type);
    return str_find(line, str_c(want)) >= 0;
}
static inline void
rig_event(void *ctx, struct str line)
{
    struct rig *r = ctx;

    r->deliveries += event_is(line, "Delivery");
    r->transients += event_is(line, "TransientFailure");
    r->bounces += event_is(line, "Bounce");
    if (!r->first_bounce[0] && event_is(line, "Bounce"))
        str_copy(str_sub(line, 0, sizeof r->first_bounce - 1), r->first_bounce,
                 sizeof r->first_bounce);
    r->expirations += event_is(line, "Expiration");
    r->asides += event_is(line, "SetAside");
    r->holds += event_is(line, "Hold");
    r->removed += event_is(line, "AdminBounce");
    r->alarms += event_is(line, "Alarm");
    if (getenv("RIG_EVENTS") || event_is(line, "Alarm"))
        printf("# %.*s\n", STR_ARG(line));
    str_copy(str_sub(line, 0, sizeof r->last_event - 1), r->last_event, sizeof r->last_event);
}

/* --- the whole --- */
static inline struct conf *
rig_conf(struct rig *r, const char *text)
{
    static const struct conf_block *const blocks[] = {
        &settings_main_block,    &settings_domain_block, &settings_tenant_block,
        &courier_source_block,   &courier_pool_block,    &courier_route_block,
        &courier_delivery_block, &settings_dkim_block,   &settings_arc_block};
    struct conf_texts *texts = calloc(1, sizeof *texts);
    struct conf_errors errs = {0};
    struct conf *conf = NULL;
    char full[8192], port[16];
    const char *at;
    size_t n = str_fmt(full, sizeof full, "hostname = mx.test.example\n");

    str_fmt(port, sizeof port, "%d", r->port);
    for (; (at = strstr(text, "PORT")) != NULL; text = at + 4)
        n += str_fmt(full + n, sizeof full - n, "%.*s%s", (int)(at - text), text, port);
    n += str_fmt(full + n, sizeof full - n, "%s", text);
    texts->items[0] = (struct conf_text){STR("test.conf"), str_of(full, n)};
    texts->n = 1;
    conf_parse(&conf, texts, blocks, ARRAY_LEN(blocks), 1, &errs);
    for (size_t i = 0; i < errs.n; i++)
        printf("# %u: %.*s\n", errs.items[i].line, STR_ARG(errs.items[i].text));
    conf_errors_done(&errs);
    free(texts);
    return conf;
}
static inline bool
rig_courier(struct rig *r, bool gate_lives)
{
    struct courier_links links = {.loop = r->loop,
                                  .slack = 5,
                                  .spool_dir = r->dir,
                                  .writer = r->own.writer,
                                  .spooler = r->to_spooler,
                                  .gate = r->to_gate,
                                  .node = spool_pool_node(r->pool)};
    struct why why = {{0}};
    struct spool_share *share = r->gate.writer ? spool_writer_share(r->gate.writer) : NULL;
    uint32_t live[2] = {r->gate.epoch, r->own.epoch};
    int err = courier_create(&r->courier, &links, r->conf, &why);

    if (err == 0)
        err = courier_recover(r->courier, live, gate_lives ? 2 : 0, NULL, NULL, &why);
    if (err == 0)
        r->courier->recover_steps = r->recover_steps;
    for (unsigned i = 0; err == 0 && !r->attach_first && !r->courier->recovered && i < 15000; i++)
        loop_once(r->loop, false);
    if (err == 0 && share && gate_lives)
        err = courier_attach(r->courier, r->gate.stream, r->gate.epoch,
                             fcntl(share->fd, F_DUPFD_CLOEXEC, 0),
                             fcntl(share->wake_fd, F_DUPFD_CLOEXEC, 0));
    if (err < 0)
        printf("# %s %s\n", err_text(err), why.text);
    return err == 0;
}
static inline void
rig_init(struct rig *r, const char *conf)
{
    static const struct chan_ops spooler_ops = {spooler_message, chan_gone};
    static const struct chan_ops courier_ops = {courier_side_message, chan_gone};
    struct spool_pool_conf pc = {.segment_size = RIG_SEGMENT, .ready = 2};
    struct why why = {{0}};
    int pair[2];

    *r = (struct rig){0};
    str_fmt(r->dir, sizeof r->dir, "/tmp/gapura-courier-XXXXXX");
    OK(mkdtemp(r->dir) != NULL, "a place for the spool");
    pc.dir = r->dir;
    r->loop = loop_create();
    sink_plain(r);
    sink_open(r);
    event_tap(rig_event, r);
    OK(spool_pool_open(&r->pool, &pc, &why) == 0, "pool: %s", why.text);
    chan_pair(pair);
    r->to_spooler = chan_create(r->loop, pair[0], &courier_ops, r);
    r->spooler = chan_create(r->loop, pair[1], &spooler_ops, r);
    OK(rig_stream_open(r, &r->gate, SPOOL_STREAM_GATE * 256), "a gate's stream");
    OK(rig_stream_open(r, &r->own, SPOOL_STREAM_COURIER * 256), "our stream");
    r->conf = rig_conf(r, conf);
    OK(r->conf != NULL, "settings");
    OK(rig_courier(r, true), "a courier");
}
static inline void
rig_turn(struct rig *r)
{
    loop_once(r->loop, false);
    poll(NULL, 0, 1);
}
/* Turns the loop while `cond` does not hold, at most 20 s. */
#define RIG_FOR(r, cond)                                                                           \
    do {                                                                                           \
        for (unsigned turn_ = 0; !(cond) && turn_ < 15000; turn_++)                                \
            rig_turn(r);                                                                           \
        OK(cond, "%s", #cond);                                                                     \
    } while (0)
static inline void
rig_settle(struct rig *r, unsigned turns)
{
    while (turns--)
        rig_turn(r);
}
static inline void
mail_done(struct spool_out *o, int status)
{
    struct rig_mail *m = CONTAINER_OF(o, struct rig_mail, out);

    m->done = true;
    m->status = status;
}
/* A message of the gate: `rcpts` separated by spaces, those that its verdict holds behind a !. */
static inline struct rig_mail *
rig_mail(struct rig *r, const char *sender, const char *rcpts, const struct spool_envelope *like,
         const char *body)
{
    struct rig_mail *m = calloc(1, sizeof *m);
    struct spool_envelope env = like ? *like : (struct spool_envelope){0};
    static struct spool_rcpt list[2048];
    struct str rest = str_c(rcpts), one;

    env.nrcpt = 0;
    for (one = str_word(&rest); one.n && env.nrcpt < ARRAY_LEN(list); one = str_word(&rest)) {
        bool held = one.p[0] == '!';

        list[env.nrcpt] = (struct spool_rcpt){.address = str_from(one, held),
                                              .via = str_c(r->via),
                                              .orcpt = str_c(r->orcpt),
                                              .flags = held ? SPOOL_RCPT_HOLD : 0};
        if (like && like->nrcpt) /* a way to say NOTIFY */
            list[env.nrcpt].notify = (uint8_t)like->nrcpt;
        env.nrcpt++;
    }
    env.id.seq = m->seq = spool_writer_seq(r->gate.writer);
    env.sender = str_c(sender);
    env.received = env.received ? env.received : clock_wall();
    env.size = strlen(body);
    if (!like)
        env.class = SPOOL_CLASS_TRANSACTIONAL, env.flags = SPOOL_MAIL_SUBMITTED, env.tenant = 1;
    buf_init(&m->payload, 1u << 20);
    buf_init(&m->body, 1u << 20);
    buf_c(&m->body, body);
    spool_envelope_encode(&m->payload, &env, list, NULL);
    m->piece = (struct iovec){m->body.p, m->body.n};
    m->out = (struct spool_out){.type = SPOOL_MESSAGE,
                                .seq = m->seq,
                                .payload = buf_view(&m->payload),
                                .body = &m->piece,
                                .nbody = 1,
                                .done = mail_done};
    if (spool_writer_add(r->gate.writer, &m->out) < 0)
        m->done = true, m->status = -1;
    return m;
}
static inline void
mail_free(struct rig_mail *m)
{
    buf_done(&m->payload);
    buf_done(&m->body);
    free(m);
}
static inline void
rig_post(struct rig *r, const char *sender, const char *rcpts, const struct spool_envelope *like,
         const char *body)
{
    struct rig_mail *m = rig_mail(r, sender, rcpts, like, body);

    for (unsigned i = 0; !m->done && i < 15000; i++)
        rig_turn(r);
    OK(m->done && m->status == 0, "a message for %s is on disk", rcpts);
    mail_free(m);
}
static inline void
rig_remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[512];

    while (d && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        str_fmt(path, sizeof path, "%s/%s", dir, e->d_name);
        if (unlink(path) < 0)
            rig_remove_dir(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}
/* As if the process had died: nothing is told to anybody, nothing more is written. */
static inline void
rig_crash(struct rig *r)
{
    courier_free(r->courier);
    r->courier = NULL;
    rig_stream_close(&r->own);
}
static inline void
rig_done(struct rig *r)
{
    struct sink_conn *c;

    courier_free(r->courier);
    r->courier = NULL;
    if (r->own.writer)
        rig_stream_close(&r->own);
    if (r->gate.writer)
        rig_stream_close(&r->gate);
    chan_free(r->to_spooler);
    chan_free(r->spooler);
    chan_free(r->to_gate);
    chan_free(r->gate_end);
    if (r->listener)
        sink_close(r);
    for (c = r->conns; c; c = c->next)
        if (!c->over)
            c->over = true, stream_close(c->stream, false);
    rig_settle(r, 5);
    while ((c = r->conns) != NULL) {
        r->conns = c->next;
        free(c);
    }
    spool_pool_close(r->pool);
    conf_free(r->conf);
    event_tap(NULL, NULL);
    loop_free(r->loop);
    rig_remove_dir(r->dir);
}
#endif
