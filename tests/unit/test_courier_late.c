/*
 * tests/unit/test_courier_late.c - mail whose time runs out while it waits for its turn: at a site
 * that is down, at one that is slow, by the sender's own time and by the settings'.
 */
#include "courier_tests.h"

/* far.example is a host where nobody listens; all else goes to the sink. */
#define DEAD                                                                                       \
    "route dead {\n domains = far.example\n via = smtp://127.0.0.1:1\n tls = never\n}\n" ROUTE
#define DAYS "delivery {\n retry = 1h\n retry_max = 4h\n jitter_percent = 0\n expire = 5d\n"

static struct spool_envelope
by(uint8_t mode, uint64_t seconds)
{
    return (struct spool_envelope){.flags = SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_DELIVERBY,
                                   .class = SPOOL_CLASS_TRANSACTIONAL,
                                   .tenant = 1,
                                   .by_mode = mode,
                                   .deliver_by = clock_wall() + seconds * NS_PER_S};
}

/* Nothing at the site is tried for a while, and all of this waits behind that. */
static void
site_is_down(void)
{
    rig_post(&rig, "", "first@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
}

static bool
under_way(void)
{
    return outs_open(rig.courier) > 0 || in_state(ROW_ACTIVE) > 0 || in_state(ROW_SETTLING) > 0;
}

/* Seconds until the sink has that many messages, at most a minute. */
static unsigned
seconds_until(unsigned messages)
{
    unsigned n = 0;

    for (; n < 60 && rig.messages < messages; n++) {
        clock_advance(NS_PER_S);
        rig_settle(&rig, 30);
        for (unsigned i = 0; i < 5000 && under_way(); i++) /* the disk's seconds are not ours */
            rig_turn(&rig);
    }
    return n;
}

static void
test_notify(void)
{
    struct spool_envelope mail;
    unsigned n;

    own_clock();
    rig_init(&rig, DEAD DAYS "}\n");
    site_is_down();
    mail = by(SPOOL_BY_NOTIFY, 100);
    rig_post(&rig, "a@test.example", "b@far.example c@far.example", &mail, BODY);
    RIG_FOR(&rig, in_state(ROW_READY) == 2);
    pass(97);
    rig_settle(&rig, 50);
    IS(rig.messages, 0, "in time nobody is told");
    n = seconds_until(1);
    OK(n <= 6, "told %u seconds after the hundredth", n);
    OK(strstr(rig.last_body, "Action: delayed") && strstr(rig.last_body, "Status: 4.4.7") &&
           strstr(rig.last_body, "Deliver-By-Date: "),
       "by a report that says so: %s", rig.last_body);
    OK(strstr(rig.last_body, "b@far.example") && strstr(rig.last_body, "c@far.example"),
       "one for both");
    IS(in_state(ROW_READY), 2, "it is still tried");
    (void)seconds_until(2);
    IS(rig.messages, 1, "and told once");
    IS(rig.courier->deadlines.n, 0, "nothing is kept of it");
    rig_done(&rig);
    clock_release();
}

static void
test_return(void)
{
    struct spool_envelope mail;
    unsigned n;

    own_clock();
    rig_init(&rig, DEAD DAYS "}\n");
    site_is_down();
    mail = by(SPOOL_BY_RETURN, 100);
    rig_post(&rig, "a@test.example", "b@far.example", &mail, BODY);
    RIG_FOR(&rig, in_state(ROW_READY) == 1);
    pass(97);
    rig_settle(&rig, 50);
    IS(rig.messages, 0, "in time nobody is told");
    n = seconds_until(1);
    OK(n <= 6, "returned %u seconds after the hundredth", n);
    OK(strstr(rig.last_body, "Action: failed") && strstr(rig.last_body, "Status: 5.4.7"),
       "by a report that says so");
    IS(rig.expirations, 1, "over");
    rig_done(&rig);
    clock_release();
}

/* Those whose own time is far off do not stand in the way of those who are to be warned. */
static void
test_warned_once(void)
{
    struct spool_envelope mail;

    own_clock();
    rig_init(&rig, DEAD DAYS " warn_after = 1m\n}\n");
    site_is_down();
    mail = by(SPOOL_BY_NOTIFY, 2000000);
    for (int i = 0; i < 70; i++)
        rig_post(&rig, "a@test.example", "b@far.example", &mail, BODY);
    for (int i = 0; i < 5; i++)
        rig_post(&rig, "a@test.example", "c@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_READY) == 75);
    pass(62);
    (void)seconds_until(5);
    IS(rig.messages, 5, "five are warned");
    (void)seconds_until(6);
    IS(rig.messages, 5, "and nobody twice");
    IS(rig.transients, 1, "nothing was tried for it");
    rig_done(&rig);
    clock_release();
}

/* At a site that answers slowly thousands wait for their turn: their time runs out all the same. */
static void
test_slow_site(void)
{
    own_clock();
    rig_init(&rig, "route slow {\n domains = far.example\n via = smtp://127.0.0.1:PORT\n"
                   " tls = never\n max_sessions = 1\n}\n" ROUTE
                   "delivery {\n retry = 1m\n retry_max = 1h\n expire = 2h\n warn_after = 0\n}\n");
    rig.ehlo = "250 sink\r\n";
    rig.mail = NULL; /* says nothing to MAIL */
    rig_post(&rig, "a@test.example", "a@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.last_mail[0] != '\0');
    for (int i = 0; i < 3000; i += 100) {
        static char to[100 * 32];
        size_t n = 0;
        for (int k = 0; k < 100; k++)
            n += str_fmt(to + n, sizeof to - n, "u%d@far.example ", i + k);
        rig_post(&rig, "a@test.example", to, NULL, BODY);
    }
    RIG_FOR(&rig, in_state(ROW_READY) == 3000);
    clock_advance(7200 * NS_PER_S);
    for (int i = 0; i < 100 && rig.expirations < 30; i++) {
        clock_advance(NS_PER_S);
        rig_settle(&rig, 20);
    }
    OK(rig.expirations >= 30, "%u messages are returned", rig.expirations);
    rig_done(&rig);
    clock_release();
}

/* What somebody held for longer than its life gets one try when it is let go. */
static void
test_owed_a_try(void)
{
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    IS(verb("suspend", "{\"domain\":\"far.example\",\"reason\":\"they move\"}"), 0, "%s", ended);
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_READY) == 1);
    pass(7200);
    pass(2);
    rig_settle(&rig, 30);
    IS(rig.expirations, 0, "a suspension is no failure");
    IS(verb("resume", "{\"all\":true}"), 0, "%s", ended);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.expirations, 0, "it is not returned untried");
    OK(strstr(rig.last_rcpt, "b@far.example") != NULL, "it is delivered");
    rig_done(&rig);
    clock_release();
}

/* Delivered mail does not leave its times behind for years. */
static void
test_nothing_is_kept(void)
{
    struct spool_envelope mail;

    rig_init(&rig, ROUTE);
    for (int i = 0; i < 3000; i++) {
        mail = by(i % 2 ? SPOOL_BY_NOTIFY : SPOOL_BY_RETURN, 1000000 + (uint64_t)i);
        rig_post(&rig, "a@test.example", "b@test.example", &mail, BODY);
        rig.seen[0] = '\0';
    }
    RIG_FOR(&rig, waiting() == 0);
    OK(rig.courier->deadlines.n <= 1024, "%zu times are kept", rig.courier->deadlines.n);
    rig_done(&rig);
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"notify", test_notify},  {"return", test_return},   {"once", test_warned_once},
        {"slow", test_slow_site}, {"owed", test_owed_a_try}, {"kept", test_nothing_is_kept},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
