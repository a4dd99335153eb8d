/*
 * mail/param.h - values with parameters: Content-Type and Content-Disposition (RFC 2045 5.1, RFC
 * 2183), with continuations and charsets (RFC 2231) and what wild mail makes of them. Pure.
 */
#ifndef GAPURA_MAIL_PARAM_H
#define GAPURA_MAIL_PARAM_H

#include "core/arena.h"
#include "core/buf.h"

#define PARAMS_MAX     32u
#define PARAM_TEXT_MAX (32u << 10) /* of a value; what is over it is left out, and told */

#define PARAM_ODD_REPEATED 1u   /* one name with two different values: readers differ */
#define PARAM_ODD_BOTH     2u   /* name and name* beside each other */
#define PARAM_ODD_GAP      4u   /* a continuation is missing */
#define PARAM_ODD_SYNTAX   8u   /* no name, no =, an open quote */
#define PARAM_ODD_MANY     16u  /* more than PARAMS_MAX: the rest is not read */
#define PARAM_ODD_WORDS    32u  /* encoded words inside a value, which RFC 2047 5 forbids */
#define PARAM_ODD_BARE     128u /* white space or a comment in a value without quotes */
#define PARAM_ODD_LONG     256u /* a value over PARAM_TEXT_MAX */
#define PARAM_ODD_QUOTES   512u /* text behind the quotes, or a backslash that quotes nothing */
#define PARAM_ODD_CHARSET  64u  /* a charset that nobody knows, or bytes that are not of it */

struct param {
    struct str name;  /* lower case, without * and number */
    struct str value; /* as UTF-8; of `boundary` the bytes as they stand, which are compared */
    struct str other; /* the value that another reader would take; .p NULL if there is none */
};
struct params {
    struct str value; /* in front of the first ; : lower case, comments and white space left out */
    struct param *items; /* n of them, in the arena */
    unsigned n;
    unsigned odd; /* PARAM_ODD_* */
};
/* Reads a raw field value; texts are in the arena. ERR_NOMEM alone fails. */
int params_read(struct params *ret, struct str value, struct arena *);
/* By lower-case name; .p NULL if it is not there. */
struct str params_find(const struct params *, struct str name);
const struct param *params_get(const struct params *, struct str name);

#endif
