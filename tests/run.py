"""Runs every test there is, in order, each program within a bounded time.

Called by tests/run (and so by `make test`, which has built the program). A line a program: what it
is, how many passed, how long it took; of a failure the lines that tell why. Full outputs stay in
build/tests/log/. Something that does not build or does not end counts as failed, and the run goes
on. The last line is "N passed, N failed" with ", N skipped" behind it if there are any, and the
exit status is 1 when N failed is not 0.

    tests/run [STEP...]     only these steps: see `tests/run --list`
    tests/run long [PART...]  what that leaves out (make test-long): see tests/run_long.py
    GAPURA_SUITES=DIR       where the collections of test data are (default ../shared/suites)
    JOBS=N                  programs at a time (default: processors, at most 2)
"""
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import run_lint

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build/tests/log"
SUITES = Path(os.environ.get("GAPURA_SUITES", "../shared/suites"))
JOBS = int(os.environ.get("JOBS", 0)) or min(os.cpu_count() or 1, 2)
SHOWN = 30  # lines of a failing program that are printed
TAP = re.compile(r"^(not )?ok\b[^#]*(#\s*(skip|todo))?", re.I)


class Tally:
    """What is printed and counted; steps run in threads."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.bad = []
        self.lock = Lock()

    def add(self, name, passed, failed, skipped, seconds, why=()):
        with self.lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped
            parts = [f"{passed} ok"]
            parts += [f"{failed} FAILED"] if failed else []
            parts += [f"{skipped} skipped"] if skipped else []
            print(f"  {name:<44} {', '.join(parts):<28} {seconds:6.1f} s", flush=True)
            for line in why:
                print(f"      {line}", flush=True)
            if failed:
                self.bad.append(name)


TALLY = Tally()
RUNNING = {}
STALE = set()  # programs that could not be brought up to date: not run


def run(argv, timeout, log=None, env=None, cwd=ROOT):
    """(exit status or None if it ran out of time, output). The whole process group ends with it."""
    out = open(log, "w+", encoding="utf-8", errors="replace") if log else subprocess.PIPE
    child = subprocess.Popen([str(a) for a in argv], stdout=out, stderr=subprocess.STDOUT,
                             stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, **(env or {})},
                             start_new_session=True, text=not log, errors=None if log else "replace")
    RUNNING[child.pid] = child
    status, text = None, ""
    try:
        text = child.communicate(timeout=timeout)[0] or ""
        status = child.returncode
    except subprocess.TimeoutExpired:
        pass
    finally:
        end_group(child)
        RUNNING.pop(child.pid, None)
    if log:
        out.close()
        text = Path(log).read_text(encoding="utf-8", errors="replace")
    return status, text


def end_group(child):
    """Ends what is left of a program that we started in a group of its own."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def on_signal(number, _frame):
    for child in list(RUNNING.values()):
        end_group(child)
    print(f"stopped by signal {number}", flush=True)
    os._exit(1)


def died(status, timeout):
    if status is None:
        return f"ended after {timeout} s: it had not finished"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def why_failed(text, reason):
    """The failing lines of an output with what follows each, then the reason."""
    lines = text.splitlines()
    picked = []
    for at, line in enumerate(lines):
        if line.startswith("not ok") or re.search(r"ERROR: |runtime error:|Assertion", line):
            picked.append(line)
            picked += [f for f in lines[at + 1:at + 4] if f.startswith(("#", "    #"))]
    if not picked:
        picked = lines[-12:]
    cut = picked[:SHOWN]
    if len(picked) > SHOWN:
        cut.append(f"... {len(picked) - SHOWN} more lines")
    return [c[:300] for c in cut] + ([reason] if reason else [])


def tap(name, argv, timeout, env=None):
    """Runs a program that prints TAP and counts its lines. Returns its seconds."""
    log = LOGS / (re.sub(r"[^\w.-]+", "_", name) + ".log")
    began = time.monotonic()
    status, text = run(argv, timeout, log, env)
    seconds = time.monotonic() - began
    passed = failed = skipped = 0
    planned = None
    for line in text.splitlines():
        found = TAP.match(line)
        plan = re.match(r"^1\.\.(\d+)", line)
        if found and (found.group(2) or "").lower().endswith("skip"):
            skipped += 1
        elif found and found.group(1):
            failed += 1
        elif found:
            passed += 1
        elif plan:
            planned = int(plan.group(1))
            if planned == 0:
                skipped += 1
    reason = ""
    if status != 0 and (failed == 0 or status is None or status < 0):
        reason = died(status, timeout)
    elif status == 0 and planned is None:
        reason = "no plan at the end of its output: it stopped early"
    elif planned and planned != passed + failed + skipped:
        reason = f"planned {planned}, told of {passed + failed + skipped}"
    failed += 1 if reason else 0
    TALLY.add(name, passed, failed, skipped, seconds, why_failed(text, reason) if failed else ())
    return seconds


def one(name, argv, timeout, env=None):
    """A program that is one test: exit status 0 is good."""
    log = LOGS / (re.sub(r"[^\w.-]+", "_", name) + ".log")
    began = time.monotonic()
    status, text = run(argv, timeout, log, env)
    good = status == 0
    TALLY.add(name, int(good), int(not good), 0, time.monotonic() - began,
              () if good else why_failed(text, died(status, timeout)))
    return good


def together(calls):
    with ThreadPoolExecutor(JOBS) as pool:
        for future in [pool.submit(*call) for call in calls]:
            future.result()


def targets(build):
    found = [f"{build}/tests/unit/{p.stem}" for p in sorted((ROOT / "tests/unit").glob("test_*.c"))]
    found += [f"{build}/tests/{p.stem}" for p in sorted((ROOT / "tests/support").glob("*.c"))]
    return found


def make(what, build, names, timeout, *variables):
    """Builds names; each that is not there afterwards is a failed test of its own."""
    began = time.monotonic()
    log = LOGS / f"make-{build}.log"
    status, text = run(["make", "-k", f"-j{JOBS}", *variables, *names], timeout, log)
    lost = []
    if status != 0:
        # What make could not bring up to date is old or absent; ask it which.
        for name in names:
            asked, _ = run(["make", "-q", *variables, name], 60)
            if asked != 0:
                lost.append(name)
                STALE.add(ROOT / name)
    errors = [line for line in text.splitlines() if re.search(r"error:|undefined reference|\*\*\*", line)]
    why = [f"does not build: {name}" for name in lost] + [e[:300] for e in errors[:SHOWN]]
    if status != 0 and not lost:
        lost, why = ["make"], why_failed(text, died(status, timeout))
    TALLY.add(what, len(names) - len(lost), len(lost), 0, time.monotonic() - began, why if lost else ())


# The steps.

UNIT_SECONDS = {}


def step_build():
    make("programs, unit tests and test tools", "build", ["build/gapura", *targets("build")], 900)


def step_tree():
    for tool in ("check-layers", "check-size", "check-headers", "check-language"):
        one(tool, [f"tools/{tool}"], 120)


def unit_tests(build):
    return [p for p in sorted((ROOT / build / "tests/unit").glob("test_*"))
            if p.suffix == "" and p not in STALE and (ROOT / f"tests/unit/{p.name}.c").exists()]


def step_unit():
    def call(path):
        UNIT_SECONDS[path] = tap(path.name, [path], 180)
    together([(call, path) for path in unit_tests("build")])


# A runner of cases and the collections that have its form.
RUNNERS = (
    ("smtp_cases", ("smtp-*", "address-*", "proxy-*")),
    ("arc_suite", ("arc-*",)),
    ("dkim_suite", ("dkim-*",)),
    ("mime_suite", ("mime-*",)),
    ("report_suite", ("dmarc-*",)),
    ("reply_suite", ("replies-*",)),
    ("bounce_suite", ("bounce-*", "dsn-*")),
    ("spf_suite", ("spf-*",)),
    ("dmarc_suite", ("psl",)),
    ("verdict_suite", ("rspamd-functional",)),
)
# Runners over cases that the tree carries.
OWN = (("dmarc_suite", "tests/auth/dmarc.yml"), ("reply_suite", "tests/data/replies-field.tsv"),
       ("reply_suite", "--shuffle-hosts 7 tests/data/replies-field.tsv"),
       ("reply_suite", "tests/data/replies-variants.tsv"),
       ("reply_suite", "tests/data/reports-variants.tsv"),
       ("reply_suite", "tests/data/replies-words.tsv"),
       ("reply_suite", "--shuffle-hosts 7 tests/data/replies-words.tsv"),
       ("bounce_suite", "tests/data/bounces"))


def suite_calls(build, name, patterns, env):
    program = ROOT / build / "tests" / name
    if not program.exists() or program in STALE:
        TALLY.add(f"{name} ({build})", 0, 1, 0, 0, [f"{program.relative_to(ROOT)} was not built"])
        return []
    folders = sorted({p for pattern in patterns for p in (ROOT / SUITES).glob(pattern)})
    if not folders:
        TALLY.add(f"{name} ({build})", 0, 0, 1, 0,
                  [f"{SUITES} is not there: set GAPURA_SUITES to run its cases"])
    return [(tap, f"{build}: {name} {p.name}", [program, p], 240, env) for p in folders]


def suites(build, env=None):
    calls = [call for name, patterns in RUNNERS for call in suite_calls(build, name, patterns, env)]
    calls += [(tap, f"{build}: {name} {cases}", [ROOT / build / "tests" / name, *cases.split()], 240, env)
              for name, cases in OWN]
    together(calls)


def step_suites():
    suites("build")


def pytest_argv():
    """A Python that has pytest: ours, or Debian's beside it."""
    for python in (sys.executable, "/usr/bin/python3"):
        if run([python, "-c", "import pytest"], 60)[0] == 0:
            return [python, "-m", "pytest"]
    return ["pytest"]


TOGETHER = ("test_package.py", "test_systemd.py")  # share a Debian root and our packages, made once a worker


def shares(files):
    """As many lists of about equal work as there are jobs: the size of a file is a fair guess."""
    files = list(files)
    bundles = [[p] for p in files if p.name not in TOGETHER] + [[p for p in files if p.name in TOGETHER]]
    lists, weight = [[] for _ in range(JOBS)], [0] * JOBS
    for size, bundle in sorted(((sum(p.stat().st_size for p in b), b) for b in bundles), key=lambda row: -row[0]):
        least = weight.index(min(weight))
        lists[least] += bundle
        weight[least] += size
    return [sorted(part) for part in lists if part]


def system_counts(report, label):
    """Adds what tests/system/conftest.py wrote, a row a file. Returns how many failed."""
    rows = {}
    for line in report.read_text().splitlines() if report.exists() else []:
        kind, where, seconds, text = line.split("\t", 3)
        row = rows.setdefault(where, {"ok": 0, "not ok": 0, "skip": 0, "s": 0.0, "why": []})
        row[kind] += 1
        row["s"] += float(seconds)
        if kind != "ok":
            row["why"].append(f"{'skipped' if kind == 'skip' else kind}: {text}"[:400])
    for where, row in rows.items():
        TALLY.add(label + where, row["ok"], row["not ok"], row["skip"], row["s"], row["why"])
    return sum(row["not ok"] for row in rows.values())


def system_tests(files, label="", env=None, timeout=900):
    program = pytest_argv()

    def call(number, part):
        name = f"system{label.strip(': ')}-{number}"
        report = LOGS / f"{name}.tap"
        report.unlink(missing_ok=True)
        began = time.monotonic()
        status, text = run([*program, "-q", "-p", "no:cacheprovider", *part], timeout, LOGS / f"{name}.log",
                           {"GAPURA_TAP": str(report), **(env or {})})
        failed = system_counts(report, label)
        if status not in (0, 1) or (status == 1 and not failed):
            TALLY.add(f"{label}pytest, worker {number}", 0, 1, 0, time.monotonic() - began,
                      why_failed(text, died(status, timeout)))
    together([(call, number, part) for number, part in enumerate(shares(files))])


def step_system():
    system_tests((ROOT / "tests/system").glob("test_*.py"))


def step_fault():
    program = next((p for p in (ROOT / "tests/fault", ROOT / "tests/fault/run", ROOT / "tests/fault.py")
                    if p.is_file()), None)
    if not program:
        TALLY.add("fault", 0, 1, 0, 0, ["tests/fault is not there: nothing was killed"])
        return
    argv = [program] if os.access(program, os.X_OK) else [sys.executable, program]
    tap("fault --rounds 40", [*argv, "--rounds", "40"], 420)


SAN_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


# Of the system tests those that are about the program's own bytes; others are about its peers.
SAN_SYSTEM = ("inbound", "outbound", "protocol", "control", "running", "clients", "lab", "reports")


def step_sanitizers():
    program = "build-san/gapura"
    make("sanitizer build of all", "build-san", [program, *targets("build-san")], 900, "SAN=1")
    together([(tap, f"build-san: {path.name}", [path], 300, SAN_ENV)
              for path in unit_tests("build-san")])
    suites("build-san", SAN_ENV)
    if (ROOT / program).exists() and ROOT / program not in STALE:
        # Leaks are looked for in the unit tests: at the end of a role its sandbox forbids the search.
        env = {**SAN_ENV, "ASAN_OPTIONS": SAN_ENV["ASAN_OPTIONS"].replace("detect_leaks=1", "detect_leaks=0"),
               "GAPURA_PROGRAM": str(ROOT / program), "GAPURA_SLOW": "3"}
        system_tests([ROOT / f"tests/system/test_{name}.py" for name in SAN_SYSTEM], "build-san: ", env)


VALGRIND = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full",
            "--errors-for-leak-kinds=definite", f"--suppressions={ROOT}/tests/valgrind.supp"]


def step_valgrind():
    """The quick ones, so that the slowdown by 30 stays bearable: at most 60 s of them."""
    budget, chosen = 60.0 / 30, []
    for path in sorted(unit_tests("build"), key=lambda p: UNIT_SECONDS.get(p, 0.3)):
        budget -= max(UNIT_SECONDS.get(path, 0.3), 0.04)
        if budget < 0:
            break
        chosen.append(path)
    together([(tap, f"valgrind {path.name}", [*VALGRIND, path], 180, {"GAPURA_VALGRIND": "1"})
              for path in sorted(chosen)])


def step_lint():
    for name, check in (("cppcheck", run_lint.cppcheck), ("clang-tidy", run_lint.clang_tidy)):
        began = time.monotonic()
        passed, failed, skipped, why = check(ROOT, run, JOBS)
        TALLY.add(name, passed, failed, skipped, time.monotonic() - began, why[:SHOWN * 2])


def step_replay():
    """Every fuzz target over its seeds and over what was once found (tests/replay/NAME/)."""
    names = sorted(p.stem.removeprefix("fuzz_") for p in (ROOT / "fuzz").glob("fuzz_*.c"))
    make("fuzz targets for replay", "build", [f"build/fuzz/replay_{name}" for name in names], 600)
    status, text = run(["make", "-s", "fuzz-seeds"], 120)
    if status != 0:
        TALLY.add("fuzz-seeds", 0, 1, 0, 0, why_failed(text, died(status, 120)))

    def call(name):
        program = ROOT / f"build/fuzz/replay_{name}"
        corpora = [p for p in (ROOT / f"build/fuzz/seeds/{name}", ROOT / f"tests/replay/{name}") if p.is_dir()]
        if program.exists() and program not in STALE:
            one(f"replay {name}", [program, *corpora], 180, SAN_ENV)
    together([(call, name) for name in names])


STEPS = {name[5:]: function for name, function in list(globals().items()) if name.startswith("step_")}
ORDER = ("build", "tree", "unit", "suites", "system", "fault", "sanitizers", "valgrind", "replay", "lint")


def steps(names, table):
    """Runs the steps of a table one after the other; prints and returns the last lines."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    LOGS.mkdir(parents=True, exist_ok=True)
    times = []
    for name in names:
        print(f"{name}:", flush=True)
        began = time.monotonic()
        try:
            table[name]()
        except Exception as error:  # a mistake in this file must not hide the other steps
            TALLY.add(f"step {name}", 0, 1, 0, time.monotonic() - began, [repr(error)])
        times.append((name, time.monotonic() - began))
    last = ["time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times) +
            f"; together {sum(s for _, s in times) / 60:.1f} min"]
    if TALLY.bad:
        last.append("failed: " + ", ".join(TALLY.bad))
    tail = f", {TALLY.skipped} skipped" if TALLY.skipped else ""
    last.append(f"{TALLY.passed} passed, {TALLY.failed} failed{tail}")
    print("\n".join(last), flush=True)
    return last


def main():
    names = sys.argv[1:]
    if names[:1] == ["long"]:
        import run_long
        return run_long.main(sys.modules[__name__], names[1:])
    if names == ["--list"]:
        print("\n".join(ORDER))
        return 0
    unknown = [n for n in names if n not in STEPS]
    if unknown:
        print(f"no such step: {', '.join(unknown)}; there are {', '.join(ORDER)}", file=sys.stderr)
        return 2
    steps([n for n in ORDER if not names or n in names], STEPS)
    return 1 if TALLY.failed else 0


if __name__ == "__main__":
    sys.exit(main())
