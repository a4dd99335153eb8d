"""What the differential tests of authentication share: zones for all sides, programs, kinds of disagreement."""
import base64
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEER = Path(os.environ.get("GAPURA_PROGRAM", ROOT / "build/gapura")).parent / "tests/auth_peer"
NODE = ROOT / "tests/system/node"
SEED = int(os.environ.get("GAPURA_SEED", 20261123))
TIMES = float(os.environ.get("GAPURA_CASES", 1))
MAILAUTH = ["node", NODE / "mailauth.js"]
TABLE = ROOT / "docs/disputed/differential.md"

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's libraries, whatever Python runs us


def count(n):
    """Cases of a test whose usual number is n."""
    return max(1, int(n * TIMES))


def talk(argv, jobs):
    """The answers of a program that takes a JSON object a line and gives one back."""
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    done = subprocess.run([str(a) for a in argv], input=lines, capture_output=True, text=True, timeout=240)
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(answers) == len(jobs), (argv, len(answers), len(jobs), done.returncode, done.stderr[-2000:])
    return answers


def has_mailauth():
    return bool(shutil.which("node")) and (NODE / "node_modules/mailauth/package.json").exists()


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text)


class Zone:
    """Names of (name, type): values. A value "TIMEOUT" makes that name and type fail; an empty list is NODATA."""

    CODES = {"TIMEOUT": "ETIMEOUT"}

    def __init__(self, records=()):
        self.records = {}
        for name, kind, value in records:
            self.add(name, kind, value)

    def add(self, name, kind, value):
        self.records.setdefault((name.lower(), kind), []).append(value)

    def fails(self, name):
        self.records[(name.lower(), "TIMEOUT")] = ["TIMEOUT"]

    def exists(self, name):
        """Itself, or something below it."""
        return any(n == name or n.endswith("." + name) for n, _ in self.records)

    def find(self, name, kind):
        """A list of values; "TIMEOUT"; None: no such name."""
        name = name.lower().rstrip(".")
        if (name, kind) in self.records:
            return self.records[name, kind]
        if (name, "TIMEOUT") in self.records:
            return "TIMEOUT"
        return [] if self.exists(name) else None

    def text(self):
        """As a zone file, for us."""
        lines = []
        for (name, kind), values in self.records.items():
            owner = re.sub(r"([;()\"\s\\])", r"\\\1", name)
            for value in values:
                if kind == "TIMEOUT":
                    lines.append(f"{owner}. TIMEOUT")
                elif kind == "TXT":
                    escaped = re.sub(r'(["\\])', r"\\\1", value)
                    parts = [escaped] if len(escaped) < 200 or "\\" in escaped else \
                        [escaped[i:i + 200] for i in range(0, len(escaped), 200)]
                    lines.append(f"{owner}. TXT " + " ".join(f'"{p}"' for p in parts))
                elif kind == "MX":
                    lines.append(f"{owner}. MX {value[0]} {value[1]}.")
                elif kind in ("PTR", "CNAME"):
                    lines.append(f"{owner}. {kind} {value}.")
                else:
                    lines.append(f"{owner}. {kind} {value}")
        return "\n".join(lines) + "\n"

    def for_mailauth(self):
        out = {}
        for (name, kind), values in self.records.items():
            out[name] = []
            if kind == "TIMEOUT":
                for each in ("A", "AAAA", "MX", "TXT", "PTR"):
                    out.setdefault(f"{name} {each}", "ETIMEOUT")
            elif kind == "TXT":
                out[f"{name} TXT"] = [[v] for v in values]
            elif kind == "MX":
                out[f"{name} MX"] = [{"priority": p, "exchange": h} for p, h in values]
            else:
                out[f"{name} {kind}"] = values
        return out

    def txt(self, name, timeout=5):
        """dkimpy's and authheaders' dnsfunc: the first text, or None."""
        name = name.decode() if isinstance(name, bytes) else name
        found = self.find(name, "TXT")
        return found[0].encode() if found and found != "TIMEOUT" else None


class Kinds:
    """Disagreements by kind. Those that docs/disputed/differential.md explains are counted; others fail.

    A row of the table is "| `kind` | who says what | ..."; it explains only those whom it names.
    """

    def __init__(self):
        rows = re.findall(r"^\| `([\w.-]+)` \| ([^|]*) \|", TABLE.read_text(), re.M)
        self.known = {kind: set(re.findall(r"\w+", who)) for kind, who in rows}
        self.seen, self.unknown = {}, []

    def add(self, kind, who, what):
        if who in self.known.get(kind, ()):
            self.seen[kind] = self.seen.get(kind, 0) + 1
        else:
            self.unknown.append((kind, f"{who}: {what}"))

    def check(self, compared, seed):
        """Prints what was seen; fails with the first cases that no line of the table explains."""
        print(f"seed {seed}: {compared} compared; explained: {self.seen or 'none'}")
        shown = "\n".join(f"{kind}: {what}" for kind, what in self.unknown[:8])
        assert not self.unknown, f"{len(self.unknown)} unexplained (seed {seed}):\n{shown}"


class OpenDkim:
    """libopendkim in this process: what opendkim and opendkim-testmsg are made of, with our keys instead of DNS."""

    def __init__(self, record_of):
        self.lib = ctypes.CDLL("libopendkim.so.11")
        for name in ("dkim_init", "dkim_sign", "dkim_verify", "dkim_sig_getselector", "dkim_sig_getdomain"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        proto = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self.callback = proto(self._lookup)  # kept: C holds a pointer to it
        self.record_of = record_of
        self.handle = ctypes.c_void_p(self.lib.dkim_init(None, None))
        assert self.handle
        self.lib.dkim_set_key_lookup(self.handle, self.callback)

    def _lookup(self, _dkim, sig, room, size):
        selector = ctypes.string_at(self.lib.dkim_sig_getselector(ctypes.c_void_p(sig))).decode()
        domain = ctypes.string_at(self.lib.dkim_sig_getdomain(ctypes.c_void_p(sig))).decode()
        record = self.record_of(f"{selector}._domainkey.{domain}")
        if not record:
            return 1  # DKIM_CBSTAT_NOTFOUND is an error of the key for it
        ctypes.memmove(room, (record + b"\0")[:size], min(size, len(record) + 1))
        return 0

    def _feed(self, handle, message):
        status = self.lib.dkim_chunk(handle, message, ctypes.c_size_t(len(message)))
        return status or self.lib.dkim_chunk(handle, None, ctypes.c_size_t(0))

    def sign(self, message, key, selector, domain, canon):
        """The field, or None with the status."""
        header, body = (int(c == "relaxed") for c in canon.split("/"))
        status = ctypes.c_int()
        handle = ctypes.c_void_p(self.lib.dkim_sign(self.handle, b"id", None, key, selector.encode(), domain.encode(),
                                                    header, body, 1, ctypes.c_ssize_t(-1), ctypes.byref(status)))
        if not handle:
            return None
        room = ctypes.create_string_buffer(16384)
        good = not self._feed(handle, message) and not self.lib.dkim_eom(handle, None)
        good = good and not self.lib.dkim_getsighdr(handle, room, ctypes.c_size_t(16384), ctypes.c_size_t(16))
        self.lib.dkim_free(handle)
        # Lines end with LF there; the field is hashed as SMTP sends it.
        value = re.sub(rb"\r?\n", b"\r\n", room.value)
        return b"DKIM-Signature: " + value + b"\r\n" if good else None

    def verify(self, message):
        status = ctypes.c_int()
        handle = ctypes.c_void_p(self.lib.dkim_verify(self.handle, b"id", None, ctypes.byref(status)))
        assert handle
        testing = ctypes.c_bool()
        good = not self._feed(handle, message) and not self.lib.dkim_eom(handle, ctypes.byref(testing))
        self.lib.dkim_free(handle)
        return bool(good)


def opendkim(record_of):
    """None if the library is not there."""
    try:
        return OpenDkim(record_of)
    except OSError:
        return None
