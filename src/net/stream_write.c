/*
 * net/stream_write.c - from the owner to the kernel: write first, queue only what it does not take.
 *
 * Called by the owner (stream_send) and by stream.c when the socket has room again. Never waits and
 * never calls the owner from stream_send.
 */
#include <errno.h>
#include <sys/socket.h>

#include "net/stream_inner.h"
#include "net/tls.h"

#define QUEUE_COMPACT (64u << 10)

size_t
stream_queued(const struct stream *s)
{
    size_t gathered = s->loop->corked == s ? s->loop->cork.n : 0;

    s->loop->cork_seen |= gathered > 0;
    return s->queue.n - s->queue_at + gathered;
}

/* Bytes the kernel took, up to n; ERR_CLOSED after a failure (which is told later). */
static ssize_t
stream_push(struct stream *s, const char *p, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t k = send(s->fd, p + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (k >= 0) {
            done += (size_t)k;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN)
            break;
        stream_fail(s, -errno, NULL);
        return ERR_CLOSED;
    }
    return (ssize_t)done;
}

int
stream_write_raw(struct stream *s, const char *p, size_t n)
{
    ssize_t done = 0;

    s->sent = true;
    if (s->queue.n == 0 && s->state != STREAM_CONNECTING) {
        done = stream_push(s, p, n);
        if (done < 0)
            return (int)done;
        if ((size_t)done == n)
            return 0;
    }
    /* What was sent already lies before queue_at and does not count against the ceiling. */
    if (s->queue_at >= QUEUE_COMPACT && s->queue_at >= s->queue.n / 2) {
        buf_drop(&s->queue, s->queue_at);
        s->queue_at = 0;
    }
    if (n - (size_t)done > s->queue.max - s->queue.n && s->queue_at) {
        buf_drop(&s->queue, s->queue_at);
        s->queue_at = 0;
    }
    buf_add(&s->queue, p + done, n - (size_t)done);
    if (!s->queue.failed)
        return 0;
    stream_fail(s, ERR_LIMIT, "the peer does not read what is sent to it");
    return ERR_LIMIT;
}

static int
stream_write(struct stream *s, const char *p, size_t n)
{
    return s->tls ? stream_tls_write(s, p, n) : stream_write_raw(s, p, n);
}

int
stream_uncork(struct stream *s)
{
    struct buf *cork = &s->loop->cork;
    int err = 0;

    if (cork->n == 0)
        return 0;
    if (s->state < STREAM_OVER || (s->state == STREAM_OVER && s->status == 0))
        err = stream_write(s, cork->p, cork->n);
    buf_clear(cork);
    return err;
}

int
stream_send(struct stream *s, const void *p, size_t n)
{
    struct buf *cork = &s->loop->cork;
    int err;

    if (s->closing || s->state > STREAM_OVER || (s->state == STREAM_OVER && s->status < 0))
        return ERR_CLOSED;
    if (s->handshaking)
        return ERR_STATE;
    if (n == 0)
        return 0;
    if (s->loop->corked != s)
        return stream_write(s, p, n);
    if (n <= cork->max - cork->n) {
        buf_add(cork, p, n);
        if (!cork->failed)
            return 0;
        cork->failed = false; /* no memory to gather: send what there is, then this */
    }
    err = stream_uncork(s);
    return err ? err : stream_write(s, p, n);
}

void
stream_flush_queue(struct stream *s)
{
    ssize_t done = stream_push(s, s->queue.p + s->queue_at, s->queue.n - s->queue_at);

    if (done < 0) {
        if (s->closing && s->queue.n) /* nobody left to tell: stream_ready sees the empty queue */
            buf_done(&s->queue);
        return;
    }
    s->queue_at += (size_t)done;
    if (s->queue_at < s->queue.n)
        return;
    buf_done(&s->queue);
    s->queue_at = 0;
    if (!s->closing && !s->told && s->ops->drained)
        s->ops->drained(s->ctx);
}
