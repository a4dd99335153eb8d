/*
 * roles/children.c - processes and the channels between them.
 *
 * A child is this program again with `--role NAME`: own user, descriptor 3 its only tie. When it
 * ends it is started again after a pause that doubles (100 ms to 30 s) while it keeps failing; its
 * peers get a fresh channel to the new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/metric.h"
#include "roles/children.h"
#include "roles/sandbox.h"
#include "store/asks.h"

#define BACKOFF_FIRST (100 * NS_PER_MS)
#define BACKOFF_MOST  (30 * NS_PER_S)
#define STEADY        (10 * NS_PER_S) /* a life this long forgets earlier failures */
#define DESCRIPTORS   (4u * 65536)
#define UID_FALLBACK  61700u /* identities without a passwd entry, when no such user exists */

static const enum role_id order[] = {ROLE_SPOOLER, ROLE_RESOLVER, ROLE_KEYRING, ROLE_KEEPER,
                                     ROLE_SCAN,    ROLE_GATE,     ROLE_COURIER, ROLE_DESK};

static enum plan_bundle
children_bundle(enum role_id id)
{
    switch (id) {
    case ROLE_GATE:
        return PLAN_GATE;
    case ROLE_COURIER:
        return PLAN_COURIER;
    case ROLE_RESOLVER:
        return PLAN_RESOLVER;
    case ROLE_KEEPER:
        return PLAN_KEEPER;
    default:
        return PLAN_BARE;
    }
}

/* Members of the group `gapura` (or of the user's own) may use the control sockets. The roles are
 * in another group: a role that is broken must not give orders to the others. */
static void
identity_groups(struct children *c, const struct passwd *pw)
{
    const struct group *gr = getgrnam("gapura-roles");
    c->gid = gr ? gr->gr_gid : UID_FALLBACK;
    gr = pw ? NULL : getgrnam("gapura");
    c->admin_gid = pw ? pw->pw_gid : gr ? gr->gr_gid : 0;
    if (c->admin_gid == c->gid)
        c->admin_gid = 0;
}

unsigned
children_uid_fallback(enum role_id id)
{
    return UID_FALLBACK + id;
}

int
children_identity(struct children *c, const char *user, struct why *why)
{
    c->uid = geteuid();
    c->gid = c->admin_gid = getegid();
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        c->uids[i] = c->uid;
    c->named = true;
    if (c->uid)
        return 0;
    const struct passwd *pw = getpwnam(user);
    if (pw && !pw->pw_uid)
        return why_set(why, ERR_REFUSED,
                       "user \"%s\" is root: roles that talk to strangers need a user without "
                       "rights. Name another, or leave the setting out",
                       user);
    c->uid = pw ? pw->pw_uid : UID_FALLBACK;
    identity_groups(c, pw);
    for (unsigned i = 1; i < ROLE_MAX_; i++) {
        char name[96];
        str_fmt(name, sizeof name, "gapura-%s", role_table[i].name);
        pw = getpwnam(name);
        c->named = c->named && pw && pw->pw_uid;
        c->uids[i] = pw && pw->pw_uid ? pw->pw_uid : children_uid_fallback(i);
    }
    return 0;
}

void
children_kill(struct child *ch)
{
    if (ch->pid) /* not waited for yet, so the number is nobody else's */
        kill(ch->pid, SIGKILL);
}

static void
on_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct child *ch = ctx;
    if (!role_may_say(ch->row->id, ROLE_SUPERVISOR, type)) {
        fd_close(&fd);
        event_alarm("%s sent the supervisor a message %#x that it may not send, and is started "
                    "again. What was accepted is on disk. If it comes again, somebody may have "
                    "taken over that role",
                    ch->row->name, type);
        chan_refuse(ch->chan);
        return;
    }
    if (type == TELL_ALIVE)
        ch->unanswered = 0;
    if (type == TELL_READY) {
        ch->ready = true;
        ch->all->up(ch->all->ctx);
    }
    if (type == TELL_ALIVE || type == TELL_READY) {
        fd_close(&fd);
        return;
    }
    ch->all->message(ch->all->ctx, ch, type, id, body, fd);
}

/* A role that ends closes it, and SIGCHLD tells the rest. One that lives on could not be told to
 * stop, nor of settings or peers. */
static void
on_closed(void *ctx)
{
    children_kill(ctx);
}

static void
on_again(void *ctx)
{
    struct child *ch = ctx;
    if (ch->wanted && !ch->pid && !ch->all->stopping)
        children_start(ch->all, ch->row->id);
}

void
children_init(struct children *c, struct loop *loop, void *ctx)
{
    memset(c, 0, sizeof *c);
    c->loop = loop;
    c->ctx = ctx;
    c->metrics_fd = -1;
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        c->of[i].row = &role_table[i];
        c->of[i].all = c;
        c->of[i].control_fd = -1;
        loop_timer_init(&c->of[i].again, loop, on_again, &c->of[i]);
    }
}

/* As many sessions as the machine allows; no core with keys or mail in it. */
static void
limits_set(void)
{
    struct rlimit files = {0, 0}, none = {0, 0};
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        struct rlimit most = {MAX(files.rlim_max, DESCRIPTORS), MAX(files.rlim_max, DESCRIPTORS)};
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &most))
            setrlimit(RLIMIT_NOFILE, &files);
    }
    setrlimit(RLIMIT_CORE, &none);
}

/* In the new process. Output stays where it is: a sanitizer or the C library may have last words.
 */
static int
descriptors_set(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int moved = fcntl(fd, F_DUPFD, 10); /* dup2 onto itself would keep close-on-exec */
    if (null < 0 || moved < 0 || dup2(null, STDIN_FILENO) < 0)
        return -errno;
    for (int out = STDOUT_FILENO; out <= STDERR_FILENO; out++)
        if (fcntl(out, F_GETFD) < 0 && dup2(null, out) < 0)
            return -errno;
    if (dup2(moved, ROLE_SUPERVISOR_FD) < 0)
        return -errno;
    return close_range(ROLE_SUPERVISOR_FD + 1, ~0u, 0) ? -errno : 0;
}

static pid_t
spawn(struct child *ch, int fd)
{
    const char *argv[] = {"gapura", "--role", ch->row->name, NULL};
    pid_t pid = fork();
    if (pid)
        return pid;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(027);
    limits_set();
    if (descriptors_set(fd) || sandbox_user(ch->all->uids[ch->row->id], ch->all->gid, NULL))
        _exit(127);
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void
tell_fd(struct child *ch, uint16_t type, const struct buf *b, int fd)
{
    if (ch->chan)
        chan_send(ch->chan, type, 0, b, fd);
}

int
children_tell_settings(struct child *ch, const struct plan *plan)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    put_u64(&b, plan->generation);
    return chan_send(ch->chan, TELL_SETTINGS, 0, &b, plan->bundles[children_bundle(ch->row->id)]);
}

static void
introduce(struct child *a, struct child *b)
{
    int pair[2];
    if (!a->pid || !b->pid || chan_pair(pair))
        return;
    for (int i = 0; i < 2; i++) {
        CLEANUP(buf_done) struct buf body;
        buf_init(&body, 16);
        put_u8(&body, (uint8_t)(i ? a : b)->row->id);
        put_u8(&body, 0);
        tell_fd(i ? b : a, TELL_PEER, &body, pair[i]);
        close(pair[i]);
    }
}

static void
furnish(struct children *c, struct child *ch)
{
    CLEANUP(buf_done) struct buf slot;
    buf_init(&slot, 16);
    put_u8(&slot, (uint8_t)ch->row->id);
    tell_fd(ch, TELL_METRICS, &slot, c->metrics_fd);
    c->sink(c->ctx, ch);
    children_tell_settings(ch, c->plan);
    if (ch->control_fd >= 0)
        tell_fd(ch, TELL_CONTROL, NULL, ch->control_fd);
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        if (ch->row->peers & (1u << i))
            introduce(ch, &c->of[i]);
    c->greet(c->ctx, ch);
    tell_fd(ch, TELL_START, NULL, -1);
}

static void
try_again(struct child *ch)
{
    unsigned shift = MIN(ch->failures, 9u);
    uint64_t pause = MIN(BACKOFF_FIRST << shift, BACKOFF_MOST);
    ch->failures++;
    loop_timer_set(&ch->again, pause);
}

int
children_start(struct children *c, enum role_id id)
{
    static const struct chan_ops ops = {.message = on_message, .closed = on_closed};
    struct child *ch = &c->of[id];
    int pair[2];
    ch->wanted = true;
    int rc = chan_pair(pair);
    if (rc) {
        try_again(ch);
        return rc;
    }
    chan_free(ch->chan);
    ch->chan = chan_create(c->loop, pair[0], &ops, ch);
    ch->pid = ch->chan ? spawn(ch, pair[1]) : -1;
    rc = ch->chan ? -errno : ERR_NOMEM;
    close(pair[1]);
    if (ch->pid < 0) {
        if (!ch->chan)
            close(pair[0]);
        chan_free(ch->chan);
        ch->chan = NULL;
        ch->pid = 0;
        try_again(ch);
        return rc;
    }
    ch->ready = false;
    ch->generation = 0;
    ch->unanswered = 0;
    ch->started = clock_mono();
    furnish(c, ch);
    return 0;
}

static void
ended(struct children *c, struct child *ch, int status)
{
    bool expected = c->stopping || !ch->wanted;
    ch->pid = 0;
    ch->ready = false;
    ch->last_status = status;
    chan_free(ch->chan);
    ch->chan = NULL;
    c->lost(c->ctx, ch);
    if (expected)
        return;
    if (status) { /* 0: it asked for it */
        ch->restarts++;
        metric_add(METRIC_RESTARTS, 1);
    }
    if (clock_mono() - ch->started > STEADY)
        ch->failures = 0;
    if (!status)
        event_notice("%s is started again, to take what only a start can take", ch->row->name);
    else if (WIFSIGNALED(status))
        event_warning("%s was ended by signal %d%s and is started again; accepted mail is on disk",
                      ch->row->name, WTERMSIG(status),
                      WTERMSIG(status) == SIGSYS ? " (it asked for what its sandbox forbids)" : "");
    else
        event_warning("%s ended with status %d and is started again; accepted mail is on disk",
                      ch->row->name, WEXITSTATUS(status));
    try_again(ch);
}

void
children_reap(struct children *c)
{
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        int status;
        if (c->of[i].pid && waitpid(c->of[i].pid, &status, WNOHANG) == c->of[i].pid)
            ended(c, &c->of[i], status);
    }
    if (!c->stopping)
        return;
    /* The next in line is asked to stop when the one before it is gone. */
    for (size_t i = ARRAY_LEN(order); i--;)
        if (c->of[order[i]].pid) {
            children_stop_all(c);
            return;
        }
    c->all_gone(c->ctx);
}

static void
children_stop(struct children *c, enum role_id id)
{
    c->of[id].wanted = false;
    tell_fd(&c->of[id], TELL_STOP, NULL, -1);
}

/* Gate and courier first (they finish sessions and write outcomes), then those they lean on. */
void
children_stop_all(struct children *c)
{
    c->stopping = true;
    bool busy = c->of[ROLE_GATE].pid || c->of[ROLE_COURIER].pid;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct child *ch = &c->of[order[i]];
        bool trade = ch->row->id == ROLE_GATE || ch->row->id == ROLE_COURIER;
        if (ch->pid && (trade || !busy))
            children_stop(c, ch->row->id);
        loop_timer_stop(&ch->again);
    }
}

void
children_kill_all(struct children *c)
{
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        children_kill(&c->of[i]);
}
