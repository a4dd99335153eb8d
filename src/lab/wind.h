/*
 * lab/wind.h - the wind tunnel: a campaign blown against model providers in virtual time, once for
 * each law of pace. `gapura lab wind --scenario FILE` prints the comparison.
 */
#ifndef GAPURA_LAB_WIND_H
#define GAPURA_LAB_WIND_H

#include "lab/wind_law.h"

struct wind_result {
    double seconds; /* until all was taken or refused for good; the horizon if never */
    bool finished;
    uint64_t messages, deferrals, blocks;
    double use; /* share of what the limits permitted while mail waited: 0 .. 1 */
};
/* One source towards one provider. ERR_NOMEM. */
int wind_blow_one(const struct wind_law *, const struct wind_provider_conf *, uint64_t messages,
                  uint64_t horizon, uint64_t seed, struct wind_result *ret);
/* The whole scenario: the slowest pair's time, sums of the rest, use by weight. */
int wind_blow(const struct wind_law *, const struct conf *, uint64_t seed, struct wind_result *ret);
/* What the oracle makes of the file alone: seconds that nobody can beat by much; INFINITY if the
 * limits do not let everything through before the horizon. */
double wind_oracle(const struct conf *);

#endif
