"""gapura import postfix: what comes out stands the check, carries what it can, and says what it could not."""
import subprocess
from pathlib import Path

import pytest

from gapura import PROGRAM

MASTER = """
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
submissions inet n - y - - smtpd
  -o smtpd_tls_wrappermode=yes
pickup    unix  n       -       y       60      1       pickup
maildrop  unix  -       n       n       -       -       pipe flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}
"""


class Import:
    def __init__(self, place, main, master=MASTER, out=True, **files):
        self.dir = place / "postfix"
        self.dir.mkdir()
        for name, text in files.items():
            (self.dir / name).write_text(text)
        (self.dir / "main.cf").write_text(main.replace("@", str(self.dir) + "/"))
        if master:
            (self.dir / "master.cf").write_text(master)
        self.out = place / "new.conf"
        done = subprocess.run([PROGRAM, "import", "postfix", self.dir, *(["-o", self.out] if out else [])],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        self.summary = done.stderr
        if not out:
            self.out.write_text(done.stdout)
        self.text = self.out.read_text()
        self.lines = [" ".join(line.split()) for line in self.text.splitlines()]

    def check(self):
        done = subprocess.run([PROGRAM, "check", "-c", self.out], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr + self.text

    def block(self, head):
        """Lines of the block, without indent."""
        at = next(i for i, line in enumerate(self.lines) if line.startswith(head + " {"))
        return self.lines[at + 1:self.lines.index("}", at)]

    def notes(self, name):
        return [line for line in self.lines if line.startswith(f"# {name}: ")]


def test_relay(place):
    """A gateway before a mail server: transports, recipients, a smart host with a login."""
    one = Import(place, """
# comment
myhostname = mx.example.com
mydomain = example.com
mydestination =
relay_domains = $mydomain, hash:@relay
transport_maps = hash:@transport
relay_recipient_maps = hash:@recipients
mynetworks = 127.0.0.0/8 [::1]/128
# a comment within

  192.0.2.0/24, 2001:db8::/32
relayhost = [smart.example.net]:587
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = hash:@sasl
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = encrypt
message_size_limit = 20480000
recipient_delimiter = +
smtp_bind_address = 192.0.2.1
smtp_helo_name = out.example.com
""", relay="example.org  OK\nbackup.example OK\n", transport="example.com smtp:[192.0.2.9]\n"
                 "example.org lmtp:inet:10.0.0.1:2400\nfar.example relay:[far.example.net]:26\nuser@far.example smtp:[x.example]\n"
                 ".deep.example :\nbad.example error:gone\n",
                 recipients="bob@example.com OK\nann@example.com OK\n@example.org OK\n",
                 sasl="[smart.example.net]:587 us:secr:et\n")
    one.check()
    assert "hostname = mx.example.com" in one.lines
    assert "trusted = 127.0.0.0/8, ::1/128, 192.0.2.0/24, 2001:db8::/32" in one.lines
    assert one.block("domain example.com") == ["inside = smtp://192.0.2.9:25", "recipients = table",
                                               "recipient_table = recipients-example.com", 'delimiter = "+"']
    assert (place / "recipients-example.com").read_text() == "bob@example.com\nann@example.com\n"
    assert one.block("domain example.org")[:2] == ["inside = lmtp://10.0.0.1:2400", "recipients = any"]
    assert "role = backup" in one.block("domain backup.example")
    assert one.block("route transport1") == ["domains = far.example", "via = smtp://far.example.net:26"]
    assert one.block("route transport2") == ["domains = .deep.example", "via = mx"]
    assert one.block("route rest") == ["domains = *", "via = smtp://smart.example.net:587", "tls = require",
                                       'user = "us"', "password_file = password-relayhost",
                                       "auth_unverified = yes"]
    assert "as Postfix did" in one.notes("smtp_sasl_security_options")[0]
    password = place / "password-relayhost"
    assert password.read_text() == "secr:et" and password.stat().st_mode & 0o777 == 0o600
    assert "secr:et" not in one.text + one.summary
    assert "max_size = 20480000" in one.lines and "address = 192.0.2.1" in one.block("source postfix")
    assert "subdomains" in one.notes("relay_domains")[0]
    assert len(one.notes("transport_maps")) == 2 and "maildrop" in " ".join(one.notes("master.cf"))
    assert f"{sum(1 for line in one.lines if line.startswith('# ') and ': ' in line)}" and "settings carried over" in one.summary


def test_hosting(place):
    """Virtual domains with Dovecot behind, aliases, restrictions, milters."""
    one = Import(place, """
myhostname = host.example.net
mydestination = localhost, $myhostname
virtual_mailbox_domains = a.example b.example
virtual_mailbox_maps = hash:@mailboxes
virtual_transport = lmtp:unix:private/dovecot-lmtp
virtual_alias_maps = hash:@virtual, mysql:/etc/postfix/mysql.cf
alias_maps = hash:@aliases
myorigin = a.example
smtpd_recipient_restrictions = permit_mynetworks,
    reject_unauth_destination
    reject_rbl_client zen.example.org,
    check_policy_service unix:private/policy, check_sender_access hash:/etc/postfix/senders,
    reject_unverified_recipient
smtpd_milters = inet:localhost:8891
smtpd_tls_cert_file = /nowhere/cert.pem
maximal_queue_lifetime = 3d
my_own_thing = 7
""", mailboxes="ann@a.example x\nbob@b.example y\n",
                 virtual="info@a.example ann, bob@b.example\n@b.example ann@a.example\nalias.example anything\n"
                         "x@alias.example away@elsewhere.example\n",
                 aliases="postmaster: root\nroot: ann@a.example,\n  bob\nprog: \"|/usr/bin/program\"\n")
    one.check()
    a = one.block("domain a.example")
    assert a[0] == "inside = lmtp:/var/spool/postfix/private/dovecot-lmtp" and "aliases = aliases-a.example" in a
    assert (place / "aliases-a.example").read_text() == "info: ann@a.example, bob@b.example\n"
    assert (place / "aliases-b.example").read_text() == "@b.example: ann@a.example\n"
    assert (place / "aliases-alias.example").read_text() == "x: away@elsewhere.example\n"
    assert "recipient_table = recipients-none" in one.block("domain alias.example")
    assert (place / "aliases-host.example.net").read_text() == \
        "postmaster: root@host.example.net\nroot: ann@a.example, bob@host.example.net\n"
    assert "prog" in one.notes("alias_maps")[0] and "mysql" in one.notes("virtual_alias_maps")[0]
    said = " ".join(one.notes("smtpd_recipient_restrictions"))
    for word in ("zen.example.org", "a block dns_list", "of = client", "check_policy_service", "check_sender_access", "recipients = callout"):
        assert word in said
    assert "permit_mynetworks" not in said
    for name in ("smtpd_milters", "smtpd_tls_cert_file", "maximal_queue_lifetime", "my_own_thing", "local_transport"):
        assert one.notes(name), name
    assert any("srs" in line for line in one.notes("virtual_alias_maps"))


def test_to_standard_output_without_tables(place):
    one = Import(place, "myhostname = mx.example.com\nrelay_domains = example.com\n"
                        "parent_domain_matches_subdomains = mynetworks\nrelay_recipient_maps = hash:@r\n"
                        "relay_transport = relay:[192.0.2.1]\nvirtual_alias_maps = hash:@v\n", out=False,
                 r="bob@example.com x\n", v="a@example.com b@example.com\n")
    one.check()
    assert "recipients = callout" in one.block("domain example.com") and not one.notes("relay_domains")
    assert "-o FILE" in one.notes("relay_recipient_maps")[0] and "-o FILE" in one.notes("virtual_alias_maps")[0]


def test_expansion(place):
    """Conditionals, nesting, loops that must end, $$, and parentheses."""
    one = Import(place, """
myhostname = ${hostpart}.$(base)
hostpart = ${flag?{yes}:{no}}
flag = x
base = ${missing:example}.${none?never}com
loop = $loop2
loop2 = ${loop}
message_size_limit = ${loop}30000
relay_domains = ${flag?$base}
relay_transport = relay:[mail.$base]
""", master=None)
    one.check()
    assert "hostname = yes.example.com" in one.lines and "max_size = 65536" in one.lines
    assert one.block("domain example.com")[0] == "inside = smtp://mail.example.com:25"


def test_interfaces_and_certificates(place, authority):
    cert, key = authority.issue("mx.example.com")
    one = Import(place, f"""
myhostname = mx.example.com
inet_interfaces = 192.0.2.7, ::1, localhost
inet_protocols = ipv4
mynetworks =
smtpd_tls_chain_files = {key}, {cert}
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
""", master="smtp inet n - y - 1 postscreen\n127.0.0.1:10025 inet n - n - - smtpd\n"
                           "465 inet n - y - - smtpd -o smtpd_tls_wrappermode=yes\nqmqp inet n - n - - qmqpd\n")
    assert "address = 192.0.2.7:25, 127.0.0.1:25" in one.block("listen postfix1")
    assert "kind = inbound" in one.block("listen postfix1")
    assert "address = 127.0.0.1:10025" in one.block("listen postfix2")
    assert "kind = submissions" in one.block("listen postfix3") and "qmqp" in one.notes("master.cf")[0]


@pytest.mark.parametrize("name", ["main.cf.debian", "main.cf.dist", "main.cf.tls"])
def test_files_of_the_package(place, name):
    """What Debian's Postfix comes with, and the main.cf that its postinst makes of it."""
    found = Path("/usr/share/postfix") / name
    if not found.exists():
        pytest.skip(f"{found} is not there: Postfix is not installed")
    text = "\n".join(line for line in found.read_text().splitlines() if not line.startswith("#"))
    one = Import(place, text + "\nmyhostname = mx.example.com\nmydestination = $myhostname, example.com, localhost\n"
                        "mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\nrelayhost =\n",
                 master=Path("/usr/share/postfix/master.cf.dist").read_text())
    one.check()
    assert "kind = trusted" in one.block("listen postfix1") and "via = mx" in one.block("route rest")


def test_of_this_machine(place):
    if not Path("/etc/postfix/main.cf").exists():
        pytest.skip("/etc/postfix/main.cf is not there")
    done = subprocess.run([PROGRAM, "import", "postfix", "/etc/postfix"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    (place / "x.conf").write_text(done.stdout)
    done = subprocess.run([PROGRAM, "check", "-c", place / "x.conf"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("words, status", [([], 2), (["exim", "/etc"], 2), (["postfix"], 2), (["postfix", "/nowhere"], 1),
                                           (["postfix", "/etc", "/etc"], 2), (["postfix", "--fast", "/etc"], 2)])
def test_wrong_use(words, status):
    done = subprocess.run([PROGRAM, "import", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == status and done.stderr


def kinds(one):
    """Kind of each listener, in order."""
    return [line.split(" = ")[1] for line in one.lines if line.startswith("kind = ")]


@pytest.mark.parametrize("restrictions, kind", [
    ("", "trusted"),
    ("smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination", "inbound"),
    ("smtpd_relay_restrictions = reject_unauth_destination, permit_mynetworks", "inbound"),
    ("smtpd_recipient_restrictions = reject_unauth_destination, permit_mynetworks", "inbound"),
    ("smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject", "trusted"),
])
def test_networks_relay_only_where_they_did(place, restrictions, kind):
    one = Import(place, f"myhostname = mx.example.com\nmynetworks = 10.0.0.0/8\n{restrictions}\n",
                 "smtp inet n - y - - smtpd\n")
    one.check()
    assert kinds(one) == [kind, "local"]
    assert bool(one.notes("mynetworks")) == (kind == "inbound")


@pytest.mark.parametrize("networks", ["!10.0.0.5, 10.0.0.0/8", "cidr:@networks"])
def test_networks_with_holes(place, networks):
    one = Import(place, f"myhostname = mx.example.com\nmynetworks = {networks}\n", "smtp inet n - y - - smtpd\n",
                 networks="10.0.0.5 REJECT\n10.0.0.0/8 OK\n")
    one.check()
    assert kinds(one)[0] == "inbound" and not any(line.startswith("trusted = ") for line in one.lines)
    assert "ATTENTION" in one.notes("mynetworks")[0]


def test_options_of_a_service(place):
    """Each -o is carried over or noted; behind a balancer nobody comes in until it is named."""
    one = Import(place, "myhostname = mx.example.com\nmynetworks = 10.0.0.0/8\n", """
smtp inet n - y - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
26 inet n - y - - smtpd -o mynetworks=192.0.2.1 -o { smtpd_client_restrictions = reject_unknown, permit }
2525 inet n - y - - smtpd -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }
""")
    one.check()
    assert kinds(one) == ["inbound", "submission", "submission", "local"]
    assert [line for line in one.lines if line.startswith("address = ")][0] == "address = 127.0.0.1:25"
    assert "proxy" in one.notes("smtpd_upstream_proxy_protocol")[0]
    said = " ".join(one.notes("master.cf"))
    assert "mynetworks=192.0.2.1" in said and "smtpd_client_restrictions" in said and "smtpd_relay" not in said
    assert "want" in " ".join(one.notes("mynetworks"))


def test_no_address_to_listen_on(place):
    one = Import(place, "myhostname = mx.example.com\ninet_interfaces = none.example\n", "smtp inet n - y - - smtpd\n")
    one.check()
    assert "address = 127.0.0.1:2500" in one.lines


def test_values_that_grow(place):
    wide = "".join(f"a{n} = {' '.join([f'$a{n + 1}'] * 50)}\n" for n in range(14))
    one = Import(place, f"myhostname = mx.example.com\n{wide}a14 = x\nrelay_domains = $a0\n",
                 "smtp inet n - y - - smtpd\n")
    one.check()
