"""The guard: what comes in, what is refused and how, and the ways to the inside server."""
import socket
import sqlite3
import struct

import pytest

from common import STRANGER, guard, stranger, trusted
from gapura import until
from peers import Slapd
from smtp import Closed, Smtp, message


def rcpt(g, to, sender="alice@example.com", who=stranger):
    """The reply to RCPT of a stranger."""
    with who(g) as c:
        assert c.cmd(f"MAIL FROM:<{sender}>").code == 250
        return c.cmd(f"RCPT TO:<{to}>")


def test_mail_goes_inside_unchanged(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net))
    text = message(body="line\n.dot\n..\n" + "x" * 900 + "\nlast without end")
    with stranger(g) as c:
        assert c.mail("alice@example.com", ["bob@inside.test", "carol@inside.test"], text).code == 250
    one = inside.wait(1)[0]
    assert one.sender == "alice@example.com"
    assert one.recipients == ["bob@inside.test", "carol@inside.test"]
    ours, rest = one.data.split(b"\r\nFrom:", 1)
    assert b"From:" + rest == text.replace("\n", "\r\n").encode() + b"\r\n"
    received = one.header("Received")[0]
    assert "from client.test" in received and "by mx.gapura.test" in received and net.ip(STRANGER) in received
    assert not one.header("Return-Path")
    g.wait_event("Delivery", recipient="bob@inside.test")
    g.wait_empty()


@pytest.mark.parametrize("to", ["bob@elsewhere.test", "bob%elsewhere.test@elsewhere.test", "bob@sub.inside.test",
                                "@inside.test:bob@elsewhere.test"])
def test_wrong_domain(gapura, net, to):
    g = gapura(guard(net))
    reply = rcpt(g, to)
    assert reply.code == 550 and reply.enhanced == "5.7.1", reply
    assert "elsewhere.test" in reply.text or "sub.inside.test" in reply.text
    g.wait_event("Rejection")


@pytest.mark.parametrize("domain", ["recipients = any", "recipients = callout"])
def test_no_way_through_the_inside(gapura, sink, net, domain):
    """An inside server that trusts us would send these on: to strangers we were an open relay."""
    sink(2)
    g = gapura(guard(net, domain))
    for to in ("bob%elsewhere.test@inside.test", "elsewhere.test!bob@inside.test", '"bob@elsewhere.test"@inside.test',
               "bob%elsewhere.test%inside.test@inside.test", "@a.test:bob%elsewhere.test@inside.test"):
        reply = rcpt(g, to)
        assert (reply.code, reply.enhanced) == (550, "5.7.1"), (to, reply)
        assert rcpt(g, to, who=trusted).code == 250 or domain.endswith("callout")
    assert until(lambda: (lambda r: r.code != 451 and r)(rcpt(g, "bob@inside.test"))).code == 250


def test_recipient_table(gapura, place, sink, net):
    inside = sink(2)
    (place / "table").write_text("# people\nbob\ncarol@inside.test\n")
    g = gapura(guard(net, f"recipients = table\nrecipient_table = {place}/table\ndelimiter = +"))
    assert rcpt(g, "bob@inside.test").code == 250
    assert rcpt(g, "BOB@Inside.Test").code == 250
    assert rcpt(g, "carol@inside.test").code == 250
    assert rcpt(g, "bob+list@inside.test").code == 250
    reply = rcpt(g, "dave@inside.test")
    assert reply.code == 550 and reply.enhanced == "5.1.1", reply
    assert rcpt(g, "dave@elsewhere.test").enhanced == "5.7.1"
    assert rcpt(g, "postmaster@inside.test").code == 250
    assert rcpt(g, "postmaster").code == 250
    # The table is read again when it changes.
    (place / "table").write_text("dave\n")
    until(lambda: rcpt(g, "dave@inside.test").code == 250, what="the new table")
    until(lambda: rcpt(g, "bob@inside.test").code == 550, what="the new table")
    with stranger(g) as c:
        assert c.mail("alice@example.com", "dave@inside.test", message()).code == 250
    assert inside.wait(1)[0].recipients == ["dave@inside.test"]


def test_recipients_from_sqlite(gapura, place, net):
    with sqlite3.connect(place / "mail.db") as db:
        db.execute("create table boxes (address text primary key, goto text)")
        db.executemany("insert into boxes values (?, ?)", [("bob@inside.test", ""), ("carol@inside.test", None)])
    (place / "mail.db").chmod(0o644)
    g = gapura(guard(net, f"recipients = sqlite\nrecipient_table = {place}/mail.db\n"
                          'recipient_query = "select 1 from boxes where address = ?1"\nlookup_ttl = 1s'))
    assert rcpt(g, "bob@inside.test").code == 250
    assert rcpt(g, "dave@inside.test").enhanced == "5.1.1"
    with sqlite3.connect(place / "mail.db") as db:
        db.execute("insert into boxes values ('dave@inside.test', '')")
    until(lambda: rcpt(g, "dave@inside.test").code == 250, what="a new row")


def test_recipients_from_ldap(gapura, peer, net):
    directory = peer(Slapd, (net.ip(8), 3899), {"bob": "bob@inside.test"})
    g = gapura(guard(net, f"""recipients = ldap
    ldap_url = "ldap://{net.ip(8)}:3899/ou=people,dc=example,dc=com??sub"
    recipient_query = "(mail=%s)"
    lookup_ttl = 1s"""))
    assert rcpt(g, "bob@inside.test").code == 250
    assert rcpt(g, "dave@inside.test").enhanced == "5.1.1"
    assert rcpt(g, "*@inside.test").enhanced == "5.1.1"
    directory.stop()
    reply = until(lambda: (lambda r: r.code in (450, 451) and r)(rcpt(g, "erin@inside.test")), what="4yz without LDAP")
    assert reply.enhanced.startswith("4."), reply


def test_recipients_by_callout(gapura, sink, net):
    inside = sink(2, answers={"rcpt": lambda s, to: None if to.startswith("bob") else "550 5.1.1 no such user"})
    g = gapura(guard(net, "recipients = callout"))
    assert until(lambda: (lambda r: r.code != 451 and r)(rcpt(g, "bob@inside.test"))).code == 250
    assert rcpt(g, "dave@inside.test").enhanced == "5.1.1"
    # Both answers are remembered: the inside server may be away now.
    asked = inside.sessions
    assert rcpt(g, "bob@inside.test").code == 250
    assert rcpt(g, "dave@inside.test").enhanced == "5.1.1"
    assert inside.sessions == asked
    inside.stop()
    reply = rcpt(g, "erin@inside.test")
    assert reply.code in (450, 451) and reply.enhanced.startswith("4."), reply


def test_aliases_and_catch_all(gapura, place, sink, net):
    inside, outside = sink(2), sink(3)
    (place / "table").write_text("bob\ncarol\n")
    (place / "aliases").write_text("team: bob, carol@inside.test\nold: bob\naway: someone@outside.test\n")
    (place / "secret").write_text("0123456789abcdef0123\n")
    g = gapura(guard(net, f"recipients = table\nrecipient_table = {place}/table\naliases = {place}/aliases\n"
                          "catch_all = bob@inside.test",
                     extra=f"srs {{\n domain = fwd.inside.test\n secret = {place}/secret\n}}\n"))
    with stranger(g) as c:
        assert c.mail("alice@example.com", "team@inside.test", message()).code == 250
    people = lambda: sorted(r for m in inside.messages for r in m.recipients)
    until(lambda: people() == ["bob@inside.test", "carol@inside.test"], what="both of the team")
    inside.messages.clear()
    with stranger(g) as c:
        assert c.mail("alice@example.com", "nobody-here@inside.test", message()).code == 250
    until(lambda: people() == ["bob@inside.test"], what="the catch-all")
    with stranger(g) as c:
        assert c.mail("alice@example.com", "away@inside.test", message()).code == 250
    one = outside.wait(1)[0]
    assert one.recipients == ["someone@outside.test"]
    assert one.sender.lower().startswith("srs0=") and one.sender.endswith("@fwd.inside.test"), one.sender
    assert "example.com" in one.sender and "alice" in one.sender
    # A bounce to the rewritten sender finds its way back; a forged one does not.
    with stranger(g) as c:
        assert c.mail("", one.sender, message("bounce")).code == 250
    assert outside.wait(2)[1].recipients == ["alice@example.com"]
    assert rcpt(g, one.sender.replace("alice", "mallory"), sender="").code == 550


def test_failover_inside(gapura, sink, net):
    second = sink(4)
    g = gapura(guard(net, inside=f"smtp://{net.ip(2)}:2600, smtp://{net.ip(4)}:2600"))
    with stranger(g) as c:
        assert c.mail("alice@example.com", "bob@inside.test", message()).code == 250
    assert second.wait(1)[0].recipients == ["bob@inside.test"]


def test_inside_away_then_back(gapura, sink, net):
    g = gapura(guard(net))
    with stranger(g) as c:
        assert c.mail("alice@example.com", "bob@inside.test", message()).code == 250
    g.wait_event("TransientFailure")
    row = g.queue()[0]
    assert row["recipient"] == "bob@inside.test" and row["reason"], row
    inside = sink(2)
    assert inside.wait(1)[0].recipients == ["bob@inside.test"]
    g.wait_empty()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_lmtp_to_a_sink(gapura, place, sink, net, kind):
    at = f"{place}/lmtp.sock"
    inside = sink(at if kind == "unix" else 2, lmtp=True,
                  answers={"dot": lambda s, to: "452 4.2.2 full" if to.startswith("full") and not inside.messages
                           else None})
    if kind == "unix":
        (place / "lmtp.sock").chmod(0o777)
    g = gapura(guard(net, inside=f"lmtp:{at}" if kind == "unix" else f"lmtp://{net.ip(2)}:2600"))
    with stranger(g) as c:
        assert c.mail("alice@example.com", ["full@inside.test", "bob@inside.test"], message()).code == 250
    got = inside.wait(2)
    assert got[0].recipients == ["bob@inside.test"], "one of two was taken"
    assert got[1].recipients == ["full@inside.test"], "the other one is tried again, alone"
    g.wait_empty()


def test_maildir(gapura, place, net):
    g = gapura(guard(net, inside=f"maildir:{place}/maildir"))
    with stranger(g) as c:
        assert c.mail("alice@example.com", "bob@inside.test", message("to a maildir")).code == 250
    found = until(lambda: list(place.glob("maildir/**/new/*")), what="a file in new/")
    text = found[0].read_bytes()
    assert b"Subject: to a maildir" in text and text.startswith((b"Return-Path:", b"Delivered-To:", b"Received:"))
    assert b"\r\n" not in text
    g.wait_empty()


def test_only_what_the_inside_takes(gapura, sink, net):
    """No SMTPUTF8 and a small SIZE inside: refused at MAIL or RCPT, not after the 250."""
    sink(2, extensions=["8BITMIME", "SIZE 100000"])
    g = gapura(guard(net))

    def capabilities_known():
        with stranger(g) as c:
            reply = c.cmd("MAIL FROM:<alice@example.com> SIZE=200000")
            if reply.code == 250:
                reply = c.cmd("RCPT TO:<bob@inside.test>")
            return reply.code == 552 and reply
    with stranger(g) as c:
        assert c.mail("alice@example.com", "bob@inside.test", message()).code == 250
    assert until(capabilities_known, what="552").enhanced == "5.3.4"
    with stranger(g) as c:
        reply = c.cmd("MAIL FROM:<älice@example.com> SMTPUTF8")
        if reply.code == 250:
            reply = c.cmd("RCPT TO:<bob@inside.test>")
        assert reply.code in (550, 553) and reply.enhanced in ("5.6.7", "5.7.7"), reply


def test_smtputf8_through(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net))
    with stranger(g) as c:
        assert "SMTPUTF8" in c.extensions
        assert c.mail("älice@example.com", "bøb@inside.test", message("grüße"), "SMTPUTF8 BODY=8BITMIME").code == 250
    one = inside.wait(1)[0]
    assert (one.sender, one.recipients) == ("älice@example.com", ["bøb@inside.test"])
    assert "SMTPUTF8" in one.sender_args.upper() and "Subject: grüße" in one.headers


def test_denied_network(gapura, net):
    g = gapura(guard(net, extra=f"denied = {net.ip(60)}/32"))
    try:
        with g.smtp(source=net.ip(60)) as c:
            assert c.greeting.code in (550, 554) and "postmaster" in c.greeting.text, c.greeting
    except Closed:
        pytest.fail("closed without a word")
    assert rcpt(g, "bob@inside.test").code == 250


def proxy_v2(source, port, to):
    body = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!HH", port, 25)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body


@pytest.mark.parametrize("version", [1, 2])
def test_proxy_header(gapura, sink, net, version):
    inside = sink(2)
    text = guard(net).replace("kind = trusted", f"kind = inbound\n    proxy = {net.ip(70)}/32")
    g = gapura(text, wait=[])
    head = b"PROXY TCP4 198.51.100.7 192.0.2.1 4321 25\r\n" if version == 1 else \
        proxy_v2("198.51.100.7", 4321, "192.0.2.1")
    c = until(lambda: connected(net, head), what="a greeting behind PROXY")
    with c:
        c.ehlo()
        assert c.mail("alice@example.com", "bob@inside.test", message()).code == 250
    assert "198.51.100.7" in inside.wait(1)[0].header("Received")[0]


def connected(net, head):
    try:
        return Smtp((net.ip(1), 2525), source=net.ip(70), before=head, name="proxied.test")
    except (OSError, Closed):
        return None


def test_backscatter_law(gapura, sink, net):
    """The inside refuses after our 250: a stranger's mail is set aside, a trusted one's is bounced."""
    sink(2, answers={"rcpt": "550 5.1.1 no such user here"})
    outside = sink(3)
    g = gapura(guard(net))
    with stranger(g) as c:
        assert c.mail("forged@example.com", "bob@inside.test", message()).code == 250
    g.wait_event("Bounce", recipient="bob@inside.test")
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@inside.test", message()).code == 250
    report = outside.wait(1)[0]
    assert report.sender == "" and report.recipients == ["alice@example.com"]
    assert all(m.recipients != ["forged@example.com"] for m in outside.messages)
    aside = until(lambda: [r for r in g.queue() if r["sender"] == "forged@example.com"], what="mail set aside")
    assert aside[0]["state"] in ("aside", "held") and aside[0]["reason"], aside


def test_backup_mx(gapura, sink, net, peer):
    from peers import Nsd, need_root
    need_root("mail exchangers listen on port 25")
    peer(Nsd, (net.ip(9), 5399), f"""backup.test. IN MX 10 first.backup.test.
backup.test. IN MX 20 mx.gapura.test.
first.backup.test. IN A {net.ip(4)}
mx.gapura.test. IN A {net.ip(1)}
""")
    first = sink(4, 25)
    g = gapura(guard(net, extra=f"""domain backup.test {{
    role = backup
}}
route backup {{
    domains = backup.test
    via = mx
    allow_private = yes
}}
"""))
    with stranger(g) as c:
        assert c.mail("alice@example.com", "bob@backup.test", message()).code == 250
    assert first.wait(1)[0].recipients == ["bob@backup.test"]
