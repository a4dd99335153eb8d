/*
 * courier/slab.h - items of one size in chunks, named by 32-bit numbers instead of pointers.
 *
 * For the index of waiting recipients (courier/index.c): a number is half of a pointer, and growing
 * never copies what is there. Chunks stay until the end; given items are used again first.
 */
#ifndef GAPURA_COURIER_SLAB_H
#define GAPURA_COURIER_SLAB_H

#include "core/base.h"

#define SLAB_NONE  UINT32_MAX
#define SLAB_SHIFT 12u
#define SLAB_MASK  ((1u << SLAB_SHIFT) - 1)

struct slab {
    char **chunks;
    uint32_t nchunks, cap;
    uint32_t size;  /* bytes of an item, at least 4 */
    uint32_t max;   /* ceiling on items */
    uint32_t next;  /* never used from here on */
    uint32_t free;  /* list of given items, linked by their first four bytes */
    uint32_t count; /* in use */
};

static inline void
slab_init(struct slab *s, uint32_t size, uint32_t max)
{
    *s = (struct slab){.size = size, .max = max, .free = SLAB_NONE};
}

static inline void
slab_done(struct slab *s)
{
    for (uint32_t i = 0; i < s->nchunks; i++)
        free(s->chunks[i]);
    free(s->chunks);
    slab_init(s, s->size, s->max);
}

static inline void *
slab_at(const struct slab *s, uint32_t i)
{
    return s->chunks[i >> SLAB_SHIFT] + (size_t)(i & SLAB_MASK) * s->size;
}

/* The item is zeroed. SLAB_NONE at the ceiling or without memory. */
uint32_t slab_take(struct slab *s);
void slab_give(struct slab *s, uint32_t i);
size_t slab_memory(const struct slab *s);

#endif
