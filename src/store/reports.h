/*
 * store/reports.h - received reports in the store: kept once each, for a time.
 *
 * Called by the keeper alone. A report is known by kind, organisation, its id and its domain; the
 * same one again is refused, unless the first came in a mail of nobody proved and this one did not.
 */
#ifndef GAPURA_STORE_REPORTS_H
#define GAPURA_STORE_REPORTS_H

#include "store/asks.h"
#include "store/report_wire.h"
#include "store/store.h"

struct reports_kept {
    enum keep_said said; /* DONE, AGAIN */
    uint64_t number;     /* in the store */
    bool replaced;       /* one whose sender was not proved */
};
/* In one transaction. bytes: of store/report_wire.h. ERR_CORRUPT: not of that form, nothing was
 * kept. */
int reports_keep(struct store *, struct str bytes, struct reports_kept *ret, struct why *why);

struct reports_law {
    uint64_t now, keep; /* wall s; s */
    uint64_t records;   /* of all together; 512 bytes count as one */
};
/* Lets go of at most `most` reports that are too old or too many, fewer of large ones: how many
 * went. 0: nothing is left to do. */
int reports_expire(struct store *, const struct reports_law *, unsigned most, unsigned *ret_gone,
                   struct why *why);

#endif
