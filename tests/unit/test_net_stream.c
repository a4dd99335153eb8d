/* Streams over real sockets: pauses, partial consumption, closing inside callbacks, slow readers.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "net/stream_inner.h"
#include "net_party.h"

static size_t
act_echo(struct party *a, const char *p, size_t n)
{
    stream_send(a->s, p, n);
    return n;
}

static void
test_echo(void)
{
    struct loop *loop = loop_create();
    struct party server = {.act = act_echo}, client = {0};
    char text[56];

    party_meet(loop, &server, &client, NULL);
    IS(stream_peer(server.s)->port, stream_local(client.s)->port, "both know the ports");
    TEXT(str_c(endpoint_show(stream_peer(client.s), text)),
         endpoint_show(stream_local(server.s), (char[56]){0}), "and the addresses");
    party_say(&client, "hello");
    UNTIL(loop, client.got.n == 5);
    TEXT(client.got, "hello", "echoed");
    IS(stream_bytes_in(server.s), 5, "counted");
    OK(!stream_is_tls(server.s), "plain");
    stream_close(client.s, true);
    client.s = NULL;
    UNTIL(loop, server.closed);
    IS(server.closed, 1, "the end is told");
    IS(server.status, 0, "as an end, not an error");
    IS(stream_send(server.s, "x", 1), 0, "after the peer's end of sending ours is still open");
    party_part(&server, &client);
    loop_free(loop);
}

/* Consumes one line at a time and pauses after each. */
static size_t
act_line(struct party *a, const char *p, size_t n)
{
    ssize_t nl = str_chr(str_of(p, n), '\n');

    if (nl < 0) {
        stream_resume(a->s); /* wants to see more of the line */
        return 0;
    }
    buf_add(&a->got, p, (size_t)nl + 1);
    a->step++;
    return (size_t)nl + 1;
}

static void
test_partial(void)
{
    struct loop *loop = loop_create();
    struct party server = {.act = act_line}, client = {0};

    party_meet(loop, &server, &client, NULL);
    party_say(&client, "one\ntwo\nthr");
    UNTIL(loop, server.step == 1);
    loop_once(loop, false);
    loop_once(loop, false);
    IS(server.calls, 1, "less than all consumed: paused");
    party_say(&client, "ee\nfour\n");
    loop_once(loop, false);
    IS(server.calls, 1, "nothing is offered meanwhile");
    stream_resume(server.s);
    IS(server.calls, 1, "resume is deferred");
    UNTIL(loop, server.step == 2);
    TEXT(server.got, "one\ntwo\n", "the rest is offered again");
    stream_resume(server.s);
    UNTIL(loop, server.step == 3);
    TEXT(server.got, "one\ntwo\nthree\n", "a rest that wants more is joined with what follows");
    stream_resume(server.s);
    UNTIL(loop, server.step == 4);
    TEXT(server.got, "one\ntwo\nthree\nfour\n", "all of it");
    stream_pause(server.s);
    party_say(&client, "five\n");
    stream_close(client.s, true);
    client.s = NULL;
    for (int i = 0; i < 5; i++)
        loop_once(loop, false);
    IS(server.closed, 0, "paused: not even the end is told");
    stream_resume(server.s);
    UNTIL(loop, server.closed);
    IS(server.step, 5, "what came before the end comes first");
    IS(server.closed, 1, "then the end");
    party_part(&server, &client);
    loop_free(loop);
}

/* Answers with much, looks at the queue and would go on once it is empty. */
static size_t
act_ask_queue(struct party *a, const char *p, size_t n)
{
    (void)p;
    stream_send(a->s, "0123456789", 10);
    a->step = stream_queued(a->s);
    return n;
}

static size_t
act_not_asking(struct party *a, const char *p, size_t n)
{
    (void)p;
    stream_send(a->s, "0123456789", 10);
    return n;
}

static void
test_gathered_drains(void)
{
    struct loop *loop = loop_create();
    struct party server = {.act = act_ask_queue}, client = {0};

    party_meet(loop, &server, &client, NULL);
    party_say(&client, "go");
    UNTIL(loop, client.got.n == 10);
    IS(server.step, 10, "what a callback gathers counts as queued");
    UNTIL(loop, server.drained == 1);
    IS(server.drained, 1, "who was told of it hears when it is gone");
    server.act = act_not_asking;
    party_say(&client, "go");
    UNTIL(loop, client.got.n == 20);
    for (int i = 0; i < 3; i++)
        loop_once(loop, false);
    IS(server.drained, 1, "who did not ask is not called");
    server.act = act_ask_queue;
    party_say(&client, "go");
    UNTIL(loop, server.drained == 2);
    IS(server.drained, 2, "once for each time");
    party_part(&server, &client);
    loop_free(loop);
}

static size_t
act_dribble(struct party *a, const char *p, size_t n)
{
    size_t take = MIN(n, (size_t)1000 + a->step++ % 5000);

    buf_add(&a->got, p, take);
    if (take < n)
        loop_defer(a->loop, &a->call);
    return take;
}

static void
resume_party(void *ctx)
{
    struct party *a = ctx;

    if (a->s)
        stream_resume(a->s);
}

static void
test_dribble(void)
{
    enum { N = 16000000 };
    struct loop *loop = loop_create();
    struct party server = {.act = act_dribble}, client = {0};
    struct stream_limits limits = {.max_queue = N};
    char *big = malloc(N);
    bool same = true;

    server.call = (struct loop_call){.fn = resume_party, .ctx = &server};
    server.loop = loop;
    for (int i = 0; i < N; i++)
        big[i] = (char)(i * 7 + i / 251);
    party_meet(loop, &server, &client, &limits);
    IS(stream_send(client.s, big, N), 0, "16 MB to send");
    UNTIL(loop, server.got.n == N);
    IS(server.got.n, N, "all consumed, in bits");
    same = server.got.n == N && memcmp(server.got.p, big, N) == 0;
    OK(same, "in order, nothing lost or doubled");
    OK(client.drained == 1, "and the sender heard that its queue is empty");
    loop_call_cancel(loop, &server.call);
    party_part(&server, &client);
    loop_free(loop);
    free(big);
}

static size_t
act_close_flush(struct party *a, const char *p, size_t n)
{
    (void)p;
    party_say(a, "bye");
    stream_close(a->s, true);
    a->s = NULL;
    return n / 2;
}

static size_t
act_close_both(struct party *a, const char *p, size_t n)
{
    (void)p;
    stream_close(a->s, false);
    stream_close(a->other->s, false);
    a->s = a->other->s = NULL;
    return n;
}

static void
test_close_inside(void)
{
    struct loop *loop = loop_create();
    struct party server = {.act = act_close_flush}, client = {.close_when_closed = true};

    party_meet(loop, &server, &client, NULL);
    party_say(&client, "go");
    UNTIL(loop, client.closed);
    TEXT(client.got, "bye", "closed in data(): the last words arrive");
    IS(client.status, 0, "as a clean end");
    IS(server.closed, 0, "the closer hears nothing more");
    party_part(&server, &client);

    server = (struct party){.act = act_close_both};
    client = (struct party){0};
    party_meet(loop, &server, &client, NULL);
    party_say(&client, "go");
    UNTIL(loop, !server.s);
    for (int i = 0; i < 3; i++)
        loop_once(loop, false);
    IS(client.closed + server.closed, 0, "both closed in one callback");
    party_part(&server, &client);

    /* Last words to a peer that goes on talking: no reset may eat them. */
    server = (struct party){.act = act_close_flush};
    client = (struct party){.close_when_closed = true};
    party_meet(loop, &server, &client, NULL);
    for (int i = 0; i < 200; i++)
        party_say(&client, "MAIL FROM:<a@example.org> and so on and so on\r\n");
    UNTIL(loop, client.closed);
    TEXT(client.got, "bye", "the reply survives unread input");
    party_part(&server, &client);
    loop_free(loop);
}

static size_t
act_sink(struct party *a, const char *p, size_t n)
{
    (void)p;
    a->step += n;
    return n;
}

static void
test_slow_reader(void)
{
    enum { N = 2000000 };
    static char block[N];
    struct stream_limits limits = {.max_queue = 6000000};
    struct loop *loop = loop_create();
    struct party server = {.act = act_sink}, client = {0};
    int err = 0, n = 0;

    party_meet(loop, &server, &client, &limits);
    stream_pause(server.s);
    while (!err && n < 100) {
        err = stream_send(client.s, block, N);
        n++;
        OK(stream_queued(client.s) <= limits.max_queue, "the queue keeps its ceiling");
    }
    IS(err, ERR_LIMIT, "a peer that does not read has an end");
    IS(client.closed, 0, "told later");
    loop_once(loop, true);
    IS(client.closed, 1, "told");
    IS(client.status, ERR_LIMIT, "as a limit (%s)", client.why);
    IS(stream_send(client.s, "x", 1), ERR_CLOSED, "nothing more can be sent");
    party_part(&server, &client);

    server = (struct party){.act = act_sink};
    client = (struct party){0};
    party_meet(loop, &server, &client, NULL);
    stream_pause(server.s);
    IS(stream_send(client.s, block, N), 0, "2 MB fit the queue");
    IS(stream_send(client.s, block, N), 0, "2 MB more");
    loop_once(loop, false);
    stream_close(client.s, true); /* flush although the reader sleeps */
    client.s = NULL;
    stream_resume(server.s);
    UNTIL(loop, server.closed);
    IS(server.step, 2 * N, "close with flush sends what was queued");
    party_part(&server, &client);
    loop_free(loop);
}

static void
test_flush_is_bounded(void)
{
    static char block[3000000];
    struct loop *loop = loop_create();
    struct party server = {0}, client = {0};
    struct mallinfo2 before, after;

    party_meet(loop, &server, &client, NULL);
    stream_pause(server.s);
    stream_send(client.s, block, sizeof(block));
    stream_send(client.s, block, 1000000);
    before = mallinfo2();
    clock_own(clock_mono(), clock_wall());
    stream_close(client.s, true);
    client.s = NULL;
    clock_advance(6 * NS_PER_S);
    loop_once(loop, false);
    clock_release();
    after = mallinfo2();
#ifndef __SANITIZE_ADDRESS__
    OK(tap_valgrind() || after.hblkhd + after.uordblks < before.hblkhd + before.uordblks,
       "five seconds, then the queue is given up");
#else
    OK(before.uordblks == after.uordblks,
       "five seconds, then the queue is given up (not measured)");
#endif
    party_part(&server, &client);
    loop_free(loop);
}

static void
test_fairness(void)
{
    enum { N = 3000000 };
    static char block[N];
    struct loop *loop = loop_create();
    struct party server = {.act = act_sink}, client = {0};
    size_t most = 0, last = 0;

    party_meet(loop, &server, &client, NULL);
    stream_send(client.s, block, N);
    while (server.step < N) {
        loop_once(loop, true);
        most = MAX(most, server.step - last);
        last = server.step;
    }
    OK(most <= 256 << 10, "no more than 256 KiB of one stream in a turn (%zu)", most);
    party_part(&server, &client);
    loop_free(loop);
}

static void
test_connect(void)
{
    struct loop *loop = loop_create();
    struct party a = {0};
    struct endpoint e;
    struct addr local;
    int fd;

    /* A port that was bound a moment ago and is closed again. */
    endpoint_parse(STR("127.0.0.1:0"), 0, &e);
    fd = listener_bind(&e, 1);
    {
        struct sockaddr_in in;
        socklen_t n = sizeof(in);

        getsockname(fd, (struct sockaddr *)&in, &n);
        e.port = ntohs(in.sin_port);
        close(fd);
    }
    a.s = stream_connect(loop, &e, NULL, NS_PER_S, &party_ops, &a, NULL);
    IS(a.closed, 0, "not before the call returns");
    UNTIL(loop, a.closed);
    IS(a.status, -ECONNREFUSED, "refused: %s", a.why);
    stream_close(a.s, true);

    a = (struct party){0};
    addr_parse(STR("203.0.113.7"), &local);
    a.s = stream_connect(loop, &e, &local, NS_PER_S, &party_ops, &a, NULL);
    UNTIL(loop, a.closed);
    IS(a.status, -EADDRNOTAVAIL, "a source that is not ours: %s", a.why);
    stream_close(a.s, true);

    a = (struct party){0};
    a.s = stream_connect_unix(loop, "/nonexistent/socket", &party_ops, &a, NULL);
    UNTIL(loop, a.closed);
    IS(a.status, -ENOENT, "no such socket");
    stream_close(a.s, true);

    /* A full backlog: connecting hangs, the timer ends it. */
    fd = listener_bind(&e, 0);
    if (fd >= 0) {
        struct party many[4] = {{0}};

        for (int i = 0; i < 4; i++)
            many[i].s = stream_connect(loop, &e, NULL, 300 * NS_PER_MS, &party_ops, &many[i], NULL);
        UNTIL(loop, many[3].closed || many[3].connected);
        OK(many[3].closed && many[3].status == ERR_TIMEOUT, "no answer: %s", many[3].why);
        for (int i = 0; i < 4; i++)
            stream_close(many[i].s, false);
        close(fd);
    } else {
        tap_skip("connecting to a full backlog", "the port was taken meanwhile");
    }
    loop_free(loop);
}

static int accepted = -1;

static void
take_fd(void *ctx, int fd, const struct endpoint *peer)
{
    (void)ctx;
    (void)peer;
    accepted = fd;
}

static void
test_unix(void)
{
    struct loop *loop = loop_create();
    struct party server = {.act = act_echo}, client = {0};
    char path[] = "/tmp/gapura-test-XXXXXX", sock[64];
    struct listener *l;
    struct stat st;
    int fd;

    OK(mkdtemp(path) != NULL, "a directory");
    str_fmt(sock, sizeof(sock), "%s/s", path);
    fd = listener_bind_unix(sock, 0600);
    OK(fd >= 0, "bound");
    stat(sock, &st);
    IS(st.st_mode & 0777, 0600, "with its mode");
    close(fd);
    fd = listener_bind_unix(sock, 0660);
    OK(fd >= 0, "a socket left behind is replaced");
    l = listener_create(loop, fd, take_fd, NULL);
    buf_init(&client.got, 1000);
    client.s = stream_connect_unix(loop, sock, &party_ops, &client, NULL);
    UNTIL(loop, client.connected && accepted >= 0);
    server.s = stream_create(loop, accepted, &party_ops, &server, NULL);
    party_say(&client, "over unix");
    UNTIL(loop, client.got.n == 9);
    TEXT(client.got, "over unix", "echoed");
    party_part(&server, &client);
    listener_free(l);
    unlink(sock);
    fd = open(sock, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    OK(listener_bind_unix(sock, 0600) < 0, "a file that is no socket is left alone");
    unlink(sock);
    rmdir(path);
    loop_free(loop);
}

static void
test_memory(void)
{
    enum { N = 500 };
    struct loop *loop = loop_create();
    struct stream *streams[N];
    struct mallinfo2 before = mallinfo2(), after;
    struct party p = {0};
    int pair[2], ends[N];

    for (int i = 0; i < N; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
            break;
        ends[i] = pair[1];
        streams[i] = stream_create(loop, pair[0], &party_ops, &p, NULL);
    }
    buf_init(&p.got, 1 << 20);
    for (int i = 0; i < N; i++)
        OK(write(ends[i], "x", 1) == 1 || i, "a byte");
    UNTIL(loop, p.got.n == N);
    buf_done(&p.got);
    after = mallinfo2();
    printf("# %d bytes of memory for an idle stream (with libevent's maps)\n",
           (int)((after.uordblks - before.uordblks) / N));
#ifndef __SANITIZE_ADDRESS__
    OK((after.uordblks - before.uordblks) / N < 600, "an idle stream is small");
#endif
    for (int i = 0; i < N; i++) {
        stream_close(streams[i], true);
        close(ends[i]);
    }
    loop_free(loop);
}

/* Who is turned away while he still sends leaves something behind: not without end. */
static void
test_orphans(void)
{
    enum { N = STREAM_ORPHANS + 100 };
    static int ends[N];
    struct rlimit files = {0, 0};
    struct loop *loop = loop_create();
    struct party p = {0};
    unsigned open = 0;
    int pair[2];

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = MIN(files.rlim_max, 4u * N);
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2u * N + 100) {
        tap_skip("orphans have a ceiling", "not so many descriptors may be open here");
        loop_free(loop);
        return;
    }
    for (int i = 0; i < N; i++) {
        struct stream *s;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
            break;
        ends[i] = pair[1];
        s = stream_create(loop, pair[0], &party_ops, &p, NULL);
        (void)!write(pair[1], "x", 1); /* unread when it is closed */
        stream_close(s, true);
    }
    for (int i = 0; i < N; i++)
        open += send(ends[i], "y", 1, MSG_NOSIGNAL) == 1;
    IS(open, STREAM_ORPHANS, "so many are waited for, and no more");
    loop_free(loop);
    for (int i = 0; i < N; i++)
        close(ends[i]);
}

int
main(void)
{
    test_echo();
    test_partial();
    test_gathered_drains();
    test_dribble();
    test_close_inside();
    test_slow_reader();
    test_flush_is_bounded();
    test_fairness();
    test_connect();
    test_unix();
    test_memory();
    test_orphans();
    return tap_done();
}
