"""What a sender may ask of its message's way: BINARYMIME, a time to deliver by, a priority."""
import re

import pytest

from common import guard, stranger, submission, trusted, waits
from gapura import until
from sink import ALL
from smtp import message

WORDS = ("BINARYMIME", "DELIVERBY", "MT-PRIORITY")
SENDER, OUT = "alice@inside.test", "bob@outside.test"


def send(c, args, to=OUT, raw=None, sender=SENDER):
    """By BDAT; the last reply."""
    raw = raw or message(sender=sender).replace("\n", "\r\n").encode()
    for line in (f"MAIL FROM:<{sender}> {args}", f"RCPT TO:<{to}>"):
        reply = c.cmd(line)
        if reply.code != 250:
            c.cmd("RSET")
            return reply
    c.send(f"BDAT {len(raw)} LAST\r\n".encode() + raw)
    return c.reply()


def report(inside, count=1):
    """The last of so many reports to the sender: its status, action and text."""
    got = inside.wait(count)[count - 1]
    assert got.sender == "" and got.recipients == [SENDER]
    text = got.data.decode("latin-1")
    return re.search(r"(?m)^Status: (\S+)", text).group(1), re.search(r"(?m)^Action: (\S+)", text).group(1), text


def test_who_is_offered_what(gapura, net, authority):
    g = gapura(submission(net, authority.issue("mx.gapura.test")), wait=waits(net))
    with trusted(g) as c:
        assert "BINARYMIME" in c.extensions
        assert (c.extensions["DELIVERBY"], c.extensions["MT-PRIORITY"]) == ("60", "MIXER")
    with g.smtp(port=2587) as c:
        c.ehlo()
        assert all(word in c.extensions for word in WORDS)
    with stranger(g) as c:
        assert not any(word in c.extensions for word in WORDS)
        for args in ("BODY=BINARYMIME", "BY=100;R", "MT-PRIORITY=1"):
            assert c.cmd(f"MAIL FROM:<alice@example.com> {args}").code in (501, 555), args


def test_switched_off(gapura, net):
    g = gapura(guard(net), smtp="binarymime = no\n    deliver_by = 0\n    priority = off")
    with trusted(g) as c:
        assert not any(word in c.extensions for word in WORDS)
        for args in ("BODY=BINARYMIME", "BY=100;R", "MT-PRIORITY=1"):
            assert c.cmd(f"MAIL FROM:<alice@example.com> {args}").code in (501, 555), args


GRAMMAR = [
    ("BY=60;R", 250), ("BY=+60;RT", 250), ("BY=0;N", 250), ("BY=-999999999;nt", 250), ("BY=999999999;R", 250),
    ("BY=59;R", 555), ("BY=0;R", 501), ("BY=-1;R", 501), ("BY=1000000000;N", 501), ("BY=;N", 501), ("BY=60", 501),
    ("BY=60;", 501), ("BY=60;X", 501), ("BY=60;NX", 501), ("BY=60;NTT", 501), ("BY=+-6;N", 501), ("BY", 501),
    ("BY=100;N BY=100;N", 501),     ("MT-PRIORITY=9", 250), ("MT-PRIORITY=-9", 250), ("MT-PRIORITY=0", 250), ("MT-PRIORITY=10", 501),
    ("MT-PRIORITY=+1", 501), ("MT-PRIORITY=-", 501), ("MT-PRIORITY=", 501), ("MT-PRIORITY", 501),
    ("BODY=BINARYMIME", 250), ("BODY=BINARY", 501)]


def test_grammar(gapura, net):
    g = gapura(guard(net), smtp="max_errors = 1000\n    max_commands = 1000")
    with trusted(g) as c:
        for args, code in GRAMMAR:
            reply = c.cmd(f"MAIL FROM:<{SENDER}> {args}")
            assert reply.code == code, (args, reply)
            if code == 250:
                c.cmd("RSET")
            else:
                assert reply.enhanced == "5.5.4", (args, reply)


BINARY = b"Subject: raw\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) + b"\r\n.\r\n\n.\n\r\r\nend\n\0"


def test_binary_goes_through(gapura, sink, net):
    out = sink(3, extensions=(*ALL, "BINARYMIME"))
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.cmd(f"MAIL FROM:<{SENDER}> BODY=BINARYMIME").code == 250
        assert c.cmd(f"RCPT TO:<{OUT}>").code == 250
        reply = c.cmd("DATA")
        assert reply.code == 503, "only by BDAT"
        for at in range(0, len(BINARY), 50):
            part = BINARY[at:at + 50]
            c.send(f"BDAT {len(part)}{' LAST' if at + 50 >= len(BINARY) else ''}\r\n".encode() + part)
            assert c.reply().code == 250
    got = out.wait(1)[0]
    assert got.data.endswith(BINARY), "each octet as it came, the last one too"
    assert "BODY=BINARYMIME" in got.sender_args


def test_binary_header_has_lines(gapura, sink, net):
    out = sink(3, extensions=(*ALL, "BINARYMIME"))
    g = gapura(guard(net))
    with trusted(g) as c:
        for raw in (b"Subject: x\nFrom: y\n\nbody", b"Subject: x\rFrom: y\r\n\r\nbody", b"Subject: x\r\n\nbody"):
            reply = send(c, "BODY=BINARYMIME", raw=raw)
            assert reply.code == 554 and reply.enhanced == "5.6.0", reply
        assert send(c, "BODY=BINARYMIME", raw=BINARY).code == 250
    assert len(out.wait(1)) == 1


@pytest.mark.parametrize("offers", [ALL, [w for w in ALL if w != "CHUNKING"] + ["BINARYMIME"]])
def test_binary_is_not_converted(gapura, sink, net, offers):
    inside, out = sink(2), sink(3, extensions=offers)
    g = gapura(guard(net))
    with trusted(g) as c:
        assert send(c, "BODY=BINARYMIME", raw=BINARY).code == 250
    status, action, text = report(inside)
    assert (status, action) == ("5.6.1", "failed")
    assert "BINARYMIME" in text and "Subject: raw" in text and "\0" not in text
    assert not out.messages


def test_binary_is_refused_where_the_inside_server_is_known(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net))
    with trusted(g) as c:
        assert send(c, "", to="bob@inside.test").code == 250
        inside.wait(1)

        def refused():
            reply = send(c, "BODY=BINARYMIME", to="bob@inside.test", raw=BINARY)
            return reply if reply.code == 550 else None
        assert until(refused, what="a refusal").enhanced == "5.6.1"


def test_binary_into_a_maildir(gapura, sink, net, place):
    reports = sink(3)
    g = gapura(guard(net, inside=f"maildir:{place}/maildir"))
    with trusted(g) as c:
        reply = send(c, "BODY=BINARYMIME", to="bob@inside.test", raw=BINARY, sender="carol@outside.test")
    if reply.code == 250:  # what it takes is not known yet
        assert b"Status: 5.6.1" in reports.wait(1)[0].data
    else:
        assert (reply.code, reply.enhanced) == (550, "5.6.1")


def test_deliver_by_is_passed_on(gapura, sink, net):
    inside, out = sink(2), sink(3, extensions=(*ALL, "DELIVERBY 30"))
    g = gapura(guard(net))
    with trusted(g) as c:
        assert send(c, "BY=100;R").code == 250
        left = re.search(r"BY=(\d+);R$", out.wait(1)[0].sender_args)
        assert left and 80 <= int(left.group(1)) <= 100
        assert send(c, "BY=-100;NT").code == 250
        left = re.search(r"BY=(-\d+);NT", out.wait(2)[1].sender_args)
        assert left and -120 <= int(left.group(1)) <= -100
    status, action, text = report(inside)  # of the second one: it asked for traces
    assert (status, action) == ("2.1.0", "relayed") or action == "relayed", text
    assert "Deliver-By-Date:" in text
    g.wait_empty()
    assert len(inside.messages) == 1


def test_deliver_by_where_nobody_knows_it(gapura, sink, net):
    inside, out = sink(2), sink(3)
    g = gapura(guard(net))
    with trusted(g) as c:
        assert send(c, "BY=100;N").code == 250
        assert "BY=" not in out.wait(1)[0].sender_args
        assert report(inside)[1] == "relayed"
        assert send(c, "BY=100;R").code == 250
    status, action, text = report(inside, 2)
    assert (status, action) == ("5.3.3", "failed") and "DELIVERBY" in text
    assert len(out.messages) == 1


def test_deliver_by_wants_more_than_is_left(gapura, sink, net):
    inside, out = sink(2), sink(3, extensions=(*ALL, "DELIVERBY 300"))
    g = gapura(guard(net))
    with trusted(g) as c:
        assert send(c, "BY=100;R").code == 250
    assert report(inside)[:2] == ("5.4.7", "failed")
    assert not out.messages


def test_deliver_by_to_the_mailbox(gapura, sink, net):
    """LMTP is the end of the way: nobody after it has to know."""
    lmtp = sink(2, lmtp=True)
    g = gapura(guard(net, inside=f"lmtp://{net.ip(2)}:2600"))
    with trusted(g) as c:
        assert send(c, "BY=100;R", to="bob@inside.test", sender="carol@outside.test").code == 250
    assert "BY=" not in lmtp.wait(1)[0].sender_args


def test_late_mail_is_returned(gapura, sink, net):
    inside = sink(2)
    out = sink(3, extensions=(*ALL, "DELIVERBY"), answers={"mail": "451 4.3.0 later"})
    g = gapura(guard(net), smtp="deliver_by = 1s")
    with trusted(g) as c:
        assert c.extensions["DELIVERBY"] == "1"
        assert send(c, "BY=2;R").code == 250
    status, action, text = report(inside)
    assert (status, action) == ("5.4.7", "failed"), text
    assert "Deliver-By-Date:" in text and "within the time that was asked for" in text
    assert not out.messages
    g.wait_empty()


@pytest.mark.parametrize("by", [2, -100])
def test_sender_of_late_mail_is_told(gapura, sink, net, by):
    inside = sink(2)
    out = sink(3, extensions=(*ALL, "DELIVERBY"), answers={"mail": "451 4.3.0 later"})
    g = gapura(guard(net))
    with trusted(g) as c:
        assert send(c, f"BY={by};N").code == 250
    status, action, text = report(inside)
    assert (status, action) == ("4.4.7", "delayed"), text
    out.answers.clear()
    assert out.wait(1)[0].recipients == [OUT]
    g.wait_empty()
    assert len(inside.messages) == 1, "told once"


def test_deliver_by_survives_a_restart(gapura, sink, net):
    out = sink(3, extensions=(*ALL, "DELIVERBY", "MT-PRIORITY"), answers={"mail": "451 4.3.0 later"})
    g = gapura(guard(net))
    with trusted(g) as c:
        assert send(c, "BY=1000;RT MT-PRIORITY=-3").code == 250
    g.wait_event("TransientFailure")
    g.kill()
    out.answers.clear()
    g.start()
    args = out.wait(1)[0].sender_args
    assert re.search(r"BY=9\d\d;RT", args) and "MT-PRIORITY=-3" in args


def test_priority(gapura, sink, net):
    inside, out = sink(2), sink(3, extensions=(*ALL, "MT-PRIORITY"))
    g = gapura(guard(net).replace("route rest {", "route rest {\n    max_sessions = 1"))
    g.ctl("suspend", "--domain", "outside.test", "--reason", "wait")
    g.ctl("suspend", "--domain", "inside.test", "--reason", "wait")
    with trusted(g) as c:
        for priority in (-4, 0, 7):
            for to in (OUT, "bob@inside.test"):
                assert send(c, f"MT-PRIORITY={priority}", to=to).code == 250
    g.ctl("resume", "--all")
    got = out.wait(3)
    assert [(re.search(r"MT-PRIORITY=(\S+)", m.sender_args) or ["", "0"])[1] for m in got] == ["7", "0", "-4"]
    assert "PRIORITY 7" in got[0].header("Received")[0] and "PRIORITY" not in got[1].header("Received")[0]
    assert not any("MT-PRIORITY" in m.sender_args for m in inside.wait(3))


def test_bulk_gets_no_priority(gapura, sink, net, authority):
    out = sink(3, extensions=(*ALL, "MT-PRIORITY"))
    g = gapura(submission(net, authority.issue("mx.gapura.test"), extra="tenant news {\n    number = 7\n    class = bulk\n}\n"),
               wait=waits(net))
    g.user(SENDER, "secret", "--tenant", "news")
    with g.smtp(port=2587) as c:
        c.ehlo()
        c.starttls(authority.client())
        c.ehlo()
        assert c.auth("PLAIN", SENDER, "secret").code == 235
        reply = c.cmd(f"MAIL FROM:<{SENDER}> BY=60;R HOLDFOR=61")
        assert (reply.code, reply.enhanced) == (501, "5.5.4"), "held until it is too late"
        for priority, enhanced in ((5, "2.3.6"), (-5, "2.1.0")):
            reply = c.cmd(f"MAIL FROM:<{SENDER}> MT-PRIORITY={priority}")
            assert (reply.code, reply.enhanced) == (250, enhanced), reply
            assert priority < 0 or reply.text.startswith("2.3.6 0 "), "the new priority comes first (RFC 6710)"
            c.cmd("RSET")
        assert send(c, "MT-PRIORITY=5").code == 250
        assert send(c, "MT-PRIORITY=-5").code == 250
    args = [m.sender_args for m in out.wait(2)]
    assert sorted("MT-PRIORITY=-5" in a for a in args) == [False, True] and not any("=5" in a for a in args)
