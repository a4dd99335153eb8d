/*
 * courier/row.h - what a result makes of a recipient's row: see courier/row.c.
 */
#ifndef GAPURA_COURIER_ROW_H
#define GAPURA_COURIER_ROW_H

#include "courier/inner.h"

struct row_change {
    uint8_t result; /* enum spool_result */
    bool closes;    /* the open intent ends */
    uint32_t due;   /* tick; HELD: number of the reason */
    bool read_back; /* the record is on disk: a settled row is freed, a released one is pending */
};
void row_became(struct courier *, uint32_t row, const struct row_change *);

#endif
