"""Keys, messages and changes of them for the comparisons of DKIM and ARC (test_auth_dkim_peers.py, test_auth_arc_peers.py)."""
import re
import subprocess

import pytest

from auth_rivals import Zone, b64

WHO = ("ours", "dkimpy", "mailauth", "opendkim")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """RSA of 1024 bits (pure Python signs with it a thousand times) and Ed25519, and the zone with both."""
    folder, z, made = tmp_path_factory.mktemp("keys"), Zone(), {}
    for kind, argv in (("rsa", ["genrsa", "-traditional", "1024"]), ("ed25519", ["genpkey", "-algorithm", "ed25519"])):
        pem = subprocess.run(["openssl", *argv], check=True, capture_output=True).stdout
        (folder / kind).write_bytes(pem)
        public = subprocess.run(["openssl", "pkey", "-in", folder / kind, "-pubout", "-outform", "DER"], check=True,
                                capture_output=True).stdout
        p = b64(public if kind == "rsa" else public[-32:])
        z.add(f"{kind}._domainkey.example.com", "TXT", f"v=DKIM1; k={kind}; p={p}")
        made[kind] = pem.decode()
    seed = subprocess.run(["openssl", "pkey", "-in", folder / "ed25519", "-outform", "DER"], check=True,
                          capture_output=True).stdout[-32:]
    return {"pem": made, "zone": z, "seed": b64(seed).encode()}


def split_fields(message):
    """[field without its line end ...], body."""
    head, _, body = message.partition(b"\r\n\r\n")
    return re.split(rb"\r\n(?![ \t])", head), body


def joined(fields, body):
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def in_body(change):
    return lambda rng, fields, body: (fields, change(rng, body))


def in_field(name, change):
    def apply(rng, fields, body):
        return [change(rng, f) if f.lower().startswith(name + b":") else f for f in fields], body
    return apply


def plain_of(rng):
    """A message whose parts the changes know by name."""
    lines = [rng.choice([b"one line", b"two  spaces and a tab\t.", b"", b" led by a space", b"caf\xc3\xa9 \xe9"])
             for _ in range(rng.randrange(1, 8))]
    fields = [b"From: Ann <ann@example.com>", b"To: bob@example.net", b"Subject: this is it",
              b"Date: Mon, 23 Nov 2026 10:00:00 +0000", b"Content-Type: text/plain"]
    return joined(fields, b"\r\n".join(lines) + b"\r\n")


def row_text(text):
    return f"{text[:700]!r} ... {text[-90:]!r}"
