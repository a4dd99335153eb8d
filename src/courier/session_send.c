/*
 * courier/session_send.c - the message that a session has in hand, on its way out: made to fit what
 * the server offers, handed to the client, its intent written.
 *
 * Called by session_job.c and by the client. The final dot goes only after the intent is durable;
 * nothing of the message is converted but addresses.
 */
#include "courier/fit.h"
#include "courier/own.h"
#include "courier/session.h"
#include "mail/address.h"

/* An address for a server without SMTPUTF8; false: it cannot be said there. */
static bool
job_downgrade(struct session *s, struct str in, struct str *ret)
{
    char room[ADDRESS_MAX + 256];
    ssize_t n;

    *ret = in;
    if (in.n == 0 || str_is_ascii(in))
        return true;
    n = address_downgrade(in, room, sizeof room);
    if (n < 0)
        return false;
    ret->p = (const char *)(uintptr_t)s->names.n; /* an offset until all are known */
    ret->n = (size_t)n;
    buf_add(&s->names, room, (size_t)n);
    return !s->names.failed;
}

/* 1, 0, or negative: it cannot be read now. The message is opened anew. */
static int
header_is_ascii(struct session *s)
{
    CLEANUP(buf_done) struct buf room = {0};
    struct str piece = s->peeked, head;
    int err = piece.n ? 0 : letter_body_pull(&s->body, &piece);
    bool ascii = false;

    s->peeked = STR_NONE;
    err = err < 0 ? err : letter_head(&s->body, piece, &room, &head);
    if (err == 0)
        ascii = str_is_ascii(head);
    if (err == 0 || err == ERR_LIMIT)
        err = letter_body_open(&s->body, s->message, &s->letter);
    return err < 0 ? err : ascii;
}

#define ORCPT_MAX 500u /* RFC 3461 4.2 */

/* The original recipient as utf-8-addr-xtext (RFC 6533 3); one that would be too long is not said.
 */
static size_t
orcpt_downgrade(struct buf *out, struct str in)
{
    size_t from = out->n;

    for (size_t at = 0; at < in.n;) {
        size_t len = str_utf8_len(str_from(in, at));
        const unsigned char *p = (const unsigned char *)in.p + at;
        uint32_t point = len > 1 ? p[0] & (0x7fu >> len) : 0xfffd;

        for (size_t i = 1; i < len; i++)
            point = point << 6 | (p[i] & 0x3f);
        if (len == 1)
            buf_char(out, (char)p[0]);
        else
            buf_fmt(out, "\\x{%X}", point);
        at += len ? len : 1;
    }
    if (out->n - from > ORCPT_MAX)
        out->n = from;
    return out->n - from;
}

/* They stand behind one another at the end of s->names, in the order of the recipients. */
static void
orcpts_downgrade(struct session *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct str *orcpt = &s->wire_rcpts[i].orcpt;
        if (!str_is_ascii(*orcpt))
            *orcpt = str_of(NULL, orcpt_downgrade(&s->names, *orcpt));
    }
}

static void
orcpts_place(struct session *s, uint32_t n, size_t at)
{
    for (uint32_t i = 0; i < n; i++) {
        struct str *orcpt = &s->wire_rcpts[i].orcpt;
        if (orcpt->p)
            continue;
        orcpt->p = s->names.p + at;
        at += orcpt->n;
    }
}

/* Makes the envelope fit a server without SMTPUTF8. */
static bool
job_without_utf8(struct session *s, struct smtp_client_message *m)
{
    size_t sender_at, orcpts_at;
    bool moved;

    if (m->utf8 && m->body_8bit) {
        s->body_err = header_is_ascii(s);
        if (s->body_err <= 0)
            return false;
        s->body_err = 0;
    }
    buf_clear(&s->names);
    if (!job_downgrade(s, m->sender, &m->sender))
        return false;
    moved = !str_is_ascii(s->letter.env.sender) && m->sender.n;
    if (moved)
        m->sender.p = s->names.p + (uintptr_t)m->sender.p;
    for (uint32_t i = 0; i < m->nrcpt; i++) {
        struct str before = s->wire_rcpts[i].address;
        sender_at = moved ? (size_t)(m->sender.p - s->names.p) : 0;
        if (!job_downgrade(s, before, &s->wire_rcpts[i].address))
            return false;
        if (moved)
            m->sender.p = s->names.p + sender_at;
        s->rcpts[i].text_at =
            str_is_ascii(before) ? SIZE_MAX : (size_t)(uintptr_t)s->wire_rcpts[i].address.p;
    }
    sender_at = moved ? (size_t)(m->sender.p - s->names.p) : 0;
    orcpts_at = s->names.n;
    orcpts_downgrade(s, m->nrcpt);
    if (s->names.failed)
        return false;
    if (moved)
        m->sender.p = s->names.p + sender_at;
    orcpts_place(s, m->nrcpt, orcpts_at);
    for (uint32_t i = 0; i < m->nrcpt; i++) { /* the buffer does not move any more */
        if (s->rcpts[i].text_at != SIZE_MAX)
            s->wire_rcpts[i].address.p = s->names.p + s->rcpts[i].text_at;
        s->rcpts[i].text_at = 0;
    }
    m->utf8 = false;
    return true;
}

static bool
needs_utf8(const struct session *s, const struct smtp_client_message *m)
{
    bool needs = m->utf8 || !str_is_ascii(m->sender);

    for (uint32_t i = 0; i < m->nrcpt && !needs; i++)
        needs = !str_is_ascii(s->wire_rcpts[i].address);
    return needs;
}

static void
intent_durable(struct out *o, int status)
{
    struct session *s = o->session;
    struct courier *c = o->c;

    if (status == 0) {
        uint32_t own = own_segment(c, &o->o.loc, o->o.generation);
        if (own != SEGMENT_NONE && out_message_is(o))
            segments_refer(&c->segments, own, index_message(&c->index, o->message)->segment);
    }
    out_give(o);
    if (!s)
        return;
    s->intent = NULL;
    s->intent_done = status == 0;
    if (!s->wants_allow || s->state == SESSION_ENDING)
        return;
    s->wants_allow = false;
    smtp_client_allow(s->client, s->intent_done);
    s->deadline = 0;
    if (s->state == SESSION_BUSY && smtp_client_timeout(s->client)) {
        s->deadline = clock_mono() + smtp_client_timeout(s->client);
        if (s->timer.due == 0 || s->timer.due > s->deadline)
            loop_timer_set(&s->timer, smtp_client_timeout(s->client));
    }
}

static void
job_intent(struct session *s)
{
    const struct index_message *m = index_message(&s->c->index, s->message);
    struct out *o = out_take(s->c, SPOOL_INTENT);
    struct spool_intent rec = {
        .id = courier_id(s->c, m),
        .attempt = index_row(&s->c->index, s->rows[0])->attempts + 1u,
        .source = s->c->sources.items[s->source].crc,
        .peer = s->peer,
        .nordinals = s->nrows,
    };

    s->intent_done = s->wants_allow = false;
    s->intent = NULL;
    if (!o)
        return;
    if (!out_rows(o, s->rows, s->nrows)) {
        out_give(o);
        return;
    }
    for (uint32_t i = 0; i < s->nrows; i++) /* the room serves for ordinals here */
        o->rows[i] = index_row(&s->c->index, s->rows[i])->ordinal;
    spool_intent_encode(&o->payload, &rec, o->rows);
    o->nrows = 0;
    o->can_wait = false;
    o->message = s->message;
    o->epoch = m->epoch;
    o->seq = m->seq;
    o->session = s;
    o->durable = intent_durable;
    if (out_add(o) < 0)
        out_give(o);
    else
        s->intent = o;
}

static int
job_pull(void *ctx, struct str *ret)
{
    struct session *s = ctx;

    if (s->front.n && !s->front_sent) {
        s->front_sent = true;
        *ret = buf_view(&s->front);
        return 0;
    }
    if (s->peeked.n) {
        *ret = s->peeked;
        s->peeked = STR_NONE;
        return 0;
    }
    s->body_err = letter_body_pull(&s->body, ret);
    return s->body_err;
}

/* RFC 8689 4.2.1: an encrypted connection to a host whose certificate is right, and which will ask
 * the same of the next one. Hosts that the settings name are the administrator's own choice. NULL:
 * it may go. */
static const char *
tls_is_short(const struct session *s)
{
    if (!s->is_tls)
        return "the sender asked for TLS all the way and the next host has none";
    if (!s->site->by_mx)
        return NULL;
    if (!s->tls.verified)
        return "the sender asked for TLS all the way and the next host's certificate is not right";
    if (!(smtp_client_offers(s->client) & SMTP_OFFER_REQUIRETLS))
        return "the sender asked for TLS all the way and the next host does not offer to go on so";
    return NULL;
}

/* Gives the loaded message to the client: true if it is on its way. */
bool
job_send(struct session *s)
{
    const struct spool_envelope *env = &s->letter.env;
    uint32_t offers = smtp_client_offers(s->client);
    const char *why = NULL;
    struct fit fit;
    int err;
    struct smtp_client_message m = {
        .sender = env->sender,
        .rcpts = s->wire_rcpts,
        .nrcpt = s->nrows,
        .size = env->size ? env->size + s->front.n : 0,
        .body_8bit = (env->flags & SPOOL_MAIL_8BIT) != 0,
        .utf8 = (env->flags & SPOOL_MAIL_UTF8) != 0,
        .requiretls = (env->flags & SPOOL_MAIL_REQUIRETLS) != 0,
        .ret = env->ret,
        .envid = env->envid,
        .pull = job_pull,
        .pull_ctx = s,
    };

    s->body_err = 0;
    s->front_sent = false;
    buf_clear(&s->texts);
    if (m.requiretls && tls_is_short(s)) {
        job_unfit(s, 7, 30, tls_is_short(s));
        return false;
    }
    if (!fit_message(s->c, s->message, s->client, s->lmtp, env, &m, &fit)) {
        job_unfit(s, fit.subject, fit.detail, fit.text);
        return false;
    }
    s->traced = fit.traced;
    if (!(offers & SMTP_OFFER_SMTPUTF8) && needs_utf8(s, &m) && !job_without_utf8(s, &m)) {
        if (s->body_err < 0)
            job_unread(s);
        else
            job_unfit(s, 6, 7, "the next host does not take internationalised mail (SMTPUTF8)");
        return false;
    }
    if (m.body_8bit && !m.binary && !(offers & SMTP_OFFER_8BITMIME)) {
        if (env->flags & SPOOL_MAIL_SUBMITTED) {
            job_unfit(s, 6, 3, "the next host does not take 8-bit mail (8BITMIME)");
            return false;
        }
        m.body_8bit = false; /* the guard's mail goes on as it came: inside servers are clean */
    }
    err = smtp_client_send(s->client, &m, &why);
    if (err == ERR_UNSUPPORTED && why && str_eq(str_c(why), STR("SIZE"))) {
        job_unfit(s, 3, 4, "larger than the next host takes");
        return false;
    }
    if (err == ERR_SYNTAX || err == ERR_UNSUPPORTED) {
        job_unfit(s, 1, 3, "the address cannot be said in SMTP");
        return false;
    }
    if (err < 0) { /* not ready after all: nothing was said, nothing is lost */
        job_forget(s);
        session_end(s, false);
        return false;
    }
    job_intent(s);
    return true;
}

void
job_may_send(struct session *s)
{
    if (s->intent_done || !s->intent)
        smtp_client_allow(s->client, s->intent_done);
    else
        s->wants_allow = true;
}
