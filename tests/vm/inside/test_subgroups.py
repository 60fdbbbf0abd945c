"""crun's annotations run.oci.systemd.subgroup and run.oci.delegate-cgroup (docs/verbs.md)."""

import os

import pytest
from containers import CGROUPS, group_of, until
from running import show

from changes import resources

SUBGROUP = "run.oci.systemd.subgroup"
DELEGATE = "run.oci.delegate-cgroup"
MIB = 1 << 20
FIRST = 200000  # the container's root, as the host's user


def annotated(**values):
    names = {"subgroup": SUBGROUP, "delegate": DELEGATE}
    return lambda config: config.update(annotations={names[name]: text for name, text in values.items()})


def user_namespace(config):
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [
        {"containerID": 0, "hostID": FIRST, "size": 65536}
    ]


def writable(config):
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev", "rw"]


def ended(container):
    container.kill()
    container.delete()
    container.containers.nothing_left(container.id)


@pytest.mark.parametrize("name", ["container", "a/b"])
def test_the_container_is_in_a_group_below_its_scope(by_systemd, name):
    container = by_systemd.start(annotated(subgroup=name), resources(pids={"limit": 42}))
    scope = CGROUPS / f"system.slice/pyruntime-{container.id}.scope"
    assert group_of(container.pid) == scope / name
    assert [(one / "pids.max").read_text() for one in (scope, scope / name)] == ["42\n"] * 2
    assert show(scope.name, "TasksMax") == {"TasksMax": "42"}
    # That group is the root of its cgroup namespace, has every controller, and is the one that exec joins.
    assert container.exec("cat", "/proc/self/cgroup").stdout == "0::/\n"
    assert (scope / name / "cgroup.controllers").read_text() == (scope / "cgroup.controllers").read_text()
    by_systemd.runtime(*by_systemd.driver, "update", "--pids-limit", "55", container.id)
    assert [(one / "pids.max").read_text() for one in (scope, scope / name)] == ["55\n"] * 2
    ended(container)
    assert not scope.exists()


def test_one_process_is_enough_for_a_limit_of_one(by_systemd):
    container = by_systemd.start(annotated(subgroup="container"), resources(pids={"limit": 1}))
    assert container.value("pids.max") == "1"


def test_the_driver_of_cgroupfs_makes_no_subgroup(containers):
    container = containers.start(annotated(subgroup="container"))
    assert container.group.name == f"pyruntime-{container.id}"


@pytest.mark.parametrize("memory", [64 * MIB, 3 * MIB])
def test_the_process_begins_in_the_delegated_group(either, memory):
    """With a small limit a process joins the group when it is ready, and not by clone3(2)."""
    container = either.start(annotated(delegate="own/one"), resources(memory={"limit": memory}))
    group = group_of(container.pid)
    assert group.parts[-2:] == ("own", "one")
    limited = group.parent.parent
    assert container.id in limited.name
    # The limits are the container's, whose group is the root of its cgroup namespace; it gives all controllers on.
    assert (limited / "memory.max").read_text() == f"{memory}\n"
    assert (group / "memory.max").read_text() == "max\n"
    assert (group / "cgroup.controllers").read_text() == (limited / "cgroup.controllers").read_text()
    assert container.exec("cat", "/proc/self/cgroup").stdout == "0::/own/one\n"
    ended(container)
    assert not limited.exists()


def test_the_delegated_group_belongs_to_the_container_s_root(either):
    """Which can make groups below it, and give them controllers."""
    top = "/sys/fs/cgroup/own"
    script = (
        f"echo 5 > /sys/fs/cgroup/pids.max; mkdir {top}/leaf && echo 1 > {top}/leaf/cgroup.procs"
        f" && echo +pids > {top}/cgroup.subtree_control && echo 7 > {top}/leaf/pids.max; sleep 1000"
    )
    limit = resources(pids={"limit": 42})
    container = either.start(
        annotated(delegate="own", subgroup="container"), user_namespace, writable, limit, script=script
    )
    own = group_of(container.pid)
    group = own / "leaf" if own.name == "own" else own
    until(lambda: (group / "pids.max").exists() and (group / "pids.max").read_text() == "7\n", "the group below")
    assert os.stat(group.parent).st_uid == FIRST
    assert (group.parent.parent / "pids.max").read_text() == "42\n"
    container.exec("true")
    ended(container)
