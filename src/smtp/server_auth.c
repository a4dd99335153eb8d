/*
 * smtp/server_auth.c - AUTH (RFC 4954) and STARTTLS (RFC 3207).
 *
 * Base64 ends here: callbacks see raw SASL bytes. No password is ever traced.
 */
#include "core/codec.h"
#include "core/err.h"
#include "smtp/server_inner.h"

#define RESPONSE_MAX  12288u /* bytes of a decoded response */
#define CHALLENGE_MAX 12288u

static const struct smtp_refusal no_tls_here = {502, "5.5.1", "TLS is not offered here"};
static const struct smtp_refusal tls_already = {503, "5.5.1", "TLS is already there"};
static const struct smtp_refusal no_arg = {501, "5.5.4", "STARTTLS takes no argument"};
static const struct smtp_refusal go_ahead = {220, "2.0.0", "Ready to start TLS"};

static const struct smtp_refusal no_auth_here = {502, "5.5.1", "AUTH is not offered here"};
static const struct smtp_refusal need_tls = {538, "5.7.11", "Encryption is needed: STARTTLS first"};
static const struct smtp_refusal auth_already = {503, "5.5.1", "Already authenticated"};
static const struct smtp_refusal in_mail = {503, "5.5.1", "Not inside a message"};
static const struct smtp_refusal auth_form = {501, "5.5.4",
                                              "The form is AUTH mechanism [response]"};
static const struct smtp_refusal no_mech = {504, "5.5.4", "Mechanism not offered"};
static const struct smtp_refusal bad_base64 = {501, "5.5.2", "That is no base64"};
static const struct smtp_refusal too_long = {500, "5.5.6", "Authentication line is too long"};
static const struct smtp_refusal bare = {500, "5.5.2", "Lines end in CRLF"};
static const struct smtp_refusal cancelled = {501, "5.7.0", "Authentication cancelled"};
static const struct smtp_refusal not_empty = {501, "5.5.2", "An empty line was due"};
static const struct smtp_refusal good = {235, "2.7.0", "Authentication succeeded"};
static const struct smtp_refusal bad = {535, "5.7.8", "Authentication credentials invalid"};
static const struct smtp_refusal later = {454, "4.7.0", "Authentication is not possible now"};

const struct smtp_refusal *
smtp_may_starttls(struct smtp_server *s, struct str arg)
{
    if (s->tls)
        return &tls_already;
    if (!(s->conf->offer & SMTP_EXT_STARTTLS))
        return &no_tls_here;
    return arg.n ? &no_arg : NULL;
}

void
smtp_do_starttls(struct smtp_server *s, struct str arg)
{
    (void)arg;
    smtp_txn_end(s);
    smtp_say(s, &go_ahead);
    smtp_flush(s);
    s->drop_input = true;
    smtp_owe(s, OWES_TLS);
    smtp_to(s, SMTP_TLS);
    if (s->state == SMTP_TLS)
        s->ops->starttls(s->ctx);
}

void
smtp_server_tls_done(struct smtp_server *s, bool ok)
{
    if (s->state != SMTP_TLS)
        return;
    s->owed = OWES_NOTHING;
    s->tls = ok;
    s->greeted = s->esmtp = s->authed = false; /* RFC 3207 4.2: nothing learnt before counts */
    smtp_to(s, ok ? SMTP_GREETED : SMTP_CLOSED);
}

/* The mechanism as the setting spells it; empty if it is none of ours. */
static struct str
find_mech(struct str list, struct str name)
{
    struct str word;

    while ((word = str_word(&list)).n)
        if (str_ieq(word, name))
            return word;
    return STR_NONE;
}

const struct smtp_refusal *
smtp_may_auth(struct smtp_server *s, struct str arg)
{
    struct smtp_ext_state ext = smtp_ext_state(s);
    struct str mech = str_word(&arg), rest = arg;

    if (!(s->conf->offer & SMTP_EXT_AUTH) || !ext.mechs.n)
        return &no_auth_here;
    if (s->authed)
        return &auth_already;
    if (s->txn)
        return &in_mail;
    if (!smtp_ext_offered(&ext, SMTP_EXT_AUTH))
        return &need_tls;
    str_word(&rest);
    if (!mech.n || str_word(&rest).n)
        return &auth_form;
    return find_mech(ext.mechs, mech).n ? NULL : &no_mech;
}

/* Decodes base64 into dst; "=" alone is the empty response. NULL if it is fine. */
static const struct smtp_refusal *
decode(struct str text, bool initial, char dst[RESPONSE_MAX], struct str *ret)
{
    ssize_t n = 0;

    if (!initial || !str_eq(text, STR("=")))
        n = codec_unbase64(text, dst, RESPONSE_MAX);
    if (n < 0)
        return n == ERR_LIMIT ? &too_long : &bad_base64;
    *ret = str_of(dst, (size_t)n);
    return NULL;
}

void
smtp_do_auth(struct smtp_server *s, struct str arg)
{
    char raw[RESPONSE_MAX] __attribute__((uninitialized));
    struct str mech = find_mech(smtp_ext_state(s).mechs, str_word(&arg)), initial = STR_NONE;
    struct str text = str_word(&arg);

    if (text.n) {
        const struct smtp_refusal *r = decode(text, true, raw, &initial);

        if (r) {
            smtp_say(s, r);
            return;
        }
    }
    s->auth_final = false;
    smtp_owe(s, OWES_AUTH);
    s->ops->auth(s->ctx, mech, initial);
    explicit_bzero(raw, initial.n);
}

/* The exchange ends without a result of the callback. */
static void
give_up(struct smtp_server *s, const struct smtp_refusal *r)
{
    smtp_to(s, SMTP_READY);
    smtp_say(s, r);
    s->ops->auth_cancel(s->ctx);
}

static void
succeed(struct smtp_server *s)
{
    s->authed = true;
    smtp_to(s, SMTP_READY);
    smtp_say(s, &good);
}

void
smtp_auth_line(struct smtp_server *s, struct str raw)
{
    char dst[RESPONSE_MAX] __attribute__((uninitialized));
    const struct smtp_refusal *r = NULL;
    struct str line = {0}, response = {0};

    smtp_trace(s, '<', STR("(response)"));
    if (!raw.n)
        r = &too_long;
    else if (smtp_line_text(raw, s->trusted || s->conf->lax_lines, &line) == SMTP_LINE_BARE)
        r = &bare;
    else if (str_eq(line, STR("*")))
        r = &cancelled;
    else if (s->auth_final && line.n && !str_eq(line, STR("=")))
        r = &not_empty;
    else if (!s->auth_final)
        r = decode(line, false, dst, &response);
    if (r) {
        give_up(s, r);
        return;
    }
    if (s->auth_final) {
        succeed(s);
        return;
    }
    smtp_owe(s, OWES_AUTH);
    s->ops->auth_step(s->ctx, str_of(dst, response.n));
    explicit_bzero(dst, response.n);
}

/* smtp_server_reply() in the place of smtp_server_auth(): the callback wanted words of its own. */
void
smtp_replied_auth(struct smtp_server *s, int code)
{
    s->authed = code == 235;
    smtp_to(s, SMTP_READY);
}

static void
challenge(struct smtp_server *s, struct str data)
{
    struct buf b64;

    buf_init(&b64, CHALLENGE_MAX);
    codec_base64(&b64, data);
    if (b64.failed) {
        give_up(s, &later);
    } else {
        buf_str(&s->out, STR("334 "));
        buf_str(&s->out, buf_view(&b64));
        buf_str(&s->out, STR("\r\n"));
        smtp_trace(s, '>', STR("334 (challenge)"));
        smtp_to(s, SMTP_AUTH);
    }
    buf_done(&b64);
}

void
smtp_server_auth(struct smtp_server *s, enum smtp_auth_result result, struct str data)
{
    if (s->owed != OWES_AUTH)
        return;
    s->owed = OWES_NOTHING;
    smtp_enter(s);
    switch (result) {
    case SMTP_AUTH_CHALLENGE:
        challenge(s, data);
        break;
    case SMTP_AUTH_OK:
        s->auth_final = data.n > 0;
        if (s->auth_final)
            challenge(s, data);
        else
            succeed(s);
        break;
    case SMTP_AUTH_FAIL:
    case SMTP_AUTH_TEMP:
        smtp_to(s, SMTP_READY);
        smtp_say(s, result == SMTP_AUTH_FAIL ? &bad : &later);
        break;
    }
    smtp_leave(s);
}
