"""The files that a process of the runtime has in memory, for a container that may open them by /proc/PID/map_files."""

import os
import shutil
from pathlib import Path

import pytest
from host import attacker
from test_hostile_line import catch, catcher  # noqa: F401  # fixture

from changes import hook

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

opener = attacker("opener")


def opens(capability):
    """Return a change: the container has the two capabilities that it takes."""

    def change(config):
        for names in config["process"]["capabilities"].values():
            names[:] = {*names, "CAP_SYS_PTRACE", capability}

    return change


def mapped(pid):
    """Return the files that process `pid` has mapped."""
    return {os.readlink(link) for link in Path(f"/proc/{pid}/map_files").iterdir()}


WAYS = {
    "CAP_SYS_ADMIN": ("CAP_SYS_ADMIN", []),
    "CAP_CHECKPOINT_RESTORE": ("CAP_CHECKPOINT_RESTORE", []),
    "with Python": ("CAP_SYS_ADMIN", [hook("createContainer", "true")]),
}


@pytest.mark.parametrize(("capability", "changes"), WAYS.values(), ids=WAYS)
def test_no_file_of_the_host_is_opened_through_an_init_that_waits(containers, opener, capability, changes):
    container = containers.create(opens(capability), *changes, script="exec sleep 1000", own=True)
    shutil.copy(opener, container.bundle / "rootfs/bin/opener")
    files = container.exec("/bin/opener").stdout.splitlines()
    program = os.readlink(f"/proc/{container.pid}/exe")
    assert set(files) == {f"reads {program}"}
    container.start()
    assert container.status == "running"
    assert container.exec("true").returncode == 0


def test_a_process_of_exec_has_no_file_of_the_host_once_it_can_be_seen(containers, catcher):  # noqa: F811
    container = containers.start(opens("CAP_SYS_ADMIN"))

    def look(caught):
        assert mapped(caught.pid) == {os.readlink(f"/proc/{caught.pid}/exe")}

    assert catch(container, catcher, [], look)


def test_the_capabilities_of_exec_count_too(containers, catcher):  # noqa: F811
    container = containers.start()
    options = ["--cap", "CAP_SYS_PTRACE", "--cap", "CAP_SYS_ADMIN"]

    def look(caught):
        assert mapped(caught.pid) == {os.readlink(f"/proc/{caught.pid}/exe")}

    assert catch(container, catcher, options, look)


def test_the_capabilities_of_an_earlier_exec_count_for_later_ones(containers, catcher):  # noqa: F811
    """It may have left a process that has them."""
    container = containers.start()
    container.exec("true")
    assert "copies_files" not in container.state_file()
    containers.runtime("exec", "--cap", "CAP_SYS_PTRACE", "--cap", "CAP_CHECKPOINT_RESTORE", container.id, "true")
    containers.runtime("update", "--pids-limit", "100", container.id)

    def look(caught):
        assert mapped(caught.pid) == {os.readlink(f"/proc/{caught.pid}/exe")}

    assert catch(container, catcher, [], look)


def test_a_container_that_joins_a_pid_namespace_has_no_file_of_the_host(containers):
    """Processes that are there may have any capability."""
    first = containers.start()

    def joins(config):
        spaces = [space for space in config["linux"]["namespaces"] if space["type"] != "pid"]
        config["linux"]["namespaces"] = [*spaces, {"type": "pid", "path": f"/proc/{first.pid}/ns/pid"}]

    second = containers.create(joins)
    assert mapped(second.pid) == {os.readlink(f"/proc/{second.pid}/exe")}
