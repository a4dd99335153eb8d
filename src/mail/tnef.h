/*
 * mail/tnef.h - the files in a winmail.dat (application/ms-tnef; MS-OXTNEF), pure and bounded.
 *
 * mail/mime.h hands them on as parts; this is for whoever has the bytes alone. Nothing is copied
 * but names: contents are views of what was given. What is damaged does not end the reading before
 * it must, and is told.
 */
#ifndef GAPURA_MAIL_TNEF_H
#define GAPURA_MAIL_TNEF_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"

#define TNEF_SIGNATURE "\x78\x9f\x3e\x22"

struct tnef_limits {
    uint32_t attributes; /* and properties, all together */
    uint32_t files;
    uint32_t depth; /* messages in messages */
};
extern const struct tnef_limits tnef_limits_default; /* 20000, 1000, 8 */

#define TNEF_ODD_CUT      1u  /* it ends within an attribute, or a length leads out of it */
#define TNEF_ODD_CHECKSUM 2u  /* readers do not mind */
#define TNEF_ODD_PROPERTY 4u  /* a property list that cannot be walked to its end */
#define TNEF_ODD_LIMIT    8u  /* a ceiling was reached: not all was seen */
#define TNEF_ODD_TRAIL    16u /* bytes behind the last attribute */
#define TNEF_ODD_CHARSET  32u /* a code page that nobody knows */

enum tnef_kind { TNEF_FILE, TNEF_OLE, TNEF_MESSAGE, TNEF_REFERENCE };

struct tnef_file {
    struct tnef_file *next;
    uint32_t number, parent; /* from 1; parent 0: of the outermost message */
    enum tnef_kind kind;     /* a message: its files follow with it as parent */
    struct str name;         /* UTF-8: the long name, else the short one; empty if none */
    struct str other;        /* the other name, if it differs: readers may show either */
    struct str type;         /* as the sender told it, "image/png"; empty if not told */
    struct str content_id;
    struct str data; /* a view; empty if the file is only referred to */
};
struct tnef {
    struct str subject, message_class; /* UTF-8, of the outermost message */
    struct str text; /* bodies as they stand, of the outermost message; .p NULL: none */
    struct str html;
    struct str rtf;                   /* compressed: see tnef_rtf */
    struct str charset, text_charset; /* of html; of text: may be "utf-16le"; or empty */
    struct tnef_file *files;
    uint32_t nfiles;
    unsigned odd; /* TNEF_ODD_* */
};

/* ERR_SYNTAX: it does not begin as one. ERR_NOMEM: the arena's ceiling. */
int tnef_read(struct str bytes, const struct tnef_limits *, struct arena *, struct tnef *ret);
/* Compressed RTF (MS-OXRTFCP) unpacked; ERR_SYNTAX, or ERR_LIMIT of the buffer. */
int tnef_rtf(struct str packed, struct buf *out);

#endif
