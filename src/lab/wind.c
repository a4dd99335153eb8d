/*
 * lab/wind.c - the simulation: messages begin when the law permits, end when the provider replies.
 *
 * Called by the verb and by tests. Virtual time only, no sleeping; a run is a function of scenario,
 * law and seed.
 */
#include "lab/wind.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/err.h"

struct flight { /* in the air, or waiting on the ground for its next attempt */
    uint64_t at;
    uint64_t begun;   /* this attempt */
    uint64_t put_off; /* the first time that it was greylisted */
    unsigned active;  /* when it began, itself included */
    uint8_t reply, attempts;
    bool waited;
};
struct heap { /* least `at` first */
    struct flight *items;
    size_t n, cap;
};
struct tunnel {
    const struct wind_law *law;
    void *self;
    struct wind_provider provider;
    struct heap air, ground;
    uint64_t now, untried, left, horizon;
    uint64_t put_off; /* messages that were greylisted: they used the limits once more */
    struct wind_result result;
};

static int
heap_push(struct heap *h, struct flight f)
{
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 64;
        struct flight *items = realloc(h->items, cap * sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        h->items = items;
        h->cap = cap;
    }
    size_t i = h->n++;
    for (size_t up; i > 0 && h->items[up = (i - 1) / 2].at > f.at; i = up)
        h->items[i] = h->items[up];
    h->items[i] = f;
    return 0;
}

static struct flight
heap_pop(struct heap *h)
{
    struct flight top = h->items[0], last = h->items[--h->n];
    size_t i = 0;

    for (size_t down; (down = 2 * i + 1) < h->n; i = down) {
        if (down + 1 < h->n && h->items[down + 1].at < h->items[down].at)
            down++;
        if (h->items[down].at >= last.at)
            break;
        h->items[i] = h->items[down];
    }
    h->items[i] = last;
    return top;
}

static uint64_t
heap_next(const struct heap *h)
{
    return h->n ? h->items[0].at : UINT64_MAX;
}

static int
begin(struct tunnel *t)
{
    struct flight f = {.attempts = 0};
    uint64_t took;

    if (heap_next(&t->ground) <= t->now)
        f = heap_pop(&t->ground);
    else
        t->untried--;
    unsigned active = (unsigned)t->air.n;
    bool patient = f.waited && t->now - f.put_off >= t->provider.conf->noise_wait;
    f.reply = (uint8_t)wind_provider_ask(&t->provider, t->now, active, patient, &took);
    f.begun = t->now;
    f.active = active + 1;
    f.at = t->now + took;
    return heap_push(&t->air, f);
}

static int
end(struct tunnel *t)
{
    struct flight f = heap_pop(&t->air);

    t->law->told(t->self, t->now, f.begun, f.active, (enum wind_reply)f.reply);
    if (f.reply == WIND_TAKEN || f.reply == WIND_UNKNOWN_USER) {
        t->left--;
        return 0;
    }
    t->result.deferrals++;
    if (f.reply == WIND_GREYLISTED && !f.waited) {
        f.waited = true;
        f.put_off = t->now;
        t->put_off++;
    }
    f.at = t->now + t->law->gap(t->self, t->now, (enum wind_reply)f.reply, f.attempts);
    if (f.attempts < UINT8_MAX)
        f.attempts++;
    return heap_push(&t->ground, f);
}

/* Begins what may begin now; *ret_at: when to look again. */
static int
begin_all(struct tunnel *t, uint64_t *ret_at)
{
    *ret_at = UINT64_MAX;
    while (t->untried || heap_next(&t->ground) <= t->now) {
        if (!t->law->take(t->self, t->now, (unsigned)t->air.n, ret_at))
            return 0;
        *ret_at = UINT64_MAX;
        int err = begin(t);
        if (err < 0)
            return err;
    }
    return 0;
}

static int
fly(struct tunnel *t)
{
    while (t->left && t->now < t->horizon) {
        uint64_t at;
        int err = begin_all(t, &at);
        if (err < 0)
            return err;
        bool wanted = t->untried || heap_next(&t->ground) <= t->now;
        uint64_t next =
            MIN(at, MIN(heap_next(&t->air), wanted ? UINT64_MAX : heap_next(&t->ground)));
        if (next == UINT64_MAX)
            return ERR_STATE; /* a law that waits for nothing */
        t->now = MAX(next, t->now);
        wind_provider_pass(&t->provider, t->now, wanted);
        while (heap_next(&t->air) <= t->now) {
            if ((err = end(t)) < 0)
                return err;
        }
    }
    return 0;
}

int
wind_blow_one(const struct wind_law *law, const struct wind_provider_conf *conf, uint64_t messages,
              uint64_t horizon, uint64_t seed, struct wind_result *ret)
{
    struct tunnel t = {.law = law, .untried = messages, .left = messages, .horizon = horizon};
    int err = wind_provider_init(&t.provider, conf, seed);

    t.self = calloc(1, law->size);
    if (err == 0 && !t.self)
        err = ERR_NOMEM;
    if (err == 0) {
        law->init(t.self, conf, 0);
        err = fly(&t);
    }
    t.result.seconds = (double)MIN(t.now, horizon) / (double)NS_PER_S;
    t.result.finished = t.left == 0;
    t.result.messages = messages - t.left;
    t.result.blocks = t.provider.blocks;
    if (t.provider.permitted > 0)
        t.result.use = (t.provider.taken + (double)t.put_off) / t.provider.permitted;
    *ret = t.result;
    wind_provider_done(&t.provider);
    free(t.self);
    free(t.air.items);
    free(t.ground.items);
    return err;
}

int
wind_blow(const struct wind_law *law, const struct conf *conf, uint64_t seed,
          struct wind_result *ret)
{
    const struct wind_main *m = conf_get(conf, "scenario");
    double used = 0;
    int err = 0;

    *ret = (struct wind_result){.finished = true};
    for (uint64_t source = 0; source < m->sources; source++) {
        for (const struct conf_section *s = conf_first(conf, "provider"); s && err == 0;
             s = conf_next(s)) {
            struct wind_result one;
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            err = wind_blow_one(law, s->data, wind_scenario_share(conf, s), m->horizon, seed, &one);
            ret->seconds = MAX(ret->seconds, one.seconds);
            ret->finished &= one.finished;
            ret->messages += one.messages;
            ret->deferrals += one.deferrals;
            ret->blocks += one.blocks;
            used += one.use * (double)one.messages;
        }
    }
    ret->use = ret->messages ? used / (double)ret->messages : 0;
    return err;
}
