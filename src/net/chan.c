/*
 * net/chan.c - typed messages and descriptors between roles, over SOCK_SEQPACKET.
 *
 * Called by every role for each neighbour it has. On the wire: type u16, id u64, body; at most one
 * descriptor beside it. Never blocks; never trusts the other side's lengths or descriptors.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/chan.h"
#include "net/loop_inner.h"

#define CHAN_HEAD        10u
#define CHAN_TURN        128u /* messages taken before others have their turn */
#define CHAN_QUEUE_BYTES (4u << 20)
#define CHAN_QUEUE_COUNT 16384u
#define CHAN_QUEUE_FDS   64u

struct chan_item {
    struct chan_item *next;
    size_t n;
    int fd;
    char bytes[];
};

struct chan {
    struct loop *loop;
    struct loop_io io;
    struct loop_call call; /* tell of the end; read on */
    const struct chan_ops *ops;
    void *ctx;
    struct chan_item *first, **end;
    size_t queued_bytes, queued_count, queued_fds;
    int fd;
    bool tell;     /* the end is still to be told */
    bool faulty;   /* it ended by what the other side sent */
    bool wants;    /* waits for room to write */
    bool readable; /* a turn was cut short */
    bool in_call, freed;
};

static_assert(CHAN_BODY_MAX + CHAN_HEAD <= LOOP_BUF, "a message fits the loop's buffer");

static void chan_ready(void *ctx, unsigned ready);
static void chan_called(void *ctx);

static int
chan_attach(struct chan *c, int fd)
{
    int err = loop_io_init(&c->io, c->loop, fd, LOOP_READ, chan_ready, c);

    if (!err)
        c->fd = fd;
    return err;
}

static void
chan_detach(struct chan *c)
{
    loop_io_done(&c->io);
    fd_close(&c->fd);
    c->wants = c->readable = false;
}

struct chan *
chan_create(struct loop *loop, int fd, const struct chan_ops *ops, void *ctx)
{
    struct chan *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->loop = loop;
    c->ops = ops;
    c->ctx = ctx;
    c->end = &c->first;
    c->fd = -1;
    c->call = (struct loop_call){.fn = chan_called, .ctx = c};
    if (fd >= 0 && chan_attach(c, fd) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

static void
chan_pop(struct chan *c)
{
    struct chan_item *item = c->first;

    c->first = item->next;
    if (!c->first)
        c->end = &c->first;
    c->queued_bytes -= item->n;
    c->queued_count--;
    if (item->fd >= 0)
        c->queued_fds--;
    fd_close(&item->fd);
    explicit_bzero(item->bytes, item->n); /* passwords and keys pass through channels */
    free(item);
}

static void
chan_destroy(struct chan *c)
{
    loop_call_cancel(c->loop, &c->call);
    chan_detach(c);
    while (c->first)
        chan_pop(c);
    free(c);
}

void
chan_free(struct chan *c)
{
    if (!c)
        return;
    if (c->in_call)
        c->freed = true;
    else
        chan_destroy(c);
}

bool
chan_open(const struct chan *c)
{
    return c->fd >= 0;
}

/* The connection is over; the owner hears of it from the deferred queue. */
static void
chan_break(struct chan *c)
{
    if (c->fd < 0)
        return;
    chan_detach(c);
    c->tell = true;
    loop_defer(c->loop, &c->call);
}

void
chan_refuse(struct chan *c)
{
    c->faulty = c->faulty || c->fd >= 0;
    chan_break(c);
}

bool
chan_faulty(const struct chan *c)
{
    return c->faulty;
}

/* One message to the kernel. 1 sent, 0 no room, -errno. */
static int
chan_push(int to, const struct iovec *iov, size_t niov, int fd)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = niov};

    if (fd >= 0) {
        struct cmsghdr *h;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof(control.room);
        h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &fd, sizeof(int));
    }
    while (sendmsg(to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
    return 1;
}

static bool
chan_gone(int err)
{
    return err == -EPIPE || err == -ECONNRESET || err == -ENOTCONN || err == -ECONNREFUSED;
}

static void
chan_flush(struct chan *c)
{
    while (c->first && c->fd >= 0) {
        struct iovec iov = {c->first->bytes, c->first->n};
        int r = chan_push(c->fd, &iov, 1, c->first->fd);

        if (r == 0)
            break;
        if (r < 0 && chan_gone(r)) { /* kept for the next connection */
            chan_break(c);
            return;
        }
        chan_pop(c); /* sent, or such as no kernel will ever take */
    }
    if (c->fd < 0 || c->wants == (c->first != NULL))
        return;
    /* Room is asked for only while something waits: else every message the other side reads would
     * wake this one. */
    c->wants = c->first != NULL;
    if (loop_io_change(&c->io, c->wants ? LOOP_READ | LOOP_WRITE : LOOP_READ) < 0)
        chan_break(c);
}

static int
chan_enqueue(struct chan *c, const char *head, const struct buf *body, int fd)
{
    size_t n = CHAN_HEAD + (body ? body->n : 0);
    struct chan_item *item;

    if (c->queued_count >= CHAN_QUEUE_COUNT || n > CHAN_QUEUE_BYTES - c->queued_bytes ||
        (fd >= 0 && c->queued_fds >= CHAN_QUEUE_FDS))
        return ERR_LIMIT;
    item = malloc(sizeof(*item) + n);
    if (!item)
        return ERR_NOMEM;
    item->next = NULL;
    item->n = n;
    item->fd = -1;
    if (fd >= 0) {
        item->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (item->fd < 0) {
            free(item);
            return -errno;
        }
        c->queued_fds++;
    }
    memcpy(item->bytes, head, CHAN_HEAD);
    if (body && body->n)
        memcpy(item->bytes + CHAN_HEAD, body->p, body->n);
    *c->end = item;
    c->end = &item->next;
    c->queued_bytes += n;
    c->queued_count++;
    return 0;
}

int
chan_send(struct chan *c, uint16_t type, uint64_t id, const struct buf *body, int fd)
{
    struct iovec iov[2] = {{0}};
    char head[CHAN_HEAD];
    int r = 0;

    if (body && (body->failed || body->n > CHAN_BODY_MAX))
        return ERR_LIMIT;
    for (unsigned i = 0; i < 2; i++)
        head[i] = (char)(type >> (8 * i));
    for (unsigned i = 0; i < 8; i++)
        head[2 + i] = (char)(id >> (8 * i));
    if (c->fd >= 0 && !c->first) {
        iov[0] = (struct iovec){head, CHAN_HEAD};
        if (body)
            iov[1] = (struct iovec){body->p, body->n};
        r = chan_push(c->fd, iov, body && body->n ? 2 : 1, fd);
        if (r > 0)
            return 0;
        if (r < 0 && !chan_gone(r))
            return r;
        if (r < 0)
            chan_break(c);
    }
    r = chan_enqueue(c, head, body, fd);
    if (!r && c->fd >= 0)
        chan_flush(c);
    return r;
}

void
chan_renew(struct chan *c, int fd)
{
    c->tell = c->faulty = false;
    chan_detach(c);
    if (chan_attach(c, fd) < 0) {
        fd_close(&fd);
        c->tell = true;
        loop_defer(c->loop, &c->call);
        return;
    }
    chan_flush(c);
}

/* The descriptor beside a message: *ret is it or -1. False if the sender gave more than one. */
static bool
chan_take_fd(struct msghdr *msg, int *ret)
{
    bool good = !(msg->msg_flags & MSG_CTRUNC);

    *ret = -1;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
        size_t n;

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS || h->cmsg_len < CMSG_LEN(0))
            continue;
        n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
            if (*ret < 0) {
                *ret = fd;
                continue;
            }
            good = false;
            fd_close(&fd);
        }
    }
    if (!good)
        fd_close(ret);
    return good;
}

/* One message from the kernel to the owner. False: nothing more to do now. */
static bool
chan_take(struct chan *c)
{
    union {
        char room[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {c->loop->in, LOOP_BUF};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.room,
                         .msg_controllen = sizeof(control.room)};
    struct wire w;
    uint16_t type;
    uint64_t id;
    ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    int fd;

    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN) {
        c->readable = false;
        return false;
    }
    if (n < 0) {
        chan_break(c);
        return false;
    }
    /* Nothing read is the end, or a message without a byte that may still carry descriptors. */
    if (!chan_take_fd(&msg, &fd) || (msg.msg_flags & MSG_TRUNC) || (size_t)n < CHAN_HEAD) {
        fd_close(&fd);
        if (n > 0 || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
            chan_refuse(c);
        else
            chan_break(c);
        return false;
    }
    wire_init(&w, c->loop->in, (size_t)n);
    type = wire_u16(&w);
    id = wire_u64(&w);
    c->ops->message(c->ctx, type, id, &w, fd);
    explicit_bzero(c->loop->in, (size_t)n);
    if (!c->freed && !wire_end(&w)) {
        chan_refuse(c);
        return false;
    }
    return !c->freed && c->fd >= 0;
}

static void
chan_read(struct chan *c)
{
    c->in_call = true;
    for (unsigned i = 0; i < CHAN_TURN; i++) {
        if (!chan_take(c))
            break;
    }
    c->in_call = false;
    if (c->freed)
        chan_destroy(c);
    else if (c->readable)
        loop_defer_next(c->loop, &c->call);
}

static void
chan_ready(void *ctx, unsigned ready)
{
    struct chan *c = ctx;

    if ((ready & LOOP_WRITE) && c->first)
        chan_flush(c);
    if (!(ready & LOOP_READ) || c->fd < 0)
        return;
    c->readable = true;
    chan_read(c);
}

static void
chan_called(void *ctx)
{
    struct chan *c = ctx;

    if (c->tell) {
        c->tell = false;
        c->in_call = true;
        if (c->ops->closed)
            c->ops->closed(c->ctx);
        c->in_call = false;
        if (c->freed) {
            chan_destroy(c);
            return;
        }
    }
    if (c->readable && c->fd >= 0)
        chan_read(c);
}

int
chan_pair(int ret[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret) < 0 ? -errno
                                                                                          : 0;
}
