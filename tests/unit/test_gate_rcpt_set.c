/* tests/unit/test_gate_rcpt_set.c - recipients of one message: found again, taken back, and the
 * work of adding one does not grow with those that are there. */
#include "gate/tx.h"
#include "tap.h"

#define MANY 20000u

static struct tx tx;

static struct str
address(uint32_t i, char room[64])
{
    return str_of(room, str_fmt(room, 64, "recipient-%u@domain.test", i));
}

static int
add(struct tx_variant *v, uint32_t i)
{
    char room[64];

    return tx_add_rcpt(&tx, v, &(struct spool_rcpt){.address = address(i, room)});
}

static void
test_many(void)
{
    struct tx_variant *v = tx_variant(&tx, 1, SPOOL_CLASS_INSIDE, false);
    uint64_t looked = 0;
    unsigned wrong = 0;

    for (uint32_t i = 0; i < MANY; i++) {
        wrong += add(v, i) != (int)i;
        wrong += add(v, i / 2) != (int)(i / 2);
        if (i + 1 == MANY / 10)
            looked = v->set.looked;
    }
    IS(wrong, 0, "each has its number, once");
    IS(v->n, MANY, "%u recipients", MANY);
    OK(v->set.looked < 8 * MANY, "%llu rows compared for them", (unsigned long long)v->set.looked);
    OK(v->set.looked < 20 * looked, "ten times as many cost ten times as much");
}

/* A recipient whose targets do not all find room is taken back, and others come in its place. */
static void
test_taken_back(void)
{
    struct tx_variant *v = tx_variant(&tx, 2, SPOOL_CLASS_INSIDE, false);
    unsigned wrong = 0;

    for (uint32_t i = 0; i < 100; i++)
        add(v, i);
    v->n = 40;
    IS(add(v, 70), 40, "what was taken back is new again");
    for (uint32_t i = 0; i < 40; i++)
        wrong += add(v, i) != (int)i;
    IS(wrong, 0, "the others are there");
    IS(add(v, 1000), 41, "a new one");
    IS(add(v, 70), 40, "and the new one is found");
    IS(add(v, 41), 42, "not what its number once was");
    for (uint32_t round = 0; round < 2000; round++) { /* places that are left do not add up */
        v->n = 42;
        wrong += add(v, 5000 + round) != 42;
    }
    IS(wrong, 0, "again and again");
    OK(v->set.cap <= 1024, "the table stays small: %u", v->set.cap);
}

int
main(void)
{
    arena_init(&tx.arena, TX_ARENA_MAX);
    test_many();
    arena_reset(&tx.arena);
    test_taken_back();
    arena_done(&tx.arena);
    return tap_done();
}
