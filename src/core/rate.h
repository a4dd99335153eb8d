/*
 * core/rate.h - token buckets; pure: time comes in, decisions go out.
 */
#ifndef GAPURA_CORE_RATE_H
#define GAPURA_CORE_RATE_H

#include "core/base.h"

struct rate {       /* the setting */
    uint64_t count; /* events per period; 0 means no limit */
    uint64_t period_ns;
    uint64_t burst; /* events that may come at once; 0 means count */
};
struct bucket {      /* the state; zeroed is full */
    uint64_t tat_ns; /* theoretical arrival time (GCRA) */
};
/* 0 if an event may happen now (and is counted), else ns to wait until it may. */
uint64_t bucket_take(struct bucket *b, const struct rate *r, uint64_t now_ns);
/* As above without counting. */
uint64_t bucket_peek(const struct bucket *b, const struct rate *r, uint64_t now_ns);

#endif
