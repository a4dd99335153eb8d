/*
 * import/inner.h - what the parts of the Postfix importer share.
 */
#ifndef GAPURA_IMPORT_INNER_H
#define GAPURA_IMPORT_INNER_H

#include "core/buf.h"
#include "import/maincf.h"

/* One key and its value of a text table. */
struct entry {
    struct str key, value;
    struct entry *next;
};
struct import {
    struct maincf cf;
    const char *out_file; /* NULL: standard output, and no files beside it */
    struct buf text;      /* settings */
    struct buf notes;     /* what could not be carried over, as comments */
    unsigned carried, commented;
    struct entry *transports, *virtuals,
        *locals;   /* of transport_maps, virtual_alias_maps, alias_maps */
    bool srs;      /* some alias leads to another domain */
    bool networks; /* somebody is trusted */
    int status;
};

/* A comment about a parameter, with why it is one; counted. */
PRINTF_LIKE(3, 4) void note(struct import *, const char *name, const char *fmt, ...);
/* A line of settings; counted. */
PRINTF_LIKE(2, 3) void put(struct import *, const char *fmt, ...);
/* The entries of all tables that the parameter names; what is not text is noted. aliases: keys end
 * at a colon. */
struct entry *tables_read(struct import *, const char *name, bool aliases);
/* Words of a list of domains or networks, with files and tables opened. */
struct entry *tables_list(struct import *, const char *name);
const struct entry *tables_find(const struct entry *, struct str key);
bool domain_like(struct str);
/* A file beside the settings: its path for them, or empty after a note. */
struct str beside(struct import *, const char *name, unsigned mode, struct str text);

/* postfix_domains.c, postfix_listen.c, postfix_rest.c */
void import_domains(struct import *);
void import_listeners(struct import *);
void import_delivery(struct import *);
void import_restrictions(struct import *);
void import_rest(struct import *); /* last: notes what nobody has dealt with */

#endif
