"""What a process with CAP_SYS_PTRACE gets from one that has not executed its program yet: no capability, and no way
around the filter, if the filter lets the runtime's process go on under it."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from containers import until
from test_hostile_caller import busy, sleeps_in  # noqa: F401  # fixture
from test_hostile_joined import CONFINED, REFUSED, driver, on_x86_64, only_traces, refusing  # noqa: F401
from test_hostile_line import catch, catcher  # noqa: F401  # fixture

from changes import hook, process, top
from pyruntime._stub import lib
from pyruntime.spec.rules.landlock import ANNOTATION

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

SOURCE = Path(__file__).parents[2] / "csrc/stub/seccomp_check.c"
SYS_ADMIN = 1 << 21
# As engines do it: clone3 "does not exist", and clone makes no namespaces.
CLONE = [
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    {
        "names": ["clone"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
    },
]
# What the C library of the program calls before its main function, and busybox's applets.
OF_THE_PROGRAM = [
    *("access", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "mprotect", "getrandom", "readlink"),
    *("readlinkat", "prctl", "write", "exit", "getppid", "geteuid", "getegid", "setuid", "setgid", "nanosleep"),
    "clock_nanosleep",
]


def needed():
    """Return the names of the calls that csrc/stub/seccomp_check.c asks the filter for, but for clone."""
    text = SOURCE.read_text().partition("calls[]")[2].partition("};")[0]
    return re.findall(r"SYS_(\w+)", text)


def filtered(profile, no_new_privileges=False):
    def change(config):
        config["process"]["noNewPrivileges"] = no_new_privileges
        config["linux"]["seccomp"] = profile

    return change


def exactly(names, action="SCMP_ACT_KILL_PROCESS"):
    """Return a profile that allows these calls, and clone as engines do; `action` comes of every other call."""
    rule = {"names": [*names, *OF_THE_PROGRAM], "action": "SCMP_ACT_ALLOW"}
    return {"defaultAction": action, "syscalls": [*CLONE, rule]}


def confinement(pid):
    """Return the permitted capabilities of process `pid`, and its mode of seccomp."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["CapPrm"], 16), status["Seccomp"]


@on_x86_64
@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_nothing_is_had_from_an_init_that_waits(containers, driver, no_new_privileges):  # noqa: F811
    container = containers.create(filtered(refusing("mount"), no_new_privileges), only_traces, own=True)
    shutil.copy(driver, container.bundle / "rootfs/bin/driver")
    done = container.exec("/bin/driver", "1")
    assert done.stdout.splitlines() == [*CONFINED, *REFUSED], done.stderr
    container.start()
    assert container.status == "running"


INITS = {"without Python": [], "with Python": [hook("createContainer", "true")]}


@on_x86_64
@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("changes", INITS.values(), ids=INITS)
def test_what_is_called_under_the_filter_is_what_the_filter_is_asked_for(containers, changes, no_new_privileges):
    """Any other call would end the process."""
    profile = exactly(needed())
    container = containers.create(filtered(profile, no_new_privileges), process(args=["sleep", "1000"]), *changes)
    permitted, mode = confinement(container.pid)
    assert mode == "2"
    assert not permitted & SYS_ADMIN
    container.start()
    assert container.status == "running"
    assert container.exec("sleep", "0").returncode == 0


@on_x86_64
@pytest.mark.parametrize("missing", ["accept4", "recvfrom", "execve", "restart_syscall"])
def test_a_filter_that_forbids_to_wait_is_loaded_for_the_program(containers, missing):
    names = [name for name in needed() if name != missing]
    container = containers.create(filtered(exactly(names, "SCMP_ACT_ERRNO")), process(args=["sleep", "1000"]))
    assert confinement(container.pid)[1] == "0"
    if missing != "execve":
        container.start()
        assert confinement(container.pid) == (confinement(container.pid)[0] & ~SYS_ADMIN, "2")


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_process_of_exec_has_its_filter_and_no_other_capability_once_it_can_be_seen(
    containers,
    catcher,  # noqa: F811
    no_new_privileges,
):
    caught = []
    container = containers.start(filtered(refusing("mount"), no_new_privileges))
    own = confinement(container.pid)
    assert catch(container, catcher, [], lambda process: caught.append(confinement(process.pid)))
    assert set(caught) == {own}
    assert own[1] == "2" and not own[0] & SYS_ADMIN


@pytest.mark.skipif(lib.pyr_landlock_abi() < 1, reason="Landlock of this kernel has no ABI 1")
def test_a_process_of_exec_with_landlock_has_its_filter_while_it_waits_for_the_host(
    containers,
    busy,  # noqa: F811
):
    landlock = {ANNOTATION: json.dumps({"ruleset": {"handledAccessFS": ["make_sock"]}})}
    container = containers.start(filtered(refusing("mount")), top(annotations=landlock))
    command = containers.runtime.command("exec", "--pidfd-socket", busy, container.id, "true")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as verb:
        try:
            until(lambda: sleeps_in("unix_wait_for_peer")(verb.pid), "the wait for the pidfd socket")
            pids = json.loads(containers.runtime("ps", "--format", "json", container.id).stdout)
            (pid,) = {*pids} - {container.pid}
            assert confinement(pid) == confinement(container.pid)
        finally:
            verb.terminate()
