/*
 * tests/unit/spool_twin.h - a disk in memory behind spool/io.h, and a role in miniature for a
 * writer.
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

/* A record whose bytes follow from (epoch, seq): so anyone can check them. */
struct note {
    struct spool_out out;
    struct rig *rig;
    uint32_t epoch;
    uint64_t seq;
    uint8_t *payload, *body;
    size_t npayload, nbody;
    struct iovec pieces[3];
    bool done;
    int status;
    size_t done_at; /* index of its DONE in the log */
    bool gone;      /* its segment was recycled */
    size_t gone_at;
};

#define RIG_NOTES 8192
struct rig { /* a stream's owner */
    struct twin *twin;
    struct spool_writer *writer;
    int wake;
    uint32_t epoch;
    uint64_t next_seq; /* of segments */
    size_t segment_size;
    unsigned segments_left; /* that need_segment may make; then starve */
    unsigned first_file;    /* files are taken in a ring from here, made when missing */
    unsigned files;
    uint64_t left_number;
    bool left_failed;
    unsigned nleft, nfailed;
    struct note *notes[RIG_NOTES];
    unsigned nnotes;
};

/* The pool's law: what begins with VOID records outlives the earlier segments of its epoch. */
static inline bool
twin_holds_back(const struct twin *t, unsigned file)
{
    struct spool_segment s, other;
    struct spool_batch b;

    if (file >= t->nfiles || spool_segment_decode(t->files[file].now, &s) < 0 ||
        spool_batch_decode(t->files[file].now + SPOOL_UNIT, SPOOL_UNIT, &s, s.size - SPOOL_UNIT,
                           &b) < 0 ||
        (b.flags & SPOOL_BATCH_VOID) == 0)
        return false;
    for (unsigned i = 0; i < t->nfiles; i++) {
        if (spool_segment_decode(t->files[i].now, &other) == 0 && other.epoch == s.epoch &&
            other.seq < s.seq)
            return true;
    }
    return false;
}

static inline void
rig_need(void *ctx)
{
    struct rig *r = ctx;
    struct spool_segment s;
    unsigned file;
    int fd;

    if (r->segments_left == 0) {
        spool_writer_starve(r->writer);
        return;
    }
    r->segments_left--;
    do
        file = r->first_file + r->files++;
    while (twin_holds_back(r->twin, file));
    if (file >= r->twin->nfiles)
        file = twin_make(r->twin, r->segment_size);
    fd = twin_take(r->twin, file, r->epoch, r->next_seq++, &s);
    spool_writer_give(r->writer, fd, &s);
}

static inline void
rig_left(void *ctx, uint64_t number, bool failed)
{
    struct rig *r = ctx;

    r->left_number = number;
    r->left_failed = failed;
    r->nleft++;
    r->nfailed += failed;
}

static inline void
rig_wake(void *ctx)
{
    uint64_t one = 1;

    ENSURE(write(((struct rig *)ctx)->wake, &one, sizeof one) == sizeof one);
}

static inline void
rig_init(struct rig *r, struct twin *t, uint32_t epoch, size_t segment_size, uint64_t max_batch)
{
    struct spool_writer_ops ops = {rig_need, rig_left, rig_wake};
    struct spool_writer_conf conf = {.node = 77,
                                     .epoch = epoch,
                                     .stream = SPOOL_STREAM_GATE << 8,
                                     .max_batch = max_batch,
                                     .ring_size = 1 << 20,
                                     .io = &t->io};

    *r = (struct rig){.twin = t,
                      .epoch = epoch,
                      .segment_size = segment_size,
                      .segments_left = UINT32_MAX,
                      .first_file = t->nfiles};
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ENSURE(spool_writer_create(&r->writer, &conf, &ops, r) == 0);
}

static inline void
rig_done(struct rig *r)
{
    spool_writer_free(r->writer);
    r->writer = NULL;
    fd_close(&r->wake);
}

static inline void
rig_free_notes(struct rig *r)
{
    for (unsigned i = 0; i < r->nnotes; i++) {
        free(r->notes[i]->payload);
        free(r->notes[i]->body);
        free(r->notes[i]);
    }
    r->nnotes = 0;
}

/* One turn of the role's loop: waits up to `ms` for the writer. */
static inline void
rig_turn(struct rig *r, int ms)
{
    struct pollfd p = {.fd = r->wake, .events = POLLIN};
    uint64_t n;

    if (poll(&p, 1, ms) == 1 && read(r->wake, &n, sizeof n) < 0)
        return;
    spool_writer_poll(r->writer);
}

static inline bool
rig_ready(struct rig *r)
{
    for (int i = 0; i < 2000; i++) {
        if (spool_writer_state(r->writer) == SPOOL_WRITER_READY)
            return true;
        rig_turn(r, 5);
    }
    return false;
}

static inline void
note_done(struct spool_out *out, int status)
{
    struct note *n = CONTAINER_OF(out, struct note, out);
    struct twin *t = n->rig->twin;

    n->done = true;
    n->status = status;
    pthread_mutex_lock(&t->lock);
    n->done_at = t->nops;
    twin_log(t, (struct twin_op){.kind = TWIN_DONE, .subject = n, .status = status});
    pthread_mutex_unlock(&t->lock);
    if (status == 0) {
        bool synced = twin_is_synced(t, out->loc.segment, out->loc.offset,
                                     SPOOL_RECORD_SIZE(out->payload.n)) &&
                      (out->body_len == 0 || twin_is_synced(t, out->body_loc.segment,
                                                            out->body_loc.offset, out->body_len));
        if (!synced)
            OK(false, "done(0) only behind a sync that covers it");
    }
}

/* The bytes of (epoch, seq): length chosen by the caller. */
static inline void
note_fill(uint8_t *p, size_t n, uint32_t epoch, uint64_t seq, uint64_t what)
{
    uint64_t state = (uint64_t)epoch << 40 ^ seq << 8 ^ what;

    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = twin_random(&state);
        memcpy(p + i, &v, MIN(sizeof v, n - i));
    }
}

static inline struct note *
rig_note(struct rig *r, size_t npayload, size_t nbody)
{
    struct note *n = calloc(1, sizeof *n);

    ENSURE(n && r->nnotes < RIG_NOTES);
    n->rig = r;
    n->epoch = r->epoch;
    n->seq = spool_writer_seq(r->writer);
    n->npayload = npayload;
    n->nbody = nbody;
    n->payload = malloc(npayload + 1);
    n->body = malloc(nbody + 1);
    ENSURE(n->payload && n->body);
    note_fill(n->payload, npayload, n->epoch, n->seq, 1);
    note_fill(n->body, nbody, n->epoch, n->seq, 2);
    n->pieces[0] = (struct iovec){n->body, nbody / 3};
    n->pieces[1] = (struct iovec){n->body + nbody / 3, 0};
    n->pieces[2] = (struct iovec){n->body + nbody / 3, nbody - nbody / 3};
    n->out = (struct spool_out){.type = SPOOL_MESSAGE,
                                .seq = n->seq,
                                .payload = str_of(n->payload, npayload),
                                .body = n->pieces,
                                .nbody = nbody ? 3 : 0,
                                .done = note_done};
    r->notes[r->nnotes++] = n;
    return n;
}

static inline bool
rig_settle(struct rig *r) /* until all offered records are done */
{
    for (int i = 0; i < 4000; i++) {
        bool open = false;
        for (unsigned k = r->nnotes; k-- > 0 && !open;)
            open = !r->notes[k]->done;
        if (!open)
            return true;
        rig_turn(r, 5);
    }
    return false;
}

/* What a reading found, with voids to apply. */
struct found {
    struct spool_place place;
    struct spool_record record;
    struct spool_segment segment;
    bool voided;
};
struct finding {
    struct found *items;
    size_t n, cap;
    struct spool_void voids[4096];
    size_t nvoids;
    unsigned damages, ends;
    uint64_t lost_after, lost_before;
};

static inline int
finding_record(void *ctx, const struct spool_place *place, const struct spool_record *record)
{
    struct finding *f = ctx;

    if (record->type == SPOOL_VOID) {
        ENSURE(f->nvoids < ARRAY_LEN(f->voids));
        return spool_void_decode(record, &f->voids[f->nvoids++]);
    }
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 256;
        f->items = reallocarray(f->items, f->cap, sizeof *f->items);
        ENSURE(f->items);
    }
    f->items[f->n] = (struct found){*place, *record, *place->segment, false};
    f->items[f->n++].record.payload = STR_NONE; /* not valid later: read again by its place */
    return 0;
}

static inline void
finding_damage(void *ctx, UNUSED const struct spool_segment *s, UNUSED uint64_t from,
               UNUSED uint64_t to, uint64_t after, uint64_t before)
{
    struct finding *f = ctx;

    f->damages++;
    f->lost_after = after;
    f->lost_before = before;
}

static inline void
finding_end(void *ctx, UNUSED const struct spool_segment *s)
{
    ((struct finding *)ctx)->ends++;
}

static const struct spool_reader_ops finding_ops = {finding_record, finding_damage, finding_end};

static inline void
finding_void(struct finding *f)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t v = 0; v < f->nvoids; v++) {
            if (f->items[i].segment.epoch == f->voids[v].epoch &&
                f->items[i].record.seq >= f->voids[v].first &&
                f->items[i].record.seq <= f->voids[v].last)
                f->items[i].voided = true;
        }
    }
}

/* Recovery of the whole spool, epoch by epoch. */
static inline int
finding_read(struct finding *f, struct twin *t)
{
    struct spool_listing all;
    struct why why;
    size_t first = 0, n;
    int err = spool_list(t->dir, &t->io, &all, &why);

    f->n = f->nvoids = 0;
    f->damages = f->ends = 0;
    for (; err == 0 && first < all.n; first += n) {
        for (n = 1; first + n < all.n && all.items[first + n].epoch == all.items[first].epoch;)
            n++;
        err = spool_epoch_read(t->dir, all.items + first, n, &t->io, &finding_ops, f);
    }
    if (err == 0) {
        finding_void(f);
        spool_listing_done(&all);
    }
    return err;
}

static inline struct found *
finding_get(struct finding *f, uint32_t epoch, uint64_t seq)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->items[i].segment.epoch == epoch && f->items[i].record.seq == seq)
            return &f->items[i];
    }
    return NULL;
}

/* Do the bytes in the image, at the found place, equal the note's? */
static inline bool
found_equals(struct twin *t, const struct found *f, const struct note *n)
{
    for (unsigned i = 0; i < t->nfiles; i++) {
        const uint8_t *p = t->files[i].image ? t->files[i].image : t->files[i].now;
        if (t->files[i].number != f->segment.number)
            continue;
        p += f->place.loc.offset + SPOOL_RECORD_HEADER;
        if (f->record.length != SPOOL_RECORD_SIZE(n->npayload) ||
            memcmp(p, n->payload, n->npayload) != 0 || f->record.body_len != n->nbody)
            return false;
        p = (t->files[i].image ? t->files[i].image : t->files[i].now) + f->place.batch.offset +
            f->record.body_off;
        return memcmp(p, n->body, n->nbody) == 0;
    }
    return false;
}

#endif
