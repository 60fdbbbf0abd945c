"""Where a container's groups are, and who owns them (config-linux.md#cgroups-path, #cgroup-ownership)."""

import pytest

from pyruntime.base.errors import Error
from pyruntime.plan.cgroup.cgroup import compile_cgroup, compile_update
from pyruntime.plan.facts import CgroupHost

V1_MOUNTS = {
    name: f"/sys/fs/cgroup/{name}"
    for name in ("cpu", "cpuset", "memory", "devices", "freezer", "pids", "blkio", "name=systemd")
}
V1 = CgroupHost("v1", V1_MOUNTS, own={"memory": "/session", "cpu": "/"})
HYBRID = CgroupHost("hybrid", V1_MOUNTS, "/u", {"": "/a/b", "memory": "/a/b"}, frozenset(["hugetlb"]))
V2 = CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/system.slice/caller.service"}, frozenset(["memory", "cpu", "pids"]))


def groups(host, path=None, container_id="c1"):
    linux = {} if path is None else {"cgroupsPath": path}
    plan = compile_cgroup({"linux": linux}, host, container_id)
    return {controller: directory for controller, (_, directory) in plan.groups.items()}


@pytest.mark.clause("config-linux.md#cgroups-path/absolute-below-mount")
def test_absolute_path_is_below_every_mount_point():
    assert set(groups(HYBRID, "/x/y").values()) == {"/x/y"}
    assert groups(V2, "/x/y") == {"": "/x/y"}


def test_relative_path_is_below_the_own_group_on_v1():
    found = groups(V1, "x")
    assert (found["memory"], found["cpu"], found["pids"]) == ("/session/x", "/x", "/x")


def test_relative_path_is_beside_the_own_group_on_v2():
    assert groups(V2, "x/y") == {"": "/system.slice/x/y"}
    assert groups(HYBRID, "x")[""] == "/a/x"


def test_own_group_at_the_root_of_v2_has_no_parent():
    host = CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/"}, frozenset())
    assert groups(host, "x") == {"": "/x"}


def test_default_path_carries_the_id_and_cannot_be_a_control_file():
    assert groups(V1, container_id="tasks")["cpu"] == "/pyruntime-tasks"
    assert groups(V2, container_id="tasks") == {"": "/system.slice/pyruntime-tasks"}


@pytest.mark.clause("config-linux.md#cgroups-path/same-place")
def test_same_path_gives_the_same_place():
    assert groups(HYBRID, "/x//./y/") == groups(HYBRID, "/x/y")


def test_host_without_any_hierarchy_is_an_error():
    with pytest.raises(Error, match="no cgroup hierarchy"):
        groups(CgroupHost("v1", {}))


def test_host_that_cannot_restrict_devices_is_an_error():
    with pytest.raises(Error, match="device"):
        groups(CgroupHost("v1", {"memory": "/sys/fs/cgroup/memory"}))


def test_hybrid_host_without_v1_devices_filters_on_the_unified_hierarchy():
    host = CgroupHost("hybrid", {"memory": "/m"}, "/u")
    plan = compile_cgroup({}, host, "c1")
    assert [step.op for step in plan.steps] == ["attach_device_filter"]


def test_explain_names_each_directory_once():
    host = CgroupHost("v1", {"cpu": "/c/cpu,cpuacct", "cpuacct": "/c/cpu,cpuacct", "devices": "/c/devices"})
    made = [step.args for step in compile_cgroup({}, host, "c1").explain() if step.op == "mkdir_cgroup"]
    assert made[0] == {"path": "/c/cpu,cpuacct/pyruntime-c1", "controllers": ["cpu", "cpuacct"]}
    assert len(made) == 2


def test_only_a_path_or_a_limit_makes_the_group_required():
    def required(linux):
        return compile_cgroup({"linux": linux}, V1, "c1").required

    assert not required({})
    assert not required({"resources": {"devices": [{"allow": False, "access": "rwm"}], "memory": {}}})
    assert required({"cgroupsPath": "x"})
    assert required({"resources": {"pids": {"limit": 5}}})


def test_update_writes_only_what_it_is_given():
    plan = compile_update({"pids": {"limit": 7}}, V1, {"pids": "/sys/fs/cgroup/pids/x"})
    assert [(step.args["file"], step.args["value"]) for step in plan.steps] == [("pids.max", "7")]


def test_an_update_of_nothing_needs_no_group():
    plan = compile_update({}, V1, {})
    assert (plan.path, plan.groups, plan.steps, plan.required) == ("", {}, [], True)


# ---- Ownership ----


def owned(host=V2, uid=1000, **change):
    config = {
        "process": {"user": {"uid": uid, "gid": uid}},
        "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}],
        "linux": {"namespaces": [{"type": "cgroup"}]},
    }
    config.update(change)
    plan = compile_cgroup(config, host, "c1")
    return [(step.args["uid"], step.pointer) for step in plan.steps if step.op == "chown_cgroup"]


@pytest.mark.clause("config-linux.md#cgroup-ownership/needs-writable-mount")
def test_user_owns_the_group_that_it_sees_writable_in_its_own_namespace():
    assert owned() == [(1000, "/mounts/0")]


def test_owner_is_the_host_user_that_the_container_user_maps_to():
    linux = {
        "namespaces": [{"type": "cgroup"}, {"type": "user"}],
        "uidMappings": [
            {"containerID": 0, "hostID": 100000, "size": 1},
            {"containerID": 1, "hostID": 200000, "size": 65535},
        ],
    }
    assert owned(linux=linux, uid=0) == [(100000, "/mounts/0")]
    assert owned(linux=linux, uid=1) == [(200000, "/mounts/0")]
    assert owned(linux=linux, uid=1000) == [(200999, "/mounts/0")]
    assert owned(linux=linux, uid=70000) == []


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("v1", {"host": HYBRID}),
        ("root", {"uid": 0}),
        ("no cgroup namespace", {"linux": {}}),
        ("joined cgroup namespace", {"linux": {"namespaces": [{"type": "cgroup", "path": "/proc/1/ns/cgroup"}]}}),
        ("joined user namespace", {"linux": {"namespaces": [{"type": "cgroup"}, {"type": "user", "path": "/x"}]}}),
        ("no mount", {"mounts": []}),
        ("read-only", {"mounts": [{"destination": "/sys/fs/cgroup", "source": "cgroup", "options": ["ro"]}]}),
        ("other source", {"mounts": [{"destination": "/sys/fs/cgroup", "source": "cgroup2"}]}),
        ("other destination", {"mounts": [{"destination": "/cgroup", "source": "cgroup"}]}),
    ],
)
@pytest.mark.clause(
    "config-linux.md#cgroup-ownership/needs-cgroup-namespace",
    "config-linux.md#cgroup-ownership/needs-writable-mount",
)
def test_owner_stays_the_same_where_the_clause_says_so(case, change):
    assert owned(**change) == []


@pytest.mark.clause("config-linux.md#cgroup-ownership/not-on-v1")
@pytest.mark.parametrize("host", [V1, HYBRID], ids=["v1", "hybrid"])
def test_nobody_else_owns_a_group_of_version_1(host):
    assert owned(V2)
    assert owned(host) == []


@pytest.mark.parametrize(("version", "value"), [("1.0.2-dev", "max"), ("1.2.1", "max"), ("1.3.0", "0"), ("1.4.0", "0")])
def test_pids_limit_0_was_no_limit_before_version_1_3(version, value):
    config = {"ociVersion": version, "linux": {"resources": {"pids": {"limit": 0}}}}
    plan = compile_cgroup(config, CgroupHost("v1", {"pids": "/cg/pids", "devices": "/cg/devices"}), "c1")
    assert [step.args["value"] for step in plan.steps if step.args.get("file") == "pids.max"] == [value]
