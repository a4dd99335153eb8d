/*
 * bench/load.c - SMTP load for the side-by-side runs: one thread, epoll, loopback only.
 *
 * Every message has its own Message-ID <bench.NUMBER@load.test>; what was acknowledged is noted in
 * a shared file (bench/seen.h). Usage:
 *   load -P PORT [-H 127.0.0.1] [-c CONNS] [-n MESSAGES] [-d SECONDS] [-k PER_CONN] [-s BYTES]
 *        [-r RCPTS] [-D DOMAINS] [-o FIRST_DOMAIN] [-p 0|1] [-t none|full|resume] [-S SEENFILE]
 *        [-b FIRST] [-i IDLE_S] [-m]
 *   -m  mixed sizes: of twenty messages nine have 1 KB, seven 10 KB, three 50 KB, one 100 KB
 * Ends after MESSAGES or SECONDS, whichever is first; prints one JSON line. `kept_bytes` is what
 * was acknowledged for the first domain.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "seen.h"

enum state { S_BANNER, S_EHLO, S_STARTTLS, S_TLS, S_EHLO2, S_ENV, S_BODY, S_DOT, S_QUIT, S_IDLE };
struct text { /* a whole message with its final dot */
    char *p;
    size_t n;
};
enum tls { TLS_NONE, TLS_FULL, TLS_RESUME };

struct conn {
    int fd;
    enum state state;
    bool pipelining, open, reply_bad;
    unsigned left; /* replies still wanted for the envelope */
    unsigned step; /* lock step: next command of the envelope */
    unsigned sent; /* messages on this connection */
    uint64_t number, start;
    const struct text *text;
    char *out; /* out_cap bytes: an envelope and a little more */
    size_t out_n, out_at;
    size_t body_at;
    char in[2048];
    size_t in_n;
    SSL *ssl;
};

static struct {
    struct sockaddr_in to;
    unsigned conns, per_conn, rcpts, domains, idle;
    uint64_t messages, first, seconds;
    size_t size;
    bool pipeline, mixed;
    unsigned domain0;
    enum tls tls;
} conf = {.conns = 10, .rcpts = 1, .domains = 1, .messages = 1000, .size = 10240, .pipeline = true};

static SSL_CTX *ctx;
static SSL_SESSION *session;
static struct seen *seen;
static struct text texts[4];
static const uint8_t mix[20] = {0, 1, 0, 1, 2, 0, 1, 0, 1, 0, 2, 0, 1, 0, 3, 1, 0, 1, 2, 0};
static size_t id_at, out_cap;
static uint64_t issued, done, refused, errors, opened, ended, begin_ns, last_ns, kept_bytes;
static int ep;
static bool stopping;
#define HIST 4096
static uint64_t hist[HIST];

static unsigned
bin_of(uint64_t us)
{
    unsigned b = 0;
    while (us >= 256) {
        us >>= 1;
        b += 128;
    }
    b += (unsigned)us;
    return b < HIST ? b : HIST - 1;
}

static double
quantile(double q)
{
    uint64_t n = 0, sum = 0;
    for (unsigned i = 0; i < HIST; i++)
        n += hist[i];
    for (unsigned i = 0; i < HIST; i++) {
        sum += hist[i];
        if (sum && (double)sum >= q * (double)n) {
            unsigned octave = i < 256 ? 0 : (i - 128) / 128;
            return (double)((uint64_t)(i - octave * 128) << octave) / 1000.0;
        }
    }
    return 0;
}

static void
make_text(struct text *t, size_t size)
{
    char head[512];
    int n = snprintf(head, sizeof head,
                     "From: <bench@sender.test>\r\nTo: <user@example.test>\r\nSubject: bench\r\n"
                     "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <bench.");
    id_at = (size_t)n;
    n += snprintf(head + n, sizeof head - (size_t)n, "0000000000@load.test>\r\n\r\n");
    t->p = malloc(size + 1024);
    memcpy(t->p, head, (size_t)n);
    t->n = (size_t)n;
    while (t->n < size) {
        size_t line = size - t->n > 78 ? 76 : 20;
        for (size_t i = 0; i < line; i++)
            t->p[t->n + i] = (char)('A' + (t->n + i * 7) % 26);
        memcpy(t->p + t->n + line, "\r\n", 2);
        t->n += line + 2;
    }
    memcpy(t->p + t->n, ".\r\n", 3);
    t->n += 3;
}

static uint64_t
domain_of(uint64_t number, unsigned rcpt)
{
    return conf.domain0 + (number * conf.rcpts + rcpt) % conf.domains;
}

static void
say(struct conn *c, const char *s, size_t n)
{
    if (c->out_n + n > out_cap) {
        fprintf(stderr, "load: too many recipients for one group\n");
        exit(2);
    }
    memcpy(c->out + c->out_n, s, n);
    c->out_n += n;
}

static ssize_t
put(struct conn *c, const char *p, size_t n)
{
    if (!c->ssl)
        return send(c->fd, p, n, MSG_NOSIGNAL);
    int w = SSL_write(c->ssl, p, (int)(n > 16384 ? 16384 : n));
    if (w > 0)
        return w;
    errno = SSL_get_error(c->ssl, w) <= SSL_ERROR_SSL ? EIO : EAGAIN;
    return -1;
}

/* Body is sent with its own number in the Message-ID: a private head, then the shared rest. */
static int
flush(struct conn *c)
{
    while (c->out_at < c->out_n) {
        ssize_t w = put(c, c->out + c->out_at, c->out_n - c->out_at);
        if (w < 0)
            return errno == EAGAIN ? 0 : -1;
        c->out_at += (size_t)w;
    }
    c->out_at = c->out_n = 0;
    while (c->state == S_BODY && c->body_at < c->text->n) {
        ssize_t w = put(c, c->text->p + c->body_at, c->text->n - c->body_at);
        if (w < 0)
            return errno == EAGAIN ? 0 : -1;
        c->body_at += (size_t)w;
    }
    if (c->state == S_BODY) {
        c->state = S_DOT;
        if (seen)
            seen[c->number].dot = seen_now();
    }
    return 0;
}

static void
command(struct conn *c, unsigned step)
{
    char line[160];
    int n;
    if (step == 0)
        n = snprintf(line, sizeof line, "MAIL FROM:<bench@sender.test>\r\n");
    else if (step <= conf.rcpts)
        n = snprintf(line, sizeof line, "RCPT TO:<user%llu.%u@d%llu.example.test>\r\n",
                     (unsigned long long)c->number, step,
                     (unsigned long long)domain_of(c->number, step));
    else
        n = snprintf(line, sizeof line, "DATA\r\n");
    say(c, line, (size_t)n);
}

static bool
next_message(struct conn *c)
{
    bool full = conf.per_conn && c->sent >= conf.per_conn;
    if (full || stopping || issued >= conf.messages) {
        c->state = S_QUIT;
        say(c, "QUIT\r\n", 6);
        return false;
    }
    c->number = conf.first + issued++;
    c->text = &texts[conf.mixed ? mix[c->number / conf.domains % 20] : 0];
    c->sent++;
    c->state = S_ENV;
    c->reply_bad = false;
    c->step = 0;
    c->left = conf.rcpts + 2;
    c->start = seen_now();
    if (!c->pipelining) {
        command(c, c->step++);
        return true;
    }
    for (unsigned i = 0; i < conf.rcpts + 2; i++)
        command(c, i);
    return true;
}

static void
start_body(struct conn *c)
{
    char number[16];
    int n = snprintf(number, sizeof number, "%010llu", (unsigned long long)c->number);
    /* Head with the number goes through `out`; the rest comes from the shared text. */
    say(c, c->text->p, id_at);
    say(c, number, (size_t)n);
    c->body_at = id_at + 10;
    c->state = S_BODY;
}

static int
on_reply(struct conn *c, int code)
{
    switch (c->state) {
    case S_BANNER:
        c->state = S_EHLO;
        say(c, "EHLO load.test\r\n", 16);
        return code == 220 ? 0 : -1;
    case S_EHLO:
        if (conf.tls != TLS_NONE) {
            c->state = S_STARTTLS;
            say(c, "STARTTLS\r\n", 10);
            return 0;
        }
        /* fall through */
    case S_EHLO2:
        if (code != 250)
            return -1;
        if (conf.idle) {
            c->state = S_IDLE;
            return 0;
        }
        next_message(c);
        return 0;
    case S_STARTTLS:
        if (code != 220)
            return -1;
        c->ssl = SSL_new(ctx);
        SSL_set_fd(c->ssl, c->fd);
        if (conf.tls == TLS_RESUME && session)
            SSL_set_session(c->ssl, session);
        SSL_set_connect_state(c->ssl);
        c->state = S_TLS;
        return 0;
    case S_ENV:
        if (code >= 400)
            c->reply_bad = true;
        c->left--;
        if (c->left && !c->pipelining) {
            command(c, c->step++);
            return 0;
        }
        if (c->left)
            return 0;
        if (c->reply_bad || code != 354) {
            refused++;
            return -1;
        }
        start_body(c);
        return 0;
    case S_DOT:
        last_ns = seen_now();
        if (code != 250) {
            refused++;
        } else {
            done++;
            kept_bytes += domain_of(c->number, 1) == conf.domain0 ? c->text->n - 3 : 0;
            hist[bin_of((last_ns - c->start) / 1000)]++;
            if (seen)
                seen[c->number].acked = last_ns;
        }
        next_message(c);
        return 0;
    default:
        return c->state == S_QUIT ? 1 : -1;
    }
}

static void
forget(struct conn *c)
{
    if (c->ssl) {
        SSL_set_quiet_shutdown(c->ssl, 1);
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    close(c->fd);
    c->open = false;
    c->ssl = NULL;
    ended++;
}

static void
dial(struct conn *c)
{
    int one = 1;
    char *out = c->out ? c->out : malloc(out_cap);
    *c = (struct conn){.out = out};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        errors++;
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (conf.idle) { /* more than one address has ports for */
        from.sin_addr.s_addr = htonl(0x7f010001u + (unsigned)(opened % 50));
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        (void)!bind(c->fd, (void *)&from, sizeof from);
    }
    if (connect(c->fd, (void *)&conf.to, sizeof conf.to) && errno != EINPROGRESS) {
        errors++;
        close(c->fd);
        return;
    }
    c->open = true;
    opened++;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static int
handshake(struct conn *c)
{
    int rc = SSL_do_handshake(c->ssl);
    if (rc == 1) {
        c->state = S_EHLO2;
        say(c, "EHLO load.test\r\n", 16);
        return 0;
    }
    int e = SSL_get_error(c->ssl, rc);
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int
take_lines(struct conn *c)
{
    char *at = c->in, *end = c->in + c->in_n, *nl;
    while ((nl = memchr(at, '\n', (size_t)(end - at)))) {
        size_t n = (size_t)(nl - at);
        if ((c->state == S_EHLO || c->state == S_EHLO2) && n >= 14 &&
            !strncasecmp(at + 4, "PIPELINING", 10))
            c->pipelining = conf.pipeline;
        if (n >= 3 && at[3] != '-') {
            int code = (at[0] - '0') * 100 + (at[1] - '0') * 10 + (at[2] - '0');
            int rc = on_reply(c, code);
            if (rc)
                return rc;
        }
        at = nl + 1;
    }
    c->in_n = (size_t)(end - at);
    memmove(c->in, at, c->in_n);
    return c->in_n == sizeof c->in ? -1 : 0;
}

static int
work(struct conn *c)
{
    for (;;) {
        if (c->state == S_TLS && handshake(c))
            return -1;
        if (c->state == S_TLS)
            return 0;
        ssize_t r = c->ssl ? SSL_read(c->ssl, c->in + c->in_n, (int)(sizeof c->in - c->in_n))
                           : recv(c->fd, c->in + c->in_n, sizeof c->in - c->in_n, 0);
        if (r <= 0) {
            bool again = c->ssl ? SSL_get_error(c->ssl, (int)r) == SSL_ERROR_WANT_READ
                                : r < 0 && errno == EAGAIN;
            return again ? flush(c) : -1;
        }
        c->in_n += (size_t)r;
        int rc = take_lines(c);
        if (rc)
            return rc;
        if (flush(c) < 0)
            return -1;
        if (c->ssl && conf.tls == TLS_RESUME && !session)
            session = SSL_get1_session(c->ssl);
    }
}

static void
after(struct conn *c, int rc)
{
    if (!rc)
        return;
    bool clean = c->state == S_QUIT;
    if (!clean) {
        errors++;
        if (c->state >= S_ENV && c->state <= S_DOT && issued && !refused)
            fprintf(stderr, "load: connection lost in state %d\n", (int)c->state);
    }
    forget(c);
    if (!stopping && issued < conf.messages && errors < 1000)
        dial(c);
}

static void
arguments(int argc, char **argv)
{
    const char *host = "127.0.0.1", *seen_path = NULL;
    int port = 2525, o;
    while ((o = getopt(argc, argv, "H:P:c:n:d:k:s:r:D:o:p:t:S:b:i:m")) != -1) {
        switch (o) {
        case 'H':
            host = optarg;
            break;
        case 'P':
            port = (int)strtol(optarg, NULL, 10);
            break;
        case 'c':
            conf.conns = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'n':
            conf.messages = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            conf.seconds = strtoull(optarg, NULL, 10);
            break;
        case 'k':
            conf.per_conn = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            conf.size = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            conf.rcpts = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'D':
            conf.domains = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'o':
            conf.domain0 = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            conf.mixed = true;
            break;
        case 'p':
            conf.pipeline = optarg[0] != '0';
            break;
        case 't':
            conf.tls = optarg[0] == 'f' ? TLS_FULL : optarg[0] == 'r' ? TLS_RESUME : TLS_NONE;
            break;
        case 'S':
            seen_path = optarg;
            break;
        case 'b':
            conf.first = strtoull(optarg, NULL, 10);
            break;
        case 'i':
            conf.idle = (unsigned)strtoul(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    conf.to.sin_family = AF_INET;
    conf.to.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &conf.to.sin_addr) != 1 ||
        ntohl(conf.to.sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "load: only 127.0.0.0/8\n");
        exit(2);
    }
    if (seen_path)
        seen = seen_open(seen_path, conf.first + conf.messages);
}

static void
run(struct conn *cs)
{
    struct epoll_event ev[256];
    uint64_t end = begin_ns + (conf.idle      ? conf.idle
                               : conf.seconds ? conf.seconds
                                              : 600) *
                                  1000000000ull;
    uint64_t hard = end + 30 * 1000000000ull;
    unsigned started = 0;
    for (;;) {
        for (unsigned i = 0; i < 64 && started < conf.conns; i++)
            dial(&cs[started++]);
        int k = epoll_wait(ep, ev, 256, started < conf.conns ? 0 : 50);
        for (int i = 0; i < k; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c->open)
                after(c, ev[i].events & EPOLLERR ? -1 : work(c));
        }
        uint64_t now = seen_now();
        stopping = stopping || now > end;
        if (conf.idle ? stopping : (opened == ended && started == conf.conns))
            break;
        if (now > hard || errors >= 1000)
            break;
    }
}

int
main(int argc, char **argv)
{
    struct rusage ru;
    struct rlimit rl;
    arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    static const size_t sizes[] = {1024, 10240, 51200, 102400};
    for (unsigned i = 0; i < 4; i++)
        make_text(&texts[i], conf.mixed ? sizes[i] : conf.size);
    out_cap = 2048 + 80 * (size_t)conf.rcpts;
    if (conf.tls != TLS_NONE)
        ctx = SSL_CTX_new(TLS_client_method());
    ep = epoll_create1(0);
    struct conn *cs = calloc(conf.conns, sizeof *cs);
    begin_ns = seen_now();
    run(cs);
    unsigned idle = 0;
    for (unsigned i = 0; i < conf.conns; i++)
        idle += cs[i].open && cs[i].state == S_IDLE;
    getrusage(RUSAGE_SELF, &ru);
    double secs = (double)(last_ns > begin_ns ? last_ns - begin_ns : 1) / 1e9;
    printf("{\"msgs\":%llu,\"refused\":%llu,\"errors\":%llu,\"issued\":%llu,\"conns\":%llu,"
           "\"idle\":%u,\"kept_bytes\":%llu,"
           "\"secs\":%.3f,\"rate\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"cpu_s\":%.2f,\"begin\":%."
           "6f}\n",
           (unsigned long long)done, (unsigned long long)refused, (unsigned long long)errors,
           (unsigned long long)issued, (unsigned long long)opened, idle,
           (unsigned long long)kept_bytes, secs, (double)done / secs, quantile(.5), quantile(.99),
           (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
               (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
           (double)begin_ns / 1e9);
    return 0;
}
