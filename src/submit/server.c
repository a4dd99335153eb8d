/*
 * submit/server.c - the engine of smtp/client.h over one blocking descriptor.
 *
 * Called by sendmail.c and relay.c. Every wait ends: the engine says how long a stage may last.
 * Never says success before the server has.
 */
#include "submit/server.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sysexits.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/sock.h"
#include "submit/submit.h"

#define REPLY_TEXT 200

struct server {
    int fd;
    struct smtp_client *client;
    bool ready, dead, verbose, finished;
    bool refused; /* a recipient of the present message was */
    int status;   /* of the present message */
    const struct smtp_client_message *message;
    struct why *why;
};

/* ---- dialling ---- */

static int
dial(const union sock_addr *a, socklen_t n)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

    if (fd < 0)
        return -errno;
    if (connect(fd, &a->sa, n) == 0)
        return fd;
    error = -errno;
    fd_close(&fd);
    return error;
}

static int
dial_text(const char *where)
{
    union sock_addr a;
    struct endpoint e;
    socklen_t n = 0;
    int rc;

    if (!str_starts(str_c(where), STR("unix:")) && where[0] != '/') {
        if (endpoint_parse(str_c(where), 25, &e) < 0)
            return -EINVAL;
        n = sock_addr_of(&e, &a);
        return dial(&a, n);
    }
    rc = sock_addr_unix(where[0] == '/' ? where : where + 5, &a, &n);
    return rc < 0 ? rc : dial(&a, n);
}

int
server_dial(struct why *why)
{
    const char *where = getenv("GAPURA_SUBMIT");
    bool named = where && where[0];
    int fd;

    where = named ? where : SUBMIT_SOCKET;
    fd = dial_text(where);
    if (fd == -ENOENT && !named) {
        where = SUBMIT_SOCKET " or " SUBMIT_PORT;
        fd = dial_text(SUBMIT_PORT);
    }
    if (fd >= 0)
        return fd;
    if (fd == -EACCES)
        return why_set(why, fd,
                       "you may not send mail from this machine: %s is open to the group gapura "
                       "only",
                       where);
    return why_set(why, fd,
                   "the mail server cannot be reached at %s: %s; nothing was sent, try "
                   "again when gapura runs",
                   where, strerror(-fd));
}

/* ---- the engine's callbacks ---- */

static void
server_dead(struct server *s, const char *why)
{
    if (s->dead)
        return;
    s->dead = true;
    smtp_client_lost(s->client, why, errno == ETIMEDOUT);
}

static void
on_send(void *ctx, const char *p, size_t n)
{
    struct server *s = ctx;

    while (n && !s->dead) {
        ssize_t sent = send(s->fd, p, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) { /* what the server said before is still to be read; that tells the end */
            (void)shutdown(s->fd, SHUT_WR);
            return;
        }
        p += sent;
        n -= (size_t)sent;
    }
}

static size_t
on_backlog(void *ctx UNUSED)
{
    return 0;
}

static void
on_ready(void *ctx)
{
    ((struct server *)ctx)->ready = true;
}

/* The first failure of a message is the one that is told. */
PRINTF_LIKE(4, 5)
static void
fail(struct server *s, int status, const struct smtp_reply *r, const char *fmt, ...)
{
    char text[REPLY_TEXT], what[sizeof(s->why->text)];
    va_list ap;

    if (s->status)
        return;
    s->status = status;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    why_set(s->why, ERR_REFUSED, "%s: %s", what, smtp_reply_show(r, text, sizeof(text)));
}

static void
on_failed(void *ctx, enum smtp_client_stage at, const struct smtp_reply *reply)
{
    struct server *s = ctx;

    s->ready = false;
    s->dead = s->finished = true;
    if (at != SMTP_AT_QUIT)
        fail(s, EX_TEMPFAIL, reply, "the mail server ended the session (%s); nothing was sent",
             smtp_client_stage_name(at));
}

/* What a refusal means to the program that called. */
static int
status_of(enum smtp_client_stage at, const struct smtp_reply *r)
{
    if (r->code < 500)
        return EX_TEMPFAIL;
    if (r->enhanced[1] == 7)
        return EX_NOPERM;
    if (at == SMTP_AT_RCPT && r->enhanced[1] == 1)
        return r->enhanced[2] == 2 ? EX_NOHOST : EX_NOUSER;
    if (r->enhanced[1] == 6 || r->enhanced[1] == 1 || (r->enhanced[1] == 3 && r->enhanced[2] == 4))
        return EX_DATAERR;
    return EX_UNAVAILABLE;
}

static void
on_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    struct server *s = ctx;

    if (r->code >= 200 && r->code < 300)
        return;
    s->refused = true;
    fail(s, status_of(SMTP_AT_RCPT, r), r, "%.*s was refused, nothing was sent",
         STR_ARG(str_sub(s->message->rcpts[i].address, 0, 100)));
}

static void
on_may_send(void *ctx)
{
    struct server *s = ctx;

    smtp_client_allow(s->client, !s->refused);
}

static void
on_done(void *ctx, enum smtp_client_stage at, const struct smtp_reply *r)
{
    struct server *s = ctx;

    s->finished = true;
    if (s->refused || (r->code >= 200 && r->code < 300))
        return;
    if (!r->code && at == SMTP_AT_DOT)
        fail(s, EX_TEMPFAIL, r, "no answer behind the message; the server may have taken it");
    else
        fail(s, status_of(at, r), r, "the message was not taken (%s)", smtp_client_stage_name(at));
}

static void
on_trace(void *ctx, char dir, struct str line)
{
    struct server *s = ctx;

    if (s->verbose)
        fprintf(stderr, "%s %.*s\n", dir == 'C' ? ">>>" : "<<<", STR_ARG(line));
}

static const struct smtp_client_ops ops = {
    .send = on_send,
    .backlog = on_backlog,
    .ready = on_ready,
    .failed = on_failed,
    .rcpt = on_rcpt,
    .may_send = on_may_send,
    .done = on_done,
    .trace = on_trace,
};

/* ---- turning ---- */

/* Feeds the engine until `flag` is set or the session is over. */
static void
server_run(struct server *s, const bool *flag)
{
    char in[16384];
    uint64_t limit;

    while (!*flag && !s->dead) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        ssize_t n;
        int rc;

        limit = smtp_client_timeout(s->client);
        rc = poll(&p, 1, limit ? (int)MIN(limit / NS_PER_MS, (uint64_t)INT32_MAX) : -1);
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc == 0) {
            s->dead = true;
            smtp_client_lost(s->client, "no answer in time", true);
            break;
        }
        n = read(s->fd, in, sizeof(in));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            server_dead(s, n ? strerror(errno) : "the connection was closed");
            break;
        }
        smtp_client_feed(s->client, in, (size_t)n);
        smtp_client_drained(s->client);
    }
}

int
server_open(struct server **ret, const char *helo, bool verbose, struct why *why)
{
    struct smtp_client_conf conf = {.ehlo = str_c(helo), .tls = SMTP_TLS_NEVER};
    struct server *s = calloc(1, sizeof(*s));

    *ret = NULL;
    if (!s)
        return why_set(why, ERR_NOMEM, "out of memory; nothing was sent");
    s->verbose = verbose;
    s->why = why;
    s->fd = server_dial(why);
    if (s->fd < 0) {
        int rc = s->fd;

        free(s);
        return rc;
    }
    s->client = smtp_client_create(&conf, &ops, s);
    if (s->client)
        server_run(s, &s->ready);
    if (s->ready) {
        *ret = s;
        return 0;
    }
    server_close(s);
    return ERR_CLOSED;
}

void
server_close(struct server *s)
{
    bool never = false;

    if (!s)
        return;
    if (s->client && !s->dead) {
        smtp_client_quit(s->client);
        server_run(s, &never);
    }
    smtp_client_free(s->client);
    fd_close(&s->fd);
    free(s);
}

struct str
server_name(const struct server *s)
{
    return smtp_client_banner(s->client);
}

unsigned
server_max_rcpts(const struct server *s)
{
    return smtp_client_max_rcpts(s->client);
}

int
server_send(struct server *s, const struct smtp_client_message *m, struct why *why)
{
    const char *lacks = NULL;
    int rc;

    s->why = why;
    s->message = m;
    s->status = EX_OK;
    s->refused = s->finished = false;
    if (!s->ready && !s->dead)
        server_run(s, &s->ready);
    s->ready = false;
    rc = s->dead ? ERR_CLOSED : smtp_client_send(s->client, m, &lacks);
    if (rc < 0) {
        why_set(why, rc, "the server cannot take this message (%s%s%s); nothing was sent",
                lacks ? lacks : "", lacks ? ": " : "", err_text(rc));
        return rc == ERR_CLOSED ? EX_TEMPFAIL : EX_DATAERR;
    }
    server_run(s, &s->finished);
    if (!s->finished && !s->status)
        s->status = EX_TEMPFAIL;
    return s->status;
}
