/*
 * smtp/client_hello.c - from the greeting to ready: EHLO or LHLO, STARTTLS, AUTH.
 *
 * Called by client.c with each reply of these states. Never sends a password over a stream that is
 * not encrypted unless the settings say so, and never goes on without what the settings demand.
 */
#include "core/codec.h"
#include "smtp/client_impl.h"

/* A reply that is neither success nor refusal where only those make sense. */
static void
hello_odd(struct smtp_client *c, const struct smtp_reply *r)
{
    char line[200];

    client_fail_text(c, smtp_client_stage(c), "server's reply makes no sense here: %s",
                     smtp_reply_show(r, line, sizeof(line)));
}

/* The session cannot go on because the server said no. */
static void
hello_refused(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code >= 400)
        client_fail(c, smtp_client_stage(c), r, true);
    else
        hello_odd(c, r);
}

void
client_hello_start(struct smtp_client *c)
{
    c->state = CLIENT_EHLO;
    memset(&c->caps, 0, sizeof(c->caps)); /* what was said in clear counts no more */
    client_command(c, "%s %.*s", c->conf.lmtp ? "LHLO" : "EHLO", STR_ARG(c->conf.ehlo));
}

static void
hello_banner(struct smtp_client *c, const struct smtp_reply *r)
{
    struct str rest, line, name;

    if (r->code != 220) {
        hello_refused(c, r);
        return;
    }
    line = str_cut(r->text, '\n', &rest);
    name = str_word(&line);
    str_copy(str_sub(name, 0, sizeof(c->banner) - 1), c->banner, sizeof(c->banner));
    client_hello_start(c);
}

/* --- AUTH --- */

static void
auth_send(struct smtp_client *c, const char *prefix, const struct buf *message)
{
    size_t at = c->out.n;

    buf_c(&c->out, prefix);
    codec_base64(&c->out, buf_view(message));
    buf_add(&c->out, "\r\n", 2);
    client_line_queued(c, at, 1, true);
}

static bool
offers_plain(const struct smtp_client *c)
{
    struct str word, rest = str_c(c->caps.mechs);

    while ((word = str_word(&rest)).n) {
        if (str_ieq(word, STR("PLAIN")) || str_ieq(word, STR("LOGIN")))
            return true;
    }
    return false;
}

static void
auth_start(struct smtp_client *c)
{
    struct buf first;
    char prefix[64];

    if (!c->tls && !c->conf.auth_clear) {
        client_fail_text(c, SMTP_AT_AUTH,
                         "login wanted but the connection is not encrypted; "
                         "the password was not sent");
        return;
    }
    sasl_client_free(c->sasl);
    c->sasl = sasl_client_create(str_c(c->caps.mechs), c->conf.auth_user, c->conf.auth_password,
                                 c->conf.auth_show || c->conf.auth_clear);
    if (!c->sasl && !c->conf.auth_show && offers_plain(c)) {
        client_fail_text(c, SMTP_AT_AUTH,
                         "server wants the password itself (%s) and its certificate was not "
                         "verified: the password was not sent; write tls = verify in the route, or "
                         "auth_unverified = yes",
                         c->caps.mechs);
        return;
    }
    if (!c->sasl) {
        client_fail_text(c, SMTP_AT_AUTH, "server offers no login method that we know (%s)",
                         c->caps.mechs[0] ? c->caps.mechs : "no AUTH at all");
        return;
    }
    buf_init(&first, 4096);
    c->state = CLIENT_AUTH;
    c->sasl_steps = 0;
    c->sasl_last = sasl_client_step(c->sasl, STR_NONE, &first);
    if (c->sasl_last == SASL_FAIL || first.failed) {
        client_fail_text(c, SMTP_AT_AUTH, "login name or password cannot be used with %s",
                         sasl_client_mech(c->sasl));
    } else if (first.n) {
        str_fmt(prefix, sizeof(prefix), "AUTH %s ", sasl_client_mech(c->sasl));
        auth_send(c, prefix, &first);
    } else {
        client_command(c, "AUTH %s", sasl_client_mech(c->sasl));
    }
    if (first.p)
        explicit_bzero(first.p, first.n);
    buf_done(&first);
}

static void
auth_cancel(struct smtp_client *c, const char *why)
{
    struct smtp_reply r = {.text = str_c(why)};

    client_keep(&c->auth_reply, &r);
    c->state = CLIENT_AUTH_CANCEL;
    client_command(c, "*");
}

/* 334: the server's turn went into the mechanism, ours comes out. */
static void
auth_challenge(struct smtp_client *c, const struct smtp_reply *r)
{
    char raw[2048];
    struct buf out;
    ssize_t n = codec_unbase64(str_trim(r->text), raw, sizeof(raw));

    if (++c->sasl_steps > CLIENT_SASL_STEPS) {
        auth_cancel(c, "server asks on and on during login");
        return;
    }
    /* PLAIN and LOGIN do not depend on what the server says, and some say plain text. */
    if (n < 0 && !strcmp(sasl_client_mech(c->sasl), "SCRAM-SHA-256")) {
        auth_cancel(c, "server's login challenge is not base64");
        return;
    }
    buf_init(&out, 4096);
    c->sasl_last = sasl_client_step(c->sasl, str_of(raw, n > 0 ? (size_t)n : 0), &out);
    if (c->sasl_last == SASL_FAIL || out.failed)
        auth_cancel(c, "server's login challenge is wrong, or it does not know the password");
    else
        auth_send(c, "", &out);
    if (out.p)
        explicit_bzero(out.p, out.n);
    buf_done(&out);
}

static void
auth_reply(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code == 334) {
        auth_challenge(c, r);
        return;
    }
    if (r->code / 100 != 2) {
        hello_refused(c, r);
        return;
    }
    if (c->sasl_last != SASL_OK) {
        client_fail_text(c, SMTP_AT_AUTH, "server accepted the login without proving itself");
        return;
    }
    sasl_client_free(c->sasl);
    c->sasl = NULL;
    client_idle(c);
}

/* --- EHLO, STARTTLS --- */

/* After each EHLO or HELO: what is still to be done before messages? */
static void
hello_next(struct smtp_client *c)
{
    bool want = c->conf.tls != SMTP_TLS_NEVER && !c->tls && !c->tls_refused;

    if (want && (c->caps.offers & SMTP_OFFER_STARTTLS)) {
        c->state = CLIENT_STARTTLS;
        client_command(c, "STARTTLS");
        return;
    }
    if (c->conf.tls == SMTP_TLS_MUST && !c->tls) {
        client_fail_text(c, SMTP_AT_STARTTLS,
                         "TLS is required here but the server does not "
                         "offer it; nothing was sent");
        return;
    }
    if (c->conf.auth_user.n) {
        auth_start(c);
        return;
    }
    client_idle(c);
}

static void
hello_ehlo(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code / 100 == 2) {
        client_caps_parse(&c->caps, r->text);
        hello_next(c);
    } else if (r->code / 100 == 5 && !c->conf.lmtp) {
        c->state = CLIENT_HELO;
        client_command(c, "HELO %.*s", STR_ARG(c->conf.ehlo));
    } else {
        hello_refused(c, r);
    }
}

static void
hello_helo(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code / 100 == 2)
        hello_next(c);
    else
        hello_refused(c, r);
}

static void
hello_starttls(struct smtp_client *c, const struct smtp_reply *r)
{
    if (r->code == 220) {
        c->state = CLIENT_HANDSHAKE;
        c->drop_input = true;
        buf_clear(&c->in);
        c->ops->starttls(c->ctx);
    } else if (r->code < 400) {
        hello_odd(c, r);
    } else if (c->conf.tls == SMTP_TLS_MUST) {
        client_fail(c, SMTP_AT_STARTTLS, r, true);
    } else {
        c->tls_refused = true;
        hello_next(c);
    }
}

void
client_hello_reply(struct smtp_client *c, const struct smtp_reply *r)
{
    switch (c->state) {
    case CLIENT_BANNER:
        hello_banner(c, r);
        return;
    case CLIENT_EHLO:
        hello_ehlo(c, r);
        return;
    case CLIENT_HELO:
        hello_helo(c, r);
        return;
    case CLIENT_STARTTLS:
        hello_starttls(c, r);
        return;
    case CLIENT_AUTH:
        auth_reply(c, r);
        return;
    case CLIENT_AUTH_CANCEL:
        client_fail(c, SMTP_AT_AUTH, &c->auth_reply.reply, true);
        return;
    default:
        return;
    }
}
