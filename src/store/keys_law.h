/*
 * store/keys_law.h - the life of a domain's signing keys: a pure law over facts and time.
 *
 * waiting (made, its record not seen yet) -> active (signs) -> retiring (another signs; its record
 * stays published while mail that it signed is on its way) -> retired (the private key is erased).
 */
#ifndef GAPURA_STORE_KEYS_LAW_H
#define GAPURA_STORE_KEYS_LAW_H

#include "core/base.h"

enum keys_state { KEYS_WAITING, KEYS_ACTIVE, KEYS_RETIRING, KEYS_RETIRED };
const char *keys_state_name(enum keys_state);

struct keys_fact {
    enum keys_state state;
    uint8_t alg;     /* enum keys_alg: each has its own succession */
    uint64_t number; /* in the order they were made */
    uint64_t since;  /* Unix seconds, of the state */
    uint64_t seen;   /* its record is published since then; 0: it is not */
};
struct keys_times {
    uint64_t settle, grace; /* seconds */
};
enum keys_step { KEYS_STAY, KEYS_ACTIVATE, KEYS_RETIRE, KEYS_ERASE };

/* What is to become of each of one domain's keys now; ret has n entries. At most one key of an
 * algorithm signs; what signs goes on until its successor does. Returns how many do not stay. */
unsigned keys_law(const struct keys_fact *, unsigned n, const struct keys_times *, uint64_t now,
                  enum keys_step *ret);

#endif
