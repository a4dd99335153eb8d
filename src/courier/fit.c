/*
 * courier/fit.c - see courier/fit.h.
 *
 * Never converts a message: a signature of somebody else would break.
 */
#include "courier/fit.h"

#include "courier/age.h"
#include "store/settings_reports.h"

#define BY_MAX 999999999 /* nine digits (RFC 2852 4) */

/* Does this hop tell the sender that the message went on? One that asked for traces is told at each
 * hop, one that wanted to be told of delay where nobody after us could. */
static bool
is_traced(const struct smtp_client *client, const struct spool_envelope *env)
{
    bool offered = (smtp_client_offers(client) & SMTP_OFFER_DELIVERBY) != 0;

    return env->by_mode && (offered ? env->by_trace : env->by_mode == SPOOL_BY_NOTIFY);
}

static bool
cannot(struct fit *ret, uint16_t subject, uint16_t detail, const char *text)
{
    ret->subject = subject;
    ret->detail = detail;
    ret->text = text;
    return false;
}

/* Time that is left until `by` goes on with the message. */
static bool
by_fits(const struct courier *c, uint64_t by, const struct smtp_client *client, bool lmtp,
        const struct spool_envelope *env, struct smtp_client_message *m, struct fit *ret)
{
    uint64_t least = smtp_client_min_by(client), now = courier_wall(c);
    bool over = now > by;
    int64_t left = (int64_t)((over ? now - by : by - now) / NS_PER_S);

    left = over ? -left : left; /* never more than there is */
    m->by_mode = env->by_mode;
    m->by_trace = env->by_trace;
    m->by = (int32_t)MAX(MIN(left, (int64_t)BY_MAX), -(int64_t)BY_MAX);
    if (env->by_mode != SPOOL_BY_RETURN)
        return true;
    if (left <= 0)
        return cannot(ret, 4, 7, "not delivered within the time that was asked for");
    if (lmtp) /* the mailbox itself */
        return true;
    if (!(smtp_client_offers(client) & SMTP_OFFER_DELIVERBY))
        return cannot(ret, 3, 3, "the next host cannot promise to deliver it in time (DELIVERBY)");
    return (uint64_t)left >= least ||
           cannot(ret, 4, 7, "the next host wants more time to deliver it than is left");
}

bool
fit_message(const struct courier *c, uint32_t message, const struct smtp_client *client, bool lmtp,
            const struct spool_envelope *env, struct smtp_client_message *m, struct fit *ret)
{
    uint64_t by = age_stamp(index_message(&c->index, message), env, env->deliver_by);

    *ret = (struct fit){.traced = !lmtp && is_traced(client, env)};
    m->priority = env->priority;
    m->binary = (env->flags & SPOOL_MAIL_BINARY) != 0;
    if (m->binary && !smtp_client_takes_binary(client))
        return cannot(ret, 6, 1,
                      "the next host does not take BINARYMIME, and mail is not converted on its "
                      "way");
    return !env->by_mode || by_fits(c, by, client, lmtp, env, m, ret);
}

uint64_t
fit_notify_by(struct courier *c, uint32_t message, const struct letter *l)
{
    const struct index_message *m = index_message(&c->index, message);
    struct letter own;
    uint64_t by = 0;

    if (!m->notify)
        return 0;
    letter_init(&own);
    if (!l || !l->bytes.n)
        l = letter_load(c, message, &own) == 0 ? &own : NULL;
    if (l && l->env.by_mode == SPOOL_BY_NOTIFY)
        by = MAX(age_stamp(m, &l->env, l->env.deliver_by), UINT64_C(1));
    letter_done(&own);
    return by;
}

static bool
said_never(const struct letter *l, uint32_t ordinal)
{
    struct spool_rcpt rcpt;

    return letter_rcpt(l, ordinal, &rcpt) == 0 && (rcpt.notify & SPOOL_NOTIFY_NEVER);
}

bool
fit_only_read(struct courier *c, const uint32_t *rows, uint32_t n, const struct letter *l)
{
    const struct index_row *first = index_row(&c->index, rows[0]);
    struct letter own;
    bool only;

    for (uint32_t i = 0; i < n; i++) {
        const struct index_row *r = index_row(&c->index, rows[i]);
        if (!str_eq(index_dest_via(index_dest(&c->index, r->dest)), STR(REPORTS_VIA)))
            return false;
    }
    if (l && l->bytes.n)
        return !said_never(l, first->ordinal);
    letter_init(&own);
    only = letter_load(c, first->message, &own) < 0 || !said_never(&own, first->ordinal);
    letter_done(&own);
    return only;
}
