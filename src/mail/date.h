/*
 * mail/date.h - dates of RFC 5322 3.3, out and in. UTC out.
 */
#ifndef GAPURA_MAIL_DATE_H
#define GAPURA_MAIL_DATE_H

#include "core/str.h"

/* "Mon, 23 Nov 2026 06:44:24 +0000" */
void date_show(uint64_t wall_s, char dst[40]);
/* Obsolete forms are understood; ERR_SYNTAX. */
int date_parse(struct str text, uint64_t *ret_wall_s);

#endif
