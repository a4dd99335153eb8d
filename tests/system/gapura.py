"""A running Gapura for tests: own directory, own addresses, settings from a text, events, control.

Each test gets a network of its own inside 127.0.0.0/8 (`Net`), so ports are fixed numbers and no
two tests meet. The directory is open to all, since roles run as users of their own.
"""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

from smtp import Smtp

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("GAPURA_PROGRAM", ROOT / "build/gapura"))
SLOW = float(os.environ.get("GAPURA_SLOW", 1))  # factor for sanitizer builds
START, STOP = 30 * SLOW, 40 * SLOW

BASE = """
hostname = mx.gapura.test
spool {{
    dir = {dir}/spool
    segment = 4 MB
    ready = 6
    reserve = 4
    min_free = 1 MB
    ring = 4 MB
    max_batch = 1 MB
}}
events {{
    to = file
    file = {dir}/log/events.jsonl
}}
control {{
    dir = {dir}/run
    store = {dir}/store/store.db
    {metrics}
}}
dns {{
    {dns}
    timeout = 5s
}}
smtp {{
    lookup_client = no
    {smtp}
}}
verify {{
    mode = {verify}
}}
delivery {{
    retry = 500ms, 1s
    retry_max = 2s
    jitter_percent = 0
    {delivery}
}}
"""


class Net:
    """Addresses 127.A.B.0/24 of one test: net.ip(1) ... net.ip(250). A is this process's alone: it
    holds a port there, so that several runs on one machine do not meet."""

    claim, first, count = None, 0, 0

    def __init__(self):
        if not Net.claim:
            Net.first, Net.claim = self._claim()
        Net.count += 1
        self.prefix = f"127.{Net.first}.{Net.count % 250}"

    @staticmethod
    def _claim():
        for first in range(20, 250):
            sock = socket.socket()
            try:
                sock.bind((f"127.{first}.255.254", 40002))
            except OSError:
                sock.close()
                continue
            sock.listen(1)
            return first, sock
        raise AssertionError("no free network in 127/8")

    def ip(self, number):
        return f"{self.prefix}.{number}"


def until(condition, timeout=30, what="condition"):
    """Polls; returns the first true value. Waits for the event, not for a time."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout * SLOW:.0f} s")
        time.sleep(0.01)


def freeze(pid):
    """Stops a process and waits until each of its threads stands: kill() returns before that."""
    def stands():
        states = []
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat") as stat:
                states.append(stat.read().rpartition(")")[2].split()[0])
        return all(state == "T" for state in states)
    os.kill(pid, signal.SIGSTOP)
    until(stands, what=f"process {pid} standing still")


class Failed(Exception):
    """The program ended where it should have run; the text is what it printed."""


class Gapura:
    """text: blocks beside BASE. MX, SUB and IN are the addresses of its listeners by habit."""

    def __init__(self, directory, net, text, dns=None, smtp="", delivery="", metrics=False, wait=(), base=BASE,
                 verify="off"):
        self.dir, self.net = Path(directory), net
        for part in (self.dir, *list(self.dir.parents)[:2]):  # roles must get through; /tmp stays as it is
            mode = part.stat().st_mode & 0o7777
            if mode & 0o055 != 0o055:
                part.chmod(mode | 0o055)
        for name in ("log", "store", "maildir"):
            (self.dir / name).mkdir(exist_ok=True)
            (self.dir / name).chmod(0o777)
        self.conf = self.dir / "gapura.conf"
        self.metrics_at = (net.ip(1), 9125)
        self.parts = dict(dir=self.dir, smtp=smtp, delivery=delivery, verify=verify,
                          dns="" if dns == "none" else f"forward = {dns or net.ip(9) + ':5399'}",
                          metrics=f"metrics = {net.ip(1)}:9125" if metrics else "")
        self.base = base
        self.write(text)
        self.wait = list(wait)
        self.process = None
        self.output = self.dir / "output"

    # Its life.

    def write(self, text, **parts):
        self.text = text
        self.parts.update(parts)
        self.conf.write_text(self.base.format(**self.parts) + text)

    def start(self, ready=True):
        self.log = open(self.output, "ab")
        self.process = subprocess.Popen([PROGRAM, "run", "-c", self.conf], stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL, start_new_session=True, cwd=self.dir)
        if ready:
            self.ready()
        return self

    def ready(self):
        """Every listener greets (a port is bound before the gate takes connections)."""
        for at in self.wait:
            until(lambda at=at: self._greets(at), START / SLOW, f"greeting at {at}")
        self.all_ready()
        for at in self.wait[:1]:
            until(lambda at=at: self._takes_mail(at), START / SLOW, f"mail taken at {at}")

    def all_ready(self):
        until(lambda: self.roles_ready(), START / SLOW, "all roles ready")

    def roles_ready(self):
        rows = self.status()
        return rows and all(r.get("ready", True) and (r["role"] == "supervisor" or r["pid"]) for r in rows)

    def status(self):
        code, lines, _ = self.ctl("status", check=False)
        return lines if code == 0 else []

    def pids(self):
        return {row["role"]: row["pid"] for row in self.status()}

    def _greets(self, at):
        self.alive()
        host, port = at[:2]
        try:
            with socket.create_connection((host, port), 2) as sock:
                if len(at) > 2:
                    context = ssl.create_default_context()
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                    sock.settimeout(2)
                    sock = context.wrap_socket(sock)
                sock.settimeout(2)
                return sock.recv(4).startswith(b"220")
        except OSError:
            return False

    def _takes_mail(self, at):
        """The first seconds may be 452: the log's segments are being written."""
        with Smtp(at[:2]) as c:
            c.ehlo()
            return c.cmd("MAIL FROM:<>").code != 452

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"exit status {self.process.returncode}: {self.printed()}")

    def printed(self):
        return self.output.read_text(errors="replace")[-4000:] if self.output.exists() else ""

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, crashes=False):
        """SIGTERM; the exit status must be 0 and no role may have died before (unless crashes)."""
        restarts = [] if crashes else [r for r in self.status() if r.get("restarts")]
        self.alive()
        self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {STOP} s of SIGTERM: {self.tail()}") from None
        self.process = None
        self.log.close()
        assert status == 0, f"exit status {status}: {self.tail()}"
        assert not restarts, f"roles died: {restarts}: {self.tail()}"
        bad = re.search(r"(AddressSanitizer|runtime error|broken invariant).*", self.printed())
        assert not bad, self.printed()

    def kill(self):
        """SIGKILL to all of it at once, as a power cut does."""
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None
            self.log.close()

    def tail(self):
        """What helps to understand a failure."""
        lines = [e for e in self.events() if e.get("type") in ("Warning", "Alarm", "Notice")][-8:]
        return self.printed() + "\n" + "\n".join(json.dumps(e) for e in lines)

    # Asking it.

    def ctl(self, *words, check=True, stdin=None, as_json=True):
        """gapura WORDS --json: (status, rows, what it said on stderr)."""
        argv = [PROGRAM, *words, *(["--json"] if as_json else []), "--run-dir", self.dir / "run"]
        done = subprocess.run(argv, input=stdin or "", capture_output=True, text=True, timeout=60 * SLOW)
        if check:
            assert done.returncode == 0, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        if not as_json:
            return done.returncode, done.stdout, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return done.returncode, rows, done.stderr

    def queue(self, *words):
        return self.ctl("queue", "list", *words)[1]

    def check(self):
        done = subprocess.run([PROGRAM, "check", "-c", self.conf], capture_output=True, text=True, timeout=30 * SLOW)
        return done.returncode, done.stdout + done.stderr

    def events(self, kind=None, **fields):
        """Events so far, of all rotated files; fields must be equal."""
        found = []
        files = sorted(self.dir.glob("log/events.jsonl*"), key=lambda p: -len(p.name))
        for path in files:
            for line in path.read_text(errors="replace").splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # the last line may be half written when it is read
                if (kind is None or event.get("type") == kind) and \
                        all(event.get(k) == v for k, v in fields.items()):
                    found.append(event)
        return found

    def wait_event(self, kind, timeout=30, count=1, **fields):
        def enough():
            found = self.events(kind, **fields)
            return found if len(found) >= count else None
        try:
            return until(enough, timeout, f"event {kind} {fields}")[-1]
        except AssertionError as error:
            raise AssertionError(f"{error}; there were {[e.get('type') for e in self.events()][-20:]}; "
                                 f"{self.tail()}") from None

    def wait_empty(self, timeout=30):
        # A courier that has just started says so instead of answering: asked again.
        until(lambda: self.ctl("queue", "list", check=False)[:2] == (0, []), timeout, "an empty queue")

    def generation(self):
        return next(r["generation"] for r in self.status() if r["role"] == "supervisor")

    # Talking to it.

    def smtp(self, number=1, port=2525, **words):
        return Smtp((self.net.ip(number), port), **words)

    def user(self, login, password, *words):
        """A new login; returns when the submission port takes it (snapshots travel between roles)."""
        self.ctl("user", "add", login, *words, stdin=password + "\n")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def known():
            with self.smtp(port=2587) as c:
                c.ehlo()
                c.starttls(context)
                c.ehlo()
                return c.auth("PLAIN", login, password).code == 235
        until(known, what=f"the login {login}")
