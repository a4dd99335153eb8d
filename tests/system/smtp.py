"""A small SMTP client for tests: sends exactly what it is told and returns what came back.

smtplib is a peer under test elsewhere; this one hides nothing: raw bytes, replies as (code, lines),
any order of commands, TLS when asked, AUTH with PLAIN, LOGIN, SCRAM-SHA-256 with and without binding.
"""
import base64
import hashlib
import hmac
import os
import socket
import ssl

TIMEOUT = 30


class Reply(tuple):
    """(code, [lines]) with `.code`, `.text` and `.enhanced` ("5.1.1" or "")."""

    def __new__(cls, code, lines):
        return super().__new__(cls, (code, lines))

    code = property(lambda self: self[0])
    lines = property(lambda self: self[1])
    text = property(lambda self: "\n".join(self[1]))

    @property
    def enhanced(self):
        word = self[1][0].split(" ")[0] if self[1] else ""
        parts = word.split(".")
        return word if len(parts) == 3 and all(p.isdigit() for p in parts) else ""

    def __repr__(self):
        return f"{self.code} {self.text}"


class Closed(Exception):
    """The server closed the connection instead of a reply."""


class Smtp:
    def __init__(self, at, source=None, tls=None, name="client.test", before=b"", greet=True, timeout=TIMEOUT):
        """at: (host, port). tls: an SSLContext for TLS from the first byte. before: sent first."""
        self.name = name
        self.sock = socket.create_connection(at, timeout, source_address=(source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.extensions = {}
        if before:
            self.sock.sendall(before)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="mx.gapura.test")
        self.greeting = self.reply() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def line(self):
        while b"\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                raise Closed(self.buffer.decode(errors="replace"))
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"reply line without CR: {line!r}"
        return line[:-1].decode()

    def reply(self):
        lines = []
        while True:
            line = self.line()
            assert len(line) >= 3 and line[:3].isdigit() and line[3:4] in ("", " ", "-"), line
            assert len(line) <= 510, f"reply line of {len(line)} bytes"
            lines.append(line[4:])
            if line[3:4] != "-":
                return Reply(int(line[:3]), lines)

    def cmd(self, text):
        self.send(text + ("\r\n" if isinstance(text, str) else b"\r\n"))
        return self.reply()

    def at_end(self):
        """True when the server has closed; what it said before is in `.buffer`."""
        try:
            while True:
                more = self.sock.recv(65536)
                if not more:
                    return True
                self.buffer += more
        except ConnectionResetError:
            return True
        except (socket.timeout, ssl.SSLError):
            return False

    def ehlo(self, verb="EHLO"):
        reply = self.cmd(f"{verb} {self.name}")
        if reply.code == 250:
            self.extensions = {}
            for line in reply.lines[1:]:
                word, _, rest = line.partition(" ")
                self.extensions[word.upper()] = rest
        return reply

    def starttls(self, context, host="mx.gapura.test"):
        reply = self.cmd("STARTTLS")
        if reply.code == 220:
            assert not self.buffer
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
            self.extensions = {}
        return reply

    def data(self, message):
        """DATA with dot-stuffing; the reply to the dot, or to DATA if that is no 354."""
        reply = self.cmd("DATA")
        if reply.code != 354:
            return reply
        text = crlf(message)
        self.send(b"\r\n".join(b"." + x if x.startswith(b".") else x for x in text.split(b"\r\n")))
        self.send(b".\r\n" if text.endswith(b"\r\n") else b"\r\n.\r\n")
        return self.reply()

    def mail(self, sender, recipients, message, mail_args="", rcpt_args=""):
        """A whole transaction; the first refusal or the last reply."""
        reply = self.cmd(f"MAIL FROM:<{sender}>{' ' + mail_args if mail_args else ''}")
        if reply.code != 250:
            return reply
        for to in [recipients] if isinstance(recipients, str) else recipients:
            reply = self.cmd(f"RCPT TO:<{to}>{' ' + rcpt_args if rcpt_args else ''}")
            if reply.code not in (250, 251):
                self.cmd("RSET")
                return reply
        return self.data(message)

    def auth(self, mechanism, user, password):
        return {"PLAIN": self._plain, "LOGIN": self._login, "SCRAM-SHA-256": self._scram,
                "SCRAM-SHA-256-PLUS": self._scram_plus}[mechanism](user, password)

    def _scram_plus(self, user, password):
        """Bound by tls-server-end-point (RFC 5929), for certificates signed with SHA-256."""
        certificate = hashlib.sha256(self.sock.getpeercert(True)).digest()
        return self._scram(user, password, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", certificate)

    def _plain(self, user, password):
        return self.cmd("AUTH PLAIN " + b64(f"\0{user}\0{password}"))

    def _login(self, user, password):
        reply = self.cmd("AUTH LOGIN")
        if reply.code == 334:
            reply = self.cmd(b64(user))
        return self.cmd(b64(password)) if reply.code == 334 else reply

    def _scram(self, user, password, mechanism="SCRAM-SHA-256", header="n,,", binding=b""):
        """RFC 5802 with SHA-256 (RFC 7677); checks the server's signature."""
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        reply = self.cmd(f"AUTH {mechanism} " + b64(header + bare))
        if reply.code != 334:
            return reply
        first = base64.b64decode(reply.lines[0]).decode()
        field = dict(part.split("=", 1) for part in first.split(","))
        assert field["r"].startswith(nonce) and len(field["r"]) > len(nonce)
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(field["s"]), int(field["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c={b64(header.encode() + binding)},r={field['r']}"
        signed = f"{bare},{first},{without}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        reply = self.cmd(b64(f"{without},p={base64.b64encode(proof).decode()}"))
        if reply.code == 334:
            final = base64.b64decode(reply.lines[0]).decode()
            key = hmac.digest(salted, b"Server Key", "sha256")
            assert final == "v=" + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
            reply = self.cmd("")
        return reply


def b64(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def crlf(message):
    raw = message.encode() if isinstance(message, str) else message
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def message(subject="test", sender="alice@example.com", to="bob@inside.test", body="hello\n", extra=""):
    return (f"From: <{sender}>\nTo: <{to}>\nSubject: {subject}\n"
            f"Message-ID: <{os.urandom(8).hex()}@example.com>\n"
            f"Date: Mon, 02 Mar 2026 10:00:00 +0000\n{extra}\n{body}")
