"""What a bench run says and keeps: rows, tables, and the bars with their rule.

Used by bench/run.py. Measures nothing.
"""
import json
import os
import statistics
import time

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
BARS = []


def keep_row(name, server, row):
    with open(os.path.join(RESULTS, name + ".json"), "a") as f:
        f.write(json.dumps(dict(shape=name, server=server, at=round(time.time()), **row)) + "\n")
    print("#", name, server, {k: round(v, 2) for k, v in row.items()}, flush=True)


def med(rows, key):
    return statistics.median(r[key] for r in rows) if rows else 0.0


def say(text):
    print(text, flush=True)
    with open(os.path.join(RESULTS, "latest.md"), "a") as f:
        f.write(text + "\n")


def table(name, rows):
    lines = [f"\n**{name}**\n", "| server | per second min / median / max | CPU us/msg | p50 / p99 ms "
             "| runs |", "| --- | --- | --- | --- | --- |"]
    for server, rs in rows.items():
        if rs:
            v = sorted(r["rate"] for r in rs)
            lines.append(f"| {server} | {v[0]:.0f} / **{med(rs, 'rate'):.0f}** / {v[-1]:.0f} | "
                         f"{med(rs, 'cpu_us'):.1f} | {med(rs, 'p50') if 'p50' in rs[0] else 0:.1f} / "
                         f"{med(rs, 'p99') if 'p99' in rs[0] else 0:.1f} | {len(rs)} |")
    say("\n".join(lines) + "\n")


def bar(name, measured, required, ok, note=""):
    line = f"bar {name} measured {measured:.2f} required {required:g} {'ok' if ok else 'short'} {note}"
    BARS.append(line.rstrip())
    say(line.rstrip())


def not_judged(name, why):
    BARS.append(f"bar {name} not judged: {why}")
    say(BARS[-1])


def judge(name, rows, times, cpu=None, ref_share=None, us="gapura"):
    """Ratio of medians to the better form of Postfix; our slowest over their fastest reaches 0.7."""
    mine = rows.get(us, [])
    forms = [rs for n, rs in rows.items() if n.startswith("postfix") and rs]
    if not mine or not forms:
        return not_judged(name, "a side is missing")
    ratio = med(mine, "rate") / max(med(rs, "rate") for rs in forms)
    worst = min(r["rate"] for r in mine) / max(r["rate"] for rs in forms for r in rs)
    few = f", {len(mine)} runs" if len(mine) < 5 else ""
    bar(name, ratio, times, ratio >= times and worst >= 0.7 * times, f"(worst {worst:.2f}{few})")
    if cpu:
        least = min(med(rs, "cpu_us") for rs in forms)
        share = least / max(.001, med(mine, "cpu_us"))
        worst = min(r["cpu_us"] for rs in forms for r in rs) / max(r["cpu_us"] for r in mine)
        bar(name + "-cpu", share, cpu, share >= cpu and worst >= 0.7 * cpu,
            f"(their CPU a message over ours, worst {worst:.2f}{few})")
    if ref_share and rows.get("ref"):
        share = med(mine, "rate") / med(rows["ref"], "rate")
        worst = min(r["rate"] for r in mine) / max(r["rate"] for r in rows["ref"])
        bar(name + "-ref", share, ref_share, share >= ref_share and worst >= 0.7 * ref_share,
            f"(of the reference sink, worst {worst:.2f}{few})")
    elif ref_share:
        not_judged(name + "-ref", "no reference sink")


def sets_equal(name, rows):
    """What was acknowledged must have arrived, as sets of Message-IDs; copies are told."""
    for server, rs in rows.items():
        if rs:
            say(f"# {name} {server}: acknowledged {sum(r['acked'] for r in rs)}, missing "
                f"{sum(r['missing'] for r in rs)}, more than once {sum(r['repeats'] for r in rs)}; "
                f"p99 dot->250 {med(rs, 'dot_p99'):.1f} ms, 250->sink {med(rs, 'sink_p99'):.1f} ms")
    mine = [r for n, rs in rows.items() if n.startswith("gapura") for r in rs]
    if mine:
        lost = sum(r["missing"] for r in mine)
        bar(name + "-missing", lost, 0, lost == 0, "Message-IDs acknowledged and not in the sink")


def defaults_line(name, rows):
    rs = rows.get("gapura-defaults")
    if rs:
        say(f"with the shipped defaults: {name} {med(rs, 'rate'):.0f} a second, "
            f"{med(rs, 'cpu_us'):.1f} us CPU a message, {len(rs)} runs")
