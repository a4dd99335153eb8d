"""The Debian package, in a fresh root: installed, mail sent, upgraded with mail waiting, removed, purged.

Bounded: one root a run (debootstrap with this machine's own mirror), one build and a repack. There is no systemd in a
root like this, so the test starts `gapura run` itself; the unit is looked at by systemd-analyze.
"""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from gapura import ROOT, until
from peers import need
from smtp import Smtp

LIMIT = 400
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "HOME": "/root"}
MOUNT = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'


def command(*words, status=0, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=LIMIT, **more)
    assert status is None or done.returncode == status, f"{words}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def mirror():
    """(URI, code name) of the Debian archive that this machine installs from."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M))
    name = release.get("VERSION_CODENAME", "")
    listed = command("apt-get", "indextargets", "--format", "$(REPO_URI)|$(CODENAME)|$(ORIGIN)", "Created-By: Packages")
    for line in listed.stdout.splitlines():
        uri, code, origin = line.split("|")
        if code == name and origin == "Debian":
            return uri, name
    return None, name


def build(place):
    """Two packages from the tracked files: this version, and one that is higher."""
    tree = place / "tree"
    names = command("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    flags = ["-b", "-us", "-uc"]
    command("dpkg-buildpackage", *flags, cwd=tree)
    first = next(place.glob("gapura_*.deb"))
    changelog = tree / "debian/changelog"
    text = changelog.read_text()
    changelog.write_text(text.replace("0.1.0-1", "0.1.0-2", 1) + "\n" + text)
    command("dpkg-buildpackage", *flags, "-nc", cwd=tree)
    second = next(p for p in place.glob("gapura_*.deb") if p != first)
    return first, second


class Root:
    """A Debian system without an init, and Gapura running in it."""

    def __init__(self, path, net):
        self.path, self.net, self.process = path, net, None

    def argv(self, *words):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, str(self.path), *map(str, words)]

    def run(self, *words, status=0, text=None):
        return command(*self.argv(*words), status=status, env=ENV, input=text)

    def install(self, package):
        shutil.copy(package, self.path / "var/tmp")
        return self.run("apt-get", "install", "-y", "-q", "--no-install-recommends", f"/var/tmp/{package.name}")

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
        return [line for line in self.run("gapura", "queue", "list", "--json").stdout.splitlines() if line]

    def ended(self):
        """What prerm ended."""
        assert self.process.wait(60) == 0
        self.process = None

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def root(place, net):
    if os.getuid() != 0:
        pytest.skip("not root: a root file system cannot be made")
    for program in ("debootstrap", "dpkg-buildpackage", "dh", "unshare"):
        need(program)
    uri, name = mirror()
    if not uri:
        pytest.skip("apt names no Debian archive of this release to make a root from")
    path = place / "root"
    done = command("debootstrap", "--variant=minbase", name, path, uri, status=None)
    if done.returncode:
        pytest.skip(f"debootstrap failed: {done.stdout.strip().splitlines()[-1:]}")
    for source in Path("/etc/apt").rglob("*.sources"):  # the mirror may want what this machine's apt has
        shutil.copy(source, path / "etc/apt/sources.list.d")
    for part in ("keyrings", "ca-certificates"):
        if Path("/usr/share", part).is_dir():
            shutil.copytree(Path("/usr/share", part), path / "usr/share" / part, dirs_exist_ok=True)
    for extra in (path / "etc/apt/sources.list.d").glob("*.sources"):
        if "Suites: nodistro" in extra.read_text():
            extra.unlink()
    shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")
    (path / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (path / "usr/sbin/policy-rc.d").chmod(0o755)
    made = Root(path, net)
    made.run("apt-get", "update", "-q")
    yield made
    made.kill()


def users(root):
    text = (root.path / "etc/passwd").read_text() + (root.path / "etc/group").read_text()
    return {line.split(":")[0] for line in text.splitlines() if line.startswith("gapura")}


def test_life_of_a_package(root, place, sink):
    first, second = build(place)
    root.install(first)
    assert len(users(root)) == 9
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
