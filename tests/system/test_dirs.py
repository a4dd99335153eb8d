"""Directories of the spool and the store: made, taken over, or left alone with a word why."""
import os
import signal
import stat
import subprocess

import pytest

from common import guard
from gapura import BASE, PROGRAM, Failed, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="directories are given away by root alone")


def look(path):
    st = os.stat(path)
    return st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)


def shelf_of(place, mode, *things):
    """A directory of root's that somebody uses, as /var/lib is one."""
    place.chmod(0o755)
    shelf = place / "shelf"
    shelf.mkdir()
    for thing in things:
        (shelf / thing).mkdir()
    shelf.chmod(mode)
    return shelf


def base_with(shelf, what):
    if what == "store":
        return BASE.replace("{dir}/store/store.db", f"{shelf}/x.db")
    return BASE.replace("{dir}/spool", f"{shelf}")


@pytest.mark.parametrize("what", ("store", "spool"))
def test_a_directory_of_others_is_left_alone(gapura, net, place, what):
    shelf = shelf_of(place, 0o755, "dpkg", "systemd")
    before = look(shelf)
    g = gapura(guard(net), start=False, base=base_with(shelf, what))
    with pytest.raises(Failed) as error:
        g.start()
    said = str(error.value)
    assert g.process.wait(10) == 1 and look(shelf) == before, (said, look(shelf))
    assert sorted(os.listdir(shelf)) == ["dpkg", "systemd"], os.listdir(shelf)
    done = subprocess.run([PROGRAM, "check", "-c", g.conf], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "note: a start would be refused: " in done.stderr, done
    assert look(shelf) == before and str(shelf) in done.stderr and "chown" in done.stderr, done.stderr
    for word in (str(shelf), "belongs to root", "mode 0755", "chown", "nothing was started"):
        assert word in said, (word, said)
    g.process = None


@pytest.mark.parametrize("what", ("store", "spool"))
def test_a_directory_of_others_that_is_open_to_all_does(gapura, net, place, what):
    shelf = shelf_of(place, 0o1777, "others")
    before = look(shelf)
    gapura(guard(net), base=base_with(shelf, what))
    assert look(shelf) == before and len(os.listdir(shelf)) > 1


@pytest.mark.parametrize("things", ((), ("lost+found",)), ids=("empty", "mounted"))
def test_an_empty_directory_is_taken(gapura, net, place, things):
    shelf = shelf_of(place, 0o755, *things)
    g = gapura(guard(net), base=base_with(shelf, "spool"))
    owner = look(shelf)
    assert owner[0] != 0 and owner[2] == 0o750, owner
    g.stop()
    g.start()  # ours by now, though there are things in it
    assert look(shelf) == owner


def test_a_way_that_is_closed_is_told(gapura, net, place):
    shelf = shelf_of(place, 0o700)
    g = gapura(guard(net), start=False, base=base_with(shelf / "spool", "spool"))
    with pytest.raises(Failed) as error:
        g.start()
    said = str(error.value)
    assert "It is its own" in said and f"namei -l {shelf}/spool" in said, said
    g.process.wait(10)
    g.process = None


def test_a_restart_that_the_directory_would_end_is_not_done(gapura, net, place):
    shelf = shelf_of(place, 0o755, "dpkg")
    before = look(shelf)
    g = gapura(guard(net))
    pids, good = g.pids(), g.conf.read_text()
    g.conf.write_text(good.replace(f"{place}/store/store.db", f"{shelf}/x.db"))
    g.signal(signal.SIGUSR2)
    alarm = g.wait_event("Alarm", role="supervisor")["text"]
    assert "the restart is not done" in alarm and f"the directory {shelf}: " in alarm and "chown" in alarm, alarm
    os.mkfifo(place / "fifo")
    g.conf.write_text(good.replace(f"{place}/log/events.jsonl", f"{place}/fifo"))
    g.signal(signal.SIGUSR2)
    alarm = g.wait_event("Alarm", role="supervisor", count=2)["text"]
    assert "the restart is not done" in alarm and "a FIFO that nobody reads" in alarm, alarm
    assert g.pids() == pids and look(shelf) == before and os.listdir(shelf) == ["dpkg"]


def test_without_root_nothing_is_given_away(net, place):
    """Who is not root works in what is his, beside whatever is there."""
    mine = place / "mine"
    mine.mkdir()
    (mine / "letters").mkdir()
    os.chown(mine, 65533, 65533)
    conf = place / "gapura.conf"
    text = BASE.format(dir=mine, smtp="", delivery="", verify="off", dns=f"forward = {net.ip(9)}:5399", metrics="")
    text = text.replace(f"{mine}/spool", str(mine)).replace(f"{mine}/store/store.db", f"{mine}/store.db")
    conf.write_text(text + f"listen in {{\n    address = {net.ip(1)}:2525\n}}\n")
    before = look(mine)
    with open(place / "output", "wb") as out:
        process = subprocess.Popen([PROGRAM, "run", "-c", conf], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                   user=65533, group=65533, extra_groups=[], cwd=place)
        try:
            def up():
                assert process.poll() is None, (place / "output").read_text()
                done = subprocess.run([PROGRAM, "status", "--json", "--run-dir", mine / "run"], capture_output=True,
                                      text=True, timeout=60)
                return done.returncode == 0 and '"ready":false' not in done.stdout
            until(up, what="all roles of a user without rights")
            assert look(mine) == before
        finally:
            process.terminate()
            process.wait(60)
