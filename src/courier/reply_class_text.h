/*
 * courier/reply_class_text.h - makes words of a reply's text. Pure.
 */
#ifndef GAPURA_COURIER_REPLY_CLASS_TEXT_H
#define GAPURA_COURIER_REPLY_CLASS_TEXT_H

#include "core/map.h"

#define REPLY_TEXT_MAX  2048u /* bytes of a text that are looked at */
#define REPLY_WORDS_MAX 256u
#define REPLY_WORD_MAX  40u /* longer words are cut */

/* Words are lower case, without accents; ae, oe and ue are one letter (Umlaute are written both
 * ways); each ideograph, kana and hangul syllable is a word of its own. An address is "@", an IP
 * address "#", a host "%" unless `names` knows it or a parent of it: then that name. Codes are
 * taken out. */
struct reply_text {
    uint16_t code;        /* first in the text, 0: none */
    uint16_t enhanced[3]; /* zeros: none */
    uint16_t nwords, n;
    uint16_t at[REPLY_WORDS_MAX];
    uint8_t len[REPLY_WORDS_MAX];
    char bytes[REPLY_TEXT_MAX];
};
/* names: NULL keeps all hosts as they are (for patterns). */
void reply_text_read(struct reply_text *ret, struct str text, const struct map *names);

static inline struct str
reply_text_word(const struct reply_text *t, unsigned i)
{
    return str_of(t->bytes + t->at[i], t->len[i]);
}
/* "5.7.1", whole; false: it is none, *ret untouched. */
bool reply_text_enhanced(struct str s, uint16_t ret[3]);
/* True for a name with dots that can be a host; an end of sentence without space is none. */
bool reply_text_is_host(struct str s);

#endif
