/*
 * net/stream_inner.h - a stream's insides, for the files that share the work: stream.c (life),
 * stream_read.c, stream_write.c, stream_tls.c, stream_connect.c.
 *
 * Rules that keep re-entrance safe: a callback is only made between stream_enter and stream_leave;
 * stream_close inside marks, and the last stream_leave frees. So after each callback s->closing is
 * looked at before anything else of the session's. Failures are told from the deferred queue.
 */
#ifndef GAPURA_NET_STREAM_INNER_H
#define GAPURA_NET_STREAM_INNER_H

#include "net/loop_inner.h"
#include "net/stream.h"

#define STREAM_MAX_PENDING (256u << 10)
#define STREAM_MAX_QUEUE   (4u << 20)
#define STREAM_TURN_MAX                                                                            \
    (256u << 10) /* bytes read from one stream before others have their turn                       \
                  */
#define STREAM_FLUSH_NS   (5 * NS_PER_S)
#define STREAM_ORPHANS    4096u      /* of a loop at once: one more is closed without a wait */
#define STREAM_LINGER_MAX (1u << 20) /* bytes of a deaf peer thrown away after the last reply */

enum stream_state {
    STREAM_CONNECTING,
    STREAM_OPEN,
    STREAM_OVER,  /* the end was told or is about to be */
    STREAM_FLUSH, /* the owner is gone; the queue is being sent */
    STREAM_LINGER /* all is sent; unread input is thrown away so that no reset eats our last words
                   */
};

/* What few streams need, allocated then. */
struct stream_extra {
    struct loop_timer timer; /* connecting, or flushing after close */
    struct why why;
    struct stream *next, **prev; /* of the loop's orphans: closed by their owner, still flushing */
    uint32_t lingered;
};

struct stream {
    struct loop_io io;
    struct loop *loop;
    const struct stream_ops *ops;
    void *ctx;
    struct tls_session *tls;
    struct stream_extra *extra;
    struct loop_call call;
    struct buf pending; /* read, not consumed; plain unless raw_pending */
    struct buf queue;   /* to be written from queue_at on; as it goes over the wire */
    size_t queue_at;
    uint64_t bytes_in, last_in;
    uint32_t max_pending;
    int fd;
    int status; /* of the end */
    struct endpoint peer, local;
    uint8_t state; /* enum stream_state */
    uint8_t depth;
    bool readable : 1; /* the kernel may have more for us */
    bool hangup : 1;   /* a FIN is there: short reads do not mean drained */
    bool eof : 1;      /* all was read */
    bool paused : 1;
    bool offer : 1; /* pending is to be offered again */
    bool in_data : 1;
    bool sent : 1;        /* something was written since the last read */
    bool more : 1;        /* data() asked to see the rest again with what follows it */
    bool drop : 1;        /* data() asked to throw the rest away */
    bool raw_pending : 1; /* pending are the first bytes of TLS */
    bool handshaking : 1;
    bool drained : 1; /* what its callback gathered is gone, and that is to be told */
    bool server : 1;  /* TLS role */
    bool told : 1;    /* ops.closed was called */
    bool closing : 1; /* stream_close was called */
    bool secret : 1;  /* stream_limits.secret */
    bool flush : 1;
};

static inline void
stream_enter(struct stream *s)
{
    s->depth++;
}
void stream_leave(struct stream *s); /* may free */
/* The stream ends with this status; the owner hears of it from the deferred queue. why may be NULL:
 * the status' text. */
void stream_fail(struct stream *s, int status, const char *why);
struct stream_extra *stream_extra(struct stream *s); /* NULL: no memory */
struct stream *stream_alloc(struct loop *, const struct stream_ops *, void *ctx,
                            const struct stream_limits *);
void stream_destroy(struct stream *s);
void stream_ready(void *ctx, unsigned ready);
void stream_name_ends(struct stream *s); /* reads peer and local from the socket */

/* stream_read.c */
void stream_pending_done(struct stream *s);
void stream_read(struct stream *s);
void stream_deliver(struct stream *s, const char *p, size_t n); /* plain bytes to the owner */
void stream_offer(struct stream *s);
/* stream_write.c */
int stream_write_raw(struct stream *s, const char *p, size_t n); /* bytes for the wire */
int stream_uncork(struct stream *s); /* sends what the callback gathered */
void stream_flush_queue(struct stream *s);
/* stream_tls.c */
void stream_tls_in(struct stream *s, const char *p, size_t n); /* bytes from the wire */
int stream_tls_write(struct stream *s, const char *p, size_t n);
void stream_tls_bye(struct stream *s); /* close_notify */
/* stream_connect.c */
void stream_connect_ready(struct stream *s);

#endif
