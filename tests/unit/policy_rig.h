/*
 * tests/unit/policy_rig.h - profiles out of a text, findings by chance, for tests of the judgement
 * and of its record.
 */
#ifndef GAPURA_POLICY_RIG_H
#define GAPURA_POLICY_RIG_H

#include "policy/judgement.h"
#include "tap.h"

static struct profile_set rig_set;
static struct conf *rig_conf;
static struct conf_errors rig_errs;

static const char *const rig_alpha_findings[] = {"one", "two", "three", NULL};
static const struct check rig_alpha = {.name = "alpha", .findings = rig_alpha_findings};
static const struct check rig_beta = {.name = "beta"};
static const struct check rig_gamma = {.name = "gamma"};
static const struct check *const rig_checks[] = {&rig_alpha, &rig_beta, &rig_gamma};

__attribute__((unused)) static void
rig_profiles_done(void)
{
    profile_set_done(&rig_set);
    conf_free(rig_conf);
    conf_errors_done(&rig_errs);
    rig_conf = NULL;
}

/* Reads the text; mistakes are in rig_errs. Names of findings are those above. */
__attribute__((unused)) static bool
rig_profiles(const char *text)
{
    static const struct conf_block *const blocks[] = {&policy_profile_block};
    static struct conf_texts texts;
    struct conf_errors shipped = {0};
    int rc;

    rig_profiles_done();
    texts.n = 1;
    texts.items[0] = (struct conf_text){.path = STR("p.conf"), .text = str_c(text)};
    conf_draft(&rig_conf, &texts, blocks, 1, 1, &rig_errs);
    /* The shipped ones speak of the program's checks: only mistakes in ours are looked at. */
    rc = profile_set_build(&rig_set, rig_conf, rig_checks, ARRAY_LEN(rig_checks), &shipped);
    for (size_t i = 0; i < shipped.n; i++) {
        if (!str_starts(shipped.items[i].file, STR("shipped:")))
            conf_fail(&rig_errs, shipped.items[i].file, shipped.items[i].line, "%.*s",
                      STR_ARG(shipped.items[i].text));
    }
    conf_errors_done(&shipped);
    return rc == 0 && rig_errs.n == 0;
}

/* Always the same row of numbers. */
static uint64_t rig_seed = 88172645463325252u;
__attribute__((unused)) static uint32_t
rig_random(uint32_t below)
{
    rig_seed ^= rig_seed << 13;
    rig_seed ^= rig_seed >> 7;
    rig_seed ^= rig_seed << 17;
    return (uint32_t)(rig_seed >> 32) % below;
}

__attribute__((unused)) static void
rig_findings(struct verdict *v, unsigned n, uint32_t rcpts)
{
    static const char *const checks[] = {"alpha", "beta", "gamma", "delta"};
    static const char *const names[] = {"one", "two", "three"};
    static const char *const groups[] = {NULL, NULL, "early", "nowhere"};
    static const char *const texts[] = {"", "x", "192.0.2.1", "a b c \xc3\xa4\xc3\xb6",
                                        "\x1b[31mred\x1b[0m \"quoted\" \\"};

    for (unsigned i = 0; i < n; i++) {
        verdict_add(v, &(struct finding){
                           .check = checks[rig_random(ARRAY_LEN(checks))],
                           .name = names[rig_random(ARRAY_LEN(names))],
                           .group = groups[rig_random(ARRAY_LEN(groups))],
                           .input = str_c(texts[rig_random(ARRAY_LEN(texts))]),
                           .rule = str_c(texts[rig_random(ARRAY_LEN(texts))]),
                           .list = str_c(texts[rig_random(ARRAY_LEN(texts))]),
                           .weight = (int32_t)rig_random(2001) - 1000,
                           .rcpt = rcpts ? rig_random(rcpts + 1) : 0,
                           .stage = (uint8_t)rig_random(STAGE_MAX_),
                           .action = (uint8_t)(rig_random(8) ? 0 : rig_random(VERDICT_ACTIONS_)),
                           .observed = rig_random(3) == 0,
                       });
    }
}

#endif
