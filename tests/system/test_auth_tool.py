"""`gapura auth verify|sign|spf` by hand: a file, a zone, exit statuses, JSON, DNS and wrong words."""
import json
import subprocess

import pytest

from common import STRANGER, guard, stranger
from gapura import PROGRAM
from peers import Nsd

MESSAGE = (b"From: Ann <ann@example.com>\nTo: bob@example.net\nSubject: hello\n"
           b"Date: Mon, 23 Nov 2026 10:00:00 +0000\n\nA line.\n")
ZONE = """example.com. TXT "v=spf1 a:mx.example.com include:more.example.com -all"
more.example.com. TXT "v=spf1 ip4:192.0.2.9 -all"
mx.example.com. A 192.0.2.1
mx.example.com. TXT "v=spf1 a -all"
_dmarc.example.com. TXT "v=DMARC1; p=reject"
quiet.example.com. TXT "v=spf1 include:dead.example.com -all"
"""
NOW = "1795500000"


def auth(*words, stdin=b"", status=0):
    done = subprocess.run([PROGRAM, "auth", *[str(w) for w in words]], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr.decode()


def verdict(*words, **more):
    return json.loads(auth(*words, "--json", **more)[0])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Keys, a message with LF line ends, one signed twice, and a zone with both keys."""
    folder = tmp_path_factory.mktemp("auth")
    subprocess.run(["openssl", "genrsa", "-out", folder / "rsa.pem", "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / "ed.pem"], check=True,
                   capture_output=True)
    (folder / "plain").write_bytes(MESSAGE)
    words = ["sign", folder / "plain", "--domain", "example.com", "--selector", "s1", "--key", folder / "rsa.pem",
             "--ed25519-key", folder / "ed.pem", "--time", "1795400000"]
    (folder / "signed").write_bytes(auth(*words)[0])
    records = verdict(*words)["records"]
    keys = "".join("%s. TXT %s\n" % (r["name"], " ".join(f'"{r["value"][i:i + 200]}"' for i in range(0, 500, 200)))
                   for r in records)
    (folder / "zone").write_text(ZONE + "dead.example.com. TIMEOUT\n" + keys)
    (folder / "nsd.zone").write_text(ZONE + keys)
    return folder


def test_signed_message_passes(files):
    told = verdict("verify", files / "signed", "--dns", files / "zone", "--time", NOW, "--ip", "192.0.2.1",
                   "--helo", "mx.example.com", "--from", "ann@example.com", "--id", "mx.test")
    assert told["result"] == "pass" and told["converted"]
    assert [s["result"] for s in told["dkim"]] == ["pass", "pass"]
    assert {s["algorithm"] for s in told["dkim"]} == {"rsa-sha256", "ed25519-sha256"}
    assert told["spf"]["helo"]["result"] == "pass" and told["spf"]["mailfrom"]["result"] == "pass"
    assert told["arc"]["result"] == "none"
    assert told["dmarc"]["result"] == "pass" and told["dmarc"]["steps"] == [
        {"domain": "example.com", "found": "a record"}]
    assert told["field"].startswith("Authentication-Results: mx.test;")
    for part in ("spf=pass smtp.helo=mx.example.com", "spf=pass smtp.mailfrom=example.com", "dkim=pass",
                 "dmarc=pass header.from=example.com"):
        assert part in told["field"].replace("\r\n\t", " ")


def test_people_read_the_same(files):
    out = auth("verify", files / "signed", "--dns", files / "zone", "--time", NOW, "--id", "mx.test")[0].decode()
    assert "1. pass: example.com selector s1, rsa-sha256 of 2048 bits" in out
    assert "_dmarc.example.com: a record" in out and "Authentication-Results: mx.test;" in out
    assert "not known: --ip" in out and "CRLF was taken" in out


def test_changed_message_fails(files):
    text = (files / "signed").read_bytes().replace(b"A line", b"Another line")
    told = verdict("verify", "-", "--dns", files / "zone", "--time", NOW, stdin=text, status=1)
    assert {s["reason"] for s in told["dkim"]} == {"the body was changed after signing"}
    assert told["dmarc"]["result"] == "fail" and told["dmarc"]["policy"] == "reject"


def test_keys_that_dns_does_not_give_are_temporary(files, tmp_path):
    (tmp_path / "zone").write_text("s1._domainkey.example.com. SERVFAIL\ns1-ed25519._domainkey.example.com. SERVFAIL\n"
                                   "_dmarc.example.com. TXT \"v=DMARC1; p=reject\"\n")
    told = verdict("verify", files / "signed", "--dns", tmp_path / "zone", "--time", NOW, status=3)
    assert {s["result"] for s in told["dkim"]} == {"temperror"}


def test_field_says_what_the_header_cannot_forge(files):
    """What the message itself claims does not come out as ours, nor reach a terminal raw."""
    text = b"Return-Path: <ann@example.com>\nFrom: a@example.com, \x1b[2Jb@example.org\n\nx\n"
    out = auth("verify", "-", "--dns", files / "zone", "--ip", "192.0.2.9", stdin=text, status=1)[0]
    assert b"\x1b" not in out and b"from Return-Path" in out


def test_sign_keeps_the_line_ends_of_its_input(files):
    words = ["--domain", "example.com", "--selector", "s1", "--key", files / "rsa.pem"]
    assert b"\r" not in auth("sign", files / "plain", *words)[0]
    crlf = auth("sign", "-", *words, stdin=MESSAGE.replace(b"\n", b"\r\n"))[0]
    assert crlf.count(b"\n") == crlf.count(b"\r\n") and crlf.endswith(b"A line.\r\n")
    field = auth("sign", files / "plain", *words, "--field", "--canon", "simple/relaxed", "--headers", "from:subject",
                 "--identity", "@mail.example.com", "--expires", "1d", "--time", "1795400000")[0].decode()
    squeezed = "".join(field.split())
    for tag in ("c=simple/relaxed", "h=from:subject", "i=@mail.example.com", "t=1795400000", "x=1795486400"):
        assert tag + ";" in squeezed
    assert "Subject: hello" not in field


@pytest.mark.parametrize("canon", ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"])
def test_what_is_signed_verifies(files, canon):
    signed = auth("sign", files / "plain", "--domain", "example.com", "--selector", "s1", "--key", files / "rsa.pem",
                  "--canon", canon)[0]
    told = verdict("verify", "-", "--dns", files / "zone", stdin=signed)
    assert (told["dkim"][0]["header_canon"] + "/" + told["dkim"][0]["body_canon"], told["result"]) == (canon, "pass")


def test_spf_shows_each_term_and_what_was_used(files):
    told = verdict("spf", "example.com", "--ip", "192.0.2.9", "--dns", files / "zone")
    assert [(s["term"], s["outcome"], s["depth"]) for s in told["steps"]] == [
        ("a:mx.example.com", "no match", 0), ("include:more.example.com", "match", 0), ("ip4:192.0.2.9", "match", 1)]
    assert told["limits"]["terms"] == {"used": 2, "limit": 10}
    out = auth("spf", "example.com", "--ip", "192.0.2.7", "--dns", files / "zone", status=1)[0].decode()
    assert out.startswith("fail: example.com and 192.0.2.7") and "used: 2 of 10 terms" in out
    assert auth("spf", "nothing.test", "--ip", "::1", "--dns", files / "zone", status=1)[0].startswith(b"none:")
    assert auth("spf", "quiet.example.com", "--ip", "::1", "--dns", files / "zone", status=3)[0].startswith(
        b"temperror:")


def test_dns_of_a_server(files, net, peer):
    at = (net.ip(9), 5300)
    peer(Nsd, at, (files / "nsd.zone").read_text())
    told = verdict("verify", files / "signed", "--resolver", f"{at[0]}:{at[1]}", "--time", NOW, "--ip", "192.0.2.1",
                   "--helo", "mx.example.com", "--from", "ann@example.com")
    assert told["result"] == "pass" and [s["result"] for s in told["dkim"]] == ["pass", "pass"]
    assert told["spf"]["mailfrom"]["result"] == "pass"
    out = auth("spf", "example.com", "--ip", "192.0.2.9", "--resolver", f"{at[0]}:{at[1]}")[0]
    assert out.startswith(b"pass:")


def test_field_is_the_gates(files, net, peer, sink, gapura):
    """What a gate writes over a message and what the verb says of it are one field."""
    at, client = (net.ip(9), 5399), net.ip(STRANGER)
    zone = (files / "nsd.zone").read_text().replace("mx.example.com. A 192.0.2.1", f"mx.example.com. A {client}")
    peer(Nsd, at, zone + "inside.test. A 192.0.2.2\nexample.com. MX 10 mx.example.com.\n")
    g = gapura(guard(net), dns=f"{at[0]}:{at[1]}", verify="on")
    inside = sink(2)
    text = (files / "signed").read_bytes().decode()
    with stranger(g) as c:
        helo = c.name
        assert c.mail("ann@example.com", ["bob@inside.test"], text).code == 250
    written = inside.wait(1)[0].header("Authentication-Results")[0]
    told = verdict("verify", files / "signed", "--resolver", f"{at[0]}:{at[1]}", "--ip", client, "--helo", helo,
                   "--from", "ann@example.com", "--id", "mx.gapura.test")
    assert told["result"] == "pass"
    assert sorted("".join(written.split()).split(";")) == \
        sorted("".join(told["field"].partition(":")[2].split()).split(";"))


def test_server_that_keeps_silent(files, net):
    """Nobody answers there: the verdict comes when the time is over, and says why."""
    words = ["--resolver", f"{net.ip(9)}:5399", "--timeout", "1s"]
    out = auth("verify", files / "signed", *words, "--time", NOW, status=3)[0].decode()
    assert "DNS gave no answer" in out
    assert auth("spf", "example.com", "--ip", "192.0.2.9", *words, status=3)[0].startswith(b"temperror:")


WRONG = [
    ([], "auth verify"),
    (["forge"], "there is no verb `auth forge`"),
    (["verify"], "needs FILE"),
    (["verify", "a", "b"], "what is `b` for?"),
    (["verify", "/nowhere/message"], "cannot read /nowhere/message"),
    (["verify", "FOLDER"], "cannot read"),
    (["verify", "/dev/null"], "is empty"),
    (["verify", "PLAIN", "--ip", "192.0.2.300"], "--ip: `192.0.2.300` is no address"),
    (["verify", "PLAIN", "--ip", "192.0.2.0/24"], "is no address"),
    (["verify", "PLAIN", "--ip"], "--ip needs a value"),
    (["verify", "PLAIN", "--helo", "mx.test"], "needs the client's address: --ip"),
    (["verify", "PLAIN", "--ip", "::1", "--from", "a@"], "--from: `a@` is no address"),
    (["verify", "PLAIN", "--form", "a@b"], "did you mean --from?"),
    (["verify", "PLAIN", "--json=1"], "--json takes no value"),
    (["verify", "PLAIN", "--time", "soon"], "`soon` is not a number"),
    (["verify", "PLAIN", "--timeout", "soon"], "is not a time span"),
    (["verify", "PLAIN", "--timeout", "1h"], "at most 10m"),
    (["verify", "PLAIN", "--resolver", "ns.test"], "--resolver: `ns.test` is no address"),
    (["verify", "PLAIN", "--dns", "/nowhere/zone"], "cannot read /nowhere/zone"),
    (["verify", "PLAIN", "--dns", "PLAIN"], "line 1: not a record"),
    (["verify", "PLAIN", "--dns", "-"], "--dns takes a file"),
    (["verify", "PLAIN", "--dns", "ZONE", "--resolver", "127.0.0.1"], "nobody is asked"),
    (["verify", "PLAIN", "--dns", "ZONE", "--timeout", "1s"], "nobody is asked"),
    (["verify", "PLAIN", "--dns", "ZONE", "--psl", "/nowhere/list"], "/nowhere/list"),
    (["verify", "PLAIN", "-c", "x"], "asks no role and reads no settings"),
    (["verify", "PLAIN", "--run-dir", "x"], "asks no role and reads no settings"),
    (["verify", "PLAIN", "-x"], "unknown option -x"),
    (["spf"], "needs DOMAIN"),
    (["spf", "example.com", "--dns", "ZONE"], "--ip ADDRESS"),
    (["spf", "example.com", "--ip", "here", "--dns", "ZONE"], "is no address"),
    (["spf", "example.com", "--ip", "::1", "--dns", "ZONE", "--from", "a@example.org"], "is not at example.com"),
    (["sign", "PLAIN"], "needs --domain"),
    (["sign", "PLAIN", "--domain", "a.test"], "needs --selector"),
    (["sign", "PLAIN", "--domain", "a.test", "--selector", "s"], "needs --key"),
    (["sign", "PLAIN", "KEYS", "--key", "/nowhere/key"], "cannot read /nowhere/key"),
    (["sign", "PLAIN", "KEYS", "--key", "PLAIN"], "neither a PEM private key"),
    (["sign", "PLAIN", "KEYS", "--canon", "loose/loose"], "--canon: `loose/loose` is none"),
    (["sign", "PLAIN", "KEYS", "--headers", "to:subject"], "--headers must name From"),
    (["sign", "PLAIN", "KEYS", "--identity", "a@b.test"], "--identity must be an address at a.test"),
    (["sign", "PLAIN", "KEYS", "--identity", "a.test"], "--identity must be an address at a.test"),
    (["sign", "PLAIN", "KEYS", "--expires", "1d", "--time", "0"], "--expires counts from t="),
    (["sign", "PLAIN", "KEYS", "--ed25519-key", "RSA"], "is no Ed25519 key"),
    (["sign", "PLAIN", "KEYS", "--ed25519-selector", "e"], "names a second key"),
    (["sign", "PLAIN", "KEYS", "--ed25519-key", "ED", "--ed25519-selector", "S"], "under one selector"),
    (["sign", "/nowhere/message", "KEYS"], "cannot read /nowhere/message"),
]


@pytest.mark.parametrize("words, said", WRONG, ids=[" ".join(w) or "nothing" for w, _ in WRONG])
def test_wrong_words_are_told(files, words, said):
    keys = ["--domain", "a.test", "--selector", "s", "--key", files / "rsa.pem"]
    names = {"FOLDER": [files], "PLAIN": [files / "plain"], "ZONE": [files / "zone"], "RSA": [files / "rsa.pem"],
             "ED": [files / "ed.pem"], "KEYS": keys}
    spelled = [x for w in words for x in names.get(w, [w])]
    out, err = auth(*spelled, status=2)
    assert said in err and not out


@pytest.mark.parametrize("text, said", [
    (b"Subject: x\n\nbody\n", "0 From fields"),
    (b"From: a@a.test\nFrom: b@a.test\n\nbody\n", "2 From fields"),
])
def test_what_is_not_signed(files, text, said):
    err = auth("sign", "-", "--domain", "a.test", "--selector", "s", "--key", files / "rsa.pem", stdin=text, status=1)[1]
    assert said in err
    err = auth("sign", "-", "--domain", "a..test", "--selector", "s", "--key", files / "rsa.pem", stdin=MESSAGE,
               status=1)[1]
    assert "cannot stand in a signature" in err


@pytest.mark.parametrize("verb", ["verify", "sign", "spf"])
def test_help(verb):
    out = auth(verb, "--help")[0].decode()
    assert f"usage: gapura auth {verb} " in out and "--json" in out and "Exit status" in out
    assert "-c FILE" not in out
