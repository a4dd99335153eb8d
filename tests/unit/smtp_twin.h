/*
 * tests/unit/smtp_twin.h - the memory twin of the server's callbacks: no socket, no policy.
 *
 * It answers at once, or only after the call that asked (late), so that both ways can be compared.
 * What happened is a log of lines; bodies of accepted messages are kept. Users: unit tests of the
 * server, tests/support/smtp_cases, the server's fuzz target.
 *
 * Names decide: recipients "nobody..." and "nonexistent..." get 550, "later..." 451, senders
 * "banned..." 550; a body line "X-Refuse:" gets 554; user "tony" has the password "stark".
 */
#ifndef GAPURA_SMTP_TWIN_H
#define GAPURA_SMTP_TWIN_H

#include "core/buf.h"
#include "core/err.h"
#include "smtp/reply.h"
#include "smtp/server.h"

#define TWIN_MESSAGES 16

struct twin {
    struct smtp_server_conf conf;
    struct smtp_server *s;
    bool late;       /* answers come after the call */
    bool no_tls_yet; /* ops.starttls was called */
    bool closed;
    unsigned sends; /* calls of ops.send */
    unsigned rcpts; /* accepted in this transaction */
    unsigned resets, opened;
    struct buf out, log, body;
    struct buf refused; /* "MAIL 552 5.3.4 a@b.example\n": told of what the engine refuses */
    struct buf messages[TWIN_MESSAGES];
    unsigned nmessages;      /* may pass TWIN_MESSAGES: the rest is only counted */
    struct header_scan scan; /* of the last message */
    struct {                 /* owed answers */
        int code;
        const char *enh;
        char text[96];
    } owed[128];
    unsigned nowed;
    enum { TWIN_NO_AUTH, TWIN_AUTH } owed_auth;
    enum smtp_auth_result auth_result;
    char auth_data[64];
    char mech[32];
    unsigned auth_steps;
};

__attribute__((unused)) static struct smtp_server_conf
twin_conf(void)
{
    return (struct smtp_server_conf){
        .hostname = STR("mx.example.test"),
        .banner_text = STR("ready"),
        .offer = SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 |
                 SMTP_EXT_CHUNKING | SMTP_EXT_DSN | SMTP_EXT_ENHANCED | SMTP_EXT_STARTTLS |
                 SMTP_EXT_AUTH | SMTP_EXT_LIMITS | SMTP_EXT_HELP | SMTP_EXT_REQUIRETLS,
        .max_size = 1 << 20,
        .auth_mechs = STR("PLAIN LOGIN FINAL"),
        .max_rcpts = 100,
        .max_line = 2048,
        .max_auth_line = 12288,
        .max_commands = 100,
        .max_errors = 50,
        .max_received = 20,
        .max_header = 65536,
    };
}

static void
twin_answer(struct twin *t, int code, const char *enh, const char *text)
{
    if (!t->late) {
        smtp_server_reply(t->s, code, enh, "%s", text);
        return;
    }
    if (t->nowed == sizeof(t->owed) / sizeof(t->owed[0]))
        return;
    t->owed[t->nowed].code = code;
    t->owed[t->nowed].enh = enh;
    snprintf(t->owed[t->nowed].text, sizeof(t->owed[0].text), "%s", text);
    t->nowed++;
}

static void
twin_auth_answer(struct twin *t, enum smtp_auth_result r, const char *data)
{
    t->auth_result = r;
    snprintf(t->auth_data, sizeof(t->auth_data), "%s", data);
    t->owed_auth = TWIN_AUTH;
    if (t->late)
        return;
    t->owed_auth = TWIN_NO_AUTH;
    smtp_server_auth(t->s, r, str_c(data));
}

/* Gives the answers that are owed; true if there were any. */
static bool
twin_settle(struct twin *t)
{
    bool any = t->nowed > 0 || t->owed_auth;

    while (t->nowed) {
        int code = t->owed[0].code;
        const char *enh = t->owed[0].enh;
        char text[96];

        memcpy(text, t->owed[0].text, sizeof(text));
        memmove(t->owed, t->owed + 1, --t->nowed * sizeof(t->owed[0]));
        smtp_server_reply(t->s, code, enh, "%s", text);
    }
    if (t->owed_auth) {
        t->owed_auth = TWIN_NO_AUTH;
        smtp_server_auth(t->s, t->auth_result, str_c(t->auth_data));
    }
    return any;
}

static void
twin_send(void *ctx, const char *p, size_t n)
{
    struct twin *t = ctx;

    t->sends++;
    buf_add(&t->out, p, n);
}

static void
twin_connect(void *ctx)
{
    twin_answer(ctx, 220, NULL, "");
}

static void
twin_helo(void *ctx, struct str name, bool ehlo)
{
    struct twin *t = ctx;

    buf_fmt(&t->log, "%s %.*s\n", ehlo ? "ehlo" : "helo", STR_ARG(name));
    twin_answer(t, 250, NULL, "at your service");
}

static void
twin_mail(void *ctx, const struct smtp_mail_params *m)
{
    struct twin *t = ctx;

    t->rcpts = 0;
    t->opened++;
    buf_fmt(&t->log, "mail <%.*s>%s%s%s%s", STR_ARG(m->from.text), m->from.null ? " null" : "",
            m->binary      ? " binary"
            : m->body_8bit ? " 8bit"
                           : "",
            m->utf8 ? " utf8" : "", m->requiretls ? " rtls" : "");
    if (m->by_mode)
        buf_fmt(&t->log, " by=%d;%d%s", m->by, m->by_mode, m->by_trace ? "t" : "");
    if (m->priority)
        buf_fmt(&t->log, " priority=%d", m->priority);
    if (m->size)
        buf_fmt(&t->log, " size=%llu", (unsigned long long)m->size);
    if (m->ret)
        buf_fmt(&t->log, " ret=%d", m->ret);
    if (m->envid.n)
        buf_fmt(&t->log, " envid=%.*s", STR_ARG(m->envid));
    if (m->auth.n)
        buf_fmt(&t->log, " auth=%.*s", STR_ARG(m->auth));
    buf_c(&t->log, "\n");
    if (str_istarts(m->from.local, STR("banned")))
        twin_answer(t, 550, "5.7.1", "Sender banned");
    else
        twin_answer(t, 250, "2.1.0", "Sender OK");
}

static void
twin_rcpt(void *ctx, const struct smtp_rcpt_params *r)
{
    struct twin *t = ctx;

    buf_fmt(&t->log, "rcpt <%.*s>", STR_ARG(r->to.text));
    if (r->notify)
        buf_fmt(&t->log, " notify=%d", r->notify);
    if (r->orcpt.n)
        buf_fmt(&t->log, " orcpt=%.*s", STR_ARG(r->orcpt));
    buf_c(&t->log, "\n");
    if (str_istarts(r->to.local, STR("nobody")) || str_istarts(r->to.local, STR("nonexistent"))) {
        twin_answer(t, 550, "5.1.1", "No such user");
    } else if (str_istarts(r->to.local, STR("later"))) {
        twin_answer(t, 451, "4.3.0", "Later");
    } else {
        t->rcpts++;
        twin_answer(t, 250, "2.1.5", "Recipient OK");
    }
}

static void
twin_data(void *ctx)
{
    struct twin *t = ctx;

    buf_c(&t->log, "data\n");
    buf_clear(&t->body);
    twin_answer(t, 354, NULL, "Go on");
}

static void
twin_body(void *ctx, const char *p, size_t n)
{
    buf_add(&((struct twin *)ctx)->body, p, n);
}

static void
twin_data_end(void *ctx, const struct header_scan *scan)
{
    struct twin *t = ctx;
    bool refuse = str_find(buf_view(&t->body), STR("X-Refuse:")) >= 0;
    unsigned n = t->conf.lmtp ? t->rcpts : 1;

    t->scan = *scan;
    buf_fmt(&t->log, "end %zu%s\n", t->body.n, scan->eight_bit ? " 8bit" : "");
    if (!refuse && t->nmessages < TWIN_MESSAGES)
        buf_str(&t->messages[t->nmessages], buf_view(&t->body));
    t->nmessages += !refuse;
    while (n--)
        twin_answer(t, refuse ? 554 : 250, refuse ? "5.7.1" : "2.0.0",
                    refuse ? "Refused" : "Received OK");
}

static void
twin_refused(void *ctx, const char *command, const struct smtp_refusal *r, struct str said)
{
    struct twin *t = ctx;

    buf_fmt(&t->refused, "%s %d %s %.*s\n", command, r->code, r->enh, STR_ARG(said));
}

static void
twin_reset(void *ctx)
{
    struct twin *t = ctx;

    t->resets++;
    buf_c(&t->log, "reset\n");
}

static void
twin_auth(void *ctx, struct str mech, struct str initial)
{
    static const char good[] = "\0tony\0stark";
    struct twin *t = ctx;

    buf_fmt(&t->log, "auth %.*s %s\n", STR_ARG(mech), initial.p ? "initial" : "none");
    str_copy(mech, t->mech, sizeof(t->mech));
    t->auth_steps = 0;
    if (!initial.p)
        twin_auth_answer(t, SMTP_AUTH_CHALLENGE, str_eq(mech, STR("LOGIN")) ? "Username:" : "");
    else if (str_eq(mech, STR("FINAL")))
        twin_auth_answer(t, SMTP_AUTH_OK, "v=proof");
    else if (str_eq(initial, str_of(good, sizeof(good) - 1)))
        twin_auth_answer(t, SMTP_AUTH_OK, "");
    else
        twin_auth_answer(t, SMTP_AUTH_FAIL, "");
}

static void
twin_auth_step(void *ctx, struct str response)
{
    struct twin *t = ctx;

    buf_fmt(&t->log, "step %zu\n", response.n);
    if (str_c(t->mech).p[0] != 'L') {
        char mech[32];

        snprintf(mech, sizeof(mech), "%s", t->mech);
        twin_auth(t, str_c(mech), response);
        return;
    }
    if (!t->auth_steps++)
        twin_auth_answer(t, SMTP_AUTH_CHALLENGE, "Password:");
    else
        twin_auth_answer(t, str_eq(response, STR("stark")) ? SMTP_AUTH_OK : SMTP_AUTH_FAIL, "");
}

static void
twin_auth_cancel(void *ctx)
{
    buf_c(&((struct twin *)ctx)->log, "cancel\n");
}

static void
twin_starttls(void *ctx)
{
    ((struct twin *)ctx)->no_tls_yet = true;
}

static void
twin_quit(void *ctx)
{
    struct twin *t = ctx;

    t->closed = true;
    buf_c(&t->log, "quit\n");
}

static const struct smtp_server_ops twin_ops = {
    .send = twin_send,
    .connect = twin_connect,
    .helo = twin_helo,
    .mail = twin_mail,
    .rcpt = twin_rcpt,
    .data = twin_data,
    .body = twin_body,
    .data_end = twin_data_end,
    .refused = twin_refused,
    .reset = twin_reset,
    .auth = twin_auth,
    .auth_step = twin_auth_step,
    .auth_cancel = twin_auth_cancel,
    .starttls = twin_starttls,
    .quit = twin_quit,
};

/* conf NULL: twin_conf(). The greeting is in `out` then. */
__attribute__((unused)) static void
twin_open(struct twin *t, const struct smtp_server_conf *conf, bool late)
{
    memset(t, 0, sizeof(*t));
    t->conf = conf ? *conf : twin_conf();
    t->late = late;
    buf_init(&t->out, 1 << 24);
    buf_init(&t->log, 1 << 24);
    buf_init(&t->body, 1 << 26);
    buf_init(&t->refused, 1 << 24);
    for (unsigned i = 0; i < TWIN_MESSAGES; i++)
        buf_init(&t->messages[i], 1 << 26);
    t->s = smtp_server_create(&t->conf, &twin_ops, t);
    smtp_server_start(t->s);
    twin_settle(t);
}

__attribute__((unused)) static void
twin_close(struct twin *t)
{
    smtp_server_free(t->s);
    buf_done(&t->out);
    buf_done(&t->log);
    buf_done(&t->body);
    buf_done(&t->refused);
    for (unsigned i = 0; i < TWIN_MESSAGES; i++)
        buf_done(&t->messages[i]);
}

/* Feeds all of `in`, at most `step` bytes at a time (0: all at once). What the server does not take
 * is kept and given again, as a stream does; a handshake drops what came before it. */
__attribute__((unused)) static void
twin_feed(struct twin *t, struct str in, size_t step)
{
    size_t from = 0, to = 0;

    while (to < in.n || from < to) {
        if (from == to)
            to = MIN(in.n, to + (step ? step : in.n));
        from += smtp_server_feed(t->s, in.p + from, to - from);
        if (t->no_tls_yet) {
            t->no_tls_yet = false;
            from = to;
            smtp_server_tls_done(t->s, true);
        }
        if (from < to && !twin_settle(t))
            to = MIN(in.n, to + step); /* never: the server takes all unless it waits */
    }
    twin_settle(t);
}

/* Last lines of all replies so far: "code" or "code e.n.h" joined by "|"; empties `out`. */
__attribute__((unused)) static struct str
twin_replies(struct twin *t, char *dst, size_t cap)
{
    struct str text = buf_view(&t->out), line;
    size_t n = 0;

    dst[0] = '\0';
    while (text.n) {
        line = str_cut(text, '\n', &text);
        if (line.n < 4 || line.p[3] != ' ')
            continue;
        if (line.n > 9 && line.p[5] == '.' && line.p[7] == '.' && line.p[4] == line.p[0])
            line = str_sub(line, 0, (size_t)(str_chr(str_from(line, 4), ' ') + 4));
        else
            line = str_sub(line, 0, 3);
        n += str_fmt(dst + n, cap - n, "%s%.*s", n ? "|" : "", STR_ARG(line));
    }
    buf_clear(&t->out);
    return str_of(dst, n);
}

#endif
