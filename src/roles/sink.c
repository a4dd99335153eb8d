/*
 * roles/sink.c - opening and rotating the event file, or the datagram socket of syslog.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/event.h"
#include "core/lang.h"
#include "roles/settings.h"
#include "roles/sink.h"
#include "store/asks.h"

/* Without waiting: for the reader of a FIFO, or of /dev/stdout. */
#define WAY_OUT (O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int
open_file(const char *path, unsigned gid)
{
    int fd = open(path, WAY_OUT | O_CREAT, 0640);
    if (fd < 0)
        return -errno;
    struct stat st;
    bool file = !fstat(fd, &st) && S_ISREG(st.st_mode); /* not of /dev/stdout */
    if (file && geteuid() == 0 && fchown(fd, 0, gid)) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* Opened anew where it may block, since O_NONBLOCK on ours would be on that of all who share it.
 * Who may not open it (a pipe of another user's) writes as event_sink.c does it then. */
static int
open_stderr(void)
{
    struct stat st;
    int fd = -1;

    if (!fstat(STDERR_FILENO, &st) && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
        fd = open("/proc/self/fd/2", WAY_OUT);
    return fd >= 0 ? fd : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

static int
open_datagram(const char *path, uint64_t *ret_inode)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st = {0};
    if (!str_copy(str_c(path), un.sun_path, sizeof un.sun_path))
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    (void)stat(path, &st);
    if (connect(fd, (struct sockaddr *)&un, sizeof un)) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    *ret_inode = st.st_ino;
    return fd;
}

static const char *
datagram_path(const struct sink *s)
{
    return s->to == EVENTS_SYSLOG ? "/dev/log" : "/run/systemd/journal/socket";
}

bool
sink_same(const struct sink *s, const struct plan *p)
{
    return s->to == p->events_to && (s->to != EVENTS_FILE || !strcmp(s->file, p->events_file)) &&
           s->rotate_size == p->rotate_size && s->keep == p->keep && s->language == p->language;
}

int
sink_open(struct sink *s, const struct plan *p, unsigned gid, struct why *why)
{
    const char *what = p->events_file;
    s->gid = gid;
    s->to = p->events_to;
    s->rotate_size = p->rotate_size;
    s->keep = p->keep;
    s->language = p->language;
    s->kind = EVENT_SINK_FD;
    s->file[0] = s->prefix[0] = 0;
    switch (p->events_to) {
    case EVENTS_NONE:
        s->kind = EVENT_SINK_NONE;
        s->fd = -1;
        return 0;
    case EVENTS_STDERR:
        what = "stderr";
        s->fd = open_stderr();
        break;
    case EVENTS_SYSLOG: /* facility mail (2), severity info (6): RFC 3164 4.1.1 */
        what = datagram_path(s);
        str_fmt(s->prefix, sizeof s->prefix, "<22>gapura: ");
        s->kind = EVENT_SINK_DATAGRAM;
        s->fd = open_datagram(what, &s->inode);
        break;
    case EVENTS_JOURNALD: /* the native protocol: fields, one a line */
        what = datagram_path(s);
        str_fmt(s->prefix, sizeof s->prefix, "PRIORITY=6\nMESSAGE=");
        s->kind = EVENT_SINK_DATAGRAM;
        s->fd = open_datagram(what, &s->inode);
        break;
    default:
        str_copy(str_c(p->events_file), s->file, sizeof s->file);
        s->fd = open_file(s->file, gid);
    }
    if (s->fd == -ENXIO)
        return why_set(why, s->fd,
                       "events: %s is a FIFO that nobody reads, or a socket: name a file", what);
    if (s->fd < 0)
        return why_set(why, s->fd, "events: cannot open %s: %s", what, err_text(s->fd));
    return 0;
}

void
sink_use(const struct sink *s)
{
    int old = event_swap_fd(-1);
    lang_set((enum lang)s->language);
    event_setup((enum event_sink_kind)s->kind, s->fd < 0 ? -1 : fcntl(s->fd, F_DUPFD_CLOEXEC, 3),
                str_c(s->prefix), "supervisor");
    fd_close(&old);
}

void
sink_close(struct sink *s)
{
    fd_close(&s->fd);
}

void
sink_tell(const struct sink *s, struct chan *to)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 256);
    put_u8(&b, (uint8_t)s->kind);
    put_str(&b, str_c(s->prefix));
    put_u8(&b, (uint8_t)s->language);
    chan_send(to, TELL_SINK, 0, &b, s->fd);
}

static void
renew(struct sink *s, int fd)
{
    fd_close(&s->fd);
    s->fd = fd;
    int old = event_swap_fd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    fd_close(&old);
}

/* A socket that was connected to the former daemon stays dead for ever; one that was not there at
 * the start has inode 0. */
static bool
look_datagram(struct sink *s)
{
    struct stat st;
    if (stat(datagram_path(s), &st) || st.st_ino == s->inode)
        return false;
    int fd = open_datagram(datagram_path(s), &s->inode);
    if (fd >= 0)
        renew(s, fd);
    return fd >= 0;
}

/* Somebody has renamed or removed the file: what is written goes where nobody looks. */
static bool
look_moved(struct sink *s, const struct stat *open_now)
{
    struct stat named;
    if (!S_ISREG(open_now->st_mode) ||
        (!stat(s->file, &named) && named.st_ino == open_now->st_ino &&
         named.st_dev == open_now->st_dev))
        return false;
    int fd = open_file(s->file, s->gid);
    if (fd >= 0)
        renew(s, fd);
    return fd >= 0;
}

/* The new file first: where there cannot be one nothing is renamed, else the files that are kept
 * would be pushed out one at each look. */
static bool
rotate(struct sink *s)
{
    char from[540], to[540], fresh[540];
    int rc = 0;
    str_fmt(fresh, sizeof fresh, "%s.new", s->file);
    int fd = open_file(fresh, s->gid);
    if (fd < 0)
        return false;
    for (uint64_t i = s->keep; i > 0; i--) {
        str_fmt(to, sizeof to, "%s.%llu", s->file, (unsigned long long)i);
        str_fmt(from, sizeof from, i > 1 ? "%s.%llu" : "%s", s->file, (unsigned long long)i - 1);
        rc = rename(from, to);
    }
    if (rc || rename(fresh, s->file)) {
        unlink(fresh);
        close(fd);
        return false; /* writing goes on in the file that is open */
    }
    renew(s, fd);
    return true;
}

bool
sink_look(struct sink *s)
{
    struct stat st;
    if (s->kind == EVENT_SINK_DATAGRAM)
        return look_datagram(s);
    if (!s->file[0] || fstat(s->fd, &st))
        return false;
    if ((uint64_t)st.st_size < s->rotate_size || !S_ISREG(st.st_mode))
        return look_moved(s, &st);
    return rotate(s);
}
