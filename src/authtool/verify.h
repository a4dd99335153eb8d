/*
 * authtool/verify.h - all that one message proves: gathered by verify.c, told by verify_show.c.
 */
#ifndef GAPURA_AUTHTOOL_VERIFY_H
#define GAPURA_AUTHTOOL_VERIFY_H

#include "auth/arc.h"
#include "auth/authres.h"
#include "auth/dkim_verify.h"
#include "authtool/inner.h"
#include "authtool/input.h"
#include "authtool/source.h"

struct spf_part {
    const char *skipped; /* why it was not evaluated, or NULL */
    struct spf_input in;
    struct spf_verdict v;
};
struct verify {
    struct tool_input input;
    struct tool_source *source;
    struct arena arena;
    const char *from_where; /* the envelope sender is from there, or NULL */
    char return_path[1024];
    struct addr ip;
    bool has_ip;
    bool null; /* the envelope sender is <> */
    struct spf_part helo, mailfrom;
    struct dkim_message *message;
    struct dkim_keys *keys;
    struct dkim_verifier dkim;
    struct arc_validator chain;
    struct arc_result arc;
    struct dmarc_author author;
    struct dmarc_verdict dmarc;
    bool unfinished; /* look-ups ended before all was known */
    struct authres results;
    struct buf field;
};
/* Authenticated, not, or not to be told now. */
enum authtool_status tool_verify_status(const struct verify *);
void tool_verify_show(const struct verify *);
json_t *tool_verify_json(const struct verify *);

#endif
