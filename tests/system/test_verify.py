"""Strangers' mail, with DNS that NSD serves: what is verified, written, refused, taken out and told.

Signatures are made by dkimpy; one message is sent by swaks.
"""
import re
import subprocess
import sys

import pytest

from common import STRANGER, guard, stranger, trusted
from peers import Nsd, need
from smtp import message

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's dkimpy, whatever Python runs us
dkim = pytest.importorskip("dkim")


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A private key (PEM) and the strings of its TXT record."""
    pem = tmp_path_factory.mktemp("dkim") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", pem, "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", pem, "-pubout"], check=True, capture_output=True).stdout
    text = "v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1]).decode()
    return pem.read_bytes(), " ".join(f'"{text[i:i + 200]}"' for i in range(0, len(text), 200))


@pytest.fixture
def world(gapura, peer, net, sink, key):
    """far.test may send from STRANGER; forged.test publishes p=reject and names nobody; the rest has nothing."""
    def make(extra="", more=""):
        ip = net.ip
        peer(Nsd, (ip(9), 5399), f"""
far.test. IN MX 10 mx.far.test.
mx.far.test. IN A {ip(STRANGER)}
far.test. IN TXT "v=spf1 ip4:{ip(STRANGER)} -all"
sel._domainkey.far.test. IN TXT {key[1]}
_dmarc.far.test. IN TXT "v=DMARC1; p=reject"
forged.test. IN A {ip(STRANGER)}
forged.test. IN TXT "v=spf1 include:spf.forged.test -all"
spf.forged.test. IN TXT "v=spf1 ip4:192.0.2.1 ?all"
_dmarc.forged.test. IN TXT "v=DMARC1; p=reject"
plain.test. IN A {ip(STRANGER)}
null.test. IN MX 0 .
client.test. IN A {ip(STRANGER)}
inside.test. IN A {ip(2)}
{more}
""")
        g = gapura(extra + guard(net), dns=f"{ip(9)}:5399", verify="on")
        g.inside = sink(2)
        return g
    return make


def sign(text, key, domain="far.test", canon=(b"relaxed", b"relaxed")):
    raw = text.replace("\n", "\r\n").encode()
    return (dkim.sign(raw, b"sel", domain.encode(), key[0], canonicalize=canon) + raw).decode()


def received(g, count=1):
    one = g.inside.wait(count)[count - 1]
    first = one.data.split(b":", 1)[0]
    assert first == b"Authentication-Results", one.data[:400]
    return one, " ".join(one.header("Authentication-Results")[0].split())


def reception(g, **fields):
    return g.wait_event("Reception", **fields)


@pytest.mark.parametrize("canon", [(b"relaxed", b"relaxed"), (b"simple", b"simple")])
def test_signed_mail_is_proved(world, key, canon):
    g = world("require = authenticated\n")
    with stranger(g) as c:
        assert c.mail("ann@far.test", ["bob@inside.test"], sign(message(sender="ann@far.test"), key, canon=canon)).code == 250
    one, results = received(g)
    assert results.startswith("mx.gapura.test;"), results
    for part in ("spf=pass smtp.mailfrom=far.test", "dkim=pass header.d=far.test", "dmarc=pass header.from=far.test"):
        assert part in results, results
    assert one.data.split(b"\r\nReceived:", 1)[0].count(b"\r\nFrom:") == 0, "ours stand above all"
    event = reception(g, sender="ann@far.test")
    told = event["authentication"]
    assert told["proved"] and told["dmarc"]["spf_aligned"] and told["dmarc"]["dkim_aligned"]
    assert [(s["identity"], s["result"]) for s in told["spf"]] == [("mailfrom", "pass"), ("helo", "none")]
    assert told["dkim"][0]["algorithm"] == "rsa-sha256" and told["dkim"][0]["bits"] == 2048
    assert {(f["check"], f["name"]) for f in event["findings"]} >= {("spf", "pass"), ("dkim", "pass"), ("dmarc", "pass")}


def test_forwarded_mail_is_proved_by_its_signature_and_swaks_sends_it(world, key, tmp_path):
    g = world("require = authenticated\n")
    path = tmp_path / "mail"
    path.write_bytes(sign(message(sender="ann@far.test"), key).encode())
    done = subprocess.run([need("swaks"), "--server", f"{g.net.ip(1)}:2525", "--local-interface", g.net.ip(60),
                           "--helo", "client.test", "--from", "list@plain.test", "--to", "bob@inside.test",
                           "--data", f"@{path}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    _, results = received(g)
    assert "dkim=pass" in results and "dmarc=pass" in results and "spf=none" in results, results


def test_published_reject_alone_refuses_nothing(world):
    g = world()
    with stranger(g) as c:
        assert c.mail("x@forged.test", ["bob@inside.test"], message(sender="x@forged.test")).code == 250
    _, results = received(g)
    assert "dmarc=fail" in results and "spf=fail" in results and "polrec.p=reject" in results, results
    event = reception(g, sender="x@forged.test")
    names = {(f["check"], f["name"]): f for f in event["findings"]}
    assert ("dmarc", "fail-reject") in names and event["score"] > 0
    assert names["alignment", "unproved"]["would"] == "refuse", "observed by default"
    spf = event["authentication"]["spf"][0]
    assert [(t["record"], t["term"], t["outcome"]) for t in spf["terms"]][:2] == [
        ("forged.test", "include:spf.forged.test", "no match"), ("spf.forged.test", "ip4:192.0.2.1", "no match")], spf
    text = g.ctl("explain", event["id"], as_json=False)[1]
    assert "SPF of mailfrom forged.test: fail" in text, text
    assert "forged.test: include:spf.forged.test: no match, 1 look-up" in text and "forged.test: -all: match" in text, text
    kept = next(row for row in g.ctl("explain", event["id"])[1] if row["what"] == "decision")["spf"][0]
    assert [(t["term"], t["outcome"], t["lookups"]) for t in kept["terms"]] == [
        ("include:spf.forged.test", "no match", 1), ("ip4:192.0.2.1", "no match", 0), ("?all", "match", 0),
        ("-all", "match", 0)], kept
    assert kept["result"] == "fail" and kept["used"]["terms"] == 1, kept


def test_require_authenticated(world):
    g = world("require = authenticated\nknown = legacy.test " + "127.0.0.0/8\n", more="legacy.test. IN A 127.0.0.1")
    with stranger(g) as c:
        reply = c.mail("x@forged.test", ["bob@inside.test"], message(sender="x@forged.test"))
        assert reply.code == 550 and reply.enhanced == "5.7.23", reply
        assert "forged.test" in reply.text and "DKIM" in reply.text and "postmaster@mx.gapura.test" in reply.text
        assert c.mail("x@plain.test", ["bob@inside.test"], message(sender="x@plain.test")).enhanced == "5.7.26"
        assert c.mail("x@plain.test", ["abuse@inside.test"], message(sender="x@plain.test")).code == 250
        assert c.mail("x@legacy.test", ["bob@inside.test"], message(sender="x@legacy.test")).code == 250
        assert c.cmd("MAIL FROM:<x@nobody.test>").enhanced == "5.1.8"
        assert c.cmd("MAIL FROM:<x@null.test>").enhanced == "5.7.27"
    rejection = g.wait_event("Rejection", sender="x@forged.test")
    assert rejection["authentication"]["dmarc"]["result"] == "fail"
    assert rejection["authentication"]["proved"] is False


def test_report_about_our_own_mail_passes(world):
    g = world("require = authenticated\n")
    with trusted(g) as c:
        assert c.mail("bob@inside.test", ["carl@inside.test"], message(sender="bob@inside.test")).code == 250
    head = g.inside.wait(1)[0].data.split(b"\r\n\r\n", 1)[0].decode().replace("\r\n", "\n")
    tag = re.search(r"\(return ([a-z2-7]{20})\)", head)
    assert tag, head

    def report(header, author="plain.test"):
        return (f"From: MAILER-DAEMON@{author}\nTo: bob@inside.test\nSubject: failed\n"
                f"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
                f"--b\n\nIt failed.\n--b\nContent-Type: text/rfc822-headers\n\n{header}\n--b--\n")
    with stranger(g) as c:
        assert c.mail("", ["bob@inside.test"], report(head)).code == 250
        assert c.mail("", ["bob@inside.test"], report(head.replace(tag[0], ""))).enhanced == "5.7.26", "an id is no proof"
        assert c.mail("", ["carl@inside.test"], report(head)).enhanced == "5.7.26", "only to its sender"
        assert c.mail("", ["bob@inside.test"], report(head, "inside.test")).enhanced == "5.7.26", "not in our name"
    g.stop()
    g.start()
    with stranger(g) as c:
        assert c.mail("", ["bob@inside.test"], report(head)).code == 250, "the key is kept"


FORGED = ("Authentication-Results: mx.gapura.test; spf=pass smtp.mailfrom=bank.test\n"
          "Authentication-Results: MX.GAPURA.TEST. 1; dmarc=pass header.from=bank.test\n"
          "Authentication-Results: elsewhere.test; spf=pass\n"
          "X-Spam-Status: No, score=-99\nX-Gapura-Verdict: clean\nReturn-Path: <boss@bank.test>\n")


@pytest.mark.parametrize("size", [2000, 300_000, 10_000_000])
def test_forged_results_go_and_ours_stand_on_top(world, key, size):
    g = world()
    text = message(sender="ann@far.test", extra=FORGED, body="A line that is sixty bytes long, so that it need not be cut.\n" * (size // 61))
    with stranger(g) as c:
        assert c.mail("ann@far.test", ["bob@inside.test"], sign(text, key)).code == 250
    one, results = received(g)
    assert "dkim=pass" in results and "dmarc=pass" in results, results
    head, body = one.data.split(b"\r\n\r\n", 1)
    assert b"bank.test" not in head and b"X-Spam-" not in head and b"X-Gapura-" not in head, head
    assert one.header("Authentication-Results")[1].strip() == "elsewhere.test; spf=pass"
    assert body == text.replace("\n", "\r\n").encode().split(b"\r\n\r\n", 1)[1]
    assert reception(g)["size"] == len(one.data)
    with trusted(g) as c:
        assert c.mail("ann@far.test", ["bob@inside.test"], message(sender="ann@far.test", extra=FORGED)).code == 250
    assert b"X-Spam-Status: No" in g.inside.wait(2)[1].data, "trusted networks keep theirs"


def test_own_domain_from_outside_is_told(world):
    g = world()
    with stranger(g) as c:
        assert c.mail("news@plain.test", ["bob@inside.test"], message(sender="boss@inside.test")).code == 250
    finding = next(f for f in reception(g)["findings"] if f["check"] == "own_domain_spoof")
    assert (finding["name"], finding["input"], finding["would"]) == ("author", "inside.test", "refuse")


def test_public_suffix_list_in_place_of_the_tree(world, tmp_path):
    psl = tmp_path / "psl.dat"
    psl.write_text("// ===BEGIN ICANN DOMAINS===\ntest\n*.ck\n!www.ck\n公司.cn\n// ===END ICANN DOMAINS===\n")
    psl.chmod(0o644)
    tmp_path.chmod(0o755)
    g = world(f"verify {{\n dmarc_method = psl\n psl = {psl}\n}}\n", more="sub.far.test. IN A 127.0.0.1")
    with stranger(g) as c:
        assert c.mail("ann@far.test", ["bob@inside.test"], message(sender="ann@sub.far.test")).code == 250
    told = reception(g)["authentication"]["dmarc"]
    assert told["organization"] == "far.test" and told["spf_aligned"] and told["result"] == "pass", told
    gate = g.pids()["gate"]
    psl.write_text(psl.read_text().replace("test\n", "test\nfar.test\n"))
    g.ctl("reload", as_json=False)
    assert g.pids()["gate"] == gate, "a list is read again inside the sandbox"
    with stranger(g) as c:
        assert c.mail("ann@far.test", ["bob@inside.test"], message(sender="ann@sub.far.test")).code == 250
    told = g.wait_event("Reception", count=2)["authentication"]["dmarc"]
    assert told["result"] == "none" and not told["spf_aligned"], told


def test_without_answers_nothing_is_refused(gapura, net, sink):
    """The resolver reaches nobody: mail of strangers is taken, with what could not be found said."""
    g = gapura("smtp {\n lookup_timeout = 1s\n}\n" + guard(net), dns=f"{net.ip(8)}:5399", verify="on")
    g.inside = sink(2)
    with stranger(g) as c:
        assert c.mail("ann@far.test", ["bob@inside.test"], message(sender="ann@far.test")).code == 250
    _, results = received(g)
    assert "spf=temperror" in results and "dmarc=temperror" in results, results
