/*
 * bench/sink.c - an SMTP sink for the side-by-side runs: takes everything, notes each Message-ID's
 * number and time in the shared file (bench/seen.h). One thread, epoll, loopback only.
 *
 * Usage: sink -P PORT [-H 127.0.0.2] [-S SEENFILE] [-n MESSAGES] [-T SECONDS] [-d DELAY_MS]
 *             [-L ADDRESSES]
 *   -n  exit after so many distinct messages    -d  wait before the final 250
 *   -L  listen on so many addresses from -H on, the last byte counting 1 to 250
 * Prints one JSON line at its end (SIGTERM too).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "seen.h"

#define IN_MAX (256u << 10)

struct conn {
    int fd;
    bool data, bdat_last, waiting;
    uint64_t bdat; /* octets still to come */
    unsigned rcpts;
    int64_t number; /* of the message in flight, -1 unknown */
    uint64_t due;
    struct conn *next_due;
    size_t n;
    char tail[8]; /* last bytes of the body, for the end across reads */
    size_t tail_n;
    bool bol;
    char out[1024];
    size_t out_n;
    char *in;
};

static struct seen *seen;
static uint64_t seen_n, want, delay_ns, msgs, rcpts, distinct, strange, conns, first_ns, last_ns;
static int ep;
static volatile sig_atomic_t stop;
static struct conn *due_head, *due_tail;
#define LISTEN_MAX 4000u
static struct conn listeners[LISTEN_MAX];
static char shared_in[IN_MAX];

static void
say(struct conn *c, const char *s)
{
    size_t n = strlen(s);
    if (c->out_n + n > sizeof c->out) {
        (void)!send(c->fd, c->out, c->out_n, MSG_NOSIGNAL);
        c->out_n = 0;
    }
    memcpy(c->out + c->out_n, s, n);
    c->out_n += n;
}

static void
flush(struct conn *c)
{
    if (c->out_n)
        (void)!send(c->fd, c->out, c->out_n, MSG_NOSIGNAL);
    c->out_n = 0;
}

static void
find_number(struct conn *c, const char *p, size_t n)
{
    static const char key[] = "Message-ID: <bench.";
    if (c->number >= 0)
        return;
    const char *f = memmem(p, n < 4096 ? n : 4096, key, sizeof key - 1);
    if (!f || f + sizeof key - 1 + 10 > p + n)
        return;
    char digits[11] = {0};
    memcpy(digits, f + sizeof key - 1, 10);
    c->number = strtoll(digits, NULL, 10);
}

static void
count(struct conn *c)
{
    uint64_t now = seen_now();
    msgs++;
    rcpts += c->rcpts;
    if (!first_ns)
        first_ns = now;
    last_ns = now;
    if (c->number < 0 || (seen && (uint64_t)c->number >= seen_n))
        strange++;
    else if (!seen)
        distinct++;
    else if (!seen[c->number].copies++) {
        seen[c->number].arrived = now;
        distinct++;
    }
    c->rcpts = 0;
    c->number = -1;
    if (want && distinct >= want)
        stop = 1;
}

static void
finish(struct conn *c)
{
    c->data = false;
    if (!delay_ns) {
        count(c);
        say(c, "250 2.0.0 Ok\r\n");
        return;
    }
    c->waiting = true;
    c->due = seen_now() + delay_ns;
    c->next_due = NULL;
    if (due_tail)
        due_tail->next_due = c;
    else
        due_head = c;
    due_tail = c;
}

/* Takes body bytes; returns how many belong to it. Ends at CRLF.CRLF, or at the dot at the start.
 */
static size_t
body(struct conn *c, const char *p, size_t n)
{
    find_number(c, p, n);
    char joint[16];
    size_t old = c->tail_n;
    memcpy(joint, c->tail, old);
    size_t head = n < 5 ? n : 5;
    memcpy(joint + old, p, head);
    char *f = memmem(joint, old + head, "\r\n.\r\n", 5);
    if (f)
        return finish(c), (size_t)(f - joint) + 5 - old;
    f = memmem(p, n, "\r\n.\r\n", 5);
    if (f)
        return finish(c), (size_t)(f - p) + 5;
    size_t keep = n < 4 ? n : 4;
    if (keep < 4) {
        size_t total = old + keep < 4 ? old + keep : 4;
        memmove(c->tail, joint + old + keep - total, total);
        c->tail_n = total;
    } else {
        memcpy(c->tail, p + n - 4, 4);
        c->tail_n = 4;
    }
    return n;
}

static int
command(struct conn *c, const char *l, size_t n)
{
    switch (n ? l[0] | 32 : 0) {
    case 'e':
    case 'l':
        say(c, "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
               "250-DSN\r\n250 ENHANCEDSTATUSCODES\r\n");
        return 0;
    case 'm':
        c->rcpts = 0;
        say(c, "250 2.1.0 Ok\r\n");
        return 0;
    case 'r':
        if (n > 1 && (l[1] | 32) == 'c')
            c->rcpts++;
        say(c, "250 2.1.5 Ok\r\n");
        return 0;
    case 'd':
        if (!c->rcpts) {
            say(c, "503 5.5.1 need RCPT\r\n");
            return 0;
        }
        c->data = true;
        memcpy(c->tail, "\r\n", 2); /* a dot at once ends it too */
        c->tail_n = 2;
        c->number = -1;
        say(c, "354 go\r\n");
        return 0;
    case 'q':
        say(c, "221 2.0.0 Bye\r\n");
        flush(c);
        return -1;
    default:
        say(c, "250 2.0.0 Ok\r\n");
        return 0;
    }
}

static int
process(struct conn *c, char *p, size_t n)
{
    size_t at = 0;
    while (at < n && !c->waiting) {
        if (c->data) {
            at += body(c, p + at, n - at);
            continue;
        }
        char *nl = memchr(p + at, '\n', n - at);
        if (!nl)
            break;
        if (command(c, p + at, (size_t)(nl - p) - at))
            return -1;
        at = (size_t)(nl - p) + 1;
    }
    /* What is left (a part of a command) waits with the connection. */
    size_t left = n - at;
    if (left) {
        if (!c->in)
            c->in = malloc(IN_MAX);
        memmove(c->in, p + at, left);
    }
    c->n = left;
    flush(c);
    return 0;
}

static int
feed(struct conn *c)
{
    while (!c->waiting) {
        if (c->n)
            memcpy(shared_in, c->in, c->n);
        ssize_t r = recv(c->fd, shared_in + c->n, sizeof shared_in - c->n, 0);
        if (r < 0)
            return errno == EAGAIN ? 0 : -1;
        if (!r || process(c, shared_in, c->n + (size_t)r))
            return -1;
    }
    return 0;
}

static void
drop(struct conn *c)
{
    if (c->waiting)
        return; /* found again when it is due */
    close(c->fd);
    free(c->in);
    free(c);
}

static void
run_due(void)
{
    while (due_head && due_head->due <= seen_now()) {
        struct conn *c = due_head;
        due_head = c->next_due;
        if (!due_head)
            due_tail = NULL;
        c->waiting = false;
        count(c);
        say(c, "250 2.0.0 Ok\r\n");
        flush(c);
        if ((c->n && process(c, c->in, c->n)) || feed(c))
            drop(c);
    }
}

static void
accept_all(int listener)
{
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->number = -1;
        conns++;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        say(c, "220 sink.test ESMTP\r\n");
        flush(c);
    }
}

static int
listen_at(const struct sockaddr_in *first, unsigned i)
{
    struct sockaddr_in at = *first;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    uint32_t ip = ntohl(at.sin_addr.s_addr);
    if (i)
        at.sin_addr.s_addr = htonl((ip & 0xffff0000u) + ((i / 250) << 8) + 1 + i % 250);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 4096)) {
        perror("sink: bind");
        return -1;
    }
    listeners[i].fd = fd;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listeners[i]};
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static void
on_signal(int s)
{
    (void)s;
    stop = 1;
}

int
main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    const char *host = "127.0.0.2", *path = NULL;
    int port = 2600, o;
    unsigned nlisten = 1;
    uint64_t seconds = 300;
    while ((o = getopt(argc, argv, "H:P:S:N:n:T:d:L:")) != -1) {
        switch (o) {
        case 'H':
            host = optarg;
            break;
        case 'P':
            port = (int)strtol(optarg, NULL, 10);
            break;
        case 'S':
            path = optarg;
            break;
        case 'N':
            seen_n = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            want = strtoull(optarg, NULL, 10);
            break;
        case 'T':
            seconds = strtoull(optarg, NULL, 10);
            break;
        case 'L':
            nlisten = (unsigned)strtoul(optarg, NULL, 10);
            nlisten = nlisten < LISTEN_MAX ? nlisten : LISTEN_MAX;
            break;
        case 'd':
            delay_ns = strtoull(optarg, NULL, 10) * 1000000u;
            break;
        default:
            return 2;
        }
    }
    at.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1 || ntohl(at.sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "sink: only 127.0.0.0/8\n");
        return 2;
    }
    if (path)
        seen = seen_open(path, seen_n);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    ep = epoll_create1(0);
    for (unsigned i = 0; i < nlisten; i++)
        if (listen_at(&at, i))
            return 2;
    struct epoll_event ev[256];
    uint64_t end = seen_now() + seconds * 1000000000ull;
    while (!stop && seen_now() < end) {
        int k = epoll_wait(ep, ev, 256, due_head ? 1 : 50);
        for (int i = 0; i < k; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c >= listeners && c < listeners + LISTEN_MAX)
                accept_all(c->fd);
            else if (feed(c))
                drop(c);
        }
        run_due();
    }
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    printf("{\"msgs\":%llu,\"distinct\":%llu,\"strange\":%llu,\"rcpts\":%llu,\"conns\":%llu,"
           "\"first\":%.6f,"
           "\"last\":%.6f,\"cpu_s\":%.2f}\n",
           (unsigned long long)msgs, (unsigned long long)distinct, (unsigned long long)strange,
           (unsigned long long)rcpts, (unsigned long long)conns, (double)first_ns / 1e9,
           (double)last_ns / 1e9,
           (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
               (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
    return 0;
}
