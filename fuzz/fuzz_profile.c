/*
 * fuzz/fuzz_profile.c - profiles from any settings: every mistake has a place, and what was read
 * judges findings so that the sum is that of the lines.
 */
#include "policy/judgement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const findings[] = {"one", "two", NULL};
static const struct check helo = {.name = "helo", .findings = findings}, spf = {.name = "spf"};
static const struct check *const checks[] = {&helo, &spf};

static void
judge(const struct profile *p)
{
    static const char *const names[] = {"one", "two", "three"};
    struct verdict v;
    const struct verdict *const verdicts[] = {&v};
    struct judgement j;
    struct arena arena;
    int64_t acts = 0, all = 0;

    arena_init(&arena, 1u << 20);
    verdict_init(&v, &arena);
    for (unsigned i = 0; i < 12; i++)
        verdict_add(&v, &(struct finding){.check = i % 2 ? "helo" : "spf",
                                          .name = names[i % 3],
                                          .group = i % 5 ? NULL : "g",
                                          .weight = (int32_t)(i * 100) - 400,
                                          .observed = i % 4 == 0});
    ENSURE(verdict_judge(&j, &arena, p, verdicts, 1, 0) == 0);
    for (unsigned i = 0; i < j.n; i++) {
        all += j.lines[i].weight;
        acts += j.lines[i].observed ? 0 : j.lines[i].weight;
    }
    ENSURE(acts == j.total && all == j.would_total);
    ENSURE(!p->observe || j.action == VERDICT_PASS);
    arena_done(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct conf_block *const blocks[] = {&policy_profile_block};
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    struct profile_set set = {0};
    struct conf *conf = NULL;

    texts.n = 1;
    texts.items[0] = (struct conf_text){STR("/etc/gapura/g.conf"), str_of(data, n)};
    conf_draft(&conf, &texts, blocks, 1, 1, &errs);
    if (conf && profile_set_build(&set, conf, checks, ARRAY_LEN(checks), &errs) == 0) {
        for (size_t i = 0; i < set.n; i++)
            judge(set.items[i]);
    }
    for (size_t i = 0; i < errs.n; i++)
        ENSURE(errs.items[i].text.n > 0);
    profile_set_done(&set);
    conf_free(conf);
    conf_errors_done(&errs);
    return 0;
}
