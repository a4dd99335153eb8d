/*
 * roles/watchdog.c - waits for the roles at a start, and finds the one that hangs.
 *
 * Called by the supervisor. Never ends a role that was stopped on purpose (SIGSTOP, a debugger),
 * that waits for its disk, or that is still at its start: a long recovery is no fault.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/lang.h"
#include "roles/watchdog.h"
#include "store/asks.h"

#define LATE       (30 * NS_PER_S) /* a start that takes longer is told of, and again */
#define UNANSWERED 2u              /* late looks in a row that are enough */

void
watchdog_notify(const char *state)
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

static bool
is_missing(const struct child *ch)
{
    return ch->row->ops && ch->wanted && !ch->ready;
}

static void
say_missing(const struct child *ch, unsigned seconds)
{
    if (ch->pid)
        event_alarm("%s is not up %u s after the start: it is at work on it (a long log to read, "
                    "perhaps), or hangs there. Mail that needs it waits; accepted mail is on disk",
                    ch->row->name, seconds);
    else
        event_alarm("%s is not up %u s after the start: it ends each time it is started, and says "
                    "why in an event of its own. Mail that needs it waits; accepted mail is on "
                    "disk. It is tried again",
                    ch->row->name, seconds);
}

/* Told after 30 s, 60 s, 2 min, 4 min ...; the service manager gives time only while all that are
 * missing are at work, so that a role that cannot start ends the start as its TimeoutStartSec says.
 */
static void
on_late(void *ctx)
{
    struct watchdog *w = ctx;
    char state[256];
    bool dying = false, say;

    if (w->up || w->children->stopping)
        return;
    w->late_for++;
    say = (w->late_for & (w->late_for - 1)) == 0;
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        const struct child *ch = &w->children->of[i];

        if (!is_missing(ch))
            continue;
        if (say)
            say_missing(ch, w->late_for * (unsigned)(LATE / NS_PER_S));
        dying = dying || !ch->pid || ch->failures;
        str_fmt(state, sizeof state, "STATUS=%s is not up yet", ch->row->name);
        watchdog_notify(state);
    }
    if (!dying) {
        str_fmt(state, sizeof state, "EXTEND_TIMEOUT_USEC=%llu",
                (unsigned long long)(3 * LATE / NS_PER_US));
        watchdog_notify(state);
    }
    loop_timer_set(&w->late, LATE);
}

void
watchdog_role_up(struct watchdog *w)
{
    if (w->up || w->children->stopping)
        return;
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        if (is_missing(&w->children->of[i]))
            return;
    w->up = true;
    loop_timer_stop(&w->late);
    watchdog_notify(w->late_for ? "STATUS=\nREADY=1" : "READY=1");
}

/* The letter of proc(5): T and t are stopped, D waits for a disk. 0: not to be seen (hidepid). */
static char
state_of(pid_t pid)
{
    siginfo_t stopped = {.si_pid = 0};
    char path[40], text[512] = "";

    if (!waitid(P_PID, (id_t)pid, &stopped, WSTOPPED | WNOHANG | WNOWAIT) && stopped.si_pid)
        return 'T';
    str_fmt(path, sizeof path, "/proc/%d/stat", (int)pid);
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    ssize_t end =
        str_rchr(str_of(text, (size_t)MAX(n, 0)), ')'); /* of the name, which may be any */
    return end > 0 && end + 2 < n ? text[end + 2] : 0;
}

static void
end_hung(struct watchdog *w, struct child *ch, char state)
{
    char shown[32];

    event_alarm("%s hangs: it has not answered for %s, and %s. It is ended and started again; "
                "accepted mail is on disk. If it comes again, report it with what was sent and "
                "asked before",
                ch->row->name, str_show_duration(UNANSWERED * w->every, shown),
                state == 'R' ? lang_text("it computes without end")
                             : lang_text("it waits for something"));
    event_flush();
    /* Once more by the signal that nobody can keep off. */
    kill(ch->pid, ch->unanswered > UNANSWERED ? SIGKILL : SIGABRT);
}

/* Two looks, since one may come late itself: this process was stopped, or the machine slept. */
static void
look_at(struct watchdog *w, struct child *ch)
{
    char state = ch->unanswered ? state_of(ch->pid) : 0;

    if (!ch->pid || !ch->ready || !ch->chan || state == 'T' || state == 't' || state == 'D') {
        ch->unanswered = 0;
        return;
    }
    if (ch->unanswered >= UNANSWERED)
        end_hung(w, ch, state);
    ch->unanswered++;
    chan_send(ch->chan, TELL_ALIVE, 0, NULL, -1);
}

static void
on_ask(void *ctx)
{
    struct watchdog *w = ctx;

    if (w->children->stopping)
        return;
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        look_at(w, &w->children->of[i]);
    loop_timer_set(&w->ask, w->every);
}

void
watchdog_settings(struct watchdog *w)
{
    if (w->every == w->children->plan->watchdog)
        return;
    w->every = w->children->plan->watchdog;
    for (unsigned i = 0; i < ROLE_MAX_; i++)
        w->children->of[i].unanswered = 0;
    loop_timer_stop(&w->ask);
    if (w->every)
        loop_timer_set(&w->ask, w->every);
}

void
watchdog_init(struct watchdog *w, struct loop *loop, struct children *children)
{
    *w = (struct watchdog){.children = children};
    loop_timer_init(&w->late, loop, on_late, w);
    loop_timer_init(&w->ask, loop, on_ask, w);
}

void
watchdog_start(struct watchdog *w)
{
    loop_timer_set(&w->late, LATE);
    watchdog_settings(w);
}
