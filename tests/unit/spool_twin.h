/*
 * tests/unit/spool_twin.h - a disk in memory behind spool/io.h.
 *
 * The twin keeps two images of each segment file: what a running kernel would show (`now`) and what
 * has been synced (`synced`). It logs every write and sync, fails the one it is told to, and can
 * hold a sync until it is let go. Names exist as empty files in a real directory, so that
 * spool_list() finds them; their bytes come from `image`, which a test points at what it likes.
 */
#ifndef GAPURA_SPOOL_TWIN_H
#define GAPURA_SPOOL_TWIN_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "spool/io.h"
#include "spool/reader.h"
#include "spool/record.h"
#include "spool/writer.h"
#include "tap.h"

#define TWIN_FILES 64
#define TWIN_FDS   4096

enum twin_kind { TWIN_WRITE, TWIN_SYNC, TWIN_DONE };

struct twin_file {
    uint64_t number;
    size_t size;
    uint8_t *now, *synced, *image;
    uint8_t *dirty; /* a byte a unit: written and not synced */
};
struct twin_op {
    enum twin_kind kind;
    unsigned file;
    uint64_t off;
    size_t n;
    uint8_t *data;       /* of a write */
    bool failed;         /* that write or sync */
    const void *subject; /* of a DONE: the test's record */
    int status;
};
struct twin {
    char dir[64];
    int segdir;
    struct spool_io io;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct twin_file files[TWIN_FILES];
    unsigned nfiles;
    int fd_file[TWIN_FDS];
    struct twin_op *ops;
    size_t nops, cap;
    bool logging;
    long calls, fail_at; /* writes and syncs; the call of that number fails, -1 never */
    long fail_more;      /* and so many behind it */
    int fail_code;
    bool hold;             /* syncs wait */
    _Atomic unsigned held; /* syncs waiting */
    size_t bytes_read;
};

static inline void
twin_log(struct twin *t, struct twin_op op)
{
    if (!t->logging)
        return;
    if (t->nops == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->ops = reallocarray(t->ops, t->cap, sizeof *t->ops);
        ENSURE(t->ops);
    }
    t->ops[t->nops++] = op;
}

static inline struct twin_file *
twin_file_of(struct twin *t, int fd)
{
    ENSURE(fd >= 0 && fd < TWIN_FDS && t->fd_file[fd] >= 0);
    return &t->files[t->fd_file[fd]];
}

/* With the lock held: shall this call fail? */
static inline bool
twin_fails(struct twin *t)
{
    long call = t->calls++;

    return t->fail_at >= 0 && call >= t->fail_at && call <= t->fail_at + t->fail_more;
}

static inline int
twin_fd(struct twin *t, unsigned file)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    ENSURE(fd >= 0 && fd < TWIN_FDS);
    t->fd_file[fd] = (int)file;
    return fd;
}

static inline int
twin_open(void *ctx, UNUSED int dirfd, const char *name, UNUSED int flags, UNUSED unsigned mode)
{
    struct twin *t = ctx;
    uint64_t number;
    int fd = -ENOENT;

    if (spool_segment_name_parse(str_c(name), &number) < 0)
        return -ENOENT;
    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < t->nfiles; i++) {
        if (t->files[i].number == number)
            fd = twin_fd(t, i);
    }
    pthread_mutex_unlock(&t->lock);
    return fd;
}

/* counted: this call may be the one to fail. */
static inline ssize_t
twin_write(struct twin *t, int fd, const void *p, size_t n, uint64_t off, bool counted)
{
    struct twin_file *f;
    struct twin_op op = {.kind = TWIN_WRITE, .off = off, .n = n};
    ssize_t ret = (ssize_t)n;

    pthread_mutex_lock(&t->lock);
    f = twin_file_of(t, fd);
    ENSURE(off % SPOOL_UNIT == 0 && n % SPOOL_UNIT == 0 && (uintptr_t)p % SPOOL_UNIT == 0);
    ENSURE(off + n <= f->size);
    op.file = (unsigned)(f - t->files);
    if (counted && twin_fails(t)) {
        op.failed = true;
        ret = t->fail_code;
    }
    memcpy(f->now + off, p, n);
    memset(f->dirty + off / SPOOL_UNIT, 1, n / SPOOL_UNIT);
    if (t->logging) {
        op.data = malloc(n);
        ENSURE(op.data);
        memcpy(op.data, p, n);
    }
    twin_log(t, op);
    pthread_mutex_unlock(&t->lock);
    return ret;
}

static inline ssize_t
twin_pwrite(void *ctx, int fd, const void *p, size_t n, uint64_t off)
{
    return twin_write(ctx, fd, p, n, off, true);
}

static inline ssize_t
twin_pread(void *ctx, int fd, void *p, size_t n, uint64_t off)
{
    struct twin *t = ctx;
    struct twin_file *f;

    pthread_mutex_lock(&t->lock);
    f = twin_file_of(t, fd);
    n = off >= f->size ? 0 : MIN(n, f->size - off);
    memcpy(p, (f->image ? f->image : f->now) + off, n);
    t->bytes_read += n;
    pthread_mutex_unlock(&t->lock);
    return (ssize_t)n;
}

static inline int
twin_flush(struct twin *t, int fd, bool counted)
{
    struct twin_file *f;
    struct twin_op op = {.kind = TWIN_SYNC};
    int ret = 0;

    pthread_mutex_lock(&t->lock);
    f = twin_file_of(t, fd);
    op.file = (unsigned)(f - t->files);
    t->held++;
    while (t->hold && counted)
        pthread_cond_wait(&t->cond, &t->lock);
    t->held--;
    if (counted && twin_fails(t)) {
        op.failed = true;
        ret = t->fail_code;
    } else {
        memcpy(f->synced, f->now, f->size);
        memset(f->dirty, 0, f->size / SPOOL_UNIT);
    }
    twin_log(t, op);
    pthread_mutex_unlock(&t->lock);
    return ret;
}

static inline int
twin_sync(void *ctx, int fd)
{
    return twin_flush(ctx, fd, true);
}

static inline void
twin_init(struct twin *t)
{
    *t = (struct twin){.fail_at = -1, .fail_code = -EIO};
    memset(t->fd_file, 0xff, sizeof t->fd_file);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->cond, NULL);
    t->io = (struct spool_io){.open = twin_open,
                              .pwrite = twin_pwrite,
                              .pread = twin_pread,
                              .sync = twin_sync,
                              .sync_full = twin_sync,
                              .ctx = t};
    str_fmt(t->dir, sizeof t->dir, "/tmp/gapura-twin-XXXXXX");
    ENSURE(mkdtemp(t->dir));
    t->segdir = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ENSURE(t->segdir >= 0 && mkdirat(t->segdir, "seg", 0700) == 0);
    fd_close(&t->segdir);
    t->segdir = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    {
        int seg = openat(t->segdir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd_close(&t->segdir);
        t->segdir = seg;
    }
}

static inline void
twin_done(struct twin *t)
{
    char name[32];

    for (unsigned i = 0; i < t->nfiles; i++) {
        unlinkat(t->segdir, spool_segment_name(t->files[i].number, name), 0);
        free(t->files[i].now);
        free(t->files[i].synced);
        free(t->files[i].dirty);
    }
    for (size_t i = 0; i < t->nops; i++)
        free(t->ops[i].data);
    free(t->ops);
    fd_close(&t->segdir);
    t->segdir = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unlinkat(t->segdir, "seg", AT_REMOVEDIR);
    fd_close(&t->segdir);
    rmdir(t->dir);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->lock);
}

/* A new file of that size, all zero. */
static inline unsigned
twin_make(struct twin *t, size_t size)
{
    struct twin_file *f = &t->files[t->nfiles];
    char name[32];
    int fd;

    ENSURE(t->nfiles < TWIN_FILES);
    f->number = t->nfiles + 1;
    f->size = size;
    f->now = calloc(1, size);
    f->synced = calloc(1, size);
    f->dirty = calloc(1, size / SPOOL_UNIT);
    ENSURE(f->now && f->synced && f->dirty);
    fd = openat(t->segdir, spool_segment_name(f->number, name), O_CREAT | O_WRONLY | O_CLOEXEC,
                0600);
    ENSURE(fd >= 0);
    fd_close(&fd);
    return t->nfiles++;
}

static inline void
twin_head(struct twin *t, int fd, const struct spool_segment *s, bool fresh)
{
    static _Alignas(4096) uint8_t page[2 * SPOOL_UNIT];
    size_t n = fresh ? sizeof page : SPOOL_UNIT;

    spool_segment_encode(s, page);
    spool_fresh_encode(s, page + SPOOL_UNIT);
    ENSURE(twin_write(t, fd, page, n, 0, false) == (ssize_t)n);
    ENSURE(twin_flush(t, fd, false) == 0);
}

/* Hands a file out as the pool does: freed, then its header and the mark behind it written and
 * synced, the generation grown. */
static inline int
twin_take(struct twin *t, unsigned file, uint32_t epoch, uint64_t seq, struct spool_segment *ret)
{
    struct spool_segment before = {0};
    int fd = twin_fd(t, file);

    (void)spool_segment_decode(t->files[file].now, &before);
    *ret = (struct spool_segment){.number = t->files[file].number,
                                  .generation = before.generation + 1000 + file,
                                  .size = t->files[file].size,
                                  .seq = seq,
                                  .node = 77,
                                  .epoch = epoch,
                                  .stream = SPOOL_STREAM_GATE << 8,
                                  .version = SPOOL_VERSION,
                                  .state = SPOOL_SEGMENT_USED};
    if (before.state == SPOOL_SEGMENT_USED) {
        before.state = SPOOL_SEGMENT_FREE;
        twin_head(t, fd, &before, false);
    }
    twin_head(t, fd, ret, true);
    return fd;
}

/* Is every unit of [off, off + n) of that segment synced? */
static inline bool
twin_is_synced(struct twin *t, uint64_t number, uint64_t off, size_t n)
{
    bool clean = true;

    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < t->nfiles; i++) {
        if (t->files[i].number != number)
            continue;
        for (uint64_t u = off / SPOOL_UNIT; u <= (off + MAX(n, 1u) - 1) / SPOOL_UNIT; u++)
            clean = clean && !t->files[i].dirty[u];
    }
    pthread_mutex_unlock(&t->lock);
    return clean;
}

static inline uint64_t
twin_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
