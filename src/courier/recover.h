/*
 * courier/recover.h - the start, in slices: see courier/recover.c.
 */
#ifndef GAPURA_COURIER_RECOVER_H
#define GAPURA_COURIER_RECOVER_H

#include "courier/inner.h"

struct recover_told { /* delivery is open (0), or cannot open: called once, from the loop */
    void (*opened)(void *ctx, int status, const struct why *why);
    void *ctx;
};
/* Begins to read all dead epochs; those in `live` are read from their tails. Returns at once. */
int recover_begin(struct courier *, const uint32_t *live, unsigned nlive,
                  const struct recover_told *, struct why *why);
void recover_free(struct courier *);
/* False: nothing is being read. Else so many segments of all are behind us. */
bool recover_progress(const struct courier *, size_t *ret_read, size_t *ret_of);

#endif
