"""Roles that do not come up, and roles that hang."""
import os
import signal
import socket
import subprocess

import pytest

from common import guard, trusted
from gapura import BASE, freeze, until

# One role whose loop stops turning for as long as the first byte of the file is not 0. Mapped at the
# start, since a role opens nothing later.
HANG = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile char *page;
static int (*real)(int, struct epoll_event *, int, int);
__attribute__((constructor)) static void begin(void)
{
    char line[256] = "", *who = line + sizeof "gapura" + sizeof "--role";
    int cmd = open("/proc/self/cmdline", O_RDONLY), fd = open(getenv("HANG_FILE"), O_RDONLY);
    real = dlsym(RTLD_NEXT, "epoll_wait");
    if (read(cmd, line, sizeof line - 1) > 0 && !strcmp(who, getenv("HANG_ROLE")) && fd >= 0)
        page = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    close(cmd), close(fd);
}
int epoll_wait(int epoll, struct epoll_event *events, int most, int wait)
{
    while (page && *page)
        ;
    return real(epoll, events, most, wait);
}
"""


def test_ready_is_said_when_every_role_is_up(gapura, net, place, monkeypatch):
    """sd_notify(3). A role that cannot start is named by an Alarm and to the service manager, again and again."""
    g = gapura(guard(net))
    g.stop()
    store = place / "store/store.db"
    for path in store.parent.glob("store.db*"):
        path.unlink()
    store.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(place / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        g.start(ready=False)
        until(lambda: any(r["role"] == "keeper" and r["restarts"] > 1 for r in g.status()), what="tries of the keeper")
        until(lambda: all(r["ready"] for r in g.status() if r["role"] not in ("keeper", "supervisor")), what="the others")
        told.setblocking(False)
        with pytest.raises(BlockingIOError):
            told.recv(4096)
        alarm = until(lambda: [e["text"] for e in g.events("Alarm") if "keeper is not up 30 s" in e["text"]], 60, "Alarm")
        assert len(alarm) == 1 and "it ends each time it is started" in alarm[0], alarm
        told.settimeout(60)
        assert told.recv(4096) == b"STATUS=keeper is not up yet"
        store.rmdir()
        said = told.recv(4096)
        while said == b"STATUS=keeper is not up yet":  # no EXTEND_TIMEOUT_USEC: it did not work, it died
            said = told.recv(4096)
        assert said == b"STATUS=\nREADY=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    g.ready()
    g.stop(crashes=True)


@pytest.mark.crashes
def test_a_role_that_hangs_is_started_again(gapura, net, place, sink, monkeypatch):
    inside = sink(2)
    (place / "hang.c").write_text(HANG)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", place / "hang.so", place / "hang.c", "-ldl"], check=True)
    switch = place / "switch"
    switch.write_bytes(b"\0")
    monkeypatch.setenv("HANG_FILE", str(switch))
    monkeypatch.setenv("HANG_ROLE", "resolver")
    g = gapura(guard(net), start=False,
               base=BASE.replace("store = {dir}/store/store.db", "store = {dir}/store/store.db\n    watchdog = 1s"))
    monkeypatch.setenv("LD_PRELOAD", str(place / "hang.so"))
    g.start(ready=False)
    monkeypatch.delenv("LD_PRELOAD")
    g.ready()
    before = g.pids()
    freeze(before["scan"])  # on purpose: it is not ended
    with open(switch, "r+b", buffering=0) as f:
        f.write(b"\1")
        alarm = g.wait_event("Alarm", role="supervisor")
        f.seek(0)
        f.write(b"\0")
    assert "resolver hangs: it has not answered for 2s" in alarm["text"], alarm
    assert g.wait_event("Warning", role="supervisor")["text"].startswith(f"resolver was ended by signal {signal.SIGABRT:d}")
    until(lambda: g.pids().get("resolver") not in (0, None, before["resolver"]), what="another resolver")
    os.kill(before["scan"], signal.SIGCONT)
    g.all_ready()
    after = g.pids()
    assert {r for r in before if before[r] != after[r]} == {"resolver"}, (before, after)
    with trusted(g) as c:
        assert c.mail("alice@example.com", "bob@inside.test", "Subject: hello\n\nA line.\n").code == 250
    inside.wait(1)
    assert len(g.events("Alarm")) == 1, g.events("Alarm")
