"""Submission beyond a password: bound to TLS, by certificate, by a bearer token; and mail for later."""
import base64
import hashlib
import hmac
import json
import re
import subprocess

import pytest

from common import submission, waits
from gapura import until
from peers import Dovecot
from smtp import Smtp, b64, message

OWN = "user bob@inside.test {\n envelope = inside.test\n}\n"


def secure(g, authority, cert=None):
    c = g.smtp(port=2587)
    c.ehlo()
    c.starttls(authority.client(cert))
    c.ehlo()
    return c


def test_scram_bound_to_the_certificate(gapura, net, authority):
    g = gapura(submission(net, authority.issue("mx.gapura.test"), extra=OWN), wait=waits(net))
    g.user("bob@inside.test", "secret")
    with g.smtp(port=2587) as c:
        c.ehlo()
        assert "AUTH" not in c.extensions
    for password, code in (("guess", 535), ("secret", 235)):
        with secure(g, authority) as c:
            assert c.extensions["AUTH"].split()[:2] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
            assert c.auth("SCRAM-SHA-256-PLUS", "bob@inside.test", password).code == code
    with secure(g, authority) as c:  # a certificate that somebody between us has put in
        assert c._scram("bob@inside.test", "secret", "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,",
                        b"x" * 32).code == 535
    with secure(g, authority) as c:  # a client that was not shown the mechanism which we offer
        assert c._scram("bob@inside.test", "secret", header="y,,").code == 535
    with secure(g, authority) as c:
        assert c.auth("SCRAM-SHA-256", "bob@inside.test", "secret").code == 235


class Openssl(Smtp):
    """openssl s_client between us and the server: it knows what the connection exports."""

    def __init__(self, at, ca):
        self.name, self.buffer, self.extensions = "client.test", b"", {}
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{at[0]}:{at[1]}", "-starttls", "smtp", "-CAfile", str(ca),
             "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", "-ign_eof"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        text = b""
        while b"Keying material: " not in text or not text.endswith(b"\n"):
            more = self.process.stdout.readline()
            assert more, text
            text += more
        self.exported = bytes.fromhex(re.search(rb"Keying material: ([0-9A-F]{64})", text)[1].decode())

    def send(self, data):
        self.process.stdin.write(data.encode() if isinstance(data, str) else data)
        self.process.stdin.flush()

    def line(self):
        """s_client prints of its own between: sessions, tickets, blank lines."""
        while True:
            line = self.process.stdout.readline()
            assert line, "s_client ended"
            if re.match(rb"[2-5]\d\d[ -].*\r\n", line):
                return line[:-2].decode()

    def close(self):
        self.process.kill()
        self.process.wait()


def test_scram_bound_to_the_connection(gapura, net, authority):
    g = gapura(submission(net, authority.issue("mx.gapura.test"), extra=OWN), wait=waits(net))
    g.user("bob@inside.test", "secret")
    exported = []
    for binding, code in ((None, 235), (b"\0" * 32, 535)):
        with Openssl((net.ip(1), 2587), authority.ca) as c:
            c.send("EHLO client.test\r\n")
            while "SCRAM-SHA-256-PLUS" not in c.reply().text:
                pass  # what s_client asked before the handshake
            exported.append(c.exported)
            assert c._scram("bob@inside.test", "secret", "SCRAM-SHA-256-PLUS", "p=tls-exporter,,",
                            binding or c.exported).code == code
    assert exported[0] != exported[1]


def test_login_by_certificate(gapura, sink, net, authority):
    out = sink(3)
    named, pinned, other = (authority.issue(f"{n}.inside.test") for n in ("printer", "scanner", "toaster"))
    der = subprocess.run(["openssl", "x509", "-in", pinned[0], "-outform", "DER"], check=True,
                         capture_output=True).stdout
    text = submission(net, authority.issue("mx.gapura.test"), extra=OWN)
    text = text.replace("kind = submission\n", "kind = submission\n"
                        f"    client_ca = {authority.ca}\n"
                        "    certificate_login = \"printer.inside.test bob@inside.test\", "
                        f"\"sha256:{hashlib.sha256(der).hexdigest()} bob@inside.test\"\n", 1)
    assert "certificate_login" in text
    g = gapura(text, wait=waits(net))
    for cert in (named, pinned):
        with secure(g, authority, cert) as c:
            assert c.extensions["AUTH"].split()[0] == "EXTERNAL"
            assert c.cmd("AUTH EXTERNAL " + b64("eve@inside.test")).code == 535
            assert c.cmd("AUTH EXTERNAL").code == 334
            assert c.cmd("").code == 235
            assert c.mail("bob@inside.test", "x@outside.test", message(sender="bob@inside.test")).code == 250
    assert out.wait(2)[0].sender == "bob@inside.test"
    for cert in (other, None):
        with secure(g, authority, cert) as c:
            assert "EXTERNAL" not in c.extensions["AUTH"]
            assert c.cmd("AUTH EXTERNAL =").code == 504


def test_certificate_of_nobody(gapura, net, authority):
    """The login of a certificate is one only as long as there is such a login."""
    cert = authority.issue("printer.inside.test")
    text = submission(net, authority.issue("mx.gapura.test")).replace(
        "kind = submission\n", f"kind = submission\n    client_ca = {authority.ca}\n"
        "    certificate_login = \"printer.inside.test bob@inside.test\"\n", 1)
    g = gapura(text, wait=waits(net))

    def external():
        with secure(g, authority, cert) as c:
            assert "EXTERNAL" in c.extensions["AUTH"]
            return c.cmd("AUTH EXTERNAL =").code
    assert external() == 535
    assert "does not exist" in json.dumps(g.events("AuthFailure"))
    g.user("bob@inside.test", "secret")
    assert external() == 235
    g.ctl("user", "remove", "bob@inside.test", "--reason", "left")
    until(lambda: external() == 535, what="the login gone")


def token(name, secret):
    part = [base64.urlsafe_b64encode(json.dumps(x).encode()).rstrip(b"=")
            for x in ({"alg": "HS256", "typ": "JWT"}, {"sub": name, "iss": "test", "exp": 4000000000})]
    signed = b".".join(part)
    mac = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + mac).decode()


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_bearer_token(gapura, peer, sink, net, authority, mechanism):
    """Dovecot checks the token; we carry it."""
    secret = b"a secret of thirty-two bytes ..."
    box = peer(Dovecot, (net.ip(2), 2424), {"bob": "secret"}, tokens=secret)
    sink(3)
    g = gapura(submission(net, authority.issue("mx.gapura.test"),
                          extra=f"auth {{\n passwords = dovecot\n dovecot = {box.auth}\n"
                                " mechanisms = PLAIN, OAUTHBEARER, XOAUTH2\n}\n" + OWN), wait=waits(net))

    def response(key):
        pairs = f"\1auth=Bearer {token('bob', key)}\1\1"
        return b64(("n,a=bob@inside.test," if mechanism == "OAUTHBEARER" else "user=bob@inside.test") + pairs)

    with secure(g, authority) as c:
        assert mechanism in c.extensions["AUTH"]
        refused = c.cmd(f"AUTH {mechanism} " + response(b"another"))
        assert refused.code == 334 and "status" in json.loads(base64.b64decode(refused.lines[0]))
        assert c.cmd("AQ==").code == 535
        assert c.cmd(f"AUTH {mechanism} " + response(secret)).code == 235
        assert c.mail("bob@inside.test", "x@outside.test", message(sender="bob@inside.test")).code == 250
    with secure(g, authority) as c:
        assert c.auth("PLAIN", "bob@inside.test", "secret").code == 235


def test_future_release(gapura, sink, net, authority):
    """A held message waits in the queue, says why, outlives a restart and goes at its time."""
    out = sink(3)
    g = gapura(submission(net, authority.issue("mx.gapura.test"), extra=OWN), wait=waits(net))
    g.user("bob@inside.test", "secret")
    with secure(g, authority) as c:
        assert c.extensions["FUTURERELEASE"].startswith("604800 20")
        assert c.auth("PLAIN", "bob@inside.test", "secret").code == 235
        for hold, to in ((3600, "tomorrow"), (8, "soon"), (None, "now")):
            assert c.mail("bob@inside.test", f"{to}@outside.test", message(sender="bob@inside.test"),
                          f"HOLDFOR={hold}" if hold else "").code == 250
    assert out.wait(1)[0].recipients == ["now@outside.test"]
    assert "the sender asked for a later time" in json.dumps(g.queue())
    g.stop()
    g.start()
    assert out.wait(2)[1].recipients == ["soon@outside.test"]
    left = json.dumps(g.queue())
    assert "tomorrow@outside.test" in left and "soon@outside.test" not in left
