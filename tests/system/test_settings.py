"""Settings with mistakes: each is told with its line, what would be right, and the nearest known name."""
import json
import os
import re
import subprocess

from common import guard
from gapura import PROGRAM, until


def run(*words, **more):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=30, **more)


# One mistake each, of every kind and in every block that people write; what stands behind ## must be said there.
MISTAKES = """
hostname = mail_example                       ## `mail_example` has a _
wings = inbond                                ## did you mean `inbound`?
require = authentcated                        ## none, observe, authenticated; did you mean `authenticated`?
known = legacy.example 192.0.2.0/33           ## neither an address, a domain, a .domain nor a network
profile = standrd                             ## did you mean `standard`?
trustd = 10.0.0.0/8                           ## did you mean `trusted`?
trusted = 10.0.0.300                          ## is not a network; write for example 192.0.2.0/24
listen mx {
    address = 127.0.0.1:99999                 ## write for example 192.0.2.1:25
    kind = inboud                             ## did you mean `inbound`?
    sertificate = a b                         ## did you mean `certificate`?
}
listen mx {                                   ## a second `listen mx`; the first is at
    address = 127.0.0.1:2525
}
listen secure {                               ## needs TLS but names no certificate
    address = 127.0.0.1:2465
    kind = submissions
}
listen other {
    address = 127.0.0.1:2465                  ## both want 127.0.0.1:2465
    certificate = none.pem none.key           ## cannot read
}
domain example.com {
    inside = smpt://10.0.0.5                  ## write smtp://host:25, lmtp://host:24
    recipients = tabel                        ## did you mean `table`?
    profile = strickt                         ## did you mean `strict`?
    tenant = acme                             ## did you mean `acm`?
}
domain other.example {                        ## needs `recipient_table = PATH`
    inside = smtp://10.0.0.5
    recipients = table
}
domain third.example {
    inside = smtp://10.0.0.5
    recipients = table
    recipient_table = people.txt              ## cannot read the recipient_table
}
verify {
    mode = maybe                              ## is not one of: off, on
    psl = nowhere/list.dat                    ## cannot read
    dkim_signatures = 0                       ## it must be from 1 to 16
    dkim_min_bits = 4096
    dkim_max_bits = 1024                      ## it must be from 2048 to 8192
    arc_trusted = lists.example, not a domain ## neither a domain nor a .domain
    reports = postmaster                      ## is not an address
    returns = soon                            ## is not a time span
    dkim_signature = 3                        ## did you mean `dkim_signatures`?
}
dkim {
    subdomains = not a domain                 ## is not a domain as keys are named
    required = sometimes                      ## is not one of: no, yes, all
    sign = perhaps                            ## neither yes nor no
    platform = a b                            ## is not a domain name
    selector = -x                             ## has 1 to 32 of a-z
    bits = 512                                ## it must be from 1024 to 4096
    check = 1 fortnight                       ## write for example 250ms, 30s, 5m, 2h or 1d
    grace = 400d                              ## it must be from 0s to 365d
    headers = "X:Y"                           ## names of header fields
    worker = 3                                ## did you mean `workers`?
}
arc {                                         ## `seal = yes` needs `domain`
    seal = yes
}
reports {
    addresses = dmarc@example.com, postmaster ## has `postmaster`, which is not an address
    keep = 1h                                 ## it must be from 1d
    adresses = a@example.com                  ## did you mean `addresses`?
}
dns_list zen {
    zone = zen..example                       ## is not a domain name
    codes = 127.0.0.2 listed, 10.0.0.1 spam   ## `10.0.0.1 spam` is no code of a block list
    kind = block
}
dns_list late {                               ## `zone` is missing
    timeout = 2m                              ## it must be from 10ms to 1m
}
tenant acm {
    number = 7
    profile = lenent                          ## did you mean `lenient`?
}
tenant bcm {
    number = 7                                ## two tenants have number 7
}
profile careful {
    base = standrd                            ## did you mean `standard`?
    weight = helo.not-fqd 0.5                 ## did you mean `not-fqdn`?
    weight = hel.not-fqdn 0.5                 ## did you mean `helo`?
    weight = spf.fail many                    ## write for example helo.localhost 1.5
    group = names none 4 hlo.*                ## did you mean `helo`?
    tag = 9
    hold = 5                                  ## `tag` at 9.00 would never happen, since `hold` begins at 5.00
}
check spff {                                  ## did you mean `spf`?
    mode = observe
}
check spf {
    mode = obsreve                            ## did you mean `observe`?
}
delivery {
    replies = replies.txt                     ## line 2: there is no such class: "NoSuchClass"
    retry = 3m, soon                          ## is not a time span
    ipv6 = sometimes                          ## never, reverse, always
}
pool fast {
    sources = onne                            ## did you mean `one`?
}
source one {
    address = 192.0.2.300                     ## is not an address
}
route world {
    domains = *
    via = nowhere                             ## write smtp://HOST:PORT
    tls = verfy                               ## did you mean `verify`?
    sources = one                             ## it belongs into a block `pool`
}
spool {
    segment = 3 MB                            ## it must be from 4.0 MB to 1.0 GB
    ring = 3 MB                               ## is a power of two
    dir =                                     ## no value
}
events {
    language = fr                             ## is not one of: en, id
}
dsn {                                         ## `dsn` is a row of block `smtp`, not a block
}
"""


def test_every_mistake_has_its_line(place):
    """All at once, each at its own line, with what would be right."""
    (place / "replies.txt").write_text("default\nclass NoSuchClass\n  hello\n")
    lines = MISTAKES.splitlines()
    (place / "gapura.conf").write_text("\n".join(line.partition("##")[0].rstrip() for line in lines))
    wanted = [(n, line.partition("##")[2].strip()) for n, line in enumerate(lines, 1) if "##" in line]
    # Seen from elsewhere: paths are taken from the settings file, once.
    done = run("check", "-c", f"{place.name}/gapura.conf", cwd=place.parent)
    told = re.findall(r"^\S*gapura\.conf:(\d+): (.*)$", done.stderr, re.M)
    assert done.returncode == 1 and f"{len(told)} errors; nothing was changed" in done.stderr, done.stderr
    for n, said in wanted:
        assert [text for line, text in told if int(line) == n and said in text], (n, said, done.stderr)
    assert sorted({int(line) for line, _ in told}) == [n for n, _ in wanted], done.stderr
    assert f"cannot read {place.name}/nowhere/list.dat" in done.stderr, done.stderr


def test_what_only_the_start_would_find_is_found_by_check(place):
    """Nothing that passes the check may keep a role from starting."""
    for extra, said in (("spool {\n    ring = 3 MB\n}\n", ":2: spool.ring is a power of two"),
                        ("require = authenticated\ncheck dkim {\n    mode = off\n}\n",
                         ":1: require = authenticated needs the check dkim, which is off")):
        (place / "one.conf").write_text(extra + "hostname = mx.example.com\n")
        done = run("check", "-c", place / "one.conf")
        assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_fifo_is_no_file(place):
    """Nothing waits for its writer: neither `check` nor the loader, nor the keeper that reads tables."""
    os.mkfifo(place / "fifo")
    (place / "one.conf").write_text(f"""hostname = mx.example.com
domain inside.test {{
    inside = smtp://127.0.0.1:2600
    recipients = table
    recipient_table = {place}/fifo
}}
listen sub {{
    kind = submission
    certificate = {place}/fifo
}}
srs {{
    secret = {place}/fifo
}}
""")
    done = run("check", "-c", place / "one.conf")
    assert done.returncode == 1, done
    for row, line in (("recipient_table", 5), ("certificate", 9), ("secret", 12)):
        said = [x for x in done.stderr.splitlines() if f":{line}:" in x]
        assert any(row in x and "not a regular file" in x for x in said), (row, done.stderr)


def test_check_tells_programs_too(place):
    (place / "bad.conf").write_text('hostname = mx.example.com\nnonsense = "a\nlisten mx {\n}\n')
    done = run("check", "--json", "-c", place / "bad.conf")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and done.stderr == "" and [r["line"] for r in rows] == [2, 3], done
    assert all(r["file"] == str(place / "bad.conf") and r["text"] for r in rows), rows
    done = run("check", "-c", place / "none.conf")
    assert done.returncode == 1 and "-c FILE names another file" in done.stderr, done


def test_who_may_see_the_password_of_a_route(place):
    """A login without TLS cannot be; one at a host that nobody verified is said, with its line."""
    (place / "password").write_text("secret\n")
    head = "hostname = mx.example.com\nroute smart {\n    domains = *\n    user = us\n" \
        f"    password_file = {place}/password\n"

    def check(rest):
        (place / "one.conf").write_text(head + rest + "}\n")
        return run("check", "-c", place / "one.conf")
    done = check("    via = smtp://smart.example.net:587\n    tls = never\n")
    assert done.returncode == 1 and "one.conf:7:" in done.stderr and "write `tls = verify`" in done.stderr, done.stderr
    done = check("    via = smtp://smart.example.net:587\n    tls = require\n")
    assert done.returncode == 0 and "one.conf:7: note:" in done.stderr and "SCRAM-SHA-256 alone" in done.stderr, done.stderr
    for rest in ("smart.example.net:587\n    tls = verify\n", "smart.example.net:587\n    auth_unverified = yes\n",
                 "127.0.0.1:587\n    tls = never\n"):
        done = check("    via = smtp://" + rest)
        assert done.returncode == 0 and "note" not in done.stderr, done.stderr


def test_what_is_surely_not_meant(place, gapura, net):
    """No errors, but said by `check`, at the start and by a reload: nobody can log in, a certificate's end, a world that is trusted."""
    for name, days in (("over", "0"), ("soon", "3"), ("good", "90")):
        stem, made = place / name, {"check": True, "capture_output": True}
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=mx.example.com", "-keyout", f"{stem}.key", "-out", f"{stem}.csr"], **made)
        subprocess.run(["openssl", "x509", "-req", "-in", f"{stem}.csr", "-signkey", f"{stem}.key", "-days", days,
                        "-out", f"{stem}.pem"], **made)
        (place / f"{name}.key").chmod(0o644)
    text = guard(net, networks="0.0.0.0/0, ::/0, 128.0.0.0/1")
    for i, name in enumerate(("", "over", "soon", "good")):
        text += f"listen sub{i} {{\n address = {net.ip(1)}:{2590 + i}\n kind = submission\n" + \
            (f" certificate = {place}/{name}.pem {place}/{name}.key\n" if name else "") + "}\n"
    g = gapura(text)
    done = run("check", "-c", g.conf)
    assert done.returncode == 0 and "fine" in done.stdout, done
    said = [line.partition(": note: ")[2] for line in done.stderr.splitlines()]
    wanted = ('listen "sub0": nobody can log in here', "over.pem ended on", "soon.pem ends on", "whole world")
    assert all(any(want in line for line in said) for want in wanted), done.stderr
    assert not any("sub3" in line for line in said), said
    notes = [json.loads(line) for line in run("check", "--json", "-c", g.conf).stdout.splitlines()]
    assert len(notes) == len(said) and all(n["note"] and n["line"] for n in notes)
    def warned(times):
        told = [e["text"] for e in g.events("Warning")]
        return all(sum(want in line for line in told) == times for want in wanted)
    until(lambda: warned(1), what="the warnings at the start")
    g.ctl("reload")
    until(lambda: warned(2), what="the warnings of a reload")
    g.write(guard(net))
    g.ctl("reload")
    assert warned(2) and "note" not in run("check", "-c", g.conf).stderr
