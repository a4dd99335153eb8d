/*
 * gate/limits.c - the table of who did how much, with a ceiling.
 *
 * Called by sessions. Never decides: buckets and counters are read and taken by the callers.
 */
#include "gate/limits.h"

#include <stdlib.h>

void
limits_init(struct limits *l, size_t max)
{
    *l = (struct limits){.max = max};
    map_init(&l->map, max, false);
    l->seed = l->map.seed ^ UINT64_C(0x5851f42d4c957f2d);
}

void
limits_ceiling(struct limits *l, size_t max)
{
    l->max = l->map.max = max;
}

void
limits_done(struct limits *l)
{
    while (l->newest) {
        struct limit *next = l->newest->older;

        free(l->newest);
        l->newest = next;
    }
    l->oldest = NULL;
    map_done(&l->map);
}

static void
unlink_entry(struct limits *l, struct limit *e)
{
    if (e->newer)
        e->newer->older = e->older;
    else
        l->newest = e->older;
    if (e->older)
        e->older->newer = e->newer;
    else
        l->oldest = e->newer;
    e->newer = e->older = NULL;
}

static void
link_newest(struct limits *l, struct limit *e)
{
    e->newer = NULL;
    e->older = l->newest;
    if (l->newest)
        l->newest->newer = e;
    else
        l->oldest = e;
    l->newest = e;
}

/* Makes room for one: the oldest that nobody holds. Those that are held go to the front on the way:
 * long sessions would else stand at the end and each newcomer would walk over all of them. */
static bool
limits_evict(struct limits *l)
{
    for (size_t left = l->map.n; left && l->oldest; left--) {
        struct limit *e = l->oldest;

        if (e->sessions) {
            unlink_entry(l, e);
            link_newest(l, e);
            continue;
        }
        map_del(&l->map, str_of(e->key, LIMITS_KEY));
        unlink_entry(l, e);
        free(e);
        return true;
    }
    return false;
}

static struct limit *
limits_find(struct limits *l, const char key[LIMITS_KEY])
{
    struct limit *e = map_get(&l->map, str_of(key, LIMITS_KEY));

    if (e) {
        if (l->newest != e) {
            unlink_entry(l, e);
            link_newest(l, e);
        }
        return e;
    }
    while (l->map.n >= l->max)
        if (!limits_evict(l))
            return NULL;
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    memcpy(e->key, key, LIMITS_KEY);
    if (map_put(&l->map, str_of(e->key, LIMITS_KEY), e) < 0) {
        free(e);
        return NULL;
    }
    link_newest(l, e);
    return e;
}

struct limit *
limits_get(struct limits *l, enum limits_kind kind, const struct addr *a)
{
    char key[LIMITS_KEY];
    bool v4 = addr_is_v4(a);
    struct addr masked = *a;

    if (kind == LIMITS_NETWORK)
        masked = addr_masked(a, v4 ? 120 : 64);
    else if (kind == LIMITS_WIDE)
        masked = addr_masked(a, v4 ? 112 : 48);
    key[0] = (char)kind;
    memcpy(key + 1, masked.b, sizeof(masked.b));
    return limits_find(l, key);
}

struct limit *
limits_user(struct limits *l, struct str user)
{
    char key[LIMITS_KEY] = {LIMITS_USER};
    uint64_t a = str_ihash(user, l->seed), b = str_ihash(user, ~l->seed);

    memcpy(key + 1, &a, sizeof(a));
    memcpy(key + 9, &b, sizeof(b));
    return limits_find(l, key);
}

struct limit *
limits_known(struct limits *l, struct str user, const struct addr *a, bool make)
{
    struct addr masked = addr_masked(a, addr_is_v4(a) ? 120 : 64);
    char key[LIMITS_KEY] = {LIMITS_KNOWN}, network[48];
    uint64_t who = str_ihash(user, l->seed), where;

    where = str_ihash(str_c(addr_show(&masked, network)), who);
    memcpy(key + 1, &who, sizeof(who));
    memcpy(key + 9, &where, sizeof(where));
    return make || map_get(&l->map, str_of(key, LIMITS_KEY)) ? limits_find(l, key) : NULL;
}

static struct limit *
limits_number(struct limits *l, enum limits_kind kind, uint32_t n)
{
    char key[LIMITS_KEY] = {(char)kind};

    memcpy(key + 1, &n, sizeof(n));
    return limits_find(l, key);
}

struct limit *
limits_uid(struct limits *l, uint32_t uid)
{
    return limits_number(l, LIMITS_UID, uid);
}

struct limit *
limits_tenant(struct limits *l, uint32_t tenant)
{
    return limits_number(l, LIMITS_TENANT, tenant);
}
