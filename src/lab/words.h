/*
 * lab/words.h - the small languages of the lab's rows: replies, patterns, opinions. Pure.
 */
#ifndef GAPURA_LAB_WORDS_H
#define GAPURA_LAB_WORDS_H

#include "core/err.h"
#include "core/str.h"

struct lab_reply {
    int code;
    char enhanced[16]; /* "4.7.1"; empty: none */
    struct str text;
};
/* "450 4.2.0 Come again"; codes 4yz and 5yz, or 2yz if `good`. ERR_SYNTAX. */
int lab_reply_parse(struct str text, bool good, struct lab_reply *ret);
/* `*` stands for any run of bytes, case is folded: nobody*, *-gone. */
bool lab_pattern_fits(struct str pattern, struct str text);

enum lab_opinion { /* what a provider may hold against a message; law.c says when it does */
                   LAB_UNSIGNED,
                   LAB_CLEAR,
                   LAB_FOREIGN,
                   LAB_GUESSING,
                   LAB_HASTY,
                   LAB_SHOUTING,
                   LAB_WORDS,
                   LAB_NAMELESS,
                   LAB_OPINIONS
};
extern const char *const lab_opinion_names[LAB_OPINIONS];
/* "unsigned 1.5", in hundredths: ERR_SYNTAX, ERR_NOTFOUND for a name that is not there. */
int lab_opinion_parse(struct str text, enum lab_opinion *ret, uint32_t *ret_points);

#endif
