/*
 * tests/unit/net_party.h - two ends of a TCP connection on one loop, each with a script of what it
 * does with bytes; for the tests of streams and TLS.
 */
#ifndef GAPURA_NET_PARTY_H
#define GAPURA_NET_PARTY_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "net/stream.h"
#include "net/tls.h"
#include "tap.h"

struct party {
    struct stream *s;
    struct buf got;
    /* What to do with bytes; NULL keeps them in `got`. */
    size_t (*act)(struct party *, const char *p, size_t n);
    unsigned calls, drained, connected, closed, secured;
    int status, tls_status;
    char why[256];
    bool close_when_closed;
    struct party *other;
    struct tls_context *tls;
    struct loop *loop;
    struct loop_call call;
    size_t step;
};

static size_t
party_data(void *ctx, const char *p, size_t n)
{
    struct party *a = ctx;

    a->calls++;
    if (a->act)
        return a->act(a, p, n);
    buf_add(&a->got, p, n);
    return n;
}

static void
party_drained(void *ctx)
{
    ((struct party *)ctx)->drained++;
}

static void
party_connected(void *ctx)
{
    ((struct party *)ctx)->connected++;
}

static void
party_secured(void *ctx, int status, const char *why)
{
    struct party *a = ctx;

    a->secured++;
    a->tls_status = status;
    str_fmt(a->why, sizeof(a->why), "%s", why);
}

static void
party_closed(void *ctx, int status, const char *why)
{
    struct party *a = ctx;

    a->closed++;
    a->status = status;
    str_fmt(a->why, sizeof(a->why), "%s", why);
    if (a->close_when_closed) {
        stream_close(a->s, true);
        a->s = NULL;
    }
}

static const struct stream_ops party_ops = {
    .data = party_data,
    .drained = party_drained,
    .connected = party_connected,
    .secured = party_secured,
    .closed = party_closed,
};

static void
party_accept(void *ctx, int fd, const struct endpoint *peer)
{
    struct party *server = ctx;
    struct loop **loop = (struct loop **)server->s; /* see party_meet */

    (void)peer;
    server->s = stream_create(*loop, fd, &party_ops, server, NULL);
}

/* Connects both over 127.0.0.1. */
static void
party_meet(struct loop *loop, struct party *server, struct party *client,
           const struct stream_limits *limits)
{
    struct endpoint e = {0};
    struct sockaddr_in in;
    socklen_t n = sizeof(in);
    struct listener *l;
    struct loop *self = loop;
    int fd;

    endpoint_parse(STR("127.0.0.1:0"), 0, &e);
    fd = listener_bind(&e, 16);
    getsockname(fd, (struct sockaddr *)&in, &n);
    e.port = ntohs(in.sin_port);
    server->s = (struct stream *)&self;
    l = listener_create(loop, fd, party_accept, server);
    buf_init(&server->got, (size_t)64 << 20);
    buf_init(&client->got, (size_t)64 << 20);
    server->other = client;
    client->other = server;
    client->s = stream_connect(loop, &e, NULL, 5 * NS_PER_S, &party_ops, client, limits);
    while (server->s == (struct stream *)&self || !client->connected)
        loop_once(loop, true);
    listener_free(l);
}

static void
party_part(struct party *server, struct party *client)
{
    stream_close(server->s, false);
    stream_close(client->s, false);
    buf_done(&server->got);
    buf_done(&client->got);
}

static void
party_say(struct party *a, const char *text)
{
    stream_send(a->s, text, strlen(text));
}

/* Turns until cond or ten seconds. */
#define UNTIL(loop, cond)                                                                          \
    do {                                                                                           \
        uint64_t until_ = clock_mono() + (tap_valgrind() ? 100 : 10) * NS_PER_S;                   \
        struct loop_timer tick_;                                                                   \
        loop_timer_init(&tick_, (loop), party_nothing, NULL);                                      \
        while (!(cond) && clock_mono() < until_) {                                                 \
            loop_timer_set(&tick_, 200 * NS_PER_MS);                                               \
            loop_once((loop), true);                                                               \
        }                                                                                          \
        loop_timer_stop(&tick_);                                                                   \
        if (!(cond))                                                                               \
            printf("# gave up waiting for: %s\n", #cond);                                          \
    } while (0)

__attribute__((unused)) static void
party_nothing(void *ctx)
{
    (void)ctx;
}

#endif
