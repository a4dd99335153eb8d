/*
 * policy/verdict.h - findings: what a check saw, what it weighs and what should follow.
 *
 * A verdict is an ordered list of findings of a session or of a message and their sum. Pure: takes
 * findings, returns a decision; never replies, never logs. A finding made in observe mode keeps the
 * action that it would have caused, and neither acts nor counts.
 *
 * One message's way: checks add findings (check_find), those of connect and HELO to the session's
 * verdict, all others to the message's. A finding that refuses or puts off is `decisive` and
 * answered at its stage. At the end of the message verdict_judge() (policy/judgement.h) weighs
 * all of them with the profile of each recipient.
 */
#ifndef GAPURA_POLICY_VERDICT_H
#define GAPURA_POLICY_VERDICT_H

#include "core/arena.h"

#define VERDICT_FINDINGS_MAX      64u    /* of one verdict, those of single recipients aside */
#define VERDICT_RCPT_FINDINGS_MAX 16u    /* of one recipient */
#define VERDICT_WEIGHT_MAX        100000 /* hundredths, above and below; more is clipped */

enum verdict_action {                   /* the stronger is the greater */
                      VERDICT_PASS,     /* only weighs */
                      VERDICT_TAG,      /* delivered, and marked */
                      VERDICT_HOLD,     /* taken and set aside until somebody releases it */
                      VERDICT_TEMPFAIL, /* 4yz: come again */
                      VERDICT_REFUSE,   /* 5yz */
                      VERDICT_ACTIONS_,
};
/* Is the client told no? Else the finding or the verdict acts on mail that was taken. */
static inline bool
verdict_replies(uint8_t action)
{
    return action >= VERDICT_TEMPFAIL;
}

struct finding {
    const char *check;    /* name of the row; static */
    const char *name;     /* of the finding, e.g. "denied-network"; static */
    const char *group;    /* whose ceiling it is under if the profile does not say; static, NULL:
                             that of its check */
    struct str input;     /* what was looked at; may be empty */
    struct str rule;      /* what decided: a list entry, a limit's name; may be empty */
    struct str list;      /* the rule's list and its version; may be empty */
    int32_t weight;       /* hundredths of a point: positive is bad */
    uint32_t rcpt;        /* number of the recipient that it is about, from 1; 0: all */
    uint8_t stage;        /* enum stage */
    uint8_t action;       /* enum verdict_action */
    bool observed;        /* made in observe mode */
    uint16_t code;        /* reply, when the action is one: 450, 550 ... */
    const char *enhanced; /* "5.7.1"; static */
    struct str text;      /* of the reply; says what happened and what to do */
    struct finding *next;
};

struct verdict {
    struct arena *arena; /* findings and their texts live here */
    struct finding *first, *last;
    const struct finding *decisive; /* first refusal that acts, else first tempfail, else NULL */
    int64_t sum;                    /* of the weights that count, as the checks gave them */
    unsigned n, lost;
    unsigned missed;    /* lost ones that would have counted: what was found is worse than known */
    uint32_t last_rcpt; /* of the last finding about one recipient, and how many there were */
    unsigned rcpt_n;
};

void verdict_init(struct verdict *v, struct arena *arena);
/* Copies f with its texts. The copy, or NULL if it was lost (ceiling or memory): a lost finding
 * that should have acted is remembered as a tempfail, so that nothing passes for lack of room. */
const struct finding *verdict_add(struct verdict *v, const struct finding *f);
/* Stands for findings that found no room: a tempfail. */
extern const struct finding verdict_no_room;
/* The stronger of two decisive findings; NULL is none. */
const struct finding *verdict_stronger(const struct finding *a, const struct finding *b);
/* What that stage found counts no more: it is about to be run again. Memory stays the arena's. */
void verdict_forget(struct verdict *, unsigned stage);
/* The same, of those only that came behind `mark` (v->last of then, NULL: from the start). */
void verdict_forget_since(struct verdict *, unsigned stage, const struct finding *mark);
/* "pass" "tag" "hold" "tempfail" "refuse" */
const char *verdict_action_name(uint8_t action);
/* Hundredths as "-12.50". */
const char *verdict_points(int64_t hundredths, char dst[32]);

#endif
