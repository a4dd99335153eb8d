/*
 * roles/supervisor.c - the one process with privileges: watches, reloads, hands over, ends.
 *
 * It parses nothing: settings come to it as a plan (roles/plan.h), questions as typed messages.
 */
#include <errno.h>
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/event.h"
#include "roles/places.h"
#include "roles/sandbox.h"
#include "roles/supervisor.h"
#include "roles/supervisor_inner.h"
#include "store/asks.h"
#include "store/settings.h"

#define STOP_MOST   (60 * NS_PER_S)
#define RENEW_PAUSE (2 * NS_PER_S) /* several files of one renewal are one reload */
#define LINES_PAUSE (250 * NS_PER_MS)

/* sd_notify(3): a reload says when it began, so that the READY=1 that follows is told from an older
 * one. CLOCK_MONOTONIC, in microseconds. */
static void
tell_end(bool restart)
{
    char text[64];

    str_fmt(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
            (unsigned long long)(clock_mono() / 1000));
    watchdog_notify(restart ? text : "STOPPING=1");
}

static void
tell_listen(struct supervisor *s, const char *name, int fd)
{
    struct child *to = &s->children.of[!strcmp(name, "metrics") ? ROLE_DESK : ROLE_GATE];
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 256);
    put_str(&b, str_c(name));
    if (to->chan)
        chan_send(to->chan, TELL_LISTEN, 0, &b, fd);
}

static void
on_added(void *ctx, const char *name, int fd)
{
    tell_listen(ctx, name, fd);
}

static void
on_gone(void *ctx, const char *name)
{
    struct supervisor *s = ctx;
    struct child *gate = &s->children.of[ROLE_GATE];
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 256);
    put_str(&b, str_c(name));
    if (gate->chan)
        chan_send(gate->chan, TELL_UNLISTEN, 0, &b, -1);
}

static void
greet(void *ctx, struct child *ch)
{
    struct supervisor *s = ctx;
    if (ch->row->id == ROLE_KEYRING && s->master >= 0 && ch->chan)
        chan_send(ch->chan, TELL_MASTER, 0, NULL, s->master);
    for (unsigned i = 0; i < s->listeners.n; i++) {
        const struct listeners_row *r = &s->listeners.rows[i];
        bool desk = !strcmp(r->at.name, "metrics");
        if (ch->row->id == (desk ? ROLE_DESK : ROLE_GATE))
            tell_listen(s, r->at.name, r->fd);
    }
}

static void
hand_sink(void *ctx, struct child *ch)
{
    struct supervisor *s = ctx;
    sink_tell(&s->sink, ch->chan);
}

static void
on_up(void *ctx)
{
    watchdog_role_up(&((struct supervisor *)ctx)->watchdog);
}

static void
on_renew(void *ctx)
{
    struct supervisor *s = ctx;
    if (s->children.stopping)
        return;
    event_notice("a certificate or key changed on disk: settings are read again");
    reload_ask(&s->reload, ROLE_SUPERVISOR, 0);
}

static void
on_watch(void *ctx, unsigned ready)
{
    struct supervisor *s = ctx;
    char buf[4096] __attribute__((aligned(8)));
    bool hit = false;
    ssize_t n;
    (void)ready;
    while ((n = read(s->watch_fd, buf, sizeof buf)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(buf + at);
            at += (ssize_t)(sizeof *e + e->len);
            for (unsigned i = 0; e->len && i < s->plan->nfiles; i++) {
                struct str path = str_c(s->plan->files[i]), name = str_c(e->name);
                hit = hit || (str_ends(path, name) && path.n > name.n &&
                              path.p[path.n - name.n - 1] == '/');
            }
        }
    }
    if (hit)
        loop_timer_set(&s->renew, RENEW_PAUSE);
}

static void
watch_files(struct supervisor *s)
{
    loop_io_free(s->watch);
    fd_close(&s->watch_fd);
    s->watch = NULL;
    s->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->watch_fd < 0)
        return;
    /* Folders, since renewals replace files by rename or make symbolic links anew. The settings
     * themselves are not among the files: they wait for a reload. */
    for (unsigned i = 0; i < s->plan->nfiles; i++) {
        struct str path = str_c(s->plan->files[i]);
        ssize_t slash = str_rchr(path, '/');
        char dir[512];
        if (slash > 0 && str_copy(str_sub(path, 0, (size_t)slash), dir, sizeof dir))
            inotify_add_watch(s->watch_fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE);
    }
    s->watch = loop_io_add(s->loop, s->watch_fd, LOOP_READ, on_watch, s);
}

static void
status_text(const struct supervisor *s, struct buf *b)
{
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        const struct child *c = &s->children.of[i];
        if (!c->row->ops || !c->wanted)
            continue;
        buf_fmt(b,
                "{\"role\":\"%s\",\"pid\":%d,\"ready\":%s,\"uptime_s\":%llu,\"restarts\":%u,"
                "\"may\":\"%s\"}\n",
                c->row->name, (int)c->pid, c->ready ? "true" : "false",
                (unsigned long long)(c->pid ? (clock_mono() - c->started) / NS_PER_S : 0),
                c->restarts, c->row->may);
    }
    buf_fmt(b, "{\"role\":\"supervisor\",\"pid\":%d,\"generation\":%llu}\n", (int)getpid(),
            (unsigned long long)s->plan->generation);
}

/* The one that complains ends as well: a role that was taken over must not end others at will. */
static void
end_both(struct supervisor *s, struct child *from, unsigned peer)
{
    if (peer >= ROLE_MAX_ || !(from->row->peers & (1u << peer)))
        return;
    children_kill(&s->children.of[peer]);
    children_kill(from);
}

static void
on_message(void *ctx, struct child *from, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct supervisor *s = ctx;
    CLEANUP(buf_done) struct buf text, b;
    fd_close(&fd);
    buf_init(&text, 32u << 10);
    buf_init(&b, 48u << 10);
    switch (type) {
    case TELL_TAKEN:
        reload_taken(&s->reload, from, body);
        break;
    case TELL_RELOAD:
        reload_ask(&s->reload, from->row->id, id);
        break;
    case ASK_STATUS:
        status_text(s, &text);
        put_str(&b, buf_view(&text));
        chan_send(from->chan, ASK_STATUS_ANSWER, id, &b, -1);
        break;
    case ASK_FENCE:
        chan_send(from->chan, ASK_FENCE_ANSWER, id, NULL, -1);
        break;
    case TELL_BROKEN:
        end_both(s, from, wire_u8(body));
        break;
    default:
        break; /* roles/table.c lets no other come this far */
    }
}

static void
on_reloaded(void *ctx, enum role_id to, uint64_t id, bool ok, struct str text)
{
    struct supervisor *s = ctx;
    struct child *ch = &s->children.of[to];
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 48u << 10);
    put_u8(&b, ok);
    put_str(&b, text);
    if (ch->chan)
        chan_send(ch->chan, ASK_RELOAD_ANSWER, id, &b, -1);
}

static void
on_sink_changed(void *ctx)
{
    struct supervisor *s = ctx;
    sink_use(&s->sink);
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        if (s->children.of[i].chan)
            sink_tell(&s->sink, s->children.of[i].chan);
}

static void
say_lacking(const struct plan *p)
{
    if (p->lacking[0])
        event_notice("wings = %s: these listeners are not opened: %s",
                     p->wings == WINGS_INBOUND ? "inbound" : "outbound", p->lacking);
}

/* The wing, and what the settings say without an error and surely do not mean. */
static void
say_of_plan(const struct plan *p)
{
    struct str rest = str_c(p->notes);

    say_lacking(p);
    while (rest.n) {
        struct str line = str_cut(rest, '\n', &rest);

        event_warning("%.*s", STR_ARG(line));
    }
}

static void
on_committed(void *ctx)
{
    struct supervisor *s = ctx;
    watch_files(s);
    watchdog_settings(&s->watchdog);
    say_of_plan(s->plan);
}

static void
on_lost(void *ctx, struct child *ch)
{
    reload_lost(&((struct supervisor *)ctx)->reload, ch);
}

static void
on_all_gone(void *ctx)
{
    struct supervisor *s = ctx;
    loop_stop(s->loop);
}

static void
on_look(void *ctx)
{
    struct supervisor *s = ctx;
    loop_timer_set(&s->look, SINK_LOOK);
    if (!sink_look(&s->sink))
        return;
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        if (s->children.of[i].chan)
            chan_send(s->children.of[i].chan, TELL_REOPEN, 0, NULL, s->sink.fd);
}

static void
on_late(void *ctx)
{
    struct supervisor *s = ctx;
    event_warning("roles did not end in time and are killed; what was accepted is on disk");
    children_kill_all(&s->children);
}

static void
begin_stop(struct supervisor *s)
{
    if (s->children.stopping) {
        s->restart = false;
        children_kill_all(&s->children); /* asked twice: at once */
        return;
    }
    tell_end(s->restart);
    loop_timer_set(&s->late, STOP_MOST);
    children_stop_all(&s->children);
    children_reap(&s->children);
}

/* What a restart would fail at though the settings are good: an address that somebody else has. */
static int
try_binding(struct supervisor *s, struct plan *plan, struct why *why)
{
    struct listeners next;
    plan->admin_gid = s->children.admin_gid;
    int rc = listeners_prepare(&s->listeners, plan, &next, why);
    if (!rc)
        listeners_abandon(&s->listeners, &next);
    return rc == ERR_STATE ? 0 : rc; /* in its own way: the start closes that first */
}

/* The settings that a restart would begin with. Bad ones would end the service: then we stay. */
static void
on_tested(void *ctx, int rc, struct plan *plan, const char *errors)
{
    struct supervisor *s = ctx;
    struct why why = {{0}};
    CLEANUP(buf_done) struct buf story;
    buf_init(&story, PLACES_STORY);
    s->restart_next = s->reload.running; /* begun meanwhile: see begin_restart */
    if (s->restart_next) {
        plan_free(plan);
        s->testing = false;
        return;
    }
    if (!rc && (rc = try_binding(s, plan, &why)) != 0)
        errors = why.text;
    if (!rc && (rc = places_try(plan, s->plan, &s->children, &story)) != 0) {
        buf_char(&story, 0);
        errors = story.p;
    }
    plan_free(plan);
    s->testing = false;
    if (s->children.stopping)
        return;
    if (rc) {
        event_alarm("the restart is not done, everything goes on as it is: the settings are not "
                    "good: %.1000s",
                    errors[0] ? errors : err_text(rc));
        return;
    }
    event_notice("restarting; listening sockets stay open");
    s->restart = true;
    begin_stop(s);
}

static void
begin_restart(struct supervisor *s)
{
    struct plan_ask ask = {s->loop, s->file, 1, s->children.uid, s->children.gid, on_tested, s};
    if (s->children.stopping || s->testing)
        return;
    s->restart_next = s->reload.running; /* which may have bound what the restart will need */
    if (s->restart_next)
        return;
    int rc = plan_load_start(&ask);
    s->testing = !rc;
    if (rc)
        event_alarm("the restart is not done: the settings cannot be read: %s", err_text(rc));
}

static void
on_reload_over(void *ctx)
{
    struct supervisor *s = ctx;
    if (s->restart_next)
        begin_restart(s);
}

static void
on_signal(void *ctx, int signo)
{
    struct supervisor *s = ctx;
    switch (signo) {
    case SIGCHLD:
        children_reap(&s->children);
        break;
    case SIGHUP:
        if (!s->children.stopping)
            reload_ask(&s->reload, ROLE_SUPERVISOR, 0);
        break;
    case SIGUSR2:
        begin_restart(s);
        break;
    default:
        begin_stop(s);
    }
}

static void
say_at_start(struct supervisor *s)
{
    if (!s->children.named)
        event_notice("there are no users gapura-ROLE for all roles: uids of their own without a "
                     "name are used, which are as far apart");
    if (s->sink.kind == EVENT_SINK_DATAGRAM && s->sink.fd < 0)
        event_warning("events: the log daemon was not there at the start. Mail goes on; each "
                      "process keeps up to 4 MB of lines, and it is tried again every %u s",
                      (unsigned)(SINK_LOOK / NS_PER_S));
    if (!sandbox_has_landlock())
        event_notice("this kernel has no Landlock: roles are held by their users and by seccomp");
    say_of_plan(s->plan);
}

static void
turn_done(void *ctx)
{
    struct supervisor *s = ctx;
    if (event_flush())
        loop_timer_set(&s->lines, LINES_PAUSE);
}

static void
on_lines(void *ctx)
{
    (void)ctx; /* the turn ends with them */
}

static void
hooks(struct supervisor *s)
{
    struct children *c = &s->children;
    children_init(c, s->loop, s);
    c->greet = greet;
    c->message = on_message;
    c->lost = on_lost;
    c->all_gone = on_all_gone;
    c->sink = hand_sink;
    c->up = on_up;
    watchdog_init(&s->watchdog, s->loop, c);
    s->reload = (struct reload){
        .loop = s->loop,
        .file = s->file,
        .plan = &s->plan,
        .listeners = &s->listeners,
        .children = c,
        .sink = &s->sink,
        .complete = supervisor_add_metrics,
        .added = on_added,
        .gone = on_gone,
        .sink_changed = on_sink_changed,
        .committed = on_committed,
        .over = on_reload_over,
        .answer = on_reloaded,
        .ctx = s,
        .generation = 1,
    };
    reload_init(&s->reload);
    loop_timer_init(&s->late, s->loop, on_late, s);
    loop_timer_init(&s->renew, s->loop, on_renew, s);
    loop_timer_init(&s->look, s->loop, on_look, s);
    loop_timer_init(&s->lines, s->loop, on_lines, s);
}

/* Absolute, so that a restart and paths beside the file do not hang on where we are. */
static bool
paths(struct supervisor *s, const char *file)
{
    char cwd[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", s->program, sizeof s->program - 1);
    s->program[MAX(n, 0)] = 0;
    if (file[0] != '/' && !getcwd(cwd, sizeof cwd))
        return false;
    size_t len = str_fmt(s->file, sizeof s->file, "%s%s%s", cwd, cwd[0] ? "/" : "", file);
    return len < sizeof s->file;
}

/* In our place, with the same pid: the listening sockets go along. */
static int
start_anew(struct supervisor *s)
{
    const char *argv[] = {"gapura", "run", "-c", s->file, NULL};
    signal(SIGHUP, SIG_IGN); /* until the new program listens to them */
    signal(SIGUSR2, SIG_IGN);
    listeners_export(&s->listeners);
    execv(s->program, (char *const *)(uintptr_t)argv);
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    fprintf(stderr, "gapura: cannot start %s again: %s. Accepted mail is safe on disk; start it\n",
            s->program, err_text(-errno));
    return 1;
}

int
supervisor_main(const char *file)
{
    static struct supervisor s;
    static const int signals[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR2};
    struct why why = {{0}};
    s.watch_fd = s.lock = s.master = s.sink.fd = -1;
    s.loop = loop_create();
    if (!s.loop || !paths(&s, file)) {
        fprintf(stderr, "gapura: no memory, or the path %s is too long\n", file);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    hooks(&s);
    if (supervisor_prepare(&s, &why)) {
        fprintf(stderr, "gapura: %s\n", why.text);
        return 1;
    }
    sink_use(&s.sink);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        loop_signal(s.loop, signals[i], on_signal, &s);
    loop_each_turn(s.loop, turn_done, &s);
    say_at_start(&s);
    supervisor_start_roles(&s);
    watchdog_start(&s.watchdog);
    watch_files(&s);
    loop_timer_set(&s.look, SINK_LOOK);
    loop_run(s.loop);
    event_flush();
    return s.restart ? start_anew(&s) : 0;
}
