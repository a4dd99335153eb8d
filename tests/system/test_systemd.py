"""The unit under a live systemd: a Debian with our package is booted in namespaces of its own, as a machine would be.

Bounded: one boot. The network of the booted system is a loopback of its own, so that ports are the shipped ones.
"""
import re

import pytest

from debian import Booted, Debian
from gapura import ROOT, until

MAIL = "/srv/mail"
MORE = f"""
domain example.com {{
    inside     = maildir:{MAIL}
    recipients = any
}}
"""
UNIT = (ROOT / "share/system/gapura.service").read_text()
ROLES = 8


@pytest.fixture
def booted(debian, place):
    """Installed before the boot, enabled by that, started by the boot."""
    path = debian.root(place / "root")
    before = Debian(path)
    before.services(False)
    before.install(debian.first)
    before.services(True)
    made = Booted(path)
    try:
        yield made.start()
    finally:
        made.stop()


def status_of(booted, pid):
    """/proc/PID/status of a process in there."""
    return dict(line.split(":\t", 1) for line in booted.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)


def roles(booted):
    """Name -> pid, once all are ready."""
    def ready():
        done = booted.run("gapura", "status", "--json", status=None)
        rows = dict(re.findall(r'"role":"(\w+)","pid":(\d+),"ready":true', done.stdout))
        return rows if len(rows) == ROLES else None
    return {name: int(pid) for name, pid in until(ready, 60, "all roles ready").items()}


def mailed(booted, subject):
    """Submitted by sendmail(8) as a user, and found in the Maildir."""
    booted.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sendmail", "-t", "-i",
               text=f"From: cron@example.com\nTo: bob@example.com\nSubject: {subject}\n\nbody\n")
    until(lambda: booted.run("grep", "-rls", f"^Subject: {subject}$", MAIL + "/new", status=None).stdout, 60, f"{subject} delivered")


def test_unit_under_systemd(booted, debian):
    # Started by the boot with the shipped settings; Type=notify: active means that READY=1 was sent.
    until(lambda: booted.show("ActiveState") == "active", 60, "an active unit")
    assert booted.show("Type") == "notify" and booted.show("NRestarts") == "0", booted.journal()
    pid = int(booted.show("MainPID"))

    # What the unit grants is what the process has, and what each role has is less.
    of = status_of(booted, pid)
    wanted = booted.show("CapabilityBoundingSet").split()
    named = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT, re.M)[1].lower().split()
    assert set(wanted) <= set(named), wanted
    assert of["NoNewPrivs"] == "1" and of["Seccomp"] == "2" and int(of["CapBnd"], 16).bit_count() <= len(named), of
    mounts = booted.run("cat", f"/proc/{pid}/mountinfo").stdout
    assert re.search(r"^\d+ \d+ \S+ \S+ / ro[, ]", mounts, re.M) and re.search(r" /var/spool/gapura rw[, ]", mounts), mounts
    users = set()
    for name, child in roles(booted).items():
        of = status_of(booted, child)
        assert int(of["CapEff"], 16) == 0 and of["Seccomp"] == "2", (name, of)
        users.add(of["Uid"].split()[0])
    assert len(users) == ROLES and "0" not in users, users

    # Mail in by sendmail, out into a Maildir that a drop-in grants, as docs/install.md says.
    booted.run("sh", "-c", f"install -d -o gapura-courier -g gapura-roles {MAIL} && mkdir -p /etc/systemd/system/gapura.service.d && "
               f"printf '[Service]\\nReadWritePaths={MAIL}\\n' > /etc/systemd/system/gapura.service.d/mail.conf && "
               "cat >> /etc/gapura/gapura.conf && systemctl daemon-reload && systemctl restart gapura", text=MORE)
    roles(booted)
    mailed(booted, "one")
    pid = int(booted.show("MainPID"))

    # Reload by the unit; one with a mistake fails, says the line, and changes nothing.
    conf = "/etc/gapura/gapura.conf"
    booted.run("systemctl", "reload", "gapura")
    assert '"generation":2' in booted.run("gapura", "status", "--json").stdout
    booted.run("sh", "-c", f"cp {conf} /root/good && echo nonsense = 1 >> {conf}")
    assert booted.run("systemctl", "reload", "gapura", status=None).returncode != 0
    assert "unknown row `nonsense`" in booted.journal() and booted.show("ActiveState") == "active"
    booted.run("sh", "-c", f"cp /root/good {conf}")

    # The package is upgraded while it runs: the same process, the new program, and no restart by systemd.
    booted.install(debian.second)
    until(lambda: "restarting; listening sockets stay open" in booted.run("cat", "/var/log/gapura/events.jsonl").stdout, 60,
          "the program's own restart")
    roles(booted)
    assert int(booted.show("MainPID")) == pid and booted.show("NRestarts") == "0", booted.journal()
    mailed(booted, "two")

    # Killed, it is started again.
    booted.run("sh", "-c", f"kill -KILL {pid}")
    until(lambda: booted.show("NRestarts") == "1" and booted.show("ActiveState") == "active", 60, "a new start")
    assert int(booted.show("MainPID")) != pid
    roles(booted)
    mailed(booted, "three")

    # Stopped in order, within its time. A start with a mistake in the settings fails before anything is opened.
    booted.run("systemctl", "stop", "gapura")
    assert booted.show("Result") == "success" and booted.show("ActiveState") == "inactive", booted.journal()
    booted.run("sh", "-c", f"echo nonsense = 1 >> {conf}")
    assert booted.run("systemctl", "start", "gapura", status=None).returncode != 0
    assert "unknown row `nonsense`" in booted.journal()
    booted.run("sh", "-c", f"cp /root/good {conf} && systemctl reset-failed gapura && systemctl start gapura")
    roles(booted)
    mailed(booted, "four")

    # Removed: stopped, and the queue stays.
    booted.run("dpkg", "--remove", "gapura")
    assert booted.show("ActiveState") in ("inactive", "failed") and booted.run("ls", "/var/spool/gapura/seg").stdout
