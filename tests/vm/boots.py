"""The machine's starts: with which kernel and options, and what is run then."""

import os
import subprocess
import sys
from pathlib import Path

from machine import PROJECT, Boot

SUITE = PROJECT / ".cache/runtime-tools"

# What is run of the other folders beside the tests in inside/: what depends on cgroup v2 without v1 beside it, on
# systemd, on a security module or on CRIU.
V2 = (
    "tests/conformance/test_runtime_lifecycle.py::test_kill_all_reaches_every_process",
    "tests/conformance/test_runtime_lifecycle.py::test_delete_removes_everything_that_create_made",
    *(
        f"tests/integration/test_checkpoint.py::test_{name}"
        for name in (
            "a_round_trip_or_an_error_with_the_log",
            "a_container_goes_on_under_another_id_with_its_pipes_and_mounts",
            "a_terminal_comes_back_with_what_was_written_before_and_hooks_see_the_namespaces",
        )
    ),
    "tests/integration/test_labels.py",
    "tests/integration/test_memory_limit.py",
    "tests/integration/test_pause.py",
    "tests/integration/test_systemd_driver.py",
)
# The same for the oldest kernel that pyruntime supports: here the way from clone3(2) to the end of a container.
OLDER = ("tests/integration/test_run.py",)
# Files of inside/ that only one of the machines can run; the others are for the first.
ONLY_OLDER = ("tests/vm/inside/test_older.py", "tests/vm/inside/test_selinux.py")
BOTH = ("tests/vm/inside/test_validation.py",)
# What is not run in the machine. An emulated one is some 20 times slower than the host, where all of these are run.
LEFT_OUT = {
    "tests/unit": "needs no kernel",
    "tests/bench": "says nothing in an emulated machine",
    "tests/fuzz": "needs no kernel",
    "tests/hostile": "hundreds of containers; nothing in them depends on systemd or the version of cgroups",
    "tests/callers": "their daemons are not in the image; inside/test_podman.py has what needs a user's systemd",
    "tests/validation": "supports cgroup v1 only; inside/test_validation.py runs the programs that need this machine",
    "tests/conformance": "all but two tests: mounts, hooks, paths and processes are the same with every cgroup version",
    "tests/integration": "the other files: the same, or in need of a compiler, or about a host with both versions",
}

_START = """
cd /project
export PATH=/opt/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/project/tests/vm PYTHONDONTWRITEBYTECODE=1
export PYRUNTIME_VM={name} CI={ci} COLUMNS=120
modprobe virtio_console
udevadm settle
python -m pytest -p port -p no:cacheprovider -q --color=no --durations=15 {words}
"""


def installed(wheel: Path, folder: Path) -> Path:
    """Install the wheel of pyruntime below `folder` as the machine's environment has it; return the environment."""
    target = folder / "venv"
    options = ["--quiet", "--no-deps", "--no-index", "--ignore-installed", "--no-warn-script-location"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--prefix", target, wheel], check=True)
    return target


def boots(environment: Path) -> list[Boot]:
    """Return the starts; `environment` has pyruntime installed."""
    files = {"/opt/venv": environment, "/project/.cache/runtime-tools": SUITE}

    def start(name: str, *words: str) -> str:
        return _START.format(name=name, ci=os.environ.get("CI", ""), words=" ".join(words))

    return [
        Boot(
            name="v2",
            kernel="new",
            options="apparmor=1 security=apparmor hugepages=16",
            start=start("v2", "tests/vm/inside", *(f"--ignore={name}" for name in ONLY_OLDER), *V2),
            files=files,
            limit=1500,
        ),
        # The oldest kernel that pyruntime supports, with cgroup v1 only, and with SELinux.
        Boot(
            name="older",
            kernel="old",
            options="security=selinux enforcing=0 systemd.unified_cgroup_hierarchy=0",
            start=start("older", *ONLY_OLDER, *BOTH, *OLDER),
            files=files,
            limit=900,
        ),
    ]
