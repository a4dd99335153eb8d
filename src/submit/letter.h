/*
 * submit/letter.h - the header as it goes out: what is missing added, Bcc taken away, names
 * without a domain completed; and the recipients that it names.
 */
#ifndef GAPURA_SUBMIT_LETTER_H
#define GAPURA_SUBMIT_LETTER_H

#include "core/buf.h"
#include "core/err.h"

#define LETTER_RCPTS_MAX 100000u

struct rcpts {
    char **items; /* each its own, unique, with a domain */
    size_t n, cap;
};
void rcpts_done(struct rcpts *);
/* A recipient as typed; "root" gets the domain. ERR_SYNTAX: no address. ERR_LIMIT: too many. */
int rcpts_add(struct rcpts *, struct str typed, struct str origin);

struct letter_conf {
    struct str origin;    /* domain of names without one */
    struct str from;      /* address for a missing From */
    const char *name;     /* display name for it, or NULL */
    uint64_t wall;        /* ns */
    struct rcpts *gather; /* add those of To, Cc and Bcc (or of Resent-*); or NULL */
};
/* header: CRLF lines without the blank one. out gets the new ones and the blank line. 0, ERR_SYNTAX
 * or ERR_LIMIT with why: a field with recipients that cannot be read. */
int letter_header(struct buf *out, struct str header, const struct letter_conf *, struct why *why);

#endif
