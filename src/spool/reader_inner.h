/*
 * spool/reader_inner.h - reading a part of an epoch, for the tail.
 *
 * reader.c does it; tail.c asks for what it cannot have from the ring.
 */
#ifndef GAPURA_SPOOL_READER_INNER_H
#define GAPURA_SPOOL_READER_INNER_H

#include "spool/reader.h"

struct epoch_range {
    uint64_t from;  /* positions: told are batches in [from, below) */
    uint64_t below; /* UINT64_MAX: to the end, whose tail may be torn; else all below is durable */
    bool live;      /* the writer lives: its last segment and its standbys are not ended */
    /* Out: the last segment that holds a batch, if it was not ended. */
    bool has_open;
    struct spool_segment open;
};
int epoch_open_range(struct spool_epoch **ret, const char *dir,
                     const struct spool_segment *segments, size_t n,
                     const struct epoch_range *range, const struct spool_io *io,
                     const struct spool_reader_ops *ops, void *ctx);
/* With what comes out, once the last step is done. */
const struct epoch_range *epoch_range_of(const struct spool_epoch *);

#endif
