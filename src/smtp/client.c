/*
 * smtp/client.c - the client machine's loop and its public calls.
 *
 * Called by the courier's sessions, the lab and tests. Owns input, output, the ready signal and the
 * end of a session; what the replies mean is in client_hello.c and client_send.c. Never touches a
 * socket, never waits, never sends a command before all input that was there has been judged: a
 * reply that comes before its command is a broken or hostile server.
 */
#include <stdarg.h>

#include "smtp/client_impl.h"

static const char *const client_stage_names[] = {
    [SMTP_AT_CONNECT] = "connect",   [SMTP_AT_BANNER] = "greeting", [SMTP_AT_EHLO] = "ehlo",
    [SMTP_AT_STARTTLS] = "starttls", [SMTP_AT_AUTH] = "auth",       [SMTP_AT_MAIL] = "mail",
    [SMTP_AT_RCPT] = "rcpt",         [SMTP_AT_DATA] = "data",       [SMTP_AT_BODY] = "body",
    [SMTP_AT_DOT] = "dot",           [SMTP_AT_RSET] = "rset",       [SMTP_AT_QUIT] = "quit",
};

/* How long a stage may last, in seconds (RFC 5321 4.5.3.2; the last rows are ours). */
static const uint16_t client_stage_seconds[] = {
    [SMTP_AT_CONNECT] = 300, [SMTP_AT_BANNER] = 300, [SMTP_AT_EHLO] = 300, [SMTP_AT_STARTTLS] = 120,
    [SMTP_AT_AUTH] = 300,    [SMTP_AT_MAIL] = 300,   [SMTP_AT_RCPT] = 300, [SMTP_AT_DATA] = 120,
    [SMTP_AT_BODY] = 180,    [SMTP_AT_DOT] = 600,    [SMTP_AT_RSET] = 300, [SMTP_AT_QUIT] = 30,
};

const char *
smtp_client_stage_name(enum smtp_client_stage stage)
{
    if ((unsigned)stage >= ARRAY_LEN(client_stage_names))
        return "unknown";
    return client_stage_names[stage];
}

/* --- birth and death --- */

static struct str
client_own(char **at, struct str s)
{
    struct str copy = str_of(*at, s.n);

    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

struct smtp_client *
smtp_client_create(const struct smtp_client_conf *conf, const struct smtp_client_ops *ops,
                   void *ctx)
{
    struct smtp_client *c = calloc(1, sizeof(*c));
    char *at;

    if (!c)
        return NULL;
    c->conf = *conf;
    c->strings = malloc(conf->ehlo.n + conf->auth_user.n + conf->auth_password.n + 1);
    if (!c->strings) {
        free(c);
        return NULL;
    }
    at = c->strings;
    c->conf.ehlo = client_own(&at, conf->ehlo);
    c->conf.auth_user = client_own(&at, conf->auth_user);
    c->conf.auth_password = client_own(&at, conf->auth_password);
    c->ops = ops;
    c->ctx = ctx;
    c->tls = conf->tls_wrapped;
    c->state = CLIENT_BANNER;
    c->awaiting = 1; /* the greeting */
    smtp_reply_parser_init(&c->parser, conf->max_reply);
    buf_init(&c->in, CLIENT_IN_MAX);
    buf_init(&c->out, CLIENT_OUT_MAX);
    return c;
}

void
smtp_client_free(struct smtp_client *c)
{
    if (!c)
        return;
    c->state = CLIENT_DEAD;
    c->in_flight = false;
    if (c->busy) { /* from a callback: the loop frees on its way out */
        c->freed = true;
        return;
    }
    explicit_bzero(c->strings, c->conf.ehlo.n + c->conf.auth_user.n + c->conf.auth_password.n);
    free(c->strings);
    sasl_client_free(c->sasl);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c->accepted);
    free(c);
}

void
client_keep(struct client_kept *k, const struct smtp_reply *r)
{
    size_t n = MIN(r->text.n, sizeof(k->text));

    if (n)
        memmove(k->text, r->text.p, n);
    k->reply = *r;
    k->reply.text = str_of(k->text, n);
}

void
client_fail(struct smtp_client *c, enum smtp_client_stage stage, const struct smtp_reply *r,
            bool quit)
{
    enum client_state was = c->state;

    if (was == CLIENT_DEAD)
        return;
    c->state = CLIENT_DEAD; /* first: nothing that the callbacks do may come back here */
    c->want_ready = false;
    buf_clear(&c->out);
    if (quit) { /* polite, and not waited for */
        if (c->ops->trace)
            c->ops->trace(c->ctx, 'C', STR("QUIT"));
        c->ops->send(c->ctx, "QUIT\r\n", 6);
    }
    client_send_lost(c, was, stage, r);
    if (!c->freed)
        c->ops->failed(c->ctx, stage, r);
}

void
client_fail_text(struct smtp_client *c, enum smtp_client_stage stage, const char *fmt, ...)
{
    char text[512];
    struct smtp_reply r = {0};
    va_list ap;

    va_start(ap, fmt);
    if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    r.text = str_c(text);
    client_fail(c, stage, &r, false);
}

/* --- output --- */

void
client_line_queued(struct smtp_client *c, size_t line_at, unsigned replies, bool secret)
{
    c->steps++;
    c->awaiting += replies;
    c->unsent += replies;
    if (!c->ops->trace || c->out.failed)
        return;
    if (secret)
        c->ops->trace(c->ctx, 'C', STR("(secret)"));
    else
        c->ops->trace(c->ctx, 'C', str_of(c->out.p + line_at, c->out.n - line_at - 2));
}

void
client_command(struct smtp_client *c, const char *fmt, ...)
{
    size_t at = c->out.n;
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    if (vsnprintf(line, sizeof(line), fmt, ap) < 0)
        line[0] = '\0';
    va_end(ap);
    buf_c(&c->out, line);
    buf_add(&c->out, "\r\n", 2);
    client_line_queued(c, at, 1, false);
}

/* The stream copies what it is given, and may feed us from inside: the buffer steps aside. */
void
client_flush(struct smtp_client *c)
{
    struct buf going = c->out;

    if (!going.n && !going.failed)
        return;
    buf_init(&c->out, CLIENT_OUT_MAX);
    if (going.failed)
        client_fail_text(c, smtp_client_stage(c), "no memory for commands to the server");
    else if (c->parser.bytes && c->unsent && c->awaiting == c->unsent)
        client_fail_text(c, smtp_client_stage(c), "server began a reply before its command");
    c->unsent = 0;
    if (c->state != CLIENT_DEAD)
        c->ops->send(c->ctx, going.p, going.n);
    if (c->out.p) {
        buf_done(&going);
        return;
    }
    buf_clear(&going);
    c->out = going;
}

/* --- input --- */

static void
client_trace_reply(struct smtp_client *c, const struct smtp_reply *r)
{
    char line[1024];

    if (c->ops->trace)
        c->ops->trace(c->ctx, 'S', str_c(smtp_reply_show(r, line, sizeof(line))));
}

/* A reply that no command asked for. 421 may come at any time (RFC 5321 3.8); all else means that
 * the two ends no longer agree about where they are, so nothing that follows can be believed. */
static void
client_unasked(struct smtp_client *c, const struct smtp_reply *r)
{
    char line[200];

    if (r->code == 421) {
        client_fail(c, smtp_client_stage(c), r, false);
        return;
    }
    if (c->state == CLIENT_BODY) {
        client_send_unasked(c, r);
        return;
    }
    client_fail_text(c, smtp_client_stage(c), "server sent a reply before its command: %s",
                     smtp_reply_show(r, line, sizeof(line)));
}

static void
client_reply(struct smtp_client *c, const struct smtp_reply *r)
{
    client_trace_reply(c, r);
    c->steps++;
    if (c->awaiting <= c->unsent) {
        client_unasked(c, r);
        return;
    }
    c->awaiting--;
    if (r->code == 421 && c->state != CLIENT_QUIT) {
        client_fail(c, smtp_client_stage(c), r, false);
        return;
    }
    if (c->state == CLIENT_QUIT) {
        client_fail(c, SMTP_AT_QUIT, r, false);
        return;
    }
    if (c->state >= CLIENT_IDLE)
        client_send_reply(c, r);
    else
        client_hello_reply(c, r);
}

static void
client_consume(struct smtp_client *c, const char *p, size_t n)
{
    while (n && c->state != CLIENT_DEAD && c->state != CLIENT_HANDSHAKE) {
        struct smtp_reply r;
        size_t used;
        int err = smtp_reply_parse(&c->parser, p, n, &used, &r);

        p += used;
        n -= used;
        if (err == ERR_LIMIT)
            client_fail_text(c, smtp_client_stage(c), "server's reply is longer than %u bytes",
                             c->parser.max);
        else if (err < 0)
            client_fail_text(c, smtp_client_stage(c), "server's reply is no SMTP reply");
        else if (err == 1)
            client_reply(c, &r);
        if (c->drop_input) { /* clear text behind the reply to STARTTLS (RFC 3207 6) */
            c->drop_input = false;
            return;
        }
    }
}

/* --- the loop --- */

static void
client_take_queued(struct smtp_client *c)
{
    struct buf in = c->in;

    buf_init(&c->in, CLIENT_IN_MAX);
    if (in.failed)
        client_fail_text(c, smtp_client_stage(c), "server sent %u bytes without being asked",
                         CLIENT_IN_MAX);
    client_consume(c, in.p, in.n);
    buf_done(&in);
}

static void
client_ready(struct smtp_client *c)
{
    c->want_ready = false;
    if (!c->want_quit) {
        c->ops->ready(c->ctx);
        return;
    }
    c->state = CLIENT_QUIT;
    client_command(c, "QUIT");
}

/* Runs until nothing is left to do without the server or the caller. */
static void
client_run(struct smtp_client *c)
{
    while (c->state != CLIENT_DEAD) {
        if (c->in.n || c->in.failed)
            client_take_queued(c);
        else if (c->out.n || c->out.failed)
            client_flush(c);
        else if (c->want_ready)
            client_ready(c);
        else if (c->state == CLIENT_BODY && c->ops->backlog(c->ctx) < CLIENT_LOW_WATER)
            client_send_pump(c);
        else
            return;
    }
}

void
client_leave(struct smtp_client *c)
{
    client_run(c);
    c->busy = false;
    if (c->freed)
        smtp_client_free(c);
}

void
client_idle(struct smtp_client *c)
{
    c->state = CLIENT_IDLE;
    c->want_ready = true;
}

/* --- public calls --- */

void
smtp_client_feed(struct smtp_client *c, const char *p, size_t n)
{
    if (c->state == CLIENT_DEAD || c->state == CLIENT_HANDSHAKE)
        return;
    if (c->busy) {
        buf_add(&c->in, p, n);
        return;
    }
    c->busy = true;
    client_consume(c, p, n);
    client_leave(c);
}

void
smtp_client_drained(struct smtp_client *c)
{
    if (c->busy || c->state == CLIENT_DEAD)
        return;
    c->busy = true;
    client_leave(c);
}

void
smtp_client_lost(struct smtp_client *c, const char *why, bool timeout)
{
    enum smtp_client_stage stage = smtp_client_stage(c);
    bool inner = c->busy;

    if (c->state == CLIENT_DEAD)
        return;
    c->busy = true;
    client_fail_text(c, stage, "%s while waiting at %s%s%s",
                     timeout ? "timed out" : "connection lost", smtp_client_stage_name(stage),
                     why ? ": " : "", why ? why : "");
    if (!inner)
        client_leave(c);
}

void
smtp_client_tls_done(struct smtp_client *c, bool ok, const char *why)
{
    bool inner = c->busy;

    if (c->state != CLIENT_HANDSHAKE)
        return;
    c->busy = true;
    if (ok) {
        c->tls = true;
        client_hello_start(c);
    } else {
        client_fail_text(c, SMTP_AT_STARTTLS, "TLS handshake failed: %s",
                         why ? why : "no reason given");
    }
    if (!inner)
        client_leave(c);
}

void
smtp_client_quit(struct smtp_client *c)
{
    if (c->state == CLIENT_DEAD || c->want_quit)
        return;
    c->want_quit = true;
    if (c->state != CLIENT_IDLE)
        return; /* said when the session would be ready again */
    c->want_ready = true;
    if (c->busy)
        return;
    c->busy = true;
    client_leave(c);
}

uint32_t
smtp_client_offers(const struct smtp_client *c)
{
    return c->caps.offers;
}

uint64_t
smtp_client_min_by(const struct smtp_client *c)
{
    return c->caps.min_by;
}

uint64_t
smtp_client_max_size(const struct smtp_client *c)
{
    return c->caps.max_size;
}

unsigned
smtp_client_max_rcpts(const struct smtp_client *c)
{
    return c->caps.max_rcpts;
}

unsigned
smtp_client_max_mails(const struct smtp_client *c)
{
    return c->caps.max_mails;
}

struct str
smtp_client_banner(const struct smtp_client *c)
{
    return str_c(c->banner);
}

enum smtp_client_stage
smtp_client_stage(const struct smtp_client *c)
{
    static const uint8_t stages[] = {
        [CLIENT_BANNER] = SMTP_AT_BANNER,
        [CLIENT_EHLO] = SMTP_AT_EHLO,
        [CLIENT_HELO] = SMTP_AT_EHLO,
        [CLIENT_STARTTLS] = SMTP_AT_STARTTLS,
        [CLIENT_HANDSHAKE] = SMTP_AT_STARTTLS,
        [CLIENT_AUTH] = SMTP_AT_AUTH,
        [CLIENT_AUTH_CANCEL] = SMTP_AT_AUTH,
        [CLIENT_IDLE] = SMTP_AT_MAIL,
        [CLIENT_ALLOW] = SMTP_AT_DATA,
        [CLIENT_BODY] = SMTP_AT_BODY,
        [CLIENT_DOT] = SMTP_AT_DOT,
        [CLIENT_EMPTY] = SMTP_AT_DATA,
        [CLIENT_QUIT] = SMTP_AT_QUIT,
        [CLIENT_DEAD] = SMTP_AT_QUIT,
    };

    if (c->state == CLIENT_ENVELOPE)
        return client_send_stage(c);
    return (enum smtp_client_stage)stages[c->state];
}

uint64_t
smtp_client_steps(const struct smtp_client *c)
{
    return c->steps;
}

uint64_t
smtp_client_timeout(const struct smtp_client *c)
{
    bool waits = c->awaiting || c->state == CLIENT_BODY || c->state == CLIENT_HANDSHAKE ||
                 c->parser.bytes; /* half a reply that nobody asked for */

    if (c->state == CLIENT_DEAD || !waits)
        return 0;
    return client_stage_seconds[smtp_client_stage(c)] * UINT64_C(1000000000);
}
