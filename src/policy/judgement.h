/*
 * policy/judgement.h - the law that makes one decision of many findings, for each recipient.
 *
 * Pure: takes findings and a profile, returns lines and actions. The lines are all there is: their
 * sum is the total, whatever a profile clips, and nothing is rounded (all are whole hundredths).
 *
 * One message's way: verdict_judge() is called once for all recipients who have the same profile
 * and no findings of their own, once for each other one; verdict_together() says what the client is
 * told for all of them, verdict_applied() what becomes of each when the client was told yes.
 */
#ifndef GAPURA_POLICY_JUDGEMENT_H
#define GAPURA_POLICY_JUDGEMENT_H

#include "policy/profile.h"

struct judged_line {
    const struct finding *finding; /* NULL: what the group's ceiling cut off */
    struct str group;
    int32_t weight; /* in this verdict */
    bool observed;  /* counts in the second verdict alone */
};
/* Two verdicts side by side: the one that acts, and the one that would have followed if nothing
 * were only observed, neither a check nor the profile. */
struct judgement {
    const struct profile *profile; /* NULL: weights as the checks gave them, and no thresholds */
    struct judged_line *lines;
    unsigned n;
    int64_t total, would_total;          /* of the lines that are not observed; of all */
    uint8_t action, would;               /* enum verdict_action */
    uint8_t applied;                     /* what became of it: action, unless others took part */
    const struct finding *by, *would_by; /* whose action it is; NULL: the threshold's */
    unsigned missed; /* findings that found no room: then it is tempfail at least */
};
/* Findings of all recipients and of that one (0: none), out of n verdicts (NULL ones are empty). */
int verdict_judge(struct judgement *ret, struct arena *, const struct profile *,
                  const struct verdict *const *verdicts, size_t n, uint32_t rcpt);

/* SMTP has one answer for all recipients of a body: PASS, TEMPFAIL or REFUSE. It is no only if it
 * is for each of them: nobody's profile keeps mail from somebody else. */
uint8_t verdict_together(const uint8_t *actions, size_t n);
/* What becomes of a recipient's mail then. What cannot be answered any more is set aside. */
uint8_t verdict_applied(uint8_t action, uint8_t together);

#endif
