#!/usr/bin/env python3
"""Side-by-side benchmarks: Gapura, Postfix (default and tuned) and a reference sink, interleaved.

    bench/run.py [accept|relay|drain|idle|queue ...]     (make bench ONLY=accept)
    bench/run.py --list                                  every shape with the minutes it takes

Every figure of a bar comes from one call: the servers run in turn, CPU is read from a cgroup that
holds only the server's processes until its lag is zero. Each run is written to
bench/results/SHAPE.json at once, a line a run; an interruption (Ctrl-C, SIGTERM) still judges what
there is. Last comes a line a bar. What is measured how: bench/README.md.

Environment: RUNS (5), SECONDS (20, of ours; the peers run at most 6), SHAPE (one or more names),
BENCH_W (work directory on the disk under test), GAPURA_BENCH (the harness of the peers; without it
only Gapura is measured and no bar of a ratio is judged), DRAIN, IDLE, QUEUE, SPOOL (messages).
"""
import array
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Callable

import servers
from report import (BARS, RESULTS, bar, defaults_line, judge, keep_row, med, not_judged, say, sets_equal,
                    table)
from servers import BUILD, SINK, SLOW_SINK, SLOW_SITES, W, Gapura, wait_port

RUNS = int(os.environ.get("RUNS", "5"))
SECONDS = float(os.environ.get("SECONDS", "20"))
PEER_SECONDS = min(SECONDS, 6)
SEEN_ROW = 32
STATE = {"stop": False, "shape": "", "shown": set()}


# Load, sink, and what became of each message.

def load(port, n, conns, size, k=0, extra=(), seconds=600, seen=None, first=0):
    cmd = [os.path.join(BUILD, "load"), "-P", str(port), "-c", str(conns), "-n", str(int(n)), "-s",
           str(size), "-k", str(k), "-d", str(max(1, round(seconds))), "-b", str(first), *extra]
    if seen:
        cmd += ["-S", seen]
    return json.loads(subprocess.run(cmd, stdout=subprocess.PIPE, check=True).stdout)


class Sink:
    running = []

    def __init__(self, *words, at=SINK):
        self.proc = subprocess.Popen([os.path.join(BUILD, "sink"), "-H", at[0], "-P", str(at[1]),
                                      *map(str, words)], stdout=subprocess.PIPE, text=True)
        Sink.running.append(self.proc)
        time.sleep(0.3)

    @classmethod
    def end_all(cls):
        """What a run that failed has left."""
        for proc in cls.running:
            if proc.poll() is None:
                proc.terminate()
                proc.wait()
        cls.running.clear()

    def end(self, seconds=None):
        """Its line: at once, or when it has all, after at most `seconds`."""
        if seconds is None:
            self.proc.terminate()
        try:
            return json.loads(self.proc.communicate(timeout=seconds or 20)[0])
        except subprocess.TimeoutExpired:
            self.proc.terminate()
            return json.loads(self.proc.communicate(timeout=20)[0])


def quant(values, q):
    if not values:
        return 0.0
    values.sort()
    return values[min(len(values) - 1, int(q * len(values)))]


def seen_read(path, first, n):
    """Message-IDs as sets: acknowledged, arrived, missing of these, more than once; latencies."""
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


def seen_file():
    path = os.path.join(W, "seen")
    if os.path.exists(path):
        os.unlink(path)
    return path


def ours(server):
    return isinstance(server, Gapura)


def seconds_of(server):
    return SECONDS if ours(server) else PEER_SECONDS


def show_settings(server, mode):
    """The settings of each server, once a shape's mode."""
    key = (STATE["shape"], server.name)
    path = server.dir + "/gapura.conf" if ours(server) else W + "/postfix/etc/main.cf"
    if key in STATE["shown"] or server.name == "ref":
        return
    STATE["shown"].add(key)
    text = open(path).read()
    text = re.sub(r"(route slow2 \{.*?\n\})(.*)(\nroute slow%d \{)" % SLOW_SITES, r"\1\n...\3", text,
                  flags=re.S)
    print(f"# settings of {server.name}, {STATE['shape']} ({mode}):")
    print("".join(f"#   {line}\n" for line in text.splitlines() if line.strip()), flush=True)


def fresh(server, mode):
    server.stop()
    server.wipe()
    subprocess.run(["sync"])
    server.start(mode)
    wait_port(server.port)
    show_settings(server, mode)
    time.sleep(0.5)


def settled(server):
    if ours(server):
        server.settle()
    else:
        time.sleep(1)


# One run of each kind.

def run_accept(server, size, conns, k=0, n=0, extra=()):
    if ours(server):
        server.prepare(load)
    fresh(server, "accept")
    load(server.port, 200, min(conns, 100), size)
    settled(server)
    subprocess.run(["sync"])
    c0 = server.cg.cpu()
    r = load(server.port, n or 10 ** 8, conns, size, k, extra, seconds=seconds_of(server))
    settled(server)
    cpu = (server.cg.cpu() - c0) * 1e6 / max(1, r["msgs"])
    if ours(server):
        server.purge()
    return dict(rate=r["rate"], cpu_us=cpu, p50=r["p50_ms"], p99=r["p99_ms"], ok=r["msgs"],
                refused=r["refused"], errors=r["errors"], secs=r["secs"])


def run_relay(server, size, conns, n):
    if ours(server):
        server.prepare(load)
    fresh(server, "relay")
    seen, first = seen_file(), 1000
    sink = Sink("-S", seen, "-N", n + 1000, "-n", n + 500, "-T", 400)
    load(server.port, 500, min(conns, 100), size, seen=seen)
    time.sleep(3)
    c0 = server.cg.cpu()
    r = load(server.port, n, conns, size, seen=seen, first=first)
    out = sink.end(420)
    settled(server)
    got = seen_read(seen, first, n)
    secs = out["last"] - r["begin"]
    return dict(rate=got["arrived"] / secs, cpu_us=(server.cg.cpu() - c0) * 1e6 / max(1, n),
                secs=secs, accept_rate=r["rate"], p50=r["p50_ms"], p99=r["p99_ms"],
                sink_conns=out["conns"], ok=r["msgs"], **got)


def run_beside(server, slow, n):
    """Rate of the fast destination, with or without a thousand slow ones that have a queue."""
    server.prepare(load)
    fresh(server, "relay")
    seen = seen_file()
    slow_sink = Sink("-L", SLOW_SITES, "-d", 20000, "-T", 900, at=SLOW_SINK)
    sink = Sink("-S", seen, "-N", n, "-n", n, "-T", 400)
    begun = 0
    if slow:
        load(server.port, 20 * SLOW_SITES, 50, 1024, first=10 ** 9,
             extra=["-D", str(SLOW_SITES), "-o", "1"])
        end = time.time() + 60
        while begun < SLOW_SITES and time.time() < end:  # every slow site is being delivered to
            time.sleep(0.2)
            begun = connections(SLOW_SINK[1])
    c0 = server.cg.cpu()
    r = load(server.port, n, 100, 10240, seen=seen)
    out = sink.end(420)
    waiting = slow_sink.end()
    got = seen_read(seen, 0, n)
    secs = out["last"] - r["begin"]
    server.purge()
    return dict(rate=got["arrived"] / secs, secs=secs, cpu_us=(server.cg.cpu() - c0) * 1e6 / n,
                slow_at_work=begun, slow_done=waiting["msgs"], **got)


def connections(port):
    """Established connections to that port, ours end to end."""
    mark, n = "%04X" % port, 0
    for line in open("/proc/net/tcp"):
        f = line.split()
        n += f[1].endswith(":" + mark) and f[3] == "01"
    return n


def run_drain(server, size, n):
    """n messages are accepted while delivery is held; then the time until the sink has them."""
    if ours(server):
        server.prepare(load)
        server.hold = True
    else:
        os.environ["POSTFIX_EXTRA"] = "defer_transports=smtp"
    fresh(server, "relay")
    load(server.port, n, 100, size)
    if ours(server):
        server.settle()
    else:
        time.sleep(5)
    server.stop()
    subprocess.run(["sync"])
    open("/proc/sys/vm/drop_caches", "w").write("3")
    seen = seen_file()
    sink = Sink("-S", seen, "-N", n, "-n", n, "-T", 300)
    server.hold = False
    os.environ.pop("POSTFIX_EXTRA", None)
    t0, c0 = time.monotonic(), server.cg.cpu()
    server.start("relay")
    if not ours(server):
        wait_port(server.port)
        subprocess.run(["postqueue", "-c", W + "/postfix/etc", "-f"])
    out = sink.end(320)
    if ours(server):
        server.settle()
    got = seen_read(seen, 0, n)
    return dict(rate=out["distinct"] / (out["last"] - out["first"]), first=out["first"] - t0,
                cpu_us=(server.cg.cpu() - c0) * 1e6 / n, distinct=out["distinct"], msgs=out["msgs"],
                repeats=got["repeats"], secs=out["last"] - t0)


# Interleaving.

def interleave(name, peers, run, runs=None):
    rows = {p.name: [] for p in peers}
    try:
        for i in range(runs or RUNS):
            for p in peers:
                try:
                    row = run(p)
                except Exception as e:                       # one server's failure is its own row
                    print(f"# {name} {p.name} run {i}: {e!r}", flush=True)
                    p.stop()
                    Sink.end_all()
                    continue
                p.stop()
                p.wipe()
                rows[p.name].append(row)
                keep_row(name, p.name, row)
                if p.name == "gapura" and row["secs"] < 0.95 * SECONDS:
                    print(f"# {name}: this run took {row['secs']:.1f} s, not {SECONDS:.0f}")
    except KeyboardInterrupt:
        STATE["stop"] = True
        print(f"# {name}: interrupted; judged by the runs so far", flush=True)
    finally:
        for p in peers:
            p.stop()
            p.keep = False
            p.wipe()
    return rows


# The shapes.

RATE = {1024: 60000, 10240: 25000, 102400: 8000}
RELAY_RATE = 14000


def pool_for(rate, size):
    """Segments for a run at that rate, and some."""
    return int(rate * SECONDS * (size + 600) / 64e6) + 16


def accept(name, size, conns, k, times, cpu=None, ref=None, extra=(), defaults=False, peers=True):
    rate = 10000 if k or conns == 1 or extra else RATE[size]
    group = servers.peers(ref is not None) if peers else []
    group.append(Gapura(ready=pool_for(rate, size)))
    if defaults:
        group.append(Gapura("conf-defaults.conf"))
    rows = interleave(name, group, lambda p: run_accept(
        p, size, conns, k, int(rate * SECONDS * 1.3) if ours(p) else 0, extra))
    table(name, rows)
    defaults_line(name, rows)
    if times:
        judge(name, rows, times, cpu, ref)


def accept_shown(name, conns, extra=(), peers=True):
    accept(name, 10240, conns, 0, None, extra=extra, peers=peers)


def accept_slow_sync(name):
    """Every server alike with a library before its syncs that makes each take 5 ms more."""
    shim = {"LD_PRELOAD": os.path.join(BUILD, "slowsync.so"), "SLOWSYNC_MS": "5"}
    kept = " ".join(f"{k}={v}" for k, v in shim.items())
    group = servers.peers() + [Gapura(ready=pool_for(15000, 10240))]

    def run(p):
        if ours(p):
            p.prepare(load)
        start = p.start

        def slow_start(mode, *words):
            # Postfix's master hands on only what it is told to.
            os.environ["POSTFIX_EXTRA"] = "import_environment=MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG " \
                                          f"TZ XAUTHORITY DISPLAY LANG=C {kept}"
            os.environ.update(shim)
            try:
                start(mode, *words)
                if mode == "accept":
                    wait_port(p.port)
                    without = p.cg.without("slowsync.so")
                    if without:
                        raise RuntimeError(f"not under the slow disk: {without}")
            finally:
                for key in (*shim, "POSTFIX_EXTRA"):
                    os.environ.pop(key, None)
        p.start = slow_start
        try:
            row = run_accept(p, 10240, 100)
        finally:
            del p.start
        return row
    rows = interleave(name, group, run)
    table(name + " (each sync takes 5 ms more)", rows)


def relay(name):
    group = servers.peers(False) + [Gapura(ready=32), Gapura("conf-defaults.conf")]
    rate = {"gapura": RELAY_RATE, "gapura-defaults": RELAY_RATE}
    rows = interleave(name, group, lambda p: run_relay(
        p, 10240, 100, int(rate.get(p.name, 700) * (SECONDS if ours(p) else PEER_SECONDS))))
    table(name, rows)
    defaults_line(name, rows)
    sets_equal(name, rows)
    judge(name, rows, 10, 12)


def relay_slow(name):
    server = Gapura("conf-slow.conf", ready=32)
    n, rows = int(RELAY_RATE * SECONDS), {"alone": [], "beside": []}
    try:
        server.prepare(load)
        for _ in range(RUNS):
            for which in rows:
                row = run_beside(server, which == "beside", n)
                rows[which].append(row)
                keep_row(name, which, row)
                server.stop()
    except KeyboardInterrupt:
        STATE["stop"] = True
    finally:
        server.stop()
        server.keep = False
        server.wipe()
    table(name, rows)
    if not rows["alone"] or not rows["beside"]:
        return not_judged(name, "no runs")
    share = med(rows["beside"], "rate") / med(rows["alone"], "rate")
    least = min(r["slow_at_work"] for r in rows["beside"])
    bar(name, share, 0.9, share >= 0.9 and least >= SLOW_SITES,
        f"(of the fast destination's rate without {SLOW_SITES} slow ones; "
        f"{least} of these had connections open)")


def drain(name):
    n = int(os.environ.get("DRAIN", "50000"))
    group = servers.peers(False) + [Gapura(ready=32)]
    rows = interleave(name, group, lambda p: run_drain(p, 10240, n if ours(p) else min(n, 15000)))
    table(name, rows)
    judge(name, rows, 10)


def idle(name, tls, ceiling):
    server, n = Gapura(), int(os.environ.get("IDLE", "10000"))
    fresh(server, "idle")
    try:
        base = server.cg.memory()
        q = subprocess.Popen([os.path.join(BUILD, "load"), "-P", "2525", "-c", str(n), "-i", "40"] +
                             (["-t", "full"] if tls else []), stdout=subprocess.PIPE, text=True)
        time.sleep(20 if not tls else 30)
        each = (server.cg.memory() - base) / n
        c0 = server.cg.cpu()
        time.sleep(5)
        busy = server.cg.cpu() - c0
        out = json.loads(q.communicate()[0])
    finally:
        server.stop()
        server.wipe()
    keep_row(name, server.name, dict(kib=each, held=out["idle"], busy=busy))
    bar(name, each, ceiling, each <= ceiling and out["idle"] == n,
        f"KiB a session; {out['idle']} of {n} held, {out['errors']} errors, "
        f"{busy * 1000:.0f} ms CPU in 5 s")


def queue_read(server, wall):
    """Seconds after `wall` until the courier said that all of the queue is in its index."""
    for path in glob.glob(os.path.join(server.dir, "events.jsonl*")):  # a million lines rotate
        for line in open(path, errors="replace"):
            if '"the queue is read' in line:
                at = json.loads(line)["timestamp"] - wall
                if at > 0:
                    return at
    return 0.0


def queue(name, rcpts, domains):
    """A million waiting recipients: memory of all roles, start after SIGKILL from a cold cache."""
    n = int(os.environ.get("QUEUE", "1000000"))
    server = Gapura()
    fresh(server, "accept")
    try:
        server.settle()
        base = server.cg.memory()
        r = load(server.port, n // rcpts, 50 if rcpts == 1 else 10, 1024,
                 extra=["-r", str(rcpts), "-D", str(domains)])
        server.settle()
        each = (server.cg.memory() - base) * 1024 / n
        for pid in server.cg.pids():
            os.kill(pid, signal.SIGKILL)
        server.proc.wait()
        subprocess.run(["sync"])
        open("/proc/sys/vm/drop_caches", "w").write("3")
        sink = Sink("-n", max(1, n // rcpts), "-T", 60)
        t0, wall = time.monotonic(), time.time()
        server.start("relay")
        out = sink.end(90)
        first = out["first"] - t0
        index = queue_read(server, wall)
    finally:
        server.stop()
        server.wipe()
    keep_row(name, server.name, dict(bytes_each=each, first=first, index=index, msgs=out["msgs"]))
    bar(name + "-memory", each, 200, each <= 200 and r["msgs"] == n // rcpts,
        f"bytes a recipient, {r['msgs']} messages in {r['secs']:.0f} s")
    bar(name + "-first", first, 5, out["msgs"] > 0 and first <= 5, "seconds to the first delivery")
    bar(name + "-index", index, 15, 0 < index <= 15, "seconds to the full index")


def spool_size(server, living):
    """Closed segments count whole, those being written up to where they are written; free ones and
    those handed out ahead hold nothing."""
    rows = [r for r in server.segments() if r[1] and r[5] > 4096]
    last = {own: max((r[3] for r in rows if r[2] == own), default=-1) for own in (False, True)}
    taken = sum(size if seq < last[own] else at for _, _, own, seq, size, at in rows)
    return dict(ratio=taken / living, taken=taken, living=living, segments=len(rows))


def gate_segment(server):
    return max((r[3] for r in server.segments() if r[1] and not r[2] and r[5] > 4096), default=-1)


def spool_rest(server, name, living, calm):
    """Waits until nothing has changed for `calm` seconds: the sizes, and since when."""
    began, still, at = time.time(), -1.0, time.time()
    while time.time() - at < calm and time.time() - began < 900:
        time.sleep(1)
        row = spool_size(server, living)
        if abs(row["ratio"] - still) > 0.001:
            still, at = row["ratio"], time.time()
            print(f"# {name}: {at - began:4.0f} s: {row['ratio']:.3f} in {row['segments']} segments",
                  flush=True)
    return row, at


def queue_spool(name):
    """One message of ten, scattered, stays; how much more than these the spool takes afterwards."""
    n = int(os.environ.get("SPOOL", "400000"))
    server, row = Gapura("conf-kept.conf", ready=16), None
    fresh(server, "relay")
    try:
        sink = Sink("-T", 900)
        r = load(server.port, n, 100, 10240, extra=["-m", "-D", "10"])
        began, more = time.time(), 0
        spool_rest(server, name, r["kept_bytes"], 15)
        # A writer's open segment is closed to compaction, and so are the outcomes that speak of it:
        # mail that is delivered at once follows until the gate has left that segment.
        newest = gate_segment(server)
        while gate_segment(server) == newest and more < 40000:
            more += load(server.port, 1000, 100, 10240, extra=["-o", "1"], first=n + more)["msgs"]
        row, at = spool_rest(server, name, r["kept_bytes"], 75)
        waits = sum(q.get("recipients", 0) for q in server.ctl("queue", "summary"))
        out = sink.end()
    finally:
        server.stop()
        server.wipe()
    row.update(secs=at - began, accepted=r["msgs"] + more, delivered=out["msgs"], waits=waits)
    keep_row(name, server.name, row)
    left = r["msgs"] + more - out["msgs"]
    bar(name, row["ratio"], 1.1, row["ratio"] <= 1.1 and left == waits,
        f"bytes of segments over bytes of the {left} messages that wait, "
        f"{row['living'] / 1e6:.0f} MB, at rest after {row['secs']:.0f} s")


@dataclass
class Shape:
    bench: str
    run: Callable
    minutes: Callable  # at these RUNS and SECONDS, from what runs took on two cores
    words: tuple = ()
    named: tuple = ()


def took(gapuras=1, peers=3, pool=0.0, extra=8.0):
    """Minutes of an interleaved shape: each run with start, warm-up and end around it."""
    return lambda: (RUNS * (gapuras * (SECONDS + extra) + peers * (PEER_SECONDS + 5)) +
                    pool * SECONDS + 10) / 60


def minutes(value):
    return lambda: value


SHAPES = {
    "queue-each": Shape("queue", queue, minutes(3), (1, 100000)),
    "queue-thousands": Shape("queue", queue, minutes(2), (1000, 1)),
    "queue-spool": Shape("queue", queue_spool, minutes(5)),
    "accept-10k-many": Shape("accept", accept, took(2, 3, 2.5), (10240, 100, 0, 15, 20, .5),
                             (("defaults", True),)),
    "accept-10k-one": Shape("accept", accept, took(1, 2, 1), (10240, 100, 1, 8)),
    "accept-1k-many": Shape("accept", accept, took(1, 2, 1), (1024, 100, 0, 15)),
    "accept-100k-many": Shape("accept", accept, took(1, 2, 5), (102400, 100, 0, 5)),
    "accept-50-rcpts": Shape("accept", accept_shown, took(1, 2, 1), (100, ("-r", "50"))),
    "accept-tls-full": Shape("accept", accept_shown, took(1, 0, 1),
                             (50, ("-t", "full", "-k", "1"), False)),
    "accept-tls-resumed": Shape("accept", accept_shown, took(1, 0, 1),
                                (50, ("-t", "resume", "-k", "1"), False)),
    "accept-one-conn": Shape("accept", accept_shown, took(1, 2, 1), (1,)),
    "accept-slow-sync": Shape("accept", accept_slow_sync, took(1, 3, 1.5)),
    "relay-10k": Shape("relay", relay, took(2, 2, 1, 20)),
    "relay-slow-beside-fast": Shape("relay", relay_slow, took(2, 0, 1, 25)),
    "drain-10k": Shape("drain", drain, lambda: RUNS * 2.2 + 1),
    "idle-plain": Shape("idle", idle, minutes(1), (False, 8)),
    "idle-tls": Shape("idle", idle, minutes(1), (True, 40)),
}
BENCHES = list(dict.fromkeys(s.bench for s in SHAPES.values()))


def chosen():
    only, names = os.environ.get("SHAPE", "").split(), sys.argv[1:]
    for name in [*only, *names]:
        if name not in SHAPES and name not in BENCHES and name != "--list":
            raise SystemExit(f"no bench or shape \"{name}\": {' '.join(BENCHES)}; {' '.join(SHAPES)}")
    return [n for n, s in SHAPES.items() if (not only or n in only) and
            (not names or names == ["--list"] or s.bench in names or n in names)]


def on_signal(_number, _frame):
    STATE["stop"] = True
    raise KeyboardInterrupt


def main():
    todo = chosen()
    total = sum(SHAPES[n].minutes() for n in todo)
    for n in todo:
        print(f"# {SHAPES[n].bench:<7} {n:<24} about {SHAPES[n].minutes():4.1f} min")
    print(f"# together about {total:.0f} min at RUNS={RUNS} SECONDS={SECONDS:g}", flush=True)
    if sys.argv[1:] == ["--list"]:
        return
    os.makedirs(RESULTS, exist_ok=True)
    os.makedirs(W, exist_ok=True)
    signal.signal(signal.SIGTERM, on_signal)
    open(os.path.join(RESULTS, "latest.md"), "w").close()
    servers.compile_tools()
    if not servers.peers():
        print("# no harness of the peers: only Gapura is measured (GAPURA_BENCH names its folder)")
    for name in todo:
        shape, began = SHAPES[name], time.time()
        STATE["shape"] = name
        try:
            shape.run(name, *shape.words, **dict(shape.named))
        except KeyboardInterrupt:
            STATE["stop"] = True
        except Exception as e:
            not_judged(name, repr(e))
        Sink.end_all()
        print(f"# {name} took {(time.time() - began) / 60:.1f} min", flush=True)
        if STATE["stop"]:
            break
    for name in [n for n in todo if todo.index(n) > todo.index(STATE["shape"])]:
        BARS.append(f"bar {name} not measured: interrupted before it")
    say("\nbars:\n" + "\n".join(BARS))
    for path in glob.glob(os.path.join(W, "seen")):
        os.unlink(path)
    shutil.rmtree(os.path.join(W, "gapura"), ignore_errors=True)


if __name__ == "__main__":
    main()
