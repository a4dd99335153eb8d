/*
 * tests/unit/test_courier_age.c - a clock that is wrong at a start, or set while mail waits,
 * returns no mail; time that passed does.
 */
#include "courier_tests.h"

#include "courier/outs.h"

#define DAYS(n) ((uint64_t)(n)*86400 * NS_PER_S)
#define LIFE                                                                                       \
    "delivery {\n retry = 10m\n retry_max = 10m\n jitter_percent = 0\n expire = 5d\n warn_after "  \
    "= "                                                                                           \
    "0\n}\n"

static uint64_t
now(void)
{
    return clock_wall();
}

static void
clock_set(uint64_t wall)
{
    clock_own(clock_mono(), wall);
    pass(1);
    pass(1);
}

/* One mail waits, tried once. */
static void
one_waits(void)
{
    own_clock();
    rig_init(&rig, ROUTE LIFE);
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1 && in_state(ROW_WAITING) == 1);
    rig_settle(&rig, 20);
}

static void
tries(unsigned n)
{
    for (unsigned want = rig.transients + n, i = 0; rig.transients < want && i < n + 2; i++) {
        pass(601);
        for (int k = 0; k < 200 && rig.transients < want - n + i + 1; k++)
            rig_turn(&rig);
    }
}

static void
test_future_at_start(void)
{
    uint64_t right;

    one_waits();
    right = now();
    clock_own(clock_mono(), right + DAYS(10));
    rig.alarms = 0;
    all_die();
    OK(rig_courier(&rig, true), "a start of all");
    RIG_FOR(&rig, rig.courier->recovered);
    IS(rig.alarms, 1, "a clock that is days ahead is an alarm");
    tries(3);
    OK(rig.transients >= 3 && rig.expirations == 0, "it is tried, and not returned");
    clock_set(right + 3600 * NS_PER_S);
    rig_post(&rig, "a@test.example", "later2@far.example", NULL, BODY);
    tries(30);
    IS(rig.expirations, 0, "nor after the clock was set right, nor what came since");
    IS(waiting(), 2, "both wait");
    for (int i = 0; i < 1000 && waiting() > 1; i++)
        pass(1200);
    OK(rig.expirations >= 1, "their time ends");
    OK(now() >= right + DAYS(5), "when it is over by the clock that is right");
    rig_done(&rig);
    clock_release();
}

static void
test_future_stays(void)
{
    one_waits();
    clock_own(clock_mono(), now() + DAYS(10));
    next_courier();
    tries(5);
    IS(rig.expirations, 0, "not before it was tried often");
    tries(5);
    IS(rig.expirations, 1, "a clock that stays is believed");
    rig_done(&rig);
    clock_release();
}

static void
test_set_while_running(void)
{
    uint64_t right;

    one_waits();
    right = now();
    clock_set(right + DAYS(10));
    rig_post(&rig, "a@test.example", "later2@far.example", NULL, BODY);
    tries(3);
    IS(rig.expirations, 0, "forward: neither what waits nor what comes is returned");
    clock_set(now() - DAYS(20));
    rig_post(&rig, "a@test.example", "later3@far.example", NULL, BODY);
    tries(3);
    clock_set(right + 7200 * NS_PER_S);
    rig_post(&rig, "a@test.example", "later4@far.example", NULL, BODY);
    tries(12);
    IS(rig.expirations, 0, "back, and right again: nor what came meanwhile");
    IS(waiting(), 4, "all wait");
    for (int i = 0; i < 60 * 6 + 10; i++)
        pass(1200);
    for (int i = 0; i < 60; i++)
        pass(601);
    IS(rig.expirations, 4, "and end in their time");
    rig_done(&rig);
    clock_release();
}

/* A machine without a battery accepts mail before the network tells the time. */
static void
test_before_time(void)
{
    clock_own(UINT64_C(1000) * NS_PER_S, 100 * NS_PER_S);
    rig_init(&rig, ROUTE LIFE);
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1 && in_state(ROW_WAITING) == 1);
    rig_settle(&rig, 20);
    clock_own(clock_mono(), UINT64_C(1790000000) * NS_PER_S);
    next_courier();
    tries(60);
    IS(rig.expirations, 0, "its age counts from when that is known");
    IS(waiting(), 1, "it waits");
    rig_done(&rig);
    clock_release();
}

/* The clock was days ahead and is set right while mail waits: what is written down goes by the
 * clock that is right, so that the next start does not take it for days. */
static void
test_waits_as_meant(void)
{
    one_waits();
    clock_set(now() - DAYS(10));
    tries(1);
    IS(verb("suspend", "{\"domain\":\"other.example\",\"reason\":\"test\",\"for\":\"10m\"}"), 0,
       "a suspension for ten minutes");
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1 && outs_open(rig.courier) == 0);
    next_courier();
    rig.transients = 0;
    tries(1);
    IS(rig.transients, 1, "it is tried again in its time");
    IS(verb("suspensions", "{}"), 0, "suspensions");
    OK(strstr(ended, "nothing is suspended"), "as long as was said: %s%s", said, ended);
    rig_done(&rig);
    clock_release();
}

/* Times that a sender sets count from when he set them. */
static void
test_own_times(void)
{
    struct spool_envelope by = {.class = SPOOL_CLASS_TRANSACTIONAL,
                                .flags = SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_DELIVERBY,
                                .tenant = 1,
                                .by_mode = SPOOL_BY_RETURN};
    struct spool_envelope later = {
        .class = SPOOL_CLASS_TRANSACTIONAL, .flags = SPOOL_MAIL_SUBMITTED, .tenant = 1};

    own_clock();
    rig_init(&rig, ROUTE LIFE);
    rig.ehlo = "250-sink\r\n250 DELIVERBY\r\n";
    clock_own(clock_mono(), now() - DAYS(10)); /* in this very second */
    by.deliver_by = now() + 3600 * NS_PER_S;
    rig_post(&rig, "a@test.example", "by@far.example", &by, BODY);
    RIG_FOR(&rig, rig.deliveries + rig.bounces + rig.expirations > 0);
    IS(rig.deliveries, 1, "it is not late, as the clock was set back");
    OK(strstr(rig.last_mail, " BY=3") && strstr(rig.last_mail, ";R"), "%s", rig.last_mail);
    by.deliver_by = now() + 3600 * NS_PER_S;
    rig_post(&rig, "a@test.example", "later@far.example", &by, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    tries(3);
    IS(rig.expirations, 0, "it is tried as long as he said");
    tries(4);
    IS(rig.expirations, 1, "and no longer");
    clock_set(now() + DAYS(20));
    later.not_before = now() + 600 * NS_PER_S;
    rig_post(&rig, "a@test.example", "held@far.example", &later, BODY);
    pass(300);
    OK(!strstr(rig.seen, "held@"), "not before its time");
    pass(400);
    RIG_FOR(&rig, strstr(rig.seen, "held@") != NULL);
    rig_done(&rig);
    clock_release();
}

/* What a sender is told of times goes by the clock that he has as well. */
static void
test_told_times(void)
{
    const char *at;

    own_clock(); /* 21 September 2026 */
    rig_init(&rig, ROUTE "delivery {\n retry = 10m\n retry_max = 10m\n jitter_percent = 0\n "
                         "expire = 5d\n warn_after = 1h\n}\n");
    clock_set(now() - DAYS(10));
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    at = strstr(rig.last_event, "\"next_due\":");
    OK(at && strtoull(at + 11, NULL, 10) <= now() / NS_PER_S + 601, "the event: %s",
       rig.last_event);
    tries(7);
    RIG_FOR(&rig, strstr(rig.last_body, "Will-Retry-Until") != NULL);
    OK(strstr(strstr(rig.last_body, "Will-Retry-Until"), "16 Sep 2026"), "%s", rig.last_body);
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"future", test_future_at_start}, {"stays", test_future_stays},
        {"set", test_set_while_running},  {"before", test_before_time},
        {"meant", test_waits_as_meant},   {"own", test_own_times},
        {"told", test_told_times},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
