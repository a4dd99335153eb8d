/*
 * core/map.c - text-keyed hash map: open addressing, linear probing, removal by shifting back.
 *
 * Called with keys that peers choose, hence the keyed hash and the ceiling. Never copies a key,
 * never frees a value.
 */
#include <sys/random.h>

#include "core/clock.h"
#include "core/err.h"
#include "core/map.h"

#define MAP_FIRST 16 /* slots of the first table */

struct map_slot {
    uint64_t hash;
    struct str key;
    void *value; /* NULL: the slot is free */
};

void
map_init(struct map *m, size_t max_entries, bool fold_case)
{
    *m = (struct map){.max = max_entries, .fold = fold_case};
    if (getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) != (ssize_t)sizeof(m->seed)) {
        /* early boot: less secret, still not the same everywhere */
        m->seed = clock_mono() * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)m;
    }
}

void
map_done(struct map *m)
{
    free(m->slots);
    m->slots = NULL;
    m->cap = m->n = 0;
}

static uint64_t
map_hash(const struct map *m, struct str key)
{
    return m->fold ? str_ihash(key, m->seed) : str_hash(key, m->seed);
}

/* The key's slot, or the free one where it would go. The table is never full. */
static struct map_slot *
map_slot(const struct map *m, struct str key, uint64_t hash)
{
    size_t at = hash & (m->cap - 1);

    for (;; at = (at + 1) & (m->cap - 1)) {
        struct map_slot *slot = &m->slots[at];

        if (!slot->value)
            return slot;
        if (slot->hash == hash && (m->fold ? str_ieq(slot->key, key) : str_eq(slot->key, key)))
            return slot;
    }
}

static int
map_grow(struct map *m)
{
    struct map bigger = *m;

    bigger.cap = m->cap ? m->cap * 2 : MAP_FIRST;
    bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
    if (!bigger.slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].value)
            *map_slot(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    free(m->slots);
    *m = bigger;
    return 0;
}

void *
map_get(const struct map *m, struct str key)
{
    return m->n ? map_slot(m, key, map_hash(m, key))->value : NULL;
}

/* A replaced entry takes the new key as well: the old one's bytes often go with the old value. */
int
map_put(struct map *m, struct str key, void *value)
{
    uint64_t hash = map_hash(m, key);
    struct map_slot *slot = NULL;
    int r;

    ENSURE(value);
    if (m->n)
        slot = map_slot(m, key, hash);
    if (slot && slot->value) {
        slot->key = key;
        slot->value = value;
        return 1;
    }
    if (m->n >= m->max)
        return ERR_LIMIT;
    if (m->n + 1 > m->cap - m->cap / 4) {
        r = map_grow(m);
        if (r < 0)
            return r;
    }
    *map_slot(m, key, hash) = (struct map_slot){.hash = hash, .key = key, .value = value};
    m->n++;
    return 0;
}

void *
map_del(struct map *m, struct str key)
{
    struct map_slot *slot;
    size_t hole, at;
    void *value;

    if (m->n == 0)
        return NULL;
    slot = map_slot(m, key, map_hash(m, key));
    value = slot->value;
    if (!value)
        return NULL;
    /* Later entries of the run move into the hole unless that would put them before their home. */
    hole = (size_t)(slot - m->slots);
    for (at = (hole + 1) & (m->cap - 1); m->slots[at].value; at = (at + 1) & (m->cap - 1)) {
        size_t home = m->slots[at].hash & (m->cap - 1);

        if (((at - home) & (m->cap - 1)) >= ((at - hole) & (m->cap - 1))) {
            m->slots[hole] = m->slots[at];
            hole = at;
        }
    }
    m->slots[hole] = (struct map_slot){0};
    m->n--;
    return value;
}

void *
map_next(const struct map *m, size_t *at, struct str *ret_key)
{
    while (*at < m->cap) {
        const struct map_slot *slot = &m->slots[(*at)++];

        if (!slot->value)
            continue;
        if (ret_key)
            *ret_key = slot->key;
        return slot->value;
    }
    return NULL;
}
