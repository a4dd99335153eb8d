/*
 * lab/warden.c - see lab/warden.h.
 *
 * Called by lab.c. It reads one byte at a time from a pipe that the lab alone holds, knows the
 * gateway by a descriptor (a number may pass to another process), and ends when the pipe does.
 */
#include "lab/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ORDER_STOP = 's', ORDER_REMOVE = 'r' };

/* Everything that the lab has open would stay open with us: its ports, above all. */
static void
close_others(int a, int b)
{
    unsigned low = (unsigned)MIN(a, b), high = (unsigned)MAX(a, b);

    if (low > 3)
        (void)syscall(SYS_close_range, 3u, low - 1, 0u);
    if (high > low + 1)
        (void)syscall(SYS_close_range, low + 1, high - 1, 0u);
    (void)syscall(SYS_close_range, high + 1, ~0u, 0u);
}

static _Noreturn void
warden_run(int orders, int gateway, const char *const *paths, unsigned npaths)
{
    char order = 0;
    ssize_t n;

    for (;;) {
        n = read(orders, &order, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != 1)
            _exit(0); /* the kernel tells the gateway, see gateway_start() */
        if (order == ORDER_STOP)
            (void)syscall(SYS_pidfd_send_signal, gateway, SIGTERM, NULL, 0u);
        for (unsigned i = 0; order == ORDER_REMOVE && i < npaths; i++)
            unlink(paths[i]);
    }
}

int
warden_start(struct warden *w, pid_t gateway, const char *const *paths, unsigned npaths,
             struct why *why)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    CLEANUP(fd_close) int fd = (int)syscall(SYS_pidfd_open, gateway, 0u);
    int ends[2];

    w->fd = -1;
    if (fd < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return why_set(why, -errno, "the lab cannot watch its gateway: %s", err_text(-errno));
    w->pid = fork();
    if (w->pid == 0) {
        for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
            signal(ignored[i], SIG_IGN);
        close_others(ends[0], fd);
        warden_run(ends[0], fd, paths, npaths);
    }
    fd_close(&ends[0]);
    if (w->pid < 0) {
        fd_close(&ends[1]);
        return why_set(why, -errno, "no process that watches the gateway: %s", err_text(-errno));
    }
    w->fd = ends[1];
    return 0;
}

static void
warden_order(struct warden *w, char order)
{
    if (w->fd >= 0)
        (void)!write(w->fd, &order, 1);
}

void
warden_stop_gateway(struct warden *w)
{
    warden_order(w, ORDER_STOP);
}

void
warden_end(struct warden *w, bool remove)
{
    if (w->fd < 0)
        return;
    if (remove)
        warden_order(w, ORDER_REMOVE);
    fd_close(&w->fd);
    while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}
