"""Control: check, reload, queue verbs, suspensions, explain, trace, users, top, status, metrics."""
import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

import pytest

from common import guard, stranger, submission, trusted, waits
from gapura import PROGRAM, until
from smtp import Smtp, message


def held(g, count=1, to="b{}@outside.test"):
    """Messages that wait because nobody listens at the next host."""
    with trusted(g) as c:
        for i in range(count):
            assert c.mail("alice@example.com", to.format(i), message(f"number {i}")).code == 250
    return until(lambda: (lambda r: len(r) == count and r)(g.queue()), what=f"{count} waiting")


def test_check_names_every_error(gapura, net, place):
    g = gapura(guard(net, extra="""
route bad {
    domains = x.test
    via = nowhere
}
route worse {
    domains = y.test
    via = mx
    tsl = may
}
delivery {
    expire = 5 parsecs
}
"""), start=False)
    code, said = g.check()
    assert code == 1
    for word in ("gapura.conf:", "tls", "parsecs", "nowhere"):
        assert word in said, said
    assert len([line for line in said.splitlines() if "gapura.conf:" in line]) >= 3
    g.write(guard(net))
    code, said = g.check()
    assert code == 0, said


def test_run_refuses_bad_settings(gapura, net):
    g = gapura(guard(net, extra="nonsense = yes\n"), start=False)
    g.start(ready=False)
    assert g.process.wait(20) != 0
    assert "nonsense" in g.printed()
    g.process = None


def test_reload_takes_new_settings(gapura, net, sink):
    inside = sink(2)
    g = gapura(guard(net))
    before, pids = g.generation(), g.pids()
    with stranger(g) as open_session:
        g.write(guard(net) + f"domain new.test {{\n inside = smtp://{net.ip(2)}:2600\n recipients = any\n}}\n")
        g.signal(signal.SIGHUP)
        until(lambda: g.generation() > before, what="the new generation")
        until(lambda: stranger_may(g, "bob@new.test"), what="the new domain")
        # The session from before goes on.
        assert open_session.mail("a@example.com", "bob@inside.test", message()).code == 250
    inside.wait(1)
    assert g.pids() == pids, "nobody was restarted"


def stranger_may(g, to):
    with stranger(g) as c:
        c.cmd("MAIL FROM:<a@example.com>")
        return c.cmd(f"RCPT TO:<{to}>").code == 250


@pytest.mark.parametrize("way", ["signal", "verb"])
def test_bad_reload_changes_nothing(gapura, net, way):
    g = gapura(guard(net))
    before = g.generation()
    g.write(guard(net).replace("kind = trusted", "kind = inbuond"))
    if way == "signal":
        g.signal(signal.SIGHUP)
    else:
        code, _, said = g.ctl("reload", check=False)
        assert code == 1 and "inbuond" in said and "inbound" in said, said
    event = g.wait_event("Alarm")
    assert "inbuond" in json.dumps(event)
    assert g.generation() == before
    assert stranger_may(g, "bob@inside.test")
    g.write(guard(net))
    assert g.ctl("reload")[0] == 0 and g.generation() > before


def test_new_listener_by_reload(gapura, net):
    g = gapura(guard(net))
    g.write(guard(net) + f"listen second {{\n address = {net.ip(1)}:2526\n kind = inbound\n}}\n")
    g.ctl("reload")

    def greets():
        try:
            with Smtp((net.ip(1), 2526)) as c:
                return c.greeting.code == 220
        except OSError:
            return False
    until(greets, what="the new port")
    g.write(guard(net))
    g.ctl("reload")
    until(lambda: not greets(), what="the port's end")
    assert stranger_may(g, "bob@inside.test")


def test_certificate_renewed(gapura, net, authority, place):
    cert = authority.issue("mx.gapura.test", into=place / "cert")
    g = gapura(submission(net, cert), wait=waits(net))

    def serial():
        with Smtp((net.ip(1), 2587)) as c:
            c.ehlo()
            c.starttls(authority.client())
            return c.sock.getpeercert()["serialNumber"]
    first = serial()
    authority.issue("mx.gapura.test", into=place / "cert")
    until(lambda: serial() != first, what="the new certificate")
    # Half a pair (as in the middle of a renewal) leaves the former one in force.
    now = serial()
    (place / "cert.key").write_text("garbage\n")
    g.wait_event("Alarm")
    assert serial() == now


def test_sni_chooses(gapura, net, authority):
    first, second = authority.issue("mx.gapura.test"), authority.issue("other.gapura.test")
    text = submission(net, first).replace(f"certificate = {first[0]} {first[1]}",
                                          f"certificate = {first[0]} {first[1]}, {second[0]} {second[1]}")
    gapura(text, wait=waits(net))
    for name in ("mx.gapura.test", "other.gapura.test"):
        with Smtp((net.ip(1), 2587)) as c:
            c.ehlo()
            c.starttls(authority.client(), host=name)
            assert ("DNS", name) in c.sock.getpeercert()["subjectAltName"]


def test_hold_release_remove(gapura, net, sink):
    g = gapura(guard(net), delivery="hold = no")
    rows = held(g, 3)
    identity = rows[0]["id"]
    code, _, said = g.ctl("queue", "hold", identity, check=False)
    assert code == 2 and "reason" in said, "a hold wants a reason"
    g.ctl("queue", "hold", identity, "--reason", "wrong price")
    row = until(lambda: [r for r in g.queue() if r["id"] == identity and r["state"] == "held"], what="held")[0]
    assert "wrong price" in row["reason"]
    g.ctl("queue", "remove", rows[1]["id"], "--reason", "sent twice")
    until(lambda: len(g.queue()) == 2, what="one less")
    out = sink(3)
    g.ctl("queue", "retry", "--all")
    got = out.wait(1)
    until(lambda: [r["id"] for r in g.queue()] == [identity], what="only the held one")
    assert len(got) == 1
    g.ctl("queue", "release", identity)
    assert len(out.wait(2)) == 2
    g.wait_empty()
    g.wait_event("AdminBounce", id=rows[1]["id"])


def test_hold_survives_a_restart(gapura, net, sink):
    g = gapura(guard(net))
    identity = held(g, 1)[0]["id"]
    g.ctl("queue", "hold", identity, "--reason", "keep")
    until(lambda: g.queue()[0]["state"] == "held", what="held")
    g.stop()
    out = sink(3)
    g.start()
    row = until(lambda: g.queue(), what="the queue after the start")[0]
    assert row["state"] == "held" and "keep" in row["reason"]
    g.ctl("queue", "release", "--all")
    out.wait(1)


def test_suspend_and_resume(gapura, net, sink):
    out, other = sink(3), sink(4)
    g = gapura(guard(net, extra=f"route other {{\n domains = other.test\n via = smtp://{net.ip(4)}:2600\n}}\n"))
    g.ctl("suspend", "--domain", "outside.test", "--reason", "their server moves", "--for", "1h")
    listed = g.ctl("suspensions")[1]
    assert g.ctl("suspensions", "--domain", "outside.test")[1] and not g.ctl("suspensions", "--provider", "x")[1]
    code, _, said = g.ctl("suspend", "--source", "nosuch", "--reason", "x", check=False)
    assert code == 2 and "no source" in said, said
    assert listed[0]["domain"] == "outside.test" and "moves" in listed[0]["reason"] and listed[0]["until"]
    with trusted(g) as c:
        assert c.mail("a@example.com", ["b@outside.test", "b@other.test"], message()).code == 250
    other.wait(1)
    row = until(lambda: [r for r in g.queue() if r["recipient"] == "b@outside.test"], what="the suspended row")[0]
    assert row["state"] == "suspended" and "moves" in row["reason"], row
    assert not out.messages
    g.stop()
    g.start()
    assert g.ctl("suspensions")[1], "it is in the log, so a restart keeps it"
    g.ctl("resume", "--domain", "outside.test")
    out.wait(1)
    assert not g.ctl("suspensions")[1]


def test_suspension_ends_by_itself(gapura, net, sink):
    out = sink(3)
    g = gapura(guard(net))
    g.ctl("suspend", "--all", "--reason", "a moment", "--for", "2s")
    with trusted(g) as c:
        assert c.mail("a@example.com", "b@outside.test", message()).code == 250
    out.wait(1)
    assert not g.ctl("suspensions")[1]


def test_explain_tells_the_whole_life(gapura, net, sink):
    g = gapura(guard(net))
    identity = held(g, 1)[0]["id"]
    g.wait_event("TransientFailure")
    out = sink(3)
    out.wait(1)
    g.wait_event("Delivery")
    text = g.ctl("explain", identity, as_json=False)[1]
    for word in (identity, "alice@example.com", "b0@outside.test", "250", net.ip(3)):
        assert word in text, f"{word} is missing in:\n{text}"
    rows = g.ctl("explain", identity)[1]
    assert len(rows) >= 3, rows
    assert "b0@outside.test" in g.ctl("explain", "b0@outside.test", as_json=False)[1]
    code, _, said = g.ctl("explain", "2v8m4tq0j3c9xw1r5k7n6p8d2e", check=False)
    assert code == 1 and said


def test_queue_show_and_summary(gapura, net):
    g = gapura(guard(net))
    rows = held(g, 4)
    shown = g.ctl("queue", "show", rows[0]["id"])[1]
    assert any(rows[0]["recipient"] in json.dumps(r) for r in shown)
    summary = g.ctl("queue", "summary")[1]
    assert sum(r["recipients"] for r in summary) == 4, summary
    assert len(g.queue("--recipient", "b2@outside.test")) == 1
    assert len(g.queue("--limit", "2")) == 2
    for words in (("queue", "list"), ("queue", "summary"), ("status",), ("suspensions",)):
        people = g.ctl(*words, as_json=False)[1]
        assert "{" not in people


def test_trace_shows_a_session(gapura, net):
    g = gapura(guard(net))
    argv = [PROGRAM, "trace", "--ip", net.ip(50), "--json", "--run-dir", g.dir / "run"]
    tracer = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        os.set_blocking(tracer.stdout.fileno(), False)
        seen = ""

        def shown():
            nonlocal seen
            seen += (tracer.stdout.read() or b"").decode()
            with stranger(g) as c:
                c.cmd("MAIL FROM:<a@example.com>")
                c.cmd("QUIT")
            # The trace may have begun in the middle of a session: a whole one is waited for.
            return all(x in seen for x in ("EHLO client.test", "MAIL FROM", "250"))
        until(shown, what="lines of the session")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)


def test_trace_never_shows_passwords(gapura, net, authority):
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert), wait=waits(net))
    g.user("alice@inside.test", "tops3cret")
    argv = [PROGRAM, "trace", "--ip", "127.0.0.0/8", "--json", "--run-dir", g.dir / "run"]
    tracer = subprocess.Popen(argv, stdout=subprocess.PIPE)
    os.set_blocking(tracer.stdout.fileno(), False)
    seen = ""

    def shown():
        nonlocal seen
        seen += (tracer.stdout.read() or b"").decode()
        with g.smtp(port=2587) as c:
            c.ehlo()
            c.starttls(authority.client())
            c.ehlo()
            assert c.auth("PLAIN", "alice@inside.test", "tops3cret").code == 235
        return "235" in seen
    try:
        until(shown, what="the login in the trace")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    for secret in ("tops3cret", base64.b64encode(b"\0alice@inside.test\0tops3cret").decode()):
        assert secret not in seen
    assert "tops3cret" not in (g.dir / "log/events.jsonl").read_text()


def test_users(gapura, net, authority, sink):
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert), wait=waits(net))

    def may(password, mechanism="PLAIN"):
        with g.smtp(port=2587) as c:
            c.ehlo()
            c.starttls(authority.client())
            c.ehlo()
            return c.auth(mechanism, "alice@inside.test", password).code == 235
    g.user("alice@inside.test", "one")
    until(lambda: may("one"), what="the login")
    assert may("one", "SCRAM-SHA-256")
    code, _, said = g.ctl("user", "add", "alice@inside.test", stdin="x\n", check=False)
    assert code == 1 and said
    g.ctl("user", "password", "alice@inside.test", stdin="two\n")
    until(lambda: may("two"), what="the new password")
    assert not may("one")
    assert [u["login"] for u in g.ctl("user", "list")[1]] == ["alice@inside.test"]
    assert g.ctl("user", "list", "--domain", "inside.test")[1] and not g.ctl("user", "list", "--domain", "x.test")[1]
    for words, said in ((("bob",), "may write as nobody"), (("carl", "--senders", "inside.test"), "The login can be used now.")):
        assert said in g.ctl("user", "add", *words, stdin="x\n")[1][0]["text"]
        g.ctl("user", "remove", words[0], "--reason", "a try")
    g.ctl("user", "remove", "alice@inside.test", "--reason", "left")
    until(lambda: not may("two"), what="the end of the login")
    g.stop()
    g.start()
    assert not g.ctl("user", "list")[1]


def test_a_login_can_be_used_at_once(gapura, net, authority):
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert), wait=waits(net))
    for i in range(5):
        name = f"user{i}@inside.test"
        assert g.ctl("user", "add", name, stdin="one\n")[0] == 0
        with g.smtp(port=2587) as c:  # no waiting: the verb has ended, so it counts
            c.ehlo()
            c.starttls(authority.client())
            c.ehlo()
            assert c.auth("PLAIN", name, "one").code == 235
        g.ctl("user", "remove", name, "--reason", "left")
        with g.smtp(port=2587) as c:
            c.ehlo()
            c.starttls(authority.client())
            c.ehlo()
            assert c.auth("PLAIN", name, "one").code == 535


def test_status_and_top(gapura, net):
    g = gapura(guard(net))
    roles = {r["role"] for r in g.status()}
    assert {"gate", "courier", "spooler", "resolver", "keyring", "keeper", "supervisor"} <= roles
    uids = {int(open(f"/proc/{pid}/status").read().split("Uid:\t")[1].split("\t")[0])
            for role, pid in g.pids().items() if role != "supervisor"}
    if os.geteuid() == 0:
        assert 0 not in uids, "no role but the supervisor is root"
    code, text, _ = g.ctl("top", "--once", as_json=False)
    assert code == 0 and text.strip()


def test_verbs_without_a_server(place):
    done = subprocess.run([PROGRAM, "queue", "list", "--run-dir", place / "none"], capture_output=True, text=True)
    assert done.returncode == 3 and "is gapura running" in done.stderr
    assert subprocess.run([PROGRAM, "queeu", "list"], capture_output=True).returncode == 2
    helped = subprocess.run([PROGRAM, "help"], capture_output=True, text=True)
    assert helped.returncode == 0 and "queue list" in helped.stdout


def run(*words, **more):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=30, **more)


def test_version_and_help():
    for words in (("--version",), ("version",)):
        assert run(*words).stdout.startswith("gapura 0."), words
    assert "version" in run("help").stdout
    verbs = re.findall(r"^  ([a-z]+(?: [a-z]+){0,2})\b", run("help").stdout, re.M)
    assert "queue list" in verbs and "version" in verbs and "domain dkim add" in verbs
    for group in (("queue",), ("domain",), ("domain", "dkim")):
        done = run(*group, "--help")
        shown = re.findall(r"^  gapura ([a-z ]+[a-z])  ", done.stdout, re.M)
        assert done.returncode == 0 and shown == [v for v in verbs if v.startswith(" ".join(group) + " ")], done
        assert run(*group).returncode == 2 and run(*group).stderr == done.stdout
    for verb in verbs:
        if verb == "help":
            continue
        done = run(*verb.split(), "--help")
        assert done.returncode == 0 and "usage: gapura " + verb in done.stdout, done
        assert "example: gapura " + verb in done.stdout, done


def test_wrong_words_are_explained(gapura, net):
    g = gapura(guard(net))
    where = ("--run-dir", g.dir / "run")
    for words, said in ((("queue", "lsit"), "queue list"), (("suspnd",), "suspend"),
                        (("queue", "list", "--domian", "x"), "--domain"),
                        (("queue", "list", "--state", "x"), "ready, waiting, aside, active, suspended, held"),
                        (("queue", "show"), "needs ID"), (("queue", "show", "12"), "26 letters"),
                        (("queue", "list", "--limit", "many"), "not a number"), (("queue", "list", "--limit", "0"), "from 1 on"),
                        (("explain", "nobody"), "neither an address nor an id"), (("resume", "12"), "gapura suspensions"),
                        (("queue", "remove", "--domain", "x.test"), "--reason"),
                        (("queue", "retry"), "of what?"), (("suspend", "--reason", "x"), "of what?"),
                        (("queue", "list", "extra"), "extra"), (("explain",), "needs ID|ADDRESS")):
        words = (*words, *where) if words[0] != "suspnd" and "lsit" not in words else words
        done = run(*words)
        assert done.returncode == 2 and said in done.stderr, (words, done)


def test_settings_with_mistakes_do_not_hide_a_running_server(gapura, net):
    g = gapura(guard(net))
    conf = g.conf
    good = conf.read_text()
    conf.write_text(good + "nonsense = yes\n")
    done = run("queue", "summary", "-c", conf)
    assert done.returncode == 0 and "gapura check" in done.stderr, done
    done = run("reload", "-c", conf)
    assert done.returncode == 1 and "unknown row `nonsense`" in done.stderr, done
    assert done.stderr.rstrip().endswith("reload again"), done.stderr
    conf.write_text(good)
    assert run("reload", "-c", conf).returncode == 0


def test_a_role_that_does_not_start_is_named_soon(gapura, net):
    g = gapura(guard(net))
    store = pathlib.Path(re.search(r"store = (\S+)", g.conf.read_text())[1])
    g.stop()
    for path in store.parent.glob(store.name + "*"):
        path.unlink()
    store.mkdir()
    g.start(ready=False)
    until(lambda: g.ctl("status", check=False)[0] == 0, what="the supervisor's answer")
    until(lambda: any(r["role"] == "keeper" and r["restarts"] > 1 for r in g.status()), what="tries of the keeper")
    began = time.monotonic()
    done = run("user", "list", "--run-dir", g.dir / "run")
    assert done.returncode == 3 and "keeper is not ready" in done.stderr, done
    assert time.monotonic() - began < 10
    alarm = [e["text"] for e in g.events("Alarm") if "keeper cannot start" in e["text"]][0]
    assert alarm.count("directory") < 4 and str(store) in alarm, alarm
    store.rmdir()
    until(lambda: run("user", "list", "--run-dir", g.dir / "run").returncode == 0, 30, "the keeper")
    g.stop(crashes=True)


def test_trace_is_a_line_for_a_line(gapura, net):
    g = gapura(guard(net))
    tracer = subprocess.Popen([PROGRAM, "trace", "--ip", net.ip(50), "--run-dir", g.dir / "run"], stdout=subprocess.PIPE)
    try:
        os.set_blocking(tracer.stdout.fileno(), False)
        seen = ""

        def shown():
            nonlocal seen
            seen += (tracer.stdout.read() or b"").decode()
            with stranger(g) as c:
                c.cmd("QUIT")
            return re.search(rf"^\S+ {net.ip(50)}:\d+ < QUIT$", seen, re.M)
        until(shown, what="a line of the session")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)


def test_two_may_trace(gapura, net):
    """Each sees what it asked for, and the end of one leaves the other alone."""
    g = gapura(guard(net))
    seen = {}
    tracers = {n: subprocess.Popen([PROGRAM, "trace", "--ip", net.ip(n), "--run-dir", g.dir / "run"],
                                   stdout=subprocess.PIPE) for n in (50, 51)}
    try:
        for tracer in tracers.values():
            os.set_blocking(tracer.stdout.fileno(), False)

        def shown(*numbers):
            for n in tracers:
                with g.smtp(source=net.ip(n)) as c:
                    c.cmd(f"NOOP from-{n}")
            for n in numbers:
                seen[n] = seen.get(n, "") + (tracers[n].stdout.read() or b"").decode()
            return all(f"from-{n}" in seen[n] for n in numbers)
        until(lambda: shown(50, 51), what="a line for each of both")
        assert "from-51" not in seen[50] and "from-50" not in seen[51], seen
        tracers[51].send_signal(signal.SIGINT)
        tracers[51].wait(10)
        seen.clear()
        until(lambda: shown(50), what="lines for the one that is left")
    finally:
        for tracer in tracers.values():
            tracer.kill()
            tracer.wait(10)


def test_metrics_page(gapura, net, sink):
    inside = sink(2)
    g = gapura(guard(net), metrics=True)
    with stranger(g) as c:
        assert c.mail("a@example.com", "bob@inside.test", message()).code == 250
        assert c.cmd("MAIL FROM:<a@example.com>").code == 250
        assert c.cmd("RCPT TO:<bob@elsewhere.test>").code == 550
    inside.wait(1)
    g.wait_event("Delivery")

    def page():
        with urllib.request.urlopen(f"http://{net.ip(1)}:9125/metrics", timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            return answer.read().decode()
    values = {}
    for line in page().splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2, line
        if not line.startswith("#"):
            values[line.rsplit(" ", 1)[0]] = float(line.rsplit(" ", 1)[1])
    assert any("accepted" in k or "messages" in k for k in values) and sum(values.values()) > 0
    assert all(k.startswith("gapura_") for k in values)


def test_events_have_the_documented_fields(gapura, net, sink):
    inside = sink(2)
    g = gapura(guard(net))
    with stranger(g) as c:
        assert c.mail("alice@example.com", "bob@inside.test", message()).code == 250
    inside.wait(1)
    delivery = g.wait_event("Delivery")
    reception = g.wait_event("Reception")
    assert reception["id"] == delivery["id"]
    assert reception["sender"] == delivery["sender"] == "alice@example.com"
    assert delivery["recipient"] == "bob@inside.test" and delivery["response"]["code"] == 250
    assert {"timestamp", "role", "id", "sender", "size"} <= reception.keys()
    assert {"timestamp", "num_attempts", "site", "peer_address"} <= delivery.keys()
