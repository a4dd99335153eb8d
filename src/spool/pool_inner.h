/*
 * spool/pool_inner.h - the books themselves, for the two files that keep them: pool_open.c (as a
 * start finds them) and pool.c.
 */
#ifndef GAPURA_SPOOL_POOL_INNER_H
#define GAPURA_SPOOL_POOL_INNER_H

#include "spool/pool.h"
#include "spool/pool_disk.h"

struct pool_aside { /* a file whose header does not check out, or cannot be read */
    uint64_t number, bytes;
};
struct spool_pool {
    struct spool_pool_conf conf;
    struct pool_disk disk;
    struct pool_node node;
    struct spool_segment *all; /* every file whose header checks out */
    size_t n, cap;
    struct pool_aside *aside;
    size_t naside;
    uint64_t nfree, bytes, aside_bytes;
};

/* A segment whose header checks out, into the books; ERR_NOMEM. */
int pool_add(struct spool_pool *, const struct spool_segment *);
/* One whose header does not, or cannot be read; ERR_NOMEM. */
int pool_set_aside(struct spool_pool *, uint64_t number);
/* What a file is: 0, ERR_CORRUPT, ERR_VERSION, -errno; ERR_NOTFOUND if its making was cut short:
 * nobody ever got it. */
int pool_look(struct spool_pool *, uint64_t number, struct spool_segment *ret);

#endif
