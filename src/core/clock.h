/*
 * core/clock.h - the one source of time. Monotonic for waits, wall for deadlines and for people.
 *
 * Nobody else calls clock_gettime or time(). A test takes the clock with clock_own() and moves it.
 */
#ifndef GAPURA_CORE_CLOCK_H
#define GAPURA_CORE_CLOCK_H

#include "core/base.h"

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

uint64_t clock_mono(void); /* ns since an arbitrary start; never goes back */
uint64_t clock_wall(void); /* ns since 1970-01-01 UTC */
static inline uint64_t
clock_wall_s(void)
{
    return clock_wall() / NS_PER_S;
}
/* Both clocks stand still at these values until moved. */
void clock_own(uint64_t mono, uint64_t wall);
void clock_advance(uint64_t ns);
void clock_release(void);
/* "2026-11-23T06:44:24.123456Z" */
void clock_iso(uint64_t wall_ns, char dst[32]);

#endif
