"""DKIM signatures on what is sent: made by our keys, verified by others on the wire's own bytes.

dkimpy verifies every signature; opendkim-testmsg the RSA ones, asking the same NSD for the records
(in a mount namespace of its own, where /etc/resolv.conf names it).
"""
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

import auth_rivals
from common import STRANGER, TRUSTED, guard, trusted
from gapura import until
from peers import Nsd, need
from sink import ALL
from smtp import message

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's dkimpy, whatever Python runs us
dkim = pytest.importorskip("dkim")

FAST = "dkim {\n check = 1s\n settle = 0s\n%s}\n"


@pytest.fixture
def server(gapura, net):
    def make(extra="", dkim_rows="", **words):
        return gapura(guard(net, extra=FAST % dkim_rows + extra), **words)
    return make


def records(g, domain):
    """What `domain dkim show` wants to be published: name -> value."""
    return {row["name"]: row["value"] for row in g.ctl("domain", "dkim", "show", domain)[1]}


def zone(g, domain):
    """The same as lines of a zone file, as they are shown to people."""
    return g.ctl("domain", "dkim", "show", domain, as_json=False)[1]


def key(g, domain, *words):
    g.ctl("domain", "dkim", "add", domain, *words)
    g.ctl("domain", "dkim", "activate", domain)
    return records(g, domain)


def verify(data, published):
    """Every signature on it by dkimpy: their key names, or an AssertionError."""
    names = []
    check = dkim.DKIM(data, timeout=5)
    count = len([h for h in check.headers if h[0].lower() == b"dkim-signature"])
    for i in range(count):
        seen = []

        def dns(name, timeout=5, seen=seen):
            name = name.decode().rstrip(".") if isinstance(name, bytes) else name.rstrip(".")
            seen.append(name)
            return published[name].encode()
        assert dkim.DKIM(data, timeout=5).verify(idx=i, dnsfunc=dns), f"signature {i}: {data[:3000]!r}"
        names += seen
    return sorted(names)


def test_both_kinds(server, sink, net):
    out = sink(3)
    g = server()
    published = key(g, "example.com", "--type", "both")
    assert len(published) == 2
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@outside.test", message(body=".dots\n..two\n\n \ntail  \n\n\n")
                      ).code == 250
    got = out.wait(1)[0]
    assert verify(got.data, published) == sorted(published)
    event = g.wait_event("Delivery")
    assert sorted(event["dkim"]) == sorted(published)
    told = g.ctl("explain", event["id"], as_json=False)[1]
    assert "signed by " in told and all(name in told for name in published)
    assert b"From : From" not in got.data and got.data.startswith(b"DKIM-Signature: v=1; a=")
    for name in ("From:From", "Subject:Subject", "Date:Date"):  # none can be added
        assert name in "".join(got.header("DKIM-Signature")).replace(" ", "")


@pytest.mark.parametrize("words", [["--type", "rsa"], ["--type", "ed25519"], ["--type", "rsa", "--bits", "1024"],
                                   ["--type", "rsa", "--bits", "4096"]], ids=lambda w: "-".join(w[1::2]))
@pytest.mark.parametrize("chunking", [True, False], ids=["bdat", "data"])
def test_large(server, sink, net, words, chunking):
    """300 KB, which the gate stores in pieces, by BDAT and by DATA; SIZE counts the signature."""
    out = sink(3, extensions=[e for e in ALL if chunking or e != "CHUNKING"])
    g = server()
    published = key(g, "example.com", *words)
    body = "".join(f".{i} {'x' * (i % 70)}  \n" for i in range(7000))
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@outside.test", message(body=body)).code == 250
    got = out.wait(1)[0]
    assert len(got.data) > 300000
    assert verify(got.data, published) == sorted(published)
    size = [w for w in got.sender_args.split() if w.startswith("SIZE=")]
    assert size == [f"SIZE={len(got.data)}"]


def test_many_recipients(server, sink, net):
    """One signature for all of them: at many sites, in several tries."""
    first, second = sink(3, answers={"mail": ["451 4.3.0 later", "250 2.1.0 ok"]}), sink(4)
    g = server(extra=f"route other {{\n domains = other.test\n via = smtp://{net.ip(4)}:2600\n}}\n",
               delivery="rcpts_per_message = 10")
    published = key(g, "example.com", "--type", "both")
    to = [f"u{i}@outside.test" for i in range(60)] + [f"u{i}@other.test" for i in range(60)]
    with trusted(g) as c:
        assert c.mail("alice@example.com", to, message(body="to all\n")).code == 250
    got = first.wait(6) + second.wait(6)
    assert sum(len(m.recipients) for m in got) == 120
    assert len({tuple(m.header("DKIM-Signature")) for m in got}) == 1
    assert verify(got[0].data, published) == sorted(published)


def test_who_is_signed(server, sink, net):
    """Another tenant's domain, a domain without a key, inbound mail: not. The platform: all of ours."""
    out, inside = sink(3), sink(2)
    g = server(dkim_rows=" platform = platform.test\n",
               extra="tenant shop {\n number = 7\n}\n")
    platform = key(g, "platform.test", "--selector", "p1")
    own = key(g, "example.com", "--selector", "s1")
    key(g, "shop.test", "--tenant", "shop")
    published = {**platform, **own}
    for sender, want in (("a@example.com", published), ("a@shop.test", platform), ("a@nokey.test", platform)):
        before = len(out.messages)
        with trusted(g) as c:
            assert c.mail(sender, "bob@outside.test", message(sender=sender)).code == 250
        assert verify(out.wait(before + 1)[-1].data, published) == sorted(want), sender
    with g.smtp(source=net.ip(STRANGER)) as c:
        c.ehlo()
        assert c.mail("a@example.com", "bob@inside.test", message(sender="a@example.com")).code == 250
    assert not inside.wait(1)[0].header("DKIM-Signature")
    with trusted(g) as c:  # two authors' fields: nobody could say what the signature stands for
        text = "From: b@example.com\n" + message(sender="a@example.com")
        c.mail("a@example.com", "bob@outside.test", text)
    got = out.wait(4)[-1]
    assert not got.header("DKIM-Signature")
    assert "header" in g.wait_event("Delivery", count=5)["dkim_none"]


def test_subdomains(server, sink, net):
    """Keys of example.com for the domains below it, where settings say so and none of theirs signs."""
    out = sink(3)
    g = server()
    above = key(g, "example.com", "--selector", "up")

    def sent(sender):
        before = len(out.messages)
        with trusted(g) as c:
            assert c.mail(sender, "bob@outside.test", message(sender=sender)).code == 250
        return out.wait(before + 1)[-1]
    assert not sent("a@news.example.com").header("DKIM-Signature")
    g.write(g.text.replace("check = 1s", "subdomains = example.com\n check = 1s"))
    g.ctl("reload")
    for sender in ("a@news.example.com", "a@x.y.example.com"):
        got = sent(sender)
        assert verify(got.data, above) == sorted(above)
        assert "d=example.com;" in got.header("DKIM-Signature")[0]
    assert not sent("a@notexample.com").header("DKIM-Signature")
    assert "up._domainkey.example.com" in {r["name"] for r in g.ctl("domain", "dns", "news.example.com")[1]}
    own = key(g, "news.example.com", "--selector", "s1")
    assert verify(sent("a@news.example.com").data, own) == sorted(own)
    rows = {r["name"] for r in g.ctl("domain", "dns", "news.example.com")[1]}
    assert "s1._domainkey.news.example.com" in rows and "up._domainkey.example.com" not in rows


def test_many_keys(server, sink, net, peer):
    """More keys than are looked up at once: each is found, and the list is published in between."""
    g = server()
    names = [f"d{i}.test" for i in range(40)]
    for name in names:
        g.ctl("domain", "dkim", "add", name, "--type", "ed25519")
    peer(Nsd, (net.ip(9), 5399), "\n".join(zone(g, name) for name in names))
    until(lambda: [r["state"] for r in g.ctl("domain", "dkim", "list")[1]] == ["active"] * 40, 60, "all of them active")


@pytest.mark.crashes
def test_one_row_damaged(server, sink, net):
    """A row of the store that no program of ours wrote: an Alarm, and all others go on signing."""
    out = sink(3)
    g = server()
    published = key(g, "example.com")
    key(g, "bad.test", "--selector", "s1")
    g.stop()
    with sqlite3.connect(g.dir / "store/store.db") as db:
        db.execute("UPDATE dkim_keys SET alg = 9 WHERE domain = 'bad.test'")
    g.start()
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@outside.test", message()).code == 250
    assert verify(out.wait(1)[0].data, published) == sorted(published)
    assert "s1 of bad.test" in g.wait_event("Alarm")["text"]
    g.stop(crashes=True)


def test_our_reports(server, sink, net):
    out = sink(3, answers={"rcpt": lambda s, a: "550 5.1.1 no" if "nobody" in a else None})
    g = server()
    published = key(g, "mx.gapura.test")
    with trusted(g) as c:
        assert c.mail("a@back.test", "nobody@outside.test", message(sender="a@back.test")).code == 250
    report = out.wait(1)[0]
    assert report.sender == "" and verify(report.data, published) == sorted(published)


@pytest.mark.crashes
def test_keyring_killed(server, sink, net):
    """While it is away mail waits, for a reason that is named; nothing is lost, and all is signed."""
    out = sink(3)
    g = server()
    published = key(g, "example.com", "--type", "both")
    for i in range(40):
        with trusted(g) as c:
            assert c.mail("alice@example.com", "bob@outside.test", message(subject=f"n{i}")).code == 250
        if i in (10, 20, 30):
            pid = g.pids()["keyring"]
            if pid:
                os.kill(pid, signal.SIGKILL)
    got = out.wait(40, 60)
    g.wait_empty(60)
    assert sorted({m.header("Subject")[0] for m in got}) == sorted(f"n{i}" for i in range(40))
    for m in got:
        assert verify(m.data, published) == sorted(published)


@pytest.mark.crashes
def test_courier_and_keeper_killed(server, sink, net):
    """A courier that has just started knows no keys: until it does, nothing goes unsigned."""
    out = sink(3)
    g = server()
    published = key(g, "example.com")
    for i in range(30):
        with trusted(g) as c:
            assert c.mail("alice@example.com", "bob@outside.test", message(subject=f"n{i}")).code == 250
        for role in ("courier", "keeper") if i in (10, 20) else ():
            pid = g.pids()[role]
            if pid:
                os.kill(pid, signal.SIGKILL)
    until(lambda: {m.header("Subject")[0] for m in out.messages} == {f"n{i}" for i in range(30)}, 60, "all of them")
    g.wait_empty(60)
    for m in out.messages:
        assert verify(m.data, published) == sorted(published)


@pytest.mark.crashes
def test_master_key_lost(server, sink, net, place):
    """Keys that cannot be opened: the mail waits and says why; the backup makes it go."""
    out = sink(3)
    g = server()
    published = key(g, "example.com")
    g.stop()
    master = g.dir / "store/master.key"
    assert master.stat().st_mode & 0o777 == 0o600
    saved = master.read_text()
    master.unlink()
    g.start()
    assert master.read_text() != saved
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@outside.test", message()).code == 250
    until(lambda: any("DKIM signature" in row["reason"] for row in g.queue()), what="the reason of the wait")
    alarm = g.wait_event("Alarm")
    assert "master key" in alarm["text"] and "backup" in alarm["text"]
    assert not out.messages
    g.stop(crashes=True)
    master.write_text(saved)
    g.start()
    assert verify(out.wait(1, 60)[0].data, published) == sorted(published)


def test_sent_without(server, sink, net):
    """dkim.required = no: mail goes out unsigned rather than late, and the event says so."""
    out = sink(3)
    g = server(dkim_rows=" required = no\n")
    key(g, "example.com")
    g.stop()
    (g.dir / "store/master.key").unlink()
    g.start()
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@outside.test", message()).code == 250
    assert not out.wait(1)[0].header("DKIM-Signature")
    assert "keyring" in g.wait_event("Delivery")["dkim_none"]


def test_import(server, sink, net, tmp_path):
    out = sink(3)
    g = server()
    pem = tmp_path / "old.private"
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", pem, "1024"], check=True, capture_output=True)
    g.ctl("domain", "dkim", "import", "example.com", "mail", str(pem))
    g.ctl("domain", "dkim", "activate", "example.com")
    published = records(g, "example.com")
    public = subprocess.run(["openssl", "rsa", "-in", pem, "-pubout"], check=True, capture_output=True, text=True)
    assert "".join(public.stdout.splitlines()[1:-1]) in published["mail._domainkey.example.com"]
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@outside.test", message()).code == 250
    assert verify(out.wait(1)[0].data, published) == ["mail._domainkey.example.com"]
    code, _, said = g.ctl("domain", "dkim", "import", "example.com", "other", str(tmp_path / "none"), check=False)
    assert code == 2 and "cannot read" in said
    (tmp_path / "bad").write_text("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")
    code, _, said = g.ctl("domain", "dkim", "import", "example.com", "other", str(tmp_path / "bad"), check=False)
    assert code == 1 and "no key was added" in said


def test_published_and_rotated(server, sink, net, peer, place):
    """The records as they are shown go into a real zone; keys take over by themselves, under load."""
    out = sink(3)
    g = server(dkim_rows=" grace = 2s\n")
    g.ctl("domain", "dkim", "add", "example.com", "--type", "both")
    assert {r["state"] for r in g.ctl("domain", "dkim", "list")[1]} == {"waiting"}
    with trusted(g) as c:  # a key that nobody can look up signs nothing
        assert c.mail("alice@example.com", "bob@outside.test", message()).code == 250
    assert not out.wait(1)[0].header("DKIM-Signature")
    at = (net.ip(9), 5399)
    Short = type("Nsd", (Nsd,), {"HEAD": Nsd.HEAD.replace("86400 60", "86400 1").replace("TTL 60", "TTL 1")})
    first = records(g, "example.com")
    dns = peer(Short, at, zone(g, "example.com"))

    def active():
        return {r["selector"] for r in g.ctl("domain", "dkim", "list")[1] if r["state"] == "active"}
    until(lambda: len(active()) == 2, 60, "both keys active")
    old = active()
    g.ctl("domain", "dkim", "rotate", "example.com")
    assert active() == old
    published = records(g, "example.com")
    sent = 1
    dns.stop()
    shutil.rmtree(dns.dir)
    peer(Short, at, zone(g, "example.com"))

    def rotated():
        nonlocal sent
        with trusted(g) as c:
            for _ in range(5):
                assert c.mail("alice@example.com", "bob@outside.test", message()).code == 250
                sent += 1
        return len(active()) == 2 and not active() & old
    until(rotated, 60, "the new keys active")
    rotated()
    got = out.wait(sent, 60)
    used = {name for m in got[1:] for name in verify(m.data, published)}
    assert used == set(published) and set(first) < used
    assert all(len(m.header("DKIM-Signature")) == 2 for m in got[1:])
    until(lambda: {r["state"] for r in g.ctl("domain", "dkim", "list")[1]} == {"active", "retired"}, 60,
          "the former keys erased")
    assert [e for e in g.events("Notice") if "can be removed from DNS" in e["text"]]


def test_sender_key(server, sink, net):
    """A mail that will not be signed is said so when it is submitted; refused where settings want."""
    out = sink(3)
    g = server(extra="tenant shop {\n number = 7\n}\n")

    def submit(sender):
        with trusted(g) as c:
            return c.mail(sender, "bob@outside.test", message(sender=sender))

    def found(number):
        event = g.wait_event("Reception", count=number)
        return [(f["name"], f["rule"]) for f in event.get("findings", []) if f["check"] == "sender_key"]
    assert submit("a@nokey.test").code == 250
    assert found(1) == []  # nobody here signs at all
    g.ctl("domain", "dkim", "add", "example.com")
    key(g, "shop.test", "--tenant", "shop")
    for number, (sender, want) in enumerate((("a@nokey.test", "no-key"), ("a@example.com", "waiting"),
                                             ("a@shop.test", "other-tenant")), 2):
        assert submit(sender).code == 250
        assert found(number) == [(want, sender.partition("@")[2])]
    g.ctl("domain", "dkim", "activate", "example.com")
    assert submit("a@example.com").code == 250
    assert found(5) == []
    out.wait(5)
    g.write(g.text + "check sender_key {\n mode = on\n}\n")
    g.ctl("reload")
    reply = submit("a@nokey.test")
    assert reply.code == 550 and reply.enhanced == "5.7.20" and "nokey.test" in reply.text
    assert submit("a@example.com").code == 250


def one_with(got, text):
    """Deliveries arrive in any order."""
    return next(data for data in got if text in data)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("opendkim-testmsg"),
                    reason="opendkim-testmsg is not installed, or not root (it asks /etc/resolv.conf)")
def test_opendkim(server, sink, net, peer, tmp_path):
    need("unshare")
    out = sink(3)
    g = server()
    published = key(g, "example.com")
    peer(Nsd, (net.ip(9), 53), zone(g, "example.com"))
    body = "".join(f"line {i} \n" for i in range(3000))
    with trusted(g) as c:
        for text in (message(), message(body="\n\n.\n"), message(body=body)):
            assert c.mail("alice@example.com", "bob@outside.test", text).code == 250
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {net.ip(9)}\n")
    got = [m.data for m in out.wait(3)]
    for data in got:
        assert verify(data, published)
        done = subprocess.run(["unshare", "-m", "sh", "-c",
                               f"mount --bind {resolv} /etc/resolv.conf && exec opendkim-testmsg -C"],
                              input=data, capture_output=True, timeout=60)
        assert done.returncode == 0, done
    broken = one_with(got, b"line 7").replace(b"line 7", b"line 8")
    done = subprocess.run(["unshare", "-m", "sh", "-c",
                           f"mount --bind {resolv} /etc/resolv.conf && exec opendkim-testmsg -C"],
                          input=broken, capture_output=True, timeout=60)
    assert done.returncode != 0


def test_wings_and_words(server, net):
    """What people may get wrong, and what they are told."""
    g = server(extra="tenant shop {\n number = 7\n}\n")
    for words, says in ((["add", "not a domain"], "domain name"), (["add", "a.test", "--bits", "512"], "1024 to 4096"),
                        (["add", "a.test", "--type", "dsa"], "ed25519"),
                        (["add", "a.test", "--selector", "A B"], "selector"),
                        (["add", "a.test", "--tenant", "none"], "no tenant"),
                        (["show", "a.test"], "no such key"), (["rotate", "a.test"], "no key"),
                        (["activate", "a.test"], "no key"), (["remove", "a.test", "s1"], "--reason"),
                        (["retire", "a.test", "s1", "--reason", "x"], "no key")):
        code, _, said = g.ctl("domain", "dkim", *words, check=False)
        assert code in (1, 2) and says in said, (words, said)
    g.ctl("domain", "dkim", "add", "a.test", "--selector", "s1", "--tenant", "shop")
    code, _, said = g.ctl("domain", "dkim", "add", "a.test", "--selector", "s1", check=False)
    assert code == 1 and "already" in said
    g.ctl("domain", "dkim", "retire", "a.test", "s1", "--reason", "a test")
    assert g.ctl("domain", "dkim", "list", "a.test")[1][0]["reason"] == "a test"
    assert g.ctl("domain", "dkim", "list", "--tenant", "other")[1] == []
    g.ctl("domain", "dkim", "remove", "a.test", "s1", "--reason", "a test")
    assert g.ctl("domain", "dkim", "list")[1] == []
    text = (g.dir / "store/store.db-wal").read_bytes() + (g.dir / "store/store.db").read_bytes()
    assert b"PRIVATE KEY" not in text
    assert TRUSTED != STRANGER


def test_domain_dns(server, sink, net, peer):
    """What should be published beside what is: a zone that lacks all, then one made of the answer."""
    g = server(extra=f"source a {{\n address = {net.ip(21)}\n}}\nsource b {{\n address = {net.ip(22)}\n}}\n"
                     "domain served.test {\n inside = smtp://127.0.0.1:1\n}\n")
    at = (net.ip(9), 5399)
    Short = type("Nsd", (Nsd,), {"HEAD": Nsd.HEAD.replace("86400 60", "86400 1").replace("TTL 60", "TTL 1")})
    key(g, "served.test", "--type", "both")

    def told(domain):
        return {(r["name"], r["type"]): r for r in g.ctl("domain", "dns", domain)[1]}

    def statuses(domain):
        return {r["name"].removesuffix(domain).rstrip("."): r["status"] for r in told(domain).values()
                if r["type"] == "TXT"}
    assert set(statuses("served.test").values()) == {"unknown"}  # no DNS yet
    dns = peer(Short, at, f'served.test. IN TXT "v=spf1 ip4:{net.ip(21)} -all"\nserved.test. IN TXT "other"\n'
                          'served.test. IN MX 5 elsewhere.test.\nup.test. IN A 192.0.2.1\n'
                          '_dmarc.up.test. IN TXT "v=DMARC1; p=reject"\n')

    def seen():
        rows = told("served.test")
        return rows if all(r["status"] != "unknown" for r in rows.values()) else None
    rows = until(seen, 60, "the zone seen, each question of it")
    spf = rows["served.test", "TXT"]
    assert spf["found"] == f"v=spf1 ip4:{net.ip(21)} -all" and f"{net.ip(22)}: fail" in spf["note"]
    assert spf["value"] == f"v=spf1 ip4:{net.ip(22)} ip4:{net.ip(21)} -all"
    assert rows["served.test", "MX"]["status"] == "different" and "5 elsewhere.test." in rows["served.test", "MX"]["found"]
    assert rows["_dmarc.served.test", "TXT"]["status"] == "missing"
    assert rows["_mta-sts.served.test", "TXT"]["status"] == "optional"
    assert [r["status"] for (n, _), r in rows.items() if "_domainkey" in n] == ["missing"] * 2
    assert rows["served.test", "TXT"]["status"] == "different"
    above = told("news.up.test")["_dmarc.news.up.test", "TXT"]
    assert above["status"] == "optional" and "up.test" in above["note"]
    assert ("news.up.test", "MX") not in told("news.up.test")
    lines = [line[10:] for line in g.ctl("domain", "dns", "served.test", as_json=False)[1].splitlines()
             if " IN " in line]
    assert len(lines) == 7
    dns.stop()
    shutil.rmtree(dns.dir)
    zone_text = "\n".join(line for line in lines) + f"\nmx.gapura.test. IN A {net.ip(1)}\n"
    peer(Short, at, zone_text)
    until(lambda: set(r["status"] for r in told("served.test").values()) == {"ok"}, 60, "all of it published")
    code, _, said = g.ctl("domain", "dns", "a b", check=False)
    assert code == 2 and "domain name" in said


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "both"])
def test_others_verify(server, sink, net, kind):
    """mailauth takes both kinds, libopendkim RSA; over shapes that a canonicalization could get wrong."""
    out = sink(3, extensions=[e for e in ALL if e != "CHUNKING"])
    g = server(delivery="rcpts_per_message = 1")
    published = key(g, "example.com", "--type", kind)
    bodies = ["hello\n", "", "\n\n\n", ".\n..\n.x\n", "a \t b  \n\t\n \n\n\n", "x" * 900 + "\n",
              "caf\u00e9 \u00fc\n" * 50, "\n".join(" " * (i % 5) + f"line {i}" + "\t" * (i % 3) for i in range(4000))]
    extra = "X-Folded: one\n two\n\tthree \nReply-To: <r@example.com>\nReply-To: <r2@example.com>\nList-Id: <l.example.com>\n"
    with trusted(g) as c:
        for body in bodies:
            assert c.mail("alice@example.com", "bob@outside.test",
                          message(body=body, extra=extra, subject="tail   ").encode(),
                          mail_args=" BODY=8BITMIME").code == 250
    got = [m.data for m in out.wait(len(bodies), 60)]
    zone_of = auth_rivals.Zone((name, "TXT", value) for name, value in published.items())
    for data in got:
        assert verify(data, published) == sorted(published)
    third = auth_rivals.opendkim(zone_of.txt)
    if third and kind == "rsa":
        assert all(third.verify(data) for data in got)
        assert not third.verify(one_with(got, b"hello").replace(b"hello", b"hullo"))
    if auth_rivals.has_mailauth():
        told = auth_rivals.talk(auth_rivals.MAILAUTH, [{"op": "zone", "records": zone_of.for_mailauth()}]
                                + [{"op": "verify", "message": auth_rivals.b64(data)} for data in got])[1:]
        want = ["pass"] * len(published)
        assert [[r[0] for r in t["dkim"]] for t in told] == [want] * len(got), told


@pytest.mark.parametrize("chunking", [True, False], ids=["bdat", "data"])
def test_no_last_line_end(server, sink, net, chunking):
    """By BDAT a message may end in the middle of a line; where it goes on by DATA the line is ended."""
    out = sink(3, extensions=[e for e in ALL if chunking or e != "CHUNKING"])
    g = server()
    published = key(g, "example.com", "--type", "both")
    with trusted(g) as c:
        for body in (b"no end", b"line\r\nno end ", b"\r\n \t", b"", b"."):
            data = message(body="").replace("\n", "\r\n").encode().rstrip(b"\r\n") + b"\r\n\r\n" + body
            assert c.cmd("MAIL FROM:<alice@example.com>").code == 250
            assert c.cmd("RCPT TO:<bob@outside.test>").code == 250
            c.send(b"BDAT %d LAST\r\n" % len(data) + data)
            assert c.reply().code == 250
    for m in out.wait(5):
        assert verify(m.data, published) == sorted(published), m.data
