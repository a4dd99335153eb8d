/*
 * roles/role_keeper.c - the store's only writer: users, snapshots, questions to directories.
 *
 * Speaks to roles by channel and to LDAP and Dovecot; parses no mail.
 */
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "roles/domain_dns.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"
#include "store/asks.h"
#include "store/keeper.h"
#include "store/settings.h"

#define TAKEN_WAIT (5 * NS_PER_S)

/* A change that was made: its end is told when the roles that need it have it. */
struct keeper_call {
    struct role *role;
    struct ctl_call *call;
    bool changes, published;
    char text[256];
    uint64_t want[KEEPER_VIEWS_]; /* generation; 0: nobody is waited for */
    struct loop_timer late;
    struct keeper_call *next;
};

struct keeper_role {
    struct keeper *keeper;
    struct dns_client *dns;
    struct keeper_call *calls;
    uint64_t taken[KEEPER_VIEWS_];
    char *store;
    struct sandbox_paths paths; /* that its sandbox lets it see */
};

static struct str
path_folder(struct str path)
{
    return str_sub(path, 0, (size_t)MAX(str_rchr(path, '/'), (ssize_t)0));
}

static void
tell_snapshot(struct role *r, enum role_id to, uint64_t generation, int fd)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    put_u64(&b, generation);
    if (role_has(r, to) && fd >= 0) /* else when it is there */
        chan_send(role_chan(r, to), TELL_SNAPSHOT, 0, &b, fd);
}

static const enum role_id role_of_view[KEEPER_VIEWS_] = {
    [KEEPER_VIEW_ROLES] = ROLE_GATE,
    [KEEPER_VIEW_KEYRING] = ROLE_KEYRING,
    [KEEPER_VIEW_COURIER] = ROLE_COURIER,
};

static void
call_end(struct keeper_call *kc, const char *also)
{
    struct keeper_role *k = kc->role->self;
    struct keeper_call **at = &k->calls;
    char text[512];
    str_fmt(text, sizeof text, "%s%s", kc->text, also);
    ctl_call_end(kc->call, 0, text);
    while (*at != kc)
        at = &(*at)->next;
    *at = kc->next;
    loop_timer_stop(&kc->late);
    free(kc);
}

static void
on_call_late(void *ctx)
{
    call_end(ctx, " (It is stored; the running roles have not taken it yet.)");
}

/* Ends the calls whose change is in use everywhere. */
static void
calls_look(struct role *r)
{
    struct keeper_role *k = r->self;
    struct keeper_call *next;
    for (struct keeper_call *kc = k->calls; kc; kc = next) {
        bool in_use = kc->published;
        next = kc->next;
        for (unsigned v = 0; v < KEEPER_VIEWS_; v++)
            in_use = in_use && (!role_has(r, role_of_view[v]) || k->taken[v] >= kc->want[v]);
        if (in_use)
            call_end(kc, "");
    }
}

static void
on_publish(void *ctx, enum keeper_view view, uint64_t generation, int fd)
{
    struct role *r = ctx;
    struct keeper_role *k = r->self;
    tell_snapshot(r, role_of_view[view], generation, fd);
    for (struct keeper_call *kc = k->calls; kc; kc = kc->next) {
        if (!kc->want[view])
            kc->want[view] = generation;
        kc->published = true;
        for (unsigned v = 0; v < KEEPER_VIEWS_; v++)
            kc->published = kc->published && kc->want[v];
    }
    calls_look(r);
}

static void
on_problem(void *ctx, const char *text)
{
    (void)ctx;
    event_alarm("%s", text);
}

static void
on_notice(void *ctx, const char *text)
{
    (void)ctx;
    event_notice("%s", text);
}

/* Folders of the tables that settings name: files are replaced by rename, and watched. SQLite wants
 * to write its -shm file beside a WAL database, even to read. */
static void
gather_paths(struct role *r, struct sandbox_paths *to)
{
    const struct settings_control *co = conf_get(r->conf, "control");
    sandbox_paths_add(to, path_folder(co->store), SANDBOX_READ | SANDBOX_WRITE);
    sandbox_paths_add(to, STR("/etc"), SANDBOX_READ); /* ldap.conf, hosts, CA files */
    for (const struct conf_section *s = conf_first(r->conf, "domain"); s; s = conf_next(s)) {
        const struct settings_domain *d = s->data;
        sandbox_paths_add(to, path_folder(d->recipient_table), SANDBOX_READ | SANDBOX_WRITE);
        sandbox_paths_add(to, path_folder(d->aliases), SANDBOX_READ | SANDBOX_WRITE);
    }
}

static bool
keeper_outgrown(struct role *r)
{
    struct keeper_role *k = r->self;
    struct sandbox_paths now = {0};
    gather_paths(r, &now);
    bool more = !sandbox_paths_cover(&k->paths, &now);
    sandbox_paths_done(&now);
    return more;
}

static int
keeper_start(struct role *r, struct why *why)
{
    const struct settings_control *co = conf_get(r->conf, "control");
    const struct settings_dns *dns = conf_get(r->conf, "dns");
    struct keeper_role *k = calloc(1, sizeof *k);
    ENSURE(k);
    r->self = k;
    k->store = str_dup(co->store);
    k->dns = dns_client_create(r->loop, role_chan(r, ROLE_RESOLVER), (unsigned)dns->cache);
    struct keeper_links links = {
        .loop = r->loop,
        .store_path = k->store,
        .keyring = role_chan(r, ROLE_KEYRING),
        .dns = k->dns,
        .publish = on_publish,
        .problem = on_problem,
        .notice = on_notice,
        .file = role_file,
        .ctx = r,
    };
    int rc = keeper_create(&k->keeper, &links, r->conf, why);
    if (!rc)
        gather_paths(r, &k->paths);
    if (!rc)
        rc = sandbox_enter(r->row->sandbox, k->paths.items, k->paths.n, why);
    if (!rc)
        role_ready(r);
    return rc;
}

static void
keeper_role_message(struct role *r, enum role_id from, uint16_t type, uint64_t id,
                    struct wire *body, int fd)
{
    struct keeper_role *k = r->self;
    if (k && from == ROLE_SCAN && type == ASK_KEEP) {
        keeper_report(k->keeper, role_chan(r, from), id, fd);
        return;
    }
    fd_close(&fd);
    if (k && type == TELL_SNAPSHOT_TAKEN) {
        uint64_t generation = wire_u64(body);
        for (unsigned v = 0; v < KEEPER_VIEWS_; v++)
            if (role_of_view[v] == from)
                k->taken[v] = generation;
        calls_look(r);
        return;
    }
    if (k && from == ROLE_RESOLVER && k->dns && dns_client_message(k->dns, type, id, body))
        return;
    if (!k || !keeper_message(k->keeper, role_chan(r, from), type, id, body))
        event_warning("unknown message %#x from %s", type, role_table[from].name);
}

static void
keeper_peer(struct role *r, enum role_id id)
{
    struct keeper_role *k = r->self;
    for (unsigned v = 0; v < KEEPER_VIEWS_; v++) {
        uint64_t generation = 0;
        int fd = keeper_snapshot(k->keeper, v, &generation);
        if (role_of_view[v] == id)
            tell_snapshot(r, id, generation, fd);
    }
}

static void
keeper_peer_lost(struct role *r, enum role_id id)
{
    struct keeper_role *k = r->self;
    if (id == ROLE_RESOLVER && k->dns)
        dns_client_lost(k->dns);
    keeper_lost(k->keeper, role_chan(r, id));
    calls_look(r);
}

static int
keeper_settings(struct role *r, struct conf *now, struct why *why)
{
    struct keeper_role *k = r->self;
    return keeper_set_conf(k->keeper, now, why);
}

static void
reply_line(void *ctx, struct str json)
{
    ctl_call_line(((struct keeper_call *)ctx)->call, json);
}

static void
reply_end(void *ctx, int status, const char *text)
{
    struct keeper_call *kc = ctx;
    struct keeper_role *k = kc->role->self;
    if (status || !kc->changes) {
        ctl_call_end(kc->call, status, text);
        free(kc);
        return;
    }
    str_fmt(kc->text, sizeof kc->text, "%s", text);
    loop_timer_init(&kc->late, kc->role->loop, on_call_late, kc);
    loop_timer_set(&kc->late, TAKEN_WAIT);
    kc->next = k->calls;
    k->calls = kc;
}

/* The reply of one call; reply_end() frees what it holds, or call_end() does. */
static bool
reply_init(struct keeper_reply *ret, struct role *r, struct ctl_call *call, bool changes)
{
    struct keeper_call *kc = calloc(1, sizeof *kc);
    *ret = (struct keeper_reply){reply_line, reply_end, kc};
    if (kc)
        *kc = (struct keeper_call){.role = r, .call = call, .changes = changes};
    return kc;
}

static void
keeper_role_verb(struct role *r, struct ctl_call *call, struct str verb, struct str args)
{
    struct keeper_role *k = r->self;
    struct keeper_reply reply;
    if (str_eq(verb, STR("domain.dns"))) {
        const struct domain_dns_links links = {r->loop, k->dns, k->keeper, r->conf};
        domain_dns(&links, call, args);
        return;
    }
    if (!reply_init(&reply, r, call, keeper_verb_changes(verb))) {
        ctl_call_end(call, 1, "no memory for that now; nothing was changed");
        return;
    }
    if (keeper_verb(k->keeper, verb, args, &reply))
        return;
    free(reply.ctx);
    ctl_call_end(call, 1, "the keeper does not know this verb");
}

static void
keeper_stop(struct role *r)
{
    struct keeper_role *k = r->self;
    keeper_free(k->keeper);
    role_exit(r, 0);
}

const struct role_ops role_keeper_ops = {
    .start = keeper_start,
    .settings = keeper_settings,
    .outgrown = keeper_outgrown,
    .peer = keeper_peer,
    .peer_lost = keeper_peer_lost,
    .message = keeper_role_message,
    .verb = keeper_role_verb,
    .stop = keeper_stop,
};
