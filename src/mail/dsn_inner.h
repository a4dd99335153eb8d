/*
 * mail/dsn_inner.h - what the files of the reader of delivery reports share: mail/dsn*.c only.
 *
 * A message's way: mail/dsn.c gathers its parts by mail/mime; dsn_status reads machine-readable
 * fields, dsn_notice notifications in JSON; dsn_text finds recipients in text for people by the
 * rows of dsn_shapes, dsn_transcript in what sessions said; dsn_reply finds in any text the reply
 * that decides; dsn_kind tells reports from other mail.
 */
#ifndef GAPURA_MAIL_DSN_INNER_H
#define GAPURA_MAIL_DSN_INNER_H

#include "mail/dsn.h"

struct dsn_said {
    uint16_t code;   /* 4xx, 5xx (2xx only if told so at a line's start); 0 none */
    char status[12]; /* enhanced code that stands with it, or alone; "" none */
    size_t at;       /* where the reply begins; 0 without a code */
};
struct dsn_told { /* what a text says, for all recipients that it speaks of */
    struct str text;
    struct dsn_said said;
    enum dsn_phase phase;
    struct str host, reply;
};
struct dsn_list { /* outcomes as they are found */
    struct arena *arena;
    const struct dsn_limits *limits;
    struct dsn_outcome *items;
    unsigned n, cap;
    bool cut;                /* a ceiling, or memory, was reached */
    struct dsn_told told;    /* of the text that was looked at last: the next may have the same */
    struct str about, cause; /* the same of dsn_text.c */
    uint64_t steps;          /* bytes and names looked at, for tests: grows as the report does */
};
struct dsn_outcome *dsn_list_add(struct dsn_list *); /* NULL: no more */

struct dsn_parts {     /* of a message, or of the message that it carries; all line ends are CRLF */
    struct str head;   /* header block */
    struct str text;   /* for people, UTF-8 */
    struct str status; /* delivery-status parts, one after another, blank lines between */
    struct str feedback; /* the first feedback-report part */
    struct str original; /* header of the returned message; may be empty */
};

/* --- dsn_shapes.c: rows, and how they are looked for --- */

enum dsn_set {                   /* which rows */
               DSN_CUT,          /* the returned message begins; v: DSN_CUT_* */
               DSN_LIST,         /* a list of recipients follows */
               DSN_TELLS,        /* a recipient stands behind these words */
               DSN_SECTION,      /* a section that is not about the recipient above begins */
               DSN_NOISE,        /* a line that says nothing about the reason */
               DSN_CAUSE,        /* the reason stands behind these words */
               DSN_ACTION,       /* v: enum dsn_action of the report */
               DSN_ANSWERED,     /* v: enum dsn_phase that a reply answered */
               DSN_HOST,         /* a server is named beside these words; v: DSN_HOST_* */
               DSN_FAILS,        /* in the text of reports of failures */
               DSN_FROM,         /* in From: a mail system speaks; v: weight */
               DSN_SUBJECT,      /* in Subject: of reports; v: weight */
               DSN_AUTO_SUBJECT, /* Subject begins so: an automatic answer; v: even if no field says
                                    so */
               DSN_AUTO_TEXT,    /* in the text of one */
               DSN_CHALLENGE_SUBJECT, /* in Subject */
               DSN_CHALLENGE_TEXT,    /* in text: wants a proof */
               DSN_SETS
};
#define DSN_CUT_ANY 0u /* wherever it stands */
#define DSN_CUT_SEP                                                                                \
    1u /* in a line that begins as a separator does, or ends with a colon or dot                   \
        */
#define DSN_HOST_BEHIND 0u
#define DSN_HOST_BEFORE 1u
struct dsn_shape {
    const char *words; /* lower case where ASCII */
    uint8_t v;
};
/* First row whose words stand in the text (ASCII case folded); *ret_end is the offset behind them.
 */
const struct dsn_shape *dsn_shape_in(enum dsn_set, struct str text, size_t *ret_end);
const struct dsn_shape *dsn_shape_starts(enum dsn_set, struct str text);

/* --- dsn_find.c --- */

/* Offset of needle (lower case where ASCII) from `at` on, or -1. Its spaces stand for any white
 * space: words are broken over lines. */
ssize_t dsn_ifind(struct str text, size_t at, struct str needle);

/* --- dsn_reply.c --- */

void dsn_said_find(struct str text, struct dsn_said *ret);
enum dsn_phase dsn_phase_of(struct str text, size_t reply_at);
/* "5.1.1" at the start of s: its length, or 0. */
size_t dsn_status_len(struct str s);
void dsn_status_set(char dst[12], struct str s);
bool dsn_status_vague(const char status[12]); /* none, or X.0.0 */
/* Fills code, status, phase, remote_mta and reply of an outcome from a text about it, which lives
 * as long as the list. */
void dsn_explain(struct dsn_list *, struct dsn_outcome *, struct str text);
/* The first address at or behind `at` in one line: its text without <>; the offset behind it in
 * *ret_end; false if there is none. */
bool dsn_address_find(struct str line, size_t at, size_t *ret_start, size_t *ret_end,
                      struct str *ret);

/* --- the readers --- */

/* Machine fields of delivery-status parts; in text for people too (`loose`: only known fields count
 * and other lines end a group). */
void dsn_status_read(struct dsn_list *, struct str fields, bool loose, struct dsn_report *);

/* Recipients by the text for people; `sender` wrote the returned message. */
void dsn_text_read(struct dsn_list *, const struct dsn_parts *, struct str sender);
/* The header of the returned message within the text, CRLF line ends; empty if it is not there. */
struct str dsn_text_original(struct str text, struct arena *);
/* Fills what machine fields leave out from the text for people. */
void dsn_text_fill(struct dsn_list *, const struct dsn_parts *);

uint64_t dsn_reader_steps(const struct dsn_reader *); /* for tests */
bool dsn_notice_read(struct dsn_list *, struct str text, struct dsn_report *);

/* Weight of what says that this is a report, 0 none. */
#define DSN_WEIGHT_MAYBE 2u /* if its words say so too */
#define DSN_WEIGHT_SURE  3u
unsigned dsn_kind_weight(const struct dsn_parts *);
enum dsn_kind dsn_kind_other(const struct dsn_parts *, struct str *ret_feedback);
enum dsn_action dsn_action_of(const struct dsn_parts *);

void dsn_html_text(struct str html, struct buf *out);
void dsn_point(struct buf *out, uint32_t point); /* as UTF-8; "?" if it is none */
/* Unfolded, encoded words decoded, in the arena; empty if the field is not there. */
struct str dsn_field(struct str head, const char *name, struct arena *);
struct str dsn_one_line(struct str text, uint32_t max, struct arena *);

#endif
