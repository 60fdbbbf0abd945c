"""The two commands of README, and the callers, on other releases of Debian and with other versions of Python.

Each test that is run in a machine is reported as a test of this run.
"""

import fcntl
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import releases
import reports
from machines import Machine

SECONDS = 2400  # for one call of make


def _tests(*folders: str) -> tuple[str, ...]:
    """Return the words for make to run the tests in `folders` of tests/."""
    return "test", f"TESTS={' '.join(f'tests/{folder}' for folder in folders)}"


MOST = _tests("unit", "integration")
# CI has time for the newest release, and there for the tests of the runtime itself and of the callers whose version is
# another one there. Go is only needed for what CI leaves out.
CI = os.environ.get("CI") == "true"
OF_THE_RUNTIME = _tests("unit", "integration", "conformance", "hostile", "sandbox")
CALLERS = " or ".join(f"test_{name}.py" for name in ("containerd", "cri", "docker", "podman", "buildah"))
OF_CALLERS = ("callers", "GO_PACKAGES=", f"TESTFLAGS=-k '{CALLERS}'")
MACHINES = {
    machine.name: machine
    for machine in (
        Machine("trixie", "trixie", targets=(OF_THE_RUNTIME, OF_CALLERS) if CI else (("test",), ("callers",))),
        Machine("bookworm", "bookworm", targets=(("test",),)),
        Machine("sid", "sid", targets=(MOST,)),
        *(
            Machine(f"python{version}", python=releases.pyenv_python(version), targets=(MOST,))
            for version in ("3.10", "3.12", "3.13")
        ),
    )
    if machine.name == "trixie" or not CI
}


@pytest.fixture(scope="session", autouse=True)
def _alone():
    """Two runs in the same directory wait for each other."""
    if reason := releases.obstacle():
        pytest.skip(reason)
    releases.CACHE.mkdir(parents=True, exist_ok=True)
    with (releases.CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("name", MACHINES)
def test_machine(name, request):
    machine = MACHINES[name]
    if not machine.release and not machine.python:
        pytest.skip(f"needs an interpreter of pyenv's: {name}")
    machine.make()
    failed = []
    for words in machine.make_targets():
        try:
            machine.call(
                "nohup", "make", *words, limit=SECONDS, CI=os.environ.get("CI", ""), PYRUNTIME_REPORTS="reports"
            )
        except AssertionError as error:  # make's status is that of pytest: the tests are reported one by one
            failed.append(error)
            if "run" in words:
                raise
    assert "Hello from a container made by pyruntime." in machine.log.read_text(errors="replace")
    lines = machine.reports.read_text().splitlines() if machine.reports.exists() else []
    reports.take(request, map(json.loads, lines))
    # A target that failed before its tests began.
    assert len([line for line in lines if '"status"' in line]) >= len(machine.targets), failed
    machine.remove()
