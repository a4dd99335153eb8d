/*
 * tests/unit/test_courier_outs.c - records of ours that cannot be written: one that is too large
 * holds nothing up and loses no mail, reports fit, and a failed batch comes back in linear time.
 */
#include <time.h>

#include "courier_tests.h"

#define TOO_MUCH (3u << 20) /* a batch of the rig takes two megabytes */

static int told[4];

static void
tell(struct out *o, int status)
{
    told[o->number] = status;
    out_give(o);
}

static struct out *
record(unsigned number, size_t bytes)
{
    struct out *o = out_take(rig.courier, SPOOL_OUTCOME);
    struct spool_outcome rec = {.id = {rig.courier->links.node, rig.gate.epoch, 1000000 + number},
                                .result = SPOOL_RETRY};

    spool_outcome_encode(&o->payload, &rec, NULL);
    if (bytes)
        memset(buf_room(&o->body, bytes), 'x', bytes), buf_used(&o->body, bytes);
    o->durable = tell;
    o->number = number;
    return o;
}

/* Our writer loses its segment and gets no other one. */
static void
log_stops(void)
{
    struct spool_writer_stats st;
    uint64_t errors;

    spool_writer_stats(rig.own.writer, &st);
    errors = st.errors;
    rig.no_segments = true;
    rig_disk.fail = 2; /* a batch, and the void of it */
    rig_disk.hold = false;
    out_add(record(3, 0));
    for (unsigned i = 0; st.errors < errors + 2 && i < 15000; i++) {
        rig_turn(&rig);
        spool_writer_stats(rig.own.writer, &st);
    }
    OK(st.errors == errors + 2, "the disk fails");
    RIG_FOR(&rig, outs_waiting(rig.courier) > 0);
}

static void
log_goes_on(void)
{
    rig_segments_again(&rig, &rig.own);
    for (int i = 0; i < 50 && (outs_waiting(rig.courier) > 0 || outs_open(rig.courier) > 0); i++)
        pass(1);
    IS(outs_waiting(rig.courier), 0, "nothing waits for the log");
    IS(outs_open(rig.courier), 0, "nor is under way");
}

/* At once, at the head of what waits, and in front of a record that must stand behind it. */
static void
test_too_big(void)
{
    struct out *big, *behind;

    own_clock();
    rig_init(&rig, ROUTE);
    big = record(0, TOO_MUCH);
    IS(out_add(big), ERR_TOOBIG, "refused for good");
    out_give(big);
    IS(rig.alarms, 1, "and said so");
    log_stops();
    memset(told, 1, sizeof told);
    big = record(0, TOO_MUCH);
    behind = record(1, 0);
    IS(out_add(big), 0, "it waits with the others");
    out_add_after(behind, big);
    IS(out_add(record(2, 0)), 0, "one more");
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    log_goes_on();
    IS(told[0], ERR_TOOBIG, "it is given up");
    IS(told[1], ERR_TOOBIG, "with what was to stand behind it");
    IS(told[2], 0, "the others are written");
    for (int i = 0; i < 20 && waiting() > 0; i++) /* its intent had no room before */
        pass(1);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 1, "mail goes on");
    IS(rig.alarms, 2, "an Alarm for each");
    rig_done(&rig);
    clock_release();
}

/* A failure whose report cannot be written is not over: the mail is held, in the next life too. */
static void
test_untold(void)
{
    struct out *report;

    own_clock();
    rig_init(&rig, ROUTE);
    rig_disk.hold = true;
    rig_post(&rig, "a@test.example", "bad@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.bounces == 1);
    report = rig.courier->report;
    OK(report != NULL, "a report is on its way");
    log_stops();
    memset(buf_room(&report->body, TOO_MUCH), 'x', TOO_MUCH);
    buf_used(&report->body, TOO_MUCH);
    log_goes_on();
    IS(in_state(ROW_HELD), 1, "the mail is held");
    verb("queue.list", "{}");
    OK(strstr(said, "spool.max_batch") != NULL, "and says why: %s", said);
    next_courier();
    RIG_FOR(&rig, rig.courier->recovered);
    rig_settle(&rig, 20);
    IS(in_state(ROW_HELD), 1, "it still is");
    rig_done(&rig);
    clock_release();
}

/* More failures than one report holds. */
static void
test_many_failures(void)
{
    static char to[64 * 1100];
    size_t n = 0;

    for (unsigned i = 0; i < 1100; i++)
        n += str_fmt(to + n, sizeof to - n, "bad%u@far.example ", i);
    /* One connection: the second report comes last. */
    rig_init(&rig, ROUTE "delivery {\n rcpts_per_message = 2000\n max_sessions_per_site = 1\n}\n");
    rig_post(&rig, "a@test.example", to, NULL, BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.bounces, 1100, "all are refused");
    IS(rig.messages, 2, "two reports");
    OK(strstr(rig.last_body, "bad1099@") != NULL, "with the last one of them");
    OK(strstr(rig.last_body, "bad1000@") != NULL, "and the first one that did not fit the other");
    OK(strstr(rig.last_body, "bad999@") == NULL, "and no other");
    rig_done(&rig);
}

/* Long answers of a server about hundreds of recipients. */
static void
test_long_answers(void)
{
    static char to[64 * 600], answer[1000];
    size_t n = 0;

    for (unsigned i = 0; i < 600; i++)
        n += str_fmt(to + n, sizeof to - n, "user%u@far.example ", i);
    n = str_fmt(answer, sizeof answer, "550 5.1.1 ");
    memset(answer + n, 'z', 880);
    str_copy(STR("\r\n"), answer + n + 880, 16);
    rig_init(&rig, ROUTE "delivery {\n rcpts_per_message = 2000\n}\n");
    rig.rcpt = answer;
    rig_post(&rig, "a@test.example", to, NULL, BODY);
    RIG_FOR(&rig, rig.bounces == 600);
    rig.rcpt = "250 2.1.5 ok\r\n";
    RIG_FOR(&rig, waiting() == 0);
    OK(rig.messages >= 2, "%u reports", rig.messages);
    IS(rig.alarms, 0, "each fits the log");
    rig_done(&rig);
}

static double
cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* CPU to take back n records of a failed batch, behind one that was given later. */
static double
come_back(unsigned n)
{
    struct spool_writer_stats st;
    double began;

    rig_init(&rig, ROUTE);
    rig_disk.hold = true;
    for (unsigned i = 0; i < n; i++)
        out_add(record(0, 0));
    RIG_UNTIL(rig_disk.held == 1);
    rig.no_segments = true;
    rig_disk.fail = 2;
    rig_disk.hold = false;
    for (unsigned i = 0; i < 15000; i++) {
        spool_writer_stats(rig.own.writer, &st);
        if (st.errors > 0 && spool_writer_state(rig.own.writer) == SPOOL_WRITER_BROKEN)
            break;
        poll(NULL, 0, 1);
    }
    out_add(record(1, 0));
    IS(outs_waiting(rig.courier), 1, "it waits before the others know");
    began = cpu();
    RIG_FOR(&rig, outs_waiting(rig.courier) > n);
    began = cpu() - began;
    log_goes_on();
    rig_done(&rig);
    return began;
}

static void
test_comes_back_quickly(void)
{
    double few, many;

    own_clock();
    few = come_back(5000);
    many = come_back(40000);
    OK(many < 24 * few + 0.02, "8 times as many: %.4f s against %.4f", many, few);
    clock_release();
}

/* Segments that fail before anything in them is durable are known to no reader. */
static void
test_failed_come_back(void)
{
    struct spool_space before, after;

    rig_init(&rig, ROUTE);
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig_settle(&rig, 20);
    spool_pool_space(rig.pool, &before);
    rig_disk.fail = 9; /* a batch, and the void of it in eight segments */
    rig_post(&rig, "a@test.example", "two@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 2 && waiting() == 0);
    IS(rig_disk.fail, 0, "all of them failed");
    rig_settle(&rig, 20);
    spool_pool_space(rig.pool, &after);
    OK(after.segments_used <= before.segments_used + 2, "%llu segments, then %llu",
       (unsigned long long)before.segments_used, (unsigned long long)after.segments_used);
    next_courier();
    IS(waiting(), 0, "and the next life finds all as it was");
    rig_done(&rig);
}

/* Of a gate's the courier tells, which reads what comes behind them. */
static void
test_failed_of_a_gate(void)
{
    struct spool_space before, after;

    rig_init(&rig, ROUTE);
    rig.sick_gate = true;
    all_die();
    OK(rig_courier(&rig, true), "a courier");
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig_settle(&rig, 20);
    spool_pool_space(rig.pool, &before);
    for (int i = 0; i < 6; i++) {
        struct rig_mail *m;
        rig_disk.fail = 3; /* the batch, and the void of it in two segments */
        m = rig_mail(&rig, "a@test.example", "no@far.example", NULL, BODY);
        RIG_FOR(&rig, m->done);
        OK(m->status < 0, "refused");
        mail_free(m);
        RIG_FOR(&rig, spool_writer_state(rig.gate.writer) == SPOOL_WRITER_READY);
    }
    rig_post(&rig, "a@test.example", "two@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 2 && waiting() == 0);
    for (int i = 0; i < 50; i++) { /* one that voids is let go behind those before it */
        rig_settle(&rig, 10);
        segments_tick(&rig.courier->segments, clock_mono() + 20 * NS_PER_S);
    }
    spool_pool_space(rig.pool, &after);
    OK(after.segments_used <= before.segments_used + 2, "%llu segments, then %llu",
       (unsigned long long)before.segments_used, (unsigned long long)after.segments_used);
    rig_done(&rig);
}

/* Our writer gets no segment for its next intent: mail waits, and nobody is called in vain. */
static void
test_full(void)
{
    own_clock();
    rig_init(&rig, ROUTE "delivery {\n idle_session = 1s\n}\n");
    log_stops();
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    for (int i = 0; i < 60; i++)
        pass(1);
    IS(rig.connections, 0, "no connection while what is sent cannot be written down");
    IS(verb("queue.list", "{}"), 0, "the queue says why");
    OK(strstr(said, "the log takes no record"), "%s", said);
    log_goes_on();
    for (int i = 0; i < 10 && rig.messages == 0; i++)
        pass(1);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    IS(rig.connections, 1, "once");
    rig_done(&rig);
    clock_release();
}

/* A connection that is kept goes on when the log does, and its site no longer says why it waited.
 */
static void
test_full_kept(void)
{
    own_clock();
    rig_init(&rig, ROUTE "delivery {\n idle_session = 10m\n}\n");
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0 && outs_open(rig.courier) == 0);
    log_stops();
    rig_post(&rig, "a@test.example", "two@far.example", NULL, BODY);
    pass(3);
    IS(rig.messages, 1, "the second waits");
    verb("top.courier", "{}");
    OK(strstr(said, "the log takes no record"), "%s", said);
    log_goes_on();
    for (int i = 0; i < 10 && rig.messages == 1; i++)
        pass(1);
    RIG_FOR(&rig, rig.messages == 2 && waiting() == 0);
    IS(rig.connections, 1, "by the same connection");
    verb("top.courier", "{}");
    OK(!strstr(said, "the log takes no record"), "nobody says so any more: %s", said);
    rig_done(&rig);
    clock_release();
}

/* The same with nothing of ours that waits to be written: intents alone are refused. */
static void
test_full_for_intents(void)
{
    own_clock();
    rig_init(&rig, ROUTE "delivery {\n idle_session = 1s\n}\n");
    rig.no_segments = true;
    rig_disk.fail = 2; /* the intent, and the void of it */
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    for (int i = 0; i < 20 && rig.transients == 0; i++)
        pass(1);
    for (int i = 0; i < 60; i++)
        pass(1);
    IS(rig.messages, 0, "nothing can be sent");
    IS(rig.connections, 1, "and nobody is called again in vain");
    rig_segments_again(&rig, &rig.own);
    for (int i = 0; i < 20 && rig.messages == 0; i++)
        pass(1);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    IS(rig.connections, 2, "one more call");
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"big", test_too_big},
        {"untold", test_untold},
        {"full", test_full},
        {"kept", test_full_kept},
        {"intents", test_full_for_intents},
        {"many", test_many_failures},
        {"long", test_long_answers},
        {"back", test_comes_back_quickly},
        {"empty", test_failed_come_back},
        {"gate", test_failed_of_a_gate},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
