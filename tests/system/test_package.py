"""The Debian package, in a fresh root: installed, mail sent, upgraded with mail waiting, removed, purged.

Bounded: one root a run (debootstrap with this machine's own mirror), one build and a repack. The test starts `gapura run`
itself; test_systemd.py has the unit run by a systemd.
"""
import os
import re
import shutil
import signal
import subprocess

import pytest

from debian import ENV, Debian, command
from gapura import ROOT, until
from peers import need
from smtp import Smtp

class Root(Debian):
    """A Debian system whose init was not started, and Gapura running in it."""

    def __init__(self, path, net):
        super().__init__(path)
        self.net, self.process = net, None

    def fill_in(self):
        """The shipped settings, with one domain and the addresses of this test."""
        conf = self.path / "etc/gapura/gapura.conf"
        text = conf.read_text()
        assert "hostname = HOSTNAME" not in text
        self.run("gapura", "check")
        text = re.sub(r"(?m)^# (domain example.com \{\n)# (.*\n)# (.*\n)# (\}\n)", r"\1\2\3\4", text)
        text = text.replace("smtp://192.0.2.10:25", f"smtp://{self.net.ip(2)}:2600").replace("= callout", "= any")
        text = text.replace("127.0.0.1:25\n", f"{self.net.ip(1)}:2525\n").replace("segment = 16 MB", "segment = 4 MB")
        conf.write_text(text + "delivery {\n    retry = 500ms, 1s\n    retry_max = 1s\n}\n")
        self.run("gapura", "check")

    def start(self):
        log = open(self.path / "var/tmp/output", "ab")
        self.process = subprocess.Popen(self.argv("gapura", "run"), env=ENV, stdout=log, stderr=log,
                                        stdin=subprocess.DEVNULL, start_new_session=True)
        log.close()
        self.takes_mail()

    def takes_mail(self):
        def ready():
            assert self.process.poll() is None, (self.path / "var/tmp/output").read_text()
            try:
                with Smtp((self.net.ip(1), 2525)) as c:
                    c.ehlo()
                    return c.cmd("MAIL FROM:<>").code == 250
            except (OSError, AssertionError):
                return False
        until(ready, 60, "mail taken")

    def send(self, subject):
        self.run("sendmail", "-t", "-i", text=f"To: bob@example.com\nSubject: {subject}\n\nbody\n")

    def waiting(self):
        """Once the log is read: until then a list is not whole, and says so by its status."""
        done = until(lambda: (lambda d: None if d.returncode else d)(self.run("gapura", "queue", "list", "--json", status=None)), 60,
                     "a queue that is read")
        return [line for line in done.stdout.splitlines() if line]

    def ended(self):
        """What prerm ended."""
        assert self.process.wait(60) == 0
        self.process = None

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def root(debian, place, net):
    made = Root(debian.root(place / "root"), net)
    made.services(False)
    yield made
    made.kill()


def users(root):
    text = (root.path / "etc/passwd").read_text() + (root.path / "etc/group").read_text()
    return {line.split(":")[0] for line in text.splitlines() if line.startswith("gapura")}


def test_life_of_a_package(root, debian, sink):
    first, second = debian.first, debian.second
    root.install(first)
    assert len(users(root)) == 10
    root.fill_in()
    inside = sink(2)
    root.start()
    root.send("one")
    assert inside.wait(1)[0].header("Subject") == ["one"]
    until(lambda: not root.waiting(), what="an empty queue")
    assert root.run("mailq").stdout == "Mail queue is empty\n"

    # Upgraded while mail waits: the queue is read by the new program in the old one's place.
    inside.stop()
    root.send("two")
    until(lambda: any("efused" in line for line in root.waiting()), what="mail that waits")
    root.install(second)
    assert "0.1.0-2" in root.run("dpkg", "-s", "gapura").stdout
    assert (root.path / "etc/gapura/gapura.conf").read_text().count("example.com") >= 1
    os.kill(supervisor(root), signal.SIGUSR2)
    root.takes_mail()
    inside = sink(2)
    assert inside.wait(1, 60)[0].header("Subject") == ["two"]
    until(lambda: not root.waiting(), what="an empty queue")

    # Removed and purged with mail waiting: the mail stays.
    inside.stop()
    root.send("three")
    until(root.waiting, what="mail that waits")
    root.run("dpkg", "--remove", "gapura")
    root.ended()
    assert (root.path / "var/spool/gapura/seg").is_dir() and (root.path / "etc/gapura/gapura.conf").exists()
    done = root.run("dpkg", "--purge", "gapura")
    assert "/var/spool/gapura may hold mail" in done.stdout + done.stderr
    assert (root.path / "var/spool/gapura/seg").is_dir() and not (root.path / "etc/gapura").exists()

    # Installed again it is delivered. Removed with an empty queue, but with nobody to tell of receptions: kept.
    root.install(second)
    root.fill_in()
    conf = root.path / "etc/gapura/gapura.conf"
    shipped = conf.read_text()
    conf.write_text(shipped + "events {\n    file = /var/log/elsewhere.jsonl\n}\n")
    inside = sink(2)
    root.start()
    assert inside.wait(1, 60)[0].header("Subject") == ["three"]
    until(lambda: not root.waiting(), what="an empty queue")
    root.run("dpkg", "--remove", "gapura")
    root.ended()
    assert not (root.path / "var/lib/gapura/queue-was-empty").exists()
    root.install(second)
    conf.write_text(shipped)

    # Purged with an empty queue nothing stays.
    root.start()
    until(lambda: not root.waiting(), what="an empty queue")
    root.run("dpkg", "--purge", "gapura")
    root.ended()
    for gone in ("var/spool/gapura", "var/lib/gapura", "var/log/gapura", "etc/gapura", "usr/bin/gapura", "usr/sbin/sendmail",
                 "etc/fail2ban/filter.d/gapura.conf"):
        assert not (root.path / gone).exists() and not (root.path / gone).is_symlink(), gone
    assert not users(root)

    if shutil.which("lintian"):
        done = command("lintian", "--no-cfg", "--allow-root", "--fail-on", "error", first, status=None)
        assert done.returncode == 0, done.stdout


def supervisor(root):
    lines = root.run("gapura", "status", "--json").stdout
    return int(re.search(r'"role": ?"supervisor", ?"pid": ?(\d+)', lines).group(1))


def test_unit_file(place):
    need("systemd-analyze")
    unit = place / "gapura.service"
    text = (ROOT / "share/system/gapura.service").read_text()
    for word in ("StateDirectory", "LogsDirectory"):  # systemd would chown what the roles have written
        assert f"\n{word}" not in text
    assert "ReadWritePaths=-/var/spool/gapura -/var/lib/gapura -/var/log/gapura\n" in text
    unit.write_text(text.replace("/usr/bin/gapura", "/bin/true").replace("Documentation=man:gapura(1) man:gapura.conf(5)\n", ""))
    done = command("systemd-analyze", "verify", unit, status=None)
    assert done.returncode == 0 and "gapura.service:" not in done.stderr, done.stderr
    # 3.0 when this was written; what is left over is what a mail server is for (network, ports, starting roles as users).
    done = command("systemd-analyze", "security", "--offline=true", "--threshold=32", unit, status=None)
    assert done.returncode == 0, done.stdout


def test_make_install(place):
    """The same files as the package, in another place."""
    made = place / "made"
    program = os.environ.get("GAPURA_PROGRAM", ROOT / "build/gapura")
    command("make", "-o", "all", "-o", "man", "install", f"DESTDIR={made}", "PREFIX=/opt/g", f"BUILD={place}/b", cwd=ROOT,
            status=2)  # nothing is built in that place
    (place / "b/man").mkdir(parents=True)
    shutil.copy(program, place / "b/gapura")
    (place / "b/man/gapura.conf.5").write_text(".TH X 5\n")
    command("make", "-o", "all", "-o", "man", "install", f"DESTDIR={made}", "PREFIX=/opt/g", f"BUILD={place}/b", cwd=ROOT)
    assert command(made / "opt/g/sbin/sendmail", "-bi").stdout == ""
    assert "ExecStart=/opt/g/bin/gapura run" in (made / "opt/g/lib/systemd/system/gapura.service").read_text()
