/*
 * smtp/line.h - the grammar of command lines (RFC 5321 4.1.1 and 4.1.2), pure.
 */
#ifndef GAPURA_SMTP_LINE_H
#define GAPURA_SMTP_LINE_H

#include "mail/address.h"

enum smtp_line_fault {
    SMTP_LINE_FINE,
    SMTP_LINE_EMPTY,
    SMTP_LINE_BARE, /* a bare CR or LF, or a NUL */
};

/* raw ends with LF. *ret is the text without line end and trailing white space. lax: a bare LF may
 * end the line; a bare CR is never taken. */
enum smtp_line_fault smtp_line_text(struct str raw, bool lax, struct str *ret);
/* Splits at the first white space; *ret_arg has none around it. */
struct str smtp_line_verb(struct str line, struct str *ret_arg);
/* "FROM:<path> params" or "TO:<path> params": keyword with its colon. White space behind the colon
 * is taken; lax takes a mailbox without <> too. 0, ERR_SYNTAX (what stands there is no such
 * clause), or what address_path says. *ret_path_bad tells the two syntax errors apart. */
int smtp_line_path(struct str arg, struct str keyword, unsigned flags, bool lax,
                   struct address *ret, struct str *ret_params, bool *ret_path_bad);

struct smtp_param {
    struct str name;
    struct str value; /* .p NULL if there was no "=" */
};
/* Next "keyword" or "keyword=value": 1, 0 at the end, ERR_SYNTAX. Bytes over 127 are left to the
 * row that reads the value. */
int smtp_param_next(struct str *rest, struct smtp_param *ret);

bool smtp_xtext_ok(struct str s); /* RFC 3461 4, upper-case hex */
/* RFC 6533 3: xtext with \x{HEX}; raw UTF-8 only if `utf8` (utf-8-addr-unitext). */
bool smtp_utf8_xtext_ok(struct str s, bool utf8);
/* A name after EHLO, HELO or LHLO: printable name characters or a bracketed literal. */
bool smtp_helo_ok(struct str name);

/* RFC 3339 date and time, as RFC 4865 uses it: seconds since 1970. Fractions are dropped. */
#define SMTP_DATETIME 24
int smtp_datetime_parse(struct str s, uint64_t *ret_wall_s);
void smtp_datetime_show(uint64_t wall_s, char dst[SMTP_DATETIME]); /* in UTC */

#endif
