/*
 * store/report_line.h - what a report says, as lines: a JSON object each, with its `text` for
 * people.
 *
 * Called by the keeper for `gapura report show`, and by `gapura report read` for a file: both say
 * the same of the same report.
 */
#ifndef GAPURA_STORE_REPORT_LINE_H
#define GAPURA_STORE_REPORT_LINE_H

#include <jansson.h>

#include "store/report_wire.h"

/* number 0: not in a store, and nothing is known of its mail. All may give NULL: no memory. */
json_t *report_line_head(const struct report_head *, uint64_t number);
json_t *report_line_record(const struct report_record *);
json_t *report_line_policy(const struct report_policy_row *);
json_t *report_line_failure(const struct report_failure_row *);
/* A text into an object; what is not UTF-8 becomes "?". */
void report_line_set(json_t *row, const char *key, struct str text);

#endif
