"""An SMTP or LMTP server for tests: records what it gets and answers as the test says.

    sink = Sink(("127.0.0.2", 2600), answers={"rcpt": "450 4.2.0 later"})
    got = sink.wait(1)[0]; got.sender, got.recipients, got.data, got.tls

`answers` may have the stages connect, ehlo, mail, rcpt, data, dot, starttls, quit: a reply line, CLOSE (drop
the connection there), a list (one entry for each time, the last one stays), or a function of
(session, argument) that returns one of these or None for the usual reply. The table may be changed
while the sink runs. `delay` is a dict of stages to seconds that pass before the reply.
"""
import base64
import re
import socket
import ssl
import threading
import time

CLOSE = object()
SIZE = 100 << 20
ALL = ("PIPELINING", f"SIZE {SIZE}", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES")


class Message:
    def __init__(self, session):
        self.session = session.number
        self.peer, self.helo, self.tls, self.user = session.peer, session.helo, session.tls, session.user
        self.sender, self.sender_args = None, ""
        self.recipients, self.recipient_args = [], []
        self.data = b""
        self.when = 0.0

    @property
    def headers(self):
        return self.data.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")

    @property
    def body(self):
        return self.data.partition(b"\r\n\r\n")[2]

    def header(self, name):
        """All values of a header field, unfolded."""
        text = re.sub(r"\r\n[ \t]+", " ", self.headers)
        return [m.group(1).strip() for m in re.finditer(rf"(?im)^{re.escape(name)}:(.*)$", text)]


class Sink:
    def __init__(self, at, answers=None, extensions=ALL, tls=None, wrapped=None, lmtp=False, users=None, delay=None):
        """at: (host, port) or a path. tls: SSLContext for STARTTLS; wrapped: for TLS at once."""
        self.answers, self.extensions, self.delay = dict(answers or {}), list(extensions), dict(delay or {})
        self.tls, self.wrapped, self.lmtp, self.users = tls, wrapped, lmtp, users or {}
        self.messages, self.sessions, self.open_now, self.most_open = [], 0, 0, 0
        self.counts = {}
        self.changed = threading.Condition()
        self.at = at
        family = socket.AF_UNIX if isinstance(at, str) else socket.AF_INET6 if ":" in at[0] else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(at)
        self.listener.listen(1024)
        self.live = set()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.sessions += 1
                self.open_now += 1
                self.most_open = max(self.most_open, self.open_now)
                number = self.sessions
                self.live.add(sock)
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(sock, peer, number), daemon=True).start()

    def _serve(self, sock, peer, number):
        session = Session(self, sock, peer, number)
        try:
            session.run()
        except (OSError, ConnectionError, ssl.SSLError):
            pass
        finally:
            session.sock.close()
            with self.changed:
                self.open_now -= 1
                self.live.discard(sock)
                self.changed.notify_all()

    def next_of(self, stage):
        with self.changed:
            at = self.counts.get(stage, 0)
            self.counts[stage] = at + 1
            return at

    def took(self, message):
        with self.changed:
            message.when = time.monotonic()
            self.messages.append(message)
            self.changed.notify_all()

    def wait(self, count, timeout=30):
        """The messages, once there are at least `count`."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.messages) >= count, timeout):
                raise AssertionError(f"{len(self.messages)} of {count} messages within {timeout} s: "
                                     f"{[(m.sender, m.recipients) for m in self.messages]}")
            return list(self.messages)

    def wait_sessions(self, count, timeout=30):
        with self.changed:
            assert self.changed.wait_for(lambda: self.sessions >= count, timeout), \
                f"{self.sessions} of {count} sessions"

    def stop(self):
        """Closes the port and every connection."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join(10)
        with self.changed:
            for sock in list(self.live):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self.changed.wait_for(lambda: not self.open_now, 10)


class Session:
    def __init__(self, sink, sock, peer, number):
        self.sink, self.sock, self.number = sink, sock, number
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self.helo, self.tls, self.user = "", None, None
        self.buffer = b""
        self.now = None
        self.commands = []
        sock.settimeout(120)

    def reply(self, text):
        self.sock.sendall(text.encode() + b"\r\n")

    def answer(self, stage, argument, usual):
        """Sends the reply of this stage; False if the connection is to be dropped."""
        if stage in self.sink.delay:
            time.sleep(self.sink.delay[stage])
        say = self.sink.answers.get(stage)
        if isinstance(say, list):
            say = say[min(self.sink.next_of(stage), len(say) - 1)]
        if callable(say):
            say = say(self, argument)
        if say is CLOSE:
            raise ConnectionError
        self.reply(say or usual)
        return (say or usual)[:1] in "23"

    def more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError
        self.buffer += data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "surrogateescape")

    def run(self):
        if self.sink.wrapped:
            self.sock = self.sink.wrapped.wrap_socket(self.sock, server_side=True)
            self.tls = self.sock.version()
        if not self.answer("connect", "", "220 sink.test ESMTP"):
            return
        while True:
            line = self.line()
            self.commands.append(line)
            verb = line.split(" ")[0].upper()
            handler = getattr(self, "do_" + verb.lower(), None)
            if not handler:
                self.reply("502 5.5.2 what")
                continue
            if handler(line[len(verb) + 1:]) is CLOSE:
                return

    def do_helo(self, name):
        self.helo, self.now = name, None
        self.answer("ehlo", name, "250 sink.test")

    def do_ehlo(self, name):
        self.helo, self.now = name, None
        words = list(self.sink.extensions)
        if self.sink.tls and not self.tls:
            words.append("STARTTLS")
        if self.sink.users:
            words.append("AUTH PLAIN")
        lines = ["sink.test", *words]
        last = len(lines) - 1
        self.answer("ehlo", name, "\r\n".join(f"250{' ' if i == last else '-'}{x}" for i, x in enumerate(lines)))

    do_lhlo = do_ehlo

    def do_starttls(self, _):
        if self.answer("starttls", "", "220 2.0.0 go"):
            self.buffer, self.helo = b"", ""
            self.sock = self.sink.tls.wrap_socket(self.sock, server_side=True)
            self.tls = self.sock.version()

    def do_auth(self, text):
        words = text.split(" ")
        if len(words) == 1:
            self.reply("334 ")
            words.append(self.line())
        _, user, password = base64.b64decode(words[1]).decode().split("\0")
        good = self.sink.users.get(user) == password
        self.user = user if good else None
        self.reply("235 2.7.0 in" if good else "535 5.7.8 no")

    def do_mail(self, text):
        found = re.match(r"FROM:<(.*?)>\s*(.*)$", text, re.I)
        if self.answer("mail", text, "250 2.1.0 ok"):
            self.now = Message(self)
            self.now.sender, self.now.sender_args = found.group(1), found.group(2)

    def do_rcpt(self, text):
        found = re.match(r"TO:<(.*)>\s*([^>]*)$", text, re.I)
        if not self.now:
            return self.reply("503 5.5.1 MAIL first")
        if self.answer("rcpt", found.group(1), "250 2.1.5 ok"):
            self.now.recipients.append(found.group(1))
            self.now.recipient_args.append(found.group(2))

    def do_data(self, _):
        if not self.now or not self.now.recipients:
            return self.reply("503 5.5.1 RCPT first")
        if not self.answer("data", "", "354 go"):
            return None
        while not (self.buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self.buffer):
            self.more()
        if self.buffer.startswith(b".\r\n"):
            raw, self.buffer = b"", self.buffer[3:]
        else:
            raw, self.buffer = self.buffer.split(b"\r\n.\r\n", 1)
            raw += b"\r\n"
        lines = raw.split(b"\r\n")
        self.now.data = b"\r\n".join(x[1:] if x.startswith(b".") else x for x in lines)
        return self.end()

    def do_bdat(self, text):
        words = text.upper().split()
        size = int(words[0])
        while len(self.buffer) < size:
            self.more()
        chunk, self.buffer = self.buffer[:size], self.buffer[size:]
        if not self.now or not self.now.recipients:
            return self.reply("503 5.5.1 RCPT first")
        self.now.data += chunk
        if "LAST" in words:
            return self.end()
        return self.reply("250 2.0.0 chunk")

    def end(self):
        message, self.now = self.now, None
        if self.sink.lmtp:
            kept = []
            for to, args in zip(message.recipients, message.recipient_args):
                if self.answer("dot", to, "250 2.0.0 delivered"):
                    kept.append((to, args))
            message.recipients, message.recipient_args = [k[0] for k in kept], [k[1] for k in kept]
            if kept:
                self.sink.took(message)
        else:
            # Taken before the reply: a client that hears 250 finds it recorded.
            say = self.sink.answers.get("dot")
            if say is None and "dot" not in self.sink.delay:
                self.sink.took(message)
                self.reply("250 2.0.0 taken")
            elif self.answer("dot", message, "250 2.0.0 taken"):
                self.sink.took(message)

    def do_rset(self, _):
        self.now = None
        self.reply("250 2.0.0 ok")

    def do_noop(self, _):
        self.reply("250 2.0.0 ok")

    def do_quit(self, _):
        self.answer("quit", "", "221 2.0.0 bye")
        return CLOSE
