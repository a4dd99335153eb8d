/*
 * mail/charset.h - charsets of mail into UTF-8, streaming. libc's iconv knows most of them; UTF-8,
 * US-ASCII and ISO-8859-1 are done here.
 *
 * Never fails on content: what is not of the charset becomes U+FFFD and is counted. Converters are
 * files of libc: a sandboxed process calls charset_preload() before it gives up opening files.
 */
#ifndef GAPURA_MAIL_CHARSET_H
#define GAPURA_MAIL_CHARSET_H

#include "core/buf.h"

enum charset_kind { CHARSET_UTF8, CHARSET_LATIN1, CHARSET_ICONV };
struct charset {
    enum charset_kind kind;
    void *iconv;
    char held[16]; /* a character that began in the former piece */
    uint8_t nheld;
    bool by_byte; /* libc's UTF-7 goes on elsewhere after an error as its pieces come */
    uint32_t bad; /* places that were not of the charset */
};
/* Empty names are US-ASCII, read as UTF-8 where bytes are over 127, else as ISO-8859-1.
 * ERR_UNSUPPORTED: no such charset; it is read as UTF-8. */
int charset_begin(struct charset *, struct str name);
void charset_feed(struct charset *, const char *p, size_t n, struct buf *out);
/* The text ends, and another one of the same charset may follow. */
void charset_again(struct charset *, struct buf *out);
void charset_end(struct charset *, struct buf *out); /* out may be NULL */
/* All of a text at once. */
int charset_decode(struct str name, struct str text, struct buf *out);
/* Loads all converters there are for mail; none is looked for later in this process. */
void charset_preload(void);

/* Appends text that claims to be UTF-8; what is not becomes U+FFFD. Returns how many did. */
uint32_t charset_put_utf8(struct buf *out, struct str text);

#endif
