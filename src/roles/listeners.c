/*
 * roles/listeners.c - binding, keeping and handing over listening sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "net/stream.h"
#include "roles/listeners.h"

#define LISTENERS_ENV     "GAPURA_LISTENERS"
#define LISTENERS_BACKLOG 4096

static bool
same(const struct plan_listen *a, const struct plan_listen *b)
{
    return addr_eq(&a->at.addr, &b->at.addr) && a->at.port == b->at.port &&
           !strcmp(a->name, b->name);
}

static struct listeners_row *
find(struct listeners *l, const struct plan_listen *at)
{
    for (unsigned i = 0; i < l->n; i++)
        if (same(&l->rows[i].at, at))
            return &l->rows[i];
    return NULL;
}

static bool
planned(const struct plan *p, const struct plan_listen *at)
{
    for (unsigned i = 0; i < p->nlistens; i++)
        if (same(&p->listens[i], at))
            return true;
    return false;
}

int
listeners_update(struct listeners *l, const struct plan *plan, struct why *why,
                 void (*added)(void *, const char *, int), void (*gone)(void *, const char *),
                 void *ctx)
{
    unsigned before = l->n;
    for (unsigned i = 0; i < plan->nlistens; i++) {
        const struct plan_listen *at = &plan->listens[i];
        if (find(l, at) || l->n == PLAN_LISTENS)
            continue;
        int fd = listener_bind(&at->at, LISTENERS_BACKLOG);
        if (fd < 0) {
            char text[56];
            while (l->n > before)
                close(l->rows[--l->n].fd);
            return why_set(why, fd, "listen %s: cannot bind %s: %s", at->name,
                           endpoint_show(&at->at, text), err_text(fd));
        }
        l->rows[l->n++] = (struct listeners_row){*at, fd};
    }
    for (unsigned i = before; added && i < l->n; i++)
        added(ctx, l->rows[i].at.name, l->rows[i].fd);
    for (unsigned i = 0; i < l->n;) {
        if (planned(plan, &l->rows[i].at)) {
            i++;
            continue;
        }
        close(l->rows[i].fd);
        if (gone)
            gone(ctx, l->rows[i].at.name);
        l->rows[i] = l->rows[--l->n];
    }
    return 0;
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
            str_u64(number, &fd) || fd > 65535)
            continue;
        r->fd = (int)fd;
        fcntl(r->fd, F_SETFD, FD_CLOEXEC);
        l->n++;
    }
    unsetenv(LISTENERS_ENV);
}

void
listeners_close(struct listeners *l)
{
    while (l->n)
        close(l->rows[--l->n].fd);
}
