/*
 * gate/body.c - blocks of the pool and the bytes of one message in them.
 *
 * Called by gate/session_data.c for what the engine hands out, by gate/chunk.c and gate/accept.c
 * for what goes to the writer. Never parses; finds the blank line only.
 */
#include "gate/body.h"

#include <stdlib.h>

#define POOL_KEEP  1024u  /* free blocks kept (16 MiB) */
#define FRONT_MAX  65536u /* results of ten signatures with long names are 24 KB */
#define FRONT_KEEP 2048u

enum body_line { BODY_AT_LINE, BODY_AT_CR, BODY_IN_LINE, BODY_HEADED };

/* NULL at the ceiling. */
static struct block *
block_take(struct block_pool *pool)
{
    struct block *b = pool->free;

    if (pool->used + BLOCK_BYTES > pool->ceiling)
        return NULL;
    if (b) {
        pool->free = b->next;
        pool->nfree--;
    } else {
        b = malloc(sizeof(*b));
        if (!b)
            return NULL;
    }
    pool->used += BLOCK_BYTES;
    b->next = NULL;
    b->n = 0;
    return b;
}

void
block_give_all(struct block_pool *pool, struct block *list)
{
    while (list) {
        struct block *next = list->next;

        pool->used -= BLOCK_BYTES;
        if (pool->nfree < POOL_KEEP) {
            list->next = pool->free;
            pool->free = list;
            pool->nfree++;
        } else {
            free(list);
        }
        list = next;
    }
}

void
block_pool_done(struct block_pool *pool)
{
    while (pool->free) {
        struct block *next = pool->free->next;

        free(pool->free);
        pool->free = next;
    }
    pool->nfree = 0;
}

bool
block_pool_short(const struct block_pool *pool)
{
    return pool->used > pool->ceiling / 2;
}

void
body_init(struct body *b)
{
    *b = (struct body){0};
    buf_init(&b->front, FRONT_MAX);
}

void
body_drop(struct body *b, struct block_pool *pool)
{
    block_give_all(pool, b->first);
    b->first = b->last = NULL;
    b->nblocks = 0;
    b->held = 0;
}

void
body_beside(struct body *b, struct block_pool *pool, size_t n)
{
    uint64_t counted = n > BODY_BESIDE ? n - BODY_BESIDE : 0;

    pool->used = pool->used - b->beside + counted;
    b->beside = counted;
}

void
body_clear(struct body *b, struct block_pool *pool)
{
    body_drop(b, pool);
    body_beside(b, pool, 0);
    b->line = BODY_AT_LINE;
    b->head = 0;
    b->size = 0;
    b->skip = 0;
    b->header = NULL;
    b->header_n = 0;
    b->fronted = b->chunked = false;
    buf_clear(&b->front);
    buf_shrink(&b->front, FRONT_KEEP);
}

/* Looks for the line that is nothing but its CRLF; each byte of the header is seen once. */
static void
seek_blank_line(struct body *b, const char *p, size_t n)
{
    for (size_t i = 0; i < n && b->line != BODY_HEADED;) {
        const char *nl;

        if (b->line != BODY_IN_LINE) {
            bool cr = b->line == BODY_AT_CR;

            if (p[i] != (cr ? '\n' : '\r')) {
                b->line = BODY_IN_LINE;
                continue;
            }
            b->line = cr ? BODY_HEADED : BODY_AT_CR;
            i++;
            if (cr)
                b->head = b->held + (uint32_t)i;
            continue;
        }
        nl = memchr(p + i, '\n', n - i);
        if (!nl)
            return;
        b->line = BODY_AT_LINE;
        i = (size_t)(nl - p) + 1;
    }
}

bool
body_add(struct body *b, struct block_pool *pool, const char *p, size_t n)
{
    seek_blank_line(b, p, n);
    while (n) {
        struct block *last = b->last;
        size_t take;

        if (!last || last->n == BLOCK_ROOM) {
            last = block_take(pool);
            if (!last)
                return false;
            if (b->last)
                b->last->next = last;
            else
                b->first = last;
            b->last = last;
            b->nblocks++;
        }
        take = MIN(n, BLOCK_ROOM - last->n);
        memcpy(last->bytes + last->n, p, take);
        last->n += (uint32_t)take;
        b->held += (uint32_t)take;
        b->size += take;
        p += take;
        n -= take;
    }
    return true;
}

unsigned
body_pieces(struct body *b, bool with_front)
{
    uint32_t skip = b->skip;
    unsigned n = 0;

    if (with_front && b->front.n)
        b->pieces[n++] = (struct iovec){b->front.p, b->front.n};
    if (b->header_n)
        b->pieces[n++] = (struct iovec){b->header, b->header_n};
    for (struct block *k = b->first; k && n < BODY_PIECES; k = k->next) {
        uint32_t from = MIN(skip, k->n);

        skip -= from;
        if (k->n > from)
            b->pieces[n++] = (struct iovec){k->bytes + from, k->n - from};
    }
    return n;
}

/* Bytes up to and with the blank line; 0 if it is not there. */
static size_t
header_end(struct str s)
{
    const char *at;

    if (str_starts(s, STR("\r\n")))
        return 2;
    at = s.n ? memmem(s.p, s.n, "\r\n\r\n", 4) : NULL;
    return at ? (size_t)(at - s.p) + 4 : 0;
}

struct str
body_header(const struct body *b, struct arena *arena, size_t max)
{
    struct str whole;
    size_t n, at = 0;
    char *copy;

    if (!b->first)
        return str_of("", 0);
    whole = str_of(b->first->bytes, b->first->n);
    n = header_end(whole);
    if (n || !b->first->next)
        return n ? str_sub(whole, 0, n) : whole;
    max = MIN(max, (size_t)(b->head ? b->head : b->held));
    copy = arena_alloc(arena, max + 1);
    if (!copy)
        return STR_NONE;
    for (const struct block *k = b->first; k && at < max; k = k->next) {
        size_t take = MIN(max - at, (size_t)k->n);

        memcpy(copy + at, k->bytes, take);
        at += take;
    }
    n = header_end(str_of(copy, at));
    return str_of(copy, n ? n : at);
}

bool
body_has_header(const struct body *b)
{
    return b->line == BODY_HEADED;
}
