/*
 * net/stream.c - a stream's life: made from a descriptor, ready events, the end, closing.
 *
 * Called by sessions of every role. Reading is in stream_read.c, writing in stream_write.c, TLS in
 * stream_tls.c. Never blocks and never calls its owner after stream_close.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/sock.h"
#include "net/stream_inner.h"
#include "net/tls.h"

static void stream_called(void *ctx);

struct stream *
stream_alloc(struct loop *loop, const struct stream_ops *ops, void *ctx,
             const struct stream_limits *limits)
{
    struct stream *s = calloc(1, sizeof(*s));
    size_t pending = limits && limits->max_pending ? limits->max_pending : STREAM_MAX_PENDING;
    size_t queue = limits && limits->max_queue ? limits->max_queue : STREAM_MAX_QUEUE;

    if (!s)
        return NULL;
    s->loop = loop;
    s->ops = ops;
    s->ctx = ctx;
    s->fd = -1;
    s->call = (struct loop_call){.fn = stream_called, .ctx = s};
    s->max_pending = (uint32_t)MIN(MAX(pending, (size_t)512), (size_t)1 << 30);
    s->secret = limits && limits->secret;
    /* One more read and one TLS record may follow what made the owner stop us. */
    buf_init(&s->pending, s->max_pending + 2 * LOOP_BUF);
    buf_init(&s->queue, queue);
    return s;
}

void
stream_name_ends(struct stream *s)
{
    union sock_addr a = {0};
    socklen_t n = sizeof(a);

    if (getpeername(s->fd, &a.sa, &n) == 0)
        s->peer = sock_endpoint(&a);
    n = sizeof(a);
    if (getsockname(s->fd, &a.sa, &n) == 0)
        s->local = sock_endpoint(&a);
    if (a.sa.sa_family != AF_UNIX) {
        int one = 1;

        /* Replies are gathered before they are sent, so waiting for more would only be delay. */
        (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
}

struct stream *
stream_create(struct loop *loop, int fd, const struct stream_ops *ops, void *ctx,
              const struct stream_limits *limits)
{
    struct stream *s = stream_alloc(loop, ops, ctx, limits);

    if (!s)
        return NULL;
    s->state = STREAM_OPEN;
    s->fd = fd;
    stream_name_ends(s);
    s->last_in = clock_mono();
    if (loop_io_init(&s->io, loop, fd, LOOP_READ | LOOP_WRITE, stream_ready, s) < 0) {
        s->fd = -1; /* stays the caller's */
        stream_destroy(s);
        return NULL;
    }
    return s;
}

/* Off the list of orphans, if it is on it. */
static void
stream_adopt(struct stream *s)
{
    struct stream_extra *x = s->extra;

    if (!x->prev)
        return;
    s->loop->norphans--;
    *x->prev = x->next;
    if (x->next)
        x->next->extra->prev = x->prev;
    x->prev = NULL;
}

static void
stream_free_orphans(struct loop *loop)
{
    while (loop->orphans)
        stream_destroy(loop->orphans);
}

/* Nobody holds the stream any more but the loop, for five seconds. Who connects without end, and is
 * turned away, would else hold as many descriptors and sockets as come in that time. Frees where
 * there are too many. */
static void
stream_orphan(struct stream *s, enum stream_state state)
{
    struct stream_extra *x = s->extra;

    if (!x->prev && s->loop->norphans >= STREAM_ORPHANS) {
        stream_destroy(s);
        return;
    }
    s->state = state;
    loop_timer_set(&x->timer, STREAM_FLUSH_NS);
    if (x->prev)
        return;
    s->loop->norphans++;
    x->next = s->loop->orphans;
    if (x->next)
        x->next->extra->prev = &x->next;
    x->prev = &s->loop->orphans;
    s->loop->orphans = s;
    s->loop->orphans_free = stream_free_orphans;
}

void
stream_destroy(struct stream *s)
{
    if (s->loop->corked == s) {
        s->loop->corked = NULL;
        buf_clear(&s->loop->cork);
    }
    loop_call_cancel(s->loop, &s->call);
    if (s->extra) {
        loop_timer_stop(&s->extra->timer);
        stream_adopt(s);
        free(s->extra);
    }
    loop_io_done(&s->io);
    fd_close(&s->fd);
    tls_session_free(s->tls);
    stream_pending_done(s);
    buf_done(&s->queue);
    free(s);
}

static void
stream_timer(void *ctx)
{
    struct stream *s = ctx;

    if (s->closing) {
        stream_destroy(s);
        return;
    }
    stream_fail(s, ERR_TIMEOUT, "the connection was not made in time");
}

struct stream_extra *
stream_extra(struct stream *s)
{
    if (s->extra)
        return s->extra;
    s->extra = calloc(1, sizeof(*s->extra));
    if (s->extra)
        loop_timer_init(&s->extra->timer, s->loop, stream_timer, s);
    return s->extra;
}

void
stream_fail(struct stream *s, int status, const char *why)
{
    struct stream_extra *x;

    if (s->state >= STREAM_OVER)
        return;
    s->state = STREAM_OVER;
    s->status = status;
    x = stream_extra(s);
    if (x) {
        loop_timer_stop(&x->timer);
        why_set(&x->why, status, "%s", why ? why : err_text(status));
    }
    if (status < 0) { /* after a mere end of input the rest may still be sent */
        buf_done(&s->queue);
        s->queue_at = 0;
    }
    loop_defer(s->loop, &s->call);
}

static void
stream_tell_end(struct stream *s)
{
    const char *why = s->extra ? s->extra->why.text : err_text(s->status);

    if (s->told)
        return;
    s->told = true;
    if (s->handshaking && s->ops->secured) {
        s->handshaking = false;
        s->ops->secured(s->ctx, ERR_TLS, why);
        if (s->closing)
            return;
    }
    if (s->ops->closed)
        s->ops->closed(s->ctx, s->status, why);
}

static void
stream_tell_drained(struct stream *s)
{
    s->drained = false;
    if (s->queue.n == 0 && !s->told && s->ops->drained) /* else the queue tells when it is sent */
        s->ops->drained(s->ctx);
}

/* The deferred work: tell the end and the empty queue, offer what was left, read on. */
static void
stream_called(void *ctx)
{
    struct stream *s = ctx;

    stream_enter(s);
    if (s->state == STREAM_OVER) {
        stream_tell_end(s);
    } else if (s->state == STREAM_OPEN) {
        if (s->raw_pending) {
            struct buf raw = s->pending;

            buf_init(&s->pending, raw.max);
            s->raw_pending = false;
            stream_tls_in(s, raw.p, raw.n);
            buf_done(&raw);
        }
        if (s->drained && !s->closing)
            stream_tell_drained(s);
        if (s->offer && !s->closing)
            stream_offer(s);
        if (!s->closing)
            stream_read(s);
    }
    stream_leave(s);
}

/* Throws away what a peer sends that we no longer hear. Frees at its end. */
static void
stream_linger(struct stream *s)
{
    struct stream_extra *x = stream_extra(s);
    size_t got = 0;
    ssize_t n = -1;

    while (x && x->lingered < STREAM_LINGER_MAX) {
        n = recv(s->fd, s->loop->in, LOOP_BUF, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
        x->lingered += (uint32_t)n;
    }
    /* Nothing unread: close() sends a FIN behind the queue and no reset. */
    if (!x || n >= 0 || errno != EAGAIN || (s->state != STREAM_LINGER && got == 0)) {
        stream_destroy(s);
        return;
    }
    if (s->state == STREAM_LINGER)
        return;
    (void)shutdown(s->fd, SHUT_WR);
    stream_orphan(s, STREAM_LINGER);
}

/* The owner is gone: what remains to be sent is sent, then the stream frees itself. */
static void
stream_finish(struct stream *s)
{
    bool dead = s->state == STREAM_CONNECTING || (s->state == STREAM_OVER && s->status < 0);

    if (dead || !s->flush) {
        stream_destroy(s);
        return;
    }
    if (s->tls && !s->handshaking)
        stream_tls_bye(s);
    if (s->state == STREAM_OVER && s->status < 0) { /* that write failed */
        stream_destroy(s);
        return;
    }
    if (s->queue.n == 0) {
        stream_linger(s);
        return;
    }
    if (!stream_extra(s)) {
        stream_destroy(s);
        return;
    }
    loop_call_cancel(s->loop, &s->call);
    stream_orphan(s, STREAM_FLUSH);
}

void
stream_leave(struct stream *s)
{
    if (--s->depth == 0 && s->closing && s->state < STREAM_FLUSH)
        stream_finish(s);
}

void
stream_close(struct stream *s, bool flush)
{
    if (!s || s->closing)
        return;
    s->closing = true;
    s->flush = flush;
    if (s->depth == 0)
        stream_finish(s);
}

void
stream_ready(void *ctx, unsigned ready)
{
    struct stream *s = ctx;

    if (ready & LOOP_HANGUP)
        s->hangup = true;
    if (ready & LOOP_READ)
        s->readable = true;
    if (s->state == STREAM_LINGER) {
        stream_linger(s);
        return;
    }
    stream_enter(s);
    if (s->state == STREAM_CONNECTING)
        stream_connect_ready(s);
    if ((ready & LOOP_WRITE) && s->queue.n && s->state != STREAM_CONNECTING)
        stream_flush_queue(s);
    if (s->state == STREAM_FLUSH) {
        if (--s->depth == 0 && s->queue.n == 0)
            stream_linger(s);
        return;
    }
    if (s->readable && !s->closing && !s->call.queued) /* queued: reads later in this turn */
        stream_read(s);
    stream_leave(s);
}

bool
stream_is_tls(const struct stream *s)
{
    return s->tls && !s->handshaking;
}

bool
stream_tls_info(const struct stream *s, struct tls_info *ret)
{
    if (!stream_is_tls(s))
        return false;
    tls_session_info(s->tls, ret);
    return true;
}

bool
stream_tls_binding(const struct stream *s, struct tls_binding *ret)
{
    if (!stream_is_tls(s))
        return false;
    tls_session_binding(s->tls, ret);
    return true;
}

const struct endpoint *
stream_peer(const struct stream *s)
{
    return &s->peer;
}

const struct endpoint *
stream_local(const struct stream *s)
{
    return &s->local;
}

void
stream_set_peer(struct stream *s, const struct endpoint *peer)
{
    s->peer = *peer;
}

uint64_t
stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}

uint64_t
stream_last_in(const struct stream *s)
{
    return s->last_in;
}
