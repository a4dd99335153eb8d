/*
 * roles/listeners.c - binding, keeping and handing over listening sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "net/stream.h"
#include "roles/listeners.h"

#define LISTENERS_ENV     "GAPURA_LISTENERS"
#define LISTENERS_BACKLOG 4096

static bool
same_place(const struct plan_listen *a, const struct plan_listen *b)
{
    return addr_eq(&a->at.addr, &b->at.addr) && a->at.port == b->at.port;
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

int
listeners_prepare(const struct listeners *now, const struct plan *plan, struct listeners *next,
                  struct why *why)
{
    next->n = 0;
    for (unsigned i = 0; i < plan->nlistens; i++) {
        const struct plan_listen *at = &plan->listens[i];
        const struct listeners_row *had = find(now, at);
        char text[56];
        int fd;
        if (find(next, at)) {
            listeners_abandon(now, next);
            return why_set(why, ERR_EXISTS, "listen %s: another listener has %s already", at->name,
                           endpoint_show(&at->at, text));
        }
        if (!had)
            fd = listener_bind(&at->at, LISTENERS_BACKLOG);
        else if (!strcmp(had->at.name, at->name))
            fd = had->fd;
        else if ((fd = fcntl(had->fd, F_DUPFD_CLOEXEC, 0)) < 0) /* the block has a new name */
            fd = -errno;
        if (fd < 0) {
            listeners_abandon(now, next);
            return why_set(why, fd, "listen %s: cannot bind %s: %s", at->name,
                           endpoint_show(&at->at, text), err_text(fd));
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
        if (gone)
            gone(ctx, l->rows[i].at.name);
    }
    for (unsigned i = 0; added && i < next->n; i++)
        if (lost[i] || !has_fd(l, next->rows[i].fd))
            added(ctx, next->rows[i].at.name, next->rows[i].fd);
    *l = *next;
}

void
listeners_export(const struct listeners *l)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64u << 10);
    for (unsigned i = 0; i < l->n; i++) {
        char text[56];
        fcntl(l->rows[i].fd, F_SETFD, 0);
        buf_fmt(&b, "%s|%s|%d;", l->rows[i].at.name, endpoint_show(&l->rows[i].at.at, text),
                l->rows[i].fd);
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
        struct str row = str_cut(rest, ';', &rest), tail, number;
        struct str name = str_cut(row, '|', &tail);
        struct str at = str_cut(tail, '|', &number);
        struct listeners_row *r = &l->rows[l->n];
        uint64_t fd;
        if (!str_copy(name, r->at.name, sizeof r->at.name) || endpoint_parse(at, 0, &r->at.at) ||
            str_u64(number, &fd) || fd > INT_MAX || fcntl((int)fd, F_SETFD, FD_CLOEXEC))
            continue;
        r->fd = (int)fd;
        l->n++;
    }
    unsetenv(LISTENERS_ENV);
}
