/*
 * tests/unit/test_courier_trouble.c - what passes by itself is not held and costs no mail; what
 * does not is said.
 */
#include "courier/outs.h"
#include "courier_tests.h"

/* Mail that waits in a file, which the next courier cannot read. */
static void
away(char path[128], char aside[140])
{
    uint64_t number;

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig.rcpt = "451 4.7.1 come back later\r\n";
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    number = first_file(rig.gate.epoch);
    all_die();
    OK(rig_courier(&rig, true), "the next courier reads the file, not the ring");
    RIG_FOR(&rig, rig.courier->recovered && in_state(ROW_WAITING) == 1);
    index_message(&rig.courier->index, 0)->pins++; /* nor a copy of its own */
    str_fmt(path, 128, "%s/seg/%08llu.seg", rig.dir, (unsigned long long)number);
    str_fmt(aside, 140, "%s.away", path);
    OK(rename(path, aside) == 0, "%s is away", path);
    for (size_t i = 0; i < ARRAY_LEN(rig.courier->windows.items); i++)
        rig.courier->windows.items[i].n = 0;
    spool_files_forget(rig.courier->files, number);
    rig.rcpt = "250 2.1.5 ok\r\n";
}

static void
test_disk_comes_back(void)
{
    char path[128], aside[140];

    away(path, aside);
    for (int i = 0; i < 62; i++)
        pass(1);
    IS(rig.messages, 0, "nothing could be sent");
    IS(in_state(ROW_HELD), 0, "nor is it held at once");
    IS(rig.alarms, 0, "and nobody is woken");
    OK(rename(aside, path) == 0, "the disk is back");
    index_message(&rig.courier->index, 0)->pins--;
    for (int i = 0; i < 70 && rig.messages == 0; i++)
        pass(1);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig_done(&rig);
    clock_release();
}

static void
test_disk_stays_away(void)
{
    char path[128], aside[140];

    away(path, aside);
    for (int i = 0; i < 140; i++)
        pass(1);
    IS(in_state(ROW_HELD), 1, "held for a person");
    IS(rig.alarms, 1, "who is told");
    OK(rename(aside, path) == 0, "the disk is back");
    index_message(&rig.courier->index, 0)->pins--;
    verb("queue.release", "{\"all\":true}");
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig_done(&rig);
    clock_release();
}

/* An outcome that finds no memory is told. */
static void
test_no_memory_for_outcome(void)
{
    struct out *few[64];

    rig_init(&rig, ROUTE);
    for (size_t i = 0; i < ARRAY_LEN(few); i++) {
        few[i] = out_take(rig.courier, SPOOL_OUTCOME);
        few[i]->payload.max = 120; /* an intent fits */
    }
    for (size_t i = 0; i < ARRAY_LEN(few); i++)
        out_give(few[i]);
    rig.dot = "250 2.0.0 taken, with a text that does not fit where there is no memory for it, "
              "however one may look at it\r\n";
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries == 1);
    RIG_FOR(&rig, rig.alarms == 1);
    rig_done(&rig);
}

/* What a server says to the end of one mail is not said of the next. */
static void
test_enough_for_one_connection(void)
{
    rig_init(&rig, ROUTE "delivery {\n max_sessions_per_site = 1\n}\n");
    rig.mails_each = 2;
    for (int i = 0; i < 5; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries == 5);
    IS(rig.transients, 0, "none was put off");
    rig_done(&rig);
}

static void
test_rset_refused(void)
{
    rig_init(&rig, ROUTE "delivery {\n max_sessions_per_site = 1\n}\n");
    rig.rset = "554 5.7.0 too many errors\r\n";
    rig_post(&rig, "a@test.example", "bad@far.example", NULL, BODY);
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.bounces == 1 && strstr(rig.seen, "RCPT TO:<b@"));
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.bounces, 1, "the first is returned alone");
    IS(rig.messages, 2, "the second arrives, as does the report");
    rig_done(&rig);
}

/* A reply that comes line by line for ever. */
static void
test_dripping_reply(void)
{
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig.dot = NULL;
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1);
    for (int i = 0; i < 20 && rig.transients == 0; i++) {
        sink_say(rig.conns, "250-just a moment\r\n");
        rig_settle(&rig, 5);
        pass(59);
    }
    IS(rig.transients, 1, "ends: nobody knows whether it was taken");
    OK(strstr(rig.last_event, "timed out"), "%s", rig.last_event);
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"back", test_disk_comes_back},
        {"away", test_disk_stays_away},
        {"memory", test_no_memory_for_outcome},
        {"enough", test_enough_for_one_connection},
        {"rset", test_rset_refused},
        {"drip", test_dripping_reply},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
