/*
 * import/maincf.h - main.cf, master.cf and text tables of Postfix, as postconf(5) reads them.
 */
#ifndef GAPURA_IMPORT_MAINCF_H
#define GAPURA_IMPORT_MAINCF_H

#include "core/arena.h"
#include "core/err.h"
#include "core/map.h"

struct maincf_value {
    struct str name, text;     /* as written, continuation lines joined */
    bool given;                /* in the file; else a default of ours */
    bool used;                 /* the importer has dealt with it */
    struct maincf_value *next; /* in the order of the file; given ones only */
};
struct maincf {
    struct arena arena;
    unsigned steps; /* left for one expansion */
    struct map values;
    struct maincf_value *first, **last;
    struct str dir;
};
/* DIR/main.cf, with defaults for what other values name. 0, or negative with why. */
int maincf_read(struct maincf *, const char *dir, struct why *why);
void maincf_done(struct maincf *);
/* Expanded: $name, ${name}, ${name?text}, ${name?{text}:{other}}, ${name:text}. Empty if it is not
 * set. Marks it as dealt with. */
struct str maincf_get(struct maincf *, const char *name);
bool maincf_given(const struct maincf *, const char *name);
/* Next word of a list, at commas and white space; {} hold together. Empty at the end. */
struct str maincf_word(struct str *rest);

/* A logical line of main.cf, master.cf or a table: comments left out, continuations joined with
 * a space. False at the end. */
bool maincf_line(struct arena *, struct str *rest, struct str *ret);
/* A file of at most 16 MB. */
int maincf_file(struct arena *, struct str path, struct str *ret);

#endif
