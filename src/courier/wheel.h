/*
 * courier/wheel.h - rows that wait for their time: a hierarchical timer wheel of list heads.
 *
 * Pure. A row costs nothing here but its two links; insert and remove take one step, a row moves
 * down at most three times. The owner keeps the rows; the wheel reaches links by a callback-free
 * accessor given as (base of links) through struct wheel_ops.
 */
#ifndef GAPURA_COURIER_WHEEL_H
#define GAPURA_COURIER_WHEEL_H

#include "core/base.h"
#include "courier/slab.h"

#define WHEEL_BITS   8u
#define WHEEL_SLOTS  (1u << WHEEL_BITS)
#define WHEEL_LEVELS 4u
#define WHEEL_HEAD   0x80000000u /* in prev: the rest is the number of a list head */

/* One tick is 2^26 ns, 67 ms: 32 bits last nine years. */
#define TICK_SHIFT 26u

struct wheel {
    uint32_t now;                               /* all slots before this tick are empty */
    uint32_t slots[WHEEL_LEVELS * WHEEL_SLOTS]; /* first row or SLAB_NONE */
    uint64_t used[WHEEL_LEVELS][WHEEL_SLOTS / 64];
    uint32_t count;
};

void wheel_init(struct wheel *, uint32_t now);
/* The slot for a row due then; the owner links the row in front of it. */
uint32_t wheel_slot(const struct wheel *, uint32_t due);
/* The owner changed a slot's head. */
void wheel_head(struct wheel *, uint32_t slot, uint32_t row);
/* Next step towards `to`: returns a slot of level 0 that is due (*ret_cascade false), or one whose
 * rows must be put in again (true); SLAB_NONE when the wheel stands at `to` and nothing is due. */
uint32_t wheel_step(struct wheel *, uint32_t to, bool *ret_cascade);
/* Tick at which the owner should look again: exact within the lowest level, else the time of the
 * next cascade; UINT32_MAX if empty. */
uint32_t wheel_next(const struct wheel *);

#endif
