/*
 * gate/session.c - a session's dealings with the engine: what it sends, its stages, its replies.
 *
 * Called by the smtp engine through session_smtp_ops and by the pipeline. A connection's birth,
 * clock and death are in session_open.c, the verbs of a message in session_*.c. Never touches the
 * log.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/metric.h"
#include "gate/inner.h"
#include "gate/session.h"
#include "smtp/reply.h"

/* ---- the engine's callbacks ---- */

static void
on_send(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;

    s->since = clock_mono();
    if (s->stream)
        (void)stream_send(s->stream, p, n); /* a full queue closes the stream by itself */
}

/* So many replies lie here unread that no further command is taken before they are gone. */
static bool
on_full(void *ctx, size_t gathered)
{
    const struct session *s = ctx;

    return s->stream && gathered + stream_queued(s->stream) >= s->setup->smtp->max_unread_replies;
}

void
session_quit(void *ctx)
{
    struct session *s = ctx;

    if (s->ending)
        return;
    s->ending = true;
    loop_defer(s->gate->links.loop, &s->end);
}

static void
on_starttls(void *ctx)
{
    struct session *s = ctx;

    /* What was sent ahead of the handshake is no part of the protected session. */
    stream_drop_pending(s->stream);
    s->left = false;
    free(s->helo);
    s->helo = NULL;
    s->facts.helo = STR_NONE;
    s->facts.esmtp = false;
    session_forget_user(s);
    if (stream_start_tls(s->stream, s->listen->tls, true, STR_NONE) < 0)
        session_quit(s);
}

static void
on_connect(void *ctx)
{
    struct session *s = ctx;

    if (s->crowded) { /* found out by XCLIENT */
        report_refused(s, "CONNECT", 421, "4.3.2", STR("too many connections"), STR_NONE);
        session_say(s, 421, "4.3.2", "Too many connections, come again later");
        return;
    }
    session_stage(s, SESSION_CONNECT, &s->verdict);
}

static void
on_helo(void *ctx, struct str name, bool ehlo)
{
    struct session *s = ctx;
    char *copy;

    if (s->said_helo)
        name = str_c(s->said_helo);
    copy = malloc(name.n + 1);
    if (!copy) {
        session_close(s, "4.3.0", "Out of memory, come again later");
        return;
    }
    memcpy(copy, name.p, name.n);
    copy[name.n] = '\0';
    free(s->helo);
    s->helo = copy;
    s->facts.helo = str_of(copy, name.n);
    s->facts.esmtp = ehlo;
    verdict_forget(&s->verdict, STAGE_HELO);
    session_stage(s, SESSION_HELO, &s->verdict);
}

static bool
is_watched(const struct session *s)
{
    for (unsigned i = 0; i < s->gate->ntracers; i++)
        if (prefix_has(&s->gate->tracers[i].from, &s->facts.client.addr))
            return true;
    return false;
}

/* {"session":"..","peer":"..","dir":"<","line":".."} of sessions that somebody watches. */
static void
on_trace(void *ctx, char dir, struct str line)
{
    struct session *s = ctx;
    char peer[56], arrow[2] = {dir, '\0'};
    struct buf out;

    if (!is_watched(s))
        return;
    if (dir == '<' && str_istarts(line, STR("AUTH "))) {
        struct str rest = str_from(line, 5), mech = str_word(&rest);

        line = str_of(line.p, (size_t)(mech.p + mech.n - line.p)); /* no secret is shown */
    }
    buf_init(&out, 32768);
    buf_c(&out, "{\"session\":");
    buf_json(&out, str_c(s->id));
    buf_c(&out, ",\"peer\":");
    buf_json(&out, str_c(endpoint_show(&s->facts.client, peer)));
    buf_c(&out, ",\"dir\":");
    buf_json(&out, str_c(arrow));
    buf_c(&out, ",\"line\":");
    buf_json(&out, line);
    buf_c(&out, "}");
    for (unsigned i = 0; i < s->gate->ntracers && !out.failed; i++) {
        const struct gate_tracer *t = &s->gate->tracers[i];

        if (prefix_has(&t->from, &s->facts.client.addr))
            t->fn(t->ctx, buf_view(&out));
    }
    buf_done(&out);
}

/* What the engine refuses by itself stands in the events like all that is refused. */
static void
on_refused(void *ctx, const char *command, const struct smtp_refusal *r, struct str said)
{
    struct session *s = ctx;

    if (str_eq(str_c(command), STR("RCPT")))
        metric_add(METRIC_REFUSED_RCPT, 1);
    else if (!str_eq(str_c(command), STR("CONNECT")))
        metric_add(r->code < 500 ? METRIC_TEMPFAIL : METRIC_REFUSED_MSG, 1);
    report_unjudged(s, command, r->code, r->enh, r->text, said);
}

static uint64_t
on_now_s(void *ctx UNUSED)
{
    return clock_wall_s();
}

const struct smtp_server_ops session_smtp_ops = {
    .send = on_send,
    .full = on_full,
    .connect = on_connect,
    .helo = on_helo,
    .mail = session_mail,
    .rcpt = session_rcpt,
    .data = session_data,
    .body = session_body,
    .body_void = session_body_void,
    .refused = on_refused,
    .data_end = session_data_end,
    .reset = session_reset,
    .auth = session_auth,
    .auth_step = session_auth_step,
    .auth_cancel = session_auth_cancel,
    .starttls = on_starttls,
    .xclient = session_xclient,
    .now_s = on_now_s,
    .vrfy = session_vrfy,
    .quit = session_quit,
    .trace = on_trace,
};

/* ---- stages ---- */

static void
connect_staged(struct session *s, const struct finding *f)
{
    struct str host = s->setup->main->hostname;

    if (s->said_name)
        s->facts.client_name = str_c(s->said_name);
    if (f) {
        report_refused(s, "CONNECT", f->code, f->enhanced, f->text, STR_NONE);
        s->refused = true; /* after 554 the client's QUIT is waited for (RFC 5321 3.1) */
        session_reply(s, f->code, f->enhanced, "%.*s %.*s", STR_ARG(host), STR_ARG(f->text));
        if (f->code < 500)
            session_quit(s);
        return;
    }
    session_reply(s, 220, NULL, "%.*s ESMTP", STR_ARG(host));
}

static void
helo_staged(struct session *s, const struct finding *f)
{
    char address[48];

    if (f) {
        report_refused(s, s->facts.esmtp ? "EHLO" : "HELO", f->code, f->enhanced, f->text,
                       STR_NONE);
        session_finding(s, f);
        return;
    }
    session_reply(s, 250, NULL, "%.*s greets %s", STR_ARG(s->setup->main->hostname),
                  addr_show(&s->facts.client.addr, address));
}

static const struct {
    enum stage stage;
    void (*staged)(struct session *, const struct finding *);
} session_steps[] = {
    [SESSION_CONNECT] = {STAGE_CONNECT, connect_staged},
    [SESSION_HELO] = {STAGE_HELO, helo_staged},
    [SESSION_MAIL] = {STAGE_MAIL, session_mail_staged},
    [SESSION_RCPT] = {STAGE_RCPT, session_rcpt_staged},
    [SESSION_HEADER] = {STAGE_HEADER, session_header_staged},
    [SESSION_BODY] = {STAGE_BODY, session_body_staged},
};

/* What could not be asked was not found out: that is never to the asker's advantage. */
static const struct finding no_lookups = {
    .check = "policy",
    .name = "lookups",
    .action = VERDICT_TEMPFAIL,
    .code = 451,
    .enhanced = "4.7.1",
    .text = {SESSION_NO_LOOKUPS, sizeof(SESSION_NO_LOOKUPS) - 1},
};

void
session_staged(void *ctx, const struct finding *decisive)
{
    struct session *s = ctx;
    unsigned step = s->step;

    s->step = SESSION_IDLE;
    if (!decisive && step >= SESSION_MAIL && s->quota && dns_quota_refused(s->quota))
        decisive = &no_lookups;
    if (step != SESSION_IDLE)
        session_steps[step].staged(s, decisive);
}

void
session_stage(struct session *s, enum session_step step, struct verdict *v)
{
    const struct finding *decisive;

    s->step = (uint8_t)step;
    if (pipeline_run(&s->pipeline, session_steps[step].stage, v, &decisive))
        session_staged(s, decisive);
}

/* ---- replies and waits ---- */

void
session_resume(struct session *s)
{
    s->since = clock_mono();
    if (s->half)
        session_quit(s);
    if (s->left && s->stream && !s->in_data) {
        s->left = false;
        stream_resume(s->stream);
    }
}

void
session_reply(struct session *s, int code, const char *enhanced, const char *fmt, ...)
{
    char text[1536] __attribute__((uninitialized));
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    session_say(s, code, enhanced, text);
}

void
session_say(struct session *s, int code, const char *enhanced, const char *text)
{
    if (!s->smtp) { /* the client left while its message was being written */
        session_free(s);
        return;
    }
    smtp_server_reply(s->smtp, code, enhanced, "%s", text);
    session_resume(s);
}

void
session_finding(struct session *s, const struct finding *f)
{
    session_reply(s, f->code, f->enhanced, "%.*s", STR_ARG(f->text));
}

void
session_delayed(void *ctx)
{
    struct session *s = ctx;
    void (*then)(struct session *) = s->delayed;

    s->delayed = NULL;
    if (then && !s->ending)
        then(s);
}

void
session_wait(struct session *s, uint64_t ns, void (*then)(struct session *))
{
    s->delayed = then;
    loop_timer_set(&s->delay, MAX(ns, NS_PER_MS));
}

bool
session_between(const struct session *s)
{
    return !s->tx && s->step == SESSION_IDLE && (!s->smtp || !smtp_server_waiting(s->smtp));
}

bool
session_tls(const struct session *s, struct tls_info *ret)
{
    return s->stream && s->facts.tls && stream_tls_info(s->stream, ret);
}

void
session_close(struct session *s, const char *enhanced, const char *text)
{
    if (s->ending)
        return;
    if (s->tx && s->tx->received) { /* the client goes without an answer to its message */
        metric_add(METRIC_TEMPFAIL, 1);
        report_unjudged(s, "DATA", 421, enhanced, text, STR_NONE);
    } else {
        report_closed(s, text);
    }
    if (s->begun && s->smtp)
        smtp_server_close(s->smtp, enhanced, text);
    else
        session_quit(s);
}
