"""Rewritten senders of forwarded mail: long ones and quoted ones too are whole at the next hop, and a
bounce to one comes back to whom it was made for.

    away@inside.test    forwarded to friend@outside.test, which is the sink at ip(3)
"""
import pytest

from common import TRUSTED, guard, stranger
from smtp import message

SENDERS = [
    "ann@far.test",
    '"ann smith"@far.test',
    '"a@b"@far.test',
    "bounces+1234567-ab12cd34-firstname.lastname=company-of-some-length.co.id@em1234.far.test",
    "SRS0=XjO9=2V=first.test=ann@hop.test",
    "SRS1=none@hop.test",
]
# Longer than RFC 5321's 64 before the @, as reply addresses of services are.
REPLY = "reply+" + "AAAE2QQ7ZTHM" * 8 + "@service.test"


@pytest.fixture
def world(gapura, net, sink, place):
    def make(settings=""):
        (place / "secret").write_bytes(b"0123456789abcdef")
        (place / "aliases").write_text("away: friend@outside.test\n")
        g = gapura(guard(net, f"recipients = any\naliases = {place}/aliases\n",
                         extra=f"srs {{\n domain = fwd.inside.test\n secret = {place}/secret\n}}\n" + settings))
        g.inside, g.outside = sink(2), sink(3)
        return g
    return make


def test_there_and_back(world):
    g = world()
    for n, sender in enumerate(SENDERS):
        with stranger(g) as c:
            assert c.mail(sender, ["away@inside.test"], message(sender="ann@far.test")).code == 250
        there = g.outside.wait(2 * n + 1)[-1]
        assert there.sender.strip('"').startswith("SRS"), there.sender
        with stranger(g) as c:
            reply = c.mail("", [there.sender], message(sender="mailer-daemon@outside.test"))
            assert reply.code == 250, (sender, there.sender, reply)
        back = g.outside.wait(2 * n + 2)[-1]
        want = "SRS0=XjO9=2V=first.test=ann@hop.test" if sender.startswith("SRS0") else sender
        assert back.recipients == [want], (there.sender, back.recipients)


def test_long_local_part(world):
    g = world()
    with g.smtp(source=g.net.ip(TRUSTED)) as c:
        c.ehlo()
        assert c.mail("bob@inside.test", [REPLY], message(sender="bob@inside.test")).code == 250
    assert g.outside.wait(1)[0].recipients == [REPLY]


def test_local_part_as_the_rfc_has_it(world):
    g = world("smtp {\n max_local_part = 64\n}\n")
    with stranger(g) as c:
        reply = c.cmd(f"MAIL FROM:<{REPLY}>")
        assert reply.code == 501 and "too long" in str(reply), reply
