/*
 * courier/session_pick.h - takes ready rows out of a site's lanes: whose turn it is.
 *
 * `source` is an index into courier->sources, or UINT32_MAX for any. Nothing here opens a
 * connection or writes an outcome.
 */
#ifndef GAPURA_COURIER_SESSION_PICK_H
#define GAPURA_COURIER_SESSION_PICK_H

#include "courier/site.h"

/* Takes the next message's rows for that source: up to `max` into `rows` (ACTIVE then), in the
 * order of their ordinals; returns how many, 0 if none may go now. */
uint32_t pick_rows(struct site *, uint32_t source, uint32_t *rows, uint32_t max,
                   uint32_t *ret_message);
/* The same for rows that are not tried at any host, which does not mark them ROW_ROUTED. */
uint32_t pick_untried(struct site *, uint32_t source, uint32_t *rows, uint32_t max,
                      uint32_t *ret_message);

/* First row of the lane that may leave by this source, or INDEX_NONE. */
uint32_t pick_in_lane(struct courier *, const struct index_lane *, uint32_t source);
uint32_t pick_pool(const struct site *, const struct share *);
/* The law of exclusivity again, at the last door: rows never meet a source that is not theirs. */
bool pick_allows(const struct site *, const struct share *, uint32_t source);

#endif
