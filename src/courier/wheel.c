/*
 * courier/wheel.c - slots of the timer wheel.
 *
 * Called by the index, which owns the rows. Never looks at a clock.
 */
#include "courier/wheel.h"

void
wheel_init(struct wheel *w, uint32_t now)
{
    *w = (struct wheel){.now = now};
    for (size_t i = 0; i < ARRAY_LEN(w->slots); i++)
        w->slots[i] = SLAB_NONE;
}

uint32_t
wheel_slot(const struct wheel *w, uint32_t due)
{
    uint32_t at = MAX(due, w->now);
    uint32_t differ = at ^ w->now;

    for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
        if (level + 1 == WHEEL_LEVELS || differ < (1u << (WHEEL_BITS * (level + 1))))
            return level * WHEEL_SLOTS + ((at >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1));
    }
    return 0;
}

void
wheel_head(struct wheel *w, uint32_t slot, uint32_t row)
{
    uint64_t *word = &w->used[slot / WHEEL_SLOTS][slot % WHEEL_SLOTS / 64];
    uint64_t bit = UINT64_C(1) << (slot % 64);

    w->slots[slot] = row;
    if (row == SLAB_NONE)
        *word &= ~bit;
    else
        *word |= bit;
}

/* First used slot of a level from `from` on, WHEEL_SLOTS if none. */
static uint32_t
level_next(const struct wheel *w, uint32_t level, uint32_t from)
{
    for (uint32_t i = from / 64; i < WHEEL_SLOTS / 64; i++) {
        uint64_t word = w->used[level][i];
        if (i == from / 64)
            word &= ~UINT64_C(0) << (from % 64);
        if (word)
            return i * 64 + (uint32_t)__builtin_ctzll(word);
    }
    return WHEEL_SLOTS;
}

/* The tick at which something happens next: a slot of level 0 is due, or one above begins. */
static uint32_t
next_event(const struct wheel *w, uint32_t *ret_level)
{
    for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
        uint32_t shift = WHEEL_BITS * level;
        uint32_t mine = (w->now >> shift) & (WHEEL_SLOTS - 1);
        uint32_t slot = level_next(w, level, mine);
        uint64_t base;
        if (slot == WHEEL_SLOTS)
            continue;
        base = level + 1 == WHEEL_LEVELS
                   ? 0
                   : (uint64_t)(w->now >> (shift + WHEEL_BITS)) << (shift + WHEEL_BITS);
        *ret_level = level;
        return MAX(w->now, (uint32_t)(base + ((uint64_t)slot << shift)));
    }
    return UINT32_MAX;
}

uint32_t
wheel_step(struct wheel *w, uint32_t to, bool *ret_cascade)
{
    uint32_t level = 0, at = next_event(w, &level);

    if (at == UINT32_MAX || at > to) {
        w->now = MAX(w->now, to);
        return SLAB_NONE;
    }
    w->now = at;
    *ret_cascade = level > 0;
    return level * WHEEL_SLOTS + ((at >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1));
}

uint32_t
wheel_next(const struct wheel *w)
{
    uint32_t level;

    return next_event(w, &level);
}
