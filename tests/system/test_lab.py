"""The lab: what its banner promises, each fake provider, and `make run` as a newcomer meets it.

The world is the one of share/lab; only the waits are shorter, and the addresses are the test's own.
"""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from gapura import PROGRAM, ROOT, SLOW, START, STOP, until
from smtp import Smtp, message

YOU = "you@office.test"
SHARE = ROOT / "share/lab"
QUICK = {  # rows of share/lab and what a test waits for instead
    "gapura.conf": {"retry           = 10s, 20s, 40s": "retry           = 300ms",
                    "retry_max       = 1m": "retry_max       = 300ms"},
    "providers/grey.conf": {"greylist       = 15s": "greylist       = 1s"},
    "providers/slow.conf": {"latency  = 2s": "latency  = 200ms"},
    "providers/strict.conf": {"rate                 = 6/min burst 3": "rate                 = 2/s burst 1"},
}


class Lab:
    def __init__(self, directory, net, *words, user=None, within=()):
        """within: a command that runs the one behind it, as in a network of its own."""
        self.within = list(within)
        self.dir, self.net, self.words, self.process = directory, net, words, None
        self.run_as = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        self.output = directory.parent / "lab.output"

    def quick(self):
        """Some files stand there before the lab comes: it must leave them as they are."""
        for name, changes in QUICK.items():
            text = (SHARE / name).read_text().replace("127.0.0.", self.net.prefix + ".")
            text = text.replace(self.net.prefix + ".0/8", "127.0.0.0/8")
            for old, new in changes.items():
                assert old in text, old
                text = text.replace(old, new)
            path = self.dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def start(self):
        self.log = open(self.output, "wb")
        self.process = subprocess.Popen(
            [*self.within, *self.run_as, PROGRAM, "lab", self.dir, "--net", self.net.prefix, *self.words], stdout=self.log,
            stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True)
        until(lambda: self.ended() or "Ctrl-C ends everything" in self.printed(), START / SLOW, "the banner")
        assert not self.ended(), self.printed()
        return self

    def ended(self):
        return self.process.poll() is not None

    def printed(self):
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def stop(self):
        """As Ctrl-C does it. Nothing is left: no process, no socket."""
        pids = [row["pid"] for row in self.ctl("status")]
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(STOP) == 0, self.printed()
        self.process = None
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert not list((self.dir / "run").glob("*.ctl"))
        assert "is started again" not in self.printed(), self.printed()

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            # The gateway hears of it from the kernel, and ends in order.
            until(lambda: not self.gateway(), STOP / SLOW, "the gateway's end")
        self.process = None

    def gateway(self):
        return subprocess.run(["pgrep", "-f", f"run -c {self.dir}/gapura.conf"], stdout=subprocess.PIPE).stdout

    def ctl(self, *words, as_json=True):
        argv = [*self.run_as, PROGRAM, *words, *(["--json"] if as_json else []), "-c", self.dir / "gapura.conf"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60 * SLOW)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()] if as_json else done.stdout

    def send(self, to, **words):
        """By submission, with the login of the banner. Returns the id."""
        with Smtp((self.net.ip(1), 2587)) as c:
            c.ehlo()
            assert c.auth("PLAIN", YOU, "demo").code == 235
            reply = c.mail(YOU, to, message(sender=YOU, to=to, **words))
            assert reply.code == 250, reply
            return re.search(r"queued as (\w+)", reply.text)[1]

    def explained(self, id, pattern, timeout=30):
        """The text of explain, once the pattern is in it."""
        def look():
            text = self.ctl("explain", id, as_json=False)
            return text if re.search(pattern, text) else None
        try:
            return until(look, timeout, pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.ctl('explain', id, as_json=False)}\n{self.printed()[-2000:]}") from None

    def mails(self, provider, folder="inbox"):
        return [p.read_text() for p in sorted((self.dir / "mail" / provider / folder).glob("*.eml"))]


@pytest.fixture
def lab(place, net):
    made = []

    def make(*words, quick=True, **named):
        made.append(Lab(place / "lab", net, *words, **named))
        return (made[-1].quick() if quick else made[-1]).start()
    yield make
    for each in made:
        each.kill()


DELIVERED = r"delivered: recipient 0 .*250 2\.0\.0 Thank you"


def test_providers(lab):
    """A mail to each of them, and what explain says in the end."""
    l = lab("--quiet")
    ids = {name: l.send(f"ann@{name}.test") for name in
           ("open", "slow", "grey", "plain", "broken", "judge", "shaky", "strict")}
    ids["unknown"] = l.send("gone7@picky.test")
    ids["full"] = l.send("full@picky.test")
    l.explained(ids["open"], DELIVERED)
    text = l.explained(ids["slow"], DELIVERED)
    assert "450" not in text
    text = l.explained(ids["grey"], DELIVERED)
    assert "450 4.7.1 Greylisted for 15 seconds" in text and "attempt 2" in text
    l.explained(ids["plain"], DELIVERED)
    l.explained(ids["broken"], DELIVERED)
    l.explained(ids["strict"], DELIVERED)
    l.explained(ids["unknown"], r"failed: recipient 0 .*550 5\.1\.1 The mailbox does not exist")
    l.explained(ids["full"], r"452 4\.2\.2 The mailbox is over its quota")
    text = l.explained(ids["shaky"], DELIVERED)
    assert "connection lost" in text and "attempt 7" in text
    l.explained(ids["judge"], r"filed in inbox \(1\.50 of 5: unsigned 1\.50\)")
    assert len(l.mails("open")) == 1 and f"Return-Path: <{YOU}>" in l.mails("open")[0]
    # It was taken at the dot, the client could not know, and it came again: as SMTP has it.
    assert len(l.mails("shaky")) == 2
    # The report about the unknown mailbox lies in our own inbox.
    until(lambda: any("gone7@picky.test" in m for m in l.mails("inside")), what="the report")
    shown = l.printed()
    assert f"accepted   {ids['open']}" in shown and re.search(rf"delivered  {ids['grey']} .* at mx.grey.test", shown)
    assert "sample mail" not in shown.partition("Ctrl-C ends")[2]
    l.stop()


def test_rights(lab):
    """Once it runs the lab is nobody: no root, no system call but those of its profile, and it still ends all."""
    l = lab("--quiet")
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{l.process.pid}/status").read_text().splitlines())
    assert status["NoNewPrivs"] == "1"
    if "san" not in str(PROGRAM):
        assert status["Seccomp"] == "2"
    if os.geteuid() == 0:
        uids, gids = status["Uid"].split(), status["Gid"].split()
        assert len(set(uids)) == len(set(gids)) == 1 and "0" not in (uids[0], gids[0])
        assert int(status["CapEff"], 16) == 1 << 2, "CAP_DAC_READ_SEARCH, within what Landlock lets it read"
        assert (l.dir / "mail/open/inbox").stat().st_uid == int(uids[0])
    l.explained(l.send("ann@open.test"), DELIVERED)
    assert len(l.mails("open")) == 1
    l.stop()


def test_tls(lab):
    """Encrypted where it is offered and works; in the clear where not, after a broken handshake too."""
    l = lab("--quiet")
    for name, tls in (("open", True), ("plain", False), ("broken", False)):
        l.explained(l.send(f"ann@{name}.test"), DELIVERED)
        [event] = [e for e in events(l) if e["type"] == "Delivery" and e["recipient"] == f"ann@{name}.test"]
        assert event.get("tls_protocol_version", "").startswith("TLS") == tls, (name, event)
    l.stop()


def events(l):
    return [json.loads(line) for line in (l.dir / "log/events.jsonl").read_text().splitlines()]


def test_opinion(lab):
    """The same sender: one mail into the inbox, one into spam, and why."""
    l = lab("--quiet")
    l.explained(l.send("ann@judge.test"), "filed in inbox")
    l.explained(l.send("ann@judge.test", subject="FREE PRIZE FOR ALL", body="act now\n"),
                r"filed in spam \(5\.00 of 5: unsigned 1\.50, shouting 1\.50, words 2\.00\)")
    assert len(l.mails("judge")) == 1 and "FREE PRIZE" in l.mails("judge", "spam")[0]
    l.stop()


def test_limits(lab):
    """Rate and connections: refused in the provider's own words, and all of it arrives."""
    l = lab("--quiet")
    ids = [l.send("dee@strict.test") for _ in range(5)]
    for id in ids:
        l.explained(id, DELIVERED)
    said = {e["response"]["content"] for e in events(l) if e["type"] == "TransientFailure"}
    assert any("faster than we care to read" in s for s in said), said
    assert len(l.mails("strict")) == 5
    l.stop()


def test_nothing_leaves(lab):
    """Outside addresses, unknown domains and other names: no connection, no question, and it is said."""
    l = lab("--quiet")
    literal, nowhere = l.send("ann@[192.0.2.1]"), l.send("ann@example.com")
    l.explained(nowhere, r"5\.1\.2: the domain example\.com does not exist")
    until(lambda: "outside of the networks of delivery.only_to" in l.ctl("explain", literal, as_json=False),
          what="the reason")
    assert not [e for e in events(l) if "192.0.2" in str(e.get("peer_address"))]
    l.stop()


ISLAND = """
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up && ip link add out type veth peer name far && ip addr add 198.51.100.1/24 dev out
ip link set out up && ip link set far up && ip neigh add 198.51.100.2 lladdr 02:00:00:00:00:01 dev out
ip route add default via 198.51.100.2 && exec "$@"
"""
AFLOAT = ["unshare", "-n", "sh", "-ec", ISLAND, "sh"]
COUNT = ["awk", "/out:/ { print $11 }", "/proc/net/dev"]


def packets(*within):
    return int(subprocess.run([*within, *COUNT], capture_output=True, text=True, timeout=30).stdout or -1)


def test_not_a_packet(lab):
    """A machine with a way out that is watched: with all that a lab does, nothing takes it."""
    if os.geteuid() or not all(shutil.which(p) for p in ("unshare", "nsenter", "ip", "curl")) or packets(*AFLOAT) != 0:
        pytest.skip("no network of its own can be made here")
    probe = [*AFLOAT, "bash", "-c", 'echo x > /dev/udp/192.0.2.1/53; exec "$@"', "bash"]
    assert packets(*probe) == 1, "a packet would be seen"
    l = lab("--all", within=AFLOAT)
    there = ["nsenter", "-t", str(l.process.pid), "-n"]
    mail = ["printf 'From: %s\\nSubject: out\\n\\nHello.\\n' you@office.test | curl -sS smtp://$0:2587 -u you@office.test:demo"
            " --mail-from you@office.test --mail-rcpt ann@example.com --mail-rcpt 'ann@[192.0.2.1]'"
            " --mail-rcpt 'ann@[IPv6:2001:db8::1]' --mail-rcpt ann@open.test -T -"]
    subprocess.run([*there, "sh", "-c", *mail, l.net.ip(1)], check=True, timeout=60)
    id = until(lambda: re.search(r"accepted   (\w+)  from you@", l.printed()), what="the mail")[1]
    l.explained(id, r"failed: recipient \d .*the domain example\.com does not exist")
    l.explained(id, r"\[192\.0\.2\.1\] is outside of the networks of delivery\.only_to")
    until(lambda: {"Delivery", "Rejection", "TransientFailure"} <= {e["type"] for e in events(l)}, 60, "sample mail")
    assert packets(*there) == 0
    l.stop()


def test_stopped_and_started(lab):
    """What waits at Ctrl-C goes on at the next start; the lab has no mail of its own when told so."""
    l = lab("--quiet")
    away = l.send("lee@away.test")
    l.explained(away, "Connection refused")
    l.stop()
    l.start()
    assert [row["id"] for row in l.ctl("queue", "list")] == [away]
    l.explained(l.send("ann@open.test"), DELIVERED)
    l.stop()


def test_sample_mail(lab):
    """Both wings have something to show by themselves."""
    l = lab("--all", quick=False)
    until(lambda: {"Reception", "Rejection", "Delivery"} <= {e["type"] for e in events(l)}, 60, "sample mail")
    until(lambda: any(e.get("user") == "robot@office.test" for e in events(l) if e["type"] == "Delivery"), 60,
          "sample mail to the world")
    until(lambda: any(e["recipient"].endswith("@office.test") for e in events(l) if e["type"] == "Delivery"), 60,
          "sample mail for us")
    until(lambda: "refused" in l.printed() and "delivered" in l.printed(), what="it is told")
    l.stop()


def test_a_provider_of_ones_own(lab, place, net):
    """As docs/lab.md shows it; only less tired."""
    rows, zone = re.findall(r"^```\n(.*?)^```$", (ROOT / "docs/lab.md").read_text(), re.M | re.S)
    parts = [text.replace("127.0.0.", net.prefix + ".") for text in
             (rows.replace("latency  = 5s", "latency  = 50ms"), (SHARE / "zone").read_text() + zone)]
    (place / "lab/providers").mkdir(parents=True)
    (place / "lab/providers/tired.conf").write_text(parts[0])
    (place / "lab/zone").write_text(parts[1])
    l = lab("--quiet")
    text = l.explained(l.send("ann@tired.test"), DELIVERED)
    assert text.count("connection lost") >= 1 and len(l.mails("tired")) == 2
    assert "slow, and forgets half of it" in l.printed()
    l.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_as_an_ordinary_user(lab, place):
    place.chmod(0o777)
    l = lab("--quiet", quick=False, user=61999)
    l.explained(l.send("ann@open.test"), DELIVERED)
    l.stop()


def test_wrong_words(place, net):
    def run(*words):
        done = subprocess.run([PROGRAM, "lab", *words], capture_output=True, text=True, timeout=30 * SLOW)
        return done.returncode, done.stdout + done.stderr
    assert run("--loud") == (2, run("--loud")[1]) and "`gapura lab` has no option --loud" in run("--loud")[1]
    code, text = run("--net", "10.0.0")
    assert code == 2 and "`10.0.0` does not begin a loopback address" in text, text
    assert run("--help")[0] == 0
    (place / "providers").mkdir()
    (place / "providers/open.conf").write_text("provider open {\n address = 192.0.2.1:25\n hostname = a.test\n}\n")
    code, text = run(place, "--net", net.prefix)
    assert code == 1 and "must be a loopback one" in text and "nothing was started" in text
    if os.geteuid() == 0:
        closed = place / "closed"
        closed.mkdir(mode=0o700)
        code, text = run(closed / "lab", "--net", net.prefix)
        assert code == 1 and "closed to other users" in text, text


# As a newcomer: a clone, `make run`, a paste, an explanation.

class Terminal:
    """A tmux server of the test's own."""

    def __init__(self, place):
        self.socket = place / "tmux"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "200", "-y", "60", "-s", "t", "bash --norc --noprofile")

    def tmux(self, *words):
        done = subprocess.run(["tmux", "-S", self.socket, *words], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, text):
        self.tmux("send-keys", "-t", "t", "-l", text)
        self.tmux("send-keys", "-t", "t", "Enter")

    def shows(self):
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", "-t", "t")

    def end(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, timeout=30)


@pytest.fixture
def terminals(place):
    made = []

    def make(name):
        (place / name).mkdir()
        made.append(Terminal(place / name))
        return made[-1]
    yield make
    for each in made:
        each.end()


@pytest.mark.skipif(not all(shutil.which(p) for p in ("tmux", "git", "make", "curl")),
                    reason="tmux, git, make or curl is missing")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
@pytest.mark.skipif("GAPURA_PROGRAM" in os.environ, reason="it builds a program of its own")
def test_make_run(place, net, terminals):
    clone, lab = place / "clone", place / "lab"
    subprocess.run(["git", "-c", "advice.detachedHead=false", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True, timeout=120)
    one, two = terminals("one"), terminals("two")
    one.type(f"cd {shlex.quote(str(clone))} && make run DIR={lab} LAB='--net {net.prefix}'; echo status: $?")
    # "status: $?" is the line as typed, which a long prompt wraps.
    until(lambda: "Ctrl-C ends everything" in one.shows() or re.search(r"status: \d", one.shows()), 600,
          "the banner")
    first = next(line.strip() for line in one.shows().splitlines() if line.strip().startswith("printf "))
    two.type(first + "; echo curl: $?")
    until(lambda: "curl: 0" in two.shows().replace(first, ""), what="the mail sent")
    until(lambda: re.search(r"delivered  \w+  ann@open.test at mx.open.test: 250", one.shows()), what="what happens to it")
    story = re.search(r"its whole story: (.*gapura\.conf)", one.shows())[1]
    assert f"{clone}/build/gapura explain " in story
    two.type("clear; " + story)
    until(lambda: "now: settled; nothing of it waits" in two.shows(), what="the explanation")
    assert re.search(r"delivered: recipient 0 at .*: 250 2\.0\.0 Thank you", two.shows())
    one.type("off")
    until(lambda: "sample mail is silent" in one.shows(), what="sample mail stopped")
    one.type("all")
    until(lambda: "is shown line by line" in one.shows(), what="the answer")
    began = time.monotonic()
    one.tmux("send-keys", "-t", "t", "C-c")
    until(lambda: "the lab has ended" in one.shows(), 20, "the end")
    until(lambda: re.search(r"status: 0", one.shows().rpartition("the lab has ended")[2]), 20, "the prompt")
    assert time.monotonic() - began < 20 * SLOW
    assert not list((lab / "run").glob("*.ctl"))
