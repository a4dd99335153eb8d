"""The protocol's corners through the whole program: what goes in is what comes out, or is refused."""
import json
import os
import ssl
import subprocess
import time

import pytest

from common import guard, stranger, submission, trusted, waits
from gapura import PROGRAM, until
from smtp import Closed, Smtp, message


def through(g, inside, raw, args="", chunks=None):
    """Sends raw bytes as one message, by DATA (dot-stuffed) or in BDAT chunks; what arrived."""
    before = len(inside.messages)
    with stranger(g) as c:
        assert c.cmd(f"MAIL FROM:<alice@example.com>{args}").code == 250
        assert c.cmd("RCPT TO:<bob@inside.test>").code == 250
        if chunks:
            for at in range(0, len(raw), chunks):
                part = raw[at:at + chunks]
                last = " LAST" if at + chunks >= len(raw) else ""
                c.send(f"BDAT {len(part)}{last}\r\n".encode() + part)
                assert c.reply().code == 250
        else:
            assert c.data(raw).code == 250
    return inside.wait(before + 1)[before].data


@pytest.mark.parametrize("chunks", [None, 1, 7, 4096])
def test_bytes_arrive_as_sent(gapura, sink, net, chunks):
    inside = sink(2)
    g = gapura(guard(net))
    raw = message(body="\n".join([".", "..", "...", "", ". ", "\t", "x" * 998, "\x7f", "8bit: é"]) + "\n").encode()
    if chunks == 1:
        raw = raw[:200] + b"\n"
    raw = raw.replace(b"\n", b"\r\n")
    assert through(g, inside, raw, " BODY=8BITMIME", chunks).endswith(raw)


def test_large_message(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net), smtp="max_size = 40 MB")
    line = b"0123456789" * 7 + b"\r\n"
    raw = message(body="").replace("\n", "\r\n").encode() + line * 400000  # 28.8 MB over many segments
    assert through(g, inside, raw, f" SIZE={len(raw)}", 1 << 20).endswith(raw)
    with stranger(g) as c:
        reply = c.cmd("MAIL FROM:<alice@example.com> SIZE=50000000")
        assert reply.code == 552 and reply.enhanced == "5.3.4"
    with stranger(g) as c:
        c.cmd("MAIL FROM:<alice@example.com>")
        c.cmd("RCPT TO:<bob@inside.test>")
        assert c.cmd("DATA").code == 354
        for _ in range(45):
            c.send(line * 14000)
        c.send("\r\n.\r\n")
        reply = c.reply()
        assert reply.code == 552 and reply.enhanced == "5.3.4", reply


@pytest.mark.parametrize("sequence", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\n\n.\r\r\n",
                                      b"\r\n\0.\r\n"])
def test_nothing_but_crlf_dot_crlf_ends_data(gapura, sink, net, sequence):
    """One message in, one message out, and no bare CR or LF on the way to the next host."""
    inside = sink(2)
    g = gapura(guard(net))
    raw = b"Subject: outer\r\n\r\nfirst" + sequence + b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@inside.test>\r\n" \
        b"DATA\r\nSubject: inner\r\n\r\nsecond\r\n.\r\n"
    with stranger(g) as c:
        c.cmd("MAIL FROM:<alice@example.com>")
        c.cmd("RCPT TO:<bob@inside.test>")
        assert c.cmd("DATA").code == 354
        c.send(raw)
        reply = c.reply()
        c.send("NOOP\r\n")
        assert c.reply().code == 250
    if reply.code == 250:
        data = inside.wait(1)[0].data
        assert b"\n" not in data.replace(b"\r\n", b"") and b"\r" not in data.replace(b"\r\n", b"")
    else:
        assert reply.code in (500, 550, 554), reply
    g.wait_empty()
    assert len(inside.messages) == (1 if reply.code == 250 else 0)


def test_bare_line_ends_refused_by_setting(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net), smtp="bare = refuse")
    with stranger(g) as c:
        c.cmd("MAIL FROM:<alice@example.com>")
        c.cmd("RCPT TO:<bob@inside.test>")
        c.cmd("DATA")
        c.send(b"Subject: x\r\n\r\nfirst\nsecond\r\n.\r\n")
        reply = c.reply()
        assert reply.code in (550, 554) and reply.enhanced.startswith("5."), reply
        assert c.mail("alice@example.com", "bob@inside.test", message()).code == 250
    assert len(inside.wait(1)) == 1


@pytest.mark.parametrize("address, good", [
    ("bob@inside.test", True), ('"bob"@inside.test', True), ('"b o b"@inside.test', True),
    ("@relay.test,@other.test:bob@inside.test", True), ("postmaster", True), ("b" * 242 + "@inside.test", True),
    ("bob@INSIDE.test", True), ("bob", False), ("bob@", False), ("@inside.test", False), ("b b@inside.test", False),
    ("bob@inside..test", False), ("bob@-inside.test", False), ("b" * 243 + "@inside.test", False),
    ("bob@[127.0.0.1", False), ("bob\u0000@inside.test", False)])
def test_addresses(shared, address, good):
    with stranger(shared) as c:
        assert c.cmd("MAIL FROM:<alice@example.com>").code == 250
        reply = c.cmd(f"RCPT TO:<{address}>")
        assert (reply.code == 250) == good, reply
        if not good:
            assert reply.code in (500, 501, 550, 553), reply


@pytest.fixture
def shared(gapura, net):
    return gapura(guard(net))


def test_dialogue_order_and_small_verbs(shared):
    with shared.smtp(source=shared.net.ip(50)) as c:
        assert c.greeting.lines[0].startswith("mx.gapura.test")
        assert c.cmd("MAIL FROM:<a@example.com>").code in (503, 250)
        c.ehlo()
        for word in ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"):
            assert word in c.extensions, word
        assert int(c.extensions["SIZE"]) == 50 << 20 or int(c.extensions["SIZE"]) == 50_000_000
        assert c.cmd("RCPT TO:<bob@inside.test>").code == 503
        assert c.cmd("DATA").code == 503
        assert c.cmd("NOOP ignored words").code == 250
        assert c.cmd("HELP").code in (211, 214)
        assert c.cmd("VRFY bob").code == 252
        assert c.cmd("EXPN staff").code in (500, 502)
        assert c.cmd("RSET").code == 250
        assert c.cmd("MAIL FROM: <a@example.com>").code in (250, 501)
        c.cmd("RSET")
        assert c.cmd("mail from:<a@example.com>").code == 250, "verbs in any case"
        assert c.cmd("MAIL FROM:<b@example.com>").code == 503, "no nested MAIL"
        assert c.cmd("DATA").code in (503, 554), "DATA without a recipient"
        assert c.cmd("QUIT").code == 221
        assert c.at_end()


def test_pipelined_group_in_one_packet(shared, sink, net):
    inside = sink(2)
    with stranger(shared) as c:
        c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<bob@inside.test>\r\nRCPT TO:<bob@elsewhere.test>\r\nDATA\r\n")
        assert [c.reply().code for _ in range(4)] == [250, 250, 550, 354]
        c.send("Subject: x\r\n\r\nhello\r\n.\r\nMAIL FROM:<b@example.com>\r\nRCPT TO:<bob@inside.test>\r\n"
               "BDAT 5 LAST\r\nA: b\nQUIT\r\n")
        codes = [c.reply().code for _ in range(5)]
        assert codes[0] == 250 and codes[1:3] == [250, 250] and codes[4] == 221, codes
    inside.wait(1)


def test_null_sender_and_reports_are_taken(shared, sink):
    inside = sink(2)
    with stranger(shared) as c:
        assert c.mail("", "bob@inside.test", message("a bounce")).code == 250
    assert inside.wait(1)[0].sender == ""


def test_many_recipients(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net))
    people = [f"p{i}@inside.test" for i in range(500)]
    with trusted(g) as c:
        assert c.mail("alice@example.com", people, message()).code == 250
    until(lambda: sum(len(m.recipients) for m in inside.messages) == 500, what="500 recipients")
    assert sorted(r for m in inside.messages for r in m.recipients) == sorted(people)
    g.wait_empty()


def test_ipv6_client(gapura, sink, net):
    inside = sink(2)
    port = 10000 + os.getpid() % 20000
    try:
        g = gapura(guard(net).replace(f"address = {net.ip(1)}:2525", f"address = {net.ip(1)}:2525, [::1]:{port}"))
        c = Smtp(("::1", port))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with c:
        c.ehlo()
        assert c.mail("a@example.com", "bob@inside.test", message()).code == 250
    assert "IPv6:::1" in inside.wait(1)[0].header("Received")[0]
    assert g.wait_event("Reception")["peer_address"]["addr"].startswith("[::1]")


def test_client_certificate_is_shown(gapura, sink, net, authority):
    sink(2)
    cert = authority.issue("mx.gapura.test")
    text = guard(net).replace("kind = trusted", f"kind = trusted\n    certificate = {cert[0]} {cert[1]}\n"
                                                f"    client_ca = {authority.ca}")
    g = gapura(text)
    mine = authority.issue("partner.test")
    with stranger(g) as c:
        assert "STARTTLS" in c.extensions
        c.starttls(authority.client(mine))
        c.ehlo()
        assert c.mail("a@example.com", "bob@inside.test", message()).code == 250
    assert "partner.test" in json.dumps(g.wait_event("Reception"))


def test_old_tls_is_refused(gapura, net, authority):
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert), wait=waits(net))
    context = authority.client()
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with g.smtp(port=2587) as c:
        c.ehlo()
        with pytest.raises((ssl.SSLError, OSError)):
            c.starttls(context)


def test_wings(gapura, sink, net, authority):
    """An absent wing opens no port."""
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert, extra="wings = inbound\n"), wait=[(net.ip(1), 2525)])
    for port in (2587, 2465):
        with pytest.raises(ConnectionRefusedError):
            g.smtp(port=port)
    inside = sink(2)
    with stranger(g) as c:
        assert c.mail("a@example.com", "bob@inside.test", message()).code == 250
    inside.wait(1)


def test_events_to_stderr(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net), start=False)
    g.conf.write_text(g.conf.read_text().replace("to = file", "to = stderr"))
    g.start()
    with stranger(g) as c:
        assert c.mail("a@example.com", "bob@inside.test", message()).code == 250
    inside.wait(1)
    lines = until(lambda: [json.loads(x) for x in g.printed().splitlines() if '"Delivery"' in x and x.endswith("}")],
                  what="the event on stderr")
    assert lines[0]["recipient"] == "bob@inside.test"


def test_hundreds_of_sessions(gapura, net):
    g = gapura(guard(net), smtp="sessions_per_address = 0\nsessions_per_network = 0")
    clients = [stranger(g) for _ in range(400)]
    assert all(c.cmd("NOOP").code == 250 for c in clients)
    for c in clients:
        c.close()


def test_client_that_never_reads(gapura, net):
    """Replies that nobody takes: memory stays bounded and the session ends; others go on."""
    g = gapura(guard(net), smtp="timeout_command = 2s")
    c = stranger(g)
    c.sock.settimeout(1)
    end = time.monotonic() + 20
    try:
        while time.monotonic() < end:
            c.send("NOOP\r\n" * 5000)
    except OSError:
        pass
    with stranger(g) as other:
        assert other.cmd("NOOP").code == 250
    c.close()


def test_garbage_is_answered_or_closed(shared):
    for garbage in (os.urandom(3000), b"\0" * 5000, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + os.urandom(200),
                    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"A" * 100000 + b"\r\n"):
        with shared.smtp(source=shared.net.ip(50)) as c:
            try:
                c.send(garbage + b"\r\n")
                assert c.reply().code in (421, 500, 501, 502, 503, 554)
            except (Closed, OSError):
                pass
    with stranger(shared) as c:
        assert c.cmd("NOOP").code == 250


def test_settings_are_documented_by_the_program():
    for form, word in (("man", ".It"), ("markdown", "|")):
        done = subprocess.run([PROGRAM, "--print-settings", form], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and word in done.stdout and "max_sessions" in done.stdout
