/*
 * roles/role_gate.c - strangers' SMTP: wires the gate to writer, resolver, keyring, keeper,
 * courier.
 *
 * May not hold password hashes or DKIM keys, nor open files or sockets by name: certificates come
 * in the bundle, listeners and segments as descriptors.
 */
#include <jansson.h>
#include <unistd.h>

#include "checks/table.h"
#include "core/event.h"
#include "gate/gate.h"
#include "gate/settings.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"
#include "roles/stream_link.h"
#include "store/asks.h"
#include "store/settings.h"

struct gate_role {
    struct stream_link link;
    struct gate *gate;
    struct dns_client *dns;
    struct snapshot snapshots[2];
    unsigned snapshot_at;
    int snapshot_fd; /* told before the gate was there */
};

static void
tell_share(struct role *r)
{
    struct gate_role *g = r->self;
    struct chan *courier = role_chan(r, ROLE_COURIER);
    if (!g->gate || !role_has(r, ROLE_COURIER)) /* it is told when it is there */
        return;
    struct spool_share *share = spool_writer_share(g->link.writer);
    for (uint8_t which = 0; which < 2; which++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 64);
        put_u16(&b, g->link.stream);
        put_u32(&b, g->link.epoch);
        put_u8(&b, which);
        chan_send(courier, TELL_SHARE, 0, &b, which ? share->wake_fd : share->fd);
    }
}

static void
set_snapshot(struct role *r, int fd)
{
    struct gate_role *g = r->self;
    if (!g->gate) {
        fd_close(&g->snapshot_fd);
        g->snapshot_fd = fd;
        return;
    }
    /* Two places: the gate borrows one until it is given the next. */
    struct snapshot *s = &g->snapshots[++g->snapshot_at % 2];
    snapshot_unmap(s);
    int rc = snapshot_map(s, fd);
    if (rc) {
        event_warning("a snapshot of recipients and users is damaged (%s): the former one stays",
                      err_text(rc));
        g->snapshot_at++;
        return;
    }
    gate_set_snapshot(g->gate, s);
}

static void
listen_or_close(struct gate_role *g, struct str name, int fd)
{
    int rc = gate_listen(g->gate, name, fd);
    if (!rc)
        return;
    event_alarm("the gate cannot listen as \"%.*s\": %s", STR_ARG(name), err_text(rc));
    fd_close(&fd);
}

static void
gate_opened(struct role *r)
{
    struct gate_role *g = r->self;
    struct why why = {{0}};
    struct gate_links links = {
        .loop = r->loop,
        .writer = g->link.writer,
        .dns = g->dns,
        .keyring = role_chan(r, ROLE_KEYRING),
        .keeper = role_chan(r, ROLE_KEEPER),
        .courier = role_chan(r, ROLE_COURIER),
        .file = role_file,
        .file_ctx = r,
        .index = r->index,
        .checks = checks_table,
        .nchecks = checks_count,
    };
    int rc = gate_create(&g->gate, &links, r->conf, &why);
    if (!rc)
        rc = sandbox_enter(r->row->sandbox, NULL, 0, &why);
    if (!rc)
        rc = spool_writer_start(g->link.writer);
    if (rc) {
        event_alarm("the gate cannot start: %s", why.text[0] ? why.text : err_text(rc));
        role_exit(r, 1);
    }
    tell_share(r);
    if (g->snapshot_fd >= 0) {
        int fd = g->snapshot_fd;
        g->snapshot_fd = -1;
        set_snapshot(r, fd);
    }
    for (struct role_listen *l; (l = r->listens) != NULL;) {
        r->listens = l->next;
        listen_or_close(g, l->name, l->fd);
        free(l);
    }
    role_ready(r);
}

static int
gate_start(struct role *r, struct why *why)
{
    const struct settings_dns *dns = conf_get(r->conf, "dns");
    struct gate_role *g = calloc(1, sizeof *g);
    ENSURE(g);
    (void)why;
    r->self = g;
    g->snapshot_fd = -1;
    g->dns = dns_client_create(r->loop, role_chan(r, ROLE_RESOLVER), (unsigned)dns->cache);
    return stream_link_open(&g->link, r, SPOOL_STREAM_GATE * 256 + (uint16_t)r->index, gate_opened);
}

static void
gate_role_message(struct role *r, enum role_id from, uint16_t type, uint64_t id, struct wire *body,
                  int fd)
{
    struct gate_role *g = r->self;
    if (!g) {
        fd_close(&fd);
        return;
    }
    if (from == ROLE_SPOOLER && stream_link_message(&g->link, type, body, fd))
        return;
    if (type == TELL_SNAPSHOT) {
        uint64_t generation = wire_u64(body);
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 64);
        put_u64(&b, generation);
        set_snapshot(r, fd);
        chan_send(role_chan(r, ROLE_KEEPER), TELL_SNAPSHOT_TAKEN, 0, &b, -1);
        return;
    }
    fd_close(&fd);
    if (from == ROLE_RESOLVER && g->dns && dns_client_message(g->dns, type, id, body))
        return;
    if (type == TELL_SPACE) {
        uint64_t intake = wire_u64(body), total = wire_u64(body);
        bool open = wire_u8(body);
        if (g->gate)
            gate_space(g->gate, intake, total, open);
        return;
    }
    if (!g->gate) { /* what the courier tells comes again; answers are to a gate that is no more */
        wire_skip(body, wire_left(body));
        return;
    }
    if (!gate_message(g->gate, type, id, body))
        event_warning("unknown message %#x from %s", type, role_table[from].name);
}

static void
gate_role_peer(struct role *r, enum role_id id)
{
    struct gate_role *g = r->self;
    if (id == ROLE_SPOOLER)
        stream_link_renewed(&g->link);
    if (id == ROLE_COURIER)
        tell_share(r);
}

static void
gate_role_lost(struct role *r, enum role_id id)
{
    struct gate_role *g = r->self;
    if (id == ROLE_RESOLVER && g->dns)
        dns_client_lost(g->dns);
    else if (g->gate)
        gate_lost(g->gate, role_chan(r, id));
}

static int
gate_settings(struct role *r, struct conf *now, struct why *why)
{
    struct gate_role *g = r->self;
    return g->gate ? gate_set_conf(g->gate, now, why) : 0;
}

static bool
gate_role_uses(struct role *r, const struct conf *conf)
{
    struct gate_role *g = r->self;
    return g->gate && gate_uses(g->gate, conf);
}

/* Before the gate is there (its epoch is still to come) listeners wait in r->listens. */
static void
gate_role_listen(struct role *r, struct str name, int fd)
{
    struct gate_role *g = r->self;
    if (g->gate)
        listen_or_close(g, name, fd);
    else
        role_listen_later(r, name, fd);
}

static void
gate_role_unlisten(struct role *r, struct str name)
{
    struct gate_role *g = r->self;
    if (g->gate) {
        gate_unlisten(g->gate, name);
        return;
    }
    for (struct role_listen **at = &r->listens; *at;) {
        struct role_listen *l = *at;
        if (!str_eq(l->name, name)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        fd_close(&l->fd);
        free(l);
    }
}

static void
on_stopped(void *ctx)
{
    struct role *r = ctx;
    struct gate_role *g = r->self;
    gate_free(g->gate);
    spool_writer_free(g->link.writer);
    role_exit(r, 0);
}

static void
gate_role_stop(struct role *r)
{
    struct gate_role *g = r->self;
    const struct settings_smtp *smtp = conf_get(r->conf, "smtp");
    if (!g->gate)
        role_exit(r, 0);
    gate_stop(g->gate, smtp->shutdown_grace, on_stopped, r);
}

struct trace { /* one who watches, until he goes */
    struct gate *gate;
    struct ctl_call *call;
};

static void
trace_line(void *ctx, struct str line)
{
    ctl_call_line(((struct trace *)ctx)->call, line);
}

static void
trace_gone(void *ctx)
{
    struct trace *t = ctx;
    gate_trace_end(t->gate, t);
    free(t);
}

static void
trace_begin(struct gate_role *g, struct ctl_call *call, const struct prefix *from)
{
    struct trace *t = malloc(sizeof *t);
    ENSURE(t);
    *t = (struct trace){g->gate, call};
    if (gate_trace(g->gate, from, trace_line, t)) {
        free(t);
        ctl_call_end(call, 1, "8 of `gapura trace` run already: end one of them first");
        return;
    }
    ctl_call_on_gone(call, trace_gone, t);
}

/* {"ip":"192.0.2.0/24"}: false without it; a bad one matches nobody. */
static bool
trace_from(struct str args, struct prefix *ret)
{
    json_t *root = json_loadb(args.p ? args.p : "", args.n, 0, NULL);
    const char *ip = json_string_value(json_object_get(root, "ip"));
    bool given = ip != NULL;
    if (given && prefix_parse(str_c(ip), ret))
        memset(ret, 0xff, sizeof *ret);
    json_decref(root);
    return given;
}

static void
gate_role_verb(struct role *r, struct ctl_call *call, struct str verb, struct str args)
{
    struct gate_role *g = r->self;
    struct prefix from;
    if (!g->gate) {
        ctl_call_end(call, 1, "the gate is starting");
        return;
    }
    if (!str_eq(verb, STR("trace"))) {
        ctl_call_end(call, 1, "the gate does not know this verb");
        return;
    }
    bool some = trace_from(args, &from);
    trace_begin(g, call, some ? &from : NULL);
}

const struct role_ops role_gate_ops = {
    .start = gate_start,
    .settings = gate_settings,
    .uses = gate_role_uses,
    .peer = gate_role_peer,
    .peer_lost = gate_role_lost,
    .message = gate_role_message,
    .listen = gate_role_listen,
    .unlisten = gate_role_unlisten,
    .verb = gate_role_verb,
    .stop = gate_role_stop,
};
