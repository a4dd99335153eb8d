/*
 * store/watch.c - tells when one of some files changes, comes or goes, by inotify on their folders.
 *
 * Called by the keeper. Never polls; a burst of changes is told once, a moment after it began.
 */
#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/str.h"
#include "store/sources.h"

#define FILES_MAX 4096u
#define SETTLE    (300 * NS_PER_MS)
#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB)

struct watch_file {
    int folder; /* inotify's descriptor */
    char *name;
};

struct watch {
    struct loop *loop;
    struct loop_io *io;
    struct loop_timer settle;
    void (*fn)(void *ctx);
    void *ctx;
    int fd;
    struct watch_file *files;
    size_t n;
};

/* The file itself, or bytes written to a side file of a database (that one comes and goes when we
 * ourselves read the database, and must not wake us for it). */
static bool
is_ours(const struct watch *w, const struct inotify_event *e)
{
    for (size_t i = 0; i < w->n; i++) {
        size_t n = strlen(w->files[i].name);

        if (w->files[i].folder != e->wd || !e->len || strncmp(e->name, w->files[i].name, n))
            continue;
        if (!e->name[n])
            return true;
        if ((e->mask & IN_MODIFY) &&
            (!strcmp(e->name + n, "-wal") || !strcmp(e->name + n, "-journal")))
            return true;
    }
    return false;
}

static void
on_ready(void *ctx, unsigned ready UNUSED)
{
    struct watch *w = ctx;
    char room[4096] __attribute__((aligned(8)));
    bool changed = false;
    ssize_t n;

    while ((n = read(w->fd, room, sizeof(room))) > 0) {
        for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
            const struct inotify_event *e = (const void *)(room + at);

            changed = changed || (e->mask & (IN_Q_OVERFLOW | IN_IGNORED)) || is_ours(w, e);
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
    if (changed && !w->settle.due)
        (void)loop_timer_set(&w->settle, SETTLE);
}

static void
on_settled(void *ctx)
{
    struct watch *w = ctx;

    w->fn(w->ctx);
}

static bool
watch_open(struct watch *w)
{
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd >= 0)
        w->io = loop_io_add(w->loop, w->fd, LOOP_READ, on_ready, w);
    return w->io;
}

struct watch *
watch_create(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    *w = (struct watch){.loop = loop, .fn = fn, .ctx = ctx, .fd = -1};
    w->files = calloc(FILES_MAX, sizeof(*w->files));
    loop_timer_init(&w->settle, loop, on_settled, w);
    if (!w->files || !watch_open(w)) {
        watch_free(w);
        return NULL;
    }
    return w;
}

static void
close_all(struct watch *w)
{
    loop_io_free(w->io);
    w->io = NULL;
    fd_close(&w->fd);
    for (size_t i = 0; i < w->n; i++)
        free(w->files[i].name);
    w->n = 0;
}

void
watch_free(struct watch *w)
{
    if (!w)
        return;
    close_all(w);
    loop_timer_stop(&w->settle);
    free(w->files);
    free(w);
}

/* A fresh inotify descriptor forgets all folders at once. */
void
watch_clear(struct watch *w)
{
    if (!w)
        return;
    close_all(w);
    (void)watch_open(w);
}

static void
add_one(struct watch *w, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int wd;

    if (w->fd < 0 || w->n >= FILES_MAX || !slash || !slash[1])
        return;
    if (!str_copy(str_of(path, slash == path ? 1 : (size_t)(slash - path)), folder, sizeof(folder)))
        return;
    wd = inotify_add_watch(w->fd, folder, EVENTS | IN_ONLYDIR);
    if (wd < 0) /* no such folder: a reload looks again */
        return;
    w->files[w->n].name = strdup(slash + 1);
    w->files[w->n].folder = wd;
    if (w->files[w->n].name)
        w->n++;
}

void
watch_add(struct watch *w, const char *path)
{
    char real[PATH_MAX];

    if (!w)
        return;
    add_one(w, path);
    /* a symbolic link: its target may change as well */
    if (realpath(path, real) && strcmp(real, path))
        add_one(w, real);
}
