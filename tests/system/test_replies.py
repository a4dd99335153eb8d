"""Replies of next hops: the verb, patterns of one's own, and what events tell."""
import json
import subprocess

import pytest

from common import guard, trusted
from gapura import PROGRAM, until
from smtp import message


def replies(*words, stdin=""):
    done = subprocess.run([PROGRAM, "replies", *words], input=stdin, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words, says", [
    (["550 5.1.1 <a@b.example>: user unknown"], {"class": "InvalidRecipient", "hard": True, "scope": "recipient"}),
    (["550", "5.1.1", "user", "unknown"], {"class": "InvalidRecipient", "code": 550}),
    (["554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org"], {"class": "SpamBlock", "scope": "source"}),
    (["550 user unknown", "--host", "mfsmax.docomo.ne.jp"], {"class": "RecipientRefused", "hard": False}),
    (["450 4.2.0 come back later", "--phase", "rcpt"], {"class": "Greylisted"}),
])
def test_classify(words, says):
    status, out, _ = replies("classify", "--json", *words)
    assert status == 0
    got = json.loads(out)
    assert {k: got[k] for k in says} == says
    assert got["pattern"] and 0 < got["confidence"] < 100 and not got["advice"]["other_source"]


def test_classify_for_people_and_from_standard_input():
    status, out, _ = replies("classify", "552 mailbox full")
    assert status == 0 and out.startswith("QuotaIssues, soft, confidence") and "retry       later, after 1h" in out
    status, out, _ = replies("classify", "--json", stdin="550 user unknown\n\n421 too many connections\n")
    assert [json.loads(line)["class"] for line in out.splitlines()] == ["InvalidRecipient", "RateLimited"]


def test_list():
    status, out, _ = replies("list")
    rows = out.splitlines()
    assert status == 0 and len(rows) > 1000
    status, some, _ = replies("list", "Greylisted", "--json")
    assert status == 0 and {json.loads(row)["class"] for row in some.splitlines()} == {"Greylisted"}


@pytest.mark.parametrize("words", [["classify", "x", "--phase", "noon"], ["list", "--patterns", "/nowhere"],
                                   ["classify", "x", "--moon"]])
def test_wrong_words(words):
    status, out, err = replies(*words)
    assert status == 2 and not out and err.startswith("gapura: ")


OWN = "default\nlanguage house\nclass InactiveMailbox strong suppress=2d\n  the quokka sleeps\n"
BAD = "class Nothing\n  a\nclass SpamBlock retry=maybe\n"


def test_patterns_of_ones_own(place):
    own, bad = place / "own.conf", place / "bad.conf"
    own.write_text(OWN)
    bad.write_text(BAD)
    status, out, _ = replies("classify", "--patterns", str(own), "550 the quokka sleeps")
    assert status == 0 and "pattern     house: the quokka sleeps" in out and "suppress    recipient for 2d" in out
    status, out, err = replies("list", "--patterns", str(bad))
    assert status == 2 and not out
    assert "line 1: there is no such class" in err and "line 3: not understood" in err


def test_settings_events_and_reload(gapura, net, sink, place):
    """A file of one's own decides, a bad one is refused with each error, and the former stays."""
    own = place / "own.conf"
    own.write_text(OWN)
    sink(3, answers={"rcpt": "550 5.0.0 the quokka sleeps"})
    g = gapura(guard(net), delivery=f"replies = {own}\n")

    def bounce(name):
        with trusted(g) as c:
            assert c.mail("alice@example.com", f"{name}@outside.test", message()).code == 250
        return g.wait_event("Bounce", recipient=f"{name}@outside.test")

    event = bounce("one")
    assert event["bounce_classification"] == "InactiveMailbox" and event["bounce_type"] == "soft"
    assert event["bounce_pattern"] == "house: the quokka sleeps" and event["bounce_scope"] == "recipient"
    assert event["suppress"] == "recipient" and event["suppress_seconds"] == 2 * 86400
    own.write_text(BAD)
    status, _, said = g.ctl("reload", check=False)
    assert status != 0 and "line 1: there is no such class" in said and "line 3: not understood" in said
    assert bounce("two")["bounce_classification"] == "InactiveMailbox"
    own.write_text(OWN.replace("InactiveMailbox strong suppress=2d", "SpamBlock strong"))
    g.ctl("reload")
    event = bounce("three")
    assert event["bounce_classification"] == "SpamBlock" and "suppress" not in event


def test_unknown_replies_are_counted_by_shape(gapura, net, sink):
    """What no pattern knows: a line a shape, with an example, and an event when it is met often."""
    sink(3, answers={"rcpt": "550 5.0.0 the quokka sleeps"})
    g = gapura(guard(net), delivery="unknown_replies = 2\n")

    def listed(*words):
        return g.ctl("replies", "unknown", *words)[1]

    assert listed() == []
    with trusted(g) as c:
        for i in range(12):
            assert c.mail("alice@example.com", f"u{i}@outside.test", message()).code == 250
    event = g.wait_event("UnknownReply")
    assert event["count"] == 10 and event["code"] == 550 and "quokka" in event["shape"]
    assert "@" not in event["shape"] and event["bounce_classification"]
    # The reports of these go to the same server.
    until(lambda: len(g.events("Bounce")) >= 12 and listed()[0]["count"] == len(g.events("Bounce")))
    row, = listed()
    assert row["code"] == 550 and row["site"] == event["site"] and row["first"] <= row["last"]
    assert "quokka" in row["example"]
    assert listed("--site", "elsewhere.test") == []
    out = g.ctl("replies", "unknown", as_json=False)[1]
    assert "SHAPE" in out and "quokka" in out
