/*
 * store/keys_law.c - which key signs, and when a former one may go.
 *
 * Called by the keeper with wall time. A clock that was set back makes everything wait.
 */
#include "store/keys_law.h"

const char *
keys_state_name(enum keys_state s)
{
    static const char *const names[] = {"waiting", "active", "retiring", "retired"};

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "?";
}

static bool
over(uint64_t since, uint64_t span, uint64_t now)
{
    return now >= since && now - since >= span;
}

/* Of two that sign, the one that began later: what an operator activated last. */
static bool
later(const struct keys_fact *a, const struct keys_fact *b)
{
    return a->since != b->since ? a->since > b->since : a->number > b->number;
}

/* The key that shall sign for this algorithm, or n. One that waits only follows an older one. */
static unsigned
choose(const struct keys_fact *facts, unsigned n, const struct keys_times *t, uint64_t now,
       uint8_t alg)
{
    unsigned active = n, ready = n;

    for (unsigned i = 0; i < n; i++) {
        const struct keys_fact *f = &facts[i];

        if (f->alg != alg)
            continue;
        if (f->state == KEYS_ACTIVE && (active == n || later(f, &facts[active])))
            active = i;
        if (f->state == KEYS_WAITING && f->seen && over(f->seen, t->settle, now) &&
            (ready == n || f->number > facts[ready].number))
            ready = i;
    }
    if (ready == n || (active < n && facts[active].number > facts[ready].number))
        return active;
    return ready;
}

unsigned
keys_law(const struct keys_fact *facts, unsigned n, const struct keys_times *t, uint64_t now,
         enum keys_step *ret)
{
    unsigned steps = 0;

    for (unsigned i = 0; i < n; i++) {
        const struct keys_fact *f = &facts[i];
        unsigned signer = choose(facts, n, t, now, f->alg);

        ret[i] = KEYS_STAY;
        if (f->state == KEYS_WAITING && signer == i)
            ret[i] = KEYS_ACTIVATE;
        else if (f->state == KEYS_ACTIVE && signer != i)
            ret[i] = KEYS_RETIRE;
        else if (f->state == KEYS_RETIRING && over(f->since, t->grace, now))
            ret[i] = KEYS_ERASE;
        steps += ret[i] != KEYS_STAY;
    }
    return steps;
}
