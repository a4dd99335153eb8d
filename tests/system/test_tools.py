"""The tools that hold the tree: each finds what it is there for."""
import re
import shutil
import subprocess

import pytest

from gapura import ROOT


@pytest.fixture
def tree(tmp_path):
    """Writes files and runs a tool over them: (exit status, output)."""
    def run(tool, **files):
        for name, text in files.items():
            folder, _, rest = name.partition("__")
            base, _, suffix = rest.rpartition("_")
            path = tmp_path / "src" / folder / f"{base}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([ROOT / "tools" / tool, tmp_path], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout
    return run


@pytest.mark.parametrize("files, said", [
    (dict(core__a_h='#include "net/b.h"\n', net__b_h=""), "is upward"),
    (dict(net__a_h='#include "mail/b.h"\n', mail__b_h=""), "is sideways"),
    (dict(net__a_h='#include "../core/b.h"\n', core__b_h=""), "is relative"),
    (dict(core__a_h='#include "core/b.h"\n', core__b_h='#include "core/a.h"\n'), "ring of headers"),
    (dict(core__a_h="", core__a_c='#include "core/a.h"\n#include "core/b.h"\n', core__b_h="",
          core__b_c='#include "core/b.h"\n#include "core/a.h"\n'), "ring of 2 modules"),
    (dict(gate__a_c='#include "net/b_inner.h"\n', net__b_inner_h=""), "is private"),
    (dict(core__a_h='#include "core/gone.h"\n'), "does not exist"),
    (dict(attic__a_h=""), "stands on no floor"),
])
def test_layers(tree, files, said):
    status, text = tree("check-layers", **files)
    assert status == 1 and said in text, text


def test_layers_lets_good_ones_pass(tree):
    status, text = tree("check-layers", core__a_h="", net__b_h='#include "core/a.h"\n',
                        net__b_inner_h='#include "net/b.h"\n',
                        net__b_c='#include <stdio.h>\n\n#include "net/b.h"\n#include "net/b_inner.h"\n')
    assert status == 0, text


def test_size(tree):
    body = "int\nlong_one(void)\n{\n" + "    x();\n" * 100 + "}\n"
    status, text = tree("check-size", core__a_c=body)
    assert status == 1 and "long_one" in text
    status, text = tree("check-size", core__a_c="int x;\n" * 701)
    assert status == 1 and "file" in text
    assert tree("check-size", core__a_c="int\nf(void)\n{\n    return 1;\n}\n")[0] == 0


def test_install_deps_with_nothing_to_do_is_quiet():
    """Asks no registry and changes nothing when all is there."""
    probe = subprocess.run(["sh", ROOT / "tools/install-deps", "other"], capture_output=True, text=True, timeout=30)
    assert probe.returncode == 2 and "usage" in probe.stderr
    done = subprocess.run(["sh", ROOT / "tools/install-deps", "build"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == ""


def test_fuzz_goes_on_from_the_page(tmp_path):
    """What was counted elsewhere counts here, and what is counted here comes into the page."""
    for folder in ("tools", "docs", "fuzz", "build/fuzz"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "tools/fuzz", tmp_path / "tools")
    (tmp_path / "fuzz/fuzz_mime.c").touch()
    (tmp_path / "fuzz/fuzz_tnef.c").touch()
    page = tmp_path / "docs/fuzzing.md"
    page.write_text("Before.\n\n| target | CPU seconds | runs | inputs |\n|---|--:|--:|--:|\n"
                    "| mime | 3,500 | 2 | 1,000,000 |\n\nAfter.\n")
    program = tmp_path / "build/fuzz/fuzz_mime"
    program.write_text("#!/bin/sh\necho stat::number_of_executed_units: 5\n")
    program.chmod(0o755)

    def run(*words):
        return subprocess.run([tmp_path / "tools/fuzz", *words], capture_output=True, text=True, timeout=60, check=True)

    assert re.search(r"^mime +3500 +2 +1,000,000 +0$", run("--table").stdout, re.M)
    run("--seconds", "1", "mime")
    run("--page")
    before, *rows, after = page.read_text().splitlines()
    assert (before, after) == ("Before.", "After.")
    assert [row.replace(" ", "") for row in rows[3:-1]] == ["|mime|3,500|3|1,000,005|"]
