/*
 * tests/unit/test_policy_judge.c - one decision out of many findings: ceilings, thresholds, the
 * second verdict, recipients, and that the sum is always what is shown.
 */
#include "policy_rig.h"

static struct arena arena;
static struct verdict verdict;
static struct judgement judged;

static void
found(const char *check, const char *name, int32_t weight, uint8_t action, bool observed,
      uint32_t rcpt)
{
    verdict_add(&verdict, &(struct finding){.check = check,
                                            .name = name,
                                            .weight = weight,
                                            .action = action,
                                            .observed = observed,
                                            .rcpt = rcpt});
}

static void
begin(void)
{
    arena_reset(&arena);
    verdict_init(&verdict, &arena);
}

static void
judge(const char *profile, uint32_t rcpt)
{
    const struct verdict *const verdicts[] = {&verdict, NULL};

    IS(verdict_judge(&judged, &arena, profile_find(&rig_set, str_c(profile)), verdicts, 2, rcpt), 0,
       "judged by %s", profile);
}

static const char profiles[] = "profile p {\n weight = alpha.one 4\n weight = beta.* 3\n"
                               " group = early -1 5 alpha.* beta.*\n group = kind -2 none gamma.*\n"
                               " tag = 2\n hold = 4\n tempfail = 6\n refuse = 8\n}\n"
                               "profile look {\n base = p\n observe = yes\n}\n";

static void
test_ceilings(void)
{
    begin();
    judge("p", 0);
    OK(judged.n == 0 && judged.total == 0 && judged.action == VERDICT_PASS, "nothing found");
    found("alpha", "one", 0, VERDICT_PASS, false, 0);
    found("beta", "one", 0, VERDICT_PASS, false, 0);
    judge("p", 0);
    IS(judged.n, 3, "a ceiling is a line");
    IS(judged.total, 500, "no more than the ceiling");
    IS(judged.lines[2].weight, -200, "what was cut off is shown");
    TEXT(judged.lines[2].group, "early", "with its group");
    IS(judged.action, VERDICT_HOLD, "and what follows");
    found("gamma", "one", -500, VERDICT_PASS, false, 0);
    judge("p", 0);
    IS(judged.total, 300, "a floor cuts off as well");
    IS(judged.action, VERDICT_TAG, "good findings help");
}

static void
test_second(void)
{
    begin();
    found("alpha", "one", 0, VERDICT_PASS, true, 0);
    found("alpha", "two", 300, VERDICT_PASS, false, 0);
    found("delta", "one", 400, VERDICT_REFUSE, true, 0);
    judge("p", 0);
    IS(judged.total, 300, "observed findings do not count");
    IS(judged.action, VERDICT_TAG, "nor act");
    IS(judged.would_total, 900, "in the second verdict they do, under the same ceilings");
    IS(judged.would, VERDICT_REFUSE, "and act");
    judge("look", 0);
    IS(judged.action, VERDICT_PASS, "a profile that observes does nothing");
    IS(judged.total, 300, "its sum is told");
    IS(judged.would, VERDICT_REFUSE, "and what would have been");
}

static void
test_actions(void)
{
    begin();
    found("delta", "one", 100, VERDICT_HOLD, false, 0);
    judge("p", 0);
    OK(judged.action == VERDICT_HOLD && judged.by == verdict.first,
       "a finding may say what follows");
    found("delta", "two", 500, VERDICT_TAG, false, 0);
    judge("p", 0);
    OK(judged.action == VERDICT_TEMPFAIL && !judged.by, "the stronger of it and the sum counts");
    begin();
    for (unsigned i = 0; i <= VERDICT_FINDINGS_MAX; i++)
        found("delta", "one", 0, VERDICT_PASS, false, 0);
    judge("p", 0);
    IS(judged.action, VERDICT_TEMPFAIL, "nothing passes for lack of room");
    OK(judged.by == &verdict_no_room && judged.missed == 1, "and it says so");
    verdict_judge(&judged, &arena, NULL, (const struct verdict *[]){&verdict}, 1, 0);
    IS(judged.action, VERDICT_TEMPFAIL, "without a profile as well");
}

static void
test_recipients(void)
{
    begin();
    found("alpha", "one", 0, VERDICT_PASS, false, 0);
    found("delta", "one", 900, VERDICT_PASS, false, 1);
    found("delta", "two", 50, VERDICT_PASS, false, 2);
    judge("p", 1);
    IS(judged.total, 1300, "its own findings count");
    judge("p", 2);
    IS(judged.total, 450, "those of another one do not");
    judge("p", 3);
    IS(judged.total, 400, "and what concerns all does");
}

static void
test_together(void)
{
    static const struct {
        uint8_t actions[3], together, applied[3];
    } cases[] = {
        {{0, 0, 0}, VERDICT_PASS, {0, 0, 0}},
        {{VERDICT_REFUSE, VERDICT_REFUSE, VERDICT_REFUSE},
         VERDICT_REFUSE,
         {VERDICT_REFUSE, VERDICT_REFUSE, VERDICT_REFUSE}},
        {{VERDICT_REFUSE, VERDICT_TEMPFAIL, VERDICT_REFUSE},
         VERDICT_TEMPFAIL,
         {VERDICT_TEMPFAIL, VERDICT_TEMPFAIL, VERDICT_TEMPFAIL}},
        {{VERDICT_REFUSE, VERDICT_PASS, VERDICT_TEMPFAIL},
         VERDICT_PASS,
         {VERDICT_HOLD, VERDICT_PASS, VERDICT_HOLD}},
        {{VERDICT_REFUSE, VERDICT_HOLD, VERDICT_TAG},
         VERDICT_PASS,
         {VERDICT_HOLD, VERDICT_HOLD, VERDICT_TAG}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t together = verdict_together(cases[i].actions, 3);

        IS(together, cases[i].together, "case %zu: what the client is told", i);
        for (size_t k = 0; k < 3; k++)
            IS(verdict_applied(cases[i].actions[k], together), cases[i].applied[k],
               "what becomes of recipient %zu", k);
    }
    IS(verdict_together(NULL, 0), VERDICT_PASS, "nobody is against it");
}

/* Over findings by chance: the sums are those of the lines, no group is over its ceilings, and
 * what is shown of each finding is there once. */
static void
test_property(void)
{
    static const char *const names[] = {"p", "look", "standard", "none"};
    unsigned wrong_sum = 0, wrong_group = 0, wrong_count = 0, wrong_action = 0, wrong_second = 0;

    for (unsigned round = 0; round < 3000; round++) {
        const struct profile *p = profile_find(&rig_set, str_c(names[rig_random(4)]));
        const struct verdict *const verdicts[] = {&verdict};
        int64_t acts = 0, all = 0, groups[PROFILE_GROUPS_MAX] = {0};
        uint32_t rcpt = rig_random(4);
        unsigned findings = 0, concerned = 0;

        begin();
        rig_findings(&verdict, rig_random(70), 3);
        if (verdict_judge(&judged, &arena, p, verdicts, 1, rcpt) < 0)
            continue;
        for (unsigned i = 0; i < judged.n; i++) {
            const struct judged_line *line = &judged.lines[i];

            all += line->weight;
            acts += line->observed ? 0 : line->weight;
            findings += line->finding != NULL;
            for (size_t g = 0; p && !line->observed && g < p->ngroups; g++) {
                if (str_eq(p->groups[g].name, line->group) &&
                    (!line->finding || profile_group_of(p, line->finding)))
                    groups[g] += line->weight;
            }
        }
        for (const struct finding *f = verdict.first; f; f = f->next)
            concerned += f->rcpt == 0 || f->rcpt == rcpt;
        wrong_sum += acts != judged.total || all != judged.would_total;
        wrong_count += findings != concerned;
        for (size_t g = 0; p && g < p->ngroups; g++)
            wrong_group += groups[g] < p->groups[g].least || groups[g] > p->groups[g].most;
        wrong_action +=
            !judged.by && judged.action > 0 && judged.action != profile_action(p, judged.total);
        wrong_second += (p && p->observe) && judged.action != VERDICT_PASS;
    }
    IS(wrong_sum, 0, "the sum is what is shown");
    IS(wrong_count, 0, "each finding is shown once");
    IS(wrong_group, 0, "no group is over its ceilings");
    IS(wrong_action, 0, "an action has a threshold or a finding");
    IS(wrong_second, 0, "what observes never acts");
}

/* ---- profiles by chance ---- */

/* A bound: none, 0, or of one of these sizes. */
static void
put_bound(struct buf *b, bool below)
{
    static const char *const bounds[] = {"none", "0", "0.01", "3", "12.34", "9999999.99"};
    unsigned i = rig_random(ARRAY_LEN(bounds));

    buf_fmt(b, " %s%s", i > 1 && below ? "-" : "", bounds[i]);
}

static void
put_profile(struct buf *b)
{
    static const char *const patterns[] = {"alpha.one", "alpha.*", "beta.two", "beta.*", "gamma.*"};
    static const char *const actions[] = {"tag", "hold", "tempfail", "refuse"};
    unsigned from = rig_random(4);

    buf_clear(b);
    buf_c(b, "profile chance {\n");
    for (unsigned i = rig_random(6); i-- > 0;)
        buf_fmt(b, " weight = %s %s%u.%02u\n", patterns[rig_random(ARRAY_LEN(patterns))],
                rig_random(2) ? "-" : "", rig_random(1000), rig_random(100));
    for (unsigned i = rig_random(6); i-- > 0;) {
        buf_fmt(b, " group = %s", i & 1 ? "early" : i & 2 ? "gamma" : "late");
        put_bound(b, true);
        put_bound(b, false);
        buf_fmt(b, " %s %s\n", patterns[rig_random(ARRAY_LEN(patterns))],
                patterns[rig_random(ARRAY_LEN(patterns))]);
    }
    for (unsigned i = from; i < ARRAY_LEN(actions); i++)
        if (rig_random(3))
            buf_fmt(b, " %s = %u.%02u\n", actions[i], 5 * i + 1 + rig_random(5), rig_random(100));
    buf_fmt(b, " observe = %s\n}\n", rig_random(4) ? "no" : "yes");
}

/* The stronger of what the sum reaches and of what a finding that counts says. */
static uint8_t
action_of(const struct profile *p, int64_t sum, bool with_observed)
{
    uint8_t action = profile_action(p, sum);

    for (unsigned i = 0; i < judged.n; i++) {
        const struct finding *f = judged.lines[i].finding;
        if (f && (with_observed || !f->observed))
            action = MAX(action, f->action);
    }
    return judged.missed ? MAX(action, (uint8_t)VERDICT_TEMPFAIL) : action;
}

static void
test_property_profiles(void)
{
    unsigned bad = 0, wrong_sum = 0, wrong_group = 0, wrong_action = 0, wrong_weight = 0;
    struct buf text;

    buf_init(&text, 1u << 16);
    for (unsigned set = 0; set < 200; set++) {
        put_profile(&text);
        buf_char(&text, '\0');
        bad += !rig_profiles(text.p);
        const struct profile *p = profile_find(&rig_set, STR("chance"));
        for (unsigned round = 0; round < 20 && p; round++) {
            const struct verdict *const verdicts[] = {NULL, &verdict};
            int64_t acts = 0, all = 0, of_acts[PROFILE_GROUPS_MAX] = {0},
                    of_all[PROFILE_GROUPS_MAX] = {0};

            begin();
            rig_findings(&verdict, rig_random(90), 2);
            if (verdict_judge(&judged, &arena, p, verdicts, 2, rig_random(3)) < 0)
                continue;
            for (unsigned i = 0; i < judged.n; i++) {
                const struct judged_line *line = &judged.lines[i];
                const struct profile_group *g =
                    line->finding ? profile_group_of(p, line->finding) : NULL;

                for (size_t k = 0; !line->finding && k < p->ngroups; k++)
                    g = str_eq(p->groups[k].name, line->group) ? &p->groups[k] : g;
                all += line->weight;
                acts += line->observed ? 0 : line->weight;
                if (g)
                    of_all[g - p->groups] += line->weight;
                if (g && !line->observed)
                    of_acts[g - p->groups] += line->weight;
                wrong_weight +=
                    line->finding && line->weight != profile_weigh(p, line->finding, NULL);
            }
            for (size_t k = 0; k < p->ngroups; k++)
                wrong_group += of_acts[k] < p->groups[k].least || of_acts[k] > p->groups[k].most ||
                               of_all[k] < p->groups[k].least || of_all[k] > p->groups[k].most;
            wrong_sum += acts != judged.total || all != judged.would_total;
            wrong_action += judged.would != action_of(p, judged.would_total, true);
            wrong_action +=
                judged.action != (p->observe ? VERDICT_PASS : action_of(p, judged.total, false));
        }
    }
    IS(bad, 0, "profiles by chance are read: %.*s", rig_errs.n ? (int)rig_errs.items[0].text.n : 0,
       rig_errs.n ? rig_errs.items[0].text.p : "");
    IS(wrong_weight, 0, "a finding weighs what its profile says");
    IS(wrong_sum, 0, "both sums are what is shown");
    IS(wrong_group, 0, "both sums of a group are within its bounds");
    IS(wrong_action, 0, "both verdicts are the stronger of sum and findings");
    buf_done(&text);
}

int
main(void)
{
    arena_init(&arena, 4u << 20);
    OK(rig_profiles(profiles), "profiles");
    for (size_t i = 0; i < rig_errs.n; i++)
        printf("# %u: %.*s\n", rig_errs.items[i].line, STR_ARG(rig_errs.items[i].text));
    test_ceilings();
    test_second();
    test_actions();
    test_recipients();
    test_together();
    test_property();
    test_property_profiles();
    rig_profiles_done();
    arena_done(&arena);
    return tap_done();
}
