/*
 * courier/maildir.c - delivery into a Maildir: tmp, fsync, rename into new, fsync of the directory.
 *
 * Called by plan for hosts of that kind. A message is taken and its outcome told in the loop; files
 * are read and written by a few threads, each with descriptors of its own. Names come from id and
 * ordinal, so that a delivery repeated after a crash finds its own file and is no second copy.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "courier/session.h"
#include "courier/session_pick.h"
#include "courier/unread.h"
#include "spool/id.h"
#include "store/worker.h"

#define THREADS  4u
#define JOBS_MAX 64u /* messages under way, of all Maildirs */
#define ROWS_MAX 256u

struct maildir_part { /* of the body, in order */
    struct spool_loc loc;
    uint64_t generation;
    uint32_t n, crc;
};
struct maildir_job { /* one message; the thread's alone while it runs */
    struct worker_job job;
    struct courier *c;
    struct site *site;
    char *dir, *spool_dir;
    struct letter letter;
    struct maildir_part *parts;
    size_t nparts;
    bool again; /* it may have been written before: by an attempt, or a former life */
    uint32_t source, message, n;
    uint32_t rows[ROWS_MAX], ordinals[ROWS_MAX];
    int errs[ROWS_MAX];
};

/* --- in a thread --- */

/* A directory that was just made outlasts a power loss when the one above it is synced. */
static int
sync_above(const char *path)
{
    char above[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    int fd, err;

    str_copy(slash ? str_of(path, MAX(n, 1u)) : STR("."), above, sizeof above);
    fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) /* one that may be written and not read: cannot be synced by us */
        return errno == EACCES ? 0 : -errno;
    err = fsync(fd) < 0 ? -errno : 0;
    fd_close(&fd);
    return err;
}

/* Makes the directory if it is missing; one that could not be synced is removed again. */
static int
make_dir(const char *path)
{
    int err;

    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    err = sync_above(path);
    if (err < 0)
        rmdir(path);
    return err;
}

/* Opens dir/sub, making both if they are missing. */
static int
open_sub(const char *dir, const char *sub)
{
    char path[4096];
    int fd, err;

    if (str_fmt(path, sizeof path, "%s/%s", dir, sub) + 1 >= sizeof path)
        return -ENAMETOOLONG;
    err = make_dir(dir);
    if (err == 0)
        err = make_dir(path);
    if (err < 0)
        return err;
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
write_body(int fd, struct spool_files *files, const struct maildir_job *j)
{
    bool cr = false;
    int err = 0;

    for (size_t i = 0; i < j->nparts && err == 0; i++) {
        const struct maildir_part *p = &j->parts[i];
        char *bytes = malloc(MAX(p->n, 1u));
        err = bytes ? spool_files_read_body(files, &p->loc, p->generation, bytes, p->n, p->crc)
                    : ERR_NOMEM;
        if (err == 0)
            err = write_lines(fd, str_of(bytes, p->n), &cr);
        free(bytes);
    }
    return err == 0 && cr ? write_all(fd, "\r", 1) : err;
}

static int
write_mail(int fd, struct spool_files *files, const struct maildir_job *j,
           const struct spool_rcpt *r)
{
    char head[1400];
    size_t n = str_fmt(head, sizeof head, "Return-Path: <%.*s>\nDelivered-To: %.*s\n",
                       STR_ARG(str_sub(j->letter.env.sender, 0, 600)),
                       STR_ARG(str_sub(r->address, 0, 600)));
    int err = write_all(fd, head, n);

    if (err == 0)
        err = write_body(fd, files, j);
    if (err == 0 && fsync(fd) < 0)
        err = -errno;
    return err;
}

/* Did its reader move it on? There it has flags behind the name. */
static bool
was_read(int cur, const char *name)
{
    size_t n = strlen(name);
    struct dirent *e;
    bool found = false;
    int fd = openat(cur, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d)
        fd_close(&fd);
    while (d && !found && (e = readdir(d)) != NULL)
        found = strncmp(e->d_name, name, n) == 0 && (e->d_name[n] == '\0' || e->d_name[n] == ':');
    if (d)
        closedir(d);
    return found;
}

/* One recipient's copy. 0 also when it is there from before. */
static int
deliver(const struct maildir_job *j, struct spool_files *files, uint32_t ordinal)
{
    int tmp = open_sub(j->dir, "tmp"), new = open_sub(j->dir, "new"), cur = open_sub(j->dir, "cur");
    int err = tmp < 0 ? tmp : new < 0 ? new : cur < 0 ? cur : 0, fd = -1;
    char id[SPOOL_ID_TEXT], name[64];
    struct spool_rcpt r;

    if (err == 0)
        err = letter_rcpt(&j->letter, ordinal, &r);
    str_fmt(name, sizeof name, "%s.%u.gapura", spool_id_show(&j->letter.env.id, id), ordinal);
    if (err == 0 && faccessat(new, name, F_OK, 0) < 0 && !(j->again && was_read(cur, name))) {
        unlinkat(tmp, name, 0);
        fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        err = fd < 0 ? -errno : write_mail(fd, files, j, &r);
        if (err == 0 && renameat(tmp, name, new, name) < 0)
            err = -errno;
        if (err < 0)
            unlinkat(tmp, name, 0);
    }
    /* Also for a file from before: the crash may have come before the directory was synced. */
    if (err == 0 && fsync(new) < 0)
        err = -errno;
    fd_close(&fd);
    fd_close(&tmp);
    fd_close(&new);
    fd_close(&cur);
    return err;
}

static void
maildir_work(struct worker_job *job, void *state UNUSED)
{
    struct maildir_job *j = (struct maildir_job *)job;
    struct spool_files *files = spool_files_create(j->spool_dir, 2, NULL);

    for (uint32_t i = 0; i < j->n; i++)
        j->errs[i] = files ? deliver(j, files, j->ordinals[i]) : ERR_NOMEM;
    spool_files_free(files);
}

/* --- in the loop --- */

static void
job_free(struct maildir_job *j)
{
    letter_done(&j->letter);
    free(j->parts);
    free(j->dir);
    free(j->spool_dir);
    free(j);
}

static void
job_outcomes(struct maildir_job *j)
{
    struct courier *c = j->c;
    struct site *s = j->site;
    struct attempt a = {.letter = &j->letter,
                        .host = j->dir,
                        .site = s->name,
                        .command = "maildir",
                        .source = j->source < c->sources.n ? &c->sources.items[j->source] : NULL,
                        .tried = true,
                        .final = true,
                        .route_expire = s->expire};

    for (uint32_t i = 0; i < j->n; i++) {
        struct result r = {.result = SPOOL_DELIVERED,
                           .class = REPLY_CLASS_DELIVERED,
                           .code = 250,
                           .enhanced = {2, 0, 0},
                           .text = STR("written to the Maildir")};
        char text[200];
        if (j->errs[i] == ERR_STALE) { /* compaction moved it meanwhile: nothing was tried */
            index_wait(&c->index, j->rows[i], courier_tick_of(c, courier_wall(c) + NS_PER_S));
            courier_wheel_soon(c);
            outcome_returned(c, j->message, &j->rows[i], 1, &j->letter);
            continue;
        }
        if (j->errs[i] < 0) {
            r = (struct result){
                .result = SPOOL_RETRY, .class = REPLY_CLASS_HOST, .enhanced = {4, 3, 0}};
            r.text = str_of(text, str_fmt(text, sizeof text,
                                          "the Maildir cannot be written: %s; the mail is kept and "
                                          "tried again",
                                          err_text(j->errs[i])));
            s->deferred++;
        } else {
            s->delivered++;
        }
        outcome_rows(c, j->message, &j->rows[i], 1, &a, &r);
    }
}

/* Its lines would be those of the disk, but it has none. */
static void
job_binary(struct maildir_job *j)
{
    struct attempt a = {.letter = &j->letter, .host = j->dir, .site = j->site->name};
    struct result r = {.result = SPOOL_FAILED,
                       .class = REPLY_CLASS_PROTOCOL,
                       .code = 554,
                       .enhanced = {5, 6, 1},
                       .text = STR("a Maildir does not take BINARYMIME, and mail is not converted "
                                   "on its way")};

    outcome_rows(j->c, j->message, j->rows, j->n, &a, &r);
    job_free(j);
}

static void
maildir_end(struct worker_job *job)
{
    struct maildir_job *j = (struct maildir_job *)job;
    struct site *s = j->site;

    index_message(&j->c->index, j->message)->pins--;
    job_outcomes(j);
    j->c->maildir_jobs--;
    s->sessions--;
    s->busy--;
    site_queue(s);
    site_release(s);
    job_free(j);
}

/* At the courier's end: the rows are read again at the next start, and their files found. */
static void
maildir_drop(struct worker_job *job)
{
    struct maildir_job *j = (struct maildir_job *)job;

    j->c->maildir_jobs--;
    job_free(j);
}

static int
job_part(struct maildir_job *j, const struct maildir_part *part)
{
    struct maildir_part *grown = reallocarray(j->parts, j->nparts + 1, sizeof *grown);

    if (!grown)
        return ERR_NOMEM;
    j->parts = grown;
    j->parts[j->nparts++] = *part;
    return 0;
}

/* Where the body lies. The message is open and pinned: its segments stay as they are. */
static int
job_parts(struct maildir_job *j)
{
    const struct index_message *m = index_message(&j->c->index, j->message);
    const struct segment *g = segments_at(&j->c->segments, m->segment);
    struct spool_chunk chunk;
    size_t at = 0;
    int err = 0, got;

    if (j->letter.env.nchunks == 0)
        return m->body_len == 0 ? 0
                                : job_part(j, &(struct maildir_part){{g->s.number, m->body},
                                                                     g->s.generation,
                                                                     m->body_len,
                                                                     j->letter.record.body_crc});
    while (err == 0 && (got = spool_chunk_next(&j->letter.env, &at, &chunk)) != 0)
        err = got < 0 ? got
                      : job_part(j, &(struct maildir_part){chunk.loc, chunk.generation,
                                                           chunk.length, chunk.crc});
    return err;
}

static void
job_row(struct maildir_job *j, uint32_t i)
{
    const struct courier *c = j->c;
    const struct index_row *r = index_row(&c->index, j->rows[i]);

    j->ordinals[i] = r->ordinal;
    j->again = j->again || r->attempts > 0 ||
               index_message(&c->index, r->message)->received <= c->wall0 / NS_PER_S;
}

/* Takes the site's next message: false if there is none, or no memory for it. */
static bool
job_start(struct site *s, uint32_t source, const char *dir)
{
    struct courier *c = s->c;
    struct maildir_job *j = calloc(1, sizeof *j);
    int err;

    if (!j)
        return false;
    letter_init(&j->letter);
    j->c = c;
    j->site = s;
    j->source = source;
    j->job = (struct worker_job){.run = maildir_work, .done = maildir_end};
    j->dir = strdup(dir);
    j->spool_dir = strdup(c->links.spool_dir);
    j->n = j->dir && j->spool_dir ? pick_rows(s, source, j->rows, ROWS_MAX, &j->message) : 0;
    if (j->n == 0) {
        job_free(j);
        return false;
    }
    for (uint32_t i = 0; i < j->n; i++)
        job_row(j, i);
    err = letter_load(c, j->message, &j->letter);
    if (err == 0)
        err = job_parts(j);
    if (err < 0) {
        unread_rows(c, j->message, j->rows, j->n, err, NULL);
        job_free(j);
        return true;
    }
    if (j->letter.env.flags & SPOOL_MAIL_BINARY) {
        job_binary(j);
        return true;
    }
    index_message(&c->index, j->message)->pins++;
    c->maildir_jobs++;
    s->sessions++;
    s->busy++;
    if (worker_submit(c->writers, &j->job) == 0)
        return true;
    for (uint32_t i = 0; i < j->n; i++) /* cannot be: JOBS_MAX fit into the queue */
        j->errs[i] = ERR_LIMIT;
    maildir_end(&j->job);
    return false;
}

void
maildir_run(struct site *s, uint32_t source, struct site_host *h)
{
    struct courier *c = s->c;

    if (!c->writers && worker_create(&c->writers, c->loop, THREADS, JOBS_MAX, NULL) < 0) {
        str_fmt(s->why, sizeof s->why, "no thread can be started to write the Maildir");
        loop_timer_set(&s->timer, NS_PER_S);
        return;
    }
    while (c->maildir_jobs < JOBS_MAX && s->sessions < s->max_sessions)
        if (!job_start(s, source, h->path))
            break;
    if (c->maildir_jobs >= JOBS_MAX)
        loop_timer_set(&s->timer, 100 * NS_PER_MS); /* other Maildirs have the threads */
}

void
maildirs_free(struct courier *c)
{
    worker_free(c->writers, maildir_drop);
    c->writers = NULL;
}
