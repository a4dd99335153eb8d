/*
 * roles/role.c - the runtime of a role: talks to the supervisor, keeps settings, peers and sinks,
 * and hands everything else to the role's own ops.
 *
 * Called from main.c in a re-executed process. Never parses anything of a stranger.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/lang.h"
#include "core/metric.h"
#include "roles/role.h"
#include "roles/settings.h"
#include "store/asks.h"

#define FORGET_PAUSE (5 * NS_PER_S)
#define LINES_PAUSE  (250 * NS_PER_MS)
#define LAST_LINES   20 /* times 10 ms */

/* Lines that found no way out are tried again though nothing else happens. */
static void
turn_done(void *ctx)
{
    struct role *r = ctx;
    if (event_flush())
        loop_timer_set(&r->lines, LINES_PAUSE);
}

static void
on_lines(void *ctx)
{
    (void)ctx; /* the turn ends with them */
}

struct str
role_file(void *role, struct str path)
{
    return bundle_find(&((struct role *)role)->bundle, path);
}

void
role_ready(struct role *r)
{
    chan_send(r->supervisor, TELL_READY, 0, NULL, -1);
}

void
role_exit(struct role *r, int status)
{
    (void)r;
    for (int i = 0; event_flush() && i < LAST_LINES; i++)
        poll(NULL, 0, 10); /* the last words tell why, and a slow reader may take them yet */
    _exit(status);         /* nothing is saved at the end: the log is the truth at any moment */
}

static int
settings_parse(struct role *r, struct bundle *b, struct conf **ret)
{
    struct conf_errors errs = {0};
    conf_parse(ret, &b->texts, roles_blocks, roles_nblocks, b->generation, &errs);
    int rc = *ret ? 0 : ERR_SYNTAX;
    if (rc)
        event_alarm("%s cannot read settings that the loader had passed: %s", r->row->name,
                    errs.n ? errs.items[0].text.p : "");
    conf_errors_done(&errs);
    return rc;
}

static void
former_free(struct role_former *f)
{
    conf_free(f->conf);
    bundle_done(&f->bundle);
    free(f);
}

static struct role_former *
former_make(struct conf *conf, const struct bundle *bundle, struct role_former *next)
{
    struct role_former *f = calloc(1, sizeof *f);
    ENSURE(f);
    *f = (struct role_former){conf, *bundle, next};
    return f;
}

/* Frees what no session holds any more. */
static void
forget(void *ctx)
{
    struct role *r = ctx;
    for (struct role_former **at = &r->former; *at;) {
        struct role_former *f = *at;
        if (r->row->ops->uses && r->row->ops->uses(r, f->conf)) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        former_free(f);
    }
    if (r->former)
        loop_timer_set(&r->forget, FORGET_PAUSE);
}

static void
tell_taken(struct role *r, uint64_t generation, int rc, const char *why)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1024);
    put_u64(&b, generation);
    put_u8(&b, !rc);
    put_str(&b, str_c(rc ? why : ""));
    chan_send(r->supervisor, TELL_TAKEN, 0, &b, -1);
}

static void
stop(struct role *r)
{
    if (r->stopping)
        return;
    r->stopping = true;
    if (r->started && r->row->ops->stop)
        r->row->ops->stop(r);
    else
        role_exit(r, 0);
}

/* The role's word on settings that were parsed: taken, or the former ones stay. */
static void
offer_settings(struct role *r, struct bundle *b, struct conf *conf)
{
    struct bundle old = r->bundle;
    struct why why = {{0}};
    r->bundle = *b; /* links.file must see the new files while the role takes the settings */
    int rc = r->row->ops->settings ? r->row->ops->settings(r, conf, &why) : 0;
    tell_taken(r, b->generation, rc, why.text[0] ? why.text : err_text(rc));
    if (rc) {
        /* What it began to take it may still look at, until it takes others. */
        r->bundle = old;
        r->refused = former_make(conf, b, r->refused);
        return;
    }
    r->former = former_make(r->conf, &old, r->former);
    r->conf = conf;
    while (r->refused) {
        struct role_former *next = r->refused->next;
        r->refused->next = r->former;
        r->former = r->refused;
        r->refused = next;
    }
    forget(r);
    if (r->row->ops->outgrown && r->row->ops->outgrown(r))
        stop(r);
}

/* First settings are kept; later ones go through ops->settings and replace the old on success. */
static void
take_settings(struct role *r, uint64_t generation, int fd)
{
    struct bundle b;
    struct conf *conf = NULL;
    int rc = bundle_read(&b, fd);
    if (!rc && settings_parse(r, &b, &conf)) {
        bundle_done(&b);
        rc = ERR_SYNTAX;
    }
    if (rc && !r->conf)
        role_exit(r, 1);
    if (rc) {
        tell_taken(r, generation, rc, err_text(rc));
        return;
    }
    if (r->started) {
        offer_settings(r, &b, conf);
        return;
    }
    conf_free(r->conf);
    bundle_done(&r->bundle);
    r->bundle = b;
    r->conf = conf;
    tell_taken(r, generation, 0, "");
}

static void
peer_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct role_peer *p = ctx;
    p->last_type = type;
    if (!role_may_say(p->id, p->role->row->id, type)) {
        fd_close(&fd);
        chan_refuse(p->chan);
        return;
    }
    if (p->role->row->ops->message)
        p->role->row->ops->message(p->role, p->id, type, id, body, fd);
    else
        fd_close(&fd);
}

/* Nothing mends a channel whose two ends are not of one mind but a start of both roles. */
static void
peer_broken(struct role_peer *p)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 16);
    put_u8(&b, (uint8_t)p->id);
    event_alarm("%s was sent something by %s that it may not send or that cannot be read (about "
                "message %#x): both are started again. What was accepted is on disk. If it comes "
                "again, it is a fault of the program, or somebody has taken over %s",
                p->role->row->name, role_table[p->id].name, p->last_type, role_table[p->id].name);
    event_flush(); /* we are ended next */
    chan_send(p->role->supervisor, TELL_BROKEN, 0, &b, -1);
}

static void
peer_closed(void *ctx)
{
    struct role_peer *p = ctx;
    if (chan_faulty(p->chan))
        peer_broken(p);
    if (p->role->started && p->role->row->ops->peer_lost)
        p->role->row->ops->peer_lost(p->role, p->id);
}

static void
peer_open(struct role *r, unsigned id, int fd)
{
    static const struct chan_ops ops = {.message = peer_message, .closed = peer_closed};
    struct role_peer *p = &r->peers[id];
    *p = (struct role_peer){.role = r, .id = (enum role_id)id};
    p->chan = chan_create(r->loop, fd, &ops, p);
    ENSURE(p->chan);
}

static void
take_peer(struct role *r, unsigned id, int fd)
{
    if (id >= ROLE_MAX_ || fd < 0) {
        fd_close(&fd);
        return;
    }
    if (!r->started && !r->starting) {
        fd_close(&r->early[id]);
        r->early[id] = fd;
        return;
    }
    if (r->peers[id].chan)
        chan_renew(r->peers[id].chan, fd);
    else
        peer_open(r, id, fd);
    if (r->started && r->row->ops->peer)
        r->row->ops->peer(r, (enum role_id)id);
}

static void
on_call(void *ctx, struct ctl_call *call, struct str verb, struct str args)
{
    struct role *r = ctx;
    if (r->row->ops->verb)
        r->row->ops->verb(r, call, verb, args);
    else
        ctl_call_end(call, 1, "this role answers no verbs");
}

void
role_listen_later(struct role *r, struct str name, int fd)
{
    struct role_listen *l = calloc(1, sizeof *l + name.n + 1);
    ENSURE(l);
    memcpy((char *)(l + 1), name.p, name.n);
    l->name = str_of(l + 1, name.n);
    l->fd = fd;
    l->next = r->listens;
    r->listens = l;
}

static void
take_listen(struct role *r, struct str name, int fd)
{
    if (!r->started)
        role_listen_later(r, name, fd);
    else if (r->row->ops->listen)
        r->row->ops->listen(r, name, fd);
    else
        fd_close(&fd);
}

static void
start(struct role *r)
{
    struct why why = {{0}};
    if (!r->conf)
        role_exit(r, 1);
    r->starting = true;
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        if (r->early[i] >= 0 || (r->row->peers & (1u << i)))
            peer_open(r, i, r->early[i]);
    int rc = r->row->ops->start(r, &why);
    if (rc) {
        event_alarm("%s cannot start: %s. Accepted mail is safe on disk; the role is tried again.",
                    r->row->name, why.text[0] ? why.text : err_text(rc));
        role_exit(r, 1);
    }
    r->started = true;
}

static void
supervisor_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct role *r = ctx;
    (void)id;
    switch (type) {
    case TELL_SETTINGS:
        take_settings(r, wire_u64(body), fd);
        return;
    case TELL_PEER: {
        uint8_t peer = wire_u8(body);
        wire_u8(body); /* index: there is one of each so far */
        take_peer(r, peer, fd);
        return;
    }
    case TELL_LISTEN:
        take_listen(r, wire_str(body), fd);
        return;
    case TELL_UNLISTEN: {
        struct str name = wire_str(body);
        if (r->started && r->row->ops->unlisten)
            r->row->ops->unlisten(r, name);
        break;
    }
    case TELL_SINK: {
        uint8_t kind = wire_u8(body);
        int old = event_swap_fd(-1);
        event_setup((enum event_sink_kind)kind, fd, wire_str(body), r->row->name);
        lang_set((enum lang)wire_u8(body));
        fd_close(&old);
        return;
    }
    case TELL_REOPEN: {
        int old = event_swap_fd(fd);
        fd_close(&old);
        return;
    }
    case TELL_MASTER:
        fd_close(&r->master);
        r->master = fd;
        return;
    case TELL_METRICS:
        metric_attach(fd, wire_u8(body));
        break; /* mapped: the descriptor may go */
    case TELL_CONTROL:
        ctl_server_free(r->control);
        r->control = ctl_server_create(r->loop, fd, on_call, r);
        if (r->control)
            return;
        event_warning("%s has no control socket: out of memory", r->row->name);
        break;
    case TELL_START:
        start(r);
        break;
    case TELL_ALIVE:
        chan_send(r->supervisor, TELL_ALIVE, 0, NULL, -1);
        break;
    case TELL_STOP:
        stop(r);
        break;
    default:
        if (r->started && r->row->ops->message) {
            r->row->ops->message(r, ROLE_SUPERVISOR, type, id, body, fd);
            return;
        }
        break;
    }
    fd_close(&fd);
}

static void
supervisor_closed(void *ctx)
{
    struct role *r = ctx;
    /* The supervisor is gone, killed perhaps: a role without one cannot be looked after. What was
     * accepted is on disk. */
    role_exit(r, 1);
}

int
role_main(const struct role_row *row, unsigned index)
{
    static const struct chan_ops ops = {.message = supervisor_message, .closed = supervisor_closed};
    struct role *r = calloc(1, sizeof *r);
    ENSURE(r);
    r->row = row;
    r->index = index;
    r->master = -1;
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        r->early[i] = -1;
    /* Libraries ask the C library for local time, which would open a file inside the sandbox. */
    setenv("TZ", "UTC0", 1);
    tzset();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is the supervisor's: it stops the roles in order */
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    r->loop = loop_create();
    if (!r->loop)
        return 1;
    loop_timer_init(&r->forget, r->loop, forget, r);
    loop_timer_init(&r->lines, r->loop, on_lines, r);
    event_setup(EVENT_SINK_NONE, -1, STR_NONE, row->name);
    r->supervisor = chan_create(r->loop, ROLE_SUPERVISOR_FD, &ops, r);
    if (!r->supervisor)
        return 1;
    loop_each_turn(r->loop, turn_done, r);
    loop_run(r->loop);
    return 0;
}
