/*
 * spool/pool_disk.c - files of the spool directory: made, pre-written, re-headed, removed.
 *
 * Called by pool.c alone. Everything that must survive is synced before the call returns, the
 * directory after every name that comes or goes. Headers lie in one sector, so re-heading is
 * whole or not at all.
 */
#include "spool/pool_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/crc32c.h"

#define NODE_MAX_BYTES 512u

uint32_t
pool_random(void)
{
    uint32_t v = 0;

    /* At most 256 bytes are never short and never fail once the kernel has started. */
    ENSURE(getrandom(&v, sizeof v, 0) == sizeof v);
    return v;
}

/* Does the file system say that it would take O_DIRECT and then go through the cache? */
static bool
direct_is_pretended(UNUSED int fd)
{
#ifdef STATX_DIOALIGN
    struct statx st;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) < 0 ||
        (st.stx_mask & STATX_DIOALIGN) == 0)
        return false;
    return st.stx_dio_offset_align == 0 || st.stx_dio_offset_align > SPOOL_UNIT;
#else
    return false;
#endif
}

/* Writes, syncs and reads one unit as the writers will. */
static int
probe_direct(struct pool_disk *d)
{
    int fd = d->io->open(d->io->ctx, d->dir, "probe", O_RDWR | O_CREAT | O_DIRECT, 0600);
    ssize_t put;
    int err;

    if (fd < 0) {
        d->direct_why = "the file system refuses O_DIRECT";
        return fd == -EINVAL || fd == -EOPNOTSUPP ? 0 : fd;
    }
    memset(d->page, 0x5a, SPOOL_UNIT);
    put = d->io->pwrite(d->io->ctx, fd, d->page, SPOOL_UNIT, 0);
    err = put < 0 ? (int)put : d->io->sync(d->io->ctx, fd);
    if (err == 0 && direct_is_pretended(fd))
        d->direct_why = "the file system answers O_DIRECT through its cache (data=journal?)";
    else if (err == 0)
        d->direct = true;
    else
        d->direct_why = "a write with O_DIRECT failed";
    fd_close(&fd);
    return err == -EINVAL || err == -EOPNOTSUPP ? 0 : err;
}

/* Its name must outlive a power loss, as what is in it. */
static int
sync_above(const struct spool_io *io, int dir)
{
    int err, up = io->open(io->ctx, dir, "..", O_RDONLY | O_DIRECTORY, 0);

    if (up < 0)
        return up;
    err = io->sync_full(io->ctx, up);
    fd_close(&up);
    return err;
}

static int
disk_open_dirs(struct pool_disk *d, const char *path)
{
    bool made = mkdir(path, 0750) == 0; /* else roles/dirs.c did, and synced it */
    int err;

    if (!made && errno != EEXIST)
        return -errno;
    d->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dir < 0)
        return -errno;
    err = made ? sync_above(d->io, d->dir) : 0;
    if (err < 0)
        return err;
    if (mkdirat(d->dir, "seg", 0750) < 0 && errno != EEXIST)
        return -errno;
    d->segdir = openat(d->dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->segdir < 0)
        return -errno;
    d->lock = openat(d->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock < 0)
        return -errno;
    return flock(d->lock, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

int
pool_disk_open(struct pool_disk *d, const char *path, const struct spool_io *io, struct why *why)
{
    void *page = NULL, *zeros = NULL;
    int err;

    *d = (struct pool_disk){.io = io, .dir = -1, .segdir = -1, .lock = -1};
    if (posix_memalign(&page, SPOOL_UNIT, 2 * SPOOL_UNIT) != 0 ||
        posix_memalign(&zeros, SPOOL_UNIT, POOL_ZEROS) != 0) {
        free(page);
        return ERR_NOMEM;
    }
    d->page = page;
    d->zeros = zeros;
    memset(zeros, 0, POOL_ZEROS);
    err = disk_open_dirs(d, path);
    if (err == -EWOULDBLOCK)
        why_set(why, err, "%s: another Gapura holds this spool", path);
    else if (err < 0)
        why_set(why, err, "%s: %s", path, err_text(err));
    if (err == 0) {
        err = probe_direct(d);
        d->io->unlink(d->io->ctx, d->dir, "probe");
        if (err == 0)
            err = d->io->sync_full(d->io->ctx, d->dir);
        if (err < 0)
            why_set(why, err, "%s: a probe of the disk failed: %s", path, err_text(err));
    }
    if (err < 0)
        pool_disk_done(d);
    return err;
}

void
pool_disk_done(struct pool_disk *d)
{
    fd_close(&d->lock);
    fd_close(&d->segdir);
    fd_close(&d->dir);
    free(d->page);
    free(d->zeros);
    d->page = d->zeros = NULL;
}

/* One "name value" line off *rest. */
static bool
node_field(struct str *rest, const char *name, uint64_t max, uint64_t *ret)
{
    struct str value, line = str_cut(*rest, '\n', rest);
    struct str key = str_cut(line, ' ', &value);

    return str_eq(key, str_c(name)) && str_u64(value, ret) == 0 && *ret <= max;
}

int
pool_node_load(struct pool_disk *d, struct pool_node *ret)
{
    char text[NODE_MAX_BYTES];
    uint64_t version, node, epoch, file, sum;
    struct str rest;
    ssize_t got, sum_at;
    int fd = d->io->open(d->io->ctx, d->dir, "node", O_RDONLY, 0);

    if (fd < 0)
        return fd == -ENOENT ? ERR_NOTFOUND : fd;
    got = d->io->pread(d->io->ctx, fd, text, sizeof text, 0);
    fd_close(&fd);
    if (got < 0)
        return (int)got;
    rest = str_of(text, (size_t)got);
    sum_at = str_find(rest, STR("sum "));
    if (!node_field(&rest, "gapura-spool", UINT32_MAX, &version))
        return ERR_CORRUPT;
    if (version != SPOOL_VERSION)
        return ERR_VERSION;
    if (!node_field(&rest, "node", UINT32_MAX, &node) ||
        !node_field(&rest, "epoch", UINT32_MAX, &epoch) ||
        !node_field(&rest, "file", UINT64_MAX, &file) ||
        !node_field(&rest, "sum", UINT32_MAX, &sum) || rest.n != 0 || sum_at < 0 ||
        sum != crc32c(0, text, (size_t)sum_at))
        return ERR_CORRUPT;
    *ret = (struct pool_node){(uint32_t)node, (uint32_t)epoch, file};
    return 0;
}

int
pool_node_save(struct pool_disk *d, const struct pool_node *n)
{
    char text[NODE_MAX_BYTES];
    size_t len;
    ssize_t put;
    int fd, err;

    len = str_fmt(text, sizeof text, "gapura-spool %u\nnode %u\nepoch %u\nfile %llu\n",
                  SPOOL_VERSION, n->node, n->next_epoch, (unsigned long long)n->next_file);
    len += str_fmt(text + len, sizeof text - len, "sum %u\n", crc32c(0, text, len));
    fd = d->io->open(d->io->ctx, d->dir, "node.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    put = d->io->pwrite(d->io->ctx, fd, text, len, 0);
    err = put < 0 ? (int)put : d->io->sync_full(d->io->ctx, fd);
    fd_close(&fd);
    if (err == 0)
        err = d->io->rename(d->io->ctx, d->dir, "node.new", d->dir, "node");
    if (err == 0)
        err = d->io->sync_full(d->io->ctx, d->dir);
    return err;
}

int
pool_segment_open(struct pool_disk *d, uint64_t number, int extra_flags)
{
    char name[32];

    return d->io->open(d->io->ctx, d->segdir, spool_segment_name(number, name),
                       O_RDWR | (d->direct ? O_DIRECT : 0) | extra_flags, 0640);
}

int
pool_segment_zero(struct pool_disk *d, int fd, uint64_t size)
{
    ssize_t put;

    for (uint64_t at = SPOOL_UNIT; at < size; at += (uint64_t)put) {
        size_t n = (size_t)MIN((uint64_t)POOL_ZEROS, size - at);
        put = d->io->pwrite(d->io->ctx, fd, d->zeros, n, at);
        if (put < 0)
            return (int)put;
        if ((size_t)put != n)
            return -EIO;
    }
    return 0;
}

int
pool_segment_make(struct pool_disk *d, uint64_t number, uint64_t size, bool prewrite, int *ret_fd)
{
    int fd = pool_segment_open(d, number, O_CREAT | O_EXCL);
    int err;

    if (fd < 0)
        return fd;
    /* Blocks first: pre-writing then meets no lack of space half way. */
    err = fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
    if (err == -EOPNOTSUPP)
        err = d->io->truncate(d->io->ctx, fd, size);
    if (err == 0 && prewrite)
        err = pool_segment_zero(d, fd, size);
    if (err == 0)
        err = d->io->sync_full(d->io->ctx, fd);
    if (err == 0)
        err = d->io->sync_full(d->io->ctx, d->segdir);
    if (err < 0) {
        fd_close(&fd);
        pool_segment_unlink(d, number);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

/* The first n bytes of the page, durable. */
static int
page_put(struct pool_disk *d, int fd, size_t n)
{
    ssize_t put = d->io->pwrite(d->io->ctx, fd, d->page, n, 0);

    if (put < 0)
        return (int)put;
    return (size_t)put == n ? d->io->sync(d->io->ctx, fd) : -EIO;
}

int
pool_segment_head(struct pool_disk *d, int fd, const struct spool_segment *s)
{
    spool_segment_encode(s, d->page);
    return page_put(d, fd, SPOOL_UNIT);
}

int
pool_segment_hand_out(struct pool_disk *d, int fd, const struct spool_segment *s)
{
    spool_segment_encode(s, d->page);
    spool_fresh_encode(s, d->page + SPOOL_UNIT);
    return page_put(d, fd, 2 * SPOOL_UNIT);
}

int
pool_segment_unlink(struct pool_disk *d, uint64_t number)
{
    char name[32];
    int err = d->io->unlink(d->io->ctx, d->segdir, spool_segment_name(number, name));

    /* A name that comes back after a crash is that of a free or unfinished file: no harm. */
    if (err == 0)
        (void)d->io->sync_full(d->io->ctx, d->segdir);
    return err;
}

int
pool_disk_space(struct pool_disk *d, uint64_t *ret_free)
{
    struct statvfs st;

    if (fstatvfs(d->dir, &st) < 0)
        return -errno;
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}
