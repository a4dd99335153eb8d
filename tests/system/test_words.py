"""The command line with wrong words: every verb, every option, and what is no verb at all."""
import re
import subprocess

from gapura import PROGRAM


def run(*words, **more):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=30, **more)


GROUPS = ("queue", "user", "domain", "domain dkim", "policy", "auth", "replies", "import")
ENOUGH = {  # words of a verb that is complete
    "lab wind": "--scenario x", "import postfix": "/nowhere", "policy test": "/nowhere", "policy senders": "/nowhere", "auth verify": "/nowhere",
    "auth sign": "/nowhere", "auth spf": "example.org", "explain": "a@b.test", "queue show": "x", "user add": "x",
    "user password": "x", "user remove": "x", "domain dns": "x.test", "domain dkim add": "x.test",
    "domain dkim import": "x.test s /nowhere", "domain dkim show": "x.test", "domain dkim rotate": "x.test",
    "domain dkim activate": "x.test", "domain dkim retire": "x.test s", "domain dkim remove": "x.test s",
    "queue retry": "--all", "queue release": "--all", "resume": "--all", "trace": "--ip 192.0.2.1"}


def verbs_of_help():
    return re.findall(r"^  ([a-z]+(?: [a-z]+){0,2})\b", run("help").stdout, re.M)


def test_every_verb_explains_wrong_words(place):
    """No word, too many, an option that there is not, a value that is missing: said by name, with status 2, and nothing is done."""
    where = {"cwd": place, "stdin": subprocess.DEVNULL}
    for verb in verbs_of_help():
        if verb in ("send", "help"):  # sendmail(8)'s own words; any words
            continue
        words, more = verb.split(), ENOUGH.get(verb, "").split()
        if more and verb != "lab wind":
            done = run(*words, **where)
            assert done.returncode == 2 and (f"`gapura {verb}` needs " in done.stderr or "of what?" in done.stderr), done
            assert f"example: gapura {verb} " in done.stderr, done
        for bad, said in ((["--no-such-thing"], f"`gapura {verb}` has no option --no-such-thing; see gapura {verb} --help"),
                          (["-Z"], f"unknown option -Z; see gapura {verb} --help"), (["-c"], "-c needs a file"),
                          (["--help=3"], "--help takes no value")):
            done = run(*words, *bad, *(more if bad != ["-c"] else []), **where)
            assert done.returncode == 2 and said in done.stderr and not done.stdout, (verb, done)
        usage = run(*words, "--help").stdout.partition("\n")[0]
        if "..." not in usage and verb != "replies list":  # any number of words; words that are one text
            done = run(*words, *"a b c d e".split(), **where)
            assert done.returncode == 2 and ("what is `" in done.stderr or "cannot read c" in done.stderr), (verb, done)
    assert not list(place.iterdir())


def test_options_of_every_verb(place):
    """Each option that help shows is understood; one that wants a value says so when another option follows."""
    for verb in set(verbs_of_help()) - {"help"}:
        options = re.findall(r"^  (--?[\w-]+)(?: ([A-Z/.]+))?(?: .*)?$", run(*verb.split(), "--help").stdout, re.M)
        assert ("--help", "") in options, verb
        for name, value in options:
            if name == "-c" or not value:
                continue
            done = run(*verb.split(), name, "--json", stdin=subprocess.DEVNULL)
            assert done.returncode == 2 and f"{name} needs a value: {name} {value}" in done.stderr, (verb, name, done)


def test_words_that_are_no_verb():
    for words, said in (("queue lsit", "did you mean `gapura queue list`?"), ("suspnd", "did you mean `gapura suspend`?"),
                        ("STATUS", "did you mean `gapura status`?"), ("domain dkim ad", "did you mean `gapura domain dkim add`?"),
                        ("domain dkm add", "did you mean `gapura domain dkim add`?"), ("user bogus", "there are:\n  gapura user add "),
                        ("auth bogus", "there are:\n  gapura auth verify"), ("policy bogus", "there are:\n  gapura policy show"),
                        ("import exchange", "there are:\n  gapura import postfix"), ("stop", "`systemctl stop gapura`"),
                        ("flush", "`gapura queue retry --all`"), ("queue delete 01dnqq2000000g00000000000b", "that is `gapura queue remove`"),
                        ("queue requeue", "that is `gapura queue retry`"), ("tenant list", "a block `tenant`"), ("find <a@b>", "MESSAGE-ID"),
                        ("queue flush", "that is `gapura queue retry --all`"), ("postqueue -p", "`gapura queue list`"), ("dkim", "`gapura domain dkim`"), ("xyzzy", "`gapura help` lists all"),
                        ("help xyzzy", "there is no verb `xyzzy`"), ("-c x status", "options stand behind it"),
                        ("version --bogus", "has no option --bogus")):
        done = run(*words.split())
        assert done.returncode == 2 and said in done.stderr and not done.stdout, (words, done)
    for group in GROUPS:
        for words in ((*group.split(), "-h"), ("help", *group.split())):
            done = run(*words)
            assert done.returncode == 0 and done.stdout.startswith(f"  gapura {group} "), (words, done)
