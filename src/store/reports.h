/*
 * store/reports.h - received reports in the store: kept once each, for a time.
 *
 * Called by the keeper alone. A report is known by kind, organisation, its id, its domain and who
 * proved to have sent it; the same one again is refused. One that a proved sender brings takes the
 * place of nobody's, and never of another proved sender's: then there are both.
 *
 *     reports_begin(...) == 1; while (reports_go(x, 2000, &why) == 1) others have their turn;
 *     reports_write_free(x)
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
struct reports_write;
/* Begins to write one; bytes: of store/report_wire.h, which stay until the end. 1: reports_go() is
 * next. 0: it was there before, ret_kept says which. ERR_SYNTAX: not of that form, nothing was
 * kept. What is not written to its end is never seen, and is taken out by reports_expire(). */
int reports_begin(struct store *, struct str bytes, struct reports_write **ret,
                  struct reports_kept *ret_kept, struct why *why);
/* At most so many records more, in one transaction. 1: there are more; 0: it is kept. */
int reports_go(struct reports_write *, unsigned most, struct why *why);
uint64_t reports_number(const struct reports_write *); /* in the store; 0 of NULL */
void reports_write_free(struct reports_write *);

struct reports_law {
    uint64_t now, keep;     /* wall s; s */
    uint64_t records;       /* of all together; 512 bytes count as one */
    uint64_t being_written; /* the number of the one that is; 0: none */
    unsigned most;          /* rows in one go */
};
/* Lets go of some of what is too old or too many; *ret_more: there is more to do. */
int reports_expire(struct store *, const struct reports_law *, bool *ret_more, struct why *why);

#endif
