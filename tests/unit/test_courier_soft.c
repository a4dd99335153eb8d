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

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"strongest", test_strongest},
        {"other", test_other_source_goes_on},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
