/*
 * smtp/reply_parse.h - what a server said: one reply of one or more lines (RFC 5321 4.2).
 */
#ifndef GAPURA_SMTP_REPLY_PARSE_H
#define GAPURA_SMTP_REPLY_PARSE_H

#include "core/err.h"
#include "core/str.h"

struct smtp_reply {
    int code;             /* 0: none (connection lost, timeout) */
    uint16_t enhanced[3]; /* zeros if none */
    struct str text;      /* lines joined by \n, codes stripped; clipped to 2048 */
};

/* Parses one reply line set; used by the client, callouts and tests. Push: feed bytes, 1 when a
 * whole reply is there, 0 more, ERR_SYNTAX, ERR_LIMIT. *used says how many bytes were taken. */
struct smtp_reply_parser {
    char text[2048];
    uint16_t text_n;
    int code;
    uint16_t enhanced[3];
    uint32_t bytes, max;
    char line[1024];
    uint16_t line_n;
    bool line_cut;
};
void smtp_reply_parser_init(struct smtp_reply_parser *, uint32_t max); /* 0: 8192 bytes */
int smtp_reply_parse(struct smtp_reply_parser *, const char *p, size_t n, size_t *used,
                     struct smtp_reply *ret);
/* "550 5.1.1 text of all lines" in one line; dst is cut to cap. Returns dst. */
const char *smtp_reply_show(const struct smtp_reply *, char *dst, size_t cap);

#endif
