/*
 * spool/files.c - reads bodies out of segment files, a few of which stay open.
 *
 * Called by the courier when a body is no longer in the ring. A place is a pin (segment,
 * generation): the header is looked at when a file is opened and again behind each read, so bytes
 * of a file that was recycled meanwhile are never handed out.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/crc32c.h"
#include "spool/reader.h"
#include "spool/walk.h"

struct file {
    int fd;
    struct spool_segment s;
    uint64_t used; /* tick of the last read */
};

struct spool_files {
    int segdir;
    const struct spool_io *io;
    unsigned max, n;
    uint64_t tick;
    struct file *files;
};

struct spool_files *
spool_files_create(const char *dir, unsigned max_open, const struct spool_io *io)
{
    struct spool_files *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->io = io ? io : &spool_io_system;
    f->max = MAX(max_open, 1u);
    f->files = calloc(f->max, sizeof *f->files);
    f->segdir = walk_segdir(dir);
    if (!f->files || f->segdir < 0) {
        spool_files_free(f);
        return NULL;
    }
    return f;
}

static void
file_drop(struct spool_files *f, struct file *file)
{
    fd_close(&file->fd);
    *file = f->files[--f->n];
}

void
spool_files_free(struct spool_files *f)
{
    if (!f)
        return;
    while (f->n > 0)
        file_drop(f, &f->files[0]);
    fd_close(&f->segdir);
    free(f->files);
    free(f);
}

void
spool_files_forget(struct spool_files *f, uint64_t segment)
{
    for (unsigned i = 0; i < f->n; i++) {
        if (f->files[i].s.number == segment) {
            file_drop(f, &f->files[i]);
            return;
        }
    }
}

static int
file_open(struct spool_files *f, uint64_t number, struct file **ret)
{
    struct file fresh = {.fd = -1};
    char name[32];
    int err;

    fresh.fd = f->io->open(f->io->ctx, f->segdir, spool_segment_name(number, name), O_RDONLY, 0);
    if (fresh.fd < 0)
        return fresh.fd == -ENOENT ? ERR_NOTFOUND : fresh.fd;
    err = walk_header(f->io, fresh.fd, &fresh.s);
    if (err == 0 && fresh.s.number != number)
        err = ERR_CORRUPT;
    if (err < 0) {
        fd_close(&fresh.fd);
        return err;
    }
    if (f->n == f->max) {
        struct file *oldest = &f->files[0];
        for (unsigned i = 1; i < f->n; i++) {
            if (f->files[i].used < oldest->used)
                oldest = &f->files[i];
        }
        file_drop(f, oldest);
    }
    f->files[f->n] = fresh;
    *ret = &f->files[f->n++];
    return 0;
}

static bool
file_is(const struct spool_segment *s, uint64_t generation)
{
    return s->generation == generation && s->state == SPOOL_SEGMENT_USED;
}

/* The open file of that pin; its header is read anew if it is not what we knew. */
static int
file_pinned(struct spool_files *f, uint64_t number, uint64_t generation, struct file **ret)
{
    struct file *file = NULL;
    int err;

    for (unsigned i = 0; i < f->n && !file; i++) {
        if (f->files[i].s.number == number)
            file = &f->files[i];
    }
    if (file && !file_is(&file->s, generation)) {
        file_drop(f, file);
        file = NULL;
    }
    if (!file) {
        err = file_open(f, number, &file);
        if (err < 0)
            return err;
    }
    if (!file_is(&file->s, generation))
        return ERR_STALE;
    file->used = ++f->tick;
    *ret = file;
    return 0;
}

static int
file_read(struct spool_files *f, const struct spool_loc *loc, uint64_t generation, void *dst,
          size_t n, struct file **ret)
{
    struct spool_segment after;
    struct file *file;
    ssize_t got;
    int err = file_pinned(f, loc->segment, generation, &file);

    if (err < 0)
        return err;
    if (loc->offset < SPOOL_UNIT || loc->offset > file->s.size || n > file->s.size - loc->offset)
        return ERR_CORRUPT;
    got = f->io->pread(f->io->ctx, file->fd, dst, n, loc->offset);
    if (got < 0) { /* what is read next time may be a copy in its place */
        file_drop(f, file);
        return (int)got;
    }
    err = walk_header(f->io, file->fd, &after);
    if (err < 0 || !file_is(&after, generation)) {
        file_drop(f, file);
        return err == ERR_CORRUPT || err == 0 ? ERR_STALE : err;
    }
    *ret = file;
    return (size_t)got == n ? 0 : ERR_CORRUPT;
}

int
spool_files_read(struct spool_files *f, const struct spool_loc *loc, uint64_t generation, void *dst,
                 size_t n)
{
    struct file *file;

    return file_read(f, loc, generation, dst, n, &file);
}

int
spool_files_read_body(struct spool_files *f, const struct spool_loc *loc, uint64_t generation,
                      void *dst, uint32_t n, uint32_t crc)
{
    struct file *file = NULL;
    int err = file_read(f, loc, generation, dst, n, &file);

    if (err < 0)
        return err;
    ENSURE(file);
    return crc32c(spool_salt(&file->s), dst, n) == crc ? 0 : ERR_CORRUPT;
}
