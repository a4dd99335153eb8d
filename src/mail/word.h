/*
 * mail/word.h - text of header fields: unfolded, encoded words decoded (RFC 2047), as UTF-8. Pure.
 */
#ifndef GAPURA_MAIL_WORD_H
#define GAPURA_MAIL_WORD_H

#include "core/buf.h"

#define WORD_ODD_CHARSET 1u  /* a charset that nobody knows */
#define WORD_ODD_CONTENT 2u  /* bytes that are not of the charset or encoding */
#define WORD_ODD_RAW     4u  /* bytes over 127 outside of encoded words that are not UTF-8 */
#define WORD_ODD_CONTROL 8u  /* control characters came out of an encoded word */
#define WORD_ODD_TOUCHED 16u /* text without white space beside an encoded word: two readings */

/* Appends the text of a raw field value; white space at both ends is left out. Returns WORD_ODD_*.
 * Words of one charset that follow each other are joined before they are decoded, since clients cut
 * them within characters. */
unsigned word_decode(struct str value, struct buf *out);
/* The other reading of a value that is WORD_ODD_TOUCHED: a space where they touch. */
unsigned word_decode_spaced(struct str value, struct buf *out);
bool word_present(struct str value); /* is there an encoded word in it? */

#endif
