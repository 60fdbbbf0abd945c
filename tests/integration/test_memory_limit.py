"""Memory limits that a copy of the runtime itself would not fit in: what runs under them, and what is said if nothing
does."""

import os

import pytest

from pyruntime.plan.cgroup import cgroup
from pyruntime.plan.facts import CgroupHost

KIB = 1024
LITTLE = 512 * KIB
TIMES = 10


def limited(limit, namespace=True):
    """Return a change: a memory limit in bytes, and whether the container has a cgroup namespace of its own."""

    def change(config):
        linux = config["linux"]
        linux["resources"] = {**linux.get("resources", {}), "memory": {"limit": limit}}
        kinds = [one for one in linux["namespaces"] if one["type"] != "cgroup"]
        linux["namespaces"] = kinds + ([{"type": "cgroup"}] if namespace else [])

    return change


def membership(text):
    """Return the group that limits the memory, from the text of a /proc/PID/cgroup."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    return next((path for _, names, path in lines if "memory" in names.split(",")), lines[-1][2])


@pytest.mark.parametrize("namespace", [True, False], ids=["own cgroup namespace", "host's cgroup namespace"])
@pytest.mark.clause("config-linux.md#memory")
def test_a_container_runs_under_512_kib(containers, namespace):
    change = limited(LITTLE, namespace)
    for _ in range(TIMES):
        assert containers.run("exec true", change).returncode == 0
    for _ in range(TIMES):
        container = containers.create(change, script="exec sleep 1000")
        assert container.status == "created"
        container.start()
        assert container.status == "running"
        assert container.exec("true").returncode == 0
        container.delete("--force")


@pytest.mark.parametrize("namespace", [True, False], ids=["own cgroup namespace", "host's cgroup namespace"])
def test_a_created_container_is_in_the_group_that_limits_it(containers, namespace):
    container = containers.create(limited(LITTLE, namespace), script="exec sleep 1000")
    groups = container.cgroups()
    group = groups.get("memory", groups.get(""))
    (file,) = [name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists()]
    assert int((group / file).read_text()) == LITTLE
    assert str(container.pid) in (group / "cgroup.procs").read_text().split()
    assert str(group).endswith(membership(container.proc("cgroup").read_text()))
    container.start()
    if namespace:
        # Its root is the container's own group, although the process was away meanwhile.
        assert membership(container.exec("cat", "/proc/1/cgroup").stdout) == "/"
    # The one that is executed is limited too.
    assert membership(container.exec("cat", "/proc/self/cgroup").stdout) == membership(
        container.exec("cat", "/proc/1/cgroup").stdout
    )


def test_hooks_of_a_container_with_little_memory_are_limited(containers, tmp_path):
    """What they run is the container's: it is in the group before any of them starts."""
    seen = tmp_path / "seen"

    def change(config):
        limited(cgroup.TIGHT - 4096)(config)
        script = f'cat /proc/"$(sed "s/.*\\"pid\\": *\\([0-9]*\\).*/\\1/")"/cgroup > {seen}'
        config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}

    container = containers.create(change)
    assert membership(seen.read_text()) == membership(container.proc("cgroup").read_text())


def test_nothing_of_the_late_join_is_left_open(containers):
    container = containers.create(limited(LITTLE), script="exec sleep 1000")
    open_files = [os.readlink(path) for path in container.proc("fd").iterdir()]
    assert not [name for name in open_files if "cgroup" in name]


def test_a_limit_that_is_far_too_small_is_named(containers):
    for verb in ("create", "run"):
        said = containers.refused(limited(4096), verb=verb)
        assert "/linux/resources/memory/limit  4096\n" in said
        assert "config-linux.md#memory" in said
        assert "the kernel killed it" in said


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, False),
        ({"memory": {}}, False),
        ({"memory": {"limit": -1}}, False),
        ({"memory": {"limit": 0}}, False),
        ({"memory": {"limit": 64 << 20}}, False),
        ({"memory": {"limit": LITTLE}}, True),
        ({"unified": {"memory.max": "524288"}}, True),
        ({"unified": {"memory.max": "max"}}, False),
        ({"unified": {"memory.max": "67108864"}}, False),
    ],
)
def test_what_is_little_memory(resources, expected):
    assert cgroup.is_tight(resources) is expected
    v1 = CgroupHost("v1", {"memory": "/m", "devices": "/d"}, own={"memory": "/mine"})
    v2 = CgroupHost("v2", {}, "/u", {"": "/"}, frozenset(["memory", "pids"]))
    for host, way in (v1, ("memory", "/m/mine/tasks")), (v2, ("", "/u/cgroup.procs")):
        if "unified" in resources and host is v1:
            continue
        plan = cgroup.compile_cgroup({"linux": {"resources": resources}}, host, "x")
        assert plan.tight == (way if expected else None)
        # What it copies of the image is the container's to hold, and may be any amount.
        mounts = [{"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup"]}]
        config = {"linux": {"resources": resources}, "mounts": mounts}
        assert cgroup.compile_cgroup(config, host, "x").tight is None
