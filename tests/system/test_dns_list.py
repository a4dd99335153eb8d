"""DNS lists against zones that NSD serves: what they find, that they alone refuse nobody, and what is told when one is sick."""
import pytest

from common import guard
from peers import Nsd
from smtp import Smtp, message

PUBLIC = "9.3.2.1"  # who the proxy says is calling: lists are not asked about 127.0.0.0/8

LISTS = """
dns_list main {
    zone = bl.list.test
    codes = 127.0.0.2 spam, 127.0.0.4-7 exploit
}
dns_list names {
    zone = dom.list.test
    of = sender
    codes = 127.0.1.2 phish
}
"""
GOOD = """
2.0.0.127.bl.list.test. IN A 127.0.0.2
test.dom.list.test. IN A 127.0.1.2
1.2.3.9.bl.list.test. IN A 127.0.0.2
bad.test.dom.list.test. IN A 127.0.1.2
far.test. IN A 9.3.2.1
bad.test. IN A 9.3.2.1
"""


@pytest.fixture
def world(gapura, peer, net, sink):
    def make(zone, extra):
        peer(Nsd, (net.ip(9), 5399), zone)
        g = gapura(guard(net, extra=f"""
listen front {{
    address = {net.ip(1)}:2526
    kind = inbound
    proxy = {net.ip(60)}/32
}}
{extra}"""), verify="on")
        g.inside = sink(2)
        return g
    return make


def send(g, client=PUBLIC, sender="ann@far.test"):
    """Through a balancer: the reply, and what was found by the check."""
    with Smtp((g.net.ip(1), 2526), source=g.net.ip(60), before=f"PROXY TCP4 {client} 192.0.2.1 4000 25\r\n".encode()) as c:
        c.ehlo()
        reply = c.mail(sender, ["bob@inside.test"], message(sender=sender))
    event = g.wait_event("Reception", sender=sender)
    return reply, {(f["list"], f["name"]): f for f in event.get("findings", []) if f["check"] == "dns_list"}, event


def test_listed_is_weighed_and_never_refused_by_lists_alone(world):
    g = world(GOOD, LISTS + "check dns_list {\n mode = on\n}\n")
    reply, found, event = send(g, sender="x@bad.test")
    assert reply.code == 250, reply
    assert set(found) == {("main", "spam"), ("names", "phish")}, event
    assert found["main", "spam"]["input"] == PUBLIC and found["main", "spam"]["rule"] == "127.0.0.2"
    assert found["main", "spam"]["weight"] == 300 and event["verdict"] in ("pass", "tag"), event
    shown = g.ctl("explain", event["id"], as_json=False)[1]
    assert "dns_list.spam" in shown and "main" in shown, shown
    reply, found, _ = send(g, client="9.3.2.9", sender="bob@far.test")
    assert reply.code == 250 and not found


def test_observed_by_default(world):
    g = world(GOOD, LISTS)
    reply, found, event = send(g)
    assert reply.code == 250 and found["main", "spam"]["observed"], event


@pytest.mark.parametrize("zone,words", [
    ("*.bl.list.test. IN A 127.0.0.2\n", "lists everybody"),
    ("*.bl.list.test. IN A 127.255.255.254\n", "does not serve public resolvers"),
    ("*.bl.list.test. IN A 198.51.100.7\n", "no list's answer"),
    ("1.2.3.9.bl.list.test. IN A 127.0.0.2\n", "own test entry"),
])
def test_a_sick_list_finds_nothing_and_is_told(world, zone, words):
    g = world(zone + "far.test. IN A 9.3.2.1\n", LISTS.split("dns_list names")[0] + "check dns_list {\n mode = on\n}\n")
    reply, found, _ = send(g)
    assert reply.code == 250 and not found
    alarm = g.wait_event("Alarm")
    assert "the DNS list main" in alarm["text"] and words in alarm["text"], alarm
    reply, found, _ = send(g, client="9.3.2.2", sender="bob@far.test")
    assert reply.code == 250 and not found
    assert len(g.events("Alarm")) == 1, "said once"
