/*
 * tests/unit/gate_rig.h - a whole gate on one loop: real spool in a temporary directory, real
 * sockets on 127.0.0.1, a client that speaks line by line, and the log read back at the end.
 */
#ifndef GAPURA_GATE_RIG_H
#define GAPURA_GATE_RIG_H

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/dns_list.h"
#include "auth/settings.h"
#include "checks/table.h"
#include "core/clock.h"
#include "core/codec.h"
#include "core/event.h"
#include "gate/gate.h"
#include "gate/settings.h"
#include "policy/record.h"
#include "spool/envelope.h"
#include "spool/pool.h"
#include "spool/reader.h"
#include "store/asks.h"
#include "store/settings.h"
#include "tap.h"

#define RIG_WAIT     ((tap_valgrind() ? 100 : 10) * NS_PER_S)
#define RIG_MESSAGES 64u

struct rig_message { /* read back from the log */
    char id[SPOOL_ID_TEXT], sender[400], rcpts[16][400], via[16][16], helo[256], user[64];
    char message_id[256];
    char decision[2048]; /* as text */
    uint8_t rcpt_flags[16];
    unsigned nrcpt;
    uint32_t tenant;
    uint16_t flags;
    uint8_t class;
    uint64_t size, seq, not_before, expires;
    char *body;
};

struct rig {
    char dir[64], seg[80];
    struct loop *loop;
    struct spool_pool *pool;
    struct spool_writer *writer;
    struct loop_waker *waker;
    uint32_t epoch;
    unsigned segments_left; /* how many more the spooler would give */
    bool asleep;            /* nobody hears that the log has written */
    struct conf *conf;
    struct gate *gate;
    uint16_t ports[4];
    struct chan *keyring, *keeper, *courier;             /* the gate's ends */
    struct chan *keyring_end, *keeper_end, *courier_end; /* the fakes' ends */
    struct dns_client *dns;                              /* NULL: nobody can be asked */
    struct str (*file)(void *ctx, struct str path);
    const struct check *const *checks; /* NULL: those of the program */
    size_t nchecks;
    struct buf events;
    struct rig_message messages[RIG_MESSAGES];
    unsigned nmessages, nvoid;
};

static struct rig rig;

static const struct conf_block *const rig_blocks[] = {
    &settings_main_block, &settings_domain_block, &settings_tenant_block, &settings_sender_block,
    &settings_auth_block, &gate_listen_block,     &gate_smtp_block,       &gate_srs_block,
    &gate_check_block,    &policy_profile_block,  &auth_verify_block,     &settings_dkim_block,
    &auth_dns_list_block,
};

static void
rig_need_segment(void *ctx)
{
    struct spool_segment s;
    int fd = -1;

    (void)ctx;
    if (!rig.segments_left || spool_pool_take(rig.pool, 256, rig.epoch, &fd, &s) < 0) {
        spool_writer_starve(rig.writer);
        return;
    }
    rig.segments_left--;
    spool_writer_give(rig.writer, fd, &s);
}

static void
rig_segment_left(void *ctx, uint64_t number, bool failed)
{
    (void)ctx;
    (void)number;
    (void)failed;
}

static void
rig_wake(void *ctx)
{
    (void)ctx;
    if (rig.waker)
        loop_wake(rig.waker);
}

static void
rig_woken(void *ctx)
{
    (void)ctx;
    if (!rig.asleep)
        spool_writer_poll(rig.writer);
}

static void
rig_event(void *ctx, struct str line)
{
    (void)ctx;
    buf_str(&rig.events, line);
}

/* "{ " and " }" may stand in a line of a test's settings: each gets its own here. */
static struct conf *
rig_parse(const char *inline_text)
{
    static struct conf_texts texts;
    static char text[16384];
    struct conf_errors errs = {0};
    struct conf *conf = NULL;

    str_fmt(text, sizeof(text), "%s", inline_text);
    for (char *p = text; *p; p++) {
        if (p[0] == '{' && p[1] == ' ')
            p[1] = '\n';
        if (p[0] == ' ' && p[1] == '}')
            p[0] = '\n';
    }

    texts.n = 1;
    texts.items[0] = (struct conf_text){.path = STR("test.conf"), .text = str_c(text)};
    conf_parse(&conf, &texts, rig_blocks, ARRAY_LEN(rig_blocks), 7, &errs);
    for (size_t i = 0; i < errs.n; i++)
        printf("# %u: %.*s\n", errs.items[i].line, STR_ARG(errs.items[i].text));
    conf_errors_done(&errs);
    return conf;
}

/* A listening socket at a port that the kernel chooses. */
static int
rig_bind(const struct endpoint *e, uint16_t *ret_port)
{
    struct sockaddr_in in;
    socklen_t n = sizeof(in);
    int fd = listener_bind(e, 64);

    getsockname(fd, (struct sockaddr *)&in, &n);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

/* Listens for each `listen` block in order of appearance: ports[i]. */
static void
rig_listen(void)
{
    const struct conf_section *s;
    unsigned i = 0;

    for (s = conf_first(rig.conf, "listen"); s && i < 4; s = conf_next(s), i++) {
        struct endpoint e;

        endpoint_parse(STR("127.0.0.1:0"), 0, &e);
        IS(gate_listen(rig.gate, s->label, rig_bind(&e, &rig.ports[i])), 0, "listens as %.*s",
           STR_ARG(s->label));
    }
}

static bool
rig_spool(uint64_t segment, uint64_t max_batch)
{
    struct spool_pool_conf pool = {
        .dir = rig.dir, .segment_size = segment, .reserve = 1, .ready = 1};
    struct spool_writer_conf conf = {.stream = 256, .max_batch = max_batch};
    static const struct spool_writer_ops ops = {
        .need_segment = rig_need_segment, .segment_left = rig_segment_left, .wake = rig_wake};
    struct why why = {""};
    int64_t epoch;

    str_fmt(rig.dir, sizeof(rig.dir), "/tmp/gapura-gate-XXXXXX");
    if (!mkdtemp(rig.dir))
        return false;
    str_fmt(rig.seg, sizeof(rig.seg), "%s/seg", rig.dir);
    if (spool_pool_open(&rig.pool, &pool, &why) < 0) {
        printf("# %s\n", why.text);
        return false;
    }
    epoch = spool_pool_epoch(rig.pool, SPOOL_STREAM_GATE << 8);
    rig.epoch = (uint32_t)epoch;
    conf.node = spool_pool_node(rig.pool);
    conf.epoch = rig.epoch;
    rig.waker = loop_waker_create(rig.loop, rig_woken, NULL);
    return epoch > 0 && spool_writer_create(&rig.writer, &conf, &ops, NULL) == 0;
}

/* A gate with these settings. chans: which fakes there are (their ends are the test's). */
static bool
rig_start(const char *text, unsigned segments)
{
    struct gate_links links = {0};
    struct why why = {""};

    rig.segments_left = segments;
    buf_init(&rig.events, 1u << 24);
    event_tap(rig_event, NULL);
    if (!rig.loop)
        rig.loop = loop_create(); /* a test with channels has made it */
    rig.conf = rig_parse(text);
    if (!OK(rig.loop && rig.conf && rig_spool(4u << 20, 0), "a loop, settings and a spool"))
        return false;
    spool_writer_poll(rig.writer);
    links.loop = rig.loop;
    links.writer = rig.writer;
    links.dns = rig.dns;
    links.keyring = rig.keyring;
    links.keeper = rig.keeper;
    links.courier = rig.courier;
    links.file = rig.file;
    links.checks = rig.checks ? rig.checks : checks_table;
    links.nchecks = rig.checks ? rig.nchecks : checks_count;
    if (!OK(gate_create(&rig.gate, &links, rig.conf, &why) == 0, "a gate %s", why.text))
        return false;
    rig_listen();
    return true;
}

/* ---- the log ---- */

static void
rig_read_body(struct spool_files *files, const struct spool_loc *loc, uint64_t generation,
              uint64_t n, char *dst)
{
    OK(spool_files_read(files, loc, generation, dst, n) == 0, "%llu bytes of a body are there",
       (unsigned long long)n);
}

static void
rig_copy(char *dst, size_t cap, struct str s)
{
    str_fmt(dst, cap, "%.*s", STR_ARG(s));
}

static void
rig_decision(struct rig_message *m, struct str bytes)
{
    struct record record;
    struct arena arena;
    struct buf text;

    if (!bytes.n)
        return;
    arena_init(&arena, 1u << 20);
    buf_init(&text, sizeof(m->decision) - 1);
    OK(record_decode(&record, &arena, bytes) == 0, "a decision of %zu bytes", bytes.n);
    record_text(&text, &record, "\n");
    rig_copy(m->decision, sizeof(m->decision), buf_view(&text));
    buf_done(&text);
    arena_done(&arena);
}

static int
rig_record(void *ctx, const struct spool_place *place, const struct spool_record *r)
{
    struct spool_files *files = ctx;
    struct rig_message *m = &rig.messages[rig.nmessages];
    struct spool_loc loc = place->batch;
    struct spool_envelope env;
    struct spool_chunk chunk;
    struct spool_rcpt rcpt;
    size_t at = 0, got = 0;

    if (r->type == SPOOL_VOID)
        rig.nvoid++;
    if (r->type != SPOOL_MESSAGE || rig.nmessages == RIG_MESSAGES)
        return 0;
    if (!OK(spool_envelope_decode(r, place->segment->node, place->segment->epoch, &env) == 0,
            "an envelope"))
        return 0;
    rig.nmessages++;
    spool_id_show(&env.id, m->id);
    m->seq = env.id.seq;
    rig_copy(m->sender, sizeof(m->sender), env.sender);
    rig_copy(m->helo, sizeof(m->helo), env.helo);
    rig_copy(m->user, sizeof(m->user), env.user);
    rig_copy(m->message_id, sizeof(m->message_id), env.message_id);
    m->nrcpt = env.nrcpt;
    m->tenant = env.tenant;
    m->flags = env.flags;
    m->class = env.class;
    m->size = env.size;
    m->not_before = env.not_before;
    m->expires = env.expires;
    for (unsigned i = 0; i < 16 && spool_rcpt_next(&env, &at, &rcpt) == 1; i++) {
        rig_copy(m->rcpts[i], sizeof(m->rcpts[i]), rcpt.address);
        rig_copy(m->via[i], sizeof(m->via[i]), rcpt.via);
        m->rcpt_flags[i] = rcpt.flags;
    }
    rig_decision(m, env.decision);
    m->body = calloc(1, env.size + 1);
    loc.offset += r->body_off;
    if (!env.nchunks)
        rig_read_body(files, &loc, place->segment->generation, r->body_len, m->body);
    for (at = 0; spool_chunk_next(&env, &at, &chunk) == 1; got += chunk.length)
        rig_read_body(files, &chunk.loc, chunk.generation, chunk.length, m->body + got);
    return 0;
}

static void
rig_damage(void *ctx, const struct spool_segment *s, uint64_t from, uint64_t to, uint64_t after,
           uint64_t before)
{
    (void)ctx;
    (void)s;
    (void)after;
    (void)before;
    printf("# damage from %llu to %llu\n", (unsigned long long)from, (unsigned long long)to);
    OK(false, "the log has no damage");
}

static void
rig_segment_end(void *ctx, const struct spool_segment *s)
{
    (void)ctx;
    (void)s;
}

static void
rig_read_log(void)
{
    static const struct spool_reader_ops ops = {
        .record = rig_record, .damage = rig_damage, .segment_end = rig_segment_end};
    struct spool_files *files = spool_files_create(rig.dir, 8, NULL);
    struct spool_listing list;
    struct why why;
    uint64_t end;

    for (unsigned i = 0; i < rig.nmessages; i++) /* of a former look */
        free(rig.messages[i].body);
    memset(rig.messages, 0, sizeof(rig.messages));
    rig.nmessages = rig.nvoid = 0;
    if (!OK(spool_list(rig.dir, NULL, &list, &why) == 0, "the segments are listed"))
        return;
    for (size_t i = 0; i < list.n; i++) {
        if (list.items[i].state == SPOOL_SEGMENT_USED && list.items[i].epoch == rig.epoch)
            spool_segment_read(rig.dir, &list.items[i], SPOOL_UNIT, i + 1 == list.n, NULL, &ops,
                               files, &end);
    }
    spool_listing_done(&list);
    spool_files_free(files);
}

static void
rig_remove(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[400];

    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        str_fmt(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (unlink(path) < 0)
            rig_remove(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

/* Ends writer and gate and reads the log. */
__attribute__((unused)) static void
rig_stop(void)
{
    spool_writer_free(rig.writer);
    rig.writer = NULL;
    gate_free(rig.gate);
    rig_read_log();
}

static void
rig_end(void)
{
    for (unsigned i = 0; i < rig.nmessages; i++)
        free(rig.messages[i].body);
    dns_client_free(rig.dns);
    spool_pool_close(rig.pool);
    loop_waker_free(rig.waker);
    chan_free(rig.keyring);
    chan_free(rig.keyring_end);
    chan_free(rig.keeper);
    chan_free(rig.keeper_end);
    chan_free(rig.courier);
    chan_free(rig.courier_end);
    loop_free(rig.loop);
    conf_free(rig.conf);
    rig_remove(rig.dir);
    event_tap(NULL, NULL);
    buf_done(&rig.events);
    memset(&rig, 0, sizeof(rig));
}

/* ---- the client ---- */

struct client {
    struct stream *s;
    struct buf got;
    size_t at; /* replies before it have been looked at */
    bool closed, connected;
    int secured; /* 1 yes, -1 failed */
};

static void
rig_tick(void *ctx)
{
    (void)ctx;
}

#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        uint64_t until_ = clock_mono() + RIG_WAIT;                                                 \
        struct loop_timer tick_;                                                                   \
        loop_timer_init(&tick_, rig.loop, rig_tick, NULL);                                         \
        while (!(cond) && clock_mono() < until_) {                                                 \
            loop_timer_set(&tick_, 50 * NS_PER_MS);                                                \
            loop_once(rig.loop, true);                                                             \
        }                                                                                          \
        loop_timer_stop(&tick_);                                                                   \
    } while (0)

static size_t
client_data(void *ctx, const char *p, size_t n)
{
    struct client *c = ctx;

    buf_add(&c->got, p, n);
    return n;
}

static void
client_connected(void *ctx)
{
    ((struct client *)ctx)->connected = true;
}

static void
client_secured(void *ctx, int status, const char *why)
{
    (void)why;
    ((struct client *)ctx)->secured = status == 0 ? 1 : -1;
}

static void
client_closed(void *ctx, int status, const char *why)
{
    struct client *c = ctx;

    (void)status;
    (void)why;
    c->closed = true;
    stream_close(c->s, false);
    c->s = NULL;
}

static const struct stream_ops client_ops = {.data = client_data,
                                             .connected = client_connected,
                                             .secured = client_secured,
                                             .closed = client_closed};

static void
client_open_from(struct client *c, unsigned port, const char *from)
{
    struct stream_limits limits = {.max_queue = 64u << 20};
    struct endpoint e;
    struct addr local;

    *c = (struct client){0};
    buf_init(&c->got, 1u << 20);
    endpoint_parse(STR("127.0.0.1:1"), 0, &e);
    e.port = rig.ports[port];
    addr_parse(str_c(from), &local);
    c->s = stream_connect(rig.loop, &e, &local, RIG_WAIT, &client_ops, c, &limits);
    UNTIL(c->connected || c->closed);
}

__attribute__((unused)) static void
client_open(struct client *c, unsigned port)
{
    client_open_from(c, port, "127.0.0.1");
}

static void
client_shut(struct client *c)
{
    if (c->s)
        stream_close(c->s, true);
    c->s = NULL;
    buf_done(&c->got);
}

/* Bytes of the next whole reply in `got`; 0 if it is not there yet. */
static size_t
client_reply_len(const struct client *c)
{
    size_t at = c->at;

    while (at < c->got.n) {
        const char *nl = memchr(c->got.p + at, '\n', c->got.n - at);
        size_t n = nl ? (size_t)(nl - c->got.p) + 1 - at : 0;

        if (!n)
            return 0;
        if (n < 4 || c->got.p[at + 3] != '-')
            return at + n - c->at;
        at += n;
    }
    return 0;
}

/* The next reply begins so? Its text stays readable in `last`. */
static char last[8192];

static bool
client_expect(struct client *c, const char *want, const char *what)
{
    size_t n;

    UNTIL((n = client_reply_len(c)) > 0 || c->closed);
    n = client_reply_len(c);
    str_fmt(last, sizeof(last), "%.*s", (int)n, n ? c->got.p + c->at : "");
    c->at += n;
    if (OK(str_starts(str_c(last), str_c(want)), "%s: %s", what, want))
        return true;
    printf("# got \"%s\"%s\n", last, c->closed ? " and the end" : "");
    return false;
}

static void
client_say(struct client *c, const char *text)
{
    if (c->s)
        stream_send(c->s, text, strlen(text));
}

static bool
talk(struct client *c, const char *line, const char *want)
{
    client_say(c, line);
    client_say(c, "\r\n");
    return client_expect(c, want, line);
}

__attribute__((unused)) static bool
last_has(const char *piece)
{
    return str_find(str_c(last), str_c(piece)) >= 0;
}

__attribute__((unused)) static bool
events_have(const char *piece)
{
    return str_find(buf_view(&rig.events), str_c(piece)) >= 0;
}

/* Greets and sends one message whose body is `body` (dot-stuffed by the caller). */
__attribute__((unused)) static bool
send_mail(struct client *c, const char *from, const char *to, const char *body, const char *want)
{
    char line[600];

    str_fmt(line, sizeof(line), "MAIL FROM:<%s>", from);
    if (!talk(c, line, "250 2.1.0"))
        return false;
    str_fmt(line, sizeof(line), "RCPT TO:<%s>", to);
    if (!talk(c, line, "250 2.1.5") || !talk(c, "DATA", "354"))
        return false;
    client_say(c, body);
    client_say(c, ".\r\n");
    return client_expect(c, want, "the end of the message");
}

#endif
