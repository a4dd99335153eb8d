"""The store's look-ups against a real slapd and a real Dovecot, without the program around them."""
import os
import signal
import subprocess
import time

import pytest

from gapura import PROGRAM, SLOW, freeze, until
from peers import Dovecot, Slapd

TOOL = PROGRAM.parent / "tests/directory"


class Tool:
    """One question a line, one answer a line; the connection to the server lives in between."""

    def __init__(self, *words):
        if not TOOL.exists():
            pytest.skip(f"{TOOL} was not built")
        self.process = subprocess.Popen([TOOL, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(30 * SLOW) == 0


@pytest.fixture
def tool():
    made = []

    def make(*words):
        made.append(Tool(*words))
        return made[-1]
    yield make
    for one in made:
        one.process.kill()
        one.process.wait()


PEOPLE = {"bob": "bob@example.com", "star": "star@example.com"}
BASE = "ou=people,dc=example,dc=com"


def test_ldap_lookups(tool, peer, net):
    peer(Slapd, (net.ip(8), 3899), PEOPLE)
    t = tool("ldap", f"ldap://{net.ip(8)}:3899/{BASE}??sub", "(mail=%s)", "", "")
    assert t.ask("bob@example.com") == "found 0"
    assert t.ask("BOB@example.com") == "found 0"
    assert t.ask("nobody@example.com") == "unknown 0"
    for hostile in ("*@example.com", "*", "bob@example.com)(uid=*", "b\\2ab@example.com", "(", "bob@example.com\x01"):
        assert t.ask(hostile) == "unknown 0", hostile
    t.end()


def test_ldap_forwarding_and_bind(tool, peer, net):
    peer(Slapd, (net.ip(8), 3899), PEOPLE)
    url = f"ldap://{net.ip(8)}:3899/{BASE}"
    t = tool("ldap", f"{url}?mail?one", "(uid=%u)", "cn=admin,dc=example,dc=com", "secret")
    assert t.ask("bob@other.example") == "found 1 bob@example.com"
    assert t.ask("bob@example.com") == "found 0", "an address that is the recipient's own is no forwarding"
    t = tool("ldap", f"{url}?mail?one", "(uid=%u)", "cn=admin,dc=example,dc=com", "wrong")
    assert t.ask("bob@other.example").startswith("temporary 0 the directory ldap://")
    t = tool("ldap", f"ldap://{net.ip(8)}:3899/dc=nowhere", "(uid=%u)", "", "")
    assert t.ask("bob@other.example").startswith("temporary 0"), "a wrong base is no proof of absence"
    t = tool("ldap", f"{url}??sub", "(mail=%s", "", "")
    assert t.ask("bob@example.com").startswith("temporary 0"), "nor is a broken filter"


def test_ldap_server_comes_and_goes(tool, peer, net):
    at = net.ip(8), 3899
    server = peer(Slapd, at, PEOPLE)
    t = tool("ldap", f"ldap://{net.ip(8)}:3899/{BASE}??sub", "(mail=%s)", "", "")
    assert t.ask("bob@example.com") == "found 0"
    freeze(server.process.pid)
    began = time.monotonic()
    assert t.ask("bob@example.com").startswith("temporary 0")
    assert time.monotonic() - began < 15 * SLOW, "a silent server is given up in bounded time"
    os.kill(server.process.pid, signal.SIGCONT)
    until(lambda: t.ask("bob@example.com") == "found 0", what="the answer of the server that woke")
    server.stop()
    assert t.ask("bob@example.com").startswith("temporary 0")
    server.start()
    assert t.ask("bob@example.com") == "found 0", "a new connection is made by itself"
    t.end()


def test_dovecot_passwords(tool, peer, net):
    box = peer(Dovecot, (net.ip(2), 2424), {"bob": "secret", "eve": "s\u00e9cret"})
    t = tool("dovecot", box.auth)
    assert t.ask("bob secret") == "ok bob"
    assert t.ask("Bob secret") == "ok bob", "Dovecot's own name for the user counts"
    assert t.ask("bob wrong").startswith("fail")
    assert t.ask("nobody secret").startswith("fail")
    assert t.ask("eve s\u00e9cret") == "ok eve"
    assert t.ask("bob x\tnologin\tuser=eve").startswith("fail"), "a tab is a letter of the password"
    t.end()


def test_dovecot_comes_and_goes(tool, peer, net):
    box = peer(Dovecot, (net.ip(2), 2424), {"bob": "secret"})
    t = tool("dovecot", box.auth)
    assert t.ask("bob secret") == "ok bob"
    box.stop()
    assert t.ask("bob secret").startswith("temporary")
    box.start()
    until(lambda: t.ask("bob secret") == "ok bob", what="the password, by a new connection")
    t.end()


def test_dovecot_absent(tool, place):
    t = tool("dovecot", place / "none")
    answer = t.ask("bob secret")
    assert answer.startswith("temporary") and str(place / "none") in answer
    t.end()
