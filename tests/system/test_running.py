"""Staying alive: restarts, rolling restarts, dead roles, a full disk, rotation, hostile clients."""
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from common import guard, stranger, trusted
from gapura import PROGRAM, freeze, until
from smtp import Closed, Smtp, message


def test_restart_with_a_queue(gapura, net, sink):
    g = gapura(guard(net))
    with trusted(g) as c:
        for i in range(50):
            assert c.mail("a@example.com", f"b{i}@outside.test", message(f"n{i}")).code == 250
    until(lambda: len(g.queue()) == 50, what="50 waiting")
    g.stop()
    out = sink(3)
    g.start()
    got = out.wait(50)
    g.wait_empty()
    assert sorted(m.recipients[0] for m in got) == sorted(f"b{i}@outside.test" for i in range(50))
    assert len(out.messages) == 50


@pytest.mark.crashes
def test_kill_all_and_start_again(gapura, net, sink):
    g = gapura(guard(net))
    with trusted(g) as c:
        for i in range(50):
            assert c.mail("a@example.com", f"b{i}@outside.test", message(f"n{i}")).code == 250
    g.kill()
    out = sink(3)
    g.start()
    got = out.wait(50)
    assert {m.recipients[0] for m in got} == {f"b{i}@outside.test" for i in range(50)}


@pytest.mark.crashes
@pytest.mark.parametrize("role", ["gate", "courier", "spooler", "resolver", "keyring", "keeper", "desk", "scan"])
def test_a_role_dies_and_comes_back(gapura, net, sink, role):
    out = sink(3)
    g = gapura(guard(net))
    pid = g.pids()[role]
    with trusted(g) as c:
        assert c.mail("a@example.com", "b0@outside.test", message()).code == 250
    out.wait(1)
    os.kill(pid, signal.SIGKILL)
    g.wait_event("Warning")
    until(lambda: g.pids().get(role) not in (0, None, pid) and g.roles_ready(), what=f"{role} again")

    def accepted():
        try:
            with trusted(g) as c:
                return c.mail("a@example.com", "b1@outside.test", message()).code == 250
        except (Closed, OSError):
            return False
    until(accepted, what="mail after that")
    until(lambda: any(m.recipients == ["b1@outside.test"] for m in out.messages), what="its delivery")


def test_a_gate_without_its_epoch_hears_it_again(gapura, net, sink):
    """It is told at once what the inside server takes, and cannot use that before it has a place in the log."""
    inside = sink(2, extensions=("PIPELINING", "8BITMIME"))
    g = gapura(guard(net))

    def refused():
        try:
            with trusted(g) as c:
                if c.cmd("MAIL FROM:<\u00e4@example.com> SMTPUTF8").code != 250:
                    return True
                return c.cmd("RCPT TO:<b@inside.test>").code == 550
        except (Closed, OSError):
            return False
    with trusted(g) as c:
        assert c.mail("a@example.com", "b0@inside.test", message()).code == 250
    inside.wait(1)
    until(refused, what="no SMTPUTF8 for the inside")
    before = g.pids()
    freeze(before["spooler"])
    try:
        os.kill(before["gate"], signal.SIGKILL)
        until(lambda: g.pids().get("gate") not in (0, None, before["gate"]), what="the next gate")
    finally:
        os.kill(before["spooler"], signal.SIGCONT)
    until(refused, what="the next gate knows that as well")
    assert g.pids()["courier"] == before["courier"] and not g.events("Alarm"), g.events("Alarm")
    g.stop(crashes=True)


def test_service_manager_is_told(gapura, net, place, monkeypatch):
    """sd_notify(3), without a systemd: ready, a restart with its moment, ready again, the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(place / "notify"))
        told.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        g = gapura(guard(net))
        assert told.recv(4096) == b"READY=1"
        began = time.monotonic()
        g.signal(signal.SIGUSR2)
        moment = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", told.recv(4096))
        assert began * 1e6 - 1 <= int(moment[1]) <= time.monotonic() * 1e6
        assert told.recv(4096) == b"READY=1"
        g.ready()
        g.stop()
        assert told.recv(4096) == b"STOPPING=1"


@pytest.mark.crashes
def test_rolling_restart_refuses_nobody(gapura, net, sink):
    """SIGUSR2 under connections: each one is answered, no mail is lost."""
    out = sink(3)
    g = gapura(guard(net))
    before = g.pids()
    stop, refused, taken = threading.Event(), [], []

    def client(number):
        i = 0
        while not stop.is_set():
            i += 1
            name = f"b{number}-{i}@outside.test"
            try:
                with trusted(g) as c:
                    if c.mail("a@example.com", name, message()).code == 250:
                        taken.append(name)
            except ConnectionRefusedError as error:
                refused.append(error)
            except (Closed, OSError, AssertionError):
                pass  # 421 to a session that was open: the client tries again, as clients do
    threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    until(lambda: len(taken) > 20, what="a first load")
    g.signal(signal.SIGUSR2)
    until(lambda: g.roles_ready() and all(g.pids().get(r) not in (None, 0, p) for r, p in before.items()
                                          if r != "supervisor"), 60, "new roles")
    count = len(taken)
    until(lambda: len(taken) > count + 20, what="mail after it")
    stop.set()
    for t in threads:
        t.join()
    assert not refused
    assert g.process.poll() is None, "same process, new program"
    until(lambda: {m.recipients[0] for m in out.messages} >= set(taken), 60, "all that was accepted")


def test_quota_full_then_room_again(gapura, net, sink):
    """452 4.3.1 before the log is full; what waits goes on; intake comes back by itself."""
    g = gapura(guard(net), start=False)
    g.write(g.text, dir=g.dir)
    g.conf.write_text(g.conf.read_text().replace("segment = 4 MB", "segment = 4 MB\n    quota = 48 MB"))
    g.start()
    body = "x" * 76 + "\n"
    text = message(body=body * 13000)  # 1 MB
    taken, reply = 0, None
    with trusted(g) as c:
        for i in range(100):
            reply = c.mail("a@example.com", f"b{i}@outside.test", text)
            if reply.code != 250:
                break
            taken += 1
    assert reply.code == 452 and reply.enhanced == "4.3.1", f"{reply} after {taken}"
    assert taken >= 8
    g.wait_event("Alarm")
    out = sink(3)
    out.wait(taken, 60)
    g.wait_empty()

    def room():
        with trusted(g) as c:
            return c.mail("a@example.com", "after@outside.test", text).code == 250
    until(room, 60, "room again")
    until(lambda: any(m.recipients == ["after@outside.test"] for m in out.messages), what="its delivery")
    assert all(m.data.endswith(text.replace("\n", "\r\n").encode()) for m in out.messages)


def test_quota_refuses_early_by_size(gapura, net):
    g = gapura(guard(net), start=False)
    g.conf.write_text(g.conf.read_text().replace("segment = 4 MB", "segment = 4 MB\n    quota = 64 MB"))
    g.start()
    with trusted(g) as c:
        reply = c.cmd("MAIL FROM:<a@example.com> SIZE=45000000")
        assert reply.code in (452, 552) and reply.enhanced in ("4.3.1", "5.3.4"), reply
        reply = c.cmd("MAIL FROM:<a@example.com> SIZE=400000000")
        assert reply.code == 552 and reply.enhanced == "5.3.4", reply


def test_strangers_who_are_put_off_first_are_an_alarm(gapura, net):
    g = gapura(guard(net), start=False)
    g.conf.write_text(g.conf.read_text().replace("segment = 4 MB", "segment = 4 MB\n    quota = 64 MB"))
    g.start()
    text = message(body=("x" * 76 + "\n") * 13000)

    def stranger_is_refused():
        with stranger(g) as c:
            return c.cmd("MAIL FROM:<a@example.com>").code == 452
    with trusted(g) as c:
        for i in range(60):
            assert c.mail("a@example.com", f"b{i}@outside.test", text).code == 250
            if stranger_is_refused():
                break
        assert c.cmd("MAIL FROM:<a@example.com>").code == 250, "ours still"
    assert stranger_is_refused()
    until(lambda: any("nearly full" in e["text"] for e in g.events("Alarm")), what="an alarm")


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: cannot mount a small disk")
def test_disk_full_then_room_again(gapura, net, sink, place):
    """A real small file system that somebody else fills."""
    disk = place / "spool"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mount is not allowed here")
    g = None
    try:
        disk.chmod(0o777)
        g = gapura(guard(net))
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as out:
            try:
                while out.write(b"\0" * (1 << 20)):
                    pass
            except OSError:
                pass
        text = message(body=("x" * 76 + "\n") * 13000)
        reply, taken = None, 0
        with trusted(g) as c:
            for i in range(100):
                reply = c.mail("a@example.com", f"b{i}@outside.test", text)
                if reply.code != 250:
                    break
                taken += 1
        assert reply.code == 452 and reply.enhanced == "4.3.1", reply
        filler.unlink()
        out = sink(3)
        out.wait(taken, 60)

        def room():
            with trusted(g) as c:
                return c.mail("a@example.com", "after@outside.test", text).code == 250
        until(room, 60, "room again")
    finally:
        if g and g.process:
            g.stop()
        subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: cannot mount a small disk")
def test_disk_full_then_room_while_nothing_is_delivered(gapura, net, place):
    """Nothing leaves, so nothing asks the spooler for anything: it looks at the disk by itself."""
    disk = place / "spool"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mount is not allowed here")
    g = None
    try:
        disk.chmod(0o777)
        g = gapura(guard(net))
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as out:
            try:
                while out.write(b"\0" * (1 << 20)):
                    pass
            except OSError:
                pass
        text = message(body=("x" * 76 + "\n") * 13000)
        reply = None
        with trusted(g) as c:
            for i in range(100):
                reply = c.mail("a@example.com", f"b{i}@outside.test", text)
                if reply.code != 250:
                    break
        assert reply.code == 452 and reply.enhanced == "4.3.1", reply
        filler.unlink()

        def room():
            with trusted(g) as c:
                return c.mail("a@example.com", "after@outside.test", text).code == 250
        until(room, 30, "room again")
    finally:
        if g and g.process:
            g.stop()
        subprocess.run(["umount", disk], check=True)


def test_events_rotate(gapura, net):
    g = gapura(guard(net), start=False)
    g.conf.write_text(g.conf.read_text().replace("to = file", "to = file\n    rotate_size = 1 MB\n    keep = 2"))
    g.start()
    with stranger(g) as c:
        pass
    assert g.stop() is None
    with open(g.dir / "log/events.jsonl", "a", encoding="utf-8") as out:
        out.write('{"type":"Filler","text":"' + "x" * (1 << 20) + '"}\n')
    g.start()
    until(lambda: (g.dir / "log/events.jsonl.1").exists(), 40, "the rotated file")
    with stranger(g) as c:
        c.cmd("MAIL FROM:<a@example.com>")
        c.cmd("RCPT TO:<b@elsewhere.test>")
    g.wait_event("Rejection")


def test_idle_session_is_ended(gapura, net):
    g = gapura(guard(net), smtp="timeout_command = 1s")
    with stranger(g) as c:
        c.sock.settimeout(20)
        assert c.reply().code == 421


def test_dripping_client_is_ended(gapura, net):
    """One byte now and then within DATA is no excuse."""
    g = gapura(guard(net), smtp="timeout_block = 1s")
    with stranger(g) as c:
        c.cmd("MAIL FROM:<a@example.com>")
        c.cmd("RCPT TO:<bob@inside.test>")
        assert c.cmd("DATA").code == 354
        c.send("Subject: x\r\n")
        c.sock.settimeout(20)
        assert c.reply().code == 421


def test_limits_of_a_session(gapura, net):
    g = gapura(guard(net), smtp="max_errors = 5\nmax_commands = 20\nmax_rcpts = 100\nmax_received = 20")
    with stranger(g) as c:
        codes = []
        with pytest.raises((Closed, OSError)):
            for _ in range(10):
                codes.append(c.cmd("NONSENSE").code)
        assert codes[-1] == 421 and len(codes) <= 7, codes
    with stranger(g) as c:
        codes = []
        with pytest.raises((Closed, OSError)):
            for _ in range(30):
                codes.append(c.cmd("NOOP").code)
        assert codes[-1] == 421, codes
    with stranger(g) as c:
        c.cmd("MAIL FROM:<a@example.com>")
        codes = [c.cmd(f"RCPT TO:<b{i}@inside.test>") for i in range(101)]
        assert codes[99].code == 250 and codes[100].code == 452 and codes[100].enhanced == "4.5.3"
    with stranger(g) as c:
        loop = "".join(f"Received: from a by b{i}; Mon, 2 Mar 2026 10:00:00 +0000\n" for i in range(25))
        reply = c.mail("a@example.com", "bob@inside.test", loop + message())
        assert reply.code == 554 and reply.enhanced == "5.4.6", reply


def test_sessions_per_address(gapura, net):
    g = gapura(guard(net), smtp="sessions_per_address = 3")
    open_now = [stranger(g) for _ in range(3)]
    try:
        with g.smtp(source=net.ip(50)) as c:
            assert c.greeting.code == 421, c.greeting
    finally:
        for c in open_now:
            c.close()
    until(lambda: greets(g), what="room after they left")


def greets(g):
    with g.smtp(source=g.net.ip(50)) as c:
        return c.greeting.code == 220


def test_stop_finishes_the_message_in_hand(gapura, net, sink):
    """SIGTERM in the middle of DATA: the client may finish, and what got 250 is there afterwards."""
    inside = sink(2)
    g = gapura(guard(net))
    c = stranger(g)
    c.cmd("MAIL FROM:<a@example.com>")
    c.cmd("RCPT TO:<bob@inside.test>")
    assert c.cmd("DATA").code == 354
    c.send("Subject: in hand\r\n\r\nfirst\r\n")
    g.signal(signal.SIGTERM)

    def closing():
        try:
            with Smtp((net.ip(1), 2525), timeout=2) as other:
                return other.greeting.code == 421
        except OSError:
            return True
        except Closed:
            return True
    until(closing, what="no new sessions")
    c.send("last\r\n.\r\n")
    reply = c.reply()
    c.close()
    assert g.process.wait(60) == 0
    g.process = None
    if reply.code == 250:
        g.start()
        assert b"first\r\nlast\r\n" in inside.wait(1)[0].data
    else:
        assert reply.code == 421


def test_supervisor_killed_takes_its_roles_along(gapura, net):
    """No role works on without somebody to look after it."""
    g = gapura(guard(net))
    pids = [p for r, p in g.pids().items() if r != "supervisor"]
    os.kill(g.process.pid, signal.SIGKILL)
    g.process.wait()

    def gone():
        left = [p for p in pids if os.path.exists(f"/proc/{p}") and
                "gapura" in open(f"/proc/{p}/cmdline").read()]
        return not left
    until(gone, what="the end of all roles")
    g.process = None
    g.log.close()
    g.start()


@pytest.mark.skipif("build-san" in str(PROGRAM), reason="the sanitizer build has no system call filter")
def test_program_tells_its_sandbox(gapura, net):
    """A child of each profile tries what it must not (the trial is in the program itself)."""
    g = gapura(guard(net))
    for role, pid in g.pids().items():
        if role == "supervisor":
            continue
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status") if ":\t" in line)
        assert status["Seccomp"].strip() == "2", f"{role} has no filter"
        assert status["NoNewPrivs"].strip() == "1", role
        assert int(status["CapEff"].strip(), 16) == 0, role
    done = subprocess.run([PROGRAM, "--sandbox-trial", "gate", "socket"], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0, f"the gate's profile let a socket be opened: {done.stdout}{done.stderr}"
