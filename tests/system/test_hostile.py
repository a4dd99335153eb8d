"""Clients that mean harm, or do harm: against the whole program."""
import json
import os
import signal
import socket
import struct
import time

import pytest

from common import STRANGER, guard, stranger, submission, waits
from gapura import SLOW, until
from smtp import Closed, Smtp, message


def lines_of(g):
    """Every line that was logged, each of which must be JSON and hold no control character."""
    found = []
    for path in g.dir.glob("log/events.jsonl*"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            assert not any(c < 32 or c == 127 for c in line), line
            found.append(json.loads(line))
    return found


def memory_of(pid):
    """Resident bytes."""
    return int(open(f"/proc/{pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_all(sock):
    data = b""
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


# Framing.

TERMINATORS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
               b"\r\r\n.\r\r\n", b"\n\n.\r\n"]


@pytest.mark.parametrize("bdat", [False, True])
def test_one_message_whatever_its_line_ends(gapura, net, sink, bdat):
    inside = sink(2)
    g = gapura(guard(net))
    smuggled = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@inside.test>\r\nDATA\r\nSubject: two\r\n\r\nx"
    for number, end in enumerate(TERMINATORS):
        text = b"Subject: %d\r\n\r\none" % number + end + smuggled
        with stranger(g) as c:
            assert c.cmd("MAIL FROM:<alice@example.com>").code == 250
            assert c.cmd("RCPT TO:<bob@inside.test>").code == 250
            if bdat:
                c.send(b"BDAT %d LAST\r\n" % len(text) + text)
            else:
                assert c.cmd("DATA").code == 354
                c.send(text + b"\r\n.\r\n")
            reply = c.reply()
            assert reply.code == 250, (end, reply)
            assert c.cmd("NOOP").code == 250
    got = inside.wait(len(TERMINATORS))
    assert len(got) == len(TERMINATORS)
    for one in got:
        assert b"MAIL FROM:<evil" in one.data
        assert b"\n" not in one.data.replace(b"\r\n", b"") and b"\r" not in one.data.replace(b"\r\n", b"")


def test_pipelining_across_waits(gapura, net, sink):
    """Everything at once, while each recipient has to be asked for inside; then the client closes its half."""
    inside = sink(2)
    g = gapura(guard(net, "recipients = callout"))
    for _ in range(3):
        sock = socket.create_connection((net.ip(1), 2525), 20 * SLOW, source_address=(net.ip(STRANGER), 0))
        sock.sendall(b"EHLO x.test\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<bob@inside.test>\r\n"
                     b"RCPT TO:<carol@inside.test>\r\nRCPT TO:<x@elsewhere.test>\r\nDATA\r\n"
                     b"Subject: x\r\n\r\nx\r\n.\r\nRSET\r\nMAIL FROM:<b@example.com>\r\n"
                     b"RCPT TO:<dave@inside.test>\r\nBDAT 14\r\nSubject: x\r\n\r\nBDAT 0 LAST\r\nNOOP\r\n")
        sock.shutdown(socket.SHUT_WR)
        replies = [x for x in read_all(sock).decode().split("\r\n") if x[3:4] == " "]
        codes = [x[:3] for x in replies]
        assert codes == "220 250 250 250 250 550 354 250 250 250 250 250 250 250".split(), replies
    assert len(inside.wait(6)) == 6


def test_bytes_that_are_no_command(gapura, net):
    g = gapura(guard(net))
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
                 b"\x05\x01\0", b"CONNECT x:25 HTTP/1.0\r\n\r\n", b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c"):
        with Smtp((net.ip(1), 2525), source=net.ip(STRANGER)) as c:
            c.send(text + b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n")
            assert c.at_end() or b"250" not in c.buffer.split(b"\r\n")[0], (text, c.buffer)
            assert b"Sender ok" not in c.buffer or text.startswith(b"\r\n"), (text, c.buffer)
    with stranger(g) as c:
        assert c.cmd("NOOP").code == 250


# What is written down.

def test_nothing_breaks_out_of_a_log_line(gapura, net, sink, authority):
    inside = sink(2)
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert), wait=waits(net), smtp="auth_failure_delay = 10ms")
    evil = b'"},{"type":"Alarm","x":"%s%n\x1b[31m\x07\xff\xfe\\u0000'
    with Smtp((net.ip(1), 2525), source=net.ip(STRANGER)) as c:
        for verb in (b"EHLO ", b"HELO ", b"VRFY ", b"NOOP ", b"MAIL FROM:<", b"HELP ", b"XYZ "):
            c.cmd(verb + evil)
        c.ehlo()
        assert c.cmd(b'MAIL FROM:<"a\\"},{%s%n"@example.com>').code == 250
        assert c.cmd(b'RCPT TO:<"x\\",\\\\{%s%n"@elsewhere.test>').code == 550
        assert c.cmd(b'RCPT TO:<bob@inside.test>').code == 250
        assert c.data('Message-ID: <"},{\x1b[31m%s>\r\nSubject: x\n\nx').code == 250
        assert c.cmd("MAIL FROM:<j\u00f6rg\u2028@example.com> SMTPUTF8").code in (250, 501)
    c = g.smtp(port=2587)
    c.ehlo()
    assert c.starttls(authority.client()).code == 220
    c.ehlo()
    for user in ('a"},{"b":"', "a\x1b[31m", "a\r\nb", "%s%s%n", "\u2028\u0085"):
        assert c.auth("PLAIN", user, "x").code == 535
    c.close()
    one = inside.wait(1)[0]
    assert one.header("Received")[0].count("\n") <= 5
    g.wait_event("AuthFailure", count=5)
    found = lines_of(g)
    assert not [e for e in found if e.get("type") == "Alarm"]
    assert [e for e in found if e.get("type") == "Reception"]


def test_what_the_engine_refuses_is_in_the_events(gapura, net, sink):
    """A sender who asks why is answered from there, whoever said no."""
    sink(2)
    g = gapura(guard(net), smtp="bare = refuse\n    max_size = 64 KB\n    max_received = 10\n    timeout_block = 700ms")
    refusals = [
        ("MAIL", 552, "MAIL FROM:<big@example.com> SIZE=99999999", None),
        ("MAIL", 501, "MAIL FROM:<b a d@example.com>", None),
        ("RCPT", 501, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b a d@inside.test>", None),
        ("DATA", 554, None, b"Subject: bare\n\nx"),
        ("DATA", 552, None, b"Subject: large\r\n\r\n" + b"x" * 70000),
        ("DATA", 554, None, b"Received: x\r\n" * 11 + b"Subject: loop\r\n\r\nx"),
    ]
    for number, (command, code, envelope, content) in enumerate(refusals):
        with stranger(g) as c:
            if envelope:
                c.send(envelope + "\r\n")
                while c.reply().code != code:
                    pass
            else:
                c.cmd("MAIL FROM:<a@example.com>")
                c.cmd("RCPT TO:<bob@inside.test>")
                c.cmd("DATA")
                c.send(content + b"\r\n.\r\n")
                assert c.reply().code == code
        found = g.events("Rejection") and g.wait_event("Rejection", count=number + 1) or g.wait_event("Rejection")
        assert (found["response"]["command"], found["response"]["code"]) == (command, code), found
        assert found["peer_address"]["addr"].startswith(net.ip(STRANGER) + ":")
    assert [e.get("sender") for e in g.events("Rejection")] == ["big@example.com", "b a d@example.com"] + \
        ["a@example.com"] * 4
    assert g.events("Rejection")[2]["recipient"] == "b a d@inside.test"
    with stranger(g) as c:
        c.cmd("MAIL FROM:<slow@example.com>")
        c.cmd("RCPT TO:<bob@inside.test>")
        c.cmd("DATA")
        c.send(b"Subject: x\r\n")
        assert c.reply().code == 421
    found = g.wait_event("Rejection", sender="slow@example.com")
    assert found["response"]["code"] == 421 and "did not come" in found["response"]["content"]


# Ceilings.

def test_more_recipients_than_one_message_takes(gapura, net, sink):
    inside = sink(2)
    g = gapura(guard(net), smtp="max_rcpts = 100")
    with stranger(g) as c:
        assert "RCPTMAX=100" in c.extensions["LIMITS"]
        assert c.cmd("MAIL FROM:<a@example.com>").code == 250
        c.send("".join(f"RCPT TO:<u{i}@inside.test>\r\n" for i in range(5000)))
        replies = [c.reply() for _ in range(5000)]
        assert [r.code for r in replies] == [250] * 100 + [452] * 4900
        assert replies[100].enhanced == "4.5.3"
        assert c.data(message()).code == 250
    assert len(inside.wait(1)[0].recipients) == 100


def test_too_many_of_each(gapura, net):
    g = gapura(guard(net), smtp="max_commands = 20\n    max_errors = 5")
    for text, count in (("NOOP", 20), ("RSET", 20), ("EHLO x.test", 20), ("VRFY x", 20), ("XYZ", 5),
                        ("MAIL FROM:<", 5), ("RCPT TO:<x@inside.test>", 5)):
        with Smtp((net.ip(1), 2525), source=net.ip(STRANGER)) as c:
            c.send((text + "\r\n") * (count + 1))
            codes = []
            try:
                while True:
                    codes.append(c.reply().code)
            except Closed:
                pass
            assert len(codes) == count + 1 and codes[-1] == 421, (text, codes)


def test_a_peer_that_never_reads(gapura, net):
    g = gapura(guard(net), smtp="max_commands = 1000000")
    gate = g.pids()["gate"]
    before = memory_of(gate)
    socks = []
    for _ in range(20):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind((net.ip(STRANGER), 0))
        sock.connect((net.ip(1), 2525))
        sock.settimeout(0.2)
        socks.append(sock)
    for sock in socks:
        try:
            for _ in range(400):
                sock.sendall(b"EHLO x.test\r\n" * 1000)
        except OSError:
            pass
    with stranger(g) as c:
        assert c.cmd("NOOP").code == 250
    assert memory_of(gate) - before < (64 << 20 if SLOW == 1 else 400 << 20)  # sanitizers keep what was freed
    for sock in socks:
        sock.close()
    assert g.pids()["gate"] == gate


@pytest.mark.parametrize("phase", ["command", "tls", "proxy", "auth", "data", "bdat"])
def test_a_byte_now_and_then(gapura, net, authority, phase):
    """No phase lasts longer because its bytes come one by one."""
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert, extra=f"listen balanced {{\n address = {net.ip(1)}:2526\n "
                                           f"proxy = {net.ip(STRANGER)}/32\n}}\n"), wait=waits(net),
               smtp="timeout_command = 700ms\n    timeout_data = 700ms\n    timeout_block = 700ms\n    min_rate = 0"
               if phase not in ("data", "bdat") else
               "timeout_command = 20s\n    timeout_data = 700ms\n    timeout_block = 700ms")
    port = {"tls": 2465, "proxy": 2526}.get(phase, 2525)
    sock = socket.create_connection((net.ip(1), port), 20 * SLOW, source_address=(net.ip(STRANGER), 0))
    drip = b"x" * 400
    if phase == "tls":
        drip = b"\x16\x03\x01\x02\0\x01\0\x01\xfc" + drip
    elif phase == "proxy":
        drip = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\0" + drip
    elif phase in ("data", "bdat"):
        sock.sendall(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@inside.test>\r\n" +
                     (b"DATA\r\n" if phase == "data" else b"BDAT 1000 LAST\r\n"))
        drip = b""
    elif phase == "auth":
        sock.close()
        c = g.smtp(port=2587, source=net.ip(STRANGER))
        c.ehlo()
        c.starttls(authority.client())
        c.ehlo()
        assert c.cmd("AUTH LOGIN").code == 334
        sock = c.sock
    began, got = time.monotonic(), b""
    sock.settimeout(0.1)
    while time.monotonic() - began < 10 * SLOW:
        try:
            sock.sendall(drip[:1])
            drip = drip[1:]
            more = sock.recv(4096)
            if not more:
                break
            got += more
        except (TimeoutError, socket.timeout):
            continue
        except OSError:
            break
    assert time.monotonic() - began < 8 * SLOW, got
    if phase not in ("tls", "proxy", "auth"):
        assert b"421 4.4.2" in got, got
    sock.close()


def test_many_leave_in_the_middle(gapura, net, sink):
    """Resets in each phase, while answers, chunks and syncs are under way."""
    sink(2)
    g = gapura(guard(net, "recipients = callout"))
    gate = g.pids()["gate"]
    steps = [b"", b"EHLO x\r\n", b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<bob%d@inside.test>\r\n", b"DATA\r\n",
             b"Subject: x\r\n\r\n" + b"y" * 70 * 1000 + b"\r\n", b"z" * 400000 + b"\r\n", b".\r\n", b"QUIT\r\n"]
    for number in range(90):
        sock = socket.create_connection((net.ip(1), 2525), 20, source_address=(net.ip(STRANGER), 0))
        text = b"".join(steps[:number % len(steps) + 1])
        sock.sendall(text.replace(b"%d", str(number).encode()))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    with stranger(g) as c:
        assert c.mail("a@example.com", "bob@inside.test", message()).code == 250
    g.wait_empty()
    assert g.pids()["gate"] == gate
    until(lambda: len(os.listdir(f"/proc/{gate}/fd")) < 200, what="descriptors given back")


# The end.

def test_stop_says_421_and_waits_for_a_message(gapura, net, sink):
    inside = sink(2)
    g = gapura(guard(net))
    idle, busy = stranger(g), stranger(g)
    assert busy.cmd("MAIL FROM:<a@example.com>").code == 250
    assert busy.cmd("RCPT TO:<bob@inside.test>").code == 250
    assert busy.cmd("DATA").code == 354
    busy.send("Subject: last\r\n\r\n")
    g.signal(signal.SIGTERM)
    reply = idle.reply()
    assert reply.code == 421 and idle.at_end(), reply
    busy.send("words\r\n.\r\n")
    assert busy.reply().code == 250
    assert busy.reply().code == 421
    assert busy.at_end()
    assert g.process.wait(40 * SLOW) == 0
    g.process = None
    g.start()
    assert inside.wait(1)[0].data.endswith(b"words\r\n")
