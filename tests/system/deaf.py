"""A name server for tests that keeps silent where it is told to, which no real one can be made to do.

`answer(name, type)` gives the record data, a list of them, None (no such name) or SILENT.
"""
import socket
import struct
import threading

SILENT = object()
TYPES = {1: "A", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA"}


def wire_name(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def data_of(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "MX":
        return struct.pack("!H", 10) + wire_name(value)
    if kind == "TXT":
        parts = [value[i:i + 255].encode() for i in range(0, len(value), 255)]
        return b"".join(bytes([len(p)]) + p for p in parts)
    return wire_name(value)


class Deaf:
    def __init__(self, at, answer):
        self.answer, self.asked = answer, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(at)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            reply = self.reply(query)
            if reply:
                self.sock.sendto(reply, peer)

    def reply(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1").lower())
            at += 1 + query[at]
        kind = TYPES.get(struct.unpack("!H", query[at + 1:at + 3])[0], "?")
        name = ".".join(labels)
        self.asked.append((name, kind))
        found = self.answer(name, kind)
        if found is SILENT:
            return None
        rows = [] if not found else found if isinstance(found, list) else [found]
        flags = 0x8180 | (3 if found is None else 0)
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(rows), 0, 0)
        body = query[12:at + 5]
        for row in rows:
            data = data_of(kind, row)
            body += b"\xc0\x0c" + query[at + 1:at + 5] + struct.pack("!IH", 60, len(data)) + data
        return head + body

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # wakes recvfrom, which close() does not
            s.sendto(b"", self.sock.getsockname())
        self.thread.join(10)
        self.sock.close()
