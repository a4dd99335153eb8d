"""Durability seen from outside: a shim under the running program delays, fails and records the
writes and syncs of the log (tests/shim)."""
import errno
import importlib.machinery
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from gapura import until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load_fault():
    loader = importlib.machinery.SourceFileLoader("fault", os.path.join(ROOT, "tests", "fault"))
    spec = importlib.util.spec_from_loader("fault", loader)
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


fault = load_fault()


class Client:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.f = self.s.makefile("rb")
        assert self.reply()[0] == 220
        self.s.sendall(b"EHLO client.test\r\n")
        self.reply()

    def reply(self):
        while True:
            line = self.f.readline()
            if not line:
                raise EOFError
            if line[3:4] != b"-":
                return int(line[:3]), line.decode()

    def offer(self, n, size=2000):
        """Envelope and body without waiting for the last reply; False if it was refused before."""
        self.s.sendall(b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        codes = [self.reply()[0] for _ in range(3)]
        if codes[2] != 354:
            return False
        body = f"Message-ID: <d.{n}@load.test>\r\n\r\n" + "x" * 70 + "\r\n"
        body += ("y" * 70 + "\r\n") * (size // 72)
        self.s.sendall(body.encode() + b".\r\n")
        return True


@pytest.fixture
def world():
    w = fault.World(1)
    yield w
    w.stop()
    shutil.rmtree(w.dir, ignore_errors=True)


def held(w):
    with open(w.conf) as f:
        text = f.read()
    with open(w.conf, "w") as f:
        f.write(text.replace("delivery {", "delivery {\n    hold = yes"))


def test_no_250_before_the_sync_returns(world):
    world.start()
    assert world.wait_up()
    c = Client(world.port)
    assert world.shim.set("gate", "sync_delay_ms", 5000)
    t0 = time.monotonic()
    assert c.offer(1)
    c.s.settimeout(4.8)
    with pytest.raises(TimeoutError):
        c.s.recv(1, socket.MSG_PEEK)
    c.s.settimeout(30)
    assert c.reply()[0] == 250
    assert time.monotonic() - t0 >= 5
    world.shim.set("gate", "sync_delay_ms", 0)


@pytest.mark.parametrize("field", ["fail_write", "fail_sync"])
@pytest.mark.parametrize("err", [errno.EIO, errno.ENOSPC])
def test_each_write_and_sync_may_fail(world, field, err):
    """No 250 for what a failed call covered, 451 or 452 instead, and intake goes on by itself."""
    world.start()
    assert world.wait_up()
    c, n = Client(world.port), 0
    for turn in range(1, 7):
        world.shim.set("gate", field + "_errno", err)
        world.shim.set("gate", field, turn)
        refused, end = 0, time.monotonic() + 20
        while world.shim.get("gate", field) and time.monotonic() < end:
            n += 1
            if not c.offer(n):
                continue
            code, _ = c.reply()
            if world.shim.get("gate", field) == 0:
                assert code in (451, 452)
                refused += 1
            else:
                assert code == 250
        assert refused == 1
        end = time.monotonic() + 20
        while time.monotonic() < end:
            n += 1
            if c.offer(n) and c.reply()[0] == 250:
                break
            time.sleep(0.01)
        else:
            pytest.fail("intake did not come back")


def test_full_disk_and_back(world):
    world.start()
    assert world.wait_up()
    c = Client(world.port)
    assert world.shim.set("gate", "full", 1)
    codes = set()
    for n in range(5):
        if c.offer(n):
            codes.add(c.reply()[0])
    assert codes <= {451, 452}
    world.shim.set("gate", "full", 0)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if c.offer(100) and c.reply()[0] == 250:
            return
        time.sleep(0.05)
    pytest.fail("intake did not come back")


def said(world, text):
    return [i for i, e in enumerate(world.events()) if e.get("text", "").startswith(text)]


def verb(world, *words):
    done = subprocess.run([fault.GAPURA, *words, "--run-dir", world.dir + "/run"], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_delivery_begins_before_the_log_is_read(world):
    """A slow disk: mail goes while most of it is still to be read; killed in the midst of that, and
    again, nothing is lost and nothing is sent twice without a name."""
    n = 60
    held(world)
    world.start()
    assert world.wait_up()
    c = Client(world.port)
    for i in range(n):
        assert c.offer(i, size=200000)
        assert c.reply()[0] == 250
    world.kill("all")
    with open(world.conf) as f:
        text = f.read()
    with open(world.conf, "w") as f:
        f.write(text.replace("hold = yes", "hold = no"))
    world.shim.set("courier", "read_delay_ms", 40)
    for life in range(3):
        before, whole = len(world.sink.got), len(said(world, "the queue is read"))
        world.start()
        until(lambda: len(world.sink.got) > before, what="mail while the log is read")
        if len(said(world, "the queue is read")) == whole:
            assert "reading the log: " in verb(world, "queue", "summary")
        assert len(said(world, "the queue is read")) == whole, "delivery waited for the whole index"
        world.kill("all")
    world.shim.set("courier", "read_delay_ms", 0)
    world.start()
    until(lambda: len(said(world, "the queue is read")) > whole, what="the whole index")

    def all_there():
        held_now = world.release()  # what two crashes left unknown waits for a person
        return len(world.sink.got) == n and not held_now and "@" not in verb(world, "queue", "list")
    until(all_there, what="every message, and an empty queue")
    assert "reading the log" not in verb(world, "queue", "summary")
    unknown = sum(e.get("type") == "TransientFailure" for e in world.events())
    repeats = sum(len(bodies) - 1 for bodies in world.sink.got.values())
    assert repeats <= unknown


def test_any_subset_of_units_may_persist(world):
    """Every state that power loss could leave holds what had been acknowledged by then."""
    tool = os.path.join(ROOT, "build", "tests", "spool_replay")
    subprocess.run(["make", "-s", "-C", ROOT, "build/tests/spool_replay"], check=True)
    held(world)
    trace = os.path.join(world.dir, "trace")
    open(trace, "w").close()
    os.chmod(trace, 0o666)
    os.environ["GAPURA_SHIM_TRACE"] = trace
    try:
        world.start()
        assert world.wait_up()
        acks, clients = [], [Client(world.port) for _ in range(4)]
        for n in range(120):
            went = [c for c in clients if c.offer(n * 10 + id(c) % 7, 300 + n * 61 % 9000)]
            for c in went:
                code, text = c.reply()
                assert code == 250
                found = re.search(r"\b([0-9a-z]{26})\b", text)
                acks.append((os.path.getsize(trace), found.group(1)))
    finally:
        del os.environ["GAPURA_SHIM_TRACE"]
    world.kill("all")
    seg = os.path.join(world.dir, "spool", "seg")
    with open(world.dir + "/names", "w") as f:
        for name in os.listdir(seg):
            f.write(f"{os.stat(os.path.join(seg, name)).st_ino} {int(name.split('.')[0])}\n")
    with open(world.dir + "/acks", "w") as f:
        for at, i in acks:
            f.write(f"{at} {i}\n")
    scratch = tempfile.mkdtemp(prefix="gapura-replay-", dir="/dev/shm")
    try:
        samples = os.environ.get("SPOOL_SAMPLES", "10000")
        seed = str(int.from_bytes(os.urandom(6), "big") | 1)
        r = subprocess.run([tool, trace, world.dir + "/names", world.dir + "/acks",
                            scratch + "/spool", samples, seed], capture_output=True, text=True)
        print(r.stdout[-2000:], r.stderr[-2000:])
        assert r.returncode == 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
