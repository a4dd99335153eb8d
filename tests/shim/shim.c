/*
 * tests/shim/shim.c - preloaded into every role by tests: watches, records, delays and fails the
 * writes and syncs of segment files from outside the program, and kills it at a chosen phase.
 *
 * GAPURA_SHIM names the shared page (tests/shim/shim.h). GAPURA_SHIM_TRACE, if set, names a file
 * that gets each write and sync of segment files in order: u32 kind (1 write, 2 sync, 3 rename or
 * other barrier), u32 length, u64 file number, u64 offset, then the bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

static struct shim_page *page;
static struct shim_role *me;
static int trace_fd = -1;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_fdatasync)(int);

/* A segment is a regular file of at least 1 MiB opened for writing: its inode names it. */
static uint64_t
segment_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (1 << 20))
        return 0;
    return st.st_ino;
}

static void
role_name(char dst[SHIM_NAME])
{
    char line[256];
    int fd = open("/proc/self/cmdline", O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    snprintf(dst, SHIM_NAME, "supervisor");
    for (ssize_t i = 0; i < n; i++)
        if (!strncmp(line + i, "--role", 6) && i + 7 < n)
            snprintf(dst, SHIM_NAME, "%.15s", line + i + 7);
}

__attribute__((constructor)) static void
shim_start(void)
{
    const char *path = getenv("GAPURA_SHIM"), *trace = getenv("GAPURA_SHIM_TRACE");
    real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    real_pread = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED || page->magic != SHIM_MAGIC) {
        page = NULL;
        return;
    }
    char name[SHIM_NAME] = {0};
    role_name(name);
    for (unsigned i = 0; i < SHIM_ROLES && !me; i++)
        if (!strcmp(page->roles[i].name, name))
            me = &page->roles[i];
    /* Roles start side by side: a free row is one's own once its pid is. */
    for (unsigned i = 0; i < SHIM_ROLES && !me; i++) {
        uint32_t nobody = 0;
        if (atomic_compare_exchange_strong(&page->roles[i].pid, &nobody, (uint32_t)getpid()))
            me = &page->roles[i];
    }
    if (!me)
        return;
    memcpy(me->name, name, SHIM_NAME);
    me->pid = (uint32_t)getpid();
    me->phase = SHIM_OUTSIDE;
    if (trace)
        trace_fd = open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
}

static void
record(uint32_t kind, uint64_t file, uint64_t off, const void *p, uint32_t n)
{
    struct {
        uint32_t kind, n;
        uint64_t file, off;
    } head = {kind, n, file, off};
    if (trace_fd < 0)
        return;
    /* One call: other processes append to the same file. */
    struct iovec v[2] = {{&head, sizeof head}, {(void *)(uintptr_t)p, n}};
    if (writev(trace_fd, v, n ? 2 : 1) < 0)
        trace_fd = -1;
}

static int
counted_down(_Atomic uint32_t *counter)
{
    uint32_t v = atomic_load(counter);
    while (v)
        if (atomic_compare_exchange_weak(counter, &v, v - 1))
            return v == 1;
    return 0;
}

static void
delay(uint32_t ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    if (ms)
        nanosleep(&t, NULL);
}

static void
die(uint32_t phase)
{
    atomic_fetch_add(&me->kills[phase], 1);
    syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), SIGKILL);
}

static ssize_t
shim_pwrite(int fd, const void *p, size_t n, off_t off)
{
    uint64_t file = me ? segment_of(fd) : 0;
    if (!file)
        return real_pwrite(fd, p, n, off);
    me->phase = SHIM_IN_WRITE;
    atomic_fetch_add(&me->writes, 1);
    if (me->full || counted_down(&me->fail_write)) {
        atomic_fetch_add(&me->failed, 1);
        errno = me->full ? ENOSPC : (int)me->fail_write_errno;
        me->phase = SHIM_OUTSIDE;
        return -1;
    }
    if (counted_down(&me->kill_in_write)) {
        size_t half = n / 2 & ~(size_t)4095;
        if (half)
            (void)!real_pwrite(fd, p, half, off);
        die(SHIM_IN_WRITE);
    }
    record(1, file, (uint64_t)off, p, (uint32_t)n);
    ssize_t r = real_pwrite(fd, p, n, off);
    me->phase = SHIM_BEFORE_SYNC;
    return r;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
    return shim_pwrite(fd, p, n, off);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t off)
{
    return shim_pwrite(fd, p, n, off);
}

int
fdatasync(int fd)
{
    uint64_t file = me ? segment_of(fd) : 0;
    if (!file)
        return real_fdatasync(fd);
    me->phase = SHIM_BEFORE_SYNC;
    atomic_fetch_add(&me->syncs, 1);
    if (counted_down(&me->kill_before_sync))
        die(SHIM_BEFORE_SYNC);
    if (counted_down(&me->fail_sync)) {
        atomic_fetch_add(&me->failed, 1);
        errno = (int)me->fail_sync_errno;
        me->phase = SHIM_OUTSIDE;
        return -1;
    }
    delay(me->sync_delay_ms);
    int r = real_fdatasync(fd);
    record(2, file, 0, NULL, 0);
    me->phase = SHIM_AFTER_SYNC;
    if (counted_down(&me->kill_after_sync))
        die(SHIM_AFTER_SYNC);
    return r;
}

/* A slow disk: large reads are those of a start, which go through a window of the file. */
static ssize_t
shim_pread(int fd, void *p, size_t n, off_t off)
{
    if (me && n >= 32768 && me->read_delay_ms && segment_of(fd))
        delay(me->read_delay_ms);
    return real_pread(fd, p, n, off);
}

ssize_t
pread(int fd, void *p, size_t n, off_t off)
{
    return shim_pread(fd, p, n, off);
}

ssize_t
pread64(int fd, void *p, size_t n, off64_t off)
{
    return shim_pread(fd, p, n, off);
}
