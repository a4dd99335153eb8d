/*
 * tests/unit/test_courier_reply_class.c - what replies mean, and what no data may make of them.
 */
#include "courier/reply_class.h"

#include "tap.h"

static struct reply_classes *set;

static struct reply_class_result
say(uint8_t phase, uint16_t code, const char *enhanced, const char *text)
{
    struct reply_input in = {
        .text = str_c(text), .code = code, .enhanced = str_c(enhanced), .phase = phase};
    struct reply_class_result r;

    reply_classify(set, &in, &r);
    return r;
}

static void
test_first_words(void)
{
    static const struct {
        uint8_t phase;
        uint16_t code;
        const char *enhanced, *text;
        uint8_t class;
        bool hard;
    } cases[] = {
        {REPLY_PHASE_DOT, 250, "2.0.0", "queued", REPLY_CLASS_DELIVERED, false},
        {REPLY_PHASE_DOT, 0, "", "", REPLY_CLASS_UNKNOWN, false},
        {REPLY_PHASE_RCPT, 550, "5.1.1", "No such user here", REPLY_CLASS_MAILBOX, true},
        {REPLY_PHASE_RCPT, 450, "4.2.0", "Greylisted, come back", REPLY_CLASS_GREYLIST, false},
        {REPLY_PHASE_RCPT, 552, "5.2.2", "over quota", REPLY_CLASS_FULL, false},
        {REPLY_PHASE_MAIL, 550, "5.1.1", "user unknown", REPLY_CLASS_SENDER, false},
        {REPLY_PHASE_CONNECT, 554, "", "no such user", REPLY_CLASS_HOST, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reply_class_result r =
            say(cases[i].phase, cases[i].code, cases[i].enhanced, cases[i].text);
        TEXT(str_c(reply_class_name(r.class)), reply_class_name(cases[i].class), "%d %s",
             cases[i].code, cases[i].text);
        IS(r.hard, cases[i].hard, "hard: %s", cases[i].text);
    }
}

int
main(void)
{
    struct why why = {""};

    if (!OK(reply_classes_load(&set, STR_NONE, &why) == 0, "the set that is compiled in: %s",
            why.text))
        return tap_done();
    test_first_words();
    reply_classes_free(set);
    return tap_done();
}
