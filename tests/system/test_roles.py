"""Roles from outside: each comes back, each is apart, a reload is whole or nothing, a restart drops
no connection."""
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import time

import pytest

from common import guard, submission, trusted, waits
from gapura import PROGRAM, freeze, until
from smtp import Closed, Smtp

ROLES = ("spooler", "resolver", "keyring", "keeper", "courier", "gate", "desk", "scan")
TEXT = "Subject: hello\n\nA line.\n"
SANITIZED = b"__asan_init" in PROGRAM.read_bytes() if PROGRAM.exists() else False
ROOT = os.geteuid() == 0


def accepted(g, to="bob@inside.test"):
    """One mail taken, with patience for a role that is coming back; never a 5xx."""
    def once():
        try:
            with trusted(g) as c:
                reply = c.mail("alice@example.com", to, TEXT)
        except (OSError, Closed):
            return False
        assert reply.code < 500, reply
        return reply.code == 250
    until(once, 30, "mail taken")


def proc(pid, name):
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as f:
        return f.read()


def field(pid, name):
    return re.search(rf"^{name}:[ \t]*(.*)$", proc(pid, "status"), re.M).group(1)


def descriptors(pid):
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            pass
    return found


def inet_inodes():
    """{inode: state} of every IP socket; 0A is listening."""
    found = {}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in proc("self", f"net/{table}").splitlines()[1:]:
            words = line.split()
            found[words[9]] = words[3] if table.startswith("tcp") else "udp"
    return found


def inet_of(pid):
    all_ = inet_inodes()
    links = descriptors(pid).values()
    return sorted(all_[m.group(1)] for m in (re.fullmatch(r"socket:\[(\d+)\]", x) for x in links)
                  if m and m.group(1) in all_)


def most_descriptors():
    """What the machine allows, up to 262144."""
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (own[0], max(own[1], 262144)))
    except (ValueError, OSError):
        return own[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, own)
    return 262144


def refused(at):
    try:
        socket.create_connection(at, 5).close()
        return False
    except ConnectionRefusedError:
        return True


# Coming back.

@pytest.mark.crashes
@pytest.mark.parametrize("role", ROLES)
def test_a_killed_role_comes_back(gapura, sink, net, role):
    inside = sink(2)
    g = gapura(guard(net))
    accepted(g)
    before = g.pids()
    os.kill(before[role], signal.SIGKILL)

    def back():
        row = next((r for r in g.status() if r["role"] == role), {}) if role != "desk" else None
        if row is None:  # desk itself answers for all
            now = g.pids()
            return now.get(role) not in (None, 0, before[role])
        return row.get("ready") and row["pid"] not in (0, before[role]) and row["restarts"] == 1
    until(back, 30, f"{role} again")
    g.all_ready()
    after = g.pids()
    assert {r for r in before if before[r] != after[r]} == {role}, "nobody else was started anew"
    accepted(g, "carol@inside.test")
    inside.wait(2)
    g.wait_event("Warning", role="supervisor")


@pytest.mark.crashes
def test_all_roles_killed_in_turn_while_mail_flows(gapura, sink, net):
    """In every order of neighbours: each one is killed while the others use it."""
    inside = sink(2)
    g = gapura(guard(net))
    sent = 0
    for role in (*ROLES, *reversed(ROLES)):
        pid = g.pids().get(role)
        if pid:
            os.kill(pid, signal.SIGKILL)
        accepted(g, f"user{sent}@inside.test")
        sent += 1
    g.all_ready()
    # Who was on the wire in both crashes of the courier is held, and says so: no third try by itself.
    held = lambda: {r["recipient"] for r in g.queue() if r["state"] == "held"}
    people = lambda: {r for m in inside.messages for r in m.recipients} | held()
    wanted = {f"user{n}@inside.test" for n in range(sent)}
    until(lambda: people() == wanted or None, 60, "every mail that was taken")


@pytest.mark.crashes
def test_back_off(gapura, net):
    """A role that dies at once again waits twice as long each time."""
    g = gapura(guard(net))
    pauses = []
    for _ in range(4):
        pid = g.pids()["resolver"]
        os.kill(pid, signal.SIGKILL)
        start = time.monotonic()
        until(lambda old=pid: g.pids().get("resolver") not in (None, 0, old), 30, "the resolver")
        pauses.append(time.monotonic() - start)
        g.all_ready()
    assert pauses[3] >= 0.7 and pauses[2] >= 0.35, pauses
    assert next(r for r in g.status() if r["role"] == "resolver")["restarts"] == 4


@pytest.mark.crashes
def test_without_its_supervisor_nothing_runs_on(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net))
    pids = g.pids()
    accepted(g)
    os.kill(g.process.pid, signal.SIGKILL)
    g.process.wait()
    until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids.values()), 10, "the end of all roles")
    g.start()
    accepted(g, "carol@inside.test")
    until(lambda: {r for m in inside.messages for r in m.recipients} ==
          {"bob@inside.test", "carol@inside.test"}, what="both")


# Apart.

@pytest.mark.skipif(not ROOT, reason="needs root to be many users")
def test_each_role_is_a_user_without_rights(gapura, net):
    g = gapura(guard(net))
    pids = g.pids()
    uids = {}
    for role in ROLES:
        pid = pids[role]
        uid = field(pid, "Uid").split()
        assert len(set(uid)) == 1 and uid[0] != "0", (role, uid)
        assert "0" not in field(pid, "Gid").split(), role
        assert field(pid, "Groups").split() in ([], [field(pid, "Gid").split()[0]]), role
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(field(pid, kind), 16) == 0, (role, kind)
        uids[role] = uid[0]
    assert len(set(uids.values())) == len(ROLES), uids
    assert field(pids["supervisor"], "Uid").split()[0] == "0"


def test_each_role_has_its_marks_and_limits(gapura, net):
    g = gapura(guard(net))
    pids = g.pids()
    most = most_descriptors()
    for role in ROLES:
        pid = pids[role]
        # Each thread: those that were made before the sandbox would have kept their rights.
        for task in os.listdir(f"/proc/{pid}/task"):
            assert field(f"{pid}/task/{task}", "NoNewPrivs") == "1", role
            if not SANITIZED:
                assert field(f"{pid}/task/{task}", "Seccomp") == "2", (role, task)
        limits = proc(pid, "limits")
        assert re.search(r"Max core file size\s+0\s+0", limits), role
        files = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits)
        assert files.group(1) == files.group(2), (role, files.group(0))
        assert int(files.group(1)) >= most, (role, files.group(0))
        if ROOT:  # not dumpable: only root may look into it
            assert os.stat(f"/proc/{pid}/mem").st_uid == 0, role


def test_each_role_has_only_descriptors_it_needs(gapura, sink, net):
    sink(2)
    g = gapura(guard(net), metrics=True)
    accepted(g)
    g.wait_empty()
    pids = g.pids()
    listening = {role: [s for s in inet_of(pids[role]) if s == "0A"] for role in ROLES}
    assert len(listening.pop("gate")) == 1 and len(listening.pop("desk")) == 1
    assert not any(listening.values()), listening
    for role in ("keyring", "spooler", "keeper", "scan"):
        assert inet_of(pids[role]) == [], role
    for role in ROLES:
        open_ = descriptors(pids[role])
        assert open_[0] == "/dev/null", (role, open_[0])
        files = [x for x in open_.values() if x.startswith("/") and not x.startswith(("/dev/", "/memfd:"))]
        wanted = {"events.jsonl", "output"}  # its event sink; what it prints at its end
        if role in ("gate", "courier", "spooler"):
            wanted |= {os.path.basename(x) for x in files if x.startswith(str(g.dir / "spool"))}
        if role == "keeper":
            wanted |= {os.path.basename(x) for x in files if x.startswith(str(g.dir / "store"))}
        extra = {x for x in files if os.path.basename(x) not in wanted}
        assert not extra, (role, extra)
        assert not any(str(g.conf) in x for x in open_.values()), role
    for role in ("keyring", "scan"):
        assert not [x for x in descriptors(pids[role]).values() if "/spool/" in x or "/store/" in x]


@pytest.mark.skipif(not ROOT, reason="needs root to be another user")
def test_a_role_gives_no_orders(gapura, net):
    """A broken role that may make sockets (courier, keeper) is a stranger to the control sockets."""
    g = gapura(guard(net))
    pid = g.pids()["courier"]
    uid, gid = field(pid, "Uid").split()[0], field(pid, "Gid").split()[0]
    script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])"
    for name in ("supervisor", "keeper", "gate", "courier"):
        path = g.dir / "run" / f"{name}.ctl"
        assert stat.S_ISSOCK(path.stat().st_mode)
        done = subprocess.run(["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups",
                               "/usr/bin/python3", "-c", script, path], capture_output=True, text=True)
        assert done.returncode and "PermissionError" in done.stderr, (name, done.stderr)


@pytest.mark.skipif(SANITIZED, reason="no seccomp under the sanitizer")
@pytest.mark.parametrize("profile,what,killed", [
    ("gate", "socket", True), ("gate", "open", True), ("keyring", "socket", True), ("scan", "exec", True),
    ("scan", "socket", True), ("scan", "open", True), ("scan", "write", True), ("scan", "fork", True),
    ("spooler", "socket", True), ("courier", "socket", False), ("resolver", "socket", False),
    ("courier", "fork", True), ("keeper", "ptrace", True), ("gate", "nothing", False)])
def test_the_program_itself_is_held(profile, what, killed):
    done = subprocess.run([PROGRAM, "--sandbox-trial", profile, what], capture_output=True, timeout=20)
    assert done.returncode == (-signal.SIGSYS if killed else 0), done


def test_a_second_start_harms_nothing(gapura, net):
    g = gapura(guard(net))
    second = subprocess.run([PROGRAM, "run", "-c", g.conf], capture_output=True, text=True, timeout=60)
    assert second.returncode == 1 and "another Gapura" in second.stderr, second.stderr
    assert g.status(), "the control socket is still the first one's"
    accepted(g)


# Reload.

def size_of(g):
    with trusted(g) as c:
        return int(c.extensions["SIZE"])


def test_reload_with_a_bad_file_changes_nothing(gapura, net):
    g = gapura(guard(net), smtp="max_size = 1 MB")
    good, before = g.conf.read_text(), g.pids()
    g.conf.write_text(good.replace("max_size = 1 MB", "max_size = 2 MB") + "\nlisten mx2 {\n    kind = nonsense\n}\n")
    line = 1 + g.conf.read_text().splitlines().index("    kind = nonsense")
    code, _, said = g.ctl("reload", check=False, as_json=False)
    assert code == 1 and f"{g.conf}:{line}:" in said and "nonsense" in said, said
    assert g.generation() == 1 and size_of(g) == 1 << 20 and g.pids() == before
    g.signal(signal.SIGHUP)
    alarm = g.wait_event("Alarm", role="supervisor", count=2)
    assert f":{line}:" in alarm["text"] and "former" in alarm["text"], alarm
    assert g.generation() == 1 and size_of(g) == 1 << 20
    g.conf.write_text(good.replace("max_size = 1 MB", "max_size = 2 MB"))
    assert g.ctl("reload", as_json=False)[0] == 0
    assert g.generation() > 1 and size_of(g) == 2 << 20 and g.pids() == before


def test_reload_says_what_only_a_start_can_change(gapura, net):
    g = gapura(guard(net))
    g.conf.write_text(g.conf.read_text().replace("/spool\n", "/elsewhere\n").replace("ready = ", "ready = 1"))
    code, _, said = g.ctl("reload", check=False, as_json=False)
    assert code == 1 and "spool.dir" in said and "spool.ready" in said and "restart" in said, said
    assert g.generation() == 1 and not (g.dir / "elsewhere").exists()


def test_reload_opens_and_closes_listeners(gapura, net):
    """New ports open, removed ones close, and sessions that are open go on."""
    g = gapura(guard(net).replace(f"{net.ip(1)}:2525\n", f"{net.ip(1)}:2525, {net.ip(1)}:2526\n"))
    with trusted(g) as old, trusted(g, port=2526) as removed:
        g.write(guard(net) + f"listen more {{\n    address = {net.ip(1)}:2527\n    kind = trusted\n}}\n")
        g.ctl("reload", as_json=False)
        until(lambda: refused((net.ip(1), 2526)), 10, "the removed port closed")
        with trusted(g, port=2527) as new:
            assert new.mail("alice@example.com", "bob@inside.test", TEXT).code == 250
        with trusted(g) as again:
            assert again.cmd("NOOP").code == 250
        for session in (old, removed):
            assert session.mail("alice@example.com", "bob@inside.test", TEXT).code == 250
    # A block under another name keeps its port.
    g.write(guard(net).replace("listen mx {", "listen mail {"))
    g.ctl("reload", as_json=False)
    until(lambda: refused((net.ip(1), 2527)), 10, "the second removed port closed")
    accepted(g)


def test_reload_with_an_address_that_is_not_ours(gapura, net):
    g = gapura(guard(net))
    g.write(guard(net) + "listen far {\n    address = 192.0.2.1:25\n}\n"
            f"listen near {{\n    address = {net.ip(1)}:2528\n}}\n")
    code, _, said = g.ctl("reload", check=False, as_json=False)
    assert code == 1 and "192.0.2.1:25" in said, said
    assert refused((net.ip(1), 2528)) and g.generation() == 1
    accepted(g)


def test_reload_that_one_role_does_not_take_is_taken_back(gapura, net):
    g = gapura(guard(net), smtp="max_size = 1 MB")
    good, keeper = g.conf.read_text(), g.pids()["keeper"]
    g.conf.write_text(good.replace("max_size = 1 MB", "max_size = 2 MB")
                      + f"listen more {{\n    address = {net.ip(1)}:2527\n}}\n")
    freeze(keeper)
    try:
        code, _, said = g.ctl("reload", check=False, as_json=False)
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert code == 1 and "keeper" in said, said
    assert g.generation() == 1 and refused((net.ip(1), 2527))
    until(lambda: size_of(g) == 1 << 20, 10, "the former size")
    assert g.ctl("reload", as_json=False)[0] == 0
    assert size_of(g) == 2 << 20 and not refused((net.ip(1), 2527)) and g.pids()["keeper"] == keeper


def test_many_reloads_leave_nothing_behind(gapura, sink, net):
    sink(2)
    g = gapura(guard(net))
    one, two = guard(net), guard(net, extra=f"listen more {{\n    address = {net.ip(1)}:2527\n}}\n")

    def both():
        for text in (two, one):
            g.write(text)
            g.ctl("reload", as_json=False)
    both()
    accepted(g)
    g.wait_empty()
    pids = g.pids()
    kinds = lambda role: sorted(re.sub(r"\[\d+\]|/spool/.*", "", x) for x in descriptors(pids[role]).values())
    before = {role: kinds(role) for role in pids}
    with trusted(g) as c:  # holds the settings of its time
        for _ in range(10):
            both()
        assert c.mail("alice@example.com", "bob@inside.test", TEXT).code == 250
    assert g.generation() >= 20 and g.pids() == pids
    for role in pids:
        until(lambda r=role: len(kinds(r)) <= len(before[r]) + 1, 20, f"as few descriptors in {role} as before")
    memories = lambda: len([x for x in proc(pids["gate"], "maps").splitlines() if "gapura-settings" in x])
    if ROOT:
        until(lambda: memories() <= 2, 30, "former settings forgotten")


def test_reload_under_a_delivery_that_runs(gapura, sink, net):
    """Sessions of the courier hold nothing of settings that are gone."""
    inside = sink(2, delay={"dot": 1.5})
    g = gapura(guard(net))
    accepted(g)
    until(lambda: inside.open_now, what="a delivery that runs")
    for n in range(3):
        g.write(guard(net, extra=f"route extra{n} {{\n    domains = x{n}.test\n    via = smtp://{net.ip(4)}:2600\n}}\n"))
        g.ctl("reload", as_json=False)
    accepted(g, "carol@inside.test")
    inside.wait(2)
    g.wait_empty()
    assert len(inside.messages) == 2


def test_reload_for_a_maildir_that_the_courier_may_not_reach_yet(gapura, net, place):
    g = gapura(guard(net))
    maildir = place / "maildir" / "new"
    maildir.mkdir(parents=True, exist_ok=True)
    maildir.chmod(0o777)
    g.write(guard(net) + f"domain second.test {{\n    inside = maildir:{maildir}\n    recipients = any\n}}\n")
    old = g.pids()["courier"]
    g.ctl("reload", as_json=False)
    until(lambda: g.pids().get("courier") not in (None, 0, old), 30, "a courier with the new path")
    accepted(g, "bob@second.test")
    g.wait_empty()
    assert not g.events("Alarm"), g.events("Alarm")


def test_events_move_with_a_reload(gapura, net, place):
    g = gapura(guard(net))
    g.conf.write_text(g.conf.read_text().replace("/log/events.jsonl", "/log/events.jsonl.moved"))
    g.ctl("reload", as_json=False)
    accepted(g)
    moved = place / "log" / "events.jsonl.moved"
    until(lambda: moved.exists() and '"role":"gate"' in moved.read_text(), 10, "events in the new file")


# Certificates.

def serial(at, context):
    with socket.create_connection(at, 10) as sock, context.wrap_socket(sock, server_hostname="mx.gapura.test") as tls:
        return tls.getpeercert()["serialNumber"]


@pytest.mark.parametrize("by", ["rename", "link"])
def test_a_renewed_certificate_is_served_without_a_reload(gapura, net, authority, place, by):
    live = place / "live"
    live.mkdir()
    first, second = (authority.issue("mx.gapura.test", into=place / name) for name in ("first", "second"))
    cert, key = live / "cert.pem", live / "key.pem"

    def put(pair):
        for file, at in zip(pair, (cert, key)):
            if by == "link":  # as certbot does
                at.unlink(missing_ok=True)
                at.symlink_to(file)
            else:
                fresh = at.with_suffix(".fresh")
                fresh.write_bytes(file.read_bytes())
                fresh.rename(at)
    put(first)
    g = gapura(submission(net, (cert, key)), wait=waits(net))
    at = (net.ip(1), 2465)
    old = serial(at, authority.client())
    with Smtp(at, tls=authority.client()) as c:
        c.ehlo()
        put(second)
        until(lambda: serial(at, authority.client()) != old, 10, "the new certificate")
        assert c.cmd("NOOP").code == 250, "an open session is left alone"
    assert g.ctl("status")[0] == 0


# Wings.

def test_only_inbound(gapura, net, authority):
    cert = authority.issue("mx.gapura.test")
    g = gapura("wings = inbound\n" + submission(net, cert))
    assert refused((net.ip(1), 2587)) and refused((net.ip(1), 2465))
    assert "keyring" not in g.pids()
    assert "submission" in g.wait_event("Notice", role="supervisor")["text"] or g.events("Notice")
    assert any("submissions" in e["text"] for e in g.events("Notice"))
    with trusted(g) as c:
        assert "AUTH" not in c.extensions
    accepted(g)


def test_only_outbound(gapura, net, authority):
    cert = authority.issue("mx.gapura.test")
    text = submission(net, cert).replace("kind = trusted", "kind = inbound")
    g = gapura("wings = outbound\n" + text, wait=waits(net)[1:])
    assert refused((net.ip(1), 2525))
    assert any("mx" in e["text"] for e in g.events("Notice"))
    assert "scan" not in g.pids(), "there are no strangers"


# The checker.

TWELVE = """hostname = mx.gapura.test
colour = blue
wings = sideways
trusted = 10.0.0.0/33
listen mx {
    adress = 127.0.0.1:25
    kind = inbund
    max_sessions = many
}
smtp {
    timeout_command = 5 parsecs
    max_size = -1
}
frontier {
    a = b
}
domain one.test {
    inside = carrier-pigeon://loft
}
spool {
    segment = 1 KB
    segment = 8 MB
}
delivery {
    retry = soon
}
"""
WRONG = {2: "colour", 3: "sideways", 4: "10.0.0.0/33", 6: "adress", 7: "inbund", 8: "many",
         11: "parsecs", 12: "-1", 14: "frontier", 18: "carrier-pigeon", 21: "", 22: "segment", 25: "soon"}


def test_check_says_every_mistake_at_once(place):
    conf = place / "gapura.conf"
    conf.write_text(TWELVE)
    done = subprocess.run([PROGRAM, "check", "-c", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done
    said = {}
    for line in done.stderr.splitlines():
        m = re.match(rf"{re.escape(str(conf))}:(\d+): (.*)", line)
        if m:
            said[int(m.group(1))] = said.get(int(m.group(1)), "") + m.group(2)
    missing = {n: word for n, word in WRONG.items() if word not in said.get(n, "\0")}
    assert not missing, (missing, done.stderr)
    assert set(said) == set(WRONG), done.stderr


KINDS = """hostname = mx.gapura.test
include "missing.conf"
colour = blue
wings = sideways
trusted = 10.0.0.0/33
frontier {
    a = b
}
listen mx {
    address = 127.0.0.1:2525
    certificate = none.pem none.key
}
smtp {
    timeout_command = 5 parsecs
}
domain one.test {
    inside = smtp://127.0.0.1:26
    recipients = any
    tenant = nobody
}
pool p {
    sources = nowhere
}
spool {
    reserve = 1
    segment = 8 MB
    segment = 8 MB
}
route r {
}
listen mx {
    address = 127.0.0.1:2526
}
delivery {
    expier = 5d
"""
# Twelve kinds of mistake and two more: what the line is told, and at which line.
KINDS_SAID = {2: "there is no file", 3: "unknown row `colour`", 4: "sideways", 5: "10.0.0.0/33",
              6: "unknown block `frontier`", 11: "none.pem", 14: "parsecs", 19: 'tenant "nobody"',
              22: 'source "nowhere"', 25: "2", 27: "a second time", 29: "is missing", 31: "a second `listen mx`",
              34: "is not closed", 35: "did you mean `expire`"}


def test_check_says_twelve_kinds_of_mistake_in_one_run(place):
    conf = place / "gapura.conf"
    conf.write_text(KINDS)
    done = subprocess.run([PROGRAM, "check", "-c", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done
    said = {}
    for n, text in re.findall(rf"{re.escape(str(conf))}:(\d+): (.*)", done.stderr):
        said[int(n)] = said.get(int(n), "") + text
    missing = {n: word for n, word in KINDS_SAID.items() if word not in said.get(n, "\0")}
    assert not missing, (missing, done.stderr)
    assert set(said) == set(KINDS_SAID), done.stderr


def test_check_refuses_a_quota_that_leaves_no_room(place):
    conf = place / "gapura.conf"
    text = "hostname = mx.gapura.test\nspool {\n segment = 4 MB\n reserve = 2\n ready = 2\n quota = %d MB\n}\n"
    conf.write_text(text % 15)
    done = subprocess.run([PROGRAM, "check", "-c", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and f"{conf}:6:" in done.stderr and "16.0 MB or more" in done.stderr, done
    conf.write_text(text % 16)
    done = subprocess.run([PROGRAM, "check", "-c", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done


def test_check_refuses_a_batch_that_no_report_fits(place):
    conf = place / "gapura.conf"
    text = "hostname = mx.gapura.test\nspool {\n ring = %d MB\n max_batch = 1 MB\n}\n"
    conf.write_text(text % 1)
    done = subprocess.run([PROGRAM, "check", "-c", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and f"{conf}:2:" in done.stderr and "ring to 2.0 MB or more" in done.stderr, done
    conf.write_text(text % 2)
    done = subprocess.run([PROGRAM, "check", "-c", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done


def test_check_says_every_broken_reference_at_once(place):
    conf = place / "gapura.conf"
    conf.write_text("""hostname = mx.gapura.test
user = root
listen mx {
    address = 127.0.0.1:2525
    certificate = none.pem none.key
}
listen sub {
    address = 127.0.0.1:2587
}
domain one.test {
    inside = smtp://127.0.0.1:26
    recipients = any
    tenant = nobody
}
pool p {
    sources = nowhere
}
route r {
    domains = *
    via = smtp://127.0.0.1:27
    pool = none
}
""")
    done = subprocess.run([PROGRAM, "check", "-c", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    for line, word in ((5, "none.pem"), (13, "nobody"), (16, "nowhere"), (21, "none")):
        assert re.search(rf":{line}: .*{word}", done.stderr), (line, word, done.stderr)
    assert f"{conf}:2: user root" in done.stderr and "6 errors" in done.stderr, done.stderr
    lines = [int(n) for n in re.findall(r"gapura.conf:(\d+):", done.stderr)]
    assert lines == sorted(lines), done.stderr
