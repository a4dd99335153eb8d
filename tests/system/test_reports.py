"""Reports that others send (DMARC aggregate, TLS): from the mail to the store, through a role without
files and network; once each, whatever ends in between; and `gapura report`.
"""
import gzip
import io
import json
import os
import signal
import subprocess
import zipfile
from email.message import EmailMessage
from pathlib import Path
from xml.etree import ElementTree

import pytest

from common import STRANGER, guard, stranger, trusted
from gapura import PROGRAM, ROOT, freeze, until
from peers import Nsd

SUITES = Path(os.environ.get("GAPURA_SUITES", ROOT.parent / "shared/suites"))
DMARC = SUITES / "dmarc-reports-parsedmarc/aggregate"
TLS = SUITES / "dmarc-reports-parsedmarc/smtp_tls"
ADDRESS = "dmarc@inside.test"


def block(extra="", addresses=ADDRESS):
    return f"reports {{\n    addresses = {addresses}\n    {extra}\n}}\n"


def record(source, count, disposition="none", dkim="pass", spf="pass", header_from="inside.test", auth=None):
    auth = auth or (f"<dkim><domain>{header_from}</domain><selector>s1</selector><result>{dkim}</result></dkim>"
                    f"<spf><domain>{header_from}</domain><result>{spf}</result></spf>")
    return (f"<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated>"
            f"<disposition>{disposition}</disposition><dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>"
            f"<identifiers><header_from>{header_from}</header_from></identifiers>"
            f"<auth_results>{auth}</auth_results></record>")


def dmarc(number="1", records=None, org="far.test", domain="inside.test", begin=1763856000):
    records = [record("192.0.2.1", 3)] if records is None else records
    return ("<?xml version=\"1.0\"?><feedback><version>1.0</version><report_metadata>"
            f"<org_name>{org}</org_name><email>reports@{org}</email><report_id>{number}</report_id>"
            f"<date_range><begin>{begin}</begin><end>{begin + 86399}</end></date_range></report_metadata>"
            f"<policy_published><domain>{domain}</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p><sp>none</sp>"
            f"<pct>100</pct></policy_published>{''.join(records)}</feedback>").encode()


def tls(number="t1", org="far.test", domain="inside.test", good=10, failures=()):
    return json.dumps({
        "organization-name": org, "report-id": number, "contact-info": f"tls@{org}",
        "date-range": {"start-datetime": "2025-11-23T00:00:00Z", "end-datetime": "2025-11-23T23:59:59Z"},
        "policies": [{"policy": {"policy-type": "sts", "policy-string": ["version: STSv1", "mode: enforce"],
                                 "policy-domain": domain, "mx-host": ["mx.inside.test"]},
                      "summary": {"total-successful-session-count": good,
                                  "total-failure-session-count": sum(n for _, n in failures)},
                      "failure-details": [{"result-type": kind, "sending-mta-ip": "192.0.2.9",
                                           "receiving-mx-hostname": "mx.inside.test",
                                           "failed-session-count": n} for kind, n in failures]}]}).encode()


def zipped(data, name="report.xml"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name, data)
    return out.getvalue()


def mail(data, name, kind="application/gzip", sender="reports@far.test", to=ADDRESS):
    m = EmailMessage()
    m["From"], m["To"], m["Subject"] = sender, to, "Report domain: inside.test"
    m["Date"], m["Message-ID"] = "Sun, 23 Nov 2025 10:00:00 +0000", f"<{name}@far.test>"
    m.set_content("A report.\n")
    m.add_attachment(data, *kind.split("/"), filename=name)
    return m.as_bytes().decode("ascii")


def gz(data, name="far.test!inside.test!1763856000!1763942399.xml.gz", **words):
    return mail(gzip.compress(data), name, **words)


def send(g, text, to=ADDRESS, sender="reports@far.test", expect=250, client=trusted):
    with client(g) as c:
        reply = c.mail(sender, to, text)
    assert reply.code == expect, reply
    return reply


def reports(g, *words):
    return g.ctl("report", "list", *words)[1]


def wait_reports(g, count):
    return until(lambda: len(rows := reports(g)) >= count and rows, what=f"{count} reports")


def settled(g):
    """Everything that was taken is delivered, read, or set aside."""
    g.wait_empty()


# The way of a report.

def test_a_dmarc_report_is_read_and_delivered(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net) + block())
    send(g, gz(dmarc(records=[record("192.0.2.1", 3), record("2001:db8::7", 2, "reject", "fail", "fail")])))
    row = wait_reports(g, 1)[0]
    assert (row["kind"], row["domain"], row["org"], row["id"]) == ("dmarc", "inside.test", "far.test", "1"), row
    assert (row["messages"], row["passed"], row["failed"], row["records"]) == (5, 3, 2, 2), row
    assert row["proof"] == "none" and row["sender"] == "reports@far.test", row
    inside.wait(1)  # the mail itself, once
    settled(g)
    assert len(inside.messages) == 1
    event = g.wait_event("ReportReceived", role="scan")
    assert (event["report"], event["org"], event["messages"], event["failed"]) == (row["number"], "far.test", 5, 2)
    assert event["id"] == row["mail"]
    delivered = g.wait_event("Delivery", site="role:scan")
    assert "far.test about inside.test" in delivered["response"]["content"], delivered
    reception = g.wait_event("Reception")
    assert reception["nrcpt"] == 1 and "recipients" not in reception
    shown = g.ctl("report", "show", str(row["number"]))[1]
    assert [r["source"] for r in shown[1:]] == ["192.0.2.1", "2001:db8::7"]
    assert shown[2]["dkim"] == "fail" and shown[2]["disposition"] == "reject"
    assert shown[1]["details"][0] == {"what": "dkim", "result": "pass", "domain": "inside.test", "selector": "s1"}


def test_a_tls_report(gapura, sink, net):
    sink(2)
    g = gapura(guard(net) + block())
    data = tls(failures=[("certificate-expired", 4), ("starttls-not-supported", 2)])
    send(g, mail(gzip.compress(data), "far.test!inside.test!1!2.json.gz", "application/tlsrpt+gzip"))
    row = wait_reports(g, 1)[0]
    assert (row["kind"], row["messages"], row["passed"], row["failed"]) == ("tls", 16, 10, 6), row
    shown = g.ctl("report", "show", str(row["number"]))[1]
    assert shown[1]["policy_type"] == "sts" and shown[1]["mx_host"] == ["mx.inside.test"]
    assert {(r["result_type"], r["sessions"]) for r in shown[2:]} == {("certificate-expired", 4),
                                                                     ("starttls-not-supported", 2)}
    sources = g.ctl("report", "sources", "inside.test")[1]
    assert [(r["source"], r.get("result"), r["passed"], r["failed"]) for r in sources] == [
        ("sts", "", 10, 6), ("mx.inside.test", "certificate-expired", 0, 4),
        ("mx.inside.test", "starttls-not-supported", 0, 2)]


@pytest.mark.skipif(not DMARC.is_dir(), reason=f"{DMARC} is not there")
def test_the_store_says_what_the_files_say(gapura, sink, net):
    """Each public sample, as a mail; read here by another parser than the program's."""
    sink(2)
    g = gapura(guard(net) + block())
    wanted, mails = {}, 0
    for path in sorted(DMARC.iterdir()):
        data = path.read_bytes()
        if path.suffix == ".eml":
            send(g, data.decode("latin-1").replace("\r\n", "\n"))
            mails += 1
            continue
        send(g, mail(data, path.name))
        mails += 1
        told = told_by(data)
        if told:
            wanted[told[:3]] = told[3:]
    settled(g)
    rows = {(r["org"], r["id"], r["domain"]): (r["messages"], r["records"]) for r in reports(g)}
    assert len(wanted) >= 12 and {k: rows.get(k) for k in wanted} == wanted
    bad = g.events("ReportUnreadable")
    assert {e["id"] for e in bad} and len(bad) == 2, [e["why"] for e in bad]  # invalid_xml, invalid_utf_8
    assert len(rows) + len(bad) + len([e for e in g.events("Delivery", site="role:scan")
                                       if "the same as" in e["response"]["content"]]) == mails


def told_by(data):
    """(org, id, domain, messages, records) of a file, by ElementTree; None if it does not take it."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    elif data[:2] == b"PK":
        z = zipfile.ZipFile(io.BytesIO(data))
        data = z.read(z.namelist()[0])
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        return None
    for e in root.iter():  # namespaces do not matter here
        e.tag = e.tag.rpartition("}")[2]
    one = lambda path: (root.findtext(path) or "").strip()
    counts = [int(r.findtext("row/count")) for r in root.iter("record")]
    org = one("report_metadata/org_name") or one("report_metadata/email").rpartition("@")[2]
    return (org, one("report_metadata/report_id"),
            one("policy_published/domain").lower(), sum(counts), len(counts))


@pytest.mark.skipif(not TLS.is_dir(), reason=f"{TLS} is not there")
def test_the_store_says_what_tls_samples_say(gapura, sink, net):
    sink(2)
    g = gapura(guard(net) + block())
    wanted = {}
    for path in sorted(TLS.glob("*.json")):
        data = path.read_bytes()
        send(g, mail(data, path.name, "application/tlsrpt+json"))
        d = json.loads(data)
        good = sum(p["summary"]["total-successful-session-count"] for p in d["policies"])
        failed = sum(p["summary"]["total-failure-session-count"] for p in d["policies"])
        wanted[d["organization-name"], d["report-id"]] = (good, failed)
    settled(g)
    assert wanted and {(r["org"], r["id"]): (r["passed"], r["failed"]) for r in reports(g)} == wanted


def test_sources_add_up(gapura, sink, net):
    sink(2)
    g = gapura(guard(net) + block())
    other = record("192.0.2.1", 7, "quarantine", "fail", "fail")
    sub = record("203.0.113.9", 5, "none", "fail", "pass", "news.inside.test")
    send(g, gz(dmarc("1", [record("192.0.2.1", 3), other, sub])))
    send(g, gz(dmarc("2", [record("192.0.2.1", 10, dkim="fail")], org="near.test")))
    send(g, gz(dmarc("3", [record("192.0.2.1", 99)], domain="other.test")))
    wait_reports(g, 3)
    rows = g.ctl("report", "sources", "inside.test")[1]
    assert [(r["source"], r["messages"], r["passed"], r["failed"], r["dkim"], r["spf"]) for r in rows] == [
        ("192.0.2.1", 20, 13, 7, 3, 13), ("203.0.113.9", 5, 5, 0, 0, 5)], rows
    assert (rows[0]["none"], rows[0]["quarantine"], rows[0]["reject"]) == (13, 7, 0)
    assert rows[0]["reporters"] == 2 and rows[0]["proved"] == 0 and rows[0]["signer"] == "inside.test"
    below = g.ctl("report", "sources", "news.inside.test")[1]
    assert [(r["source"], r["messages"]) for r in below] == [("203.0.113.9", 5)]
    assert g.ctl("report", "sources", "inside.test", "--proved")[1] == []
    assert [r["org"] for r in reports(g, "--domain", "inside.test")] == ["near.test", "far.test"]
    assert reports(g, "--kind", "tls") == [] and len(reports(g, "--since", "1h")) == 3
    assert g.ctl("report", "list", "--kind", "x", check=False)[0] == 2
    assert g.ctl("report", "show", "99", check=False)[0] == 1
    text = g.ctl("report", "sources", "inside.test", as_json=False)[1]
    assert "192.0.2.1" in text and "QUAR" in text
    shown = g.ctl("report", "show", "1", as_json=False)[1]
    assert "not proved: anybody" in shown and "203.0.113.9  5 as news.inside.test: dkim fail, spf pass" in shown, shown


# Who sent it.

@pytest.fixture
def world(gapura, peer, net, sink):
    """far.test may send from STRANGER and publishes DMARC; the rest has nothing."""
    def make(extra=""):
        ip = net.ip
        peer(Nsd, (ip(9), 5399), f"""
far.test. IN MX 10 mx.far.test.
mx.far.test. IN A {ip(STRANGER)}
far.test. IN TXT "v=spf1 ip4:{ip(STRANGER)} -all"
_dmarc.far.test. IN TXT "v=DMARC1; p=reject"
plain.test. IN A {ip(STRANGER)}
inside.test. IN A {ip(2)}
""")
        g = gapura(guard(net) + block(extra), dns=f"{ip(9)}:5399", verify="on")
        g.inside = sink(2)
        return g
    return make


def test_who_sent_it_is_kept(world):
    g = world()
    send(g, gz(dmarc("1")), client=stranger)
    send(g, gz(dmarc("2"), sender="reports@plain.test"), sender="reports@plain.test", client=stranger)
    forged = "Authentication-Results: mx.gapura.test; dmarc=pass header.from=plain.test\n"
    send(g, forged + gz(dmarc("3"), sender="reports@plain.test"), sender="reports@plain.test", client=stranger)
    send(g, forged + gz(dmarc("4"), sender="reports@plain.test"), sender="reports@plain.test")  # a trusted network
    rows = {r["id"]: r for r in wait_reports(g, 4)}
    assert (rows["1"]["proof"], rows["1"]["proved_by"]) == ("dmarc", "far.test"), rows["1"]
    assert {rows[n]["proof"] for n in "234"} == {"none"}, rows
    assert [r["id"] for r in reports(g, "--proved")] == ["1"]
    assert g.wait_event("ReportReceived", report_id="1")["proof"] == "dmarc"
    assert g.ctl("report", "sources", "inside.test")[1][0]["proved"] == 3
    published = {r["name"]: r["value"] for r in g.ctl("domain", "dns", "inside.test")[1]}
    assert published["_dmarc.inside.test"].endswith(f"rua=mailto:{ADDRESS}"), published
    assert published["_smtp._tls.inside.test"].endswith(f"rua=mailto:{ADDRESS}"), published


def test_a_proved_report_of_a_large_mail(world):
    """Over 256 KB the mail lies in chunks, and what the gate found is a chunk of its own in front."""
    g = world()
    text = gz(dmarc("1")).replace("A report.\n", "A report.\n" + "x" * 70 + "\n" + "y" * 70 + "\n" * 1, 1)
    text = text.replace("A report.\n", "A report.\n" + ("z" * 70 + "\n") * 6000, 1)
    send(g, text, client=stranger)
    assert wait_reports(g, 1)[0]["proof"] == "dmarc"


def test_a_proved_one_takes_the_place_of_nobodys(world):
    g = world()
    send(g, gz(dmarc("1", [record("192.0.2.66", 1000)]), sender="x@plain.test"), sender="x@plain.test", client=stranger)
    assert wait_reports(g, 1)[0]["messages"] == 1000
    send(g, gz(dmarc("1")), client=stranger)
    until(lambda: [r["messages"] for r in reports(g)] == [3], what="the proved report")
    send(g, gz(dmarc("1", [record("192.0.2.66", 1000)]), sender="x@plain.test"), sender="x@plain.test", client=stranger)
    settled(g)
    assert [(r["messages"], r["proof"]) for r in reports(g)] == [(3, "dmarc")], "and nobody's takes no place"


# Once.

def test_the_same_report_twice_is_one(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net) + block())
    send(g, gz(dmarc("1")))
    wait_reports(g, 1)
    send(g, gz(dmarc("1")))
    send(g, mail(zipped(dmarc("1")), "r.zip", "application/zip"))
    send(g, gz(dmarc("1", domain="other.test")))
    settled(g)
    assert len(reports(g)) == 2 and len(inside.wait(4)) == 4
    same = [e for e in g.events("Delivery", site="role:scan") if "the same as 1" in e["response"]["content"]]
    assert len(same) == 2 and len(g.events("ReportReceived")) == 2


@pytest.mark.crashes
@pytest.mark.parametrize("role", ["scan", "keeper", "courier", "all"])
def test_a_crash_in_the_middle(gapura, sink, net, role):
    """The keeper stands still, so the report is with the scan role and not yet kept when one is killed."""
    inside = sink(2)
    g = gapura(guard(net) + block())
    g.all_ready()
    pids = g.pids()
    freeze(pids["keeper"])
    send(g, gz(dmarc("1", [record(f"192.0.2.{n}", n) for n in range(1, 200)])))
    until(lambda: any(r["state"] == "active" for r in g.queue()), what="the report with its reader")
    if role == "all":
        g.kill()
        g.start()
    else:
        os.kill(pids[role], signal.SIGKILL)
        if role != "keeper":
            os.kill(pids["keeper"], signal.SIGCONT)
    rows = wait_reports(g, 1)
    settled(g)
    assert [(r["messages"], r["records"]) for r in reports(g)] == [(sum(range(1, 200)), 199)], rows
    assert len(g.ctl("report", "show", str(rows[0]["number"]))[1]) == 200
    assert len(inside.wait(1)) >= 1


@pytest.mark.crashes
def test_many_reports_while_the_reader_is_killed_again_and_again(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net) + block())
    for n in range(30):
        send(g, gz(dmarc(str(n), [record("192.0.2.1", n + 1)])))
        if n % 6 == 0:
            pid = g.pids().get("scan")
            if pid:
                os.kill(pid, signal.SIGKILL)
    wait_reports(g, 30)
    settled(g)
    rows = reports(g)
    assert sorted(r["messages"] for r in rows) == list(range(1, 31)), "each once"
    assert len(inside.wait(30)) == 30


def test_a_large_report(gapura, sink, net):
    """As many records as are taken; sorting them, and letting them go, needs no file outside of the store's folder."""
    sink(2)
    g = gapura(guard(net) + block("max_records = 20000\n    keep_records = 20000"))
    records = [record(f"10.0.{n >> 8}.{n & 255}", n + 1) for n in range(20000)]
    send(g, gz(dmarc("1", records)))
    row = wait_reports(g, 1)[0]
    assert (row["records"], row["messages"]) == (20000, sum(range(1, 20001)))
    sources = g.ctl("report", "sources", "inside.test")[1]
    assert len(sources) == 1000 and sources[0]["messages"] == 20000
    shown = g.ctl("report", "show", str(row["number"]), "--limit", "5")[1]
    assert [r.get("messages") for r in shown[1:]] == [20000, 19999, 19998, 19997, 19996]
    send(g, gz(dmarc("2", [record("192.0.2.1", 1)])))
    until(lambda: [r["id"] for r in reports(g)] == ["2"], what="room made")
    assert not g.events("Alarm")


# What strangers send.

def bombs():
    zeros = gzip.compress(bytes(200 << 20))
    many = dmarc("many", [record("192.0.2.1", 1)] * 100_000)
    entities = (b'<?xml version="1.0"?><!DOCTYPE f [<!ENTITY a "aaaaaaaaaa">'
                + b"".join(b'<!ENTITY %c "%s">' % (c, b"&%c;" % (c - 1) * 10) for c in range(ord("b"), ord("k")))
                + b"]><feedback>&j;</feedback>")
    deep = b"<feedback>" + b"<a>" * 100_000
    name = "far.test!inside.test!1!2.xml"
    return {
        "zeros in gzip": (zeros, name + ".gz"),
        "a zip bomb": (zipped(bytes(200 << 20)), name + ".zip"),
        "gzip in gzip in gzip": (gzip.compress(gzip.compress(gzip.compress(dmarc()))), name + ".gz"),
        "100,000 records": (gzip.compress(many), name + ".gz"),
        "entities": (gzip.compress(entities), name + ".gz"),
        "deep XML": (gzip.compress(deep), name + ".gz"),
        "deep JSON": (b'{"policies":' + b"[" * 100_000, "far.test!inside.test!1!2.json"),
        "a count that is none": (gzip.compress(dmarc(records=[record("192.0.2.1", "many")])), name + ".gz"),
        "an address that is none": (gzip.compress(dmarc(records=[record("somewhere", 1)])), name + ".gz"),
        "JSON of wrong types": (tls().replace(b'"policies": [', b'"policies": 7, "x": ['), "far.test!inside.test!1!2.json"),
        "cut off": (gzip.compress(dmarc())[:-20], name + ".gz"),
        "a zip cut off": (zipped(dmarc())[:-30], name + ".zip"),
    }


def test_what_cannot_be_read_is_said_and_delivered(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net) + block(), smtp="max_size = 40 MB")
    scan = g.pids()["scan"]
    for n, (what, (data, name)) in enumerate(bombs().items()):
        send(g, mail(data, name))
        event = g.wait_event("ReportUnreadable", count=n + 1)
        assert event["why"], (what, event)
    send(g, gz(dmarc("good")))
    assert [r["id"] for r in wait_reports(g, 1)] == ["good"]
    assert g.pids()["scan"] == scan, "nothing of it ended the reader"
    assert len(inside.wait(len(bombs()) + 1)) == len(bombs()) + 1, "and all of it is delivered"
    alarms = [e for e in g.events("Alarm") if "cannot be read" in e["text"]]
    assert len(alarms) == 1 and "The mail is safe" in alarms[0]["text"], "once a minute"
    settled(g)


def test_what_is_no_report_is_mail(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net) + block())
    send(g, "From: <bob@far.test>\nSubject: your DMARC reports\n\nHello?\n")
    send(g, "From: <bob@far.test>\nContent-Type: application/octet-stream; name*=IBM037''%C1%C2.gz\n\nHello?\n")
    send(g, "From: <bob@far.test>\nContent-Type: text/xml; name=\"=?KOI7-switched?B?xdo=?=\"\n\n<html/>\n")
    send(g, "\n")
    assert len(inside.wait(4)) == 4
    settled(g)
    assert reports(g) == [] and not g.events("ReportUnreadable") and not g.events("Alarm")
    said = [e["response"]["content"] for e in g.events("Delivery", site="role:scan")]
    assert len(said) == 4 and all("no report" in s for s in said), said


def test_hostile_texts_reach_no_terminal(gapura, sink, net):
    sink(2)
    g = gapura(guard(net) + block())
    evil = "a&#10;b\u202e&lt;script&gt;' OR 1=1 --"
    send(g, gz(dmarc("x", org=evil, records=[record("192.0.2.1", 1, header_from="inside.test&#9;\u009b31m")])))
    row = wait_reports(g, 1)[0]
    assert "\n" not in row["org"] and "OR 1=1 --" in row["org"], row
    shown = g.ctl("report", "show", str(row["number"]), as_json=False)[1]
    assert "\x9b" not in shown and "\x1b" not in shown and len(shown.splitlines()) <= 12, shown


# The mail itself.

def test_mail_that_is_dropped_needs_no_mailbox(gapura, sink, net, place):
    inside = sink(2)
    (place / "table").write_text("bob@inside.test\n")
    g = gapura(guard(net, domain=f"recipients = table\n    recipient_table = {place}/table")
               + block("mail = drop", f"{ADDRESS}, tls@inside.test"))
    send(g, gz(dmarc("1")), client=stranger)
    send(g, mail(tls(), "far.test!inside.test!1!2.json", "application/tlsrpt+json"), to="tls@inside.test")
    assert {r["kind"] for r in wait_reports(g, 2)} == {"dmarc", "tls"}
    send(g, gz(b"<feedback><nonsense>"), sender="", client=stranger)
    send(g, "From: <x@far.test>\nSubject: hello\n\nNo report at all.\n", client=stranger)
    rows = until(lambda: len(rows := g.queue("--state", "aside")) == 2 and rows, what="both set aside")
    assert {r["state"] for r in rows} == {"aside"}, rows
    assert len(g.events("SetAside")) == 2
    send(g, "From: <x@far.test>\n\nhi\n", to="bob@inside.test")
    assert [m.recipients for m in inside.wait(1)] == [["bob@inside.test"]], "nothing of the reports went there"
    send(g, "From: <x@far.test>\n\nhi\n", to="nobody@inside.test", expect=550, client=stranger)
    assert len(inside.messages) == 1 and len(g.queue()) == 2


def test_two_addresses_of_reports_and_a_person_in_one_mail(gapura, sink, net):
    inside = sink(2)
    g = gapura(guard(net) + block(addresses=f"{ADDRESS}, Rua@inside.test"))
    send(g, gz(dmarc("1")), to=[ADDRESS, "bob@inside.test", "rua@inside.test"])
    assert wait_reports(g, 1)
    settled(g)
    assert sorted(r for m in inside.wait(1) for r in m.recipients) == ["bob@inside.test", ADDRESS, "rua@inside.test"]
    assert g.wait_event("Reception")["nrcpt"] == 3
    assert len(reports(g)) == 1


# Settings.

def test_settings(gapura, sink, net):
    sink(2)
    g = gapura(guard(net))
    send(g, gz(dmarc("1")))
    settled(g)
    g.write(guard(net) + block("max_records = 100\n    keep_records = 1000"))
    g.ctl("reload", as_json=False)
    send(g, gz(dmarc("2", [record("192.0.2.1", 1)] * 101)))
    assert "more records" in g.wait_event("ReportUnreadable")["why"]
    for n in range(13):
        send(g, gz(dmarc(f"n{n}", [record("192.0.2.1", 1)] * 100)))
    g.wait_event("ReportReceived", report_id="n12")
    rows = until(lambda: sum(r["records"] for r in reports(g)) == 1000 and reports(g), what="room made")
    assert [r["id"] for r in rows] == [f"n{n}" for n in range(12, 2, -1)], "the oldest went"
    g.write(guard(net) + block("keep_records = 1000", "nowhere"))
    code, said = g.check()
    assert code == 1 and "nowhere" in said and "max_records" in said, said


def test_outbound_alone_reads_nothing(gapura, net, sink):
    sink(2)
    g = gapura("wings = outbound\n" + guard(net) + block())
    send(g, gz(dmarc("1")))
    settled(g)
    assert "scan" not in g.pids() and reports(g) == []


# By hand.

def read(*words, stdin=None):
    done = subprocess.run([PROGRAM, "report", "read", *words], capture_output=True, input=stdin, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_read_a_file(tmp_path):
    forms = {"a.xml": dmarc(), "a.xml.gz": gzip.compress(dmarc()), "a.zip": zipped(dmarc()), "a.eml": gz(dmarc()).encode()}
    said = set()
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        code, out, err = read(tmp_path / name)
        assert (code, err) == (0, ""), (name, err)
        said.add(out)
    assert len(said) == 1, said
    assert "DMARC report of far.test about inside.test" in out and "192.0.2.1  3 as inside.test: dkim pass" in out
    assert read("-", stdin=tls())[1].startswith("TLS report of far.test about inside.test")
    rows = [json.loads(line) for line in read("--json", tmp_path / "a.zip")[1].splitlines()]
    assert rows[0]["messages"] == 3 and rows[1]["source"] == "192.0.2.1" and "number" not in rows[0]
    (tmp_path / "bad").write_bytes(b"hello")
    code, out, err = read(tmp_path / "bad", tmp_path / "a.xml")
    assert code == 1 and "bad: " in err and "DMARC report" in out, err
    assert read(tmp_path / "none")[0] == 2 and read()[0] == 2 and read("--what", "x")[0] == 2


@pytest.mark.skipif(not DMARC.is_dir(), reason=f"{DMARC} is not there")
def test_read_all_samples_in_the_sandbox():
    """Whatever form a sample has, nothing that reads it asks for a file: it would end by SIGSYS."""
    files = sorted([*DMARC.iterdir(), *TLS.iterdir(), *(DMARC.parent / "failure").iterdir()])
    code, out, err = read("--json", *files)
    assert code == 1 and len(err.splitlines()) == 2 and "invalid_xml" in err and "invalid_utf_8" in err, err
    assert len([line for line in out.splitlines() if '"kind"' in line]) == len(files) - 2
