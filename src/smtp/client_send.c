/*
 * smtp/client_send.c - one message: RSET if the last one was left open, MAIL, RCPTs, DATA or BDAT,
 * the body, and the replies behind it.
 *
 * Called by client.c. Order of the envelope is a cursor: -1 RSET, 0 MAIL, 1..n RCPT, n+1 DATA;
 * `sent` and `got` walk over it, in one group with PIPELINING, in lock step without. Never lets
 * a body line be taken for the end, and never reports success for what the server did not confirm.
 */
#include <inttypes.h>

#include "smtp/client_body.h"
#include "smtp/client_impl.h"

static int
env_last(const struct smtp_client *c)
{
    return (int)c->msg.nrcpt + (c->chunking ? 0 : 1);
}

enum smtp_client_stage
client_send_stage(const struct smtp_client *c)
{
    if (c->got < 0)
        return SMTP_AT_RSET;
    if (c->got == 0)
        return SMTP_AT_MAIL;
    return (unsigned)c->got <= c->msg.nrcpt ? SMTP_AT_RCPT : SMTP_AT_DATA;
}

/* --- the envelope out --- */

static void
env_mail(struct smtp_client *c)
{
    const struct smtp_client_message *m = &c->msg;
    struct buf *out = &c->out;

    buf_c(out, "MAIL FROM:<");
    buf_str(out, m->sender);
    buf_char(out, '>');
    if ((c->caps.offers & SMTP_OFFER_SIZE) && m->size) {
        buf_c(out, " SIZE=");
        buf_u64(out, m->size);
    }
    if (m->binary)
        buf_c(out, " BODY=BINARYMIME");
    else if (m->body_8bit && (c->caps.offers & SMTP_OFFER_8BITMIME))
        buf_c(out, " BODY=8BITMIME");
    if (m->utf8)
        buf_c(out, " SMTPUTF8");
    if (m->requiretls && (c->caps.offers & SMTP_OFFER_REQUIRETLS))
        buf_c(out, " REQUIRETLS");
    if (m->by_mode && (c->caps.offers & SMTP_OFFER_DELIVERBY))
        buf_fmt(out, " BY=%" PRId32 ";%s%s", m->by, m->by_mode == 1 ? "N" : "R",
                m->by_trace ? "T" : "");
    if (m->priority && (c->caps.offers & SMTP_OFFER_MT_PRIORITY))
        buf_fmt(out, " MT-PRIORITY=%d", m->priority);
    if (!(c->caps.offers & SMTP_OFFER_DSN))
        return;
    if (m->ret)
        buf_c(out, m->ret == 1 ? " RET=FULL" : " RET=HDRS");
    if (m->envid.n) {
        buf_c(out, " ENVID=");
        buf_str(out, m->envid);
    }
}

static void
env_rcpt(struct smtp_client *c, const struct smtp_client_rcpt *rcpt)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } notify[] = {{1, "NEVER"}, {2, "SUCCESS"}, {4, "FAILURE"}, {8, "DELAY"}};
    struct buf *out = &c->out;
    const char *lead = " NOTIFY=";

    buf_c(out, "RCPT TO:<");
    buf_str(out, rcpt->address);
    buf_char(out, '>');
    if (!(c->caps.offers & SMTP_OFFER_DSN))
        return;
    for (size_t i = 0; i < ARRAY_LEN(notify); i++) {
        if (!(rcpt->notify & notify[i].bit))
            continue;
        buf_c(out, lead);
        buf_c(out, notify[i].name);
        lead = ",";
    }
    if (rcpt->orcpt.n) {
        buf_c(out, " ORCPT=");
        buf_str(out, rcpt->orcpt);
    }
}

static void
env_put(struct smtp_client *c, int i)
{
    size_t at = c->out.n;

    if (i < 0)
        buf_c(&c->out, "RSET");
    else if (i == 0)
        env_mail(c);
    else if ((unsigned)i <= c->msg.nrcpt)
        env_rcpt(c, &c->msg.rcpts[i - 1]);
    else
        buf_c(&c->out, "DATA");
    buf_add(&c->out, "\r\n", 2);
    client_line_queued(c, at, 1, false);
}

/* The whole group, or the next line alone. */
static void
env_advance(struct smtp_client *c)
{
    while (c->state == CLIENT_ENVELOPE && c->sent <= env_last(c)) {
        env_put(c, c->sent++);
        if (c->out.n >= CLIENT_OUT_FLUSH)
            client_flush(c);
        if (!c->pipelining)
            return;
    }
}

/* --- what may be sent at all --- */

/* No byte of an address may end the line or the path early: whoever made it, it is checked here. */
static bool
send_path_ok(struct str s, bool utf8)
{
    bool quoted = false;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];

        if (ch < 32 || ch == 127 || (ch > 127 && !utf8))
            return false;
        if (quoted && ch == '\\') {
            i++;
            if (i == s.n || (unsigned char)s.p[i] < 32 || s.p[i] == 127)
                return false;
        } else if (ch == '"') {
            quoted = !quoted;
        } else if (!quoted && (ch == '<' || ch == '>' || ch == ' ')) {
            return false;
        }
    }
    return !quoted && s.n <= 1000;
}

static bool
send_word_ok(struct str s, bool utf8)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];

        if (ch <= 32 || ch == 127 || (ch > 127 && !utf8))
            return false;
    }
    return s.n <= 1000;
}

static int
send_envelope_ok(const struct smtp_client_message *m, const char **why)
{
    *why = "address";
    if (!m->nrcpt || m->nrcpt > 100000 || !send_path_ok(m->sender, true) ||
        !send_word_ok(m->envid, false))
        return ERR_SYNTAX;
    for (unsigned i = 0; i < m->nrcpt; i++)
        if (!m->rcpts[i].address.n || !send_path_ok(m->rcpts[i].address, true) ||
            !send_word_ok(m->rcpts[i].orcpt, m->utf8))
            return ERR_SYNTAX;
    return 0;
}

static bool
send_needs_utf8(const struct smtp_client_message *m)
{
    if (m->utf8 || (m->sender.n && !str_is_ascii(m->sender)))
        return true;
    for (unsigned i = 0; i < m->nrcpt; i++)
        if (!str_is_ascii(m->rcpts[i].address))
            return true;
    return false;
}

static int
send_supported(const struct smtp_client *c, const struct smtp_client_message *m, const char **why)
{
    *why = "SMTPUTF8";
    if (send_needs_utf8(m) && !(c->caps.offers & SMTP_OFFER_SMTPUTF8))
        return ERR_UNSUPPORTED;
    *why = "BINARYMIME";
    if (m->binary && (!smtp_client_takes_binary(c) || !m->size))
        return ERR_UNSUPPORTED;
    *why = "8BITMIME";
    if (m->body_8bit && !m->binary && !(c->caps.offers & SMTP_OFFER_8BITMIME))
        return ERR_UNSUPPORTED;
    *why = "SIZE";
    if (c->caps.max_size && m->size > c->caps.max_size)
        return ERR_UNSUPPORTED;
    *why = NULL;
    return 0;
}

bool
smtp_client_takes_binary(const struct smtp_client *c)
{
    const uint32_t both = SMTP_OFFER_CHUNKING | SMTP_OFFER_BINARYMIME;

    return (c->caps.offers & both) == both && !c->conf.no_chunking && !c->conf.lmtp;
}

static int
send_room(struct smtp_client *c, unsigned nrcpt)
{
    if (nrcpt > c->accepted_cap) {
        uint8_t *bigger = realloc(c->accepted, nrcpt);

        if (!bigger)
            return ERR_NOMEM;
        c->accepted = bigger;
        c->accepted_cap = nrcpt;
    }
    memset(c->accepted, 0, nrcpt);
    return 0;
}

int
smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m, const char **ret_why)
{
    const char *why = "state";
    bool inner = c->busy;
    int err;

    if (!ret_why)
        ret_why = &why;
    *ret_why = why;
    if (c->state != CLIENT_IDLE || c->want_quit)
        return ERR_STATE;
    err = send_envelope_ok(m, ret_why);
    if (!err)
        err = send_supported(c, m, ret_why);
    if (!err)
        err = send_room(c, m->nrcpt);
    if (err)
        return err;
    c->msg = *m;
    c->msg.utf8 = send_needs_utf8(m);
    c->in_flight = true;
    c->want_ready = false;
    c->pipelining = (c->caps.offers & SMTP_OFFER_PIPELINING) && !c->conf.no_pipelining;
    /* BDAT says the size first: only where it is known. How many replies a refused chunk has in
     * LMTP no RFC says, so there it is always DATA. */
    c->chunking =
        (c->caps.offers & SMTP_OFFER_CHUNKING) && !c->conf.no_chunking && !c->conf.lmtp && m->size;
    c->sent = c->got = c->need_rset ? -1 : 0;
    c->mail_refused = false;
    c->naccepted = 0;
    c->state = CLIENT_ENVELOPE;
    c->busy = true;
    env_advance(c);
    if (!inner)
        client_leave(c);
    return 0;
}

/* --- the end of a message --- */

static void
message_done(struct smtp_client *c, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    c->in_flight = false;
    client_idle(c);
    c->ops->done(c->ctx, stage, r);
}

/* MAIL or every RCPT was refused. */
static void
message_refused(struct smtp_client *c)
{
    message_done(c, c->mail_refused ? SMTP_AT_MAIL : SMTP_AT_RCPT, &c->kept.reply);
}

static void
lmtp_rest(struct smtp_client *c, const struct smtp_reply *r)
{
    for (; c->dot_at < c->msg.nrcpt && !c->freed; c->dot_at++)
        if (c->accepted[c->dot_at])
            c->ops->rcpt_done(c->ctx, c->dot_at, r);
}

void
client_send_lost(struct smtp_client *c, enum client_state was, enum smtp_client_stage stage,
                 const struct smtp_reply *r)
{
    bool none = c->mail_refused || (c->got > (int)c->msg.nrcpt && !c->naccepted);

    if (!c->in_flight)
        return;
    c->in_flight = false;
    if ((was == CLIENT_ENVELOPE || was == CLIENT_EMPTY) && none) { /* was decided before */
        c->ops->done(c->ctx, c->mail_refused ? SMTP_AT_MAIL : SMTP_AT_RCPT, &c->kept.reply);
        return;
    }
    if (was == CLIENT_DOT && c->conf.lmtp)
        lmtp_rest(c, r);
    if (!c->freed)
        c->ops->done(c->ctx, stage, r);
}

/* --- replies --- */

static void
reply_odd(struct smtp_client *c, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    char line[200];

    client_fail_text(c, stage, "server's reply makes no sense at %s: %s",
                     smtp_client_stage_name(stage), smtp_reply_show(r, line, sizeof(line)));
}

static void
send_ask(struct smtp_client *c)
{
    c->state = CLIENT_ALLOW;
    c->ops->may_send(c->ctx);
}

/* 354 though nobody will receive: RFC 2920 3.1 wants a lone dot. Only where it cannot deliver an
 * empty message and where the number of replies behind it is known. */
static void
send_empty(struct smtp_client *c)
{
    if (c->naccepted || c->conf.lmtp) {
        client_fail_text(c, SMTP_AT_DATA, "server wants a body for no recipient");
        return;
    }
    c->state = CLIENT_EMPTY;
    client_command(c, ".");
}

static void
reply_data(struct smtp_client *c, const struct smtp_reply *r)
{
    bool none = c->mail_refused || !c->naccepted;

    if (r->code == 354 && none)
        send_empty(c);
    else if (r->code == 354)
        send_ask(c);
    else if (r->code < 400)
        reply_odd(c, SMTP_AT_DATA, r);
    else if (none)
        message_refused(c);
    else
        message_done(c, SMTP_AT_DATA, r);
}

static void
reply_mail(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code / 100 == 2) {
        c->need_rset = true; /* a transaction is open until a dot ends it */
    } else if (r->code >= 400) {
        c->mail_refused = true;
        client_keep(&c->kept, r);
    } else {
        reply_odd(c, SMTP_AT_MAIL, r);
    }
}

static void
reply_rcpt(struct smtp_client *c, unsigned i, const struct smtp_reply *r)
{
    if (r->code / 100 == 3) {
        reply_odd(c, SMTP_AT_RCPT, r);
        return;
    }
    if (r->code / 100 == 2) {
        c->accepted[i] = 1;
        c->naccepted++;
    } else if (!c->mail_refused) {
        client_keep(&c->kept, r);
    }
    if (!c->mail_refused)
        c->ops->rcpt(c->ctx, i, r);
}

/* Where does the envelope stand after a reply to RSET, MAIL or RCPT? */
static void
env_step(struct smtp_client *c)
{
    bool all = c->got > (int)c->msg.nrcpt;
    bool none = c->mail_refused || (all && !c->naccepted);

    if (c->state != CLIENT_ENVELOPE)
        return;
    if (none && !c->pipelining)
        message_refused(c);
    else if (!all || !c->chunking)
        env_advance(c);
    else if (none)
        message_refused(c);
    else
        send_ask(c);
}

static void
reply_envelope(struct smtp_client *c, const struct smtp_reply *r)
{
    int i = c->got++;

    if (i > (int)c->msg.nrcpt) {
        reply_data(c, r);
        return;
    }
    if (i > 0) {
        reply_rcpt(c, (unsigned)i - 1, r);
    } else if (i == 0) {
        reply_mail(c, r);
    } else if (r->code / 100 == 2) {
        c->need_rset = false;
    } else {
        client_fail(c, SMTP_AT_RSET, r, false);
    }
    env_step(c);
}

static void
reply_dot(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code / 100 == 3 || (c->half_early && r->code < 400)) {
        reply_odd(c, SMTP_AT_DOT, r);
        return;
    }
    /* The dot ends the transaction whatever the reply; a refused BDAT does not (RFC 3030 2). */
    c->need_rset = c->chunking && r->code / 100 != 2;
    if (c->conf.lmtp) {
        while (c->dot_at < c->msg.nrcpt && !c->accepted[c->dot_at])
            c->dot_at++;
        c->ops->rcpt_done(c->ctx, c->dot_at++, r);
        if (c->awaiting || c->state != CLIENT_DOT)
            return;
    }
    message_done(c, SMTP_AT_DOT, r);
}

void
client_send_reply(struct smtp_client *c, const struct smtp_reply *r)
{
    switch (c->state) {
    case CLIENT_ENVELOPE:
        reply_envelope(c, r);
        return;
    case CLIENT_DOT:
        reply_dot(c, r);
        return;
    case CLIENT_EMPTY:
        message_refused(c);
        return;
    default:
        return;
    }
}

/* The server speaks while the body runs: it refuses, or it is confused. A chunk has a known end,
 * so the session can be kept by sending it whole; behind DATA nothing ends the body but the dot,
 * which must not be said now. */
void
client_send_unasked(struct smtp_client *c, const struct smtp_reply *r)
{
    bool near = c->msg.size - MIN(c->pulled, c->msg.size) <= CLIENT_REFUSED_REST;

    if (r->code < 400 || c->refused_early) {
        client_fail_text(c, SMTP_AT_BODY, "server replied %d before the body's end", r->code);
    } else if (c->chunking && near) {
        c->refused_early = true;
        client_keep(&c->kept, r);
    } else {
        client_fail(c, SMTP_AT_BODY, r, false);
    }
}

/* --- the body out --- */

static void
send_refused_here(struct smtp_client *c)
{
    struct smtp_reply r = {.text = STR("held back: the body was not sent")};

    if (c->chunking)
        message_done(c, SMTP_AT_DATA, &r); /* RSET goes before the next MAIL */
    else
        client_fail(c, SMTP_AT_DATA, &r, false); /* behind 354 only a message or the end fits */
}

void
smtp_client_allow(struct smtp_client *c, bool yes)
{
    bool inner = c->busy;

    if (c->state != CLIENT_ALLOW)
        return;
    c->busy = true;
    if (yes) {
        c->state = CLIENT_BODY;
        c->pulled = 0;
        c->at_bol = c->at_crlf = true;
        c->after_cr = false;
        c->refused_early = false;
        if (c->chunking) {
            size_t at = c->out.n;

            buf_fmt(&c->out, "BDAT %" PRIu64 " LAST\r\n", c->msg.size);
            client_line_queued(c, at, 0, false);
        }
    } else {
        send_refused_here(c);
    }
    if (!inner)
        client_leave(c);
}

static void
send_body_end(struct smtp_client *c)
{
    if (c->chunking && c->pulled != c->msg.size) {
        client_fail_text(c, SMTP_AT_BODY, "body is %" PRIu64 " bytes, %" PRIu64 " were announced",
                         c->pulled, c->msg.size);
        return;
    }
    if (c->refused_early) {
        message_done(c, SMTP_AT_BODY, &c->kept.reply); /* and RSET before the next */
        return;
    }
    c->half_early = c->chunking && c->parser.bytes; /* of a refusal, or all is wrong */
    if (c->parser.bytes && !c->chunking) { /* whatever it will say, it is no answer to the dot */
        client_fail_text(c, SMTP_AT_BODY, "server began a reply before the body's end");
        return;
    }
    /* From here on the outcome is the server's: unknown if it is lost before it answers. */
    c->state = CLIENT_DOT;
    c->dot_at = 0;
    c->awaiting = c->conf.lmtp ? c->naccepted : 1;
    if (c->chunking)
        return;
    if (c->at_crlf)
        c->ops->send(c->ctx, ".\r\n", 3);
    else
        c->ops->send(c->ctx, "\r\n.\r\n", 5);
}

static void
send_stuffed(struct smtp_client *c, struct str piece)
{
    const char *from = piece.p, *end = piece.p + piece.n;
    const char *dot = client_body_dot(from, end, c->at_bol);

    c->at_bol = end[-1] == '\n';
    c->at_crlf = c->at_bol && (piece.n > 1 ? end[-2] == '\r' : c->after_cr);
    c->after_cr = end[-1] == '\r';
    if (!dot) { /* the common case: nothing is copied here */
        c->ops->send(c->ctx, piece.p, piece.n);
        return;
    }
    for (; dot; dot = client_body_dot(from + 1, end, false)) {
        if (c->out.n + (size_t)(dot - from) + 1 > CLIENT_OUT_FLUSH)
            client_flush(c);
        if (c->state != CLIENT_BODY)
            return;
        if ((size_t)(dot - from) >= CLIENT_OUT_FLUSH) {
            c->ops->send(c->ctx, from, (size_t)(dot - from));
            from = dot;
        }
        buf_add(&c->out, from, (size_t)(dot - from) + 1); /* with the dot, which comes again */
        from = dot;
    }
    client_flush(c);
    if (c->state == CLIENT_BODY)
        c->ops->send(c->ctx, from, (size_t)(end - from));
}

/* One piece; client_run calls again while the stream is below its low-water mark. */
void
client_send_pump(struct smtp_client *c)
{
    struct str piece = STR_NONE;
    int err = c->msg.pull(c->msg.pull_ctx, &piece);

    c->steps++;

    if (err < 0) {
        client_fail_text(c, SMTP_AT_BODY, "the message could not be read (%s); it was not sent",
                         err_text(err));
        return;
    }
    if (!piece.n) {
        send_body_end(c);
        return;
    }
    c->pulled += piece.n;
    if (!c->chunking)
        send_stuffed(c, piece);
    else if (c->pulled > c->msg.size)
        client_fail_text(c, SMTP_AT_BODY, "body is longer than the %" PRIu64 " bytes announced",
                         c->msg.size);
    else
        c->ops->send(c->ctx, piece.p, piece.n);
}
