/*
 * ctl/verbs.h - the one table of verbs: words, who answers, options, how lines are printed.
 */
#ifndef GAPURA_CTL_VERBS_H
#define GAPURA_CTL_VERBS_H

#include "core/str.h"

enum ctl_role { CTL_SUPERVISOR, CTL_KEEPER, CTL_COURIER, CTL_GATE };
extern const char *const ctl_role_names[];

enum ctl_type {
    CTL_TEXT,
    CTL_NUMBER,
    CTL_COUNT /* from 1 on */,
    CTL_DURATION,
    CTL_PREFIX,
    CTL_FLAG
};
struct ctl_option {
    const char *name; /* without --, or one letter without -; also the key in args */
    enum ctl_type type;
    const char *value; /* how the value is called in help */
    const char *help;
};

enum ctl_kind { CTL_COL_TEXT, CTL_COL_NUMBER, CTL_COL_SIZE, CTL_COL_AGE, CTL_COL_TIME };
struct ctl_column {
    const char *key;
    const char *title;
    enum ctl_kind kind;
    unsigned max; /* widest that it is shown; 0: no limit */
};

#define CTL_REASON   1u   /* destructive: wants --reason */
#define CTL_SELECTS  2u   /* wants an id or a filter, lest it takes all by accident */
#define CTL_LISTS    4u   /* lines are rows of a table */
#define CTL_PASSWORD 8u   /* asks for one */
#define CTL_STREAMS  16u  /* goes on until somebody ends it */
#define CTL_LOCAL    32u  /* roles/main.c runs it; here for help and suggestions */
#define CTL_OFFLINE  64u  /* needs no settings and no running program */
#define CTL_SETTINGS 256u /* reads the settings itself, and asks no role */
#define CTL_READS    128u /* the word of the key "file" names a file; its text goes to the role */

struct ctl_verb {
    const char *group; /* the heading above it in `gapura help`, NULL: that of the one before */
    const char *words; /* "queue list" */
    const char *wire;  /* "queue.list" */
    enum ctl_role role;
    unsigned flags;
    const char *argument; /* keys of the words behind the verb, "domain selector", or NULL */
    const char *shown;    /* those words in help: "ID", "[ID]" if it may be left out */
    const struct ctl_option *options;
    size_t noptions;
    const struct ctl_column *columns;
    size_t ncolumns;
    const char *help;    /* one line */
    const char *more;    /* or NULL */
    const char *example; /* without "gapura " */
};
extern const struct ctl_verb ctl_verbs[];
extern const size_t ctl_nverbs;

/* What nearly all verbs take. */
extern const struct ctl_option ctl_common[];
extern const size_t ctl_ncommon;

const struct ctl_option *ctl_option_find(const struct ctl_verb *, struct str name);

#endif
