"""Strangers who make us ask: one network cannot take the resolver away from all others."""
import time

import pytest

from common import STRANGER, guard
from deaf import SILENT, Deaf
from gapura import until
from smtp import Closed, message


SURELY = 4  # transactions whose questions all fit below the ceilings used here


@pytest.fixture
def world(gapura, net, sink):
    """Each *.bad.test publishes ten terms whose servers never answer; far.test is as it should be."""
    made = []

    def answer(name, kind):
        if name.endswith("dead.test"):
            return SILENT
        if name.endswith(".bad.test"):
            label = name.split(".")[0]
            terms = " ".join(f"a:t{i}.{label}.dead.test" for i in range(10))
            return {"A": net.ip(77), "TXT": f"v=spf1 {terms} -all"}.get(kind, [])
        if name == "far.test":
            return {"A": "127.0.0.9", "MX": "far.test", "TXT": "v=spf1 ip4:127.0.0.0/8 -all"}.get(kind, [])
        return None

    def make(smtp=""):
        made.append(Deaf((net.ip(9), 5399), answer))
        g = gapura(guard(net), verify="on", smtp=smtp)
        g.inside = sink(2)
        return g, made[-1]
    yield make
    for each in made:
        each.stop()


def flood(g, dns, number, source, most):
    """Transactions that are begun and dropped; the code of each MAIL until one is put off.

    MAIL is answered before the policy is known: the next one waits until its ten names were asked.
    """
    codes = []

    def asked(i):
        return sum(name.endswith(f".n{number}-{i}.dead.test") for name, _ in list(dns.asked))

    with g.smtp(source=source) as c:
        c.ehlo()
        for i in range(most):
            try:
                codes.append(c.cmd(f"MAIL FROM:<x@n{number}-{i}.bad.test>"))
                if codes[-1].code != 250:
                    break
                if i < SURELY:
                    until(lambda i=i: asked(i) >= 10, what="ten questions")
                c.cmd("RSET")
            except Closed:
                break
    return codes


def test_silent_names_hold_up_only_the_one_who_sends_them(world):
    g, dns = world(smtp="lookups_per_network = 250")
    replies = flood(g, dns, 0, g.net.ip(STRANGER), 40)
    assert [r.code for r in replies[:-1]] == [250] * (len(replies) - 1)
    assert replies[-1].code == 451 and replies[-1].enhanced == "4.7.1", replies
    assert "look-ups" in replies[-1].text and "name servers" in replies[-1].text, "it says what to do"
    assert 8 <= len(replies) <= 30, "a hundred open questions of ten names each"
    for number in range(1, 20):  # the network's share is the next wall
        replies = flood(g, dns, number, g.net.ip(STRANGER), 12)
        if len(replies) == 1 and replies[0].code == 451:
            break
    assert number < 19 and replies[0].code == 451, "two sessions and a half of the network"
    begun = time.monotonic()
    with g.smtp(source="127.250.1.1") as c:  # somebody else
        c.ehlo()
        assert c.mail("ann@far.test", ["bob@inside.test"], message(sender="ann@far.test")).code == 250
    assert time.monotonic() - begun < 4, "others do not wait"
    event = g.wait_event("Reception", sender="ann@far.test")
    assert event["authentication"]["spf"][0]["result"] == "pass", event
    assert len([1 for name, _ in dns.asked if name.endswith("dead.test")]) > 200
    refused = g.wait_event("Rejection")["response"]
    assert refused["command"] == "MAIL" and refused["code"] == 451, refused


def test_a_message_that_asks_too_much_is_put_off_itself(world):
    g, _ = world(smtp="lookups_per_session = 5")
    with g.smtp(source=g.net.ip(STRANGER)) as c:
        c.ehlo()
        reply = c.mail("x@one.bad.test", ["bob@inside.test"], message(sender="x@one.bad.test"))
        assert reply.code == 451 and reply.enhanced == "4.7.1" and "look-ups" in reply.text, reply
    with g.smtp(source=g.net.ip(STRANGER)) as c:
        c.ehlo()
        assert c.mail("ann@far.test", ["bob@inside.test"], message(sender="ann@far.test")).code == 250


def test_transactions_without_a_message(world):
    g, _ = world(smtp="empty_mails_network = 3/1h")
    with g.smtp(source=g.net.ip(STRANGER)) as c:
        c.ehlo()
        for _ in range(3):
            assert c.cmd("MAIL FROM:<ann@far.test>").code == 250
            c.cmd("RSET")
        reply = c.cmd("MAIL FROM:<ann@far.test>")
        assert reply.code == 451 and "without a message" in reply.text, reply
    with g.smtp(source="127.250.1.1") as c:
        c.ehlo()
        assert c.mail("ann@far.test", ["bob@inside.test"], message(sender="ann@far.test")).code == 250
