/* tests/unit/test_core_rate.c - bursts, waits, and states that cannot be. */
#include "core/clock.h"
#include "core/rate.h"
#include "tap.h"

int
main(void)
{
    struct rate r = {.count = 10, .period_ns = NS_PER_S, .burst = 3}, none = {0};
    struct rate plain = {.count = 5, .period_ns = NS_PER_S};
    struct rate wild = {.count = UINT64_MAX, .period_ns = UINT64_MAX, .burst = UINT64_MAX};
    struct bucket b = {0};
    uint64_t now = 0;

    for (int i = 0; i < 3; i++)
        IS(bucket_take(&b, &r, now), 0, "burst %d", i);
    IS(bucket_peek(&b, &r, now), NS_PER_S / 10, "then one interval");
    IS(bucket_take(&b, &r, now), NS_PER_S / 10, "a refused event is not counted");
    IS(bucket_take(&b, &r, now + NS_PER_S / 10 - 1), 1, "one ns to go");
    IS(bucket_take(&b, &r, now + NS_PER_S / 10), 0, "now");
    IS(bucket_take(&b, &r, now + NS_PER_S / 10), NS_PER_S / 10, "and again a wait");

    now = 100 * NS_PER_S;
    b = (struct bucket){0};
    int allowed = 0;
    for (int ms = 0; ms < 10000; ms++)
        allowed += bucket_take(&b, &r, now + (uint64_t)ms * NS_PER_MS) == 0;
    IS(allowed, 3 + 99, "ten seconds give a hundred, and the burst less one");

    b = (struct bucket){0};
    allowed = 0;
    for (int i = 0; i < 20; i++)
        allowed += bucket_take(&b, &plain, now) == 0;
    IS(allowed, 5, "without a burst the count may come at once");
    IS(bucket_take(&b, &none, now), 0, "no limit");

    b.tat_ns = UINT64_MAX;
    OK(bucket_peek(&b, &r, now) <= NS_PER_S, "a clock that went back costs one burst at most");
    b = (struct bucket){0};
    OK(bucket_take(&b, &wild, now) == 0, "wild settings do not overflow");
    wild.count = 1;
    OK(bucket_take(&b, &wild, now) == 0, "nor these");
    return tap_done();
}
