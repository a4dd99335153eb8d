/*
 * tests/unit/test_mail_arf.c - feedback reports: every field read, old drafts and odd values borne,
 * what is written is read again and cannot break out of its lines.
 */
#include "mail/dsn.h"
#include "tap.h"

static struct arf
parse(struct arena *arena, const char *fields, int want, const char *name)
{
    struct arf a = {.incidents = 0};

    IS(arf_parse(&a, str_c(fields), arena), want, "%s", name);
    return a;
}

static void
test_fields(void)
{
    struct arena arena;
    struct arf a;

    arena_init(&arena, 1u << 20);
    a = parse(&arena,
              "Feedback-Type: Abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n"
              "Original-Mail-From: <somespammer@example.net>\r\n"
              "Original-Rcpt-To: <user@example.com>\r\nOriginal-Rcpt-To: b@example.com\r\n"
              "Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT\r\n"
              "Reporting-MTA: dns; mail.example.com\r\nSource-IP: 192.0.2.1\r\n"
              "Authentication-Results: mail.example.com;\r\n spf=fail\r\n"
              "Reported-Domain: example.net\r\nReported-Uri: http://example.net/earn.html\r\n"
              "Reported-Uri: mailto:user@example.com\r\nIncidents: 3\r\n"
              "Original-Envelope-Id: QQ314159\r\nAuth-Failure: dmarc\r\n"
              "Delivery-Result: reject\r\nX-Unknown: y\r\n",
              1, "a whole report is one");
    TEXT(a.type, "abuse", "type in lower case");
    TEXT(a.user_agent, "SomeGenerator/1.0", "user agent");
    TEXT(a.version, "1", "version");
    TEXT(a.mail_from, "somespammer@example.net", "sender without brackets");
    IS(a.rcpts.n, 2, "both recipients");
    TEXT(a.rcpts.items[0], "user@example.com", "the first");
    TEXT(a.rcpts.items[1], "b@example.com", "the second");
    OK(a.arrival == 1110304800, "arrival by its zone");
    TEXT(a.reporting_mta, "mail.example.com", "MTA without its type");
    OK(a.has_source && addr_is_v4(&a.source), "source address");
    TEXT(a.auth_results, "mail.example.com; spf=fail", "unfolded");
    IS(a.uris.n, 2, "two URIs");
    TEXT(a.domains.items[0], "example.net", "domain");
    IS(a.incidents, 3, "incidents");
    TEXT(a.envid, "QQ314159", "envelope id");
    TEXT(a.auth_failure, "dmarc", "RFC 6591: what failed");
    TEXT(a.delivery_result, "reject", "RFC 6591: what became of it");
    OK(a.whole, "all that the RFC demands is there");
    arena_done(&arena);
}

static void
test_wild(void)
{
    struct arena arena;
    struct arf a;

    arena_init(&arena, 1u << 20);
    a = parse(&arena,
              "\n\nUser-Agent: x\nReceived-Date: Thu, 14 Dec 2023 17:16:15 +0100\n\n"
              "Feedback-Type: opt-out junk\nSource-IP: x.x.x.x\nOriginal-Mail-From: <>\n",
              1, "blank lines between fields, bare LF, an old draft's date");
    IS(a.arrival, 1702570575, "Received-Date is the arrival");
    TEXT(a.type, "opt-out", "the first word is the type");
    OK(!a.has_source && a.source_text.n, "a hidden address stays text");
    OK(a.has_mail_from && !a.mail_from.n, "the null sender");
    OK(!a.whole, "no version");
    IS(a.incidents, 1, "one, if it is not told");
    a = parse(&arena, "Feedback-Type: \4\r\nVersion: 1\1\r\nUser-Agent: x\177y\r\n", 1,
              "control characters");
    OK(!a.type.n && !a.whole, "a type of them is none");
    TEXT(a.version, "1", "they are white space");
    TEXT(a.user_agent, "x y", "within too");
    (void)parse(&arena, "Subject: x\r\nVersion: 1\r\n", 0, "one field that many have is no report");
    (void)parse(&arena, "", 0, "nothing is none");
    arena_done(&arena);
}

static void
test_ceilings(void)
{
    struct arena arena;
    struct buf text;
    struct arf a;

    arena_init(&arena, 4u << 20);
    buf_init(&text, 1u << 20);
    buf_c(&text, "Feedback-Type: abuse\r\n");
    for (unsigned i = 0; i < 3000; i++)
        buf_fmt(&text, "Original-Rcpt-To: u%u@a.test\r\n", i);
    IS(arf_parse(&a, buf_view(&text), &arena), 1, "thousands of recipients");
    IS(a.rcpts.n, ARF_LIST_MAX, "up to the ceiling");
    TEXT(a.rcpts.items[999], "u999@a.test", "in order");
    arena_done(&arena);
    arena_init(&arena, 4096);
    OK(arf_parse(&a, buf_view(&text), &arena) < 0, "without memory it says so");
    arena_done(&arena);
    buf_done(&text);
}

static struct dsn_reader *
reader_of(struct str message, const struct dsn_report **ret)
{
    struct dsn_reader *r;

    if (dsn_reader_create(&r, &dsn_limits_default) < 0)
        return NULL;
    dsn_reader_feed(r, message.p, message.n);
    *ret = dsn_reader_end(r);
    return r;
}

static void
test_written(void)
{
    struct str rcpts[] = {STR("u@b.test"), STR("v@b.test\r\nBcc: x@y.test")};
    struct arf a = {.type = STR("fraud"),
                    .user_agent = STR("Gapura/1"),
                    .has_mail_from = true,
                    .mail_from = STR("s@c.test"),
                    .rcpts = {rcpts, 2},
                    .has_source = true,
                    .arrival = 1700000000,
                    .envid = STR("e1"),
                    .incidents = 2};
    struct arf_message m = {.from = STR("Abuse <abuse@b.test>"),
                            .to = STR("fbl@c.test"),
                            .message_id = STR("<1@b.test>"),
                            .now = 1700000100,
                            .report = &a,
                            .original =
                                STR("From: s@c.test\r\nMessage-ID: <m@c.test>\r\n\r\nbody\r\n"),
                            .original_whole = true};
    const struct dsn_report *r;
    struct dsn_reader *reader;
    struct buf out;

    OK(addr_parse(STR("192.0.2.7"), &a.source) == 0, "a source");
    buf_init(&out, 64u << 10);
    arf_write(&out, &m);
    OK(!out.failed && str_find(buf_view(&out), STR("\nBcc:")) < 0, "no line of a stranger's");
    reader = reader_of(buf_view(&out), &r);
    IS(r->kind, DSN_KIND_FEEDBACK, "it is read as a complaint");
    TEXT(r->feedback->type, "fraud", "its type");
    TEXT(r->feedback->mail_from, "s@c.test", "its sender");
    IS(r->nrcpt, 2, "its recipients");
    TEXT(r->rcpts[0].final, "u@b.test", "the first");
    IS(r->feedback->arrival, 1700000000, "arrival");
    IS(r->feedback->incidents, 2, "incidents");
    OK(addr_eq(&r->feedback->source, &a.source), "source");
    TEXT(r->message_id, "<m@c.test>", "the message that it is about");
    TEXT(r->envid, "e1", "its envelope id");
    OK(r->feedback->whole, "whole by RFC 5965");
    dsn_reader_free(reader);
    buf_clear(&out);
    m.original_whole = false;
    m.text = STR("We saw this.");
    arf_write(&out, &m);
    OK(str_find(buf_view(&out), STR("\r\nbody")) < 0, "the header alone, if so wanted");
    reader = reader_of(buf_view(&out), &r);
    TEXT(r->message_id, "<m@c.test>", "which is found too");
    dsn_reader_free(reader);
    buf_done(&out);
}

static void
test_without_part(void)
{
    static const char jmrp[] =
        "From: <staff@hotmail.com>\nSubject:  complaint about message from "
        "192.0.2.2\nTo: fbl@a.test\nMIME-Version: 1.0\nContent-Type: "
        "multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        "X-HmXmrOriginalRecipient: u@hotmail.test\nTo: list@a.test\n"
        "Message-ID: <1@a.test>\nFrom: n@a.test\n\nHi\n--b--\n";
    const struct dsn_report *r;
    struct dsn_reader *reader = reader_of(str_c(jmrp), &r);

    IS(r->kind, DSN_KIND_FEEDBACK, "a complaint without fields");
    TEXT(r->feedback->type, "abuse", "its type");
    IS(r->nrcpt, 1, "who complained");
    TEXT(r->rcpts[0].final, "u@hotmail.test", "by the provider's own field");
    TEXT(r->message_id, "<1@a.test>", "about which message");
    dsn_reader_free(reader);
}

static void
test_in_text(void)
{
    static const char text[] =
        "From: fbl@b.test\nSubject: Abuse\n\nA complaint.\n\nUser-Agent: x\n"
        "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: u@b.test\n\nBye\n";
    static const char quoted[] = "From: p@b.test\nSubject: ARF\n\nIt has a field\nFeedback-Type: "
                                 "abuse\nand others.\n";
    const struct dsn_report *r;
    struct dsn_reader *reader = reader_of(str_c(text), &r);

    IS(r->kind, DSN_KIND_FEEDBACK, "fields in the text of a mail, if all are there");
    TEXT(r->rcpts[0].final, "u@b.test", "who complained");
    dsn_reader_free(reader);
    reader = reader_of(str_c(quoted), &r);
    IS(r->kind, DSN_KIND_NONE, "a letter about them is none");
    dsn_reader_free(reader);
}

int
main(void)
{
    test_fields();
    test_wild();
    test_ceilings();
    test_written();
    test_without_part();
    test_in_text();
    return tap_done();
}
