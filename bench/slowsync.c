/*
 * bench/slowsync.c - preloaded into every server alike: makes each flush to disk take SLOWSYNC_MS
 * longer, as a disk without a write cache would.
 *
 * fsync, fdatasync, syncfs, sync_file_range; and each write to a file that was opened with O_DSYNC
 * or O_SYNC. Threads and processes wait side by side, as they would in a disk's queue.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536

static struct timespec pause_for;
static unsigned char synced[FDS]; /* opened with O_DSYNC or O_SYNC */

__attribute__((constructor)) static void
slowsync_start(void)
{
    const char *ms = getenv("SLOWSYNC_MS");
    long n = ms ? strtol(ms, NULL, 10) : 0;
    pause_for = (struct timespec){n / 1000, n % 1000 * 1000000};
}

static void
wait_for_disk(void)
{
    if (pause_for.tv_sec || pause_for.tv_nsec)
        nanosleep(&pause_for, NULL);
}

static void
wait_if_synced(int fd)
{
    if (fd >= 0 && fd < FDS && synced[fd])
        wait_for_disk();
}

#define REAL(name)                                                                                 \
    static __typeof__(&(name)) real;                                                               \
    if (!real)                                                                                     \
    real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

int
fsync(int fd)
{
    REAL(fsync);
    wait_for_disk();
    return real(fd);
}

int
fdatasync(int fd)
{
    REAL(fdatasync);
    wait_for_disk();
    return real(fd);
}

int
syncfs(int fd)
{
    REAL(syncfs);
    wait_for_disk();
    return real(fd);
}

int
sync_file_range(int fd, off64_t at, off64_t n, unsigned flags)
{
    REAL(sync_file_range);
    wait_for_disk();
    return real(fd, at, n, flags);
}

static int
opened(int fd, int flags)
{
    if (fd >= 0 && fd < FDS)
        synced[fd] = (flags & (O_DSYNC | O_SYNC)) != 0;
    return fd;
}

static mode_t
mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        REAL(name);                                                                                \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = mode_of(flags, args);                                                        \
        va_end(args);                                                                              \
        return opened(real(path, flags, mode), flags);                                             \
    }
#define OPENAT(name)                                                                               \
    int name(int dir, const char *path, int flags, ...)                                            \
    {                                                                                              \
        REAL(name);                                                                                \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = mode_of(flags, args);                                                        \
        va_end(args);                                                                              \
        return opened(real(dir, path, flags, mode), flags);                                        \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t
write(int fd, const void *p, size_t n)
{
    REAL(write);
    wait_if_synced(fd);
    return real(fd, p, n);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
    REAL(writev);
    wait_if_synced(fd);
    return real(fd, v, n);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
    REAL(pwrite);
    wait_if_synced(fd);
    return real(fd, p, n, at);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    REAL(pwrite64);
    wait_if_synced(fd);
    return real(fd, p, n, at);
}
