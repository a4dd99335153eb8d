/* tests/unit/test_core_clock.c - real time goes on, owned time stands still, dates are right. */
#include "core/clock.h"
#include "core/str.h"
#include "tap.h"

static void
test_iso(uint64_t seconds, const char *want)
{
    char text[32];

    clock_iso(seconds * NS_PER_S, text);
    TEXT(str_c(text), want, "%s", want);
}

int
main(void)
{
    char text[32];
    uint64_t a = clock_mono(), b = clock_mono();

    OK(b >= a, "monotonic");
    OK(clock_wall_s() > 1700000000, "wall");
    clock_own(5, 1000 * NS_PER_S);
    OK(clock_mono() == 5 && clock_wall_s() == 1000, "owned");
    clock_advance(2 * NS_PER_S);
    OK(clock_mono() == 5 + 2 * NS_PER_S && clock_wall_s() == 1002, "moved");
    clock_release();
    OK(clock_wall_s() > 1700000000, "released");
    test_iso(0, "1970-01-01T00:00:00.000000Z");
    test_iso(951782400, "2000-02-29T00:00:00.000000Z");
    test_iso(1709251199, "2024-02-29T23:59:59.000000Z");
    test_iso(1709251200, "2024-03-01T00:00:00.000000Z");
    test_iso(4107542400, "2100-03-01T00:00:00.000000Z");
    test_iso(1798761599, "2026-12-31T23:59:59.000000Z");
    clock_iso(UINT64_C(1795416264123456789), text);
    TEXT(str_c(text), "2026-11-23T06:44:24.123456Z", "microseconds");
    clock_iso(UINT64_MAX, text);
    TEXT(str_c(text), "2554-07-21T23:34:33.709551Z", "the last moment");
    bool same = true;
    for (time_t day = 0; day < 120 * 366; day++) {
        struct tm tm;
        time_t when = day * 86400;
        char want[32];

        gmtime_r(&when, &tm);
        str_fmt(want, sizeof(want), "%04d-%02d-%02dT", tm.tm_year + 1900, tm.tm_mon + 1,
                tm.tm_mday);
        clock_iso((uint64_t)when * NS_PER_S, text);
        same = same && str_starts(str_c(text), str_c(want));
    }
    OK(same, "120 years of days agree with libc");
    return tap_done();
}
