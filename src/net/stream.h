/*
 * net/stream.h - a byte stream with peers: TCP or Unix socket, TLS inside it when asked.
 *
 * Reading: bytes come into a buffer shared by the whole loop (64 KiB) and go straight to ops.data;
 * what it does not consume is kept by the stream (ceiling: max_pending) and nothing more is read
 * until stream_resume(). An idle stream owns no buffer. Writing: write first; only what the kernel
 * does not take is queued, up to max_queue, and ops.drained tells when it is empty again.
 * Callbacks may call stream_close() on themselves: it is carried out after they return.
 */
#ifndef GAPURA_NET_STREAM_H
#define GAPURA_NET_STREAM_H

#include "core/addr.h"
#include "core/err.h"
#include "net/loop.h"

struct stream;
struct tls_context; /* net/tls.h */

struct stream_ops {
    /* Returns bytes consumed, 0..n. Less than n pauses reading until stream_resume(). A consumer
     * that needs more bytes behind the rest to go on calls stream_resume() inside: then the rest is
     * offered again together with what comes next (up to max_pending). What it sends inside goes
     * out in one piece when it returns. */
    size_t (*data)(void *ctx, const char *p, size_t n);
    /* The output queue is empty again; also when stream_queued() told of bytes gathered in a
     * callback and they went out at its end. May be NULL. */
    void (*drained)(void *ctx);
    void (*connected)(void *ctx); /* client side: TCP is up; may be NULL for servers */
    void (*secured)(void *ctx, int status, const char *why); /* handshake over: 0 or ERR_TLS */
    /* The end: peer closed (0), or an error. Called once, never after stream_close(). The stream
     * stays until stream_close(), here or later; after status 0 it can still send. */
    void (*closed)(void *ctx, int status, const char *why);
};
struct stream_limits {
    size_t max_pending; /* default 256 KiB */
    size_t max_queue;   /* default 4 MiB */
    bool secret;        /* what came is wiped once its owner has it */
};

/* Takes fd (non-blocking, connected). NULL: no memory; fd is still the caller's. */
struct stream *stream_create(struct loop *, int fd, const struct stream_ops *, void *ctx,
                             const struct stream_limits *);
/* Connects from `local` (may be NULL; port 0) to `peer`; ops.connected or ops.closed follows. */
struct stream *stream_connect(struct loop *, const struct endpoint *peer, const struct addr *local,
                              uint64_t timeout_ns, const struct stream_ops *, void *ctx,
                              const struct stream_limits *);
struct stream *stream_connect_unix(struct loop *, const char *path, const struct stream_ops *,
                                   void *ctx, const struct stream_limits *);
/* Sends what is queued if `flush` (bounded by 5 s), then closes and frees. */
void stream_close(struct stream *, bool flush);
/* 0, or ERR_LIMIT: the queue is full (the peer does not read), ERR_CLOSED: writing failed or the
 * end was told; ops.closed follows, deferred. ERR_STATE: within a TLS handshake. */
int stream_send(struct stream *, const void *p, size_t n);
size_t stream_queued(const struct stream *);
void stream_resume(struct stream *); /* offers pending bytes again (deferred), reads on */
void stream_pause(struct stream *);
/* Bytes kept and not consumed; stream_drop_pending throws them away (STARTTLS). */
void stream_drop_pending(struct stream *);
/* TLS from now on; ops.secured follows. What is pending is taken for the first bytes of TLS unless
 * stream_drop_pending was called, never for plain text. name: SNI and the name to
 * verify (client), may be empty. */
int stream_start_tls(struct stream *, struct tls_context *, bool server, struct str name);
bool stream_is_tls(const struct stream *);
struct tls_info;
bool stream_tls_info(const struct stream *, struct tls_info *ret);
struct tls_binding;
bool stream_tls_binding(const struct stream *, struct tls_binding *ret);
const struct endpoint *stream_peer(const struct stream *);
const struct endpoint *stream_local(const struct stream *);
void stream_set_peer(struct stream *, const struct endpoint *peer); /* PROXY protocol */
uint64_t stream_bytes_in(const struct stream *);
uint64_t stream_last_in(const struct stream *); /* mono ns of the last byte read, for data rates */

struct listener;
/* fd: bound and listening. accept() is called with each connection (non-blocking, close-on-exec).
 */
struct listener *listener_create(struct loop *, int fd,
                                 void (*accept)(void *ctx, int fd, const struct endpoint *peer),
                                 void *ctx);
void listener_free(struct listener *); /* closes fd */
/* While held it takes no connection: they wait in the kernel. */
void listener_hold(struct listener *, bool hold);
/* Binds and listens: TCP (SO_REUSEADDR, backlog) or a Unix path (mode given). fd or -errno. */
int listener_bind(const struct endpoint *, int backlog);
int listener_bind_unix(const char *path, unsigned mode);
/* Is it an address of this machine? By asking the kernel for a socket there. */
bool net_addr_is_here(const struct addr *);

#endif
