/*
 * tests/unit/test_courier_bounce_class.c - what reports mean: an address is given up for good only
 * where the report leaves no doubt, delays and answers give nothing up.
 */
#include "courier/bounce_class.h"
#include "tap.h"

static struct reply_classes *classes;

static struct reply_class_result
class_of(enum dsn_kind kind, const struct dsn_outcome *o)
{
    struct dsn_report report = {.kind = kind, .rcpts = o, .nrcpt = 1};
    struct reply_class_result r;

    bounce_classify(classes, &report, o, &r);
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
         REPLY_CLASS_FILTERED, false},
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
        r = class_of(DSN_KIND_FAILURE, &o);
        TEXT(str_c(reply_class_name(r.class)), reply_class_name(rows[i].class), "%s: class",
             rows[i].name);
        IS(r.hard, rows[i].hard, "%s: hard", rows[i].name);
        OK(r.hard || r.advice.suppress == REPLY_SCOPE_NONE || r.advice.suppress_s < REPLY_FOREVER,
           "%s: nothing that may live is given up for good", rows[i].name);
    }
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
    struct reply_class_result r = class_of(DSN_KIND_DELAY, &o);

    OK(!r.hard && r.advice.suppress == REPLY_SCOPE_NONE, "a delay gives nothing up");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        r = class_of(rows[i].kind, &o);
        IS(r.class, rows[i].class, "%s is what it is", dsn_kind_name(rows[i].kind));
        OK(!r.hard && r.advice.suppress == REPLY_SCOPE_NONE, "and gives nothing up");
    }
}

int
main(void)
{
    struct why why = {""};

    if (!OK(reply_classes_load(&classes, STR(""), &why) == 0, "the classes %s", why.text))
        return tap_done();
    test_certainty();
    test_kinds();
    reply_classes_free(classes);
    return tap_done();
}
