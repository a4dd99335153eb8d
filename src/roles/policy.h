/*
 * roles/policy.h - `gapura policy`: the profiles that the settings give, and what they would have
 * made of mail that events tell of.
 */
#ifndef GAPURA_ROLES_POLICY_H
#define GAPURA_ROLES_POLICY_H

#include "core/base.h"
#include "core/str.h"
#include "policy/judgement.h"

int policy_main(int argc, char **argv); /* its exit status */
struct args;
struct ctl_verb;
int policy_senders(const struct ctl_verb *,
                   const struct args *); /* the same, of `policy senders` */

struct policy_counts { /* messages by verdict: as they were told, and as they would be now */
    uint64_t was[VERDICT_ACTIONS_], would[VERDICT_ACTIONS_];
    uint64_t events, changed, others; /* others: lines that are no judged message */
};
/* Each line of a file of events ("-": standard input). 0; 2 if it cannot be read, which was said.
 */
int policy_events(const char *path, void (*line)(void *ctx, struct str line), void *ctx);
/* Judges one line of events again. changed() hears of each whose verdict differs. */
void policy_replay(const struct profile *, struct str line, struct policy_counts *,
                   void (*changed)(void *ctx, struct str id, uint8_t was, int64_t was_score,
                                   const struct judgement *now),
                   void *ctx);

#endif
