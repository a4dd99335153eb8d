/* tests/unit/test_checks_sender_domain.c - domains that could take an answer, and others. */
#include "checks_rig.h"

static const char zone[] = "good.test. IN MX 10 mx.good.test.\n"
                           "mx.good.test. IN A 9.9.9.9\n"
                           "host.test. IN A 9.9.9.9\n"
                           "six.test. IN AAAA 2620:fe::fe\n"
                           "null.test. IN MX 0 .\n"
                           "text.test. IN TXT \"no mail\"\n"
                           "loop.test. IN MX 10 mx.loop.test.\n"
                           "mx.loop.test. IN A 127.0.0.1\n"
                           "zero.test. IN A 0.0.0.0\n"
                           "inside.test. IN MX 10 mx.inside.test.\n"
                           "mx.inside.test. IN A 10.1.2.3\n"
                           "mixed.test. IN MX 10 mx.inside.test.\n"
                           "mixed.test. IN MX 20 mx.good.test.\n"
                           "deadmx.test. IN MX 10 nowhere.deadmx.test.\n"
                           "sick.test. IN TIMEOUT\n"
                           "sickhost.test. IN MX 10 mx.sick.test.\n"
                           "mx.sick.test. IN SERVFAIL\n";

static bool
serves_own(const void *served, struct str domain)
{
    (void)served;
    return str_eq(domain, STR("own.test"));
}

int
main(void)
{
    static const struct {
        const char *client, *sender, *found;
    } cases[] = {
        {"9.1.1.1", "ann@good.test", ""},
        {"9.1.1.1", "ann@host.test", ""},
        {"9.1.1.1", "ann@six.test", ""},
        {"9.1.1.1", "", ""},
        {"9.1.1.1", "ann@null.test", "sender_domain/null-mx=500:550 5.7.27"},
        {"9.1.1.1", "ann@none.test", "sender_domain/missing=500:550 5.1.8"},
        {"9.1.1.1", "ann@text.test", "sender_domain/no-host=500:550 5.1.8"},
        {"9.1.1.1", "ann@loop.test", "sender_domain/bogus-address=500:550 5.1.8"},
        {"9.1.1.1", "ann@zero.test", "sender_domain/bogus-address=500:550 5.1.8"},
        {"9.1.1.1", "ann@inside.test", "sender_domain/bogus-address=500:550 5.1.8"},
        {"10.9.9.9", "ann@inside.test", ""}, /* a private network knows its own addresses */
        {"9.1.1.1", "ann@mixed.test", ""},
        {"9.1.1.1", "ann@deadmx.test", "sender_domain/dead-mx=200"},
        {"9.1.1.1", "ann@sick.test", "sender_domain/unknown-now=0"},
        {"9.1.1.1", "ann@sickhost.test", "sender_domain/unknown-now=0"},
        {"9.1.1.1", "ann@[9.1.1.1]", "sender_domain/literal=200"},
        {"9.1.1.1", "ann@own.test", ""}, /* ours: another check's */
    };
    static const struct check *const rows[] = {&check_sender_domain};
    unsigned asked;

    rig_open("hostname = mx.gate.test\n");
    rig_zone(zone);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig.facts.serves = serves_own;
        rig_mail(rows, 1, cases[i].client, "far.test", cases[i].sender, "Subject: x\r\n\r\n");
        TEXT(str_c(rig_findings()), cases[i].found, "%s from %s", cases[i].sender, cases[i].client);
        if (rig.decided)
            OK(str_find(rig.decided->text, str_c(cases[i].sender)) > 0 &&
                   str_find(rig.decided->text, STR("correct")) > 0,
               "the reply names the sender and says what to do");
        rig_done();
    }
    asked = rig.asked;
    rig_mail(rows, 1, "9.1.1.1", "far.test", "ann@good.test", "Subject: x\r\n\r\n");
    IS(rig.asked, asked, "what was answered before is not asked again");
    rig_done();
    rig_close();
    return tap_done();
}
