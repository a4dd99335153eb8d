#!/usr/bin/env python3
"""Makes seed corpora for the fuzz targets from the suites: seeds.py SUITES OUT.

Suites that are absent give no seeds; the fuzzer then starts from nothing.
"""
import json
import pathlib
import sys


def load(path):
    return json.loads(path.read_text()) if path.exists() else []


def files(folder):
    return [p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()] if folder.exists() else []


def address_bytes(row):
    if row.get("address") is None:
        return bytes.fromhex(row["bytes_hex"])
    return row["address"].encode("utf-8", "surrogatepass")


def dialogue(seq):
    return (b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nS: x\r\n\r\nline"
            + seq + b"MAIL FROM:<e@b.example>\r\nQUIT\r\n")


BDAT = (b"EHLO x\r\nMAIL FROM:<a@b.example> SIZE=9 BODY=8BITMIME RET=HDRS ENVID=a+2Bb SMTPUTF8\r\n"
        b"RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\\x{E9}@d\r\n"
        b"BDAT 6\r\nA: b\r\nBDAT 2 LAST\r\n\r\nAUTH LOGIN\r\n*\r\nQUIT\r\n")


def seeds(suites):
    addresses = load(suites / "address-isemail/tests.json") + load(suites / "address-eai/addresses.json")
    smuggling = load(suites / "smtp-smuggling/sequences.json")
    yield "address", [b"\x07" + address_bytes(r) for r in addresses]
    yield "proxy", [bytes.fromhex(r["hex"]) for r in load(suites / "proxy-envoy/samples.json")]
    yield "smtp_server", ([bytes([c]) + s for c in (0, 24, 47)
                           for s in [BDAT] + files(suites / "smtp-fuzz-profuzzbench")]
                          + [b"\0" + dialogue(bytes.fromhex(r["hex"])) for r in smuggling])
    yield "header", [m[:8192] for m in files(suites / "smtp-haraka") + files(suites / "smtp-robin/mime")]


def main():
    suites, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for name, inputs in seeds(suites):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for i, data in enumerate(inputs):
            (folder / f"seed-{i:03}").write_bytes(data)


main()
