/*
 * courier/outcome.c - decides and records what became of recipients.
 *
 * Called by sessions, plan, control and recovery. Never waits for the disk: the record is on its
 * way when this returns, and what it settles is let go when it is durable.
 */
#include "courier/outcome.h"

#include "core/event.h"
#include "core/metric.h"
#include "courier/age.h"
#include "courier/fit.h"
#include "courier/intake.h"
#include "courier/outs.h"
#include "courier/own.h"
#include "courier/purge.h"
#include "courier/replies_unknown.h"
#include "courier/retry.h"
#include "courier/row.h"

#define OUTCOME_TEXT_MAX 512u
#define SLICE            1024u /* rows of one record */

static uint8_t
phase_of(enum smtp_client_stage stage)
{
    static const uint8_t phases[] = {
        [SMTP_AT_MAIL] = REPLY_PHASE_MAIL, [SMTP_AT_RCPT] = REPLY_PHASE_RCPT,
        [SMTP_AT_DATA] = REPLY_PHASE_DATA, [SMTP_AT_BODY] = REPLY_PHASE_DOT,
        [SMTP_AT_DOT] = REPLY_PHASE_DOT,   [SMTP_AT_QUIT] = REPLY_PHASE_UNKNOWN,
    };

    return phases[stage] ? phases[stage] : REPLY_PHASE_CONNECT;
}

/* A connection that ended, and what no RFC knows as a reply, need no words. */
static bool
class_without_words(struct result *ret, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    if (r->code >= 200 && r->code < 300)
        ret->class = REPLY_CLASS_DELIVERED;
    else if (r->code == 0 && stage == SMTP_AT_DOT)
        ret->class = REPLY_CLASS_UNKNOWN;
    else if (r->code < 400 || r->code > 599)
        ret->class = REPLY_CLASS_HOST;
    else
        return false;
    ret->result = ret->class == REPLY_CLASS_DELIVERED ? SPOOL_DELIVERED
                  : ret->class == REPLY_CLASS_UNKNOWN ? SPOOL_UNKNOWN
                                                      : SPOOL_RETRY;
    return true;
}

/* Advice to wait is bounded by the longest gap that the settings have between two tries. */
static uint64_t
advised_due(struct courier *c, const struct reply_advice *a)
{
    if (a->retry != REPLY_RETRY_LATER)
        return 0;
    return courier_wall(c) + MIN(a->retry_s * NS_PER_S, c->delivery->retry_max);
}

/* Without memory for its words a refusal is tried again later: nothing is lost by that. */
static bool
classify(struct courier *c, const struct reply_input *in, struct reply_class_result *ret)
{
    struct why why = {{0}};

    if (!c->replies && reply_classes_load(&c->replies, STR_NONE, &why) < 0) {
        if (!c->replies_told) /* each refusal asks again */
            event_warning("replies cannot be told apart now: %s; what was refused is tried again",
                          why.text);
        c->replies_told = true;
        c->replies = NULL;
        return false;
    }
    c->replies_told = false;
    reply_classify(c->replies, in, ret);
    return true;
}

void
outcome_from_reply(struct courier *c, struct result *ret, enum smtp_client_stage stage,
                   const char *host, const struct smtp_reply *r)
{
    struct reply_input in = {.text = r->text, .code = (uint16_t)r->code, .phase = phase_of(stage)};
    struct reply_class_result said;
    char enhanced[24];

    *ret = (struct result){.code = (uint16_t)r->code, .text = r->text};
    memcpy(ret->enhanced, r->enhanced, sizeof ret->enhanced);
    if (class_without_words(ret, stage, r))
        return;
    if (r->enhanced[0])
        in.enhanced = str_of(enhanced, str_fmt(enhanced, sizeof enhanced, "%u.%u.%u",
                                               r->enhanced[0], r->enhanced[1], r->enhanced[2]));
    in.host = str_c(host);
    if (!classify(c, &in, &said)) {
        ret->class = REPLY_CLASS_TEMPORARY;
        ret->result = SPOOL_RETRY;
        return;
    }
    ret->class = said.class;
    ret->hard = said.hard;
    ret->scope = said.scope;
    ret->confidence = said.confidence;
    ret->advice = said.advice;
    ret->pattern = said.pattern;
    ret->sticky = said.advice.retry == REPLY_RETRY_SAME;
    ret->result = said.advice.retry == REPLY_RETRY_NO ? SPOOL_FAILED : SPOOL_RETRY;
    ret->due = advised_due(c, &said.advice);
}

/* Its record, or the report that must stand before it, does not fit the log: nobody can be told
 * that this mail is over, so it is not. */
static void
outcome_too_big(struct out *o)
{
    struct courier *c = o->c;
    struct str why = STR("what became of it is larger than the log takes in one piece: raise "
                         "spool.max_batch, then release or remove it");

    for (uint32_t i = 0; i < o->nrows && out_message_is(o); i++) {
        struct index_row *r = index_row(&c->index, o->rows[i]);
        if (r->state != ROW_SETTLING)
            continue;
        index_set(&c->index, o->rows[i], ROW_HELD);
        r->due = reasons_number(&c->reasons, why);
        outcome_again(c, o->rows[i], SPOOL_HELD, why);
    }
}

static void
tell_unrecorded(void)
{
    event_alarm("no memory to record an outcome; after a restart that mail may be sent again");
}

static void
outcome_durable(struct out *o, int status)
{
    struct courier *c = o->c;
    uint32_t own;

    if (status < 0) { /* the writer has ended: the next start reads what is on disk */
        if (status == ERR_TOOBIG)
            outcome_too_big(o);
        else if (status != ERR_CLOSED)
            tell_unrecorded();
        out_give(o);
        return;
    }
    own = own_segment(c, &o->o.loc, o->o.generation);
    if (out_message_is(o)) {
        const struct index_message *m = index_message(&c->index, o->message);
        if (own != SEGMENT_NONE && m->segment != SEGMENT_NONE)
            segments_refer(&c->segments, own, m->segment);
        for (uint32_t i = 0; i < o->nrows; i++)
            index_row_free(&c->index, o->rows[i]);
        if (m->open == 0)
            intake_message_over(c, o->message);
    }
    out_give(o);
}

/* The record; `settled` rows are freed when it is durable. */
static void
outcome_record(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
               const struct attempt *a, const struct result *r, uint32_t attempts)
{
    const struct index_message *m = index_message(&c->index, message);
    struct out *o = out_take(c, SPOOL_OUTCOME);
    uint32_t ordinals[SLICE];
    bool settled = spool_result_settles(r->result);
    struct spool_outcome rec = {
        .id = courier_id(c, m),
        .result = r->result,
        .intent_open = a->intent,
        .code = r->code,
        .attempts = attempts,
        .due = age_clock(c, r->due),
        .wall = clock_wall(),
        .source = a->source ? a->source->crc : 0,
        .text = str_sub(r->text, 0, OUTCOME_TEXT_MAX),
        .told = true,
        .nordinals = n,
    };
    int err;

    for (uint32_t i = 0; i < n; i++) {
        const struct index_row *ir = index_row(&c->index, rows[i]);
        ordinals[i] = ir->ordinal;
        rec.told = rec.told && (ir->flags & ROW_WARNED);
    }
    memcpy(rec.enhanced, r->enhanced, sizeof rec.enhanced);
    if (a->peer)
        rec.peer = *a->peer;
    if (r->result == SPOOL_DELIVERED || r->result == SPOOL_UNKNOWN)
        rec.signed_by = str_c(a->signed_by);
    if (o && settled && !out_rows(o, rows, n)) {
        out_give(o);
        o = NULL;
    }
    if (!o) {
        tell_unrecorded();
        return;
    }
    o->epoch = m->epoch;
    o->seq = m->seq;
    o->message = message;
    o->durable = outcome_durable;
    o->reported = r->result == SPOOL_FAILED || r->result == SPOOL_EXPIRED;
    spool_outcome_encode(&o->payload, &rec, ordinals);
    if (o->reported && c->report)
        out_add_after(o, c->report);
    else if ((err = out_add(o)) < 0)
        outcome_durable(o, err);
}

/* RETRY and UNKNOWN: when, or is it over? The earliest law of all is the message's own expiry; at
 * `by`, if that is to come, it is tried once more before its sender is told. */
static void
outcome_schedule(struct courier *c, const struct index_message *m, const struct attempt *a,
                 struct result *r, uint32_t attempts, uint64_t by)
{
    struct retry_message rm = {
        .received = m->received * NS_PER_S,
        .expires = m->expires * NS_PER_S,
        .route_expire = a->route_expire,
        .class = m->class,
        .no_domain = a->no_domain,
        .null_sender = a->letter && a->letter->bytes.n && a->letter->env.sender.n == 0,
    };
    uint64_t now = courier_wall(c), end = retry_expiry(c->delivery, &rm), due;

    if (age_is_over(c, m, end, attempts)) {
        r->result = SPOOL_EXPIRED;
        return;
    }
    c->seed = c->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    due = now + retry_gap(c->delivery, attempts, c->seed ^ m->seq);
    due = by > now ? MIN(due, by) : due;
    r->due = MAX(r->due, due);
    if (end > now)
        r->due = MIN(r->due, end);
}

/* The DELAY report, once for a row, when the setting's time has passed, or the message's own. */
static void
outcome_warn(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
             const struct attempt *a, const struct result *r, uint64_t by)
{
    const struct index_message *m = index_message(&c->index, message);
    uint64_t age = courier_wall(c) - m->received * NS_PER_S;
    struct retry_message rm = {.received = m->received * NS_PER_S,
                               .expires = m->expires * NS_PER_S,
                               .route_expire = a->route_expire,
                               .class = m->class};
    bool late = by ? courier_wall(c) >= by
                   : c->delivery->warn_after && age >= c->delivery->warn_after && age <= INT64_MAX;
    bool due = false;

    if (!late || !(m->flags & SPOOL_MAIL_SUBMITTED))
        return;
    for (uint32_t i = 0; i < n; i++) {
        due = due || !(index_row(&c->index, rows[i])->flags & ROW_WARNED);
        index_row(&c->index, rows[i])->flags |= ROW_WARNED;
    }
    if (due)
        bounce_rows(c, BOUNCE_DELAYED, message, rows, n, a, r, retry_expiry(c->delivery, &rm));
}

void
outcome_waits(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
              const struct attempt *a, const struct result *r)
{
    outcome_warn(c, message, rows, n, a, r, fit_notify_by(c, message, a->letter));
}

/* Counters and the event's type. */
static const char *
outcome_count(struct courier *c, const struct result *r, uint32_t n)
{
    switch (r->result) {
    case SPOOL_DELIVERED:
        metric_add(METRIC_DELIVERED, n);
        c->load.delivered += n;
        return "Delivery";
    case SPOOL_RETRY:
    case SPOOL_UNKNOWN:
        metric_add(METRIC_DEFERRED, n);
        c->load.deferred += n;
        if (r->result == SPOOL_UNKNOWN) {
            metric_add(METRIC_UNKNOWN, n);
            c->load.unknown += n;
        }
        return "TransientFailure";
    case SPOOL_FAILED:
    case SPOOL_EXPIRED:
        metric_add(METRIC_BOUNCED, n);
        c->load.bounced += n;
        return r->result == SPOOL_FAILED ? "Bounce" : "Expiration";
    case SPOOL_REMOVED:
        return "AdminBounce";
    case SPOOL_HELD:
        return "Hold";
    case SPOOL_RELEASED:
        return "Release";
    default:
        return "SetAside";
    }
}

/* A failure is told to the sender, or, when nobody may be told, kept and set aside. */
static void
outcome_tell(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
             const struct attempt *a, struct result *r)
{
    if (r->result == SPOOL_DELIVERED && a->traced)
        bounce_rows(c, BOUNCE_TRACE, message, rows, n, a, r, 0);
    else if (r->result == SPOOL_DELIVERED && !a->next_has_dsn)
        bounce_rows(c, BOUNCE_SUCCESS, message, rows, n, a, r, 0);
    if (r->result != SPOOL_FAILED && r->result != SPOOL_EXPIRED)
        return;
    /* Who sends a report asked for no delivery: nobody is told, and it is nowhere else. */
    if (!fit_only_read(c, rows, n, a->letter) &&
        bounce_rows(c, BOUNCE_FAILED, message, rows, n, a, r, 0))
        return;
    r->result = SPOOL_ASIDE;
    r->due = courier_wall(c) + c->delivery->expire;
}

static void
rows_change(struct courier *c, const uint32_t *rows, uint32_t n, const struct attempt *a,
            const struct result *r)
{
    struct row_change ch = {.result = r->result, .closes = true};
    bool waits = r->result == SPOOL_RETRY || r->result == SPOOL_UNKNOWN || r->result == SPOOL_ASIDE;

    ch.due =
        r->result == SPOOL_HELD ? reasons_number(&c->reasons, r->text) : courier_tick_of(c, r->due);
    for (uint32_t i = 0; i < n; i++) {
        if (waits)
            index_row(&c->index, rows[i])->source =
                r->sticky && a->source ? (uint32_t)(a->source - c->sources.items + 1) & 0xffff : 0;
        row_became(c, rows[i], &ch);
    }
}

/* What the destination said last, for people who ask why its mail waits. */
static void
dest_said(struct courier *c, uint32_t row, const struct result *r)
{
    struct index_dest *d = index_dest(&c->index, index_row(&c->index, row)->dest);
    struct str text = str_sub(r->text, 0, 160);

    if (d->why && str_eq(str_c(d->why), text))
        return;
    free(d->why);
    d->why = str_dup(text);
}

void
outcome_returned(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
                 const struct letter *l)
{
    if (c->freeing)
        return;
    for (uint32_t i = 0; i < n && c->purges; i++) {
        const struct purge *p = purge_of(c, rows[i], l);
        if (p)
            outcome_operator(c, message, &rows[i], 1, SPOOL_REMOVED, str_c(p->reason));
    }
}

void
outcome_purged(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
               struct str reason)
{
    struct attempt a = {0};
    struct result r = {.result = SPOOL_REMOVED, .text = reason};

    report_event(c, outcome_count(c, &r, n), message, rows, n, &a, &r);
}

static void
outcome_slice(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
              const struct attempt *a, struct result r)
{
    uint32_t attempts = 0;
    uint64_t by = 0;
    bool told = r.result == SPOOL_ASIDE;

    for (uint32_t i = 0; i < n; i++) {
        struct index_row *row = index_row(&c->index, rows[i]);
        if (a->tried && row->attempts < 255)
            row->attempts++;
        attempts = MAX(attempts, row->attempts);
    }
    if (r.result == SPOOL_RETRY || r.result == SPOOL_UNKNOWN) {
        by = fit_notify_by(c, message, a->letter);
        outcome_schedule(c, index_message(&c->index, message), a, &r, attempts, by);
        dest_said(c, rows[0], &r);
    }
    report_event(c, outcome_count(c, &r, n), message, rows, n, a, &r);
    c->report = NULL;
    if (r.result == SPOOL_RETRY || r.result == SPOOL_UNKNOWN)
        outcome_warn(c, message, rows, n, a, &r, by);
    else
        outcome_tell(c, message, rows, n, a, &r);
    if (r.result == SPOOL_ASIDE && !told)
        report_event(c, outcome_count(c, &r, n), message, rows, n, a, &r);
    rows_change(c, rows, n, a, &r);
    /* A repeat must have a name outside too: the event is out before the record that would keep a
     * later start from sending it again. */
    if (r.result == SPOOL_UNKNOWN)
        event_flush();
    outcome_record(c, message, rows, n, a, &r, attempts);
    if (!spool_result_settles(r.result) && !a->by_operator)
        outcome_returned(c, message, rows, n, a->letter);
}

void
outcome_rows(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
             const struct attempt *a, const struct result *r)
{
    const struct reply_class_result said = {
        .class = r->class, .code = r->code, .confidence = r->confidence};

    replies_unknown_note(c, a->site ? a->site : a->host, r->text, &said, n);
    for (uint32_t at = 0; at < n; at += SLICE)
        outcome_slice(c, message, rows + at, MIN(n - at, SLICE), a, *r);
}

void
outcome_after_crash(struct courier *c, uint32_t row)
{
    struct index_row *r = index_row(&c->index, row);
    struct attempt a = {.intent = true, .tried = true};
    struct result held = {.result = SPOOL_HELD,
                          .class = REPLY_CLASS_UNKNOWN,
                          .text = STR("outcome unknown after two crashes in a row: look whether "
                                      "it arrived, then release or remove it")};
    struct result again = {
        .result = SPOOL_UNKNOWN, .class = REPLY_CLASS_UNKNOWN, .text = STR(OUTCOME_CRASH_TEXT)};

    if (r->flags & ROW_CRASHED) {
        metric_add(METRIC_UNKNOWN, 1);
        outcome_rows(c, r->message, &row, 1, &a, &held);
        return;
    }
    r->flags |= ROW_CRASHED;
    outcome_rows(c, r->message, &row, 1, &a, &again);
}

void
outcome_due(struct courier *c, uint32_t row)
{
    struct index_row *r = index_row(&c->index, row);
    struct attempt a = {0};
    struct result gone = {.result = SPOOL_REMOVED,
                          .text = STR("set aside and kept for the time that mail is tried; "
                                      "nobody asked for it")};

    if (r->flags & ROW_ASIDE)
        outcome_rows(c, r->message, &row, 1, &a, &gone);
    else
        index_ready(&c->index, row);
}

void
outcome_again(struct courier *c, uint32_t row, uint8_t result, struct str text)
{
    struct attempt a = {0};
    struct result r = {.result = result, .text = text};
    const struct index_row *ir = index_row(&c->index, row);

    outcome_record(c, ir->message, &row, 1, &a, &r, ir->attempts);
}

void
outcome_told(struct courier *c, uint32_t row)
{
    const struct index_row *ir = index_row(&c->index, row);
    struct attempt a = {0};
    struct result r = {.result = SPOOL_RETRY, .text = STR(OUTCOME_TOLD_TEXT)};

    if (!(ir->flags & ROW_WARNED) || (ir->flags & (ROW_ASIDE | ROW_CRASHED)) ||
        (ir->state != ROW_WAITING && ir->state != ROW_READY))
        return; /* what becomes of it says so too */
    r.due = ir->state == ROW_WAITING ? courier_tick_wall(c, ir->due) : courier_wall(c);
    outcome_record(c, ir->message, &row, 1, &a, &r, ir->attempts);
}

void
outcome_crashed(struct courier *c, uint32_t row)
{
    const struct index_row *ir = index_row(&c->index, row);
    struct attempt a = {0};
    struct result r = {.result = SPOOL_UNKNOWN, .text = STR(OUTCOME_CRASH_TEXT)};

    if (!(ir->flags & ROW_CRASHED) || (ir->flags & ROW_ASIDE) || ir->state == ROW_HELD ||
        ir->state == ROW_SETTLING)
        return;
    r.due = ir->state == ROW_WAITING ? courier_tick_wall(c, ir->due) : courier_wall(c);
    outcome_record(c, ir->message, &row, 1, &a, &r, ir->attempts);
}

void
outcome_operator(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n,
                 uint8_t result, struct str reason)
{
    struct attempt a = {.by_operator = true};
    struct result r = {.result = result, .text = reason, .due = courier_wall(c)};

    outcome_rows(c, message, rows, n, &a, &r);
}

void
outcome_unreadable(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n, int err)
{
    const struct index_message *m = index_message(&c->index, message);
    struct spool_id id = courier_id(c, m);
    struct letter none = {0};
    struct attempt a = {.letter = &none};
    char text[SPOOL_ID_TEXT], why[200];
    struct result r = {.result = SPOOL_HELD};

    r.text = str_of(
        why, str_fmt(why, sizeof why, "its bytes in the log cannot be read: %s", err_text(err)));
    event_alarm("message %s is held: %s. Nothing of it was sent; keep the segment file, look at "
                "the disk, then `gapura queue release` or `remove`",
                spool_id_show(&id, text), why);
    outcome_rows(c, message, rows, n, &a, &r);
}
