"""Rewritten senders of forwarded mail: long ones and quoted ones too are whole at the next hop, and a
bounce to one comes back to whom it was made for.

    away@inside.test    forwarded to friend@outside.test, which is the sink at ip(3)
"""
import pytest

from common import TRUSTED, guard, stranger, trusted
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
        (place / "aliases").write_text("away: friend@outside.test\nnews: editor@outside.test\n")
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


def refuses(session, address):
    return "550 5.1.1 No such user" if address.startswith("friend@") else None


def test_whom_a_failure_is_told(world):
    """Submitted mail that an alias sends on and that is refused there: the address that was rewritten is no
    mailbox at the inside server, nor is a sender that is an alias of ours."""
    g = world()
    g.outside.answers["rcpt"] = refuses
    with trusted(g) as c:
        assert c.mail("ann@far.test", ["away@inside.test"], message(sender="ann@far.test")).code == 250
    told = g.outside.wait(1)[0]
    assert (told.sender, told.recipients) == ("", ["ann@far.test"]), told.recipients
    assert told.header("To") == ["<ann@far.test>"], told.headers
    with trusted(g) as c:
        assert c.mail("news@inside.test", ["friend@outside.test"], message(sender="news@inside.test")).code == 250
    told = g.outside.wait(2)[1]
    assert (told.sender, told.recipients) == ("", ["editor@outside.test"]), told.recipients
    with trusted(g) as c:
        assert c.mail("bob@inside.test", ["friend@outside.test"], message(sender="bob@inside.test")).code == 250
    assert g.inside.wait(1)[0].recipients == ["bob@inside.test"], "all others as they are"


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
