/*
 * auth/rows.h - what signatures and chains said, as rows of Authentication-Results.
 *
 * Beside authres.h, which ARC's own files read.
 */
#ifndef GAPURA_AUTH_ROWS_H
#define GAPURA_AUTH_ROWS_H

#include "auth/arc.h"
#include "auth/authres.h"
#include "auth/dkim_verify.h"

void auth_rows_dkim(struct authres *, const struct dkim_result *);
void auth_rows_arc(struct authres *, const struct arc_result *);

#endif
