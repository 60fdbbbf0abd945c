"""The systemd unit of a container: name, slice, properties (systemd.resource-control(5))."""

import pytest

from pyruntime.base.errors import Error
from pyruntime.plan.cgroup.cgroup import compile_cgroup
from pyruntime.plan.cgroup.systemd import INFINITY, expand_slice
from pyruntime.plan.facts import CgroupHost

NAMES = frozenset(["cpu", "cpuset", "memory", "pids", "io", "hugetlb"])
HOST = CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/user.slice/user-1000.slice/session-1.scope"}, NAMES)


def compiled(path=None, host=HOST, rootless=False, annotations=None, **resources):
    linux = {"resources": resources}
    if path is not None:
        linux["cgroupsPath"] = path
    config = {"linux": linux, "annotations": annotations or {}}
    return compile_cgroup(config, host, "c1", systemd=True, rootless=rootless)


def properties(**resources):
    """The properties that the limits add."""
    common = compiled().unit.properties
    return {name: value for name, _, value in compiled(**resources).unit.properties[len(common) :]}


def annotated(text, name="X"):
    return compiled(annotations={f"org.systemd.property.{name}": text}).unit.properties[-1]


@pytest.mark.parametrize(
    ("path", "unit", "slice_", "directory"),
    [
        (None, "pyruntime-c1.scope", "system.slice", "/system.slice/pyruntime-c1.scope"),
        ("", "pyruntime-c1.scope", "system.slice", "/system.slice/pyruntime-c1.scope"),
        ("system.slice:docker:3f", "docker-3f.scope", "system.slice", "/system.slice/docker-3f.scope"),
        (":docker:3f", "docker-3f.scope", "system.slice", "/system.slice/docker-3f.scope"),
        ("-:cri:3f", "cri-3f.scope", "-.slice", "/cri-3f.scope"),
        (
            "kubepods-besteffort-pod1.slice:cri:3f",
            "cri-3f.scope",
            "kubepods-besteffort-pod1.slice",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-3f.scope",
        ),
    ],
)
def test_scope_is_named_and_placed_by_slice_prefix_and_name(path, unit, slice_, directory):
    plan = compiled(path)
    assert (plan.unit.name, plan.unit.slice) == (unit, slice_)
    assert ("Slice", "s", slice_) in plan.unit.properties
    assert plan.groups == {"": ("/sys/fs/cgroup", directory)}


@pytest.mark.parametrize(
    "own",
    ["/user.slice/user-1000.slice/session-1.scope", "/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope"],
)
def test_user_s_scope_is_below_the_user_s_systemd(own):
    plan = compiled("user.slice:podman:3f", CgroupHost("v2", {}, "/c", {"": own}), rootless=True)
    manager = "/user.slice/user-1000.slice/user@1000.service"
    assert plan.groups[""] == ("/c", f"{manager}/user.slice/podman-3f.scope")
    assert plan.unit.user


def test_where_no_systemd_of_the_user_is_in_sight_the_scope_is_at_the_top():
    for own in ({"": "/user@1.service"}, {}):
        plan = compiled("user.slice:podman:3f", CgroupHost("v2", {}, "/c", own), rootless=True)
        assert plan.groups[""] == ("/c", "/user.slice/podman-3f.scope")


def test_scope_is_delegated_and_accounted():
    plain = {name: value for name, _, value in compiled().unit.properties}
    assert plain["Delegate"] is True
    assert plain["DefaultDependencies"] is False
    assert all(plain[f"{name}Accounting"] for name in ("CPU", "IO", "Memory", "Tasks"))


@pytest.mark.parametrize(
    "path",
    [
        *("/x/y", "x", "a:b", "a.slice:b:c:d", "nonsense:b:c", "a--b.slice:b:c", "-a.slice:b:c", "a.slice/b.slice:c:d"),
        *("a.slice:b:", "a.slice:b:c.slice", "a.slice:b:c d", "a.slice:b/..:c", f"a.slice:b:{'c' * 250}"),
    ],
)
def test_path_that_names_no_scope_is_an_error_at_cgroups_path(path):
    with pytest.raises(Error) as raised:
        compiled(path)
    assert raised.value.pointer == "/linux/cgroupsPath"


@pytest.mark.parametrize("mode", ["v1", "hybrid"])
def test_other_hosts_than_v2_are_refused(mode):
    host = CgroupHost(mode, {"devices": "/c/devices"}, "/c/unified" if mode == "hybrid" else "")
    with pytest.raises(Error, match="needs a host with cgroup v2"):
        compiled(host=host)


@pytest.mark.parametrize(
    ("slice_", "path"), [("a.slice", "/a.slice"), ("a-b.slice", "/a.slice/a-b.slice"), ("-.slice", "")]
)
def test_slice_becomes_a_path(slice_, path):
    assert expand_slice(slice_) == path


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"memory": {"limit": 100, "swap": 300}}, {"MemoryMax": 100, "MemorySwapMax": 200}),
        ({"memory": {"limit": -1}}, {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY}),
        ({"memory": {"reservation": 5}}, {"MemoryLow": 5}),
        ({"pids": {"limit": 7}}, {"TasksMax": 7}),
        ({"pids": {"limit": -1}}, {"TasksMax": INFINITY}),
        ({"pids": {"limit": 0}}, {"TasksMax": 1}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}),
        ({"cpu": {"idle": 1, "shares": 1024}}, {"CPUWeight": 0}),
        ({"cpu": {"quota": 50000, "period": 100000}}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 500000}),
        ({"cpu": {"quota": 12345}}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 130000}),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": INFINITY}),
        ({"cpu": {"cpus": "0,2-3,9", "mems": "0"}}, {"AllowedCPUs": b"\x0d\x02", "AllowedMemoryNodes": b"\x01"}),
        ({"unified": {"memory.high": "max", "memory.min": "3"}}, {"MemoryHigh": INFINITY, "MemoryMin": 3}),
        ({"pids": {"limit": 7}, "unified": {"pids.max": "8"}}, {"TasksMax": 8}),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, {}),
    ],
)
def test_limits_are_told_to_systemd(resources, expected):
    assert properties(**resources) == expected


def test_limits_are_written_to_the_files_too():
    plan = compiled(memory={"limit": 100})
    assert [step.args["file"] for step in plan.steps if step.op == "write_cgroup"] == ["memory.max"]


@pytest.mark.parametrize(
    "resources",
    [
        {"unified": {"memory.max": "much"}},
        {"unified": {"cpuset.cpus": "0-99999999999"}},
        {"unified": {"cpuset.cpus": "3-1"}},
    ],
)
def test_value_that_systemd_has_no_property_for_is_an_error_at_its_place(resources):
    with pytest.raises(Error) as raised:
        compiled(**resources)
    assert raised.value.pointer.startswith("/linux/resources/unified/")


def test_annotations_become_properties_after_all_others():
    assert annotated("'inactive-or-failed'", "CollectMode") == ("CollectMode", "s", "inactive-or-failed")
    assert annotated("uint64 5", "TimeoutStopUSec") == ("TimeoutStopUSec", "t", 5)


@pytest.mark.parametrize(("text", "microseconds"), [("5", 5000000), ("uint64 1", 1000000), ("1.5", 1500000)])
def test_documented_seconds_become_the_microseconds_of_the_bus(text, microseconds):
    assert annotated(text, "TimeoutStopSec") == ("TimeoutStopUSec", "t", microseconds)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Bad-Name", "1"),
        ("X", "nonsense"),
        ("TimeoutStopSec", "'5'"),
        ("", "1"),
        ("Description", r"'one\nOnFailure=other.service'"),
        ("Description", "'one\nOnFailure=other.service'"),
        ("Documentation", r"['man:a', 'man:b\n']"),
        ("X", r"[('a', <('b\n',)>)]"),
    ],
)
def test_annotation_that_is_no_property_is_an_error_at_its_place(name, text):
    with pytest.raises(Error) as raised:
        annotated(text, name)
    assert raised.value.pointer == f"/annotations/org.systemd.property.{name}"


def test_explain_shows_the_unit():
    step = compiled("a.slice:b:c").explain()[0]
    assert (step.op, step.args["name"], step.pointer) == ("start_unit", "b-c.scope", "/linux/cgroupsPath")


@pytest.mark.parametrize(
    ("text", "below", "directories"),
    [
        ("container", "/container", ["", "/container"]),
        ("/a//b/", "/a/b", ["", "/a", "/a/b"]),
        ("", "", [""]),
    ],
)
def test_a_subgroup_is_the_container_s_group(text, below, directories):
    plan = compiled(annotations={"run.oci.systemd.subgroup": text}, pids={"limit": 5})
    scope = "/sys/fs/cgroup/system.slice/pyruntime-c1.scope"
    assert plan.groups == {"": ("/sys/fs/cgroup", f"/system.slice/pyruntime-c1.scope{below}")}
    assert plan.unit.directories(scope + below) == [scope + one for one in directories]
    made = [step for step in plan.explain() if step.op == "mkdir_cgroup"]
    expected = [("/annotations/run.oci.systemd.subgroup", f"pyruntime-c1.scope{below}")] if below else []
    assert [(step.pointer, step.args["path"]) for step in made] == expected


def test_without_systemd_there_is_no_subgroup():
    config = {"annotations": {"run.oci.systemd.subgroup": "container"}}
    plan = compile_cgroup(config, HOST, "c1")
    assert plan.groups == {"": ("/sys/fs/cgroup", "/user.slice/user-1000.slice/pyruntime-c1")}
