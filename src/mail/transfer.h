/*
 * mail/transfer.h - content transfer encodings taken off, streaming: base64, quoted-printable,
 * uuencode (RFC 2045 6; POSIX uuencode). Pure.
 *
 * Input comes in pieces of any size, output goes to a buffer of the caller. Never fails: what does
 * not belong is skipped as other readers do, and is counted, so that it can be told.
 */
#ifndef GAPURA_MAIL_TRANSFER_H
#define GAPURA_MAIL_TRANSFER_H

#include "core/str.h"

enum transfer_kind {
    TRANSFER_IDENTITY, /* 7bit, 8bit, binary: nothing is to be done */
    TRANSFER_BASE64,
    TRANSFER_QP,
    TRANSFER_UUENCODE,
    TRANSFER_UNKNOWN, /* another word: RFC 2045 6.4 wants it treated as application/octet-stream */
};
enum transfer_kind transfer_kind_of(struct str value); /* of the header field, comments ignored */
/* What a value that is none of them resembles, whatever signs stand in and around it ("base64",
 * with its quotes; x-base-64); TRANSFER_UNKNOWN: nothing. */
enum transfer_kind transfer_kind_like(struct str value);
const char *transfer_kind_name(enum transfer_kind); /* "base64"; of TRANSFER_UNKNOWN "" */

#define TRANSFER_WHITE_MAX 100u /* at the end of a line; more is content */

int transfer_hex(char); /* 0..15, or -1 */

struct transfer {
    enum transfer_kind kind;
    uint32_t bits; /* base64: what is not yet a byte */
    uint8_t nbits;
    uint8_t state; /* qp, uuencode */
    uint8_t left;  /* uuencode: bytes that the line still holds */
    bool padded;   /* base64: = was seen; what follows is odd */
    bool stop;     /* base64: ... and is left out; set by the caller after transfer_init() */
    char held[2];  /* qp: "=", "=X" */
    uint8_t nheld;
    uint8_t nwhite;  /* qp: white space that may end its line */
    bool long_white; /* qp: too much of it to be held: content */
    char white[TRANSFER_WHITE_MAX];
    uint32_t odd;   /* bytes that do not belong to the encoding */
    uint32_t cut;   /* base64: an end within a group of four */
    bool after_pad; /* base64: more groups behind a padded one */
};
void transfer_init(struct transfer *, enum transfer_kind);
/* For one line of a uuencoded file, whose "begin" line was read by the caller. */
void transfer_init_uu_line(struct transfer *);
/* Most bytes that n bytes of input may become, those that end it included. */
size_t transfer_room(size_t n);
/* Decodes a piece to dst (transfer_room(n) bytes); bytes written. */
size_t transfer_feed(struct transfer *, const char *p, size_t n, char *dst);
/* The end: what was held back. At most transfer_room(0) bytes. The counters stay to be read; the
 * next content needs transfer_init(). */
size_t transfer_end(struct transfer *, char *dst);

#endif
