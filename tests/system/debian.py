"""Debian systems in a directory: made by debootstrap, entered by chroot, or booted under a systemd of their own.

Made once a run (fixture `debian`) and copied for each test. A booted one is a set of namespaces: its processes, mounts, network
(a loopback and nothing else), names and control groups are not this machine's.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from gapura import ROOT, until
from peers import need

LIMIT = 600
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "HOME": "/root"}
MOUNT = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
PROGRAMS = ("debootstrap", "dpkg-buildpackage", "dh", "unshare")
# What PID 1 wants of its world (systemd's Container Interface): a root that is a mount, /proc, /sys, /dev, /run, control groups.
BOOT = r"""
set -e
cd "$0"
mount --bind . .
cd "$0"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for n in null zero full random urandom tty; do : > dev/$n; mount --bind /dev/$n dev/$n; done
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t cgroup2 cgroup2 sys/fs/cgroup
pivot_root . .
umount -l .
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console --show-status=no
"""


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


def template(path):
    """A small Debian with an init in it, which nothing starts."""
    uri, name = mirror()
    if not uri:
        pytest.skip("apt names no Debian archive of this release to make a root from")
    # It mounts /proc in there: in a mount namespace of its own, so that it is gone whenever debootstrap is.
    done = command("unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase",
                   "--include=systemd,systemd-sysv,dbus,adduser", name, path, uri, status=None)
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
    command(*Debian(path).argv("apt-get", "update", "-q"), env=ENV)


class Debian:
    """A Debian system in a directory."""

    def __init__(self, path):
        self.path = path

    def argv(self, *words):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, str(self.path), *map(str, words)]

    def run(self, *words, status=0, text=None):
        return command(*self.argv(*words), status=status, env=ENV, input=text)

    def install(self, package):
        shutil.copy(package, self.path / "var/tmp")
        return self.run("apt-get", "install", "-y", "-q", "--no-install-recommends", f"/var/tmp/{package.name}")

    def services(self, allowed):
        """Whether packages may start what they bring."""
        policy = self.path / "usr/sbin/policy-rc.d"
        policy.unlink(missing_ok=True)
        if not allowed:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)


class Booted(Debian):
    """One with systemd as PID 1; run() enters it."""

    def __init__(self, path):
        super().__init__(path)
        self.groups = Path(tempfile.mkdtemp(prefix="gapura-groups-"))  # where control groups are seen
        self.group = None
        self.process = None
        self.init = None
        self.console = []

    def start(self):
        """Skips the test where this machine does not let a systemd be started."""
        if subprocess.run(["mount", "-t", "cgroup2", "cgroup2", self.groups], capture_output=True, check=False).returncode:
            pytest.skip("control groups of version 2 cannot be mounted here, and systemd needs them")
        self.group = self.groups / self.groups.name
        try:
            self.group.mkdir()
        except OSError as e:
            pytest.skip(f"no control group can be made here, and systemd needs one: {e.strerror}")
        enter = 'echo $$ > "$1/cgroup.procs" && exec unshare --mount --propagation private --pid --fork --kill-child --uts --ipc ' \
                '--net --cgroup sh -c "$2" "$0"'
        self.process = subprocess.Popen(["sh", "-c", enter, str(self.path), str(self.group), BOOT], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        threading.Thread(target=lambda: self.console.extend(self.process.stdout), daemon=True).start()
        self.init = until(self.child, 20, "a PID 1")
        until(self.up, 60, "a booted system")
        return self

    def child(self):
        assert self.process.poll() is None, self.printed()
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(found[0]) if found and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n" else None

    def up(self):
        assert self.process.poll() is None, self.printed()
        state = self.run("systemctl", "is-system-running", status=None).stdout.strip()
        return state in ("running", "degraded")

    def printed(self):
        return b"".join(self.console).decode(errors="replace")

    def argv(self, *words):
        return ["nsenter", f"--target={self.init}", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup",
                f"--root=/proc/{self.init}/root", "--wd=/", *map(str, words)]

    def show(self, name, unit="gapura"):
        return self.run("systemctl", "show", "-p", name, "--value", unit).stdout.strip()

    def journal(self, unit="gapura"):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, status=None).stdout

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)  # --kill-child: PID 1 and with it all of them
            self.process.wait()
        if self.group:
            until(self.group_gone, 20, "the control groups to be empty")
        subprocess.run(["umount", "-l", self.groups], capture_output=True, check=False)
        self.groups.rmdir()

    def group_gone(self):
        for folder, _, _ in os.walk(self.group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
        return not self.group.exists()


class Made:
    """What tests of the package share: the two packages and a root to copy."""

    def __init__(self, place):
        if os.getuid() != 0:
            pytest.skip("not root: a root file system cannot be made")
        for program in PROGRAMS:
            need(program)
        self.place = place
        template(place / "template")
        self.first, self.second = build(place)

    def root(self, path):
        command("cp", "-a", "--reflink=auto", self.place / "template", path)
        return path
