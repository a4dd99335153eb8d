"""Real servers beside Gapura: Postfix, Exim, Dovecot, NSD and slapd, each in a folder of its own.

None is started by the system's service manager and none sees the network: they listen on addresses
of the test, in the foreground, in a process group that ends with the test.
"""
import base64
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from gapura import ROOT, until

EXIM = ROOT / "build/peers/exim/usr/sbin/exim4"


def need(program):
    found = shutil.which(str(program), path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{program} is not installed (tools/install-deps test)")
    return found


def need_root(why):
    if os.geteuid() != 0:
        pytest.skip(f"not root: {why}")


class Peer:
    """A process in the foreground. Subclasses write their settings and say what to run."""

    def __init__(self, place, name):
        self.dir = Path(place) / name
        self.dir.mkdir()
        self.dir.chmod(0o755)
        self.process = None

    def folder(self, name, mode=0o755, user=None):
        path = self.dir / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        if user:
            entry = pwd.getpwnam(user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return path

    def file(self, name, text, mode=0o644):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def spawn(self, argv, at, env=None, greeting=b""):
        with open(self.dir / "output", "ab") as log:
            self.process = subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, cwd=self.dir,
                                            stdin=subprocess.DEVNULL, start_new_session=True,
                                            env={**os.environ, **(env or {})})
        until(lambda: self._answers(at, greeting), 30, f"{type(self).__name__} at {at}")
        return self

    def _answers(self, at, greeting):
        if self.process.poll() is not None:
            raise AssertionError(f"{type(self).__name__} ended: {self.said()}")
        try:
            with socket.create_connection(at, 2) as sock:
                sock.settimeout(5)
                return not greeting or sock.recv(64).startswith(greeting)
        except OSError:
            return False

    def said(self):
        texts = [p.read_text(errors="replace")[-3000:] for p in [self.dir / "output", *self.dir.glob("log/*")]
                 if p.is_file()]
        return "\n".join(texts)

    def stop(self):
        if not self.process:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None


class Postfix(Peer):
    """Takes mail at `at` for any domain and relays it all to `relay` (host, port)."""

    def __init__(self, place, at, relay, extra="", name="postfix"):
        super().__init__(place, name)
        need("postfix")
        need_root("Postfix starts as root only")
        self.at = at
        for part in ("spool", "log"):
            self.folder(part)
        self.folder("data", user="postfix")
        self.file("etc/main.cf", f"""compatibility_level = 3.6
queue_directory = {self.dir}/spool
data_directory = {self.dir}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
mydestination =
inet_interfaces = all
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
relayhost = [{relay[0]}]:{relay[1]}
maillog_file = {self.dir}/log/mail.log
maillog_file_prefixes = {self.dir}/log
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
{extra}
""")
        master = Path("/usr/share/postfix/master.cf.dist").read_text()
        master = re.sub(r"^smtp\s+inet.*$", f"{at[0]}:{at[1]} inet n - n - - smtpd", master, count=1, flags=re.M)
        master = re.sub(r"^(\S+\s+\S+\s+\S+\s+\S+\s+)y(\s)", r"\1n\2", master, flags=re.M)
        if "postlog" not in master:
            master += "postlog unix-dgram n - n - 1 postlogd\n"
        self.file("etc/master.cf", master)

    def start(self):
        subprocess.run(["postfix", "-c", self.dir / "etc", "check"], capture_output=True, timeout=60)
        return self.spawn(["/usr/lib/postfix/sbin/master", "-c", self.dir / "etc", "-d"], self.at,
                          {"MAIL_CONFIG": f"{self.dir}/etc"}, b"220")


class Exim(Peer):
    """Takes mail at `at` and relays it all to `relay`."""

    def __init__(self, place, at, relay):
        super().__init__(place, "exim")
        if not EXIM.exists():
            pytest.skip(f"{EXIM.relative_to(ROOT)} is not there (tools/install-deps test)")
        need_root("Exim changes to its user")
        self.at = at
        for part in ("spool", "log"):
            self.folder(part, 0o750, "mail")
        self.conf = self.file("exim.conf", f"""exim_user = mail
exim_group = mail
exim_path = {EXIM}
spool_directory = {self.dir}/spool
log_file_path = {self.dir}/log/%slog
primary_hostname = exim.test
daemon_smtp_ports = {at[1]}
local_interfaces = {at[0]}
domainlist local_domains =
acl_smtp_rcpt = acl_rcpt
never_users =
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
tls_advertise_hosts =
chunking_advertise_hosts = *
begin acl
acl_rcpt:
  deny local_parts = unknown
       message = no such mailbox here
  accept
begin routers
all:
  driver = manualroute
  transport = t
  route_list = * {relay[0]}
  self = send
  no_more
begin transports
t:
  driver = smtp
  port = {relay[1]}
  allow_localhost
  hosts_avoid_tls = *
  hosts_try_fastopen =
begin retry
* * F,2h,15m
""")

    def start(self):
        return self.spawn([EXIM, "-C", self.conf, "-bdf", "-q1m"], self.at, greeting=b"220")


class Dovecot(Peer):
    """LMTP over TCP and a Unix socket, an auth socket for clients, Maildirs per user."""

    def __init__(self, place, at, users, tokens=None):
        """users: {name: password}. tokens: the key of bearer tokens (JWT, HS256), if there are any."""
        super().__init__(place, "dovecot")
        need("dovecot")
        need_root("Dovecot's master starts as root")
        self.at = at
        self.socket, self.auth = self.dir / "lmtp.sock", self.dir / "auth-client"
        self.folder("log")
        self.folder("mail", 0o777)
        self.file("users", "".join(f"{u}:{{PLAIN}}{p}:nobody:nogroup::{self.dir}/mail/{u}::\n"
                                   for u, p in users.items()))
        self.conf = self.file("dovecot.conf", f"""protocols = lmtp
base_dir = {self.dir}/run
state_dir = {self.dir}/state
log_path = {self.dir}/log/dovecot.log
ssl = no
first_valid_uid = 1
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
disable_plaintext_auth = no
auth_mechanisms = plain login{' oauthbearer xoauth2' if tokens else ''}
mail_location = maildir:~/Maildir
auth_username_format = %Ln
{self.bearer(tokens) if tokens else ''}
passdb {{
  mechanisms = plain login
  driver = passwd-file
  args = username_format=%n {self.dir}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {self.dir}/users
  override_fields = uid=nobody gid=nogroup
}}
service lmtp {{
  inet_listener lmtp {{
    address = {at[0]}
    port = {at[1]}
  }}
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener {self.auth} {{
    mode = 0666
  }}
}}
service stats {{
  chroot =
}}
service anvil {{
  chroot =
}}
""")

    def bearer(self, key):
        keys = self.folder("keys/default/HS256")  # the dict drops "shared/"
        (keys / "default").write_text(base64.b64encode(key).decode())
        conf = self.file("oauth2.conf.ext", "introspection_mode = local\nusername_attribute = sub\n"
                         f"local_validation_key_dict = fs:posix:prefix={self.dir}/keys/\n")
        return f"passdb {{\n  driver = oauth2\n  mechanisms = oauthbearer xoauth2\n  args = {conf}\n}}"

    def start(self):
        self.spawn([need("dovecot"), "-F", "-c", self.conf], self.at, greeting=b"220")
        return self

    def mails(self, user, count, timeout=30):
        """The texts of `count` new mails of a user."""
        folder = self.dir / "mail" / user / "Maildir/new"
        found = until(lambda: (lambda f: len(f) >= count and f)(list(folder.glob("*"))), timeout,
                      f"{count} mails for {user}; {self.said()[-800:]}")
        return [p.read_bytes() for p in found]


class Nsd(Peer):
    """An authoritative server of the whole name space: `zone` is the text of the root zone."""

    HEAD = """$ORIGIN .
$TTL 60
. IN SOA ns.root.test. hostmaster.root.test. 1 3600 600 86400 60
. IN NS ns.root.test.
"""

    def __init__(self, place, at, zone):
        super().__init__(place, "nsd")
        need("nsd")
        self.at = at
        self.file("root.zone", f"{self.HEAD}ns.root.test. IN A {at[0]}\n{zone}\n")
        self.conf = self.file("nsd.conf", f"""server:
    server-count: 1
    ip-address: {at[0]}@{at[1]}
    username: ""
    chroot: ""
    zonesdir: "{self.dir}"
    zonelistfile: "{self.dir}/zone.list"
    xfrdfile: "{self.dir}/xfrd.state"
    pidfile: ""
    logfile: "{self.dir}/nsd.log"
    database: ""
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: "."
    zonefile: "root.zone"
""")

    def start(self):
        return self.spawn([need("nsd"), "-d", "-c", self.conf], self.at)


class Slapd(Peer):
    """An LDAP directory dc=example,dc=com; people: {uid: (mail, forward or None)}."""

    def __init__(self, place, at, people):
        super().__init__(place, "slapd")
        self.at, self.program = at, need("slapd")
        self.folder("db")
        self.conf = self.file("slapd.conf", f"""include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {self.dir}/slapd.pid
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw secret
directory {self.dir}/db
maxsize 10485760
""")
        text = "dn: dc=example,dc=com\nobjectClass: domain\ndc: example\n\n" \
               "dn: ou=people,dc=example,dc=com\nobjectClass: organizationalUnit\nou: people\n\n"
        for uid, mail in people.items():
            text += f"dn: uid={uid},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\n" \
                    f"cn: {uid}\nsn: {uid}\nuid: {uid}\nmail: {mail}\n\n"
        subprocess.run([shutil.which("slapadd", path="/usr/sbin:/sbin:/usr/bin"), "-f", self.conf, "-l",
                        self.file("init.ldif", text)], check=True, capture_output=True, timeout=60)

    def start(self):
        return self.spawn([self.program, "-f", self.conf, "-h", f"ldap://{self.at[0]}:{self.at[1]}", "-d", "0"],
                          self.at)
