/*
 * roles/fixed.h - settings that hold until the next start (CONF_RESTART), as names and digests.
 *
 * A role that is started again between two reloads reads the newest settings while its peers keep
 * the older: where the queue lies must not change in between. So a reload that would change one of
 * these is refused as a whole; the supervisor compares digests and needs no values.
 */
#ifndef GAPURA_ROLES_FIXED_H
#define GAPURA_ROLES_FIXED_H

#include "core/conf.h"
#include "core/wire.h"

/* u32 n, n * (str name, u32 digest): every such row of the blocks without label. */
void fixed_encode(struct buf *, const struct conf *, const struct conf_block *const *blocks,
                  size_t nblocks);

#endif
