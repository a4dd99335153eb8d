/*
 * mail/dsn_lines.h - the text for people as lines, and what sessions said in it: for mail/dsn_text,
 * dsn_lines and dsn_transcript.
 */
#ifndef GAPURA_MAIL_DSN_LINES_H
#define GAPURA_MAIL_DSN_LINES_H

#include "core/map.h"
#include "mail/dsn_inner.h"

struct dsn_line {
    struct str s; /* without white space at its ends */
    uint32_t indent;
    uint32_t at; /* offset of s in the text */
};
struct dsn_lines {
    struct str text;
    struct dsn_line *items;
    unsigned n;   /* up to the returned message */
    unsigned all; /* with it */
};
void dsn_lines_split(struct dsn_lines *, struct str text, struct arena *);
/* How many fields of a message's header stand there in a row. */
unsigned dsn_fields_here(const struct dsn_lines *, unsigned from);

struct dsn_spoken {     /* of a session's transcript */
    struct str address; /* empty: not of a recipient */
    struct str reply;
    enum dsn_phase phase;
};
struct dsn_speech { /* all of a transcript */
    struct dsn_spoken *items;
    unsigned n;
    const struct dsn_spoken *any; /* the first of nobody by name, or NULL */
    struct map by_address;        /* the first of each */
};
void dsn_speech_read(struct dsn_speech *, const struct dsn_lines *, struct arena *);
void dsn_speech_done(struct dsn_speech *);
/* The words on a recipient; on all of them if it names none. NULL: none. */
const struct dsn_spoken *dsn_speech_of(const struct dsn_speech *, struct str address);

#endif
