/*
 * fuzz/fuzz_pace.c - what was learnt of pace and warm-up, read back from any bytes, then any story
 * of replies: the law stays within its bounds and never waits for nothing.
 */
#include "core/clock.h"
#include "courier/pace.h"
#include "courier/warmup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
hold(const struct pace *p)
{
    ENSURE(p->rate >= p->bounds.floor && p->rate <= p->bounds.ceiling);
    ENSURE(p->sessions >= 1 && p->sessions <= p->bounds.sessions_max);
    ENSURE(p->tokens >= 0 && p->latency >= 0);
}

/* A byte: what comes next, and how long after. */
static void
story(struct pace *p, const char *bytes, size_t n, uint64_t now)
{
    unsigned active = 0;
    uint64_t begun = now, at;

    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)bytes[i];
        uint64_t step = NS_PER_MS << (b >> 4);
        if ((b & 15) < 8) {
            if (pace_take(p, now, active, &at)) {
                active++;
                begun = now;
            } else {
                ENSURE(at > now); /* UINT64_MAX: when one of those under way has ended */
                ENSURE(at != UINT64_MAX || active > 0);
            }
        } else if (active) {
            enum pace_word word = (enum pace_word)((b & 7) % (PACE_AWAY + 1));
            pace_told(p, now, begun, active, word);
            active--;
            ENSURE(pace_retry_gap(p, now, word, b) > 0);
        }
        hold(p);
        now += step;
    }
}

static void
pace(struct str s)
{
    static const struct pace_bounds narrow = {
        .floor = 0.5, .start = 1, .ceiling = 3, .sessions_max = 2};
    const struct pace_bounds *bounds = s.n % 2 ? &narrow : &pace_defaults;
    uint64_t now = 1000 * NS_PER_S;
    struct pace p, back;
    struct wire w;
    struct buf out;

    wire_init(&w, s.p, s.n);
    if (pace_decode(&p, &w, bounds, now) < 0)
        return;
    hold(&p);
    story(&p, s.p + 65, s.n > 65 ? s.n - 65 : 0, now);
    buf_init(&out, 1024);
    pace_encode(&out, &p, now);
    wire_init(&w, out.p, out.n);
    ENSURE(pace_decode(&back, &w, bounds, now) == 0 && wire_end(&w));
    hold(&back);
    buf_done(&out);
}

static void
warm(struct str s)
{
    struct warmup w;
    struct wire r;

    wire_init(&r, s.p, s.n);
    if (warmup_decode(&w, &r) < 0)
        return;
    for (size_t i = 0; i + 4 <= s.n && i < 400; i += 4) {
        const uint8_t *b = (const uint8_t *)s.p + i;
        struct warmup_day d = {
            .sent = (uint64_t)b[0] * b[0], .deferred = b[1], .bounced = b[2] / 8};
        uint32_t day = w.day + b[3] % 40;
        uint64_t left = warmup_left(&w, day);
        ENSURE(left == UINT64_MAX || left <= w.curve->done);
        warmup_told(&w, day, &d);
        ENSURE(w.limit > 0 && w.limit <= w.curve->done);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str s = str_of((const char *)data, n);

    if (n && data[0] & 1)
        pace(str_from(s, 1));
    else if (n)
        warm(str_from(s, 1));
    return 0;
}
