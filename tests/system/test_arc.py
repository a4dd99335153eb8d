"""ARC seals on strangers' mail that an alias sends on: made by our key, verified by dkimpy and mailauth.

    away@inside.test    forwarded to friend@outside.test, which is the sink at ip(3)
"""
import subprocess
import sys

import pytest

import auth_rivals
from common import STRANGER, guard, stranger, trusted
from gapura import until
from peers import Nsd
from smtp import message

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's dkimpy, whatever Python runs us
dkim = pytest.importorskip("dkim")

SEAL = "arc {\n seal = yes\n domain = example.com\n}\n"
NAME = "seal._domainkey.example.com"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A private key (its file) and its TXT record."""
    pem = tmp_path_factory.mktemp("arc") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", pem, "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", pem, "-pubout"], check=True, capture_output=True).stdout
    return pem, "v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1]).decode()


@pytest.fixture
def world(gapura, peer, net, sink, place, key):
    def make(settings=SEAL, verify="on", **words):
        ip = net.ip
        text = " ".join(f'"{key[1][i:i + 200]}"' for i in range(0, len(key[1]), 200))
        peer(Nsd, (ip(9), 5399), f"""
far.test. IN MX 10 mx.far.test.
mx.far.test. IN A {ip(STRANGER)}
far.test. IN TXT "v=spf1 ip4:{ip(STRANGER)} -all"
sel._domainkey.far.test. IN TXT {text}
{NAME}. IN TXT {text}
_dmarc.far.test. IN TXT "v=DMARC1; p=reject"
plain.test. IN A {ip(STRANGER)}
client.test. IN A {ip(STRANGER)}
""")
        (place / "secret").write_bytes(b"0123456789abcdef")
        (place / "aliases").write_text("away: friend@outside.test\nboth: bob@inside.test, friend@outside.test\n")
        (place / "table").write_text("bob\n")
        g = gapura(guard(net, f"recipients = table\nrecipient_table = {place}/table\naliases = {place}/aliases\n",
                         extra=f"srs {{\n domain = fwd.inside.test\n secret = {place}/secret\n}}\n" + settings),
                   dns=f"{ip(9)}:5399", verify=verify, **words)
        g.ctl("domain", "dkim", "import", "example.com", "seal", str(key[0]))
        g.ctl("domain", "dkim", "activate", "example.com")
        g.inside, g.outside = sink(2), sink(3)
        return g
    return make


def post(g, data, sender="ann@far.test", to="away@inside.test"):
    """What the next hop gets."""
    before = len(g.outside.messages)
    with stranger(g) as c:
        reply = c.mail(sender, [to], data)
        assert reply.code == 250, reply
    return g.outside.wait(before + 1)[-1]


def signed(key, body="hello\n", extra=""):
    raw = (extra + message(sender="ann@far.test", body=body)).replace("\n", "\r\n").encode()
    return dkim.sign(raw, b"sel", b"far.test", key[0].read_bytes(), canonicalize=(b"relaxed", b"relaxed")) + raw


def verdict(data, key):
    """dkimpy's word on the chain, and how many sets there are."""
    cv, sets, why = dkim.arc_verify(data, dnsfunc=lambda name, timeout=5: key[1].encode())
    return (cv or b"none").decode(), len(sets), why


def flat(got, name):
    return [" ".join(v.split()) for v in got.header(name)]


@pytest.mark.parametrize("size", ["small", "large"])
def test_sealed(world, key, size):
    g = world()
    body = "hello\n" if size == "small" else "".join(f"{i} {'x' * (i % 70)}  \n" for i in range(7000))
    got = post(g, signed(key, body))
    assert got.sender.startswith("SRS0=") and got.recipients == ["friend@outside.test"]
    assert verdict(got.data, key)[:2] == ("pass", 1), verdict(got.data, key)
    results = flat(got, "ARC-Authentication-Results")[0]
    assert results.startswith("i=1; mx.gapura.test;"), results
    for part in ("spf=pass", "dkim=pass header.d=far.test", "dmarc=pass header.from=far.test", "; arc=none"):
        assert part in results, results
    assert got.data.startswith(b"ARC-Seal: ") and not got.header("DKIM-Signature")[1:]
    assert "cv=none" in flat(got, "ARC-Seal")[0]
    assert f"SIZE={len(got.data)}" in got.sender_args.split()
    assert dkim.verify(got.data, dnsfunc=lambda name, timeout=5: key[1].encode()), "the author's own still holds"
    event = g.wait_event("Delivery")
    assert event["arc"] == NAME and "dkim" not in event
    assert f"sealed (ARC) by {NAME}" in g.ctl("explain", event["id"], as_json=False)[1]
    if auth_rivals.has_mailauth():
        zone = auth_rivals.Zone([(NAME, "TXT", key[1]), ("sel._domainkey.far.test", "TXT", key[1])])
        told = auth_rivals.talk(auth_rivals.MAILAUTH, [{"op": "zone", "records": zone.for_mailauth()},
                                                       {"op": "verify", "message": auth_rivals.b64(got.data)}])[1]
        assert told["arc"] == "pass", told


def test_chain(world, key):
    """Sets are added to a chain that holds; one that was broken is marked once and then left alone."""
    g = world()
    first = post(g, signed(key)).data
    second = post(g, first, sender="list@plain.test")
    assert verdict(second.data, key)[:2] == ("pass", 2), verdict(second.data, key)
    assert "cv=pass" in flat(second, "ARC-Seal")[0]
    results = flat(second, "ARC-Authentication-Results")[0]
    assert results.startswith("i=2;") and "arc=pass" in results, results
    broken = post(g, first.replace(b"hello", b"hullo"), sender="list@plain.test")
    assert "cv=fail" in flat(broken, "ARC-Seal")[0] and "i=2" in flat(broken, "ARC-Seal")[0]
    assert verdict(broken.data, key)[0] != "pass"
    again = post(g, broken.data, sender="list@plain.test")
    assert len(again.header("ARC-Seal")) == 2, "nothing is added to a chain that has failed"
    assert "failed before" in g.wait_event("Delivery", count=4)["arc_none"]


def test_what_is_not_sealed(world, key, net):
    g = world()
    with stranger(g) as c:
        assert c.mail("ann@far.test", ["both@inside.test"], signed(key)).code == 250
    assert verdict(g.outside.wait(1)[0].data, key)[:2] == ("pass", 1)
    assert not g.inside.wait(1)[0].header("ARC-Seal")
    with trusted(g) as c:
        assert c.mail("a@far.test", ["away@inside.test"], message(sender="a@far.test")).code == 250
    assert not g.outside.wait(2)[1].header("ARC-Seal"), "submitted"
    forged = "Authentication-Results: mx.gapura.test; dmarc=pass header.from=bank.test\n"
    got = post(g, (forged + message(sender="x@plain.test")).replace("\n", "\r\n").encode(), sender="x@plain.test")
    assert verdict(got.data, key)[:2] == ("pass", 1) and b"bank.test" not in got.data
    g.write(g.text.replace("seal = yes", "seal = no"))
    g.ctl("reload")
    assert not post(g, signed(key)).header("ARC-Seal")


def test_without_results(world, key):
    """Nothing is said that the guard did not find: without `verify` foreign results are not taken for ours."""
    g = world(verify="off")
    forged = "Received: from a by b; Mon, 23 Nov 2026 10:00:00 +0000\nAuthentication-Results: mx.gapura.test; dmarc=pass\n"
    got = post(g, (forged + message(sender="x@plain.test")).replace("\n", "\r\n").encode(), sender="x@plain.test")
    assert not got.header("ARC-Seal")
    assert "Authentication-Results" in g.wait_event("Delivery")["arc_none"]


@pytest.mark.crashes
def test_mail_goes_without_its_seal(world, key):
    g = world()
    g.stop()
    (g.dir / "store/master.key").unlink()
    g.start()
    got = post(g, signed(key))
    assert not got.header("ARC-Seal")
    assert "cannot sign" in g.wait_event("Delivery")["arc_none"]
    until(lambda: [e for e in g.events("Alarm") if "seal of example.com" in e["text"]], what="the Alarm")
    g.stop(crashes=True)


def test_settings(world):
    g = world()
    g.write(g.text.replace(" domain = example.com\n}", "}"))
    code, _, said = g.ctl("reload", check=False)
    assert code and "needs `domain`" in said
