/* tests/unit/test_checks_spf.c - the sender's and the client's SPF, in the background. */
#include "checks_rig.h"

static const char zone[] = "pass.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n"
                           "soft.test. IN TXT \"v=spf1 ip4:9.1.1.2 ~all\"\n"
                           "neutral.test. IN TXT \"v=spf1 ?all\"\n"
                           "broken.test. IN TXT \"v=spf1 ip5:1 -all\"\n"
                           "none.test. IN A 9.9.9.9\n"
                           "sick.test. IN TIMEOUT\n"
                           "wide.test. IN TXT \"v=spf1 include:a.wide.test include:b.wide.test "
                           "mx exists:%{i}.wide.test -all\"\n"
                           "a.wide.test. IN TXT \"v=spf1 a:h.wide.test -all\"\n"
                           "b.wide.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n"
                           "h.wide.test. IN A 9.3.3.3\n"
                           "wide.test. IN MX 10 h.wide.test.\n"
                           "bad.helo.test. IN TXT \"v=spf1 -all\"\n"
                           "good.helo.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n";

int
main(void)
{
    static const struct {
        const char *client, *helo, *sender, *found;
    } cases[] = {
        {"9.1.1.1", "x.test", "ann@pass.test", "spf/pass=-20"},
        {"9.1.1.2", "x.test", "ann@pass.test", "spf/fail=100"},
        {"9.1.1.1", "x.test", "ann@soft.test", "spf/softfail=30"},
        {"9.1.1.1", "x.test", "ann@neutral.test", ""},
        {"9.1.1.1", "x.test", "ann@none.test", ""},
        {"9.1.1.1", "x.test", "ann@broken.test", "spf/permerror=30"},
        {"9.1.1.1", "x.test", "ann@sick.test", "spf/temperror=0"},
        {"9.1.1.1", "x.test", "ann@wide.test", "spf/pass=-20"},
        {"9.1.1.1", "bad.helo.test", "ann@pass.test", "spf/helo-fail=100 spf/pass=-20"},
        {"9.1.1.1", "good.helo.test", "", "spf/helo-pass=0"},
        {"9.1.1.1", "bad.helo.test", "", "spf/helo-fail=100"},
        {"9.1.1.1", "[9.1.1.1]", "", ""},
    };
    static const struct check *const rows[] = {&check_spf};

    rig_open("hostname = mx.gate.test\n");
    rig_zone(zone);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig_mail(rows, 1, cases[i].client, cases[i].helo, cases[i].sender, "Subject: x\r\n\r\n");
        TEXT(str_c(rig_findings()), cases[i].found, "%s, %s from %s", cases[i].sender,
             cases[i].helo, cases[i].client);
        OK(!rig.decided, "SPF alone refuses nothing");
        rig_done();
    }
    rig_mail(rows, 1, "9.1.1.2", "x.test", "ann@wide.test", "Subject: x\r\n\r\n");
    TEXT(rig.verdict.first ? rig.verdict.first->rule : STR_NONE,
         "include:a.wide.test > a:h.wide.test > -all > include:b.wide.test > ip4:9.1.1.1 > -all > "
         "mx > exists:%{i}.wide.test > -all",
         "the way to a failure");
    rig_done();
    rig.silent = true;
    rig.deadline = 20 * NS_PER_MS;
    rig_mail(rows, 1, "9.1.1.1", "late.test", "ann@late.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "spf/temperror=0", "a resolver that never answers");
    OK(rig.auth.have_helo && rig.auth.have_mailfrom, "both are known to be unknown");
    rig_done();
    rig_close();
    return tap_done();
}
