/*
 * courier/reply_class_inner.h - the compiled set, for the reply_class files alone.
 */
#ifndef GAPURA_COURIER_REPLY_CLASS_INNER_H
#define GAPURA_COURIER_REPLY_CLASS_INNER_H

#include "core/arena.h"
#include "courier/reply_class.h"
#include "courier/reply_class_text.h"

#define REPLY_ENH_ANY   0xffffu
#define REPLY_RULES_MAX 20000u
#define REPLY_NODES_MAX (1u << 20)
#define REPLY_GAP       8u /* words that "*" may stand for */
#define REPLY_IDS       4u /* meanings of a word: itself and stems of it */
#define REPLY_STEM_MIN  3u

/* Evidence, from the weakest. A pattern of a provider's block is always REPLY_TIER_PROVIDER. */
enum reply_tier {
    REPLY_TIER_PHASE,
    REPLY_TIER_CODE,
    REPLY_TIER_ENHANCED_WEAK, /* codes that say little: x.0.0, x.7.0, x.7.1 */
    REPLY_TIER_TEXT_WEAK,
    REPLY_TIER_ENHANCED,
    REPLY_TIER_TEXT,
    REPLY_TIER_TEXT_STRONG,
    REPLY_TIER_PROVIDER
};

enum { /* which parts of the law's advice a section sets itself */
       REPLY_SETS_SCOPE = 1,
       REPLY_SETS_RETRY = 2,
       REPLY_SETS_SLOW = 4,
       REPLY_SETS_HOLD = 8,
       REPLY_SETS_SUPPRESS = 16
};
struct reply_override {
    uint8_t sets, scope;
    struct reply_advice advice;
};

struct reply_rule {
    uint8_t class; /* REPLY_CLASS_COUNT: it only names the provider */
    uint8_t tier;
    uint8_t phases; /* bit: enum reply_phase */
    uint16_t provider;
    uint16_t code_from, code_to;
    uint16_t enhanced[3]; /* REPLY_ENH_ANY */
    uint16_t detail_to;   /* enhanced[2] to here */
    bool bare;            /* no text */
    bool known;           /* of a provider: only where that is known to be the one */
    uint32_t line;
    uint32_t next; /* among rules without text, of the same subject; 0 ends */
    const struct reply_override *override;
    struct str name;
};
struct reply_provider {
    struct str name;
    struct str *hosts;
    uint32_t nhosts;
};
struct reply_node {
    uint32_t gap;  /* node after "*", 0: none */
    uint32_t ends; /* index into `ends`, 0: none */
    bool goes_on;  /* a word may follow */
};
struct reply_end {
    uint32_t rule, next;
    struct str name; /* origin and the words of this variant of the rule */
};
struct reply_stem {
    struct str word;
    uint32_t id, next;
};

enum { REPLY_WORD_START = 1, REPLY_WORD_END, REPLY_WORD_FIRST };

struct reply_classes {
    struct arena arena;
    struct map words; /* exact; value is the id */
    struct map names; /* hosts that patterns speak of */
    struct reply_stem *stems;
    uint32_t nstems, stems_cap;
    uint32_t stem_at[1024]; /* by hash of the first bytes; 0 ends */
    uint64_t *edges;        /* open addressing: node << 44 | word << 24 | target, 0 empty */
    uint32_t nedges, edges_cap;
    struct reply_node *nodes;
    uint32_t nnodes, nodes_cap;
    struct reply_end *ends;
    uint32_t nends, ends_cap;
    struct reply_rule *rules; /* rule 0 is "nothing known" */
    uint32_t nrules, rules_cap;
    uint32_t bare[11];                /* rules without text by enhanced subject 0..9, [10] any */
    struct reply_provider *providers; /* [0] none */
    uint32_t nproviders, providers_cap;
    uint32_t nwords;
    uint32_t *begins; /* by word: its node at the root, 0: no pattern begins so */
};

/* reply_class_set.c */
int reply_set_create(struct reply_classes **ret);
uint32_t reply_set_edge(const struct reply_classes *, uint32_t node, uint32_t word);
/* One pattern without alternatives; ERR_SYNTAX with the reason. */
int reply_set_add(struct reply_classes *, struct str tag, struct str pattern, uint32_t rule,
                  struct why *);
int reply_set_rule(struct reply_classes *, const struct reply_rule *, uint32_t *ret);
int reply_set_provider(struct reply_classes *, struct str name, uint32_t *ret);
int reply_set_provider_host(struct reply_classes *, uint32_t provider, struct str host);
void reply_set_bare(struct reply_classes *, uint32_t rule);
int reply_set_finish(struct reply_classes *); /* after the last pattern */
uint32_t reply_set_stem_slot(struct str word);

/* reply_class_match.c: one of `ends` for each rule whose text is found, at most `max`. */
uint32_t reply_match(const struct reply_classes *, const struct reply_text *, uint32_t *ret,
                     uint32_t max);

/* reply_class_law.c */
struct reply_law {
    const char *name;
    bool hard, refusal;
    uint8_t scope;
    uint8_t rank; /* which class decides among evidence of one tier: the higher */
    uint8_t retry_4, retry_5;
    uint32_t retry_s;
    uint8_t slow, slow_percent;
    uint32_t slow_s;
    uint8_t hold;
    uint32_t hold_s;
    uint32_t suppress_s;
    bool tell;
};
extern const struct reply_law reply_laws[REPLY_CLASS_COUNT];
/* Fills hard, scope, advice of `ret` (class, code and confidence are there). */
void reply_law_advise(struct reply_class_result *ret, const struct reply_override *, uint8_t tier,
                      uint8_t severity);
int reply_law_class(struct str name); /* -1: no such class */
/* Bounds a suppression for ever: the address gets one mail more after 30 days. */
void reply_law_probation(struct reply_class_result *ret);
/* False for what no words of a server can say: a delivery, an answer of a person, a complaint. */
bool reply_law_is_said(uint8_t class);

/* reply_class_default.c: the data files that are compiled in, one after the other. */
struct reply_file {
    const char *name, *text;
};
extern const struct reply_file reply_files[];
extern const size_t reply_nfiles;

#endif
