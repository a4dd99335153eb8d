/*
 * spool/io.c - the kernel behind the seam of spool/io.h.
 *
 * Short transfers and EINTR end here; everything else is the caller's to judge. A sync that failed
 * is never repeated: after it the kernel may have dropped the pages and a second one would lie.
 */
#include "spool/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int
system_open(UNUSED void *ctx, int dirfd, const char *name, int flags, unsigned mode)
{
    int fd;

    do
        fd = openat(dirfd, name, flags | O_CLOEXEC, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static ssize_t
system_pwrite(UNUSED void *ctx, int fd, const void *p, size_t n, uint64_t off)
{
    size_t put = 0;

    while (put < n) {
        ssize_t got = pwrite(fd, (const char *)p + put, n - put, (off_t)(off + put));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -EIO;
        put += (size_t)got;
    }
    return (ssize_t)put;
}

static ssize_t
system_pread(UNUSED void *ctx, int fd, void *p, size_t n, uint64_t off)
{
    size_t have = 0;

    while (have < n) {
        ssize_t got = pread(fd, (char *)p + have, n - have, (off_t)(off + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

static int
system_sync(UNUSED void *ctx, int fd)
{
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int
system_sync_full(UNUSED void *ctx, int fd)
{
    return fsync(fd) < 0 ? -errno : 0;
}

static int
system_rename(UNUSED void *ctx, int olddir, const char *old, int newdir, const char *new_)
{
    return renameat(olddir, old, newdir, new_) < 0 ? -errno : 0;
}

static int
system_unlink(UNUSED void *ctx, int dirfd, const char *name)
{
    return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

static int
system_truncate(UNUSED void *ctx, int fd, uint64_t size)
{
    return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

const struct spool_io spool_io_system = {
    .open = system_open,
    .pwrite = system_pwrite,
    .pread = system_pread,
    .sync = system_sync,
    .sync_full = system_sync_full,
    .rename = system_rename,
    .unlink = system_unlink,
    .truncate = system_truncate,
};
