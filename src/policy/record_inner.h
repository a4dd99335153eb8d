/*
 * policy/record_inner.h - what the files of the record share. Others use policy/record.h.
 */
#ifndef GAPURA_POLICY_RECORD_INNER_H
#define GAPURA_POLICY_RECORD_INNER_H

#include "core/buf.h"

/* Text of strangers: no control character reaches a terminal. (record_show.c) */
void record_text_safe(struct buf *out, struct str);

#endif
