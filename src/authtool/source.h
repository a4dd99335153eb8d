/*
 * authtool/source.h - where answers come from: a zone file (--dns) or DNS.
 */
#ifndef GAPURA_AUTHTOOL_SOURCE_H
#define GAPURA_AUTHTOOL_SOURCE_H

#include "auth/answers.h"
#include "ctl/args.h"

#define SOURCE_ROUNDS_MAX 64u /* of questions; each follows from answers */

struct tool_source;
/* By --dns, --resolver and --timeout. 0 or negative with why. */
int tool_source_open(const struct args *, struct tool_source **ret, struct why *);
void tool_source_close(struct tool_source *); /* NULL is fine */
/* All that is known so far. */
const struct auth_answers *tool_source_answers(const struct tool_source *);
/* Answers the questions of n evaluators, side by side, and clears them. False: there were none, or
 * there is no room or no round left. */
bool tool_source_ask(struct tool_source *, struct auth_needs *needs, size_t n);
/* Nanoseconds since it was opened, for spf_input. */
uint64_t tool_source_elapsed(const struct tool_source *);
/* The last name for which DNS gave no answer; empty if all were answered. */
struct str tool_source_silent(const struct tool_source *);

#endif
