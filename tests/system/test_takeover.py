"""A role that somebody has taken over speaks as it likes on its own channels: nobody believes what is
not that role's to say, both ends are started again, and an Alarm tells who it was.

The test takes a copy of the role's own end of a channel (pidfd_getfd) and speaks through it.
"""
import ctypes
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from common import guard, trusted
from gapura import freeze, until
from test_roles import accepted, size_of

pytestmark = [pytest.mark.crashes,
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root to take a role's descriptor"),
              pytest.mark.skipif(not shutil.which("ss"), reason="needs ss (iproute2)")]

PIDFD_OPEN, PIDFD_GETFD = 434, 438
# src/store/asks.h
AUTH_ANSWER, KEY_ANSWER, SEGMENT, FREE, SHARE, RELOAD, TAKEN, BROKEN = 0x204, 0x20a, 0x503, 0x505, 0x604, 0x608, 0x612, 0x617
GATE_0, COURIER_0 = 0x100, 0x200


def text(s):
    return struct.pack("<I", len(s)) + s


def message(kind, body=b"", number=1):
    return struct.pack("<HQ", kind, number) + body


def channel_of(g, role, peer):
    """The role's end of its channel to the peer; of the supervisor it is descriptor 3."""
    pids = g.pids()
    descriptor = 3
    if peer != "supervisor":
        lines = subprocess.run(["ss", "-xaHp"], capture_output=True, text=True, check=True).stdout
        rows = re.findall(r"^u_seq .*\* (\d+) +\* (\d+) +users:\(\(.*?pid=(\d+),fd=(\d+)", lines, re.M)
        ends = {inode: (int(pid), int(fd), other) for inode, other, pid, fd in rows}
        descriptor = next(fd for pid, fd, other in ends.values()
                          if pid == pids[role] and ends.get(other, (0,))[0] == pids[peer])
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = libc.syscall(PIDFD_OPEN, pids[role], 0)
    copy = libc.syscall(PIDFD_GETFD, pidfd, descriptor, 0)
    assert copy >= 0, os.strerror(ctypes.get_errno())
    os.close(pidfd)
    return socket.socket(fileno=copy)


ATTACKS = {
    "a password is right, says the resolver": ("resolver", "gate", message(AUTH_ANSWER, b"\0" + text(b"") + text(b"root"))),
    "a password is right, says the courier": ("courier", "gate", message(AUTH_ANSWER, b"\0" + text(b"") + text(b"root"))),
    "a key of its own for a domain": ("gate", "keeper", message(KEY_ANSWER, b"\1" + text(b"") + b"\0\0\0" + text(b"p") + text(b"s"))),
    "a segment is settled": ("gate", "spooler", message(FREE, struct.pack("<QQ", 1, 1))),
    "a segment of the courier's": ("gate", "spooler", message(SEGMENT, struct.pack("<HI", COURIER_0, 2))),
    "a segment of a gate's": ("courier", "spooler", message(SEGMENT, struct.pack("<HI", GATE_0, 2))),
    "the courier's stream": ("gate", "courier", message(SHARE, struct.pack("<HIB", COURIER_0, 9, 0))),
    "half a message": ("scan", "keeper", message(0x703)[:7]),
    "a message with more behind it": ("gate", "resolver", message(0x101, b"\0" * 200)),
    "a length beyond the end": ("gate", "keeper", message(0x301, struct.pack("<I", 0xffffffff) + b"x")),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_not_its_to_say(gapura, sink, net, attack):
    attacker, victim, said = ATTACKS[attack]
    sink(2)
    g = gapura(guard(net))
    accepted(g)
    g.wait_empty()
    before = g.pids()
    with channel_of(g, attacker, victim) as channel:
        channel.send(said)
    until(lambda: all(g.pids().get(role) not in (None, 0, before[role]) for role in (attacker, victim)), 30,
          "both roles started again")
    until(g.roles_ready, 30, "all roles ready")
    alarms = [e["text"] for e in g.events("Alarm")]
    assert any(attacker in x and victim in x for x in alarms), alarms
    accepted(g)
    g.wait_empty()
    now = g.pids()
    assert {role for role in now if now[role] != before[role]} == {attacker, victim}


@pytest.mark.parametrize("role,said", [("gate", message(RELOAD)), ("keyring", message(0x7777)), ("scan", b"abc"),
                                       ("courier", message(0x612, b"\0"))])
def test_what_the_supervisor_is_told(gapura, sink, net, role, said):
    sink(2)
    g = gapura(guard(net))
    before = g.pids()
    with channel_of(g, role, "supervisor") as channel:
        channel.send(said)
    until(lambda: g.pids().get(role) not in (None, 0, before[role]), 30, "the role started again")
    until(g.roles_ready, 30, "all roles ready")
    assert g.generation() == 1, "no settings were read again"
    accepted(g)
    now = g.pids()
    assert {x for x in now if now[x] != before[x]} == {role}


def test_settings_that_one_refuses_while_another_is_slow(gapura, net):
    """The gate has not looked at them yet when they are refused: it is told the former ones as well."""
    g = gapura(guard(net), smtp="max_size = 1 MB")
    before = g.pids()
    for role in ("gate", "scan"):
        freeze(before[role])
    g.conf.write_text(g.conf.read_text().replace("max_size = 1 MB", "max_size = 2 MB"))
    try:
        with channel_of(g, "scan", "supervisor") as channel, channel_of(g, "gate", "supervisor") as gate:
            g.signal(signal.SIGHUP)
            until(lambda: select.select([gate], [], [], 0)[0], 20, "settings for the gate")
            channel.send(message(TAKEN, struct.pack("<QB", 2, 0) + text(b"not today"), 0))
        g.wait_event("Alarm", role="supervisor")
    finally:
        for role in ("gate", "scan"):
            os.kill(before[role], signal.SIGCONT)
    assert "not today" in g.events("Alarm")[-1]["text"]
    until(lambda: size_of(g) == 1 << 20, 10, "the former size")
    assert g.pids() == before and g.generation() == 1
    g.ctl("reload", as_json=False)
    assert size_of(g) == 2 << 20


def test_nobody_is_accused_but_a_peer(gapura, net):
    """A role that was taken over may have a peer ended, and ends with it; others not at all."""
    g = gapura(guard(net))
    before = g.pids()
    with channel_of(g, "scan", "supervisor") as channel:
        channel.send(message(BROKEN, b"\6"))  # the gate, to which scan has no channel
        channel.send(message(BROKEN, b"\xff"))
    with trusted(g) as c:
        assert c.cmd("NOOP").code == 250
    assert g.pids() == before
    with channel_of(g, "scan", "supervisor") as channel:
        channel.send(message(BROKEN, b"\5"))
    until(lambda: all(g.pids().get(role) not in (None, 0, before[role]) for role in ("scan", "courier")), 30,
          "both roles started again")
    assert g.pids()["gate"] == before["gate"]
