/*
 * lab/wind_oracle.c - how fast it could go at best, told by the scenario file alone.
 *
 * Run in a process of its own by the verb: it sees no law, no seed and no simulation. It sends as a
 * fluid, always as fast as the limits permit at the trust earned so far, and never over them.
 */
#include "lab/wind.h"

#include <math.h>

#include "core/clock.h"

#define SLICE (NS_PER_S / 2)

static double
seconds_for(const struct wind_provider_conf *c, double messages, uint64_t horizon)
{
    double send = messages * (1 + (double)c->noise / 1000), sent = 0;
    double burst = (double)(c->rate.burst ? c->rate.burst : c->rate.count);
    double tokens = burst * wind_trust_at(c, 0);
    uint64_t now = 0;

    while (sent < send && now < horizon) {
        double trust = wind_trust_at(c, sent) * wind_dip_at(c, now),
               slice = (double)SLICE / (double)NS_PER_S;
        tokens = MIN(tokens + wind_rate_at(c, trust) * slice, MAX(burst * trust, 1.0));
        if (!wind_outage_end(c, now)) {
            double by_sessions =
                wind_sessions_at(c, trust) * (double)NS_PER_S / (double)c->latency * slice;
            double go = MIN(tokens, MIN(by_sessions, send - sent));
            sent += go;
            tokens -= go;
        }
        now += SLICE;
    }
    if (sent < send)
        return INFINITY;
    if (c->noise)
        now += c->noise_wait;
    return (double)(now + c->latency) / (double)NS_PER_S;
}

double
wind_oracle(const struct conf *conf)
{
    const struct wind_main *m = conf_get(conf, "scenario");
    double longest = 0;

    for (const struct conf_section *s = conf_first(conf, "provider"); s; s = conf_next(s)) {
        double one = seconds_for(s->data, (double)wind_scenario_share(conf, s), m->horizon);
        longest = MAX(longest, one);
    }
    return longest;
}
