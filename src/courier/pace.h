/*
 * courier/pace.h - how fast one source may send to one provider: a law, learnt from replies.
 *
 * Pure: times (ns, monotonic) and outcomes come in, permissions go out. It grows while the provider
 * takes what it gets, cuts at once when it is asked to slow down, remembers the rate at which that
 * happened and probes beyond it slowly, since no provider ever says "you may be faster". It never
 * leaves the operator's bounds. One struct a (source, provider); no allocation.
 */
#ifndef GAPURA_COURIER_PACE_H
#define GAPURA_COURIER_PACE_H

#include "core/buf.h"
#include "core/wire.h"

struct pace_bounds {       /* the operator's; copied */
    double floor;          /* messages a second, never less (but in a block: nothing) */
    double start;          /* with a provider that nothing is known of */
    double ceiling;        /* never more */
    unsigned sessions_max; /* connections at the same time, at least 1 */
};
extern const struct pace_bounds
    pace_defaults; /* floor 1/min, start 1/s, ceiling 2000/s, 500 sessions */

/* What an outcome says of pace. */
enum pace_word {
    PACE_TAKEN,   /* taken, or refused for itself alone: the way was open */
    PACE_SLOWER,  /* refused for rate or volume */
    PACE_FEWER,   /* too many connections */
    PACE_BLOCKED, /* refused for reputation, spam, complaints: more would make it worse */
    PACE_AWAY,    /* no connection, no answer: says nothing of limits */
};

struct pace {
    struct pace_bounds bounds;
    double rate;   /* messages a second that are permitted now */
    double good;   /* fastest that was held for a whole step without a refusal */
    double bad;    /* slowest at which a refusal came lately; 0: none known */
    double base;   /* what was held until the probes began; 0: not known */
    double failed; /* where the last probe failed */
    double step;   /* growth of the next probe beyond `bad`, as in 1.05 */
    double tokens; /* messages that may go now; at most a fraction of a second's */
    uint64_t filled_at;
    uint64_t step_at;   /* the step began */
    uint64_t cut_at;    /* messages begun before have been answered by the last cut */
    uint64_t probe_at;  /* not before: the next probe beyond `bad` */
    uint64_t probe_gap; /* grows with every probe that failed */
    double refusals;    /* of late; an hour takes 63 % of them away */
    uint64_t refused_at;
    uint64_t widen_at; /* the same for connections */
    uint64_t widen_gap;
    uint64_t until;        /* nothing goes before (block, outage) */
    uint64_t block_gap;    /* of the next block */
    double latency;        /* ns from begin to reply, smoothed */
    double latency_low;    /* the least of it, which rises slowly */
    uint32_t taken, begun; /* in this step */
    uint32_t sessions;     /* connections permitted at the same time */
    uint32_t sessions_bad; /* so many were too many; 0: not known */
    uint32_t away;         /* in a row */
    uint32_t blocks;       /* since the start, for people */
    uint8_t cuts;          /* one behind another, without a clean step between */
    bool trial;            /* after a block: one message at a time until one is taken */
    bool in_block;         /* no message was taken since the last block began */
    uint32_t widening;     /* so many connections are tried though they were refused once; or 0 */
};

void pace_init(struct pace *, const struct pace_bounds *, uint64_t now);
/* True if a message may begin now, with `active` under way; it is counted. Else *ret_at is when to
 * ask again (UINT64_MAX: when one of those under way has ended). */
bool pace_take(struct pace *, uint64_t now, unsigned active, uint64_t *ret_at);
/* One that began at `begun` has its answer; then so many were under way, itself included. */
void pace_told(struct pace *, uint64_t now, uint64_t begun, unsigned active, enum pace_word);
/* How long a message that got that word should wait before it is tried again here. */
uint64_t pace_retry_gap(const struct pace *, uint64_t now, enum pace_word, unsigned attempts);

/* What was learnt, to be kept over a restart: about 64 bytes. Decoding begins a step at `now`, at
 * three quarters of the good rate, and checks everything (ERR_SYNTAX). */
void pace_encode(struct buf *out, const struct pace *, uint64_t now);
int pace_decode(struct pace *ret, struct wire *, const struct pace_bounds *, uint64_t now);

#endif
