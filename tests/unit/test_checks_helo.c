/* tests/unit/test_checks_helo.c - what clients call themselves. */
#include "checks_rig.h"

int
main(void)
{
    static const struct {
        const char *helo, *found;
    } cases[] = {
        {"client.far.test", ""},
        {"MX.Gate.TEST", "own-name"},
        {"[192.0.2.7]", "literal"},
        {"[192.0.2.8]", "literal-mismatch"},
        {"[IPv6:2001:db8::1]", "literal-mismatch"},
        {"[nonsense]", "bad-literal"},
        {"[]", "bad-literal"},
        {"192.0.2.7", "bare-address"},
        {"localhost", "localhost"},
        {"LOCALHOST.localdomain", "localhost"},
        {"-bad-.test", "bad-name"},
        {"under_score.test", "bad-name"},
        {"desktop", "not-fqdn"},
    };

    rig_open("hostname = mx.gate.test\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        addr_parse(STR("192.0.2.7"), &rig.facts.client.addr);
        rig.facts.helo = str_c(cases[i].helo);
        rig_run(&check_helo);
        TEXT(str_c(rig_found()), cases[i].found, "%s", cases[i].helo);
        OK((rig.decided != NULL) == str_eq(str_c(cases[i].found), STR("own-name")),
           "only our own name would be refused");
        rig_done();
    }
    IS(check_helo.mode, CHECK_OBSERVE, "observed unless settings say otherwise");
    rig_close();
    return tap_done();
}
