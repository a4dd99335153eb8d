/*
 * net/stream_connect.c - the calling side: TCP from a chosen source address, and Unix sockets.
 *
 * Called by the courier and by tools. Answers come through ops.connected or ops.closed, never
 * before the call returned.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "net/sock.h"
#include "net/stream_inner.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static int
connect_from(int fd, const struct addr *local)
{
    struct endpoint from = {.addr = *local};
    union sock_addr a;
    socklen_t n = sock_addr_of(&from, &a);
    int one = 1;

    /* The port is chosen at connect(): one source address may then have 64k ports per peer. */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    return bind(fd, &a.sa, n) < 0 ? -errno : 0;
}

/* Starts connecting s->fd; the outcome comes by stream_ready or, failed at once, deferred. */
static void
connect_start(struct stream *s, const union sock_addr *to, socklen_t n, uint64_t timeout_ns)
{
    struct stream_extra *x;
    int err = 0;

    if (connect(s->fd, &to->sa, n) < 0 && errno != EINPROGRESS)
        err = -errno;
    if (!err)
        err = loop_io_init(&s->io, s->loop, s->fd, LOOP_READ | LOOP_WRITE, stream_ready, s);
    if (err) {
        stream_fail(s, err, NULL);
        return;
    }
    x = timeout_ns ? stream_extra(s) : NULL;
    if (x)
        loop_timer_set(&x->timer, timeout_ns);
}

struct stream *
stream_connect(struct loop *loop, const struct endpoint *peer, const struct addr *local,
               uint64_t timeout_ns, const struct stream_ops *ops, void *ctx,
               const struct stream_limits *limits)
{
    struct stream *s = stream_alloc(loop, ops, ctx, limits);
    union sock_addr to;
    socklen_t n = sock_addr_of(peer, &to);
    int err;

    if (!s)
        return NULL;
    s->state = STREAM_CONNECTING;
    s->peer = *peer;
    s->fd = sock_open(to.sa.sa_family, SOCK_STREAM);
    if (s->fd < 0) {
        err = s->fd;
        s->fd = -1;
        stream_fail(s, err, NULL);
        return s;
    }
    err = local ? connect_from(s->fd, local) : 0;
    if (err)
        stream_fail(s, err, "the source address cannot be used on this machine");
    else
        connect_start(s, &to, n, timeout_ns);
    return s;
}

struct stream *
stream_connect_unix(struct loop *loop, const char *path, const struct stream_ops *ops, void *ctx,
                    const struct stream_limits *limits)
{
    struct stream *s = stream_alloc(loop, ops, ctx, limits);
    union sock_addr to;
    socklen_t n = 0;
    int err;

    if (!s)
        return NULL;
    s->state = STREAM_CONNECTING;
    err = sock_addr_unix(path, &to, &n);
    if (!err) {
        s->fd = sock_open(AF_UNIX, SOCK_STREAM);
        err = s->fd < 0 ? s->fd : 0;
    }
    if (err) {
        s->fd = -1;
        stream_fail(s, err, NULL);
        return s;
    }
    connect_start(s, &to, n, 0);
    return s;
}

void
stream_connect_ready(struct stream *s)
{
    int err = 0;
    socklen_t n = sizeof(err);

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
        err = errno;
    if (err) {
        stream_fail(s, -err, NULL);
        return;
    }
    if (s->extra)
        loop_timer_stop(&s->extra->timer);
    s->state = STREAM_OPEN;
    stream_name_ends(s);
    s->last_in = clock_mono();
    if (s->ops->connected)
        s->ops->connected(s->ctx);
}
