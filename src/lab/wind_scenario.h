/*
 * lab/wind_scenario.h - a scenario of the wind tunnel: what is to be sent, and how the providers
 * are inside. Read from a file in the house's settings grammar; docs/wind.md tells the form.
 */
#ifndef GAPURA_LAB_WIND_SCENARIO_H
#define GAPURA_LAB_WIND_SCENARIO_H

#include "core/conf.h"

/* The fixed limits that a provider is handled with by the law "fixed". */
enum wind_like {
    LIKE_DEFAULT,
    LIKE_GOOGLE,
    LIKE_YAHOO,
    LIKE_OUTLOOK,
    LIKE_APPLE,
    LIKE_ORANGE,
    LIKE_COMCAST,
    LIKE_GMX,
    LIKE_MAX_
};
extern const char *const wind_like_words[];

#define WIND_EXCESS_MAX 1000000u /* of block_after: each is remembered */

struct wind_main { /* block "scenario" */
    struct str title;
    uint64_t messages;
    uint64_t sources; /* the messages are divided evenly among them */
    uint64_t horizon; /* ns: a law that has not finished by then is given up */
};
struct wind_provider_conf { /* block "provider NAME" */
    uint64_t share;         /* of the messages, as a weight */
    struct rate rate;       /* most that is taken from one source at full trust */
    uint64_t sessions;      /* connections from one source at full trust */
    uint64_t trust;         /* percent at the beginning */
    uint64_t trust_grows;   /* messages taken after which 63 % of the missing trust is earned */
    uint64_t latency;       /* ns from begin to reply, idle */
    uint64_t latency_full;  /* ns when the limit is nearly used up */
    uint64_t block_after;   /* messages over the limit within block_window; 0: never blocks */
    uint64_t block_window;
    uint64_t block_for;
    uint64_t block_costs;     /* percent of the trust */
    uint64_t block_heals;     /* ns after which 63 % of that is back */
    uint64_t noise;           /* per mille of messages put off for reasons of their own */
    uint64_t noise_wait;      /* ns until those are taken */
    uint64_t bad;             /* per mille of unknown recipients */
    struct conf_list outages; /* ns: from, for, from, for ... */
    struct conf_list dips;    /* the same: times of lower limits */
    uint64_t dip_to;          /* percent */
    int like;
};
extern const struct conf_block *const wind_blocks[];
extern const size_t wind_nblocks;

/* NULL and errors; the conf is the caller's (conf_free). */
struct conf *wind_scenario_load(const char *file, struct conf_errors *errs);
/* Messages of that provider from one source. */
uint64_t wind_scenario_share(const struct conf *, const struct conf_section *provider);

#endif
