"""The machine's starts: with which kernel and options, and what is run then."""

import os
from pathlib import Path

from image import RELEASE  # which adds the folder of the next module to the path
from machine import PROJECT, Boot
from machines import Machine

SUITE = PROJECT / ".cache/runtime-tools"

# What is run of the other folders beside the tests in inside/: what depends on cgroup v2 without v1 beside it, on
# systemd, on a security module or on CRIU, which works there with the kernel of its own release.
V2 = (
    "tests/conformance/test_runtime_lifecycle.py::test_kill_all_reaches_every_process",
    "tests/conformance/test_runtime_lifecycle.py::test_delete_removes_everything_that_create_made",
    "tests/integration/test_checkpoint.py",
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
    "tests/beside": "takes an hour there; inside/test_beside.py has what depends on cgroup v2 and systemd",
    "tests/sandbox": "inside/test_rootless.py has what needs a user's systemd",
    "tests/validation": "supports cgroup v1 only; inside/test_validation.py runs the programs that need this machine",
    "tests/conformance": "all but two tests: mounts, hooks, paths and processes are the same with every cgroup version",
    "tests/integration": "the other files: the same, or in need of a compiler, or about a host with both versions",
}

_START = """
cd /project
export PATH=/opt/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
export TMPDIR=/var/tmp PYRUNTIME_VM={name} PYRUNTIME_REPORTS=/dev/virtio-ports/reports CI={ci} COLUMNS=120
modprobe virtio_console
udevadm settle
python -m pytest -p no:cacheprovider -q --color=no --durations=15 {words}
"""


def built() -> Path:
    """Build pyruntime in a machine of the release, with its Python; return the environment in which it is installed."""
    builder = Machine("vm-build", RELEASE)
    builder.make()
    builder.call("make", "all", limit=1200)
    options = ("--quiet", "--no-deps", "--no-index", "--ignore-installed", "--no-warn-script-location")
    install = f".venv/bin/pip install {' '.join(options)} --prefix $PWD/vm .cache/wheel/*.whl"
    builder.call("sh", "-c", install, limit=300)
    # The machine has no compiler.
    builder.call("gcc", "-static", "-O1", "-std=gnu11", "tests/beside/probe.c", "-o", "vm/probe", limit=300)
    return builder.project / "vm"


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
            limit=2100,
        ),
        # The oldest kernel that pyruntime supports, with cgroup v1 only, and with SELinux.
        Boot(
            name="older",
            kernel="old",
            options="security=selinux enforcing=0 systemd.unified_cgroup_hierarchy=0"
            " SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
            start=start("older", *ONLY_OLDER, *BOTH, *OLDER),
            files=files,
            limit=900,
        ),
    ]
