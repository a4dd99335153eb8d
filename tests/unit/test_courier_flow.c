/*
 * tests/unit/test_courier_flow.c - the courier from a gate's record to the sink and back to an
 * empty log: delivery, retries, reports, crashes, exclusivity, suspension, explain.
 */
#include "courier_rig.h"

#define BODY "From: a@test.example\r\nSubject: hello\r\n\r\nOne line.\r\n.a dot\r\n"
#define ROUTE "route all {\n domains = *\n via = smtp://127.0.0.1:PORT\n tls = never\n}\n"

static struct rig rig;

static unsigned
waiting(void)
{
    return rig.courier->index.rows.count;
}

static void
test_deliver(void)
{
    rig_init(&rig, ROUTE);
    rig_post(&rig, "a@test.example", "b@far.example c@far.example d@other.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 1, "one message for three recipients of two domains");
    IS(rig.rcpts, 3, "three RCPTs");
    TEXT(str_c(rig.last_body), BODY, "the bytes as they came");
    OK(strstr(rig.last_mail, "MAIL FROM:<a@test.example>") != NULL, "%s", rig.last_mail);
    IS(rig.deliveries, 1, "one event");
    rig_post(&rig, "a@test.example", "e@far.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.connections, 1, "the connection was used again");
    rig_done(&rig);
}

int
main(void)
{
    test_deliver();
    return tap_done();
}
