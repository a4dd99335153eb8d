/*
 * mail/report_xml_inner.h - what mail/report_xml.c (elements) and mail/report_xml_value.c (their
 * texts) share.
 */
#ifndef GAPURA_MAIL_REPORT_XML_INNER_H
#define GAPURA_MAIL_REPORT_XML_INNER_H

#include <expat.h>

#include "mail/report_dmarc.h"
#include "mail/report_inner.h"

enum node { /* what an element stands in */
            N_OUTSIDE,
            N_FEEDBACK,
            N_META,
            N_RANGE,
            N_POLICY,
            N_RECORD,
            N_ROW,
            N_EVALUATED,
            N_REASON,
            N_IDENTIFIERS,
            N_AUTH,
            N_DKIM,
            N_SPF,
};
enum how { /* what its text is */
           H_NODE,
           H_TEXT,
           H_NAME,  /* a domain: lower case */
           H_WORDS, /* of people: cut at its ceiling */
           H_ERROR, /* one more of a list of such */
           H_COUNT,
           H_TIME, /* s; a fraction is dropped */
           H_ADDR,
           H_PERCENT,
           H_POLICY,
           H_DONE,
           H_ALIGNED, /* pass or not */
           H_RESULT,
           H_ALIGNMENT,
           H_SCOPE,
           H_OVERRIDE,
           H_YES,
           H_DISCOVERY,
};

/* `seen`: a bit of what came, for what must come and what may come once. */
#define SEEN_ID     1u
#define SEEN_BEGIN  2u
#define SEEN_END    4u
#define SEEN_DOMAIN 8u
#define SEEN_SP     16u
#define SEEN_NP     32u
#define SEEN_PCT    64u
#define SEEN_IP     1u
#define SEEN_COUNT  2u
#define SEEN_FROM   4u

struct report_leaf { /* a row of the table: an element within another one */
    uint8_t in;
    const char *name;
    uint8_t how;
    uint8_t node; /* H_NODE */
    uint8_t seen;
    uint16_t at; /* of the field in the struct of `in` */
};
#define STACK_MAX 16u

struct report_xml {
    struct report_limits limits;
    struct arena *arena;
    XML_Parser parser;
    uint32_t lines; /* white space in front of the document */
    bool begun, root_seen, done;
    uint8_t stack[STACK_MAX];
    unsigned nstack;
    unsigned skip;                  /* elements within one that no table knows */
    unsigned outside;               /* wrappers around the report */
    struct str prefix;              /* of the report's own namespace, with its colon */
    const struct report_leaf *leaf; /* its text is gathered */
    uint64_t fed;                   /* bytes that Expat has */
    size_t ngathered;
    char gathered[8192];
    struct buf text;
    bool text_cut;
    unsigned seen, row_seen;
    struct report_dmarc *report;
    struct report_row *row, **row_end;
    struct report_reason *reason, **reason_end;
    bool reason_typed;
    struct report_auth *auth, **dkim_end, **spf_end;
    struct report_text **error_end;
    int failed;
    struct why why;
};

/* The row of element `name` within `in`; NULL: nobody knows it. */
const struct report_leaf *report_leaf_find(uint8_t in, const char *name);
/* The text of x->leaf is whole. */
void report_leaf_end(struct report_xml *x);
/* The first error stays; nothing more is read. `value` may be empty. */
void report_xml_fail(struct report_xml *x, int code, const char *what, struct str value);

#endif
