/* tests/unit/test_courier_warmup.c - the law of warm-up: advance, hold, step back, begin again. */
#include "core/err.h"
#include "courier/warmup.h"
#include "tap.h"

#define DAY0 20000u

static struct warmup
fresh(const char *curve)
{
    struct warmup w;

    warmup_init(&w, warmup_curve_find(str_c(curve)));
    return w;
}

/* One day: all that is left is sent, with the given shares (per mille). */
static uint64_t
day(struct warmup *w, uint32_t number, unsigned deferred, unsigned bounced, unsigned complaints)
{
    uint64_t left = warmup_left(w, number), n = MIN(left, (uint64_t)1000000);
    struct warmup_day d = {.sent = n,
                           .deferred = n * deferred / 1000,
                           .bounced = n * bounced / 1000,
                           .complaints = n * complaints / 1000,
                           .complaint_data = true};

    warmup_told(w, number, &d);
    return left;
}

static void
test_good_days(void)
{
    struct warmup w = fresh("default");

    IS(day(&w, DAY0, 0, 0, 0), 50, "the first day");
    IS(warmup_left(&w, DAY0), 0, "is used up");
    IS(day(&w, DAY0 + 1, 0, 0, 0), 100, "the second");
    IS(day(&w, DAY0 + 5, 0, 0, 0), 200, "days without mail are not counted");
    uint64_t former = 200, left = 0;
    uint32_t number = DAY0 + 6;
    for (; number < DAY0 + 60; number++) {
        left = day(&w, number, 10, 10, 0);
        if (left == UINT64_MAX)
            break;
        if (left < former || (double)left > 2.01 * (double)former)
            OK(false, "grows by no leaps: %llu after %llu", (unsigned long long)left,
               (unsigned long long)former);
        former = left;
    }
    OK(left == UINT64_MAX && w.done, "warm after %u days", number - DAY0);
}

static void
test_evidence(void)
{
    struct warmup w = fresh("sparkpost");

    for (uint32_t i = 0; i < 6; i++)
        day(&w, DAY0 + i, 0, 0, 0);
    uint64_t limit = warmup_left(&w, DAY0 + 6);
    IS(limit, 20000, "six good days");
    day(&w, DAY0 + 6, 100, 0, 0);
    IS(warmup_left(&w, DAY0 + 7), limit, "10 %% deferred holds: %s", w.reason);
    day(&w, DAY0 + 7, 0, 30, 0);
    IS(warmup_left(&w, DAY0 + 8), limit, "3 %% unknown holds: %s", w.reason);
    day(&w, DAY0 + 8, 0, 0, 4);
    OK(warmup_left(&w, DAY0 + 9) < limit / 3, "0.4 %% complaints step back: %s", w.reason);
    limit = w.limit;
    struct warmup_day few = {.sent = 10, .complaint_data = true};
    warmup_told(&w, DAY0 + 9, &few);
    IS(warmup_left(&w, DAY0 + 10), limit, "a day with little mail proves nothing: %s", w.reason);
    struct warmup_day half = {.sent = limit / 2, .complaint_data = true};
    warmup_told(&w, DAY0 + 10, &half);
    IS(warmup_left(&w, DAY0 + 11), limit, "half a day neither: %s", w.reason);
    struct warmup_day blocked = {.sent = limit, .blocked = limit / 50, .complaint_data = true};
    warmup_told(&w, DAY0 + 11, &blocked);
    OK(warmup_left(&w, DAY0 + 12) < limit, "2 %% refused as spam step back: %s", w.reason);
}

static void
test_no_complaint_data(void)
{
    struct warmup w = fresh("sendgrid"), v = fresh("sendgrid");

    for (uint32_t i = 0; i < 10; i++) {
        struct warmup_day blind = {.sent = warmup_left(&w, DAY0 + i)};
        warmup_told(&w, DAY0 + i, &blind);
        day(&v, DAY0 + i, 0, 0, 0);
    }
    OK(warmup_left(&w, DAY0 + 10) > 480, "without complaint data it goes on");
    OK(warmup_left(&w, DAY0 + 10) < warmup_left(&v, DAY0 + 10) / 2, "more slowly: %llu, not %llu",
       (unsigned long long)w.limit, (unsigned long long)v.limit);
    for (uint32_t i = 10; i < 200 && !w.done; i++) {
        struct warmup_day blind = {.sent = MIN(warmup_left(&w, DAY0 + i), w.limit)};
        warmup_told(&w, DAY0 + i, &blind);
    }
    OK(w.done && w.limit == w.curve->done, "to the end, and not beyond: what is kept can be read");
}

static void
test_idle(void)
{
    struct warmup w = fresh("mailtrap");

    for (uint32_t i = 0; i < 40; i++)
        day(&w, DAY0 + i, 0, 0, 0);
    OK(w.done, "warm");
    OK(warmup_left(&w, DAY0 + 69) == UINT64_MAX, "29 days without mail change nothing");
    IS(warmup_left(&w, DAY0 + 71), 300, "after thirty it begins again: %s", w.reason);
    w = fresh("mailtrap");
    day(&w, DAY0, 0, 0, 0);
    day(&w, DAY0 + 1, 0, 0, 0);
    IS(warmup_left(&w, DAY0 - 5), 0, "a clock that goes back gives nothing");
}

/* A sending day is one day, however often it is asked about and whatever was idle before it. */
static void
test_days(void)
{
    struct warmup w = fresh("default");
    struct warmup_day all = {.sent = 50, .complaint_data = true};

    day(&w, DAY0, 0, 0, 0);
    warmup_left(&w, DAY0 + 1);
    warmup_left(&w, DAY0 + 2);
    IS(warmup_left(&w, DAY0 + 6), 100, "the second sending day");
    warmup_told(&w, DAY0 + 6, &all);
    warmup_told(&w, DAY0 + 6, &all);
    IS(warmup_left(&w, DAY0 + 6), 0, "is used up, after idle days too");
    IS(warmup_left(&w, DAY0 + 7), 200, "and was a good one");
    warmup_told(&w, DAY0 + 7, &all);
    IS(warmup_left(&w, DAY0 + 6), 150, "a clock that goes back a day gives nothing");
    IS(warmup_left(&w, DAY0 + 7), 150, "nor when it comes again");
}

static void
test_clock(void)
{
    struct warmup w = fresh("default");
    struct warmup_day all = {.sent = 50, .complaint_data = true};

    day(&w, DAY0, 0, 0, 0);
    warmup_told(&w, DAY0 + 1, &all);
    warmup_told(&w, DAY0 + 20, &all); /* the clock was wrong */
    uint64_t limit = w.limit;
    IS(warmup_left(&w, DAY0 + 2), limit - 50, "a clock that is put right takes and gives nothing");
    IS(warmup_left(&w, DAY0 + 3), limit, "and the next day is a day again: %s", w.reason);
    OK(w.limit == limit && !w.done, "no warmth was lost");
    w.last = DAY0 + 100; /* as a damaged state may say */
    OK(warmup_left(&w, DAY0 + 4) <= limit && w.limit == limit, "nor by a last day in the future");
}

static void
test_forecast(void)
{
    struct warmup w = fresh("default");

    IS(warmup_days_for(&w, 50), 1, "fifty fit today");
    IS(warmup_days_for(&w, 51), 2, "one more needs another day");
    OK(warmup_days_for(&w, UINT64_MAX) <= 3660, "a forecast ends");
    OK(warmup_days_for(&w, 1000000) > 15, "a million need weeks: %u days",
       warmup_days_for(&w, 1000000));
}

static void
test_restart(void)
{
    struct warmup w = fresh("ses"), back;
    CLEANUP(buf_done) struct buf b;
    struct wire r;

    for (uint32_t i = 0; i < 7; i++)
        day(&w, DAY0 + i, 0, 0, 0);
    buf_init(&b, 4096);
    warmup_encode(&b, &w);
    wire_init(&r, b.p, b.n);
    IS(warmup_decode(&back, &r), 0, "comes back");
    OK(wire_end(&r) && back.limit == w.limit && back.stage == w.stage && back.last == w.last &&
           !strcmp(back.reason, w.reason) && back.curve == w.curve,
       "as it was");
    for (size_t n = 0; n < b.n; n++) {
        wire_init(&r, b.p, n);
        if (warmup_decode(&back, &r) != ERR_SYNTAX)
            OK(false, "%zu bytes of it are refused", n);
    }
}

int
main(void)
{
    for (size_t i = 0; i < warmup_ncurves; i++) {
        struct warmup w = fresh(warmup_curves[i].name);
        OK(w.limit > 0 && warmup_curves[i].growth >= 1.1 && warmup_curves[i].growth <= 1.5,
           "curve %s", warmup_curves[i].name);
    }
    OK(!warmup_curve_find(STR("none")), "an unknown curve");
    test_good_days();
    test_evidence();
    test_no_complaint_data();
    test_idle();
    test_days();
    test_clock();
    test_forecast();
    test_restart();
    return tap_done();
}
