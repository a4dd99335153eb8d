/*
 * gate/gate.c - the gate as its role sees it: made, listening, told things, stopped.
 *
 * Called by roles/role_gate.c only. Sessions live in session.c; this file holds what they share.
 * Never opens a file or a socket by name: descriptors and texts are handed in.
 */
#include <stdlib.h>

#include "core/clock.h"
#include "core/event.h"
#include "gate/gate.h"
#include "gate/inner.h"
#include "gate/session.h"
#include "mail/date.h"

#define LOAD_LIFE     (20 * NS_PER_MS) /* how long our own numbers are good enough */
#define AUTH_ASKS_MAX 65536u

int
gate_create(struct gate **ret, const struct gate_links *links, const struct conf *conf,
            struct why *why)
{
    struct gate *g = calloc(1, sizeof(*g));
    const struct spool_share *share = spool_writer_share(links->writer);
    int rc = ERR_NOMEM;

    if (!g)
        return why_set(why, ERR_NOMEM, "no memory for the gate");
    g->links = *links;
    g->node = share->page->node;
    g->epoch = share->page->epoch;
    limits_init(&g->limits, LIMITS_MAX);
    limits_init(&g->accounts, LIMITS_MAX);
    loop_timer_init(&g->voids_timer, links->loop, chunk_void_retry, g);
    g->lookup = lookup_create(links);
    g->keyring_asks = chan_asks_create(links->loop, AUTH_ASKS_MAX);
    if (g->lookup && g->keyring_asks)
        rc = gate_set_conf(g, conf, why);
    else
        why_set(why, rc, "no memory for the gate");
    if (rc < 0) {
        gate_free(g);
        return rc;
    }
    *ret = g;
    return 0;
}

static void
gate_stop_listening(struct gate *g)
{
    for (struct gate_listener *l = g->listeners; l; l = l->next) {
        if (l->listener)
            listener_free(l->listener);
        l->listener = NULL;
    }
}

void
gate_free(struct gate *g)
{
    if (!g)
        return;
    g->stopped = NULL;
    g->links.writer = NULL; /* gone by now: see gate.h */
    gate_stop_listening(g);
    while (g->sessions)
        session_free(g->sessions);
    loop_timer_stop(&g->voids_timer);
    if (g->grace.loop)
        loop_timer_stop(&g->grace);
    loop_call_cancel(g->links.loop, &g->stopped_call);
    while (g->listeners) {
        struct gate_listener *next = g->listeners->next;

        free(g->listeners);
        g->listeners = next;
    }
    chunk_void_free(g);
    tx_free_all(g);
    block_pool_done(&g->blocks);
    returned_keys_done(&g->returns);
    lookup_free(g->lookup);
    chan_asks_free(g->keyring_asks);
    limits_done(&g->limits);
    limits_done(&g->accounts);
    setup_unref(g->setup);
    free(g);
}

/* A listener that the settings do not name, in the middle of a reload: it is the former ones', or
 * the next ones', and whoever comes waits until that is decided. */
static void
listeners_hold(const struct gate *g)
{
    for (const struct gate_listener *l = g->listeners; l; l = l->next) {
        if (l->listener)
            listener_hold(l->listener, !setup_listen(g->setup, str_c(l->name)));
    }
}

int
gate_set_conf(struct gate *g, const struct conf *conf, struct why *why)
{
    struct setup *su;
    int rc = setup_create(&su, &g->links, conf, why);

    if (rc < 0)
        return rc;
    setup_unref(g->setup);
    g->setup = su;
    g->blocks.ceiling = su->smtp->max_memory;
    /* Sessions that all come from networks of their own must find room beside what is remembered.
     */
    limits_ceiling(&g->limits, LIMITS_MAX + (size_t)su->smtp->max_sessions * LIMITS_PER_SESSION);
    lookup_conf(g->lookup, su->smtp);
    listeners_hold(g);
    return 0;
}

unsigned
gate_uses(const struct gate *g, const struct conf *conf)
{
    unsigned n = g->setup && g->setup->conf == conf;

    for (const struct session *s = g->sessions; s; s = s->next)
        n += s->setup->conf == conf;
    /* A session whose message is still being written may have begun under any settings. */
    return n + g->nghosts;
}

void
gate_set_snapshot(struct gate *g, const struct snapshot *snapshot)
{
    g->snapshot = snapshot;
    returned_keys_set(&g->returns, snapshot);
}

/* ---- listeners ---- */

static void
gate_accept(void *ctx, int fd, const struct endpoint *peer)
{
    struct gate_listener *l = ctx;

    session_open(l->gate, l, fd, peer);
}

/* One that no longer listens is used again: its sessions may go on. */
static struct gate_listener *
listener_entry(struct gate *g, struct str name)
{
    struct gate_listener *l = g->listeners;

    while (l && (l->listener || !str_eq(str_c(l->name), name)))
        l = l->next;
    if (l || !(l = calloc(1, sizeof(*l))))
        return l;
    str_copy(name, l->name, sizeof(l->name));
    l->gate = g;
    l->next = g->listeners;
    g->listeners = l;
    return l;
}

int
gate_listen(struct gate *g, struct str name, int fd)
{
    struct gate_listener *l;

    if (name.n >= sizeof(l->name))
        return ERR_LIMIT;
    l = listener_entry(g, name);
    if (l)
        l->listener = listener_create(g->links.loop, fd, gate_accept, l);
    if (!l || !l->listener)
        return ERR_NOMEM;
    listeners_hold(g);
    return 0;
}

void
gate_unlisten(struct gate *g, struct str name)
{
    for (struct gate_listener *l = g->listeners; l; l = l->next) {
        if (!str_eq(str_c(l->name), name) || !l->listener)
            continue;
        listener_free(l->listener); /* its sessions go on, and count in `l` until they end */
        l->listener = NULL;
    }
}

/* ---- what other roles say ---- */

/* u64 waiting, u64 lag_bytes */
static void
gate_load(struct gate *g, struct wire *body)
{
    uint64_t waiting = wire_u64(body);

    (void)wire_u64(body);
    if (wire_end(body))
        g->load.waiting = waiting;
}

bool
gate_message(struct gate *g, uint16_t type, uint64_t id, struct wire *body)
{
    switch (type) {
    case ASK_AUTH_ANSWER:
        (void)chan_ask_answer(g->keyring_asks, id, body, -1);
        return true;
    case TELL_LOAD:
        gate_load(g, body);
        return true;
    default:
        return lookup_message(g->lookup, type, id, body);
    }
}

void
gate_lost(struct gate *g, struct chan *chan)
{
    if (chan == g->links.keyring)
        chan_asks_fail(g->keyring_asks, ERR_CLOSED);
    if (chan == g->links.keeper)
        lookup_lost(g->lookup, LOOKUP_DIRECTORY);
    if (chan == g->links.courier)
        lookup_lost(g->lookup, LOOKUP_CALLOUT);
}

void
gate_space(struct gate *g, uint64_t intake_bytes, uint64_t total, bool open)
{
    g->load.spool_bytes_left = open ? intake_bytes : 0;
    g->load.spool_bytes_total = total;
}

/* ---- admission ---- */

static void
gate_measure(struct gate *g, uint64_t now)
{
    struct spool_writer_stats stats;

    spool_writer_stats(g->links.writer, &stats);
    g->load.writer_ready = spool_writer_state(g->links.writer) == SPOOL_WRITER_READY;
    g->load.oldest_unsynced_ns = stats.oldest_wait_ns;
    g->load_at = now;
}

/* Of a ceiling, of which 0 alone is none. */
static uint64_t
tenths(uint64_t n, unsigned k)
{
    return n ? MAX(n / 10 * k + n % 10 * k / 10, (uint64_t)1) : 0;
}

struct admission_result
gate_admission(struct gate *g, enum admission_class class, uint64_t bytes)
{
    const struct settings_smtp *c = g->setup->smtp;
    struct admission_limits limits = {.unsynced_slow_ns = c->unsynced_slow,
                                      .unsynced_stop_ns = c->unsynced_stop};
    uint64_t now = clock_mono();

    if (now - g->load_at >= LOAD_LIFE || !g->load_at)
        gate_measure(g, now);
    limits.waiting[ADMISSION_BULK_API] = tenths(c->max_waiting, 7);
    limits.waiting[ADMISSION_BULK_SUBMISSION] = tenths(c->max_waiting, 8);
    limits.waiting[ADMISSION_STRANGER] = c->max_waiting;
    limits.waiting[ADMISSION_TRANSACTIONAL] = tenths(c->max_waiting, 12);
    limits.waiting[ADMISSION_INSIDE] = tenths(c->max_waiting, 15);
    g->load.message_bytes = bytes;
    g->load.memory_used = g->blocks.used;
    g->load.memory_limit = g->blocks.ceiling;
    return admission(class, &g->load, &limits);
}

struct str
gate_date(struct gate *g, uint64_t wall_s)
{
    if (g->date_s != wall_s || !g->date[0]) {
        date_show(wall_s, g->date);
        g->date_s = wall_s;
    }
    return str_c(g->date);
}

/* ---- the end ---- */

static void
gate_tell_stopped(void *ctx)
{
    struct gate *g = ctx;
    void (*stopped)(void *) = g->stopped;

    g->stopped = NULL;
    if (stopped)
        stopped(g->stopped_ctx);
}

void
gate_session_gone(struct gate *g)
{
    if (g->stopping && g->stopped && !g->sessions && !g->ntx && !g->voids_under_way)
        loop_defer(g->links.loop, &g->stopped_call);
}

static void
gate_grace_over(void *ctx)
{
    struct gate *g = ctx;
    struct session *s, *next;

    for (s = g->sessions; s; s = next) {
        next = s->next;
        if (!s->tx || !s->tx->committing) /* that one is answered when the log has told */
            session_close(s, "4.3.2", "The server is going down, come again later");
    }
}

void
gate_stop(struct gate *g, uint64_t grace_ns, void (*stopped)(void *ctx), void *ctx)
{
    struct session *s, *next;

    g->stopping = true;
    g->stopped = stopped;
    g->stopped_ctx = ctx;
    g->stopped_call = (struct loop_call){.fn = gate_tell_stopped, .ctx = g};
    gate_stop_listening(g);
    for (s = g->sessions; s; s = next) {
        next = s->next;
        if (session_between(s))
            session_close(s, "4.3.2", "The server is going down, come again later");
    }
    loop_timer_init(&g->grace, g->links.loop, gate_grace_over, g);
    loop_timer_set(&g->grace, MAX(grace_ns, NS_PER_MS));
    gate_session_gone(g);
}

unsigned
gate_sessions(const struct gate *g)
{
    return g->nsessions;
}

int
gate_trace(struct gate *g, const struct prefix *from, void (*fn)(void *ctx, struct str json_line),
           void *ctx)
{
    if (g->ntracers == GATE_TRACERS)
        return ERR_LIMIT;
    g->tracers[g->ntracers++] =
        (struct gate_tracer){from ? *from : (struct prefix){.bits = 0}, fn, ctx};
    return 0;
}

void
gate_trace_end(struct gate *g, void *ctx)
{
    for (unsigned i = 0; i < g->ntracers; i++) {
        if (g->tracers[i].ctx != ctx)
            continue;
        g->tracers[i] = g->tracers[--g->ntracers];
        return;
    }
}
