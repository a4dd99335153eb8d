/*
 * core/clock.c - the one source of time; a test may take it over.
 *
 * Called by whoever waits or stamps. Never called by pure code, which gets its time as an argument.
 */
#include <stdatomic.h>
#include <time.h>

#include "core/clock.h"
#include "core/str.h"

static atomic_bool clock_owned;
static _Atomic uint64_t clock_own_mono, clock_own_wall;

static uint64_t
clock_read(clockid_t id)
{
    struct timespec ts;

    if (clock_gettime(id, &ts) < 0 || ts.tv_sec < 0)
        return 0;
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline bool
clock_is_owned(void)
{
    return __builtin_expect(atomic_load_explicit(&clock_owned, memory_order_relaxed), 0);
}

uint64_t
clock_mono(void)
{
    return clock_is_owned() ? atomic_load(&clock_own_mono) : clock_read(CLOCK_MONOTONIC);
}

uint64_t
clock_wall(void)
{
    return clock_is_owned() ? atomic_load(&clock_own_wall) : clock_read(CLOCK_REALTIME);
}

void
clock_own(uint64_t mono, uint64_t wall)
{
    atomic_store(&clock_own_mono, mono);
    atomic_store(&clock_own_wall, wall);
    atomic_store(&clock_owned, true);
}

void
clock_advance(uint64_t ns)
{
    atomic_fetch_add(&clock_own_mono, ns);
    atomic_fetch_add(&clock_own_wall, ns);
}

void
clock_release(void)
{
    atomic_store(&clock_owned, false);
}

/*
 * Days since 1970-01-01 to a date of the proleptic Gregorian calendar. Years are counted from March
 * so that the leap day is the last of its year; 400 years have 146097 days.
 */
static void
clock_date(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    uint64_t since = days + 719468; /* days from 0000-03-01 */
    uint64_t era = since / 146097;
    unsigned in_era = (unsigned)(since % 146097);
    unsigned y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * y + y / 4 - y / 100);
    unsigned m = (5 * in_year + 2) / 153; /* 0 is March */

    *day = in_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = (unsigned)(era * 400) + y + (*month <= 2);
}

void
clock_iso(uint64_t wall_ns, char dst[32])
{
    uint64_t seconds = wall_ns / NS_PER_S;
    unsigned in_day = (unsigned)(seconds % 86400);
    unsigned year, month, day;

    clock_date(seconds / 86400, &year, &month, &day);
    str_fmt(dst, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", year, month, day, in_day / 3600,
            in_day / 60 % 60, in_day % 60, (unsigned)(wall_ns % NS_PER_S / NS_PER_US));
}
