/*
 * courier/maildir.c - delivery into a Maildir: tmp, fsync, link into new, fsync of the directory.
 *
 * Called by plan for hosts of that kind. Files are written in the loop's thread, a few messages a
 * turn: meant for small servers and tests; large ones take LMTP. Names come from id and ordinal, so
 * that a delivery repeated after a crash finds its own file and is no second copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "courier/session.h"
#include "spool/id.h"

#define PER_TURN 4u /* messages */

/* Opens dir/sub, making both if they are missing. */
static int
open_sub(const char *dir, const char *sub)
{
    char path[4096];
    int fd;

    if (str_fmt(path, sizeof path, "%s/%s", dir, sub) + 1 >= sizeof path)
        return -ENAMETOOLONG;
    if ((mkdir(dir, 0700) < 0 && errno != EEXIST) || (mkdir(path, 0700) < 0 && errno != EEXIST))
        return -errno;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int
write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

/* Line ends of the disk: CRLF becomes LF, also across pieces. */
static int
write_lines(int fd, struct str piece, bool *cr)
{
    CLEANUP(buf_done) struct buf out;

    buf_init(&out, piece.n + 2);
    for (size_t i = 0; i < piece.n; i++) {
        if (*cr && piece.p[i] != '\n')
            buf_char(&out, '\r');
        *cr = piece.p[i] == '\r';
        if (!*cr)
            buf_char(&out, piece.p[i]);
    }
    return out.failed ? ERR_NOMEM : write_all(fd, out.p, out.n);
}

static int
write_mail(struct courier *c, int fd, uint32_t message, const struct letter *l,
           const struct spool_rcpt *r)
{
    char head[1400];
    struct body body;
    struct str piece = {"", 1};
    bool cr = false;
    int err;
    size_t n =
        str_fmt(head, sizeof head, "Return-Path: <%.*s>\nDelivered-To: %.*s\n",
                STR_ARG(str_sub(l->env.sender, 0, 600)), STR_ARG(str_sub(r->address, 0, 600)));

    letter_body_init(&body, c);
    err = write_all(fd, head, n);
    if (err == 0)
        err = letter_body_open(&body, message, l);
    while (err == 0 && piece.n > 0) {
        err = letter_body_pull(&body, &piece);
        if (err == 0)
            err = write_lines(fd, piece, &cr);
    }
    if (err == 0 && cr)
        err = write_all(fd, "\r", 1);
    if (err == 0 && fsync(fd) < 0)
        err = -errno;
    letter_body_done(&body);
    return err;
}

/* One recipient's copy. 0 also when it is there from before. */
static int
deliver(struct courier *c, const char *dir, uint32_t message, const struct letter *l,
        uint32_t ordinal)
{
    int tmp = open_sub(dir, "tmp"), new = open_sub(dir, "new"), cur = open_sub(dir, "cur"), fd = -1;
    char id[SPOOL_ID_TEXT], name[64];
    struct spool_rcpt r;
    int err = tmp < 0 ? tmp : new < 0 ? new : cur < 0 ? cur : letter_rcpt(l, ordinal, &r);

    str_fmt(name, sizeof name, "%s.%u.gapura", spool_id_show(&l->env.id, id), ordinal);
    if (err == 0 && faccessat(new, name, F_OK, 0) < 0) {
        unlinkat(tmp, name, 0);
        fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        err = fd < 0 ? -errno : write_mail(c, fd, message, l, &r);
        if (err == 0 && renameat(tmp, name, new, name) < 0)
            err = -errno;
        if (err == 0 && fsync(new) < 0)
            err = -errno;
        if (err < 0)
            unlinkat(tmp, name, 0);
    }
    fd_close(&fd);
    fd_close(&tmp);
    fd_close(&new);
    fd_close(&cur);
    return err;
}

static void
deliver_rows(struct site *s, struct attempt *a, const char *dir, uint32_t message,
             const uint32_t *rows, uint32_t n, const struct letter *l)
{
    for (uint32_t i = 0; i < n; i++) {
        struct result r = {.result = SPOOL_DELIVERED,
                           .class = REPLY_DELIVERED,
                           .code = 250,
                           .enhanced = {2, 0, 0},
                           .text = STR("written to the Maildir")};
        int err = deliver(s->c, dir, message, l, index_row(&s->c->index, rows[i])->ordinal);
        char text[200];
        if (err < 0) {
            r = (struct result){.result = SPOOL_RETRY, .class = REPLY_HOST, .enhanced = {4, 3, 0}};
            r.text = str_of(text, str_fmt(text, sizeof text,
                                          "the Maildir cannot be written: %s; the mail is kept and "
                                          "tried again",
                                          err_text(err)));
            s->deferred++;
        } else {
            s->delivered++;
        }
        outcome_rows(s->c, message, &rows[i], 1, a, &r);
    }
}

void
maildir_run(struct site *s, uint32_t source, struct site_host *h)
{
    struct courier *c = s->c;
    struct letter l;
    uint32_t rows[256], n, message = INDEX_NONE;
    struct attempt a = {.letter = &l,
                        .host = h->path,
                        .site = s->name,
                        .command = "maildir",
                        .source = &c->sources.items[source],
                        .tried = true,
                        .final = true,
                        .route_expire = s->expire};

    letter_init(&l);
    for (unsigned i = 0; i < PER_TURN; i++) {
        int err;
        n = plan_take(s, source, rows, ARRAY_LEN(rows), &message);
        if (n == 0)
            break;
        err = letter_load(c, message, &l);
        if (err < 0)
            outcome_unreadable(c, message, rows, n, err);
        else
            deliver_rows(s, &a, h->path, message, rows, n, &l);
    }
    letter_done(&l);
}
