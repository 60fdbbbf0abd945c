"""What a mount of type cgroup becomes, on each kind of host, with and without a cgroup namespace (config.md#mounts)."""

import pytest

from pyruntime.base.errors import Error
from pyruntime.plan.cgroup import mounts as cgroup_mounts
from pyruntime.plan.cgroup.cgroup import compile_cgroup
from pyruntime.plan.facts import CgroupHost

V1 = CgroupHost(
    "v1",
    {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "devices": "/sys/fs/cgroup/devices",
        "name=systemd": "/sys/fs/cgroup/systemd",
    },
)
HYBRID = CgroupHost("hybrid", V1.mounts, "/sys/fs/cgroup/unified")
V2 = CgroupHost("v2", {}, "/sys/fs/cgroup")

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
SAFE = NOSUID | NODEV | NOEXEC


def steps(host, *namespaces, options=(), fstype="cgroup", source="cgroup"):
    config = {"linux": {"cgroupsPath": "/x", "namespaces": list(namespaces)}}
    mount = {"destination": "/sys/fs/cgroup", "type": fstype, "source": source, "options": list(options)}
    return list(cgroup_mounts.expand(3, mount, mount["destination"], config, host, compile_cgroup(config, host, "c1")))


NEW = {"type": "cgroup"}
USER = {"type": "user"}
JOINED = {"type": "cgroup", "path": "/proc/1/ns/cgroup"}


@pytest.mark.parametrize("host", [V1, HYBRID], ids=["v1", "hybrid"])
def test_v1_without_a_cgroup_namespace_shows_the_containers_own_groups(host):
    found = [(step.op, step.args["path"], step.args["source"]) for step in steps(host)]
    assert found == [
        ("mount", "/sys/fs/cgroup", "tmpfs"),
        ("bind", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/x"),
        ("symlink", "/sys/fs/cgroup/cpu", "cpu,cpuacct"),
        ("symlink", "/sys/fs/cgroup/cpuacct", "cpu,cpuacct"),
        ("bind", "/sys/fs/cgroup/devices", "/sys/fs/cgroup/devices/x"),
        ("bind", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/systemd/x"),
    ]


@pytest.mark.parametrize("namespace", [NEW, JOINED], ids=["new", "joined"])
def test_v1_in_a_cgroup_namespace_mounts_each_hierarchy_anew(namespace):
    found = [step.args for step in steps(V1, namespace) if step.args.get("fstype") == "cgroup"]
    assert [(args["path"], args["data"]) for args in found] == [
        ("/sys/fs/cgroup/cpu,cpuacct", ["cpu", "cpuacct"]),
        ("/sys/fs/cgroup/devices", ["devices"]),
        ("/sys/fs/cgroup/systemd", ["name=systemd"]),
    ]


@pytest.mark.parametrize("namespaces", [(), (NEW,)], ids=["host", "new"])
def test_read_only_v1_is_read_only_everywhere_and_the_tmpfs_last(namespaces):
    found = steps(V1, *namespaces, options=["ro", "nosuid"])
    assert found[0].args["attr_set"] == SAFE
    assert all(step.args["attr_set"] == SAFE | RDONLY for step in found[1:-1] if step.op != "symlink")
    assert (found[-1].op, found[-1].args) == ("setattr", {"path": "/sys/fs/cgroup", "attr_set": RDONLY})


def test_writable_v1_stays_writable():
    assert all(not step.args.get("attr_set", 0) & RDONLY for step in steps(V1, NEW, options=["rw"]))


def test_v2_in_a_new_namespace_is_a_mount_of_its_own():
    (step,) = steps(V2, NEW, USER, options=["ro", "nsdelegate"])
    assert (step.op, step.args["fstype"]) == ("mount", "cgroup2")
    assert (step.args["attr_set"], step.args["data"]) == (RDONLY, ["nsdelegate"])


@pytest.mark.parametrize("namespaces", [(), (USER,)], ids=["host", "user"])
def test_v2_without_a_namespace_shows_the_hosts_hierarchy(namespaces):
    (step,) = steps(V2, *namespaces, options=["ro"])
    assert (step.op, step.args["source"], step.args["attr_set"]) == ("bind", "/sys/fs/cgroup", RDONLY)


def test_v2_in_a_joined_namespace_and_another_user_namespace_binds_the_containers_group():
    (step,) = steps(V2, JOINED, USER)
    assert (step.op, step.args["source"]) == ("bind", "/sys/fs/cgroup/x")


def test_cgroup2_on_a_hybrid_host_is_its_unified_hierarchy():
    (step,) = steps(HYBRID, NEW, fstype="cgroup2")
    assert (step.op, step.args["fstype"]) == ("mount", "cgroup2")
    (step,) = steps(HYBRID, fstype="cgroup2")
    assert (step.op, step.args["source"]) == ("bind", "/sys/fs/cgroup/unified")


def test_cgroup2_on_a_host_without_it_is_an_error():
    with pytest.raises(Error) as raised:
        steps(V1, fstype="cgroup2")
    assert raised.value.pointer == "/mounts/3/type"


def test_options_that_v1_does_not_take_are_an_error():
    with pytest.raises(Error) as raised:
        steps(V1, options=["nsdelegate"])
    assert raised.value.pointer == "/mounts/3/options"


def test_every_step_names_the_mount():
    for host in (V1, HYBRID, V2):
        assert {step.pointer for step in steps(host, NEW)} == {"/mounts/3"}
