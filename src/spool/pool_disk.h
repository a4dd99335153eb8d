/*
 * spool/pool_disk.h - the pool's hands: the node file, the lock, the probe, whole-segment writes.
 *
 * For pool.c, which keeps the books; nothing here knows which segments are free.
 */
#ifndef GAPURA_SPOOL_POOL_DISK_H
#define GAPURA_SPOOL_POOL_DISK_H

#include "core/err.h"
#include "spool/format.h"
#include "spool/io.h"

struct pool_disk {
    const struct spool_io *io;
    int dir, segdir, lock; /* descriptors */
    bool direct;
    const char *direct_why;
    uint8_t *page;  /* two units, aligned for O_DIRECT */
    uint8_t *zeros; /* POOL_ZEROS bytes, aligned */
};
#define POOL_ZEROS (1u << 20)

struct pool_node { /* the node file: what must never go back */
    uint32_t node, next_epoch;
    uint64_t next_file;
};

int pool_disk_open(struct pool_disk *d, const char *path, const struct spool_io *io,
                   struct why *why);
void pool_disk_done(struct pool_disk *d);
/* 0, ERR_NOTFOUND, ERR_CORRUPT, -errno */
int pool_node_load(struct pool_disk *d, struct pool_node *ret);
/* Durable on return: written beside, synced, renamed, directory synced. */
int pool_node_save(struct pool_disk *d, const struct pool_node *n);
/* Opens a segment for writing as the probe allows. */
int pool_segment_open(struct pool_disk *d, uint64_t number, int extra_flags);
/* Makes the file with all its blocks; pre-written if asked. Its header is still zero: until one is
 * written the file counts as unfinished. On failure the file is gone. */
int pool_segment_make(struct pool_disk *d, uint64_t number, uint64_t size, bool prewrite,
                      int *ret_fd);
int pool_segment_zero(struct pool_disk *d, int fd, uint64_t size); /* all behind the header */
int pool_segment_head(struct pool_disk *d, int fd, const struct spool_segment *s); /* durable */
/* As head(), with the mark that nothing was written behind it yet. */
int pool_segment_hand_out(struct pool_disk *d, int fd, const struct spool_segment *s);
int pool_segment_unlink(struct pool_disk *d, uint64_t number);
/* Bytes of the file system that an ordinary user may take, or negative. */
int pool_disk_space(struct pool_disk *d, uint64_t *ret_free);
uint32_t pool_random(void);

#endif
