"""sendmail, mailq, newaliases: programs of this machine send by a Unix socket."""
import os
import pwd
import re
import shutil
import smtplib
import socket
import subprocess

import pytest

from common import guard
from gapura import PROGRAM, until
from peers import need

EX_OK, EX_USAGE, EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM = 0, 64, 65, 67, 69, 75, 77
ORIGIN = "inside.test"


class Local:
    """The commands under their names, and a server with a local listener."""

    def __init__(self, g, place):
        self.g = g
        self.bin = place / "bin"
        self.bin.mkdir()
        for name in ("sendmail", "mailq", "newaliases"):
            (self.bin / name).symlink_to(PROGRAM)
        self.env = {**os.environ, "GAPURA_SUBMIT": f"unix:{g.dir}/run/submit", "GAPURA_RUN_DIR": f"{g.dir}/run"}

    def run(self, name, *words, text=b"", env=None, **more):
        text = text.encode() if isinstance(text, str) else text
        return subprocess.run([self.bin / name, *map(str, words)], input=text, capture_output=True, timeout=60,
                              env={**self.env, **(env or {})}, **more)

    def send(self, *words, text="Subject: one\n\nbody\n", status=EX_OK, **more):
        done = self.run("sendmail", *words, text=text, **more)
        assert done.returncode == status, f"{words}: {done.returncode}: {done.stderr.decode()}"
        return done


def settings(net, dir, domain="recipients = any", users="all", extra=""):
    return guard(net, domain, extra=f"""
listen local {{
    kind = local
    socket = {dir}/run/submit
    users = {users}
}}
{extra}
""")


@pytest.fixture
def local(gapura, sink, net, place):
    g = gapura(settings(net, place), wait=[(net.ip(1), 2525)])
    g.inside, g.out = sink(2), sink(3)
    return Local(g, place)


def qualified(name):
    """What a name without a domain becomes: the machine's mail name, else the server's."""
    try:
        with open("/etc/mailname", encoding="ascii") as f:
            return f"{name}@{f.readline().strip()}"
    except OSError:
        return f"{name}@mx.gapura.test"


def at_sink(local, recipient="bob@inside.test", n=1):
    return (local.g.inside if recipient.endswith("@inside.test") else local.g.out).wait(n)[n - 1]


def test_plain(local):
    local.send("bob@inside.test")
    one = at_sink(local)
    me = pwd.getpwuid(os.getuid()).pw_name
    assert one.recipients == ["bob@inside.test"] and one.sender == qualified(me)
    assert f"(local uid {os.getuid()})" in one.header("Received")[0]
    for field in ("From", "Date", "Message-ID"):
        assert len(one.header(field)) == 1, field
    assert b"\r\n\r\nbody\r\n" in one.data
    event = local.g.wait_event("Reception", listener="local")
    assert event["user"] == f"uid {os.getuid()}"


def test_gapura_send_is_the_same(local):
    done = subprocess.run([PROGRAM, "send", "-f", "a@inside.test", "bob@inside.test"], input=b"Subject: x\n\ny\n",
                          env=local.env, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert at_sink(local).sender == "a@inside.test"


@pytest.mark.parametrize("words, sender", [
    (["-fann@inside.test"], "ann@inside.test"), (["-f", "ann@inside.test"], "ann@inside.test"),
    (["-r", "<ann@inside.test>"], "ann@inside.test"), (["-f", ""], ""), (["-f<>"], ""),
])
def test_sender_forms(local, words, sender):
    local.send(*words, "bob@inside.test")
    assert at_sink(local).sender == sender


def test_recipients_of_the_header(local):
    """Groups, folded lines, comments; Bcc is read and taken away."""
    local.send("-t", "-i", text="""From: Ann <ann@inside.test>
To: "Doe, Bob" <bob@inside.test>, carol@inside.test (a comment, with (more) in it),
 Friends: dave@inside.test, "e f"@inside.test;
cc: bob@inside.test
Bcc: secret@inside.test,
\thidden@inside.test
Subject: to many

hello
""")
    one = at_sink(local)
    assert sorted(one.recipients) == sorted(["bob@inside.test", "carol@inside.test", "dave@inside.test",
                                             '"e f"@inside.test', "secret@inside.test", "hidden@inside.test"])
    assert b"secret" not in one.data and b"hidden" not in one.data and b"Friends" in one.data


def test_resent_recipients_alone(local):
    local.send("-t", text="To: old@inside.test\nResent-To: new@inside.test\nFrom: a@inside.test\n\nx\n")
    assert at_sink(local).recipients == ["new@inside.test"]


def test_many_recipients_of_one_field(local):
    people = ",\n ".join(f"p{i}@inside.test" for i in range(250))
    local.send("-t", text=f"To: {people}\nFrom: a@inside.test\n\nx\n")
    until(lambda: sum(len(m.recipients) for m in local.g.inside.messages) == 250, what="all 250")


def test_names_without_a_domain(local):
    local.send("-t", text="From: root (Cron Daemon)\nTo: Bob <bob@inside.test>, \"carol\" <carol@inside.test>\n"
                          "Reply-To: help\n\nx\n")
    one = at_sink(local)
    assert one.header("From")[0] == qualified("root") + " (Cron Daemon)"
    assert one.header("Reply-To")[0] == qualified("help")
    assert one.header("To")[0] == 'Bob <bob@inside.test>, "carol" <carol@inside.test>'


def test_full_name(local):
    local.send("-F", 'Ann "the" One', "-fann@inside.test", "bob@inside.test")
    assert at_sink(local).header("From")[0] == '"Ann \\"the\\" One" <ann@inside.test>'
    local.send("-FÄnn", "-fann@inside.test", "bob@inside.test")
    assert at_sink(local, n=2).header("From")[0] == "=?UTF-8?B?w4Rubg==?= <ann@inside.test>"


def test_dot_ends_unless_told_not_to(local):
    text = "Subject: dots\n\none\n.\ntwo\n..three\n"
    local.send("bob@inside.test", text=text)
    assert at_sink(local).data.endswith(b"\r\n\r\none\r\n")
    for option in ("-i", "-oi"):
        local.send(option, "bob@inside.test", text=text)
    for n in (2, 3):
        assert at_sink(local, n=n).data.endswith(b"one\r\n.\r\ntwo\r\n..three\r\n")


@pytest.mark.parametrize("text, body", [
    (b"Subject: x\r\n\r\na\r\nb\r\n", b"\r\n\r\na\r\nb\r\n"),
    (b"Subject: x\n\na\r\r\nb\rc\n", b"\r\n\r\na\r\nb\r\nc\r\n"),
    (b"Subject: x\n\na\0b\n", b"\r\n\r\nab\r\n"),
    (b"Subject: x\n\nno end", b"\r\n\r\nno end\r\n"),
    (b"no header at all\nsecond\n", b"\r\n\r\nno header at all\r\nsecond\r\n"),
    (b"From root Mon Nov 23 06:44:24 2026\nSubject: x\n\na\n", b"\r\n\r\na\r\n"),
    (b"Subject: x\n\n" + b"y" * 300 + b"\n", b"\r\n\r\n" + b"y" * 300 + b"\r\n"),
    ("Subject: x\n\nä€\n".encode(), "\r\n\r\nä€\r\n".encode()),
    (b"\nbody alone\n", b"\r\n\r\nbody alone\r\n"),
    (b"", b"\r\n\r\n"),
], ids=["crlf", "bare-cr", "nul", "no-end", "no-header", "mbox", "long", "8bit", "empty-header", "empty"])
def test_line_ends(local, text, body):
    local.send("-i", "bob@inside.test", text=text)
    data = at_sink(local).data
    assert data.endswith(body), data
    assert b"\r" not in data.replace(b"\r\n", b"") and b"\n" not in data.replace(b"\r\n", b"")


def test_no_field_is_smuggled_by_a_bare_cr(local):
    local.send("-t", text=b"To: bob@inside.test\nSubject: a\rBcc: evil@inside.test\n\nx\n")
    one = at_sink(local)
    assert one.recipients == ["bob@inside.test"] and one.header("Subject") == ["a Bcc: evil@inside.test"]


def test_large_message(local):
    text = b"Subject: large\n\n" + b"0123456789abcdef" * 4 * 1024 * 16 + b"\n" + b"line\n" * 400000
    local.send("bob@inside.test", text=text)
    assert len(at_sink(local).data) > 2_900_000


def test_classic_options(local):
    """What cron, mailers and scripts put in front of the recipients, all at once."""
    local.send("-i", "-oem", "-odb", "-oi", "-B8BITMIME", "-bm", "-G", "-U", "-m", "-n", "-h", "5", "-L", "tag", "-Am",
               "-C", "/nowhere", "-X", "/nowhere", "-em", "-NSUCCESS,delay", "-R", "hdrs", "-V", "env1",
               "--", "bob@inside.test")
    at_sink(local)


def test_cron(local):
    """Debian's cron: exactly its command line, and the header that it writes."""
    local.send("-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root@inside.test",
               text="From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> /bin/false\nMIME-Version: 1.0\n"
                    "Content-Type: text/plain; charset=UTF-8\nX-Cron-Env: <LOGNAME=root>\n\nout\n.\nput\n")
    one = at_sink(local)
    assert b"\r\nout\r\n.\r\nput\r\n" in one.data and one.header("To")[0] == qualified("root")


def test_php_mail(local, place):
    need("php")
    code = 'exit(mail("bob@inside.test", "from PHP", "line one\\nline two", "From: web@inside.test\\r\\nBcc: c@inside.test")' \
           ' ? 0 : 1);'
    done = subprocess.run(["php", "-n", "-d", f"sendmail_path={local.bin}/sendmail -t -i", "-r", code], env=local.env,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    one = at_sink(local)
    assert sorted(one.recipients) == ["bob@inside.test", "c@inside.test"] and one.header("Subject") == ["from PHP"]
    assert b"c@inside.test" not in one.data


def test_mailx(local, place):
    need("bsd-mailx")
    rc = place / "mailrc"
    rc.write_text(f"set sendmail={local.bin}/sendmail\n")
    done = subprocess.run(["bsd-mailx", "-n", "-s", "from mailx", "-c", "carol@inside.test", "bob@inside.test"],
                          input=b"hello\n", env={**local.env, "MAILRC": str(rc)}, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    one = at_sink(local)
    assert sorted(one.recipients) == ["bob@inside.test", "carol@inside.test"]


def test_smtp_on_standard_input(local):
    """-bs with pipelined input, as mutt and others speak it."""
    done = local.send("-bs", text="EHLO me\r\nMAIL FROM:<a@inside.test>\r\nRCPT TO:<bob@inside.test>\r\nDATA\r\n"
                                  "Subject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n")
    assert b"\r\n250 2.0.0" in done.stdout and b"\r\n221 " in done.stdout, done.stdout
    assert at_sink(local).sender == "a@inside.test"


def test_smtp_on_standard_input_by_turns(local):
    """-bs with a program that waits for each reply before it goes on, as PHP's mailers do."""
    with subprocess.Popen([local.bin / "sendmail", "-bs"], env=local.env, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as talk:
        try:
            os.set_blocking(talk.stdout.fileno(), False)

            def answer(command, code):
                talk.stdin.write(command)
                talk.stdin.flush()
                said = b""

                def whole():
                    nonlocal said
                    said += talk.stdout.read() or b""
                    return re.search(rb"^%d [^\r]*\r\n\Z" % code, said, re.M)
                until(whole, 20, f"{code} to {command}")
            answer(b"", 220)
            for command, code in ((b"EHLO me\r\n", 250), (b"MAIL FROM:<a@inside.test>\r\n", 250),
                                  (b"RCPT TO:<bob@inside.test>\r\n", 250), (b"DATA\r\n", 354),
                                  (b"Subject: x\r\n\r\nhi\r\n.\r\n", 250), (b"QUIT\r\n", 221)):
                answer(command, code)
            assert talk.wait(20) == 0
        finally:
            talk.kill()
    assert at_sink(local).sender == "a@inside.test"


def test_smtp_on_standard_input_in_one_go(gapura, sink, net, place):
    """Far more commands than replies fit on their way: the gate waits until they are read, and so they are."""
    sink(2)
    g = gapura(settings(net, place), wait=[(net.ip(1), 2525)], smtp="max_rcpts = 100000\n    max_unread_replies = 16 KB")
    commands = "".join(f"RCPT TO:<a-name-of-some-length-{i:06}@inside.test>\r\n" for i in range(8000))
    text = f"EHLO me\r\nMAIL FROM:<a@inside.test>\r\n{commands}RSET\r\nQUIT\r\n"
    done = Local(g, place).send("-bs", text=text)
    assert done.stdout.count(b"\r\n250 2.1.5 ") == 8000 and b"\r\n221 " in done.stdout


def test_limits_of_a_user(gapura, sink, net, place):
    """Sessions of one uid are counted; a session that ends makes room."""
    sink(2)
    g = gapura(settings(net, place), wait=[(net.ip(1), 2525)], smtp="sessions_per_uid = 2")
    path = str(place / "run/submit")

    def greeting():
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(path)
        return sock, sock.recv(100).decode()
    (first, one), (second, two), (_, three) = greeting(), greeting(), greeting()
    assert one.startswith("220 ") and two.startswith("220 ") and three.startswith("421 4.3.2")
    Local(g, place).send("bob@inside.test", status=EX_TEMPFAIL)
    first.close()
    until(lambda: greeting()[1].startswith("220 "), what="room for another session")
    second.close()


def test_verbose_shows_the_dialogue(local):
    done = local.send("-v", "bob@inside.test")
    assert b">>> RCPT TO:<bob@inside.test>" in done.stderr and b"<<< 250 " in done.stderr


@pytest.mark.parametrize("words, text, status, said", [
    (["-Z"], "", EX_USAGE, "no such option"), (["-bd"], "", EX_USAGE, "gapura run"),
    (["-bv", "x@y.test"], "", EX_USAGE, "no such mode"), ([], "", EX_USAGE, "no recipient"),
    (["-t"], "Subject: x\n\nx\n", EX_USAGE, "no recipients"), (["-N", "often", "x@y.test"], "", EX_USAGE, "-N wants"),
    (["a b@x.test"], "x\n", EX_USAGE, "no recipient"), (["-f", "a@@b", "x@y.test"], "x\n", EX_USAGE, "cannot be a sender"),
    (["-t"], "To: not <an address\n\nx\n", EX_DATAERR, "field To"),
    (["b@x.test"], "X: " + "y" * 300000 + "\n\nx\n", EX_DATAERR, "header is over"),
    (["-f"], "", EX_USAGE, "value is missing"),
], ids=["option", "daemon", "verify", "nobody", "empty-header", "notify", "recipient", "sender", "field", "header", "value"])
def test_wrong_use(local, words, text, status, said):
    done = local.send(*words, text=text, status=status)
    assert said in done.stderr.decode(), done.stderr
    assert not local.g.inside.messages and not local.g.queue()


def test_refusals_have_their_statuses(gapura, sink, net, place):
    """All or nothing: the one who is known gets nothing either."""
    (place / "people").write_text("bob\n")
    g = gapura(settings(net, place, f"recipients = table\n    recipient_table = {place}/people"),
               wait=[(net.ip(1), 2525)], smtp="max_size = 65536")
    g.inside = sink(2)
    local = Local(g, place)
    done = local.send("bob@inside.test", "nobody@inside.test", status=EX_NOUSER)
    assert b"nobody@inside.test was refused, nothing was sent: 550 5.1.1" in done.stderr
    done = local.send("bob@inside.test", text="Subject: x\n\n" + "0123456789\n" * 7000, status=EX_DATAERR)
    assert b"SIZE" in done.stderr
    local.send("bob@inside.test")
    g.inside.wait(1)
    assert len(g.inside.messages) == 1


def test_server_down(local):
    local.g.stop()
    done = local.send("bob@inside.test", status=EX_TEMPFAIL)
    assert b"nothing was sent" in done.stderr
    done = local.send("-bs", text="QUIT\r\n", status=EX_TEMPFAIL)
    assert done.stdout.startswith(b"421 4.3.0 ")
    local.g.start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_other_users(local):
    who = pwd.getpwnam("nobody")
    shutil.copy(PROGRAM, local.bin / "sendmail-copy")
    (local.bin / "sendmail").unlink()
    (local.bin / "sendmail-copy").rename(local.bin / "sendmail")
    local.send("bob@inside.test", user=who.pw_uid, group=who.pw_gid, extra_groups=[])
    one = at_sink(local)
    assert one.sender == qualified("nobody") and f"(local uid {who.pw_uid})" in one.header("Received")[0]
    done = local.run("mailq", user=who.pw_uid, group=who.pw_gid, extra_groups=[])
    assert done.returncode in (EX_NOPERM, EX_UNAVAILABLE) or b"empty" in done.stdout
    # From now on for the group only: a reload changes who may open the socket.
    local.g.write(settings(local.g.net, local.g.dir, users="group"))
    local.g.ctl("reload", as_json=False)
    done = local.send("bob@inside.test", user=who.pw_uid, group=who.pw_gid, extra_groups=[], status=EX_NOPERM)
    assert b"group gapura" in done.stderr


def test_socket_over_reloads(local):
    """Gone when the settings no longer name it, back when they do."""
    path = local.g.dir / "run/submit"
    local.g.write(guard(local.g.net))
    local.g.ctl("reload", as_json=False)
    assert not path.exists()
    local.g.write(settings(local.g.net, local.g.dir))
    local.g.ctl("reload", as_json=False)
    local.send("bob@inside.test")
    at_sink(local)


def test_settings_of_a_local_listener(gapura, net, place):
    g = gapura(settings(net, place), wait=[(net.ip(1), 2525)])
    for text, said in (("kind = local", "has no socket"),
                       (f"kind = local\nsocket = {place}/s\naddress = 127.0.0.1:1", "no address"),
                       (f"address = 127.0.0.1:1\nsocket = {place}/s", "is not of kind local"),
                       ("kind = inbound", "has no address"),
                       (f"kind = local\nsocket = {place}/{'x' * 120}", "at most 103 bytes")):
        g.write(guard(net) + f"listen odd {{\n{text}\n}}\n")
        code, printed = g.check()
        assert code != 0 and said in printed, printed


def test_mailq_and_newaliases(local):
    done = local.run("mailq")
    assert (done.returncode, done.stdout) == (0, b"Mail queue is empty\n"), done.stderr
    local.g.out.stop()
    local.send("-f", "ann@inside.test", "one@outside.test", "two@outside.test")
    until(lambda: len(local.g.queue()) == 2, what="two recipients waiting")

    def explained():
        text = local.run("sendmail", "-bp").stdout.decode()
        return text if "refused" in text else None
    text = until(explained, what="a reason in mailq")
    lines = text.splitlines()
    assert lines[0].startswith("-Queue ID-") and lines[1].endswith(" ann@inside.test")
    assert [line.split()[-1] for line in lines if "@outside.test" in line] == ["one@outside.test", "two@outside.test"]
    assert lines[-1] == "-- 0 Kbytes in 1 Request."
    for words in (["newaliases"], ["sendmail", "-bi"], ["sendmail", "-I"], ["sendmail", "-q"]):
        assert local.run(*words).returncode == 0
    local.g.ctl("queue", "remove", "--all", "--reason", "the test is over")
