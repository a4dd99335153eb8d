/*
 * authtool/show.h - verdicts of SPF as text and as JSON, for two verbs.
 */
#ifndef GAPURA_AUTHTOOL_SHOW_H
#define GAPURA_AUTHTOOL_SHOW_H

#include "auth/spf.h"
#include "authtool/inner.h"
#include "authtool/source.h"

/* Runs one evaluation to its end over the source's answers. */
void tool_show_spf_run(struct spf_input *, struct tool_source *, struct arena *,
                       struct spf_verdict *ret);
/* "  pass: why (mechanism)" and a line for each term. */
void tool_show_spf(const struct spf_verdict *, const struct spf_limits *);
json_t *tool_show_spf_json(const struct spf_verdict *, const struct spf_limits *);
/* Splits an envelope sender into an input: "<>", "<a@b>", "a@b". ERR_SYNTAX. */
int tool_show_sender(const char *text, struct spf_input *, struct why *);

#endif
