"""An AppArmor profile on the container's process (config.md#linux-process, apparmor.d(5))."""

import json
import subprocess
from pathlib import Path

import pytest
from containers import group_of, until

from changes import bind, capable, process, unmount, writable

PROFILE = """
profile pyruntime-test flags=(attach_disconnected) {
    file,
    capability,
    signal,
    mount,
    deny /dev/shm/forbidden rw,
}
"""
CONFINED = "pyruntime-test (enforce)"


@pytest.fixture(scope="module", autouse=True)
def _profile():
    assert Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y"
    for option in ("--replace", "--remove"):
        subprocess.run(["apparmor_parser", option], input=PROFILE, text=True, check=True)
        if option == "--replace":
            yield


def test_the_process_has_the_profile(either):
    script = "cat /proc/self/attr/current"
    assert either.run(script, process(apparmorProfile="pyruntime-test")).stdout.strip() == CONFINED
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
    assert done.stdout.strip() == CONFINED


# ---- A /proc that is not the kernel's (the class of CVE-2019-16884) ----

# Files that take whatever label is written to them.
FAKES = (
    "for one in self thread-self 1; do mkdir -p $proc/$one/attr/apparmor;"
    " for name in exec current apparmor/exec apparmor/current; do : >$proc/$one/attr/$name; done; done"
)
COVERED = f"mount -t tmpfs fake /proc && proc=/proc && {FAKES} && : >/covered"


def label(pid):
    return Path(f"/proc/{pid}/attr/current").read_text().strip()


def running(group, command):
    """Return the processes of a group whose command line is `command`."""
    pids = (group / "cgroup.procs").read_text().split()
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes() == command]


def covered(containers, *changes):
    """Return a container whose init has covered its /proc."""
    confined = process(apparmorProfile="pyruntime-test")
    script = f"{COVERED}; sleep 1000"
    container = containers.start(confined, capable("SYS_ADMIN"), writable, *changes, script=script, own=True)
    until(lambda: container.path("/covered").exists(), "/proc to be covered")
    return container


def test_a_volume_at_proc_takes_no_label(containers, tmp_path):
    subprocess.run(["sh", "-c", f"proc={tmp_path}/fake; {FAKES}"], check=True)
    confined = process(apparmorProfile="pyruntime-test")
    said = containers.refused(confined, unmount("/proc"), bind(tmp_path / "fake", "/proc"))
    assert "/mounts/" in said and "/proc" in said


@pytest.mark.parametrize("fake", ["a directory", "a link"])
def test_an_image_with_its_own_proc_takes_no_label(containers, fake):
    """No label is written by the image's path: it is in force whether procfs can be mounted there or not."""
    path = containers.bundle("sleep 1000", process(apparmorProfile="pyruntime-test"), unmount("/proc"), own=True)
    rootfs = path / "rootfs"
    place = rootfs / ("proc" if fake == "a directory" else "fake")
    subprocess.run(["sh", "-c", f"proc={place}; {FAKES}"], check=True)
    if fake == "a link":
        (rootfs / "proc").rmdir()
        (rootfs / "proc").symlink_to("fake")
    name = containers.runtime.id()
    containers.runtime("create", "-b", path, name)
    containers.runtime("start", name)
    containers.runtime("exec", "--detach", name, "sleep", "999")
    group = group_of(json.loads(containers.runtime("state", name).stdout)["pid"])
    pids = [*until(lambda: running(group, b"sleep\x001000\0"), "the container's process")]
    pids += until(lambda: running(group, b"sleep\x00999\0"), "the process of exec")
    assert [label(pid) for pid in pids] == [CONFINED] * 2
    assert not [file for file in place.rglob("*") if file.is_file() and file.read_text()]


def test_a_container_that_covers_its_proc_takes_no_label_of_exec(containers):
    container = covered(containers)
    containers.runtime("exec", "--detach", container.id, "sleep", "999")
    commands = until(lambda: running(container.group, b"sleep\x00999\0"), "the process of exec")
    assert [label(pid) for pid in commands] == [CONFINED]
    # Nothing of the kind was written where the container reads it.
    assert container.path("/proc/self/attr/exec").read_text() == ""
