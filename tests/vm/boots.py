"""The machine's starts: with which kernel and options, and what is run then."""

import os
import subprocess
import sys
from pathlib import Path

from machine import PROJECT, Boot

SUITE = PROJECT / ".cache/runtime-tools"

# What is not run in the machine, because it would prove there what it proves on the host, only 10 to 30 times slower.
LEFT_OUT = {
    "tests/unit": "needs no kernel",
    "tests/hostile": "thousands of containers; nothing in them depends on systemd or the version of cgroups",
    "tests/callers": "their daemons are not in the image",
    "tests/validation": "supports cgroup v1 only; inside/test_validation.py runs the programs that need this machine",
    "tests/integration/test_seccomp.py": "compiles its probes, and the image has no compiler",
    "tests/integration/test_launcher.py": "builds the launcher, and the image has no compiler",
    "tests/integration/test_cgroup_drivers.py": "drives a host with cgroup v1 and v2; inside/ has the tests of pure v2",
}

_START = """
cd /project
export PATH=/opt/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/project/tests/vm PYTHONDONTWRITEBYTECODE=1
export PYRUNTIME_VM={name} CI={ci} COLUMNS=120
modprobe virtio_console
udevadm settle
python -m pytest -p reports -p no:cacheprovider -q --color=no --durations=15 {words}
"""


def installed(wheel: Path, folder: Path) -> Path:
    """Install the wheel of pyruntime below `folder` as the machine's environment has it; return the environment."""
    target = folder / "venv"
    options = ["--quiet", "--no-deps", "--no-index", "--ignore-installed", "--no-warn-script-location", "--no-compile"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--prefix", target, wheel], check=True)
    return target


def boots(environment: Path) -> list[Boot]:
    """Return the starts; `environment` has pyruntime installed."""
    ignored = [f"--ignore={path}" for path in LEFT_OUT]
    files = {"/opt/venv": environment}

    def start(name: str, *words: str) -> str:
        return _START.format(name=name, ci=os.environ.get("CI", ""), words=" ".join(words))

    return [
        Boot(
            name="v2",
            kernel="new",
            options="apparmor=1 security=apparmor hugepages=16",
            start=start("v2", "tests/vm/inside", *ignored),
            files={**files, "/project/.cache/runtime-tools": SUITE},
            limit=1200,
        ),
    ]
