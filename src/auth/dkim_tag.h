/*
 * auth/dkim_tag.h - tag lists of DKIM and ARC fields and of key records (RFC 6376 3.2), pure.
 */
#ifndef GAPURA_AUTH_DKIM_TAG_H
#define GAPURA_AUTH_DKIM_TAG_H

#include "core/str.h"

#define DKIM_TAGS_MAX 48u

struct dkim_tag {
    struct str name;
    struct str value; /* white space and line ends off both ends, folding inside kept */
    struct str raw;   /* all between "=" and ";": what b= loses when it is signed */
};
struct dkim_tags {
    unsigned n;
    uint8_t one[128]; /* tags of one letter: their places from 1 */
    struct dkim_tag items[DKIM_TAGS_MAX];
};
/* 0; ERR_SYNTAX (grammar, a tag twice); ERR_LIMIT. Views into text. */
int dkim_tags_parse(struct str text, struct dkim_tags *ret);
/* The tag's value or NULL; names are case-sensitive. */
const struct dkim_tag *dkim_tags_find(const struct dkim_tags *, struct str name);
/* Next item of a colon-separated value, white space off both ends; false at the end. *rest starts
 * as the value and *first as true. */
bool dkim_list_next(struct str *rest, bool *first, struct str *ret);
bool dkim_list_has(struct str value, struct str item); /* ASCII case folded */
/* White space of DKIM (SP, TAB, CR, LF) off both ends. */
struct str dkim_trim(struct str);
/* Base64 with white space anywhere, padding may lack. Bytes written, ERR_SYNTAX or ERR_LIMIT. */
ssize_t dkim_base64(struct str in, void *dst, size_t cap);

#endif
