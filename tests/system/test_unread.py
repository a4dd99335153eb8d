"""A disk that does not give one segment: its mail waits, everything else goes on, and it is delivered
when the disk gives it."""
from common import guard
from gapura import until
from smtp import Smtp
from test_roles import TEXT


def send(net, rcpt):
    with Smtp((net.ip(1), 2525), source=net.ip(100)) as c:
        assert c.greeting.code == 220
        c.ehlo()
        assert c.mail("alice@example.com", rcpt, TEXT).code == 250


def test_header_that_cannot_be_read(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net), delivery="hold = yes\n")
    send(net, "old@inside.test")
    until(lambda: len(g.queue()) == 1, what="one row")
    g.stop()
    with_mail = [f for f in (g.dir / "spool" / "seg").glob("*.seg") if b"old@inside.test" in f.read_bytes()]
    assert len(with_mail) == 1, with_mail
    file, away = with_mail[0], with_mail[0].with_suffix(".away")
    file.rename(away)
    file.mkdir(mode=0o755)  # it opens, and every read of it fails
    g.write(g.text, delivery="")
    g.start()
    alarm = g.wait_event("Alarm", timeout=60, role="courier")
    assert file.name in alarm["text"] and "waits" in alarm["text"], alarm
    send(net, "new@inside.test")
    assert inside.wait(1)[0].recipients == ["new@inside.test"]
    before = g.pids()
    file.rmdir()
    away.rename(file)
    until(lambda: len(inside.messages) == 2, 90, "what waited")
    assert inside.messages[1].recipients == ["old@inside.test"]
    now = g.pids()
    assert now["courier"] != before["courier"] and now["spooler"] == before["spooler"], (before, now)
    g.wait_empty()
