/*
 * core/map.h - text-keyed hash map (open addressing, keyed hash, ceiling on entries).
 *
 * Keys are views: their bytes must live as long as the entry. Values are the caller's pointers.
 */
#ifndef GAPURA_CORE_MAP_H
#define GAPURA_CORE_MAP_H

#include "core/str.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t cap, n, max;
    uint64_t seed;
    bool fold; /* keys compare without ASCII case */
};

void map_init(struct map *m, size_t max_entries, bool fold_case);
void map_done(struct map *m); /* frees the table, not the values */
void *map_get(const struct map *m, struct str key);
/* 0 set, 1 replaced, ERR_LIMIT, ERR_NOMEM. value must not be NULL. */
int map_put(struct map *m, struct str key, void *value);
void *map_del(struct map *m, struct str key); /* the removed value or NULL */
/* Iterates: start with *at = 0; returns NULL at the end. Removing the current entry is allowed
 * only through map_del followed by a restart. */
void *map_next(const struct map *m, size_t *at, struct str *ret_key);

#endif
