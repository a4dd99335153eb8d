"""A reload while roles die: all of them end on one generation of the settings."""
import os
import signal
import subprocess

import pytest

from common import guard, trusted
from gapura import PROGRAM, freeze, until


def size_of(g):
    with trusted(g) as c:
        return int(c.extensions["SIZE"])


@pytest.mark.crashes
@pytest.mark.parametrize("role", ("resolver", "courier"))
def test_a_role_that_dies_while_it_is_asked_has_not_agreed(gapura, net, role):
    g = gapura(guard(net), smtp="max_size = 1 MB")
    good, pid = g.conf.read_text(), g.pids()[role]
    g.conf.write_text(good.replace("max_size = 1 MB", "max_size = 2 MB"))
    freeze(pid)
    with subprocess.Popen([PROGRAM, "reload", "--run-dir", g.dir / "run"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as asked:
        until(lambda: size_of(g) == 2 << 20, what="the gate took them, so all have been asked")
        os.kill(pid, signal.SIGKILL)
        said, _ = asked.communicate(timeout=60)
    assert asked.returncode == 1 and f"{role} ended while it was asked to take them (signal 9)" in said, said
    assert g.generation() == 1
    until(lambda: size_of(g) == 1 << 20, what="the former size")
    g.all_ready()
    assert g.ctl("reload", as_json=False)[0] == 0
    assert size_of(g) == 2 << 20
