/*
 * gate/accept.c - from the whole body to the 250: the envelope, the record, and the reply when it
 * is durable.
 *
 * Called by session_data.c and by the writer's callbacks. A 250 leaves this file only when every
 * variant of the message, and every chunk of it, is on disk. Never decides whether mail is wanted.
 */
#include "gate/inner.h"
#include "gate/session.h"

#include "core/clock.h"
#include "core/metric.h"

#define REPORT_TO_MAX 4096u
#define HELD_LIFE     (5 * 86400 * NS_PER_S) /* of a message from its release on (FUTURERELEASE) */

struct accept_reply { /* to a message whose record could not be written */
    int code;
    const char *enhanced;
    const char *text;
};

static struct accept_reply
accept_failure(int status)
{
    static const struct {
        int status;
        struct accept_reply reply;
    } rows[] = {
        {ERR_FULL, {452, "4.3.1", "No room for mail here now; nothing was kept, try again later"}},
        {ERR_LIMIT,
         {452, "4.3.1", "Too much is being written here now; nothing was kept, try again later"}},
        {ERR_TOOBIG,
         {552, "5.3.4",
          "Larger than can be written here in one piece; nothing was kept, send it to fewer "
          "recipients at a time"}},
        {ERR_NOMEM, {452, "4.3.1", "Out of memory; nothing was kept, try again later"}},
        {ERR_TIMEOUT, {451, "4.4.2", "The message came too slowly; nothing was kept"}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].status == status)
            return rows[i].reply;
    }
    return (struct accept_reply){451, "4.3.0",
                                 "The message could not be written; nothing was kept, try again"};
}

static uint16_t
accept_flags(const struct tx *tx)
{
    const struct session *s = tx->session;
    uint16_t flags = 0;

    flags |= tx->may_relay ? SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_DSN_OK : SPOOL_MAIL_INBOUND;
    flags |= tx->body_8bit || tx->eight_bit ? SPOOL_MAIL_8BIT : 0;
    flags |= tx->utf8 ? SPOOL_MAIL_UTF8 : 0;
    flags |= tx->requiretls ? SPOOL_MAIL_REQUIRETLS : 0;
    flags |= tx->binary ? SPOOL_MAIL_BINARY : 0;
    flags |= tx->by_mode ? SPOOL_MAIL_DELIVERBY : 0;
    flags |= tx->body.chunked ? SPOOL_MAIL_CHUNKED : 0;
    flags |= s->facts.tls ? SPOOL_MAIL_TLS : 0;
    return flags;
}

/* The sender of that variant. Too long to rewrite: the message is kept out, not sent as a lie. */
static int
accept_sender(struct tx_variant *v, struct str *ret)
{
    struct tx *tx = v->tx;
    char room[SRS_MAX + 1];
    ssize_t n;

    *ret = tx->sender.text;
    if (!v->rewritten || tx->sender.null)
        return 0;
    n = srs_forward(&tx->session->setup->srs, tx->sender.text, tx->received / NS_PER_S, room,
                    sizeof(room));
    if (n < 0)
        return (int)n;
    *ret = arena_str(&tx->arena, str_of(room, (size_t)n));
    return ret->p ? 0 : ERR_NOMEM;
}

/* Whom a failure of submitted mail is told where that is not the address that it carries: the one
 * that was rewritten, or those whom our alias of that name leads to. The courier sends reports
 * straight to their next hop, which knows neither. */
static int
accept_report_to(struct tx_variant *v, struct str *ret)
{
    struct tx *tx = v->tx;
    const struct session *s = tx->session;
    struct rcpt_query q = {.setup = s->setup,
                           .snapshot = s->gate->snapshot,
                           .arena = &tx->arena,
                           .may_relay = true,
                           .now_s = clock_wall_s(),
                           .local = s->own,
                           .address = tx->sender};
    CLEANUP(buf_done) struct buf list;

    *ret = STR_NONE;
    if (!tx->may_relay || tx->sender.null)
        return 0;
    if (v->rewritten)
        *ret = tx->sender.text;
    /* No look-up is given: only what is known without asking is found. */
    if (!rcpt_resolve(&q) || q.result.state != STAGE_RCPT_TAKEN || !q.result.targets[0].forwarded)
        return 0;
    buf_init(&list, REPORT_TO_MAX);
    for (unsigned i = 0; i < q.result.n; i++) {
        if (list.n + q.result.targets[i].address.n + 1 > REPORT_TO_MAX)
            break;
        if (i)
            buf_char(&list, '\0');
        buf_str(&list, q.result.targets[i].address);
    }
    *ret = arena_str(&tx->arena, buf_view(&list));
    return ret->p && !list.failed ? 0 : ERR_NOMEM;
}

static int
accept_envelope(struct tx_variant *v)
{
    struct tx *tx = v->tx;
    const struct session *s = tx->session;
    struct spool_envelope env = {
        .id = v->id,
        .tenant = v->tenant,
        .flags = accept_flags(tx),
        .class = v->class,
        .ret = tx->ret,
        .received = tx->received,
        .not_before = tx->hold_until * NS_PER_S,
        .expires =
            tx->hold_until * NS_PER_S > tx->received ? tx->hold_until * NS_PER_S + HELD_LIFE : 0,
        .client = s->facts.client.addr,
        .helo = s->facts.helo,
        .user = s->facts.user.n ? s->facts.user
                : s->local      ? str_c(s->uid)
                : s->trusted    ? STR("trusted")
                                : STR_NONE,
        .envid = tx->envid,
        .message_id = tx->message_id,
        .settings = s->setup->conf->generation,
        .size = tx->body.size,
        .deliver_by = tx->deliver_by,
        .by_mode = tx->by_mode,
        .by_trace = tx->by_trace,
        .priority = tx->priority,
        .decision = judge_bytes(v),
        .nrcpt = v->n,
        .nchunks = v->nchunks,
    };
    int rc = accept_sender(v, &env.sender);

    if (rc == 0)
        rc = accept_report_to(v, &env.report_to);
    if (rc < 0)
        return rc;
    spool_envelope_encode(&v->payload, &env, v->rcpts, v->chunks);
    return v->payload.failed ? ERR_LIMIT : 0;
}

static void
accept_told(struct spool_out *out, int status)
{
    struct tx_variant *v = CONTAINER_OF(out, struct tx_variant, out);
    struct tx *tx = v->tx;

    if (status < 0 && tx->status == 0)
        tx->status = status;
    tx->pending--;
    accept_progress(tx);
}

static void
accept_let_go(struct session *s)
{
    struct tx *tx = s->tx;

    s->facts.auth = NULL;
    s->tx = NULL;
    tx_give(tx);
}

/* The answer, and the end of the message. Its memory is free when the engine is told, since the
 * engine may begin the next one at once. */
static void
accept_finish(struct tx *tx)
{
    struct session *s = tx->session;
    struct accept_reply failure;
    char id[SPOOL_ID_TEXT];

    ENSURE(s);
    spool_id_show(&tx->variants[0].id, id);
    pipeline_forget(&s->pipeline); /* nothing that still runs may look at the message */
    if (tx->status == 0) {
        for (unsigned i = 0; i < tx->nvariants; i++)
            report_reception(tx, &tx->variants[i]);
        metric_add(METRIC_ACCEPTED, 1);
        metric_add(METRIC_ACCEPTED_BYTES, tx->body.size);
        accept_let_go(s);
        session_reply(s, 250, "2.0.0", "Ok: queued as %s", id);
        return;
    }
    failure = accept_failure(tx->status);
    chunk_void(tx);
    metric_add(METRIC_TEMPFAIL, 1);
    report_refused(s, "DATA", failure.code, failure.enhanced, str_c(failure.text), STR_NONE);
    accept_let_go(s);
    session_say(s, failure.code, failure.enhanced, failure.text);
}

static void
accept_commit(struct tx *tx)
{
    unsigned npieces = tx->body.chunked ? 0 : body_pieces(&tx->body, true);

    tx->committing = true;
    for (unsigned i = 0; i < tx->nvariants && tx->status == 0; i++) {
        struct tx_variant *v = &tx->variants[i];
        int rc = accept_envelope(v);

        if (rc == 0) {
            v->out = (struct spool_out){.type = SPOOL_MESSAGE,
                                        .seq = v->id.seq,
                                        .payload = buf_view(&v->payload),
                                        .body = tx->body.pieces,
                                        .nbody = npieces,
                                        .done = accept_told};
            rc = spool_writer_add(tx->gate->links.writer, &v->out);
        }
        if (rc < 0) {
            tx->status = rc;
            break;
        }
        v->added = true;
        tx->pending++;
    }
    if (!tx->pending)
        accept_finish(tx);
}

void
accept_progress(struct tx *tx)
{
    struct session *s = tx->session;

    if (s && s->stream && s->paused && !tx_pauses(tx, BODY_PENDING / 2)) {
        s->paused = false;
        stream_resume(s->stream);
    }
    if (tx->pending)
        return;
    if (tx->committing) {
        accept_finish(tx);
    } else if (!s) {
        chunk_void(tx);
        tx_give(tx);
    } else if (tx->ended) {
        if (tx->status < 0)
            accept_finish(tx);
        else
            accept_commit(tx);
    }
}

void
accept_end(struct tx *tx)
{
    tx->ended = true;
    if (tx->status == 0 && tx->body.chunked) {
        chunk_flush(tx);
        chunk_results(tx);
    } else if (tx->status == 0) {
        front_results(tx, false);
        front_write(tx);
    }
    if (!tx->pending)
        accept_progress(tx);
}
