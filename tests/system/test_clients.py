"""Clients that the world sends with: swaks, smtp-source, smtplib, curl, nodemailer and Postfix."""
import json
import os
import shutil
import smtplib
import subprocess
from pathlib import Path

import pytest

from common import STRANGER, TRUSTED, guard, stranger, submission, waits
from gapura import ROOT, until
from peers import Postfix, need
from smtp import message


def tool(*words, stdin=None, timeout=60, env=None, status=0, cwd=None):
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **(env or {})}, cwd=cwd)
    assert done.returncode == status, f"{words[0]}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture
def server(gapura, sink, net, authority):
    """Submission with a login alice@inside.test / "pass word"; all mail to the sink at ip(3)."""
    cert = authority.issue("mx.gapura.test")
    g = gapura(submission(net, cert), wait=waits(net))
    g.user("alice@inside.test", "pass word")
    g.out = sink(3)
    g.inside = sink(2)
    return g


def swaks(g, *words, status=0):
    need("swaks")
    return tool("swaks", "--server", g.net.ip(1), "--from", "alice@inside.test", "--to", "bob@outside.test",
                "--helo", "client.test", "--timeout", "20", *words, status=status)


def test_swaks_plain(server):
    swaks(server, "--port", 2525, "--to", "bob@inside.test", "--body", "from swaks")
    assert b"from swaks" in server.inside.wait(1)[0].data


def test_swaks_pipelining(server):
    swaks(server, "--port", 2525, "--pipeline", "--to", "bob@inside.test,carol@inside.test")
    assert len(server.inside.wait(1)[0].recipients) == 2


def test_swaks_xclient(gapura, sink, net):
    """A proxy names the client, in swaks' own words for it."""
    inside = sink(2)
    g = gapura(guard(net).replace("kind = trusted", f"kind = trusted\n    xclient = {net.ip(STRANGER)}/32"))
    with stranger(g) as c:
        assert c.cmd("XCLIENT ADDR=198.51.100.7 LOGIN=alice@inside.test").code == 501, "no such login"
        g.ctl("user", "add", "alice@inside.test", stdin="secret\n")
        until(lambda: c.cmd("XCLIENT ADDR=198.51.100.7 LOGIN=alice@inside.test").code == 220, what="the login")
    swaks(g, "--port", 2525, "--local-interface", net.ip(STRANGER), "--to", "bob@inside.test",
          "--xclient-addr", "198.51.100.7", "--xclient-name", "friend.far.test", "--xclient-port", "4711",
          "--xclient-helo", "said.far.test", "--xclient-login", "alice@inside.test")
    assert inside.wait(1)[0].header("Received")[0].startswith(
        "from said.far.test (friend.far.test [198.51.100.7])")
    event = g.wait_event("Reception")
    assert event["peer_address"]["addr"].startswith("198.51.100.7") and event["user"] == "alice@inside.test"


def test_swaks_refused(server):
    text = swaks(server, "--port", 2525, "--to", "bob@elsewhere.test", status=24)
    assert "550 5.7.1" in text


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_auth_after_starttls(server, mechanism):
    swaks(server, "--port", 2587, "--tls", "--auth", mechanism, "--auth-user", "alice@inside.test",
          "--auth-password", "pass word")
    one = server.out.wait(1)[0]
    assert one.recipients == ["bob@outside.test"] and "ESMTPSA" in one.header("Received")[0]


def test_swaks_tls_on_connect(server):
    swaks(server, "--port", 2465, "--tls-on-connect", "--auth", "PLAIN", "--auth-user", "alice@inside.test",
          "--auth-password", "pass word")
    server.out.wait(1)


def test_swaks_wrong_password(server):
    text = swaks(server, "--port", 2587, "--tls", "--auth", "PLAIN", "--auth-user", "alice@inside.test",
                 "--auth-password", "guess", status=28)
    assert "535 5.7.8" in text


def test_smtp_source_to_smtp_sink(gapura, net, peer, place):
    """Postfix's own load pair with us between them: all messages arrive, in many sessions."""
    for program in ("smtp-source", "smtp-sink"):
        need(program)
    dump = place / "dump"
    dump.mkdir()
    dump.chmod(0o777)
    sink = subprocess.Popen([shutil.which("smtp-sink", path="/usr/sbin:/usr/bin"), "-u", "nobody", "-d",
                             f"{dump}/%M.", f"{net.ip(3)}:2600", "256"], stdin=subprocess.DEVNULL)
    try:
        g = gapura(guard(net, networks=f"{net.prefix}.0/24, 127.0.0.1/32"))
        tool(shutil.which("smtp-source", path="/usr/sbin:/usr/bin"), "-s", 20, "-m", 500, "-l", 4096, "-c",
             "-f", "alice@inside.test", "-t", "bob@outside.test", "-M", "client.test", f"{net.ip(1)}:2525")
        g.wait_empty()
        assert len(g.events("Delivery")) == 500
        assert sum(1 for _ in dump.iterdir()) == 500
    finally:
        sink.terminate()
        sink.wait()


def test_smtplib_all(server, authority):
    with smtplib.SMTP(server.net.ip(1), 2587, "client.test", timeout=30) as c:
        c._host = "mx.gapura.test"
        c.starttls(context=authority.client())
        c.login("alice@inside.test", "pass word")
        c.sendmail("alice@inside.test", ["bob@outside.test"], message("plain", "alice@inside.test"))
        c.sendmail("alice@inside.test", ["bøb@outside.test"], message("grüße", "alice@inside.test").encode(),
                   ["SMTPUTF8", "BODY=8BITMIME"])
    one = next(m for m in server.out.wait(2) if m.recipients == ["bøb@outside.test"])
    assert "SMTPUTF8" in one.sender_args


def test_smtplib_tls_at_once(server, authority):
    context = authority.client()
    context.check_hostname = False
    with smtplib.SMTP_SSL(server.net.ip(1), 2465, "client.test", timeout=30, context=context) as c:
        c.login("alice@inside.test", "pass word")
        c.sendmail("alice@inside.test", ["bob@outside.test"], message(sender="alice@inside.test"))
    assert server.out.wait(1)[0].recipients == ["bob@outside.test"]


def test_smtplib_partly_refused(server):
    with smtplib.SMTP(server.net.ip(1), 2525, "client.test", timeout=30) as c:
        refused = c.sendmail("a@example.com", ["bob@inside.test", "bob@elsewhere.test"], message())
    assert list(refused) == ["bob@elsewhere.test"] and refused["bob@elsewhere.test"][0] == 550
    assert server.inside.wait(1)[0].recipients == ["bob@inside.test"]


def test_curl(server, authority, place):
    need("curl")
    mail = place / "mail"
    mail.write_text(message("by curl", "alice@inside.test").replace("\n", "\r\n"))
    common = ["curl", "-sS", "--mail-from", "alice@inside.test", "--mail-rcpt", "bob@outside.test", "--upload-file",
              mail, "--user", "alice@inside.test:pass word", "--cacert", authority.ca,
              "--resolve", f"mx.gapura.test:2587:{server.net.ip(1)}", "--resolve",
              f"mx.gapura.test:2465:{server.net.ip(1)}"]
    tool(*common, "--ssl-reqd", "smtp://mx.gapura.test:2587/client.test")
    tool(*common, "smtps://mx.gapura.test:2465/client.test")
    tool(*common, "--ssl-reqd", "--login-options", "AUTH=SCRAM-SHA-256", "smtp://mx.gapura.test:2587/client.test",
         status=0 if "GSASL" in tool("curl", "-V") else 67)
    got = server.out.wait(2)
    assert all("by curl" in m.headers for m in got)


def node_path():
    folder = ROOT / "tests/system/node"
    if (folder / "node_modules/nodemailer").is_dir():
        return str(folder / "node_modules")
    if Path("/usr/share/nodejs/nodemailer").is_dir():
        return "/usr/share/nodejs"
    pytest.skip("nodemailer is not there (tools/install-deps test)")


@pytest.mark.parametrize("case", ["pool", "attachments", "smtputf8", "dsn", "requiretls", "wrapped"])
def test_nodemailer(server, authority, case):
    need("node")
    given = {"host": server.net.ip(1), "port": 2465 if case == "wrapped" else 2587, "case": case,
             "user": "alice@inside.test", "pass": "pass word", "ca": str(authority.ca)}
    text = tool("node", ROOT / "tests/system/node/send.js", json.dumps(given), env={"NODE_PATH": node_path()})
    said = json.loads(text.splitlines()[-1])
    count = {"pool": 40}.get(case, 1)
    got = server.out.wait(count)
    assert said["accepted"] == count and len(got) == count
    assert all(m.sender == "alice@inside.test" for m in got)
    if case == "pool":
        assert sorted(m.header("Subject")[0] for m in got) == sorted(f"pooled {i}" for i in range(count))
    if case == "attachments":
        assert b"name=\"data.bin\"" in got[0].data or b"filename=data.bin" in got[0].data
        assert len(got[0].data) > 270000
    if case == "smtputf8":
        assert got[0].recipients == ["bøb@outside.test"] and "SMTPUTF8" in got[0].sender_args
    if case == "dsn":
        assert "RET=HDRS" in got[0].sender_args and "ENVID=nodemailer-1" in got[0].sender_args
        assert "NOTIFY=" in got[0].recipient_args[0]
    if case in ("requiretls", "wrapped"):
        assert "ESMTPSA" in got[0].header("Received")[0]


def test_postfix_sends_to_us(server, peer, authority):
    """Postfix with its defaults (pipelining, chunking, STARTTLS when offered) relays to us."""
    mta = peer(Postfix, (server.net.ip(5), 2525), (server.net.ip(1), 2525),
               extra=f"smtp_bind_address = {server.net.ip(TRUSTED)}\nsmtp_tls_security_level = may\n")
    count = 30
    with smtplib.SMTP(*mta.at, "client.test", timeout=30) as c:
        for i in range(count):
            body = "x" * 500 + "\n.\n..two\n" + "y" * 990 + "\n"
            c.sendmail("alice@inside.test", ["bob@outside.test", "carol@inside.test"], message(f"by postfix {i}", body=body))
    got = server.out.wait(count)
    assert {m.header("Subject")[0] for m in got} == {f"by postfix {i}" for i in range(count)}
    assert all(b"\r\n.\r\n..two\r\n" in m.data for m in got)
    server.inside.wait(count)
    server.wait_empty()
