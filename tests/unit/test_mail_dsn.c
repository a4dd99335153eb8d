/*
 * tests/unit/test_mail_dsn.c - delivery reports read: RFC 3464 and RFC 6533 to the letter and
 * loosely, text forms of many servers, kinds told apart, ceilings held. Collections of real ones
 * are run by tests/support/bounce_suite.c.
 */
#include "mail/dsn_inner.h"
#include "mail/dsn_write.h"
#include "tap.h"

static struct dsn_reader *reader;

static const struct dsn_report *
read_with(struct str message, const struct dsn_limits *limits, size_t piece)
{
    dsn_reader_free(reader);
    reader = NULL;
    if (dsn_reader_create(&reader, limits) < 0)
        return NULL;
    for (size_t at = 0; at < message.n; at += piece)
        dsn_reader_feed(reader, message.p + at, MIN(piece, message.n - at));
    return dsn_reader_end(reader);
}

static const struct dsn_report *
read_text(const char *message)
{
    return read_with(str_c(message), &dsn_limits_default, 4096);
}

/* ---- machine fields ---- */

#define REPORT_HEAD                                                                                \
    "From: MAILER-DAEMON@mx.test\nTo: s@a.test\nSubject: Undelivered\nMIME-Version: 1.0\n"         \
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"

static void
test_fields(void)
{
    const struct dsn_report *r = read_text(
        REPORT_HEAD
        "--b\nContent-Type: text/plain\n\nSorry.\n\n"
        "--b\nContent-Type: message/delivery-status\n\n"
        "Reporting-MTA: dns; mx.test (a comment)\nOriginal-Envelope-Id: QQ1+x\n"
        "Arrival-Date: Mon, 23 Nov 2026 06:44:24 +0000\n\n"
        "Original-Recipient: rfc822;o@b.test\nFinal-Recipient: rfc822; <f@b.test>\n"
        "Action: failed\nStatus: 5.0.0\nRemote-MTA: dns; in.b.test (192.0.2.1)\n"
        "Diagnostic-Code: smtp; 550 5.7.1 no\n  such luck\n"
        "Last-Attempt-Date: Mon, 23 Nov 2026 06:44:25 +0000\n\n"
        "Final-Recipient: rfc822;g@b.test\nAction: delayed\nStatus: 4.4.7 (too old)\n"
        "Will-Retry-Until: Tue, 24 Nov 2026 06:44:24 +0000\n\n"
        "Final-Recipient: x400; /S=h/@b.test\nAction: relayed\nStatus: 2.0.0\n\n"
        "--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@a.test>\nSubject: x\n\nbody\n--b--\n");
    const struct dsn_outcome *o = r->rcpts;

    IS(r->kind, DSN_KIND_FAILURE, "one that failed makes a failure");
    OK(r->machine, "by machine fields");
    IS(r->nrcpt, 3, "three recipients");
    TEXT(r->reporting_mta, "mx.test", "reporting MTA");
    TEXT(r->envid, "QQ1+x", "envelope id");
    IS(r->arrival, 1795416264, "arrival");
    TEXT(r->message_id, "<1@a.test>", "message id of the original");
    TEXT(r->original, "Message-ID: <1@a.test>\r\nSubject: x\r\n\r\n", "its header");
    TEXT(r->from, "MAILER-DAEMON@mx.test", "who reports");
    TEXT(o[0].final, "f@b.test", "final recipient");
    TEXT(o[0].original, "o@b.test", "original recipient");
    IS(o[0].action, DSN_FAILED, "failed");
    IS(o[0].code, 550, "code of the reply");
    TEXT(str_c(o[0].status), "5.7.1", "the reply's enhanced code is finer than the field");
    TEXT(o[0].diagnostic_type, "smtp", "type of the diagnosis");
    TEXT(o[0].reply, "550 5.7.1 no such luck", "the reply in one line");
    TEXT(o[0].remote_mta, "in.b.test", "who said so");
    IS(o[0].last_attempt, 1795416265, "last attempt");
    IS(o[1].action, DSN_DELAYED, "delayed");
    TEXT(str_c(o[1].status), "4.4.7", "status with a comment");
    TEXT(o[1].reply, "too old", "the comment is all that is said");
    IS(o[1].will_retry_until, 1795502664, "until when");
    IS(o[2].action, DSN_RELAYED, "relayed");
    TEXT(o[2].final, "/S=h/@b.test", "another kind of address");
}

static void
test_actions(void)
{
    static const struct {
        const char *action;
        enum dsn_kind kind;
    } rows[] = {
        {"Failed", DSN_KIND_FAILURE},     {"delayed", DSN_KIND_DELAY},
        {"delivered", DSN_KIND_DELIVERY}, {"relayed (to a dark place)", DSN_KIND_RELAY},
        {"expanded", DSN_KIND_EXPANSION}, {"expired", DSN_KIND_FAILURE},
        {"", DSN_KIND_FAILURE},
    };
    char text[1024];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        str_fmt(text, sizeof(text),
                REPORT_HEAD
                "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; m\n\n"
                "Final-Recipient: rfc822; a@b.test\nAction: %s\n--b--\n",
                rows[i].action);
        IS(read_text(text)->kind, rows[i].kind, "action \"%s\"", rows[i].action);
    }
}

static void
test_global(void)
{
    const struct dsn_report *r = read_text(
        REPORT_HEAD "--b\nContent-Type: message/global-delivery-status\n"
                    "Content-Transfer-Encoding: quoted-printable\n\nReporting-MTA: dns; m.test\n\n"
                    "Final-Recipient: utf-8; us=C3=A9r@b.test\nAction: failed\nStatus: 5.1.1\n"
                    "--b\nContent-Type: message/global-headers\n\nMessage-ID: <2@a.test>\n--b--\n");

    TEXT(r->rcpts[0].final, "us\303\251r@b.test", "RFC 6533: an address in UTF-8");
    TEXT(r->message_id, "<2@a.test>", "and the header");
}

/* What we write ourselves says the same when it is read. */
static void
test_own(void)
{
    struct dsn_rcpt rcpt = {.address = STR("us\303\251r@b.test"),
                            .action = DSN_FAILED,
                            .status = "5.1.1",
                            .remote_mta = STR("in.b.test"),
                            .diagnostic = STR("550 5.1.1 nobody"),
                            .last_attempt = 1700000000};
    struct dsn d = {.reporting_mta = STR("mx.test"),
                    .from = STR("Mail <mailer-daemon@mx.test>"),
                    .to = STR("s@a.test"),
                    .envid = STR("e+2B1"),
                    .message_id = STR("<d@mx.test>"),
                    .arrival = 1699999999,
                    .now = 1700000001,
                    .rcpts = &rcpt,
                    .nrcpt = 1,
                    .original = STR("Message-ID: <m@a.test>\r\n\r\n")};

    for (int utf8 = 0; utf8 < 2; utf8++) {
        const struct dsn_report *r;
        struct buf out;

        buf_init(&out, 64u << 10);
        d.utf8 = utf8;
        dsn_write(&out, &d);
        r = read_with(buf_view(&out), &dsn_limits_default, 100);
        IS(r->kind, DSN_KIND_FAILURE, "our own failure, form %d", utf8);
        TEXT(r->envid, "e+1", "its envelope id");
        TEXT(r->message_id, "<m@a.test>", "its message");
        TEXT(r->rcpts[0].final, "us\303\251r@b.test", "its address, in UTF-8 or as \\x{E9}");
        TEXT(r->rcpts[0].reply, "550 5.1.1 nobody", "its reply");
        TEXT(r->rcpts[0].remote_mta, "in.b.test", "who said so");
        IS(r->rcpts[0].last_attempt, 1700000000, "when");
        buf_done(&out);
    }
}

/* Fields without blank lines between recipients, wrong order, no types; in text without a part. */
static void
test_loose(void)
{
    const struct dsn_report *r = read_text(
        REPORT_HEAD "--b\nContent-Type: message/delivery-status\n\n\n\nAction: failed\n"
                    "Final-Recipient: <a@b.test>\nStatus: 5.2.2\nDiagnostic-Code: 552-full\n"
                    "552-up: to the\n552 brim\n"
                    "Action: failed\nFinal-Recipient: c@b.test\nStatus: 5.1.1\n--b--\n");

    IS(r->nrcpt, 2, "two groups in one");
    TEXT(r->rcpts[0].final, "a@b.test", "the first");
    IS(r->rcpts[0].code, 552, "a diagnosis without a type");
    TEXT(r->rcpts[0].reply, "552-full 552-up: to the 552 brim", "lines in a column are its");
    TEXT(r->rcpts[1].final, "c@b.test", "the second");
    TEXT(str_c(r->rcpts[1].status), "5.1.1", "with its own status");
    r = read_text("From: MAILER-DAEMON@x.test\nSubject: Delivery Status Notification (Failure)\n\n"
                  "Technical report:\n\nReporting-MTA: dns; x.test\n\nAction: failed\n"
                  "Final-Recipient: rfc822; a@b.test\nDiagnostic-Code: smtp; 550 5.1.1 who?\n"
                  "Status: 5.1.1\n\nSubject: mine\n");
    IS(r->nrcpt, 1, "fields in text");
    IS(r->rcpts[0].code, 550, "are fields");
}

/* What the fields leave out stands in the text for people. */
static void
test_filled(void)
{
    const struct dsn_report *r = read_text(
        REPORT_HEAD
        "--b\n\n   ----- The following addresses had permanent fatal errors -----\n<a@b.test>\n"
        "    (reason: 77)\n\n   ----- Transcript of session follows -----\n"
        "... while talking to in.b.test.:\n>>> RCPT To:<a@b.test>\n<<< 550-5.2.2 The mailbox is\n"
        "<<< 550 5.2.2 too full\n550 5.1.1 <a@b.test>... User unknown\n"
        "--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.test\n"
        "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: x-unix; 77\n--b--\n");

    IS(r->rcpts[0].code, 550, "code of the transcript");
    TEXT(str_c(r->rcpts[0].status), "5.2.2", "its enhanced code");
    TEXT(r->rcpts[0].reply, "550-5.2.2 The mailbox is 550 5.2.2 too full", "all its lines");
    IS(r->rcpts[0].phase, DSN_PHASE_RCPT, "and what was asked");
}

/* ---- text for people ---- */

struct text_case {
    const char *name, *message;
    enum dsn_kind kind;
    unsigned n;
    struct {
        const char *final;
        uint16_t code;
        const char *status, *says; /* within the reply */
        enum dsn_phase phase;
    } rcpts[2];
};
#define DAEMON "From: MAILER-DAEMON@x.test\nTo: s@a.test\nSubject: failure notice\n\n"
static const struct text_case text_cases[] = {
    {"qmail: two recipients, each with its words",
     DAEMON
     "Hi. This is the qmail-send program at x.test.\nI'm afraid I wasn't able to deliver your "
     "message to the following addresses.\n\n<a@b.test>:\n192.0.2.1 does not like recipient.\n"
     "Remote host said: 550 5.1.1 <a@b.test> nobody\nGiving up on 192.0.2.1.\n\n<c@d.test>:\n"
     "Sorry, I couldn't find any host named d.test. (#5.1.2)\n\n--- Below this line is a copy "
     "of the message.\n\nReturn-Path: <s@a.test>\nMessage-ID: <1@a.test>\n",
     DSN_KIND_FAILURE,
     2,
     {{"a@b.test", 550, "5.1.1", "nobody", DSN_PHASE_RCPT}, {"c@d.test", 0, "5.1.2", "named", 0}}},
    {"Exim: a list by indentation, sender named in front of it",
     DAEMON
     "A message sent by\n\n  <s@a.test>\n\ncould not be delivered to one or more of its "
     "recipients. The following\naddress(es) failed:\n\n  a@b.test\n    SMTP error from remote "
     "mail server after end of data:\n    host in.b.test [192.0.2.1]: 554 5.7.1 spam\n  "
     "c@d.test\n    all hosts for 'd.test' have been failing for a long time\n\nAnother "
     "paragraph, about nobody.\n\n------ This is a copy of the message, including all the "
     "headers. ------\n\nMessage-ID: <1@a.test>\nFrom: s@a.test\n",
     DSN_KIND_FAILURE,
     2,
     {{"a@b.test", 554, "5.7.1", "spam", DSN_PHASE_DOT}, {"c@d.test", 0, "", "long time", 0}}},
    {"Postfix without parts: the words of a reply broken over lines",
     DAEMON "This is the Postfix program at host x.test.\n\n<a@b.test>: host in.b.test[192.0.2.1] "
            "said: 553 5.1.8\n    <s@a.test>: Sender address rejected: Domain not found (in reply "
            "to\n    MAIL FROM command)\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 553, "5.1.8", "Domain not found", DSN_PHASE_MAIL}}},
    {"Notes: the reason stands above the address",
     DAEMON
     "------- Failure Reasons  --------\n\nUser not listed in public Name & Address Book\n"
     "a@b.test\n\nMailbox of that user is full\nc@b.test\n\n------- Returned Message -----\n",
     DSN_KIND_FAILURE,
     2,
     {{"a@b.test", 0, "", "not listed", 0}, {"c@b.test", 0, "", "is full", 0}}},
    {"MailMarshal: the reason stands in front of the list",
     DAEMON "Your message:\n   From:    s@a.test\n   Subject: x\n\nCould not be delivered because "
            "of\n\n550 5.1.1 No such person\n\nThe following recipients were affected:\n   "
            "a@b.test\n\nAdditional Information\n======================\nOriginal Sender: "
            "<s@a.test>\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 550, "5.1.1", "No such person", 0}}},
    {"GMX: no reply code",
     DAEMON
     "This message was created automatically by mail delivery software.\n\nA message that you "
     "sent could not be delivered to one or more of its\nrecipients. The following address "
     "failed:\n\n<a@b.test>\nSMTP error from remote server after RCPT command:\nhost: "
     "in.b.test\n5.1.1 Unknown\n\n--- The header of the original message is following. ---\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 0, "5.1.1", "Unknown", DSN_PHASE_RCPT}}},
    {"Exchange: a date behind the address",
     DAEMON
     "Your message\n\n  To:      a@b.test\n  Subject: x\n\ndid not reach the following "
     "recipient(s):\n\na@b.test on Mon, 23 Nov 2026 06:44:24 +0000\n    The recipient name is "
     "not recognized\n    MSEXCH:IMS:X 0 (000C05A6) Unknown Recipient\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 0, "", "The recipient name is not", 0}}},
    {"sendmail 5: a transcript alone",
     DAEMON
     "   ----- Transcript of session follows -----\nWhile talking to in.b.test:\n>>> MAIL "
     "From:<s@a.test>\n<<< 550 go away\n554 <a@b.test>... Remote protocol error\n550 d.test "
     "(smtp)... 550 Host unknown\n554 <c@d.test>... 550 Host unknown (Authoritative answer)\n"
     "\n   ----- Unsent message follows -----\n",
     DSN_KIND_FAILURE,
     2,
     {{"a@b.test", 550, "", "go away", DSN_PHASE_MAIL}, {"c@d.test", 550, "", "Host unknown", 0}}},
    {"Postfix' notice of a session: all who were asked fail with it",
     "From: MAILER-DAEMON@x.test\nSubject: Postfix SMTP server: errors from h[192.0.2.1]\n\n"
     "Transcript of session follows.\n\n Out: 220 x.test\n In:  MAIL FROM:<s@a.test>\n Out: 250 "
     "ok\n"
     " In:  RCPT TO:<a@b.test>\n Out: 250 ok\n In:  RCPT TO:<c@b.test>\n Out: 250 ok\n In:  DATA\n"
     " Out: 354 go\n Out: 452 4.3.1 no space\n In:  QUIT\n Out: 221 bye\n",
     DSN_KIND_FAILURE,
     2,
     {{"a@b.test", 452, "4.3.1", "no space", DSN_PHASE_DATA},
      {"c@b.test", 452, "4.3.1", "no space", DSN_PHASE_DATA}}},
    {"a sentence that names the recipient",
     "From: Postmaster <postmaster@x.test>\nSubject: Undeliverable Mail\n\nUser mailbox exceeds "
     "allowed size: a@b.test\n\nOriginal message follows.\n\nFrom: z@z.test\nDate: x\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 0, "", "mailbox exceeds", 0}}},
    {"HTML alone",
     "From: Mail Delivery System <x@x.test>\nSubject: Undeliverable: x\nContent-Type: text/html\n\n"
     "<html><head><style>p{a:b}</style></head><body><p>Delivery has failed to these recipients:"
     "</p>\n<p><a href=\"mailto:a@b.test\">a@b.test</a></p><p>The error was:<br>550 5.7.1 "
     "&lt;no&gt;"
     "</p></body></html>\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 550, "5.7.1", "<no>", 0}}},
    {"the last word is that of the server asked in the end",
     DAEMON "<a@b.test>: 554 4.4.7 Message expired: unable to deliver in 840 minutes.<421 4.4.2 "
            "Connection timed out>\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 421, "4.4.2", "timed out", 0}}},
    {"addresses that a header names",
     "From: Mail Delivery <mailer-daemon@x.test>\nX-Failed-Recipients: a@b.test\nSubject: Mail "
     "delivery failed\n\nBonjour s@a.test,\n\nLe groupe n'existe pas.\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 0, "", "n'existe pas", 0}}},
    {"a warning",
     "From: MAILER-DAEMON@x.test\nSubject: Warning: message 1 delayed 24 hours\n\nA message that "
     "you "
     "sent has not yet been delivered to one or more of its\nrecipients.\n\nThe address to which "
     "the message has not yet been delivered is:\n\n  a@b.test\n    Delay reason: Connection "
     "refused\n\nNo action is required on your part.\n",
     DSN_KIND_DELAY,
     1,
     {{"a@b.test", 0, "", "Connection refused", 0}}},
    {"words that no row knows: the only address that is named",
     "From: MAILER-DAEMON@x.test\nTo: s@a.test\nSubject: Returned mail: x\n\nWe looked for "
     "a@b.test in vain.\nAsk support@x.test.\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 0, "", "in vain", 0}}},
    {"a report that names nobody",
     "From: MAILER-DAEMON@x.test\nSubject: Undelivered Mail Returned to Sender\n\n--- Delivery "
     "report unavailable ---\n",
     DSN_KIND_FAILURE,
     1,
     {{"", 0, "", "", 0}}},
    {"a report that a person forwards",
     "From: p@a.test\nSubject: Fwd: look\nContent-Type: multipart/mixed; "
     "boundary=f\n\n--f\n\nSee.\n"
     "--f\nContent-Type: message/rfc822\n\n" DAEMON "<a@b.test>:\n550 5.1.1 no\n--f--\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 550, "5.1.1", "no", 0}}},
    {"GMX: recipients in quotation marks, each with its words",
     DAEMON "A message that you sent could not be delivered to\none or more of its recipients.\n"
            "The following addresses failed:\n\n\"a@b.test\":\ndelivery retry timeout exceeded\n\n"
            "\"c@d.test\":\nSMTP error from remote server after RCPT command:\nhost: in.d.test\n"
            "5.1.1 <c@d.test>... nobody\n\n--- The header of the original message is following. "
            "---\n\nFrom: s@a.test\nTo: a@b.test\nMessage-ID: <1@a.test>\n",
     DSN_KIND_FAILURE,
     2,
     {{"a@b.test", 0, "", "delivery retry", 0},
      {"c@d.test", 0, "5.1.1", "nobody", DSN_PHASE_RCPT}}},
    {"a reply whose first word counts other things",
     DAEMON "The following address(es) failed:\n\n  a@b.test\n    SMTP error from remote mail "
            "server after RCPT TO:<a@b.test>:\n    host in.b.test [192.0.2.1]: 550 Message was not "
            "accepted, 451 messages wait\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 550, "", "550 Message was", DSN_PHASE_RCPT}}},
    {"JSON of a sending service, in the envelope of its notices",
     "From: no-reply@sns.x.test\nSubject: Notification\n\n{\"Type\":\"Notification\",\"Message\":"
     "\"{\\\"notificationType\\\":\\\"Bounce\\\",\\\"bounce\\\":{\\\"bounceType\\\":"
     "\\\"Permanent\\\","
     "\\\"bouncedRecipients\\\":[{\\\"emailAddress\\\":\\\"a@b.test\\\",\\\"status\\\":\\\"5.1."
     "1\\\","
     "\\\"diagnosticCode\\\":\\\"smtp; 550 5.1.1 unknown\\\"}]},\\\"mail\\\":{\\\"messageId\\\":"
     "\\\"e1\\\"}}\"}\n--\nunsubscribe\n",
     DSN_KIND_FAILURE,
     1,
     {{"a@b.test", 550, "5.1.1", "unknown", 0}}},
};

static void
test_texts(void)
{
    for (size_t i = 0; i < ARRAY_LEN(text_cases); i++) {
        const struct text_case *c = &text_cases[i];
        const struct dsn_report *r = read_text(c->message);

        IS(r->kind, c->kind, "%s: kind", c->name);
        IS(r->nrcpt, c->n, "%s: recipients", c->name);
        for (unsigned k = 0; k < c->n && k < r->nrcpt; k++) {
            const struct dsn_outcome *o = &r->rcpts[k];

            TEXT(o->final, c->rcpts[k].final, "%s: address", c->name);
            IS(o->code, c->rcpts[k].code, "%s: code", c->name);
            TEXT(str_c(o->status), c->rcpts[k].status, "%s: status", c->name);
            if (!OK(str_find(o->reply, str_c(c->rcpts[k].says)) >= 0, "%s: words", c->name))
                printf("#   %.*s\n", STR_ARG(o->reply));
            if (c->rcpts[k].phase)
                IS(o->phase, c->rcpts[k].phase, "%s: phase", c->name);
        }
    }
}

/* ---- kinds ---- */

static void
test_kinds(void)
{
    static const struct {
        const char *name, *message;
        enum dsn_kind kind;
    } rows[] = {
        {"a letter", "From: p@a.test\nSubject: Hello\n\nWrite to q@b.test: 550 5.1.1\n", 0},
        {"a letter that quotes a bounce",
         "From: p@a.test\nSubject: Re: Undelivered Mail Returned to Sender\nIn-Reply-To: <x@y>\n\n"
         "> <a@b.test>: 550 5.1.1 unknown\n",
         0},
        {"a postmaster's letter", "From: postmaster@a.test\nSubject: Welcome\n\nWrite to me.\n", 0},
        {"nothing", "", 0},
        {"a vacation",
         "From: p@a.test\nSubject: Re: x\nAuto-Submitted: auto-replied\n\nI am away.\n",
         DSN_KIND_AUTO_REPLY},
        {"one that quotes a letter about a report",
         "From: p@a.test\nSubject: Re: x\nAuto-Submitted: auto-replied\n\nI am away. You wrote:\n\n"
         "Final-Recipient: rfc822; p@a.test\nAction: failed\nStatus: 5.1.1\n",
         DSN_KIND_AUTO_REPLY},
        {"a letter with the fields of a report",
         "From: p@a.test\nSubject: What is this\n\nFinal-Recipient: rfc822; q@a.test\nAction: "
         "failed\n"
         "Status: 5.1.1\n",
         0},
        {"an Exchange one", "From: p@a.test\nSubject: Automatic reply: x\n\nOut.\n",
         DSN_KIND_AUTO_REPLY},
        {"a German one",
         "From: p@a.test\nSubject: =?utf-8?Q?Abwesenheitsnotiz=3A_x?=\n\nIch bin weg.\n",
         DSN_KIND_AUTO_REPLY},
        {"a Japanese one", "From: p@a.test\nSubject: =?utf-8?B?6Ieq5YuV5b+c562U?=: x\n\nx\n",
         DSN_KIND_AUTO_REPLY},
        {"an old one", "From: p@a.test\nSubject: Re: x\nPrecedence: auto_reply\n\nx\n",
         DSN_KIND_AUTO_REPLY},
        {"a letter about a vacation", "From: p@a.test\nSubject: Vacation schedule\n\nI am away.\n",
         0},
        {"a newsletter of a program",
         "From: p@a.test\nSubject: News\nAuto-Submitted: auto-generated"
         "\n\nx\n",
         0},
        {"a challenge",
         "From: p@a.test\nSubject: Please confirm your message\nAuto-Submitted: "
         "auto-replied\n\nReply "
         "to this message to confirm that you are a real person.\n",
         DSN_KIND_CHALLENGE},
        {"TMDA",
         "From: p@a.test\nSubject: Please confirm your message\nX-Delivery-Agent: TMDA/1.0\n\nx\n",
         DSN_KIND_CHALLENGE},
        {"a letter of somebody who has TMDA",
         "From: p@a.test\nSubject: Re: x\nX-Delivery-Agent: TMDA/0.57\n\nx\n", 0},
        {"a mail program's way out of a list",
         "From: p@a.test\nSubject: unsubscribe\n\nApple Mail sent this email to unsubscribe from "
         "the "
         "message.\n",
         DSN_KIND_FEEDBACK},
        {"sendmail's success",
         "From: MAILER-DAEMON@x.test\nSubject: Return receipt\n\n   ----- The following addresses "
         "had successful delivery notifications -----\n<a@b.test>  (successfully delivered to "
         "mailbox)\n",
         DSN_KIND_DELIVERY},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        IS(read_text(rows[i].message)->kind, rows[i].kind, "%s", rows[i].name);
}

/* ---- bounds ---- */

/* A session that ends in a refusal is no delivery, whatever words stand around it. */
static void
test_no_success(void)
{
    const struct dsn_report *r = read_text(
        "From: \"Daemon at mx.test\" <mailer-daemon@mx.test>\nTo: s@a.test\n"
        "Subject: Permanent Delivery Failure\n\n"
        "After one or more unsuccessful delivery attempts the message was removed from the queue.\n"
        "\nFailed address: f@b.test\n\n--- Session Transcript ---\n"
        " Thu 23:34:40: --> RCPT To:<f@b.test>\n"
        " Thu 23:34:41: <-- 550 5.1.1 <f@b.test>: User unknown\n--- End Transcript ---\n");

    IS(r->kind, DSN_KIND_FAILURE, "unsuccessful delivery is no successful one");
    OK(r->nrcpt == 1 && r->rcpts[0].action == DSN_FAILED && r->rcpts[0].code == 550, "but failed");
}

static void
test_line_ends(void)
{
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    struct buf text;

    for (size_t e = 0; e < ARRAY_LEN(ends); e++)
        for (size_t piece = 1; piece < 40; piece += 13) {
            const struct dsn_report *r;

            buf_init(&text, 64u << 10);
            for (const char *p = text_cases[0].message; *p; p++)
                if (*p == '\n')
                    buf_c(&text, ends[e]);
                else
                    buf_char(&text, *p);
            r = read_with(buf_view(&text), &dsn_limits_default, piece);
            OK(r->nrcpt == 2 && r->rcpts[0].code == 550 && r->original.n,
               "line ends %zu in pieces of %zu", e, piece);
            buf_done(&text);
        }
}

static void
test_ceilings(void)
{
    struct dsn_limits small = dsn_limits_default;
    const struct dsn_report *r;
    struct buf text;

    buf_init(&text, 4u << 20);
    buf_c(&text, REPORT_HEAD "--b\nContent-Type: message/delivery-status\n\n");
    for (unsigned i = 0; i < 2000; i++)
        buf_fmt(&text, "Final-Recipient: rfc822; u%u@b.test\nAction: failed\nStatus: 5.1.1\n\n", i);
    r = read_with(buf_view(&text), &dsn_limits_default, 4096);
    IS(r->nrcpt, 1000, "recipients up to the ceiling");
    OK(r->cut, "and that is told");
    small.rcpts = 3;
    small.reply = 10;
    r = read_with(buf_view(&text), &small, 4096);
    IS(r->nrcpt, 3, "a smaller one");
    small.memory = 20000;
    r = read_with(buf_view(&text), &small, 4096);
    OK(r->nrcpt <= 3, "little memory: what fits");
    for (size_t piece = 1; piece < 5000; piece = 3 * piece + 1) {
        small = dsn_limits_default;
        small.status = 930; /* ends within an address, wherever the pieces end */
        r = read_with(buf_view(&text), &small, piece);
        OK(r->nrcpt == 13 && r->cut, "cut at the ceiling in pieces of %zu", piece);
        OK(r->nrcpt && str_ends(r->rcpts[r->nrcpt - 1].final, STR("@b.test")), "within no address");
    }
    buf_clear(&text);
    buf_c(&text, DAEMON);
    for (unsigned i = 0; i < 20000; i++)
        buf_fmt(&text, "<u%u@b.test>:\n550 5.1.1 no such user here at all\n\n", i);
    small = dsn_limits_default;
    r = read_with(buf_view(&text), &small, 4096);
    OK(r->nrcpt && r->nrcpt <= small.rcpts && r->cut, "a long text is read as far as it may");
    buf_done(&text);
}

/* Steps that a report takes, for each byte of it. */
static double
steps_per_byte(const struct buf *text)
{
    (void)read_with(buf_view(text), &dsn_limits_default, 4096);
    return (double)dsn_reader_steps(reader) / (double)text->n;
}

/* Reports made to be slow: many recipients about whom one long text speaks. */
static void
make_slow(struct buf *b, unsigned shape, unsigned n)
{
    buf_clear(b);
    buf_c(b, "From: MAILER-DAEMON@x.test\nTo: s@a.test\nSubject: Undelivered mail\n");
    if (shape == 0) {
        buf_c(b, "X-Failed-Recipients: ");
        for (unsigned i = 0; i < n; i++)
            buf_fmt(b, "%su%u@b.test", i ? ", " : "", i);
        buf_c(b, "\n\nThe mail could not be delivered.\n");
        for (unsigned i = 0; i < 40 * n; i++)
            buf_c(b, "We are sorry for that. ");
        return;
    }
    buf_c(b, "\n");
    for (unsigned i = 0; shape == 1 && i < 20 * n; i++)
        buf_c(b, "The server has refused it, 550 5.7.1 no.\n");
    if (shape == 1)
        buf_c(b, "\n");
    if (shape == 2)
        buf_c(b, "   ----- Transcript of session follows -----\n");
    for (unsigned i = 0; i < n; i++)
        buf_fmt(b, shape == 1 ? "  u%u@b.test\n" : ">>> RCPT TO:<u%u@b.test>\n<<< 250 ok\n", i);
    for (unsigned i = 0; shape == 2 && i < 200; i++)
        buf_c(b, i ? "<<< 550-5.7.1 refused for reasons\n" : ">>> DATA\n");
}

static void
test_steps(void)
{
    struct buf text;

    buf_init(&text, 4u << 20);
    for (unsigned shape = 0; shape < 3; shape++) {
        double few, many;

        make_slow(&text, shape, 50);
        few = steps_per_byte(&text);
        make_slow(&text, shape, 200);
        many = steps_per_byte(&text);
        OK(dsn_reader_end(reader)->nrcpt >= 50, "shape %u: recipients are found", shape);
        OK(few > 0 && many < 1.5 * few + 1 && many < 20,
           "shape %u: %.1f steps a byte for 50 recipients, %.1f for 200", shape, few, many);
    }
    buf_clear(&text);
    buf_c(&text, DAEMON);
    for (unsigned i = 0; i < 40000; i++)
        buf_c(&text, "x@[");
    (void)read_with(buf_view(&text), &dsn_limits_default, 4096);
    OK(true, "addresses without an end are left alone");
    buf_done(&text);
}

/* A file that stands in a text by uuencode: the text goes on behind it, in its charset. */
static void
test_file_in_text(void)
{
    const struct dsn_report *r =
        read_text("From: MAILER-DAEMON@x.test\nTo: s@a.test\nSubject: Undelivered mail\n"
                  "MIME-Version: 1.0\nContent-Type: text/plain; charset=windows-1251\n\n"
                  "Sorry.\n\nbegin 644 a.txt\n#0V%T\n`\nend\n\n"
                  "begin 644 b.txt\n#0V%T\n`\nend\n\n"
                  "<f@b.test>: 550 5.1.1 unknown\n");

    OK(r->nrcpt == 1 && r->rcpts[0].code == 550, "what stands behind files is read");
}

int
main(void)
{
    test_fields();
    test_actions();
    test_global();
    test_own();
    test_loose();
    test_filled();
    test_texts();
    test_kinds();
    test_no_success();
    test_line_ends();
    test_ceilings();
    test_steps();
    test_file_in_text();
    dsn_reader_free(reader);
    return tap_done();
}
