/*
 * mail/mime.h - the structure of a message (RFC 2045, 2046): a push parser, one pass, bounded.
 *
 * It never fails on what a message holds: whatever comes has a structure, and what was odd about it
 * is told by name. Where two readers may understand a message differently, both readings are told:
 * that is where attacks hide. Content is handed on in pieces as it comes, decoded where an encoding
 * says so, else as views of what was fed; nothing is kept but header blocks.
 *
 *     mime_create(&m, &limits, &sink, ctx); mime_feed(m, ...) ...; mime_end(m); mime_free(m);
 */
#ifndef GAPURA_MAIL_MIME_H
#define GAPURA_MAIL_MIME_H

#include "mail/param.h"
#include "mail/transfer.h"

struct mime_limits {
    uint32_t depth;        /* parts within parts; deeper ones are leaves */
    uint32_t parts;        /* of a message; content of further ones is not handed on */
    uint32_t header_bytes; /* of one part's header; the rest is skipped */
    uint32_t memory;       /* bytes of the parser's arena: header texts that it keeps */
    uint32_t tnef;         /* bytes of a winmail.dat that are looked into; 0: it is a leaf */
};
extern const struct mime_limits mime_limits_default; /* 32, 1000, 256 KiB, 8 MiB, 16 MiB */

enum mime_odd {
    MIME_ODD_NO_COLON,          /* no field: skipped; as the first of a part, its body */
    MIME_ODD_HEADER_UNENDED,    /* the part ended within its header */
    MIME_ODD_HEADER_CUT,        /* over header_bytes */
    MIME_ODD_REPEATED_FIELD,    /* Content-* twice with different values: taken the first */
    MIME_ODD_PARAM,             /* Content-Type or -Disposition: see PARAM_ODD_*; two readings */
    MIME_ODD_NO_BOUNDARY,       /* multipart without a boundary: taken as text */
    MIME_ODD_BOUNDARY_FORM,     /* empty, over 70 characters, or of odd ones */
    MIME_ODD_BOUNDARY_LIKE,     /* begins as that of a part around it: readers differ */
    MIME_ODD_BOUNDARY_TAIL,     /* text behind a boundary on its line: taken as a boundary */
    MIME_ODD_UNCLOSED,          /* no closing boundary */
    MIME_ODD_AFTER_CLOSE,       /* a boundary line behind the closing one: taken as content */
    MIME_ODD_NO_PARTS,          /* multipart whose boundary never came: its text is nobody's */
    MIME_ODD_ENCODING,          /* an unknown Content-Transfer-Encoding: taken as it stands; other:
                                   the known one that it resembles, or empty */
    MIME_ODD_ENCODED_MULTIPART, /* multipart with an encoding (RFC 2045 6.4): taken undecoded */
    MIME_ODD_ENCODED_DATA,      /* bytes that do not belong to the encoding */
    MIME_ODD_BASE64_AFTER_PAD,  /* groups behind =: readers stop or go on; taken: go on */
    MIME_ODD_DEPTH,
    MIME_ODD_PARTS,
    MIME_ODD_NUL,         /* a zero byte in a header */
    MIME_ODD_BARE_CR,     /* CR without LF in a header: a line end to some readers */
    MIME_ODD_FILENAMES,   /* name and filename differ */
    MIME_ODD_TYPE,        /* no type and subtype: taken as text/plain; or more than these two */
    MIME_ODD_TNEF,        /* a winmail.dat that is damaged: not all of it may be seen */
    MIME_ODD_UUENCODE,    /* an encoding that no standard knows: taken off, as most readers do */
    MIME_ODD_YENC,        /* a file in a text by yEnc, which is not taken off */
    MIME_ODD_DISPOSITION, /* Content-Disposition without a word: its parameters are taken */
    MIME_ODD_MAX_
};
const char *mime_odd_name(enum mime_odd); /* "boundary_like" */

/* Where readers differ the parser takes one reading, and can be asked for the others: a guard that
 * wants to see what every reader would see runs once more for each of mime_readings(), and for
 * those that come to light then, up to its own ceiling. */
enum mime_reading {
    MIME_READ_LAST_FIELD = 1,      /* of a field that comes twice the last */
    MIME_READ_INNERMOST = 2,       /* the boundary of the innermost open multipart alone */
    MIME_READ_UNDECODED = 4,       /* named uuencode stays, and base64 that begins as none */
    MIME_READ_STRICT = 8,          /* no part whose header does not end, no parameters of nothing */
    MIME_READ_OTHER_PARAM = 16,    /* of two values of a parameter the other */
    MIME_READ_STOP_AT_PAD = 32,    /* base64 ends with its padding */
    MIME_READ_EXACT_BOUNDARY = 64, /* with text behind it a boundary is none */
    MIME_READ_REOPEN = 128,        /* a boundary behind the closing one opens a part */
    MIME_READ_EARLY_BODY = 256,    /* a line that is no field ends the header */
    MIME_READ_LONG_HEADER = 512,   /* a boundary in a header is none: the header goes on */
    MIME_READ_MIDLINE = 1024,      /* a boundary counts in the middle of a line too */
    MIME_READ_LIKE_ENCODING = 2048, /* an unknown encoding is the known one that it resembles */
    MIME_READ_PREAMBLE = 4096, /* text in front of the first boundary is a multipart's content */
    MIME_READ_DECODED_MULTIPART = 8192, /* the encoding of a multipart is taken off */
    MIME_READ_BARE_CR = 16384,          /* a CR alone ends a line of a header */
    MIME_READ_ONE_WORD = 32768, /* a type of one word is what it says, one of three text/plain */
};
#define MIME_READINGS 16u
const char *mime_reading_name(uint32_t reading); /* "last_field" */
/* The other ways to read a message of which that was told; 0: none. */
uint32_t mime_odd_readings(enum mime_odd);

/* UUENCODED: a file in a text; TNEF: a file or a body in a winmail.dat (mail/tnef.h). Both are told
 * beside the leaf that holds them, whose content is handed on as it is. */
enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE, MIME_UUENCODED, MIME_TNEF };
#define MIME_NO_PART UINT32_MAX

struct mime_part {   /* views live until its end */
    uint32_t number; /* 0 is the message itself */
    uint32_t parent; /* MIME_NO_PART for 0 */
    uint32_t depth;
    enum mime_kind kind;
    uint64_t header_at, body_at, end_at; /* byte offsets in what is parsed; end_at from `end` on */
    struct str header;                   /* the raw block, as far as it was kept */
    struct str type, subtype;            /* lower case; the default of its place if none is given */
    struct str charset;
    struct str boundary;    /* of a multipart */
    struct str disposition; /* lower case, empty if none */
    struct str filename;    /* UTF-8: filename, else name, else empty */
    struct str content_id;  /* raw value */
    const struct params *type_params, *disposition_params;
    enum transfer_kind encoding;
    bool in_encoded; /* inside of an encoded message: offsets count its decoded bytes */
    uint64_t size;   /* decoded bytes so far */
};

struct mime_sink {                                      /* each may be NULL */
    void (*begin)(void *ctx, const struct mime_part *); /* header is known */
    void (*data)(void *ctx, const struct mime_part *, const char *p, size_t n);
    void (*end)(void *ctx, const struct mime_part *);
    /* `taken` and `other`: the two readings, as text; either may be empty. */
    void (*odd)(void *ctx, const struct mime_part *, enum mime_odd, struct str taken,
                struct str other);
};

struct mime; /* about 32 KiB, and what its arena takes */
/* ERR_NOMEM. The sink is borrowed. */
int mime_create(struct mime **ret, const struct mime_limits *, const struct mime_sink *, void *ctx);
void mime_read_as(struct mime *, uint32_t readings); /* MIME_READ_*, before the first byte */
void mime_feed(struct mime *, const char *p, size_t n);
void mime_end(struct mime *); /* all parts end */
/* False: some content was not handed on (MIME_ODD_PARTS, or no memory): not all was seen. Who must
 * see all looks for MIME_ODD_HEADER_CUT and MIME_ODD_DEPTH too: there it came, but without what its
 * header says, or undivided. */
bool mime_is_whole(const struct mime *);
/* After the end: the other readings that what was odd in this message makes plausible. */
uint32_t mime_readings(const struct mime *);
void mime_free(struct mime *);

#endif
