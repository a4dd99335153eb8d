/*
 * tests/unit/test_courier_unsigned.c - what becomes of mail that should be signed and cannot be: no
 * index of keys, one key of several broken, settings that do not require it. What the keyring says
 * is played.
 */
#include "courier/session_sign_inner.h"
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
    alarm_text[0] = said[0] = '\0';
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
/* Two keys of one message that failed at different times: who comes while one of them rests asks
 * neither, and puts neither off. */
static void
test_two_rest(void)
{
    static struct sign_work w;
    struct sign_key k = {.domain = "test.example", .must = true};
    uint64_t gap = 1;

    start(ROUTE SOON "}\n" ALL_REQUIRED);
    keys_set(true);
    for (unsigned i = 0; i < 2; i++) {
        str_fmt(k.selector, sizeof k.selector, "%s", i ? "e1" : "r1");
        OK(sign_key_fails(rig.courier, 1, &k, SIGN_REFUSED), "%s is waited for", k.selector);
        clock_advance(600 * NS_PER_MS);
    }
    for (unsigned i = 0; i < 8 && gap; i++) {
        gap = sign_choose(rig.courier, &w, STR("test.example"), 1);
        clock_advance(gap);
    }
    IS(gap, 0, "both are asked in the end");
    IS(w.nkeys, 3, "at once, with the platform's");
    OK(sign_choose(rig.courier, &w, STR("test.example"), 1) > 0, "the next waits for the answer");
    finish();
}

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

/* 300 KB of header, which is read by several calls. */
static char *
long_header(void)
{
    char *body = malloc(400000);
    size_t n = str_fmt(body, 400000, "From: a@test.example\r\n");

    while (n < 300000)
        n += str_fmt(body + n, 400000 - n, "X-Long: %0900d\r\n", 1);
    str_fmt(body + n, 400000 - n, "\r\nOne line.\r\n");
    return body;
}

/* What was read ahead of the file stays, but for what lies behind the first 256 KB. */
static void
forget_the_rest(uint64_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(rig.courier->windows.items); i++)
        if (rig.courier->windows.items[i].at > (128u << 10))
            rig.courier->windows.items[i].n = 0;
    spool_files_forget(rig.courier->files, number);
}

/* The disk fails while the header is read: it is read again, then held; nothing goes unsigned. */
static void
unreadable(bool twice)
{
    char *body = long_header(), path[200], away[210];
    uint64_t number;

    start(ROUTE SOON "}\n");
    rig.mail = "451 4.3.0 later\r\n";
    rig_post(&rig, "a@test.example", "b@one.example", NULL, body);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    number = first_file(rig.gate.epoch);
    all_die();
    OK(rig_courier(&rig, true), "the next courier reads the file, not the ring");
    event_tap(remember_alarm, &rig);
    RIG_FOR(&rig, rig.courier->recovered && in_state(ROW_WAITING) == 1);
    index_message(&rig.courier->index, 0)->pins++; /* nor a copy of its own */
    chan_free(ring.end);
    ring_open();
    keys_set(true);
    rig.mail = "250 2.1.0 ok\r\n";
    ring.says = SIGN_BUSY;
    pass_slowly(65);
    RIG_FOR(&rig, ring.asked >= 1 && in_state(ROW_WAITING) == 1);
    str_fmt(path, sizeof path, "%s/seg/%08llu.seg", rig.dir, (unsigned long long)number);
    str_fmt(away, sizeof away, "%s.away", path);
    OK(rename(path, away) == 0, "%s is away", path);
    forget_the_rest(number);
    ring.says = SIGN_DONE;
    for (unsigned i = 0; i < 10 && !strstr(said, "could not be read"); i++) {
        pass(1);
        verb("queue.list", "{}");
    }
    OK(strstr(said, "could not be read"), "it waits for that: %s", said);
    IS(rig.messages, 0, "nothing was sent");
    if (twice) {
        pass_slowly(150);
        RIG_FOR(&rig, in_state(ROW_HELD) == 1);
        OK(strstr(alarm_text, "is held: its bytes in the log cannot be read"), "%s", alarm_text);
    }
    OK(rename(away, path) == 0, "it is back");
    if (twice)
        verb("queue.release", "{\"all\":true,\"reason\":\"the disk is mended\"}");
    index_message(&rig.courier->index, 0)->pins--;
    pass_slowly(10);
    RIG_FOR(&rig, rig.messages == 1);
    OK(strncmp(rig.last_body, "DKIM-Signature: ", 16) == 0, "signed: %.60s", rig.last_body);
    free(body);
    finish();
}

/* A field far down needs SMTPUTF8, and the next host has none: it goes back, and not out. */
static void
test_utf8_far_down(void)
{
    struct spool_envelope env = {.class = SPOOL_CLASS_TRANSACTIONAL,
                                 .flags = SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_DSN_OK |
                                          SPOOL_MAIL_UTF8 | SPOOL_MAIL_8BIT,
                                 .tenant = 1};
    char *body = long_header();
    char *end = strstr(body, "\r\n\r\n");

    memcpy(end - 3, "\xc3\xbc", 2);
    start(ROUTE SOON "}\n");
    keys_set(true);
    rig_post(&rig, "a@test.example", "b@one.example", &env, body);
    RIG_FOR(&rig, rig.bounces == 1);
    RIG_FOR(&rig, rig.messages == 1);
    OK(strstr(rig.last_body, "SMTPUTF8") && !strncmp(rig.last_body, "From: Mail Delivery", 19),
       "a report, and nothing else: %.600s", rig.last_body);
    free(body);
    finish();
}

static void
test_unreadable_once(void)
{
    unreadable(false);
}

static void
test_unreadable_twice(void)
{
    unreadable(true);
}

/* --- seals on what is forwarded: a courtesy that holds nothing up for long --- */

#define SEALS     "arc {\n seal = yes\n domain = platform.example\n}\n"
#define RESULTS   "Authentication-Results: mx.test.example; spf=pass smtp.mailfrom=far.test\r\n"
#define FORWARDED RESULTS "Received: from far.test; Mon, 21 Sep 2026 14:13:20 +0000\r\n" BODY

static void
forward(const char *body)
{
    struct spool_envelope env = {
        .class = SPOOL_CLASS_TRANSACTIONAL, .flags = SPOOL_MAIL_INBOUND, .tenant = 1};

    rig_post(&rig, "x@far.test", "b@one.example", &env, body);
}

static void
seals_begin(void)
{
    start(ROUTE SOON "}\n" SEALS);
    ring.any_domain = ring.any_tenant = true;
    keys_set(true);
}

static void
test_seal(void)
{
    seals_begin();
    rig.mail = "451 4.3.0 later\r\n";
    forward(FORWARDED);
    RIG_FOR(&rig, rig.transients == 1);
    IS(ring.asked, 2, "for the message and for the seal");
    OK(strstr(rig.last_event, "\"arc\":\"p1._domainkey.platform.example\""), "told: %s",
       rig.last_event);
    rig.mail = "250 2.1.0 ok\r\n";
    pass_slowly(61);
    RIG_FOR(&rig, rig.deliveries == 1);
    IS(ring.asked, 2, "remembered");
    OK(strncmp(rig.last_body, "ARC-Seal: a=rsa-sha256;", 23) == 0, "sealed: %.200s", rig.last_body);
    OK(strstr(rig.last_body,
              "ARC-Authentication-Results: i=1;\r\n\tmx.test.example;\r\n\tspf=pass"),
       "with our results: %.900s", rig.last_body);
    forward("Received: from us\r\n" FORWARDED); /* somebody else's results, under our name */
    RIG_FOR(&rig, rig.deliveries == 2);
    OK(strncmp(rig.last_body, "Received:", 9) == 0, "nothing is sealed");
    OK(strstr(rig.last_event, "\"arc_none\":\"the guard has left no"), "told: %s", rig.last_event);
    forward(RESULTS "ARC-Seal: i=1; cv=none\r\nReceived: from us\r\n" BODY);
    RIG_FOR(&rig, rig.deliveries == 3);
    OK(strstr(rig.last_event, "\"arc_none\":\"its chain was not validated"), "told: %s",
       rig.last_event);
    IS(ring.asked, 2, "nobody was asked");
    finish();
}

static void
test_seal_cannot(void)
{
    seals_begin();
    ring.says = SIGN_BROKEN;
    forward(FORWARDED);
    RIG_FOR(&rig, rig.deliveries == 1);
    OK(strstr(rig.last_event, "\"arc_none\":\"the key that seals cannot sign"), "at once: %s",
       rig.last_event);
    IS(rig.alarms, 1, "and told");
    OK(strstr(alarm_text, "without the seal of platform.example"), "%s", alarm_text);
    finish();
    seals_begin();
    chan_free(ring.end);
    RIG_FOR(&rig, !chan_open(ring.ours));
    forward(FORWARDED);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    IS(rig.messages, 0, "a keyring that is started again is waited for");
    pass_slowly(12);
    RIG_FOR(&rig, rig.deliveries == 1);
    OK(strncmp(rig.last_body, "Authentication-Results:", 23) == 0, "then it goes");
    ring_open();
    ring.silent = true; /* and is killed between the two */
    ring.says = SIGN_DONE;
    forward(FORWARDED);
    RIG_FOR(&rig, ring.asked == 1);
    ring_answer(ring.ids[0], 1, SIGN_DONE);
    RIG_FOR(&rig, ring.asked == 2);
    chan_free(ring.end);
    RIG_FOR(&rig, !chan_open(ring.ours));
    ring_open();
    ring.silent = false;
    pass_slowly(3);
    RIG_FOR(&rig, rig.deliveries == 2);
    OK(strncmp(rig.last_body, "ARC-Seal:", 9) == 0, "sealed by the next one: %.60s", rig.last_body);
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
                                            {"two-rest", test_two_rest},
                                            {"refused-for-good", test_refused_for_good},
                                            {"delay", test_delay},
                                            {"long-header", test_long_header},
                                            {"utf8-far-down", test_utf8_far_down},
                                            {"unreadable-once", test_unreadable_once},
                                            {"unreadable-twice", test_unreadable_twice},
                                            {"seal", test_seal},
                                            {"seal-cannot", test_seal_cannot}};

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
