"""What the hot verbs import while they do their work on a real container: counted, because imports are their time."""

import os

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# What the hot verbs may import beyond what the interpreter starts with, and the package itself.
ALLOWED = {"_cffi_backend", "_json", "_stat", "errno", "fcntl", "select", "time"}

# How many modules of the package a verb may import for a plain configuration; what only some need is imported by those.
# A package that holds modules and nothing else has no code, and does not count.
MOST = {"create": 65, "start": 20, "exec": 49, "run": 72}

# As the launcher starts it (csrc/launcher/launcher.c), but for what it writes to the file argv[1] at the end.
PROGRAM = """
import sys
before = set(sys.modules)
sys.path += sys.argv[2:4]
from pyruntime.cli.main import main
status = main(sys.argv[4:])
import posix
kind = type(sys)
def has_code(name):
    return any(key[:2] != "__" and not isinstance(value, kind) for key, value in vars(sys.modules[name]).items())
imported = filter(has_code, set(sys.modules) - before)
posix.write(posix.open(sys.argv[1], posix.O_WRONLY | posix.O_CREAT), " ".join(imported).encode())
posix._exit(status)
"""


@pytest.fixture
def imported(interpreted):
    """imported(*words) carries out a verb, which must succeed, and returns the modules it has imported."""
    return lambda *words: {*interpreted(PROGRAM, *words).split()}


def lines(bundle, runtime):
    """Return verb -> its arguments, in an order in which they succeed: a container's whole life, and a `run`."""
    path = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    short = bundle(lambda config: config["process"].update(args=["true"]))
    name = runtime.id()
    return {
        "create": ("create", "--bundle", path, name),
        "start": ("start", name),
        "exec": ("exec", name, "true"),
        "state": ("state", name),
        "kill": ("kill", name, "KILL"),
        "delete": ("delete", "--force", name),
        "run": ("run", "--bundle", short, runtime.id()),
    }


def foreign(modules):
    """Return those of `modules` that are not the package's own."""
    return {name for name in modules if name.partition(".")[0] != "pyruntime"}


def own(modules):
    """Return those of `modules` that are the package's."""
    return {name for name in modules if name.partition(".")[0] == "pyruntime"}


def test_a_plain_configuration_imports_nothing_that_only_others_need(imported, bundle, runtime, subtests):
    words = lines(bundle, runtime)
    for verb, most in MOST.items():
        with subtests.test(verb=verb):
            modules = own(imported(*words[verb]))
            assert len(modules) <= most
            assert not {
                name
                for name in modules
                if name.endswith((".hooks", ".run_hooks", ".labels", ".scheduling", ".seccomp", ".seccomp.filter"))
            }


def test_a_container_lives_and_dies_without_a_slow_import(imported, bundle, runtime, subtests):
    for verb, line in lines(bundle, runtime).items():
        with subtests.test(verb=verb):
            assert foreign(imported(*line)) <= ALLOWED


# As the build prepares the snapshot (pyruntime/startup/embedded.py). What the verb has made is written as above.
PREPARED = """
import sys
sys.path += sys.argv[2:4]
from pyruntime.base import errors, lean_os
from pyruntime.startup import embedded, rehearsal
for name in embedded._HOT.split():
    __import__(f"pyruntime.{name}")
rehearsal.rehearse()
assert "os" not in sys.modules
made = lambda: {*vars(lean_os), *(kind.__name__ for kind in errors._refusals)} - {"environ"}  # which is the process's
before = made()
status = embedded.pyruntime.cli.main.main(sys.argv[4:])
lean_os.write(lean_os.open(sys.argv[1], lean_os.O_WRONLY | lean_os.O_CREAT), " ".join(made() - before).encode())
lean_os._exit(status)
"""


def test_the_build_makes_what_a_verb_would_make_on_first_use(interpreted, bundle, runtime, subtests):
    """System calls with their names, and classes of the errors that are usual."""
    for verb, line in lines(bundle, runtime).items():
        with subtests.test(verb=verb):
            assert interpreted(PREPARED, *line).split() == []
