/*
 * scan/report.h - a report out of the bytes of a mail or a file; pure.
 */
#ifndef GAPURA_SCAN_REPORT_H
#define GAPURA_SCAN_REPORT_H

#include "core/err.h"
#include "store/report_wire.h"

struct scan_report_ask {
    struct str mail;     /* the whole message */
    struct str hostname; /* whose Authentication-Results are ours */
    struct report_limits limits;
};
/* Writes what the mail's report says (store/report_wire.h) into `out`; facts->mail and ->received
 * are the caller's. 0; ERR_NOTFOUND: it brings none that is kept; ERR_NOMEM; else it cannot be
 * read. `why` says more in each case but the first. */
int scan_report(const struct scan_report_ask *, struct report_facts *facts, struct arena *,
                struct buf *out, struct why *why);
/* Who wrote the mail, and what our gate found of it: from, proof and by, in the arena. */
void scan_report_facts(struct str mail, struct str hostname, struct arena *,
                       struct report_facts *ret);

#endif
