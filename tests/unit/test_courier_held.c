/*
 * tests/unit/test_courier_held.c - mail that the guard's verdict set aside: it waits, says why,
 * comes through crashes and compaction, and goes when somebody says so.
 */
#include "courier_tests.h"
#include "policy/record.h"

static bool
has(const char *text)
{
    return strstr(said, text) != NULL;
}

/* Bytes of a record with one finding, as the gate writes them. */
static struct str
decision(struct arena *arena)
{
    struct profile p = {.name = STR("careful"), .digest = 1};
    struct verdict v;
    const struct verdict *const verdicts[] = {&v};
    struct judgement j;
    struct record r;
    CLEANUP(buf_done) struct buf bytes;

    buf_init(&bytes, RECORD_MAX);
    for (unsigned i = 0; i < VERDICT_ACTIONS_; i++)
        p.thresholds[i] = CONF_POINTS_NONE;
    p.thresholds[VERDICT_HOLD] = 500;
    verdict_init(&v, arena);
    verdict_add(&v, &(struct finding){.check = "spf",
                                      .name = "fail",
                                      .input = STR("far.example"),
                                      .rule = STR("-all"),
                                      .weight = 650});
    OK(verdict_judge(&j, arena, &p, verdicts, 1, 0) == 0 &&
           record_make(&r, arena, 1, &j, 1, NULL, 0) == 0,
       "a record");
    record_encode(&bytes, &r);
    return arena_str(arena, buf_view(&bytes));
}

static bool
explained(void)
{
    verb("explain", "{\"recipient\":\"held@test.example\"}");
    return has("verdict: hold at 6.50, profile careful (hold from 5.00)") &&
           has("6.50  spf.fail: far.example, by -all");
}

static void
test_held(void)
{
    struct spool_envelope in = {.flags = SPOOL_MAIL_INBOUND, .class = SPOOL_CLASS_INSIDE};
    struct arena arena;

    arena_init(&arena, 1u << 20);
    in.decision = decision(&arena);
    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@far.example", "!held@test.example free@test.example", &in, BODY);
    RIG_FOR(&rig, rig.messages == 1);
    rig_settle(&rig, 50);
    OK(waiting() == 1 && in_state(ROW_HELD) == 1, "one recipient has it, the other waits");
    verb("queue.list", "{\"state\":\"held\"}");
    OK(has("held@test.example") && has("verdict of the guard"), "and says why: %s", said);
    OK(explained(), "explain has the whole record: %s", said);
    rig_crash(&rig);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream");
    OK(rig_courier(&rig, true), "a new courier");
    RIG_FOR(&rig, in_state(ROW_HELD) == 1);
    OK(explained(), "all of it is in the log");
    rig_settle(&rig, 50);
    IS(rig.messages, 1, "nothing went by itself");
    IS(verb("queue.release", "{\"recipient\":\"held@test.example\"}"), 0, "%s", ended);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 2, "released mail is delivered");
    rig_done(&rig);
    arena_done(&arena);
}

/* What lies around it goes; the copy keeps that it is held, why, and the record. */
static void
test_compaction(void)
{
    struct spool_envelope in = {.flags = SPOOL_MAIL_INBOUND, .class = SPOOL_CLASS_INSIDE};
    char *big = malloc(200001);
    struct arena arena;

    memset(big, 'y', 200000);
    big[200000] = '\0';
    for (size_t i = 998; i < 200000; i += 1000)
        memcpy(big + i, "\r\n", 2);
    arena_init(&arena, 1u << 20);
    in.decision = decision(&arena);
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@far.example", "free@test.example !held@test.example", &in, BODY);
    in.decision = STR_NONE;
    for (int i = 0; i < 60; i++)
        rig_post(&rig, "a@far.example", "b@test.example", &in, big);
    RIG_FOR(&rig, waiting() == 1);
    for (int i = 0; i < 50 && rig.freed < 2; i++)
        pass(1);
    OK(rig.freed >= 2, "segments freed: %u", rig.freed);
    IS(in_state(ROW_HELD), 1, "it is still held");
    rig_crash(&rig);
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "a new gate");
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream");
    OK(rig_courier(&rig, true), "a new courier");
    RIG_FOR(&rig, in_state(ROW_HELD) == 1);
    verb("queue.list", "{}");
    OK(has("verdict of the guard"), "with its reason: %s", said);
    OK(explained() && has("copied"), "and its record: %s", said);
    verb("queue.remove", "{\"all\":true,\"reason\":\"spam\"}");
    RIG_FOR(&rig, waiting() == 0);
    free(big);
    rig_done(&rig);
    arena_done(&arena);
    clock_release();
}

/* Two crashes in a row hold mail, though its first record was moved between them. */
static void
test_crash_and_copy(void)
{
    char *big = big_body();

    own_clock();
    rig_init(&rig, ROUTE "delivery {\n retry = 5h\n retry_max = 5h\n jitter_percent = 0\n}\n");
    rig.dot = NULL; /* never answers */
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1);
    next_courier();
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.courier->load.unknown, 1, "one crash leaves it unknown");
    rig.dot = "250 2.0.0 ok\r\n";
    for (int i = 0; i < 60; i++)
        rig_post(&rig, "a@test.example", "c@far.example", NULL, big);
    RIG_FOR(&rig, waiting() == 1);
    for (int i = 0; i < 50 && rig.freed < 2; i++)
        pass(1);
    OK(rig.freed >= 2, "segments freed: %u", rig.freed);
    verb("explain", "{\"recipient\":\"b@far.example\"}");
    OK(has("still unknown, noted with its copy: "), "which is no further crash: %s", said);
    next_courier();
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    rig.dot = NULL;
    rig.messages = 0;
    verb("queue.retry", "{\"all\":true}");
    RIG_FOR(&rig, rig.messages == 1);
    next_courier();
    RIG_FOR(&rig, in_state(ROW_HELD) == 1);
    verb("queue.list", "{}");
    OK(has("two crashes"), "held, and says why: %s", said);
    free(big);
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"held", test_held},
        {"compaction", test_compaction},
        {"crash", test_crash_and_copy},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
