/*
 * courier/session_job.c - the message that a session has in hand: taken from the log, and what
 * became of it.
 *
 * Called by session.c. What the server said to each recipient is kept until the message is finished
 * and then recorded in as few records as there are different answers. How it goes out is
 * session_send.c's.
 */
#include "courier/session.h"

#include "core/event.h"
#include "courier/age.h"
#include "courier/outs.h"
#include "courier/retry.h"
#include "courier/scope.h"
#include "courier/session_pick.h"
#include "courier/session_sign.h"
#include "courier/unread.h"

#define LOADS_PER_OFFER 32u /* messages that could not go, before the session is idle again */
#define NO_ROOM_GAP     (5 * NS_PER_S)
#define SURE            70u /* confidence that slows for as long as the advice says */
#define UNSURE_FOR      (60 * NS_PER_S)
#define SLOW_MAX        (1800 * NS_PER_S)

static bool
job_room(struct session *s, uint32_t max)
{
    uint32_t *rows;
    struct session_rcpt *rcpts;
    struct smtp_client_rcpt *wire;

    if (max <= s->rows_cap)
        return true;
    rows = reallocarray(s->rows, max, sizeof *rows);
    if (rows)
        s->rows = rows;
    rcpts = reallocarray(s->rcpts, max, sizeof *rcpts);
    if (rcpts)
        s->rcpts = rcpts;
    wire = reallocarray(s->wire_rcpts, max, sizeof *wire);
    if (wire)
        s->wire_rcpts = wire;
    if (!rows || !rcpts || !wire)
        return false;
    s->rows_cap = max;
    return true;
}

static void
job_attempt(const struct session *s, struct attempt *ret, const char *command)
{
    const struct site_host *h = &s->site->hosts[s->host];

    *ret = (struct attempt){
        .letter = &s->letter,
        .peer = &s->peer,
        .host = h->name[0] ? h->name : h->path,
        .site = s->site->name,
        .pool = s->site->pool,
        .command = command,
        .source = &s->c->sources.items[s->source],
        .local = s->stream ? stream_local(s->stream) : NULL,
        .tls = s->is_tls ? &s->tls : NULL,
        .session = s->number,
        .route_expire = s->site->expire,
        .signed_by = s->signed_by,
        .unsigned_why = s->unsigned_why,
        .forwarded = s->forwarded,
        .intent = true,
        .tried = true,
        .final = s->lmtp,
        .traced = s->traced,
        .next_has_dsn = s->client && (smtp_client_offers(s->client) & SMTP_OFFER_DSN),
    };
}

/* Ends the message in hand with one result for all its recipients. */
static void
job_all(struct session *s, const struct attempt *a, const struct result *r)
{
    uint32_t n = s->nrows;

    s->nrows = 0;
    outcome_rows(s->c, s->message, s->rows, n, a, r);
}

void
job_unfit(struct session *s, uint16_t subject, uint16_t detail, const char *text)
{
    struct attempt a;
    struct result r = {.result = SPOOL_FAILED,
                       .class = REPLY_CLASS_PROTOCOL,
                       .code = 554,
                       .enhanced = {5, subject, detail},
                       .text = str_c(text)};

    job_attempt(s, &a, "MAIL");
    a.intent = false;
    job_all(s, &a, &r);
}

/* Time over before a further try? */
static bool
job_expired(struct session *s)
{
    const struct index_message *m = index_message(&s->c->index, s->message);
    struct retry_message rm = {.received = m->received * NS_PER_S,
                               .expires = m->expires * NS_PER_S,
                               .route_expire = s->site->expire,
                               .class = m->class,
                               .null_sender = s->letter.env.sender.n == 0};
    struct result r = {.result = SPOOL_EXPIRED,
                       .class = REPLY_CLASS_TEMPORARY,
                       .code = 0,
                       .enhanced = {4, 4, 7},
                       .text = STR("the time for delivery is over")};
    unsigned attempts = index_row(&s->c->index, s->rows[0])->attempts;
    struct attempt a;

    if (!age_is_over(s->c, m, retry_expiry(s->c->delivery, &rm), attempts))
        return false;
    if (attempts == 0 && !m->expires && !m->unsigned_yet)
        return false; /* whatever held it: one try it gets; only a signature it awaits no longer */
    job_attempt(s, &a, "");
    a.intent = a.tried = false;
    job_all(s, &a, &r);
    return true;
}

static bool
job_suspended(struct session *s)
{
    struct courier *c = s->c;

    if (!c->scopes->by_sender || !scopes_match(c, STR_NONE, NULL, s->letter.env.sender, NULL, NULL))
        return false;
    for (uint32_t i = 0; i < s->nrows; i++)
        index_set(&c->index, s->rows[i], ROW_SCOPED);
    s->nrows = 0;
    return true;
}

/* Recipients on the wire, from the record: both lists are in the order of ordinals. */
static bool
job_rcpts(struct session *s)
{
    struct letter_walk w =
        letter_seek(&s->letter, s->nrows ? index_row(&s->c->index, s->rows[0])->ordinal : 0);
    struct spool_rcpt r;
    uint32_t ordinal, i = 0;

    while (i < s->nrows && letter_next(&s->letter, &w, &ordinal, &r) == 1) {
        if (index_row(&s->c->index, s->rows[i])->ordinal != ordinal)
            continue;
        s->wire_rcpts[i] = (struct smtp_client_rcpt){r.address, r.orcpt, r.notify};
        s->rcpts[i] = (struct session_rcpt){0};
        i++;
    }
    return i == s->nrows;
}

void
job_unread(struct session *s)
{
    uint32_t n = s->nrows;

    s->nrows = 0;
    unread_rows(s->c, s->message, s->rows, n, s->body_err, &s->letter);
}

static void job_leave(struct session *);

/* It must be signed and cannot be now: again soon, not counted. Its reason is told by the queue's
 * verbs (control_why), once for all of them by an Alarm or Warning, and to its sender as any delay.
 */
static void
job_unsigned(struct session *s)
{
    struct courier *c = s->c;
    uint32_t n = s->nrows, due = courier_tick_of(c, courier_wall(c) + s->sign_gap);
    struct result r = {.result = SPOOL_RETRY,
                       .class = REPLY_CLASS_TEMPORARY,
                       .enhanced = {4, 7, 5}, /* RFC 3463: cryptographic failure */
                       .text = str_c(sign_wait_text(s->sign_wait))};
    struct attempt a;

    index_message(&c->index, s->message)->unsigned_yet = s->sign_wait & 7u;
    job_attempt(s, &a, "");
    a.intent = a.tried = false;
    job_leave(s);
    outcome_waits(c, s->message, s->rows, n, &a, &r);
    for (uint32_t i = 0; i < n; i++)
        index_wait(&c->index, s->rows[i], due);
    courier_wheel_soon(c);
    outcome_returned(c, s->message, s->rows, n, &s->letter);
}

bool
job_take(struct session *s)
{
    struct courier *c = s->c;
    unsigned told = smtp_client_max_rcpts(s->client);
    uint32_t max = (uint32_t)c->delivery->rcpts_per_message;
    int err;

    if (outs_full(c)) {
        site_queue(s->site); /* it waits there, with its reason */
        return false;
    }
    if (told)
        max = MIN(max, told);
    if (!job_room(s, max))
        return false;
    for (unsigned i = 0; i < LOADS_PER_OFFER; i++) {
        s->nrows = pick_rows(s->site, s->source, s->rows, max, &s->message);
        if (s->nrows == 0)
            return false;
        err = letter_load(c, s->message, &s->letter);
        if (err == 0)
            err = letter_body_open(&s->body, s->message, &s->letter);
        if (err == 0 && !job_rcpts(s))
            err = ERR_CORRUPT;
        if (err < 0) {
            uint32_t n = s->nrows;
            s->nrows = 0;
            unread_rows(c, s->message, s->rows, n, err, NULL);
            continue;
        }
        if (job_suspended(s) || job_expired(s))
            continue;
        index_message(&c->index, s->message)->pins++;
        s->peeked = STR_NONE;
        if (job_signed(s, sign_want(s)))
            return true;
        if (s->state == SESSION_ENDING)
            return false;
    }
    site_queue(s->site); /* there may be more behind what could not go */
    return false;
}

bool
job_signed(struct session *s, enum sign_answer answer)
{
    switch (answer) {
    case SIGN_WAITS:
        return true;
    case SIGN_CANNOT:
        job_unsigned(s);
        return false;
    case SIGN_UNREADABLE: {
        uint32_t n = s->nrows;

        job_leave(s);
        unread_rows(s->c, s->message, s->rows, n, s->body_err, &s->letter);
        return false;
    }
    default:
        index_message(&s->c->index, s->message)->unsigned_yet = 0;
        if (job_send(s))
            return true;
        if (s->nrows == 0 && s->state != SESSION_ENDING)
            index_message(&s->c->index, s->message)
                ->pins--; /* it was refused by ourselves: its rows are gone from here */
        return false;
    }
}

void
job_rcpt(struct session *s, unsigned i, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct session_rcpt *x;

    if (i >= s->nrows)
        return;
    x = &s->rcpts[i];
    outcome_from_reply(s->c, &x->result, stage, s->site->hosts[s->host].name, r);
    x->text_at = s->texts.n;
    x->text_n = r->text.n;
    x->pattern_n = x->result.pattern.n;
    buf_str(&s->texts, r->text);
    buf_str(&s->texts, x->result.pattern); /* the set may be another one when this is settled */
    if (s->texts.failed) { /* thousands of long refusals: the later ones lose their text */
        s->texts.failed = false;
        x->text_n = x->pattern_n = 0;
    }
    x->told = true;
}

/* Detaches the message from the session; rows stay ACTIVE and are the caller's. */
static void
job_leave(struct session *s)
{
    if (s->message != INDEX_NONE && s->nrows > 0)
        index_message(&s->c->index, s->message)->pins--;
    sign_leave(s);
    if (s->intent)
        s->intent->session = NULL;
    s->intent = NULL;
    s->wants_allow = false;
    s->nrows = 0;
}

void
job_forget(struct session *s)
{
    uint32_t n = s->nrows;

    if (n == 0)
        return;
    job_leave(s);
    for (uint32_t i = n; i-- > 0;)
        index_ready_first(&s->c->index, s->rows[i]);
    outcome_returned(s->c, s->message, s->rows, n, &s->letter);
}

/* Nothing was tried, for a reason of ours: again soon, not counted. */
static void
job_postpone(struct session *s, const char *text)
{
    struct attempt a;
    struct result r = {.result = SPOOL_RETRY,
                       .class = REPLY_CLASS_TEMPORARY,
                       .text = str_c(text),
                       .enhanced = {4, 3, 1}};
    uint32_t n = s->nrows;

    job_attempt(s, &a, "DATA");
    a.tried = a.intent = false;
    r.due = courier_wall(s->c) + NO_ROOM_GAP;
    job_leave(s);
    /* No record: there is no room for one, and a crash would only make it ready sooner. */
    for (uint32_t i = 0; i < n; i++)
        index_wait(&s->c->index, s->rows[i], courier_tick_of(s->c, r.due));
    courier_wheel_soon(s->c);
    report_event(s->c, "TransientFailure", s->message, s->rows, n, &a, &r);
    outcome_returned(s->c, s->message, s->rows, n, &s->letter);
}

/* The next hop wants less from this source for a while. */
static void
source_slow(struct session *s, const struct result *r)
{
    uint64_t most = r->confidence >= SURE ? SLOW_MAX : UNSURE_FOR;
    uint64_t busy = session_count(s->site, s->source, true);

    session_soften(s->site, s->source, MAX(busy * r->advice.slow_percent / 100, 1),
                   clock_mono() + MIN(r->advice.slow_s * NS_PER_S, most));
}

static void
site_count(struct session *s, const struct result *r)
{
    if (r->class == REPLY_CLASS_DELIVERED) {
        s->site->delivered++;
        return;
    }
    s->site->deferred++;
    /* What was refused for good is about this mail; all others' mail is not slowed for it. */
    if (r->result == SPOOL_RETRY && r->advice.slow == REPLY_SCOPE_SOURCE)
        source_slow(s, r);
}

/* One outcome for all that share an answer; refused ones first, each with its own. */
static void
job_settle(struct session *s, enum smtp_client_stage stage, const struct smtp_reply *reply)
{
    struct courier *c = s->c;
    uint32_t message = s->message, n = s->nrows, rest = 0;
    struct attempt a;
    struct result r;

    job_attempt(s, &a, smtp_client_stage_name(stage));
    outcome_from_reply(c, &r, stage, a.host, reply);
    job_leave(s);
    index_message(&c->index, message)->unread = 0;
    site_count(s, &r);
    if (n > 1)
        bounce_begin(c, message, &s->letter);
    for (uint32_t i = 0; i < n; i++) {
        struct session_rcpt *x = &s->rcpts[i];
        if (!x->told) {
            s->rows[rest++] = s->rows[i];
            continue;
        }
        x->result.text = str_of(s->texts.p + x->text_at, x->text_n);
        x->result.pattern = str_of(s->texts.p + x->text_at + x->text_n, x->pattern_n);
        a.command = s->lmtp && stage == SMTP_AT_DOT ? "DATA" : "RCPT";
        outcome_rows(c, message, &s->rows[i], 1, &a, &x->result);
    }
    a.command = smtp_client_stage_name(stage);
    if (rest > 0)
        outcome_rows(c, message, s->rows, rest, &a, &r);
    bounce_end(c);
}

void
job_done(struct session *s, enum smtp_client_stage stage, const struct smtp_reply *reply)
{
    bool fresh = s->messages == 0;

    if (s->nrows == 0)
        return;
    s->messages++;
    if (s->body_err == ERR_STALE) { /* compaction moved it meanwhile: read anew */
        job_forget(s);
        return;
    }
    if (s->body_err < 0) {
        uint32_t n = s->nrows;
        job_leave(s);
        unread_rows(s->c, s->message, s->rows, n, s->body_err, &s->letter);
        return;
    }
    if (reply->code == 0 && stage == SMTP_AT_DATA && !s->intent && !s->intent_done) {
        job_postpone(s, "the log has no room for the intent; nothing was sent");
        return;
    }
    /* A kept connection that the other side closes, or has had enough of: nothing was said about
     * this message. */
    if (!fresh && (stage == SMTP_AT_RSET ||
                   (stage == SMTP_AT_MAIL && (reply->code == 0 || reply->code == 421)))) {
        job_forget(s);
        return;
    }
    job_settle(s, stage, reply);
}
