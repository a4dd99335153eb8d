/*
 * courier/retry.c - the retry law.
 *
 * Called by outcome. Knows no clock, no randomness: both come in.
 */
#include "courier/retry.h"

#include "core/clock.h"
#include "spool/envelope.h"

#define DISK_FIRST (5 * NS_PER_S)
#define DISK_MOST  (300 * NS_PER_S)

uint64_t
retry_gap(const struct settings_delivery *d, unsigned attempts, uint64_t seed)
{
    const uint64_t *gaps = d->retry.items;
    size_t at = attempts ? attempts - 1 : 0;
    uint64_t gap, spread;

    if (d->retry.n == 0)
        gap = d->retry_max;
    else
        gap = gaps[MIN(at, d->retry.n - 1)];
    for (; at >= d->retry.n && gap < d->retry_max; at--) {
        gap *= 2;
        if (at == d->retry.n)
            break;
    }
    gap = MIN(gap, d->retry_max);
    spread = gap / 100 * d->jitter_percent;
    if (spread == 0)
        return gap;
    seed ^= seed >> 33; /* neighbours' seeds differ in few bits */
    seed *= UINT64_C(0xff51afd7ed558ccd);
    seed ^= seed >> 33;
    return gap - spread + seed % (2 * spread + 1);
}

uint64_t
retry_expiry(const struct settings_delivery *d, const struct retry_message *m)
{
    uint64_t life = d->expire;

    if (m->class == SPOOL_CLASS_BULK)
        life = d->expire_bulk;
    if (m->null_sender || m->class == SPOOL_CLASS_SYSTEM)
        life = d->expire_dsn;
    if (m->route_expire)
        life = m->route_expire;
    if (m->no_domain)
        life = MIN(life, d->expire_nodomain);
    if (m->expires && m->expires < m->received + life)
        return m->expires;
    if (m->expires && !m->no_domain)
        return m->expires;
    return m->received + life;
}

uint64_t
retry_disk(unsigned *tries)
{
    unsigned n = (*tries)++;

    return n < 6 ? DISK_FIRST << n : DISK_MOST;
}
