/*
 * gate/returned.h - is a report about mail that we did send? Looks for our own Received field in
 * what it returns.
 *
 * Push: the body in any pieces. The id in that field names node and epoch, which whoever has not
 * seen a message of ours cannot guess; who has could forge a report, and no more.
 */
#ifndef GAPURA_GATE_RETURNED_H
#define GAPURA_GATE_RETURNED_H

#include "core/str.h"

struct returned {
    struct str hostname; /* ours; empty: nothing is looked for */
    uint32_t node, epoch;
    bool found, skip; /* skip: a longer line than is kept */
    uint16_t n;
    char line[512];
};
void returned_feed(struct returned *, const char *p, size_t n);

#endif
