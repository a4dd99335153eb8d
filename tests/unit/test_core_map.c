/* tests/unit/test_core_map.c - put, get, remove and walk, against a plain array. */
#include "core/err.h"
#include "core/map.h"
#include "tap.h"

#define KEYS 5000

static char keys[KEYS][16];
static bool present[KEYS];

static void
test_many(void)
{
    struct map m;
    uint32_t seed = 12345;
    size_t n = 0, at = 0, seen = 0;
    bool same = true;

    map_init(&m, KEYS, false);
    for (int i = 0; i < KEYS; i++)
        str_fmt(keys[i], sizeof(keys[i]), "key-%d", i);
    for (int step = 0; step < 100000; step++) {
        size_t k = (seed = seed * 1664525u + 1013904223u) >> 8;
        struct str key = str_c(keys[k %= KEYS]);

        if (seed >> 4 & 1) {
            same = same && map_put(&m, key, keys[k]) == (present[k] ? 1 : 0);
            n += !present[k];
            present[k] = true;
        } else {
            same = same && map_del(&m, key) == (present[k] ? keys[k] : NULL);
            n -= present[k];
            present[k] = false;
        }
    }
    OK(same, "puts and removals agree");
    IS(m.n, n, "count");
    for (int i = 0; i < KEYS; i++)
        same = same && map_get(&m, str_c(keys[i])) == (present[i] ? keys[i] : NULL);
    OK(same, "gets agree");
    struct str key;
    for (char *v; (v = map_next(&m, &at, &key)); seen++)
        same = same && str_eq(key, str_c(v));
    OK(same && seen == n, "the walk sees each entry once");
    map_done(&m);
    OK(map_get(&m, STR("key-1")) == NULL, "empty after done");
}

static void
test_small(void)
{
    struct map m, zero = {0};
    int a = 1, b = 2;
    char first[] = "Key", second[] = "KEY";

    map_init(&m, 2, true);
    OK(map_get(&m, STR("x")) == NULL && map_del(&m, STR("x")) == NULL, "empty");
    IS(map_put(&m, str_c(first), &a), 0, "set");
    IS(map_put(&m, str_c(second), &b), 1, "replaced, folded");
    first[0] = '?';
    OK(map_get(&m, STR("kEy")) == &b, "the new key is the one that is kept");
    IS(map_put(&m, STR(""), &a), 0, "an empty key is a key");
    IS(map_put(&m, STR("c"), &a), ERR_LIMIT, "ceiling");
    IS(map_put(&m, STR("key"), &a), 1, "replacing still works");
    OK(map_del(&m, STR("")) == &a, "removed");
    IS(map_put(&m, STR("c"), &a), 0, "room again");
    map_done(&m);
    OK(map_get(&zero, STR("x")) == NULL, "a zeroed map is empty");
    IS(map_put(&zero, STR("x"), &a), ERR_LIMIT, "and takes nothing");
    map_init(&m, 1, false);
    map_init(&zero, 1, false);
    OK(m.seed != zero.seed, "seeds differ");
}

int
main(void)
{
    test_many();
    test_small();
    return tap_done();
}
