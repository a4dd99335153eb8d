/*
 * net/stream_tls.c - TLS inside a stream: cipher bytes in, plain bytes to the owner, and back.
 *
 * Called by the other stream files and, for stream_start_tls, by sessions. Bytes that were read
 * before TLS began never reach the owner as plain text afterwards: they were dropped by it
 * (STARTTLS) or they are the first bytes of the handshake.
 */
#include "net/stream_inner.h"
#include "net/tls.h"

#define TLS_SLICE (64u << 10) /* plain bytes encrypted before they go to the kernel */

/* Sends what the engine made. */
static int
stream_tls_flush(struct stream *s)
{
    struct buf *wire = &s->loop->wire;
    int err = 0;

    if (wire->failed)
        err = ERR_NOMEM;
    else if (wire->n)
        err = stream_write_raw(s, wire->p, wire->n);
    buf_clear(wire);
    buf_shrink(wire, (size_t)256 << 10);
    return err;
}

int
stream_tls_write(struct stream *s, const char *p, size_t n)
{
    struct why why;

    while (n) {
        size_t slice = MIN(n, TLS_SLICE);
        int err = tls_session_write(s->tls, p, slice, &why);

        if (err) {
            stream_fail(s, err, why.text);
            return err;
        }
        err = stream_tls_flush(s);
        if (err)
            return err;
        p += slice;
        n -= slice;
    }
    return 0;
}

void
stream_tls_bye(struct stream *s)
{
    tls_session_shutdown(s->tls);
    (void)stream_tls_flush(s);
}

/* One step. True when the handshake is over and the session goes on. */
static bool
stream_handshake(struct stream *s)
{
    struct why why = {0};
    int r = tls_session_handshake(s->tls, &why);

    (void)stream_tls_flush(s); /* also the alert that says why not */
    if (s->state != STREAM_OPEN)
        return false;
    if (r < 0) {
        stream_fail(s, ERR_TLS, why.text);
        return false;
    }
    if (r == 0)
        return false;
    s->handshaking = false;
    if (s->ops->secured)
        s->ops->secured(s->ctx, 0, "");
    return !s->closing && s->state == STREAM_OPEN;
}

void
stream_tls_in(struct stream *s, const char *p, size_t n)
{
    struct why why = {0};
    ssize_t k;

    tls_session_feed(s->tls, p, n);
    if (s->handshaking && !stream_handshake(s))
        return;
    while ((k = tls_session_read(s->tls, s->loop->plain, LOOP_BUF, &why)) > 0) {
        (void)stream_tls_flush(s);
        stream_deliver(s, s->loop->plain, (size_t)k);
        if (s->closing || s->state != STREAM_OPEN)
            return;
    }
    (void)stream_tls_flush(s); /* tickets, key updates, alerts */
    if (k == ERR_CLOSED)
        s->eof = true;
    else if (k < 0)
        stream_fail(s, (int)k, why.text);
}

int
stream_start_tls(struct stream *s, struct tls_context *ctx, bool server, struct str name)
{
    if (s->tls || s->closing || s->state != STREAM_OPEN)
        return ERR_STATE;
    if (!s->loop->plain)
        s->loop->plain = malloc(LOOP_BUF);
    if (!s->loop->plain)
        return ERR_NOMEM;
    if (s->loop->corked == s && stream_uncork(s) < 0) /* "220 go ahead" is the last plain word */
        return ERR_CLOSED;
    s->tls = tls_session_create(ctx, server, name, &s->loop->wire);
    if (!s->tls)
        return ERR_TLS;
    s->handshaking = true;
    s->paused = false;
    s->offer = false;
    if (!server)
        (void)stream_handshake(s); /* our hello; cannot be over already */
    if (!s->in_data) {             /* in data() what is left of its bytes follows by itself */
        s->raw_pending = s->pending.n > 0;
        loop_defer(s->loop, &s->call);
    }
    return 0;
}
