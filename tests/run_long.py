"""The long tests: what `make test` leaves out because it takes hours of one machine.

    make test-long           all parts, about 55 minutes on two cores
    tests/run long [PART...] only these: fault, durability, valgrind, sanitizers, fuzz
    LONG=0.02                a factor for rounds, samples and seconds: proves that a part works

Called by tests/run.py, whose counting and bounds it uses. When all parts ran with a factor of 1 or
more, the last lines and the conditions are written to docs/test-long.md, to be committed by whoever
ran them.
"""
import os
import platform
import random
import sys
import time

FACTOR = float(os.environ.get("LONG", "1"))
FAULT_ROUNDS, FAULT_RUNS = 500, 4       # 500 rounds in four runs of a seed each
RECORDER_SEEDS, RECORDER_SAMPLES = 8, 100000
FUZZ_SECONDS = 60
RESULT = "docs/test-long.md"


def scaled(n, least=1):
    return max(least, round(n * FACTOR))


def parts(base):
    """The table of parts over tests/run.py as `base`."""

    def fault():
        each = scaled(FAULT_ROUNDS // FAULT_RUNS, 2)
        for _ in range(FAULT_RUNS if FACTOR >= 1 else 1):
            seed = random.SystemRandom().randrange(1 << 32)
            base.tap(f"fault --rounds {each} --seed {seed}",
                     [base.ROOT / "tests/fault", "--rounds", str(each), "--seed", str(seed)],
                     300 + 10 * each)

    def durability():
        samples, recorder = str(scaled(RECORDER_SAMPLES, 100)), base.ROOT / "build/tests/unit/test_spool_recorder"
        calls = []
        for _ in range(scaled(RECORDER_SEEDS)):
            seed = str(random.SystemRandom().randrange(1, 1 << 32))
            calls.append((base.tap, f"test_spool_recorder seed {seed}", [recorder], 900,
                          {"SPOOL_SEED": seed, "SPOOL_SAMPLES": samples}))
        base.together(calls)
        base.system_tests([base.ROOT / "tests/system/test_durability.py"], "long: ",
                          {"SPOOL_SAMPLES": samples}, 1200)

    def valgrind():
        tests = base.unit_tests("build")
        chosen = tests if FACTOR >= 1 else tests[::max(1, round(1 / FACTOR))]
        base.together([(base.tap, f"valgrind {p.name}", [*base.VALGRIND, p], 900,
                        {"GAPURA_VALGRIND": "1", "SPOOL_SAMPLES": "200"}) for p in chosen])

    def sanitizers():
        """Every system test over the sanitizer build, not only those of `make test`."""
        program = base.ROOT / "build-san/gapura"
        base.make("sanitizer build", "build-san",
                  ["build-san/gapura", *base.targets("build-san")], 1200, "SAN=1")
        if not program.exists() or program in base.STALE:
            return
        env = {**base.SAN_ENV, "GAPURA_PROGRAM": str(program), "GAPURA": str(program), "GAPURA_SLOW": "4",
               "ASAN_OPTIONS": base.SAN_ENV["ASAN_OPTIONS"].replace("detect_leaks=1", "detect_leaks=0")}
        # Preloading a shim and AddressSanitizer do not go together; these have the plain build above.
        files = [p for p in sorted((base.ROOT / "tests/system").glob("test_*.py"))
                 if p.name != "test_durability.py"]
        base.system_tests(files if FACTOR >= 1 else files[:scaled(len(files))], "build-san: ", env, 2400)

    def fuzz():
        names = sorted(p.stem.removeprefix("fuzz_") for p in (base.ROOT / "fuzz").glob("fuzz_*.c"))
        chosen = names if FACTOR >= 1 else names[:2]
        base.make("fuzz targets", "fuzz", [f"build/fuzz/fuzz_{n}" for n in chosen], 1200)
        base.run(["make", "-s", "fuzz-seeds"], 120)
        base.together([(fuzz_one, base, name) for name in chosen])

    return {f.__name__: f for f in (fault, durability, valgrind, sanitizers, fuzz)}


def fuzz_one(base, name):
    out, began = base.ROOT / "build/fuzz", time.monotonic()
    program = out / f"fuzz_{name}"
    seconds = scaled(FUZZ_SECONDS, 2)
    if not program.exists():
        return
    for folder in ("corpus", "seeds"):
        (out / folder / name).mkdir(parents=True, exist_ok=True)
    argv = [program, f"-max_total_time={seconds}", "-max_len=8192", "-rss_limit_mb=1024", "-timeout=10",
            "-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={out}/found-{name}-",
            out / "corpus" / name, out / "seeds" / name]
    if name.startswith("smtp"):
        argv.insert(1, "-dict=fuzz/smtp.dict")
    status, text = base.run(argv, seconds + 240, base.LOGS / f"fuzz-{name}.log")
    good = status == 0
    base.TALLY.add(f"fuzz {name}, {seconds} s", int(good), int(not good), 0, time.monotonic() - began,
                   () if good else base.why_failed(text, base.died(status, seconds + 240)))


def keep_result(base, names, last):
    commit = base.run(["git", "describe", "--always", "--dirty"], 30)[1].strip()
    text = ["# The last long test", "",
            "`make test-long` writes this page; whoever runs it commits it.", "",
            f"- {time.strftime('%d %B %Y, %H:%M UTC', time.gmtime())}, commit {commit}",
            f"- {platform.system()} {platform.release()}, {os.cpu_count()} processors",
            f"- parts: {', '.join(names)}; factor {FACTOR:g}", "", "```", *last, "```", ""]
    (base.ROOT / RESULT).write_text("\n".join(text))
    print(f"written to {RESULT}")


def main(base, names):
    table = parts(base)
    unknown = [n for n in names if n not in table]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(table)}", file=sys.stderr)
        return 2
    chosen = [n for n in table if not names or n in names]
    base.LOGS.mkdir(parents=True, exist_ok=True)
    base.step_build()
    last = base.steps(chosen, table)
    if not names and FACTOR >= 1:
        keep_result(base, chosen, last)
        print(last[-1], flush=True)
    return 1 if base.TALLY.failed else 0
