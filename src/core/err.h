/*
 * core/err.h - the house's error codes and their texts.
 *
 * Functions return 0 (or a count) on success and a negative code on failure: either -errno as the
 * kernel gave it, or one of the codes below. err_text() knows both. Code below floor 4 never logs;
 * it returns a code and, where more must be said, fills a `struct why`.
 */
#ifndef GAPURA_CORE_ERR_H
#define GAPURA_CORE_ERR_H

#include "core/base.h"

enum err {
    ERR_SYNTAX = -1000,   /* input does not follow its grammar */
    ERR_LIMIT = -1001,    /* a ceiling that a setting names was reached */
    ERR_CORRUPT = -1002,  /* stored bytes fail their checksum or contradict themselves */
    ERR_VERSION = -1003,  /* written by a newer Gapura in a way this one must not read */
    ERR_CLOSED = -1004,   /* the other side is gone */
    ERR_TIMEOUT = -1005,  /* the wait is over */
    ERR_FULL = -1006,     /* no space where the setting allows us to write */
    ERR_NOTFOUND = -1007, /* no such thing */
    ERR_EXISTS = -1008,   /* there is one already */
    ERR_REFUSED = -1009,  /* policy says no */
    ERR_STATE = -1010,    /* not possible now */
    ERR_STALE = -1011,    /* a pin or handle of a generation that has passed */
    ERR_TLS = -1012,      /* the TLS library refused */
    ERR_DNS = -1013,      /* no usable answer */
    ERR_NOMEM = -1014,    /* no memory */
    ERR_UNSUPPORTED = -1015,
    ERR_TOOBIG = -1016, /* larger than can ever be taken: trying again does not help */
};

/* Text of a code; never NULL, static storage. */
const char *err_text(int code);

/* Room for the story of a failure, filled by the function that failed, shown by its caller. */
struct why {
    char text[256];
};
/* Formats into why (may be NULL) and returns `code`, so that `return why_set(...)` reads well. */
int why_set(struct why *why, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
