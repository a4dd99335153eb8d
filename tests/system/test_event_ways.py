"""Where events go, when that place is slow, deaf or away: mail never waits for it."""
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from common import guard, trusted
from gapura import BASE, PROGRAM, Failed, until

TEXT = "Subject: hello\n\n" + "A line.\n" * 3


def base_to(to, file="{dir}/log/events.jsonl"):
    return BASE.replace("to = file\n    file = {dir}/log/events.jsonl", f"to = {to}\n    file = {file}")


def run(g, **words):
    g.log = open(g.output, "ab")
    g.process = subprocess.Popen([PROGRAM, "run", "-c", g.conf], stdin=subprocess.DEVNULL, cwd=g.dir,
                                 start_new_session=True, **{"stdout": g.log, "stderr": g.log, **words})
    g.ready()


def mail(g, count):
    for n in range(count):
        with trusted(g) as c:
            assert c.mail("alice@example.com", f"user{n}@inside.test", TEXT).code == 250


@pytest.mark.parametrize("kind", ("pipe", "socket"))
def test_nobody_reads_stderr(gapura, net, sink, kind):
    """64 KB fit a pipe: what comes after must not hold up a single role."""
    inside = sink(2)
    g = gapura(guard(net), start=False, base=base_to("stderr"))
    rd, wr = os.pipe() if kind == "pipe" else (end.detach() for end in socket.socketpair())
    try:
        run(g, stderr=wr)
        mail(g, 150)
        inside.wait(150)
        g.all_ready()
        assert os.get_blocking(wr), "who shares the pipe finds it as it was"
        os.set_blocking(rd, False)
        seen = b""

        def read():
            nonlocal seen
            try:
                seen += os.read(rd, 1 << 20)
            except BlockingIOError:
                pass
            return seen.count(b'"type":"Delivery"') == 150 and seen.count(b'"type":"Reception"') == 150
        until(read, what="every line, once somebody reads")
        g.stop()
    finally:
        os.close(rd), os.close(wr)


def test_a_fifo_as_event_file(gapura, net, place):
    """Without a reader the start ends with a word; with one it is a place like any other."""
    fifo = place / "fifo"
    os.mkfifo(fifo, 0o666)
    g = gapura(guard(net), start=False, base=base_to("file", str(fifo)))
    with pytest.raises(Failed) as error:
        g.start()
    assert g.process.wait(20) == 1 and "a FIFO that nobody reads" in str(error.value), error.value
    g.process = None
    rd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        g.start()
        until(lambda: b"Notice" in os.read(rd, 1 << 16), what="a line")
        g.stop()
    finally:
        os.close(rd)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_the_log_daemon_is_away_at_the_start(gapura, net):
    """Nor does it end a restart in place: it is asked for again, and gets what was kept for it."""
    g = gapura(guard(net), start=False, base=base_to("journald"))
    g.log = open(g.output, "ab")
    script = f'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && exec "{PROGRAM}" run -c "{g.conf}"'
    g.process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=g.log,
                                 stderr=g.log, cwd=g.dir, start_new_session=True)
    g.ready()
    assert "and it is tried again every" in g.printed(), g.printed()
    mail(g, 1)
    at = pathlib.Path(f"/proc/{g.process.pid}/root/run/systemd/journal/socket")

    def daemon_sees(words):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(str(at))
            at.chmod(0o666)
            log.settimeout(1)
            seen = []

            def read():
                try:
                    seen.append(log.recv(1 << 16))
                except TimeoutError:
                    return False
                return all(any(word in line for line in seen) for word in words)
            until(read, 40, f"{words}")
        at.unlink()
    daemon_sees((b"the log daemon was not there", b'"type":"Reception"'))
    before = g.pids()
    g.signal(signal.SIGUSR2)
    until(lambda: set(g.pids().values()) & set(before.values()) == {g.process.pid}, what="other roles")
    g.ready()
    mail(g, 1)
    daemon_sees((b"the log daemon was not there", b'"type":"Reception"'))
