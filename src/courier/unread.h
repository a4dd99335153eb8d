/*
 * courier/unread.h - a message whose bytes the log does not give: what becomes of its rows.
 */
#ifndef GAPURA_COURIER_UNREAD_H
#define GAPURA_COURIER_UNREAD_H

#include "courier/letter.h"

/* Rows that a connection had, ACTIVE: damaged bytes are held for a person at once, an error of the
 * disk after the third try, and what passes by itself is tried until it does. letter: loaded, of
 * that message, or NULL. */
void unread_rows(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n, int err,
                 const struct letter *);

#endif
