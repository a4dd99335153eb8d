/*
 * scan/scan.h - the reader of strangers' content: without files, without network, without the log.
 *
 * One mail's way: the courier hands over its bytes in a sealed memfd (ASK_READ); scan_report()
 * looks for a report in them and says what the gate found of its sender; what the report says goes
 * to the keeper in another memfd (ASK_KEEP); the keeper's word becomes the event ReportReceived and
 * the answer to the courier. Whatever ends in between is asked again by the courier, and the keeper
 * knows a report that it has.
 */
#ifndef GAPURA_SCAN_SCAN_H
#define GAPURA_SCAN_SCAN_H

#include "core/conf.h"
#include "net/chan.h"

struct scan;
struct scan_links {
    struct loop *loop;
    struct chan *courier, *keeper;
};
int scan_create(struct scan **ret, const struct scan_links *, const struct conf *);
void scan_free(struct scan *);
void scan_set_conf(struct scan *, const struct conf *);
/* ASK_READ, ASK_KEEP_ANSWER: true if the type was ours, then fd is taken. */
bool scan_message(struct scan *, uint16_t type, uint64_t id, struct wire *body, int fd);
void scan_keeper_lost(struct scan *);

#endif
