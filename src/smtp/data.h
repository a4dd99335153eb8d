/*
 * smtp/data.h - where content ends and what its lines are: DATA (RFC 5321 4.5.2) and BDAT.
 *
 * One pass: clean CRLF text goes to the sink in views as large as they came, dots unstuffed. A bare
 * LF and a run of CRs each become one CRLF, and `bare` says so. Only CRLF.CRLF ends DATA: a line
 * that began behind a bare CR or LF is content whatever it holds, and its dot is kept.
 */
#ifndef GAPURA_SMTP_DATA_H
#define GAPURA_SMTP_DATA_H

#include "core/str.h"

struct smtp_framer {
    uint8_t state;
    bool dots; /* DATA: dots are stuffed and CRLF.CRLF is the end */
    bool ended;
    bool bare; /* a bare CR or LF was seen */
    bool open; /* the last line given to the sink has no line end yet */
    void (*sink)(void *ctx, const char *p, size_t n);
    void *ctx;
};

void smtp_framer_init(struct smtp_framer *, bool dots,
                      void (*sink)(void *ctx, const char *, size_t), void *ctx);
/* Returns bytes taken: all, or up to the end of DATA (`ended` is set then). */
size_t smtp_framer_feed(struct smtp_framer *, const char *p, size_t n);
/* BDAT LAST: what is pending goes out, and an open last line gets its CRLF. */
void smtp_framer_finish(struct smtp_framer *);

#endif
