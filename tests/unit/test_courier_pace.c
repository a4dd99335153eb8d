/* tests/unit/test_courier_pace.c - the law of pace: growth, cuts, probes, blocks, restart. */
#include "courier/pace.h"

#include "core/clock.h"
#include "core/err.h"
#include "tap.h"

#define LATENCY (200 * NS_PER_MS)

struct world {
    struct pace pace;
    uint64_t now;
    double limit; /* a second; 0: none */
    double tokens;
    uint64_t taken, refused;
};

static void
world_init(struct world *w, double limit)
{
    *w = (struct world){.limit = limit, .now = NS_PER_S};
    pace_init(&w->pace, &pace_defaults, w->now);
}

/* Sends as the law permits, one after another, for that time. */
static void
blow(struct world *w, uint64_t span)
{
    uint64_t end = w->now + span;

    while (w->now < end) {
        uint64_t at = 0;
        if (!pace_take(&w->pace, w->now, 0, &at)) {
            uint64_t next = at == UINT64_MAX ? end : MIN(at, end);
            w->tokens += (double)(next - w->now) / (double)NS_PER_S * w->limit;
            w->tokens = MIN(w->tokens, MAX(w->limit, 1));
            w->now = next;
            continue;
        }
        bool good = !w->limit || w->tokens >= 1;
        w->tokens -= good;
        w->taken += good;
        w->refused += !good;
        /* The reply comes later, but nothing else happens meanwhile. */
        pace_told(&w->pace, w->now + NS_PER_MS, w->now, 1, good ? PACE_TAKEN : PACE_SLOWER);
    }
}

static void
test_growth(void)
{
    struct world w;

    world_init(&w, 0);
    blow(&w, 2 * NS_PER_S);
    OK(w.taken <= 4, "begins slowly: %llu in 2 s", (unsigned long long)w.taken);
    blow(&w, 10 * 60 * NS_PER_S);
    OK(w.pace.rate == pace_defaults.ceiling, "reaches the ceiling where nobody refuses: %.0f",
       w.pace.rate);
    struct pace_bounds narrow = {.floor = 1, .start = 2, .ceiling = 5, .sessions_max = 1};
    pace_init(&w.pace, &narrow, w.now);
    blow(&w, 10 * 60 * NS_PER_S);
    OK(w.pace.rate == 5 && w.pace.sessions == 1, "and never leaves the operator's bounds");
}

static void
test_limit(void)
{
    struct world w;

    world_init(&w, 20);
    blow(&w, 600 * NS_PER_S);
    uint64_t before = w.taken, refused = w.refused;
    blow(&w, 3600 * NS_PER_S);
    double held = (double)(w.taken - before) / 3600;
    OK(held > 17 && held <= 20.1, "holds close to a limit of 20 a second: %.2f", held);
    OK(w.refused - refused < 60, "with few refusals in an hour: %llu",
       (unsigned long long)(w.refused - refused));
    w.limit = 2;
    blow(&w, 300 * NS_PER_S);
    OK(w.pace.rate < 3, "falls when the limit falls: %.2f", w.pace.rate);
    w.limit = 40;
    blow(&w, 3600 * NS_PER_S);
    OK(w.pace.rate > 30, "and finds a limit that rose: %.2f", w.pace.rate);
}

static void
test_cut(void)
{
    struct pace p;
    uint64_t at, now = NS_PER_S;

    pace_init(&p, &pace_defaults, now);
    p.rate = 100;
    p.tokens = 10;
    OK(pace_take(&p, now, 0, &at), "one goes");
    pace_told(&p, now + LATENCY, now, 4, PACE_SLOWER);
    double cut = p.rate;
    OK(cut < 100 && cut >= 40, "a refusal cuts at once: %.1f", cut);
    for (int i = 0; i < 10; i++)
        pace_told(&p, now + LATENCY, now, 4, PACE_SLOWER);
    OK(p.rate == cut, "what was under way then says nothing new");
    pace_told(&p, now + 3 * LATENCY, now + 2 * LATENCY, 4, PACE_SLOWER);
    OK(p.rate < cut * 0.6, "one sent after the cut cuts deeper: %.1f", p.rate);
    for (int i = 0; i < 100; i++) {
        now += NS_PER_S;
        pace_told(&p, now + LATENCY, now, 4, PACE_SLOWER);
    }
    OK(p.rate == pace_defaults.floor, "never below the floor");
}

static void
test_sessions(void)
{
    struct pace p;
    uint64_t at, now = NS_PER_S;

    pace_init(&p, &pace_defaults, now);
    p.rate = 50;
    p.tokens = 10;
    OK(!pace_take(&p, now, p.sessions, &at) && at == UINT64_MAX, "full: ask when one has ended");
    p.latency = (double)NS_PER_S;
    pace_told(&p, now + LATENCY, now, 7, PACE_FEWER);
    IS(p.sessions, 6, "seven were too many");
    OK(p.rate == 50, "which says nothing of the rate");
    pace_told(&p, now + LATENCY, now, 5, PACE_FEWER);
    IS(p.sessions, 4, "one that was refused beside it says how many there were when it began");
    OK(!pace_take(&p, now + LATENCY, 0, &at) && at <= now + 2 * LATENCY,
       "nothing begins until the refusals under way have come");
    pace_told(&p, now + 9 * LATENCY, now + 8 * LATENCY, 1, PACE_FEWER);
    IS(p.sessions, 1, "one is always permitted");
}

/* Under a limit that a large burst hides, probes always fail at about the same rate. */
static void
test_same_wall(void)
{
    struct pace p;
    uint64_t now = 100 * NS_PER_S;

    pace_init(&p, &pace_defaults, now);
    p.bad = p.rate = p.failed = 15;
    p.base = p.good = 10;
    pace_told(&p, now + LATENCY, now, 1, PACE_SLOWER);
    OK(p.rate < 10 && p.rate > 8, "back to where the probes began: %.1f", p.rate);
    OK(p.bad > 10 && p.bad < 11, "and the wall is there: %.1f", p.bad);
    pace_init(&p, &pace_defaults, now);
    p.bad = p.rate = 20;
    p.failed = 15;
    p.base = p.good = 10;
    pace_told(&p, now + LATENCY, now, 1, PACE_SLOWER);
    OK(p.rate > 12, "a limit that moved is followed: %.1f", p.rate);
}

/* Limits under one a minute: no refusal a minute for hours. */
static void
test_tiny(void)
{
    struct world w;

    world_init(&w, 20.0 / 3600);
    blow(&w, 36000 * NS_PER_S);
    OK(w.taken > 150, "20 an hour: %llu taken in ten hours", (unsigned long long)w.taken);
    OK(w.refused < 40, "with few refusals: %llu", (unsigned long long)w.refused);
}

static void
test_clock(void)
{
    struct world w;
    uint64_t at;

    world_init(&w, 20);
    blow(&w, 600 * NS_PER_S);
    double rate = w.pace.rate;
    w.now += UINT64_C(365) * 86400 * NS_PER_S;
    OK(pace_take(&w.pace, w.now, 0, &at), "a year later one may go");
    OK(w.pace.tokens < rate, "and not a year's worth of them");
    pace_told(&w.pace, w.now, w.now + NS_PER_S, 1, PACE_TAKEN);
    OK(w.pace.latency < (double)NS_PER_S, "an answer from the future teaches no latency");
}

static void
test_block(void)
{
    struct pace p;
    uint64_t at, now = NS_PER_S;

    pace_init(&p, &pace_defaults, now);
    p.rate = 100;
    p.tokens = 10;
    pace_told(&p, now + LATENCY, now, 4, PACE_BLOCKED);
    IS(p.blocks, 1, "a block is counted");
    pace_told(&p, now + 2 * LATENCY, now, 4, PACE_TAKEN);
    OK(p.trial && p.in_block, "what began before it and is taken does not end it");
    OK(!pace_take(&p, now + 60 * NS_PER_S, 0, &at) && at > now + 200 * NS_PER_S,
       "nothing goes for minutes");
    double rate = p.rate;
    now = at;
    OK(!pace_take(&p, now, 1, &at), "then one at a time");
    now += 60 * NS_PER_S;
    OK(pace_take(&p, now, 0, &at), "the trial goes");
    pace_told(&p, now + LATENCY, now, 1, PACE_BLOCKED);
    OK(p.rate == rate && p.blocks == 1, "a block that lasts is the same block");
    OK(!pace_take(&p, now + 500 * NS_PER_S, 0, &at) && at > now + 550 * NS_PER_S,
       "it is asked more rarely");
    now = at + 60 * NS_PER_S;
    OK(pace_take(&p, now, 0, &at), "the next trial");
    pace_told(&p, now + LATENCY, now, 1, PACE_TAKEN);
    OK(!p.trial && p.rate == rate, "is taken: on from there");
    OK(pace_retry_gap(&p, now, PACE_BLOCKED, 0) >= NS_PER_S, "a refused message waits");
}

static void
test_away(void)
{
    struct pace p;
    uint64_t at, now = NS_PER_S, last = 0;

    pace_init(&p, &pace_defaults, now);
    p.rate = 30;
    for (int i = 0; i < 12; i++) {
        pace_told(&p, now, now, 1, PACE_AWAY);
        OK(!pace_take(&p, now, 0, &at), "nobody answers: wait %.0f s",
           (double)(at - now) / (double)NS_PER_S);
        last = at - now;
        now = at;
    }
    OK(last <= 300 * NS_PER_S, "never longer than five minutes");
    now += 10 * NS_PER_S;
    OK(pace_take(&p, now, 0, &at), "one asks");
    pace_told(&p, now + LATENCY, now, 1, PACE_TAKEN);
    OK(p.rate == 30 && p.away == 0, "an outage teaches nothing of limits");
}

static void
test_restart(void)
{
    struct world w;
    struct pace back;
    CLEANUP(buf_done) struct buf b;
    struct wire r;

    world_init(&w, 20);
    blow(&w, 1800 * NS_PER_S);
    buf_init(&b, 1024);
    pace_encode(&b, &w.pace, w.now);
    wire_init(&r, b.p, b.n);
    IS(pace_decode(&back, &r, &pace_defaults, 5 * NS_PER_S), 0, "comes back");
    OK(wire_end(&r), "every byte of it");
    OK(back.rate > 0.6 * w.pace.rate && back.rate < w.pace.rate, "a little slower: %.1f of %.1f",
       back.rate, w.pace.rate);
    for (size_t n = 0; n < b.n; n++) {
        wire_init(&r, b.p, n);
        if (pace_decode(&back, &r, &pace_defaults, 5 * NS_PER_S) != ERR_SYNTAX)
            OK(false, "%zu bytes of it are refused", n);
    }
    for (size_t i = 1; i < b.n; i++) { /* damaged: refused, or within the bounds */
        char was = b.p[i];
        b.p[i] = (char)0xff;
        wire_init(&r, b.p, b.n);
        if (pace_decode(&back, &r, &pace_defaults, 5 * NS_PER_S) == 0 &&
            (back.rate < pace_defaults.floor || back.rate > pace_defaults.ceiling ||
             back.bad > pace_defaults.ceiling || back.sessions < 1 ||
             back.sessions > pace_defaults.sessions_max))
            OK(false, "byte %zu: rate %g, bad %g", i, back.rate, back.bad);
        b.p[i] = was;
    }
    b.p[0]++;
    wire_init(&r, b.p, b.n);
    IS(pace_decode(&back, &r, &pace_defaults, 5 * NS_PER_S), ERR_SYNTAX, "another version");
    pace_told(&w.pace, w.now, w.now, 1, PACE_BLOCKED);
    buf_clear(&b);
    pace_encode(&b, &w.pace, w.now);
    wire_init(&r, b.p, b.n);
    uint64_t at;
    IS(pace_decode(&back, &r, &pace_defaults, 5 * NS_PER_S), 0, "a block comes back");
    OK(!pace_take(&back, 6 * NS_PER_S, 0, &at) && at > 250 * NS_PER_S, "and still holds");
}

int
main(void)
{
    test_growth();
    test_limit();
    test_cut();
    test_sessions();
    test_same_wall();
    test_tiny();
    test_clock();
    test_block();
    test_away();
    test_restart();
    return tap_done();
}
