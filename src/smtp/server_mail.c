/*
 * smtp/server_mail.c - MAIL and RCPT: the envelope, and the transaction's life.
 */
#include "core/err.h"
#include "smtp/server_inner.h"

#define BY_RETURN 2u /* of smtp_mail_params.by_mode */

static const struct smtp_refusal nested = {503, "5.5.1", "A message is under way; RSET ends it"};
static const struct smtp_refusal need_auth = {530, "5.7.0", "Authentication required"};
static const struct smtp_refusal need_mail = {503, "5.5.1", "Say MAIL first"};
static const struct smtp_refusal in_chunks = {503, "5.5.1", "BDAT has begun; RCPT comes before"};
static const struct smtp_refusal mail_form = {501, "5.5.4", "The form is MAIL FROM:<address>"};
static const struct smtp_refusal rcpt_form = {501, "5.5.4", "The form is RCPT TO:<address>"};
static const struct smtp_refusal bad_from = {501, "5.1.7", "Bad sender address syntax"};
static const struct smtp_refusal bad_to = {501, "5.1.3", "Bad recipient address syntax"};
static const struct smtp_refusal long_from = {501, "5.1.7", "Local part of the sender is too long"};
static const struct smtp_refusal long_to = {501, "5.1.3",
                                            "Local part of the recipient is too long"};
static const struct smtp_refusal not_utf8 = {553, "5.6.7",
                                             "An address that is not ASCII needs SMTPUTF8"};
static const struct smtp_refusal too_big = {552, "5.3.4", "Message is larger than is taken here"};
static const struct smtp_refusal too_soon = {
    555, "5.5.4", "BY of mode R asks for less time than the least that EHLO named"};
static const struct smtp_refusal too_many = {452, "4.5.3",
                                             "Too many recipients; send the rest later"};
static const struct smtp_refusal all_put_off = {
    421, "4.7.0", "Too many recipients cannot be taken now; come again"};
static const struct smtp_refusal no_memory = {452, "4.3.1", "Out of memory; try again later"};

const struct smtp_refusal *
smtp_may_mail(struct smtp_server *s, struct str arg)
{
    (void)arg;
    if (s->txn)
        return &nested;
    if (s->conf->require_auth && !s->authed && !s->trusted)
        return &need_auth;
    return NULL;
}

struct str
smtp_said_path(struct str arg)
{
    ssize_t from = str_chr(arg, '<');
    struct str path = from < 0 ? arg : str_from(arg, (size_t)from + 1);
    ssize_t end = from < 0 ? -1 : str_chr(path, '>');

    return end < 0 ? arg : str_sub(path, 0, (size_t)end);
}

/* Path and parameters of MAIL; NULL if they are fine. */
static const struct smtp_refusal *
read_mail(struct smtp_server *s, struct str arg, struct smtp_mail_params *ret)
{
    struct smtp_ext_state ext = smtp_ext_state(s);
    const struct smtp_refusal *r;
    struct str params;
    bool path_bad;

    if (smtp_line_path(arg, STR("FROM:"), ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_UTF8,
                       s->trusted || s->conf->lax_lines, &ret->from, &params, &path_bad) < 0)
        return path_bad ? &bad_from : &mail_form;
    if (s->conf->max_local && ret->from.local.n > s->conf->max_local)
        return &long_from;
    r = smtp_ext_params(&ext, params, ret, NULL);
    if (r)
        return r;
    if (ret->from.utf8 && !ret->utf8)
        return &not_utf8;
    if (s->conf->max_size && ret->size > s->conf->max_size)
        return &too_big;
    if (ret->by_mode == BY_RETURN && (uint64_t)ret->by < s->conf->min_by)
        return &too_soon;
    return NULL;
}

void
smtp_do_mail(struct smtp_server *s, struct str arg)
{
    struct smtp_mail_params params = {0};
    const struct smtp_refusal *r;

    if (s->conf->max_messages && s->mails >= s->conf->max_messages) {
        smtp_server_close(s, "4.7.0", "Enough messages for one session; come again");
        return;
    }
    s->mails++;
    s->thrown = 0;
    r = read_mail(s, arg, &params);
    if (!r && !(s->txn = calloc(1, sizeof(*s->txn))))
        r = &no_memory;
    if (r) {
        smtp_tell_refused(s, "MAIL", r, smtp_said_path(arg));
        smtp_say(s, r);
        return;
    }
    s->txn->utf8 = params.utf8;
    s->txn->body_8bit = params.body_8bit;
    s->txn->binary = params.binary;
    smtp_owe(s, OWES_MAIL);
    s->ops->mail(s->ctx, &params);
}

void
smtp_replied_mail(struct smtp_server *s, int code)
{
    if (code / 100 == 2) {
        s->excused = 0;
        smtp_to(s, SMTP_MAIL);
    } else {
        s->idle++; /* a refused one is a command without a message */
        smtp_txn_end(s);
    }
}

const struct smtp_refusal *
smtp_may_rcpt(struct smtp_server *s, struct str arg)
{
    (void)arg;
    if (!s->txn)
        return &need_mail;
    if (s->txn->bdat)
        return &in_chunks;
    if (s->conf->max_rcpts && MAX(s->txn->accepted, s->put_off) >= s->conf->max_rcpts)
        return &too_many;
    return NULL;
}

static const struct smtp_refusal *
read_rcpt(struct smtp_server *s, struct str arg, struct smtp_rcpt_params *ret)
{
    struct smtp_ext_state ext = smtp_ext_state(s);
    const struct smtp_refusal *r;
    struct str params;
    bool path_bad;

    if (smtp_line_path(arg, STR("TO:"), ADDRESS_ALLOW_POSTMASTER | ADDRESS_ALLOW_UTF8,
                       s->trusted || s->conf->lax_lines, &ret->to, &params, &path_bad) < 0)
        return path_bad ? &bad_to : &rcpt_form;
    if (s->conf->max_local && ret->to.local.n > s->conf->max_local)
        return &long_to;
    r = smtp_ext_params(&ext, params, NULL, ret);
    if (r)
        return r;
    return ret->to.utf8 && !s->txn->utf8 ? &not_utf8 : NULL;
}

void
smtp_do_rcpt(struct smtp_server *s, struct str arg)
{
    struct smtp_rcpt_params params = {0};
    const struct smtp_refusal *r = read_rcpt(s, arg, &params);

    if (r) {
        smtp_tell_refused(s, "RCPT", r, smtp_said_path(arg));
        smtp_say(s, r);
        return;
    }
    smtp_owe(s, OWES_RCPT);
    s->ops->rcpt(s->ctx, &params);
}

/* Recipients that are put off are no errors, and still not without end: as many as a message may
 * have. Those it has by then may go; where there are none the client comes again. */
void
smtp_replied_rcpt(struct smtp_server *s, int code)
{
    if (code / 100 == 2) {
        s->txn->accepted++;
        smtp_to(s, SMTP_RCPT);
    } else if (code / 100 == 4) {
        s->put_off++;
        if (s->conf->max_rcpts && s->put_off >= s->conf->max_rcpts && !s->txn->accepted)
            smtp_close_told(s, &all_put_off);
    }
}

void
smtp_txn_end(struct smtp_server *s)
{
    if (!s->txn)
        return;
    free(s->txn);
    s->txn = NULL;
    smtp_to(s, SMTP_READY);
    if (!s->freed)
        s->ops->reset(s->ctx);
}
