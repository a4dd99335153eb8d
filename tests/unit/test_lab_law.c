/*
 * test_lab_law.c - fake mailbox providers: what each row of their settings does, with a clock that
 * the test owns; and what a person is told of events.
 */
#include "core/clock.h"
#include "lab/law.h"
#include "lab/tell.h"
#include "tap.h"

static struct addr
address(const char *text)
{
    struct addr a;

    addr_parse(str_c(text), &a);
    return a;
}

/* A provider from rows, with the defaults that people get. NULL: refused; errors are counted. */
static struct conf *
provider(const char *rows, size_t *ret_errors)
{
    static struct conf_texts texts;
    char text[2048];
    struct conf_errors errs = {0};
    struct conf *c = NULL;
    size_t n =
        str_fmt(text, sizeof(text),
                "mx = 127.0.0.1:25\nsubmission = 127.0.0.1:587\nlogin = a@b.test\n"
                "robot = r@b.test\npassword = x\n"
                "provider p {\naddress = 127.0.0.11:2500\nhostname = mx.p.test\n%s\n}\n"
                "mail m {\nwing = in\nfrom = s@s.test\nto = a@b.test\nclient = 127.0.0.9\n}\n",
                rows);

    texts.n = 1;
    texts.items[0] = (struct conf_text){STR("lab.conf"), str_of(text, n)};
    conf_parse(&c, &texts, lab_blocks, LAB_NBLOCKS, 1, &errs);
    if (ret_errors)
        *ret_errors = errs.n;
    for (size_t i = 0; !ret_errors && i < errs.n; i++)
        printf("# %.*s\n", STR_ARG(errs.items[i].text));
    conf_errors_done(&errs);
    return c;
}

struct rig {
    struct conf *conf;
    struct law law;
    struct law_client *client;
};

static void
rig_up(struct rig *r, const char *rows)
{
    struct addr a = address("127.0.0.31");
    enum lab_stage drop;

    r->conf = provider(rows, NULL);
    OK(r->conf && law_init(&r->law, conf_first(r->conf, "provider")->data, 100) == 0, "a law");
    OK(!law_connect(&r->law, &a, 1, &r->client, &drop) || r->conf, "a session");
}

static void
rig_down(struct rig *r)
{
    law_done(&r->law);
    conf_free(r->conf);
}

static void
test_words(void)
{
    static const struct {
        const char *text;
        bool good;
        int rc, code;
        const char *enhanced, *rest;
    } replies[] = {
        {"450 4.2.0 Come again", false, 0, 450, "4.2.0", "Come again"},
        {"550 No", false, 0, 550, "", "No"},
        {"421 4.7.28 Too many", false, 0, 421, "4.7.28", "Too many"},
        {"450 5.2.0 of another class", false, 0, 450, "", "5.2.0 of another class"},
        {"250 2.0.0 Thank you", true, 0, 250, "2.0.0", "Thank you"},
        {"250 2.0.0 Thank you", false, ERR_SYNTAX, 0, "", ""},
        {"450 4.2.0 Come again", true, ERR_SYNTAX, 0, "", ""},
        {"354 go on", false, ERR_SYNTAX, 0, "", ""},
        {"600 what", false, ERR_SYNTAX, 0, "", ""},
        {"45 short", false, ERR_SYNTAX, 0, "", ""},
        {"450", false, ERR_SYNTAX, 0, "", ""},
        {"450 4.2.0", false, ERR_SYNTAX, 0, "", ""},
        {"", false, ERR_SYNTAX, 0, "", ""},
        {"450 a\rb", false, ERR_SYNTAX, 0, "", ""},
    };
    static const struct {
        const char *pattern, *text;
        bool fits;
    } patterns[] = {
        {"nobody", "nobody", true},
        {"nobody", "NoBody", true},
        {"nobody", "nobody2", false},
        {"nobody*", "nobody", true},
        {"nobody*", "nobody99", true},
        {"*-gone", "ann-gone", true},
        {"*-gone", "gone", false},
        {"a*b*c", "a1b2b3c", true},
        {"a*b*c", "a1c", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"**a", "bca", true},
        {"a*", "", false},
    };
    enum lab_opinion o;
    uint32_t points;

    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        struct lab_reply r = {0};

        IS(lab_reply_parse(str_c(replies[i].text), replies[i].good, &r), replies[i].rc,
           "reply \"%s\"", replies[i].text);
        if (replies[i].rc)
            continue;
        IS(r.code, replies[i].code, "its code");
        TEXT(str_c(r.enhanced), replies[i].enhanced, "its enhanced code");
        TEXT(r.text, replies[i].rest, "its text");
    }
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        IS(lab_pattern_fits(str_c(patterns[i].pattern), str_c(patterns[i].text)), patterns[i].fits,
           "\"%s\" and \"%s\"", patterns[i].pattern, patterns[i].text);
    IS(lab_opinion_parse(STR("unsigned 1.5"), &o, &points), 0, "an opinion");
    IS(points, 150, "its points");
    IS(lab_opinion_parse(STR("words 2.25"), &o, &points), 0, "hundredths");
    IS(points, 225, "its points");
    IS(lab_opinion_parse(STR("ugly 1"), &o, &points), ERR_NOTFOUND, "no such opinion");
    IS(lab_opinion_parse(STR("words"), &o, &points), ERR_SYNTAX, "no points");
    IS(lab_opinion_parse(STR("words 1.234"), &o, &points), ERR_SYNTAX, "too fine");
}

static void
test_settings(void)
{
    static const char *const bad[] = {
        "greylist_reply = 250 2.0.0 fine",
        "accept_reply = 550 5.0.0 no",
        "opinion = ugly 3",
        "drop = lunch",
        "tls = sometimes",
        "latency = soon",
        "rate = often",
        "rate_reply = 451",
        "sessions_reply = \"42 too many\"",
        "surprise = yes",
    };
    size_t errors;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct conf *c = provider(bad[i], &errors);

        OK(!c && errors == 1, "one error: %s", bad[i]);
        conf_free(c);
    }
}

static void
test_sessions(void)
{
    struct rig r;
    struct addr same = address("127.0.0.31"), other = address("127.0.0.32"), many;
    struct law_client *second, *c;
    const struct lab_reply *no;
    enum lab_stage drop;

    rig_up(&r, "sessions_per_client = 1\nsessions_reply = 421 4.7.28 One is enough");
    no = law_connect(&r.law, &same, 2, &second, &drop);
    OK(no && no->code == 421 && !second, "a second session of one address");
    TEXT(no->text, "One is enough", "in the provider's own words");
    OK(!law_connect(&r.law, &other, 2, &second, &drop), "another address");
    law_leave(&r.law, r.client);
    OK(!law_connect(&r.law, &same, 3, &r.client, &drop), "again when the first one is gone");
    for (unsigned i = 0; i < 3 * LAW_CLIENTS; i++) {
        many = same;
        many.b[14] = (uint8_t)(i + 1);
        no = law_connect(&r.law, &many, 10 + i, &c, &drop);
        OK(!no, "address %u", i);
        law_leave(&r.law, c);
    }
    OK(law_connect(&r.law, &same, 500, &c, &drop) != NULL, "one with a session is not forgotten");
    rig_down(&r);
}

static void
test_pace(void)
{
    struct rig r;
    uint64_t now = 1000 * NS_PER_S;

    rig_up(&r, "rate = 6/min burst 2\nrate_reply = 451 4.7.24 Slower\nmessages_per_session = 3");
    OK(!law_mail(&r.law, 0, now) && !law_mail(&r.law, 1, now), "two at once");
    IS(law_mail(&r.law, 2, now)->code, 451, "not a third");
    OK(!law_mail(&r.law, 2, now + 10 * NS_PER_S), "one more after ten seconds");
    IS(law_mail(&r.law, 2, now + 11 * NS_PER_S)->code, 451, "and no more");
    IS(law_mail(&r.law, 3, now + 999 * NS_PER_S)->code, 421, "enough for one connection");
    rig_down(&r);
}

static void
test_recipients(void)
{
    struct rig r;
    struct str from = STR("a@x.test");
    uint64_t now = 1000 * NS_PER_S;

    rig_up(&r, "unknown = nobody*, gone\nfull = full*\nunknown_reply = 550 5.1.1 Who?");
    IS(law_rcpt(&r.law, r.client, from, STR("nobody7@p.test"), now)->code, 550, "unknown");
    IS(law_rcpt(&r.law, r.client, from, STR("GONE@p.test"), now)->code, 550, "in capitals");
    IS(law_rcpt(&r.law, r.client, from, STR("full.of.it@p.test"), now)->code, 452, "full");
    OK(!law_rcpt(&r.law, r.client, from, STR("ann@p.test"), now), "known");
    IS(r.client->unknown, 2, "unknown ones are counted");
    IS(r.client->known, 2, "known ones too");
    rig_down(&r);
    rig_up(&r, "greylist = 15s");
    IS(law_rcpt(&r.law, r.client, from, STR("ann@p.test"), now)->code, 450, "new: must wait");
    IS(law_rcpt(&r.law, r.client, from, STR("ann@p.test"), now + 14 * NS_PER_S)->code, 450,
       "too early");
    OK(!law_rcpt(&r.law, r.client, from, STR("ann@p.test"), now + 15 * NS_PER_S), "in time");
    OK(!law_rcpt(&r.law, r.client, from, STR("ann@p.test"), now + 16 * NS_PER_S),
       "and from then on");
    IS(law_rcpt(&r.law, r.client, from, STR("ben@p.test"), now + 16 * NS_PER_S)->code, 450,
       "another recipient");
    IS(law_rcpt(&r.law, r.client, STR("b@x.test"), STR("ann@p.test"), now)->code, 450,
       "another sender");
    r.client->addr = address("127.0.0.77");
    OK(!law_rcpt(&r.law, r.client, from, STR("ann@p.test"), now + 20 * NS_PER_S),
       "a neighbour of the client is known");
    rig_down(&r);
}

static void
test_drops(void)
{
    static const enum lab_stage want[] = {LAB_AT_RCPT, LAB_AT_DOT, LAB_STAGES, LAB_AT_CONNECT,
                                          LAB_AT_RCPT, LAB_AT_DOT, LAB_STAGES};
    struct rig r;
    struct addr a = address("127.0.0.31");
    struct law_client *c;
    enum lab_stage drop;

    rig_up(&r, "drop = connect, rcpt, dot"); /* its session was dropped at connect */
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        OK(!law_connect(&r.law, &a, 1, &c, &drop), "a session");
        IS(drop, want[i], "dropped at its stage");
    }
    rig_down(&r);
}

static void
test_opinion(void)
{
    static const char rows[] =
        "opinion = unsigned 1.5, clear 1, foreign 1.5, guessing 3, hasty 0.5, shouting 1.5, "
        "words 2, nameless 1\nwords = free prize, winner\nspam_at = 5";
    static const struct {
        const char *header, *body, *from, *why;
        bool tls, spam;
    } cases[] = {
        {"From: <me@x.test>\r\nSubject: Hi\r\nMessage-ID: <1@x>\r\nDate: now\r\n"
         "DKIM-Signature: v=1\r\n\r\n",
         "hello", "me@x.test", "0.00 of 5", true, false},
        {"From: <me@x.test>\r\nSubject: Hi\r\nMessage-ID: <1@x>\r\nDate: now\r\n\r\n", "hello",
         "me@x.test", "2.50 of 5: unsigned 1.50, clear 1.00", false, false},
        {"From: <me@y.test>\r\nSubject: YOU WIN A LOT\r\nMessage-ID: <1@x>\r\nDate: now\r\n\r\n",
         "Claim your FREE prize", "me@x.test",
         "6.50 of 5: unsigned 1.50, foreign 1.50, shouting 1.50, words 2.00", true, true},
        {"From: <me@x.test>\r\nDKIM-Signature: v=1\r\n\r\n", "", "", "1.00 of 5: nameless 1.00",
         true, false},
        {"no header at all", "", "me@x.test",
         "4.00 of 5: unsigned 1.50, foreign 1.50, nameless 1.00", true, false},
    };
    struct rig r;
    char why[256];

    rig_up(&r, rows);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct law_facts f = {str_c(cases[i].from), str_c(cases[i].header), str_c(cases[i].body),
                              cases[i].tls};

        IS(law_message(&r.law, r.client, &f, NS_PER_S, why, sizeof(why)), cases[i].spam, "case %zu",
           i);
        TEXT(str_c(why), cases[i].why, "and why");
    }
    struct law_facts good = {STR("me@x.test"), str_c(cases[0].header), STR(""), true};
    for (unsigned i = 0; i < 20; i++)
        law_message(&r.law, r.client, &good, NS_PER_S, why, sizeof(why));
    TEXT(str_c(why), "0.50 of 5: hasty 0.50", "many at once from a new address");
    law_message(&r.law, r.client, &good, 200 * NS_PER_S, why, sizeof(why));
    TEXT(str_c(why), "0.00 of 5", "later it is no news");
    r.client->unknown = 6;
    r.client->known = 20;
    law_message(&r.law, r.client, &good, 200 * NS_PER_S, why, sizeof(why));
    TEXT(str_c(why), "3.00 of 5: guessing 3.00", "a tenth of its recipients do not exist");
    rig_down(&r);
    rig_up(&r, "");
    OK(!law_message(&r.law, r.client, &good, 1, why, sizeof(why)) && !why[0],
       "without opinions all is inbox, and nothing is said");
    rig_down(&r);
}

static void
told(struct tell *t, const char *json, enum tell_whose whose, const char *text)
{
    CLEANUP(buf_done) struct buf out;
    json_t *e = json_loads(json, 0, NULL);
    char id[32];

    buf_init(&out, 65536);
    IS(tell_event(t, e, &out, id), whose, "whose it is");
    TEXT(buf_view(&out), text, "what is said");
    json_decref(e);
}

static void
test_tell(void)
{
    struct loop *loop = loop_create();
    struct conf *conf = provider("", NULL);
    struct tell t = {.traffic = traffic_create(loop, conf), .login = STR("a@b.test")};
    CLEANUP(buf_done) struct buf sum;

    buf_init(&sum, 4096);
    told(
        &t,
        "{\"timestamp\":1795430819.5,\"type\":\"Reception\",\"id\":\"one\",\"sender\":\"a@b.test\","
        "\"recipient\":\"c@d.test\",\"nrcpt\":3,\"user\":\"a@b.test\","
        "\"peer_address\":{\"addr\":\"127.0.0.1:99\"}}",
        TELL_OWN,
        "10:46:59  accepted   one  from a@b.test to c@d.test and 2 more: it is on disk\n");
    told(&t,
         "{\"timestamp\":1795430819.5,\"type\":\"TransientFailure\",\"id\":\"one\","
         "\"recipient\":\"c@d.test\",\"next_due\":1795430829.5,\"peer_address\":{\"name\":\"mx\"},"
         "\"response\":{\"code\":450,\"enhanced_code\":\"4.2.0\",\"content\":\"later\\u001b[2J\"}}",
         TELL_OWN,
         "10:46:59  waits      one  c@d.test at mx: 450 4.2.0 later?[2J; next attempt in 10 s\n");
    told(&t,
         "{\"timestamp\":1795430819.5,\"type\":\"Reception\",\"id\":\"two\",\"user\":\"r@b.test\"}",
         TELL_SAMPLE, "");
    told(&t,
         "{\"timestamp\":1795430819.5,\"type\":\"Rejection\",\"sender\":\"s@s.test\","
         "\"peer_address\":{\"addr\":\"127.0.0.9:99\"},\"response\":{\"code\":550}}",
         TELL_SAMPLE, "");
    told(&t,
         "{\"timestamp\":1795430819.5,\"type\":\"Rejection\",\"sender\":\"s@s.test\","
         "\"recipient\":\"x@b.test\",\"peer_address\":{\"addr\":\"127.0.0.1:99\"},"
         "\"response\":{\"code\":550,\"enhanced_code\":{\"class\":5,\"subject\":1,\"detail\":1},"
         "\"content\":\"no\"}}",
         TELL_OWN, "10:46:59  refused    from s@s.test to x@b.test: 550 5.1.1 no\n");
    told(&t,
         "{\"timestamp\":1795430819.5,\"type\":\"Delivery\",\"id\":\"dsn\",\"sender\":\"\","
         "\"recipient\":\"a@b.test\",\"response\":{\"code\":250,\"content\":\"ok\"}}",
         TELL_OWN, "10:46:59  delivered  dsn  a@b.test: 250 ok\n");
    told(&t, "{\"timestamp\":1,\"type\":\"Debug\"}", TELL_NOBODY, "");
    told(&t, "{\"type\":7,\"id\":[]}", TELL_NOBODY, "");
    told(&t, "{\"type\":\"Bounce\",\"timestamp\":\"x\",\"response\":3,\"peer_address\":0}",
         TELL_SAMPLE, "");
    tell_sum(&t, &sum);
    TEXT(buf_view(&sum), "sample mail: 1 accepted, 1 refused, 1 failed\n", "a sum of samples");
    buf_clear(&sum);
    tell_sum(&t, &sum);
    TEXT(buf_view(&sum), "", "nothing since");
    traffic_free((struct traffic *)(uintptr_t)t.traffic);
    conf_free(conf);
    loop_free(loop);
}

int
main(void)
{
    test_words();
    test_settings();
    test_sessions();
    test_pace();
    test_recipients();
    test_drops();
    test_opinion();
    test_tell();
    return tap_done();
}
