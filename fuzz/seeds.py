#!/usr/bin/env python3
"""Makes seed corpora for the fuzz targets from the suites: seeds.py SUITES OUT.

Suites that are absent give no seeds; the fuzzer then starts from nothing.
"""
import json
import pathlib
import re
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


def responses(tlv):
    """The server's bytes in an input of curl-fuzzer: type (2), length (4), value."""
    out = b""
    while len(tlv) >= 6:
        kind, size = int.from_bytes(tlv[:2], "big"), int.from_bytes(tlv[2:6], "big")
        if kind in (2, *range(17, 27)):
            out += tlv[6:6 + size]
        tlv = tlv[6 + size:]
    return out


CONF = [
    b"hostname = mx.example.com\ntrusted = 10.0.0.0/8, [2001:db8::]/32\n"
    b"listen smtp {\n  address = 0.0.0.0:25, [::]:25\n  kind = inbound\n  banner = \"a, b \\\" # c\"\n}\n"
    b"domain one.test {\n  inside = smtp://127.0.0.1:26\n  recipients = any\n}\n"
    b"smtp {\n  max_size = 10 MB\n  timeout_command = 5m\n  connections_per_network = 100/s burst 20\n}\n"
    b"delivery {\n  retry = 5m, 1h\n}\n",
    b'hostname = a.test\ninclude "conf.d/*.conf"\n\0spool {\n segment = 8 MB\n}\n\0tenant t {\n number = 1\n}\n',
    b"colour = blue\nlisten x {\n  adress = 1\n}\nlisten x {\n}\nfrontier {\n}\nspool {\n segment = 1 KB\n",
]

SASL = [
    b"\1PLAIN\n\0user\0pencil", b"\1LOGIN\n\nuser\npencil", b"\1SCRAM-SHA-256\nn,,n=user,r=abc\nc=biws,r=abc,p=YQ==",
    b"\1SCRAM-SHA-256-PLUS\np=tls-exporter,,n=us=2Cer,r=abc\nc=cD0=,r=abc,p=YQ==",
    b"\1OAUTHBEARER\nn,a=user,\1host=h\1auth=Bearer t\1\1", b"\1XOAUTH2\nuser=a\1auth=Bearer t\1\1",
    b"\2SCRAM-SHA-256 PLAIN\nr=abc,s=c2FsdA==,i=4096\nv=YQ==", b"\2LOGIN\nUsername:\nPassword:",
    b"\3SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$" + b"A" * 43 + b"=:" + b"B" * 43 + b"=",
]

PROFILES = [
    b"profile a {\n base = standard\n weight = helo.one 1.5, spf.* -2\n group = g -1 4 helo.* spf.two\n"
    b" observe = yes\n tag = 3\n hold = 5.5\n tempfail = none\n refuse = 10\n}\n"
    b"profile standard {\n base = standard\n group = g none 9\n}\n",
    b"profile b {\n base = c\n weight = helo.oen 1\n weight = x 1\n group = g 1\n hold = 0\n tag = 9\n}\n"
    b"profile c {\n base = b\n}\n",
]


def decision():
    """A record of two findings, a ceiling and two verdicts, as src/policy/record.h tells."""
    def text(s):
        return bytes([len(s)]) + s

    def line(finding, group, observed, weight):
        return bytes([finding, group, observed]) + weight.to_bytes(4, "little", signed=True)

    finding = b"".join(text(s) for s in (b"helo", b"localhost", b"localhost", b"", b"")) + b"\x01\x00\x00"
    other = b"".join(text(s) for s in (b"spf", b"fail", b"far.test", b"-all", b"")) + b"\x02\x04\x01"
    verdict = (text(b"standard") + bytes(4) + bytes([0, 1, 1, 4, 255, 1]) + bytes(2)
               + b"".join(v.to_bytes(4, "little") for v in (500, 800, 0x7fffffff, 1500))
               + bytes([3]) + line(0, 0, 0, 900) + line(1, 255, 1, 100) + line(255, 0, 0, -400))
    return (bytes([1, 0]) + (7).to_bytes(8, "little") + bytes([1]) + text(b"names") + bytes([2]) + finding + other
            + bytes([2]) + verdict + verdict + (3).to_bytes(4, "little") + bytes([0, 1, 255]))


GREET = b"220 mx ESMTP\r\n"
CLIENT = [
    GREET + b"250-mx\r\n250-SIZE 10000\r\n250 PIPELINING\r\n"
    + (b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n\xfe\x00250 2.0.0 queued\r\n") * 3 + b"221 bye\r\n",
    GREET + b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
    + (b"250 ok\r\n550-5.1.1 no\r\n550 5.1.1 no\r\n250 ok\r\n\xfe\x00552 5.3.4 big\r\n250 reset\r\n") * 2,
    GREET + b"250-mx\r\n250 STARTTLS\r\n220 go\r\n\xfe\x04250-mx\r\n250 AUTH PLAIN LOGIN\r\n334 \r\n235 ok\r\n421 bye\r\n",
    GREET + b"500 what\r\n250 mx\r\n250 ok\r\n450 no\r\n\xfe\x02",
]


AUTHRES = [
    b"Authentication-Results: mx.test; spf=pass smtp.mailfrom=a@b.test\r\nX-Spam-Flag: NO\r\nSubject: x\r\n\r\n",
    b"Return-Path: <>\r\nFrom: \"x@y.test\" (c (d)) <@r.test:a@b.test>, c@d.test\r\nFrom: z\r\n\r\n",
    b"mx.test 1; dkim=pass reason=\"a\\\"b\" header.i=@m.test (c) header.b=abc/d=; dmarc / 1 = fail header . from = a.test",
    b"v=DMARC1; p=reject; sp=none; np=quarantine; t=y; psd=n; adkim=s; rua=mailto:a@b.test",
]


PARAM = [
    b"text/plain; charset=\"utf-8\" (c); name*0*=iso-8859-1'en'a%20; name*1=b; name=\"=?utf-8?q?x=20y?=\"",
    b"=?utf-8?B?w6Q=?= =?windows-1252?Q?=80_5?= x\r\n =?iso-2022-jp?b?GyRCJCI=?=",
    b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n", b"YWJj\r\nZA==\r\nYQ==", b"a=3D=20 \r\nb=\r\nc",
    b"iso-2022-jp\0\x1b$B$\"\x1b(B", b"gb18030\0\x810\x811\xfe", b"utf-16\0\xff\xfea\0",
    b"Mon, 23 Nov 2026 06:44:24 +0000 (c)",
]

REPORT = [
    b'{"organization-name":"o","report-id":"i","contact-info":"c","date-range":{"start-datetime":"2024-01-09T00:00:00Z",'
    b'"end-datetime":"2024-01-09T23:59:59+01:00"},"policies":[{"policy":{"policy-type":"tlsa","policy-domain":"d","policy-string"'
    b':"x","mx-host":["a"]},"summary":{"total-successful-session-count":1,"total-failure-session-count":"2"},"failure-details":'
    b'[{"result-type":"tlsa-invalid","failed-session-count":2,"receiving-ip":"::1"}]}]}',
]


def tnef(inner=b""):
    """A winmail.dat with a file, and a message within it."""
    def attribute(level, number, data):
        return bytes([level]) + number.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data + (sum(data) & 0xffff).to_bytes(2, "little")

    def prop(tag, value):
        return tag.to_bytes(4, "little") + b"\1\0\0\0" + len(value).to_bytes(4, "little") + value + b"\0" * (-len(value) % 4)

    wide = "long name.exe".encode("utf-16le")
    props = b"\3\0\0\0" + prop(0x3707001f, wide) + prop(0x370e001e, b"image/png\0") + prop(0x3701000d, bytes(16) + inner)
    body = b"\3\0\0\0" + prop(0x1000001e, b"text\0") + prop(0x10130102, b"<p>") + prop(0x10090102, bytes(8) + b"MELA" + bytes(4) + b"{}")
    return (b"\x78\x9f\x3e\x22\1\0" + attribute(1, 0x69007, b"\xe4\4\0\0\0\0\0\0") + attribute(1, 0x69003, body)
            + attribute(2, 0x69002, b"\1\0") + attribute(2, 0x6800f, b"MZ") + attribute(2, 0x18010, b"LONG~1.EXE\0")
            + attribute(2, 0x69005, props))


ARF = [
    b"Feedback-Type: abuse\r\nUser-Agent: x/1\r\nVersion: 1\r\nOriginal-Mail-From: <a@b.test>\r\n"
    b"Original-Rcpt-To: <c@d.test>\r\nArrival-Date: Thu, 8 Mar 2005 14:00:00 EDT\r\nSource-IP: 192.0.2.1\r\n"
    b"Reporting-MTA: dns; mx.test\r\nReported-Domain: b.test\r\nReported-URI: http://b.test/\r\nIncidents: 7\r\n"
    b"Authentication-Results: mx.test;\r\n spf=fail\r\nAuth-Failure: dmarc\r\nDelivery-Result: reject\r\n",
    b"Received-Date: Thu, 14 Dec 2023 17:16:15 +0100\n\nFeedback-Type: opt-out\nSource-Ip: x.x.x.x\n",
]


def spf_zones(text):
    """Each published policy of a suite as a zone of its own."""
    for policy in re.findall(r"(?:SPF|TXT):\s+(.*v=spf1.*)", text):
        yield b"a-b+c@a.test\na.test TXT \"" + policy.strip("\"'[] ").encode() + b"\"\na.test MX 1 a.test\na.test A 192.0.2.1\n"


def dkim_messages(suites):
    """A key record, NUL, a message: what fuzz_dkim reads."""
    records = [p.read_bytes().strip() for p in sorted((suites / "dkim-dkimpy").glob("test.txt"))] or [b"v=DKIM1; p="]
    for path in sorted((suites / "dkim-mail-dkim/corpus").glob("*.txt")) + sorted((suites / "dkim-dkimpy").glob("*.msg")):
        yield records[0] + b"\0" + re.sub(rb"\r?\n", b"\r\n", path.read_bytes())[:7000]
    for path in sorted((suites / "arc-valimail").glob("*.yml")):
        for message in re.findall(r"\n    message:     \|\n((?:      .*\n|\n)+)", path.read_text()):
            text = re.sub(r"(?m)^      ", "", message).replace("\n", "\r\n")
            yield records[0] + b"\0" + text.encode()[:7000]


def sign_messages(suites):
    """A byte that chooses, then a message."""
    for i, data in enumerate(dkim_messages(suites)):
        yield bytes([i % 256]) + data.partition(b"\0")[2]
    yield b"\x07From: a@a.test\r\nSubject:\r\n folded\t \r\nSubject : two\r\n\r\n \t\r\nbody \r\n\r\n"


def evidence(suites):
    """Sender, zone, NUL, message: out of rspamd's cases, with the records that their names are about."""
    folder = suites / "rspamd-functional"
    records = [r for r in load(folder / "dns.json") if r["rcode"] == "noerror" and r["type"] in ("txt", "a", "mx", "ptr")]
    for case in load(folder / "cases.json"):
        path, args = folder / "messages" / case["message"], case["args"]
        if case["area"][:3] not in ("115", "116", "117") or not path.exists():
            continue
        sender = args.get("From", "").strip("<>")
        message = re.sub(rb"\r?\n", b"\r\n", path.read_bytes())
        names = {sender.partition("@")[2], *re.findall(r"[\w.-]+\.\w+", message[:4000].decode("latin-1"))}
        zone = ""
        for r in records:
            if any(n and (r["name"] == n or r["name"].endswith("." + n)) for n in names):
                for value in r["replies"]:
                    shown = f'"{value}"' if r["type"] == "txt" and '"' not in value and len(value) < 900 else value
                    zone += f"{r['name']}. {r['type'].upper()} {shown}\n"
        head = f"{args.get('IP', '192.0.2.1')} {args.get('Helo', 'helo.test')} {sender}\n"
        yield head.encode() + zone.encode()[:2500] + b"\0" + message[:5000]
    for record, message in (m.split(b"\0", 1) for m in dkim_messages(suites)):
        yield b"192.0.2.1 a.test a@a.test\na.test. TXT \"v=spf1 a -all\"\n_dmarc.a.test. TXT \"v=DMARC1; p=reject\"\n\0" + message


def results_of(suites):
    """Fields that others wrote, out of the chains."""
    for path in sorted((suites / "arc-valimail").glob("*.yml")):
        for value in re.findall(r"Authentication-Results: ?((?:.*\n)(?:[ \t]{7,}.*\n)*)", path.read_text())[:200]:
            yield value.strip().encode()


def report_wire(kind):
    """What src/store/report_wire.c writes: 1 a DMARC report with a record, 2 a TLS report with a failure."""
    def text(*all_):
        return b"".join(len(s).to_bytes(4, "little") + s for s in all_)
    number = lambda *all_: b"".join(v.to_bytes(8, "little") for v in all_)
    small = lambda *all_: b"".join(v.to_bytes(4, "little") for v in all_)
    head = (bytes([1, kind]) + text(b"m1") + number(7) + text(b"d@o.test", b"dkim", b"o.test", b"o.test", b"r1", b"a.test",
                                                             b"d@o.test", b"p=none", b"one\n") + number(1, 2, 3, 2, 1))
    if kind == 1:
        return (head + small(1, 1) + bytes(10) + b"\xff\xff\xc0\0\2\1" + number(3) + bytes([1, 1, 2])
                + text(b"a.test", b"", b"b.test", b"a.test", b"", b"dkim\tpass\ta.test\ts1\n"))
    return (head + small(1, 2) + text(b"sts", b"a.test", b"version: STSv1\n", b"mx.a.test\n") + number(2, 1) + small(1)
            + text(b"certificate-expired", b"192.0.2.1", b"", b"mx.a.test", b"") + number(1))


def seeds(suites):
    addresses = load(suites / "address-isemail/tests.json") + load(suites / "address-eai/addresses.json")
    smuggling = load(suites / "smtp-smuggling/sequences.json")
    yield "conf", CONF
    yield "profile", PROFILES + files(pathlib.Path(__file__).parents[1] / "share/profiles")
    yield "policy_record", [decision()]
    yield "spf", [z for p in sorted(suites.glob("spf-*/*.yml")) for z in spf_zones(p.read_text(errors="replace"))]
    yield "authres", AUTHRES + sorted(set(results_of(suites)))
    yield "sign", list(sign_messages(suites))
    yield "evidence", list(evidence(suites))
    yield "dkim", list(dkim_messages(suites))
    yield "address", [b"\x07" + address_bytes(r) for r in addresses]
    yield "proxy", [bytes.fromhex(r["hex"]) for r in load(suites / "proxy-envoy/samples.json")]
    yield "returned", [b"Received: from h (h [192.0.2.1])\r\n\tby mx.gate.test with ESMTP id " + b"0" * 26 +
                       b"\r\n\t(return pfsg" + b"a" * 16 + b")\r\n\tfor <a@b.test>; now\r\n"]
    yield "smtp_server", ([bytes([c]) + s for c in (0, 24, 47)
                           for s in [BDAT] + files(suites / "smtp-fuzz-profuzzbench")]
                          + [b"\0" + dialogue(bytes.fromhex(r["hex"])) for r in smuggling])
    curl = [r for r in map(responses, files(suites / "smtp-fuzz-curl")) if r]
    yield "smtp_client", [bytes([c, d]) + s for c in (0, 1, 2, 0xe8) for d in (31, 0x40) for s in CLIENT + curl]
    yield "reply", CLIENT + curl
    tables = sorted(suites.glob("replies-*/*.tsv"))
    yield "reply_class", ([line.encode() for p in tables for line in p.read_text("utf-8", "replace").splitlines()[1:]]
                          + [b"\xff" + p.read_bytes()[:8000] for p in sorted(pathlib.Path("share/replies").glob("*.conf"))])
    yield "mime", [m[:8192] for folder in sorted(suites.glob("mime-*")) for m in files(folder)]
    yield "report", REPORT + [m for folder in sorted(suites.glob("dmarc-*")) for m in files(folder) if len(m) < 16384]
    yield "report_wire", [report_wire(1), report_wire(2), b"Authentication-Results: mx.test; dkim=pass header.d=a.test;\r\n"
                          b" spf=pass smtp.mailfrom=x@a.test\r\nReceived: by mx.test; now\r\nFrom: <d@a.test>\r\n\r\n"]
    yield "tnef", [tnef(tnef())] + [p.read_bytes() for p in suites.glob("av-clamav/*.tnef")]
    yield "param", [bytes([i]) + v for i in (0, 1, 2, 40) for v in PARAM]
    bounces = [p for f in ("bounce-*", "dsn-*") for p in sorted(suites.glob(f + "/**/*.eml")) if p.stat().st_size <= 8192]
    yield "dsn", [p.read_bytes() for p in bounces]
    yield "arf", ARF + [part for p in bounces for part in
                        re.findall(rb"(?is)message/feedback-report.*?\n\r?\n(.*?)\n--", p.read_bytes())]
    pace = bytes([1]) + b"".join(v.to_bytes(8, "little") for v in
                                 (9000, 10000, 11000, 200_000_000, 0, 300 * 10**9, 20 * 10**9)) + bytes(8)
    yield "pace", [b"\1" + pace + bytes(range(256)), b"\1" + pace + bytes([0, 8, 0x20, 0x89, 0x10, 0x9a, 0, 0x5b] * 40)]
    yield "sasl", SASL
    yield "srs", [b"\0" + a for a in (b"a@b.test", b"SRS0=HHHH=TT=b.test=a", b"SRS1=HHHH=c.test==HHHH=TT=b.test=a@c.test")]
    yield "header", [m[:8192] for m in files(suites / "smtp-haraka") + files(suites / "smtp-robin/mime")]


def main():
    suites, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for name, inputs in seeds(suites):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for i, data in enumerate(inputs):
            (folder / f"seed-{i:03}").write_bytes(data)


main()
