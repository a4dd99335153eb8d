/*
 * submit/input.h - the message on standard input, read to its end before anybody is asked.
 *
 * A program may take hours between its first and its last line (cron does), longer than any server
 * waits. The header is kept in memory, the body in an unlinked temporary file.
 */
#ifndef GAPURA_SUBMIT_INPUT_H
#define GAPURA_SUBMIT_INPUT_H

#include "core/buf.h"
#include "core/err.h"

#define INPUT_HEADER_MAX (256u << 10)
#define INPUT_BODY_MAX   (UINT64_C(4) << 30) /* the most that a server can be set to */

struct input {
    struct buf header; /* fields with CRLF, the blank line not included */
    int body;          /* descriptor of the file */
    uint64_t size;     /* of the body, CRLF line ends */
};
/* Reads fd. dots: a line with a single dot is text; else it ends the message. NUL bytes are dropped
 * (RFC 5322 allows none), a CR without LF ends a line in the body and is a space in the header.
 * 0; ERR_LIMIT: too large a header or body; -errno: reading failed, or there is no room in $TMPDIR;
 * why says which. */
int input_read(struct input *ret, int fd, bool dots, struct why *why);
void input_done(struct input *);

#endif
