/*
 * tests/unit/test_courier_order.c - what is said of a recipient reaches the log in the order in
 * which it was said, whatever the disk does, and a removal finds what comes back later.
 */
#include "courier/outcome.h"
#include "courier/outs.h"
#include "courier_tests.h"

static uint32_t
only_row(void)
{
    for (uint32_t i = 0; i < rig.courier->index.rows.next; i++)
        if (index_row(&rig.courier->index, i)->state != ROW_FREE)
            return i;
    return INDEX_NONE;
}

static void
operator_says(uint8_t result, const char *text)
{
    uint32_t row = only_row();

    outcome_operator(rig.courier, index_row(&rig.courier->index, row)->message, &row, 1, result,
                     str_c(text));
}

/* The batch in flight fails, and nobody has heard of it yet. */
static void
disk_fails(unsigned times)
{
    uint64_t errors;
    struct spool_writer_stats st;

    spool_writer_stats(rig.own.writer, &st);
    errors = st.errors + times;
    rig_disk.fail = times;
    rig_disk.hold = false;
    for (unsigned i = 0; st.errors < errors && i < 15000; i++) {
        poll(NULL, 0, 1);
        spool_writer_stats(rig.own.writer, &st);
    }
    OK(st.errors >= errors, "the disk fails %u times", times);
}

static void
log_takes_again(void)
{
    for (int i = 0; i < 50 && (outs_waiting(rig.courier) > 0 || outs_open(rig.courier) > 0 ||
                               outs_full(rig.courier));
         i++)
        pass(1);
    IS(outs_waiting(rig.courier), 0, "the log takes outcomes again");
    RIG_FOR(&rig, outs_open(rig.courier) == 0);
}

/* Held, then released, then held again: the next courier must know the last word. */
static void
test_words_in_order(void)
{
    for (int late = 0; late < 3; late++) {
        own_clock();
        rig_init(&rig, ROUTE SOON " hold = yes\n}\n");
        rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
        RIG_FOR(&rig, waiting() == 1);
        RIG_FOR(&rig, outs_open(rig.courier) == 0);
        rig.rcpt = "451 4.7.1 come back later\r\n";
        rig_disk.hold = true;
        operator_says(SPOOL_HELD, "one");
        RIG_UNTIL(rig_disk.held == 1);
        if (late < 1)
            operator_says(SPOOL_RELEASED, "two");
        if (late < 2)
            operator_says(SPOOL_HELD, "three");
        disk_fails(1);
        if (late >= 1) /* the failure is on its way to us: it was given first all the same */
            operator_says(late == 1 ? SPOOL_RELEASED : SPOOL_HELD, "four");
        if (late >= 2)
            operator_says(SPOOL_RELEASED, "five");
        log_takes_again();
        next_courier();
        RIG_FOR(&rig, rig.courier->recovered);
        rig_settle(&rig, 20);
        IS(in_state(ROW_HELD), late == 0, "case %d: held only if that was the last word", late);
        rig_done(&rig);
        clock_release();
    }
}

/* A kept connection that closes under a message: it is as if it had not been begun, and a removal
 * from meanwhile takes it. */
static void
test_purge_forgotten(void)
{
    rig_init(&rig, ROUTE);
    rig.ehlo = "250 sink\r\n";
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig.last_mail[0] = '\0';
    rig.mail = NULL; /* no answer yet */
    rig_post(&rig, "a@test.example", "two@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.last_mail[0] != '\0');
    IS(rig.connections, 1, "by the connection of the first one");
    verb("queue.remove", "{\"all\":true,\"reason\":\"x\"}");
    IS(waiting(), 1, "a connection has it");
    rig.mail = "250 2.1.0 ok\r\n";
    rig.conns->over = true;
    stream_close(rig.conns->stream, false);
    RIG_FOR(&rig, waiting() == 0);
    rig_settle(&rig, 20);
    IS(rig.messages, 1, "it does not go by another one");
    IS(rig.removed, 1, "it is removed, and an event tells");
    rig_done(&rig);
}

/* The log had no room for the intent of a message, so it was put off, without a record: a removal
 * from meanwhile takes it. */
static void
test_purge_postponed(void)
{
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig.ehlo = "250 sink\r\n";
    rig.mail = NULL;
    rig.no_segments = true;
    rig_disk.hold = true;
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.last_mail[0] != '\0');
    RIG_UNTIL(rig_disk.held == 1);
    disk_fails(2); /* the batch of the intent, and the void of it */
    RIG_FOR(&rig, outs_full(rig.courier));
    rig_segments_again(&rig, &rig.own);
    log_takes_again();
    verb("queue.remove", "{\"all\":true,\"reason\":\"x\"}");
    IS(waiting(), 1, "a connection has it");
    rig.mail = "250 2.1.0 ok\r\n";
    sink_say(rig.conns, rig.mail);
    RIG_FOR(&rig, rig.transients == 1);
    for (int i = 0; i < 20 && waiting() > 0; i++)
        pass(1);
    IS(waiting(), 0, "it does not wait for another try");
    IS(rig.messages, 0, "it does not go");
    IS(rig.removed, 1, "it is removed, and an event tells");
    rig_done(&rig);
    clock_release();
}

/* What an operator is told stands after a crash: the answer waits for the disk, but not for ever.
 */
static void
test_told_when_durable(void)
{
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig_disk.hold = true;
    verb_begin("suspend", "{\"domain\":\"one.example\",\"reason\":\"x\"}");
    RIG_UNTIL(rig_disk.held == 1);
    IS(status, -1, "not told while the disk has not taken it");
    rig_disk.hold = false;
    RIG_FOR(&rig, status == 0);
    RIG_FOR(&rig, outs_open(rig.courier) == 0);
    rig_disk.hold = true;
    verb_begin("suspend", "{\"domain\":\"two.example\",\"reason\":\"x\"}");
    RIG_UNTIL(rig_disk.held == 1);
    pass(11);
    RIG_FOR(&rig, status == 1);
    OK(strstr(ended, "suspended") && strstr(ended, "has not taken that yet"), "%s", ended);
    rig_disk.hold = false;
    RIG_FOR(&rig, outs_open(rig.courier) == 0);
    all_die();
    OK(rig_courier(&rig, true), "the next start");
    verb("suspensions", "{}");
    OK(strstr(said, "one.example") && strstr(said, "two.example"), "knows both");
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"told", test_told_when_durable},
        {"words", test_words_in_order},
        {"forgotten", test_purge_forgotten},
        {"postponed", test_purge_postponed},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
