/*
 * policy/verdict.h - findings: what a check saw, what it weighs and what should follow.
 *
 * A verdict is the decision record of a session or of a message: an ordered list of findings and
 * their sum. Pure: takes findings, returns a decision; never replies, never logs. A finding made
 * in observe mode keeps the action that it would have caused, and neither acts nor counts.
 */
#ifndef GAPURA_POLICY_VERDICT_H
#define GAPURA_POLICY_VERDICT_H

#include "core/arena.h"

#define VERDICT_FINDINGS_MAX 64u /* of one verdict; further ones are counted in `lost` */

enum verdict_action {
    VERDICT_PASS,     /* only weighs */
    VERDICT_TEMPFAIL, /* 4yz: come again */
    VERDICT_REFUSE,   /* 5yz */
};

struct finding {
    const char *check;    /* name of the row; static */
    const char *name;     /* of the finding, e.g. "denied-network"; static */
    struct str rule;      /* what decided: a list entry, a limit's name; may be empty */
    int32_t weight;       /* hundredths of a point: positive is bad */
    uint8_t stage;        /* enum stage */
    uint8_t action;       /* enum verdict_action */
    bool observed;        /* made in observe mode */
    uint16_t code;        /* reply, when action is not PASS: 450, 550 ... */
    const char *enhanced; /* "5.7.1"; static */
    struct str text;      /* of the reply; says what happened and what to do */
    struct finding *next;
};

struct verdict {
    struct arena *arena; /* findings and their texts live here */
    struct finding *first, *last;
    const struct finding *decisive; /* first refusal that acts, else first tempfail, else NULL */
    int64_t sum;                    /* of the weights that count */
    unsigned n, lost;
};

void verdict_init(struct verdict *v, struct arena *arena);
/* Copies f with its texts. The copy, or NULL if it was lost (ceiling or memory): a lost finding
 * that should have acted is remembered as a tempfail, so that nothing passes for lack of room. */
const struct finding *verdict_add(struct verdict *v, const struct finding *f);
/* The stronger of two decisive findings; NULL is none. */
const struct finding *verdict_stronger(const struct finding *a, const struct finding *b);
/* What that stage found counts no more: it is about to be run again. Memory stays the arena's. */
void verdict_forget(struct verdict *, unsigned stage);
/* The same, of those only that came behind `mark` (v->last of then, NULL: from the start). */
void verdict_forget_since(struct verdict *, unsigned stage, const struct finding *mark);
const char *verdict_action_name(uint8_t action); /* "pass" "tempfail" "refuse" */

#endif
