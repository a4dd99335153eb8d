/*
 * courier/compaction.h - moves what is still alive out of segments that hold little else.
 */
#ifndef GAPURA_COURIER_COMPACTION_H
#define GAPURA_COURIER_COMPACTION_H

#include "courier/inner.h"

struct compaction *compaction_create(struct courier *);
void compaction_free(struct courier *);
void compaction_tick(struct courier *);
void compaction_space(struct courier *, struct wire *tell_space);

#endif
