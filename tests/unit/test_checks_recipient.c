/* tests/unit/test_checks_recipient.c - recipients that are not ours, unknown, or harvested. */
#include "checks_rig.h"

int
main(void)
{
    static const struct {
        uint8_t state;
        bool flood;
        const char *why, *found, *text;
        uint16_t asked, code;
    } cases[] = {
        {STAGE_RCPT_TAKEN, false, "", "", "", 0, 0},
        {STAGE_RCPT_LATER, false, "", "", "", 0, 0},
        {STAGE_RCPT_NOT_SERVED, false, "", "not-served", "do not accept mail for far.test", 0, 550},
        {STAGE_RCPT_UNKNOWN, false, "", "unknown", "ask postmaster@far.test", 0, 550},
        {STAGE_RCPT_UNKNOWN, false, "left us", "unknown", "<x@far.test>: left us", 0, 550},
        {STAGE_RCPT_UNKNOWN, false, "policy", "unknown", "policy", 554, 554},
        {STAGE_RCPT_UNKNOWN, false, "odd", "unknown", "odd", 250, 550},
        {STAGE_RCPT_TAKEN, true, "", "harvest", "too many unknown", 0, 450},
    };
    struct address rcpt;

    rig_open("hostname = mx.gate.test\n");
    address_parse(STR("x@far.test"), 0, &rcpt);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig.facts.rcpt = &rcpt;
        rig.facts.rcpt_state = cases[i].state;
        rig.facts.rcpt_flood = cases[i].flood;
        rig.facts.rcpt_why = str_c(cases[i].why);
        rig.facts.rcpt_code = cases[i].asked;
        rig_run(&check_recipient);
        TEXT(str_c(rig_found()), cases[i].found, "case %zu", i);
        if (OK((rig.decided != NULL) == (cases[i].code != 0), "decides") && rig.decided) {
            IS(rig.decided->code, cases[i].code, "code");
            OK(str_find(rig.decided->text, str_c(cases[i].text)) >= 0, "%.*s",
               STR_ARG(rig.decided->text));
        }
        rig_done();
    }
    rig_close();
    return tap_done();
}
