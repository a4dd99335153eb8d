/*
 * tests/unit/test_gate_xclient.c - a proxy speaks for others (XCLIENT): the session is then theirs,
 * limits, login and trust included.
 */
#include "gate/inner.h"
#include "gate_rig.h"
#include "store/users.h"

static const char text[] = "hostname = mx.gate.test\n"
                           "trusted = 127.0.0.2, 127.0.0.3, 192.0.2.0/24\n"
                           "denied = 203.0.113.66\n"
                           "listen smtp { address = 127.0.0.1:25\n kind = trusted\n"
                           "xclient = 127.0.0.3\n }\n"
                           "domain any.test { inside = smtp://127.0.0.1:1\n }\n"
                           "smtp { lookup_client = no\n sessions_per_address = 1\n }\n";

static void
publish_login(struct snapshot *ret, const char *login)
{
    struct snapshot_builder *b = snapshot_build(1);
    struct buf value;

    buf_init(&value, 4096);
    user_rights_encode(&value, &(struct user_rights){.class = SPOOL_CLASS_TRANSACTIONAL});
    snapshot_add(b, SNAPSHOT_USER, str_c(login), buf_view(&value));
    buf_done(&value);
    OK(snapshot_map(ret, snapshot_finish(b)) == 0, "a snapshot");
    gate_set_snapshot(rig.gate, ret);
}

/* What it may not say, and who may not say anything. Leaves the proxy's session open. */
static void
refused(struct client *c)
{
    client_open(c, 0);
    client_expect(c, "220", "greeting");
    talk(c, "EHLO client.far.test", "250");
    OK(!last_has("XCLIENT"), "not for everybody");
    talk(c, "XCLIENT ADDR=192.0.2.1", "550 5.7.0");
    client_shut(c);
    client_open_from(c, 0, "127.0.0.3");
    client_expect(c, "220", "greeting");
    talk(c, "EHLO proxy.test", "250");
    OK(last_has("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"), "for the proxy");
    talk(c, "XCLIENT", "501 5.5.4");
    talk(c, "XCLIENT ADDR", "501 5.5.4");
    talk(c, "XCLIENT ADDR=nowhere", "501 5.5.4");
    talk(c, "XCLIENT COLOUR=red", "501 5.5.4");
    talk(c, "XCLIENT PORT=70000", "501 5.5.4");
    talk(c, "XCLIENT LOGIN=+0", "501 5.5.4");
    talk(c, "XCLIENT HELO=+0D+0A", "501 5.5.4");
}

/* The client that the proxy named: its name, its limits, its right to relay. */
static void
as_a_client(struct client *c)
{
    struct client d;

    talk(c,
         "XCLIENT ADDR=198.51.100.7 PORT=4711 NAME=friend+2Efar.test HELO=[UNAVAILABLE] "
         "PROTO=ESMTP DESTADDR=192.0.2.25 DESTPORT=25",
         "220 mx.gate.test");
    talk(c, "MAIL FROM:<a@far.test>", "503");
    talk(c, "EHLO friend.far.test", "250");
    talk(c, "MAIL FROM:<a@far.test>", "250");
    talk(c, "XCLIENT ADDR=192.0.2.1", "503");
    talk(c, "RCPT TO:<b@elsewhere.test>", "550 5.7.1");
    talk(c, "RCPT TO:<postmaster@[192.0.2.25]>", "250");
    talk(c, "RCPT TO:<b@any.test>", "250");
    talk(c, "DATA", "354");
    talk(c, "Subject: x\r\n\r\n.", "250");
    client_open_from(&d, 0, "127.0.0.3");
    client_expect(&d, "220", "the proxy itself has no limit");
    talk(&d, "EHLO proxy.test", "250");
    talk(&d, "XCLIENT ADDR=198.51.100.7", "421 4.3.2");
    client_shut(&d);
    talk(c, "XCLIENT ADDR=203.0.113.66", "554");
    client_shut(c);
}

/* A login is its client's alone, and trust is no proxy's to give. */
static void
as_a_login(struct snapshot *snap)
{
    struct client c;

    client_open_from(&c, 0, "127.0.0.3");
    client_expect(&c, "220", "greeting");
    talk(&c, "XCLIENT ADDR=IPV6:2001:db8::7 LOGIN=Ann HELO=desk.test", "501"); /* not told yet */
    publish_login(snap, "ann");
    talk(&c, "XCLIENT ADDR=IPV6:2001:db8::7 LOGIN=Eve HELO=desk.test", "501 5.5.4");
    talk(&c, "XCLIENT ADDR=IPV6:2001:db8::7 LOGIN=Ann HELO=desk.test", "220");
    talk(&c, "EHLO proxy.test", "250");
    talk(&c, "MAIL FROM:<ann>", "501");
    talk(&c, "MAIL FROM:<>", "250");
    talk(&c, "RCPT TO:<x@elsewhere.test>", "250");
    talk(&c, "RSET", "250");
    talk(&c, "XCLIENT ADDR=198.51.100.9", "220"); /* another client has no login */
    talk(&c, "EHLO proxy.test", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<x@elsewhere.test>", "550 5.7.1");
    talk(&c, "RSET", "250");
    talk(&c, "XCLIENT ADDR=[UNAVAILABLE]", "220"); /* and none has its proxy's trust */
    talk(&c, "EHLO proxy.test", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<x@elsewhere.test>", "550 5.7.1");
    talk(&c, "RSET", "250");
    talk(&c, "XCLIENT LOGIN=[UNAVAILABLE] ADDR=192.0.2.9", "220");
    talk(&c, "EHLO proxy.test", "250");
    talk(&c, "MAIL FROM:<a@far.test>", "250");
    talk(&c, "RCPT TO:<x@elsewhere.test>", "250");
    client_shut(&c);
}

int
main(void)
{
    struct snapshot snap = {0};
    struct rig_message *m = rig.messages;
    struct client c;

    alarm(120);
    if (!rig_start(text, 10))
        return tap_done();
    refused(&c);
    as_a_client(&c);
    as_a_login(&snap);
    UNTIL(gate_sessions(rig.gate) == 0);
    rig_stop();
    if (OK(rig.nmessages == 1, "one message"))
        OK(strstr(m->body, "from friend.far.test (friend.far.test [198.51.100.7])"),
           "Received names the client: %s", m->body);
    rig_end();
    snapshot_unmap(&snap);
    return tap_done();
}
