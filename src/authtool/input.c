/*
 * authtool/input.c - files and standard input, whole, with a ceiling; line ends as on the wire.
 *
 * Called by the verbs. Never writes.
 */
#include "authtool/input.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int
tool_input_read(const char *path, size_t max, struct buf *ret, struct why *why)
{
    bool standard = !strcmp(path, "-");
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    const char *name = standard ? "standard input" : path;
    ssize_t n = 0;

    if (fd < 0)
        return why_set(why, -errno, "cannot read %.160s: %s", name, strerror(errno));
    buf_init(ret, max);
    for (char *room; (room = buf_room(ret, 65536)); buf_used(ret, (size_t)n)) {
        n = read(fd, room, 65536);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0)
            break;
    }
    if (!standard)
        close(fd);
    if (n < 0)
        return why_set(why, -errno, "cannot read %.160s: %s", name, strerror(errno));
    return ret->failed ? why_set(why, ERR_LIMIT, "%.160s is over %zu MB", name, max >> 20) : 0;
}

/* Does some line end with LF alone? */
static bool
has_bare_lf(struct str s)
{
    const char *at = s.p, *end = s.p + s.n;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        if (at == s.p || at[-1] != '\r')
            return true;
        at++;
    }
    return false;
}

static void
with_crlf(struct str s, struct buf *out)
{
    while (s.n) {
        ssize_t nl = str_chr(s, '\n');
        size_t line = nl < 0 ? s.n : (size_t)nl;

        buf_add(out, s.p, nl > 0 && s.p[nl - 1] == '\r' ? line - 1 : line);
        if (nl < 0)
            return;
        buf_c(out, "\r\n");
        s = str_from(s, line + 1);
    }
}

void
tool_input_without_cr(struct str s, struct buf *out)
{
    while (s.n) {
        ssize_t nl = str_find(s, STR("\r\n"));

        if (nl < 0) {
            buf_str(out, s);
            return;
        }
        buf_add(out, s.p, (size_t)nl);
        buf_char(out, '\n');
        s = str_from(s, (size_t)nl + 2);
    }
}

int
tool_input_message(const char *path, struct tool_input *ret, struct why *why)
{
    int rc = tool_input_read(path, INPUT_MESSAGE_MAX, &ret->raw, why);
    struct str all = buf_view(&ret->raw);
    ssize_t end;

    if (rc < 0)
        return rc;
    if (!all.n)
        return why_set(why, ERR_SYNTAX, "%.160s is empty: there is no message",
                       strcmp(path, "-") ? path : "standard input");
    ret->converted = has_bare_lf(all);
    if (ret->converted) {
        buf_init(&ret->text, 2 * (size_t)INPUT_MESSAGE_MAX);
        with_crlf(all, &ret->text);
        all = buf_view(&ret->text);
    }
    if (ret->text.failed)
        return why_set(why, ERR_NOMEM, "no memory for the message");
    end = str_starts(all, STR("\r\n")) ? -2 : str_find(all, STR("\r\n\r\n"));
    ret->header = end == -1 ? all : str_sub(all, 0, (size_t)(end + 4));
    ret->body = str_from(all, ret->header.n);
    return 0;
}

void
tool_input_done(struct tool_input *in)
{
    buf_done(&in->raw);
    buf_done(&in->text);
}
