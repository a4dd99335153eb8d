/*
 * tests/unit/test_gate_judge.c - verdicts on whole messages: what follows for each recipient, what
 * the client is told, and the record in the log and in the event.
 */
#include "gate/setup.h"
#include "gate_rig.h"

/* Findings whose weights the test's profiles give; what is found is said in the address of the
 * sender (all) and of the recipient (its own). */
static struct str
local_of(const struct address *a)
{
    return str_sub(a->text, 0, (size_t)MAX(str_rchr(a->text, '@'), (ssize_t)0));
}

static void
find(struct check_run *run, const char *name, struct str input, uint8_t action)
{
    check_find(run, &(struct finding){.name = name,
                                      .input = input,
                                      .rule = STR("the test"),
                                      .weight = 1,
                                      .action = action,
                                      .code = 550,
                                      .enhanced = "5.7.1",
                                      .text = STR("no")});
}

static enum step
mail_run(struct check_run *run, enum check_event event)
{
    struct str local = local_of(check_facts(run)->sender);

    (void)event;
    if (str_find(local, STR("bad")) >= 0)
        find(run, "bad", local, VERDICT_PASS);
    if (str_find(local, STR("worse")) >= 0)
        find(run, "worse", local, VERDICT_PASS);
    if (str_find(local, STR("held")) >= 0)
        find(run, "held", local, VERDICT_HOLD);
    return STEP_NEXT;
}

static enum step
rcpt_run(struct check_run *run, enum check_event event)
{
    struct str local = local_of(check_facts(run)->rcpt);

    (void)event;
    if (str_find(local, STR("trap")) >= 0)
        find(run, "trap", local, VERDICT_PASS);
    return STEP_NEXT;
}

static enum step
seen_run(struct check_run *run, enum check_event event)
{
    (void)event;
    if (str_find(local_of(check_facts(run)->sender), STR("seen")) >= 0)
        find(run, "seen", STR_NONE, VERDICT_REFUSE);
    return STEP_NEXT;
}

/* Many findings, each with long texts. */
static enum step
flood_run(struct check_run *run, enum check_event event)
{
    static const char *const names[] = {"f0", "f1", "f2", "f3"};
    struct str local = local_of(check_facts(run)->sender);
    char text[110];

    (void)event;
    memset(text, 'x', sizeof(text));
    for (unsigned i = 0; i < 60 && str_find(local, STR("flood")) >= 0; i++)
        find(run, names[i % 4], str_of(text, sizeof(text)), VERDICT_PASS);
    return STEP_NEXT;
}

static const struct check mail_row = {
    .name = "mail", .stage = STAGE_MAIL, .join = STAGE_MAIL, .mode = CHECK_ON, .run = mail_run};
static const struct check rcpt_row = {
    .name = "rcpt", .stage = STAGE_RCPT, .join = STAGE_RCPT, .mode = CHECK_ON, .run = rcpt_run};
static const struct check seen_row = {.name = "seen",
                                      .stage = STAGE_MAIL,
                                      .join = STAGE_MAIL,
                                      .mode = CHECK_OBSERVE,
                                      .run = seen_run};
static const struct check flood_row = {
    .name = "flood", .stage = STAGE_MAIL, .join = STAGE_MAIL, .mode = CHECK_ON, .run = flood_run};
static const struct check *const rows[] = {&mail_row, &rcpt_row, &seen_row, &flood_row};

#define TENANT(n)                                                                                  \
    "tenant t" n " { number = " n "\n }\n"                                                         \
    "domain t" n ".test { inside = smtp://127.0.0.1:1\n tenant = t" n "\n }\n"
#define PROFILED(n)                                                                                \
    "profile q" n " { base = soft\n hold = none\n }\n"                                             \
    "domain p" n ".test { inside = smtp://127.0.0.1:1\n profile = q" n "\n }\n"
static const char conf[] =
    "hostname = mx.gate.test\n"
    "listen smtp { address = 127.0.0.1:25 }\n"
    "tenant acme { number = 7\n profile = soft\n }\n"
    "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
    "domain hard.test { inside = smtp://127.0.0.1:1\n profile = hard\n }\n"
    "domain soft.test { inside = smtp://127.0.0.1:1\n tenant = acme\n }\n"
    "domain look.test { inside = smtp://127.0.0.1:1\n profile = look\n }\n"
    "profile soft { weight = mail.bad 3\n weight = mail.worse 9\n weight = rcpt.trap 6\n"
    " tag = 3\n hold = 6\n }\n"
    "profile hard { base = soft\n group = all none 10 mail.* rcpt.*\n hold = none\n"
    " tempfail = 5\n refuse = 8\n }\n"
    "profile look { base = hard\n observe = yes\n }\n"
    "profile standard { base = soft\n }\n"
    "smtp { lookup_client = no\n }\n" TENANT("1") TENANT("2") TENANT("3") TENANT("4") TENANT("5")
        TENANT("6") TENANT("8") TENANT(
            "9") "domain t7.test { inside = smtp://127.0.0.1:1\n tenant = acme\n }\n" PROFILED("0")
            PROFILED("1") PROFILED("2") PROFILED("3") PROFILED("4") PROFILED("5") PROFILED("6")
                PROFILED("7") PROFILED("8") PROFILED("9") PROFILED("10") PROFILED("11");

static struct client c;

static void
begin(const char *sender)
{
    char line[300];

    str_fmt(line, sizeof(line), "MAIL FROM:<%s@far.test>", sender);
    talk(&c, line, "250");
}

static void
to(const char *rcpt)
{
    char line[300];

    str_fmt(line, sizeof(line), "RCPT TO:<%s>", rcpt);
    talk(&c, line, "250");
}

static void
end(const char *want, const char *what)
{
    talk(&c, "DATA", "354");
    client_say(&c, "Subject: x\r\n\r\nx\r\n.\r\n");
    client_expect(&c, want, what);
}

static void
large(void)
{
    talk(&c, "DATA", "354");
    client_say(&c, "Subject: x\r\n\r\n");
    for (unsigned i = 0; i < 5000; i++)
        client_say(&c, "0123456789012345678901234567890123456789012345678901234567890123456789"
                       "\r\n");
    client_say(&c, ".\r\n");
}

/* More kinds of recipients than a message may have: the one that is sent away leaves nothing to
 * the next one, who gets its number. */
static void
no_room(void)
{
    char rcpt[64];

    begin("bad");
    for (unsigned i = 1; i <= 8; i++) {
        str_fmt(rcpt, sizeof(rcpt), "a@t%u.test", i);
        to(rcpt);
    }
    talk(&c, "RCPT TO:<trap@t9.test>", "452 4.5.3");
    to("b@t1.test");
    end("250", "the rest is taken");
}

/* More to tell than a line of events holds: what has room is told, and that there is more. */
static void
many_profiles(void)
{
    struct str all, line;
    char rcpt[64];

    begin("flood");
    for (unsigned i = 0; i < 12; i++) {
        str_fmt(rcpt, sizeof(rcpt), "a@p%u.test", i);
        to(rcpt);
    }
    end("250", "one message for twelve profiles");
    all = buf_view(&rig.events);
    all.n--; /* its end */
    line = str_from(all, (size_t)(str_rchr(all, '\n') + 1));
    OK(str_find(line, STR("\"type\":\"Reception\"")) >= 0 &&
           str_find(line, STR("\"score\":60,\"verdict\":\"pass\"")) >= 0 &&
           str_find(line, STR("\"check\":\"flood\"")) >= 0 &&
           str_find(line, STR("\"verdicts\":[{")) >= 0 &&
           str_find(line, STR("\"settings\":7")) >= 0,
       "the decision is in the event, %zu bytes", line.n);
    OK(str_ends(line, STR(",\"truncated\":true}")), "and what is left out is said");
}

static void
conversation(void)
{
    begin("plain");
    to("a@any.test");
    end("250", "nothing was found");
    begin("bad");
    to("a@any.test");
    end("250", "tagged mail is delivered");
    begin("bad");
    to("trap@any.test");
    to("b@any.test");
    to("c@soft.test");
    end("250", "what is held was taken");
    begin("worse");
    to("a@hard.test");
    end("550 5.7.1", "refused for its sum");
    OK(last_has("(mail.worse)") && last_has("postmaster@mx.gate.test"), "says why: %s", last);
    OK(!last_has("9.00"), "but not what it weighs");
    begin("bad");
    to("trap@hard.test");
    to("a@hard.test");
    end("250", "one recipient of two would refuse");
    begin("bad");
    to("trap@hard.test");
    end("550 5.7.1", "the only one does");
    OK(last_has("(rcpt.trap, mail.bad)"), "the heaviest first: %s", last);
    begin("worse");
    to("a@look.test");
    end("250", "a profile that observes refuses nothing");
    begin("bad-seen");
    to("a@any.test");
    end("250", "nor does a check that observes");
    begin("held");
    to("a@any.test");
    end("250", "a finding may hold by itself");
    begin("bad");
    to("a@any.test");
    large();
    client_expect(&c, "250", "a message in pieces");
    begin("plain");
    to("a@any.test");
    large();
    client_expect(&c, "250", "another one, that nothing was found against");
    no_room();
    many_profiles();
    talk(&c, "QUIT", "221");
}

static void
check_log(void)
{
    struct rig_message *m = rig.messages;

    /* 0 plain, 1 tagged, 2 and 3 held and not (tenants apart), 4 mixed, 5 look, 6 seen, 7 held, 8
     * in pieces */
    if (!OK(rig.nmessages == 19, "%u records in the log", rig.nmessages))
        return;
    TEXT(str_c(m[0].decision), "", "nothing found leaves no record");
    TEXT(str_c(m[1].decision),
         "verdict: tag at 3.00, profile standard (tag from 3.00, hold from 6.00)\n"
         "     3.00  mail.bad: bad, by the test",
         "the record of a tagged one");
    IS(m[1].rcpt_flags[0], 0, "which is not held");
    OK(str_starts(str_c(m[1].body), STR("X-Gapura-Verdict: tag; score=3.00; profile=standard\r\n")),
       "but marked: %s", m[1].body);
    IS(m[1].size, strlen(m[1].body), "and its size is right");
    OK(!strstr(m[0].body, "X-Gapura"), "others are not");
    OK(strstr(m[2].body, "X-Gapura-Verdict: hold; score=9.00; profile=standard\r\n") &&
           strstr(m[2].body, "X-Gapura-Verdict: tag; score=3.00; profile=standard\r\n"),
       "all recipients have the same bytes: a field for each verdict");
    OK(!strstr(m[5].body, "X-Gapura"), "a profile that observes marks nothing");
    IS(m[2].rcpt_flags[0], SPOOL_RCPT_HOLD, "the recipient with a finding of its own is held");
    IS(m[2].rcpt_flags[1], 0, "the other one is not");
    OK(strstr(m[2].decision, "verdict for recipient 0: hold at 9.00") &&
           strstr(m[2].decision, "verdict for recipient 1: tag at 3.00"),
       "both are told: %s", m[2].decision);
    OK(m[3].tenant == 7 && strstr(m[3].decision, "verdict: tag at 3.00, profile soft"),
       "the tenant's profile judges the third");
    IS(m[4].rcpt_flags[0], SPOOL_RCPT_HOLD, "what cannot be refused any more is set aside");
    IS(m[4].rcpt_flags[1], 0, "for one recipient");
    OK(strstr(m[4].decision, "refuse at 9.00") && strstr(m[4].decision, "it became hold"),
       "and the record says so: %s", m[4].decision);
    OK(m[5].rcpt_flags[0] == 0 && strstr(m[5].decision, "verdict: pass at 9.00, profile look") &&
           strstr(m[5].decision, "only observed: refuse at 9.00"),
       "two verdicts side by side: %s", m[5].decision);
    OK(strstr(m[6].decision, "(0.01)  seen.seen: the test; would refuse; observed") &&
           strstr(m[6].decision, "verdict: tag at 3.00") &&
           strstr(m[6].decision, "only observed: refuse at 3.01, since seen.seen says so"),
       "also for checks: %s", m[6].decision);
    OK(m[7].rcpt_flags[0] == SPOOL_RCPT_HOLD && strstr(m[7].decision, "since mail.held says so"),
       "held by a finding: %s", m[7].decision);
    OK(str_starts(str_c(m[8].body),
                  STR("X-Gapura-Verdict: tag; score=3.00; profile=standard\r\nReceived: ")),
       "pieces have the field in front as well: %.200s", m[8].body);
    OK(str_starts(str_c(m[9].body), STR("X-Gapura-Verdict: pass\r\nReceived: ")),
       "also where there is nothing to tell: %.60s", m[9].body);
    for (unsigned i = 10; i < 18; i++)
        OK(strstr(m[i].decision, "verdict: tag at 3.00") && !strstr(m[i].decision, "trap"),
           "a recipient that was sent away left nothing: %s", m[i].decision);
    OK(m[8].size == strlen(m[8].body) && m[8].size > 360000, "and are whole");
}

static void
check_events(void)
{
    OK(events_have("\"score\":300,\"verdict\":\"tag\",\"profile\":\"standard\",\"findings\":[{"
                   "\"stage\":\"mail\",\"check\":\"mail\",\"name\":\"bad\",\"input\":\"bad\","
                   "\"rule\":\"the test\",\"weight\":300}]"),
       "the event has the same record");
    OK(events_have("\"verdicts\":[{\"score\":900,\"verdict\":\"hold\"") &&
           events_have("],\"recipients\":[\"trap@any.test\"]}"),
       "for each recipient");
    OK(events_have("\"verdict\":\"refuse\",\"applied\":\"hold\""), "and what became of it");
    OK(events_have("\"verdict\":\"pass\",\"profile\":\"look\",\"observe\":true,\"would\":{"
                   "\"score\":900,\"verdict\":\"refuse\"}"),
       "and what would have");
}

static void
test_bad_profile(void)
{
    struct gate_links links = {0};
    struct why why = {""};
    struct setup *setup = NULL;
    struct conf *bad = rig_parse("hostname = a.test\n"
                                 "profile p { weight = mail.bad\n }\n");

    links.checks = rows;
    links.nchecks = ARRAY_LEN(rows);
    OK(bad && setup_create(&setup, &links, bad, &why) < 0, "a bad profile is refused");
    OK(strstr(why.text, "test.conf:3: `weight`"), "with its place: %s", why.text);
    setup_unref(setup);
    conf_free(bad);
}

int
main(void)
{
    alarm(120);
    rig.checks = rows;
    rig.nchecks = ARRAY_LEN(rows);
    if (!rig_start(conf, 10))
        return tap_done();
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO client.far.test", "250");
    conversation();
    UNTIL(c.closed);
    client_shut(&c);
    check_events();
    rig_stop();
    check_log();
    rig_end();
    test_bad_profile();
    return tap_done();
}
