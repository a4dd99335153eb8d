/*
 * tests/unit/test_auth_spf.c - SPF against those who mean harm, and what suites do not hold.
 *
 * Names of tests tell the attack: macro overflows, include chains and rings, fans of void look-ups,
 * oversized and malicious DNS, address ranges of shared hosting.
 */
#include "auth/spf.h"
#include "auth/zone.h"
#include "core/err.h"
#include "tap.h"

struct check {
    struct zone *zone;
    struct arena arena;
    struct spf_input in;
    struct spf_verdict v;
    struct auth_needs needs;
    unsigned rounds;
};

static void
begin(struct check *c, const char *zone, const char *ip, const char *from)
{
    struct why why = {0};
    ssize_t at = str_rchr(str_c(from), '@');

    memset(c, 0, sizeof(*c));
    c->zone = zone_create(16u << 20);
    OK(zone_read(c->zone, str_c(zone), &why) == 0, "zone: %s", why.text);
    arena_init(&c->arena, 4u << 20);
    addr_parse(str_c(ip), &c->in.ip);
    c->in.helo = STR("helo.test");
    c->in.local = at > 0 ? str_sub(str_c(from), 0, (size_t)at) : STR_NONE;
    c->in.domain = at >= 0 ? str_from(str_c(from), (size_t)at + 1) : STR_NONE;
}

static enum spf_result
run(struct check *c)
{
    while (spf_run(&c->in, zone_answers(c->zone), &c->needs, &c->arena, &c->v) == AUTH_NEED) {
        if (++c->rounds > 100 || zone_ask(c->zone, &c->needs) < 0)
            return SPF_TEMPERROR;
    }
    return c->v.result;
}

static void
end(struct check *c)
{
    arena_done(&c->arena);
    zone_free(c->zone);
}

static void
expect(const char *zone, const char *ip, const char *from, enum spf_result want, const char *what)
{
    struct check c;

    begin(&c, zone, ip, from);
    IS(run(&c), want, "%s", what);
    end(&c);
}

/* Attack 14: what a macro expands to has a ceiling, its digits cannot wrap, 0 parts are refused. */
static void
test_macro_overflow(void)
{
    char zone[16384], from[400];
    size_t n = (size_t)snprintf(zone, sizeof(zone), "a.test TXT \"v=spf1 exists:");

    for (int i = 0; i < 1500; i++)
        n += (size_t)snprintf(zone + n, sizeof(zone) - n, "%%{L}");
    snprintf(zone + n, sizeof(zone) - n, ".a.test -all\"\n");
    memset(from, '&', 300);
    snprintf(from + 300, sizeof(from) - 300, "@a.test");
    expect(zone, "192.0.2.1", from, SPF_FAIL, "a megabyte by macros is no name");
    expect("a.test TXT \"v=spf1 exists:%{l99999999999999999999r-}.a.test -all\"\n"
           "b-a.a.test A 127.0.0.1\n",
           "192.0.2.1", "a-b@a.test", SPF_FAIL, "digits that would wrap: all parts");
    expect("a.test TXT \"v=spf1 exists:%{l0}.a.test -all\"\n", "192.0.2.1", "x@a.test",
           SPF_PERMERROR, "zero parts");
    expect("a.test TXT \"v=spf1 exists:%{l000}.a.test -all\"\n", "192.0.2.1", "x@a.test",
           SPF_PERMERROR, "many zeros");
    expect("a.test TXT \"v=spf1 exists:%{\"\n", "192.0.2.1", "x@a.test", SPF_PERMERROR,
           "cut macro");
    expect("a.test TXT \"v=spf1 exists:%{ir\"\n", "192.0.2.1", "x@a.test", SPF_PERMERROR, "open");
    expect("a.test TXT \"v=spf1 exists:%{l}.a.test -all\"\n", "192.0.2.1", "\xc3\xbc@a.test",
           SPF_FAIL, "a local part of UTF-8 is in no name");
}

static void
test_parts_of_a_local_part(void)
{
    char from[600];

    for (int i = 0; i < 250; i++)
        memcpy(from + 2 * i, "-a", 2);
    snprintf(from + 500, sizeof(from) - 500, "@a.test");
    expect("a.test TXT \"v=spf1 exists:%{l3r-}.a.test -all\"\n", "192.0.2.1", from, SPF_FAIL,
           "more parts than any name has");
}

/* The limit is on look-ups: a name that was asked already is not looked up again. */
static void
test_same_void_counts_once(void)
{
    expect("a.test TXT \"v=spf1 a:no.test a:NO.test. a:no.test exists:no.test -all\"\n",
           "192.0.2.1", "x@a.test", SPF_FAIL, "one name without an answer, four times");
    expect("a.test TXT \"v=spf1 ptr:b.test ptr:c.test ptr:d.test ptr:e.test -all\"\n", "192.0.2.1",
           "x@a.test", SPF_FAIL, "an address without a name is asked once");
    expect("a.test TXT \"v=spf1 a:n1.test a:n2.test a:n1.test a:n3.test -all\"\n", "192.0.2.1",
           "x@a.test", SPF_PERMERROR, "three names are too many");
}

/* Attack 14: 200 includes deep, and records that include themselves. */
static void
test_include_chain_and_ring(void)
{
    CLEANUP(buf_done) struct buf zone;
    struct check c;

    buf_init(&zone, 65536);
    for (int i = 0; i < 200; i++)
        buf_fmt(&zone, "i%d.test TXT \"v=spf1 include:i%d.test -all\"\n", i, i + 1);
    buf_char(&zone, '\0');
    begin(&c, zone.p, "192.0.2.1", "x@i0.test");
    IS(run(&c), SPF_PERMERROR, "200 includes deep");
    OK(c.v.queries <= 12 && c.v.terms == 11, "few questions: %u", c.v.queries);
    end(&c);
    expect("a.test TXT \"v=spf1 include:b.test -all\"\nb.test TXT \"v=spf1 include:a.test -all\"\n",
           "192.0.2.1", "x@a.test", SPF_PERMERROR, "a ring of includes");
    expect("a.test TXT \"v=spf1 redirect=a.test\"\n", "192.0.2.1", "x@a.test", SPF_PERMERROR,
           "a ring of redirects");
}

/* Attack 14: each term asks for something that is not there. */
static void
test_fan_of_void_lookups(void)
{
    struct check c;

    begin(&c,
          "a.test TXT \"v=spf1 a:1.v.test a:2.v.test mx:3.v.test exists:4.v.test "
          "a:5.v.test a:6.v.test a:7.v.test -all\"\n",
          "192.0.2.1", "x@a.test");
    IS(run(&c), SPF_PERMERROR, "third void look-up");
    IS(c.v.voids, 3, "counted");
    OK(c.rounds <= 3, "asked together");
    end(&c);
}

static void
test_validated_name_ignores_case(void)
{
    expect("a.test TXT \"v=spf1 include:MX.Test -all\"\n"
           "mx.test TXT \"v=spf1 exists:%{p}.e.test -all\"\n"
           "1.2.0.192.in-addr.arpa PTR low.mx.test.\n1.2.0.192.in-addr.arpa PTR mx.test.\n"
           "low.mx.test A 192.0.2.1\nmx.test A 192.0.2.1\nmx.test.e.test A 127.0.0.1\n",
           "192.0.2.1", "x@a.test", SPF_PASS, "%{p} is the domain itself, whatever its case");
}

/* Attack 14: DNS as an amplifier: mx with many names, many times. */
static void
test_mx_and_ptr_amplification(void)
{
    CLEANUP(buf_done) struct buf zone;
    struct check c;

    buf_init(&zone, 65536);
    buf_c(&zone, "a.test TXT \"v=spf1 mx:0.test mx:1.test mx:2.test mx:3.test mx:4.test "
                 "mx:5.test mx:6.test mx:7.test mx:8.test mx:9.test -all\"\n");
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 10; k++)
            buf_fmt(&zone, "%d.test MX 10 h%d.victim.test.\nh%d.victim.test A 198.51.100.1\n", i,
                    i * 10 + k, i * 10 + k);
    buf_char(&zone, '\0');
    begin(&c, zone.p, "192.0.2.1", "x@a.test");
    IS(run(&c), SPF_FAIL, "ten mx of ten hosts are legal (4.6.4), and are the most there can be");
    OK(c.v.queries <= 111 && c.v.queries <= spf_limits_default.queries, "queries: %u", c.v.queries);
    end(&c);
    buf_clear(&zone);
    buf_c(&zone, "a.test TXT \"v=spf1 mx -all\"\n");
    for (int k = 0; k < 11; k++)
        buf_fmt(&zone, "a.test MX 10 h%d.test.\nh%d.test A 192.0.2.1\n", k, k);
    buf_char(&zone, '\0');
    expect(zone.p, "192.0.2.1", "x@a.test", SPF_PERMERROR, "eleven MX records");
    buf_clear(&zone);
    buf_c(&zone, "a.test TXT \"v=spf1 ptr -all\"\n");
    for (int k = 0; k < 100; k++)
        buf_fmt(&zone, "1.2.0.192.in-addr.arpa PTR h%d.victim.test.\n", k);
    buf_char(&zone, '\0');
    begin(&c, zone.p, "192.0.2.1", "x@a.test");
    IS(run(&c), SPF_FAIL, "a hundred PTR records");
    OK(c.v.queries <= 12, "ten of them are asked");
    end(&c);
}

/* Attack 15: records of 100 strings and 16 kB, a hundred records, names that are none. */
static void
test_oversized_dns(void)
{
    CLEANUP(buf_done) struct buf zone;
    struct check c;

    buf_init(&zone, 1u << 20);
    buf_c(&zone, "a.test TXT");
    buf_c(&zone, " \"v=spf1\"");
    for (int i = 0; i < 1000; i++)
        buf_c(&zone, i % 40 ? "" : " \" ip4:198.51.100.1 ip4:198.51.100.2\"");
    buf_c(&zone, " \" -all\"\n");
    for (int i = 0; i < 99; i++)
        buf_fmt(&zone, "b.test TXT \"junk %d\"\n", i);
    buf_c(&zone, "b.test TXT \"v=spf1 -all\"\n");
    buf_char(&zone, '\0');
    expect(zone.p, "192.0.2.1", "x@a.test", SPF_FAIL, "a record of many strings");
    expect(zone.p, "192.0.2.1", "x@b.test", SPF_FAIL, "one among a hundred records");
    buf_clear(&zone);
    buf_c(&zone, "a.test TXT \"v=spf1\"");
    for (int i = 0; i < 60; i++)
        buf_c(&zone, " \" ip4:198.51.100.1 ip4:198.51.100.2 ip4:198.51.100.3 ip4:198.51.100.4\"");
    buf_c(&zone, "\n");
    buf_char(&zone, '\0');
    begin(&c, zone.p, "192.0.2.1", "x@a.test");
    IS(run(&c), SPF_NEUTRAL, "240 terms");
    IS(c.v.nsteps, spf_limits_default.steps, "the trace has a ceiling");
    IS(c.v.nsteps + c.v.steps_lost, 240, "what is beyond is counted");
    end(&c);
    expect("a.test TXT \"v=spf1 a:b.test -all\"\nb.test BOGUS\n", "192.0.2.1", "x@a.test",
           SPF_TEMPERROR, "forged by DNSSEC's judgement");
    expect("a.test TXT \"v=spf1 ptr:b.test -all\"\n1.2.0.192.in-addr.arpa TIMEOUT\n", "192.0.2.1",
           "x@a.test", SPF_FAIL, "reverse DNS that fails is no match (5.5)");
}

/* Attack 19: a pass by a whole provider's range is told in the trace, so policy can weigh it. */
static void
test_shared_hosting_is_visible(void)
{
    struct check c;

    begin(&c,
          "a.test TXT \"v=spf1 include:host.test -all\"\nhost.test TXT \"v=spf1 ip4:0.0.0.0/1 "
          "ip4:128.0.0.0/1 -all\"\n",
          "192.0.2.1", "x@a.test");
    IS(run(&c), SPF_PASS, "pass");
    TEXT(c.v.mechanism, "include:host.test", "by which term");
    IS(c.v.nsteps, 3, "each step");
    TEXT(c.v.steps[2].term, "ip4:128.0.0.0/1", "the range");
    IS(c.v.steps[2].depth, 1, "inside the include");
    IS(c.v.steps[2].lookups, 0, "a range costs no look-up");
    end(&c);
}

static void
test_identities(void)
{
    static const char zone[] = "helo.test TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
                               "xn--bcher-kva.test TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
                               "a.test TXT \"v=spf1 -all exp=e.test\"\n"
                               "e.test TXT \"%{s} %{o} %{h} %{c} %{r} %{t}\"\n";
    struct check c;

    begin(&c, zone, "192.0.2.1", "");
    IS(run(&c), SPF_PASS, "the null sender is checked by HELO");
    IS(c.v.identity, SPF_HELO, "and says so");
    TEXT(c.v.domain, "helo.test", "for alignment");
    end(&c);
    begin(&c, zone, "192.0.2.9", "x@a.test");
    c.in.identity = SPF_HELO;
    IS(run(&c), SPF_FAIL, "HELO identity beside MAIL FROM");
    end(&c);
    expect(zone, "192.0.2.1",
           "x@B\xc3\xbc"
           "cher.test",
           SPF_PASS, "U-labels");
    expect(zone, "192.0.2.1", "x@\xff.test", SPF_NONE, "bytes that are no text");
    begin(&c, zone, "192.0.2.9", "x@a.test");
    c.in.receiver = STR("mx.test");
    c.in.time = 7;
    IS(run(&c), SPF_FAIL, "fail");
    TEXT(c.v.explanation, "x@a.test a.test helo.test 192.0.2.9 mx.test 7", "exp");
    end(&c);
}

static void
test_time_and_room(void)
{
    struct check c;

    begin(&c, "a.test TXT \"v=spf1 a:b.test -all\"\n", "192.0.2.1", "x@a.test");
    IS(spf_run(&c.in, zone_answers(c.zone), &c.needs, &c.arena, &c.v), AUTH_NEED, "asks");
    IS(zone_ask(c.zone, &c.needs), 0, "one answer");
    c.in.elapsed_ns = spf_limits_default.time_ns;
    IS(spf_run(&c.in, zone_answers(c.zone), &c.needs, &c.arena, &c.v), AUTH_DONE, "no longer");
    IS(c.v.result, SPF_TEMPERROR, "the time is over");
    IS(c.needs.n, 0, "and nothing is asked");
    arena_done(&c.arena);
    arena_init(&c.arena, 64);
    c.in.elapsed_ns = 0;
    IS(spf_run(&c.in, zone_answers(c.zone), &c.needs, &c.arena, &c.v), AUTH_DONE, "no memory");
    OK(c.v.result == SPF_TEMPERROR || c.v.result == SPF_NONE, "is no verdict on the sender");
    end(&c);
}

int
main(void)
{
    test_macro_overflow();
    test_parts_of_a_local_part();
    test_same_void_counts_once();
    test_include_chain_and_ring();
    test_fan_of_void_lookups();
    test_validated_name_ignores_case();
    test_mx_and_ptr_amplification();
    test_oversized_dns();
    test_shared_hosting_is_visible();
    test_identities();
    test_time_and_room();
    return tap_done();
}
