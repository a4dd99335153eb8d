/*
 * roles/listeners.c - binding, keeping and handing over listening sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/stream.h"
#include "roles/listeners.h"

#define LISTENERS_ENV     "GAPURA_LISTENERS"
#define LISTENERS_BACKLOG 4096
#define UNIX_PREFIX       "unix:"
#define PLACE_TEXT        (PLAN_SOCKET_MAX + 8)

static bool
same_place(const struct plan_listen *a, const struct plan_listen *b)
{
    return addr_eq(&a->at.addr, &b->at.addr) && a->at.port == b->at.port &&
           !strcmp(a->path, b->path);
}

static const char *
place_show(const struct plan_listen *at, char dst[PLACE_TEXT])
{
    char text[56];
    str_fmt(dst, PLACE_TEXT, "%s%s", at->path[0] ? UNIX_PREFIX : "",
            at->path[0] ? at->path : endpoint_show(&at->at, text));
    return dst;
}

static bool
place_parse(struct str text, struct plan_listen *ret)
{
    if (str_starts(text, STR(UNIX_PREFIX)))
        return str_copy(str_from(text, sizeof UNIX_PREFIX - 1), ret->path, sizeof ret->path);
    return !endpoint_parse(text, 0, &ret->at);
}

static mode_t
place_mode(const struct plan_listen *at)
{
    return at->all_users ? 0666 : 0660;
}

/* The socket at a path, and nothing that somebody has put in its place. UINT_MAX: the owner stays.
 */
static int
place_give(const char *path, mode_t mode, unsigned gid)
{
    CLEANUP(fd_close) int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char self[32];
    struct stat st;

    if (fd < 0 || fstat(fd, &st))
        return -errno;
    if (!S_ISSOCK(st.st_mode))
        return -ENOTSOCK;
    if (gid != UINT_MAX && fchownat(fd, "", 0, gid, AT_EMPTY_PATH))
        return -errno;
    str_fmt(self, sizeof self, "/proc/self/fd/%d", fd);
    return chmod(self, mode) ? -errno : 0;
}

static int
bind_place(const struct plan_listen *at, unsigned admin_gid)
{
    if (!at->path[0])
        return listener_bind(&at->at, LISTENERS_BACKLOG);
    int fd = listener_bind_unix(at->path, place_mode(at));
    int err = fd >= 0 && geteuid() == 0 ? place_give(at->path, place_mode(at), admin_gid) : 0;
    if (!err)
        return fd;
    close(fd);
    return err;
}

static const struct listeners_row *
find(const struct listeners *l, const struct plan_listen *at)
{
    for (unsigned i = 0; i < l->n; i++)
        if (same_place(&l->rows[i].at, at))
            return &l->rows[i];
    return NULL;
}

static bool
has_fd(const struct listeners *l, int fd)
{
    for (unsigned i = 0; i < l->n; i++)
        if (l->rows[i].fd == fd)
            return true;
    return false;
}

void
listeners_abandon(const struct listeners *now, struct listeners *next)
{
    for (unsigned i = 0; i < next->n; i++)
        if (!has_fd(now, next->rows[i].fd))
            close(next->rows[i].fd);
    next->n = 0;
}

static bool
wanted(const struct plan *plan, const struct plan_listen *at)
{
    for (unsigned i = 0; i < plan->nlistens; i++)
        if (same_place(&plan->listens[i], at))
            return true;
    return false;
}

/* One of ours that is to go has the port: 0.0.0.0:25 is in the way of 192.0.2.1:25. */
static const struct listeners_row *
in_the_way(const struct listeners *now, const struct plan *plan, const struct plan_listen *at)
{
    for (unsigned i = 0; i < now->n; i++) {
        const struct plan_listen *had = &now->rows[i].at;
        if (!at->path[0] && !had->path[0] && had->at.port == at->at.port && !wanted(plan, had))
            return &now->rows[i];
    }
    return NULL;
}

static int
cannot_bind(const struct listeners *now, const struct plan *plan, const struct plan_listen *at,
            int err, struct why *why)
{
    const struct listeners_row *way = err == -EADDRINUSE ? in_the_way(now, plan, at) : NULL;
    char text[PLACE_TEXT], other[PLACE_TEXT];

    if (!way)
        return why_set(why, err, "listen %s: cannot bind %s: %s", at->name, place_show(at, text),
                       err_text(err));
    return why_set(
        why, ERR_STATE,
        "listen %s: cannot bind %s while %s of the former settings is open: restart with "
        "`systemctl restart gapura` or SIGUSR2, which closes it first",
        at->name, place_show(at, text), place_show(&way->at, other));
}

void
listeners_keep(struct listeners *l, const struct plan *plan)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < l->n; i++) {
        struct listeners_row *r = &l->rows[i];
        if (wanted(plan, &r->at)) {
            l->rows[kept++] = *r;
            continue;
        }
        close(r->fd);
        if (r->at.path[0])
            unlink(r->at.path);
    }
    l->n = kept;
}

int
listeners_prepare(const struct listeners *now, const struct plan *plan, struct listeners *next,
                  struct why *why)
{
    next->n = 0;
    for (unsigned i = 0; i < plan->nlistens; i++) {
        const struct plan_listen *at = &plan->listens[i];
        const struct listeners_row *had = find(now, at);
        char text[PLACE_TEXT];
        int fd;
        if (find(next, at)) {
            listeners_abandon(now, next);
            return why_set(why, ERR_EXISTS, "listen %s: another listener has %s already", at->name,
                           place_show(at, text));
        }
        if (!had)
            fd = bind_place(at, plan->admin_gid);
        else if (!strcmp(had->at.name, at->name))
            fd = had->fd;
        else if ((fd = fcntl(had->fd, F_DUPFD_CLOEXEC, 0)) < 0) /* the block has a new name */
            fd = -errno;
        if (fd < 0) {
            listeners_abandon(now, next);
            return cannot_bind(now, plan, at, fd, why);
        }
        next->rows[next->n++] = (struct listeners_row){*at, fd};
    }
    return 0;
}

void
listeners_commit(struct listeners *l, const struct listeners *next,
                 void (*added)(void *, const char *, int), void (*gone)(void *, const char *),
                 void *ctx)
{
    bool lost[PLAN_LISTENS] = {false}; /* rows of next whose name lost an address */
    for (unsigned i = 0; i < l->n; i++) {
        if (has_fd(next, l->rows[i].fd))
            continue;
        for (unsigned k = 0; k < next->n; k++)
            lost[k] = lost[k] || !strcmp(next->rows[k].at.name, l->rows[i].at.name);
        close(l->rows[i].fd);
        if (l->rows[i].at.path[0] && !find(next, &l->rows[i].at))
            unlink(l->rows[i].at.path);
        if (gone)
            gone(ctx, l->rows[i].at.name);
    }
    for (unsigned i = 0; added && i < next->n; i++)
        if (lost[i] || !has_fd(l, next->rows[i].fd))
            added(ctx, next->rows[i].at.name, next->rows[i].fd);
    for (unsigned i = 0; i < next->n; i++) /* who may open a socket that stayed */
        if (next->rows[i].at.path[0])
            (void)place_give(next->rows[i].at.path, place_mode(&next->rows[i].at), UINT_MAX);
    *l = *next;
}

void
listeners_export(const struct listeners *l)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64u << 10);
    for (unsigned i = 0; i < l->n; i++) {
        char text[PLACE_TEXT];
        fcntl(l->rows[i].fd, F_SETFD, 0);
        buf_fmt(&b, "%s|%s|%d|%d;", l->rows[i].at.name, place_show(&l->rows[i].at, text),
                l->rows[i].fd, l->rows[i].at.all_users);
    }
    buf_char(&b, 0);
    if (!b.failed)
        setenv(LISTENERS_ENV, b.p, 1);
}

void
listeners_import(struct listeners *l)
{
    struct str rest = str_c(getenv(LISTENERS_ENV));
    while (rest.n && l->n < PLAN_LISTENS) {
        struct str row = str_cut(rest, ';', &rest), tail, number, users;
        struct str name = str_cut(row, '|', &tail);
        struct str at = str_cut(tail, '|', &number);
        number = str_cut(number, '|', &users);
        struct listeners_row *r = &l->rows[l->n];
        uint64_t fd;
        if (!str_copy(name, r->at.name, sizeof r->at.name) || !place_parse(at, &r->at) ||
            str_u64(number, &fd) || fd > INT_MAX || fcntl((int)fd, F_SETFD, FD_CLOEXEC))
            continue;
        r->fd = (int)fd;
        r->at.all_users = str_eq(users, STR("1"));
        l->n++;
    }
    unsetenv(LISTENERS_ENV);
}
