/* tests/unit/test_checks_dmarc.c - spf, dkim, arc and dmarc over whole messages. */
#include "auth/arc_seal.h"
#include "auth/dkim_crypto.h"
#include "auth/dkim_sign.h"
#include "checks_rig.h"

#define KEY    "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=" /* RFC 8463 A.2 */
#define RECORD "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static const char zone[] = "far.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n"
                           "_dmarc.far.test. IN TXT \"v=DMARC1; p=reject\"\n"
                           "_dmarc.quarantine.test. IN TXT \"v=DMARC1; p=quarantine\"\n"
                           "_dmarc.none.test. IN TXT \"v=DMARC1; p=none\"\n"
                           "_dmarc.sick.test. IN TIMEOUT\n"
                           "list.test. IN TXT \"v=spf1 ip4:9.1.1.9 -all\"\n"
                           "ed._domainkey.far.test. IN TXT \"" RECORD "\"\n"
                           "ed._domainkey.list.test. IN TXT \"" RECORD "\"\n"
                           "ed._domainkey.sick.test. IN TIMEOUT\n";

static const struct check *const rows[] = {&check_spf, &check_dkim, &check_arc, &check_dmarc};
static struct dkim_private *key;

#define MAIL(from) "From: " from "\r\nTo: b@any.test\r\nSubject: x\r\nDate: now\r\n\r\nHello\r\n"

/* The message behind signatures or a seal in `out`. */
static const char *
made(struct buf *out, const char *text)
{
    buf_c(out, text);
    buf_char(out, '\0');
    return out->p;
}

static void
sign(struct buf *out, const char *domain, const char *text)
{
    struct dkim_message *m = dkim_message_create();
    struct str all = str_c(text);
    size_t split = (size_t)str_find(all, STR("\r\n\r\n")) + 4;
    struct dkim_sign_params params = {.domain = str_c(domain),
                                      .selector = STR("ed"),
                                      .alg = DKIM_ED25519_SHA256,
                                      .header_canon = DKIM_RELAXED,
                                      .body_canon = DKIM_RELAXED};
    struct why why = {""};

    dkim_message_headers(m, str_sub(all, 0, split), &dkim_limits_default);
    dkim_sign_prepare(m, DKIM_RELAXED);
    dkim_message_body(m, all.p + split, all.n - split);
    dkim_message_end(m);
    OK(dkim_sign(m, &params, dkim_private_sign, key, out, &why) == 0, "signed %s", why.text);
    dkim_message_free(m);
}

/* As a list at list.test that saw `results` would seal it. */
static void
seal(struct buf *out, const char *results, const char *text)
{
    struct dkim_message *m = dkim_message_create();
    struct str all = str_c(text);
    size_t split = (size_t)str_find(all, STR("\r\n\r\n")) + 4;
    struct arc_validator v = {0};
    struct arc_seal_params params = {.domain = STR("list.test"),
                                     .selector = STR("ed"),
                                     .alg = DKIM_ED25519_SHA256,
                                     .now = clock_wall_s(),
                                     .cv = ARC_NONE,
                                     .payload = str_c(results),
                                     .header_canon = DKIM_RELAXED,
                                     .body_canon = DKIM_RELAXED};
    struct why why = {""};

    dkim_message_headers(m, str_sub(all, 0, split), &dkim_limits_default);
    arc_prepare(&v, m, &dkim_limits_default);
    arc_seal_prepare(m, DKIM_RELAXED);
    dkim_message_body(m, all.p + split, all.n - split);
    dkim_message_end(m);
    OK(arc_seal(m, &v, &params, dkim_private_sign, key, out, &why) == 0, "sealed %s", why.text);
    dkim_message_free(m);
}

static void
run(const char *client, const char *from, const char *text, const char *found, const char *what)
{
    rig_mail(rows, ARRAY_LEN(rows), client, "[192.0.2.1]", from, text);
    TEXT(str_c(rig_findings()), found, "%s", what);
    OK(!rig.decided, "and nothing is refused");
    rig_done();
}

static void
test_policies(void)
{
    struct buf b;

    run("9.1.1.1", "a@far.test", MAIL("a@far.test"), "spf/pass=-20 dmarc/pass=-50", "SPF in line");
    run("9.1.1.2", "a@far.test", MAIL("a@far.test"), "spf/fail=100 dmarc/fail-reject=500",
        "nothing in line: a published reject is a weight");
    run("9.1.1.9", "a@list.test", MAIL("a@quarantine.test"),
        "spf/pass=-20 dmarc/fail-quarantine=400", "SPF of somebody else");
    run("9.1.1.9", "a@list.test", MAIL("a@none.test"), "spf/pass=-20 dmarc/fail=50", "p=none");
    run("9.1.1.9", "a@list.test", MAIL("a@nothing.test"), "spf/pass=-20", "no policy");
    run("9.1.1.9", "a@list.test", MAIL("a@sick.test"), "spf/pass=-20 dmarc/temperror=0",
        "DNS does not answer");
    buf_init(&b, 1u << 16);
    sign(&b, "far.test", MAIL("a@far.test"));
    run("9.1.1.2", "a@far.test", made(&b, MAIL("a@far.test")),
        "spf/fail=100 dkim/pass=-20 dmarc/pass=-50", "forwarded: the signature proves it");
    buf_clear(&b);
    sign(&b, "far.test", MAIL("a@far.test"));
    made(&b, MAIL("a@far.test"));
    b.p[b.n - 5] = 'O';
    run("9.1.1.2", "a@far.test", b.p, "spf/fail=100 dkim/fail=50 dmarc/fail-reject=500",
        "changed on its way");
    buf_clear(&b);
    sign(&b, "sick.test", MAIL("a@far.test"));
    run("9.1.1.1", "a@far.test", made(&b, MAIL("a@far.test")),
        "spf/pass=-20 dkim/temperror=0 dmarc/pass=-50", "a key that cannot be asked for");
    buf_done(&b);
}

static void
test_from(void)
{
    run("9.1.1.1", "a@far.test", "Subject: x\r\n\r\n", "spf/pass=-20 dmarc/from-missing=300",
        "no From");
    run("9.1.1.1", "a@far.test", "From: a@far.test\r\nFrom: b@far.test\r\n\r\n",
        "spf/pass=-20 dmarc/from-repeated=400 dmarc/from-several=50 dmarc/pass=-50", "two From");
    run("9.1.1.1", "a@far.test", MAIL("a@far.test, b@none.test"),
        "spf/pass=-20 dmarc/from-domains=300 dmarc/fail=50", "authors of two domains");
    run("9.1.1.1", "a@far.test", MAIL("b@none.test <a@far.test>"),
        "spf/pass=-20 dmarc/from-domains=300 dmarc/from-shown=150 dmarc/fail=50",
        "an address in place of a name");
}

/* A list changed the body: only its seal says what it saw. */
static void
test_arc(void)
{
    static const struct {
        bool trusted;
        const char *results, *found;
    } cases[] = {
        {true, "list.test; dmarc=pass header.from=far.test",
         "spf/pass=-20 arc/trusted=0 dmarc/vouched=0"},
        {false, "list.test; dmarc=pass header.from=far.test",
         "spf/pass=-20 arc/pass=0 dmarc/fail-reject=500"},
        {true, "list.test; dmarc=pass header.from=none.test",
         "spf/pass=-20 arc/trusted=0 dmarc/fail-reject=500"},
        {true, "list.test; dmarc=fail header.from=far.test",
         "spf/pass=-20 arc/trusted=0 dmarc/fail-reject=500"},
        {true, "list.test; dmarc=\"pass; dmarc=pass header.from=far.test",
         "spf/pass=-20 arc/trusted=0 dmarc/fail-reject=500"},
    };
    static const struct str list = STR("list.test");
    struct buf b;

    buf_init(&b, 1u << 16);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig.common->trusted = &list;
        rig.common->ntrusted = cases[i].trusted;
        buf_clear(&b);
        seal(&b, cases[i].results, MAIL("a@far.test"));
        run("9.1.1.9", "bounces@list.test", made(&b, MAIL("a@far.test")), cases[i].found,
            cases[i].results);
    }
    made(&b, "");
    buf_clear(&b);
    seal(&b, cases[0].results, MAIL("a@far.test"));
    made(&b, MAIL("a@far.test"));
    b.p[b.n - 5] = 'O';
    run("9.1.1.9", "bounces@list.test", b.p, "spf/pass=-20 arc/fail=50 dmarc/fail-reject=500",
        "changed behind the seal");
    rig.common->ntrusted = 0;
    buf_done(&b);
}

/* The field and the findings come out of the same verdicts. */
static void
test_results(void)
{
    struct authres *list = calloc(1, sizeof(*list));
    struct buf out;

    buf_init(&out, 1u << 16);
    rig_mail(rows, ARRAY_LEN(rows), "9.1.1.2", "mx.far.test", "a@far.test", MAIL("a@far.test"));
    auth_evidence_results(&rig.auth, list);
    authres_write(&out, list);
    TEXT(buf_view(&out),
         "Authentication-Results: mx.gate.test;\r\n"
         "\tspf=none reason=\"mx.far.test has no SPF record\" smtp.helo=mx.far.test;\r\n"
         "\tspf=fail reason=\"the domain says that this address may not send for it\"\r\n"
         "\tsmtp.mailfrom=far.test;\r\n"
         "\tdkim=none;\r\n"
         "\tdmarc=fail\r\n"
         "\treason=\"nothing that was authenticated belongs to the author's domain\"\r\n"
         "\theader.from=far.test polrec.p=reject\r\n",
         "our field");
    TEXT(str_c(rig_findings()), "spf/fail=100 dmarc/fail-reject=500", "our findings");
    rig_done();
    buf_done(&out);
    free(list);
}

int
main(void)
{
    struct str why;

    rig_open("hostname = mx.gate.test\n");
    rig_zone(zone);
    dkim_private_load(STR(KEY), &key, &why);
    test_policies();
    test_from();
    test_arc();
    test_results();
    dkim_private_free(key);
    rig_close();
    return tap_done();
}
