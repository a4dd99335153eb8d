/*
 * authtool/verify.h - all that one message proves: gathered by verify.c, told by verify_show.c.
 */
#ifndef GAPURA_AUTHTOOL_VERIFY_H
#define GAPURA_AUTHTOOL_VERIFY_H

#include "auth/evidence.h"
#include "authtool/inner.h"
#include "authtool/input.h"
#include "authtool/source.h"

struct verify {
    struct tool_input input;
    struct tool_source *source;
    struct arena arena;
    struct auth_common *common;
    struct auth_evidence e; /* as a gate gathers it */
    struct addr ip;
    bool has_ip;
    bool has_sender;                   /* --from or Return-Path; also the null sender */
    const char *sender_where;          /* one of them */
    const char *no_helo, *no_mailfrom; /* why it was not evaluated, or NULL */
    char return_path[1024];
    bool unfinished; /* look-ups ended before all was known */
    struct authres results;
    struct buf field;
};
/* Authenticated, not, or not to be told now. */
enum authtool_status tool_verify_status(const struct verify *);
void tool_verify_show(const struct verify *);
json_t *tool_verify_json(const struct verify *);

#endif
