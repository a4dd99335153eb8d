"""A restart in place (SIGUSR2) drops no connection, and does not begin where it could not end well."""
import os
import signal
import socket
import threading

from common import guard, stranger
from gapura import freeze, until
from smtp import Closed, Smtp
from test_roles import ROLES, TEXT, accepted, refused


def bound(at):
    try:
        socket.create_connection(at, 5).close()
        return True
    except ConnectionRefusedError:
        return False


def test_restart_refuses_nobody(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net), smtp="shutdown_grace = 1s")
    accepted(g)
    pid, before = g.process.pid, g.pids()
    stop, trouble, taken = threading.Event(), [], [0]

    def clients():
        while not stop.is_set():
            try:
                with Smtp((net.ip(1), 2525), source=net.ip(100)) as c:
                    if c.greeting.code == 220:
                        c.ehlo()
                        taken[0] += c.mail("alice@example.com", "bob@inside.test", TEXT).code == 250
            except ConnectionRefusedError as error:
                trouble.append(error)
            except (OSError, Closed):
                pass  # a session that was open may be told 421
    threads = [threading.Thread(target=clients) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        until(lambda: taken[0] > 5, what="mail before")
        g.signal(signal.SIGUSR2)
        until(lambda: g.pids() and all(p != before[r] for r, p in g.pids().items() if r in ROLES) or None,
              60, "new roles")
        g.all_ready()
        so_far = taken[0]
        until(lambda: taken[0] > so_far + 5, what="mail after")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not trouble, trouble
    assert g.process.poll() is None and g.pids()["supervisor"] == pid
    inside.wait(taken[0] + 1)


def test_restart_with_bad_settings_does_not_happen(gapura, net):
    g = gapura(guard(net))
    before, good = g.pids(), g.conf.read_text()
    g.conf.write_text(good + "nonsense = 1\n")
    g.signal(signal.SIGUSR2)
    alarm = g.wait_event("Alarm", role="supervisor")
    assert "nonsense" in alarm["text"] and "restart" in alarm["text"], alarm
    assert g.pids() == before
    g.conf.write_text(good)
    accepted(g)


def test_settings_that_go_bad_while_sessions_end_are_waited_for(gapura, net):
    g = gapura(guard(net))
    good = g.conf.read_text()
    with stranger(g) as busy:
        assert busy.cmd("MAIL FROM:<a@example.com>").code == 250
        assert busy.cmd("RCPT TO:<bob@inside.test>").code == 250
        assert busy.cmd("DATA").code == 354
        g.signal(signal.SIGUSR2)
        until(lambda: [e for e in g.events("Notice") if e["text"].startswith("restarting")], what="the restart")
        g.conf.write_text(good + "nonsense = 1\n")
        busy.send("Subject: last\r\n\r\nx\r\n.\r\n")
        assert busy.reply().code == 250
    until(lambda: "waits for settings that are good" in g.printed(), 60, "the new program at the settings")
    assert "nonsense" in g.printed() and g.process.poll() is None
    with Smtp((net.ip(1), 2525), greet=False) as waiting:
        g.conf.write_text(good)
        assert waiting.reply().code == 220
    accepted(g)


def test_restart_in_the_middle_of_a_reload(gapura, net):
    """What the reload has bound already is not somebody else's."""
    g = gapura(guard(net))
    before = g.pids()
    freeze(before["scan"])
    g.write(guard(net) + f"listen two {{\n address = {net.ip(1)}:2531\n}}\n")
    g.signal(signal.SIGHUP)
    until(lambda: bound((net.ip(1), 2531)), what="the new address bound")
    g.signal(signal.SIGUSR2)
    os.kill(before["scan"], signal.SIGCONT)
    until(lambda: g.pids() and all(p != before[r] for r, p in g.pids().items() if r in ROLES) or None, 60, "new roles")
    with Smtp((net.ip(1), 2531)) as c:
        assert c.greeting.code == 220
    assert not g.events("Alarm"), g.events("Alarm")


def test_restart_for_an_address_that_somebody_has_does_not_happen(gapura, net):
    g = gapura(guard(net))
    before, good = g.pids(), g.conf.read_text()
    with socket.create_server((net.ip(1), 2529)):
        g.conf.write_text(good + f"listen more {{\n    address = {net.ip(1)}:2529\n}}\n")
        g.signal(signal.SIGUSR2)
        alarm = g.wait_event("Alarm", role="supervisor")
        assert f"{net.ip(1)}:2529" in alarm["text"] and "restart" in alarm["text"], alarm
        assert g.pids() == before
    g.conf.write_text(good)
    accepted(g)


def test_restart_from_every_address_to_one(gapura, net):
    """0.0.0.0 is in the way of an address of its own: a reload says so, a restart closes it first."""
    g = gapura(guard(net) + "listen wide {\n    address = 0.0.0.0:25530\n}\n")
    before = g.pids()
    g.write(guard(net) + f"listen wide {{\n    address = {net.ip(1)}:25530\n}}\n")
    code, _, said = g.ctl("reload", check=False, as_json=False)
    assert code == 1 and "0.0.0.0:25530" in said and "restart" in said, said
    g.signal(signal.SIGUSR2)
    until(lambda: g.pids() and all(p != before[r] for r, p in g.pids().items() if r in ROLES) or None, 60, "new roles")
    g.all_ready()
    assert refused((net.ip(2), 25530)) and not refused((net.ip(1), 25530))
    accepted(g)
