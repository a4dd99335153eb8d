/*
 * courier/retry.h - when to try again, when to warn, when to give up. Pure.
 */
#ifndef GAPURA_COURIER_RETRY_H
#define GAPURA_COURIER_RETRY_H

#include "courier/settings.h"

/* Gap after attempt number `attempts` (1 is the first); seed chooses within the jitter. */
uint64_t retry_gap(const struct settings_delivery *, unsigned attempts, uint64_t seed);

struct retry_message {
    uint64_t received, expires; /* wall ns; expires 0: none of its own */
    uint64_t route_expire;      /* ns; 0: none */
    uint8_t class;
    bool null_sender;
    bool no_domain; /* DNS gives no usable answer */
};
/* Wall time at which the sender is told that it failed. */
uint64_t retry_expiry(const struct settings_delivery *, const struct retry_message *);

/* Until the disk is asked again for what it did not give: 5 s, at last 5 minutes. */
uint64_t retry_disk(unsigned *tries);

#endif
