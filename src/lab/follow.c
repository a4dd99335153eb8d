/*
 * lab/follow.c - reads new lines of the event file ten times a second.
 *
 * Called by lab.c. What is no JSON object is left out; a line over 64 KB cannot be
 * (docs/events.md).
 */
#include "lab/follow.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define LOOK_EACH (100 * NS_PER_MS)
#define LINE_MOST (128u << 10)
#define READ_MOST (1u << 20) /* in one look */

struct follow {
    struct loop *loop;
    struct loop_timer timer;
    char path[PATH_MAX];
    int fd;
    struct buf line;
    void (*event)(void *ctx, const json_t *);
    void *ctx;
};

static void
take_line(struct follow *w, struct str line)
{
    json_t *e = json_loadb(line.p, line.n, 0, NULL);

    if (json_is_object(e))
        w->event(w->ctx, e);
    json_decref(e);
}

/* False: nothing more is there. */
static bool
read_some(struct follow *w)
{
    char *room = buf_room(&w->line, 16384);
    ssize_t n, end;
    size_t used = 0;

    if (!room) {
        buf_clear(&w->line);
        return true;
    }
    n = w->fd >= 0 ? read(w->fd, room, 16384) : 0;
    if (n <= 0)
        return false;
    buf_used(&w->line, (size_t)n);
    while ((end = str_chr(str_from(buf_view(&w->line), used), '\n')) >= 0) {
        take_line(w, str_sub(buf_view(&w->line), used, (size_t)end));
        used += (size_t)end + 1;
    }
    buf_drop(&w->line, used);
    return true;
}

/* The file was renamed, and another one has its name: what is left of the old one was read. */
static bool
opened_anew(struct follow *w)
{
    struct stat now, ours;

    if (stat(w->path, &now) < 0)
        return false;
    if (w->fd >= 0 && fstat(w->fd, &ours) == 0 && ours.st_ino == now.st_ino &&
        ours.st_dev == now.st_dev)
        return false;
    fd_close(&w->fd);
    buf_clear(&w->line);
    w->fd = open(w->path, O_RDONLY | O_CLOEXEC);
    return w->fd >= 0;
}

void
follow_look(struct follow *w)
{
    size_t most = READ_MOST / 16384;

    do {
        while (most && read_some(w))
            most--;
    } while (most && opened_anew(w));
}

static void
on_timer(void *ctx)
{
    struct follow *w = ctx;

    follow_look(w);
    loop_timer_set(&w->timer, LOOK_EACH);
}

struct follow *
follow_create(struct loop *loop, const char *path, void (*event)(void *ctx, const json_t *),
              void *ctx)
{
    struct follow *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->loop = loop;
    w->event = event;
    w->ctx = ctx;
    str_fmt(w->path, sizeof(w->path), "%s", path);
    buf_init(&w->line, LINE_MOST);
    w->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (w->fd >= 0)
        (void)lseek(w->fd, 0, SEEK_END);
    loop_timer_init(&w->timer, loop, on_timer, w);
    loop_timer_set(&w->timer, LOOK_EACH);
    return w;
}

void
follow_free(struct follow *w)
{
    if (!w)
        return;
    loop_timer_stop(&w->timer);
    fd_close(&w->fd);
    buf_done(&w->line);
    free(w);
}
