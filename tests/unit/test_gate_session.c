/*
 * tests/unit/test_gate_session.c - the whole gate from a client's side: mail accepted and read back
 * from the log, mail refused, large and abandoned mail, a full log, limits, the end.
 */
#include "gate/inner.h"
#include "gate_rig.h"

static const char plain_conf[] =
    "hostname = mx.gate.test\n"
    "trusted = 127.0.0.2\n"
    "denied = 127.0.0.66\n"
    "tenant acme { number = 7\n class = bulk\n }\n"
    "listen smtp { address = 127.0.0.1:25 }\n"
    "listen inner { address = 127.0.0.1:26\n kind = trusted\n }\n"
    "domain any.test { inside = smtp://127.0.0.1:1\n tenant = acme\n }\n"
    "domain two.test { inside = smtp://127.0.0.1:1\n }\n"
    "smtp { lookup_client = no\n max_size = 8MB\n"
    "sessions_per_address = 5\n }\n";

static const char body[] = "From: a@far.test\r\nTo: b@any.test\r\nSubject: x\r\n"
                           "Message-ID: <one@far.test>\r\n\r\nHello\r\n..dot\r\n";

static void
test_accept(void)
{
    struct client c;
    struct rig_message *m = rig.messages;
    const char *p;

    if (!rig_start(plain_conf, 10))
        return;
    client_open(&c, 0);
    client_expect(&c, "220 mx.gate.test ESMTP", "greeting");
    talk(&c, "EHLO client.far.test", "250-mx.gate.test");
    OK(last_has("PIPELINING") && last_has("SIZE 8388608") && last_has("CHUNKING"), "extensions");
    OK(!last_has("DSN") && !last_has("AUTH"), "no DSN and no AUTH for strangers");
    send_mail(&c, "a@far.test", "b@any.test", body, "250 2.0.0 Ok: queued as ");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<b@elsewhere.test>", "550 5.7.1");
    OK(last_has("do not accept mail for elsewhere.test"), "says what to do: %s", last);
    talk(&c, "RCPT TO:<postmaster>", "250");
    talk(&c, "RSET", "250");
    talk(&c, "QUIT", "221");
    UNTIL(c.closed);
    OK(c.closed, "and the connection ends");
    client_shut(&c);
    OK(events_have("\"type\":\"Reception\"") && events_have("\"recipient\":\"b@any.test\"") &&
           events_have("\"message_id\":\"<one@far.test>\""),
       "a Reception event");
    OK(events_have("\"type\":\"Rejection\"") && events_have("\"name\":\"not-served\""),
       "a Rejection event with its finding");
    rig_stop();
    if (!OK(rig.nmessages == 1, "one message in the log"))
        return;
    TEXT(str_c(m->sender), "a@far.test", "sender");
    TEXT(str_c(m->rcpts[0]), "b@any.test", "recipient");
    TEXT(str_c(m->via[0]), "inside", "goes inside");
    TEXT(str_c(m->message_id), "<one@far.test>", "message id");
    IS(m->tenant, 7, "tenant of the domain");
    IS(m->class, SPOOL_CLASS_INSIDE, "class inside");
    OK(m->flags == SPOOL_MAIL_INBOUND, "flags");
    IS(m->size, strlen(m->body), "size is that of the bytes");
    OK(str_starts(str_c(m->body),
                  STR("Received: from client.far.test (unknown [127.0.0.1])\r\n\tby "
                      "mx.gate.test with ESMTP id ")),
       "our Received field is first: %s", m->body);
    OK(strstr(m->body, m->id) && strstr(m->body, "for <b@any.test>;"), "with id and recipient");
    p = strstr(m->body, "From: a@far.test");
    OK(p && strcmp(p, "From: a@far.test\r\nTo: b@any.test\r\nSubject: x\r\n"
                      "Message-ID: <one@far.test>\r\n\r\nHello\r\n.dot\r\n") == 0,
       "the rest is the client's, byte for byte");
    rig_end();
}

static void
test_trusted(void)
{
    struct client c;

    if (!rig_start(plain_conf, 10))
        return;
    client_open_from(&c, 1, "127.0.0.2");
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO printer", "250");
    OK(last_has("DSN"), "DSN for trusted clients");
    send_mail(&c, "p@any.test", "x@outside.test", "Subject: y\r\n\r\nbody\r\n", "250");
    client_shut(&c);
    client_open_from(&c, 0, "127.0.0.2");
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO printer", "250");
    talk(&c, "MAIL FROM:<p@any.test>", "250");
    talk(&c, "RCPT TO:<x@outside.test>", "550 5.7.1");
    client_shut(&c);
    client_open(&c, 1);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO stranger.test", "250");
    talk(&c, "MAIL FROM:<p@any.test>", "250");
    talk(&c, "RCPT TO:<x@outside.test>", "550 5.7.1");
    client_shut(&c);
    client_open_from(&c, 0, "127.0.0.66");
    client_expect(&c, "554", "a denied network");
    talk(&c, "EHLO c.far.test", "503 5.5.1");
    talk(&c, "QUIT", "221");
    UNTIL(c.closed);
    OK(c.closed, "may only leave (RFC 5321 3.1)");
    client_shut(&c);
    rig_stop();
    IS(rig.nmessages, 1, "one message");
    OK(strstr(rig.messages[0].body, "\r\nDate: ") &&
           strstr(rig.messages[0].body, "\r\nMessage-ID: <"),
       "Date and Message-ID are added for those who submit");
    OK(rig.messages[0].message_id[0] == '<', "and the id is in the envelope");
    OK(rig.messages[0].flags == (SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_DSN_OK), "flags");
    IS(rig.messages[0].tenant, 7, "tenant of the sender's domain");
    TEXT(str_c(rig.messages[0].via[0]), "", "to the outside");
    TEXT(str_c(rig.messages[0].user), "trusted", "who sent it");
    rig_end();
}

static void
test_pipelining_and_split(void)
{
    struct client c;

    if (!rig_start(plain_conf, 10))
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    client_say(&c, "MAIL FROM:<>\r\nRCPT TO:<a@any.test>\r\nRCPT TO:<b@two.test>\r\n"
                   "RCPT TO:<a@any.test>\r\nDATA\r\n");
    client_expect(&c, "250 2.1.0", "mail");
    client_expect(&c, "250 2.1.5", "rcpt");
    client_expect(&c, "250 2.1.5", "rcpt");
    client_expect(&c, "250 2.1.5", "rcpt");
    client_expect(&c, "354", "data");
    client_say(&c, "\r\nno header\r\n.\r\nMAIL FROM:<x@far.test>\r\nRCPT TO:<c@any.test>\r\n"
                   "DATA\r\n");
    client_expect(&c, "250 2.0.0", "first message");
    client_expect(&c, "250 2.1.0", "mail");
    client_expect(&c, "250 2.1.5", "rcpt");
    client_expect(&c, "354", "data");
    client_say(&c, ".\r\nQUIT\r\n");
    client_expect(&c, "250 2.0.0", "an empty message");
    client_expect(&c, "221", "quit");
    client_shut(&c);
    rig_stop();
    IS(rig.nmessages, 3, "two tenants make two records of the first message");
    OK(rig.messages[0].nrcpt == 1 && rig.messages[1].nrcpt == 1, "equal recipients are one");
    OK(rig.messages[0].tenant == 7 && rig.messages[1].tenant == 0, "each with its tenant");
    TEXT(str_c(rig.messages[0].body), rig.messages[1].body, "the same body");
    OK(!strstr(rig.messages[0].body, "for <"), "no recipient is named when there are several");
    rig_end();
}

/* Lines of 72 pseudo-random letters; n bytes in all, a multiple of 74. */
static char *
make_body(size_t n)
{
    char *b = malloc(n + 1);
    uint64_t x = 88172645463325252u;

    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b[i] = i % 74 == 72 ? '\r' : i % 74 == 73 ? '\n' : (char)('a' + x % 26);
    }
    b[n] = '\0';
    return b;
}

static void
test_large(void)
{
    struct client c;
    char *big = make_body(74 * 60000); /* 4.4 MB: over a segment of 4 MB */
    const char *p;

    if (!rig_start(plain_conf, 20))
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "MAIL FROM:<a@far.test> SIZE=99999999", "552 5.3.4");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<a@any.test>", "250");
    talk(&c, "RCPT TO:<b@two.test>", "250");
    talk(&c, "DATA", "354");
    client_say(&c, "Subject: big\r\nMessage-ID: <big@far.test>\r\n\r\n");
    client_say(&c, big);
    client_say(&c, ".\r\n");
    client_expect(&c, "250 2.0.0", "4.4 MB in chunks");
    send_mail(&c, "a@far.test", "a@any.test", "Subject: small\r\n\r\nsmall\r\n", "250");
    client_shut(&c);
    rig_stop();
    if (!OK(rig.nmessages == 3, "two records of it, and a small one"))
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct rig_message *m = &rig.messages[i];

        OK(m->flags & SPOOL_MAIL_CHUNKED, "chunked");
        TEXT(str_c(m->message_id), "<big@far.test>", "message id");
        IS(m->size, strlen(m->body), "size");
        p = strstr(m->body, "\r\n\r\n");
        OK(p && strcmp(p + 4, big) == 0, "byte for byte");
    }
    free(big);
    rig_end();
}

/* Several large messages in little memory: clients wait, nothing is refused, nothing is mixed up.
 */
static void
test_memory(void)
{
    struct client c[4];
    char *big = make_body(74 * 40000);
    const char *p;

    if (!rig_start("hostname = mx.gate.test\nlisten smtp { address = 127.0.0.1:25 }\n"
                   "smtp { lookup_client = no\n }\n"
                   "domain any.test { inside = smtp://127.0.0.1:1\n }\n",
                   40))
        return;
    rig.gate->blocks.ceiling = 2u << 20;
    for (unsigned i = 0; i < 4; i++) {
        client_open(&c[i], 0);
        client_expect(&c[i], "220", "greeting");
        talk(&c[i], "EHLO c.far.test", "250");
        talk(&c[i], "MAIL FROM:<a@far.test>", "250");
        talk(&c[i], "RCPT TO:<a@any.test>", "250");
        talk(&c[i], "DATA", "354");
    }
    for (unsigned i = 0; i < 4; i++) {
        client_say(&c[i], "Subject: big\r\n\r\n");
        client_say(&c[i], big);
        client_say(&c[i], ".\r\n");
    }
    for (unsigned i = 0; i < 4; i++) {
        client_expect(&c[i], "250 2.0.0", "12 MB through 2 MB of memory");
        client_shut(&c[i]);
    }
    rig_stop();
    IS(rig.nmessages, 4, "four messages");
    for (unsigned i = 0; i < rig.nmessages; i++) {
        p = strstr(rig.messages[i].body, "\r\n\r\n");
        OK(p && strcmp(p + 4, big) == 0, "byte for byte");
    }
    free(big);
    rig_end();
}

static void
test_bdat(void)
{
    struct client c;

    if (!rig_start(plain_conf, 10))
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    client_say(&c, "MAIL FROM:<a@far.test> BODY=8BITMIME\r\nRCPT TO:<a@any.test>\r\n"
                   "BDAT 14\r\nSubject: b\r\n\r\nBDAT 7 LAST\r\n.\r\n\xc3\xa4\r\n");
    client_expect(&c, "250 2.1.0", "mail");
    client_expect(&c, "250 2.1.5", "rcpt");
    client_expect(&c, "250 2.0.0 14", "a chunk");
    client_expect(&c, "250 2.0.0 Ok: queued as", "the last chunk");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<nobody@not.ours.test>", "550");
    client_say(&c, "BDAT 5 LAST\r\nabc\r\n");
    client_expect(&c, "503", "no recipients, and the octets are eaten");
    talk(&c, "RSET", "250");
    client_shut(&c);
    rig_stop();
    if (OK(rig.nmessages == 1, "one message")) {
        OK(str_ends(str_c(rig.messages[0].body), STR("Subject: b\r\n\r\n.\r\n\xc3\xa4\r\n")),
           "byte for byte");
        OK(rig.messages[0].flags & SPOOL_MAIL_8BIT, "8 bit");
    }
    rig_end();
}

static void
test_abandoned(void)
{
    struct spool_writer_stats stats;
    struct client c;
    char *big = make_body(74 * 10000);

    if (!rig_start(plain_conf, 20))
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<a@any.test>", "250");
    talk(&c, "DATA", "354");
    client_say(&c, "Subject: big\r\n\r\n");
    client_say(&c, big);
    UNTIL((spool_writer_stats(rig.writer, &stats), stats.records > 0));
    OK(stats.records > 0, "a chunk is on disk before the message is whole");
    client_shut(&c);
    UNTIL(gate_sessions(rig.gate) == 0);
    IS(gate_sessions(rig.gate), 0, "the session is gone");
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    send_mail(&c, "a@far.test", "a@any.test", "Subject: small\r\n\r\nsmall\r\n", "250");
    client_shut(&c);
    free(big);
    UNTIL((spool_writer_stats(rig.writer, &stats), stats.records > 3));
    rig_stop();
    IS(rig.nmessages, 1, "the abandoned message is none");
    IS(rig.nvoid, 1, "and its chunks are void");
    rig_end();
}

static void
test_full(void)
{
    struct client c;
    char *big = make_body(74 * 60000);

    if (!rig_start(plain_conf, 1))
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<a@any.test>", "250");
    talk(&c, "DATA", "354");
    client_say(&c, "Subject: big\r\n\r\n");
    client_say(&c, big);
    client_say(&c, ".\r\n");
    client_expect(&c, "452 4.3.1", "the log is full");
    OK(last_has("nothing was kept"), "and says so: %s", last);
    free(big);
    gate_space(rig.gate, 0, 1u << 30, false);
    talk(&c, "MAIL FROM:<a@far.test>", "452 4.3.1");
    gate_space(rig.gate, 1u << 30, 1u << 30, true);
    client_shut(&c);
    OK(events_have("\"code\":452"), "an event of it");
    rig_stop();
    IS(rig.nmessages, 0, "nothing was kept");
    rig_end();
}

static void
test_limits(void)
{
    struct client c[7];

    if (!rig_start(plain_conf, 10))
        return;
    for (unsigned i = 0; i < 7; i++) {
        client_open(&c[i], 0);
        client_expect(&c[i], i < 5 ? "220" : "421 4.3.2", "sessions of one address");
    }
    for (unsigned i = 0; i < 7; i++)
        client_shut(&c[i]);
    UNTIL(gate_sessions(rig.gate) == 0);
    client_open(&c[0], 0);
    client_expect(&c[0], "220", "when they are gone there is room again");
    client_shut(&c[0]);
    rig_stop();
    rig_end();
}

/* Eight /24 of one /16, of which none passes a limit of its own. */
static void
test_wide_limit(void)
{
    static const char wide[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25 }\n"
                               "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                               "smtp { lookup_client = no\n sessions_per_network = 2\n"
                               "sessions_per_wide_network = 6\n }\n";
    struct client c[9];
    char from[32];

    if (!rig_start(wide, 10))
        return;
    for (unsigned i = 0; i < 8; i++) {
        str_fmt(from, sizeof(from), "127.9.%u.1", i);
        client_open_from(&c[i], 0, from);
        client_expect(&c[i], i < 6 ? "220" : "421 4.3.2", "sessions of one wide network");
    }
    client_open_from(&c[8], 0, "127.10.0.1");
    client_expect(&c[8], "220", "another one has room");
    for (unsigned i = 0; i < 9; i++)
        client_shut(&c[i]);
    UNTIL(gate_sessions(rig.gate) == 0);
    client_open_from(&c[0], 0, "127.9.0.1");
    client_expect(&c[0], "220", "when they are gone there is room again");
    client_shut(&c[0]);
    rig_stop();
    rig_end();
}

static void
test_dsn_offer(void)
{
    static const char text[] = "hostname = mx.gate.test\n"
                               "listen smtp { address = 127.0.0.1:25 }\n"
                               "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                               "smtp { lookup_client = no\n dsn = everybody\n }\n";
    struct client c;

    if (!rig_start(text, 10))
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO client.far.test", "250");
    OK(last_has("DSN"), "DSN for strangers when the settings say so");
    talk(&c, "MAIL FROM:<a@far.test> RET=HDRS", "250");
    talk(&c, "RCPT TO:<b@any.test> NOTIFY=SUCCESS", "250");
    talk(&c, "DATA", "354");
    talk(&c, "Subject: x\r\n\r\n.", "250");
    client_shut(&c);
    rig_stop();
    if (OK(rig.nmessages == 1, "one message"))
        OK(!(rig.messages[0].flags & (SPOOL_MAIL_DSN_OK | SPOOL_MAIL_SUBMITTED)),
           "which lets no report out");
    rig_end();
}

static bool stopped;

static void
on_stopped(void *ctx)
{
    (void)ctx;
    stopped = true;
}

static void
test_stop(void)
{
    struct client idle, busy;

    if (!rig_start(plain_conf, 10))
        return;
    client_open(&idle, 0);
    client_expect(&idle, "220", "greeting");
    client_open(&busy, 0);
    client_expect(&busy, "220", "greeting");
    talk(&busy, "EHLO c.far.test", "250");
    talk(&busy, "MAIL FROM:<a@far.test>", "250");
    talk(&busy, "RCPT TO:<a@any.test>", "250");
    gate_stop(rig.gate, 5 * NS_PER_S, on_stopped, NULL);
    client_expect(&idle, "421 4.3.2", "an idle session is closed");
    talk(&busy, "DATA", "354");
    client_say(&busy, "Subject: last\r\n\r\nlast\r\n.\r\n");
    client_expect(&busy, "250 2.0.0", "a message under way is taken");
    client_expect(&busy, "421 4.3.2", "then that session is closed too");
    client_shut(&idle);
    client_shut(&busy);
    UNTIL(stopped);
    OK(stopped, "and the gate says that it has stopped");
    rig_stop();
    IS(rig.nmessages, 1, "the last message is in the log");
    rig_end();
}

static void
test_timeout(void)
{
    struct client c;

    if (!rig_start(
            "hostname = mx.gate.test\nlisten smtp { address = 127.0.0.1:25 }\n"
            "smtp { timeout_command = 200ms\n timeout_data = 100ms\n lookup_client = no\n }\n"
            "domain any.test { inside = smtp://127.0.0.1:1\n }\n",
            10))
        return;
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    client_expect(&c, "421 4.4.2", "a client that says nothing");
    client_shut(&c);
    client_open(&c, 0);
    client_expect(&c, "220", "greeting");
    talk(&c, "EHLO c.far.test", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<a@any.test>", "250");
    talk(&c, "DATA", "354");
    client_expect(&c, "421 4.4.2", "a message that does not come");
    client_shut(&c);
    rig_stop();
    rig_end();
}

int
main(void)
{
    alarm(120);
    test_accept();
    test_trusted();
    test_pipelining_and_split();
    test_large();
    test_memory();
    test_bdat();
    test_abandoned();
    test_full();
    test_limits();
    test_wide_limit();
    test_dsn_offer();
    test_stop();
    test_timeout();
    return tap_done();
}
