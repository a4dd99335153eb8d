"""Where DNS says mail goes: every case of MX, from a zone served by NSD."""
import re

import pytest

from common import guard, trusted
from gapura import until
from peers import Nsd, need_root
from smtp import message

SENDER = "alice@reports.test"


@pytest.fixture
def world(gapura, peer, net, sink, authority):
    """A zone, MX routing to hosts on port 25 of ip(40) to ip(46), reports to the sink at ip(3)."""
    def make(extra="", private=True, delivery=""):
        need_root("mail exchangers listen on port 25")
        ip = net.ip
        peer(Nsd, (ip(9), 5399), f"""
two.test. IN MX 10 dead.two.test.
two.test. IN MX 20 live.two.test.
dead.two.test. IN A {ip(41)}
live.two.test. IN A {ip(40)}
implicit.test. IN A {ip(40)}
null.test. IN MX 0 .
alias.test. IN CNAME two.test.
cname.test. IN MX 10 cname.hosts.test.
cname.hosts.test. IN CNAME live.two.test.
self.test. IN MX 10 better.self.test.
self.test. IN MX 20 mx.gapura.test.
self.test. IN MX 30 worse.self.test.
better.self.test. IN A {ip(40)}
worse.self.test. IN A {ip(42)}
onlyus.test. IN MX 10 mx.gapura.test.
mx.gapura.test. IN A {ip(1)}
loop.test. IN MX 10 localhost.loop.test.
localhost.loop.test. IN A 127.0.0.1
rfc1918.test. IN MX 10 host.rfc1918.test.
host.rfc1918.test. IN A 10.9.8.7
nothing.test. IN TXT "no address, no MX"
noaddress.test. IN MX 10 nowhere.noaddress.test.
equal.test. IN MX 10 a.equal.test.
equal.test. IN MX 10 b.equal.test.
a.equal.test. IN A {ip(40)}
b.equal.test. IN A {ip(43)}
v6.test. IN MX 10 host.v6.test.
host.v6.test. IN AAAA ::1
host.v6.test. IN A {ip(40)}
numeric.test. IN MX 10 192.0.2.1.
loopcname.test. IN CNAME loopcname2.test.
loopcname2.test. IN CNAME loopcname.test.
reports.test. IN A {ip(3)}
{extra}
""")
        text = guard(net).replace(f"via = smtp://{ip(3)}:2600",
                                  f"via = mx\n    allow_private = {'yes' if private else 'no'}")
        text += f"route reports {{\n domains = reports.test\n via = smtp://{ip(3)}:2600\n}}\n"
        g = gapura(text, dns=f"{ip(9)}:5399", delivery=delivery)
        g.reports = sink(3)
        return g
    return make


def send(g, to, sender=SENDER):
    with trusted(g) as c:
        reply = c.mail(sender, to, message(sender=sender or "x@x.test"))
        assert reply.code == 250, reply


def failed(g, to):
    """The status and text of the report about `to`."""
    report = g.reports.wait(1)[0]
    body = report.body.decode()
    assert f"Final-Recipient: rfc822; {to}" in body or f"Final-Recipient: rfc822;{to}" in body
    until(lambda: g.events("Bounce", recipient=to) + g.events("Expiration", recipient=to), what="the event")
    return re.search(r"(?m)^Status: (\S+)", body).group(1), body


@pytest.mark.parametrize("domain", ["implicit.test", "two.test", "alias.test", "cname.test"])
def test_reached(world, sink, domain):
    live = sink(40, 25)
    g = world()
    send(g, f"bob@{domain}")
    assert live.wait(1)[0].recipients == [f"bob@{domain}"]
    g.wait_empty()


def test_null_mx(world):
    g = world()
    send(g, "bob@null.test")
    assert failed(g, "bob@null.test")[0] == "5.1.10"
    assert g.events("Bounce", recipient="bob@null.test")[0]["bounce_classification"] == "DomainRefusesMail"


def test_domain_does_not_exist(world):
    g = world()
    send(g, "bob@never-heard-of.test")
    status, _ = failed(g, "bob@never-heard-of.test")
    assert status in ("5.1.2", "5.4.4"), status


def test_domain_without_mail(world):
    g = world()
    send(g, "bob@nothing.test")
    assert failed(g, "bob@nothing.test")[0] in ("5.1.2", "5.4.4", "5.1.10")


def test_ourselves_in_the_set(world, sink):
    """Only the better host may be used, also when it is away: never the worse one."""
    worse = sink(42, 25)
    g = world()
    send(g, "bob@self.test")
    g.wait_event("TransientFailure", count=2)
    better = sink(40, 25)
    assert better.wait(1)[0].recipients == ["bob@self.test"]
    assert worse.sessions == 0


def test_only_ourselves(world):
    g = world()
    send(g, "bob@onlyus.test")
    assert failed(g, "bob@onlyus.test")[0] == "5.4.6"


@pytest.mark.parametrize("domain", ["loop.test", "rfc1918.test", "implicit.test"])
def test_private_hosts_are_refused(world, sink, domain):
    live = sink(40, 25)
    g = world(private=False)
    send(g, f"bob@{domain}")
    status, body = failed(g, f"bob@{domain}")
    assert status.startswith("5.") and live.sessions == 0, body


def test_equal_hosts_share(world, sink):
    a, b = sink(40, 25), sink(43, 25)
    g = world(delivery="messages_per_session = 1\nmax_sessions_per_site = 4\n")
    for i in range(40):
        send(g, f"bob{i}@equal.test", "")
    until(lambda: len(a.messages) + len(b.messages) == 40, what="40 messages")
    assert a.messages and b.messages


def test_v6_without_reverse_name_is_left_out(world, sink):
    live = sink(40, 25)
    g = world()
    send(g, "bob@v6.test")
    live.wait(1)


@pytest.mark.parametrize("domain", ["noaddress.test", "numeric.test", "loopcname.test"])
def test_broken_dns_ends(world, domain):
    """No usable host: a report, at once or when `expire_nodomain` is over, never a crash or a loop."""
    g = world(delivery="expire_nodomain = 2s\n")
    send(g, f"bob@{domain}")
    status, _ = failed(g, f"bob@{domain}")
    assert status[0] in "45", status


def test_verified_tls(world, sink, authority):
    """tls = verify wants the MX host's name in a certificate of a known authority."""
    good = sink(40, 25, tls=authority.server(authority.issue("live.two.test")))
    g = world(delivery=f"tls_ca = {authority.ca}\n")
    g.stop()
    g.write(g.text.replace("allow_private = yes", "allow_private = yes\n    tls = verify"))
    g.start()
    send(g, "bob@two.test")
    assert good.wait(1)[0].tls == "TLSv1.3"
    send(g, "bob@implicit.test")
    g.wait_event("TransientFailure")
    assert len(good.messages) == 1, "the certificate is for another name"


def test_one_site_one_session(world, sink):
    """Two domains with the same exchangers are one site: connections are shared."""
    live = sink(40, 25)
    g = world(extra="""
first.test. IN MX 10 live.two.test.
second.test. IN MX 10 live.two.test.
""", delivery="max_sessions_per_site = 1\nidle_session = 20s\n")
    send(g, "bob@first.test", "")
    live.wait(1)
    send(g, "bob@second.test", "")
    live.wait(2)
    assert live.sessions == 1


def test_nothing_leaves(gapura, sink, net, place):
    """A lab without a network: all of DNS is local, hosts have a port of their own, all else is refused."""
    live = sink(40, 2625)
    zone = place / "zone"
    zone.write_text(f"local-zone: . static\nnear.test. IN MX 10 mx.near.test.\nmx.near.test. IN A {net.ip(40)}\n"
                    "far.test. IN MX 10 mx.far.test.\nmx.far.test. IN A 192.0.2.1\n")
    text = guard(net).replace(f"via = smtp://{net.ip(3)}:2600", "via = mx\n    allow_private = yes")
    text += f"dns {{\n local_data = {zone}\n}}\nroute named {{\n domains = named.test\n via = smtp://192.0.2.2:25\n}}\n"
    g = gapura(text, dns="none", delivery=f"mx_port = 2625\n    only_to = {net.ip(0)}/24")
    send(g, "bob@near.test")
    assert live.wait(1)[0].recipients == ["bob@near.test"]
    send(g, "bob@far.test", "")
    send(g, "bob@named.test", "")
    send(g, "bob@[192.0.2.3]", "")
    send(g, "bob@nowhere.test", "")
    until(lambda: len([r for r in g.queue() if "only_to" in r.get("reason", "")]) == 3, what="three rows that say why")
    g.wait_event("Bounce", recipient="bob@nowhere.test")
    assert not [e for e in g.events("TransientFailure") if "192.0.2" in str(e.get("peer_address", ""))]
