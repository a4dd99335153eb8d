/*
 * submit/input.c - the message on standard input: line ends, the dot, header and body apart.
 *
 * Called by sendmail.c. Never talks to a server and never changes a header's words; that is
 * letter.c's.
 */
#include "submit/input.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PIECE (32u << 10)

struct reader {
    struct input *into;
    int fd;
    bool dots;
    char raw[PIECE];
    size_t at, n;
    struct buf line;         /* read with CRLF; a piece of one if it is long */
    bool in_header, cr, dot; /* a CR or the first dot of a line is held back */
    bool line_start, ended;
    struct why *why;
};

/* 1, 0 at the end of the input, or negative. */
static int
fill(struct reader *r)
{
    ssize_t n;

    if (r->at < r->n)
        return 1;
    do
        n = read(r->fd, r->raw, sizeof(r->raw));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return why_set(r->why, -errno, "cannot read the message: %s; nothing was sent",
                       strerror(errno));
    r->at = 0;
    r->n = (size_t)n;
    return n > 0;
}

static void
end_line(struct reader *r)
{
    buf_add(&r->line, "\r\n", 2);
    r->line_start = true;
    r->cr = r->dot = false;
}

static void
let_dot_go(struct reader *r)
{
    if (r->dot)
        buf_char(&r->line, '.');
    r->line_start = r->line_start && !r->dot;
    r->dot = false;
}

/* True when a line is whole, or the message is. */
static bool
take_byte(struct reader *r, char c)
{
    if (!c)
        return false;
    if (c == '\n') {
        r->ended = r->dot;
        if (!r->ended)
            end_line(r);
        return true;
    }
    if (r->cr && c != '\r') { /* it stood alone */
        let_dot_go(r);
        r->cr = false;
        if (r->in_header) {
            buf_char(&r->line, ' ');
        } else {
            end_line(r);
            r->at--; /* c begins the next line */
            return true;
        }
    }
    if (c == '\r') {
        r->cr = true;
        return false;
    }
    let_dot_go(r);
    if (r->line_start && c == '.' && !r->dots) {
        r->dot = true;
        return false;
    }
    r->line_start = false;
    buf_char(&r->line, c);
    return false;
}

/* The next line, or PIECE bytes of it. 1, 0 at the end, or negative. */
static int
next_line(struct reader *r)
{
    size_t most = r->in_header ? INPUT_HEADER_MAX : PIECE;
    int rc;

    buf_clear(&r->line);
    while (!r->ended && r->line.n < most) {
        rc = fill(r);
        if (rc < 0)
            return rc;
        if (rc == 0) { /* a last line without an end gets one; a last dot alone is the end */
            r->ended = true;
            if (!r->dot && (r->line.n || !r->line_start))
                end_line(r);
            break;
        }
        while (r->at < r->n && r->line.n < most)
            if (take_byte(r, r->raw[r->at++]))
                return r->line.failed ? ERR_NOMEM : r->line.n > 0;
    }
    return r->line.failed ? ERR_NOMEM : r->line.n > 0;
}

static bool
is_field(struct str line)
{
    ssize_t colon = str_chr(line, ':');
    struct str name = str_trim(str_sub(line, 0, colon > 0 ? (size_t)colon : 0));

    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] == 127)
            return false;
    return name.n > 0;
}

static int
write_body(struct reader *r)
{
    size_t done = 0;

    while (done < r->line.n) {
        ssize_t n = write(r->into->body, r->line.p + done, r->line.n - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return why_set(r->why, -errno,
                           "no room for the message in the directory of temporary files: %s; "
                           "nothing was sent (TMPDIR names another directory)",
                           strerror(errno));
        done += (size_t)n;
    }
    r->into->size += r->line.n;
    if (r->into->size > INPUT_BODY_MAX)
        return why_set(r->why, ERR_LIMIT, "the message is over 4 GB; nothing was sent");
    return 0;
}

/* Up to the blank line, or to the first line that is no field; that one begins the body. */
static int
read_header(struct reader *r)
{
    struct buf *header = &r->into->header;
    bool first = true;
    int rc;

    r->in_header = true;
    while ((rc = next_line(r)) > 0) {
        struct str line = buf_view(&r->line);
        bool more = header->n && (line.p[0] == ' ' || line.p[0] == '\t');
        bool mbox = first && (str_starts(line, STR("From ")) || str_starts(line, STR(">From ")));

        first = false;
        if (mbox)
            continue;
        if (str_eq(line, STR("\r\n")))
            break;
        if (!more && !is_field(line)) {
            r->in_header = false;
            return write_body(r);
        }
        buf_str(header, line);
        if (header->failed || !str_ends(line, STR("\r\n")))
            return why_set(r->why, ERR_LIMIT, "the header is over %u KB; nothing was sent",
                           INPUT_HEADER_MAX >> 10);
    }
    r->in_header = false;
    return MIN(rc, 0);
}

/* A file without a name in that directory. */
static int
open_unnamed(const char *dir)
{
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    str_fmt(path, sizeof(path), "%s/gapura-send-XXXXXX", dir); /* file systems without O_TMPFILE */
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    (void)unlink(path);
    return fd;
}

static int
open_body(struct why *why)
{
    const char *dirs[] = {getenv("TMPDIR"), "/tmp", "/var/tmp"};
    int fd = -ENOENT;

    for (size_t i = 0; i < ARRAY_LEN(dirs) && fd < 0; i++)
        if (dirs[i] && dirs[i][0])
            fd = open_unnamed(dirs[i]);
    return fd < 0 ? why_set(why, fd,
                            "cannot make a temporary file in $TMPDIR, /tmp or /var/tmp: %s; "
                            "nothing was sent",
                            strerror(-fd))
                  : fd;
}

int
input_read(struct input *ret, int fd, bool dots, struct why *why)
{
    struct reader *r = calloc(1, sizeof(*r));
    int rc;

    *ret = (struct input){.body = -1};
    buf_init(&ret->header, INPUT_HEADER_MAX);
    if (!r)
        return why_set(why, ERR_NOMEM, "out of memory; nothing was sent");
    *r = (struct reader){.into = ret, .fd = fd, .dots = dots, .line_start = true, .why = why};
    buf_init(&r->line, INPUT_HEADER_MAX + 8);
    rc = ret->body = open_body(why);
    if (rc >= 0)
        rc = read_header(r);
    while (rc >= 0 && (rc = next_line(r)) > 0)
        rc = write_body(r);
    buf_done(&r->line);
    free(r);
    if (rc < 0 && why && !why->text[0])
        why_set(why, rc, "the message cannot be read: %s; nothing was sent", err_text(rc));
    return MIN(rc, 0);
}

void
input_done(struct input *in)
{
    fd_close(&in->body);
    buf_done(&in->header);
}
