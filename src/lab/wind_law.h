/*
 * lab/wind_law.h - the laws that the wind tunnel compares: ours, fixed limits, Postfix's feedback.
 */
#ifndef GAPURA_LAB_WIND_LAW_H
#define GAPURA_LAB_WIND_LAW_H

#include "lab/wind_provider.h"

struct wind_law {
    const char *name;
    size_t size; /* of its state, for one source and provider */
    void (*init)(void *self, const struct wind_provider_conf *, uint64_t now);
    /* As pace_take() in courier/pace.h. */
    bool (*take)(void *self, uint64_t now, unsigned active, uint64_t *ret_at);
    void (*told)(void *self, uint64_t now, uint64_t begun, unsigned active, enum wind_reply);
    /* How long the message that got that reply waits. */
    uint64_t (*gap)(void *self, uint64_t now, enum wind_reply, unsigned attempts);
};
extern const struct wind_law wind_laws[];
extern const size_t wind_nlaws;

#endif
