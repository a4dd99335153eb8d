/*
 * roles/role_courier.c - delivery: wires the courier to log, writer, resolver, spooler and gate.
 *
 * May not listen (but for its control socket), nor read TLS keys. Reads the log as hostile input.
 */
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "courier/courier.h"
#include "courier/settings.h"
#include "gate/settings.h"
#include "net/stream.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"
#include "roles/stream_link.h"
#include "store/asks.h"
#include "store/settings.h"

#define STOP_GRACE (20 * NS_PER_S)

static void courier_role_stop(struct role *);

struct courier_role {
    struct role *role;
    struct stream_link link;
    struct courier *courier;
    struct dns_client *dns;
    char *spool_dir;
    /* A gate's share comes as two messages; the first waits for the second. */
    uint16_t share_stream;
    uint32_t share_epoch;
    int share_fd, wake_fd;
    int keys_fd; /* of the index of signing keys, until the courier is there */
    uint64_t keys_generation;
    bool opened, fenced, gate_known, recovered, open;
    uint32_t live[64]; /* epochs that are followed, not recovered: ours, and gates' so far */
    unsigned nlive;
    struct sandbox_paths paths;
};

static void
delivery_open(void *ctx, int status, const struct why *why)
{
    struct courier_role *c = ctx;
    if (status) {
        event_alarm("the log cannot be read: %s. Nothing was changed in it; delivery waits and is "
                    "tried again.",
                    why && why->text[0] ? why->text : err_text(status));
        role_exit(c->role, 1);
    }
    c->open = true;
    role_ready(c->role);
}

/* Recovery must know which epochs are still being written: it waits until each gate has told its
 * share, or is gone. */
static void
recover_if_ready(struct courier_role *c)
{
    struct role *r = c->role;
    struct why why = {{0}};
    if (c->recovered || !c->opened || !c->fenced || (role_has(r, ROLE_GATE) && !c->gate_known))
        return;
    c->recovered = true;
    int rc = courier_recover(c->courier, c->live, c->nlive, delivery_open, c, &why);
    if (rc)
        delivery_open(c, rc, &why);
}

/* Follows the stream whose two descriptors are there, once the courier is open. */
static void
attach_if_ready(struct courier_role *c)
{
    if (!c->opened || c->share_fd < 0 || c->wake_fd < 0)
        return;
    int share = c->share_fd, wake = c->wake_fd;
    c->share_fd = c->wake_fd = -1;
    int rc = courier_attach(c->courier, c->share_stream, c->share_epoch, share, wake);
    if (rc)
        event_alarm("cannot follow the log of stream %u: %s", c->share_stream, err_text(rc));
    if (!c->recovered && c->nlive < ARRAY_LEN(c->live))
        c->live[c->nlive++] = c->share_epoch;
    c->gate_known = true;
    recover_if_ready(c);
}

static void
take_share(struct courier_role *c, struct wire *body, int fd)
{
    uint16_t stream = wire_u16(body);
    uint32_t epoch = wire_u32(body);
    uint8_t which = wire_u8(body);
    /* What our own stream says decides what becomes of all mail: nobody else speaks as it. */
    body->failed = body->failed || stream >> 8 != SPOOL_STREAM_GATE;
    if (!wire_end(body)) {
        fd_close(&fd);
        return;
    }
    if (which == 0) {
        fd_close(&c->wake_fd);
        fd_close(&c->share_fd);
        c->share_stream = stream;
        c->share_epoch = epoch;
        c->share_fd = fd;
        if (c->courier) /* it is open only now: what it was told before, it passed over */
            courier_set_gate(c->courier, role_chan(c->role, ROLE_GATE));
    } else if (stream == c->share_stream && epoch == c->share_epoch) {
        fd_close(&c->wake_fd);
        c->wake_fd = fd;
    } else {
        fd_close(&fd);
    }
    attach_if_ready(c);
}

static void
take_keys(struct courier_role *c)
{
    if (!c->courier || c->keys_fd < 0)
        return;
    int rc = courier_set_keys(c->courier, c->keys_fd);
    c->keys_fd = -1;
    if (rc) {
        event_warning("an index of signing keys is damaged: the former one stays");
        return;
    }
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    put_u64(&b, c->keys_generation);
    chan_send(role_chan(c->role, ROLE_KEEPER), TELL_SNAPSHOT_TAKEN, 0, &b, -1);
}

/* The log to read, and maildirs of domains and routes to write. */
static void
gather_paths(struct courier_role *c, const struct conf *conf, struct sandbox_paths *to)
{
    sandbox_paths_add(to, str_c(c->spool_dir), SANDBOX_READ);
    sandbox_paths_add(to, STR("/etc/ssl"), SANDBOX_READ);
    static const char *const blocks[] = {"domain", "route"};
    for (size_t k = 0; k < ARRAY_LEN(blocks); k++)
        for (const struct conf_section *s = conf_first(conf, blocks[k]); s; s = conf_next(s)) {
            const struct conf_list *list = k ? &((const struct settings_route *)s->data)->via
                                             : &((const struct settings_domain *)s->data)->inside;
            for (size_t i = 0; i < list->n; i++) {
                struct inside_host h;
                if (!inside_parse(((struct str *)list->items)[i], &h) && h.kind == INSIDE_MAILDIR)
                    sandbox_paths_add(to, h.path, SANDBOX_READ | SANDBOX_WRITE);
            }
        }
}

static bool
courier_role_outgrown(struct role *r)
{
    struct courier_role *c = r->self;
    struct sandbox_paths now = {0};
    gather_paths(c, r->conf, &now);
    bool more = c->opened && !sandbox_paths_cover(&c->paths, &now);
    sandbox_paths_done(&now);
    return more;
}

/* Behind a NAT the world has another address for us: then our names tell. */
static bool
listens_at(void *ctx, const struct endpoint *e)
{
    const struct role *r = ctx;
    static const struct addr any;

    for (const struct conf_section *s = conf_first(r->conf, "listen"); s; s = conf_next(s)) {
        const struct settings_listen *l = s->data;
        const struct endpoint *at = l->address.items;
        for (size_t i = 0; i < l->address.n; i++) {
            bool all = addr_is_v4(&at[i].addr)
                           ? at[i].addr.b[12] == 0 && addr_is_v4(&e->addr)
                           : addr_eq(&at[i].addr, &any) && !addr_is_v4(&e->addr);
            if (at[i].port != e->port)
                continue;
            if (addr_eq(&at[i].addr, &e->addr) || (all && net_addr_is_here(&e->addr)))
                return true;
        }
    }
    return false;
}

/* What waits in the log for a start. */
static void
on_restart(void *ctx)
{
    courier_role_stop(ctx);
}

static void
courier_opened(struct role *r)
{
    struct courier_role *c = r->self;
    const struct settings_spool *sp = conf_get(r->conf, "spool");
    const struct settings_main *m = conf_get(r->conf, "");
    struct why why = {{0}};
    struct courier_links links = {
        .loop = r->loop,
        .spool_dir = c->spool_dir,
        .writer = c->link.writer,
        .dns = c->dns,
        .spooler = role_chan(r, ROLE_SPOOLER),
        .keyring = m->wings == WINGS_INBOUND ? NULL : role_chan(r, ROLE_KEYRING),
        .scan = m->wings == WINGS_OUTBOUND ? NULL : role_chan(r, ROLE_SCAN),
        .gate = role_has(r, ROLE_GATE) ? role_chan(r, ROLE_GATE) : NULL,
        .file = role_file,
        .file_ctx = r,
        .listens = listens_at,
        .listens_ctx = r,
        .restart = on_restart,
        .restart_ctx = r,
        .node = c->link.node,
        .slack = (unsigned)sp->slack,
    };
    int rc = courier_create(&c->courier, &links, r->conf, &why);
    gather_paths(c, r->conf, &c->paths);
    if (!rc)
        rc = sandbox_enter(r->row->sandbox, c->paths.items, c->paths.n, &why);
    if (!rc)
        rc = spool_writer_start(c->link.writer);
    if (rc) {
        event_alarm("the courier cannot start: %s", why.text[0] ? why.text : err_text(rc));
        role_exit(r, 1);
    }
    c->opened = true;
    take_keys(c);
    /* A gate that was started before we had our epoch may hold an older one: the supervisor told
     * us of it before, perhaps unread so far. Behind its answer nothing of that kind is unread; and
     * epochs younger than ours are never read as dead (courier/recover.c). */
    chan_send(r->supervisor, ASK_FENCE, 0, NULL, -1);
    c->live[c->nlive++] = c->link.epoch;
    attach_if_ready(c);
    recover_if_ready(c);
}

static int
courier_start(struct role *r, struct why *why)
{
    const struct settings_spool *sp = conf_get(r->conf, "spool");
    const struct settings_dns *dns = conf_get(r->conf, "dns");
    struct courier_role *c = calloc(1, sizeof *c);
    ENSURE(c);
    (void)why;
    r->self = c;
    c->role = r;
    c->share_fd = c->wake_fd = c->keys_fd = -1;
    c->spool_dir = str_dup(sp->dir);
    c->dns = dns_client_create(r->loop, role_chan(r, ROLE_RESOLVER), (unsigned)dns->cache);
    return stream_link_open(&c->link, r, SPOOL_STREAM_COURIER * 256, courier_opened);
}

static void
courier_role_message(struct role *r, enum role_id from, uint16_t type, uint64_t id,
                     struct wire *body, int fd)
{
    struct courier_role *c = r->self;
    if (!c) {
        fd_close(&fd);
        return;
    }
    if (from == ROLE_SPOOLER && stream_link_message(&c->link, type, body, fd))
        return;
    if (type == TELL_SHARE) {
        take_share(c, body, fd);
        return;
    }
    if (type == TELL_SNAPSHOT && from == ROLE_KEEPER) {
        c->keys_generation = wire_u64(body);
        fd_close(&c->keys_fd);
        c->keys_fd = fd;
        take_keys(c);
        return;
    }
    fd_close(&fd);
    if (type == ASK_FENCE_ANSWER) {
        c->fenced = true;
        recover_if_ready(c);
        return;
    }
    if (!c->courier) { /* space and freed segments: read anew soon */
        wire_skip(body, wire_left(body));
        return;
    }
    if (from == ROLE_RESOLVER && c->dns && dns_client_message(c->dns, type, id, body))
        return;
    if (!courier_message(c->courier, role_chan(r, from), type, id, body))
        event_warning("unknown message %#x from %s", type, role_table[from].name);
}

static void
courier_role_peer(struct role *r, enum role_id id)
{
    struct courier_role *c = r->self;
    if (id == ROLE_SPOOLER)
        stream_link_renewed(&c->link);
    if (id != ROLE_GATE)
        return;
    c->gate_known = c->gate_known && c->recovered; /* a new gate: its share comes */
    if (c->courier)
        courier_set_gate(c->courier, role_chan(r, ROLE_GATE));
}

static void
courier_role_lost(struct role *r, enum role_id id)
{
    struct courier_role *c = r->self;
    if (id == ROLE_RESOLVER && c->dns)
        dns_client_lost(c->dns);
    if (id == ROLE_KEYRING && c->courier)
        courier_keyring_lost(c->courier);
    if (id == ROLE_SCAN && c->courier)
        courier_scan_lost(c->courier);
    if (id == ROLE_GATE) {
        c->gate_known = c->gate_known && c->recovered;
        if (c->courier)
            courier_set_gate(c->courier, NULL);
        recover_if_ready(c);
    }
}

static int
courier_settings(struct role *r, struct conf *now, struct why *why)
{
    struct courier_role *c = r->self;
    return c->courier ? courier_set_conf(c->courier, now, why) : 0;
}

static void
on_stopped(void *ctx)
{
    struct role *r = ctx;
    struct courier_role *c = r->self;
    courier_free(c->courier);
    spool_writer_free(c->link.writer);
    role_exit(r, 0);
}

static void
courier_role_stop(struct role *r)
{
    struct courier_role *c = r->self;
    if (!c->courier)
        role_exit(r, 0);
    courier_stop(c->courier, STOP_GRACE, on_stopped, r);
}

static void
reply_line(void *ctx, struct str json)
{
    ctl_call_line(ctx, json);
}

static void
reply_end(void *ctx, int status, const char *text)
{
    ctl_call_end(ctx, status, text);
}

static bool
reply_full(void *ctx)
{
    return ctl_call_full(ctx);
}

static bool
reply_gone(void *ctx)
{
    return ctl_call_gone(ctx);
}

static void
courier_role_verb(struct role *r, struct ctl_call *call, struct str verb, struct str args)
{
    struct courier_role *c = r->self;
    struct courier_reply reply = {reply_line, reply_end, call, reply_full, reply_gone};
    if (!c->courier || !c->open)
        ctl_call_end(call, 1, "the courier is reading the log; try again in a moment");
    else if (!courier_verb(c->courier, verb, args, &reply))
        ctl_call_end(call, 1, "the courier does not know this verb");
}

const struct role_ops role_courier_ops = {
    .start = courier_start,
    .settings = courier_settings,
    .outgrown = courier_role_outgrown,
    .peer = courier_role_peer,
    .peer_lost = courier_role_lost,
    .message = courier_role_message,
    .verb = courier_role_verb,
    .stop = courier_role_stop,
};
