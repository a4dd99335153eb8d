"""The harness itself: sink and client speak to each other, and each peer starts and does its work.

Without this a failing test of the program could be a failing tool.
"""
import smtplib

import pytest

from peers import Dovecot, Exim, Nsd, Postfix, Slapd
from sink import CLOSE
from smtp import Closed, Smtp, message


def test_sink_records(sink, net):
    got = sink()
    with Smtp((net.ip(2), 2600)) as c:
        assert c.greeting.code == 220
        assert c.ehlo().code == 250 and "PIPELINING" in c.extensions
        assert c.mail("a@x.test", ["b@y.test", "c@y.test"], "A: b\n\n.dot\n..\n", "BODY=8BITMIME").code == 250
    one = got.wait(1)[0]
    assert (one.sender, one.recipients) == ("a@x.test", ["b@y.test", "c@y.test"])
    assert one.data == b"A: b\r\n\r\n.dot\r\n..\r\n"
    assert one.header("a") == ["b"] and one.sender_args == "BODY=8BITMIME"


def test_sink_chunks_and_tls(sink, net, authority):
    cert = authority.issue("mx.gapura.test")
    got = sink(tls=authority.server(cert))
    with Smtp((net.ip(2), 2600)) as c:
        c.ehlo()
        assert c.starttls(authority.client()).code == 220
        c.ehlo()
        c.cmd("MAIL FROM:<>")
        c.cmd("RCPT TO:<b@y.test>")
        c.send("BDAT 5\r\nA: b\r")
        assert c.reply().code == 250
        c.send("BDAT 3 LAST\r\n\n\r\n")
        assert c.reply().code == 250
    assert got.wait(1)[0].tls == "TLSv1.3" and got.messages[0].data == b"A: b\r\n\r\n"


def test_sink_answers(sink, net):
    got = sink(answers={"rcpt": ["450 4.2.0 later", "250 ok"], "dot": lambda s, m: CLOSE})
    with Smtp((net.ip(2), 2600)) as c:
        c.ehlo()
        c.cmd("MAIL FROM:<a@x.test>")
        assert c.cmd("RCPT TO:<b@y.test>").code == 450
        assert c.cmd("RCPT TO:<b@y.test>").code == 250
        with pytest.raises(Closed):
            c.data(message())
    assert not got.messages


def test_lmtp_sink(sink, net):
    got = sink(lmtp=True, answers={"dot": lambda s, to: "550 5.1.1 no" if to.startswith("c") else None})
    with Smtp((net.ip(2), 2600)) as c:
        c.ehlo("LHLO")
        assert c.mail("a@x.test", ["b@y.test", "c@y.test"], "A: b\n\nx\n").code == 250
        assert c.reply().code == 550
    assert got.wait(1)[0].recipients == ["b@y.test"]


@pytest.mark.parametrize("kind", [Postfix, Exim])
def test_mta_relays(kind, sink, net, peer):
    got = sink()
    peer(kind, (net.ip(5), 2525), (net.ip(2), 2600))
    with Smtp((net.ip(5), 2525)) as c:
        c.ehlo()
        assert c.mail("a@x.test", "b@y.test", message()).code == 250
    assert got.wait(1)[0].recipients == ["b@y.test"]


def test_dovecot_takes(net, peer):
    box = peer(Dovecot, (net.ip(5), 2424), {"bob": "secret"})
    with smtplib.LMTP(net.ip(5), 2424) as c:
        refused = c.sendmail("a@x.test", ["bob@y.test", "none@y.test"], message())
    assert list(refused) == ["none@y.test"]
    assert b"Subject: test" in box.mails("bob", 1)[0]
    assert box.auth.is_socket() and box.socket.is_socket()


def test_nsd_and_slapd_start(net, peer):
    peer(Nsd, (net.ip(9), 5399), "a.test. IN A 192.0.2.1")
    peer(Slapd, (net.ip(8), 3899), {"bob": "bob@inside.test"})
