"""An AppArmor profile on the container's process (config.md#linux-process, apparmor.d(5))."""

import subprocess
from pathlib import Path

import pytest

from changes import process

PROFILE = """
profile pyruntime-test flags=(attach_disconnected) {
    file,
    capability,
    signal,
    deny /dev/shm/forbidden rw,
}
"""


@pytest.fixture(scope="module", autouse=True)
def _profile():
    assert Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    for option in ("--replace", "--remove"):
        subprocess.run(["apparmor_parser", option], input=PROFILE, text=True, check=True)
        if option == "--replace":
            yield


def test_the_process_has_the_profile(either):
    script = "cat /proc/self/attr/current"
    assert either.run(script, process(apparmorProfile="pyruntime-test")).stdout.strip() == "pyruntime-test (enforce)"
    assert either.run(script).stdout.strip() == "unconfined"


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_profile_holds(containers, no_new_privileges):
    script = "echo x >/dev/shm/allowed && echo first; echo x >/dev/shm/forbidden || echo no second"
    change = process(apparmorProfile="pyruntime-test", noNewPrivileges=no_new_privileges)
    assert containers.run(script, change).stdout == "first\nno second\n"


def test_a_profile_that_is_not_loaded_is_an_error(containers):
    said = containers.refused(process(apparmorProfile="no-such-profile"))
    assert "/process/apparmorProfile" in said and "no-such-profile" in said


def test_exec_has_the_profile_of_the_container(containers):
    container = containers.start(process(apparmorProfile="pyruntime-test"))
    done = container.exec("cat", "/proc/self/attr/current")
    assert done.stdout.strip() == "pyruntime-test (enforce)"
