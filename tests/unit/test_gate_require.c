/*
 * tests/unit/test_gate_require.c - `require = authenticated` through a whole gate: refusals with
 * words, and whom they spare; reports about mail that we sent; switched off as a whole.
 */
#include "gate_dns.h"
#include "store/secret.h"

#define BASE                                                                                       \
    "hostname = mx.gate.test\n"                                                                    \
    "trusted = 127.0.0.2\n"                                                                        \
    "listen smtp { address = 127.0.0.1:25 }\n"                                                     \
    "listen inner { address = 127.0.0.1:26\n kind = trusted\n }\n"                                 \
    "domain any.test { inside = smtp://127.0.0.1:1\n }\n"                                          \
    "smtp { lookup_client = no\n }\n"

static const char conf[] = BASE "require = authenticated\n"
                                "known = legacy.test 127.0.0.9\n"
                                "verify { reports = fbl@any.test\n }\n";

static const char zone[] = "far.test. IN TXT \"v=spf1 ip4:127.0.0.3 -all\"\n"
                           "far.test. IN A 127.0.0.3\n"
                           "ed._domainkey.far.test. IN TXT \"" DNS_KEY_RECORD "\"\n"
                           "spam.test. IN A 127.0.0.4\n"
                           "legacy.test. IN A 127.0.0.9\n";

#define REPORT "Content-Type: multipart/report;\r\n report-type=delivery-status; boundary=x\r\n"

static struct client c;

static void
hello(unsigned port, const char *from)
{
    client_open_from(&c, port, from);
    client_expect(&c, "220 mx.gate.test ESMTP", "greeting");
    talk(&c, "EHLO [127.0.0.1]", "250-mx.gate.test");
}

/* A report that returns a message with that id, and with that tag if any, in a Received field. */
static const char *
report(const char *from, const char *id, const char *tag)
{
    static char text[4000];

    str_fmt(text, sizeof(text),
            "From: MAILER-DAEMON@%s\r\n" REPORT "\r\n--x\r\n\r\nIt failed.\r\n--x\r\n"
            "Content-Type: text/rfc822-headers\r\n\r\n"
            "Received: from mail.far.test (mail.far.test [192.0.2.1])\r\n"
            "\tby mx.far.test with ESMTP id 12345;\r\n\tMon, 23 Nov 2026 13:39:08 +0000\r\n"
            "Received: from client (unknown [127.0.0.2])\r\n"
            "\tby mx.gate.test with ESMTP id %s%s%s%s;\r\n\tMon, 23 Nov 2026 13:39:08 +0000\r\n"
            "Subject: x\r\n--x--\r\n",
            from, id, *tag ? "\r\n\t(return " : "", tag, *tag ? ")" : "");
    return text;
}

/* What the keeper publishes: a key for tags. */
static struct snapshot snapshot;

static void
publish(void)
{
    struct snapshot_builder *b = snapshot_build(1);
    char value[8 + SECRET_BYTES];

    memset(value, 7, sizeof(value));
    snapshot_add(b, SNAPSHOT_SECRET, STR(SECRET_RETURNS), str_of(value, sizeof(value)));
    OK(snapshot_map(&snapshot, snapshot_finish(b)) == 0, "a snapshot");
    gate_set_snapshot(rig.gate, &snapshot);
}

static void
test_require(void)
{
    static const char far[] = "From: a@far.test\r\nSubject: x\r\n\r\nHello\r\n";
    static const char spam[] = "From: a@spam.test\r\nSubject: x\r\n\r\nHello\r\n";

    hello(0, "127.0.0.3");
    send_mail(&c, "a@far.test", "b@any.test", far, "250 2.0.0");
    client_shut(&c);
    hello(0, "127.0.0.4");
    send_mail(&c, "a@far.test", "b@any.test", far, "550 5.7.23 Mail from far.test is taken only");
    OK(last_has("sign it with DKIM, d=far.test") && last_has("127.0.0.4") &&
           last_has("postmaster@mx.gate.test"),
       "what would help, and whom to ask");
    send_mail(&c, "a@spam.test", "b@any.test", spam, "550 5.7.26");
    OK(events_have("\"check\":\"alignment\",\"name\":\"unproved\""), "told");
    send_mail(&c, "a@spam.test", "abuse@any.test", spam, "250 2.0.0");
    send_mail(&c, "a@spam.test", "Postmaster@any.test", spam, "250 2.0.0");
    talk(&c, "MAIL FROM:<a@spam.test>", "250");
    talk(&c, "RCPT TO:<abuse@any.test>", "250");
    talk(&c, "RCPT TO:<b@any.test>", "250");
    talk(&c, "DATA", "354");
    client_say(&c, spam);
    client_say(&c, ".\r\n");
    client_expect(&c, "550 5.7.26", "others beside abuse: no exception");
    send_mail(&c, "", "fbl@any.test", "From: fbl@spam.test\r\n" REPORT "\r\nx\r\n", "250 2.0.0");
    send_mail(&c, "", "fbl@any.test", "From: fbl@spam.test\r\n\r\nno report\r\n", "550 5.7.26");
    send_mail(&c, "", "b@any.test", "From: fbl@spam.test\r\n" REPORT "\r\nx\r\n", "451 4.4.3");
    client_shut(&c);
    hello(0, "127.0.0.9");
    send_mail(&c, "a@legacy.test", "b@any.test", "From: a@legacy.test\r\n\r\nx\r\n", "250 2.0.0");
    client_shut(&c);
    hello(1, "127.0.0.2");
    send_mail(&c, "a@spam.test", "b@any.test", spam, "250 2.0.0");
    client_shut(&c);
}

static void
test_returned(void)
{
    char id[SPOOL_ID_TEXT], tag[64] = "", body[400];
    const char *queued, *at;

    hello(0, "127.0.0.4");
    send_mail(&c, "", "b@any.test", report("far.test", "x", ""), "451 4.4.3");
    publish(); /* the keeper's first word: until then nobody can tell */
    send_mail(&c, "", "b@any.test", report("far.test", "x", ""), "550 5.7.26");
    client_shut(&c);
    hello(1, "127.0.0.2");
    send_mail(&c, "B@any.test", "a@far.test", "From: b@any.test\r\n\r\nours\r\n", "250 2.0.0");
    queued = strstr(last, "queued as ");
    str_fmt(id, sizeof(id), "%.26s", queued ? queued + 10 : "");
    client_shut(&c);
    rig_read_log();
    at = NULL;
    for (unsigned i = 0; i < rig.nmessages && !at; i++) {
        str_fmt(body, sizeof(body), "%s", rig.messages[i].body);
        at = strcmp(rig.messages[i].id, id) == 0 ? strstr(body, "(return ") : NULL;
        OK(!strstr(body, "(return ") || at, "strangers' mail has no tag");
    }
    if (!OK(at, "what is submitted carries a tag"))
        return;
    str_fmt(tag, sizeof(tag), "%.20s", at + 8);
    hello(0, "127.0.0.4");
    send_mail(&c, "", "b@any.test", report("far.test", id, tag), "250 2.0.0");
    OK(events_have("\"check\":\"alignment\",\"name\":\"return\""), "a report about our mail");
    send_mail(&c, "", "b@any.test", report("far.test", id, ""), "550 5.7.26");
    send_mail(&c, "", "other@any.test", report("far.test", id, tag), "550 5.7.26");
    send_mail(&c, "", "b@any.test", report("any.test", id, tag), "550 5.7.26");
    send_mail(&c, "a@spam.test", "b@any.test", report("far.test", id, tag), "550 5.7.26");
    talk(&c, "MAIL FROM:<>", "250");
    talk(&c, "RCPT TO:<b@any.test>", "250");
    talk(&c, "RCPT TO:<other@any.test>", "250");
    talk(&c, "DATA", "354");
    client_say(&c, report("far.test", id, tag));
    client_say(&c, ".\r\n");
    client_expect(&c, "550 5.7.26", "a tag vouches to its sender alone");
    tag[19] = tag[19] == 'a' ? 'b' : 'a';
    send_mail(&c, "", "b@any.test", report("far.test", id, tag), "550 5.7.26");
    client_shut(&c);
}

/* A stranger whose own domain passes SPF wants to be shown as somebody else: whatever two readers
 * could read differently proves nobody. */
static void
test_attack_authors_that_readers_differ_about(void)
{
    static const char *const tricks[] = {
        "From: a@bank.test\r\nFrom: a@far.test\r\n",
        "From: a@far.test\r\nFrom: a@bank.test\r\n",
        "From : a@bank.test\r\nFrom: a@far.test\r\n",
        "FROM: a@bank.test\r\nfrom: a@far.test\r\n",
        "From: a@far.test\r\nFrom:\r\n",
        "From: a@bank.test, a@far.test\r\n",
        "From: a@far.test, a@bank.test\r\n",
        "From: a@far.test,\r\n a@bank.test\r\n",
        "From: <a@far.test>, <a@bank.test>\r\n",
        "From: a@bank.test <a@far.test>\r\n",
        "From: <a@bank.test> <a@far.test>\r\n",
        "From: a@bank.test\r\n <a@far.test>\r\n",
        "From: a@bank.test;a@far.test\r\n",
        "From: g:a@bank.test;, a@far.test\r\n",
        "From: a@bank.test(a@far.test\r\n",
        "From: a@bank.test%far.test\r\n",
        "From: a@bank.test\\@far.test\r\n",
        "From: a@bank.test a@far.test\r\n",
        "From: \"a@bank.test <a@far.test>\r\n",
        "From: <a@bank.test\r\n",
        "From: a@far.test@bank.test\r\n",
        "From: a@\r\n",
        "From: a\r\n",
        "From: undisclosed:;\r\n",
        "Sender: a@far.test\r\n",
        "From a@far.test\r\nSubject: an old mailbox line\r\n",
    };
    char text[400];

    for (size_t i = 0; i < ARRAY_LEN(tricks); i++) {
        hello(0, "127.0.0.3");
        str_fmt(text, sizeof(text), "%sSubject: x\r\n\r\nHello\r\n", tricks[i]);
        send_mail(&c, "a@far.test", "b@any.test", text, "550 5.7.");
        client_shut(&c);
    }
}

/* Behind another gate that has done it: nothing is asked and nothing written. What that gate has
 * written stays if it is a trusted network; from anybody else it is forged. */
static void
test_off(void)
{
    static const char text[] = "Authentication-Results: mx.gate.test; spf=pass\r\n"
                               "X-Gapura-Verdict: pass\r\n"
                               "X-Spam-Flag: YES\r\nFrom: a@spam.test\r\n\r\nHello\r\n";
    const struct rig_message *m = rig.messages;
    unsigned asked;

    if (!dns_start(zone) || !rig_start(BASE "require = observe\nverify { mode = off\n }\n", 8))
        return;
    hello(0, "127.0.0.4");
    asked = dns.asked;
    send_mail(&c, "a@spam.test", "b@any.test", text, "250 2.0.0");
    IS(dns.asked, asked, "nothing is asked");
    client_shut(&c);
    hello(0, "127.0.0.2");
    send_mail(&c, "a@spam.test", "b@any.test", text, "250 2.0.0");
    client_shut(&c);
    rig_stop();
    if (OK(rig.nmessages == 2, "two messages")) {
        OK(str_starts(str_c(m[0].body), STR("Received: ")) && !strstr(m[0].body, "X-Spam-Flag") &&
               !strstr(m[0].body, "Authentication-Results") && !strstr(m[0].body, "X-Gapura") &&
               strstr(m[0].body, "\r\nFrom: a@spam.test\r\n\r\nHello\r\n"),
           "what a stranger says in our name is taken out");
        OK(strstr(m[1].body, "X-Spam-Flag: YES") && strstr(m[1].body, "X-Gapura-Verdict: pass") &&
               strstr(m[1].body, "Authentication-Results: mx.gate.test; spf=pass"),
           "what a trusted gate in front has written stays");
    }
    dns_end();
}

int
main(void)
{
    alarm(120);
    if (dns_start(zone) && rig_start(conf, 20)) {
        test_require();
        test_returned();
        test_attack_authors_that_readers_differ_about();
        gate_set_snapshot(rig.gate, NULL);
        snapshot_unmap(&snapshot);
        rig_stop();
        dns_end();
    }
    test_off();
    return tap_done();
}
