#!/usr/bin/env python3
"""Side-by-side benchmarks: Gapura, Postfix (default and tuned) and a reference sink, interleaved.

    bench/run.py [accept|relay|drain|idle|queue ...]     (make bench ONLY=accept)

Every figure of a bar comes from one call: the peers run in turn, in a fresh state each, CPU is read
from a cgroup that holds only the server's processes until its lag is zero. The peers' start-up
files come from the shared harness (GAPURA_BENCH, default ../shared/bench); without it only Gapura
is measured, and bars are not judged. Traffic stays on 127.0.0.0/8. Rows are kept in bench/results/.

Environment: RUNS (5), SECONDS (20), BENCH_W (work directory on the disk under test), SHAPE (one
row of accept, such as accept-10k-many).
"""
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUILD = os.path.join(ROOT, "build", "bench")
GAPURA = os.path.join(ROOT, "build", "gapura")
SHARED = os.environ.get("GAPURA_BENCH", os.path.join(ROOT, "..", "shared", "bench"))
W = os.environ.get("BENCH_W", "/var/tmp/gapura-bench")
RUNS = int(os.environ.get("RUNS", "5"))
SECONDS = float(os.environ.get("SECONDS", "20"))
SINK = ("127.0.0.2", 2600)
RESULTS = os.path.join(HERE, "results")
SEEN_ROW = 32


def compile_tools():
    os.makedirs(BUILD, exist_ok=True)
    for name in ("load", "sink"):
        src, out = os.path.join(HERE, name + ".c"), os.path.join(BUILD, name)
        if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(src):
            subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", out, src, "-lssl", "-lcrypto"],
                           check=True)
    for name in ("smtpsink", "physlimits"):
        src, out = os.path.join(SHARED, name + ".c"), os.path.join(BUILD, name)
        if os.path.exists(src) and not os.path.exists(out):
            subprocess.run(["gcc", "-O2", "-pthread", "-o", out, src], check=True)


def peer_classes():
    """The shared harness's Postfix and ref, with their tools found in our build directory."""
    os.environ["BENCH_W"] = W
    os.makedirs(W, exist_ok=True)
    if not os.path.exists(os.path.join(SHARED, "peerbench.py")):
        return None
    sys.path.insert(0, SHARED)
    sys.dont_write_bytecode = True
    import peerbench
    peerbench.HERE = BUILD
    return peerbench


class Gapura:
    """Our own server under the same roof as the peers: cgroup, start, stop, lag."""
    port = 2525

    def __init__(self, pb, conf="conf-tuned.conf", ready=8):
        self.name = "gapura" if conf == "conf-tuned.conf" else "gapura-defaults"
        self.conf, self.ready = conf, ready
        self.cg = pb.CG("bench_" + self.name)
        self.dir = os.path.join(W, self.name)
        self.hold = False

    def wipe(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, mode, pre=None):
        os.makedirs(self.dir, exist_ok=True)
        cert = os.path.join(self.dir, "cert.pem")
        if not os.path.exists(cert):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                            "/CN=bench.test", "-keyout", os.path.join(self.dir, "key.pem"),
                            "-out", cert], check=True, capture_output=True)
        text = open(os.path.join(HERE, self.conf)).read()
        held = "yes" if mode in ("accept", "idle") or self.hold else "no"
        for key, value in (("@DIR@", self.dir), ("@SINK@", "%s:%d" % SINK), ("@HOLD@", held),
                           ("@READY@", str(self.ready))):
            text = text.replace(key, value)
        conf = os.path.join(self.dir, "gapura.conf")
        open(conf, "w").write(text)
        os.chmod(self.dir, 0o755)
        log = open(os.path.join(W, self.name + ".out"), "a")

        def into():
            open(self.cg.p + "/cgroup.procs", "w").write(str(os.getpid()))
            os.setsid()
        self.proc = subprocess.Popen((pre or []) + [GAPURA, "run", "-c", conf], preexec_fn=into,
                                     stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        if getattr(self, "proc", None) and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                pass
        self.cg.killall()

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


def seen_read(path, first, n):
    """(acked set, arrived set, copies > 1, latency dot->250, latency 250->sink) in numbers."""
    import array
    data = array.array("Q")
    with open(path, "rb") as f:
        f.seek(first * SEEN_ROW)
        data.frombytes(f.read(n * SEEN_ROW))
    acked = arrived = missing = repeats = 0
    dot, sink = [], []
    for i in range(0, len(data), 4):
        a, d, r, copies = data[i], data[i + 1], data[i + 2], data[i + 3] & 0xFFFFFFFF
        acked += a > 0
        arrived += r > 0
        missing += a > 0 and r == 0
        repeats += copies > 1
        if a and d:
            dot.append(max(0, a - d) / 1e6)
        if a and r:
            sink.append((r - a) / 1e6)
    return dict(acked=acked, arrived=arrived, missing=missing, repeats=repeats,
                dot_p99=quant(dot, .99), sink_p50=quant(sink, .5), sink_p99=quant(sink, .99))


def quant(values, q):
    if not values:
        return 0.0
    values.sort()
    return values[min(len(values) - 1, int(q * len(values)))]


def load(port, n, conns, size, k=0, extra=(), seconds=600, seen=None, first=0):
    cmd = [os.path.join(BUILD, "load"), "-P", str(port), "-c", str(conns), "-n", str(n), "-s",
           str(size), "-k", str(k), "-d", str(int(seconds)), "-b", str(first), *extra]
    if seen:
        cmd += ["-S", seen]
    return json.loads(subprocess.run(cmd, stdout=subprocess.PIPE, check=True).stdout)


def fresh(peer, mode, wait_port):
    peer.stop()
    peer.wipe()
    subprocess.run(["sync"])
    peer.start(mode)
    wait_port(peer.port)
    time.sleep(0.5)


def wrap_pool(peer, size, conns, rounds=2):
    """Fills and frees the segment pool, so that a run meets recycled segments."""
    for _ in range(rounds):
        load(peer.port, int(peer.ready * 60e6 / (size + 500)), conns, size)
        peer.ctl("queue", "remove", "--all", "--reason", "bench")
        peer.settle()


def run_accept(pb, peer, size, conns, k, n, extra=()):
    fresh(peer, "accept", pb.wait_port)
    load(peer.port, 200, min(conns, 100), size)
    if isinstance(peer, Gapura) and peer.ready > 8:
        wrap_pool(peer, size, conns)
    subprocess.run(["sync"])
    c0 = peer.cg.cpu()
    r = load(peer.port, n, conns, size, k, extra)
    if isinstance(peer, Gapura):
        peer.settle()
    cpu = (peer.cg.cpu() - c0) * 1e6 / max(1, r["msgs"])
    return dict(rate=r["rate"], cpu_us=cpu, p50=r["p50_ms"], p99=r["p99_ms"], ok=r["msgs"],
                refused=r["refused"], errors=r["errors"], secs=r["secs"])


def run_relay(pb, peer, size, conns, n):
    fresh(peer, "relay", pb.wait_port)
    seen = os.path.join(W, "seen")
    if os.path.exists(seen):
        os.unlink(seen)
    first, total = 1000, n + 1000
    sink = subprocess.Popen([os.path.join(BUILD, "sink"), "-H", SINK[0], "-P", str(SINK[1]), "-S",
                             seen, "-N", str(total), "-n", str(n + 500), "-T", "400"],
                            stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    load(peer.port, 500, min(conns, 100), size, seen=seen, first=0)
    time.sleep(3)
    c0 = peer.cg.cpu()
    r = load(peer.port, n, conns, size, seen=seen, first=first)
    out = json.loads(sink.communicate(timeout=420)[0])
    if isinstance(peer, Gapura):
        peer.settle()
    else:
        time.sleep(1)
    got = seen_read(seen, first, n)
    secs = out["last"] - r["begin"]
    return dict(rate=got["arrived"] / secs, cpu_us=(peer.cg.cpu() - c0) * 1e6 / max(1, n),
                secs=secs, accept_rate=r["rate"], p50=r["p50_ms"], p99=r["p99_ms"],
                sink_conns=out["conns"], ok=r["msgs"], **got)


def run_drain(pb, peer, size, n):
    """n messages are accepted while delivery is held; then the time until the sink has them."""
    postfix = not isinstance(peer, Gapura)
    peer.hold = True
    if postfix:
        os.environ["POSTFIX_EXTRA"] = "defer_transports=smtp"
    fresh(peer, "relay", pb.wait_port)
    load(peer.port, n, 100, size)
    if postfix:
        time.sleep(5)
    else:
        peer.settle()
    peer.stop()
    subprocess.run(["sync"])
    open("/proc/sys/vm/drop_caches", "w").write("3")
    seen = os.path.join(W, "seen")
    if os.path.exists(seen):
        os.unlink(seen)
    sink = subprocess.Popen([os.path.join(BUILD, "sink"), "-H", SINK[0], "-P", str(SINK[1]), "-S",
                             seen, "-N", str(n), "-n", str(n), "-T", "300"],
                            stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    peer.hold = False
    os.environ.pop("POSTFIX_EXTRA", None)
    t0, c0 = time.monotonic(), peer.cg.cpu()
    peer.start("relay")
    if postfix:
        pb.wait_port(peer.port)
        subprocess.run(["postqueue", "-c", W + "/postfix/etc", "-f"])
    out = json.loads(sink.communicate(timeout=320)[0])
    if not postfix:
        peer.settle()
    return dict(rate=out["distinct"] / (out["last"] - out["first"]), first=out["first"] - t0,
                cpu_us=(peer.cg.cpu() - c0) * 1e6 / n, distinct=out["distinct"], msgs=out["msgs"],
                secs=out["last"] - t0)


def interleave(name, peers, run, runs=RUNS):
    rows = {p.name: [] for p in peers}
    for i in range(runs):
        for p in peers:
            try:
                r = run(p)
            except Exception as e:                       # one peer's failure is that peer's row
                print(f"# {name} {p.name} run {i}: {e!r}", flush=True)
                p.stop()
                continue
            p.stop()
            p.wipe()
            rows[p.name].append(r)
            with open(os.path.join(RESULTS, "rows.raw"), "a") as f:
                f.write(json.dumps(dict(bench=name, peer=p.name, **r)) + "\n")
            print("#", name, p.name, {k: round(v, 2) for k, v in r.items()}, flush=True)
    return rows


def med(rows, key):
    return statistics.median(r[key] for r in rows) if rows else 0.0


def table(name, rows):
    lines = [f"**{name}**", "", "| server | per second min / median / max | CPU us/msg | p50 / p99 ms "
             "| runs |", "| --- | --- | --- | --- | --- |"]
    for peer, rs in rows.items():
        if rs:
            v = sorted(r["rate"] for r in rs)
            lines.append(f"| {peer} | {v[0]:.0f} / **{med(rs, 'rate'):.0f}** / {v[-1]:.0f} | "
                         f"{med(rs, 'cpu_us'):.1f} | {med(rs, 'p50') if 'p50' in rs[0] else 0:.1f} / "
                         f"{med(rs, 'p99') if 'p99' in rs[0] else 0:.1f} | {len(rs)} |")
    text = "\n".join(lines) + "\n\n"
    print(text, flush=True)
    with open(os.path.join(RESULTS, "latest.md"), "a") as f:
        f.write(text)


def bar(name, measured, required, ok, note=""):
    line = f"bar {name} measured {measured:.2f} required {required:g} {'ok' if ok else 'short'} {note}"
    print(line.rstrip(), flush=True)
    with open(os.path.join(RESULTS, "latest.md"), "a") as f:
        f.write(line.rstrip() + "\n\n")


def judge(name, rows, times, cpu=None, ref_share=None):
    """Ratio of medians, our slowest over their fastest, CPU per message."""
    ours = rows.get("gapura", [])
    theirs = max((rs for n, rs in rows.items() if n.startswith("postfix") and rs),
                 key=lambda rs: med(rs, "rate"), default=[])
    if not ours or not theirs:
        return print(f"bar {name} not judged: a side is missing")
    ratio = med(ours, "rate") / med(theirs, "rate")
    worst = min(r["rate"] for r in ours) / max(r["rate"] for r in theirs)
    bar(name, ratio, times, ratio >= times and worst >= 0.7 * times, f"(worst {worst:.2f})")
    if cpu:
        share = med(theirs, "cpu_us") / max(.001, med(ours, "cpu_us"))
        bar(name + "-cpu", share, cpu, share >= cpu, "(their CPU per message over ours)")
    if ref_share and rows.get("ref"):
        share = med(ours, "rate") / med(rows["ref"], "rate")
        bar(name + "-ref", share, ref_share, share >= ref_share)


def bench_accept(pb):
    postfix = [pb.Postfix("postfix"), pb.Postfix("postfix-tuned")]
    shapes = [("accept-10k-many", 10240, 100, 0, 15, 20, .5), ("accept-10k-one", 10240, 100, 1, 8, None, None),
              ("accept-1k-many", 1024, 100, 0, 15, None, None), ("accept-100k-many", 102400, 100, 0, 5, None, None)]
    only = os.environ.get("SHAPE")
    for name, size, conns, k, times, cpu, ref in shapes:
        if only and name != only:
            continue
        rate = {10240: 25000, 1024: 60000, 102400: 5000}[size] if not k else 10000
        peers = postfix + [pb.Ref("ref"), Gapura(pb, ready=int(rate * SECONDS * (size + 600) / 64e6) + 16)]

        def run(p):
            n = int(rate * SECONDS) if isinstance(p, Gapura) else \
                int(rate * min(SECONDS, 5)) if p.name == "ref" else int(1500 * min(SECONDS, 10))
            return run_accept(pb, p, size, conns, k, n)
        rows = interleave(name, peers, run)
        table(name, rows)
        judge(name, rows, times, cpu, ref)
    if only:
        return
    rows = interleave("accept-10k-defaults", [Gapura(pb, "conf-defaults.conf")],
                      lambda p: run_accept(pb, p, 10240, 100, 0, int(8000 * SECONDS)), runs=1)
    table("accept-10k, shipped defaults", rows)
    for what, extra, conns, n in (("50 recipients", ["-r", "50"], 100, 40000),
                                  ("STARTTLS full, one per connection", ["-t", "full", "-k", "1"], 50, 20000),
                                  ("STARTTLS resumed, one per connection", ["-t", "resume", "-k", "1"], 50, 20000),
                                  ("one connection", [], 1, 40000)):
        rows = interleave(what, [Gapura(pb)], lambda p: run_accept(pb, p, 10240, conns, 0, n, extra), runs=1)
        table("accept-10k, " + what, rows)


def bench_relay(pb):
    peers = [pb.Postfix("postfix"), pb.Postfix("postfix-tuned"), Gapura(pb, ready=32)]
    rate = {"gapura": 9000}
    rows = interleave("relay-10k", peers, lambda p: run_relay(
        pb, p, 10240, 100, int(rate.get(p.name, 700) * (SECONDS if p.name == "gapura" else 10))))
    table("relay-10k", rows)
    for r in rows.get("gapura", []):
        print(f"# relay gapura: acked {r['acked']} arrived {r['arrived']} missing {r['missing']} "
              f"repeats {r['repeats']} dot->250 p99 {r['dot_p99']:.1f} ms 250->sink p99 {r['sink_p99']:.1f} ms")
    judge("relay-10k", rows, 10, 12)


def bench_drain(pb):
    n = int(os.environ.get("DRAIN", "50000"))
    peers = [pb.Postfix("postfix"), pb.Postfix("postfix-tuned"), Gapura(pb, ready=32)]
    rows = interleave("drain-10k", peers, lambda p: run_drain(pb, p, 10240, n), runs=min(RUNS, 3))
    table("drain-10k", rows)
    judge("drain-10k", rows, 10)


def bench_idle(pb):
    for tls, ceiling in ((False, 8), (True, 40)):
        p, n = Gapura(pb), int(os.environ.get("IDLE", "10000"))
        fresh(p, "idle", pb.wait_port)
        base = pb.mem(p.cg.pids())[0]
        q = subprocess.Popen([os.path.join(BUILD, "load"), "-P", "2525", "-c", str(n), "-i", "40"] +
                             (["-t", "full"] if tls else []), stdout=subprocess.PIPE, text=True)
        time.sleep(20 if not tls else 30)
        kib = (pb.mem(p.cg.pids())[0] - base) / n
        c0 = p.cg.cpu()
        time.sleep(5)
        busy = p.cg.cpu() - c0
        out = json.loads(q.communicate()[0])
        p.stop()
        p.wipe()
        name = "idle-tls" if tls else "idle-plain"
        bar(name, kib, ceiling, kib <= ceiling, f"KiB a session; {out['idle']} of {n} held, "
            f"{out['errors']} errors, {busy * 1000:.0f} ms CPU in 5 s")


def spool_bytes(p):
    seg = os.path.join(p.dir, "spool", "seg")
    return sum(os.stat(os.path.join(seg, f)).st_blocks * 512 for f in os.listdir(seg))


def queue_read(p, wall):
    """Seconds after `wall` until the courier said that all of the queue is in its index."""
    for line in open(os.path.join(p.dir, "events.jsonl"), errors="replace"):
        if '"the queue is read' in line:
            at = json.loads(line)["timestamp"] - wall
            if at > 0:
                return at
    return 0.0


def bench_queue(pb):
    """A million waiting recipients: memory of all roles, start after SIGKILL from a cold cache."""
    n = int(os.environ.get("QUEUE", "1000000"))
    for name, rcpts, domains in (("queue-each", 1, 100000), ("queue-thousands", 1000, 1)):
        p = Gapura(pb)
        fresh(p, "accept", pb.wait_port)
        p.settle()
        base = pb.mem(p.cg.pids())[0]
        r = load(p.port, n // rcpts, 50 if rcpts == 1 else 10, 1024,
                 extra=["-r", str(rcpts), "-D", str(domains)])
        p.settle()
        each = (pb.mem(p.cg.pids())[0] - base) * 1024 / n
        bar(name + "-memory", each, 200, each <= 200, f"bytes a recipient, {r['msgs']} messages in "
            f"{r['secs']:.0f} s")
        for pid in p.cg.pids():
            os.kill(pid, signal.SIGKILL)
        p.proc.wait()
        subprocess.run(["sync"])
        open("/proc/sys/vm/drop_caches", "w").write("3")
        sink = subprocess.Popen([os.path.join(BUILD, "sink"), "-H", SINK[0], "-P", str(SINK[1]),
                                 "-n", str(n // rcpts), "-T", "60"], stdout=subprocess.PIPE, text=True)
        t0, wall = time.monotonic(), time.time()
        p.start("relay")
        out = json.loads(sink.communicate(timeout=90)[0])
        first = out["first"] - t0
        index = queue_read(p, wall)
        bar(name + "-first", first, 5, out["msgs"] > 0 and first <= 5, "seconds to the first delivery")
        bar(name + "-index", index, 15, 0 < index <= 15, "seconds to the full index")
        p.stop()
        p.wipe()


BENCHES = dict(queue=bench_queue, accept=bench_accept, relay=bench_relay, drain=bench_drain, idle=bench_idle)


def main():
    os.makedirs(RESULTS, exist_ok=True)
    open(os.path.join(RESULTS, "latest.md"), "w").close()
    compile_tools()
    pb = peer_classes()
    if not pb:
        raise SystemExit(f"no peer harness in {SHARED}: set GAPURA_BENCH")
    for name in sys.argv[1:] or list(BENCHES):
        if name not in BENCHES:
            raise SystemExit(f"no bench \"{name}\": {' '.join(BENCHES)}")
        BENCHES[name](pb)


if __name__ == "__main__":
    main()
