/*
 * core/rate.c - token buckets by the generic cell rate algorithm: one number of state each.
 *
 * Called by gate and courier with the time they have. Never reads a clock.
 */
#include "core/rate.h"

static uint64_t
mul_clamped(uint64_t a, uint64_t b)
{
    uint64_t product;

    /* half of the range, so that sums with a time never overflow */
    if (__builtin_mul_overflow(a, b, &product) || product > UINT64_MAX / 4)
        return UINT64_MAX / 4;
    return product;
}

/*
 * The wait, and in *ret_tat the state if the event is counted. An event pushes the theoretical
 * arrival time one interval ahead; it may run ahead of now by a burst.
 */
static uint64_t
bucket_look(const struct bucket *b, const struct rate *r, uint64_t now_ns, uint64_t *ret_tat)
{
    uint64_t burst = r->burst ? r->burst : r->count;
    uint64_t interval = MAX(r->period_ns / r->count, UINT64_C(1));
    uint64_t whole = mul_clamped(interval, burst);
    uint64_t slack = whole - interval;
    uint64_t ahead = b->tat_ns > now_ns ? b->tat_ns - now_ns : 0;

    /* no series of events gets further: the clock went back or the setting grew */
    ahead = MIN(ahead, whole);
    if (ahead > slack)
        return ahead - slack;
    *ret_tat = now_ns + ahead + interval;
    return 0;
}

uint64_t
bucket_take(struct bucket *b, const struct rate *r, uint64_t now_ns)
{
    if (r->count == 0 || r->period_ns == 0)
        return 0;
    return bucket_look(b, r, now_ns, &b->tat_ns);
}

uint64_t
bucket_peek(const struct bucket *b, const struct rate *r, uint64_t now_ns)
{
    uint64_t tat;

    if (r->count == 0 || r->period_ns == 0)
        return 0;
    return bucket_look(b, r, now_ns, &tat);
}
