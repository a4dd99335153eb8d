/*
 * authtool/input.h - a message or another file as the verbs need it.
 */
#ifndef GAPURA_AUTHTOOL_INPUT_H
#define GAPURA_AUTHTOOL_INPUT_H

#include "core/buf.h"
#include "core/err.h"

#define INPUT_MESSAGE_MAX (256u << 20)
#define INPUT_FILE_MAX    (16u << 20) /* zones, keys */

struct tool_input {
    struct buf raw;          /* as it came */
    struct buf text;         /* with CRLF line ends, if it was converted */
    struct str header, body; /* the header with its blank line */
    bool converted;          /* lines ended with LF alone; signatures are over CRLF */
};
/* "-" is standard input. 0 or negative with why. */
int tool_input_read(const char *path, size_t max, struct buf *ret, struct why *);
int tool_input_message(const char *path, struct tool_input *ret, struct why *);
void tool_input_done(struct tool_input *); /* safe on a zeroed struct */
/* The text with LF alone for each CRLF. */
void tool_input_without_cr(struct str, struct buf *out);

#endif
