/*
 * spool/io.h - the seam under the spool: every write and sync of mail goes through these calls.
 *
 * spool_io_system is the kernel; tests put failing or recording twins in its place. Return values
 * as the system call's, errors as -errno. A short write is completed inside spool_io_system.
 */
#ifndef GAPURA_SPOOL_IO_H
#define GAPURA_SPOOL_IO_H

#include "core/base.h"

struct spool_io {
    int (*open)(void *ctx, int dirfd, const char *name, int flags, unsigned mode);
    ssize_t (*pwrite)(void *ctx, int fd, const void *p, size_t n, uint64_t off);
    ssize_t (*pread)(void *ctx, int fd, void *p, size_t n, uint64_t off);
    int (*sync)(void *ctx, int fd);      /* fdatasync */
    int (*sync_full)(void *ctx, int fd); /* fsync, for directories and new files */
    int (*rename)(void *ctx, int olddir, const char *old, int newdir, const char *new_);
    int (*unlink)(void *ctx, int dirfd, const char *name);
    int (*truncate)(void *ctx, int fd, uint64_t size);
    void *ctx;
};
extern const struct spool_io spool_io_system;

#endif
