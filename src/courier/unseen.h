/*
 * courier/unseen.h - segment files whose header the disk does not give: see courier/unseen.c.
 */
#ifndef GAPURA_COURIER_UNSEEN_H
#define GAPURA_COURIER_UNSEEN_H

#include "courier/inner.h"

struct unseen *unseen_create(struct courier *);
void unseen_free(struct unseen *);
/* Is there one? Then it may hold what anything that was said of mail speaks of. */
bool unseen_any(const struct courier *);
/* Those of the listing that were not known yet: told once, and looked at again. ERR_NOMEM. */
int unseen_note(struct courier *, const struct spool_listing *);

#endif
