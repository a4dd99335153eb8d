/*
 * tests/unit/test_courier_bounce.c - reports to senders: whom they go to, once over restarts, and
 * in which form mail with a UTF-8 header comes back.
 */
#include "courier_tests.h"

#define DAYS "delivery {\n retry = 10m\n jitter_percent = 0\n expire = 5d\n warn_after = 1m\n}\n"

static struct spool_envelope
submitted(void)
{
    return (struct spool_envelope){
        .flags = SPOOL_MAIL_SUBMITTED, .class = SPOOL_CLASS_TRANSACTIONAL, .tenant = 1};
}

/* The gate says who is behind a sender that is an alias, or was rewritten. */
static void
test_report_to(void)
{
    struct spool_envelope mail = submitted();

    rig_init(&rig, ROUTE);
    mail.report_to = STR("real@test.example\0other@test.example");
    rig_post(&rig, "alias@test.example", "bad@test.example", &mail, BODY);
    RIG_FOR(&rig, rig.bounces == 1 && rig.messages == 1 && waiting() == 0);
    OK(strstr(rig.seen, "RCPT TO:<real@test.example>") &&
           strstr(rig.seen, "RCPT TO:<other@test.example>") && !strstr(rig.seen, "alias@"),
       "told to those: %s", rig.seen);
    OK(strstr(rig.last_body, "To: <alias@test.example>"), "as the alias");
    OK(strstr(rig.last_mail, "FROM:<>"), "by the null sender");
    mail.report_to = STR("ann@far.example");
    rig_post(&rig, "srs0=x@test.example", "bad@test.example", &mail, BODY);
    RIG_FOR(&rig, rig.messages == 2 && waiting() == 0);
    OK(strstr(rig.last_rcpt, "TO:<ann@far.example>") &&
           strstr(rig.last_body, "To: <ann@far.example>"),
       "a rewritten sender is told under his own name: %s", rig.last_rcpt);
    rig_done(&rig);
}

/* One that was tried, one that waits behind it. */
static void
test_told_once(void)
{
    struct spool_envelope mail = submitted();

    own_clock();
    rig_init(&rig, "route dead {\n domains = far.example\n via = smtp://127.0.0.1:1\n tls = "
                   "never\n}\n" ROUTE DAYS);
    mail.envid = STR("tried");
    rig_post(&rig, "a@test.example", "later@test.example", &mail, BODY);
    RIG_FOR(&rig, rig.transients == 1 && in_state(ROW_WAITING) == 1);
    rig_post(&rig, "", "first@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 2);
    rig_post(&rig, "a@test.example", "b@far.example", &mail, BODY);
    RIG_FOR(&rig, in_state(ROW_READY) == 1);
    for (unsigned i = 0; i < 100 && rig.messages < 2; i++)
        pass(10);
    RIG_FOR(&rig, rig.messages == 2);
    OK(strstr(rig.last_body, "Action: delayed"), "both are told of");
    for (unsigned restart = 0; restart < 2; restart++) {
        rig_settle(&rig, 100);
        next_courier();
        for (unsigned i = 0; i < 30; i++)
            pass(60);
        rig_settle(&rig, 100);
        IS(rig.messages, 2, "and not again after a restart");
    }
    OK(waiting() >= 3, "they wait still");
    rig_done(&rig);
    clock_release();
}

static void
test_utf8_original(void)
{
    struct spool_envelope mail = submitted();

    rig_init(&rig, ROUTE);
    rig.ehlo = "250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
    mail.flags |= SPOOL_MAIL_UTF8 | SPOOL_MAIL_8BIT;
    rig_post(&rig, "a@test.example", "bad@test.example", &mail,
             "From: \xc3\xa4 <a@test.example>\r\nSubject: x\r\n\r\nhello\r\n");
    RIG_FOR(&rig, rig.messages == 1);
    OK(strstr(rig.last_body, "Content-Type: message/global\r\n"), "its own type: %s",
       rig.last_body);
    OK(strstr(rig.last_body, "Content-Type: message/delivery-status\r\n"), "the rest is ASCII");
    OK(!strstr(rig.last_mail, "SMTPUTF8"), "and can go anywhere: %s", rig.last_mail);
    mail.flags = SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_8BIT;
    rig_post(&rig, "a@test.example", "bad@test.example", &mail,
             "From: a <a@test.example>\r\nSubject: x\r\n\r\nh\xc3\xa4llo\r\n");
    RIG_FOR(&rig, rig.messages == 2);
    OK(strstr(rig.last_body, "Content-Type: message/rfc822\r\n"), "8-bit bodies are as ever");
    rig_done(&rig);
}

/* The original recipient keeps no mail from a host that takes its address. */
static void
test_orcpt(void)
{
    static char many[500];
    struct spool_envelope mail = submitted();

    rig_init(&rig, ROUTE);
    rig.ehlo = "250-sink\r\n250-8BITMIME\r\n250 DSN\r\n";
    mail.flags |= SPOOL_MAIL_UTF8;
    rig.orcpt = "utf-8;\xc3\xbc+m@test.example";
    rig_post(&rig, "a@test.example", "b@test.example c@test.example", &mail, BODY);
    RIG_FOR(&rig, rig.messages == 1);
    OK(strstr(rig.seen, "RCPT TO:<b@test.example> ORCPT=utf-8;\\x{FC}+m@test.example") &&
           strstr(rig.seen, "RCPT TO:<c@test.example> ORCPT=utf-8;\\x{FC}+m@test.example"),
       "said as RFC 6533 has it: %s", rig.seen);
    str_copy(STR("utf-8;"), many, sizeof many);
    for (size_t n = 6; n + 2 < sizeof many; n += 2)
        memcpy(many + n, "\xc3\xbc", 3);
    rig.orcpt = many;
    rig_post(&rig, "\xc3\xa4@test.example", "d@test.example", &mail, BODY);
    RIG_FOR(&rig, waiting() == 0);
    rig.orcpt = many;
    rig_post(&rig, "a@test.example", "e@test.example", &mail, BODY);
    RIG_FOR(&rig, rig.messages == 2);
    OK(strstr(rig.seen, "RCPT TO:<e@test.example>\r\n"), "and what is too long then, not");
    rig_done(&rig);
}

/* What was to go over TLS alone does not come back in clear text. */
static void
test_tls_alone(void)
{
    struct spool_envelope mail = submitted();

    rig_init(&rig, ROUTE);
    mail.ret = SPOOL_RET_FULL;
    mail.flags |= SPOOL_MAIL_REQUIRETLS;
    rig_post(&rig, "a@test.example", "b@test.example", &mail, BODY);
    RIG_FOR(&rig, rig.messages == 1);
    OK(strstr(rig.last_body, "text/rfc822-headers") && strstr(rig.last_body, "Subject: hello") &&
           !strstr(rig.last_body, "One line."),
       "the header alone: %s", rig.last_body);
    rig_done(&rig);
}

/* More than one report holds: others tell the rest. */
static void
test_many(void)
{
    static char to[1100 * 24];
    struct spool_envelope mail = submitted();
    size_t n = 0;

    own_clock();
    rig_init(&rig,
             "route hold {\n domains = far.example\n via = smtp://127.0.0.1:1\n tls = "
             "never\n}\n" ROUTE "delivery {\n retry = 1h\n expire = 2h\n warn_after = 0\n}\n");
    rig_post(&rig, "", "first@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    for (unsigned i = 0; i < 1100; i++)
        n += str_fmt(to + n, sizeof to - n, "u%u@far.example ", i);
    rig_post(&rig, "a@test.example", to, &mail, BODY);
    for (unsigned i = 0; i < 400 && waiting() > 0; i++) {
        pass(60);
        rig_settle(&rig, 5);
    }
    IS(waiting(), 0, "all are told of");
    OK(rig.messages >= 2 && rig.messages <= 24, "in %u reports", rig.messages);
    IS(rig.alarms, 0, "and nothing is lost");
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {{"to", test_report_to},       {"once", test_told_once},
                                            {"utf8", test_utf8_original}, {"orcpt", test_orcpt},
                                            {"tls", test_tls_alone},      {"many", test_many}};

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
