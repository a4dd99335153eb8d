/*
 * ctl/client.c - the command line's end of the control sockets.
 *
 * Called by main.c and top.c. Blocking, since there is nothing else to do; every wait has an end
 * that its caller gave.
 */
#include "ctl/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define SOCKETS_MAX 65u
#define LINE_MAX_IN (4u << 20)

struct end {
    int fd;
    struct buf in;
    bool ended;
};

static int
connect_fail(int error, const char *path, const char *role, struct why *why)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
        return why_set(why, ERR_NOTFOUND,
                       "cannot reach the %s at %s: is gapura running? (--run-dir DIR or -c FILE "
                       "says where its sockets are)",
                       role, path);
    case EACCES:
    case EPERM:
        return why_set(why, ERR_REFUSED,
                       "cannot reach the %s at %s: not allowed; become root or a member of the "
                       "group gapura",
                       role, path);
    default:
        return why_set(why, -error, "cannot reach the %s at %s: %s", role, path, strerror(error));
    }
}

static int
connect_one(const char *path, const char *role, struct why *why)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd;

    if (!str_copy(str_c(path), sun.sun_path, sizeof(sun.sun_path)))
        return why_set(why, ERR_LIMIT, "the path %s is too long for a socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        int error = errno;

        fd_close(&fd);
        return connect_fail(error, path, role, why);
    }
    return fd;
}

/* ROLE.ctl, or for a gate of several processes gate-0.ctl, gate-1.ctl ... */
static int
connect_all(const char *run_dir, enum ctl_role role, struct end *ends, unsigned *ret_n,
            struct why *why)
{
    char path[PATH_MAX];
    const char *name = ctl_role_names[role];
    unsigned n = 0;
    int fd;

    str_fmt(path, sizeof(path), "%s/%s.ctl", run_dir, name);
    fd = connect_one(path, name, why);
    if (fd >= 0)
        ends[n++] = (struct end){.fd = fd};
    for (unsigned i = 0; role == CTL_GATE && i < SOCKETS_MAX - 1; i++) {
        int more;

        str_fmt(path, sizeof(path), "%s/%s-%u.ctl", run_dir, name, i);
        if (access(path, F_OK) < 0)
            continue;
        more = connect_one(path, name, n ? NULL : why);
        if (more >= 0)
            ends[n++] = (struct end){.fd = more};
    }
    for (unsigned i = 0; i < n; i++)
        buf_init(&ends[i].in, LINE_MAX_IN);
    *ret_n = n;
    return n ? 0 : fd;
}

static int
send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return ERR_CLOSED;
        p += sent;
        n -= (size_t)sent;
    }
    return 0;
}

static int
send_request(struct end *ends, unsigned n, const char *wire, json_t *args)
{
    json_t *request = json_pack("{s:s, s:O}", "verb", wire, "args", args);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    struct buf line;
    int r = text ? 0 : ERR_NOMEM;

    buf_init(&line, LINE_MAX_IN);
    buf_c(&line, text ? text : "");
    buf_char(&line, '\n');
    if (line.failed)
        r = ERR_NOMEM;

    for (unsigned i = 0; i < n && r == 0; i++)
        r = send_all(ends[i].fd, line.p, line.n);
    if (text)
        explicit_bzero(text, strlen(text)); /* `user` verbs carry a password */
    if (line.p)
        explicit_bzero(line.p, line.cap);
    buf_done(&line);
    free(text);
    json_decref(request);
    return r;
}

/* One line from a role. 1: go on, 0: the caller has enough, or ERR_SYNTAX. */
static int
take_line(struct end *e, struct str line, struct client_reply *reply)
{
    json_t *whole = json_loadb(line.p, line.n, 0, NULL);
    json_t *row = json_object_get(whole, "line"), *status = json_object_get(whole, "end");
    int r = 1;

    if (row) {
        r = reply->line && !reply->line(reply->ctx, row) ? 0 : 1;
    } else if (json_is_integer(status)) {
        const char *text = json_string_value(json_object_get(whole, "text"));

        e->ended = true;
        if (!reply->text[0] || json_integer_value(status))
            str_fmt(reply->text, sizeof(reply->text), "%s", text ? text : "");
        if (json_integer_value(status))
            reply->end = (int)json_integer_value(status);
    } else {
        r = ERR_SYNTAX;
    }
    json_decref(whole);
    return r;
}

/* As take_line, for all lines that are here. */
static int
read_some(struct end *e, struct client_reply *reply)
{
    char *room = buf_room(&e->in, 65536);
    size_t used = 0;
    ssize_t n;
    int r = 1;

    if (!room)
        return ERR_LIMIT;
    n = read(e->fd, room, 65536);
    if (n < 0 && errno == EINTR)
        return 1;
    if (n <= 0)
        return ERR_CLOSED;
    buf_used(&e->in, (size_t)n);
    while (r == 1 && !e->ended) {
        struct str rest = str_from(buf_view(&e->in), used);
        ssize_t end = str_chr(rest, '\n');

        if (end < 0)
            break;
        r = take_line(e, str_sub(rest, 0, (size_t)end), reply);
        used += (size_t)end + 1;
    }
    buf_drop(&e->in, used);
    return r;
}

static int
read_all(struct end *ends, unsigned n, unsigned wait_s, struct client_reply *reply, struct why *why)
{
    struct pollfd polls[SOCKETS_MAX];
    unsigned open = n, waited = 0;
    int r = 1;

    while (r == 1 && open) {
        int ready;

        for (unsigned i = 0; i < n; i++)
            polls[i] = (struct pollfd){.fd = ends[i].ended ? -1 : ends[i].fd, .events = POLLIN};
        ready = poll(polls, n, wait_s ? (int)MIN(wait_s, CLIENT_STILL_S) * 1000 : -1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0)
            return -errno;
        waited = ready ? 0 : waited + CLIENT_STILL_S;
        if (waited >= wait_s && !ready)
            return ERR_TIMEOUT;
        if (waited && reply->still && !reply->still(reply->ctx, why))
            return ERR_STATE;
        for (unsigned i = 0; i < n && r == 1; i++) {
            if (!(polls[i].revents & (POLLIN | POLLHUP | POLLERR)))
                continue;
            r = read_some(&ends[i], reply);
            open -= ends[i].ended;
        }
    }
    return r < 0 ? r : 0;
}

static int
read_fail(int r, enum ctl_role role, unsigned wait_s, struct why *why)
{
    const char *name = ctl_role_names[role];

    switch (r) {
    case ERR_STATE: /* still() has told why */
        return r;
    case ERR_TIMEOUT:
        return why_set(why, r, "the %s gave no answer in %u s; what was asked may still be done",
                       name, wait_s);
    case ERR_CLOSED:
        return why_set(why, r,
                       "the %s closed the connection before it was done: it may have been "
                       "restarted; ask again",
                       name);
    case ERR_SYNTAX:
        return why_set(why, r,
                       "the %s answered with something else than lines of JSON: are both "
                       "of the same version?",
                       name);
    default:
        return why_set(why, r, "reading from the %s: %s", name, err_text(r));
    }
}

int
client_call(const char *run_dir, enum ctl_role role, const char *wire, json_t *args,
            unsigned wait_s, struct client_reply *reply, struct why *why)
{
    struct end ends[SOCKETS_MAX];
    unsigned n = 0;
    int r = connect_all(run_dir, role, ends, &n, why);

    if (r < 0)
        return r;
    reply->end = 0;
    reply->text[0] = '\0';
    r = send_request(ends, n, wire, args);
    r = r < 0 ? r : read_all(ends, n, wait_s, reply, why);
    for (unsigned i = 0; i < n; i++) {
        fd_close(&ends[i].fd);
        buf_done(&ends[i].in);
    }
    return r < 0 ? read_fail(r, role, wait_s, why) : 0;
}
