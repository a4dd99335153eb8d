/*
 * fuzz/fuzz_chan.c - a role that is broken sends any messages with any descriptors: the channel
 * stays of one mind with it or closes, tells its end once, and leaks no descriptor.
 */
#include "net/chan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct end {
    struct chan *chan;
    struct chan_asks *asks;
    unsigned messages, closed, answers;
};

static struct loop *loop;
static int gift = -1; /* what is sent along: not the channel itself, which would keep it alive */

static unsigned
descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    ENSURE(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void
on_answer(void *ctx, int status, struct wire *body, int fd)
{
    struct end *e = ctx;

    e->answers++;
    fd_close(&fd);
    if (!status)
        wire_skip(body, wire_left(body));
}

/* Reads as a role would: fields by type; some types are not known. */
static void
on_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct end *e = ctx;
    CLEANUP(buf_done) struct buf b = {0};

    e->messages++;
    switch (type % 8) {
    case 0:
        (void)wire_str(body);
        (void)wire_u64(body);
        break;
    case 1:
        wire_skip(body, wire_left(body));
        break;
    case 2: /* echoes */
        buf_init(&b, CHAN_BODY_MAX);
        buf_str(&b, wire_bytes(body, wire_left(body)));
        (void)chan_send(e->chan, type, id, &b, fd);
        break;
    case 3:
        (void)chan_ask_answer(e->asks, id, body, fd);
        return;
    case 4:
        chan_refuse(e->chan);
        break;
    case 5: {
        struct chan *gone = e->chan;

        e->chan = NULL;
        chan_free(gone);
        break;
    }
    default:
        break; /* unknown: nothing of the body is read */
    }
    fd_close(&fd);
}

static void
on_closed(void *ctx)
{
    struct end *e = ctx;

    e->closed++;
}

/* How many descriptors, then the bytes of one message. */
static void
send_one(int to, struct wire *w)
{
    unsigned nfds = wire_u8(w) % 7;
    struct str bytes = wire_str16(w);
    union {
        char room[CMSG_SPACE(sizeof(int) * 6)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {(void *)(uintptr_t)(bytes.n ? bytes.p : ""), bytes.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (nfds && !w->failed) {
        msg.msg_control = control.room;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        for (unsigned i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &gift, sizeof(int));
    }
    (void)sendmsg(to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct chan_ops ops = {on_message, on_closed};
    struct end e = {0};
    struct wire w;
    int pair[2];

    if (!loop)
        ENSURE((loop = loop_create()) && (gift = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0);
    unsigned before = descriptors();
    ENSURE(chan_pair(pair) == 0);
    e.chan = chan_create(loop, pair[0], &ops, &e);
    e.asks = chan_asks_create(loop, 4);
    ENSURE(e.chan && e.asks);
    for (unsigned i = 0; i < 3; i++)
        (void)chan_ask_add(e.asks, UINT64_C(60000000000), on_answer, &e);
    wire_init(&w, data, n);
    while (wire_left(&w) && !w.failed) {
        send_one(pair[1], &w);
        loop_once(loop, false);
    }
    close(pair[1]);
    for (unsigned i = 0; i < 16; i++)
        loop_once(loop, false);
    ENSURE(e.closed <= 1 && e.answers <= 3);
    ENSURE(!e.chan || e.closed == 1);
    chan_free(e.chan);
    chan_asks_free(e.asks);
    loop_once(loop, false);
    ENSURE(descriptors() == before);
    return 0;
}
