"""Fixtures of the system tests: networks, sinks, certificates, running programs and their ends.

With GAPURA_TAP=FILE a line a test is written there for tests/run: kind, file, seconds, text.
"""
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from certs import Authority
from debian import Made
from gapura import PROGRAM, Gapura, Net
from sink import Sink


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    setattr(item, "report_" + report.when, report)


def pytest_runtest_logreport(report):
    path = os.environ.get("GAPURA_TAP")
    if not path or (report.when != "call" and report.passed):
        return
    kind = "skip" if report.skipped else "ok" if report.passed else "not ok"
    # The path of the file, then the test with its parameters, which may hold slashes.
    path_of, _, test = report.nodeid.partition("::")
    why = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        why = report.longrepr[2]
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash else str(report.longrepr)
    text = f"{test} ({report.when})" if report.when != "call" else test
    line = f"{kind}\t{path_of.rpartition('/')[2]}\t{report.duration:.2f}\t{text}: {why}"
    with open(path, "a", encoding="utf-8") as out:
        out.write(" ".join(line.splitlines()) + "\n")


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def place(request):
    """A directory that every user can reach; kept if the test failed and GAPURA_KEEP is set."""
    path = Path(tempfile.mkdtemp(prefix="gapura-test-"))
    path.chmod(0o755)
    yield path
    failed = getattr(request.node, "report_call", None)
    if not (os.environ.get("GAPURA_KEEP") and failed and failed.failed):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def sink(net):
    """Makes sinks; they end with the test. sink(2, 2600, ...) listens at net.ip(2):2600."""
    made = []

    def make(number=2, port=2600, **words):
        at = number if isinstance(number, str) else (net.ip(number), port)
        made.append(Sink(at, **words))
        return made[-1]
    yield make
    for each in made:
        each.stop()


@pytest.fixture
def gapura(place, net, request):
    """Makes and starts a Gapura; when the test was good, stops it and holds it to a clean end."""
    made = []
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is not there: it was not built")

    def make(text, start=True, wait=None, **words):
        if wait is None:
            wait = [(net.ip(1), 2525)]
        made.append(Gapura(place, net, text, wait=wait, **words))
        return made[-1].start() if start else made[-1]
    yield make
    call = getattr(request.node, "report_call", None)
    good = call is not None and call.passed
    crashes = request.node.get_closest_marker("crashes") is not None
    try:
        for each in made:
            if each.process and good:
                each.stop(crashes)
    finally:
        for each in made:
            if call is not None and call.failed:
                print(each.tail())
            each.kill()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def debian():
    """A Debian root to copy, and our packages."""
    path = Path(tempfile.mkdtemp(prefix="gapura-debian-"))
    path.chmod(0o755)
    try:
        yield Made(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def pytest_configure(config):
    config.addinivalue_line("markers", "crashes: the test kills roles on purpose")


@pytest.fixture
def peer(place):
    """Starts peers that end with the test: peer(Postfix, at, relay)."""
    made = []

    def make(kind, *words, **named):
        made.append(kind(place, *words, **named))
        return made[-1].start()
    yield make
    for each in reversed(made):
        each.stop()
