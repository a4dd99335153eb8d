/*
 * core/arena.h - memory with one end: a session's, a transaction's or a settings snapshot's.
 *
 * Nothing is freed alone; arena_done frees all and runs the registered cleanups, last first.
 * Every arena has a ceiling; beyond it arena_alloc gives NULL.
 */
#ifndef GAPURA_CORE_ARENA_H
#define GAPURA_CORE_ARENA_H

#include "core/str.h"

struct arena {
    struct arena_block *blocks;
    struct arena_cleanup *cleanups;
    char *at, *end;
    size_t used, max;
};

void arena_init(struct arena *a, size_t max); /* allocates nothing yet */
void arena_done(struct arena *a);             /* safe on a zeroed struct; may be used again after */
void arena_reset(struct arena *a);            /* as done, but keeps the first block */
void *arena_alloc(struct arena *a, size_t n); /* 16-byte aligned, zeroed; NULL at the ceiling */
/* n pieces of `size` bytes; NULL also when their product overflows. */
void *arena_array(struct arena *a, size_t size, size_t n);
void *arena_copy(struct arena *a, const void *p, size_t n);
struct str arena_str(struct arena *a,
                     struct str s); /* copy with a NUL behind it; .p NULL at the ceiling */
struct str arena_fmt(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* fn(ctx) when the arena ends; false at the ceiling (fn not registered). */
bool arena_on_done(struct arena *a, void (*fn)(void *ctx), void *ctx);

#define ARENA_NEW(a, type)      ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_array((a), sizeof(type), (n)))

#endif
