/*
 * net/listener.c - bound sockets and the connections that come in by them.
 *
 * Called by the gate, the control sockets, the lab and tests. Never decides who may connect: it
 * hands descriptors over.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/loop_inner.h"
#include "net/sock.h"
#include "net/stream.h"

#define LISTENER_BATCH   32u               /* connections taken before others have their turn */
#define LISTENER_STARVED (100 * NS_PER_MS) /* out of descriptors: the next try */

struct listener {
    struct event ev; /* level-triggered: a batch that was cut short needs no bookkeeping */
    struct loop_timer retry;
    void (*accept)(void *ctx, int fd, const struct endpoint *peer);
    void *ctx;
    int fd;
    bool starved, held, in_call, freed;
};

static void
listener_listen(struct listener *l)
{
    if (l->starved || l->held)
        event_del(&l->ev);
    else
        event_add(&l->ev, NULL);
}

static void
listener_retry(void *ctx)
{
    struct listener *l = ctx;

    l->starved = false;
    listener_listen(l);
}

static void
listener_destroy(struct listener *l)
{
    event_del(&l->ev);
    loop_timer_stop(&l->retry);
    fd_close(&l->fd);
    free(l);
}

/* False when there is nothing more to take now. */
static bool
listener_take(struct listener *l)
{
    union sock_addr a = {0};
    socklen_t n = sizeof(a);
    struct endpoint peer;
    int fd = accept4(l->fd, &a.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        /* The connection stays in the backlog; being called for it at once would only spin. */
        l->starved = true;
        listener_listen(l);
        loop_timer_set(&l->retry, LISTENER_STARVED);
        return false;
    }
    if (fd < 0)
        return errno == EINTR || errno == ECONNABORTED || errno == EPROTO;
    peer = sock_endpoint(&a);
    l->accept(l->ctx, fd, &peer);
    return true;
}

static void
listener_ready(evutil_socket_t fd, short what, void *ctx)
{
    struct listener *l = ctx;

    (void)fd;
    (void)what;
    l->in_call = true;
    for (unsigned i = 0; i < LISTENER_BATCH && !l->freed && !l->held; i++) {
        if (!listener_take(l))
            break;
    }
    l->in_call = false;
    if (l->freed)
        listener_destroy(l);
}

struct listener *
listener_create(struct loop *loop, int fd,
                void (*accept)(void *ctx, int fd, const struct endpoint *peer), void *ctx)
{
    struct listener *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->accept = accept;
    l->ctx = ctx;
    l->fd = fd;
    loop_timer_init(&l->retry, loop, listener_retry, l);
    if (event_assign(&l->ev, loop_base(loop), fd, EV_READ | EV_PERSIST, listener_ready, l) < 0 ||
        event_add(&l->ev, NULL) < 0) {
        free(l);
        return NULL;
    }
    return l;
}

void
listener_free(struct listener *l)
{
    if (!l)
        return;
    if (l->in_call)
        l->freed = true;
    else
        listener_destroy(l);
}

void
listener_hold(struct listener *l, bool hold)
{
    if (l->held == hold)
        return;
    l->held = hold;
    listener_listen(l);
}

static int
listener_bind_to(int fd, const union sock_addr *a, socklen_t n, int backlog)
{
    if (bind(fd, &a->sa, n) < 0 || listen(fd, backlog) < 0) {
        int err = -errno;

        close(fd);
        return err;
    }
    return fd;
}

int
listener_bind(const struct endpoint *e, int backlog)
{
    union sock_addr a;
    socklen_t n = sock_addr_of(e, &a);
    int fd = sock_open(a.sa.sa_family, SOCK_STREAM), one = 1;

    if (fd < 0)
        return fd;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (a.sa.sa_family == AF_INET6) /* [::] and 0.0.0.0 are two rows of the settings */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    return listener_bind_to(fd, &a, n, backlog);
}

bool
net_addr_is_here(const struct addr *addr)
{
    const struct endpoint e = {.addr = *addr};
    union sock_addr a;
    socklen_t n = sock_addr_of(&e, &a);
    int fd = sock_open(a.sa.sa_family, SOCK_DGRAM);
    bool here = fd >= 0 && bind(fd, &a.sa, n) == 0;

    fd_close(&fd);
    return here;
}

int
listener_bind_unix(const char *path, unsigned mode)
{
    union sock_addr a;
    socklen_t n = 0;
    struct stat st;
    int err = sock_addr_unix(path, &a, &n), fd;
    mode_t mask;

    if (err)
        return err;
    /* A socket left by a killed process; anything else at that path is not ours to remove. */
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(path);
    fd = sock_open(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return fd;
    mask = umask(0777 & ~mode); /* the right mode from the first moment */
    fd = listener_bind_to(fd, &a, n, 128);
    umask(mask);
    return fd;
}
