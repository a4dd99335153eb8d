/*
 * tests/unit/test_policy_verdict.c - findings: their room, their actions, how they are shown.
 */
#include "policy/verdict.h"
#include "tap.h"

static struct arena arena;
static struct verdict verdict;

static const struct finding *
add(uint32_t rcpt, int32_t weight, uint8_t action, bool observed)
{
    return verdict_add(&verdict, &(struct finding){.check = "check",
                                                   .name = "name",
                                                   .input = STR("what was looked at"),
                                                   .list = STR("list 7"),
                                                   .weight = weight,
                                                   .rcpt = rcpt,
                                                   .action = action,
                                                   .observed = observed});
}

static void
test_actions(void)
{
    verdict_init(&verdict, &arena);
    add(0, 100, VERDICT_TAG, false);
    add(0, 100, VERDICT_HOLD, false);
    OK(!verdict.decisive, "tag and hold act on mail that was taken: no reply is decided");
    add(0, 100, VERDICT_REFUSE, true);
    OK(!verdict.decisive, "nor by what is observed");
    add(0, 100, VERDICT_TEMPFAIL, false);
    add(0, 100, VERDICT_REFUSE, false);
    OK(verdict.decisive && verdict.decisive->action == VERDICT_REFUSE, "a refusal decides");
    IS(verdict.sum, 400, "observed ones do not count");
    TEXT(verdict.first->input, "what was looked at", "the input is kept");
    TEXT(verdict.first->list, "list 7", "and the list");
    for (unsigned i = 0; i + 1 < VERDICT_ACTIONS_; i++)
        OK(strcmp(verdict_action_name((uint8_t)i), verdict_action_name((uint8_t)(i + 1))) != 0,
           "%s has a name of its own", verdict_action_name((uint8_t)i));
    TEXT(str_c(verdict_action_name(200)), "pass", "an unknown action is none");
}

static void
test_room(void)
{
    verdict_init(&verdict, &arena);
    for (uint32_t rcpt = 1; rcpt <= 40; rcpt++)
        for (unsigned i = 0; i < 3; i++)
            add(rcpt, 1, VERDICT_PASS, false);
    IS(verdict.sum, 120, "each recipient has room of its own");
    for (unsigned i = 0; i < VERDICT_RCPT_FINDINGS_MAX + 2; i++)
        add(41, 1, VERDICT_PASS, false);
    IS(verdict.missed, 2, "up to a ceiling");
    for (unsigned i = 0; i < VERDICT_FINDINGS_MAX; i++)
        OK(add(0, 1, VERDICT_PASS, false) != NULL, "they take none from the message's");
    add(0, 1, VERDICT_PASS, true);
    IS(verdict.missed, 2, "an observed one that is lost changes nothing");
    IS(verdict.lost, 3, "and is counted");
    add(0, 1, VERDICT_PASS, false);
    IS(verdict.missed, 3, "one that would have counted is missed");
    verdict_init(&verdict, &arena);
    IS(add(0, INT32_MAX, VERDICT_PASS, false)->weight, VERDICT_WEIGHT_MAX, "weights are clipped");
    IS(add(0, INT32_MIN, VERDICT_PASS, false)->weight, -VERDICT_WEIGHT_MAX, "below as well");
}

static void
test_points(void)
{
    static const struct {
        int64_t value;
        const char *text;
    } cases[] = {{0, "0.00"},
                 {5, "0.05"},
                 {-5, "-0.05"},
                 {1250, "12.50"},
                 {-1250, "-12.50"},
                 {100000, "1000.00"},
                 {INT64_MIN, "-92233720368547758.08"}};
    char text[32];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        TEXT(str_c(verdict_points(cases[i].value, text)), cases[i].text, "%s", cases[i].text);
}

int
main(void)
{
    arena_init(&arena, 1u << 20);
    test_actions();
    test_room();
    test_points();
    arena_done(&arena);
    return tap_done();
}
