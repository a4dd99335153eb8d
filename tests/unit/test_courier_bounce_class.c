/*
 * tests/unit/test_courier_bounce_class.c - what reports mean: an address is given up for good only
 * where the report leaves no doubt, delays and answers give nothing up.
 */
#include "courier/bounce_class.h"
#include "tap.h"

static struct reply_classes *classes;
static bool machine = true; /* the report has fields for programs */

static struct reply_class_result
class_of(enum dsn_kind kind, const struct dsn_outcome *o, bool proven)
{
    struct dsn_report report = {.kind = kind, .machine = machine, .rcpts = o, .nrcpt = 1};
    struct str sent_to = !proven ? STR_NONE : o->final.n ? o->final : STR("a@b.example");
    struct reply_class_result r;

    bounce_classify(classes, &report, o, sent_to, &r);
    return r;
}

static void
test_certainty(void)
{
    static const struct {
        const char *name, *reply, *status, *category;
        uint16_t code;
        enum dsn_phase phase;
        uint8_t class;
        bool hard;
    } rows[] = {
        {"no such user at RCPT", "550 User unknown", "", "", 550, DSN_PHASE_RCPT,
         REPLY_CLASS_MAILBOX, true},
        {"by an enhanced code of addresses", "550 5.1.1 User unknown", "5.1.1", "", 550,
         DSN_PHASE_DATA, REPLY_CLASS_MAILBOX, true},
        {"the same words after the data", "550 User unknown", "", "", 550, DSN_PHASE_DOT,
         REPLY_CLASS_FILTERED, false},
        {"at a point that is not told", "550 User unknown", "5.0.0", "", 550, DSN_PHASE_UNKNOWN,
         REPLY_CLASS_FILTERED, false},
        {"with a code of mailboxes", "550 5.2.1 User unknown", "5.2.1", "", 550, DSN_PHASE_DATA,
         REPLY_CLASS_INACTIVE, false},
        {"which the reporting server files as bad", "550 User unknown", "5.0.0", "bad-mailbox", 550,
         DSN_PHASE_UNKNOWN, REPLY_CLASS_MAILBOX, true},
        {"or as bad and disabled", "550 5.2.1 User unknown", "5.2.1", "bad-mailbox", 550,
         DSN_PHASE_UNKNOWN, REPLY_CLASS_INACTIVE, false},
        {"a category where words say nothing", "554 oh no", "5.0.0", "quota-issues", 554,
         DSN_PHASE_UNKNOWN, REPLY_CLASS_FULL, false},
        {"a server's own words without any code", "The recipient name is not recognized", "", "", 0,
         DSN_PHASE_UNKNOWN, REPLY_CLASS_MAILBOX, true},
        {"Exim's own words", "Unrouteable address", "", "", 0, DSN_PHASE_UNKNOWN,
         REPLY_CLASS_DOMAIN, true},
        {"a provider's words from nobody knows whom", "This user doesn't have an example account",
         "", "", 0, DSN_PHASE_UNKNOWN, REPLY_CLASS_FILTERED, false},
        {"a full mailbox", "552 5.2.2 over quota", "5.2.2", "", 552, DSN_PHASE_RCPT,
         REPLY_CLASS_FULL, false},
        {"no mail for now", "DNS: returned Null MX", "4.0.0", "", 0, DSN_PHASE_UNKNOWN,
         REPLY_CLASS_NO_MAIL, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dsn_outcome o = {.action = DSN_FAILED,
                                .code = rows[i].code,
                                .phase = rows[i].phase,
                                .reply = str_c(rows[i].reply),
                                .category = str_c(rows[i].category)};
        struct reply_class_result r;

        str_copy(str_c(rows[i].status), o.status, sizeof(o.status));
        r = class_of(DSN_KIND_FAILURE, &o, true);
        TEXT(str_c(reply_class_name(r.class)), reply_class_name(rows[i].class), "%s: class",
             rows[i].name);
        IS(r.hard, rows[i].hard, "%s: hard", rows[i].name);
        OK(r.hard || r.advice.suppress == REPLY_SCOPE_NONE || r.advice.suppress_s < REPLY_FOREVER,
           "%s: nothing that may live is given up for good", rows[i].name);
    }
}

/* Carriers of Japan: with the address that RCPT named, and without it. The recipient's domain tells
 * whose words they are where no host does. */
static void
test_carriers(void)
{
    struct dsn_outcome o = {.action = DSN_FAILED,
                            .code = 550,
                            .final = STR("a@ezweb.ne.jp"),
                            .reply = STR("550 <a@ezweb.ne.jp>: User unknown")};
    struct reply_class_result r = class_of(DSN_KIND_FAILURE, &o, true);

    OK(r.hard && r.class == REPLY_CLASS_MAILBOX, "a recipient that is not there");
    o.reply = STR("550 : User unknown");
    r = class_of(DSN_KIND_FAILURE, &o, true);
    OK(!r.hard && r.class == REPLY_CLASS_FILTERED, "and one who filters");
}

static void
test_kinds(void)
{
    struct dsn_outcome o = {.action = DSN_DELAYED,
                            .code = 450,
                            .status = "4.1.1",
                            .phase = DSN_PHASE_RCPT,
                            .reply = STR("450 4.1.1 User unknown")};
    static const struct {
        enum dsn_kind kind;
        uint8_t class;
    } rows[] = {
        {DSN_KIND_AUTO_REPLY, REPLY_CLASS_AUTOREPLY}, {DSN_KIND_CHALLENGE, REPLY_CLASS_AUTOREPLY},
        {DSN_KIND_FEEDBACK, REPLY_CLASS_FEEDBACK},    {DSN_KIND_DELIVERY, REPLY_CLASS_DELIVERED},
        {DSN_KIND_RELAY, REPLY_CLASS_DELIVERED},      {DSN_KIND_EXPANSION, REPLY_CLASS_DELIVERED},
    };
    struct reply_class_result r = class_of(DSN_KIND_DELAY, &o, true);

    OK(!r.hard && r.advice.suppress == REPLY_SCOPE_NONE, "a delay gives nothing up");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        r = class_of(rows[i].kind, &o, true);
        IS(r.class, rows[i].class, "%s is what it is", dsn_kind_name(rows[i].kind));
        IS(r.advice.suppress,
           r.class == REPLY_CLASS_FEEDBACK ? REPLY_SCOPE_RECIPIENT : REPLY_SCOPE_NONE,
           "only who complains gets no more");
        machine = false;
        r = class_of(rows[i].kind, &o, true);
        OK(!r.hard && r.advice.suppress == REPLY_SCOPE_NONE, "in a feedback report");
        machine = true;
        r = class_of(rows[i].kind, &o, false);
        OK(!r.hard && r.advice.suppress == REPLY_SCOPE_NONE, "and nothing follows without proof");
    }
}

/* Who had no mail of ours can make us suppress nobody; what is over is not tried again. */
static void
test_proof(void)
{
    struct dsn_outcome o = {.action = DSN_FAILED,
                            .code = 550,
                            .status = "5.1.1",
                            .phase = DSN_PHASE_RCPT,
                            .reply = STR("550 5.1.1 User unknown")};
    struct reply_class_result r = class_of(DSN_KIND_FAILURE, &o, true);

    OK(r.hard && r.advice.suppress_s == REPLY_FOREVER, "proven, two witnesses: for good");
    r = class_of(DSN_KIND_FAILURE, &o, false);
    OK(r.hard && !r.advice.suppress && !r.advice.suppress_s, "not proven: nobody");
    o.phase = DSN_PHASE_UNKNOWN;
    o.status[0] = '\0';
    o.code = 0;
    o.reply = STR("The recipient name is not recognized");
    r = class_of(DSN_KIND_FAILURE, &o, true);
    OK(r.hard && r.advice.suppress == REPLY_SCOPE_RECIPIENT && r.advice.suppress_s == 30 * 86400,
       "words alone: for 30 days");
    o.reply = STR("Connection refused");
    r = class_of(DSN_KIND_FAILURE, &o, true);
    OK(r.class == REPLY_CLASS_HOST && r.advice.retry == REPLY_RETRY_NO && !r.advice.other_source,
       "what failed elsewhere is over");
}

/* Who had one mail of ours writes a report that says more than he knows. */
static void
test_lies(void)
{
    struct dsn_outcome o[2] = {{.action = DSN_FAILED,
                                .final = STR("victim@c.example"),
                                .code = 550,
                                .status = "5.1.1",
                                .phase = DSN_PHASE_RCPT,
                                .reply = STR("550 5.1.1 User unknown")}};
    struct dsn_report report = {.kind = DSN_KIND_FAILURE, .machine = true, .rcpts = o, .nrcpt = 1};
    struct reply_class_result r;

    bounce_classify(classes, &report, &o[0], STR("me@b.example"), &r);
    OK(r.hard && !r.advice.suppress, "of another address alone: nobody is given up");
    o[0].original = STR("ME@b.example");
    bounce_classify(classes, &report, &o[0], STR("me@b.example"), &r);
    IS(r.advice.suppress, REPLY_SCOPE_RECIPIENT, "a forwarder tells whom we sent to");
    o[1] = o[0];
    o[1].original = STR_NONE;
    o[1].final = STR("me@b.example");
    o[0].original = STR_NONE;
    report.nrcpt = 2;
    bounce_classify(classes, &report, &o[0], STR("me@b.example"), &r);
    OK(!r.advice.suppress, "of two the other one stays");
    bounce_classify(classes, &report, &o[1], STR("me@b.example"), &r);
    IS(r.advice.suppress, REPLY_SCOPE_RECIPIENT, "and the one that is proven goes");
    o[0].final = o[1].final = STR_NONE;
    bounce_classify(classes, &report, &o[0], STR("me@b.example"), &r);
    OK(!r.advice.suppress, "two without a name are nobody");
    report.nrcpt = 1;
    report.kind = DSN_KIND_FEEDBACK;
    o[0].final = STR("redacted@c.example");
    bounce_classify(classes, &report, &o[0], STR("me@b.example"), &r);
    IS(r.advice.suppress, REPLY_SCOPE_RECIPIENT, "a complaint may hide who complains");

    report.kind = DSN_KIND_FAILURE;
    o[0] =
        (struct dsn_outcome){.action = DSN_FAILED,
                             .final = STR("me@big.example"),
                             .reply = STR("all relevant MX records point to non-existent hosts")};
    bounce_classify(classes, &report, &o[0], STR("me@big.example"), &r);
    IS(r.class, REPLY_CLASS_DOMAIN, "a domain that is said to be gone");
    OK(r.advice.suppress != REPLY_SCOPE_DOMAIN, "is not given up for what one recipient writes");
    o[0].reply = STR("554 5.7.1 your IP is blocked using zen.spamhaus.org");
    o[0].code = 554;
    bounce_classify(classes, &report, &o[0], STR("me@big.example"), &r);
    IS(r.class, REPLY_CLASS_BLOCK, "a block");
    OK(r.advice.hold == REPLY_SCOPE_NONE && r.advice.slow == REPLY_SCOPE_NONE && !r.advice.hold_s,
       "that one recipient writes of holds no source");
}

int
main(void)
{
    struct why why = {""};

    if (!OK(reply_classes_load(&classes, STR(""), &why) == 0, "the classes %s", why.text))
        return tap_done();
    test_certainty();
    test_carriers();
    test_kinds();
    test_proof();
    test_lies();
    reply_classes_free(classes);
    return tap_done();
}
