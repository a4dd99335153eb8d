/*
 * lab/wind_provider.c - the model of a provider: token bucket, sessions, trust, blocks.
 *
 * Called by the wind tunnel alone. It knows nothing of the laws that are tried in it.
 */
#include "lab/wind_provider.h"

#include <math.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/err.h"

#define AWAY_TAKES    (30 * NS_PER_S)  /* a connect timeout */
#define REFUSAL_TAKES (50 * NS_PER_MS) /* a refusal costs a provider little */
#define TRUST_LEAST   0.001

/* 0 .. 1, from a state that it moves on (splitmix64). */
static double
wind_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

double
wind_trust_at(const struct wind_provider_conf *c, double taken)
{
    double first = (double)c->trust / 100;

    return first + (1 - first) * (1 - exp(-taken / (double)c->trust_grows));
}

double
wind_rate_at(const struct wind_provider_conf *c, double trust)
{
    return (double)c->rate.count / ((double)c->rate.period_ns / (double)NS_PER_S) * trust;
}

double
wind_sessions_at(const struct wind_provider_conf *c, double trust)
{
    return MAX(1.0, floor((double)c->sessions * trust + 0.5));
}

/* Pairs of beginning and length: the end of the one that `now` lies in, or 0. */
static uint64_t
span_end(const struct conf_list *pairs, uint64_t now)
{
    const uint64_t *times = pairs->items;

    for (size_t i = 0; i + 1 < pairs->n; i += 2) {
        if (now >= times[i] && now - times[i] < times[i + 1])
            return times[i] + times[i + 1];
    }
    return 0;
}

uint64_t
wind_outage_end(const struct wind_provider_conf *c, uint64_t now)
{
    return span_end(&c->outages, now);
}

double
wind_dip_at(const struct wind_provider_conf *c, uint64_t now)
{
    return span_end(&c->dips, now) ? (double)c->dip_to / 100 : 1;
}

static double
burst_of(const struct wind_provider_conf *c, double trust)
{
    double most = (double)(c->rate.burst ? c->rate.burst : c->rate.count) * trust;

    return MAX(most, 1.0);
}

static double
trust_now(const struct wind_provider *p)
{
    double trust = wind_trust_at(p->conf, p->taken) * p->lost * wind_dip_at(p->conf, p->at);

    return MAX(trust, TRUST_LEAST);
}

int
wind_provider_init(struct wind_provider *p, const struct wind_provider_conf *conf, uint64_t seed)
{
    *p = (struct wind_provider){.conf = conf, .random = seed, .lost = 1};
    p->excess = calloc(conf->block_after + 1, sizeof(*p->excess));
    p->tokens = p->unused = burst_of(conf, trust_now(p));
    return p->excess ? 0 : ERR_NOMEM;
}

void
wind_provider_done(struct wind_provider *p)
{
    free(p->excess);
    p->excess = NULL;
}

void
wind_provider_pass(struct wind_provider *p, uint64_t now, bool wanted)
{
    double trust = trust_now(p), rate = wind_rate_at(p->conf, trust);
    double seconds = (double)(now - p->at) / (double)NS_PER_S;
    double by_sessions =
        wind_sessions_at(p->conf, trust) * (double)NS_PER_S / (double)p->conf->latency;

    if (now <= p->at)
        return;
    p->unused += seconds * rate;
    if (wanted && !wind_outage_end(p->conf, p->at)) {
        double most = MIN(p->unused, seconds * by_sessions);
        p->permitted += most;
        p->unused -= most;
    }
    p->unused = MIN(p->unused, burst_of(p->conf, trust));
    p->tokens = MIN(p->tokens + seconds * rate, burst_of(p->conf, trust));
    p->lost = 1 - (1 - p->lost) * exp(-(double)(now - p->at) / (double)p->conf->block_heals);
    p->at = now;
}

/* One more over the limit; the last block_after of them within the window bring a block. */
static void
over(struct wind_provider *p, uint64_t now)
{
    uint64_t ring = p->conf->block_after;

    p->refused++;
    if (!ring)
        return;
    uint64_t first = p->excess[p->nexcess % ring];
    p->excess[p->nexcess++ % ring] = now;
    if (p->nexcess <= ring || now - first > p->conf->block_window)
        return;
    p->blocked_until = now + p->conf->block_for;
    p->lost *= 1 - (double)p->conf->block_costs / 100;
    p->blocks++;
    p->nexcess = 0;
}

static uint64_t
reply_time(struct wind_provider *p)
{
    double idle = (double)p->conf->latency;
    double full = MAX((double)p->conf->latency_full, idle);
    double used = 1 - p->tokens / burst_of(p->conf, trust_now(p));
    double jitter = 0.7 + 0.6 * wind_random(&p->random);

    used = used > 0.5 ? (used - 0.5) * 2 : 0;
    return (uint64_t)((idle + (full - idle) * used * used) * jitter);
}

enum wind_reply
wind_provider_ask(struct wind_provider *p, uint64_t now, unsigned active, bool waited,
                  uint64_t *ret_took)
{
    const struct wind_provider_conf *c = p->conf;
    double luck = wind_random(&p->random) * 1000;

    wind_provider_pass(p, now, true);
    *ret_took = REFUSAL_TAKES;
    if (wind_outage_end(c, now)) {
        *ret_took = AWAY_TAKES;
        return WIND_AWAY;
    }
    if (now < p->blocked_until) {
        p->refused++;
        return WIND_BLOCKED;
    }
    if (active + 1 > wind_sessions_at(c, trust_now(p))) {
        over(p, now);
        return now < p->blocked_until ? WIND_BLOCKED : WIND_SESSIONS;
    }
    if (p->tokens < 1) {
        over(p, now);
        return now < p->blocked_until ? WIND_BLOCKED : WIND_RATE;
    }
    *ret_took = reply_time(p);
    p->tokens -= 1;
    if (!waited && luck < (double)c->noise)
        return WIND_GREYLISTED;
    p->taken += 1;
    if (luck > 1000 - (double)c->bad)
        return WIND_UNKNOWN_USER;
    return WIND_TAKEN;
}
