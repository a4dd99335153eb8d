/*
 * spool/walk.h - from batch to batch through one segment file.
 *
 * For reader.c and tail.c. A walk finds batches and checks header, directory and records; what a
 * missing one means (end, torn tail, damage) is its caller's law.
 */
#ifndef GAPURA_SPOOL_WALK_H
#define GAPURA_SPOOL_WALK_H

#include "spool/format.h"
#include "spool/io.h"

struct walk {
    const struct spool_io *io;
    int fd;
    uint32_t salt;
    struct spool_segment s;
    bool has_base;
    uint64_t base;   /* position minus offset: the same for all batches of a segment */
    uint8_t *window; /* bytes [window_at, window_at + window_n) of the file */
    size_t window_cap, window_n;
    uint64_t window_at;
    uint64_t at; /* of the batch found last */
    struct spool_batch batch;
    struct str dir;             /* view into the window: valid until the next call */
    uint64_t seq_low, seq_high; /* of its records; low is UINT64_MAX if there are none */
};

/* A walk is zeroed before its first use and may be opened again for another segment. */
void walk_init(struct walk *w, const struct spool_io *io);
void walk_done(struct walk *w);
/* ERR_NOTFOUND, ERR_STALE (the file is of another generation), -errno. */
int walk_open(struct walk *w, int segdir, const struct spool_segment *s);
/* Is there a valid batch at that offset? 1 yes (at, batch, dir are set), 0 no, negative. */
int walk_try(struct walk *w, uint64_t offset);
/* Handed out and never written to: no batch stands in it. 1, 0, negative. */
int walk_is_fresh(struct walk *w);
/* The first valid batch at `*offset` or behind it: 1, 0 none, negative; looks at a few megabytes
 * and says WALK_MORE, with *offset moved on, if the end is not reached. */
#define WALK_MORE 2
int walk_find_some(struct walk *w, uint64_t *offset);
/* The walk will go on at that offset: lets the disk begin. */
void walk_ahead(struct walk *w, uint64_t offset);
/* Do all bodies of the batch found last check out? 1, 0, negative. */
int walk_bodies(struct walk *w);
/* Forget what was read ahead: the file may have grown. */
void walk_forget(struct walk *w);
/* Checks that a directory decodes and that its bodies lie inside the batch: 1, 0, ERR_VERSION. */
int walk_check_dir(const struct spool_batch *b, struct str dir, uint64_t *ret_low,
                   uint64_t *ret_high);
/* Opens dir/seg: a descriptor or -errno. */
int walk_segdir(const char *dir);
/* Reads and checks the header of an open segment file: 0, ERR_CORRUPT, ERR_VERSION, -errno. */
int walk_header(const struct spool_io *io, int fd, struct spool_segment *ret);
/* Nothing but zeros in all of it: its making was cut short, it never held a batch. Looked at where
 * a header is of zeros alone, which is as well what a disk gives back for a sector that it lost:
 * 1, 0, negative. */
int walk_is_blank(const struct spool_io *io, int fd);
/* A copy that is still being made ends before its last byte: what is behind would pass for torn. 0,
 * or -errno: -EIO if it ends too soon. */
int walk_is_whole(const struct spool_io *, int fd, uint64_t size);

#endif
