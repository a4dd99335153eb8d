/*
 * roles/supervisor.c - the one process with privileges: binds, starts, watches, reloads, hands
 * over.
 *
 * It parses nothing: settings come to it as a plan (roles/plan.h), questions as typed messages.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/metric.h"
#include "net/stream.h"
#include "roles/children.h"
#include "roles/listeners.h"
#include "roles/sink.h"
#include "roles/supervisor.h"
#include "store/asks.h"
#include "store/settings.h"

#define STOP_MOST   (60 * NS_PER_S)
#define ROTATE_LOOK (15 * NS_PER_S)
#define RENEW_PAUSE (2 * NS_PER_S) /* several files of one renewal are one reload */

struct supervisor {
    const char *file;
    struct loop *loop;
    struct plan plan;
    struct listeners listeners;
    struct children children;
    struct sink sink;
    struct loop_timer late, renew, rotate;
    struct loop_io *watch;
    int watch_fd;
    bool restart;
};

static void
notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (!path || !str_copy(str_c(path), un.sun_path, sizeof un.sun_path))
        return;
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (un.sun_path[0] == '@')
        un.sun_path[0] = 0;
    if (fd >= 0)
        (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un, n);
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
watch_files(struct supervisor *s)
{
    loop_io_free(s->watch);
    fd_close(&s->watch_fd);
    s->watch = NULL;
    s->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->watch_fd < 0)
        return;
    /* Folders, since renewals replace files by rename. Settings themselves wait for a reload. */
    for (unsigned i = 0; i < s->plan.nfiles; i++) {
        struct str path = str_c(s->plan.files[i]);
        if (str_ends(path, STR(".conf")))
            continue;
        ssize_t slash = str_rchr(path, '/');
        char dir[256];
        if (slash > 0 && str_copy(str_sub(path, 0, (size_t)slash), dir, sizeof dir))
            inotify_add_watch(s->watch_fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO);
    }
}

/* Reads the settings again. A bad file changes nothing and says why. */
static int
reload(struct supervisor *s, struct buf *text)
{
    struct plan *next = malloc(sizeof *next);
    char *errors = NULL;
    struct why why = {{0}};
    ENSURE(next);
    int rc =
        plan_load(next, s->file, s->plan.generation + 1, s->children.uid, s->children.gid, &errors);
    if (!rc)
        rc = listeners_update(&s->listeners, next, &why, on_added, on_gone, s);
    if (rc) {
        buf_c(text, errors ? errors : why.text[0] ? why.text : err_text(rc));
        event_alarm("settings were not taken, the former ones stay in force: %.*s",
                    (int)MIN(text->n, 400u), text->p);
        plan_done(next);
        free(next);
        free(errors);
        return rc;
    }
    plan_done(&s->plan);
    s->plan = *next;
    free(next);
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        if (s->children.of[i].pid)
            children_tell_settings(&s->children.of[i], &s->plan);
    event_notice("settings generation %llu is in force", (unsigned long long)s->plan.generation);
    buf_fmt(text, "settings generation %llu is in force", (unsigned long long)s->plan.generation);
    return 0;
}

static void
reload_quietly(struct supervisor *s)
{
    CLEANUP(buf_done) struct buf text;
    buf_init(&text, 32u << 10);
    reload(s, &text);
}

static void
on_renew(void *ctx)
{
    struct supervisor *s = ctx;
    event_notice("a certificate or table changed on disk: settings are read again");
    reload_quietly(s);
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
            for (unsigned i = 0; e->len && i < s->plan.nfiles; i++) {
                struct str path = str_c(s->plan.files[i]), name = str_c(e->name);
                hit = hit || (str_ends(path, name) && path.n > name.n &&
                              path.p[path.n - name.n - 1] == '/' && !str_ends(path, STR(".conf")));
            }
        }
    }
    if (hit)
        loop_timer_set(&s->renew, RENEW_PAUSE);
}

static void
status_text(const struct supervisor *s, struct buf *b)
{
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        const struct child *c = &s->children.of[i];
        if (!c->row->ops)
            continue;
        buf_fmt(b,
                "{\"role\":\"%s\",\"pid\":%d,\"ready\":%s,\"uptime_s\":%llu,\"restarts\":%u,"
                "\"may\":\"%s\"}\n",
                c->row->name, (int)c->pid, c->ready ? "true" : "false",
                (unsigned long long)(c->pid ? (clock_mono() - c->started) / NS_PER_S : 0),
                c->restarts, c->row->may);
    }
    buf_fmt(b, "{\"role\":\"supervisor\",\"pid\":%d,\"generation\":%llu}\n", (int)getpid(),
            (unsigned long long)s->plan.generation);
}

static void
on_message(void *ctx, struct child *from, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct supervisor *s = ctx;
    CLEANUP(buf_done) struct buf text, b;
    (void)body;
    fd_close(&fd);
    buf_init(&text, 32u << 10);
    buf_init(&b, 48u << 10);
    switch (type) {
    case TELL_RELOAD: {
        int rc = reload(s, &text);
        put_u8(&b, !rc);
        put_str(&b, buf_view(&text));
        chan_send(from->chan, ASK_RELOAD_ANSWER, id, &b, -1);
        break;
    }
    case ASK_STATUS:
        status_text(s, &text);
        put_str(&b, buf_view(&text));
        chan_send(from->chan, ASK_STATUS_ANSWER, id, &b, -1);
        break;
    default:
        event_warning("%s sent the supervisor an unknown message %#x", from->row->name, type);
    }
}

static void
on_all_gone(void *ctx)
{
    struct supervisor *s = ctx;
    loop_stop(s->loop);
}

static void
on_rotate(void *ctx)
{
    struct supervisor *s = ctx;
    loop_timer_set(&s->rotate, ROTATE_LOOK);
    if (!sink_rotate(&s->sink))
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
on_signal(void *ctx, int signo)
{
    struct supervisor *s = ctx;
    switch (signo) {
    case SIGCHLD:
        children_reap(&s->children);
        break;
    case SIGHUP:
        notify("RELOADING=1");
        reload_quietly(s);
        notify("READY=1");
        break;
    case SIGUSR2:
        s->restart = true;
        /* fall through */
    default:
        if (s->children.stopping) {
            children_kill_all(&s->children); /* asked twice: at once */
            break;
        }
        notify("STOPPING=1");
        loop_timer_set(&s->late, STOP_MOST);
        children_stop_all(&s->children);
        children_reap(&s->children);
    }
}

/* A directory that roles of our group may enter; made with its parents if it is not there. */
static int
make_dir(const char *path, unsigned mode, unsigned uid, unsigned gid, struct why *why)
{
    char part[512];
    if (!str_copy(str_c(path), part, sizeof part))
        return why_set(why, -ENAMETOOLONG, "%s: too long", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        mkdir(part, 0755);
        *p = '/';
    }
    if (mkdir(path, mode) && errno != EEXIST)
        return why_set(why, -errno, "cannot make %s: %s", path, err_text(-errno));
    if (geteuid() == 0 && (chown(path, uid, gid) || chmod(path, mode)))
        return why_set(why, -errno, "cannot give %s to uid %u: %s", path, uid, err_text(-errno));
    return 0;
}

static int
make_control(struct supervisor *s, struct why *why)
{
    int rc = make_dir(s->plan.control_dir, 0750, 0, s->children.gid, why);
    for (unsigned i = 0; !rc && i < ROLE_MAX_; i++) {
        char path[700];
        const struct role_row *row = &role_table[i];
        if (i != ROLE_SUPERVISOR && !(row->ops && row->ops->verb))
            continue;
        str_fmt(path, sizeof path, "%s/%s.ctl", s->plan.control_dir, row->name);
        unlink(path);
        int fd = listener_bind_unix(path, 0660);
        if (fd < 0)
            return why_set(why, fd, "cannot bind %s: %s", path, err_text(fd));
        if (geteuid() == 0 && chown(path, 0, s->children.gid))
            return -errno;
        /* The supervisor's own verbs are answered by desk, which asks over its channel. */
        s->children.of[i == ROLE_SUPERVISOR ? ROLE_DESK : i].control_fd = fd;
    }
    return rc;
}

static int
make_dirs(struct supervisor *s, struct why *why)
{
    struct children *c = &s->children;
    char dir[512];
    unsigned spooler = children_uid(c, &role_table[ROLE_SPOOLER]);
    unsigned keeper = children_uid(c, &role_table[ROLE_KEEPER]);
    int rc = make_dir(s->plan.spool_dir, 0750, spooler, c->gid, why);
    struct str store = str_c(s->plan.store);
    ssize_t slash = str_rchr(store, '/');
    if (!rc && slash > 0 && str_copy(str_sub(store, 0, (size_t)slash), dir, sizeof dir))
        rc = make_dir(dir, 0750, keeper, c->gid, why);
    return rc ? rc : make_control(s, why);
}

static int
prepare(struct supervisor *s, struct why *why)
{
    char *errors = NULL;
    listeners_import(&s->listeners);
    children_identity(&s->children, "gapura");
    int rc = plan_load(&s->plan, s->file, 1, s->children.uid, s->children.gid, &errors);
    if (rc) {
        fprintf(stderr, "%s", errors ? errors : "");
        free(errors);
        return why_set(why, rc, "%s: %s; nothing was started", s->file, err_text(rc));
    }
    children_identity(&s->children, s->plan.user);
    if (s->plan.metrics.port && s->plan.nlistens < PLAN_LISTENS) {
        struct plan_listen *l = &s->plan.listens[s->plan.nlistens++];
        str_fmt(l->name, sizeof l->name, "metrics");
        l->at = s->plan.metrics;
    }
    rc = make_dirs(s, why);
    if (!rc)
        rc = sink_open(&s->sink, &s->plan, s->children.gid, why);
    if (!rc)
        rc = listeners_update(&s->listeners, &s->plan, why, NULL, NULL, s);
    return rc;
}

static void
start_roles(struct supervisor *s)
{
    static const enum role_id ids[] = {ROLE_SPOOLER, ROLE_RESOLVER, ROLE_KEYRING, ROLE_KEEPER,
                                       ROLE_GATE,    ROLE_COURIER,  ROLE_DESK};
    s->children.metrics_fd = memfd_create("gapura-metrics", MFD_CLOEXEC);
    if (s->children.metrics_fd >= 0 &&
        !ftruncate(s->children.metrics_fd, (off_t)metric_page_size()))
        metric_attach(fcntl(s->children.metrics_fd, F_DUPFD_CLOEXEC, 3), ROLE_SUPERVISOR);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        children_start(&s->children, ids[i]);
}

static void
turn_done(void *ctx)
{
    (void)ctx;
    event_flush();
}

int
supervisor_main(const char *file)
{
    static struct supervisor s;
    static const int signals[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR2};
    struct why why = {{0}};
    s.file = file;
    s.watch_fd = -1;
    s.loop = loop_create();
    if (!s.loop)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    children_init(&s.children, s.loop, &s);
    s.children.plan = &s.plan;
    s.children.greet = greet;
    s.children.message = on_message;
    s.children.all_gone = on_all_gone;
    s.children.sink = hand_sink;
    loop_timer_init(&s.late, s.loop, on_late, &s);
    loop_timer_init(&s.renew, s.loop, on_renew, &s);
    loop_timer_init(&s.rotate, s.loop, on_rotate, &s);
    if (prepare(&s, &why)) {
        fprintf(stderr, "gapura: %s\n", why.text);
        return 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        loop_signal(s.loop, signals[i], on_signal, &s);
    loop_each_turn(s.loop, turn_done, NULL);
    start_roles(&s);
    watch_files(&s);
    if (s.watch_fd >= 0)
        s.watch = loop_io_add(s.loop, s.watch_fd, LOOP_READ, on_watch, &s);
    loop_timer_set(&s.rotate, ROTATE_LOOK);
    notify("READY=1");
    loop_run(s.loop);
    event_flush();
    if (s.restart) {
        const char *argv[] = {"gapura", "run", "-c", file, NULL};
        listeners_export(&s.listeners);
        execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    }
    return 0;
}
