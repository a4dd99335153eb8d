/*
 * gate/session_open.c - a connection's life: accept, PROXY header, TLS, bytes, clock, end.
 *
 * Called by listeners through session_open(), by the stream through its callbacks, by the loop's
 * timers. Everything that a session holds is let go in session_free().
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/metric.h"
#include "gate/inner.h"
#include "gate/session.h"
#include "net/proxy.h"

#define RATE_WINDOW (30 * NS_PER_S)
/* Over smtp.max_unread_replies no command is read; this may still follow: one reply, TLS records.
 */
#define QUEUE_EXTRA (64u << 10)
#define WARNED      (60 * NS_PER_S) /* between two warnings of one kind */
/* Not greeted yet, or with a 554: nothing but QUIT may come. */
#define TIMEOUT_STRANGER (30 * NS_PER_S)

/* ---- the stream's callbacks ---- */

static void session_start(struct session *, const struct endpoint *peer);

/* Neither the balancer nor its clients would tell anybody. */
static void
tell_no_header(struct session *s, const char *why)
{
    uint64_t now = clock_mono();
    char peer[48];

    if (s->gate->proxy_told && now - s->gate->proxy_told < WARNED)
        return;
    event_warning(
        "listener %s: %s is in its `proxy`, and its connections do not begin with a PROXY "
        "header (%s). They are closed, and no mail comes in by them; what was accepted is "
        "safe. Let it send the header (send-proxy), or take it out of `proxy`.",
        s->at->name, addr_show(&s->facts.client.addr, peer), why);
    s->gate->proxy_told = now;
}

/* The balancer's header, and not a byte more of it. */
static size_t
on_proxy_data(struct session *s, const char *p, size_t n)
{
    struct endpoint peer = s->facts.client;
    size_t used = 0;

    switch (proxy_feed(s->proxy, p, n, &used)) {
    case PROXY_MORE:
        return used;
    case PROXY_REFUSED:
        tell_no_header(s, s->proxy->why);
        report_closed(s, s->proxy->why);
        s->ending = true;
        loop_defer(s->gate->links.loop, &s->end);
        return n;
    case PROXY_PARSED:
        peer = s->proxy->src;
        s->own = s->proxy->dst.addr;
        stream_set_peer(s->stream, &peer);
        break;
    case PROXY_LOCAL:
        s->unnamed = true;
        break;
    }
    free(s->proxy);
    s->proxy = NULL;
    session_start(s, &peer);
    return used;
}

static size_t
on_data(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;
    size_t used;

    if (s->ending)
        return n;
    if (s->proxy) {
        used = on_proxy_data(s, p, n);
        if (!s->ending && !s->proxy && !s->listen->implicit_tls && used < n)
            used += on_data(s, p + used, n - used);
        return used;
    }
    s->in_data = true;
    used = smtp_server_feed(s->smtp, p, n);
    s->in_data = false;
    if (s->ending)
        return n;
    s->left = used < n;
    /* Left because replies are unread: asking for them makes the stream tell when they are gone. */
    if (s->left && !smtp_server_waiting(s->smtp) && stream_queued(s->stream) == 0)
        stream_resume(s->stream);
    return used;
}

/* The client has read our replies: what it sent meanwhile may go on. */
static void
on_drained(void *ctx)
{
    struct session *s = ctx;

    if (!s->left || s->ending || !s->stream)
        return;
    s->left = false;
    stream_resume(s->stream);
}

static void
on_closed(void *ctx, int status, const char *why)
{
    struct session *s = ctx;

    /* The client has said its last word and may still listen: a message that is on its way to the
     * disk is answered, or the client would send it once more. */
    if (status == 0 && s->tx && s->tx->committing && !s->ending) {
        s->half = true;
        return;
    }
    report_closed(s, why);
    session_free(s);
}

static void session_begin(struct session *);

static void
on_secured(void *ctx, int status, const char *why)
{
    struct session *s = ctx;

    if (status < 0) {
        report_closed(s, why);
        session_free(s);
        return;
    }
    metric_add(METRIC_TLS_IN, 1);
    s->facts.tls = true;
    s->since = clock_mono();
    session_auth_offer(s);
    if (s->begun) {
        smtp_server_tls_done(s->smtp, true);
        return;
    }
    smtp_server_set_tls(s->smtp);
    session_begin(s);
}

static const struct stream_ops session_stream_ops = {
    .data = on_data,
    .drained = on_drained,
    .secured = on_secured,
    .closed = on_closed,
};
/* ---- the clock ---- */

/* How long the present wait may last, and since when it has lasted. */
static uint64_t
session_limit(const struct session *s, bool *ret_body)
{
    enum smtp_server_state state = s->smtp ? smtp_server_state(s->smtp) : SMTP_CONNECT;
    const struct settings_smtp *c = s->setup->smtp;

    *ret_body = state == SMTP_DATA || state == SMTP_BDAT;
    if (!*ret_body)
        return s->begun && !s->refused ? c->timeout_command
                                       : MIN(c->timeout_command, TIMEOUT_STRANGER);
    return s->tx && s->tx->body.size ? c->timeout_block : c->timeout_data;
}

static bool
session_too_slow(struct session *s, uint64_t now)
{
    uint64_t bytes = stream_bytes_in(s->stream), window = now - s->rate_at, got;

    if (!s->setup->smtp->min_rate || !s->rate_at) {
        s->rate_at = now;
        s->rate_bytes = bytes;
        return false;
    }
    if (window < RATE_WINDOW)
        return false;
    got = bytes - s->rate_bytes;
    s->rate_at = now;
    s->rate_bytes = bytes;
    return (double)got * NS_PER_S < (double)s->setup->smtp->min_rate * (double)window;
}

/* Has a message been under way for so long, without one being sent? */
static bool
session_stays(const struct session *s, uint64_t now)
{
    enum smtp_server_state state = smtp_server_state(s->smtp);

    return s->tx && !smtp_server_waiting(s->smtp) && state != SMTP_DATA && state != SMTP_BDAT &&
           s->tx->begun && now - s->tx->begun >= s->setup->smtp->timeout_session;
}

static void
session_clock(void *ctx)
{
    struct session *s = ctx;
    uint64_t now = clock_mono(), limit, quiet;
    bool body = false, ours;

    if (s->ending || !s->stream)
        return;
    limit = session_limit(s, &body);
    /* It is we who keep the client waiting: for the log, for an answer. A handshake is the client's
     * to finish. A 421 behind the final dot, while the message goes on to the disk, would bring it
     * a second time. */
    ours = s->paused || (s->smtp && s->begun && smtp_server_waiting(s->smtp) &&
                         smtp_server_state(s->smtp) != SMTP_TLS);
    /* A command, a PROXY header or a handshake has its whole time from our last word on, however
     * it is cut: one byte a second is no reason to wait longer. A body has a rate to keep. */
    quiet = body ? MAX(stream_last_in(s->stream), s->since) : s->since;
    quiet = now > quiet && !ours ? now - quiet : 0;
    if (!body || ours)
        s->rate_at = 0;
    if (quiet >= limit && s->proxy)
        tell_no_header(s, s->proxy->head_n ? "it did not end" : "nothing came");
    if (quiet >= limit) {
        session_close(s, "4.4.2",
                      body ? "Timeout: the message did not come"
                           : "Timeout: closing an idle connection");
        return;
    }
    if (body && !ours && session_too_slow(s, now)) {
        session_close(s, "4.4.2", "The message comes too slowly");
        return;
    }
    if (now - s->started >= s->setup->smtp->timeout_session &&
        (session_between(s) || session_stays(s, now))) {
        session_close(s, "4.4.2", "The session has lasted long enough, come again");
        return;
    }
    loop_timer_set(&s->timer, MIN(limit - quiet, s->setup->tick) + NS_PER_MS);
}
/* ---- birth and death ---- */

static void
on_end(void *ctx)
{
    struct session *s = ctx;

    if (s->stream)
        stream_close(s->stream, true);
    s->stream = NULL;
    session_free(s);
}

static void
session_begin(struct session *s)
{
    s->begun = true;
    smtp_server_start(s->smtp);
}

static bool
has_prefix(const struct conf_list *list, const struct addr *a)
{
    const struct prefix *p = list->items;

    for (size_t i = 0; i < list->n; i++) {
        if (prefix_has(&p[i], a))
            return true;
    }
    return false;
}

/* The client's true address is known. */
static bool
session_known(struct session *s, const struct endpoint *peer)
{
    struct gate *gate = s->gate;
    struct setup *su = s->setup;

    s->xclient = !s->local && has_prefix(&s->listen->conf->xclient, &peer->addr);
    if (!session_place(s, peer))
        return false;
    s->smtp = smtp_server_create(s->trusted ? &s->listen->trusted : &s->listen->strangers,
                                 &session_smtp_ops, s);
    if (!s->smtp || pipeline_init(&s->pipeline, &su->plan, &s->facts, gate->links.loop,
                                  gate->links.dns, session_staged, s) < 0)
        return false;
    s->pipeline.quota = s->quota;
    /* Where it may not relay, trust still pardons its line ends. */
    smtp_server_set_trusted(s->smtp, s->facts.trusted);
    smtp_server_set_xclient(s->smtp, s->xclient);
    return true;
}

/* A line a second of one network: thousands of the same would drive all else out of the files. */
static void
tell_turned_away(struct session *s)
{
    struct limit *l = s->by_network ? s->by_network : s->by_address;
    uint64_t now = clock_mono();

    if (l && l->told && now - l->told < NS_PER_S) {
        l->untold++;
        return;
    }
    report_turned_away(s, l ? l->untold : 0);
    if (!l)
        return;
    l->told = now;
    l->untold = 0;
}

/* No greeting was said: one line and the end. */
static void
session_turn_away(struct session *s)
{
    static const char text[] = "421 4.3.2 Too many connections, come again later\r\n";

    tell_turned_away(s);
    if (!s->listen->implicit_tls)
        (void)stream_send(s->stream, text, sizeof(text) - 1);
    s->ending = true;
    loop_defer(s->gate->links.loop, &s->end);
}

static void
session_start(struct session *s, const struct endpoint *peer)
{
    if (!session_known(s, peer)) {
        session_turn_away(s);
        return;
    }
    if (!s->listen->implicit_tls) {
        session_begin(s);
        return;
    }
    if (stream_start_tls(s->stream, s->listen->tls, true, STR_NONE) < 0)
        session_quit(s);
}

static struct session *
session_create(struct gate *gate, struct gate_listener *at, const struct setup_listen *listen)
{
    struct session *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->gate = gate;
    s->setup = setup_ref(gate->setup);
    s->listen = listen;
    s->at = at;
    str_fmt(s->id, sizeof(s->id), "%x-%x-%llx", (unsigned)gate->node, (unsigned)gate->epoch,
            (unsigned long long)++gate->session_count);
    s->started = s->since = clock_mono();
    s->facts.conf = gate->setup->conf;
    s->facts.hostname = gate->setup->main->hostname;
    s->end = (struct loop_call){.fn = on_end, .ctx = s};
    loop_timer_init(&s->timer, gate->links.loop, session_clock, s);
    loop_timer_init(&s->delay, gate->links.loop, session_delayed, s);
    arena_init(&s->arena, SESSION_ARENA_MAX);
    verdict_init(&s->verdict, &s->arena);
    s->next = gate->sessions;
    s->prev = &gate->sessions;
    if (s->next)
        s->next->prev = &s->next;
    gate->sessions = s;
    gate->nsessions++;
    at->sessions++;
    metric_set(METRIC_SESSIONS, gate->nsessions);
    return s;
}

/* Balancers must tell the true client; nobody else may. */
static bool
session_wants_proxy(const struct session *s, const struct endpoint *peer)
{
    return has_prefix(&s->listen->conf->proxy, &peer->addr);
}

/* Overload, before anything is made for the connection. */
static void
refuse_now(int fd)
{
    static const char text[] = "421 4.3.2 Too many connections, come again later\r\n";

    (void)send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    fd_close(&fd);
}

/* Of that block `listen`, by whichever of its addresses they came in. */
static unsigned
sessions_of(const struct gate *gate, const char *name)
{
    unsigned n = 0;

    for (const struct gate_listener *l = gate->listeners; l; l = l->next) {
        if (str_eq(str_c(l->name), str_c(name)))
            n += l->sessions;
    }
    return n;
}

/* All sessions are taken. Clients hear it each, the operator once a minute. */
static void
tell_full(struct gate *gate, const struct gate_listener *at, const struct settings_listen *conf)
{
    bool here = sessions_of(gate, at->name) >= conf->max_sessions;
    uint64_t now = clock_mono();

    gate->turned_away++;
    if (gate->full_told && now - gate->full_told < WARNED)
        return;
    event_warning(
        "listener %s turns connections away with 421 (%u since the last such warning): "
        "all %llu sessions of %s are taken. Accepted mail is safe, and senders come again "
        "by themselves. Raise it if the machine can take more; if few networks hold "
        "them, lower smtp.sessions_per_network.",
        at->name, gate->turned_away,
        (unsigned long long)(here ? conf->max_sessions : gate->setup->smtp->max_sessions),
        here ? "its max_sessions" : "smtp.max_sessions");
    gate->full_told = now;
    gate->turned_away = 0;
}

static bool
has_room(struct gate *gate, const struct gate_listener *at, const struct settings_listen *conf)
{
    if (gate->nsessions < gate->setup->smtp->max_sessions &&
        sessions_of(gate, at->name) < conf->max_sessions)
        return true;
    tell_full(gate, at, conf);
    return false;
}

/* Whom the kernel says it is; where others have an address, a local user has the loopback's. */
static bool
session_identify(struct session *s, int fd, struct endpoint *ret)
{
    struct ucred who;
    socklen_t n = sizeof(who);

    *ret = (struct endpoint){0};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 ||
        addr_parse(STR("127.0.0.1"), &ret->addr) < 0)
        return false;
    s->local = true;
    s->local_uid = (uint32_t)who.uid;
    str_fmt(s->uid, sizeof(s->uid), "uid %u", (unsigned)who.uid);
    return true;
}

void
session_open(struct gate *gate, struct gate_listener *at, int fd, const struct endpoint *peer)
{
    const struct setup_listen *listen = setup_listen(gate->setup, str_c(at->name));
    const struct settings_smtp *smtp = gate->setup->smtp;
    const struct stream_limits limits = {
        .max_pending = smtp->max_pipelined,
        .max_queue = smtp->max_unread_replies + QUEUE_EXTRA,
    };
    struct endpoint here;
    struct session *s;
    bool proxied;

    metric_add(METRIC_CONNECTIONS, 1);
    if (!listen || gate->stopping || !has_room(gate, at, listen->conf)) {
        refuse_now(fd);
        return;
    }
    s = session_create(gate, at, listen);
    if (!s) {
        refuse_now(fd);
        return;
    }
    if (listen->conf->kind == LISTEN_LOCAL && !session_identify(s, fd, &here)) {
        refuse_now(fd);
        session_free(s);
        return;
    }
    peer = s->local ? &here : peer;
    s->facts.client = *peer;
    proxied = session_wants_proxy(s, peer);
    if (proxied && (s->proxy = malloc(sizeof(*s->proxy))))
        proxy_init(s->proxy);
    if (!proxied || s->proxy) /* the balancer must never pass for the client */
        s->stream = stream_create(gate->links.loop, fd, &session_stream_ops, s, &limits);
    if (!s->stream) {
        refuse_now(fd);
        session_free(s);
        return;
    }
    s->own = stream_local(s->stream)->addr;
    loop_timer_set(&s->timer, s->setup->tick);
    if (!s->proxy)
        session_start(s, peer);
}

static void
session_unlink(struct session *s)
{
    struct gate *gate = s->gate;

    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->next = NULL;
    s->prev = NULL;
    gate->nsessions--;
    s->at->sessions--;
    metric_set(METRIC_SESSIONS, gate->nsessions);
}

void
session_free(struct session *s)
{
    struct gate *gate = s->gate;
    struct tx *tx = s->tx;

    s->ending = true;
    if (s->prev) {
        session_unlink(s);
        loop_call_cancel(gate->links.loop, &s->end);
        loop_timer_stop(&s->timer);
        loop_timer_stop(&s->delay);
        session_auth_stop(s);
        pipeline_stop(&s->pipeline);
        smtp_server_free(s->smtp);
        s->smtp = NULL;
        if (s->stream)
            stream_close(s->stream, false);
        s->stream = NULL;
        session_mail_over(s);
        session_uncounted(s);
        if (tx && tx->committing) {
            gate->nghosts++; /* its event still needs the facts: accept.c comes back here */
            return;
        }
        s->tx = NULL;
        tx_abandon(tx);
    } else {
        gate->nghosts--;
    }
    pipeline_done(&s->pipeline);
    setup_unref(s->setup);
    free(s->helo);
    free(s->user);
    free(s->said_name);
    free(s->said_helo);
    free(s->proxy);
    arena_done(&s->arena);
    free(s);
    gate_session_gone(gate);
}
