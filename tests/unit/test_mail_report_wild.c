/*
 * tests/unit/test_mail_report_wild.c - reports as the large receivers write them, and mails made to
 * cost much.
 */
#include <stdlib.h>

#include "core/codec.h"
#include "mail/report_dmarc.h"
#include "mail/report_tls.h"
#include "report_rig.h"
#include "tap.h"

/* ---- mails that cost much ---- */

static void
part_put(struct buf *mail, const char *name, struct str file)
{
    buf_fmt(mail,
            "--b\r\nContent-Type: application/gzip; name=\"%s\"\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n",
            name);
    codec_base64(mail, file);
    buf_c(mail, "\r\n");
}

/* What unpacks to n bytes of XML that is no report, packed twice. */
static void
bomb_make(size_t n, struct buf *ret)
{
    struct buf plain, once;

    buf_init(&plain, n);
    buf_init(&once, n);
    buf_c(&plain, "<x>");
    while (plain.n < n)
        buf_char(&plain, ' ');
    ENSURE(report_gzip(buf_view(&plain), &once) && report_gzip(buf_view(&once), ret));
    buf_done(&plain);
    buf_done(&once);
}

#define GOOD_XML                                                                                   \
    "<feedback><report_metadata><org_name>o.test</org_name><email>d@o.test</email><report_id>r"    \
    "</report_id><date_range><begin>1</begin><end>2</end></date_range></report_metadata>"          \
    "<policy_published><domain>a.test</domain><p>none</p></policy_published><record><row>"         \
    "<source_ip>192.0.2.1</source_ip><count>1</count></row><identifiers><header_from>a.test"       \
    "</header_from></identifiers></record></feedback>"

/* The ceiling of unpacked bytes is of the mail: else each of its files could cost as much. */
static void
test_many_bombs(void)
{
    struct report_limits limits = report_limits_default;
    struct buf bomb, good, mail;

    limits.bytes = 1u << 20;
    buf_init(&bomb, 1u << 20);
    buf_init(&good, 1u << 20);
    buf_init(&mail, 1u << 20);
    bomb_make(400u << 10, &bomb);
    ENSURE(report_gzip(STR(GOOD_XML), &good));
    OK(bomb.n < 300, "a file of %zu bytes that unpacks to 400 KB", bomb.n);
    buf_c(&mail, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    part_put(&mail, "notes.gz", buf_view(&bomb));
    size_t one = mail.n;
    part_put(&mail, "o!a.test!1!2.xml.gz", buf_view(&good));
    IS(read_with(&limits, buf_view(&mail)), 0, "a report behind one of them is read: %s", why.text);
    mail.n = one;
    for (unsigned i = 0; i < 3; i++)
        part_put(&mail, "notes.gz", buf_view(&bomb));
    part_put(&mail, "o!a.test!1!2.xml.gz", buf_view(&good));
    IS(read_with(&limits, buf_view(&mail)), ERR_LIMIT, "behind four it is not: %s", why.text);
    OK(strstr(why.text, "together"), "and that is told");
    IS(report.kind, REPORT_DMARC_AGGREGATE, "as what it wants to be");
    buf_done(&bomb);
    buf_done(&good);
    buf_done(&mail);
}

/* ---- the forms of large receivers ---- */

#define META(org, more)                                                                            \
    "<report_metadata><org_name>" org "</org_name><email>d@o.test</email>" more                    \
    "<report_id>r1</report_id><date_range><begin>1700000000</begin><end>1700086399</end>"          \
    "</date_range></report_metadata>"
#define POLICY(more) "<policy_published><domain>a.test</domain>" more "</policy_published>"
#define USUAL        "<adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct>"
#define RECORD(ip, evaluated, identifiers, auth)                                                   \
    "<record><row><source_ip>" ip "</source_ip><count>3</count><policy_evaluated>" evaluated       \
    "</policy_evaluated></row><identifiers>" identifiers                                           \
    "<header_from>a.test</header_from></identifiers><auth_results>" auth                           \
    "</auth_results></record>"
#define PASSED "<disposition>none</disposition><dkim>pass</dkim><spf>fail</spf>"
#define DKIM   "<dkim><domain>a.test</domain><result>pass</result><selector>s</selector></dkim>"
#define SPF    "<spf><domain>a.test</domain><result>fail</result></spf>"
#define PLAIN  RECORD("192.0.2.1", PASSED, "", DKIM SPF)
#define XML    "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n"

static const struct {
    const char *what, *text;
    uint64_t passed;
} good[] = {
    {"Google: contact, np behind pct",
     XML "<feedback>\n <version>1.0</version>" META(
         "google.com", "<extra_contact_info>https://x.test/a"
                       "</extra_contact_info>") POLICY(USUAL "<np>reject</np>") PLAIN "</feedback>",
     3},
    {"Yahoo: no version, blank lines",
     XML "<feedback>\n\n\n" META("Yahoo", "") POLICY(USUAL) PLAIN "</feedback>\n", 3},
    {"Microsoft: namespaces of schemas, three identifiers, fo",
     "<?xml version=\"1.0\"?><feedback xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" "
     "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><version>1.0</version>" META(
         "Outlook.com", "") POLICY(USUAL "<fo>0</fo>")
         RECORD("192.0.2.1", PASSED,
                "<envelope_to>b.test</envelope_to><envelope_from>c.test</envelope_from>",
                DKIM SPF) "</feedback>",
     3},
    {"a prefix of its own",
     "<ns2:feedback xmlns:ns2=\"http://dmarc.org/dmarc-xml/0.1\">" META("o", "") POLICY(USUAL) PLAIN
     "</ns2:feedback>",
     3},
    {"Mail.ru: a default namespace and attributes",
     XML "<feedback xmlns=\"http://dmarc.org/dmarc-xml/0.1\" xmlns:x=\"y\" x:s=\"t\">" META(
         "Mail.Ru", "") POLICY(USUAL) PLAIN "</feedback>",
     3},
    {"Comcast: SPF with a scope alone",
     XML "<feedback>" META("comcast.net", "") POLICY(USUAL)
         RECORD("192.0.2.1", PASSED, "",
                "<spf><domain>a.test</domain><scope>mfrom</scope><result>pass</"
                "result></spf>") "</feedback>",
     3},
    {"Zoho: an empty sp",
     XML "<feedback>" META("Zoho", "") POLICY("<adkim/><p>none</p><sp/><pct/>") PLAIN "</feedback>",
     3},
    {"GMX: an SPF result of no domain",
     XML "<feedback>" META("GMX", "") POLICY(USUAL)
         RECORD("192.0.2.1", PASSED, "", "<spf><domain/><result>none</result></spf>") "</feedback>",
     3},
    {"a policy of a domain alone", "<feedback>" META("o", "") POLICY("") PLAIN "</feedback>", 3},
    {"reasons known, invented and empty",
     "<feedback>" META("o", "") POLICY(USUAL)
         RECORD("192.0.2.1",
                "<disposition>none</disposition><dkim>fail</dkim><spf>fail</spf><reason><type>"
                "forwarded</type><comment/></reason><reason><type>arc</type><comment>x</comment>"
                "</reason><reason/>",
                "", SPF) "</feedback>",
     0},
    {"IPv6 in capitals",
     "<feedback>" META("o", "") POLICY(USUAL) RECORD("2001:DB8::1", PASSED, "", DKIM) "</feedback>",
     3},
    {"white space around values",
     "<feedback>" META("o", "") POLICY(USUAL)
         RECORD("\n 192.0.2.1 \n", PASSED, "", DKIM) "</feedback>",
     3},
    {"RFC 9990: what is new",
     XML "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"><version>1.0</version>" META(
         "o", "<generator>g 1</generator>")
         POLICY("<p>reject</p><np>none</np><testing>y</testing>"
                "<discovery_method>treewalk</discovery_method><fo>1:d</fo>")
             RECORD("192.0.2.1",
                    "<disposition>pass</disposition><dkim>pass</dkim><spf>fail</spf><reason>"
                    "<type>policy_test_mode</type></reason>",
                    "", DKIM) "<extension><x:y xmlns:x=\"u\">1</x:y></extension></feedback>",
     3},
    {"words that say nothing of what is counted",
     "<feedback>" META("o", "") POLICY(USUAL "<testing>yes</testing><psd>u</psd><discovery_method>"
                                             "Tree Walk</discovery_method>")
         RECORD(
             "192.0.2.1", PASSED, "",
             "<spf><domain>a</domain><scope>pra</scope><result>pass</result></spf>") "</feedback>",
     3},
    {"another name of UTF-8",
     "<?xml version=\"1.0\" encoding=\"utf8\"?><feedback>" META("\xd0\xa2", "") POLICY(USUAL) PLAIN
     "</feedback>",
     3},
    {"bytes of UTF-8 that call themselves UTF-16, as a well-known library writes them",
     "<?xml version=\"1.0\" encoding=\"utf-16\"?>\n<feedback>" META("\xd0\xa2", "") POLICY(USUAL)
         PLAIN "</feedback>",
     3},
};
static const struct {
    const char *text, *why;
} bad[] = {
    {"<feedback>" META("o", "") "<policy_published/>" PLAIN "</feedback>", "no <domain>"},
    {"<feedback>" META("o", "") POLICY(USUAL) RECORD("fe80::1%eth0", PASSED, "", "") "</feedback>",
     "is not an address"},
    {"<FEEDBACK>" META("o", "") POLICY(USUAL) PLAIN "</FEEDBACK>", "no element <feedback>"},
    {"<!DOCTYPE feedback><feedback>" META("o", "") POLICY(USUAL) PLAIN "</feedback>",
     "a document type"},
    {"<feedback>" META("AT&T", "") POLICY(USUAL) PLAIN "</feedback>", "not well-formed"},
    {"<feedback>" META("Soci\xe9t\xe9", "") POLICY(USUAL) PLAIN "</feedback>", "not well-formed"},
    {"<feedback>" META("o", "") POLICY(USUAL) "</feedback>", "no <record>"},
};

static void
test_wild_xml(void)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int did = read_one(str_c(good[i].text));
        if (OK(did == 0, "%s: %s", good[i].what, why.text))
            OK(report.dmarc->nrows == 1 && report.dmarc->messages == 3 &&
                   report.dmarc->passed == good[i].passed,
               "%s: counted", good[i].what);
    }
    IS(read_one(str_c(good[12].text)), 0, "RFC 9990 again");
    OK(report.dmarc->rfc9990 && report.dmarc->testing == REPORT_YES &&
           report.dmarc->np == REPORT_POLICY_NONE &&
           report.dmarc->discovery == REPORT_DISCOVERY_TREEWALK,
       "its words are kept");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int did = read_one(str_c(bad[i].text));
        OK(did == ERR_SYNTAX && strstr(why.text, bad[i].why), "refused: %s", why.text);
    }
}

/* A mark of order counts more than what the declaration says. */
static void
test_wild_utf16(void)
{
    const char *text = good[1].text; /* says UTF-8 */
    size_t n = strlen(text);
    char *wide = malloc(2 * n + 2);

    for (unsigned big = 0; big < 2; big++) {
        memcpy(wide, big ? "\xfe\xff" : "\xff\xfe", 2);
        for (size_t i = 0; i < n; i++) {
            wide[2 + 2 * i + big] = text[i];
            wide[3 + 2 * i - big] = '\0';
        }
        IS(read_one(str_of(wide, 2 * n + 2)), 0, "UTF-16 that calls itself UTF-8: %s", why.text);
    }
    free(wide);
}

/* ---- mails around them ---- */

static void
mail_is(const char *header, struct str file, int want)
{
    struct buf mail;

    buf_init(&mail, 1u << 20);
    buf_fmt(&mail, "From: d@o.test\r\n%s\r\nContent-Transfer-Encoding: base64\r\n\r\n", header);
    codec_base64(&mail, file);
    int did = read_one(buf_view(&mail));
    OK(did == want, "%s: %d %s", header, did, why.text);
    buf_done(&mail);
}

static void
test_wild_mails(void)
{
    struct buf packed;

    buf_init(&packed, 1u << 20);
    ENSURE(report_gzip(STR(GOOD_XML), &packed));
    mail_is("Content-Type: application/octet-stream", buf_view(&packed), 0);
    mail_is("Content-Type: application/gzip-compressed", buf_view(&packed), 0);
    mail_is("Content-Type: application/x-zip; name=\"o!a.test!1!2.zip\"", buf_view(&packed), 0);
    mail_is("Content-Type: application/unknown", buf_view(&packed), 0);
    mail_is("Content-Type: application/pdf", STR("%PDF-1.4 no report"), ERR_NOTFOUND);
    mail_is("Content-Type: text/xml; charset=utf-8", STR(GOOD_XML), 0);
    mail_is("Content-Type: text/plain; name=\"o!a.test!1!2.xml\"", STR(GOOD_XML), 0);
    mail_is("Content-Type: image/png", buf_view(&packed), ERR_NOTFOUND);
    buf_done(&packed);
}

/* ---- TLS ---- */

#define TLS(policy, summary, more)                                                                 \
    "{\"organization-name\":\"o\",\"report-id\":\"i\",\"contact-info\":null,\"date-range\":"       \
    "{\"start-datetime\":\"2024-01-09T00:00:00.000+00:00\",\"end-datetime\":\"2024-01-09 "         \
    "23:59:59\"},\"policies\":[{\"policy\":{\"policy-type\":" policy                               \
    ",\"policy-domain\":\"a.test\"},\"summary\":{" summary "}" more "}]}"
#define COUNTS(good, bad)                                                                          \
    "\"total-successful-session-count\":" good ",\"total-failure-session-count\":" bad

static void
test_wild_tls(void)
{
    static const struct {
        const char *text, *why; /* NULL: read */
    } rows[] = {
        {TLS("\"sts\"", COUNTS("5", "2"), ""), NULL},
        {TLS("\"sts\"", COUNTS("\"5\"", "\"2\""), ""), NULL},
        {TLS("\"sts\",\"policy-string\":\"v\",\"mx-host\":\"mx.a.test\"", COUNTS("5", "2"), ""),
         NULL},
        {TLS("\"no-policy-found\"", COUNTS("5.0", "2"), ",\"failure-details\":null"), NULL},
        {TLS("\"tlsa\"", COUNTS("5", "2"),
             ",\"failure-details\":[{\"result-type\":\"tlsa-invalid\",\"failed-session-count\":"
             "\"2\"}]"),
         NULL},
        {TLS("\"STS\"", COUNTS("5", "2"), ""), "policy 1: \"policy-type\""},
        {TLS("\"sts\"", COUNTS("-1", "2"), ""), "not a number of sessions"},
        {TLS("\"sts\"", COUNTS("9223372036854775808", "2"), ""), "too big"},
        {TLS("\"sts\"", COUNTS("\"9223372036854775808\"", "2"), ""), "not a number of sessions"},
        {TLS("\"sts\"", COUNTS("9223372036854775807", "9223372036854775807"), ""), NULL},
        {TLS("\"sts\"", "\"total-successful-session-count\":5", ""), "is missing"},
        {TLS("\"sts\"", COUNTS("NaN", "2"), ""), "NaN"},
        {TLS("\"sts\"", COUNTS("5", "2"), ",\"failure-details\":[{\"result-type\":\"x\"}]"),
         "\"failed-session-count\" is missing"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int did = read_one(str_c(rows[i].text));
        if (rows[i].why)
            OK(did == ERR_SYNTAX && strstr(why.text, rows[i].why), "TLS %zu refused: %s", i,
               why.text);
        else
            OK(did == 0 && report.tls->npolicies == 1, "TLS %zu: %s", i, why.text);
    }
}

int
main(void)
{
    test_many_bombs();
    test_wild_xml();
    test_wild_utf16();
    test_wild_mails();
    test_wild_tls();
    arena_done(&arena);
    return tap_done();
}
