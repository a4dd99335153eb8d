/*
 * core/event_sink.c - the process's queue of event lines and its one way out.
 *
 * Called by event.c for every line and by each loop turn (event_flush). Never loses a line while
 * there is room, never writes half a line unless the kernel took only half, never waits for a
 * reader.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/err.h"
#include "core/event_sink.h"
#include "core/lang.h"
#include "core/metric.h"

#define EVENT_QUEUE_MAX (4u << 20)      /* bytes of lines that wait */
#define EVENT_KEEP      (256u << 10)    /* bytes of memory kept when nothing waits */
#define EVENT_PIECE     (256u << 10)    /* bytes of one write, cut at a line's end */
#define EVENT_LOST_EACH (60 * NS_PER_S) /* a line about lost ones at most this often */

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
static enum { OUT_FILE, OUT_PIPE, OUT_SOCKET } out_way;

static _Atomic int sink_kind = EVENT_SINK_NONE;
static _Atomic size_t stuck; /* bytes of `out` that a flush could not write */
static _Atomic int stuck_by; /* errno of the last write that failed; 0 once all is out */
static _Atomic uint64_t dropped;
static _Atomic uint64_t lost_since; /* wall ns of the first that was not told of; 0: none */
static _Atomic int lost_by;         /* its errno; 0: they came faster than they were written */
static uint64_t lost_told, lost_at; /* how many were told of, and when (mono); under out_lock */

static void
event_drop(int err)
{
    uint64_t none = 0;

    atomic_fetch_add(&dropped, 1); /* first: who sees the time finds the line counted */
    if (atomic_compare_exchange_strong(&lost_since, &none, clock_wall()))
        atomic_store(&lost_by, err);
    metric_add(METRIC_EVENTS_DROPPED, 1);
}

/* Under out_lock. A pipe or a terminal takes what fits it, or says that it would wait. */
static void
event_use_fd(int fd)
{
    struct stat st;

    out_fd = fd;
    out_way = OUT_FILE;
    if (fd < 0 || fstat(fd, &st))
        return;
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
        out_way = OUT_PIPE;
    else if (S_ISSOCK(st.st_mode))
        out_way = OUT_SOCKET;
}

static void event_out(void);

void
event_setup(enum event_sink_kind kind, int fd, struct str prefix, const char *role)
{
    struct buf field;

    event_out();
    buf_init(&field, sizeof(role_field) - 1);
    if (role) {
        buf_c(&field, ",\"role\":");
        buf_json(&field, str_c(role));
    }
    pthread_mutex_lock(&out_lock);
    pthread_mutex_lock(&queue_lock);
    event_use_fd(fd);
    out_prefix_len = MIN(prefix.n, sizeof(out_prefix));
    if (out_prefix_len)
        memcpy(out_prefix, prefix.p, out_prefix_len);
    role_field[0] = '\0';
    if (!field.failed)
        str_copy(buf_view(&field), role_field, sizeof(role_field));
    atomic_store(&sink_kind, kind);
    pthread_mutex_unlock(&queue_lock);
    pthread_mutex_unlock(&out_lock);
    buf_done(&field);
}

int
event_swap_fd(int fd)
{
    int old;

    event_out(); /* lines belong to the file that was there when they were written */
    pthread_mutex_lock(&out_lock);
    old = out_fd;
    event_use_fd(fd);
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
        event_drop(ENOMEM);
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
        event_out();
        if (event_queue(line, importance))
            return;
    }
    event_drop(atomic_load(&stuck_by));
}

void
event_sink_plain(const char *type, struct str text)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
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
    if (poll(&room, 1, 0) <= 0)
        return; /* a pipe that nobody reads */
    written = write(STDERR_FILENO, line, MIN(n, sizeof(line) - 1) + 1);
    (void)written;
}

/* Descriptors that could block are opened so that they do not (roles/sink.c). For a pipe where that
 * was not to be had the kernel is asked not to wait; one before 6.4 takes PIPE_BUF bytes at once
 * if there is room, unless another role is faster. */
static ssize_t
event_push_pipe(struct str piece)
{
    struct iovec part = {(void *)(uintptr_t)piece.p, piece.n};
    struct pollfd room = {.fd = out_fd, .events = POLLOUT};
    ssize_t n = pwritev2(out_fd, &part, 1, -1, RWF_NOWAIT);

    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL && errno != ESPIPE))
        return n;
    if (poll(&room, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(out_fd, piece.p, piece.n);
}

/* Never waits. */
static ssize_t
event_push(struct str piece)
{
    if (out_way == OUT_SOCKET)
        return send(out_fd, piece.p, piece.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return out_way == OUT_PIPE ? event_push_pipe(piece) : write(out_fd, piece.p, piece.n);
}

/* Writes lines in large pieces; returns the bytes that are out. */
static size_t
event_write_fd(struct str lines)
{
    size_t done = 0, most = out_way == OUT_PIPE ? PIPE_BUF : EVENT_PIECE;

    while (done < lines.n) {
        struct str piece = str_sub(lines, done, most);
        ssize_t end = str_rchr(piece, '\n'), n;

        if (end >= 0) /* else the line is longer than a piece */
            piece.n = (size_t)end + 1;
        n = event_push(piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            atomic_store(&stuck_by, n < 0 ? errno : ENOSPC);
            break;
        }
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
            if (errno != EMSGSIZE) {
                atomic_store(&stuck_by, errno);
                break;
            }
            event_drop(EMSGSIZE); /* no later attempt would fit either */
        }
        done += line.n + 1;
    }
    return done;
}

static void
event_out(void)
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
        atomic_store(&stuck_by, 0);
        buf_shrink(&out, EVENT_KEEP);
    }
    pthread_mutex_unlock(&out_lock);
}

/* Those that were lost since the last time, once there is a way out again. */
static uint64_t
event_lost(uint64_t *ret_since, int *ret_by)
{
    uint64_t n = 0, now = clock_mono();

    pthread_mutex_lock(&out_lock);
    if (out.n == 0 && (lost_at == 0 || now - lost_at >= EVENT_LOST_EACH)) {
        *ret_by = atomic_load(&lost_by);
        *ret_since = atomic_exchange(&lost_since, 0);
        n = atomic_load(&dropped) - lost_told;
        lost_told += n;
        lost_at = n ? MAX(now, 1u) : lost_at;
    }
    pthread_mutex_unlock(&out_lock);
    return n;
}

static const char *
event_lost_why(int err)
{
    if (err == EAGAIN)
        return lang_text("nobody read them in time");
    return err ? err_text(-err) : lang_text("they came faster than they could be written");
}

bool
event_flush(void)
{
    uint64_t n, since = 0;
    char from[32];
    int err = 0;

    event_out();
    if (atomic_load(&stuck))
        return true;
    if (!atomic_load(&lost_since) || atomic_load(&sink_kind) == EVENT_SINK_NONE)
        return false;
    n = event_lost(&since, &err);
    if (!n)
        return true;
    clock_iso(since, from);
    event_alarm("%llu events were lost since %s: %s. Mail is not touched: what was accepted, and "
                "what became of it, is in the spool (`gapura explain`). What is counted from "
                "events lacks them; see to the place that `events.to` names.",
                (unsigned long long)n, from, event_lost_why(err));
    event_out();
    return atomic_load(&stuck) > 0;
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
