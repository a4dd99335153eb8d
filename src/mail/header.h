/*
 * mail/header.h - a header block as an index over raw bytes (RFC 5322 2.2), pure.
 *
 * One law for all who read a header: only the blank line ends it, and a line that is no field is
 * skipped together with the lines that continue it.
 *
 * header_scan is incremental: the smtp server feeds body pieces, and knows at any time whether the
 * blank line was seen, how many Received fields there are, and where named fields begin.
 */
#ifndef GAPURA_MAIL_HEADER_H
#define GAPURA_MAIL_HEADER_H

#include "core/str.h"

struct header_field {
    struct str name;
    struct str value; /* raw: folding and leading space kept, final CRLF not */
    struct str line;  /* whole field with its final CRLF */
};
/* Walks the fields of a block of CRLF lines; *at starts at 0. 1 got one, 0 end of block (the blank
 * line or the end), ERR_SYNTAX for a line that is no field (skipped; call again goes on). */
int header_next(struct str block, size_t *at, struct header_field *ret);
/* First field of that name (case folded); false if none. */
bool header_find(struct str block, struct str name, struct header_field *ret);
/* Unfolds into dst: CRLF WSP becomes WSP, ends trimmed; length, clipped at cap. */
size_t header_unfold(struct str value, char *dst, size_t cap);
/* Mailboxes of a From-like field: calls fn for each addr-spec found (bounded: 100), white space and
 * comments taken out, the view valid during the call; fn may end it with another value than 0,
 * which is returned if negative. Returns how many, ERR_SYNTAX, or ERR_LIMIT. Display names, groups,
 * comments (nesting bounded) and quoted strings are understood; what two readers could take for
 * different addresses is refused. */
int header_mailboxes(struct str value, int (*fn)(void *ctx, struct str mailbox), void *ctx);
/* The same, but "addr <addr>" is understood: the first, shown in place of a name, goes to shown().
 */
int header_mailboxes_shown(struct str value, int (*fn)(void *ctx, struct str mailbox),
                           int (*shown)(void *ctx, struct str mailbox), void *ctx);

struct header_scan {
    uint64_t bytes;    /* of the block so far, blank line included */
    unsigned received; /* Received fields */
    bool done;         /* blank line seen */
    bool stray;        /* a line that is no field was skipped */
    bool has_date, has_message_id, has_from;
    bool eight_bit; /* a byte over 127 in what was fed, body too */
    /* private */
    uint8_t at;         /* enum header_at: where in a line the next byte stands */
    uint8_t name_n;     /* bytes in `name`; longer names are none that we look for */
    bool in_field;      /* a field has begun: a line that starts with white space continues it */
    bool in_message_id; /* the present field is the first Message-ID */
    uint16_t message_id_n;
    char name[24];        /* lower case */
    char message_id[256]; /* value without line ends; over 255 bytes: counts as none */
};
void header_scan_init(struct header_scan *);
/* Feeds the next bytes of the message (CRLF line ends). Cheap once `done`: only eight_bit goes on.
 */
void header_scan_feed(struct header_scan *, const char *p, size_t n);
/* The Message-ID with its <> (as written if it has none); empty if none or over 255 bytes. */
struct str header_scan_message_id(const struct header_scan *);

#endif
