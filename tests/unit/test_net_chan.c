/* Channels: messages, descriptors, ceilings, restarts of the other side, questions. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/chan.h"
#include "net/loop_inner.h"
#include "tap.h"

struct side {
    struct chan *c;
    unsigned got, closed;
    uint16_t type;
    uint64_t id, sum;
    char text[64];
    int fd;
    bool lazy, echo, frees, stop_at_closed;
    struct loop *loop;
};

static void
on_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct side *s = ctx;
    struct str text;

    s->got++;
    s->type = type;
    s->id = id;
    s->sum += id;
    s->fd = fd;
    if (s->lazy)
        return;
    text = wire_bytes(body, wire_left(body));
    (void)str_copy(str_sub(text, 0, sizeof(s->text) - 1), s->text, sizeof(s->text));
    if (s->echo) {
        struct buf b = {.max = CHAN_BODY_MAX};

        buf_str(&b, text);
        chan_send(s->c, type, id, &b, -1);
        buf_done(&b);
    }
    if (s->frees) {
        chan_free(s->c);
        s->c = NULL;
    }
}

static void
on_closed(void *ctx)
{
    ((struct side *)ctx)->closed++;
}

static const struct chan_ops ops = {.message = on_message, .closed = on_closed};

static void
meet(struct loop *loop, struct side *a, struct side *b)
{
    int fds[2];

    IS(chan_pair(fds), 0, "a pair");
    *a = (struct side){.fd = -1, .loop = loop};
    *b = (struct side){.fd = -1, .loop = loop};
    a->c = chan_create(loop, fds[0], &ops, a);
    b->c = chan_create(loop, fds[1], &ops, b);
}

#define UNTIL(cond)                                                                                \
    for (uint64_t until_ = clock_mono() + 10 * NS_PER_S; !(cond) && clock_mono() < until_;)        \
    loop_once(loop, false)

static void
test_messages(struct loop *loop)
{
    struct side a, b;
    struct buf body = {.max = CHAN_BODY_MAX + 1};
    char page[4] = "";
    int fd = memfd_create("x", MFD_CLOEXEC);

    meet(loop, &a, &b);
    b.echo = true;
    OK(chan_open(a.c), "open");
    buf_c(&body, "hello");
    IS(chan_send(a.c, 7, UINT64_C(0x1122334455667788), &body, -1), 0, "sent");
    UNTIL(a.got);
    IS(b.type, 7, "type");
    OK(a.id == UINT64_C(0x1122334455667788), "id");
    TEXT(str_c(a.text), "hello", "body, there and back");
    IS(b.fd, -1, "no descriptor");
    IS(write(fd, "abc", 3), 3, "a file");
    IS(chan_send(a.c, 8, 1, NULL, fd), 0, "with a descriptor and no body");
    close(fd);
    UNTIL(b.got == 2);
    IS(pread(b.fd, page, 3, 0), 3, "the descriptor works");
    TEXT(str_c(page), "abc", "and is that file");
    OK(fcntl(b.fd, F_GETFD) & FD_CLOEXEC, "close-on-exec");
    close(b.fd);
    buf_clear(&body);
    memset(buf_room(&body, CHAN_BODY_MAX), 'x', CHAN_BODY_MAX);
    buf_used(&body, CHAN_BODY_MAX);
    IS(chan_send(a.c, 9, 2, &body, -1), 0, "the largest body");
    UNTIL(a.got == 3);
    IS(a.got, 3, "came back");
    buf_char(&body, 'x');
    IS(chan_send(a.c, 9, 2, &body, -1), ERR_LIMIT, "one byte more is refused");
    buf_done(&body);
    chan_free(a.c);
    UNTIL(b.closed);
    IS(b.closed, 1, "the end is told");
    OK(!chan_open(b.c), "and known");
    chan_free(b.c);
}

static void
test_queue(struct loop *loop)
{
    struct side a, b;
    struct buf body = {.max = CHAN_BODY_MAX};
    unsigned sent = 0, fds = 0;
    uint64_t sum = 0;
    int err = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC);

    meet(loop, &a, &b);
    memset(buf_room(&body, 3000), 'x', 3000);
    buf_used(&body, 3000);
    while (!(err = chan_send(a.c, 1, sent + 1, &body, -1)) && sent < 100000)
        sum += ++sent;
    IS(err, ERR_LIMIT, "a reader that sleeps: the queue has its ceiling (%u sent)", sent);
    OK(sent > 1000, "and takes much before");
    UNTIL(b.got == sent);
    IS(b.got, sent, "all that was taken arrives");
    OK(b.sum == sum, "once each");
    IS(b.id, sent, "in order");
    while (!(err = chan_send(a.c, 1, 1, NULL, null)) && fds < 100000)
        fds++;
    OK(err != 0, "descriptors have a ceiling (%u)", fds);
    close(null);
    chan_free(a.c);
    chan_free(b.c);
    loop_once(loop, false);
    buf_done(&body);
}

static void
test_renew(struct loop *loop)
{
    struct side a, b, b2 = {.fd = -1};
    struct buf body = {.max = 100};
    int fds[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

    meet(loop, &a, &b);
    buf_c(&body, "kept");
    chan_free(b.c); /* the other role dies */
    UNTIL(a.closed);
    IS(a.closed, 1, "its death is told");
    for (unsigned i = 1; i <= 3; i++)
        IS(chan_send(a.c, 5, i, &body, i == 2 ? null : -1), 0, "messages wait");
    close(null);
    IS(chan_pair(fds), 0, "a new pair");
    b2.c = chan_create(loop, fds[1], &ops, &b2);
    chan_renew(a.c, fds[0]);
    UNTIL(b2.got == 3);
    IS(b2.sum, 6, "and reach the new one");
    TEXT(str_c(b2.text), "kept", "whole");
    IS(a.closed, 1, "nothing else is told");
    chan_free(b2.c);
    /* Sending finds the death before reading does. */
    IS(chan_send(a.c, 5, 9, &body, -1), 0, "kept again");
    IS(a.closed, 1, "not told before the call returned");
    UNTIL(a.closed == 2);
    IS(a.closed, 2, "told");
    IS(chan_pair(fds), 0, "a third");
    b2 = (struct side){.fd = -1};
    b2.c = chan_create(loop, fds[1], &ops, &b2);
    chan_renew(a.c, fds[0]);
    UNTIL(b2.got);
    IS(b2.id, 9, "not lost");
    chan_free(a.c);
    chan_free(b2.c);
    a = (struct side){.fd = -1};
    a.c = chan_create(loop, -1, &ops, &a);
    OK(!chan_open(a.c), "not connected yet");
    IS(chan_send(a.c, 1, 1, &body, -1), 0, "waits");
    chan_free(a.c);
    chan_free(NULL);
    buf_done(&body);
}

static int
open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 200; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void
test_bad_neighbours(struct loop *loop)
{
    struct side a, b;
    struct buf body = {.max = 100};
    int fds[2], many[3], raw, before;
    union {
        char room[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    char head[12] = "0123456789ab";
    struct iovec iov = {head, sizeof(head)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.room,
                         .msg_controllen = sizeof(control.room)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

    meet(loop, &a, &b);
    b.lazy = true;
    buf_c(&body, "unread");
    chan_send(a.c, 1, 1, &body, -1);
    UNTIL(a.closed && b.closed);
    IS(a.closed + b.closed, 2, "a body that was not consumed ends the channel");
    chan_free(a.c);
    chan_free(b.c);

    meet(loop, &a, &b);
    chan_refuse(b.c);
    IS(b.closed, 0, "deferred");
    UNTIL(a.closed && b.closed);
    IS(a.closed + b.closed, 2, "a refused type ends it too");
    chan_free(a.c);
    chan_free(b.c);

    meet(loop, &a, &b);
    b.frees = true;
    chan_send(a.c, 1, 1, &body, -1);
    chan_send(a.c, 1, 2, &body, -1);
    UNTIL(a.closed);
    IS(b.got, 1, "freed in its callback: nothing more comes");
    chan_free(a.c);

    chan_pair(fds);
    raw = fds[0];
    b = (struct side){.fd = -1};
    b.c = chan_create(loop, fds[1], &ops, &b);
    IS(write(raw, "short", 5), 5, "five bytes are no message");
    UNTIL(b.closed);
    IS(b.closed, 1, "refused");
    close(raw);
    before = open_fds();
    chan_pair(fds);
    raw = fds[0];
    chan_renew(b.c, fds[1]);
    for (int i = 0; i < 3; i++)
        many[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(many));
    memcpy(CMSG_DATA(h), many, sizeof(many));
    IS(sendmsg(raw, &msg, 0), 12, "three descriptors at once");
    UNTIL(b.closed == 2);
    IS(b.got, 0, "are refused");
    close(raw);
    chan_pair(fds);
    raw = fds[0];
    chan_renew(b.c, fds[1]);
    iov.iov_len = 0;
    IS(sendmsg(raw, &msg, 0), 0, "descriptors beside no byte at all");
    UNTIL(b.closed == 3);
    IS(b.got, 0, "are refused as well");
    for (int i = 0; i < 3; i++)
        close(many[i]);
    close(raw);
    IS(open_fds(), before, "and none of them stays open");
    chan_free(b.c);
    buf_done(&body);
}

struct answer {
    unsigned calls;
    int status;
    uint32_t value;
    struct chan_asks *asks;
    uint64_t again;
};

static void
on_answer(void *ctx, int status, struct wire *body, int fd)
{
    struct answer *a = ctx;

    (void)fd;
    a->calls++;
    a->status = status;
    a->value = wire_u32(body);
    if (a->asks)
        a->again = chan_ask_add(a->asks, NS_PER_S, on_answer, a);
}

static void
test_asks(struct loop *loop)
{
    struct chan_asks *asks = chan_asks_create(loop, 3);
    struct answer a[4] = {{0}};
    uint64_t ids[3];
    struct buf b = {.max = 10};
    struct wire w;

    put_u32(&b, 42);
    for (int i = 0; i < 3; i++)
        ids[i] = chan_ask_add(asks, i == 2 ? 20 * NS_PER_MS : 60 * NS_PER_S, on_answer, &a[i]);
    IS(chan_ask_add(asks, NS_PER_S, on_answer, &a[3]), 0, "full");
    wire_init(&w, b.p, b.n);
    OK(chan_ask_answer(asks, ids[0], &w, -1), "an answer");
    IS(a[0].value, 42, "reaches its asker");
    OK(wire_end(&w), "and was read");
    wire_init(&w, b.p, b.n);
    OK(!chan_ask_answer(asks, ids[0], &w, -1), "twice is once");
    OK(wire_end(&w), "the late body is skipped");
    IS(a[0].calls, 1, "called once");
    ids[0] = chan_ask_add(asks, 60 * NS_PER_S, on_answer, &a[3]);
    OK(ids[0] != 0, "the place is free again");
    wire_init(&w, b.p, b.n);
    chan_ask_cancel(asks, ids[1]);
    OK(!chan_ask_answer(asks, ids[1], &w, -1), "a cancelled question has no answer");
    IS(a[1].calls, 0, "and is not called");
    UNTIL(a[2].calls);
    IS(a[2].status, ERR_TIMEOUT, "time out");
    a[3].asks = asks;
    chan_asks_fail(asks, ERR_CLOSED);
    IS(a[3].status, ERR_CLOSED, "the other role is gone");
    IS(a[3].calls, 1, "what is asked in the callback is not failed with it");
    OK(a[3].again != 0, "but stands");
    chan_asks_free(asks);
    chan_asks_free(NULL);
    buf_done(&b);
}

/* What was handed over stays in no buffer of ours. */
static void
test_wiped(struct loop *loop)
{
    static const char secret[] = "a password that nobody may find";
    struct side a = {0}, b = {0};
    struct buf body = {.max = CHAN_BODY_MAX};

    memset(loop->in, '.', LOOP_BUF);
    meet(loop, &a, &b);
    buf_c(&body, secret);
    IS(chan_send(a.c, 1, 1, &body, -1), 0, "sent");
    for (unsigned i = 0; i < 100 && !b.got; i++)
        loop_once(loop, true);
    TEXT(str_c(b.text), secret, "it came");
    OK(str_find(str_of(loop->in, LOOP_BUF), str_c("nobody may find")) < 0, "and was wiped");
    buf_done(&body);
    chan_free(a.c);
    chan_free(b.c);
}

int
main(void)
{
    struct loop *loop = loop_create();

    test_messages(loop);
    test_queue(loop);
    test_renew(loop);
    test_bad_neighbours(loop);
    test_asks(loop);
    test_wiped(loop);
    loop_free(loop);
    return tap_done();
}
