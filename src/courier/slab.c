/*
 * courier/slab.c - chunks of equal items.
 *
 * Called by the index. Never moves an item, never gives memory back before slab_done().
 */
#include "courier/slab.h"

/* Makes sure that item number `i` has a chunk. */
static bool
slab_reach(struct slab *s, uint32_t i)
{
    uint32_t want = (i >> SLAB_SHIFT) + 1;

    if (want > s->cap) {
        uint32_t cap = MAX(want, s->cap ? 2 * s->cap : 16);
        char **grown = realloc(s->chunks, cap * sizeof *grown);
        if (!grown)
            return false;
        s->chunks = grown;
        s->cap = cap;
    }
    while (s->nchunks < want) {
        char *chunk = calloc((size_t)1 << SLAB_SHIFT, s->size);
        if (!chunk)
            return false;
        s->chunks[s->nchunks++] = chunk;
    }
    return true;
}

uint32_t
slab_take(struct slab *s)
{
    uint32_t i = s->free;

    if (i != SLAB_NONE) {
        char *item = slab_at(s, i);
        memcpy(&s->free, item, sizeof s->free);
        memset(item, 0, s->size);
        s->count++;
        return i;
    }
    i = s->next;
    if (i >= s->max || !slab_reach(s, i))
        return SLAB_NONE;
    s->next++;
    s->count++;
    return i;
}

void
slab_give(struct slab *s, uint32_t i)
{
    memcpy(slab_at(s, i), &s->free, sizeof s->free);
    s->free = i;
    s->count--;
}

size_t
slab_memory(const struct slab *s)
{
    return (size_t)s->nchunks * ((size_t)s->size << SLAB_SHIFT) + s->cap * sizeof *s->chunks;
}
