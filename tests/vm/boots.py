"""The machine's starts: with which kernel and options, and what is run then."""

import os
import subprocess
import sys
from pathlib import Path

from machine import PROJECT, Boot

SUITE = PROJECT / ".cache/runtime-tools"

# What is run beside the tests in inside/: those of the other folders whose outcome may depend on cgroup v2, on systemd,
# on all capabilities, or on the kernel.
SELECTED = (
    "tests/conformance/test_runtime_lifecycle.py",
    "tests/integration/test_labels.py",
    "tests/integration/test_pause.py",
    "tests/integration/test_run.py",
    "tests/integration/test_systemd_driver.py",
)
# The same for the older kernel.
OLDER = ("tests/integration/test_run.py",)
# What is not run in the machine. An emulated one is 10 to 30 times slower than the host, where all of these are run; a
# container takes 3 seconds there.
LEFT_OUT = {
    "tests/unit": "needs no kernel",
    "tests/hostile": "hundreds of containers; nothing in them depends on systemd or the version of cgroups",
    "tests/callers": "their daemons are not in the image",
    "tests/validation": "supports cgroup v1 only; inside/test_validation.py runs the programs that need this machine",
    "tests/conformance": "the other files: mounts, hooks, paths and processes are the same with every cgroup version",
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
            start=start("v2", "tests/vm/inside", "--ignore=tests/vm/inside/test_selinux.py", *SELECTED),
            files=files,
            limit=1500,
        ),
        # The oldest kernel that pyruntime supports, with cgroup v1 only, and with SELinux.
        Boot(
            name="older",
            kernel="old",
            options="security=selinux enforcing=0 systemd.unified_cgroup_hierarchy=0",
            start=start("older", *(f"tests/vm/inside/test_{name}.py" for name in ("selinux", "validation")), *OLDER),
            files=files,
            limit=900,
        ),
    ]
