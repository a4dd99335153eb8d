"""The servers under test: ours in a cgroup of its own, and the peers of the shared harness.

Used by bench/run.py. Traffic stays on 127.0.0.0/8; nothing is killed but what was started here.
"""
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUILD = os.path.join(ROOT, "build", "bench")
GAPURA = os.path.join(ROOT, "build", "gapura")
SHARED = os.environ.get("GAPURA_BENCH", os.path.join(ROOT, "..", "shared", "bench"))
W = os.environ.get("BENCH_W", "/var/tmp/gapura-bench")
SINK = ("127.0.0.2", 2600)
SLOW_SINK = ("127.9.0.1", 2601)
SLOW_SITES = 1000
CGROUPS = next((p for p in ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/unified") if os.path.isdir(p)),
               "/sys/fs/cgroup")


def compile_tools():
    os.makedirs(BUILD, exist_ok=True)
    jobs = [(HERE, "load", "load", ["-lssl", "-lcrypto"]), (HERE, "sink", "sink", []),
            (HERE, "slowsync", "slowsync.so", ["-shared", "-fPIC", "-ldl"]),
            (SHARED, "smtpsink", "smtpsink", ["-pthread"]),
            (SHARED, "physlimits", "physlimits", ["-pthread"])]
    for folder, name, out, words in jobs:
        src, out = os.path.join(folder, name + ".c"), os.path.join(BUILD, out)
        if os.path.exists(src) and (not os.path.exists(out) or
                                    os.path.getmtime(out) < os.path.getmtime(src)):
            own = ["-D_GNU_SOURCE"] if folder == HERE else []
            subprocess.run(["gcc", "-O2", *own, "-o", out, src, *words], check=True)


class Cgroup:
    """Holds one server's processes: their CPU time, and their end."""

    def __init__(self, name):
        self.path = os.path.join(CGROUPS, name)
        os.makedirs(self.path, exist_ok=True)

    def cpu(self):
        usage = os.path.join(self.path, "cpuacct.usage")
        if os.path.exists(usage):
            return int(open(usage).read()) / 1e9
        return int(re.search(r"usage_usec (\d+)",
                             open(os.path.join(self.path, "cpu.stat")).read()).group(1)) / 1e6

    def pids(self):
        return [int(p) for p in open(os.path.join(self.path, "cgroup.procs")).read().split()]

    def memory(self):
        """KiB in all of its processes, shared pages by share."""
        total = 0
        for pid in self.pids():
            try:
                for line in open(f"/proc/{pid}/smaps_rollup"):
                    total += int(line.split()[1]) if line.startswith("Pss:") else 0
            except OSError:
                pass
        return total

    def without(self, library):
        """Commands of those of its processes that have not loaded that library."""
        names = []
        for pid in self.pids():
            try:
                if library not in open(f"/proc/{pid}/maps").read():
                    names.append(open(f"/proc/{pid}/comm").read().strip())
            except OSError:
                pass
        return names

    def killall(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(20):
                if not self.pids():
                    return
                for pid in self.pids():
                    try:
                        os.kill(pid, number)
                    except OSError:
                        pass
                time.sleep(0.1)


def wait_port(port, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                s.settimeout(3)
                if s.recv(10):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"port {port} did not open")


def peers(with_ref=True):
    """Postfix in its two forms and the reference sink, if the shared harness is there."""
    os.environ["BENCH_W"] = W
    if not os.path.exists(os.path.join(SHARED, "peerbench.py")):
        return []
    sys.dont_write_bytecode = True
    if SHARED not in sys.path:
        sys.path.insert(0, SHARED)
    import peerbench
    peerbench.HERE = BUILD
    if not shutil.which("postfix") and not os.path.exists("/usr/lib/postfix/sbin/master"):
        return []
    found = [peerbench.Postfix("postfix"), peerbench.Postfix("postfix-tuned")]
    if with_ref:
        found.append(peerbench.Ref("ref"))
    return found


def slow_routes():
    text = []
    for i in range(SLOW_SITES):
        at = f"127.9.{i // 250}.{1 + i % 250}:{SLOW_SINK[1]}"
        text.append(f"route slow{i + 1} {{\n    domains = d{i + 1}.example.test\n"
                    f"    via = smtp://{at}\n}}")
    return "\n".join(text)


def segment_row(path):
    with open(path, "rb") as f:
        head = f.read(64)
        if head[:8] != b"GAPURSEG":
            return None
        _, stream, state = struct.unpack_from("<HHB", head, 8)
        number, generation, size, seq = struct.unpack_from("<QQQQ", head, 24)
        at = 4096
        while state == 2 and at < size:
            f.seek(at)
            batch = f.read(80)
            length, = struct.unpack_from("<Q", batch, 8)
            if batch[:4] != b"GBAT" or not length or \
                    struct.unpack_from("<Q", batch, 72)[0] != generation:
                break
            at += length
    return number, state == 2, stream >> 8 == 2, seq, size, at


class Gapura:
    """Our own server under the same roof as the peers: cgroup, start, stop, lag."""
    port = 2525

    def __init__(self, conf="conf-tuned.conf", ready=8):
        self.name = {"conf-tuned.conf": "gapura", "conf-defaults.conf": "gapura-defaults"}.get(
            conf, "gapura-" + conf[5:-5])
        self.conf, self.ready, self.keep, self.hold = conf, ready, False, False
        self.cg = Cgroup("bench_" + self.name)
        self.dir = os.path.join(W, self.name)
        self.proc = None

    def wipe(self):
        if self.keep:
            return
        shutil.rmtree(self.dir, ignore_errors=True)

    def settings(self, mode):
        text = open(os.path.join(HERE, self.conf)).read()
        held = "yes" if mode in ("accept", "idle") or self.hold else "no"
        for key, value in (("@DIR@", self.dir), ("@SINK@", "%s:%d" % SINK), ("@HOLD@", held),
                           ("@READY@", str(self.ready)), ("@SLOW@", slow_routes())):
            # Only where it is a setting: the head of the file speaks of the marks.
            text = "\n".join(line if line.startswith("#") else line.replace(key, value)
                             for line in text.split("\n"))
        return text

    def start(self, mode):
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)
        cert = os.path.join(self.dir, "cert.pem")
        if not os.path.exists(cert):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                            "/CN=bench.test", "-keyout", os.path.join(self.dir, "key.pem"),
                            "-out", cert], check=True, capture_output=True)
        conf = os.path.join(self.dir, "gapura.conf")
        open(conf, "w").write(self.settings(mode))
        log = open(os.path.join(W, self.name + ".out"), "a")

        def into():
            open(self.cg.path + "/cgroup.procs", "w").write(str(os.getpid()))
            os.setsid()
        self.proc = subprocess.Popen([GAPURA, "run", "-c", conf], preexec_fn=into, stdout=log,
                                     stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                pass
        self.cg.killall()
        try:
            os.unlink(os.path.join(self.dir, "events.jsonl"))
        except OSError:
            pass

    def ctl(self, *words):
        r = subprocess.run([GAPURA, *words, "--run-dir", os.path.join(self.dir, "run"), "--json"],
                           capture_output=True, text=True)
        return [json.loads(l) for l in r.stdout.splitlines() if l.startswith("{")]

    def settle(self, t=120):
        """Waits until every role is idle: CPU of the cgroup stands still for half a second."""
        end, last = time.time() + t, -1.0
        while time.time() < end:
            now = self.cg.cpu()
            if now - last < 0.002:
                return
            last = now
            time.sleep(0.5)

    def segments(self):
        """(file number, used, courier's, seq, size, bytes written) of every segment file."""
        seg, rows = os.path.join(self.dir, "spool", "seg"), []
        for name in os.listdir(seg):
            try:
                row = segment_row(os.path.join(seg, name))
            except FileNotFoundError:  # the spooler had one too many
                continue
            if row:
                rows.append(row)
        return rows

    def prepare(self, load, rounds=2):
        """Once: fills and frees the segment pool until each file was handed out `rounds` times, so
        that what is measured meets recycled segments. The spool is then kept from run to run."""
        if self.keep:
            return
        self.wipe()
        self.start("accept")
        wait_port(self.port)
        # Until all are pre-written.
        end = time.time() + 120
        while len(self.segments()) < self.ready + 4 and time.time() < end:
            time.sleep(0.2)
        for _ in range(10):
            rows = self.segments()
            handed = max((seq + 1 for _, used, own, seq, _, _ in rows if not own), default=0)
            if handed >= rounds * len(rows):
                break
            part = min(rounds * len(rows) - handed + 2, max(2, len(rows) * 8 // 10))
            load(self.port, int(part * rows[0][4] / 103500) + 1, 100, 102400)
            self.ctl("queue", "remove", "--all", "--reason", "bench")
            self.settle()
            time.sleep(1)
        print(f"# pool of {self.name}: {len(rows)} files, handed out {handed} times: wrapped "
              f"{handed / max(1, len(rows)):.1f} times", flush=True)
        if handed < rounds * len(rows):
            raise RuntimeError("the segment pool was not wrapped")
        self.stop()
        self.keep = True

    def purge(self):
        """After a run: nothing waits, every segment is free for the next one."""
        if self.keep and self.proc and self.proc.poll() is None:
            self.ctl("queue", "remove", "--all", "--reason", "bench")
            self.settle()
