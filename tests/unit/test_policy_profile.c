/*
 * tests/unit/test_policy_profile.c - profiles out of settings: what they say, what builds on what,
 * every mistake with its line, and the shipped ones.
 */
#include "checks/table.h"
#include "policy_rig.h"

static struct finding
finding(const char *check, const char *name)
{
    return (struct finding){.check = check, .name = name, .weight = 77};
}

static int32_t
weighs(const struct profile *p, const char *check, const char *name)
{
    struct finding f = finding(check, name);

    return profile_weigh(p, &f, NULL);
}

static void
test_values(void)
{
    const struct profile_weight *row;
    const struct profile_group *group;
    const struct profile *p;
    struct finding f;

    OK(rig_profiles("profile a {\n"
                    " weight = alpha.one 1.5\n"
                    " weight = alpha.* -2, beta.one 0.25\n"
                    " group = early -1 4 alpha.* beta.one\n"
                    " group = late none 2.5\n"
                    " tag = 3\n hold = 5.5\n refuse = 10\n"
                    "}\n"),
       "a profile is read");
    p = profile_find(&rig_set, STR("a"));
    if (!p)
        return;
    IS(weighs(p, "alpha", "one"), 150, "a row of its own");
    IS(weighs(p, "alpha", "two"), -200, "a row for all of the check");
    IS(weighs(p, "beta", "one"), 25, "two rows on a line");
    IS(weighs(p, "beta", "two"), 77, "no row: the check's own weight");
    IS(weighs(NULL, "beta", "one"), 77, "nor without a profile");
    f = finding("alpha", "one");
    profile_weigh(p, &f, &row);
    OK(row && row->at.line == 2, "the row has its line");
    group = profile_group_of(p, &f);
    OK(group && group->least == -100 && group->most == 400 && group->at.line == 4, "its group");
    f = finding("gamma", "one");
    OK(!profile_group_of(p, &f), "nothing bounds the rest");
    f.group = "late";
    group = profile_group_of(p, &f);
    OK(group && group->most == 250 && group->least == -CONF_POINTS_NONE, "the check may name one");
    IS(profile_action(p, 299), VERDICT_PASS, "below all thresholds");
    IS(profile_action(p, 300), VERDICT_TAG, "at one");
    IS(profile_action(p, 999), VERDICT_HOLD, "no tempfail is named");
    IS(profile_action(p, 1000), VERDICT_REFUSE, "at the last");
    IS(p->thresholds_at[VERDICT_HOLD].line, 7, "thresholds have their lines");
    OK(!p->observe && !p->shipped, "acts, and is not shipped");
}

static void
test_bases(void)
{
    const struct profile *c, *standard;
    struct finding f = finding("alpha", "one");
    const struct profile_weight *row;

    OK(rig_profiles("profile c {\n base = b, a\n weight = alpha.two 9\n group = x -1 7\n}\n"
                    "profile a {\n weight = alpha.one 1\n weight = alpha.two 2\n"
                    " group = x -2 4 alpha.*\n tag = 1\n observe = yes\n}\n"
                    "profile b {\n weight = alpha.one 5\n hold = 6\n}\n"
                    "profile standard {\n base = standard\n hold = 9\n}\n"),
       "profiles that build on others, in any order");
    c = profile_find(&rig_set, STR("c"));
    standard = profile_find(&rig_set, STR("standard"));
    if (!c || !standard)
        return;
    IS(profile_weigh(c, &f, &row), 100, "the later base goes first");
    IS(row->at.line, 7, "and says where it stands");
    IS(weighs(c, "alpha", "two"), 900, "own rows go before all");
    OK(profile_group_of(c, &f) && profile_group_of(c, &f)->most == 700, "a group is changed");
    OK(c->ngroups == 1 && c->groups[0].least == -100, "and stays one");
    IS(c->thresholds[VERDICT_TAG], 100, "thresholds of the later base, too");
    IS(c->thresholds[VERDICT_HOLD], CONF_POINTS_NONE, "none of it is one as well");
    OK(c->observe, "observe is taken over");
    TEXT(c->bases, "b, a", "named for people");
    IS(standard->thresholds[VERDICT_HOLD], 900, "the shipped one may be built on");
    IS(standard->thresholds[VERDICT_REFUSE], 1500, "and the rest of it stays");
    OK(!standard->shipped, "ours stands in its place");
    OK(c->digest != standard->digest && c->digest, "digests differ");
}

struct mistake {
    unsigned line;
    const char *text;
};

static void
test_mistakes(void)
{
    static const struct mistake want[] = {
        {2, "there is no check `alpa`; did you mean `alpha`?"},
        {3, "the check `alpha` has no finding `tow`; did you mean `two`?"},
        {4, "`weight`: `alpha.one` is not CHECK.FINDING POINTS"},
        {5, "`weight`: 1000.01 points are too many"},
        {6, "`alpha` names no finding"},
        {7, "`group`: `g 1` is not NAME LEAST MOST FINDINGS"},
        {8, "LEAST is at most 0 and MOST at least 0 (here 1 and 2)"},
        {9, "there is no check `zeta`"},
        {10, "`hold`: mail that nothing was found against has 0 points"},
        {11, "`tag` at 3.00 would never happen, since `hold` begins at 0.00"},
        {12, "`refuse`: `x` is not a number of points"},
        {15, "profile \"one\" builds on itself"},
        {16, "there is no profile \"nobody\""},
        {19, "profile \"y\" builds on \"x\", which builds on it"},
    };
    bool seen[ARRAY_LEN(want)] = {false};

    OK(!rig_profiles("profile bad {\n"
                     " weight = alpa.one 1\n"
                     " weight = alpha.tow 1\n"
                     " weight = alpha.one\n"
                     " weight = alpha.one 1000.01\n"
                     " weight = alpha 1\n"
                     " group = g 1\n"
                     " group = g 1 2\n"
                     " group = g -1 2 zeta.*\n"
                     " hold = 0\n"
                     " tag = 3\n"
                     " refuse = x\n"
                     "}\n"
                     "profile one {\n base = one\n base = nobody\n}\n"
                     "profile x {\n base = y\n}\n"
                     "profile y {\n base = x\n}\n"),
       "mistakes are refused");
    for (size_t i = 0; i < rig_errs.n; i++) {
        const struct conf_error *e = &rig_errs.items[i];
        bool known = false;

        for (size_t k = 0; k < ARRAY_LEN(want); k++) {
            if (str_find(e->text, str_c(want[k].text)) < 0)
                continue;
            seen[k] = known = true;
            /* A threshold that cannot happen stands at the one that hides it. */
            if (want[k].line != 11 && want[k].line != 19)
                IS(e->line, want[k].line, "at its line: %s", want[k].text);
        }
        OK(known, "%u: %.*s", e->line, STR_ARG(e->text));
    }
    for (size_t k = 0; k < ARRAY_LEN(want); k++)
        OK(seen[k], "told: %s", want[k].text);
}

/* What is shipped is good, complete, and what the checks themselves say where nothing else is. */
static void
test_shipped(void)
{
    static const char *const names[] = {"standard", "strict", "lenient"};
    struct profile_set set;
    struct conf_errors errs = {0};
    const struct profile *standard;

    IS(profile_set_build(&set, NULL, checks_table, checks_count, &errs), 0, "shipped profiles");
    for (size_t i = 0; i < errs.n; i++)
        OK(false, "%.*s:%u: %.*s", STR_ARG(errs.items[i].file), errs.items[i].line,
           STR_ARG(errs.items[i].text));
    IS(set.n, ARRAY_LEN(names), "as many as there are files");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        OK(profile_find(&set, str_c(names[i])), "%s", names[i]);
    standard = profile_find(&set, STR(PROFILE_DEFAULT_NAME));
    for (size_t i = 0; standard && i < checks_count; i++) {
        for (size_t k = 0; checks_table[i]->findings && checks_table[i]->findings[k]; k++) {
            struct finding f = finding(checks_table[i]->name, checks_table[i]->findings[k]);
            const struct profile_weight *row;

            profile_weigh(standard, &f, &row);
            OK(row, "standard has a weight for %s.%s", f.check, f.name);
        }
    }
    profile_set_done(&set);
    conf_fail(&errs, STR("x"), 1, "a mistake elsewhere");
    IS(profile_set_build(&set, NULL, checks_table, checks_count, &errs), 0,
       "they are read whatever else is wrong");
    IS(errs.n, 1, "and nothing more is told");
    profile_set_done(&set);
    conf_errors_done(&errs);
}

int
main(void)
{
    test_values();
    test_bases();
    test_mistakes();
    test_shipped();
    rig_profiles_done();
    return tap_done();
}
