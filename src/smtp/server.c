/*
 * smtp/server.c - the server machine: input to lines and bodies, replies gathered and sent, what a
 * callback owes, the end of a session.
 *
 * Called by the gate and by tests' inside servers. Verbs are in server_verb.c, transactions in
 * server_mail.c, bodies in server_data.c, AUTH and STARTTLS in server_auth.c. Never touches a
 * socket, never decides who may send what.
 */
#include <stdarg.h>

#include "core/err.h"
#include "smtp/server_inner.h"

#define LINE_DEFAULT      2048u
#define AUTH_LINE_DEFAULT 12288u

static const struct {
    enum smtp_server_state state;
    const char *name;
} state_names[] = {
    {SMTP_CONNECT, "connect"}, {SMTP_GREETED, "greeted"}, {SMTP_READY, "ready"},
    {SMTP_MAIL, "mail"},       {SMTP_RCPT, "rcpt"},       {SMTP_DATA, "data"},
    {SMTP_BDAT, "bdat"},       {SMTP_AUTH, "auth"},       {SMTP_TLS, "tls"},
    {SMTP_CLOSED, "closed"},
};

const char *
smtp_server_state_name(enum smtp_server_state state)
{
    for (size_t i = 0; i < ARRAY_LEN(state_names); i++)
        if (state_names[i].state == state)
            return state_names[i].name;
    return "unknown";
}

struct smtp_server *
smtp_server_create(const struct smtp_server_conf *conf, const struct smtp_server_ops *ops,
                   void *ctx)
{
    struct smtp_server *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->conf = conf;
    s->ops = ops;
    s->ctx = ctx;
    buf_init(&s->out, SMTP_OUT_MAX);
    buf_init(&s->part, 0);
    return s;
}

void
smtp_server_free(struct smtp_server *s)
{
    if (!s)
        return;
    if (s->depth) {
        s->freed = true;
        s->state = SMTP_CLOSED;
        s->owed = OWES_NOTHING;
        return;
    }
    buf_done(&s->out);
    buf_done(&s->part);
    free(s->txn);
    free(s);
}

void
smtp_flush(struct smtp_server *s)
{
    if (s->out.n && !s->freed)
        s->ops->send(s->ctx, s->out.p, s->out.n);
    buf_clear(&s->out);
}

void
smtp_enter(struct smtp_server *s)
{
    s->depth++;
}

bool
smtp_leave(struct smtp_server *s)
{
    if (s->depth == 1) {
        smtp_flush(s);
        buf_shrink(&s->out, 0);
    }
    s->depth--;
    if (!s->freed || s->depth)
        return !s->freed;
    smtp_server_free(s);
    return false;
}

void
smtp_to(struct smtp_server *s, enum smtp_server_state state)
{
    if (s->state != SMTP_CLOSED)
        s->state = state;
}

void
smtp_owe(struct smtp_server *s, enum smtp_owed owed)
{
    s->owed = owed;
}

void
smtp_trace(struct smtp_server *s, char dir, struct str line)
{
    if (s->ops->trace && !s->freed)
        s->ops->trace(s->ctx, dir, line);
}

static void
trace_replies(struct smtp_server *s, struct str text)
{
    while (s->ops->trace && text.n) {
        struct str line = str_cut(text, '\n', &text);

        smtp_trace(s, '>', str_sub(line, 0, line.n ? line.n - 1 : 0));
    }
}

struct smtp_ext_state
smtp_ext_state(const struct smtp_server *s)
{
    return (struct smtp_ext_state){
        .conf = s->conf,
        .mechs = s->mechs.n ? s->mechs : s->conf->auth_mechs,
        .tls = s->tls,
        .xclient = s->xclient,
        .now_s = s->conf->max_hold && s->ops->now_s ? s->ops->now_s(s->ctx) : 0,
        .esmtp = s->esmtp,
        .utf8 = s->txn && s->txn->utf8,
    };
}

/* Enhanced codes are for clients that were told of them, or may be (RFC 2034 4). */
static const char *
enhanced(const struct smtp_server *s, int code, const char *enh)
{
    if (!(s->conf->offer & SMTP_EXT_ENHANCED) || (s->greeted && !s->esmtp))
        return NULL;
    return enh && code / 100 == enh[0] - '0' ? enh : smtp_reply_default_enh(code);
}

static void
say_raw(struct smtp_server *s, int code, const char *enh, struct str text)
{
    size_t at = s->out.n;

    if (s->state == SMTP_CLOSED)
        return;
    smtp_reply_build(&s->out, code, enh, text, s->txn && s->txn->utf8);
    if (code / 100 == 5)
        s->errors++;
    trace_replies(s, str_from(buf_view(&s->out), at));
    if (s->out.n >= SMTP_OUT_FLUSH)
        smtp_flush(s);
}

void
smtp_say_text(struct smtp_server *s, int code, const char *enh, struct str text)
{
    say_raw(s, code, enhanced(s, code, enh), text);
}

void
smtp_say(struct smtp_server *s, const struct smtp_refusal *r)
{
    smtp_say_text(s, r->code, r->enh, str_c(r->text));
}

void
smtp_tell_refused(struct smtp_server *s, const char *command, const struct smtp_refusal *r,
                  struct str said)
{
    if (s->ops->refused && !s->freed && s->state != SMTP_CLOSED)
        s->ops->refused(s->ctx, command, r, said);
}

void
smtp_close_told(struct smtp_server *s, const struct smtp_refusal *r)
{
    smtp_tell_refused(s, "CONNECT", r, STR_NONE);
    smtp_server_close(s, r->enh, r->text);
}

void
smtp_hang_up(struct smtp_server *s)
{
    if (s->state == SMTP_CLOSED)
        return;
    smtp_flush(s);
    s->owed = OWES_NOTHING;
    s->state = SMTP_CLOSED;
    if (!s->freed)
        s->ops->quit(s->ctx);
}

/* The host's name must come first in greetings: *ret is text that begins with it. */
static struct str
named(const struct smtp_server *s, const char *proto, struct str text, char *dst, size_t cap)
{
    struct str host = s->conf->hostname, next = str_from(text, host.n);

    if (str_istarts(text, host) && (!next.n || next.p[0] == ' ' || next.p[0] == '\n'))
        return text;
    return str_of(dst, str_fmt(dst, cap, "%.*s%s%s%.*s", STR_ARG(host), proto, text.n ? " " : "",
                               STR_ARG(text)));
}

static void
replied_connect(struct smtp_server *s, int code, struct str text)
{
    char line[SMTP_REPLY_LINE_MAX];

    if (code / 100 == 2) {
        if (s->conf->banner_text.n)
            text = s->conf->banner_text;
        text = named(s, s->conf->lmtp ? " LMTP" : " ESMTP", text, line, sizeof(line));
    }
    s->refused = code / 100 == 5;
    say_raw(s, code, NULL, text);
    smtp_to(s, SMTP_GREETED);
}

static void
replied_helo(struct smtp_server *s, int code, const char *enh, struct str text)
{
    struct smtp_ext_state ext = smtp_ext_state(s);
    char line[SMTP_REPLY_LINE_MAX];
    struct buf all;

    if (code / 100 != 2) {
        s->greeted = false;
        smtp_say_text(s, code, enh, text);
        return;
    }
    buf_init(&all, SMTP_REPLY_TEXT_MAX);
    buf_str(&all, named(s, "", text, line, sizeof(line)));
    if (s->esmtp)
        smtp_ext_list(&ext, &all);
    say_raw(s, code, NULL, buf_view(&all));
    buf_done(&all);
    smtp_to(s, SMTP_READY);
}

/* What a reply does to the session once it is said. */
static void (*const replied[OWES_MAX_])(struct smtp_server *s, int code) = {
    [OWES_MAIL] = smtp_replied_mail, [OWES_RCPT] = smtp_replied_rcpt,
    [OWES_DATA] = smtp_replied_data, [OWES_END] = smtp_replied_end,
    [OWES_AUTH] = smtp_replied_auth, [OWES_BDAT] = smtp_replied_bdat,
};

static void
take_reply(struct smtp_server *s, int code, const char *enh, struct str text)
{
    enum smtp_owed owed = s->owed;

    s->owed = OWES_NOTHING;
    if (code == 421) {
        smtp_say_text(s, code, enh, text);
        smtp_hang_up(s);
    } else if (owed == OWES_CONNECT) {
        replied_connect(s, code, text);
    } else if (owed == OWES_HELO) {
        replied_helo(s, code, enh, text);
    } else if (owed != OWES_BDAT || !smtp_bdat_may_go_on(s, code)) {
        smtp_say_text(s, code, enh, text);
        if (replied[owed])
            replied[owed](s, code);
    }
}

void
smtp_server_reply(struct smtp_server *s, int code, const char *enh, const char *fmt, ...)
{
    char text[2048] __attribute__((uninitialized));
    va_list ap;
    int n;

    if (s->owed == OWES_NOTHING || s->owed == OWES_TLS)
        return; /* the session ended while the answer was on its way */
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    n = MAX(n, 0);
    smtp_enter(s);
    take_reply(s, code, enh, str_of(text, MIN((size_t)n, sizeof(text) - 1)));
    smtp_leave(s);
}

void
smtp_server_start(struct smtp_server *s)
{
    smtp_enter(s);
    smtp_owe(s, OWES_CONNECT);
    s->ops->connect(s->ctx);
    smtp_leave(s);
}

void
smtp_server_close(struct smtp_server *s, const char *enh, const char *text)
{
    char line[SMTP_REPLY_LINE_MAX];

    if (s->state == SMTP_CLOSED)
        return;
    smtp_enter(s);
    if (s->state != SMTP_TLS) /* plain text would only break the handshake */
        smtp_say_text(s, 421, enh, named(s, "", str_c(text), line, sizeof(line)));
    smtp_hang_up(s);
    smtp_leave(s);
}

/* How long the line that begins with `start` may be, its LF included. */
static size_t
line_limit(const struct smtp_server *s, struct str start)
{
    if (s->state == SMTP_AUTH || str_istarts(start, STR("AUTH ")))
        return s->conf->max_auth_line ? s->conf->max_auth_line : AUTH_LINE_DEFAULT;
    return s->conf->max_line ? s->conf->max_line : LINE_DEFAULT;
}

static void
whole_line(struct smtp_server *s, struct str raw)
{
    bool too_long = s->skip_line || raw.n > line_limit(s, raw);

    s->skip_line = false;
    if (s->state == SMTP_AUTH)
        smtp_auth_line(s, too_long ? STR_NONE : raw);
    else if (too_long)
        smtp_command_too_long(s);
    else
        smtp_command(s, raw);
}

/* Keeps a piece of a line; `whole`: its LF is in it. What passes the ceiling is thrown away. */
static void
keep_part(struct smtp_server *s, const char *p, size_t n, bool whole)
{
    size_t limit;

    if (s->skip_line)
        return;
    s->part.max = MAX(line_limit(s, STR("AUTH ")), line_limit(s, STR_NONE));
    buf_add(&s->part, p, n); /* sticky: fails when longer than any line may be */
    limit = line_limit(s, buf_view(&s->part));
    if (!s->part.failed && (s->part.n < limit || (whole && s->part.n == limit)))
        return;
    s->skip_line = true;
    buf_done(&s->part);
}

/* The kept line is whole. It leaves the session first: the session may go while it is run. */
static void
whole_part(struct smtp_server *s)
{
    struct buf line = s->part;

    buf_init(&s->part, 0);
    whole_line(s, buf_view(&line));
    if (line.n)
        explicit_bzero(line.p, line.n); /* it may have been a password */
    buf_done(&line);
}

static size_t
take_line(struct smtp_server *s, const char *p, size_t n)
{
    bool fresh = !s->part.n && !s->skip_line;
    const char *nl;
    size_t len;

    if (fresh && s->state != SMTP_AUTH && !smtp_greets_like_smtp(*p)) {
        smtp_command(s, str_of(p, 1));
        return 1;
    }
    nl = memchr(p, '\n', n);
    len = nl ? (size_t)(nl - p) + 1 : n;
    if (nl && fresh) {
        whole_line(s, str_of(p, len));
        return len;
    }
    keep_part(s, p, len, nl != NULL);
    if (nl)
        whole_part(s);
    return len;
}

/* A client that does not read our replies may not make us keep more of them. */
static bool
replies_wait(struct smtp_server *s)
{
    return s->ops->full && s->ops->full(s->ctx, s->out.n);
}

size_t
smtp_server_feed(struct smtp_server *s, const char *p, size_t n)
{
    size_t used = 0;

    if (s->depth)
        return 0;
    smtp_enter(s);
    s->group_ended = false;
    while (used < n && s->owed == OWES_NOTHING && s->state != SMTP_CLOSED) {
        if (s->state == SMTP_DATA)
            used += smtp_body_data(s, p + used, n - used);
        else if (s->state == SMTP_BDAT)
            used += smtp_body_bdat(s, p + used, n - used);
        else if (replies_wait(s))
            break;
        else
            used += take_line(s, p + used, n - used);
        s->early = s->early || (s->group_ended && used < n);
    }
    if (s->state == SMTP_CLOSED || s->drop_input)
        used = n;
    s->drop_input = false;
    smtp_leave(s);
    return used;
}

bool
smtp_server_waiting(const struct smtp_server *s)
{
    return s->owed != OWES_NOTHING;
}

void
smtp_server_set_conf(struct smtp_server *s, const struct smtp_server_conf *conf)
{
    s->conf = conf;
}

void
smtp_server_set_trusted(struct smtp_server *s, bool trusted)
{
    s->trusted = trusted;
}

void
smtp_server_set_xclient(struct smtp_server *s, bool may)
{
    s->xclient = may;
}

void
smtp_server_set_mechs(struct smtp_server *s, struct str mechs)
{
    s->mechs = mechs;
}

void
smtp_server_set_tls(struct smtp_server *s)
{
    s->tls = true;
}

enum smtp_server_state
smtp_server_state(const struct smtp_server *s)
{
    return s->state;
}

bool
smtp_server_is_tls(const struct smtp_server *s)
{
    return s->tls;
}

bool
smtp_server_early(const struct smtp_server *s)
{
    return s->early;
}
