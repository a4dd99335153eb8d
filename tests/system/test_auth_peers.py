"""What we sign dkimpy verifies, and the other way round: generated messages, every canonicalization.

The disagreements that are meant are in docs/disputed/dkim.md.
"""
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's dkimpy, whatever Python runs us
dkim = pytest.importorskip("dkim")

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "build/tests/dkim_peer"
SEED = 20261123
COUNT = 250  # messages for each of four canonicalizations and two directions
PIECES = [b"word", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b" \r\n", b"\xc3\xa9", b"\xe9\xff", b".",
          b"a" * 998, b"=20\r\n", b"\t \t"]
CANONS = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]


def message(rng):
    subject = rng.choice([b"plain", b"two  spaces", b"folded\r\n\there", b"tail \t", b"", b"caf\xc3\xa9"])
    body = b"".join(rng.choice(PIECES) for _ in range(rng.randrange(30)))
    if body and rng.random() < 0.8:
        body += b"\r\n" * rng.randrange(1, 4)
    if body[-1:] in (b" ", b"\t"):
        body += b"\r\n"  # without it dkimpy keeps the space: docs/disputed/dkim.md
    fields = [b"From: A <a@example.com>", b"To:  b@example.net", b"Subject: " + subject,
              b"Date: Mon, 23 Nov 2026 10:00:00 +0000", b"X-Other: not signed"]
    if rng.random() < 0.3:
        fields.append(b"Received: by a\r\n\twith b")
    rng.shuffle(fields)
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dkim")
    pem = folder / "key.pem"
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", pem, "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", pem, "-pubout"], check=True, capture_output=True).stdout
    record = b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])
    (folder / "record").write_bytes(record)
    return pem, folder / "record", record


@pytest.mark.parametrize("canon", CANONS)
def test_dkimpy_verifies_ours(canon, key, tmp_path):
    rng = random.Random(SEED)
    paths = [tmp_path / f"{i:04}" for i in range(COUNT)]
    for path in paths:
        path.write_bytes(message(rng))
    subprocess.run([PEER, "sign", key[0], "sel", "example.com", canon, *paths], check=True)
    bad = [path.name for path in paths
           if not dkim.verify((path.parent / f"{path.name}.signed").read_bytes(),
                              dnsfunc=lambda name, timeout=5: key[2])]
    assert not bad


@pytest.mark.parametrize("canon", CANONS)
def test_we_verify_dkimpys(canon, key, tmp_path):
    rng = random.Random(SEED + 1)
    header, body = (c.encode() for c in canon.split("/"))
    paths = [tmp_path / f"{i:04}" for i in range(COUNT)]
    for path in paths:
        text = message(rng)
        path.write_bytes(dkim.sign(text, b"sel", b"example.com", key[0].read_bytes(),
                                   canonicalize=(header, body)) + text)
    told = subprocess.run([PEER, "verify", key[1], "sel._domainkey.example.com", *paths], check=True,
                          capture_output=True, text=True).stdout.splitlines()
    assert len(told) == COUNT
    assert not [line for line in told if line.split()[1] != "pass"]
