/*
 * core/arena.c - memory that is freed all at once, in blocks, with a ceiling and cleanups.
 *
 * Called by sessions, transactions and the settings snapshot. Never frees a single piece; never
 * shared between threads.
 */
#include <stdarg.h>

#include "core/arena.h"

#define ARENA_ALIGN 16
#define ARENA_FIRST 4096  /* bytes of the first block; the next ones double up to ARENA_MOST */
#define ARENA_MOST  65536 /* larger pieces get a block of their own */

struct arena_block {
    struct arena_block *next; /* the older one */
    size_t size;              /* of data */
    _Alignas(ARENA_ALIGN) char data[];
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *ctx);
    void *ctx;
};

void
arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

static void
arena_run_cleanups(struct arena *a)
{
    while (a->cleanups) {
        struct arena_cleanup *c = a->cleanups;

        a->cleanups = c->next; /* unlinked first: fn may look at the arena, even register */
        c->fn(c->ctx);
    }
}

static void
arena_free_blocks(struct arena_block *from, const struct arena_block *until)
{
    while (from != until) {
        struct arena_block *next = from->next;

        free(from);
        from = next;
    }
}

void
arena_done(struct arena *a)
{
    arena_run_cleanups(a);
    arena_free_blocks(a->blocks, NULL);
    arena_init(a, a->max);
}

void
arena_reset(struct arena *a)
{
    struct arena_block *first;
    size_t used;

    arena_run_cleanups(a);
    first = a->blocks;
    while (first && first->next)
        first = first->next;
    if (!first || first->size > ARENA_MOST) { /* one huge piece must not be kept for ever */
        arena_done(a);
        return;
    }
    /* What was given out of it; of a block that stands alone nothing is left to give. */
    used = first == a->blocks && a->at >= first->data && a->at <= first->data + first->size
               ? (size_t)(a->at - first->data)
               : first->size;
    arena_free_blocks(a->blocks, first);
    memset(first->data, 0, used);
    *a = (struct arena){
        .blocks = first, .at = first->data, .end = first->data + first->size, .max = a->max};
}

static struct arena_block *
arena_block_new(size_t size)
{
    struct arena_block *block = calloc(1, sizeof(*block) + size);

    if (block)
        block->size = size;
    return block;
}

/* A piece larger than what doubling gives stands alone, behind the block that is being filled. */
static void *
arena_alloc_alone(struct arena *a, size_t n)
{
    struct arena_block *block = arena_block_new(n);

    if (!block)
        return NULL;
    if (a->blocks) {
        block->next = a->blocks->next;
        a->blocks->next = block;
    } else {
        a->blocks = block;
        a->at = a->end = block->data + n;
    }
    return block->data;
}

void *
arena_alloc(struct arena *a, size_t n)
{
    struct arena_block *block;
    size_t size;
    void *p;

    n = MAX(n, (size_t)1);
    if (n > SIZE_MAX - ARENA_ALIGN - sizeof(*block))
        return NULL;
    n = round_up(n, ARENA_ALIGN);
    if (a->used > a->max || n > a->max - a->used)
        return NULL;
    if (!a->at || n > (size_t)(a->end - a->at)) {
        size = a->blocks
                   ? MIN(MAX(a->blocks->size, (size_t)ARENA_FIRST / 2) * 2, (size_t)ARENA_MOST)
                   : (size_t)ARENA_FIRST;
        if (n > size / 2) {
            p = arena_alloc_alone(a, n);
            a->used += p ? n : 0;
            return p;
        }
        block = arena_block_new(size);
        if (!block)
            return NULL;
        block->next = a->blocks;
        a->blocks = block;
        a->at = block->data;
        a->end = block->data + size;
    }
    p = a->at;
    a->at += n;
    a->used += n;
    return p;
}

void *
arena_array(struct arena *a, size_t size, size_t n)
{
    size_t bytes;

    return __builtin_mul_overflow(size, n, &bytes) ? NULL : arena_alloc(a, bytes);
}

void *
arena_copy(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n);

    if (copy && n)
        memcpy(copy, p, n);
    return copy;
}

struct str
arena_str(struct arena *a, struct str s)
{
    char *copy = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;

    if (!copy)
        return STR_NONE;
    if (s.n)
        memcpy(copy, s.p, s.n);
    return str_of(copy, s.n);
}

struct str
arena_fmt(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *p = NULL;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0)
        p = arena_alloc(a, (size_t)n + 1);
    if (p)
        n = vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p && n >= 0 ? str_of(p, (size_t)n) : STR_NONE;
}

bool
arena_on_done(struct arena *a, void (*fn)(void *ctx), void *ctx)
{
    struct arena_cleanup *c = ARENA_NEW(a, struct arena_cleanup);

    if (!c)
        return false;
    *c = (struct arena_cleanup){.next = a->cleanups, .fn = fn, .ctx = ctx};
    a->cleanups = c;
    return true;
}
