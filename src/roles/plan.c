/*
 * roles/plan.c - the supervisor's conversation with the loader: starts it, waits, decodes.
 *
 * The loader (roles/loader.c) is trusted with nothing: what it says is a small message of names,
 * addresses and paths, each copied into a place of its size.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/wire.h"
#include "roles/loader.h"
#include "roles/plan.h"
#include "roles/role.h"
#include "roles/sandbox.h"

#define LOADER_WAIT_MS 30000

static bool
wire_text(struct wire *w, char *dst, size_t cap)
{
    return str_copy(wire_str(w), dst, cap);
}

static void
decode_listens(struct plan *p, struct wire *w)
{
    uint32_t n = wire_u32(w);
    if (n >= PLAN_LISTENS) /* one is kept for the metrics page */
        w->failed = true;
    for (uint32_t i = 0; i < n && !w->failed; i++) {
        struct plan_listen *l = &p->listens[p->nlistens++];
        w->failed |= !wire_text(w, l->name, sizeof l->name);
        struct str raw = wire_bytes(w, sizeof l->at);
        if (raw.n)
            memcpy(&l->at, raw.p, raw.n);
        w->failed |= !wire_text(w, l->path, sizeof l->path);
        l->all_users = wire_u8(w);
    }
    struct buf names;
    n = wire_u32(w);
    buf_init(&names, sizeof p->lacking - 1);
    for (uint32_t i = 0; i < n && !w->failed; i++) {
        buf_c(&names, i ? ", " : "");
        buf_str(&names, wire_str(w));
    }
    if (!str_copy(buf_view(&names), p->lacking, sizeof p->lacking) || names.failed)
        str_copy(STR("many"), p->lacking, sizeof p->lacking);
    buf_done(&names);
}

static void
decode_lists(struct plan *p, struct wire *w)
{
    uint32_t n = wire_u32(w);
    w->failed |= n > PLAN_FILES;
    for (uint32_t i = 0; i < n && !w->failed; i++)
        w->failed |= !wire_text(w, p->files[p->nfiles++], sizeof p->files[0]);
    n = wire_u32(w);
    w->failed |= n > PLAN_FIXED;
    for (uint32_t i = 0; i < n && !w->failed; i++) {
        struct plan_fixed *f = &p->fixed[p->nfixed++];
        w->failed |= !wire_text(w, f->name, sizeof f->name);
        f->digest = wire_u32(w);
    }
}

static int
plan_decode(struct plan *p, struct wire *w)
{
    bool ok =
        wire_text(w, p->hostname, sizeof p->hostname) && wire_text(w, p->user, sizeof p->user);
    p->wings = wire_u8(w);
    ok = ok && wire_text(w, p->spool_dir, sizeof p->spool_dir) &&
         wire_text(w, p->control_dir, sizeof p->control_dir) &&
         wire_text(w, p->store, sizeof p->store);
    p->events_to = wire_u8(w);
    ok = ok && wire_text(w, p->events_file, sizeof p->events_file);
    p->rotate_size = wire_u64(w);
    p->keep = wire_u64(w);
    p->language = wire_u8(w);
    p->watchdog = wire_u64(w);
    struct str raw = wire_bytes(w, sizeof p->metrics);
    if (raw.n)
        memcpy(&p->metrics, raw.p, raw.n);
    w->failed |= !ok;
    decode_listens(p, w);
    decode_lists(p, w);
    w->failed |= !wire_text(w, p->notes, sizeof p->notes);
    return wire_end(w) ? 0 : ERR_LIMIT;
}

static void
take_descriptors(struct msghdr *msg, struct plan *p)
{
    unsigned n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t have = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < have; i++) { /* padding leaves room for more than was asked */
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (n < PLAN_BUNDLES)
                p->bundles[n++] = fd;
            else
                close(fd);
        }
    }
}

/* One message of the loader, which is there or will never be. */
static int
plan_receive(int fd, struct plan *p, uint64_t generation, char **ret_errors)
{
    CLEANUP(free_ptr) char *text = malloc(PLAN_MESSAGE_MAX);
    struct iovec iov = {text, PLAN_MESSAGE_MAX};
    union {
        char raw[CMSG_SPACE(sizeof(int) * PLAN_BUNDLES)];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.raw,
                         .msg_controllen = sizeof control.raw};
    ENSURE(text);
    memset(p, 0, sizeof *p);
    for (unsigned i = 0; i < PLAN_BUNDLES; i++)
        p->bundles[i] = -1;
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    take_descriptors(&msg, p);
    int rc = !n || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? ERR_CLOSED : 0;
    if (!rc && !text[0]) {
        *ret_errors = str_dup(str_of(text + 1, (size_t)n - 1));
        rc = ERR_SYNTAX;
    }
    struct wire w;
    wire_init(&w, text + 1, (size_t)MAX(n, 1) - 1);
    p->generation = generation;
    if (!rc)
        rc = p->bundles[PLAN_BUNDLES - 1] >= 0 ? plan_decode(p, &w) : ERR_CLOSED;
    if (rc)
        plan_done(p);
    return rc;
}

static pid_t
loader_start(const char *file, uint64_t generation, unsigned uid, unsigned gid, int fd)
{
    char number[24];
    str_fmt(number, sizeof number, "%llu", (unsigned long long)generation);
    pid_t pid = fork();
    if (pid)
        return pid;
    if (fd == ROLE_SUPERVISOR_FD)
        fcntl(fd, F_SETFD, 0);
    else
        dup2(fd, ROLE_SUPERVISOR_FD);
    if (sandbox_reader(uid, gid, NULL))
        _exit(1);
    /* Capabilities do not outlive exec for a user that is not root: the loader runs as it is. */
    close_range(ROLE_SUPERVISOR_FD + 1, ~0u, 0);
    _exit(loader_main(file, generation));
}

/* The loader and our end of the pair to it. */
static int
loader_open(const char *file, uint64_t generation, unsigned uid, unsigned gid, pid_t *ret_pid,
            int *ret_fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -errno;
    int room = 2 * (int)PLAN_MESSAGE_MAX;
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    pid_t pid = loader_start(file, generation, uid, gid, pair[1]);
    int rc = pid < 0 ? -errno : 0;
    close(pair[1]);
    if (rc) {
        close(pair[0]);
        return rc;
    }
    *ret_pid = pid;
    *ret_fd = pair[0];
    return 0;
}

/* It has said all it has to say, or too late. */
static void
loader_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int
plan_load(struct plan *ret, const char *file, uint64_t generation, unsigned uid, unsigned gid,
          char **ret_errors)
{
    CLEANUP(fd_close) int fd = -1;
    pid_t pid = 0;
    *ret_errors = NULL;
    int rc = loader_open(file, generation, uid, gid, &pid, &fd);
    if (rc)
        return rc;
    struct pollfd pf = {.fd = fd, .events = POLLIN};
    rc = poll(&pf, 1, LOADER_WAIT_MS) > 0 ? plan_receive(fd, ret, generation, ret_errors)
                                          : ERR_TIMEOUT;
    loader_end(pid);
    return rc;
}

struct plan_loading {
    struct plan_ask ask;
    pid_t pid;
    int fd;
    struct loop_io *io;
    struct loop_timer late;
};

static void
loading_end(struct plan_loading *l, int rc, struct plan *plan, const char *errors)
{
    struct plan_ask ask = l->ask;
    loop_timer_stop(&l->late);
    loop_io_free(l->io);
    fd_close(&l->fd);
    loader_end(l->pid);
    free(l);
    ask.done(ask.ctx, rc, plan, errors ? errors : "");
}

static void
on_loaded(void *ctx, unsigned ready)
{
    struct plan_loading *l = ctx;
    CLEANUP(free_ptr) char *errors = NULL;
    struct plan *plan = malloc(sizeof *plan);
    (void)ready;
    ENSURE(plan);
    int rc = plan_receive(l->fd, plan, l->ask.generation, &errors);
    if (rc) {
        free(plan);
        plan = NULL;
    }
    if (rc != -EAGAIN)
        loading_end(l, rc, plan, errors);
}

static void
on_loading_late(void *ctx)
{
    loading_end(ctx, ERR_TIMEOUT, NULL, NULL);
}

int
plan_load_start(const struct plan_ask *ask)
{
    struct plan_loading *l = calloc(1, sizeof *l);
    ENSURE(l);
    l->ask = *ask;
    int rc = loader_open(ask->file, ask->generation, ask->uid, ask->gid, &l->pid, &l->fd);
    if (!rc) {
        l->io = loop_io_add(ask->loop, l->fd, LOOP_READ, on_loaded, l);
        if (!l->io) {
            fd_close(&l->fd);
            loader_end(l->pid);
            rc = ERR_NOMEM;
        }
    }
    if (rc) {
        free(l);
        return rc;
    }
    loop_timer_init(&l->late, ask->loop, on_loading_late, l);
    loop_timer_set(&l->late, LOADER_WAIT_MS * UINT64_C(1000000));
    return 0;
}

bool
plan_fixed_differs(const struct plan *a, const struct plan *b, struct buf *ret)
{
    bool any = false;
    for (unsigned i = 0; i < a->nfixed && i < b->nfixed; i++) {
        if (a->fixed[i].digest == b->fixed[i].digest)
            continue;
        buf_fmt(ret, "%s%s", any ? ", " : "", a->fixed[i].name);
        any = true;
    }
    return any;
}

void
plan_done(struct plan *p)
{
    for (unsigned i = 0; i < PLAN_BUNDLES; i++)
        fd_close(&p->bundles[i]);
}

void
plan_free(struct plan *p)
{
    if (p)
        plan_done(p);
    free(p);
}
