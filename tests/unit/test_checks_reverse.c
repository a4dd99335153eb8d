/* tests/unit/test_checks_reverse.c - the client's name, there and back. */
#include "checks_rig.h"

static const struct rig_dns answers[] = {
    {"7.2.0.192.in-addr.arpa", DNS_PTR, DNS_OK, "good.far.test"},
    {"good.far.test", DNS_A, DNS_OK, "192.0.2.7"},
    {"8.2.0.192.in-addr.arpa", DNS_PTR, DNS_OK, "liar.far.test"},
    {"liar.far.test", DNS_A, DNS_OK, "192.0.2.99"},
    {"9.2.0.192.in-addr.arpa", DNS_PTR, DNS_NXDOMAIN, NULL},
    {"10.2.0.192.in-addr.arpa", DNS_PTR, DNS_TEMPORARY, NULL},
    {"11.2.0.192.in-addr.arpa", DNS_PTR, DNS_OK, "slow.far.test"},
    {"slow.far.test", DNS_A, DNS_TEMPORARY, NULL},
};

int
main(void)
{
    static const struct {
        const char *client, *found, *name;
    } cases[] = {
        {"192.0.2.7", "", "good.far.test"},
        {"192.0.2.8", "name-mismatch", ""},
        {"192.0.2.9", "no-name", ""},
        {"192.0.2.10", "", ""},
        {"192.0.2.11", "", ""},
    };

    rig_open("hostname = mx.gate.test\n");
    rig.answers = answers;
    rig.nanswers = ARRAY_LEN(answers);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        addr_parse(str_c(cases[i].client), &rig.facts.client.addr);
        rig_run(&check_reverse);
        TEXT(str_c(rig_found()), cases[i].found, "%s: finding", cases[i].client);
        TEXT(rig.facts.client_name, cases[i].name, "%s: name", cases[i].client);
        OK(!rig.decided, "%s: nothing is refused", cases[i].client);
        rig_done();
    }
    rig_close();
    return tap_done();
}
