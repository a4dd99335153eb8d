/*
 * courier/index_inner.h - what index.c and index_find.c share.
 */
#ifndef GAPURA_COURIER_INDEX_INNER_H
#define GAPURA_COURIER_INDEX_INNER_H

#include "courier/index.h"

void index_find_done(struct index *ix);
size_t index_find_memory(const struct index *ix);

#endif
