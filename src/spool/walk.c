/*
 * spool/walk.c - finds and checks batches in a segment file, through a window of its bytes.
 *
 * Called by recovery and by the tail. Reads headers and directories; bodies only when asked. The
 * window is small while batches are large (bodies are skipped, not read) and large while they are
 * small, where one read brings many. Everything read is hostile until its checksum holds, and then
 * still may not lead a read outside the segment.
 */
#include "spool/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/crc32c.h"
#include "core/err.h"

#define WINDOW_SMALL  (32u << 10)
#define WINDOW_LARGE  (512u << 10)
#define FIND_SOME     (UINT64_C(4) << 20) /* searched in one go */
#define DIR_MAX_BYTES (64u << 20)

void
walk_init(struct walk *w, const struct spool_io *io)
{
    *w = (struct walk){.io = io ? io : &spool_io_system, .fd = -1};
}

static void
walk_close(struct walk *w)
{
    fd_close(&w->fd);
    w->window_n = 0;
    w->dir = STR_NONE;
    w->has_base = false;
}

void
walk_done(struct walk *w)
{
    if (w->io)
        walk_close(w);
    free(w->window);
    w->window = NULL;
    w->window_cap = 0;
}

void
walk_forget(struct walk *w)
{
    w->window_n = 0;
    w->dir = STR_NONE;
}

int
walk_segdir(const char *dir)
{
    char path[4096];
    int fd;

    if (str_fmt(path, sizeof path, "%s/seg", dir) + 1 >= sizeof path)
        return -ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int
walk_header(const struct spool_io *io, int fd, struct spool_segment *ret)
{
    uint8_t page[SPOOL_UNIT];
    ssize_t got = io->pread(io->ctx, fd, page, sizeof page, 0);

    if (got < 0)
        return (int)got;
    return got == sizeof page ? spool_segment_decode(page, ret) : ERR_CORRUPT;
}

int
walk_is_blank(const struct spool_io *io, int fd)
{
    CLEANUP(free_ptr) uint8_t *room = malloc(WINDOW_LARGE);
    uint64_t at = 0;
    ssize_t got;

    if (!room)
        return ERR_NOMEM;
    while ((got = io->pread(io->ctx, fd, room, WINDOW_LARGE, at)) > 0) {
        if (room[0] != 0 || memcmp(room, room + 1, (size_t)got - 1) != 0)
            return 0;
        at += (uint64_t)got;
    }
    return got < 0 ? (int)got : 1;
}

int
walk_is_whole(const struct spool_io *io, int fd, uint64_t size)
{
    uint8_t last;
    ssize_t got = io->pread(io->ctx, fd, &last, 1, size - 1);

    return got < 0 ? (int)got : got == 0 ? -EIO : 0;
}

int
walk_open(struct walk *w, int segdir, const struct spool_segment *s)
{
    struct spool_segment now;
    char name[32];
    int err;

    walk_close(w);
    w->fd = w->io->open(w->io->ctx, segdir, spool_segment_name(s->number, name), O_RDONLY, 0);
    if (w->fd < 0) {
        err = w->fd;
        w->fd = -1;
        return err == -ENOENT ? ERR_NOTFOUND : err;
    }
    err = walk_header(w->io, w->fd, &now);
    if (err == 0 && (now.generation != s->generation || now.state != SPOOL_SEGMENT_USED))
        err = ERR_STALE;
    if (err < 0) {
        walk_close(w);
        return err;
    }
    /* The window is our read-ahead: the kernel's would fetch the bodies that we skip. */
    posix_fadvise(w->fd, 0, 0, POSIX_FADV_RANDOM);
    w->s = now;
    w->salt = spool_salt(&now);
    return 0;
}

/* Makes [off, off + n) visible; *ret points to it. Bytes there are, up to n, or negative. */
static ssize_t
walk_view(struct walk *w, uint64_t off, size_t n, size_t ahead, const uint8_t **ret)
{
    size_t want = MAX(n, ahead);
    ssize_t got;

    if (off < w->window_at || off + n > w->window_at + w->window_n) {
        want = (size_t)MIN(want, w->s.size - off);
        if (want > w->window_cap) {
            uint8_t *more = realloc(w->window, want);
            if (!more)
                return ERR_NOMEM;
            w->window = more;
            w->window_cap = want;
        }
        w->window_n = 0;
        got = w->io->pread(w->io->ctx, w->fd, w->window, want, off);
        if (got < 0)
            return got;
        w->window_at = off;
        w->window_n = (size_t)got;
        if (want >= WINDOW_LARGE) /* window after window: the next one comes while we look */
            posix_fadvise(w->fd, (off_t)(off + want), WINDOW_LARGE, POSIX_FADV_WILLNEED);
    }
    *ret = w->window + (off - w->window_at);
    return (ssize_t)MIN(n, w->window_n - (size_t)(off - w->window_at));
}

int
walk_check_dir(const struct spool_batch *b, struct str dir, uint64_t *ret_low, uint64_t *ret_high)
{
    uint64_t first = SPOOL_BATCH_HEADER + (uint64_t)b->dir_bytes;
    uint64_t low = UINT64_MAX, high = 0, n = 0;
    struct spool_record r;
    size_t at = 0;
    int got;

    while ((got = spool_record_next(dir, &at, &r)) == 1) {
        low = MIN(low, r.seq);
        high = MAX(high, r.seq);
        if (++n > b->nrecords)
            return 0;
        if (r.body_len == 0)
            continue;
        if (r.body_off < first || r.body_off - first > b->data_bytes ||
            r.body_len > b->data_bytes - (r.body_off - first))
            return 0;
    }
    if (got == ERR_VERSION)
        return got;
    *ret_low = low;
    *ret_high = high;
    return got == 0;
}

static int
walk_try_ahead(struct walk *w, uint64_t offset, size_t ahead)
{
    struct spool_batch b;
    const uint8_t *p;
    ssize_t got;
    int err;

    if (offset < SPOOL_UNIT || offset % SPOOL_UNIT != 0 || offset >= w->s.size)
        return 0;
    got = walk_view(w, offset, SPOOL_BATCH_HEADER, ahead, &p);
    if (got < 0)
        return (int)got;
    if (spool_batch_decode(p, (size_t)got, &w->s, w->s.size - offset, &b) < 0)
        return 0;
    if (b.dir_bytes > DIR_MAX_BYTES || (w->has_base && b.position - offset != w->base))
        return 0;
    got = walk_view(w, offset, SPOOL_BATCH_HEADER + (size_t)b.dir_bytes, ahead, &p);
    if (got < 0)
        return (int)got;
    if ((size_t)got < SPOOL_BATCH_HEADER + (size_t)b.dir_bytes)
        return 0;
    p += SPOOL_BATCH_HEADER;
    if (crc32c(w->salt, p, b.dir_bytes) != b.dir_crc)
        return 0;
    err = walk_check_dir(&b, str_of(p, b.dir_bytes), &w->seq_low, &w->seq_high);
    if (err != 1)
        return err;
    w->at = offset;
    w->batch = b;
    w->dir = str_of(p, b.dir_bytes);
    w->base = b.position - offset;
    w->has_base = true;
    return 1;
}

int
walk_try(struct walk *w, uint64_t offset)
{
    size_t ahead = WINDOW_SMALL;

    /* Did the last batch fit a window with room to spare? Then its neighbours will. */
    if (w->dir.p && w->batch.length <= WINDOW_LARGE / 8)
        ahead = WINDOW_LARGE;
    return walk_try_ahead(w, offset, ahead);
}

int
walk_is_fresh(struct walk *w)
{
    const uint8_t *p;
    ssize_t got = walk_view(w, SPOOL_UNIT, SPOOL_BATCH_HEADER, WINDOW_SMALL, &p);

    return got < 0 ? (int)got : spool_fresh_is(&w->s, p, (size_t)got);
}

void
walk_ahead(struct walk *w, uint64_t offset)
{
    bool seen = offset >= w->window_at && offset < w->window_at + w->window_n;

    if (!seen && offset < w->s.size)
        posix_fadvise(w->fd, (off_t)offset, WINDOW_SMALL, POSIX_FADV_WILLNEED);
}

int
walk_find_some(struct walk *w, uint64_t *offset)
{
    uint64_t stop = MIN(w->s.size, *offset + FIND_SOME);
    int got;

    for (; *offset < stop; *offset += SPOOL_UNIT) {
        got = walk_try_ahead(w, *offset, WINDOW_LARGE);
        if (got != 0)
            return got;
        if (w->window_n == 0 && w->window_at == *offset)
            return 0; /* the file ends here, whatever size its header claims */
    }
    return *offset < w->s.size ? WALK_MORE : 0;
}

static int
body_check(struct walk *w, const struct spool_record *r, uint8_t *scratch, size_t cap)
{
    uint64_t off = w->at + r->body_off;
    uint32_t left = r->body_len, crc = w->salt;

    while (left > 0) {
        size_t n = MIN(left, cap);
        ssize_t got = w->io->pread(w->io->ctx, w->fd, scratch, n, off);
        if (got < 0)
            return (int)got;
        if ((size_t)got < n)
            return 0;
        crc = crc32c(crc, scratch, n);
        off += n;
        left -= (uint32_t)n;
    }
    return crc == r->body_crc;
}

int
walk_bodies(struct walk *w)
{
    CLEANUP(free_ptr) uint8_t *scratch = malloc(WINDOW_LARGE);
    struct spool_record r;
    size_t at = 0;
    int good = 1;

    if (!scratch)
        return ERR_NOMEM;
    while (good == 1 && spool_record_next(w->dir, &at, &r) == 1) {
        if (r.body_len > 0)
            good = body_check(w, &r, scratch, WINDOW_LARGE);
    }
    return good;
}
