/*
 * gate/rcpt_set.h - which row of a list has that address? Lists that strangers fill: of a message's
 * recipients, of what one recipient leads to.
 *
 * The owner keeps the rows and may take the last ones back: a number at or behind `n`, or of a row
 * that has become another one, counts for nothing. Short lists have no table.
 */
#ifndef GAPURA_GATE_RCPT_SET_H
#define GAPURA_GATE_RCPT_SET_H

#include "core/arena.h"

struct rcpt_set {
    struct rcpt_set_slot *slots;
    uint32_t cap, used;
    uint64_t seed;
    uint64_t looked; /* rows compared so far: the work, for tests */
};
/* The rows: how many, and the address of each. */
struct rcpt_rows {
    const void *rows;
    uint32_t n;
    struct str (*address)(const void *rows, uint32_t i);
};
/* The row's number, or -1. */
int rcpt_set_find(struct rcpt_set *, const struct rcpt_rows *, struct str address);
/* Row `number`, the one behind rows->n, is about to have that address. False: no memory. */
bool rcpt_set_add(struct rcpt_set *, struct arena *, const struct rcpt_rows *, uint32_t number,
                  struct str address);

#endif
