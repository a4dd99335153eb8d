/*
 * smtp/reply.h - replies as bytes (RFC 5321 4.2, RFC 2034), pure.
 */
#ifndef GAPURA_SMTP_REPLY_H
#define GAPURA_SMTP_REPLY_H

#include "core/buf.h"

#define SMTP_REPLY_LINE_MAX 512u /* RFC 5321 4.5.3.1.5, CRLF included */
#define SMTP_REPLY_TEXT_MAX 4096u

/* A reply that is always the same. */
struct smtp_refusal {
    int code;
    const char *enh;
    const char *text;
};

/* Appends code, enhanced code (NULL: none) and text: \n begins a new line, lines that are too long
 * are folded, control characters become "?", and so do bytes over 127 unless utf8. */
void smtp_reply_build(struct buf *out, int code, const char *enh, struct str text, bool utf8);
/* "2.0.0", "4.0.0" or "5.0.0" for a code; NULL for others (3yz has none). */
const char *smtp_reply_default_enh(int code);

#endif
