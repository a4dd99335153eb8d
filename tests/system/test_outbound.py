"""The courier: submission, rights, next hosts, TLS, retries, reports, sources and fairness."""
import re

import pytest

from common import guard, submission, trusted, waits
from gapura import until
from sink import ALL, CLOSE
from smtp import message

NO_CHUNKING = [word for word in ALL if word != "CHUNKING"]


@pytest.fixture
def server(gapura, net, authority):
    """Submission with the login alice@inside.test / secret; no sink is running yet."""
    def make(extra="", rest=None, delivery="", senders="", **words):
        cert = authority.issue("mx.gapura.test")
        g = gapura(submission(net, cert, extra=extra), wait=waits(net), delivery=delivery, **words)
        g.user("alice@inside.test", "secret", *(["--senders", senders] if senders else []))
        return g
    return make


def login(g, authority, mechanism="PLAIN", user="alice@inside.test", password="secret"):
    """A submission session after STARTTLS, and the reply to AUTH."""
    c = g.smtp(port=2587)
    c.ehlo()
    assert c.starttls(authority.client()).code == 220
    c.ehlo()
    return c, c.auth(mechanism, user, password)


# Submission.

@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
def test_auth(server, sink, authority, mechanism):
    out = sink(3)
    g = server()
    c, reply = login(g, authority, mechanism)
    assert reply.code == 235 and mechanism in c.extensions["AUTH"]
    assert c.mail("alice@inside.test", "bob@outside.test", message(sender="alice@inside.test")).code == 250
    assert out.wait(1)[0].sender == "alice@inside.test"


def test_scram_first(gapura, net):
    """No certificate in the settings, no PLAIN before: OpenSSL must be ready in the keyring all the same."""
    g = gapura(guard(net) + f"""
listen submission {{
    address = {net.ip(1)}:2587
    kind = submission
    auth_without_tls = yes
}}
""", wait=[(net.ip(1), 2525), (net.ip(1), 2587)])
    g.ctl("user", "add", "alice@inside.test", stdin="secret\n")

    def known():
        with g.smtp(port=2587) as c:
            c.ehlo()
            return c.auth("SCRAM-SHA-256", "alice@inside.test", "secret").code == 235
    until(known, what="the login taken")
    assert not [row for row in g.status() if row.get("restarts")]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
def test_auth_wrong(server, authority, mechanism):
    g = server(smtp="auth_failure_delay = 300ms")
    for user, password in (("alice@inside.test", "guess"), ("nobody@inside.test", "secret")):
        c, reply = login(g, authority, mechanism, user, password)
        assert reply.code == 535 and reply.enhanced == "5.7.8", reply
        c.close()


def test_auth_only_under_tls(server):
    g = server()
    with g.smtp(port=2587) as c:
        c.ehlo()
        assert "AUTH" not in c.extensions and "STARTTLS" in c.extensions
        reply = c.auth("PLAIN", "alice@inside.test", "secret")
        assert reply.code in (503, 530, 538) and reply.code != 235, reply
        assert c.cmd("MAIL FROM:<alice@inside.test>").code == 530
    with g.smtp() as c:
        c.ehlo()
        assert "AUTH" not in c.extensions, "never on port 25"


def test_nothing_without_auth(server, authority):
    g = server()
    with g.smtp(port=2587) as c:
        c.ehlo()
        c.starttls(authority.client())
        c.ehlo()
        reply = c.cmd("MAIL FROM:<alice@inside.test>")
        assert reply.code == 530 and reply.enhanced == "5.7.0", reply


def test_bytes_before_tls_are_dropped(server, authority):
    g = server()
    with g.smtp(port=2587) as c:
        c.ehlo()
        c.send("STARTTLS\r\nNOOP\r\nRSET\r\n")
        reply = c.reply()
        assert reply.code in (220, 501, 503, 554), reply
        if reply.code == 220:
            c.buffer = b""
            c.sock = authority.client().wrap_socket(c.sock, server_hostname="mx.gapura.test")
            assert c.ehlo().lines[0].startswith("mx.gapura.test")
            c.sock.settimeout(0.3)
            with pytest.raises(OSError):
                c.reply()


def test_sender_rights(server, sink, authority):
    out = sink(3)
    g = server(senders="inside.test")
    c, _ = login(g, authority)
    reply = c.cmd("MAIL FROM:<ceo@elsewhere.test>")
    assert reply.code in (550, 553) and reply.enhanced == "5.7.1", reply
    assert c.mail("news@inside.test", "bob@outside.test", message(sender="news@inside.test")).code == 250
    reply = c.mail("news@inside.test", "bob@outside.test", message(sender="ceo@elsewhere.test"))
    assert reply.code in (550, 553) and reply.enhanced == "5.7.1", "the From field counts too"
    assert len(out.wait(1)) == 1


def test_missing_fields_are_added_on_submission_only(server, sink, authority):
    out, inside = sink(3), sink(2)
    g = server()
    c, _ = login(g, authority)
    bare = "From: <alice@inside.test>\nSubject: bare\n\nx\n"
    assert c.mail("alice@inside.test", "bob@outside.test", bare).code == 250
    one = out.wait(1)[0]
    assert len(one.header("Message-ID")) == 1 and len(one.header("Date")) == 1
    with g.smtp(source=g.net.ip(50)) as s:
        s.ehlo()
        assert s.mail("a@example.com", "bob@inside.test", bare).code == 250
    one = inside.wait(1)[0]
    assert not one.header("Message-ID") and not one.header("Date")


# Delivery.

def test_two_domains_two_ways(server, sink, authority):
    out, inside = sink(3), sink(2)
    g = server()
    c, _ = login(g, authority)
    assert c.mail("alice@inside.test", ["bob@outside.test", "carol@inside.test"], message(sender="alice@inside.test")).code == 250
    assert out.wait(1)[0].recipients == ["bob@outside.test"]
    assert inside.wait(1)[0].recipients == ["carol@inside.test"]
    g.wait_empty()


def test_pipelining_and_chunking(gapura, sink, net):
    out = sink(3)
    g = gapura(guard(net), delivery="max_sessions_per_site = 1\n")
    text = message(body="\n".join([".", "..", "x" * 998, "end"]) + "\n")
    with trusted(g) as c:
        for _ in range(3):
            assert c.mail("alice@example.com", ["a@outside.test", "b@outside.test"], text).code == 250
    got = out.wait(3)
    assert all(m.data.endswith(text.replace("\n", "\r\n").encode()) for m in got)
    assert out.sessions == 1, "one connection is used again"


@pytest.mark.parametrize("extensions", [[], ["PIPELINING"], ["CHUNKING"], ["SIZE 1000000", "8BITMIME"]])
def test_servers_with_less(gapura, sink, net, extensions):
    out = sink(3, extensions=extensions)
    g = gapura(guard(net))
    text = message(body=".\n..\nz\n")
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", text).code == 250
    assert out.wait(1)[0].data.endswith(text.replace("\n", "\r\n").encode())


def test_helo_fallback(gapura, sink, net):
    out = sink(3, answers={"ehlo": ["502 5.5.1 what", "250 sink.test"]})
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    out.wait(1)


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt", "data", "dot"])
def test_temporary_failure_is_tried_again(gapura, sink, net, stage):
    later = {"connect": "421 4.3.2 later"}.get(stage, "451 4.3.0 later")
    out = sink(3, answers={stage: [later, None]}, extensions=NO_CHUNKING if stage == "data" else ALL)
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    assert out.wait(1)[0].recipients == ["a@outside.test"]
    event = g.wait_event("TransientFailure")
    assert str(event["response"]["code"]) == later[:3], event
    g.wait_event("Delivery")
    g.wait_empty()
    assert len(out.messages) == 1


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
def test_permanent_failure_is_reported(gapura, sink, net, stage):
    """The report goes to the sender (trusted, so authenticated) as RFC 3464 says."""
    def answer(session, argument):
        """Refuses all but the report, which has the null sender."""
        report = argument.startswith("FROM:<>") if stage == "mail" else \
            (argument if stage == "dot" else session.now).sender == ""
        return None if report else "550 5.1.1 <a@outside.test>: no such user"
    out = sink(3, answers={stage: answer}, extensions=NO_CHUNKING if stage == "data" else ALL)
    g = gapura(guard(net))
    text = message("wanted back")
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", text).code == 250
    report = out.wait(1)[0]
    assert report.sender == "" and report.recipients == ["alice@example.com"]
    assert "multipart/report" in report.header("Content-Type")[0] and "delivery-status" in report.header("Content-Type")[0]
    body = report.body.decode()
    assert re.search(r"(?im)^Action: failed", body) and re.search(r"(?im)^Status: 5\.1\.1", body)
    assert re.search(r"(?im)^Final-Recipient: rfc822; ?a@outside\.test", body)
    assert re.search(r"(?im)^Diagnostic-Code: smtp; ?550 5\.1\.1", body)
    assert "wanted back" in body
    g.wait_event("Bounce", recipient="a@outside.test")


def test_report_to_nobody(gapura, sink, net):
    """Mail with the null sender that fails is settled without a report."""
    sink(3, answers={"rcpt": "550 5.1.1 no"})
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("", "a@outside.test", message()).code == 250
    g.wait_event("Bounce")
    g.wait_empty()


def test_dsn_options(gapura, sink, net):
    """RFC 3461: passed on where the next host knows DSN; else NOTIFY=SUCCESS is answered here."""
    plain, able = sink(3, extensions=["PIPELINING", "8BITMIME"]), sink(4)
    g = gapura(guard(net, extra=f"route able {{\n domains = able.test\n via = smtp://{net.ip(4)}:2600\n}}\n"))
    with trusted(g) as c:
        assert "DSN" in c.extensions
        args = "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+40able.test"
        assert c.mail("alice@example.com", "b@able.test", message(), "RET=HDRS ENVID=QQ314159", args).code == 250
        one = able.wait(1)[0]
        assert "RET=HDRS" in one.sender_args and "ENVID=QQ314159" in one.sender_args
        assert "NOTIFY=SUCCESS,FAILURE" in one.recipient_args[0] and "ORCPT=rfc822;b" in one.recipient_args[0]
        assert c.mail("alice@example.com", "b@outside.test", message(), "RET=HDRS ENVID=QQ2", "NOTIFY=SUCCESS").code == 250
    report = next(m for m in plain.wait(2) if m.sender == "")
    body = report.body.decode()
    assert "Action: relayed" in body and "Original-Envelope-Id: QQ2" in body


def test_notify_never(gapura, sink, net):
    out = sink(3, answers={"rcpt": lambda s, to: "550 5.1.1 no" if to.startswith("a@") else None})
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message(), "", "NOTIFY=NEVER").code == 250
    g.wait_event("Bounce")
    g.wait_empty()
    assert not out.messages


def test_expiry(gapura, sink, net):
    out = sink(3, answers={"rcpt": lambda s, to: "450 4.2.0 full" if to.startswith("a@") else None})
    g = gapura(guard(net), delivery="expire = 2s\n")
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    g.wait_event("Expiration", recipient="a@outside.test")
    report = out.wait(1)[0]
    assert report.recipients == ["alice@example.com"] and re.search(r"(?m)^Status: 4\.|^Status: 5\.4\.7", report.body.decode())


def test_delay_is_told_once(gapura, sink, net):
    out = sink(3, answers={"rcpt": lambda s, to: "450 4.2.0 full" if to.startswith("a@") else None})
    g = gapura(guard(net), delivery="warn_after = 1s\nexpire = 30m\n")
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message(), "", "NOTIFY=DELAY").code == 250
    report = out.wait(1)[0]
    assert "Action: delayed" in report.body.decode()
    g.wait_event("TransientFailure", count=4)
    assert len(out.messages) == 1


# TLS outwards.

def test_opportunistic_tls(gapura, sink, net, authority):
    cert = authority.issue("out.test")
    out = sink(3, tls=authority.server(cert))
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    assert out.wait(1)[0].tls == "TLSv1.3"
    event = g.wait_event("Delivery")
    assert any(k.startswith("tls") for k in event), event


def test_tls_handshake_fails_goes_plain(gapura, sink, net):
    """Opportunistic: a server whose STARTTLS is broken still gets the mail."""
    import ssl
    broken = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # no certificate: every handshake fails
    out = sink(3, tls=broken)
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    assert out.wait(1)[0].tls is None


@pytest.mark.parametrize("case", ["require, none offered", "verify, another name"])
def test_required_tls(gapura, sink, net, authority, case):
    mode = case.partition(",")[0]
    out = sink(3, tls=None if mode == "require" else authority.server(authority.issue("other.test")))
    via = f"via = smtp://{net.ip(3)}:2600"
    text = guard(net).replace(via, f"{via}\n    tls = {mode}")
    g = gapura(text, delivery=f"tls_ca = {authority.ca}\n")
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    event = g.wait_event("TransientFailure")
    assert "tls" in str(event).lower(), event
    assert not out.messages and g.queue()


@pytest.mark.parametrize("case", ["verified", "allowed"])
def test_smart_host_with_auth_and_wrapped_tls(gapura, sink, net, authority, place, case):
    """The password is shown to who proved to be the host, or to anybody if the settings say so."""
    cert = authority.issue(net.ip(3) if case == "verified" else "smart.test")
    out = sink(3, wrapped=authority.server(cert), users={"us": "pass"})
    (place / "password").write_text("pass\n")
    text = guard(net).replace(f"via = smtp://{net.ip(3)}:2600",
                              f"via = smtp://{net.ip(3)}:2600\n    tls_wrapped = yes\n"
                              f"    tls = {'verify' if case == 'verified' else 'require'}\n"
                              f"    auth_unverified = {'yes' if case == 'allowed' else 'no'}\n"
                              f"    user = us\n    password_file = {place}/password")
    g = gapura(text, delivery=f"tls_ca = {authority.ca}\n")
    with trusted(g) as c:
        assert c.mail("alice@example.com", "a@outside.test", message()).code == 250
    one = out.wait(1)[0]
    assert one.user == "us" and one.tls


# Sources, tenants, fairness.

def sources(net):
    return f"""
tenant gold {{
    number = 7
    pool = gold
}}
source plain {{
    address = {net.ip(30)}
    ehlo = plain.gapura.test
}}
source golden {{
    address = {net.ip(31)}
    ehlo = golden.gapura.test
    exclusive = gold
}}
pool gold {{
    sources = golden
}}
"""


def test_exclusive_source(server, sink, authority, net):
    out = sink(3)
    g = server(extra=sources(net) + "user alice@inside.test {\n tenant = gold\n}\n")
    c, _ = login(g, authority)
    assert c.mail("alice@inside.test", "bob@outside.test", message(sender="alice@inside.test")).code == 250
    one = out.wait(1)[0]
    assert (one.peer, one.helo) == (net.ip(31), "golden.gapura.test")
    with trusted(g) as c:
        for i in range(5):
            assert c.mail("x@example.com", "bob@outside.test", message()).code == 250
    others = out.wait(6)[1:]
    assert {(m.peer, m.helo) for m in others} == {(net.ip(30), "plain.gapura.test")}
    assert ", tenant gold" in g.ctl("explain", "alice@inside.test", as_json=False)[1]
    assert "tenant" not in g.ctl("explain", "x@example.com", as_json=False)[1]


def test_weighted_sources(gapura, sink, net):
    out = sink(3)
    names = "".join(f"source s{i} {{\n address = {net.ip(30 + i)}\n ehlo = s{i}.gapura.test\n}}\n" for i in (1, 2))
    g = gapura(guard(net, extra=names + "pool default {\n sources = s1*3, s2\n}\n"),
               delivery="messages_per_session = 1\nmax_sessions_per_site = 1\n")
    with trusted(g) as c:
        for i in range(40):
            assert c.mail("x@example.com", f"b{i}@outside.test", message()).code == 250
    got = out.wait(40)
    share = sum(m.peer == net.ip(31) for m in got)
    assert 24 <= share <= 36, f"{share} of 40 from the source of weight 3 of 4"


def test_retry_keeps_source_and_ids(gapura, sink, net):
    """Greylisting: the second attempt looks like the first."""
    tries = []

    def grey(session, to):
        tries.append((session.peer, session.helo, session.now.sender))
        return "450 4.7.1 greylisted" if len(tries) == 1 else None
    out = sink(3, answers={"rcpt": grey})
    names = "".join(f"source s{i} {{\n address = {net.ip(30 + i)}\n ehlo = s{i}.gapura.test\n}}\n" for i in range(4))
    g = gapura(guard(net, extra=names))
    with trusted(g) as c:
        assert c.mail("x@example.com", "b@outside.test", message()).code == 250
    out.wait(1)
    assert tries[0] == tries[1], tries


def test_slow_destination_holds_nobody(gapura, sink, net):
    sink(4, delay={"connect": 60})
    out = sink(3)
    g = gapura(guard(net, extra=f"route slow {{\n domains = slow.test\n via = smtp://{net.ip(4)}:2600\n}}\n"))
    with trusted(g) as c:
        for i in range(60):
            assert c.mail("x@example.com", f"b{i}@slow.test", message()).code == 250
        assert c.mail("x@example.com", "b@outside.test", message()).code == 250
    out.wait(1, 10)


def test_connection_lost_after_dot_is_told_as_unknown(gapura, sink, net):
    """The one place where SMTP cannot know: tried again with the same Message-ID, and counted."""
    seen = []

    def drop(session, got):
        seen.append(got)
        return CLOSE if len(seen) == 1 else None
    out = sink(3, answers={"dot": drop})
    g = gapura(guard(net))
    with trusted(g) as c:
        assert c.mail("x@example.com", "b@outside.test", message()).code == 250
    out.wait(1)
    assert seen[0].header("Message-ID") == seen[1].header("Message-ID") and seen[0].data == seen[1].data
    g.wait_event("Delivery")


def test_session_limits(gapura, sink, net):
    out = sink(3, delay={"dot": 0.05})
    g = gapura(guard(net), delivery="max_sessions_per_site = 3\n")
    with trusted(g) as c:
        for i in range(60):
            assert c.mail("x@example.com", f"b{i}@outside.test", message()).code == 250
    out.wait(60)
    assert out.most_open <= 3


def test_tenant_rate(server, authority, sink):
    sink(3)
    g = server(extra="tenant small {\n number = 9\n rate = 3/1h\n}\nuser alice@inside.test {\n tenant = small\n}\n")
    c, _ = login(g, authority)
    codes = [c.mail("alice@inside.test", "bob@outside.test", message(sender="alice@inside.test")) for _ in range(5)]
    assert [r.code for r in codes[:3]] == [250] * 3 and codes[-1].code == 452, codes


def test_private_addresses_by_mx_are_refused_unless_routed(gapura, net):
    """No zone at all here: the domain's DNS fails, so the mail waits with that reason."""
    text = guard(net).replace(f"via = smtp://{net.ip(3)}:2600", "via = mx")
    g = gapura(text)
    with trusted(g) as c:
        assert c.mail("", "b@outside.test", message()).code == 250
    g.wait_event("TransientFailure")
    row = until(lambda: g.queue(), what="a waiting row")[0]
    assert row["reason"], row
