"""ARC against dkimpy (Debian) and mailauth (npm): chains that they and we seal in turn, changed in every way.

A disagreement belongs to a kind that docs/disputed/differential.md explains, or the test fails. The seed is printed;
GAPURA_SEED=N runs another one, GAPURA_CASES=10 ten times as many.
"""
import random
import re

import pytest

from auth_messages import WHO, in_body, in_field, joined, keys, plain_of, row_text, split_fields  # noqa: F401
from auth_rivals import MAILAUTH, PEER, SEED, Kinds, b64, count, has_mailauth, talk, unb64

dkim = pytest.importorskip("dkim")

def seal_by_dkimpy(keys, message, hop, payload):
    with_results = b"Authentication-Results: " + payload.encode() + b"\r\n" + message
    made = dkim.arc_sign(with_results, b"rsa", b"example.com", keys["pem"]["rsa"].encode(), f"mx{hop}.test".encode(),
                         include_headers=[b"from", b"to", b"subject", b"date"], timestamp=1763890000 + hop)
    return b"".join(f.rstrip(b"\r\n") + b"\r\n" for f in made) + with_results if made else None


def sealed(keys, hop, rows):
    """The messages with another set on top, None where the sealer refuses: rows of (who, message, state so far)."""
    jobs = [{"op": "seal", "message": b64(message), "key": keys["pem"]["rsa"], "selector": "rsa", "domain": "example.com",
             "payload": f"mx{hop}.test; spf=pass smtp.mailfrom=ann@example.com; arc={state}", "time": 1763890000 + hop,
             "cv": state} for _, message, state in rows]
    out = [None] * len(rows)
    for who, argv, zone in (("ours", [PEER], {"text": keys["zone"].text()}),
                            ("mailauth", MAILAUTH, {"records": keys["zone"].for_mailauth()})):
        mine = [i for i, row in enumerate(rows) if row[0] == who]
        told = talk(argv, [{"op": "zone", **zone}] + [jobs[i] for i in mine])[1:] if mine else []
        for i, answer in zip(mine, told):
            if "fields" in answer:
                out[i] = unb64(answer["fields"]).rstrip(b"\r\n") + b"\r\n" + rows[i][1]
    for i, (who, message, _) in enumerate(rows):
        if who == "dkimpy":
            out[i] = seal_by_dkimpy(keys, message, hop, jobs[i]["payload"])
    return out


ON_THE_WAY = {  # what happens to a message between two sealers
    "nothing": lambda rng, m: m,
    "received": lambda rng, m: b"Received: by mx.test\r\n\twith ESMTP\r\n" + m,
    "subject": lambda rng, m: m.replace(b"Subject: ", b"Subject: [list] ", 1),
    "footer": lambda rng, m: m + b"-- \r\nthe list\r\n",
}


def chains(keys, rng, n):
    """(sealers, message): one to four hops, things happening between them."""
    names = ["ours", "dkimpy"] + (["mailauth"] if has_mailauth() else [])
    texts, who, states = [plain_of(rng) for _ in range(n)], [[] for _ in range(n)], ["none"] * n
    lengths = [rng.randrange(1, 5) for _ in range(n)]
    for hop in range(1, 5):
        at = [i for i in range(n) if lengths[i] >= hop]
        rows = [(rng.choice(names), texts[i], states[i]) for i in at]
        for i, row, grown in zip(at, rows, sealed(keys, hop, rows)):
            if not grown:  # a chain that has failed is not continued
                lengths[i] = 0
                continue
            who[i].append(row[0])
            texts[i] = ON_THE_WAY[rng.choice(["nothing", "received", "received", "subject", "footer"])](rng, grown)
        for i, verdict in zip(range(n), arc_of(keys, texts)):
            states[i] = verdict[0]
    return [("+".join(w), text) for w, text in zip(who, texts)]


def arc_of(keys, messages):
    """(ours, dkimpy, mailauth, our reply) for each."""
    ours = talk([PEER], [{"op": "zone", "text": keys["zone"].text()}]
                + [{"op": "verify", "message": b64(m)} for m in messages])[1:]
    theirs = [{}] * len(messages)
    if has_mailauth():
        theirs = talk(MAILAUTH, [{"op": "zone", "records": keys["zone"].for_mailauth()}]
                      + [{"op": "verify", "message": b64(m)} for m in messages])[1:]
    return [(o["arc"], arc_by_dkimpy(keys, m), t.get("arc"), o) for m, o, t in zip(messages, ours, theirs)]


def arc_by_dkimpy(keys, message):
    try:
        return dkim.arc_verify(message, dnsfunc=keys["zone"].txt)[0].decode() or "none"
    except Exception:  # as for DKIM
        return "fail"


def sets_of(fields):
    return [i for i, f in enumerate(fields) if f.lower().startswith(b"arc-")]


def on_set(change):
    """A change of one of the fields of ARC."""
    def apply(rng, fields, body):
        at = rng.choice(sets_of(fields))
        return change(rng, fields, at), body
    return apply


def replaced(fields, at, field):
    return fields[:at] + [field] + fields[at + 1:]


ARC_CHANGES = {
    "nothing": lambda rng, f, b: (f, b),
    "body": in_body(lambda rng, b: b + b"x\r\n"),
    "subject": in_field(b"subject", lambda rng, f: f + b"!"),
    "drop-field": on_set(lambda rng, f, at: f[:at] + f[at + 1:]),
    "twice": on_set(lambda rng, f, at: f[:at] + [f[at]] + f[at:]),
    "results": in_field(b"arc-authentication-results", lambda rng, f: f.replace(b"spf=pass", b"spf=fail", 1)),
    "spaces": on_set(lambda rng, f, at: replaced(f, at, f[at].replace(b"; ", b";  "))),
    "order": lambda rng, f, b: (rng.sample(f, len(f)), b),
    "instance": on_set(lambda rng, f, at: replaced(f, at, re.sub(rb"i=(\d)", b"i=7", f[at], count=1))),
    "instance-zero": on_set(lambda rng, f, at: replaced(f, at, re.sub(rb"i=(\d)", b"i=0\\1", f[at], count=1))),
    "cv": in_field(b"arc-seal", lambda rng, f: re.sub(rb"cv=\w+", rng.choice([b"cv=none", b"cv=fail", b"cv=pass"]), f)),
    "seal-h": in_field(b"arc-seal", lambda rng, f: f.replace(b"cv=", b"h=from; cv=", 1)),
    "algorithm": in_field(b"arc-seal", lambda rng, f: f.replace(b"rsa-sha256", b"rsa-sha1", 1)),
    "no-key": on_set(lambda rng, f, at: replaced(f, at, f[at].replace(b"s=rsa", b"s=none", 1))),
    "second-from": lambda rng, f, b: ([b"From: evil@example.org"] + f, b),
    "unsigned-field": lambda rng, f, b: ([b"X-New: 1"] + f, b),
    "case-of-name": on_set(lambda rng, f, at: replaced(f, at, f[at].partition(b":")[0].upper() + b":"
                                                       + f[at].partition(b":")[2])),
}


def arc_kind(name, verdict):
    return f"arc-{name}"


def test_arc_chains(keys):
    rng, kinds, n = random.Random(SEED + 4), Kinds(), 0
    made = chains(keys, rng, count(20))
    cases = [("nothing", who, m) for who, m in made]
    for name, change in ARC_CHANGES.items():
        for who, message in made:
            cases.append((name, who, joined(*change(rng, *split_fields(message)))))
    for (name, sealers, text), verdict in zip(cases, arc_of(keys, [text for _, _, text in cases])):
        for who, state in list(zip(WHO, verdict))[1:3]:
            n += state is not None
            if state is not None and state != verdict[0]:
                kinds.add(arc_kind(name, verdict), who, f"says {state}, {sealers}, {name}, "
                          f"{verdict[0]}: {verdict[3]['why']} {row_text(text)}")
    kinds.check(n, SEED + 4)
