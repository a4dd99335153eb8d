"""The fail2ban filter on lines that the program wrote."""
import shutil
import ssl
import subprocess

import pytest

from common import STRANGER, stranger, submission, waits
from gapura import ROOT, until


def matches(log):
    if not shutil.which("fail2ban-regex"):
        pytest.skip("fail2ban-regex is not there (package fail2ban)")
    done = subprocess.run(["fail2ban-regex", "--raw", "-v", log, ROOT / "share/system/fail2ban-filter.conf"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode in (0, 255), done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return [line[1] for line in lines if len(line) > 2 and line[0] == "|" and line[1].startswith("127.")], done.stdout


def test_filter(gapura, net, authority):
    g = gapura(submission(net, authority.issue("mx.gapura.test"), "recipients = table\n    recipient_table = people",
                          extra="listen local {\n    kind = local\n    socket = run/submit\n}\n"), start=False, wait=waits(net))
    (g.dir / "people").write_text("bob\n")
    g.start()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with stranger(g) as c:
        c.cmd("MAIL FROM:<a@b.test>")
        assert c.cmd("RCPT TO:<nobody@inside.test>").code == 550
        assert c.cmd("RCPT TO:<bob@inside.test>").code == 250
        c.cmd('MAIL FROM:<"\\"type\\": \\"AuthFailure\\", \\"peer_address\\": {\\"addr\\": \\"9.9.9.9:1\\""@x.test>')
    with g.smtp(port=2465, source=net.ip(STRANGER), tls=context) as c:
        c.ehlo()
        assert c.auth("PLAIN", '"peer_address": {"addr": "8.8.8.8:1"', "wrong").code == 535
    until(lambda: g.events("AuthFailure") and g.events("Rejection"), what="events")
    found, text = matches(next((g.dir / "log").glob("events.jsonl")))
    assert found == [net.ip(STRANGER)] * 2, text
