/*
 * smtp/server_xclient.c - XCLIENT: a proxy that is trusted for it says whose session this really
 * is.
 *
 * Called by the verb table. The attributes are Postfix's (its XCLIENT_README); values are xtext.
 * Afterwards the session stands where it stood at its start. Never decides who may say it: that is
 * smtp_server_set_xclient().
 */
#include "core/codec.h"
#include "smtp/server_inner.h"

#define VALUES_MAX 4096u /* bytes of all values, decoded */

static const struct smtp_refusal not_you = {550, "5.7.0", "XCLIENT is not for you"};
static const struct smtp_refusal in_mail = {503, "5.5.1", "Not inside a message"};
static const struct smtp_refusal form = {501, "5.5.4",
                                         "The form is XCLIENT attribute=xtext, of those told"};
static const struct smtp_refusal wrong = {501, "5.5.4", "That attribute cannot have that value"};

static const char *const names[SMTP_XCLIENT_MAX_] = {
    [SMTP_XCLIENT_NAME] = "NAME",         [SMTP_XCLIENT_ADDR] = "ADDR",
    [SMTP_XCLIENT_PORT] = "PORT",         [SMTP_XCLIENT_PROTO] = "PROTO",
    [SMTP_XCLIENT_HELO] = "HELO",         [SMTP_XCLIENT_LOGIN] = "LOGIN",
    [SMTP_XCLIENT_DESTADDR] = "DESTADDR", [SMTP_XCLIENT_DESTPORT] = "DESTPORT",
};

void
smtp_xclient_list(const struct smtp_ext_state *s UNUSED, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        buf_char(out, ' ');
        buf_c(out, names[i]);
    }
}

const struct smtp_refusal *
smtp_may_xclient(struct smtp_server *s, struct str arg)
{
    if (!s->xclient || !s->ops->xclient)
        return &not_you;
    if (s->txn)
        return &in_mail;
    return arg.n ? NULL : &form;
}

/* One "name=value"; `room` takes the decoded value. */
static bool
read_one(struct str word, struct smtp_xclient *x, char *room, size_t cap, size_t *used)
{
    struct str value, name = str_cut(word, '=', &value);
    size_t i = 0;
    ssize_t n;

    while (i < ARRAY_LEN(names) && !str_ieq(name, str_c(names[i])))
        i++;
    if (i == ARRAY_LEN(names) || !value.n || !smtp_xtext_ok(value))
        return false;
    x->given |= 1u << i;
    x->value[i] = STR_NONE;
    if (str_ieq(value, STR("[UNAVAILABLE]")) || str_ieq(value, STR("[TEMPUNAVAIL]")))
        return true;
    n = codec_unxtext(value, room + *used, cap - *used);
    if (n <= 0 || str_has_ctl(str_of(room + *used, (size_t)n)))
        return false;
    x->value[i] = str_of(room + *used, (size_t)n);
    *used += (size_t)n;
    return true;
}

void
smtp_do_xclient(struct smtp_server *s, struct str arg)
{
    char room[VALUES_MAX] __attribute__((uninitialized));
    struct smtp_xclient x = {0};
    size_t used = 0;
    struct str word;

    while ((word = str_word(&arg)).n) {
        if (!read_one(word, &x, room, sizeof(room), &used)) {
            smtp_say(s, &form);
            return;
        }
    }
    if (!s->ops->xclient(s->ctx, &x)) {
        smtp_say(s, &wrong);
        return;
    }
    s->greeted = s->esmtp = false;
    s->authed = x.value[SMTP_XCLIENT_LOGIN].n > 0; /* another client's login is not this one's */
    smtp_to(s, SMTP_CONNECT);
    smtp_owe(s, OWES_CONNECT);
    s->ops->connect(s->ctx);
}
