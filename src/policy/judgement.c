/*
 * policy/judgement.c - weights, ceilings, the sum, what follows from it.
 *
 * Called by the gate at the end of a message and for the record of a refusal. Never replies, never
 * looks at anything but findings and profile.
 */
#include "policy/judgement.h"

#include "core/err.h"

struct sums { /* of the lines under one group's ceilings */
    int64_t acts, all;
};

static bool
finding_concerns(const struct finding *f, uint32_t rcpt)
{
    return f->rcpt == 0 || f->rcpt == rcpt;
}

static unsigned
count_lines(const struct verdict *const *verdicts, size_t n, uint32_t rcpt)
{
    unsigned lines = 0;

    for (size_t i = 0; i < n; i++) {
        for (const struct finding *f = verdicts[i] ? verdicts[i]->first : NULL; f; f = f->next)
            lines += finding_concerns(f, rcpt);
    }
    return lines;
}

static void
add_line(struct judgement *j, struct judged_line line)
{
    j->lines[j->n++] = line;
    j->would_total += line.weight;
    if (!line.observed)
        j->total += line.weight;
}

static void
judge_finding(struct judgement *j, const struct finding *f, struct sums *sums)
{
    const struct profile_group *group = profile_group_of(j->profile, f);
    struct judged_line line = {
        .finding = f,
        .group = group ? group->name : str_c(f->group ? f->group : f->check),
        .weight = profile_weigh(j->profile, f, NULL),
        .observed = f->observed,
    };

    add_line(j, line);
    if (!j->would_by || f->action > j->would_by->action)
        j->would_by = f;
    if (!f->observed && (!j->by || f->action > j->by->action))
        j->by = f;
    if (!group || !j->profile)
        return;
    sums[group - j->profile->groups].all += line.weight;
    if (!f->observed)
        sums[group - j->profile->groups].acts += line.weight;
}

/* What a group's bounds add to its sum. */
static int64_t
cut_off(const struct profile_group *g, int64_t sum)
{
    return MIN(MAX(sum, g->least), g->most) - sum;
}

/* The observed line is what more would be cut off: so the sum of all lines is the second total. */
static void
judge_ceilings(struct judgement *j, const struct sums *sums)
{
    for (size_t i = 0; j->profile && i < j->profile->ngroups; i++) {
        const struct profile_group *g = &j->profile->groups[i];
        int64_t acts = cut_off(g, sums[i].acts), all = cut_off(g, sums[i].all);

        if (acts)
            add_line(j, (struct judged_line){.group = g->name, .weight = (int32_t)acts});
        if (all != acts)
            add_line(j, (struct judged_line){
                            .group = g->name, .weight = (int32_t)(all - acts), .observed = true});
    }
}

/* The stronger of threshold and finding; *by is left to the finding only if it is the one. */
static uint8_t
judge_action(const struct judgement *j, int64_t total, const struct finding **by)
{
    uint8_t action = profile_action(j->profile, total);

    if (j->missed && action < VERDICT_TEMPFAIL && (!*by || (*by)->action < VERDICT_TEMPFAIL))
        *by = &verdict_no_room;
    if (*by && (*by)->action > action)
        return (*by)->action;
    *by = NULL;
    return action;
}

int
verdict_judge(struct judgement *ret, struct arena *arena, const struct profile *profile,
              const struct verdict *const *verdicts, size_t n, uint32_t rcpt)
{
    struct sums sums[PROFILE_GROUPS_MAX] = {0};
    struct judgement j = {.profile = profile};
    unsigned most = count_lines(verdicts, n, rcpt) + 2 * (profile ? (unsigned)profile->ngroups : 0);

    j.lines = ARENA_ARRAY(arena, struct judged_line, most + 1);
    if (!j.lines)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        for (const struct finding *f = verdicts[i] ? verdicts[i]->first : NULL; f; f = f->next) {
            if (finding_concerns(f, rcpt))
                judge_finding(&j, f, sums);
        }
        j.missed += verdicts[i] ? verdicts[i]->missed : 0;
    }
    judge_ceilings(&j, sums);
    j.action = judge_action(&j, j.total, &j.by);
    j.would = judge_action(&j, j.would_total, &j.would_by);
    if (profile && profile->observe) {
        j.action = VERDICT_PASS;
        j.by = NULL;
    }
    j.applied = j.action;
    *ret = j;
    return 0;
}

uint8_t
verdict_together(const uint8_t *actions, size_t n)
{
    uint8_t least = n ? VERDICT_REFUSE : VERDICT_PASS;

    for (size_t i = 0; i < n; i++)
        least = MIN(least, actions[i]);
    return verdict_replies(least) ? least : VERDICT_PASS;
}

uint8_t
verdict_applied(uint8_t action, uint8_t together)
{
    if (verdict_replies(together))
        return together;
    return verdict_replies(action) ? VERDICT_HOLD : action;
}
