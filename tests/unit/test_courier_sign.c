/*
 * tests/unit/test_courier_sign.c - when a message waits for its signature, and when the keyring is
 * asked; what the keyring says is played. Whether signatures hold is seen in
 * tests/system/test_signing.py.
 */
#include "courier_ring.h"

static void
test_once_for_all(void)
{
    begin();
    rig.mail = "451 4.3.0 later\r\n";
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    IS(ring.asked, 1, "asked");
    IS(ring.items, 2, "for both keys that sign");
    rig.mail = "250 2.1.0 ok\r\n";
    pass(61);
    RIG_FOR(&rig, rig.messages == 1);
    IS(ring.asked, 1, "not again for the next attempt");
    IS(signatures(), 2, "both are in front: %.60s", rig.last_body);
    OK(strstr(rig.last_body, "s=r1;") && strstr(rig.last_body, "s=e1;"), "of the right keys");
    OK(strncmp(rig.last_body, "DKIM-Signature: ", 16) == 0 && strstr(rig.last_body, BODY),
       "before what is stored");
    RIG_FOR(&rig, rig.deliveries == 1);
    OK(strstr(rig.last_event, "\"dkim\":[\"r1._domainkey.test.example\",\"e1._domainkey.test."
                              "example\"]"),
       "told: %s", rig.last_event);
    finish();
}

static void
test_key_changes(void)
{
    begin();
    rig.mail = "451 4.3.0 later\r\n";
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1);
    keys_set(false);
    rig.mail = "250 2.1.0 ok\r\n";
    pass(61);
    RIG_FOR(&rig, rig.messages == 1);
    IS(ring.asked, 2, "other keys sign anew");
    IS(signatures(), 1, "one");
    finish();
}

static void
test_not_signed(void)
{
    struct spool_envelope inbound = {
        .class = SPOOL_CLASS_INSIDE, .flags = SPOOL_MAIL_INBOUND, .tenant = 1};

    begin();
    rig_post(&rig, "a@test.example", "b@one.example", &inbound, BODY);
    rig_post(&rig, "a@test.example", "b@one.example", NULL,
             "From: a@none.example\r\n\r\nOne line.\r\n");
    rig_post(&rig, "a@test.example", "b@one.example", NULL, "Subject: none\r\n\r\nOne line.\r\n");
    RIG_FOR(&rig, rig.messages == 3);
    IS(ring.asked, 0, "nobody was asked");
    IS(signatures(), 0, "nothing in front");
    finish();
}

/* Settings are taken by one role before another: asked again, and signed when they agree. */
static void
test_refused(void)
{
    begin();
    ring.says = SIGN_REFUSED;
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.messages, 0, "not sent");
    ring.says = SIGN_DONE;
    keys_set(true);
    pass(2);
    RIG_FOR(&rig, rig.messages == 1);
    IS(signatures(), 2, "signed");
    IS(rig.alarms, 0, "nobody was woken");
    finish();
}

static void
test_waits(void)
{
    begin();
    chan_free(ring.end);
    RIG_FOR(&rig, !chan_open(ring.ours));
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.messages, 0, "not sent");
    verb("queue.list", "{}");
    OK(strstr(said, "waits for its DKIM signature"), "its reason: %s", said);
    pass(2);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    ring_open();
    ring.says = SIGN_BUSY;
    pass(2);
    RIG_FOR(&rig, ring.asked >= 1);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    ring.says = SIGN_UNKNOWN;
    pass(2);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    ring.says = SIGN_DONE;
    pass(2);
    RIG_FOR(&rig, rig.messages == 1);
    IS(signatures(), 2, "signed in the end");
    IS(rig.transients, 0, "never an attempt");
    finish();
}

/* The keyring is killed with questions open. */
static void
test_killed(void)
{
    begin();
    ring.silent = true;
    for (unsigned i = 0; i < 5; i++)
        rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, ring.asked >= 1);
    chan_free(ring.end);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 5);
    ring_open();
    ring.silent = false;
    pass(2);
    RIG_FOR(&rig, rig.messages == 5);
    IS(signatures(), 2, "signed");
    finish();
}

/* The connection ends while the keyring thinks. */
static void
test_connection_lost(void)
{
    unsigned connections;

    begin();
    ring.silent = true;
    rig_post(&rig, "a@test.example", "b@one.example", NULL, BODY);
    RIG_FOR(&rig, ring.asked == 1);
    connections = rig.connections;
    for (struct sink_conn *c = rig.conns; c; c = c->next)
        if (!c->over)
            c->over = true, stream_close(c->stream, false);
    RIG_FOR(&rig, rig.connections > connections);
    rig_settle(&rig, 20);
    IS(ring.asked, 1, "the next connection waits for the same answer");
    ring_answer(ring.ids[0], 2, SIGN_DONE);
    RIG_FOR(&rig, rig.messages == 1);
    IS(signatures(), 2, "signed");
    /* an answer that nobody waits for */
    ring_answer(ring.ids[0], 2, SIGN_DONE);
    rig_settle(&rig, 20);
    finish();
}

/* In pieces: the body is hashed in slices. */
static void
test_large(void)
{
    char *body = malloc(700000);
    size_t n = (size_t)str_fmt(body, 700000, "From: a@test.example\r\n");

    while (n < 100000)
        n += str_fmt(body + n, 700000 - n, "X-Long: %0200d\r\n", 1);
    n += str_fmt(body + n, 700000 - n, "\r\n");
    while (n < 600000)
        n += str_fmt(body + n, 700000 - n, "%0300d\r\n", 2);
    begin();
    rig_post(&rig, "a@test.example", "b@one.example", NULL, body);
    rig_post(&rig, "a@test.example", "b@one.example c@two.example", NULL, body);
    RIG_FOR(&rig, rig.messages >= 2 && waiting() == 0);
    IS(ring.asked, 2, "once for each message");
    OK(strncmp(rig.last_body, "DKIM-Signature: ", 16) == 0, "signed");
    OK(strstr(rig.last_mail, "SIZE="), "its size is said: %s", rig.last_mail);
    {
        const char *size = strstr(rig.last_mail, "SIZE=");
        uint64_t said_size = 0;

        for (size += 5; *size >= '0' && *size <= '9'; size++)
            said_size = said_size * 10 + (uint64_t)(*size - '0');
        OK(said_size > n && said_size < n + 4000, "with the signature in it");
    }
    free(body);
    finish();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"once", test_once_for_all},    {"changes", test_key_changes}, {"not", test_not_signed},
        {"refused", test_refused},      {"waits", test_waits},         {"killed", test_killed},
        {"lost", test_connection_lost}, {"large", test_large}};

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
