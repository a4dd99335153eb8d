/* tests/unit/test_core_event.c - lines as they are built, queued, written and dropped. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "tap.h"

static struct buf tapped;

static void
tap_line(void *ctx, struct str line)
{
    buf_clear(ctx);
    buf_str(ctx, line);
}

static void
test_fields(void)
{
    static const uint8_t id[16] = {0};
    struct event *e;

    clock_own(0, UINT64_C(1700000000000042999));
    event_tap(tap_line, &tapped);
    e = event_open("Reception");
    event_text(e, "sender", STR("a\"b\n"));
    event_c(e, "none", NULL);
    event_u64(e, "size", 12);
    event_bool(e, "tls", true);
    event_id(e, "id", id);
    event_seconds(e, "took", 1500000000);
    event_object(e, "auth");
    event_array(e, "spf");
    event_c(e, "ignored", "x");
    event_u64(e, "ignored", 1);
    event_object(e, "ignored");
    event_end(e);
    event_end(e);
    event_end(e);
    event_bool(e, "last", false);
    event_send(e);
    TEXT(tapped,
         "{\"timestamp\":1700000000.000042,\"type\":\"Reception\",\"sender\":\"a\\\"b\\u000a\","
         "\"none\":\"\",\"size\":12,\"tls\":true,"
         "\"id\":\"00000000000000000000000000\",\"took\":1.500000,"
         "\"auth\":{\"spf\":[\"x\",1,{}]},\"last\":false}\n",
         "all kinds of fields");
    clock_advance(NS_PER_S);
    e = event_open("A");
    event_object(e, "open");
    event_send(e);
    TEXT(tapped, "{\"timestamp\":1700000001.000042,\"type\":\"A\",\"open\":{}}\n",
         "open objects are closed, the second goes on");
    clock_release();
}

static void
test_limits(void)
{
    static char big[20000];
    struct event *e = event_open("A");
    unsigned depth = 0;

    memset(big, 'x', sizeof(big));
    event_text(e, "cut", str_of(big, sizeof(big)));
    event_u64(e, "after", 1);
    event_send(e);
    OK(tapped.n > 8192 && tapped.n < 8400, "a long text is cut");
    OK(str_ends(buf_view(&tapped), STR("x\",\"after\":1,\"truncated\":true}\n")),
       "the line says so");

    e = event_open("A");
    memset(big, 1, sizeof(big)); /* six bytes each */
    for (int i = 0; i < 10; i++)
        event_text(e, "big", str_of(big, 8000));
    event_object(e, "o");
    event_u64(e, "inside", 1);
    event_end(e);
    event_send(e);
    OK(tapped.n < 65536 + 256, "the line has a ceiling");
    OK(str_ends(buf_view(&tapped), STR("\"o\":{\"inside\":1},\"truncated\":true}\n")),
       "small fields still fit");

    e = event_open("A");
    for (; depth < 100; depth++)
        event_object(e, "d");
    event_u64(e, "lost", 1);
    for (; depth > 0; depth--)
        event_end(e);
    event_u64(e, "kept", 1);
    event_send(e);
    OK(str_find(buf_view(&tapped), STR("lost")) < 0, "too deep: left out");
    OK(str_ends(buf_view(&tapped), STR("}}}},\"kept\":1,\"truncated\":true}\n")),
       "and closed again");
}

static size_t
drain(int fd, struct buf *out)
{
    ssize_t n;

    buf_clear(out);
    while ((n = read(fd, buf_room(out, 65536), 65536)) > 0)
        buf_used(out, (size_t)n);
    return out->n;
}

static void
test_fd(void)
{
    struct buf got;
    int fds[2], other = open("/dev/null", O_WRONLY | O_CLOEXEC);
    uint64_t dropped = event_dropped();
    struct event *e;

    buf_init(&got, 16 << 20);
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return;
    event_setup(EVENT_SINK_FD, fds[1], STR_NONE, "gate");
    e = event_open("A");
    event_send(e);
    IS(drain(fds[0], &got), 0, "nothing is written before a flush");
    event_flush();
    drain(fds[0], &got);
    OK(str_ends(buf_view(&got), STR(",\"type\":\"A\",\"role\":\"gate\"}\n")),
       "a line with its role");

    static char text[1000];
    memset(text, 'y', sizeof(text));
    unsigned sent = 0;
    while (event_dropped() == dropped && sent < 100000) { /* nobody reads: the queue fills up */
        e = event_open("Debug");
        event_text(e, "t", str_of(text, sizeof(text)));
        event_send(e);
        sent++;
    }
    OK(sent > 1900 && sent < 2200, "debug lines stop at half of 4 MB (%u)", sent);
    dropped = event_dropped();
    for (unsigned i = 0; i < 1500; i++) {
        e = event_open("Reception");
        event_text(e, "t", str_of(text, sizeof(text)));
        event_send(e);
    }
    IS(event_dropped() - dropped, 0, "records still fit");
    size_t lines = 0, total = 0;
    bool whole = true;
    static struct buf all;
    buf_init(&all, 16 << 20);
    for (int i = 0; i < 1000; i++) {
        event_flush();
        total += drain(fds[0], &got);
        buf_str(&all, buf_view(&got));
        if (got.n == 0)
            break;
    }
    struct str rest = buf_view(&all), line = STR_NONE;
    while (rest.n) {
        line = str_cut(rest, '\n', &rest);
        whole = whole && str_starts(line, STR("{\"timestamp\":")) && str_ends(line, STR("}"));
        lines++;
    }
    OK(whole, "all lines are whole");
    IS(lines, sent - 1 + 1500 + 1, "and none is missing");
    OK(str_find(line, STR("\"Alarm\"")) > 0 &&
           str_find(line, STR("1 events were lost since 20")) > 0 &&
           str_find(line, STR("faster than they could be written")) > 0,
       "the last tells of the one that was lost: %.*s", STR_ARG(line));
    for (unsigned i = 0; i < 6000; i++) {
        e = event_open("Reception");
        event_text(e, "t", str_of(text, sizeof(text)));
        event_send(e);
    }
    OK(event_dropped() > dropped, "a full queue drops records as well, and counts");
    IS(event_swap_fd(other), fds[1], "swapped");
    close(fds[1]);
    event_setup(EVENT_SINK_NONE, -1, STR_NONE, NULL);
    buf_done(&got);
    buf_done(&all);
    close(fds[0]);
    close(other);
}

static void
put_lines(unsigned n)
{
    static char text[1000];

    memset(text, 'z', sizeof(text));
    for (unsigned i = 0; i < n; i++) {
        struct event *e = event_open("Reception");
        event_text(e, "t", str_of(text, sizeof(text)));
        event_send(e);
    }
}

/* A descriptor that would block, and whose reader has gone to sleep. */
static void
test_deaf(int to, int from, const char *what)
{
    uint64_t before;
    struct buf got;

    buf_init(&got, 16 << 20);
    event_setup(EVENT_SINK_FD, to, STR_NONE, "gate");
    clock_own(NS_PER_S * 1000, NS_PER_S * 1800000000);
    while (event_flush()) /* what the test before has left */
        drain(from, &got);
    drain(from, &got);
    before = event_dropped();
    alarm(20); /* ends a test that waits for ever */
    put_lines(6000);
    OK(event_flush(), "%s: nobody reads, and nobody waits", what);
    OK(event_dropped() > before, "%s: what has no room is counted", what);
    IS(fcntl(to, F_GETFL) & O_NONBLOCK, 0, "%s: as it was for others who share it", what);
    size_t told = 0, lines = 0;
    for (int round = 0; round < 2; round++) {
        for (bool more = true; more;) {
            more = event_flush();
            if (!drain(from, &got) && more)
                clock_advance(61 * NS_PER_S); /* since the one before */
            for (struct str rest = buf_view(&got), line; rest.n; lines++) {
                line = str_cut(rest, '\n', &rest);
                told += str_find(line, STR("events were lost since")) > 0 &&
                        str_find(line, STR("nobody read them in time")) > 0;
            }
        }
        IS(told, 1, "%s: told once (%d)", what, round);
    }
    OK(lines > 3000, "%s: what was kept came (%zu lines)", what, lines);
    alarm(0);
    clock_release();
    event_setup(EVENT_SINK_NONE, -1, STR_NONE, NULL);
    close(to);
    close(from);
    buf_done(&got);
}

static void
test_never_waits(void)
{
    int fds[2];

    if (!pipe2(fds, O_CLOEXEC)) {
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        test_deaf(fds[1], fds[0], "pipe");
    }
    if (!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        test_deaf(fds[1], fds[0], "socket");
    }
}

/* A log daemon that comes later than we do. */
static void
test_daemon_comes_later(void)
{
    char text[3000];
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return;
    event_setup(EVENT_SINK_DATAGRAM, -1, STR("<22>gapura: "), "courier");
    event_send(event_open("Early"));
    OK(event_flush(), "nobody is there yet: it waits");
    event_swap_fd(fds[1]);
    OK(!event_flush(), "somebody is");
    ssize_t n = recv(fds[0], text, sizeof(text), 0);
    OK(n > 0 && str_find(str_of(text, (size_t)n), STR("\"Early\"")) > 0, "the line of before");
    close(fds[0]);
    close(fds[1]);
    event_setup(EVENT_SINK_NONE, -1, STR_NONE, NULL);
}

static void
test_datagram(void)
{
    char text[3000];
    int fds[2];
    ssize_t n;

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return;
    event_setup(EVENT_SINK_NONE, -1, STR_NONE, NULL);
    event_setup(EVENT_SINK_DATAGRAM, fds[1], STR("<22>gapura: "), "courier");
    event_flush();
    while (recv(fds[0], text, sizeof(text), 0) > 0) /* what the test before has left */
        event_flush();
    for (int i = 0; i < 2; i++) {
        struct event *e = event_open("D");
        event_u64(e, "i", (uint64_t)i);
        event_send(e);
    }
    event_flush();
    for (int i = 0; i < 2; i++) {
        char want[64];
        size_t len = str_fmt(want, sizeof(want), "\"role\":\"courier\",\"i\":%d}", i);

        n = recv(fds[0], text, sizeof(text), 0);
        OK(n > 0 && str_starts(str_of(text, (size_t)n), STR("<22>gapura: {\"timestamp\"")),
           "prefix of datagram %d", i);
        OK(n > 0 && str_ends(str_of(text, (size_t)n), str_of(want, len)), "end of datagram %d", i);
    }
    close(fds[0]);
    close(fds[1]);
    event_setup(EVENT_SINK_NONE, -1, STR_NONE, NULL);
}

static void *
thread_main(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        struct event *e = event_open("T");
        event_u64(e, "n", *(uint64_t *)arg);
        event_send(e);
        if (i % 100 == 0)
            event_flush();
    }
    return NULL;
}

static void
test_threads(void)
{
    static uint64_t numbers[4] = {1, 2, 3, 4};
    pthread_t threads[4];
    char path[] = "/tmp/gapura-event-XXXXXX";
    int fd = mkostemp(path, O_APPEND | O_CLOEXEC);
    size_t lines = 0;
    bool whole = true;
    struct buf got;

    unlink(path);
    event_tap(NULL, NULL);
    event_setup(EVENT_SINK_FD, fd, STR_NONE, "t");
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, thread_main, &numbers[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    event_flush();
    event_setup(EVENT_SINK_NONE, -1, STR_NONE, NULL);
    buf_init(&got, 16 << 20);
    lseek(fd, 0, SEEK_SET);
    drain(fd, &got);
    for (struct str rest = buf_view(&got), line; rest.n; lines++) {
        line = str_cut(rest, '\n', &rest);
        whole = whole && str_starts(line, STR("{\"timestamp\":")) && str_ends(line, STR("}"));
    }
    OK(whole, "lines of threads do not mix");
    IS(lines, 8000, "and all arrive");
    buf_done(&got);
    close(fd);
}

static void
test_notice(void)
{
    int fds[2], saved = dup(2);
    char text[200];
    ssize_t n;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return;
    event_tap(tap_line, &tapped);
    dup2(fds[1], 2);
    event_open("Unfinished");
    event_warning("disk %d is \x1b[31mfull\n", 3);
    dup2(saved, 2);
    n = read(fds[0], text, sizeof(text));
    TEXT(str_of(text, (size_t)MAX(n, 0)), "gapura: Warning: disk 3 is ?[31mfull \n",
         "without a sink it is a plain line, with nothing for terminals to obey");
    OK(str_ends(buf_view(&tapped),
                STR("\"type\":\"Warning\",\"text\":\"disk 3 is \\u001b[31mfull\\u000a\"}\n")),
       "and an event for the tap");
    close(saved);
    close(fds[0]);
    close(fds[1]);
}

int
main(void)
{
    buf_init(&tapped, 1 << 20);
    test_fields();
    test_limits();
    test_fd();
    test_datagram();
    test_never_waits();
    test_daemon_comes_later();
    test_threads();
    test_notice();
    event_tap(NULL, NULL);
    buf_done(&tapped);
    return tap_done();
}
