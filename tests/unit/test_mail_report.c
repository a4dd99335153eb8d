/*
 * tests/unit/test_mail_report.c - reports of DMARC and TLS: forms, ceilings, what is refused and
 * how it is told, what is written.
 */
#include <stdlib.h>
#include <zlib.h>

#include "mail/report_dmarc.h"
#include "mail/report_letter.h"
#include "mail/report_tls.h"
#include "report_rig.h"
#include "tap.h"

#define META                                                                                       \
    "<report_metadata><org_name>o.test</org_name><email>d@o.test</email>"                          \
    "<report_id>r1</report_id><date_range><begin>1700000000</begin><end>1700086399</end>"          \
    "</date_range></report_metadata>"
#define POLICY "<policy_published><domain>A.test</domain><p>reject</p></policy_published>"
#define ROW(ip, count, more)                                                                       \
    "<record><row><source_ip>" ip "</source_ip><count>" count "</count><policy_evaluated>"         \
    "<disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>"     \
    "<identifiers><header_from>a.test</header_from></identifiers>" more "</record>"
#define GOOD "<feedback>" META POLICY ROW("192.0.2.1", "3", "") "</feedback>"
#define TLS_POLICY                                                                                 \
    "{\"policy\":{\"policy-type\":\"sts\",\"policy-domain\":\"A.test\"},\"summary\":"              \
    "{\"total-successful-session-count\":5,\"total-failure-session-count\":\"2\"}"
#define TLS_HEAD                                                                                   \
    "{\"organization-name\":\"o\",\"report-id\":\"i\",\"date-range\":{\"start-datetime\":"         \
    "\"2024-01-09T01:00:00.5+01:00\",\"end-datetime\":\"2024-01-09\"},\"policies\":["
#define TLS_GOOD TLS_HEAD TLS_POLICY "}]}"

/* RFC 9990: a file and its records may hold elements of other namespaces. */
#define EXTENDED                                                                                   \
    "<feedback>" META POLICY "<extension><x:count>8</x:count></extension>" ROW(                    \
        "192.0.2.1", "4", "<x:row><x:count>7</x:count></x:row><x:identifiers/>") "</feedback>"

static void
refused(struct str text, int code, const char *words)
{
    int did = read_one(text);

    if (!OK(did == code && strstr(why.text, words), "refused: %s", words))
        printf("#   %d: %s\n", did, why.text);
}

static void
test_forms(void)
{
    IS(read_one(STR("\xef\xbb\xbf\n\n <?xml version=\"1.0\" encoding=\"windows-1252\"?>" GOOD
                    "\n\n junk & <")),
       0, "a mark, blank lines, another charset, junk behind the end");
    TEXT(report.dmarc->domain, "a.test", "a domain is lower case");
    IS(report.dmarc->messages, 3, "messages");
    IS(report.dmarc->sp, REPORT_POLICY_REJECT, "sp is p if it is not told");
    IS(report.dmarc->pct, 100, "pct");
    TEXT(report.dmarc->fo, "0", "fo");
    IS(read_one(STR("<w:x xmlns:w='u'><feedback>" META POLICY
                    "text<unknown><record/><row><count>9</count></row></unknown>" ROW(
                        "2001:db8::1", "1", "") "</feedback>")),
       0, "a wrapper that never ends, unknown elements, text between elements");
    IS(report.dmarc->nrows, 1, "what stands in an unknown element does not count");
    IS(read_one(STR("<feedback xmlns='urn:ietf:params:xml:ns:dmarc-2.0'>" META POLICY ROW(
           "192.0.2.1", "1",
           "<auth_results><spf><domain>a.test</domain><result>unknown</result></spf>"
           "<dkim><domain>b.test</domain><result/></dkim><dkim><result>hardfail</result></dkim>"
           "</auth_results>") "</feedback>")),
       0, "results of old senders");
    OK(report.dmarc->rfc9990, "the namespace of RFC 9990");
    IS(report.dmarc->rows->spfs->result, REPORT_RESULT_TEMPERROR, "unknown is temperror");
    IS(report.dmarc->rows->spfs->scope, REPORT_SCOPE_MFROM, "mfrom if no scope is told");
    IS(report.dmarc->rows->dkims->result, REPORT_RESULT_NONE, "no word is none");
    IS(report.dmarc->rows->dkims->next->result, REPORT_RESULT_FAIL, "hardfail is fail");
    static const char good[] = GOOD;
    char wide[2 * sizeof(good)] = "\xff\xfe";
    for (size_t i = 0; i + 1 < sizeof(good); i++)
        wide[2 + 2 * i] = good[i];
    IS(read_one(str_of(wide, 2 * sizeof(good))), 0, "UTF-16: %s", why.text);
    IS(read_one(STR("<?xml version='1.0' encoding='windows-1252'?><feedback>" META POLICY ROW(
           "1.2.3.4", "1",
           "<auth_results><dkim><human_result>\x80"
           "5</human_result></dkim></auth_results>") "</feedback>")),
       0, "windows-1252");
    TEXT(report.dmarc->rows->dkims->human,
         "\xe2\x82\xac"
         "5",
         "becomes UTF-8");
}

static void
test_extensions(void)
{
    IS(read_one(STR(EXTENDED)), 0, "elements of extensions: %s", why.text);
    IS(report.dmarc->messages, 4, "count for nothing");
    IS(read_one(STR("<w:feedback xmlns:w='u'>" META POLICY ROW(
           "192.0.2.1", "4",
           "") "<w:record><w:row><w:source_ip>192.0.2.2</w:source_ip><w:count>5</w:count></w:row>"
               "<w:identifiers><w:header_from>a</w:header_from></w:identifiers></w:record>"
               "</w:feedback>")),
       0, "with the report's prefix or none: %s", why.text);
    IS(report.dmarc->messages, 9, "they count");
}

static void
test_refused(void)
{
    refused(STR(""), ERR_SYNTAX, "empty");
    refused(STR("   \n"), ERR_SYNTAX, "empty");
    refused(STR("<html><body>hello</body></html>"), ERR_SYNTAX, "no element <feedback>");
    IS(report.kind, REPORT_OTHER, "and is no report");
    refused(STR("<!DOCTYPE feedback [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><feedback>&a;"),
            ERR_SYNTAX, "line 1: a document type");
    refused(STR("<feedback>" META POLICY "</feedback>"), ERR_SYNTAX, "no <record>");
    IS(report.kind, REPORT_DMARC_AGGREGATE, "a bad report is a report");
    refused(STR("<feedback>" META POLICY ROW("192.0.2.1", "3", "")), ERR_SYNTAX,
            "no element found");
    refused(STR("<feedback>\n" META POLICY "\n" ROW("192.0.2.1", "-3", "") "</feedback>"),
            ERR_SYNTAX, "line 3: <count> is not a number: \"-3\"");
    refused(STR("<feedback>" META POLICY ROW("192.0.2.1", "", "") "</feedback>"), ERR_SYNTAX,
            "<count> is empty");
    refused(STR("<feedback>" META POLICY ROW("192.0.2.300", "1", "") "</feedback>"), ERR_SYNTAX,
            "<source_ip> is not an address");
    refused(STR("<feedback>" META POLICY ROW("1.1.1.1", "9223372036854775807", "")
                    ROW("1.1.1.1", "1", "") "</feedback>"),
            ERR_SYNTAX, "no sum");
    refused(STR("<feedback>" META POLICY ROW("1.1.1.1", "1",
                                             "<row><count>7</count></row>") "</feedback>"),
            ERR_SYNTAX, "<count> comes twice");
    refused(STR("<feedback>" META POLICY "<record><row><count>1</count></row></record></feedback>"),
            ERR_SYNTAX, "no <source_ip>");
    refused(STR("<feedback>" POLICY ROW("1.1.1.1", "1", "") "</feedback>"), ERR_SYNTAX,
            "no <report_id>");
    refused(STR("<feedback>" META ROW("1.1.1.1", "1", "") "</feedback>"), ERR_SYNTAX,
            "no <domain>");
    refused(STR("<feedback>" META POLICY ROW(
                "1.1.1.1", "1",
                "<auth_results><spf><result>Pass</result></spf></auth_results>") "</feedback>"),
            ERR_SYNTAX, "<result> has a value that neither RFC 9990 nor RFC 7489 knows: \"Pass\"");
    refused(STR("{\"a\":[}"), ERR_SYNTAX, "line 1, column 7");
    refused(STR("{\"a\":1}"), ERR_SYNTAX, "no TLS report");
    refused(STR("\x1f\x8b\x08\x00\x00"), ERR_SYNTAX, "cut off");
    refused(STR("\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), ERR_SYNTAX, "damaged");
    refused(STR("PK\3\4"), ERR_SYNTAX, "no directory");
    refused(STR("Subject: hello\r\n\r\nno report\r\n"), ERR_NOTFOUND, "carries no report");
}

/* What came before the damage tells what it is, however the bytes are cut. */
static void
test_damaged(void)
{
    struct buf xml, packed;

    buf_init(&xml, 1u << 20);
    buf_init(&packed, 1u << 20);
    buf_c(&xml, "<feedback>" META POLICY);
    for (unsigned i = 0; i < 2000; i++)
        buf_fmt(&xml, ROW("192.0.2.%u", "%u", ""), i % 256, i * 7919 % 10007);
    buf_c(&xml, "</feedback>");
    ENSURE(report_gzip(buf_view(&xml), &packed));
    for (size_t i = packed.n / 2; i < packed.n / 2 + 64; i++)
        packed.p[i] = '\xff';
    for (size_t step = 1; step < 2 * packed.n; step = step < 1000       ? 1000
                                                      : step < packed.n ? packed.n
                                                                        : 2 * packed.n) {
        struct report_reader *r;
        arena_done(&arena);
        arena_init(&arena, 64u << 20);
        ENSURE(report_open(&r, &report_limits_default, &arena) == 0);
        for (size_t at = 0; at < packed.n; at += step)
            report_feed(r, packed.p + at, MIN(step, packed.n - at));
        OK(report_end(r, &report, &why) < 0, "damaged: %s", why.text);
        IS(report.kind, REPORT_DMARC_AGGREGATE, "but known, in pieces of %zu", step);
        OK(!report.dmarc, "and not told");
        report_close(r);
    }
    buf_done(&xml);
    buf_done(&packed);
}

static void
repeat(struct buf *b, const char *text, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        buf_c(b, text);
}

static void
test_ceilings(void)
{
    struct report_limits small = report_limits_default;
    struct buf b, packed;

    buf_init(&b, 64u << 20);
    buf_init(&packed, 1u << 20);
    repeat(&b, "<a>", 16);
    buf_c(&b, GOOD);
    IS(read_one(buf_view(&b)), ERR_LIMIT, "too deep: %s", why.text);
    buf_clear(&b);
    small.rows = 2;
    buf_c(&b, "<feedback>" META POLICY);
    repeat(&b, ROW("192.0.2.1", "1", ""), 3);
    IS(read_with(&small, buf_view(&b)), ERR_LIMIT, "too many records: %s", why.text);
    buf_clear(&b);
    buf_c(&b, "<feedback><report_metadata><error>");
    repeat(&b, "\xc3\xa4", 3000);
    buf_c(&b, "</error></report_metadata>" META POLICY ROW("192.0.2.1", "1", "") "</feedback>");
    IS(read_one(buf_view(&b)), 0, "a long text of people is cut: %s", why.text);
    IS(report.dmarc->errors->text.n, 4096, "at its ceiling");
    buf_clear(&b);
    buf_c(&b, "<feedback><policy_published><domain>");
    repeat(&b, "a", 5000);
    buf_c(&b, "</domain>");
    IS(read_one(buf_view(&b)), ERR_LIMIT, "a long domain is refused: %s", why.text);
    buf_clear(&b);
    buf_c(&b, "<feedback>");
    repeat(&b, "                                                                ", 1u << 18);
    OK(report_gzip(buf_view(&b), &packed), "a bomb of %zu bytes", packed.n);
    small.bytes = 1u << 20;
    IS(read_with(&small, buf_view(&packed)), ERR_LIMIT, "unpacked too much: %s", why.text);
    buf_clear(&b);
    buf_clear(&packed);
    buf_c(&b, "<feedback><!--");
    repeat(&b, "a tag in a comment ends nothing >", 1u << 20);
    report_gzip(buf_view(&b), &packed);
    IS(read_one(buf_view(&packed)), ERR_LIMIT, "an endless comment: %s", why.text);
    small.packed = 100;
    IS(read_with(&small, buf_view(&packed)), ERR_LIMIT, "packed too much: %s", why.text);
    buf_clear(&b);
    repeat(&b, "{\"a\":[", 10);
    IS(read_one(buf_view(&b)), ERR_LIMIT, "JSON too deep: %s", why.text);
    buf_clear(&b);
    buf_c(&b, "{\"policies\":[");
    repeat(&b, "[],", 900000);
    IS(read_one(buf_view(&b)), ERR_LIMIT, "JSON of too many values: %s", why.text);
    buf_clear(&b);
    buf_c(&b, TLS_HEAD TLS_POLICY "}");
    repeat(&b, "," TLS_POLICY "}", 2);
    buf_c(&b, "]}");
    small.bytes = small.packed = 1u << 20;
    IS(read_with(&small, buf_view(&b)), ERR_LIMIT, "too many policies: %s", why.text);
    buf_clear(&b);
    buf_c(&b, "<feedback>" META POLICY);
    repeat(&b, ROW("192.0.2.1", "1", ""), 400);
    arena_done(&arena);
    arena_init(&arena, 8192);
    IS(report_read(buf_view(&b), &report_limits_default, &arena, &report, &why), ERR_LIMIT,
       "an arena that is too small: %s", why.text);
    buf_done(&b);
    buf_done(&packed);
}

/* ---- zip ---- */

static void
le(struct buf *b, uint32_t v, unsigned n)
{
    for (; n; n--, v >>= 8)
        buf_char(b, (char)v);
}

static void
zip_entry(struct buf *zip, struct buf *directory, const char *name, struct str text, uint32_t crc)
{
    size_t at = zip->n;

    buf_add(zip, "PK\3\4\x14\0\0\0\0\0\0\0\0\0", 14);
    for (unsigned i = 0; i < 2; i++) { /* local, then in the directory */
        struct buf *b = i ? directory : zip;
        if (i)
            buf_add(b, "PK\1\2\x14\0\x14\0\0\0\0\0\0\0\0\0", 16);
        le(b, crc, 4);
        le(b, (uint32_t)text.n, 4);
        le(b, (uint32_t)text.n, 4);
        le(b, (uint32_t)strlen(name), 2);
        le(b, 0, 2);
        if (i) {
            buf_add(b, "\0\0\0\0\0\0\0\0\0\0", 10);
            le(b, (uint32_t)at, 4);
        }
        buf_c(b, name);
    }
    buf_str(zip, text);
}

static void
zip_end(struct buf *zip, struct buf *directory, unsigned n)
{
    uint32_t at = (uint32_t)zip->n, size = (uint32_t)directory->n;

    buf_str(zip, buf_view(directory));
    buf_add(zip, "PK\5\6\0\0\0\0", 8);
    le(zip, n, 2);
    le(zip, n, 2);
    le(zip, size, 4);
    le(zip, at, 4);
    le(zip, 0, 2);
    buf_clear(directory);
}

static void
test_zip(void)
{
    struct str good = STR(GOOD);
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)good.p, (uInt)good.n);
    struct buf zip, directory, packed;

    buf_init(&zip, 1u << 20);
    buf_init(&directory, 1u << 16);
    buf_init(&packed, 1u << 20);
    zip_entry(&zip, &directory, "__MACOSX/._report.xml", STR("noise"), 0);
    zip_entry(&zip, &directory, "read.me", STR("noise"), 0);
    zip_entry(&zip, &directory, "a/report.xml", good, crc);
    zip_end(&zip, &directory, 3);
    IS(read_one(buf_view(&zip)), 0, "the entry that is the report: %s", why.text);
    report_gzip(buf_view(&zip), &packed);
    IS(read_one(buf_view(&packed)), 0, "zip within gzip: %s", why.text);
    buf_clear(&zip);
    report_gzip(buf_view(&packed), &zip);
    IS(read_one(buf_view(&zip)), ERR_LIMIT, "but no third layer: %s", why.text);

    buf_clear(&zip);
    zip_entry(&zip, &directory, "", good, crc ^ 1);
    zip_end(&zip, &directory, 1);
    refused(buf_view(&zip), ERR_SYNTAX, "checksum");
    for (size_t n = 4; n < zip.n; n += 7) {
        if (read_one(str_sub(buf_view(&zip), 0, n)) == 0)
            OK(false, "cut at %zu it is read", n);
    }
    OK(true, "cut anywhere it is refused");
    buf_clear(&zip);
    zip_end(&zip, &directory, 0);
    refused(str_of("PK\3\4", 4), ERR_SYNTAX, "no directory");
    buf_done(&zip);
    buf_done(&directory);
    buf_done(&packed);
}

/* ---- TLS ---- */

static void
test_tls(void)
{
    struct buf out;

    buf_init(&out, 65536);
    IS(read_one(STR(TLS_GOOD)), 0, "a TLS report: %s", why.text);
    IS(report.kind, REPORT_TLS, "its kind");
    IS(report.tls->begin, 1704758400, "an offset and a fraction of a time");
    IS(report.tls->end, 1704758400, "a date alone");
    IS(report.tls->failed, 2, "a number as a string");
    TEXT(report.tls->policies->domain, "a.test", "its domain");
    IS(report_tls_write(report.tls, &out), 0, "written");
    TEXT(buf_view(&out),
         "{\"organization-name\":\"o\",\"date-range\":{\"start-datetime\":\"2024-01-09T00:00:00Z\","
         "\"end-datetime\":\"2024-01-09T00:00:00Z\"},\"report-id\":\"i\",\"policies\":[{\"policy\":"
         "{\"policy-type\":\"sts\",\"policy-domain\":\"a.test\"},\"summary\":"
         "{\"total-successful-session-count\":5,\"total-failure-session-count\":2}}]}\n",
         "as RFC 8460 has it");
    buf_clear(&out);
    report_tls_filename(report.tls, STR("mx.test"), STR("a.test"), STR("001"), &out);
    TEXT(buf_view(&out), "mx.test!a.test!1704758400!1704758400!001.json.gz", "its name");
    IS(read_one(STR(TLS_HEAD TLS_POLICY
                    ",\"failure-details\":[{\"result-type\":\"tlsa-invalid\","
                    "\"failed-session-count\":1},{\"result-type\":\"x\\u0001y\",\"receiving-ip\":"
                    "null,\"failed-session-count\":1.0}]}]}")),
       0, "failures: %s", why.text);
    IS(report.tls->policies->failures->result, REPORT_TLS_TLSA_INVALID, "a known result");
    IS(report.tls->policies->failures->next->result, REPORT_TLS_OTHER, "another one");
    TEXT(report.tls->policies->failures->next->result_text, "x y", "without control characters");
    refused(STR(TLS_HEAD "{\"policy\":{\"policy-type\":\"STS\"},\"summary\":{}}]}"), ERR_SYNTAX,
            "policy 1: \"policy-type\" is none of");
    refused(STR(TLS_HEAD "]}"), ERR_SYNTAX, "\"policies\" is missing or empty");
    refused(STR(TLS_HEAD TLS_POLICY ",\"failure-details\":{}}]}"), ERR_SYNTAX,
            "\"failure-details\" is not a list");
    refused(STR(TLS_HEAD "7]}"), ERR_SYNTAX, "policy 1: \"policy\" is missing");
    refused(STR("{\"organization-name\":\"o\",\"report-id\":\"i\",\"date-range\":{\"start-"
                "datetime\":\"2024-13-09T00:00:00Z\"}}"),
            ERR_SYNTAX, "\"start-datetime\" is missing or not a time");
    buf_done(&out);
}

/* ---- mails ---- */

#define ATTACHED(type, name, text) "Content-Type: " type "; name=\"" name "\"\n\n" text "\n"
#define IN_PARTS(type, parts)                                                                      \
    "From: a@b.test\nSubject: x\nContent-Type: multipart/" type "; boundary=b\n\n" parts "--b--\n"

static void
kind_is(const char *mail, enum report_kind kind, int code, const char *what)
{
    int did = read_one(str_c(mail));

    if (!OK(did == code && report.kind == kind, "%s: %s", what, report_kind_name(report.kind)))
        printf("#   %d %s\n", did, why.text);
    IS(report_mail_kind(str_c(mail), &report_limits_default), kind, "%s: its kind alone", what);
}

#define ARF(type)                                                                                  \
    "--b\nContent-Type: message/feedback-report\n\n\nDKIM-Domain: d.test\nFeedback-Type: " type    \
    "\nSource-IP: 192.0.2.7\nReported-Domain: A.test\nArrival-Date: Mon, 1 Oct 2018 11:20:27 "     \
    "+0200\nAuthentication-Results: x;\n dmarc=fail\n"                                             \
    "--b\nContent-Type: message/rfc822\n\nFrom: c@a.test\nSubject: =?utf-8?q?x?=\n\nhi\n"

static void
test_mails(void)
{
    kind_is(IN_PARTS("mixed", "--b\n" ATTACHED("text/plain", "", "hi") "--b\n" ATTACHED(
                                  "application/octet-stream", "r.xml", GOOD)),
            REPORT_DMARC_AGGREGATE, 0, "an attachment");
    kind_is(IN_PARTS("report; report-type=tlsrpt",
                     "--b\n" ATTACHED("application/tlsrpt+json", "r", TLS_GOOD)),
            REPORT_TLS, 0, "a TLS report");
    kind_is(IN_PARTS("report; report-type=tlsrpt", "--b\n" ATTACHED("text/plain", "", "hi")),
            REPORT_TLS, ERR_SYNTAX, "a TLS report without one");
    kind_is(IN_PARTS("mixed", "--b\n" ATTACHED("application/xml", "r.xml", "<feedback>")),
            REPORT_DMARC_AGGREGATE, ERR_SYNTAX, "a bad one");
    kind_is(IN_PARTS("mixed", "--b\n" ATTACHED("application/gzip", "o!a!1!2.xml.gz", "no gzip")),
            REPORT_DMARC_AGGREGATE, ERR_SYNTAX, "one that its name tells");
    kind_is(IN_PARTS("mixed", "--b\n" ATTACHED("application/xml", "letter.xml", "<a/>")),
            REPORT_OTHER, ERR_NOTFOUND, "other XML");
    kind_is(IN_PARTS("mixed",
                     "--b\n" ATTACHED("application/xml", "letter.xml",
                                      "<a/>") "--b\n" ATTACHED("application/xml", "r.xml", GOOD)),
            REPORT_DMARC_AGGREGATE, 0, "the report behind other XML");
    kind_is(
        IN_PARTS("report; report-type=delivery-status",
                 "--b\n" ATTACHED("message/delivery-status", "",
                                  "Action: failed") "--b\n"
                                                    "Content-Type: message/rfc822\n\nSubject: "
                                                    "Report Domain: a\nContent-Type: "
                                                    "multipart/mixed; boundary=c\n\n--c\n" ATTACHED(
                                                        "text/xml", "o!a!1!2.xml", GOOD) "--c--\n"),
        REPORT_OTHER, ERR_NOTFOUND, "a bounce of a report");
    kind_is(IN_PARTS("report; report-type=feedback-report", ARF("auth-failure")),
            REPORT_DMARC_FAILURE, 0, "a failure report");
    read_one(STR(IN_PARTS("report; report-type=feedback-report", ARF("Auth-Failure"))));
    TEXT(report.failure->reported_domain, "a.test", "reported domain");
    TEXT(report.failure->arf.auth_results, "x; dmarc=fail", "unfolded");
    TEXT(report.failure->from, "c@a.test", "From of the mail that failed");
    IS(report.failure->arf.arrival, 1538385627, "arrival");
    OK(addr_is_v4(&report.failure->arf.source), "source");
    TEXT(report.failure->dkim_domain, "d.test", "what only DMARC tells");
    kind_is(IN_PARTS("report; report-type=feedback-report", ARF("abuse")), REPORT_OTHER,
            ERR_NOTFOUND, "a complaint");
}

static void
test_write(void)
{
    struct report_dmarc none = {.id = STR("x")};
    struct buf out, name;

    buf_init(&out, 65536);
    buf_init(&name, 1024);
    IS(report_dmarc_write(&none, REPORT_FORM_9990, &out), ERR_STATE, "nothing to write");
    IS(out.n, 0, "nothing is written");
    read_one(STR(GOOD));
    report.dmarc->rows->disposition = REPORT_DONE_PASS;
    IS(report_dmarc_write(report.dmarc, REPORT_FORM_7489, &out), 0, "as RFC 7489");
    OK(str_find(buf_view(&out), STR("<disposition>none<")) > 0, "which knows no pass");
    OK(str_find(buf_view(&out), STR("<sp>reject</sp>\n    <pct>100</pct>")) > 0, "and wants pct");
    report_dmarc_filename(report.dmarc, STR("mx.test"), STR(""), &name);
    TEXT(buf_view(&name), "mx.test!a.test!1700000000!1700086399.xml.gz", "its name");
    out.max = out.n - 1;
    buf_clear(&out);
    IS(report_dmarc_write(report.dmarc, REPORT_FORM_7489, &out), ERR_LIMIT, "a ceiling");
    buf_done(&out);
    buf_done(&name);
}

static void
test_letters(void)
{
    struct report_letter l = {.from = STR("Reports <d@mx.test>"),
                              .to = STR("rua@a.test"),
                              .submitter = STR("mx.test"),
                              .unique = STR("7\"\r\nX: y"),
                              .message_id = STR("<1@mx.test>"),
                              .now = 1764000000};
    struct buf out;

    buf_init(&out, 1u << 20);
    read_one(STR(GOOD));
    report.dmarc->id = STR("r\r\nBcc: all@b.test");
    IS(report_dmarc_letter(report.dmarc, REPORT_FORM_9990, &l, &out), 0, "an aggregate report");
    OK(str_find(buf_view(&out), STR("\nBcc:")) < 0 && str_find(buf_view(&out), STR("\nX:")) < 0,
       "nothing in it begins a field");
    OK(str_find(buf_view(&out), STR("Subject: Report Domain: a.test\r\n Submitter: mx.test\r\n "
                                    "Report-ID: <r  Bcc: all@b.test>\r\n")) > 0,
       "its subject");
    OK(str_find(buf_view(&out), STR("filename=\"mx.test!a.test!1700000000!1700086399!7-  X: y.xml."
                                    "gz\"\r\n")) > 0,
       "its file");
    IS(read_one(buf_view(&out)), 0, "is read: %s", why.text);
    IS(report.dmarc->messages, 3, "as what it was");
    buf_clear(&out);
    l.unique = STR("");
    read_one(STR(TLS_GOOD));
    IS(report_tls_letter(report.tls, STR("a.test"), &l, &out), 0, "a TLS report");
    OK(str_find(buf_view(&out), STR("\r\nTLS-Report-Domain: a.test\r\n")) > 0, "its fields");
    IS(read_one(buf_view(&out)), 0, "is read: %s", why.text);
    IS(report.tls->good, 5, "as what it was");
    buf_clear(&out);
    out.max = 900;
    IS(report_tls_letter(report.tls, STR("a.test"), &l, &out), ERR_LIMIT, "a ceiling");
    report.tls->policies = NULL;
    IS(report_tls_letter(report.tls, STR("a.test"), &l, &out), ERR_STATE, "nothing to report");
    buf_done(&out);
}

int
main(void)
{
    test_forms();
    test_extensions();
    test_refused();
    test_damaged();
    test_ceilings();
    test_zip();
    test_tls();
    test_mails();
    test_write();
    test_letters();
    arena_done(&arena);
    return tap_done();
}
