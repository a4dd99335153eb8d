"""Profiles: mail is set aside, released and refused by its sum; the record is the same in explain and
in the event; `policy show` and `policy test` tell what is in force and what another one would change."""
import json
import subprocess

from common import STRANGER, guard
from gapura import PROGRAM, until
from smtp import message

PROFILES = """
check helo {
    mode = on
}
profile standard {
    base   = standard
    group  = names none 50
    weight = helo.localhost 9
    weight = helo.not-fqdn  20
}
profile watch {
    base    = standard
    observe = yes
}
"""


def policy(*words):
    return subprocess.run([PROGRAM, "policy", *words], capture_output=True, text=True, timeout=20)


SPOOFS = [("out3.news.example", "b-1@news.example", "example.com", "news.example", ""),
          ("out3.news.example", "b-2@news.example", "example.com", "news.example", ""),
          ("", "", "example.com", "", "pass"), ("x\x1b[2J.example", "a@b.example", "Other.example", "", "")]


def spoof_event(n, client, sender, domain, dkim, arc):
    return {"type": "Reception", "id": str(n), "sender": sender,
            "peer_address": {"name": client, "addr": "192.0.2.77:4711"},
            "authentication": {"from": [domain], "dkim": [{"domain": dkim}] if dkim else [], "arc": {"result": arc}},
            "findings": [{"check": "helo", "name": "localhost"},
                         {"check": "own_domain_spoof", "name": "author", "input": domain, "observed": True}]}


def test_who_writes_as_one_of_ours(place):
    lines = [json.dumps(spoof_event(n, *row)) for n, row in enumerate(SPOOFS)]
    lines += ["no event", "[]", "{}", '{"findings":[{"check":7},3]}', json.dumps({"type": "Delivery", "id": "9"})]
    path = place / "events.jsonl"
    path.write_text("\n".join(lines) + "\n")
    rows = [json.loads(line) for line in policy("senders", str(path), "--json").stdout.splitlines()]
    assert [(r["mails"], r["client"], r["mail_from"], r["domain"], r["dkim"], r["arc"]) for r in rows] == [
        (2, "out3.news.example", "news.example", "example.com", "news.example", ""),
        (1, "192.0.2.77", "<>", "example.com", "", "pass"),
        (1, "x\x1b[2J.example", "b.example", "Other.example", "", "")]
    shown = policy("senders", str(path)).stdout
    assert shown.split()[:4] == ["MAILS", "CLIENT", "MAIL", "FROM"] and "\x1b" not in shown, shown
    only = policy("senders", str(path), "--domain", "other.EXAMPLE", "--json").stdout.splitlines()
    assert len(only) == 1 and json.loads(only[0])["client"].startswith("x")
    assert "no stranger wrote as one of ours in these 0 events" in policy("senders", "/dev/null").stdout
    for verb in ("senders", "test"):
        for path in (place / "none", place):
            gone = policy(verb, str(path))
            assert gone.returncode == 2 and f"{path} cannot be read" in gone.stderr and not gone.stdout, gone


def send(g, name, to="bob@inside.test"):
    with g.smtp(source=g.net.ip(STRANGER), name=name) as c:
        c.ehlo()
        return c.mail("ann@far.test", to, message("to be judged"))


def test_held_mail_waits_says_why_and_is_released(gapura, net, sink):
    inside = sink(2)
    g = gapura(guard(net, extra=PROFILES))
    assert send(g, "localhost").code == 250
    reception = g.wait_event("Reception")
    assert reception["verdict"] == "hold" and reception["profile"] == "standard", reception
    assert reception["score"] == sum(f["weight"] for f in reception["findings"] if not f.get("observed"))
    row = until(g.queue, what="a held row")[0]
    assert row["state"] == "held" and "verdict of the guard" in row["reason"], row
    text = g.ctl("explain", reception["id"], as_json=False)[1]
    assert "verdict: hold at " in text and "helo.localhost: localhost" in text, text
    for finding in reception["findings"]:
        assert f"{finding['check']}.{finding['name']}" in text, text
    g.stop()
    g.start()
    row = until(g.queue, what="the held row after a restart")[0]
    assert row["state"] == "held" and not inside.messages
    g.ctl("queue", "release", reception["id"])
    inside.wait(1)
    g.wait_empty()


def test_a_sum_refuses_and_an_observing_profile_does_not(gapura, net, sink):
    inside = sink(2)
    g = gapura(guard(net, extra=PROFILES + "domain watched.test {\n    inside = smtp://%s:2600\n"
                     "    recipients = any\n    profile = watch\n}\n" % net.ip(2)))
    answer = send(g, "desktop")
    assert answer.code == 550 and "helo.not-fqdn" in answer.text, answer.text
    refusal = g.wait_event("Rejection")
    assert refusal["verdict"] == "refuse" and refusal["score"] >= 2000, refusal
    assert send(g, "desktop", "eve@watched.test").code == 250
    inside.wait(1)
    reception = g.wait_event("Reception")
    assert reception["verdict"] == "pass" and reception["would"]["verdict"] == "refuse", reception

    said = policy("test", str(g.dir / "log/events.jsonl"), "--profile", "lenient", "-c", str(g.conf))
    assert said.returncode == 0 and "refuse at " in said.stdout and " -> pass at " in said.stdout, said


def test_show_names_the_line_of_each_weight(gapura, net):
    g = gapura(guard(net, extra=PROFILES), start=False)
    path = str(g.conf)
    said = policy("show", "standard", "-c", path)
    line = next(n for n, text in enumerate(open(path), 1) if "helo.localhost" in text)
    assert said.returncode == 0 and f"{path}:{line}" in said.stdout, said
    assert "shipped:standard.conf:" in said.stdout and "judges   all mail" in said.stdout
    shown = json.loads(policy("show", "strict", "--json", "-c", path).stdout)
    assert shown["profile"] == "strict" and {"finding", "weight", "file", "line"} <= set(shown["weights"][0])
    said = policy("show", "nobody", "-c", path)
    assert said.returncode == 1 and "no profile `nobody`" in said.stderr
    g.write(guard(net, extra=PROFILES + "profile bad {\n    weight = helo.lcalhost 1\n    base = nobody\n}\n"))
    code, said = g.check()
    assert code == 1 and "did you mean `localhost`?" in said and 'no profile "nobody"' in said, said
