/*
 * net/stream_read.c - from the kernel into the loop's buffer and straight to the owner.
 *
 * Called by stream.c when a descriptor is ready or its owner resumed. Keeps only what the owner
 * did not take; never reads while the owner is paused.
 */
#include <errno.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "net/stream_inner.h"

/* Calls the owner. What it sends meanwhile is gathered and goes out in one piece. Bytes consumed;
 * the caller looks at s->closing first. */
static size_t
stream_call_data(struct stream *s, const char *p, size_t n)
{
    struct loop *loop = s->loop;
    size_t used;

    s->in_data = true;
    s->more = s->drop = false;
    loop->corked = s;
    loop->cork_seen = false;
    used = s->ops->data(s->ctx, p, n);
    s->in_data = false;
    if (loop->corked == s)
        loop->corked = NULL;
    if (s->closing && !s->flush)
        buf_clear(&loop->cork);
    else
        stream_uncork(s);
    if (loop->cork_seen && s->queue.n == 0 && s->ops->drained && !s->closing) {
        s->drained = true;
        loop_defer(loop, &s->call);
    }
    return MIN(used, n);
}

static void
stream_keep(struct stream *s, const char *p, size_t n)
{
    buf_add(&s->pending, p, n);
    if (s->pending.failed)
        stream_fail(s, s->pending.n + n > s->pending.max ? ERR_LIMIT : ERR_NOMEM, NULL);
}

void
stream_pending_done(struct stream *s)
{
    if (s->secret && s->pending.p)
        explicit_bzero(s->pending.p, s->pending.cap);
    buf_done(&s->pending);
}

/* After the owner returned: what becomes of the bytes it left. */
static void
stream_after_data(struct stream *s, const char *rest, size_t n, bool kept)
{
    bool tls_now = s->tls && s->handshaking;

    if (s->drop || n == 0) {
        if (kept)
            stream_pending_done(s);
        return;
    }
    if (tls_now) { /* TLS begins right behind what was consumed (after a PROXY header) */
        struct buf raw = {0};

        if (kept) {
            raw = s->pending;
            buf_init(&s->pending, raw.max);
        }
        stream_tls_in(s, rest, n);
        buf_done(&raw);
        return;
    }
    if (kept)
        buf_drop(&s->pending, s->pending.n - n);
    else
        stream_keep(s, rest, n);
    if (!s->more || s->pending.n >= s->max_pending)
        s->paused = true;
}

/* Offers all that is pending. */
void
stream_offer(struct stream *s)
{
    size_t used, n = s->pending.n;

    s->offer = false;
    if (n == 0)
        return;
    used = stream_call_data(s, s->pending.p, n);
    if (s->closing)
        return;
    stream_after_data(s, s->pending.p + used, n - used, true);
}

void
stream_deliver(struct stream *s, const char *p, size_t n)
{
    size_t used;

    if (s->closing || s->state != STREAM_OPEN)
        return;
    if (s->pending.n) {
        stream_keep(s, p, n);
        if (!s->paused && s->state == STREAM_OPEN)
            stream_offer(s);
        return;
    }
    if (s->paused) {
        stream_keep(s, p, n);
        return;
    }
    used = stream_call_data(s, p, n);
    if (s->closing)
        return;
    stream_after_data(s, p + used, n - used, false);
}

static void
stream_take(struct stream *s, const char *p, size_t n)
{
    s->bytes_in += n;
    s->last_in = clock_mono();
    if (s->tls)
        stream_tls_in(s, p, n);
    else
        stream_deliver(s, p, n);
}

void
stream_read(struct stream *s)
{
    size_t want = MIN(LOOP_BUF, s->max_pending), budget = STREAM_TURN_MAX;

    while (s->readable && !s->paused && !s->closing && s->state == STREAM_OPEN) {
        ssize_t n;

        if (budget < want) { /* others first; the edge was seen, so it is on us to come back */
            loop_defer_next(s->loop, &s->call);
            return;
        }
        n = recv(s->fd, s->loop->in, want, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            s->readable = false;
            break;
        }
        if (n < 0) {
            s->readable = false;
            stream_fail(s, -errno, NULL);
            return;
        }
        if (n == 0) {
            s->readable = false;
            s->eof = true;
            break;
        }
        budget -= (size_t)n;
        s->sent = false;
        stream_take(s, s->loop->in, (size_t)n);
        if (s->secret)
            explicit_bzero(s->loop->in, (size_t)n);
        /* A short read emptied the socket: later bytes make a new edge. Not so a FIN that came with
         * them, of which `hangup` knows, nor a reset, which only our own writing would find. */
        if ((size_t)n < want && !s->hangup && s->sent)
            s->readable = false;
    }
    if (s->eof && !s->paused && !s->closing)
        stream_fail(s, 0, "the peer closed the connection");
}

void
stream_resume(struct stream *s)
{
    s->paused = false;
    if (s->in_data) {
        s->more = true;
        return;
    }
    if (s->closing)
        return;
    s->offer = true;
    loop_defer(s->loop, &s->call);
}

void
stream_pause(struct stream *s)
{
    s->paused = true;
}

void
stream_drop_pending(struct stream *s)
{
    if (s->in_data)
        s->drop = true;
    else
        stream_pending_done(s);
}
