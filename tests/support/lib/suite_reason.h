/*
 * tests/support/lib/suite_reason.h - tests/data/reason-map.txt: which of our classes agree with a
 * label of a public collection.
 */
#ifndef GAPURA_SUITE_REASON_H
#define GAPURA_SUITE_REASON_H

#include "core/buf.h"

struct suite_reason {
    struct str set, label;
    struct str classes; /* names, the nearest first */
    bool block;         /* a refusal of us */
};
bool suite_reason_read(const char *path); /* false with the reason printed */
/* NULL: no such label. */
const struct suite_reason *suite_reason_of(const char *set, const char *label);
bool suite_reason_agrees(const struct suite_reason *, const char *class);

#endif
