/*
 * courier/own.h - segments of our own stream, known by what the writer says of durable records.
 */
#ifndef GAPURA_COURIER_OWN_H
#define GAPURA_COURIER_OWN_H

#include "courier/inner.h"

/* The slot of our own segment that holds a record just made durable. */
uint32_t own_segment(struct courier *, const struct spool_loc *, uint64_t generation);

#endif
