"""Writes csrc/build/hot.txt, the functions that hot verbs run: `.venv/bin/python generate/hot.py`. Needs root.

From CPython 3.12 on the program keeps their code together (csrc/build/freeze.py). A function that is not listed makes a
verb a little slower, and nothing else. Each verb is run with a profile, on hierarchies of version 1 and of version 2 of
cgroups.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests/support"))
from bundle import make_bundle  # noqa: E402

HOT = PROJECT / "csrc/build/hot.txt"
# In this order their code lies in memory. A function is in the first group that has one of its verbs, or both of them.
GROUPS = {
    "start, state, kill, delete": lambda verbs: verbs & {"start", "state", "kill", "delete"},
    "exec and create or run": lambda verbs: "exec" in verbs and verbs & {"create", "run"},
    "exec": lambda verbs: "exec" in verbs,
    "create or run": lambda verbs: verbs & {"create", "run"},
    "of configurations with more in them": lambda verbs: True,
}
HEAD = """\
# The functions that hot verbs run, by module; generate/hot.py writes this file. Each part is a group of
# csrc/build/freeze.py: its name says which verbs run what is in it.
"""
# The modules that the program holds are imported before, as in the program.
PROFILE = """
import json, os, sys
sys.path += {packages}
from pyruntime.cli.main import main
from pyruntime.startup.embedded import _HOT
for name in _HOT.split():
    __import__(f"pyruntime.{{name}}")
found, process = set(), os.getpid()
sys.setprofile(lambda frame, event, argument: event == "call" and found.add(frame.f_code))
try:
    status = main(sys.argv[1:])
finally:
    sys.setprofile(None)
    if os.getpid() == process:
        with open({output}, "w") as file:
            json.dump([[code.co_filename, code.co_qualname] for code in found], file)
sys.exit(status)
"""
MARK = "/pyruntime/"


def as_engines(config: "dict[str, Any]") -> None:
    """Change `config` to one with resources, a filter and other things that engines write."""
    config["annotations"] = {"name": "value"}
    config["process"].update(args=["sleep", "1000"], oomScoreAdj=100)
    config["mounts"].append({"destination": "/mnt", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]})
    config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    config["linux"]["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": 1 << 28},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000},
        "pids": {"limit": 100},
    }
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists():  # those that version 1 has are lacking on a hybrid host
        there = {"devices", *controllers.read_text().split()}
        resources = config["linux"]["resources"]
        config["linux"]["resources"] = {name: value for name, value in resources.items() if name in there}
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}],
    }


class Recorder:
    """Runs verbs, and keeps which functions they have run."""

    def __init__(self, place: Path) -> None:
        """place: an empty directory"""
        self.place = place
        self.verbs: dict[tuple[str, str], set[str]] = {}

    def run(self, verb: str, *words: object, known_as: str = "") -> None:
        """Run a verb with the arguments `words`. What it has run is kept under `known_as`, or its own name."""
        output = self.place / "functions"
        packages = [path for path in sys.path if path.endswith("-packages")]
        program = PROFILE.format(packages=packages, output=repr(str(output)))
        command = [sys.executable, "-I", "-S", "-c", program, "--root", self.place / "state", verb, *words]
        subprocess.run(list(map(str, command)), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for file, name in json.loads(output.read_text()):
            if MARK in file and name != "<module>":
                path = MARK + file.rpartition(MARK)[2].removesuffix(".py")
                module = path.removesuffix("/__init__").strip("/").replace("/", ".")
                self.verbs.setdefault((module, name), set()).add(known_as or verb)

    def verbs_of(self, name: str) -> None:
        """Run all hot verbs. name: of directories and of containers, which is new"""
        program = Path(sys.executable).with_name("pyruntime")

        def bundle(kind: str, change: "Callable[[dict[str, Any]], object]") -> Path:
            return make_bundle(self.place / name / kind, program, change)

        ends = bundle("ends", lambda config: config["process"].update(args=["true"]))
        self.run("run", "--bundle", ends, name)
        plain = bundle("plain", lambda config: config["process"].update(args=["sleep", "1000"]))
        self.run("create", "--bundle", plain, name)
        self.run("start", name)
        self.run("exec", name, "true")
        self.run("state", name)
        self.run("kill", name, "KILL")
        self.run("delete", name)

        more = bundle("more", as_engines)
        process = self.place / name / "process.json"
        process.write_text(json.dumps({"args": ["/bin/true"], "cwd": "/"}))
        pid_file = self.place / name / "pid"
        self.run("create", "--bundle", more, "--pid-file", pid_file, name, known_as="more")
        self.run("start", name, known_as="more")
        self.run("exec", "--detach", "--process", process, "--pid-file", pid_file, name, known_as="more")
        self.run("delete", "--force", name, known_as="more")


def written(verbs: "dict[tuple[str, str], set[str]]") -> str:
    """Return the file. verbs: (module, qualified name) of a function -> what ran it"""
    text = HEAD
    left = dict(verbs)
    for title, belongs in GROUPS.items():
        modules: dict[str, list[str]] = {}
        for module, name in sorted(function for function, ran in left.items() if belongs(ran)):
            modules.setdefault(module, []).append(name)
            del left[module, name]
        text += f"[{title}]\n" + "".join(f"{module}: {' '.join(names)}\n" for module, names in modules.items())
    return text


def main() -> None:
    """Record all verbs here and in a mount namespace that has cgroups of version 2 only, and write the file."""
    if sys.argv[1:]:  # in that namespace: DIRECTORY
        recorder = Recorder(Path(sys.argv[1]))
        recorder.verbs_of("unified")
        Path(sys.argv[1], "found").write_text(json.dumps([[*key, *ran] for key, ran in recorder.verbs.items()]))
        return
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        recorder = Recorder(Path(here))
        recorder.verbs_of(f"hot{os.getpid()}")
        script = 'umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, __file__, there]
        subprocess.run(command, check=True)
        for module, name, *ran in json.loads(Path(there, "found").read_text()):
            recorder.verbs.setdefault((module, name), set()).update(ran)
    HOT.write_text(written(recorder.verbs))


if __name__ == "__main__":
    main()
