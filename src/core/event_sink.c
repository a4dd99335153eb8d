/*
 * core/event_sink.c - the process's queue of event lines and its one way out.
 *
 * Called by event.c for every line and by each loop turn (event_flush). Never loses a line while
 * there is room, never writes half a line unless the kernel took only half, never waits for a
 * datagram's reader.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/event_sink.h"
#include "core/metric.h"

#define EVENT_QUEUE_MAX (4u << 20)   /* bytes of lines that wait */
#define EVENT_KEEP      (256u << 10) /* bytes of memory kept when nothing waits */
#define EVENT_PIECE     (256u << 10) /* bytes of one write, cut at a line's end */

/*
 * Lines are appended to `queue` under queue_lock. A flush takes them over by swapping the two
 * buffers and writes `out` under out_lock alone, so that a slow disk does not hold up threads that
 * only append. out_lock is taken first.
 */
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static struct buf queue = {.max = EVENT_QUEUE_MAX};
static char role_field[80]; /* ,"role":"..." */
static void (*tap_fn)(void *ctx, struct str line);
static void *tap_ctx;

static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;
static struct buf out = {.max = EVENT_QUEUE_MAX};
static char out_prefix[256];
static size_t out_prefix_len;
static int out_fd = -1;

static _Atomic int sink_kind = EVENT_SINK_NONE;
static _Atomic size_t stuck; /* bytes of `out` that a flush could not write */
static _Atomic uint64_t dropped;

static void
event_drop(uint64_t lines)
{
    atomic_fetch_add_explicit(&dropped, lines, memory_order_relaxed);
    metric_add(METRIC_EVENTS_DROPPED, lines);
}

void
event_setup(enum event_sink_kind kind, int fd, struct str prefix, const char *role)
{
    struct buf field;

    event_flush();
    buf_init(&field, sizeof(role_field) - 1);
    if (role) {
        buf_c(&field, ",\"role\":");
        buf_json(&field, str_c(role));
    }
    pthread_mutex_lock(&out_lock);
    pthread_mutex_lock(&queue_lock);
    out_fd = fd;
    out_prefix_len = MIN(prefix.n, sizeof(out_prefix));
    if (out_prefix_len)
        memcpy(out_prefix, prefix.p, out_prefix_len);
    role_field[0] = '\0';
    if (!field.failed)
        str_copy(buf_view(&field), role_field, sizeof(role_field));
    atomic_store(&sink_kind, fd < 0 ? EVENT_SINK_NONE : kind);
    pthread_mutex_unlock(&queue_lock);
    pthread_mutex_unlock(&out_lock);
    buf_done(&field);
}

int
event_swap_fd(int fd)
{
    int old;

    event_flush(); /* lines belong to the file that was there when they were written */
    pthread_mutex_lock(&out_lock);
    old = out_fd;
    out_fd = fd;
    pthread_mutex_unlock(&out_lock);
    return old;
}

/* Roles call event_setup before their threads start, so that reading the text needs no lock. */
void
event_sink_role(struct buf *line)
{
    buf_c(line, role_field);
}

/* True if the line is in the queue or is not wanted. */
static bool
event_queue(struct str line, enum event_importance importance)
{
    size_t limit = importance == EVENT_SPARED ? EVENT_QUEUE_MAX / 2 : EVENT_QUEUE_MAX;
    bool taken = false;

    pthread_mutex_lock(&queue_lock);
    if (queue.n + atomic_load(&stuck) + line.n <= limit) {
        buf_str(&queue, line);
        taken = !queue.failed;
        queue.failed = false;
    }
    pthread_mutex_unlock(&queue_lock);
    return taken;
}

void
event_sink_put(struct str line, bool broken, enum event_importance importance)
{
    void (*fn)(void *ctx, struct str line);
    void *ctx;

    if (broken) {
        event_drop(1);
        return;
    }
    pthread_mutex_lock(&queue_lock);
    fn = tap_fn;
    ctx = tap_ctx;
    pthread_mutex_unlock(&queue_lock);
    if (fn)
        fn(ctx, line); /* without the lock: fn may send events itself */
    if (atomic_load(&sink_kind) == EVENT_SINK_NONE || event_queue(line, importance))
        return;
    if (importance == EVENT_KEPT) {
        event_flush();
        if (event_queue(line, importance))
            return;
    }
    event_drop(1);
}

void
event_sink_plain(const char *type, struct str text)
{
    char line[2200];
    size_t n;
    ssize_t written;

    if (atomic_load(&sink_kind) != EVENT_SINK_NONE)
        return;
    n = str_fmt(line, sizeof(line), "gapura: %s: %.*s", type, STR_ARG(text));
    for (size_t i = 0; i < n; i++)
        line[i] = line[i] == '\n' ? ' ' : line[i];
    str_defuse(line, n); /* a terminal must not obey what a peer sent */
    line[MIN(n, sizeof(line) - 1)] = '\n';
    written = write(STDERR_FILENO, line, MIN(n, sizeof(line) - 1) + 1);
    (void)written;
}

/* Writes lines in large pieces; returns the bytes that are out. */
static size_t
event_write_fd(struct str lines)
{
    size_t done = 0;

    while (done < lines.n) {
        struct str piece = str_sub(lines, done, EVENT_PIECE);
        ssize_t end = str_rchr(piece, '\n'), n;

        if (end >= 0) /* a line's rest may be longer than a piece only in theory */
            piece.n = (size_t)end + 1;
        n = write(out_fd, piece.p, piece.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

static size_t
event_write_datagrams(struct str lines)
{
    size_t done = 0;

    while (done < lines.n) {
        struct str rest, line = str_cut(str_from(lines, done), '\n', &rest);
        struct iovec parts[2] = {{out_prefix, out_prefix_len}, {(void *)(uintptr_t)line.p, line.n}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

        if (sendmsg(out_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EMSGSIZE)
                break;
            event_drop(1); /* no later attempt would fit either */
        }
        done += line.n + 1;
    }
    return done;
}

void
event_flush(void)
{
    int kind = atomic_load(&sink_kind);
    size_t done = 0;

    if (kind == EVENT_SINK_NONE)
        return;
    pthread_mutex_lock(&out_lock);
    for (int round = 0; round < 2; round++) { /* what was stuck, then what is new */
        if (out.n == 0) {
            pthread_mutex_lock(&queue_lock);
            struct buf empty = out;
            out = queue;
            queue = empty;
            atomic_store(&stuck, out.n);
            pthread_mutex_unlock(&queue_lock);
        }
        if (out.n == 0)
            break;
        done = kind == EVENT_SINK_FD ? event_write_fd(buf_view(&out))
                                     : event_write_datagrams(buf_view(&out));
        buf_drop(&out, done);
        atomic_store(&stuck, out.n);
        if (out.n)
            break;
        buf_shrink(&out, EVENT_KEEP);
    }
    pthread_mutex_unlock(&out_lock);
}

uint64_t
event_dropped(void)
{
    return atomic_load(&dropped);
}

void
event_tap(void (*fn)(void *ctx, struct str line), void *ctx)
{
    pthread_mutex_lock(&queue_lock);
    tap_fn = fn;
    tap_ctx = ctx;
    pthread_mutex_unlock(&queue_lock);
}
