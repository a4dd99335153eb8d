/*
 * gate/report.c - the gate's events: receptions, refusals, logins, lost connections.
 *
 * Called where a decision was made. The fields are written down in docs/events.md; never decides.
 */
#include "core/clock.h"
#include "core/event.h"
#include "gate/inner.h"
#include "gate/received.h"
#include "gate/session.h"

static void
put_session(struct event *e, const struct session *s)
{
    const struct stage_facts *f = &s->facts;
    char peer[56];

    event_c(e, "session_id", s->id);
    event_text(e, "listener", str_c(s->at->name));
    event_object(e, "peer_address");
    event_c(e, "addr", endpoint_show(&f->client, peer));
    if (f->client_name.n)
        event_text(e, "name", f->client_name);
    if (f->helo.n)
        event_text(e, "helo", f->helo);
    event_end(e);
    if (f->user.n)
        event_text(e, "user", f->user);
    else if (s->local)
        event_c(e, "user", s->uid);
    if (f->trusted)
        event_bool(e, "trusted", true);
}

/* The recipients of a verdict, by name. */
static void
put_verdict_rcpts(struct event *e, const struct record *r, unsigned number,
                  const struct tx_variant *v)
{
    unsigned shown = 0;

    event_array(e, "recipients");
    for (uint32_t i = 0; i < r->nof && i < v->n && shown < TX_SHOWN_RCPTS; i++) {
        if (r->of[i] != number)
            continue;
        event_text(e, "", v->rcpts[i].address);
        shown++;
    }
    event_end(e);
}

/* Its sums, then its findings one by one: what has no room in a line of events is left out, and the
 * line says so. */
static void
put_verdict(struct event *e, const struct record *r, const struct record_verdict *v,
            struct buf *room)
{
    buf_clear(room);
    record_json_head(room, v);
    event_members(e, buf_view(room));
    event_array(e, "findings");
    for (unsigned i = 0; i < v->nlines; i++) {
        buf_clear(room);
        record_json_line(room, r, &v->lines[i]);
        event_members(e, buf_view(room));
    }
    event_end(e);
}

/* The verdict of the first recipient, and where there are several all of them. */
static void
put_verdicts(struct event *e, const struct record *r, const struct tx_variant *v)
{
    CLEANUP(buf_done) struct buf room;

    buf_init(&room, JUDGE_RECORD_ROOM);
    put_verdict(e, r, &r->verdicts[r->nof && r->of[0] < r->nverdicts ? r->of[0] : 0], &room);
    if (r->nverdicts < 2)
        return;
    event_array(e, "verdicts");
    for (unsigned i = 0; i < r->nverdicts; i++) {
        event_object(e, "");
        put_verdict(e, r, &r->verdicts[i], &room);
        if (v)
            put_verdict_rcpts(e, r, i, v);
        event_end(e);
    }
    event_end(e);
    if (r->untold)
        event_cut(e);
}

/* The decision record (policy/record.h) of what was found so far; the last fields of an event,
 * since it may take all the room there is. */
static void
put_record(struct event *e, const struct session *s, const struct tx *tx, bool rcpt)
{
    struct record record;
    struct arena arena;

    arena_init(&arena, JUDGE_RECORD_ROOM);
    if (judge_record(s, tx, NULL, rcpt, &arena, &record) < 0)
        event_cut(e);
    else if (record.nverdicts)
        put_verdicts(e, &record, NULL);
    arena_done(&arena);
}

static void
put_response(struct event *e, int code, const char *enhanced, struct str text, const char *command)
{
    struct str rest = str_c(enhanced ? enhanced : "");
    static const char *const parts[] = {"class", "subject", "detail"};

    event_object(e, "response");
    event_u64(e, "code", (uint64_t)code);
    if (rest.n) {
        event_object(e, "enhanced_code");
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            uint64_t number = 0;

            (void)str_u64(str_cut(rest, '.', &rest), &number);
            event_u64(e, parts[i], number);
        }
        event_end(e);
    }
    event_text(e, "content", text);
    event_c(e, "command", command);
    event_end(e);
}

static struct event *
rejection_open(struct str sender, struct str rcpt)
{
    struct event *e = event_open("Rejection");

    if (sender.p)
        event_text(e, "sender", sender);
    if (rcpt.n)
        event_text(e, "recipient", rcpt);
    return e;
}

/* judged: the record shows what was found of that recipient. */
static void
rejection_send(struct event *e, const struct session *s, bool judged)
{
    put_session(e, s);
    if (s->tx)
        report_authentication(e, s->tx);
    event_u64(e, "settings", s->setup->conf->generation);
    put_record(e, s, s->tx, judged);
    event_send(e);
}

void
report_refused(struct session *s, const char *command, int code, const char *enhanced,
               struct str text, struct str rcpt)
{
    struct event *e = rejection_open(s->tx ? s->tx->sender.text : STR_NONE, rcpt);

    put_response(e, code, enhanced, text, command);
    rejection_send(e, s, rcpt.n > 0);
}

void
report_unjudged(struct session *s, const char *command, int code, const char *enhanced,
                const char *text, struct str said)
{
    bool mail = str_eq(str_c(command), STR("MAIL"));
    struct event *e = rejection_open(s->tx  ? s->tx->sender.text
                                     : mail ? said
                                            : STR_NONE,
                                     mail ? STR_NONE : said);

    put_response(e, code, enhanced, str_c(text), command);
    rejection_send(e, s, false);
}

void
report_turned_away(struct session *s, unsigned before)
{
    struct event *e = rejection_open(STR_NONE, STR_NONE);

    put_response(e, 421, "4.3.2", STR("too many connections"), "CONNECT");
    if (before)
        event_u64(e, "before", before);
    rejection_send(e, s, false);
}

void
report_auth(struct session *s, struct str user, bool good, const char *why)
{
    struct event *e = event_open(good ? "AuthSuccess" : "AuthFailure");

    event_text(e, "login", user);
    if (!good)
        event_c(e, "why", why);
    put_session(e, s);
    event_send(e);
}

void
report_closed(struct session *s, const char *why)
{
    struct event *e;

    /* A client that leaves between messages is nothing to tell. */
    if (session_between(s) && s->begun)
        return;
    e = event_open("Debug");
    event_c(e, "text", "connection lost");
    event_c(e, "why", why ? why : "");
    if (s->smtp)
        event_c(e, "state", smtp_server_state_name(smtp_server_state(s->smtp)));
    put_session(e, s);
    event_send(e);
}

static void
put_queue(struct event *e, const struct tx_variant *v)
{
    struct str domain = v->n ? session_key_domain(v->rcpts[0].address) : STR_NONE;
    char queue[320];
    size_t n = str_fmt(queue, sizeof(queue), "%u@%.*s", (unsigned)v->tenant, STR_ARG(domain));

    event_text(e, "queue", str_of(queue, n));
    event_c(e, "site", "");
}

/* A second way of an address that goes elsewhere too: through the reader of reports. */
static bool
is_reader(const struct tx_variant *v, uint32_t i)
{
    return str_eq(v->rcpts[i].via, STR(REPORTS_VIA)) &&
           (v->rcpts[i].notify & SPOOL_NOTIFY_NEVER) != 0;
}

static void
put_recipients(struct event *e, const struct tx_variant *v)
{
    uint32_t n = 0, shown = 0;

    for (uint32_t i = 0; i < v->n; i++)
        n += !is_reader(v, i);
    if (n)
        event_text(e, "recipient", v->rcpts[0].address);
    event_u64(e, "nrcpt", n);
    if (n < 2)
        return;
    event_array(e, "recipients");
    for (uint32_t i = 0; i < v->n && shown < TX_SHOWN_RCPTS; i++) {
        if (is_reader(v, i))
            continue;
        event_text(e, "", v->rcpts[i].address);
        shown++;
    }
    event_end(e);
}

static void
put_tls(struct event *e, const struct tx *tx)
{
    if (!tx->tls_version.n)
        return;
    event_text(e, "tls_protocol_version", tx->tls_version);
    event_text(e, "tls_cipher", tx->tls_cipher);
    if (tx->tls_peer_hash.n) {
        event_text(e, "tls_peer_subject_name", tx->tls_peer);
        event_text(e, "tls_peer_sha256", tx->tls_peer_hash);
    }
}

void
report_reception(const struct tx *tx, const struct tx_variant *v)
{
    static const char *const classes[] = {"system", "inside", "transactional", "bulk"};
    const struct session *s = tx->session;
    const struct stage_facts *f = &s->facts;
    char id[SPOOL_ID_TEXT], content[64];
    struct event *e = event_open("Reception");

    spool_id_show(&v->id, id);
    event_text(e, "id", str_of(id, SPOOL_ID_TEXT - 1));
    event_text(e, "sender", tx->sender.text);
    put_recipients(e, v);
    put_queue(e, v);
    event_u64(e, "size", tx->body.size);
    str_fmt(content, sizeof(content), "Ok: queued as %s", id);
    put_response(e, 250, "2.0.0", str_c(content), "DATA");
    event_seconds(e, "created", tx->received);
    event_u64(e, "num_attempts", 0);
    event_c(e, "reception_protocol", received_protocol(f->esmtp, tx->utf8, f->tls, f->user.n > 0));
    event_u64(e, "tenant", v->tenant);
    event_c(e, "class", v->class < ARRAY_LEN(classes) ? classes[v->class] : "");
    if (v->rewritten)
        event_bool(e, "forwarded", true);
    if (tx->message_id.n)
        event_text(e, "message_id", tx->message_id);
    put_session(e, s);
    put_tls(e, tx);
    report_authentication(e, tx);
    if (tx->removed)
        event_u64(e, "fields_removed", tx->removed);
    event_u64(e, "settings", s->setup->conf->generation);
    if (v->record && v->record->nverdicts)
        put_verdicts(e, v->record, v);
    else if (!v->record && tx->judging.n) /* there was no room for it, here and in the log */
        event_cut(e);
    event_send(e);
}
