/*
 * mail/lines.h - what the writers of reports share (mail/dsn_write.h, mail/arf.h): lines that hold
 * strangers' text and cannot begin a new field or part. Pure.
 */
#ifndef GAPURA_MAIL_LINES_H
#define GAPURA_MAIL_LINES_H

#include "core/buf.h"

/* One line: controls become a space, bytes over 127 stay only where UTF-8 is announced. */
void lines_clean(struct buf *out, struct str text, bool utf8);
/* "lead text" folded at spaces; a word longer than a line is left whole up to 900 bytes. */
void lines_folded(struct buf *out, const char *lead, struct str text, const char *indent,
                  bool utf8);
/* "name: date"; nothing for 0. */
void lines_date(struct buf *out, const char *name, uint64_t wall_s);
/* A boundary that does not occur in what is returned. */
void lines_boundary(char dst[48], struct str message_id, uint64_t now, struct str original);

#endif
