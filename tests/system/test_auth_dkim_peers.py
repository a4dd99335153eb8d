"""DKIM against dkimpy (Debian), mailauth (npm) and libopendkim, over generated messages.

What one signs the others verify; changed messages and odd signatures get the same verdict from all, or the disagreement
belongs to a kind that docs/disputed/differential.md explains. The seed is printed; GAPURA_SEED=N runs another one,
GAPURA_CASES=10 ten times as many.
"""
import hashlib
import random
import re

import pytest

from auth_messages import WHO, in_body, in_field, joined, keys, plain_of, row_text, split_fields  # noqa: F401
from auth_rivals import MAILAUTH, PEER, SEED, Kinds, b64, count, has_mailauth, opendkim, talk, unb64

dkim = pytest.importorskip("dkim")

PIECES = [b"word", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b" \r\n", b"\xc3\xa9", b"\xe9\xff", b".", b"a" * 998,
          b"=20\r\n", b"\t \t", b"longer text of several words, as people write\r\n"]
CANONS = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]
VALUES = [b"plain", b"two  spaces", b"folded\r\n\there", b"tail \t", b"", b"caf\xc3\xa9", b"\xe9\xff", b"a\r\n b\r\n \tc",
          b" " * 5 + b"x", b"a=b; c=d", b"\r\n folded at once", b"x" * 500, b"a:b:c", b"(comment) <a@b>"]
NAMES = [b"Subject", b"To", b"Cc", b"Date", b"Message-ID", b"Reply-To", b"X-Other", b"Received", b"Received", b"List-Id",
         b"MIME-Version", b"Content-Type", b"References"]


def body_of(rng):
    body = b"".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 3, 10, 30])))
    return body + b"\r\n" * rng.choice([0, 1, 1, 1, 2, 5])


def cased(rng, name):
    return rng.choice([name, name, name, name.lower(), name.upper()])


def message_of(rng):
    """One From, no field twice but Received: what repeats is a matter of its own."""
    fields = [cased(rng, b"From") + b": A <a@example.com>"]
    for name in rng.sample(NAMES, rng.randrange(2, 8)):
        sep = rng.choice(6 * [b": "] + 3 * [b":", b":\t"] + [b" : "])
        fields.append(cased(rng, name) + sep + rng.choice(VALUES))
    rng.shuffle(fields)
    return b"\r\n".join(fields) + b"\r\n\r\n" + body_of(rng)


def by_dkimpy(keys, message):
    try:
        return dkim.verify(message, dnsfunc=keys["zone"].txt)
    except Exception:  # what it cannot parse it says in many ways
        return False


def verdicts(keys, messages, seed):
    """(ours, dkimpy, mailauth, opendkim) for each: True for pass; None where somebody is not there."""
    z, rng = keys["zone"], random.Random(seed)
    ours = talk([PEER], [{"op": "zone", "text": z.text()}]
                + [{"op": "verify", "message": b64(m), "step": rng.choice([1, 2, 3, 7, 97, 4096])} for m in messages])
    theirs = [None] * len(messages)
    if has_mailauth():
        told = talk(MAILAUTH, [{"op": "zone", "records": z.for_mailauth()}]
                    + [{"op": "verify", "message": b64(m)} for m in messages])
        theirs = [any(r[0] == "pass" for r in t.get("dkim", [])) for t in told[1:]]
    third = opendkim(z.txt)
    return [(any(r[0] == "pass" for r in o["dkim"]), by_dkimpy(keys, m), t, third.verify(m) if third else None, o)
            for m, o, t in zip(messages, ours[1:], theirs)]




def body_tail(message):
    return message.partition(b"\r\n\r\n")[2]


def is_open(message, canon, who):
    """The last line has no CRLF, which SMTP never carries and each takes otherwise."""
    body = body_tail(message)
    return body[-2:] not in (b"", b"\r\n") and (canon.endswith("relaxed") or who == "opendkim")


def sign_kind(message, canon, kind, who):
    """The kind of: a fresh signature is refused by `who`."""
    if is_open(message, canon, who):
        return "dkim-open-last-line"
    if who == "dkimpy" and re.search(rb"(?m)^[!-9;-~]+[ \t]+:", message.partition(b"\r\n\r\n")[0]):
        return "dkim-space-before-colon"
    if who == "opendkim" and kind == "ed25519":
        return "dkim-opendkim-ed25519"
    return "unexplained"


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_others_verify_what_we_sign(keys, kind):
    rng, kinds, n = random.Random(SEED), Kinds(), 0
    jobs = [{"op": "sign", "message": b64(message_of(rng)), "key": keys["pem"][kind], "selector": kind,
             "domain": "example.com", "canon": rng.choice(CANONS), "step": rng.choice([1, 2, 5, 100, 65536]),
             **rng.choice([{}, {}, {"identity": "@sub.example.com"}, {"identity": "a+b@example.com"},
                           {"expires": 1900000000}, {"headers": "from:subject"}, {"headers": "From:from:To:x-none:to"}])}
            for _ in range(count(500))]
    fields = [unb64(t["field"]) for t in talk([PEER], jobs)]
    messages = [f + unb64(j["message"]) for f, j in zip(fields, jobs)]
    for job, message, verdict in zip(jobs, messages, verdicts(keys, messages, SEED)):
        for who, good in zip(WHO, verdict):
            n += 1
            if good is False:
                kinds.add(sign_kind(unb64(job["message"]), job["canon"], kind, who), who, f"{job['canon']} {job.get('headers')} ...{message[-90:]!r}")
    kinds.check(n, SEED)


def signers(keys, rng, messages):
    """(who, canon, kind, field) for each message, signed by somebody else."""
    third, z, out = opendkim(keys["zone"].txt), keys["zone"], []
    jobs = [{"op": "zone", "records": z.for_mailauth()}]
    for m in messages:
        kind, canon = rng.choice(["rsa", "rsa", "ed25519"]), rng.choice(CANONS)
        who = rng.choice(["dkimpy"] + (["mailauth"] if has_mailauth() else []) + (["opendkim"] if third else []))
        if who == "opendkim":
            kind = "rsa"
            field = third.sign(m, keys["pem"]["rsa"].encode(), kind, "example.com", canon)
        elif who == "dkimpy":
            key = keys["pem"]["rsa"].encode() if kind == "rsa" else keys["seed"]
            try:
                field = dkim.sign(m, kind.encode(), b"example.com", key, canonicalize=tuple(c.encode() for c in canon.split("/")),
                                  signature_algorithm=f"{kind}-sha256".encode(), length=rng.random() < 0.1)
            except dkim.DKIMException:
                field = None
        else:
            field = len(jobs)
            jobs.append({"op": "sign", "message": b64(m), "key": keys["pem"][kind], "selector": kind, "time": 1763890000,
                         "domain": "example.com", "canon": canon})
        out.append([who, canon, kind, field])
    told = talk(MAILAUTH, jobs) if len(jobs) > 1 else []
    for row in out:
        if row[0] == "mailauth":
            row[3] = unb64(told[row[3]]["field"]) if "field" in told[row[3]] else None
    return out


def test_we_verify_what_others_sign(keys):
    rng, kinds, n = random.Random(SEED + 1), Kinds(), 0
    messages = [message_of(rng) for _ in range(count(900))]
    made = [(m, row) for m, row in zip(messages, signers(keys, rng, messages)) if row[3]]
    assert len(made) > 0.8 * len(messages)
    signed = [row[3] + m for m, row in made]
    for (m, (who, canon, kind, _)), text, verdict in zip(made, signed, verdicts(keys, signed, SEED)):
        n += 1
        if not verdict[0]:
            kinds.add(theirs_kind(m, who, canon, verdict), who, f"{kind} {canon} {verdict} {row_text(text)}")
    kinds.check(n, SEED + 1)


def theirs_kind(message, who, canon, verdict):
    """The kind of: what `who` signed does not pass with us."""
    if is_open(message, canon, who):
        return "dkim-open-last-line"
    return "unexplained"


def in_signature(change):
    """A change of the signature field, which is the first."""
    def apply(rng, fields, body):
        return [change(rng, fields[0])] + fields[1:], body
    return apply


def at_random(rng, text, piece):
    at = rng.randrange(len(text) + 1)
    return text[:at] + piece + text[at:]


def shuffled(rng, fields, body):
    rest = fields[1:]
    rng.shuffle(rest)
    return fields[:1] + rest, body


def tag(name, value):
    """Puts the tag in front of b=."""
    return in_signature(lambda rng, f: f.replace(b" b=", b" " + name + b"=" + value + b"; b=", 1)
                        .replace(b"\tb=", b"\t" + name + b"=" + value + b"; b=", 1))


CHANGES = {
    "nothing": lambda rng, f, b: (f, b),
    "fold-subject": in_field(b"subject", lambda rng, f: f.replace(b" is", b"\r\n is", 1)),
    "widen-subject": in_field(b"subject", lambda rng, f: f.replace(b" is", b"  \t is ", 1)),
    "case-of-name": in_field(b"subject", lambda rng, f: b"SUBJECT" + f[7:]),
    "space-after-value": in_field(b"subject", lambda rng, f: f + b" \t"),
    "change-subject": in_field(b"subject", lambda rng, f: f + b"!"),
    "drop-date": lambda rng, f, b: ([x for x in f if not x.startswith(b"Date")], b),
    "unsigned-field": lambda rng, f, b: ([b"X-New: 1"] + f[1:2] + f[:1] + f[2:], b),
    "order": shuffled,
    "second-from": lambda rng, f, b: ([b"From: evil@example.org"] + f, b),
    "second-from-below": lambda rng, f, b: (f + [b"From: evil@example.org"], b),
    "second-subject": lambda rng, f, b: ([b"Subject: other"] + f, b),
    "second-type": lambda rng, f, b: ([b"Content-Type: text/html"] + f, b),
    "no-from": lambda rng, f, b: ([x for x in f if not x.startswith(b"From")], b),
    "append": in_body(lambda rng, b: b + b"more\r\n"),
    "append-lines": in_body(lambda rng, b: b + b"\r\n" * 3),
    "spaces-at-line-ends": in_body(lambda rng, b: b.replace(b"\r\n", b" \t\r\n")),
    "spaces-in-lines": in_body(lambda rng, b: b.replace(b" ", b" \t")),
    "byte": in_body(lambda rng, b: at_random(rng, b, b"x")),
    "bare-cr": in_body(lambda rng, b: b"a\rb\r\n" + b),
    "nul": in_body(lambda rng, b: b"a\0b\r\n" + b),
    "sig-spaces": in_signature(lambda rng, f: f.replace(b"; ", b" ;  ")),
    "sig-folds-b": in_signature(lambda rng, f: f[:-9] + b"\r\n " + f[-9:]),
    "sig-final-semicolon": in_signature(lambda rng, f: f + b";"),
    "sig-two-semicolons": in_signature(lambda rng, f: f + b";;"),
    "sig-unknown-tag": tag(b"zz", b"1"),
    "sig-tag-twice": tag(b"d", b"example.com"),
    "sig-q": tag(b"q", b"dns/txt"),
    "sig-q-unknown": tag(b"q", b"dns/foo"),
    "sig-i-other": tag(b"i", b"@example.org"),
    "sig-i-below": tag(b"i", b"a@b.example.com"),
    "sig-x-past": tag(b"x", b"1500000000"),
    "sig-t-future": tag(b"t", b"1990000000"),
    "sig-l-long": tag(b"l", b"999999"),
    "sig-l-zero": tag(b"l", b"0"),
    "sig-version": in_signature(lambda rng, f: f.replace(b"v=1", b"v=2", 1)),
    "sig-no-version": in_signature(lambda rng, f: f.replace(b"v=1; ", b"", 1)),
    "sig-algorithm": in_signature(lambda rng, f: f.replace(b"-sha256", b"-sha512", 1)),
    "sig-canon": in_signature(lambda rng, f: re.sub(rb"c=\w+/\w+", b"c=loose/loose", f, 1)),
    "sig-domain": in_signature(lambda rng, f: f.replace(b"d=example.com", b"d=example.org", 1)),
    "sig-domain-case": in_signature(lambda rng, f: f.replace(b"d=example.com", b"d=EXAMPLE.com", 1)),
    "sig-tag-case": in_signature(lambda rng, f: f.replace(b"; d=", b"; D=", 1)),
    "sig-b-cut": in_signature(lambda rng, f: f[:-8]),
    "sig-b-not-base64": in_signature(lambda rng, f: f[:-4] + b"*" + f[-3:]),
    "sig-bh": in_signature(lambda rng, f: re.sub(rb"bh=.", b"bh=A", f, 1)),
    "sig-twice": lambda rng, f, b: (f[:1] + f, b),
    "sig-bad-first": lambda rng, f, b: ([f[0].replace(b"bh=", b"bh=AAAA", 1)] + f, b),
    "sig-name-case": in_signature(lambda rng, f: b"dkim-signature" + f[14:]),
}


def test_changed_messages(keys):
    rng, kinds, n = random.Random(SEED + 2), Kinds(), 0
    names = [name for name in CHANGES for _ in range(count(40))]
    jobs, lengths = [], []
    for _ in names:
        kind = rng.choice(["rsa", "ed25519"])
        jobs.append({"op": "sign", "message": b64(plain_of(rng)), "key": keys["pem"][kind], "selector": kind,
                     "domain": "example.com", "canon": rng.choice(CANONS), "headers": "from:to:subject:date:content-type"})
    fields = [unb64(t["field"])[:-2] for t in talk([PEER], jobs)]
    changed = []
    for name, job, field in zip(names, jobs, fields):
        message = unb64(job["message"])
        if rng.random() < 0.15:  # with l=, which only dkimpy writes
            key = keys["pem"]["rsa"].encode() if job["selector"] == "rsa" else keys["seed"]
            field = dkim.sign(message, job["selector"].encode(), b"example.com", key, length=True,
                              canonicalize=tuple(c.encode() for c in job["canon"].split("/")),
                              include_headers=[b"from", b"to", b"subject", b"date", b"content-type"],
                              signature_algorithm=f"{job['selector']}-sha256".encode())[:-2]
            lengths.append(len(changed))
        changed.append(joined(*CHANGES[name](rng, [field, *split_fields(message)[0]], split_fields(message)[1])))
    lengths = set(lengths)
    for at, (name, job, text, verdict) in enumerate(zip(names, jobs, changed, verdicts(keys, changed, SEED))):
        for who, good in list(zip(WHO, verdict))[1:]:
            n += good is not None
            if good is None or good == verdict[0] or (who == "opendkim" and job["selector"] == "ed25519"):
                continue
            kinds.add(change_kind(name, at in lengths, verdict), who, f"says {good}, {name}, {job['canon']} "
                      f"{'l= ' if at in lengths else ''}{verdict[4]['dkim']} {row_text(text)}")
    kinds.check(n, SEED + 2)


def change_kind(name, with_length, verdict):
    """The kind of: a message that was changed passes with one and not with another."""
    reasons = " ".join(reason for _, reason in verdict[4]["dkim"])
    if "From field that is not signed" in reasons:
        return "dkim-second-from"
    if "Content-Type field that is not signed" in reasons:
        return "dkim-second-type"
    if with_length and "part of the body is not signed" in reasons:
        return "dkim-body-length"
    if name == "sig-bad-first" and verdict[1] is False:
        return "dkim-first-signature-only"
    return "unexplained-" + name


def relaxed(field):
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()


def signed_by_hand(keys, message, tags, canon="relaxed/relaxed", sep=b"; ", end=b""):
    """A signature of the tags as they are, odd ones too; b= is last and right. Written for this test alone."""
    header, body = canon.split("/")
    form = relaxed if header == "relaxed" else bytes
    fields, text = split_fields(message)
    if body == "relaxed":
        text = b"\r\n".join(re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in text.split(b"\r\n"))
    text = re.sub(rb"(\r\n)+\Z", b"", text)
    text += b"\r\n" if text or body == "simple" else b""
    length = next((int(v) for k, v in tags if k == b"l" and v.isdigit()), len(text))
    tags = [(k, b64(hashlib.sha256(text[:length]).digest()).encode() if v is None else v) for k, v in tags]
    own = b"DKIM-Signature: " + sep.join(k + b"=" + v for k, v in tags) + sep + b"b="
    left, hashed = list(fields), hashlib.sha256()
    for name in next((v for k, v in tags if k == b"h"), b"").split(b":"):
        found = [f for f in left if f.partition(b":")[0].strip().lower() == name.strip().lower()]
        if found:
            left.reverse()
            left.remove(found[-1])
            left.reverse()
            hashed.update(form(found[-1]) + b"\r\n")
    hashed.update(form(own + end))
    key = dkim.crypto.parse_pem_private_key(keys["pem"]["rsa"].encode())
    return joined([own + b64(dkim.crypto.RSASSA_PKCS1_v1_5_sign(hashed, key)).encode() + end, *fields],
                  message.partition(b"\r\n\r\n")[2])


TAGS = [(b"v", b"1"), (b"a", b"rsa-sha256"), (b"c", b"relaxed/relaxed"), (b"d", b"example.com"), (b"s", b"rsa"),
        (b"t", b"1763890000"), (b"h", b"from:to:subject:date"), (b"bh", None)]


def with_tag(name, value, twice=False):
    """The list with that tag changed, added, or a second time."""
    there = any(k == name for k, _ in TAGS)
    if there and not twice:
        return [(k, value if k == name else v) for k, v in TAGS]
    return TAGS + [(name, value)]


ODD = {
    "plain": {},
    "no-v": {"tags": TAGS[1:]}, "v-last": {"tags": TAGS[1:] + TAGS[:1]}, "v-2": {"tags": with_tag(b"v", b"2")},
    "v-1.0": {"tags": with_tag(b"v", b"1.0")}, "no-c": {"tags": TAGS[:2] + TAGS[3:], "canon": "simple/simple"},
    "c-one": {"tags": with_tag(b"c", b"relaxed"), "canon": "relaxed/simple"},
    "c-upper": {"tags": with_tag(b"c", b"Relaxed/RELAXED")}, "a-upper": {"tags": with_tag(b"a", b"RSA-SHA256")},
    "no-t": {"tags": [t for t in TAGS if t[0] != b"t"]}, "t-text": {"tags": with_tag(b"t", b"now")},
    "t-future": {"tags": with_tag(b"t", b"1990000000")}, "t-huge": {"tags": with_tag(b"t", b"9" * 30)},
    "t-negative": {"tags": with_tag(b"t", b"-5")}, "t-zero": {"tags": with_tag(b"t", b"0")},
    "x-past": {"tags": with_tag(b"x", b"1763890001")}, "x-before-t": {"tags": with_tag(b"x", b"1763880000")},
    "x-future": {"tags": with_tag(b"x", b"1990000000")}, "x-text": {"tags": with_tag(b"x", b"never")},
    "x-empty": {"tags": with_tag(b"x", b"")},
    "q": {"tags": with_tag(b"q", b"dns/txt")}, "q-other": {"tags": with_tag(b"q", b"dns/foo")},
    "q-both": {"tags": with_tag(b"q", b"dns/foo:dns/txt")}, "q-dns": {"tags": with_tag(b"q", b"dns")},
    "i-below": {"tags": with_tag(b"i", b"a@b.example.com")}, "i-other": {"tags": with_tag(b"i", b"@example.org")},
    "i-suffix": {"tags": with_tag(b"i", b"@notexample.com")}, "i-bare": {"tags": with_tag(b"i", b"example.com")},
    "i-case": {"tags": with_tag(b"i", b"@EXAMPLE.com")}, "i-qp": {"tags": with_tag(b"i", b"a=20b@example.com")},
    "i-empty": {"tags": with_tag(b"i", b"")},
    "d-case": {"tags": with_tag(b"d", b"Example.COM")}, "d-dot": {"tags": with_tag(b"d", b"example.com.")},
    "d-spaces": {"tags": with_tag(b"d", b" example.com ")}, "s-case": {"tags": with_tag(b"s", b"RSA")},
    "unknown-tag": {"tags": with_tag(b"zz", b"x y")}, "unknown-empty": {"tags": with_tag(b"zz", b"")},
    "tag-twice": {"tags": with_tag(b"d", b"example.com", twice=True)},
    "tag-case": {"tags": with_tag(b"D", b"example.org")}, "tag-digit": {"tags": with_tag(b"1a", b"x")},
    "tag-underscore": {"tags": with_tag(b"a_b", b"x")}, "tag-dash": {"tags": with_tag(b"a-b", b"x")},
    "value-8bit": {"tags": with_tag(b"zz", b"caf\xc3\xa9")}, "value-equals": {"tags": with_tag(b"zz", b"a=b")},
    "z": {"tags": with_tag(b"z", b"From:a|Subject:b")},
    "sep-tight": {"sep": b";"}, "sep-folded": {"sep": b";\r\n\t"}, "sep-wide": {"sep": b" ;   "},
    "sep-tab": {"sep": b"\t;\t"}, "end-semicolon": {"end": b";"}, "end-two": {"end": b";;"}, "end-space": {"end": b" ; "},
    "h-spaces": {"tags": with_tag(b"h", b"from : to :subject: date")},
    "h-folded": {"tags": with_tag(b"h", b"from:\r\n to:\r\n\tsubject:date")},
    "h-case": {"tags": with_tag(b"h", b"FROM:To:sUBJECT:date")},
    "h-absent": {"tags": with_tag(b"h", b"from:x-none:x-none:to")},
    "h-empty-item": {"tags": with_tag(b"h", b"from::to")}, "h-end-colon": {"tags": with_tag(b"h", b"from:to:")},
    "h-no-from": {"tags": with_tag(b"h", b"to:subject")}, "h-empty": {"tags": with_tag(b"h", b"")},
    "h-over": {"tags": with_tag(b"h", b"from:from:to:to")}, "h-own": {"tags": with_tag(b"h", b"from:dkim-signature")},
    "h-star": {"tags": with_tag(b"h", b"from:*")},
    "l-all": {"tags": with_tag(b"l", b"6")}, "l-zero": {"tags": with_tag(b"l", b"0")}, "l-text": {"tags": with_tag(b"l", b"all")},
    "l-long": {"tags": with_tag(b"l", b"9999")}, "l-huge": {"tags": with_tag(b"l", b"9" * 77)},
    "l-space": {"tags": with_tag(b"l", b" 6 ")}, "l-sign": {"tags": with_tag(b"l", b"+6")},
    "bh-folded": {"fold": b"bh"}, "b-folded": {"fold": b"b"}, "b-unpadded": {"cut": True},
}


def odd_message(keys, rng, name):
    how = dict(ODD[name])
    fold, cut = how.pop("fold", None), how.pop("cut", None)
    message = joined([b"From: Ann <ann@example.com>", b"To: bob@example.net", b"Subject: this  is\r\n it",
                      b"Date: Mon, 23 Nov 2026 10:00:00 +0000"], rng.choice([b"body\r\n", b"body\r\n", b"body \r\n\r\n"]))
    if fold == b"bh":
        how["tags"] = TAGS[:-1] + [(b"bh", b64(hashlib.sha256(b"body\r\n").digest()).encode()[:20] + b"\r\n\t"
                                    + b64(hashlib.sha256(b"body\r\n").digest()).encode()[20:])]
    text = signed_by_hand(keys, message, how.pop("tags", TAGS), **how)
    if fold == b"b":
        text = re.sub(rb"( b=.{9})(.{50})", rb"\1\r\n \2 \t", text, count=1)
    return re.sub(rb"( b=[^=\r]*)=+(?=\r\n)", rb"\1", text, count=1) if cut else text


def test_odd_signatures(keys):
    """Signatures whose mathematics are right and whose tags are not what everybody writes."""
    rng, kinds, n = random.Random(SEED + 3), Kinds(), 0
    names = [name for name in ODD for _ in range(count(4))]
    texts = [odd_message(keys, rng, name) for name in names]
    for name, text, verdict in zip(names, texts, verdicts(keys, texts, SEED)):
        for who, good in list(zip(WHO, verdict))[1:]:
            n += good is not None
            if good is not None and good != verdict[0]:
                kinds.add(f"dkim-tag-{name}", who, f"says {good}, {verdict[4]['dkim']} {row_text(text)}")
    assert any(v[0] for _, v in zip(range(4), verdicts(keys, texts[:4], SEED)))
    kinds.check(n, SEED + 3)
