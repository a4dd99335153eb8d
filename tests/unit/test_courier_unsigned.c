/*
 * tests/unit/test_courier_unsigned.c - what becomes of mail that should be signed and cannot be: no
 * index of keys, one key of several broken, settings that do not require it. What the keyring says
 * is played.
 */
#include "courier_ring.h"

#define NOT_REQUIRED "dkim {\n required = no\n}\n"
#define PLATFORM     "dkim {\n platform = platform.example\n}\n"
#define ALL_REQUIRED "dkim {\n platform = platform.example\n required = all\n}\n"
#define OTHER        "From: a@other.example\r\nSubject: other\r\n\r\nOne line.\r\n"

static char alarm_text[2048];

static void
remember_alarm(void *ctx, struct str line)
{
    rig_event(ctx, line);
    if (event_is(line, "Alarm"))
        str_copy(str_sub(line, 0, sizeof alarm_text - 1), alarm_text, sizeof alarm_text);
}

/* What is asked meanwhile is answered: the courier waits 20 s for that. */
static void
pass_slowly(uint64_t seconds)
{
    for (; seconds > 0; seconds -= MIN(seconds, (uint64_t)5)) {
        pass(MIN(seconds, (uint64_t)5));
        rig_settle(&rig, 20);
    }
}

static void
start(const char *settings)
{
    alarm_text[0] = '\0';
    begin_with(settings);
    event_tap(remember_alarm, &rig);
}

static void
test_no_index(void)
{
    start(ROUTE SOON "}\n");
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.messages, 0, "nothing went unsigned");
    verb("queue.list", "{}");
    OK(strstr(said, "the keeper has not told the keys"), "its reason: %s", said);
    for (unsigned i = 0; i < 6; i++) {
        IS(rig.alarms, 0, "not yet an Alarm");
        pass(11);
        RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    }
    pass(11);
    RIG_FOR(&rig, rig.alarms == 1);
    OK(strstr(alarm_text, "required = no"), "with a cure: %s", alarm_text);
    keys_set(true);
    pass_slowly(31);
    RIG_FOR(&rig, rig.messages == 1);
    IS(signatures(), 2, "signed in the end");
    finish();
}

static void
test_no_index_not_required(void)
{
    start(ROUTE SOON "}\n" NOT_REQUIRED);
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.messages, 0, "a start is waited for");
    pass(11);
    RIG_FOR(&rig, rig.deliveries == 1);
    IS(signatures(), 0, "then it goes");
    OK(strstr(rig.last_event, "\"dkim_none\":\"the keyring did not sign"), "told: %s",
       rig.last_event);
    finish();
}

/* The second algorithm, the platform: left off, and said so once. */
static void
left_off(const char *settings, const char *broken, const char *names)
{
    start(settings);
    keys_set(true);
    ring.any_domain = true;
    ring.odd = broken;
    ring.odd_says = SIGN_BROKEN;
    for (unsigned i = 1; i <= 3; i++) {
        rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
        RIG_FOR(&rig, rig.deliveries == i);
        OK(strstr(rig.last_body, "s=r1;"), "with the one that matters: %.80s", rig.last_body);
    }
    IS(rig.alarms, 1, "told once");
    OK(strstr(alarm_text, names) && strstr(alarm_text, "damaged") &&
           strstr(alarm_text, "domain dkim add"),
       "key, cause, cure: %s", alarm_text);
    ring.odd = NULL;
    pass_slowly(31);
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries == 4);
    IS(signatures(), strcmp(broken, "p1") ? 2 : 3, "all again");
    finish();
}

static void
test_second_kind(void)
{
    left_off(ROUTE SOON "}\n", "e1", "e1._domainkey.test.example");
}

static void
test_platform(void)
{
    left_off(ROUTE SOON "}\n" PLATFORM, "p1", "p1._domainkey.platform.example");
}

/* One domain's key holds that domain's mail, nobody else's. */
static void
test_one_domain(void)
{
    start(ROUTE SOON "}\n");
    keys_set(true);
    ring.any_domain = true;
    ring.odd = "r1";
    ring.odd_says = SIGN_FOREIGN;
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    for (unsigned i = 1; i <= 5; i++) {
        rig_post(&rig, "a@other.example", "b@one.example", NULL, OTHER);
        RIG_FOR(&rig, rig.deliveries == i);
        IS(signatures(), 1, "signed");
        pass_slowly(20);
    }
    IS(in_state(ROW_WAITING) + in_state(ROW_ACTIVE) + in_state(ROW_READY), 1, "the other waits");
    OK(strstr(alarm_text, "r1._domainkey.test.example") && strstr(alarm_text, "master key"),
       "named: %s", alarm_text);
    ring.odd = NULL;
    pass_slowly(31);
    RIG_FOR(&rig, rig.deliveries == 6);
    IS(signatures(), 2, "both, when it works");
    finish();
}

static void
test_all_required(void)
{
    start(ROUTE SOON "}\n" ALL_REQUIRED);
    keys_set(true);
    ring.any_domain = true;
    ring.odd = "p1";
    ring.odd_says = SIGN_BROKEN;
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, rig.alarms == 1);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.messages, 0, "it waits for the platform's, too");
    ring.odd = NULL;
    pass_slowly(31);
    RIG_FOR(&rig, rig.deliveries == 1);
    IS(signatures(), 3, "all three");
    finish();
}

/* Refused for longer than any reload takes: an Alarm; not required, it goes then. */
static void
test_refused_for_good(void)
{
    start(ROUTE SOON "}\n");
    keys_set(true);
    ring.says = SIGN_REFUSED;
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    for (unsigned i = 0; i < 8; i++) {
        RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
        pass(3);
    }
    RIG_FOR(&rig, rig.alarms >= 1);
    OK(strstr(alarm_text, "another tenant"), "its cause: %s", alarm_text);
    IS(rig.messages, 0, "not unsigned");
    finish();
    start(ROUTE SOON "}\n" NOT_REQUIRED);
    keys_set(true);
    ring.says = SIGN_REFUSED;
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.messages, 0, "a moment is waited");
    for (unsigned i = 0; i < 8 && !rig.messages; i++)
        pass(3);
    RIG_FOR(&rig, rig.deliveries == 1);
    IS(signatures(), 0, "then it goes");
    finish();
}

/* Its sender is told of the delay as of any other. */
static void
test_delay(void)
{
    start(ROUTE "delivery {\n retry = 1m\n retry_max = 10m\n jitter_percent = 0\n expire = 2h\n "
                "warn_after = 10m\n}\n");
    keys_set(true);
    ring.says = SIGN_BROKEN;
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    for (unsigned i = 0; i < 25; i++)
        pass_slowly(31);
    RIG_FOR(&rig, rig.messages == 1);
    OK(strstr(rig.last_body, "delayed") && strstr(rig.last_body, "DKIM signature: a key"),
       "a report of the delay: %.1500s", rig.last_body);
    for (unsigned i = 0; i < 10; i++)
        pass_slowly(31);
    IS(rig.messages, 1, "one");
    finish();
}

/* Whose it is stands far down in a long header. */
static void
test_long_header(void)
{
    char *body = malloc(700000);
    size_t n = 0;

    while (n < 150000)
        n += str_fmt(body + n, 700000 - n, "X-Long: %0200d\r\n", 1);
    n += str_fmt(body + n, 700000 - n, "From: a@test.example\r\n\r\n");
    while (n < 400000)
        n += str_fmt(body + n, 700000 - n, "%0300d\r\n", 2);
    start(ROUTE SOON "}\n");
    keys_set(true);
    rig_post(&rig, "a@test.example", "b@one.example", NULL, body);
    RIG_FOR(&rig, rig.messages == 1);
    IS(ring.asked, 1, "its author was found");
    OK(strncmp(rig.last_body, "DKIM-Signature: ", 16) == 0, "signed: %.60s", rig.last_body);
    free(body);
    finish();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {{"no-index", test_no_index},
                                            {"no-index-not-required", test_no_index_not_required},
                                            {"second-kind", test_second_kind},
                                            {"platform", test_platform},
                                            {"one-domain", test_one_domain},
                                            {"all-required", test_all_required},
                                            {"refused-for-good", test_refused_for_good},
                                            {"delay", test_delay},
                                            {"long-header", test_long_header}};

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
