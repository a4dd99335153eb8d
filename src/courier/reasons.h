/*
 * courier/reasons.h - texts that many rows share: why something is held. A row keeps a number.
 */
#ifndef GAPURA_COURIER_REASONS_H
#define GAPURA_COURIER_REASONS_H

#include "core/map.h"

#define REASONS_MAX 10000u

struct reasons {
    struct map by_text;
    char **texts; /* by number; number 0 is "held" */
    uint32_t n, cap;
};
void reasons_init(struct reasons *);
void reasons_done(struct reasons *);
uint32_t reasons_number(struct reasons *, struct str text); /* 0 when there are too many */
const char *reasons_text(const struct reasons *, uint32_t number);

#endif
