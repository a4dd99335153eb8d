"""The papers are true: README's walks are run as they stand, links lead somewhere, verbs exist.

A fenced block that begins with ```sh test is run, all of a file in order in one bash. Only the place
is changed: /tmp/gapura- becomes a directory of the test's own, 127.0.0.1 an address of its own.
"""
import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

from gapura import PROGRAM, ROOT, SLOW, until

NEEDS = ("swaks", "curl", "openssl", "bash", "python3")
PAPERS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# A reader needs longer for the next line than a program for its start: what pastes at once waits.
WAITING = r"""
set -eu
started() {  # FILE: every role is ready
    for _ in $(seq 300); do
        rows=$(gapura status --json -c "$1" 2>/dev/null || true)
        case $rows in *'"ready":false'* | '') sleep 0.05 ;; *) return 0 ;; esac
    done
    echo "not ready: $1" >&2
    exit 1
}
settled() {  # FILE PATTERN: no row of the queue is like that any more
    for _ in $(seq 300); do
        gapura queue list --json -c "$1" > queue.rows
        grep -q "$2" queue.rows || return 0
        sleep 0.05
    done
    echo "still waiting: $(cat queue.rows)" >&2
    exit 1
}
listening() {  # HOST:PORT
    for _ in $(seq 300); do
        (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null && return 0
        sleep 0.05
    done
    echo "nobody listens at $1" >&2
    exit 1
}
"""


PENDING = {"explain": '"id"', "queue list": '"state":"\\(ready\\|active\\)"'}


def blocks(path):
    return re.findall(r"^```sh test\n(.*?)^```$", path.read_text(), re.M | re.S)


def script(path, place, net):
    """The blocks with waits behind lines that start a program, and before what asks for outcomes."""
    lines = [WAITING]
    for line in "\n".join(blocks(path)).splitlines():
        line = line.replace("/tmp/gapura-", f"{place}/").replace("127.0.0.1:", net.ip(1) + ":")
        asks = re.match(r"gapura (explain|queue list)\b.*-c (\S+)$", line)
        if asks:
            lines.append(f"settled {asks[2]} '{PENDING[asks[1]]}'")
        lines.append(line)
        run = re.match(r"gapura run -c (\S+) &$", line)
        other = re.search(r"smtpd .* (\S+:\d+) > \S+ &$", line)
        if run or other:  # $! must stay what the next line expects
            lines.append(f"{{ {f'started {run[1]}' if run else f'listening {other[1]}'}; }} 1>&2")
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(any(not shutil.which(n) for n in NEEDS), reason=f"one of {', '.join(NEEDS)} is missing")
def test_readme_walks(place, net):
    text = script(ROOT / "README.md", place, net)
    assert text.count("gapura run") == 2
    path = PROGRAM.parent if PROGRAM.name == "gapura" else ROOT / "build"
    text = text.replace("$PWD/build:", f"{path}:")
    process = subprocess.Popen(["bash", "-s"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        printed, _ = process.communicate(text, timeout=60 * SLOW)
    finally:
        end_group(process)
    assert process.returncode == 0, printed
    assert printed.count("fine (1 file)") == 2, printed
    assert "250 2.0.0 Ok: queued as" in printed and "550 5.1.1 <nobody@example.com>" in printed, printed
    assert "Hello Alice" in (place / "guard/inside.log").read_text(), printed
    assert "Connection refused" in printed and "1 recipient: retry" in printed, printed
    assert "Hi Bob." in (place / "sender/world.log").read_text(), printed
    assert "Hi Carol." in (place / "sender/world.log").read_text(), printed
    assert re.search(r"<carol@example\.org>\n(?:.*\n)*?now: settled", printed), printed


@pytest.mark.skipif(any(not shutil.which(n) for n in ("make", "gcc", "clang-format", "git")), reason="a tool is missing")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
@pytest.mark.skipif("GAPURA_PROGRAM" in os.environ, reason="it builds a program of its own")
def test_first_check(place):
    """docs/first-check.md, pasted in a copy of this tree with what was built already."""
    copy = place / "copy"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in [n for n in names.split("\0") if n and (ROOT / n).is_file()]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    for part in ("obj", "lib", "gen"):
        shutil.copytree(ROOT / "build" / part, copy / "build" / part, copy_function=shutil.copy2)
    text = "set -eu\ngit init -q . && git add -A && git -c user.name=t -c user.email=t@example.com commit -qm all\n"
    text += "\n".join(blocks(ROOT / "docs/first-check.md"))
    done = subprocess.run(["bash", "-s"], cwd=copy, input=text, capture_output=True, text=True, timeout=300 * SLOW, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0 and not re.search("oldhelo.*warning", printed), printed
    assert "\n1..6\n" in done.stdout and not re.search("^not ok", done.stdout, re.M), printed
    assert re.search(r"^ *0\.50  oldhelo\.no-esmtp +shipped:standard\.conf:\d+$", done.stdout, re.M), printed
    assert re.findall(r"^ M (.*)$", done.stdout, re.M) == ["share/profiles/standard.conf", "src/checks/table.c", "src/checks/table.h"]
    assert re.findall(r"^\?\? (.*)$", done.stdout, re.M) == ["docs/checks/oldhelo.md", "src/checks/oldhelo.c",
                                                           "tests/unit/test_checks_oldhelo.c"]


def end_group(process):
    """Nothing of the walk outlives the test, also when a command failed halfway."""
    try:
        os.killpg(process.pid, 15)
        until(lambda: not group_there(process.pid), 20, "the walk's processes to end")
    except ProcessLookupError:
        pass
    except AssertionError:
        os.killpg(process.pid, 9)


def group_there(pid):
    try:
        os.killpg(pid, 0)
        return True
    except ProcessLookupError:
        return False


@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(paper):
    text = re.sub(r"```.*?```", "", paper.read_text(), flags=re.S)
    for link in re.findall(r"\]\(([^)#\s]+)\)?", text):
        if not re.match(r"[a-z]+:", link):
            assert (paper.parent / link).exists(), f"{paper.name}: {link}"


@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_files_exist(paper):
    for name in set(re.findall(r"\b((?:src|tests|tools|docs|man|bench)/[\w./-]*\w\.(?:c|h|md|py|sh|in|seg))\b",
                               paper.read_text())):
        if "oldhelo" not in name and not name.endswith("/X.c"):  # what first-check.md writes; a placeholder
            assert (ROOT / name).exists(), f"{paper.name}: {name}"


@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_functions_exist(paper):
    """`name()` is the name of a function, at the start of a line of its definition."""
    names = set(re.findall(r"`(\w+_\w+)\(\)`", paper.read_text()))
    lacking = [n for n in names if not re.search(rf"^(static inline [^\n]*)?{n}\(", sources(), re.M)]
    assert not lacking, f"{paper.name}: {lacking}"


def journeys():
    """(heading, step) of docs/architecture.md's two journeys."""
    text = (ROOT / "docs/architecture.md").read_text()
    for heading in ("A stranger's message", "To the next hop"):
        part = re.search(rf"^## {heading}\n(.*?)^## ", text, re.M | re.S)[1]
        yield from ((heading, step) for step in re.split(r"^(?=\d+\. )|\n\n(?=\S)", part, flags=re.M) if "`" in step)


def test_journeys_are_told_file_by_file():
    """Each step names files that exist, and each of its functions is defined in one of them."""
    steps = list(journeys())
    assert len([s for _, s in steps if re.match(r"\d+\. \*\*[^*]+\*\* \(src/", s)]) == 18
    for heading, step in steps:
        files = [ROOT / name for name in re.findall(r"\bsrc/\w+/\w+\.c\b", step)]
        texts = {path: path.read_text() for path in files}
        for name in re.findall(r"`(\w+_\w+)\(\)`", step):
            assert any(re.search(rf"^{name}\(", text, re.M) for text in texts.values()), f"{heading}: {name}() in {step[:60]}"
    told = " ".join(step for _, step in steps)
    for room in ("auth", "checks", "policy", "gate", "spool", "courier", "store", "smtp"):
        assert f"src/{room}/" in told, room
    for check in (ROOT / "src/checks").glob("*.c"):  # a check that is new has its place in the journey
        if re.search(r"^const struct check check_", check.read_text(), re.M):
            assert f"src/checks/{check.name}" in told, check.name


@lru_cache
def sources():
    return "\n".join(path.read_text() for path in sorted(ROOT.glob("src/*/*.[ch]")))


def test_attacks_are_tests_by_name():
    """docs/attacks.md: every test that it names is in a file that its row names."""
    for row in re.findall(r"^\| \d+ \|.*$", (ROOT / "docs/attacks.md").read_text(), re.M):
        files = "".join((ROOT / name).read_text() for name in re.findall(r"tests/[\w/]+\.(?:c|py|yml)", row))
        lacking = [n for n in re.findall(r"`(test_\w+)`", row) if not re.search(rf"^(?:def )?{n}\(", files, re.M)]
        assert not lacking, lacking


def verbs():
    text = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    return {m[1].strip() for m in re.finditer(r"^  ([a-z]+(?: [a-z]+)?)", text, re.M)}


def test_manual_knows_every_verb():
    manual = (ROOT / "man/gapura.1").read_text()
    for verb in verbs() - {"help"}:
        assert re.search(rf"\.It Cm {verb}\b|\.Cm {verb}$", manual, re.M), f"gapura.1 lacks {verb}"


def test_manual_knows_every_option():
    manual = set(re.findall(r"\bFl -?([\w-]+)", (ROOT / "man/gapura.1").read_text()))
    for verb in re.findall(r"^  ([a-z]+(?: [a-z]+){0,2})\b", subprocess.run([PROGRAM, "help"], capture_output=True, text=True,
                                                                         check=True).stdout, re.M):
        shown = subprocess.run([PROGRAM, *verb.split(), "--help"], capture_output=True, text=True, check=True).stdout
        lacking = set(re.findall(r"^  --?([\w-]+)", shown, re.M)) - manual
        assert not lacking, f"gapura.1 lacks of {verb}: {lacking}"


def test_readme_in_indonesian_has_the_same_commands():
    assert blocks(ROOT / "README.id.md") == blocks(ROOT / "README.md")


@pytest.mark.parametrize("paper", ["README.md", "docs/operations.md"])
def test_commands_of_papers_exist(paper):
    """Every `gapura VERB` in a code block or between backquotes is a verb."""
    known = verbs() | {"run", "check"}
    text = (ROOT / paper).read_text()
    code = re.findall(r"^(?:    |\$ )(.*)$", text, re.M) + re.findall(r"`([^`\n]+)`", text)
    code += [line for block in re.findall(r"```[^\n]*\n(.*?)```", text, re.S) for line in block.splitlines()]
    for line in code:
        for words in re.findall(r"(?:^|[|(] *|^\$ )gapura ([a-z]+(?: [a-z]+)?)", line.strip()):
            first = words.split()[0]
            assert words in known or first in known, f"{paper}: gapura {words}"


def test_configuration_is_generated():
    made = subprocess.run([PROGRAM, "--print-settings", "lab"], capture_output=True, text=True, check=True)
    assert made.stdout == (ROOT / "docs/lab-settings.md").read_text(), "`make docs` was not run"
    made = subprocess.run([PROGRAM, "--print-settings", "markdown"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs/configuration.md").read_text() == made.stdout, "run `make docs`"


def test_manuals_are_clean(tmp_path):
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not there")
    rows = subprocess.run([PROGRAM, "--print-settings", "man"], capture_output=True, text=True, check=True).stdout
    pages = [ROOT / "man/gapura.1", tmp_path / "gapura.conf.5"]
    pages[1].write_text((ROOT / "man/gapura.conf.5.in").read_text().replace("@SETTINGS@\n", rows))
    for page in pages:
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True,
                              check=False)
        # A row's sentences stand on one line, as they do in the source.
        bad = [line for line in done.stdout.splitlines() if "new sentence, new line" not in line]
        assert not bad, "\n".join(bad)


def test_examples_of_the_manual_stand_the_check(place, authority):
    """Each whole file under EXAMPLES of gapura.conf(5), with the files it names beside it."""
    text = (ROOT / "man/gapura.conf.5.in").read_text().partition(".Sh EXAMPLES")[2].partition(".Sh SEE ALSO")[0]
    examples = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text, re.M | re.S)
    assert len(examples) == 3
    for i, example in enumerate(examples):
        folder = place / str(i)
        folder.mkdir()
        for cert, key in set(re.findall(r"certificate += (\S+) (\S+)", example)):
            made = authority.issue("mx.example.com")
            shutil.copy(made[0], folder / cert)
            shutil.copy(made[1], folder / key)
        for name in re.findall(r"(?:recipient_table|password_file) += (\S+)", example):
            (folder / name).write_text("alice\n")
        (folder / "gapura.conf").write_text(example)
        done = subprocess.run([PROGRAM, "check", "-c", folder / "gapura.conf"], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("paper", [p for p in PAPERS if "\n```conf\n" in p.read_text()], ids=lambda p: str(p.relative_to(ROOT)))
def test_settings_in_papers_stand_the_check(paper, place):
    """Each ```conf block, behind a host name and a listener."""
    for text in re.findall(r"^```conf\n(.*?)^```$", paper.read_text(), re.M | re.S):
        (place / "gapura.conf").write_text("hostname = mail.example.com\nlisten mx {\n    address = 127.0.0.1:2525\n}\n" + text)
        done = subprocess.run([PROGRAM, "check", "-c", place / "gapura.conf"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def slugs(path):
    """What a heading is called behind #."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_links_lead_to_headings():
    for paper in PAPERS:
        for link, heading in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", paper.read_text()):
            assert heading in slugs(paper.parent / link if link else paper), f"{paper.name}: {link}#{heading}"


def test_no_paper_names_this_machine():
    for paper in [*PAPERS, *Path(ROOT / "man").iterdir()]:
        assert not re.search(r"/work/|/home/|/root/(?!alice)", paper.read_text()), paper.name
