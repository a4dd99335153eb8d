/*
 * courier/follow.h - the live streams of other roles: see courier/follow.c. Joined by
 * courier_attach().
 */
#ifndef GAPURA_COURIER_FOLLOW_H
#define GAPURA_COURIER_FOLLOW_H

#include "courier/inner.h"

void follow_opened(struct courier *); /* delivery is open: they may be read */
void follow_done(struct courier *);
/* Is something of their past being read? Adds segments behind us, and all of them. */
bool follow_progress(const struct courier *, size_t *read, size_t *of);

#endif
