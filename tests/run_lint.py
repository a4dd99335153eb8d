"""clang-tidy and cppcheck over src/, for tests/run.

clang-tidy is asked only for files whose text, headers or settings changed since it last found them
clean: the digests of clean files are kept in build/tests/tidy/.
"""
import hashlib
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-Isrc", "-Ibuild/gen"]
INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.M)
FINDING = re.compile(r"^[^:\s]+:\d+:\d+: (error|warning): ")


def cppcheck(root, run, jobs):
    if not shutil.which("cppcheck"):
        return 0, 0, 1, ["cppcheck is not installed"]
    argv = ["cppcheck", "--quiet", f"-j{jobs}", "--enable=warning,portability,performance", "--inline-suppr",
            "--std=c11", "--max-configs=2", "--error-exitcode=1", "-D_GNU_SOURCE", "-Isrc",
            "--template={file}:{line}: {severity}: {id}: {message}",
            # cppcheck knows no cleanup attribute either; unnamed parameters are our style.
            "--library=tests/cppcheck.cfg",
            "--suppress=missingIncludeSystem", "--suppress=memleak", "--suppress=memleakOnRealloc",
            "--suppress=funcArgOrderDifferent",
            "src"]
    status, text = run(argv, 240)
    findings = [line for line in text.splitlines() if ": " in line]
    if status is None:
        return 0, 1, 0, ["not finished within 240 s"]
    if status and not findings:
        findings = text.splitlines()[-5:] or [f"exit status {status}"]
    return int(not findings), len(findings), 0, findings


class Digests:
    """The digest of a file with all project headers it reaches and the settings of the tool."""

    def __init__(self, root):
        self.root, self.texts = root, {}
        self.base = (root / ".clang-tidy").read_bytes() + " ".join(FLAGS).encode()

    def text(self, name):
        if name not in self.texts:
            path = self.root / "src" / name
            self.texts[name] = path.read_bytes() if path.is_file() else b""
        return self.texts[name]

    def of(self, name):
        seen, todo = {name}, [name]
        while todo:
            for found in INCLUDE.findall(self.text(todo.pop())):
                header = found.decode()
                if header not in seen:
                    seen.add(header)
                    todo.append(header)
        whole = hashlib.sha256(self.base)
        for each in sorted(seen):
            whole.update(each.encode() + b"\0" + self.text(each) + b"\0")
        return whole.hexdigest()


def tidy_one(root, run, name):
    """What is found in one file of src/."""
    status, text = run(["clang-tidy", "--quiet", f"src/{name}", "--", *FLAGS], 120)
    if status is None:
        return [f"src/{name}: not finished within 120 s"]
    findings = []
    for line in text.splitlines():
        if FINDING.match(line):
            findings.append(line.replace(f"{root}/", "").replace(",-warnings-as-errors", ""))
    return findings


def clang_tidy(root, run, jobs):
    if not shutil.which("clang-tidy"):
        return 0, 0, 1, ["clang-tidy is not installed"]
    kept = root / "build/tests/tidy"
    kept.mkdir(parents=True, exist_ok=True)
    digests = Digests(root)
    names = sorted(p.relative_to(root / "src").as_posix() for p in (root / "src").glob("*/*.c"))
    passed, findings = 0, []

    def look(name):
        mark = kept / digests.of(name)
        if mark.exists():
            return []
        found = tidy_one(root, run, name)
        if not found:
            mark.touch()
        return found

    with ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(look, names):
            passed += not found
            findings += found
    failed = len(names) - passed
    return passed, failed, 0, sorted(set(findings))
