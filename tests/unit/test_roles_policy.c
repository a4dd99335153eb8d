/*
 * tests/unit/test_roles_policy.c - events judged again by another profile.
 */
#include "policy_rig.h"
#include "roles/policy.h"

static unsigned changes;
static char last_id[64];
static uint8_t last_was, last_now;
static int64_t last_total;

static void
changed(void *ctx, struct str id, uint8_t was, int64_t was_score, const struct judgement *now)
{
    (void)ctx;
    (void)was_score;
    changes++;
    str_fmt(last_id, sizeof(last_id), "%.*s", STR_ARG(id));
    last_was = was;
    last_now = now->action;
    last_total = now->total;
}

int
main(void)
{
    static const char *const lines[] = {
        "{\"type\":\"Reception\",\"id\":\"one\",\"score\":150,\"verdict\":\"pass\",\"findings\":[{"
        "\"stage\":\"helo\",\"check\":\"alpha\",\"name\":\"one\",\"weight\":150},{\"check\":"
        "\"policy\","
        "\"name\":\"ceiling\",\"weight\":-9000}]}",
        "{\"type\":\"Reception\",\"id\":\"two\",\"score\":0,\"verdict\":\"tag\",\"findings\":[{"
        "\"stage\":\"helo\",\"check\":\"alpha\",\"name\":\"one\",\"weight\":1,\"observed\":true,"
        "\"would\":\"refuse\"}]}",
        "{\"type\":\"Rejection\",\"session_id\":\"s3\",\"verdict\":\"refuse\",\"findings\":[{"
        "\"check\":\"beta\",\"name\":\"x\",\"weight\":1,\"action\":\"refuse\"}]}",
        "{\"type\":\"Reception\",\"id\":\"four\",\"user\":\"ann\",\"verdict\":\"pass\","
        "\"findings\":["
        "{\"check\":\"alpha\",\"name\":\"one\",\"weight\":1}]}",
        "{\"type\":\"Delivery\",\"id\":\"five\"}",
        "{\"type\":\"Reception\",\"id\":\"six\"}",
        "no JSON",
        "",
        "[1]",
        "{\"type\":7,\"findings\":[1,\"x\",{\"weight\":1e400}]}",
        "{\"type\":\"Reception\",\"findings\":[1,\"x\",{\"weight\":99999999999999},{\"check\":7}]}",
    };
    struct policy_counts counts = {0};
    const struct profile *p;

    OK(rig_profiles("profile p {\n weight = alpha.one 6\n hold = 6\n}\n"), "a profile");
    p = profile_find(&rig_set, STR("p"));
    policy_replay(p, str_c(lines[0]), &counts, changed, NULL);
    OK(changes == 1 && last_was == VERDICT_PASS && last_now == VERDICT_HOLD && last_total == 600,
       "weights are the profile's, ceilings are made anew");
    TEXT(str_c(last_id), "one", "told by its id");
    policy_replay(p, str_c(lines[1]), &counts, changed, NULL);
    OK(changes == 2 && last_now == VERDICT_PASS && last_total == 0, "observed ones do not count");
    policy_replay(p, str_c(lines[2]), &counts, changed, NULL);
    OK(changes == 2 && counts.would[VERDICT_REFUSE] == 1, "what a check refused stays refused");
    for (size_t i = 3; i < ARRAY_LEN(lines); i++)
        policy_replay(p, str_c(lines[i]), &counts, changed, NULL);
    IS(counts.others, 7, "all else is passed over");
    IS(counts.events, 4, "judged messages are counted");
    OK(counts.was[VERDICT_PASS] == 2 && counts.would[VERDICT_HOLD] >= 1, "by verdict");
    rig_profiles_done();
    return tap_done();
}
