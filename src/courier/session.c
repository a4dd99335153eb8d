/*
 * courier/session.c - joins one stream to one SMTP client and feeds it messages.
 *
 * Called by the plan (open, offer, quit). A session never chooses its work: the plan does. It is
 * freed from the deferred queue alone, so that callbacks of client and stream may end it.
 */
#include "courier/session.h"

#include "core/event.h"
#include "core/metric.h"
#include "courier/callout.h"
#include "courier/retry.h"
#include "courier/site_way.h"

#define NO_TLS_FOR  (3600 * NS_PER_S)
#define HOST_DEAD   (300 * NS_PER_S)
#define SOFT_FOR    (30 * NS_PER_S)
#define TLS_TIMEOUT (60 * NS_PER_S)

static struct site_host *
session_host(const struct session *s)
{
    return &s->site->hosts[s->host];
}

/* Moves the deadline; the timer is only touched when it would come too late. */
static void
deadline_set(struct session *s, uint64_t in)
{
    uint64_t now;

    if (in == 0) {
        s->deadline = 0;
        return;
    }
    now = clock_mono();
    s->deadline = now + in;
    if (s->timer.due == 0 || s->timer.due > s->deadline)
        loop_timer_set(&s->timer, in);
}

static void
deadline_from_client(struct session *s)
{
    if (s->client && s->state != SESSION_IDLE && s->state != SESSION_ENDING)
        deadline_set(s, smtp_client_timeout(s->client));
}

static void
session_timer(void *ctx)
{
    struct session *s = ctx;
    uint64_t now = clock_mono();

    if (s->deadline == 0 || s->state == SESSION_ENDING)
        return;
    if (now < s->deadline) {
        loop_timer_set(&s->timer, s->deadline - now);
        return;
    }
    s->deadline = 0;
    if (s->state == SESSION_IDLE)
        session_say_quit(s);
    else if (s->client)
        smtp_client_lost(s->client, "no answer in time", true);
    else
        session_end(s, false);
}

/* --- lists --- */

static void
session_unidle(struct session *s)
{
    struct sessions *all = s->c->sessions;

    if (s->state != SESSION_IDLE)
        return;
    if (s->idle_prev)
        s->idle_prev->idle_next = s->idle_next;
    else
        s->site->idle = s->idle_next;
    if (s->idle_next)
        s->idle_next->idle_prev = s->idle_prev;
    if (s->age_prev)
        s->age_prev->age_next = s->age_next;
    else
        all->idle_oldest = s->age_next;
    if (s->age_next)
        s->age_next->age_prev = s->age_prev;
    else
        all->idle_newest = s->age_prev;
    s->idle_next = s->idle_prev = s->age_next = s->age_prev = NULL;
    s->state = SESSION_BUSY;
    s->site->busy++;
}

static void
session_idle(struct session *s)
{
    struct sessions *all = s->c->sessions;

    if (s->state == SESSION_BUSY)
        s->site->busy--;
    s->state = SESSION_IDLE;
    s->idle_prev = NULL;
    s->idle_next = s->site->idle;
    if (s->idle_next)
        s->idle_next->idle_prev = s;
    s->site->idle = s;
    s->age_next = NULL;
    s->age_prev = all->idle_newest;
    if (s->age_prev)
        s->age_prev->age_next = s;
    else
        all->idle_oldest = s;
    all->idle_newest = s;
    deadline_set(s, MAX(s->c->delivery->idle_session, NS_PER_MS));
}

static void
session_free(void *ctx)
{
    struct session *s = ctx;
    struct site *site = s->site;

    smtp_client_free(s->client);
    letter_done(&s->letter);
    letter_body_done(&s->body);
    buf_done(&s->texts);
    buf_done(&s->names);
    buf_done(&s->front);
    free(s->rows);
    free(s->rcpts);
    free(s->wire_rcpts);
    free(s);
    site_release(site);
}

static void
session_deferred_free(void *ctx)
{
    struct session *s = ctx;
    struct site *site = s->site;

    site->sessions--;
    if (!s->c->freeing && site_has_work(site))
        site_queue(site);
    session_free(s);
}

void
session_end(struct session *s, bool flush)
{
    struct courier *c = s->c;

    if (s->state == SESSION_ENDING)
        return;
    session_unidle(s);
    if (s->state == SESSION_CONNECTING)
        s->site->connecting--;
    else
        s->site->busy--;
    job_forget(s);
    s->state = SESSION_ENDING;
    if (s->prev)
        s->prev->next = s->next;
    else
        s->site->all = s->next;
    if (s->next)
        s->next->prev = s->prev;
    c->sessions->n--;
    c->sources.items[s->source].sessions--;
    metric_set(METRIC_OUT_SESSIONS, c->sessions->n);
    loop_timer_stop(&s->timer);
    if (s->stream)
        stream_close(s->stream, flush);
    s->stream = NULL;
    if (c->freeing) {
        s->site->sessions--;
        session_free(s);
        return;
    }
    s->end_call = (struct loop_call){.fn = session_deferred_free, .ctx = s};
    loop_defer(c->loop, &s->end_call);
}

/* --- failures before a message could be given --- */

/* Sessions of any source that work at that host; *ret_own: of this one, at the site. */
static unsigned
other_sessions_work(const struct session *s, unsigned *ret_own)
{
    unsigned n = 0, own = 0;

    for (const struct session *x = s->site->all; x; x = x->next) {
        n += x != s && x->was_ready && x->host == s->host;
        own += x != s && x->was_ready && x->source == s->source;
    }
    *ret_own = own;
    return n;
}

static bool
host_alive(const struct site *s, uint32_t source)
{
    for (unsigned i = 0; i < s->nhosts; i++) {
        if (site_way_alive(s, source, i))
            return true;
    }
    return false;
}

/* The host's address, or all of it, is left alone for a while by sources of this owner. False: no
 * memory to remember it. */
static bool
host_is_dead(struct site *site, uint32_t host, uint32_t source)
{
    const struct courier *c = site->c;
    struct site_host *h = &site->hosts[host];
    struct site_way *w = site_way_make(site, source);
    unsigned failures;

    h->next_addr++;
    if (!w)
        return false;
    failures = ++w->hosts[host].failures;
    if (h->kind == INSIDE_LMTP_UNIX || failures % MAX(h->naddrs, 1) == 0)
        w->hosts[host].dead_until =
            clock_mono() + MIN(retry_gap(c->delivery, failures, 0) / 2, HOST_DEAD);
    return true;
}

/* The connection never became ready: is it the address, the host, or the whole site? */
static void
never_ready(struct session *s, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct site *site = s->site;
    struct site_host *h = session_host(s);
    struct endpoint peer = s->peer;
    uint32_t source = s->source;
    unsigned own;
    bool known;
    char text[160];

    if (s->tls_tried && !s->is_tls && site->tls == ROUTE_TLS_MAY &&
        h->no_tls_until < clock_mono()) {
        h->no_tls_until = clock_mono() + NO_TLS_FOR;
        session_end(s, false); /* at once again, in the clear */
        site_queue(site);
        return;
    }
    smtp_reply_show(r, text, sizeof text);
    str_fmt(h->why, sizeof h->why, "%s", text);
    /* It takes no more than these from us; unless it wants none from this source. */
    if (other_sessions_work(s, &own) && (own > 0 || r->code / 100 != 5)) {
        session_soften(site, source, own, clock_mono() + SOFT_FOR);
        site_wake(site, SOFT_FOR);
        site_queue(site); /* for other sources */
        session_end(s, true);
        return;
    }
    known = host_is_dead(site, s->host, source);
    session_end(s, true);
    if (!known)
        site_wake(site, NS_PER_S);
    else if (host_alive(site, source))
        site_queue(site);
    else if (!site_way_blocked(site, source))
        plan_site_failed(site, source, h->name[0] ? h->name : h->path, &peer, stage, r);
}

static void
connect_failed(struct session *s, const char *why)
{
    struct smtp_reply r = {.text = str_c(why)};

    never_ready(s, SMTP_AT_CONNECT, &r);
}

/* --- the client's callbacks --- */

static void
on_send(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;

    if (s->stream)
        stream_send(s->stream, p, n); /* a failure comes back through closed() */
}

static size_t
on_backlog(void *ctx)
{
    struct session *s = ctx;
    return s->stream ? stream_queued(s->stream) : 0;
}

static void
on_starttls(void *ctx)
{
    struct session *s = ctx;
    struct sessions *all = s->c->sessions;
    struct tls_context *t = s->site->tls == ROUTE_TLS_VERIFY ? all->tls_verify : all->tls_any;
    const struct site_host *h = session_host(s);

    s->tls_tried = true;
    deadline_set(s, TLS_TIMEOUT);
    if (!s->stream || !t || stream_start_tls(s->stream, t, false, str_c(h->name)) < 0)
        smtp_client_tls_done(s->client, false, "TLS could not be started here");
}

static void
on_ready(void *ctx)
{
    struct session *s = ctx;
    struct site *site = s->site;

    if (s->state == SESSION_CONNECTING) {
        struct site_host *h = session_host(s);
        s->state = SESSION_BUSY;
        s->was_ready = true;
        site->connecting--;
        site->busy++;
        h->why[0] = '\0';
        plan_site_works(site, s->source, s->host);
        site_queue(site); /* one works: others may follow */
        if (str_starts(str_c(site->name), STR("inside:")))
            callout_seen(s->c, str_from(str_c(site->name), 7), smtp_client_offers(s->client),
                         smtp_client_max_size(s->client));
    }
    session_offer(s);
    /* What came to a lane that was never empty told nobody: is there work for one more? */
    if (site->sessions < site->max_sessions && site_has_work(site))
        site_queue(site);
}

static void
on_failed(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    struct session *s = ctx;

    if (s->state == SESSION_ENDING)
        return;
    if (!s->was_ready)
        never_ready(s, stage, r);
    else
        session_end(s, true);
}

static void
on_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    if (r->code / 100 != 2)
        job_rcpt(ctx, i, SMTP_AT_RCPT, r);
}

static void
on_rcpt_done(void *ctx, unsigned i, const struct smtp_reply *r)
{
    job_rcpt(ctx, i, SMTP_AT_DOT, r);
}

static void
on_may_send(void *ctx)
{
    job_may_send(ctx);
}

static void
on_done(void *ctx, enum smtp_client_stage stage, const struct smtp_reply *r)
{
    job_done(ctx, stage, r);
}

static const struct smtp_client_ops client_ops = {
    .send = on_send,
    .backlog = on_backlog,
    .starttls = on_starttls,
    .ready = on_ready,
    .failed = on_failed,
    .rcpt = on_rcpt,
    .may_send = on_may_send,
    .rcpt_done = on_rcpt_done,
    .done = on_done,
};

static bool
client_start(struct session *s)
{
    const struct courier *c = s->c;
    const struct site *site = s->site;
    const struct site_host *h = session_host(s);
    const struct source *src = &c->sources.items[s->source];
    struct smtp_client_conf conf = {
        .ehlo = src->ehlo && src->ehlo[0] ? str_c(src->ehlo) : c->main->hostname,
        .lmtp = s->lmtp,
        .no_pipelining = !c->delivery->smtp_pipelining || h->no_pipelining,
        .no_chunking = !c->delivery->smtp_chunking,
        .tls = SMTP_TLS_MAY,
        .tls_wrapped = site->tls_wrapped,
        .auth_user = str_c(site->user),
        .auth_password = str_c(site->password),
        .auth_clear = s->peer.port && addr_is_loopback(&s->peer.addr),
        .auth_show = site->tls == ROUTE_TLS_VERIFY || site->auth_unverified,
    };

    if (site->tls == ROUTE_TLS_NEVER || h->no_tls_until > clock_mono() ||
        h->kind == INSIDE_LMTP_UNIX)
        conf.tls = SMTP_TLS_NEVER;
    if (site->tls == ROUTE_TLS_REQUIRE || site->tls == ROUTE_TLS_VERIFY)
        conf.tls = SMTP_TLS_MUST;
    s->client = smtp_client_create(&conf, &client_ops, s);
    return s->client != NULL;
}

/* --- the stream's callbacks --- */

static size_t
on_data(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;

    uint64_t steps;

    if (!s->client || s->state == SESSION_ENDING)
        return n;
    steps = smtp_client_steps(s->client);
    smtp_client_feed(s->client, p, n);
    /* A reply has its time as a whole (RFC 5321 4.5.3.2): byte by byte it would hold us for ever.
     */
    if (s->deadline == 0 || smtp_client_steps(s->client) != steps)
        deadline_from_client(s);
    return n;
}

static void
on_drained(void *ctx)
{
    struct session *s = ctx;

    if (s->client && s->state != SESSION_ENDING) {
        smtp_client_drained(s->client);
        deadline_from_client(s);
    }
}

static void
begin(struct session *s)
{
    if (!client_start(s)) {
        connect_failed(s, "no memory for another session");
        return;
    }
    deadline_from_client(s);
}

static void
on_connected(void *ctx)
{
    struct session *s = ctx;
    struct tls_context *t =
        s->site->tls == ROUTE_TLS_VERIFY ? s->c->sessions->tls_verify : s->c->sessions->tls_any;
    const struct site_host *h = session_host(s);

    if (!s->site->tls_wrapped || h->kind == INSIDE_LMTP_UNIX) {
        begin(s);
        return;
    }
    deadline_set(s, TLS_TIMEOUT);
    if (!t || stream_start_tls(s->stream, t, false, str_c(h->name)) < 0)
        connect_failed(s, "TLS could not be started here");
}

static void
on_secured(void *ctx, int status, const char *why)
{
    struct session *s = ctx;

    if (status == 0) {
        s->is_tls = true;
        metric_add(METRIC_TLS_OUT, 1);
        stream_tls_info(s->stream, &s->tls);
    }
    if (s->client)
        smtp_client_tls_done(s->client, status == 0, why);
    else if (status == 0)
        begin(s);
    else
        connect_failed(s, why ? why : "the TLS handshake failed");
}

static void
on_closed(void *ctx, int status, const char *why)
{
    struct session *s = ctx;
    const char *text = why && why[0] ? why : status == 0 ? "connection closed" : err_text(status);

    if (s->client && s->state != SESSION_ENDING)
        smtp_client_lost(s->client, text, status == ERR_TIMEOUT);
    if (s->state == SESSION_ENDING)
        return;
    if (!s->client)
        connect_failed(s, text);
    else
        session_end(s, false);
}

static const struct stream_ops stream_ops = {
    .data = on_data,
    .drained = on_drained,
    .connected = on_connected,
    .secured = on_secured,
    .closed = on_closed,
};

/* --- from the plan --- */

struct session *
sessions_open(struct site *site, uint32_t source, uint32_t host, const struct addr *a)
{
    struct courier *c = site->c;
    struct source *src = &c->sources.items[source];
    struct site_host *h = &site->hosts[host];
    struct session *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->c = c;
    s->site = site;
    s->source = source;
    s->host = host;
    s->lmtp = h->kind == INSIDE_LMTP || h->kind == INSIDE_LMTP_UNIX;
    s->message = INDEX_NONE;
    s->number = ++c->sessions->numbers;
    s->since = clock_mono();
    s->peer = (struct endpoint){*a, h->port};
    letter_init(&s->letter);
    letter_body_init(&s->body, c);
    buf_init(&s->texts, 4u << 20);
    buf_init(&s->names, 4u << 20);
    buf_init(&s->front, 64u << 10);
    loop_timer_init(&s->timer, c->loop, session_timer, s);
    s->next = site->all;
    if (s->next)
        s->next->prev = s;
    site->all = s;
    site->sessions++;
    site->connecting++;
    src->sessions++;
    c->sessions->n++;
    metric_add(METRIC_OUT_CONNECTIONS, 1);
    metric_set(METRIC_OUT_SESSIONS, c->sessions->n);
    if (h->kind == INSIDE_LMTP_UNIX)
        s->stream = stream_connect_unix(c->loop, h->path, &stream_ops, s, NULL);
    else
        s->stream = stream_connect(c->loop, &s->peer, src->any ? NULL : &src->address,
                                   c->delivery->connect_timeout, &stream_ops, s, NULL);
    if (!s->stream) {
        connect_failed(s, "no connection could be begun: descriptors or memory ran out, or the "
                          "source address is not of this machine");
        return NULL;
    }
    return s;
}

bool
session_offer(struct session *s)
{
    const struct site *site = s->site;
    unsigned told = smtp_client_max_mails(s->client);

    if (s->state == SESSION_ENDING || s->in_offer)
        return false;
    session_unidle(s);
    if (site->retired || s->c->stopping || (told && s->messages >= told) ||
        (site->messages_per_session && s->messages >= site->messages_per_session)) {
        session_say_quit(s);
        return false;
    }
    s->in_offer = true;
    if (job_take(s)) {
        s->in_offer = false;
        deadline_from_client(s);
        return true;
    }
    s->in_offer = false;
    if (s->state == SESSION_BUSY)
        session_idle(s);
    return false;
}

void
session_signed(struct session *s, enum sign_answer answer)
{
    if (s->state == SESSION_ENDING)
        return;
    if (job_signed(s, answer))
        deadline_from_client(s);
    else if (s->state == SESSION_BUSY)
        session_offer(s);
}

void
session_say_quit(struct session *s)
{
    session_unidle(s);
    if (s->state == SESSION_ENDING)
        return;
    if (!s->client || s->state == SESSION_CONNECTING) {
        session_end(s, false);
        return;
    }
    smtp_client_quit(s->client);
    if (s->state != SESSION_ENDING)
        deadline_set(s, 5 * NS_PER_S);
}
