/* tests/unit/test_checks_dns_list.c - findings, words to the operator, and a list that is slow. */
#include "checks_rig.h"
#include "core/event.h"

static const char settings[] = "hostname = mx.gate.test\n"
                               "dns_list block {\n zone = bl.test\n codes = 127.0.0.2 spam, "
                               "127.0.0.4-7 exploit\n timeout = 200ms\n}\n"
                               "dns_list allow {\n zone = wl.test\n kind = allow\n codes = "
                               "127.0.*.3 allowed-high\n}\n";
static const char zone[] = "2.0.0.127.bl.test. IN A 127.0.0.2\n"
                           "2.0.0.127.wl.test. IN A 127.0.0.2\n"
                           "1.2.3.9.bl.test. IN A 127.0.0.2\n"
                           "1.2.3.9.wl.test. IN A 127.0.9.3\n"
                           "2.2.3.9.bl.test. IN A 127.255.255.254\n"
                           "3.2.3.9.wl.test. IN A 127.0.9.4\n";

static struct buf events;

static void
on_event(void *ctx, struct str line)
{
    (void)ctx;
    buf_str(&events, line);
}

static bool
said(const char *type, const char *words)
{
    struct str all = buf_view(&events);

    return str_find(all, str_c(type)) >= 0 && str_find(all, str_c(words)) >= 0;
}

int
main(void)
{
    static const struct check *const rows[] = {&check_dns_list};
    uint64_t begun;

    buf_init(&events, 1u << 20);
    event_tap(on_event, NULL);
    rig_open(settings);
    rig_zone(zone);
    rig_mail(rows, 1, "9.3.2.1", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "dns_list/spam=300 dns_list/allowed-high=-200", "both lists");
    OK(!rig.decided, "nobody is refused");
    TEXT(rig.verdict.first->input, "9.3.2.1", "the finding says who,");
    TEXT(rig.verdict.first->rule, "127.0.0.2", "what the list said,");
    TEXT(rig.verdict.first->list, "block", "and which list");
    rig_done();
    IS(events.n, 0, "there is nothing to tell");

    rig_mail(rows, 1, "9.3.2.3", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "", "attack 20: a code that nobody named");
    OK(said("\"Alarm\"", "127.0.9.4") && said("\"Alarm\"", "`codes` of its dns_list block"),
       "is told with what to do");
    rig_done();
    buf_clear(&events);
    rig_mail(rows, 1, "9.3.2.2", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "", "attack 20: a list that does not serve this resolver");
    OK(said("\"Alarm\"", "does not serve public resolvers") && said("\"Alarm\"", "dns.forward"),
       "is told, cause and cure");
    rig_done();
    buf_clear(&events);
    rig_mail(rows, 1, "9.3.2.1", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "dns_list/allowed-high=-200", "it is left out from now on");
    IS(events.n, 0, "and told no more");
    rig_done();

    rig.facts.trusted = true;
    rig_mail(rows, 1, "9.3.2.1", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "", "a trusted network is not looked up");
    rig_done();
    rig.facts.trusted = false;

    rig.own_modes = true;
    rig_mail(rows, 1, "9.3.2.1", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "(dns_list/allowed-high=-200)", "observed by default");
    rig_done();
    rig_close();

    rig_open("hostname = mx.gate.test\ndns_list slow {\n zone = bl.test\n timeout = 200ms\n}\n");
    rig.own_modes = false;
    rig.deadline = 4 * NS_PER_S;
    rig_zone(zone);
    rig.silent = true;
    begun = clock_mono();
    rig_mail(rows, 1, "9.3.2.1", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    TEXT(str_c(rig_findings()), "", "attack 20: a list that keeps silent");
    OK(clock_mono() - begun >= 200 * NS_PER_MS && clock_mono() - begun < 3 * NS_PER_S,
       "costs its own time and no more (%u ms)", (unsigned)((clock_mono() - begun) / NS_PER_MS));
    OK(said("\"Warning\"", "does not answer"), "and is told");
    rig_done();
    begun = clock_mono();
    rig_mail(rows, 1, "9.3.2.1", "mail.far.test", "ann@far.test", "Subject: x\r\n\r\n");
    OK(clock_mono() - begun < 150 * NS_PER_MS, "the next message does not wait for it");
    rig_done();
    rig_close();
    event_tap(NULL, NULL);
    buf_done(&events);
    return tap_done();
}
