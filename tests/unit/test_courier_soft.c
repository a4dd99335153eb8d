/*
 * tests/unit/test_courier_soft.c - a site that wants fewer connections from one source: the
 * strongest word counts, and other sources are not held back by it.
 */
#include "courier_tests.h"

/* A source of its own for each of two tenants. */
#define TWO                                                                                        \
    ROUTE "tenant gold {\n number = 7\n pool = gold\n}\ntenant lead {\n number = 8\n pool = "      \
          "lead\n}\nsource g {\n address = 127.0.0.7\n}\nsource l {\n address = 127.0.0.8\n}\n"    \
          "pool gold {\n sources = g\n}\npool lead {\n sources = l\n}\n"

static struct spool_envelope
of_tenant(uint32_t tenant)
{
    return (struct spool_envelope){
        .tenant = tenant, .flags = SPOOL_MAIL_SUBMITTED, .class = SPOOL_CLASS_TRANSACTIONAL};
}

static void
test_strongest(void)
{
    struct session two[2] = {{.source = 3, .state = SESSION_BUSY}, {.source = 3}};
    struct site s = {.all = &two[0]};
    uint64_t until = 0;

    own_clock();
    two[0].next = &two[1];
    OK(!session_site_full(&s, 3, &until), "nothing is known");
    session_soften(&s, 3, 2, clock_mono() + 100);
    OK(session_site_full(&s, 3, &until) && until == clock_mono() + 100, "two, and no more");
    OK(!session_site_full(&s, 4, &until), "another source is another one");
    session_soften(&s, 3, 1, clock_mono() + 50);
    session_soften(&s, 3, 9, clock_mono() + 70);
    clock_advance(99);
    OK(session_site_full(&s, 3, &until), "a weaker word takes nothing back");
    session_soften(&s, 4, 0, clock_mono() + 10);
    OK(session_site_full(&s, 4, &until), "none at all");
    clock_advance(20);
    OK(!session_site_full(&s, 3, &until) && !session_site_full(&s, 4, &until), "it ends");
    session_soften(&s, 3, 3, clock_mono() + 100);
    OK(!session_site_full(&s, 3, &until), "what was over counts no more");
    session_soften(&s, 5, 1, clock_mono() + 100);
    IS(s.nsoft, 2, "its place is used again");
    IS(session_count(&s, 3, false), 2, "two sessions");
    IS(session_count(&s, 3, true), 1, "one at work");
    free(s.soft);
    clock_release();
}

/* One source is refused at the door while the other works. */
static void
test_other_source_goes_on(void)
{
    struct spool_envelope gold = of_tenant(7), lead = of_tenant(8);

    own_clock();
    rig_init(&rig, TWO);
    rig_post(&rig, "a@test.example", "one@far.example", &gold, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig.banner = "421 4.7.0 too many connections\r\n";
    rig_post(&rig, "a@test.example", "two@far.example", &lead, BODY);
    RIG_FOR(&rig, rig.connections == 2);
    rig_settle(&rig, 30);
    IS(rig.connections, 2, "the refused source does not storm the door");
    IS(waiting(), 1, "its mail waits");
    verb("queue.list", "{}");
    OK(strstr(said, "takes no more connections") != NULL, "and says for what: %s", said);
    rig_post(&rig, "a@test.example", "three@far.example", &gold, BODY);
    RIG_FOR(&rig, rig.messages == 2);
    RIG_FOR(&rig, waiting() == 1);
    rig.banner = "220 sink ESMTP\r\n";
    for (int i = 0; i < 35; i++)
        pass(1);
    RIG_FOR(&rig, rig.messages == 3);
    rig_done(&rig);
    clock_release();
}

/* --- a source that is on a list --- */

#define OWN_SOURCES                                                                                \
    ROUTE "tenant gold {\n number = 7\n pool = gold\n}\ntenant lead {\n number = 8\n pool = "      \
          "lead\n}\nsource g {\n address = 127.0.0.7\n exclusive = gold\n}\nsource l {\n "         \
          "address = 127.0.0.8\n exclusive = lead\n}\npool gold {\n sources = g\n}\npool lead "    \
          "{\n sources = l\n}\n"

/* A tenant's address is refused everywhere, and he has more mail, of a better class, than the gaps
 * between tries let through. That is nobody else's trouble. */
static void
test_blocked_alone(void)
{
    struct spool_envelope gold = of_tenant(7), lead = of_tenant(8);

    own_clock();
    rig_init(&rig, OWN_SOURCES);
    rig.blocked = "127.0.0.7";
    lead.class = SPOOL_CLASS_BULK;
    for (int i = 0; i < 12; i++)
        rig_post(&rig, "a@test.example", "g@far.example", &gold, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    rig_post(&rig, "a@test.example", "one@far.example", &lead, BODY);
    RIG_FOR(&rig, rig.deliveries == 1);
    for (int i = 0; i < 40; i++)
        pass(1); /* no connection is left */
    IS(rig.transients, 1, "the refused one waits");
    rig_post(&rig, "a@test.example", "two@far.example", &lead, BODY);
    RIG_FOR(&rig, rig.deliveries == 2);
    for (int i = 0; i < 60; i++)
        pass(2);
    OK(rig.transients == 2, "and is tried again: %u", rig.transients);
    rig.blocked = NULL;
    for (int i = 0; i < 40; i++)
        pass(60);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.deliveries, 14, "everything arrived");
    rig_done(&rig);
    clock_release();
}

/* An address that this machine does not have fails at once, while rows of others are looked at. */
static void
test_not_of_this_machine(void)
{
    struct spool_envelope gold = of_tenant(7), lead = of_tenant(8);

    rig_init(&rig, ROUTE "tenant gold {\n number = 7\n}\ntenant lead {\n number = 8\n}\n"
                         "source g {\n address = 192.0.2.77\n}\ndelivery {\n hold = yes\n}\n");
    for (int i = 0; i < 3; i++) {
        rig_post(&rig, "a@test.example", "g@far.example", &gold, BODY);
        rig_post(&rig, "a@test.example", "l@far.example", &lead, BODY);
    }
    conf_free(rig.conf);
    rig.conf = rig_conf(&rig, ROUTE "tenant gold {\n number = 7\n}\ntenant lead {\n number = 8\n}"
                                    "\nsource g {\n address = 192.0.2.77\n}\ndelivery {\n "
                                    "retry = 10ms\n retry_max = 10ms\n}\n");
    IS(courier_set_conf(rig.courier, rig.conf, NULL), 0, "delivery opens");
    RIG_FOR(&rig, rig.transients >= 12);
    IS(waiting(), 6, "nothing is lost");
    rig_done(&rig);
}

/* The best host has IPv6 alone, the source IPv4: the next host will do. */
static void
test_other_family(void)
{
    rig_init(&rig, "route all {\n domains = *\n via = smtp://[2001:db8::1]:25, "
                   "smtp://127.0.0.1:PORT\n tls = never\n}\nsource g {\n address = 127.0.0.7\n}\n");
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries == 1);
    rig_done(&rig);
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"strongest", test_strongest},   {"other", test_other_source_goes_on},
        {"blocked", test_blocked_alone}, {"absent", test_not_of_this_machine},
        {"family", test_other_family},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
