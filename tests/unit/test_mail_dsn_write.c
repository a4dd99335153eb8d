/*
 * tests/unit/test_mail_dsn_write.c - delivery reports are taken apart again: structure, fields that
 * RFC 3464 demands, the UTF-8 form, and input that tries to break out.
 */
#include "mail/dsn_write.h"

#include "tap.h"

static const struct dsn_rcpt failed_rcpt = {
    .address = STR("b@x.example"),
    .orcpt = STR("rfc822;B+2Bb@x.example"),
    .action = DSN_FAILED,
    .status = "5.1.1",
    .remote_mta = STR("mx.x.example"),
    .diagnostic = STR("550 5.1.1 No such user here\nask postmaster@x.example about it, or look at "
                      "https://x.example/a/rather/long/address/to/look/at"),
    .reason = STR("The server does not know this address."),
    .last_attempt = 1795416264,
};

static struct dsn
plain_dsn(const struct dsn_rcpt *rcpts, size_t n)
{
    return (struct dsn){
        .reporting_mta = STR("out.example.com"),
        .from = STR("Mail Delivery System <mailer-daemon@out.example.com>"),
        .to = STR("a@y.example"),
        .envid = STR("QQ+3D314"),
        .id = STR("01abc"),
        .message_id = STR("<1.dsn@out.example.com>"),
        .arrival = 1795416000,
        .now = 1795416300,
        .rcpts = rcpts,
        .nrcpt = n,
        .original = STR("From: a@y.example\r\nSubject: hello\r\n\r\nbody\r\n"),
    };
}

/* --- a reader of its own --- */

struct parts {
    struct str head, text, report, original;
    struct str type[3]; /* of the parts */
    bool good;
};

static bool
field(struct str head, const char *name, struct str *ret)
{
    size_t n = strlen(name);

    while (head.n) {
        ssize_t end = str_find(head, STR("\r\n"));
        struct str line;

        while (end >= 0 && (size_t)end + 2 < head.n &&
               (head.p[end + 2] == ' ' || head.p[end + 2] == '\t')) {
            ssize_t more = str_find(str_from(head, (size_t)end + 2), STR("\r\n"));

            end = more < 0 ? -1 : end + 2 + more;
        }
        line = end < 0 ? head : str_sub(head, 0, (size_t)end);
        if (str_istarts(line, str_of(name, n)) && line.n > n && line.p[n] == ':') {
            *ret = str_trim(str_from(line, n + 1));
            return true;
        }
        head = end < 0 ? STR_NONE : str_from(head, (size_t)end + 2);
    }
    return false;
}

static struct str
until(struct str *rest, struct str mark)
{
    ssize_t at = str_find(*rest, mark);
    struct str before = at < 0 ? *rest : str_sub(*rest, 0, (size_t)at);

    *rest = at < 0 ? STR_NONE : str_from(*rest, (size_t)at + mark.n);
    return before;
}

static struct parts
take_apart(struct str message)
{
    struct parts p = {.good = true};
    struct str rest = message, type, boundary, bodies[3];
    char delimiter[80];

    p.head = until(&rest, STR("\r\n\r\n"));
    if (!field(p.head, "Content-Type", &type))
        return (struct parts){0};
    until(&type, STR("boundary=\""));
    boundary = until(&type, STR("\""));
    str_fmt(delimiter, sizeof(delimiter), "--%.*s", STR_ARG(boundary));
    until(&rest, str_c(delimiter)); /* preamble */
    for (int i = 0; i < 3; i++) {
        struct str part = until(&rest, str_c(delimiter)), head;

        p.good = p.good && str_starts(part, STR("\r\n")) && str_ends(part, STR("\r\n"));
        part = str_sub(part, 2, part.n - 4);
        head = until(&part, STR("\r\n\r\n"));
        p.good = p.good && field(head, "Content-Type", &p.type[i]);
        bodies[i] = part;
    }
    p.good = p.good && str_eq(rest, STR("--\r\n"));
    p.text = bodies[0];
    p.report = bodies[1];
    p.original = bodies[2];
    return p;
}

#define FIELD(head, name, want)                                                                    \
    do {                                                                                           \
        struct str value_ = STR_NONE;                                                              \
        OK(field(head, name, &value_), "%s is there", name);                                       \
        TEXT(value_, want, "  %s", name);                                                          \
    } while (0)

static void
test_failed(void)
{
    struct dsn d = plain_dsn(&failed_rcpt, 1);
    struct str per_message, per_rcpt, value;
    struct parts p;
    struct buf out;

    buf_init(&out, 100000);
    dsn_write(&out, &d);
    OK(!out.failed, "written");
    OK(str_is_ascii(buf_view(&out)), "in ASCII");
    p = take_apart(buf_view(&out));
    OK(p.good, "three parts, well delimited");
    FIELD(p.head, "From", "Mail Delivery System <mailer-daemon@out.example.com>");
    FIELD(p.head, "To", "<a@y.example>");
    FIELD(p.head, "Date", "Mon, 23 Nov 2026 06:45:00 +0000");
    FIELD(p.head, "Message-ID", "<1.dsn@out.example.com>");
    FIELD(p.head, "Auto-Submitted", "auto-replied");
    FIELD(p.head, "MIME-Version", "1.0");
    OK(field(p.head, "Subject", &value), "Subject is there");
    OK(field(p.head, "Content-Type", &value) &&
           str_starts(value, STR("multipart/report; report-type=delivery-status;")),
       "multipart/report");
    TEXT(p.type[0], "text/plain; charset=us-ascii", "for people");
    TEXT(p.type[1], "message/delivery-status", "for programs");
    TEXT(p.type[2], "text/rfc822-headers", "headers returned");
    OK(str_find(p.text, STR("b@x.example")) >= 0, "people see the address");
    OK(str_find(p.text, STR("does not know this address")) >= 0, "and the reason");
    OK(str_find(p.text, STR("01abc")) >= 0, "and the number");
    TEXT(p.original, "From: a@y.example\r\nSubject: hello\r\n", "the header alone");
    per_rcpt = p.report;
    per_message = until(&per_rcpt, STR("\r\n\r\n"));
    FIELD(per_message, "Reporting-MTA", "dns; out.example.com");
    FIELD(per_message, "Original-Envelope-Id", "QQ=314");
    FIELD(per_message, "Arrival-Date", "Mon, 23 Nov 2026 06:40:00 +0000");
    FIELD(per_rcpt, "Original-Recipient", "rfc822;B+b@x.example");
    FIELD(per_rcpt, "Final-Recipient", "rfc822; b@x.example");
    FIELD(per_rcpt, "Action", "failed");
    FIELD(per_rcpt, "Status", "5.1.1");
    FIELD(per_rcpt, "Remote-MTA", "dns; mx.x.example");
    FIELD(per_rcpt, "Last-Attempt-Date", "Mon, 23 Nov 2026 06:44:24 +0000");
    OK(field(per_rcpt, "Diagnostic-Code", &value) &&
           str_starts(value, STR("smtp; 550 5.1.1 No such user here")),
       "Diagnostic-Code is there");
    OK(!field(per_rcpt, "Will-Retry-Until", &value), "no more retries");
    buf_done(&out);
}

static void
test_lines(void)
{
    struct dsn_rcpt r = failed_rcpt;
    struct dsn d = plain_dsn(&r, 1);
    char blob[3000];
    size_t longest = 0, bol = 0;
    bool clean = true;
    struct buf out;

    memset(blob, 'x', sizeof(blob));
    r.diagnostic = str_of(blob, sizeof(blob));
    r.reason = str_of(blob, sizeof(blob));
    buf_init(&out, 100000);
    dsn_write(&out, &d);
    for (size_t i = 0; i < out.n; i++) {
        clean = clean && (out.p[i] != '\n' || (i && out.p[i - 1] == '\r'));
        clean = clean && (out.p[i] != '\r' || (i + 1 < out.n && out.p[i + 1] == '\n'));
        if (out.p[i] == '\n') {
            longest = MAX(longest, i + 1 - bol);
            bol = i + 1;
        }
    }
    OK(clean, "every line ends in CRLF");
    OK(longest <= 1000, "no line over 1000 bytes (%zu)", longest);
    buf_done(&out);
}

static void
test_kinds(void)
{
    static const struct {
        enum dsn_action action;
        const char *name, *status;
    } rows[] = {{DSN_FAILED, "failed", "5.0.0"},
                {DSN_DELAYED, "delayed", "4.0.0"},
                {DSN_DELIVERED, "delivered", "2.0.0"},
                {DSN_RELAYED, "relayed", "2.0.0"},
                {DSN_EXPANDED, "expanded", "2.0.0"}};
    struct dsn_rcpt rcpts[5];
    struct dsn d = plain_dsn(rcpts, 5);
    struct str rest, value;
    struct parts p;
    struct buf out;

    memset(rcpts, 0, sizeof(rcpts));
    for (size_t i = 0; i < 5; i++) {
        rcpts[i].address = STR("b@x.example");
        rcpts[i].action = rows[i].action;
        memcpy(rcpts[i].status, i % 2 ? "nonsense" : "5..1", i % 2 ? 9 : 5);
        rcpts[i].will_retry_until = 1795416264;
    }
    buf_init(&out, 100000);
    dsn_write(&out, &d);
    p = take_apart(buf_view(&out));
    OK(p.good, "five kinds in one report");
    FIELD(p.head, "Subject", "Undelivered mail returned to sender");
    rest = p.report;
    until(&rest, STR("\r\n\r\n"));
    for (size_t i = 0; i < 5; i++) {
        struct str group = until(&rest, STR("\r\n\r\n"));

        FIELD(group, "Action", rows[i].name);
        FIELD(group, "Status", rows[i].status);
        IS(field(group, "Will-Retry-Until", &value), rows[i].action == DSN_DELAYED,
           "retry only when delayed");
    }
    buf_done(&out);
}

static void
test_utf8(void)
{
    struct dsn_rcpt r = failed_rcpt;
    struct dsn d = plain_dsn(&r, 1);
    struct str value;
    struct parts p;
    struct buf out;

    r.address = STR("j\xc3\xb6rg@b\xc3\xbc"
                    "cher.example");
    r.orcpt = STR("utf-8;j\\x{F6}rg@x.example");
    r.diagnostic = STR("550 kein Empf\xc3\xa4nger");
    d.utf8 = true;
    d.original_whole = true;
    d.original = STR("Subject: gr\xc3\xbc\xc3\x9f\x65\r\n\r\nhallo");
    buf_init(&out, 100000);
    dsn_write(&out, &d);
    p = take_apart(buf_view(&out));
    OK(p.good, "UTF-8 form: three parts");
    OK(str_is_utf8(buf_view(&out)), "all of it UTF-8");
    FIELD(p.head, "Content-Transfer-Encoding", "8bit");
    TEXT(p.type[0], "text/plain; charset=utf-8", "for people");
    TEXT(p.type[1], "message/global-delivery-status", "for programs");
    TEXT(p.type[2], "message/global", "whole message returned");
    FIELD(p.report, "Reporting-MTA", "dns; out.example.com");
    until(&p.report, STR("\r\n\r\n"));
    FIELD(p.report, "Original-Recipient", "utf-8;j\\x{F6}rg@x.example");
    FIELD(p.report, "Final-Recipient",
          "utf-8; j\xc3\xb6rg@b\xc3\xbc"
          "cher.example");
    FIELD(p.report, "Diagnostic-Code", "smtp; 550 kein Empf\xc3\xa4nger");
    TEXT(p.original, "Subject: gr\xc3\xbc\xc3\x9f\x65\r\n\r\nhallo\r\n", "message closed by CRLF");

    char wide[1802] = "x"; /* so that no line of 900 bytes ends with a character */
    for (size_t i = 1; i + 1 < sizeof(wide); i += 2)
        memcpy(wide + i, "\xc3\xa4", 2);
    r.diagnostic = str_of(wide, 1801);
    buf_clear(&out);
    dsn_write(&out, &d);
    size_t from = 0, bad = 0;
    for (size_t i = 0; i < out.n; i++) {
        if (out.p[i] != '\n')
            continue;
        bad += !str_is_utf8(str_of(out.p + from, i - from)) || i - from > 999;
        from = i + 1;
    }
    IS(bad, 0, "a word that is longer than a line is cut between characters");
    r.diagnostic = STR("550 kein Empf\xc3\xa4nger");

    d.utf8 = false;
    buf_clear(&out);
    dsn_write(&out, &d);
    p = take_apart(buf_view(&out));
    TEXT(p.type[2], "message/rfc822", "ASCII form: message/rfc822");
    until(&p.report, STR("\r\n\r\n"));
    FIELD(p.report, "Final-Recipient", "utf-8; j\\x{F6}rg@b\\x{FC}cher.example");
    FIELD(p.report, "Diagnostic-Code", "smtp; 550 kein Empf?nger");
    OK(str_is_ascii(p.report) && str_is_ascii(p.text), "nothing but ASCII but what is returned");
    r.address = STR("j\xc3\xb6rg+a=b\\c@x.example");
    buf_clear(&out);
    dsn_write(&out, &d);
    p = take_apart(buf_view(&out));
    until(&p.report, STR("\r\n\r\n"));
    FIELD(p.report, "Final-Recipient", "utf-8; j\\x{F6}rg\\x{2B}a\\x{3D}b\\x{5C}c@x.example");
    OK(field(p.head, "Content-Transfer-Encoding", &value), "which makes the message 8-bit");
    buf_done(&out);
}

static void
test_hostile(void)
{
    struct dsn_rcpt r = failed_rcpt;
    struct dsn d = plain_dsn(&r, 1), e;
    struct str value;
    struct buf out, again;
    struct parts p;

    r.diagnostic = STR("550 x\r\nStatus: 2.0.0\r\n\r\n--=_gapura_0\r\n");
    r.remote_mta = STR("mx\r\nAction: delivered");
    r.reason = STR("look\r\n--\r\nhere");
    r.orcpt = STR("rfc822;a+0D+0AAction: delivered");
    d.to = STR("a@y.example>\r\nBcc: all@x.example");
    d.envid = STR("+0D+0AX: y");
    buf_init(&out, 100000);
    buf_init(&again, 100000);
    dsn_write(&out, &d);
    p = take_apart(buf_view(&out));
    OK(p.good, "still three parts");
    OK(!field(p.head, "Bcc", &value), "no header added");
    until(&p.report, STR("\r\n\r\n"));
    FIELD(p.report, "Action", "failed");
    FIELD(p.report, "Status", "5.1.1");
    OK(!field(p.report, "Original-Recipient", &value), "a broken ORCPT is not repeated");
    OK(str_find(buf_view(&out), STR("X: y")) < 0, "nor a broken ENVID");

    /* What is returned holds the boundary that would be taken. */
    e = plain_dsn(&failed_rcpt, 1);
    e.original_whole = true;
    e.original = buf_view(&out);
    e.now = d.now;
    dsn_write(&again, &e);
    p = take_apart(buf_view(&again));
    OK(p.good, "a report inside a report has another boundary");
    TEXT(str_of(p.original.p, MIN(p.original.n, 5U)), "From:", "and comes back whole");
    buf_done(&again);
    buf_done(&out);

    buf_init(&out, 500);
    dsn_write(&out, &d);
    OK(out.failed, "the ceiling is seen");
    buf_done(&out);
}

int
main(void)
{
    test_failed();
    test_lines();
    test_kinds();
    test_utf8();
    test_hostile();
    return tap_done();
}
