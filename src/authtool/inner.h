/*
 * authtool/inner.h - what the verbs share: options that were checked, exit statuses, JSON texts.
 */
#ifndef GAPURA_AUTHTOOL_INNER_H
#define GAPURA_AUTHTOOL_INNER_H

#include "core/addr.h"
#include "ctl/args.h"

enum authtool_status { TOOL_GOOD, TOOL_BAD, TOOL_USAGE, TOOL_DNS };

/* The value of an option, or NULL. */
const char *tool_option(const struct args *, const char *name);
bool tool_flag(const struct args *, const char *name);
/* --time, or now: seconds since 1970. */
uint64_t tool_time(const struct args *);
/* --ip: 0 (and *ret_given false) if it is absent, ERR_SYNTAX. */
int tool_ip(const struct args *, struct addr *ret, bool *ret_given, struct why *);
/* Text of strangers as JSON: what is not UTF-8 becomes U+FFFD. */
json_t *tool_json(struct str);
/* Prints the object as one line and frees it. */
void tool_json_print(json_t *);
/* Text of strangers, safe for a terminal. */
void tool_print(struct str);
/* Says what is wrong; returns the status. */
int tool_fail(const struct why *, enum authtool_status);

int tool_verify(const struct args *);
int tool_sign(const struct args *);
int tool_spf(const struct args *);

#endif
