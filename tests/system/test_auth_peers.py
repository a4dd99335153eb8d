"""SPF against pyspf, DMARC against authheaders (Debian) and mailauth (npm), over generated zones.

A disagreement belongs to a kind that docs/disputed/differential.md explains, or the test fails. The seed is printed;
GAPURA_SEED=N runs another one, GAPURA_CASES=10 ten times as many. DKIM: test_auth_dkim_peers.py; ARC: test_auth_arc_peers.py.
"""
import random
import re

import pytest

from auth_rivals import MAILAUTH, PEER, SEED, Kinds, Zone, b64, count, has_mailauth, talk

spf = pytest.importorskip("spf")

# --- SPF ---

CLIENTS = ["192.0.2.1", "192.0.2.77", "198.51.100.5", "2001:db8::1", "2001:db8:1::25"]
HOSTS = [f"h{i}.test" for i in range(6)] + ["none.test", "slow.test", "empty.test", "h1.d1.test"]
DOMAINS = 4 * [f"d{i}.test" for i in range(7)] + ["none.test", "slow.test", "empty.test", "two.test", "bad.test"]
MACROS = ["%{d}", "%{i}.x.test", "%{ir}.%{v}.x.test", "%{l}.x.test", "%{l1r+}.x.test", "%{s}.x.test", "%{o2}", "%{h}",
          "%{d1r}.test", "%{S}.x.test", "%{p}", "%%.x.test", "%_.x.test", "%-.x.test", "%{dr-}.test", "h1.%{d}"]
BROKEN = ["%{", "%{x}", "%{d0}", "%", "a..b.test", "%{l-", "", "test", ".test", "h1.test.", "%{d}x%{"]


def one_of(rng, good, bad):
    """Mostly from the good ones: a record of ten terms must be right now and then."""
    return rng.choice(bad if rng.random() < 0.02 else good)


def spf_name(rng, names):
    return one_of(rng, names if rng.random() < 0.88 else MACROS, BROKEN)


def spf_cidr(rng):
    return one_of(rng, ["", "", "", "", "/24", "/32", "/0", "//64", "/24//48", "//128"],
                  ["/33", "//129", "/024", "/", "//", "/-1"])


def spf_term(rng):
    kind = rng.choice(["ip4", "ip4", "ip6", "a", "a", "mx", "mx", "include", "include", "include", "exists", "ptr"])
    q = rng.choice(["", "", "", "+", "-", "~", "?"])
    if kind == "ip4":
        net = one_of(rng, ["192.0.2.1", "192.0.2.0/24", "198.51.100.0/25", "10.0.0.1", "192.0.2.0/0", "0.0.0.0/1"],
                     ["192.0.2.1/33", "192.0.2", "192.0.2.1/", "192.0.2.256", "1.2.3.4/08", "::1"])
    elif kind == "ip6":
        net = one_of(rng, ["2001:db8::1", "2001:db8::/32", "2001:db8:1::/48", "::1", "::/0", "::ffff:192.0.2.1"],
                     ["2001:db8::1/129", "2001:db8", "1:2:3", "192.0.2.1"])
    elif kind in ("a", "mx"):
        net = (":" + spf_name(rng, HOSTS) if rng.random() < 0.7 else "") + spf_cidr(rng)
        return q + kind + net
    elif kind == "ptr":
        return q + kind + (":" + spf_name(rng, DOMAINS) if rng.random() < 0.6 else "")
    else:
        net = spf_name(rng, DOMAINS if kind == "include" else HOSTS)
    return q + (kind.upper() if rng.random() < 0.05 else kind) + ":" + net


def spf_record(rng):
    terms = [spf_term(rng) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 6, 12]))]
    if rng.random() < 0.75:
        terms.append(rng.choice(["-all", "~all", "?all", "all", "+all", "-ALL"]))
    if rng.random() < 0.25:
        terms.insert(rng.randrange(len(terms) + 1), "redirect=" + spf_name(rng, DOMAINS))
    if rng.random() < 0.2:
        terms.insert(rng.randrange(len(terms) + 1), "exp=" + rng.choice(["why.test", "none.test", "%{d}", "two.test"]))
    if rng.random() < 0.05:
        terms.insert(rng.randrange(len(terms) + 1),
                     rng.choice(["foo=bar", "foo=%{x}", "x-y_z.1=%{d}", "moo", "a=b=c", "all:", "all.x", "include",
                                 "redirect=", "exp=", "a:", "=x", "1=x", "ip4", "-", "include:d1.test/24"]))
    return "v=spf1" + "".join(rng.choice([" ", " ", " ", "  "]) + t for t in terms)


def spf_zone(rng):
    """A small world; two clients have names."""
    z = Zone([("h0.test", "A", "192.0.2.1"), ("h1.test", "A", "192.0.2.77"), ("h1.test", "AAAA", "2001:db8::1"),
              ("h2.test", "A", "198.51.100.5"), ("h3.test", "AAAA", "2001:db8:1::25"), ("h4.test", "A", "10.0.0.1"),
              ("h5.test", "CNAME", "h0.test"), ("h1.d1.test", "A", "192.0.2.1"),
              ("1.2.0.192.in-addr.arpa", "PTR", "h0.test"), ("1.2.0.192.in-addr.arpa", "PTR", "h1.d1.test"),
              ("77.2.0.192.in-addr.arpa", "PTR", "h4.test"), ("why.test", "TXT", "%{i} may not send for %{d}, says %{c}"),
              ("ann.x.test", "A", "127.0.0.2"), ("192.0.2.1.x.test", "A", "127.0.0.2"),
              ("two.test", "TXT", "v=spf1 -all"), ("two.test", "TXT", "v=spf1 +all"),
              ("bad.test", "TXT", "v=spf1 moo -all"), ("empty.test", "TXT", "nothing here")])
    z.fails("slow.test")
    for host in ("h0.test", "h2.test", "d1.test"):
        for i in range(rng.choice([0, 1, 2, 3])):
            z.add(host, "MX", (10 * i, rng.choice(HOSTS)))
    if rng.random() < 0.2:
        for i in range(rng.choice([10, 11])):
            z.add("h4.test", "MX", (10, f"m{i}.h4.test"))
            z.add(f"m{i}.h4.test", "A", f"192.0.2.{70 + i}")
    for i in range(7):
        z.add(f"d{i}.test", "TXT", spf_record(rng))
        if rng.random() < 0.3:
            z.add(f"d{i}.test", "A", rng.choice(["192.0.2.1", "198.51.100.5"]))
    return z


def pyspf(z, job):
    """Its result and explanation, without a network."""
    def lookup(name, kind, strict=True, timeout=20):
        found = z.find(name, kind)
        alias = z.find(name, "CNAME") if not found else None
        if found == "TIMEOUT":
            raise spf.TempError("DNS timeout")
        if alias and alias != "TIMEOUT":
            return [((name, "CNAME"), alias[0])]
        if kind == "TXT":
            return [((name, kind), [value.encode()]) for value in found or []]
        return [((name, kind), value) for value in found or []]
    spf.DNSLookup = lookup
    query = spf.query(i=job["ip"], s=job["from"], h=job["helo"], receiver="receiver.test", strict=True)
    result, _, why = query.check()
    return result, why


def spf_kind(z, ours, theirs, why):
    """The kind of a disagreement between us and pyspf."""
    records = " ".join(v for (_, kind), values in z.records.items() if kind == "TXT" for v in values)
    if theirs == "permerror" and "Void lookup limit" in why and ours["voids"] <= 2:
        return "spf-void-count"
    if theirs == "permerror" and "Too many DNS lookups" in why and "redirect=" in records and ours["terms"] <= 10:
        return "spf-redirect-counted"
    if theirs == "permerror" and "trivial recursion" in why:
        return "spf-recursion"
    if ours["result"] == "permerror" and "d0}" in ours["why"] and "d0}" in records:
        return "spf-zero-parts"
    failing = any(host == "slow.test" for (_, kind), values in z.records.items() if kind == "MX" for _, host in values)
    if theirs == "temperror" and failing and "mx" in records:
        return "spf-mx-failure"  # whatever became of the terms behind it
    return "unexplained"


def spf_world(rng):
    return spf_zone(rng), [{"op": "spf", "ip": rng.choice(CLIENTS), "helo": "helo.d1.test",
                            "from": f"{rng.choice(['ann', 'a.b', 'a+b-c', 'postmaster'])}@{rng.choice(DOMAINS[:7])}"}
                           for _ in range(30)]


def test_spf_with_pyspf():
    rng, kinds, n = random.Random(SEED), Kinds(), 0
    worlds = [spf_world(rng) for _ in range(count(150))]
    for (z, jobs), told in zip(worlds, ours_over(worlds)):
        for job, ours in zip(jobs, told):
            theirs, why = pyspf(z, job)
            n += 1
            own = z.find(job["from"].partition("@")[2], "TXT")
            said = "" if why == "SPF fail - not authorized" else why
            if ours["result"] != theirs:
                kinds.add(spf_kind(z, ours, theirs, why), "pyspf", f"{job} {own}: {ours} / {theirs} {why}")
            elif theirs == "fail" and ours["explanation"] != said:
                same = ours["explanation"].lower() == said.lower()
                kinds.add("spf-hex-case" if same else "spf-explanation", "pyspf", f"{job} {own}: {ours} / {why}")
    kinds.check(n, SEED)


# --- DMARC ---

AUTHORS = ["example.com", "sub.example.com", "a.b.example.com", "example.co.uk", "x.example.co.uk", "other.org",
           "deep.sub.other.org", "none.net"]
PLACES = ["example.com", "sub.example.com", "b.example.com", "a.b.example.com", "example.co.uk", "other.org", "co.uk"]


def dmarc_record(rng):
    """Mostly right; the odd ones are what people publish by mistake."""
    policies = ["none", "quarantine", "reject"]
    tags = ["p=" + rng.choice(policies)]
    if rng.random() < 0.4:
        tags.append("sp=" + rng.choice(policies))
    if rng.random() < 0.3:
        tags.append("adkim=" + rng.choice("rs"))
    if rng.random() < 0.3:
        tags.append("aspf=" + rng.choice("rs"))
    if rng.random() < 0.3:
        tags.append("rua=mailto:dmarc@example.com")
    if rng.random() < 0.1:
        tags.append(rng.choice(["pct=50", "fo=1", "ri=3600", "zz=1", "rf=afrf"]))
    if rng.random() < 0.04:
        tags = rng.choice([["sp=reject"], ["p=bounce"], ["p=REJECT"], ["P=reject"], ["p=reject", "sp=maybe"], [], ["p"], ["p="],
                           ["p=none", "p=reject"], ["rua=mailto:a@example.com", "p=reject"]])
    head = "v=DMARC1" if rng.random() < 0.97 else rng.choice(["v=DMARC2", "v=dmarc1", "V=DMARC1", "v= DMARC1", " v=DMARC1", "x"])
    return head + "".join(rng.choice([";", "; ", "; ", " ; "]) + t for t in tags) + rng.choice(["", ";", "; "])


class OneList:
    """authheaders reads the Public Suffix List anew for each name; the same answers, from one reading."""

    def __init__(self):
        lists = pytest.importorskip("publicsuffix2")
        with open("/usr/share/publicsuffix/public_suffix_list.dat", encoding="utf-8") as text:
            self.list = lists.PublicSuffixList(text)

    def __call__(self, domain):
        return self.list.get_public_suffix(domain)


def dmarc_by_authheaders(rivals, z, job):
    authheaders, authres = rivals
    try:
        result, _, _, policy = authheaders.dmarc_per_from(
            job["from"],
            authres.SPFAuthenticationResult(result=job["spf"][0], smtp_mailfrom="a@" + job["spf"][1]),
            authres.DKIMAuthenticationResult(result=job["dkim"][0][0], header_d=job["dkim"][0][1]),
            dnsfunc=lambda name: (z.txt(name) or b"").decode())
    except IndexError:  # a tag without "="
        return "error", ""
    return result, policy


def dmarc_kind(z, job, ours, theirs, who):
    """The kind of a disagreement about a message's DMARC, by the records that either could have gone by."""
    places = {job["from"], ours["at"], OneList.of(job["from"])}
    texts = [(z.txt("_dmarc." + place) or b"").decode() for place in sorted(places - {""})]
    texts = [t for t in texts if t]
    names = [[tag.partition("=")[0].strip() for tag in t.split(";") if tag.strip()] for t in texts]
    own = (z.txt("_dmarc." + ours["at"]) or b"").decode() if ours["at"] else ""
    if any(not t.startswith("v=DMARC1") for t in texts):
        return "dmarc-version"
    if any(len({n.lower() for n in tags}) < len(tags) for tags in names):
        return "dmarc-tag-twice"
    if any(n != n.lower() for tags in names for n in tags):
        return "dmarc-tag-case"
    policy = re.compile(r"(none|quarantine|reject)$", re.I)
    if any(not policy.match(v.strip()) for t in texts for v in re.findall(r"\bs?p=([^;]*)", t)) or \
            any("p" not in tags for tags in names) or any(re.search(r";\s*p\s*(;|$)", t) for t in texts):
        return "dmarc-bad-policy"
    if who == "mailauth" and (ours["result"], theirs[0]) == ("fail", "pass") and re.search(r"\ba(dkim|spf)=s", own):
        return "dmarc-strict"
    if who == "authheaders" and ours["result"] == theirs[0] and ours["source"] == "p" and re.search(r"\bsp=" + theirs[1], own):
        return "dmarc-sp-for-own-domain"
    return "unexplained"


def dmarc_world(rng):
    z = Zone()
    for place in PLACES:
        if rng.random() < 0.5:
            z.add("_dmarc." + place, "TXT", dmarc_record(rng))
    jobs = []
    for _ in range(40):
        author = rng.choice(AUTHORS)
        jobs.append({"op": "dmarc", "from": author, "header": b64(b"From: a@" + author.encode() + b"\r\n"), "psl": True,
                     "spf": [rng.choice(["pass", "fail"]), rng.choice(AUTHORS)],
                     "dkim": [[rng.choice(["pass", "fail"]), rng.choice(AUTHORS)]]})
    return z, jobs


def for_mailauth(job):
    return {"op": "dmarc", "from": "a@" + job["from"], "spf": [d for r, d in [job["spf"]] if r == "pass"],
            "dkim": [d for r, d in job["dkim"] if r == "pass"]}


def over_zones(argv, worlds, zone_of, job_of):
    """One run of a program over all zones: the answers, a list for each zone."""
    told = iter(talk(argv, [j for z, jobs in worlds for j in [zone_of(z), *map(job_of, jobs)]]))
    return [[next(told) for _ in range(len(jobs) + 1)][1:] for _, jobs in worlds]


def ours_over(worlds):
    return over_zones([PEER], worlds, lambda z: {"op": "zone", "text": z.text()}, lambda job: job)


def test_dmarc():
    """By the Public Suffix List, which is what they go by (RFC 7489)."""
    authheaders = pytest.importorskip("authheaders")
    authres = pytest.importorskip("authres")
    OneList.of = OneList()
    authheaders.get_org_domain = authheaders.dmarc_lookup.get_org_domain = OneList.of
    rng, kinds, n = random.Random(SEED + 5), Kinds(), 0
    worlds = [dmarc_world(rng) for _ in range(count(60))]
    third = [[None] * len(jobs) for _, jobs in worlds]
    if has_mailauth():
        third = over_zones(MAILAUTH, worlds, lambda z: {"op": "zone", "records": z.for_mailauth()}, for_mailauth)
    for (z, jobs), told, others in zip(worlds, ours_over(worlds), third):
        for job, ours, other in zip(jobs, told, others):
            for who, theirs in (("authheaders", dmarc_by_authheaders((authheaders, authres), z, job)),
                                ("mailauth", (other["result"], other["policy"].strip().lower()) if other else None)):
                if not theirs:
                    continue
                n += 1
                if ours["result"] != theirs[0] or (theirs[0] != "none" and ours["policy"] != theirs[1]):
                    records = {k[0]: v for k, v in z.records.items()}
                    kinds.add(dmarc_kind(z, job, ours, theirs, who), who, f"says {theirs}, {ours} {job} {records}")
    kinds.check(n, SEED + 5)
