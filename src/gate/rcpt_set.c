/*
 * gate/rcpt_set.c - numbers of rows by a keyed hash of their address.
 *
 * Called by tx.c and rcpt.c. Never holds an address itself: what a slot says is checked against the
 * row. Memory is the message's arena; a table that grew leaves the former one there.
 */
#include "gate/rcpt_set.h"

#include <sys/random.h>

#include "core/clock.h"

#define LIST_MAX 16u /* rows that are looked at one by one */

struct rcpt_set_slot {
    uint32_t hash;
    uint32_t number; /* of the row, from 1; 0: free */
};

static uint32_t
hash_of(const struct rcpt_set *s, struct str address)
{
    uint64_t h = str_hash(address, s->seed);

    return (uint32_t)(h ^ h >> 32);
}

int
rcpt_set_find(struct rcpt_set *s, const struct rcpt_rows *rows, struct str address)
{
    uint32_t hash;

    if (!s->cap) {
        for (uint32_t i = 0; i < rows->n; i++) {
            s->looked++;
            if (str_eq(rows->address(rows->rows, i), address))
                return (int)i;
        }
        return -1;
    }
    hash = hash_of(s, address);
    for (uint32_t at = hash & (s->cap - 1); s->slots[at].number; at = (at + 1) & (s->cap - 1)) {
        uint32_t row = s->slots[at].number - 1;

        s->looked++;
        if (s->slots[at].hash == hash && row < rows->n &&
            str_eq(rows->address(rows->rows, row), address))
            return (int)row;
    }
    return -1;
}

static void
put(struct rcpt_set *s, uint32_t number, struct str address)
{
    uint32_t hash = hash_of(s, address), at = hash & (s->cap - 1);

    while (s->slots[at].number)
        at = (at + 1) & (s->cap - 1);
    s->slots[at] = (struct rcpt_set_slot){.hash = hash, .number = number + 1};
    s->used++;
}

/* A table for the rows there are, with half of it free. */
static bool
rebuild(struct rcpt_set *s, struct arena *arena, const struct rcpt_rows *rows)
{
    struct rcpt_set more = {.cap = 4 * LIST_MAX, .seed = s->seed, .looked = s->looked};

    while (more.cap < 2 * (rows->n + 1))
        more.cap *= 2;
    if (!more.seed && getrandom(&more.seed, sizeof(more.seed), GRND_NONBLOCK) < 0)
        more.seed = clock_mono() ^ (uintptr_t)s;
    more.slots = ARENA_ARRAY(arena, struct rcpt_set_slot, more.cap);
    if (!more.slots)
        return false;
    for (uint32_t i = 0; i < rows->n; i++)
        put(&more, i, rows->address(rows->rows, i));
    *s = more;
    return true;
}

bool
rcpt_set_add(struct rcpt_set *s, struct arena *arena, const struct rcpt_rows *rows, uint32_t number,
             struct str address)
{
    if (!s->cap && rows->n < LIST_MAX)
        return true;
    if ((!s->cap || s->used + 1 > s->cap / 4 * 3) && !rebuild(s, arena, rows))
        return false;
    put(s, number, address);
    return true;
}
