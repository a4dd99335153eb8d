"""Next hosts that the world runs: Postfix, Exim, Dovecot's LMTP and auth service."""
import pytest

from common import guard, stranger, submission, trusted, waits
from peers import Dovecot, Exim, Postfix
from smtp import message


@pytest.mark.parametrize("kind", [Postfix, Exim])
def test_relay_through(gapura, peer, sink, net, kind):
    end = sink(4)
    peer(kind, (net.ip(3), 2600), (net.ip(4), 2600))
    g = gapura(guard(net))
    texts = [message(f"number {i}", body=".\n..\n" + "x" * 900 + "\n") for i in range(20)]
    with trusted(g) as c:
        for i, text in enumerate(texts):
            assert c.mail("alice@example.com", [f"a{i}@outside.test", "b@outside.test"], text).code == 250
    g.wait_empty()
    end.wait(20, 60)
    bodies = {m.header("Subject")[0]: m.body for m in end.messages}
    for i, text in enumerate(texts):
        assert bodies[f"number {i}"] == text.replace("\n", "\r\n").encode().partition(b"\r\n\r\n")[2]
    assert not g.events("TransientFailure")


def test_postfix_with_starttls(gapura, peer, sink, net, authority):
    end = sink(4)
    cert, key = authority.issue("postfix.test")
    peer(Postfix, (net.ip(3), 2600), (net.ip(4), 2600),
         extra=f"smtpd_tls_cert_file = {cert}\nsmtpd_tls_key_file = {key}\nsmtpd_tls_security_level = encrypt\n")
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    assert "using TLSv1.3" in " ".join(end.wait(1)[0].header("Received")) or g.wait_event("Delivery")


def test_refused_by_exim(gapura, peer, sink, net):
    end = sink(4)
    peer(Exim, (net.ip(3), 2600), (net.ip(4), 2600))
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("alice@example.com", ["unknown@outside.test", "known@outside.test"], message()).code == 250
    g.wait_event("Bounce", recipient="unknown@outside.test")
    got = end.wait(2)
    assert sorted(m.recipients for m in got) == [["alice@example.com"], ["known@outside.test"]]


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_dovecot_lmtp(gapura, peer, net, way):
    box = peer(Dovecot, (net.ip(2), 2424), {"bob": "secret", "carol": "secret"})
    at = f"lmtp://{net.ip(2)}:2424" if way == "tcp" else f"lmtp:{box.socket}"
    g = gapura(guard(net, inside=at))
    with stranger(g) as c:
        assert c.mail("alice@example.com", ["bob@inside.test", "carol@inside.test"], message("over lmtp")).code == 250
    for user in ("bob", "carol"):
        text = box.mails(user, 1)[0]
        assert b"Subject: over lmtp" in text and b"Return-Path: <alice@example.com>" in text
    g.wait_empty()


def test_dovecot_callout(gapura, peer, net):
    peer(Dovecot, (net.ip(2), 2424), {"bob": "secret"})
    g = gapura(guard(net, "recipients = callout", inside=f"lmtp://{net.ip(2)}:2424"))
    with stranger(g) as c:
        c.cmd("MAIL FROM:<alice@example.com>")
        assert c.cmd("RCPT TO:<bob@inside.test>").code == 250
        reply = c.cmd("RCPT TO:<none@inside.test>")
        assert reply.code == 550 and reply.enhanced == "5.1.1", reply


def test_dovecot_auth(gapura, peer, sink, net, authority):
    box = peer(Dovecot, (net.ip(2), 2424), {"bob": "secret"})
    out = sink(3)
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert, extra=f"auth {{\n passwords = dovecot\n dovecot = {box.auth}\n"
                                           " mechanisms = PLAIN, LOGIN\n}\nuser bob@inside.test {\n"
                                           " envelope = inside.test\n}\n"), wait=waits(net))
    for password, code in (("guess", 535), ("secret", 235)):
        c = g.smtp(port=2587)
        c.ehlo()
        c.starttls(authority.client())
        c.ehlo()
        assert "SCRAM-SHA-256" not in c.extensions["AUTH"]
        assert c.auth("PLAIN", "bob@inside.test", password).code == code
    assert c.mail("bob@inside.test", "x@outside.test", message(sender="bob@inside.test")).code == 250
    assert out.wait(1)[0].sender == "bob@inside.test"
