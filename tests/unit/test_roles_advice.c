/* tests/unit/test_roles_advice.c - what a domain should publish, over zones that publish this and
 * that. */
#include "roles/advice.h"

#include "auth/zone.h"
#include "core/addr.h"
#include "store/keys.h"
#include "tap.h"

static struct arena arena;
static struct advice_row rows[ADVICE_ROWS];
static unsigned nrows;
static struct addr sources[2];
static const struct advice_key keys[] = {{.selector = {"s1", 2},
                                          .record = {"v=DKIM1; k=rsa; p=AAAA", 22},
                                          .public = {"AAAA", 4},
                                          .alg = KEYS_RSA,
                                          .state = "active"}};

static void
run(const char *zone_text, bool served, unsigned nsources)
{
    struct zone *z = zone_create(1u << 20);
    struct advice_input in = {.domain = STR("d.test"),
                              .hostname = STR("mx.h.test"),
                              .sources = sources,
                              .nsources = nsources,
                              .keys = keys,
                              .nkeys = 1,
                              .served = served,
                              .sent = true,
                              .now = 7};
    struct auth_needs needs;
    struct why why = {{0}};
    enum auth_state state;

    arena_reset(&arena);
    addr_parse(STR("192.0.2.1"), &sources[0]);
    addr_parse(STR("2001:db8::1"), &sources[1]);
    IS(zone_read(z, str_c(zone_text), &why), 0, "a zone %s", why.text);
    do {
        state = advice_run(&in, zone_answers(z), &needs, &arena, rows, &nrows);
    } while (state == AUTH_NEED && zone_ask(z, &needs) == 0);
    IS(state, AUTH_DONE, "done");
    for (unsigned i = 0; i < nrows; i++) { /* views into the zone end with it */
        rows[i].value = arena_str(&arena, rows[i].value);
        rows[i].note = arena_str(&arena, rows[i].note);
    }
    zone_free(z);
}

static const struct advice_row *
row(const char *name, const char *type)
{
    static const struct advice_row none = {.status = ADVICE_UNKNOWN};

    for (unsigned i = 0; i < nrows; i++)
        if (str_eq(rows[i].name, str_c(name)) && !strcmp(rows[i].type, type))
            return &rows[i];
    OK(false, "no row for %s %s", name, type);
    return &none;
}

/* news.d.test without a key of its own, signed by d.test. */
static void
below(const char *dmarc, enum advice_status status, const char *note)
{
    const struct advice_key above = {.selector = STR("s1"),
                                     .record = STR("v=DKIM1; k=rsa; p=AAAA"),
                                     .public = STR("AAAA"),
                                     .alg = KEYS_RSA,
                                     .state = "active",
                                     .above = STR("d.test")};
    struct zone *z = zone_create(1u << 20);
    struct advice_input in = {.domain = STR("news.d.test"),
                              .hostname = STR("mx.h.test"),
                              .sources = sources,
                              .nsources = 1,
                              .keys = &above,
                              .nkeys = 1,
                              .sent = true,
                              .now = 7};
    struct auth_needs needs;
    struct why why = {{0}};
    char text[600];

    arena_reset(&arena);
    str_fmt(text, sizeof(text), "s1._domainkey.d.test. IN TXT \"v=DKIM1; p=AAAA\"\n%s", dmarc);
    IS(zone_read(z, str_c(text), &why), 0, "a zone %s", why.text);
    while (advice_run(&in, zone_answers(z), &needs, &arena, rows, &nrows) == AUTH_NEED &&
           zone_ask(z, &needs) == 0)
        ;
    IS(row("s1._domainkey.d.test", "TXT")->status, ADVICE_OK, "the key of the domain above");
    OK(str_find(row("s1._domainkey.d.test", "TXT")->note, STR("dkim.subdomains")) >= 0, "said so");
    IS(row("_dmarc.news.d.test", "TXT")->status, status, "%s", dmarc);
    OK(str_find(row("_dmarc.news.d.test", "TXT")->note, str_c(note)) >= 0, "%s", note);
    zone_free(z);
}

static void
spf(const char *zone_text, enum advice_status status, const char *value)
{
    run(zone_text, false, 2);
    IS(row("d.test", "TXT")->status, status, "%s", zone_text);
    TEXT(row("d.test", "TXT")->value, value, "to be published");
}

int
main(void)
{
    struct buf line;

    arena_init(&arena, 8u << 20);
    below("_dmarc.d.test. IN TXT \"v=DMARC1; p=reject\"\n", ADVICE_OPTIONAL, "d.test holds here");
    below("_dmarc.d.test. IN TXT \"v=DMARC1; p=reject; adkim=s\"\n", ADVICE_DIFFERENT, "adkim=s");
    below("_dmarc.news.d.test. IN TXT \"v=DMARC1; p=reject; adkim=s\"\n", ADVICE_DIFFERENT,
          "adkim=s");
    below("_dmarc.news.d.test. IN TXT \"v=DMARC1; p=reject; adkim=r\"\n", ADVICE_OK, "");
    spf("", ADVICE_MISSING, "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all");
    spf("d.test. IN TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all\"\n", ADVICE_OK,
        "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all");
    spf("d.test. IN TXT \"v=spf1 include:i.test -all\"\n"
        "i.test. IN TXT \"v=spf1 a:a.test ?all\"\na.test. IN A 192.0.2.1\n",
        ADVICE_DIFFERENT, "v=spf1 ip6:2001:db8::1 include:i.test -all");
    TEXT(row("d.test", "TXT")->note, "2001:db8::1: fail", "which and how");
    spf("d.test. IN TXT \"v=spf1 redirect=r.test\"\nr.test. IN TXT \"v=spf1 +all\"\n", ADVICE_OK,
        "v=spf1 redirect=r.test");
    spf("d.test. IN TXT \"v=spf1 oops -all\"\n", ADVICE_DIFFERENT,
        "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 oops -all");
    OK(str_find(row("d.test", "TXT")->note, STR("permerror")) >= 0, "its syntax");
    spf("d.test. IN TXT \"v=spf1 -all\"\nd.test. IN TXT \"v=spf1 +all\"\n", ADVICE_DIFFERENT,
        "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all");
    spf("d.test. IN TXT \"v=spf10 -all\"\n", ADVICE_MISSING,
        "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all");
    spf("d.test. IN TIMEOUT\n", ADVICE_UNKNOWN, "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all");

    run("mx.h.test. IN A 192.0.2.9\nd.test. IN TXT \"v=spf1 a:mx.h.test -all\"\n", false, 0);
    IS(row("d.test", "TXT")->status, ADVICE_OK, "no source named: those of our host name");
    run("", false, 0);
    TEXT(row("d.test", "TXT")->value, "v=spf1 a:mx.h.test ~all", "nothing known of it");

    run("s1._domainkey.d.test. IN TXT \"v=DKIM1; k=rsa; \" \"p=AA AA\"\n"
        "_dmarc.d.test. IN TXT \"v=DMARC1; p=reject\"\n",
        false, 2);
    IS(row("s1._domainkey.d.test", "TXT")->status, ADVICE_OK, "a key, in two strings");
    IS(row("_dmarc.d.test", "TXT")->status, ADVICE_OK, "any policy is the domain's own affair");
    TEXT(row("_dmarc.d.test", "TXT")->value, "v=DMARC1; p=reject", "and stays");
    run("s1._domainkey.d.test. IN TXT \"v=DKIM1; p=BBBB\"\n"
        "_dmarc.d.test. IN TXT \"v=DMARC1; p=none\"\n_dmarc.d.test. IN TXT \"v=DMARC1; "
        "p=reject\"\n",
        false, 2);
    IS(row("s1._domainkey.d.test", "TXT")->status, ADVICE_DIFFERENT, "another key");
    IS(row("_dmarc.d.test", "TXT")->status, ADVICE_DIFFERENT, "two policies");

    run("d.test. IN MX 10 other.test.\nd.test. IN MX 20 MX.h.test.\n"
        "_smtp._tls.d.test. IN TXT \"v=TLSRPTv1; rua=mailto:a@d.test\"\n",
        true, 2);
    IS(row("d.test", "MX")->status, ADVICE_OK, "we are among them");
    IS(row("_mta-sts.d.test", "TXT")->status, ADVICE_OPTIONAL, "not needed");
    IS(row("_smtp._tls.d.test", "TXT")->status, ADVICE_OK, "there");
    run("", true, 2);
    IS(row("d.test", "MX")->status, ADVICE_MISSING, "nowhere to go");
    buf_init(&line, 2000);
    advice_line(row("d.test", "MX"), &line);
    TEXT(buf_view(&line), "d.test. IN MX 10 mx.h.test.", "a line of a zone");
    buf_done(&line);
    arena_done(&arena);
    return tap_done();
}
