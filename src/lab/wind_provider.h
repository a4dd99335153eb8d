/*
 * lab/wind_provider.h - one mailbox provider towards one source, in numbers: limits that no sender
 * can see, trust that grows, blocks, latency, outages. Pure: virtual time and a seed.
 */
#ifndef GAPURA_LAB_WIND_PROVIDER_H
#define GAPURA_LAB_WIND_PROVIDER_H

#include "lab/wind_scenario.h"

enum wind_reply {
    WIND_TAKEN,
    WIND_UNKNOWN_USER,
    WIND_GREYLISTED,
    WIND_RATE,     /* too fast */
    WIND_SESSIONS, /* too many connections */
    WIND_BLOCKED,
    WIND_AWAY, /* no connection */
};
struct wind_provider {
    const struct wind_provider_conf *conf;
    uint64_t random;
    double taken;  /* messages, for trust */
    double lost;   /* factor of trust, 1: no block yet */
    double tokens; /* what may come now */
    uint64_t at;
    uint64_t blocked_until;
    uint64_t *excess; /* times of the last block_after messages over the limit: a ring */
    uint64_t nexcess;
    double unused;    /* tokens of a sender that leaves none while it has mail */
    double permitted; /* messages that such a sender would have brought in until now */
    uint64_t blocks, refused;
};
int wind_provider_init(struct wind_provider *, const struct wind_provider_conf *, uint64_t seed);
void wind_provider_done(struct wind_provider *);
/* Time passes; `wanted`: mail was waiting meanwhile, so what the limits permit is counted. */
void wind_provider_pass(struct wind_provider *, uint64_t now, bool wanted);
/* A message begins with `active` others under way; *ret_took is the time until its reply. `waited`:
 * it was put off before, and has waited long enough. */
enum wind_reply wind_provider_ask(struct wind_provider *, uint64_t now, unsigned active,
                                  bool waited, uint64_t *ret_took);
/* Limits at a trust of 0 .. 1, for the model and for its oracle. */
double wind_rate_at(const struct wind_provider_conf *, double trust);
double wind_sessions_at(const struct wind_provider_conf *, double trust);
double wind_trust_at(const struct wind_provider_conf *, double taken);
/* 1, or the share of the limits that is left at `now`. */
double wind_dip_at(const struct wind_provider_conf *, uint64_t now);
/* The end of the outage that `now` lies in, or 0. */
uint64_t wind_outage_end(const struct wind_provider_conf *, uint64_t now);

#endif
