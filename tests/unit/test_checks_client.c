/* tests/unit/test_checks_client.c - denied networks. */
#include "checks_rig.h"

int
main(void)
{
    static const struct {
        const char *client, *rule;
    } cases[] = {
        {"192.0.2.7", "192.0.2.0/24"},
        {"192.0.3.7", NULL},
        {"2001:db8:1::9", "2001:db8:1::/48"},
        {"2001:db8:2::9", NULL},
    };

    rig_open("hostname = mx.gate.test\ndenied = 192.0.2.0/24, 2001:db8:1::/48\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        addr_parse(str_c(cases[i].client), &rig.facts.client.addr);
        rig.facts.trusted = true; /* denial is stronger */
        rig_run(&check_client);
        OK((rig.decided != NULL) == (cases[i].rule != NULL), "%s", cases[i].client);
        if (rig.decided) {
            TEXT(rig.decided->rule, cases[i].rule, "by this rule");
            IS(rig.decided->code, 554, "554");
            OK(str_find(rig.decided->text, str_c(cases[i].client)) >= 0 &&
                   str_find(rig.decided->text, STR("postmaster@mx.gate.test")) > 0,
               "says who and what to do: %.*s", STR_ARG(rig.decided->text));
        }
        rig_done();
    }
    rig_close();
    return tap_done();
}
