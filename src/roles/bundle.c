/*
 * roles/bundle.c - settings and files in a memfd: written by the loader, read by every role.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/wire.h"
#include "roles/bundle.h"

#define BUNDLE_MAGIC 0x31444e4255504147ull /* "GAPUBND1" */

int
bundle_write(const struct conf_texts *texts, const struct bundle_file *files, size_t nfiles,
             uint8_t audience, uint64_t generation)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, BUNDLE_MAX);
    put_u64(&b, BUNDLE_MAGIC);
    put_u64(&b, generation);
    put_u32(&b, (uint32_t)texts->n);
    for (size_t i = 0; i < texts->n; i++) {
        put_str(&b, texts->items[i].path);
        put_str(&b, texts->items[i].text);
    }
    uint32_t n = 0;
    for (size_t i = 0; i < nfiles; i++)
        n += (files[i].audience & audience) != 0;
    put_u32(&b, n);
    for (size_t i = 0; i < nfiles; i++) {
        if (!(files[i].audience & audience))
            continue;
        put_str(&b, files[i].path);
        put_str(&b, files[i].text);
    }
    if (b.failed)
        return -EFBIG;
    int fd = memfd_create("gapura-settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < b.n;) {
        ssize_t w = write(fd, b.p + at, b.n - at);
        if (w < 0) {
            int e = errno;
            close(fd);
            return -e;
        }
        at += (size_t)w;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

int
bundle_read(struct bundle *ret, int fd_taken)
{
    CLEANUP(fd_close) int fd = fd_taken;
    memset(ret, 0, sizeof *ret);
    off_t size = lseek(fd, 0, SEEK_END);
    int seals = fcntl(fd, F_GET_SEALS); /* else whoever has it could cut it under our feet */
    if (seals < 0 || (seals & (F_SEAL_WRITE | F_SEAL_SHRINK)) != (F_SEAL_WRITE | F_SEAL_SHRINK))
        return ERR_CORRUPT;
    if (size < 24 || size > (off_t)BUNDLE_MAX)
        return ERR_CORRUPT;
    void *base = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    ret->base = base;
    ret->size = (size_t)size;
    arena_init(&ret->arena, 4u << 20);
    struct wire w;
    wire_init(&w, base, (size_t)size);
    if (wire_u64(&w) != BUNDLE_MAGIC)
        w.failed = true;
    ret->generation = wire_u64(&w);
    uint32_t n = wire_u32(&w);
    w.failed |= n > ARRAY_LEN(ret->texts.items);
    for (uint32_t i = 0; i < n && !w.failed; i++) {
        ret->texts.items[i].path = wire_str(&w);
        ret->texts.items[i].text = wire_str(&w);
        ret->texts.n = i + 1;
    }
    n = wire_u32(&w);
    if (!w.failed && n)
        ret->files = ARENA_ARRAY(&ret->arena, struct bundle_file, n);
    w.failed |= n && !ret->files;
    for (uint32_t i = 0; ret->files && i < n && !w.failed; i++) {
        ret->files[i].path = wire_str(&w);
        ret->files[i].text = wire_str(&w);
        ret->nfiles = i + 1;
    }
    if (wire_end(&w))
        return 0;
    bundle_done(ret);
    return ERR_CORRUPT;
}

void
bundle_done(struct bundle *b)
{
    if (b->base)
        munmap((void *)(uintptr_t)b->base, b->size);
    arena_done(&b->arena);
    memset(b, 0, sizeof *b);
}

struct str
bundle_find(const struct bundle *b, struct str path)
{
    for (size_t i = 0; i < b->nfiles; i++)
        if (str_eq(b->files[i].path, path))
            return b->files[i].text;
    return STR_NONE;
}
