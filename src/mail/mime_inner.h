/*
 * mail/mime_inner.h - the parser itself, for mail/mime*.c only.
 */
#ifndef GAPURA_MAIL_MIME_INNER_H
#define GAPURA_MAIL_MIME_INNER_H

#include "core/arena.h"
#include "mail/mime.h"
#include "mail/tnef.h"

#define MIME_DEPTH_MAX 100u       /* of the limit */
#define MIME_HOLD      8192u      /* longest line that can be a boundary */
#define MIME_PIECE     (8u << 10) /* decoded at a time */

struct mime_level { /* a multipart or an embedded message around what comes */
    struct mime_part *part;
    struct str boundary; /* empty: a message, or the outermost */
    bool digest;         /* parts are messages by default (RFC 2046 5.1.5) */
    bool seen, closed;
    bool borrowed; /* of the parser around: it ends there */
};
struct mime_uu {            /* uuencoded files in text */
    struct mime_part *part; /* NULL: none is open */
    bool line_start;
    bool skip; /* the line that began it goes on */
    uint8_t n;
    char line[200]; /* begins with "begin " or "end", as far as it came */
};
struct mime_tnef { /* a leaf that may be a winmail.dat */
    uint8_t state, n;
    bool cut;
    char head[4];
    struct buf bytes;
};
struct mime {
    struct mime_limits limits;
    const struct mime_sink *sink;
    void *ctx;
    struct arena arena;
    struct mime *outer; /* this one reads the decoded bytes of a message in that one */
    struct mime *inner;
    uint32_t readings;  /* asked for */
    uint32_t plausible; /* others */
    uint32_t nparts;
    uint32_t base_depth, base_parent;
    unsigned nlevels, nboundaries;
    struct mime_part *leaf; /* gets content; NULL between parts */
    struct transfer transfer;
    bool undecided; /* MIME_READ_UNDECODED: the first byte says whether this is base64 */
    struct mime_uu uu;
    struct mime_tnef tnef;
    struct buf header;
    bool in_header, header_cut, incomplete, ended;
    bool field_seen; /* in this header */
    uint32_t parent; /* of the part whose header is read */
    uint64_t header_at;
    uint64_t line_n, kept_n; /* of the header line that is read: its bytes, those in `header` */
    bool skip_line;          /* what comes up to the next LF belongs to a boundary */
    uint64_t at;             /* offset of the next byte */
    bool line_start;         /* in a body: the next byte begins a line */
    char eol[2];             /* a line end that may belong to a boundary */
    uint8_t neol;
    size_t nhold;
    struct mime_level stack[MIME_DEPTH_MAX + 1];
    char hold[MIME_HOLD];
    char out[2 * MIME_PIECE + 256]; /* transfer_room(MIME_PIECE) at least */
};

void mime_odd_told(struct mime *, const struct mime_part *, enum mime_odd, struct str taken,
                   struct str other);
/* A parser for what is decoded of that multipart: behind its header. */
void mime_enter(struct mime *, struct mime_part *multipart);
/* The header is complete: makes the part, tells its begin. NULL: no memory, or too many. */
struct mime_part *mime_part_make(struct mime *, bool digest);
/* A part without a header, found inside the leaf (uuencoded, TNEF): as `like`, with its place.
 * NULL: no memory, or too many, and that is told. */
struct mime_part *mime_part_inside(struct mime *, uint32_t parent, const struct mime_part *like);
void mime_part_end(struct mime *, struct mime_part *, uint64_t end_at);
/* Content of the leaf, still encoded. */
void mime_content(struct mime *, const char *p, size_t n);
void mime_content_end(struct mime *);
/* Decoded text that may hold uuencoded files. */
void mime_uu_feed(struct mime *, const char *p, size_t n);
void mime_uu_finish(struct mime *);
/* Decoded content of a leaf, from its beginning on. */
void mime_tnef_begin(struct mime *);
void mime_tnef_feed(struct mime *, const char *p, size_t n);
void mime_tnef_finish(struct mime *);

#endif
