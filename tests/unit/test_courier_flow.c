/*
 * tests/unit/test_courier_flow.c - the courier from a gate's record to the sink and back to an
 * empty log: delivery, retries, reports, crashes, exclusivity, suspension, explain.
 */
#define BODY "From: a@test.example\r\nSubject: hello\r\n\r\nOne line.\r\n.a dot\r\n"

#include "courier_tests.h"

static bool
has(const char *text)
{
    return strstr(said, text) != NULL;
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
    IS(rig.alarms, 0, "no alarm");
    rig_done(&rig);
}

static void
test_segments_come_back(void)
{
    char *big = malloc(300001);

    memset(big, 'x', 300000);
    big[300000] = '\0';
    for (size_t i = 998; i < 300000; i += 1000)
        memcpy(big + i, "\r\n", 2);
    rig_init(&rig, ROUTE);
    for (int i = 0; i < 60; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
    RIG_FOR(&rig, waiting() == 0);
    RIG_FOR(&rig, rig.freed >= 3);
    IS(rig.messages, 60, "all delivered");
    free(big);
    rig_done(&rig);
}

static void
test_retry(void)
{
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@test.example", "later@far.example b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && in_state(ROW_WAITING) == 1);
    IS(rig.transients, 1, "one put off");
    OK(strstr(rig.last_event, "451") || strstr(rig.last_event, "\"Delivery\""),
       "its reply is told");
    pass(50);
    IS(in_state(ROW_WAITING), 1, "waits for the gap");
    pass(11);
    RIG_FOR(&rig, rig.transients == 2);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    pass(61);
    IS(rig.transients, 2, "the second gap is longer");
    pass(60);
    RIG_FOR(&rig, rig.transients == 3);
    for (int i = 0; i < 12 && rig.expirations == 0; i++)
        pass(600);
    IS(rig.expirations, 1, "over after an hour");
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 2, "and the report went out");
    OK(strstr(rig.last_body, "Action: failed") != NULL, "it says so");
    OK(strstr(rig.last_body, "Status: 4.4.7") != NULL, "by its status");
    rig_done(&rig);
    clock_release();
}

static void
test_bounce(void)
{
    struct spool_envelope stranger = {.flags = SPOOL_MAIL_INBOUND, .class = SPOOL_CLASS_INSIDE};
    struct spool_envelope never = {.flags = SPOOL_MAIL_SUBMITTED,
                                   .class = SPOOL_CLASS_TRANSACTIONAL,
                                   .nrcpt = SPOOL_NOTIFY_NEVER};
    struct spool_envelope success = {.flags = SPOOL_MAIL_SUBMITTED,
                                     .nrcpt = SPOOL_NOTIFY_SUCCESS,
                                     .class = SPOOL_CLASS_TRANSACTIONAL};

    rig_init(&rig, ROUTE);
    rig_post(&rig, "a@test.example", "bad@far.example good@far.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 0 && rig.messages == 2);
    IS(rig.bounces, 1, "one bounce");
    OK(strstr(rig.last_mail, "MAIL FROM:<>") != NULL, "a report with the null sender");
    OK(strstr(rig.last_rcpt, "a@test.example") != NULL, "to the sender");
    OK(strstr(rig.last_body, "Status: 5.1.1") != NULL, "with the status");
    OK(strstr(rig.last_body, "Subject: hello") != NULL, "and the original");
    rig.messages = 0;
    rig_post(&rig, "a@test.example", "bad1@far.example bad2@far.example bad3@other.example", NULL,
             BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 1, "three failures of one message: one report");
    OK(strstr(rig.last_body, "bad1@far") && strstr(rig.last_body, "bad3@other"),
       "with all of them");
    rig.messages = 2;
    rig_post(&rig, "a@test.example", "bad@far.example", &never, BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 2, "NOTIFY=NEVER: no report");
    rig_post(&rig, "", "bad@far.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 2, "the null sender gets no report");
    rig_post(&rig, "a@test.example", "ok@far.example", &success, BODY);
    RIG_FOR(&rig, rig.messages == 4 && waiting() == 0);
    OK(strstr(rig.last_body, "Action: relayed") != NULL, "NOTIFY=SUCCESS: relayed");
    rig_post(&rig, "x@stranger.example", "bad@far.example", &stranger, BODY);
    RIG_FOR(&rig, rig.asides == 1);
    rig_settle(&rig, 20);
    IS(rig.messages, 4, "backscatter law: nobody is told");
    IS(waiting(), 1, "it is set aside");
    rig_done(&rig);
}

static void
test_crash(void)
{
    rig_init(&rig, ROUTE SOON "}\n");
    rig.hang_after_dot = true;
    rig.dot = NULL;
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.courier->load.unknown, 1, "lost after the dot: unknown, and told");
    rig_done(&rig);

    sink_plain(&rig);
    rig_init(&rig, ROUTE SOON "}\n");
    rig.dot = NULL; /* never answers */
    for (int crash = 0; crash < 2; crash++) {
        unsigned before = rig.messages;
        if (crash == 0)
            rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
        RIG_FOR(&rig, rig.messages > before);
        rig_crash(&rig);
        OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new epoch");
        OK(rig_courier(&rig, true), "the next courier, its gate lives");
        if (crash == 0) {
            RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
            IS(rig.courier->load.unknown, 1, "an open intent is an unknown outcome");
            verb("queue.retry", "{\"all\":true}");
            IS(status, 0, "tried now");
        }
    }
    RIG_FOR(&rig, in_state(ROW_HELD) == 1);
    verb("queue.list", "{}");
    OK(has("two crashes"), "held after two crashes, and says so");
    rig.dot = "250 ok\r\n";
    verb("queue.release", "{\"all\":true}");
    RIG_FOR(&rig, waiting() == 0);
    rig_done(&rig);
}

/* Everybody dies; then what is on disk is read as dead epochs. */
static void
test_restart(void)
{
    unsigned n;

    rig_init(&rig, ROUTE SOON " hold = yes\n}\n");
    for (int i = 0; i < 50; i++) {
        char to[64];
        str_fmt(to, sizeof to, "u%d@d%d.example v%d@d%d.example", i, i % 5, i, i % 3);
        rig_post(&rig, "a@test.example", to, NULL, BODY);
    }
    RIG_FOR(&rig, waiting() == 100);
    verb("queue.remove", "{\"recipient\":\"u3@d3.example\",\"reason\":\"test\"}");
    verb("queue.hold", "{\"recipient\":\"u4@d4.example\",\"reason\":\"look first\"}");
    RIG_FOR(&rig, waiting() == 99);
    n = rig.messages;
    rig_crash(&rig);
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "a new gate");
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
    conf_free(rig.conf);
    rig.conf = rig_conf(&rig, ROUTE SOON "}\n");
    OK(rig_courier(&rig, true), "a courier reads it all");
    RIG_FOR(&rig, waiting() == 1);
    IS(rig.messages, n + 50, "each message once");
    verb("queue.list", "{}");
    OK(has("look first") && has("u4@d4.example") && has("\"held\""), "the held one has its reason");
    verb("queue.release", "{\"recipient\":\"u4@d4.example\"}");
    RIG_FOR(&rig, waiting() == 0);
    rig_done(&rig);
}

static void
test_exclusive(void)
{
    struct spool_envelope gold = {
        .tenant = 7, .flags = SPOOL_MAIL_SUBMITTED, .class = SPOOL_CLASS_TRANSACTIONAL};
    struct spool_envelope other = {
        .tenant = 8, .flags = SPOOL_MAIL_SUBMITTED, .class = SPOOL_CLASS_TRANSACTIONAL};

    rig_init(&rig, ROUTE "tenant gold {\n number = 7\n pool = gold\n}\n"
                         "tenant thief {\n number = 8\n pool = gold\n}\n"
                         "source golden {\n address = 127.0.0.7\n exclusive = gold\n}\n"
                         "pool gold {\n sources = golden\n}\n");
    rig_post(&rig, "a@test.example", "b@far.example", &gold, BODY);
    RIG_FOR(&rig, rig.messages == 1);
    OK(rig.conns && rig.conns->peer.addr.b[15] == 7, "left by its own source");
    RIG_FOR(&rig, rig.deliveries == 1);
    OK(strstr(rig.last_event, "\"egress_pool\":\"gold\",\"egress_source\":\"golden\""),
       "the event names the tenant's pool: %s", rig.last_event);
    rig_post(&rig, "a@test.example", "b@far.example", &other, BODY);
    rig_post(&rig, "", "c@far.example", NULL, BODY);
    rig_settle(&rig, 100);
    IS(rig.messages, 1, "neither another tenant nor the system by that source");
    verb("queue.list", "{}");
    OK(has("no source that may carry"), "and they say why they wait");
    rig_done(&rig);
}

static void
test_suspend(void)
{
    rig_init(&rig, ROUTE SOON "}\n");
    IS(verb("suspend", "{\"domain\":\"far.example\"}"), 2, "wants a reason");
    IS(verb("suspend", "{\"domain\":\"far.example\",\"reason\":\"they move\",\"for\":\"1h\"}"), 0,
       "%s", ended);
    IS(verb("suspend", "{\"sender\":\"@spam.example\",\"reason\":\"looks bad\"}"), 0, "%s", ended);
    rig_post(&rig, "a@test.example", "b@far.example c@near.example", NULL, BODY);
    rig_post(&rig, "x@spam.example", "d@near.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && in_state(ROW_SCOPED) == 1 && waiting() == 2);
    verb("queue.list", "{}");
    OK(has("\"suspended\"") && has("they move") && has("looks bad"), "both say why");
    IS(verb("suspend", "{\"tenant\":\"nobdy\",\"reason\":\"x\"}"), 2, "no such tenant");
    OK(strstr(ended, "no tenant of that name"), "%s", ended);
    IS(verb("suspend", "{\"site\":\"nowhere\",\"reason\":\"x\"}"), 0, "a site yet to come");
    OK(strstr(ended, "No site has that in its name now"), "%s", ended);
    IS(verb("resume", "{\"site\":\"nowhere\"}"), 0, "%s", ended);
    rig_crash(&rig);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream");
    OK(rig_courier(&rig, true), "a new courier");
    RIG_FOR(&rig, in_state(ROW_SCOPED) == 1 && waiting() == 2);
    verb("suspensions", "{}");
    OK(has("far.example") && has("@spam.example") && has("until"), "they are in the log");
    IS(verb("resume", "{\"domain\":\"far.example\"}"), 0, "%s", ended);
    RIG_FOR(&rig, rig.messages == 2);
    IS(verb("resume", "{\"all\":true}"), 0, "%s", ended);
    RIG_FOR(&rig, waiting() == 0);
    rig_crash(&rig);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream");
    OK(rig_courier(&rig, true), "a new courier");
    verb("suspensions", "{}");
    OK(!has("reason"), "and so are their ends");
    rig_done(&rig);
}

static void
test_explain(void)
{
    struct spool_envelope named = {.class = SPOOL_CLASS_TRANSACTIONAL,
                                   .flags = SPOOL_MAIL_SUBMITTED,
                                   .tenant = 1,
                                   .message_id = STR("<Hello.1@test.example>")};

    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@test.example", "later@far.example", &named, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    rig_settle(&rig, 10);
    IS(verb("explain", "{\"recipient\":\"later@far.example\"}"), 0, "%s", ended);
    OK(has("accepted") && has("attempt 1") && has("put off") && has("451 4.7.1 come back later") &&
           has("next attempt") && has("now: 1 recipient open"),
       "the whole story");
    IS(verb("explain", "{\"recipient\":\"<Hello.1@test.example>\"}"), 0, "%s", ended);
    OK(has("later@far.example"), "by its Message-ID: %s", said);
    IS(verb("explain", "{\"recipient\":\"Hello.1@test.example\"}"), 0, "%s", ended);
    IS(verb("explain", "{\"recipient\":\"<hello.1@test.example>\"}"), 1, "case counts there");
    OK(strstr(ended, "Message-ID"), "%s", ended);
    IS(verb("explain", "{\"id\":\"2v8m4tq0j3c9xw1r5k7n6p8d2e\"}"), 1, "%s", ended);
    verb("queue.summary", "{}");
    OK(has("\"waiting\":1") && has("far.example"), "summary");
    verb("top.courier", "{}");
    OK(has("route:all"), "top");
    verb("top.courier", "{\"recipient\":\"later@far.example\"}");
    OK(has("\"site\":\"route:all\",\"recipients\":1"), "of one recipient: %s", said);
    verb("top.courier", "{\"site\":\"all\"}");
    OK(has("\"site\":\"route:all\",\"ready\""), "of one site: %s", said);
    verb("top.courier", "{\"sender\":\"@nobody.example\"}");
    OK(!has("route:all") && strstr(ended, "no destination has mail like that"), "%s", ended);
    IS(verb("queue.remove", "{\"domain\":\"far.example\",\"reason\":\"test\"}"), 0, "%s", ended);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.removed, 1, "AdminBounce");
    OK(!strstr(rig.last_event, "bounce_classification"), "nobody answered: %s", rig.last_event);
    rig_done(&rig);
}

static bool reader_is_full;

static bool
said_full(void *ctx)
{
    (void)ctx;
    return reader_is_full;
}

/* What has much to do ends in later turns, and waits for who reads it. */
static void
test_control_turns(void)
{
    const struct courier_reply slow = {.line = said_line, .end = said_end, .full = said_full};

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    rig_post(&rig, "b@test.example", "later@near.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 2);
    said[0] = '\0';
    status = -1;
    courier_verb(rig.courier, STR("explain"), STR("{\"recipient\":\"a@test.example\"}"), &slow);
    IS(status, -1, "explain reads the log beside the loop");
    RIG_FOR(&rig, status == 0);
    OK(has("accepted"), "and ends");
    reader_is_full = true;
    said[0] = '\0';
    status = -1;
    courier_verb(rig.courier, STR("queue.list"), STR("{}"), &slow);
    rig_settle(&rig, 10);
    IS(status, -1, "a reader that does not read is waited for");
    OK(said[0] == '\0', "no line is made for it");
    reader_is_full = false;
    for (int i = 0; i < 100 && status < 0; i++)
        pass(1);
    IS(status, 0, "%s", ended);

    IS(verb("queue.list", "{\"state\":\"x\"}"), 2, "no such state");
    OK(strstr(ended, "suspended") && strstr(ended, "aside"), "%s", ended);
    IS(verb("suspend", "{\"domain\":\"far.example\",\"reason\":\"they move\"}"), 0, "%s", ended);
    verb("queue.list", "{\"state\":\"suspended\"}");
    OK(has("far.example") && has("they move") && !has("near.example"),
       "a row that waits for its time is told as suspended: %s", said);
    verb("queue.summary", "{}");
    OK(has("\"suspended\":1"), "%s", said);
    IS(verb("suspend", "{\"sender\":\"b@test.example\",\"reason\":\"spam\"}"), 0, "%s", ended);
    verb("queue.list", "{\"state\":\"suspended\"}");
    OK(has("near.example") && has("spam"), "by its sender too: %s", said);
    verb("queue.list", "{\"state\":\"waiting\"}");
    OK(said[0] == '\0', "none only waits: %s", said);
    IS(verb("queue.hold", "{\"all\":true,\"reason\":\"look\"}"), 0, "%s", ended);
    OK(strstr(ended, "2 recipients") != NULL, "%s", ended);
    status = -1;
    courier_verb(rig.courier, STR("explain"), STR("{\"recipient\":\"a@test.example\"}"), &slow);
    rig_done(&rig);
    IS(status, 1, "who asks while the courier ends is told: %s", ended);
    clock_release();
}

/* Removal by filter is one record for each epoch, and a restart takes the same rows away again. */
static void
test_purge(void)
{
    char args[200];

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    for (int i = 0; i < 5; i++)
        rig_post(&rig, "news@test.example", "later@far.example later@near.example", NULL, BODY);
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 11);
    IS(verb("queue.remove", "{\"sender\":\"news@test.example\",\"domain\":\"far.example\","
                            "\"reason\":\"runaway\"}"),
       0, "%s", ended);
    OK(strstr(ended, "5 recipients") != NULL, "%s", ended);
    IS(waiting(), 6, "the rest is let alone");
    IS(rig.removed, 5, "an event for each");
    IS(verb("explain", "{\"recipient\":\"news@test.example\"}"), 0, "%s", ended);
    OK(has("\"purge\"") && has("runaway") && !has(" removed: recipient"), "one record tells it");
    rig_post(&rig, "news@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 7);
    rig_crash(&rig);
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "a new gate");
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream");
    OK(rig_courier(&rig, true), "a new courier");
    RIG_FOR(&rig, rig.courier->recovered && waiting() == 7);
    verb("queue.list", "{\"sender\":\"news@test.example\",\"domain\":\"far.example\"}");
    OK(has("later@far.example"), "what came after the record is not touched");
    str_fmt(args, sizeof args, "{\"all\":true,\"reason\":\"x\"}");
    IS(verb("queue.remove", args), 0, "%s", ended);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 0, "nothing of it was sent");
    rig_crash(&rig);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream");
    OK(rig_courier(&rig, true), "a new courier, the gate goes on");
    RIG_FOR(&rig, rig.courier->recovered);
    rig_settle(&rig, 20);
    IS(waiting(), 0, "all of it stays away");
    IS(rig.alarms, 0, "no alarm");
    rig_done(&rig);
    clock_release();
}

static void
test_dead_host(void)
{
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    sink_close(&rig);
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    rig_post(&rig, "a@test.example", "c@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients >= 1);
    verb("queue.list", "{}");
    OK(has("refused"), "the reason is told");
    OK(has("\"state\":\"ready\",\"attempts\":0,\"next\":"), "and when it is tried again: %s", said);
    verb("explain", "{\"recipient\":\"c@far.example\"}");
    OK(has("ready, its site is tried again at "), "%s", said);
    sink_open(&rig);
    for (int i = 0; i < 40 && waiting() > 0; i++)
        pass(30);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 2, "both arrive when the host is back");
    rig_done(&rig);
    clock_release();
}

static void
test_lmtp(void)
{
    struct spool_envelope in = {.flags = SPOOL_MAIL_INBOUND, .class = SPOOL_CLASS_INSIDE};

    rig_init(&rig, "domain in.example {\n inside = lmtp://127.0.0.1:PORT\n recipients = any\n}\n");
    rig.lmtp = true;
    rig_post(&rig, "x@far.example", "a@in.example b@in.example", &in, BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 1, "one transaction, a reply for each");
    rig_done(&rig);
}

static void
test_maildir(void)
{
    char conf[300], path[400];
    DIR *d;
    struct dirent *e;
    unsigned n = 0;

    str_fmt(conf, sizeof conf,
            "domain in.example {\n inside = maildir:/tmp/gapura-maildir-%d\n recipients = any\n}\n",
            (int)getpid());
    rig_init(&rig, conf);
    rig_post(&rig, "x@far.example", "a@in.example b@in.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 0);
    str_fmt(path, sizeof path, "/tmp/gapura-maildir-%d/new", (int)getpid());
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    IS(n, 2, "two files in new");
    str_fmt(path, sizeof path, "/tmp/gapura-maildir-%d", (int)getpid());
    rig_remove_dir(path);
    rig_done(&rig);
}

/* A segment with one message left is emptied by a copy, which survives a restart. */
static void
test_compaction(void)
{
    char *big = malloc(200001);

    memset(big, 'y', 200000);
    big[200000] = '\0';
    for (size_t i = 998; i < 200000; i += 1000)
        memcpy(big + i, "\r\n", 2);
    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    for (int i = 0; i < 60; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
    RIG_FOR(&rig, waiting() == 1);
    for (int i = 0; i < 50 && rig.freed < 2; i++)
        pass(1);
    OK(rig.freed >= 2, "segments freed: %u", rig.freed);
    IS(waiting(), 1, "the slow one is still there");
    rig_crash(&rig);
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "a new gate");
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream");
    rig.messages = 0;
    OK(rig_courier(&rig, true), "a new courier");
    IS(waiting(), 1, "the copy is read, the rest is settled");
    verb("queue.list", "{}");
    OK(has("later@far.example"), "%s", said);
    verb("explain", "{\"recipient\":\"later@far.example\"}");
    OK(has("copied") && (has("attempt 1") || has("no longer in the log")),
       "attempts that went with their segment are named as such: %s", said);
    verb("queue.remove", "{\"all\":true,\"reason\":\"x\"}");
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 0, "nothing was sent twice");
    free(big);
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"deliver", test_deliver},
        {"segments", test_segments_come_back},
        {"retry", test_retry},
        {"bounce", test_bounce},
        {"crash", test_crash},
        {"restart", test_restart},
        {"exclusive", test_exclusive},
        {"suspend", test_suspend},
        {"explain", test_explain},
        {"turns", test_control_turns},
        {"purge", test_purge},
        {"dead", test_dead_host},
        {"lmtp", test_lmtp},
        {"maildir", test_maildir},
        {"compaction", test_compaction},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
