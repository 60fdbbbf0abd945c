"""linux.resources as writes into control files, on v1 and v2 (config-linux.md#memory and the clauses after it)."""

import pytest

from pyruntime.base.errors import Error
from pyruntime.plan.cgroup.cpu import weight_from_shares
from pyruntime.plan.cgroup.limits import compile_limits
from pyruntime.plan.facts import CgroupHost

V1_NAMES = ("cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "net_cls", "net_prio", "rdma")
V1 = CgroupHost("v1", {name: f"/sys/fs/cgroup/{name}" for name in V1_NAMES})
V2_NAMES = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma", "misc")
V2 = CgroupHost("v2", {}, "/sys/fs/cgroup", controllers=frozenset(V2_NAMES))
HYBRID = CgroupHost("hybrid", {"memory": "/sys/fs/cgroup/memory"}, "/u", controllers=frozenset(["hugetlb"]))
BARE = CgroupHost("v1", {"devices": "/sys/fs/cgroup/devices"})


def writes(resources, host):
    """[(file, value)] in order."""
    return [(step.args["file"], step.args["value"]) for step in compile_limits(resources, host)[0]]


def refusal(resources, host):
    with pytest.raises(Error) as raised:
        compile_limits(resources, host)
    assert raised.value.clause.startswith("config-linux.md#")
    raised.value.show({"linux": {"resources": resources}})
    return raised.value


# name, resources, v1, v2; None where that version refuses
CASES = [
    (
        "memory limit and swap",
        {"memory": {"limit": 100, "swap": 300}},
        [("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "300")],
        [("memory.swap.max", "200"), ("memory.max", "100")],
    ),
    (
        "swap beside unlimited memory is its own limit",
        {"memory": {"limit": -1, "swap": 100}},
        None,
        [("memory.swap.max", "100"), ("memory.max", "max")],
    ),
    (
        "swap equal to limit is no swap",
        {"memory": {"limit": 100, "swap": 100}},
        [("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "100")],
        [("memory.swap.max", "0"), ("memory.max", "100")],
    ),
    (
        "unlimited swap",
        {"memory": {"limit": 100, "swap": -1}},
        [("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "-1")],
        [("memory.swap.max", "max"), ("memory.max", "100")],
    ),
    (
        "unlimited memory is unlimited swap",
        {"memory": {"limit": -1}},
        [("memory.memsw.limit_in_bytes", "-1"), ("memory.limit_in_bytes", "-1")],
        [("memory.swap.max", "max"), ("memory.max", "max")],
    ),
    (
        "reservation",
        {"memory": {"reservation": 50}},
        [("memory.soft_limit_in_bytes", "50")],
        [("memory.low", "50")],
    ),
    ("zero is not set", {"memory": {"limit": 0, "swap": 0, "reservation": 0}}, [], []),
    ("swappiness", {"memory": {"swappiness": 0}}, [("memory.swappiness", "0")], None),
    ("OOM killer off", {"memory": {"disableOOMKiller": True}}, [("memory.oom_control", "1")], None),
    ("OOM killer on", {"memory": {"disableOOMKiller": False}}, [("memory.oom_control", "0")], []),
    ("hierarchy on", {"memory": {"useHierarchy": True}}, [("memory.use_hierarchy", "1")], []),
    ("hierarchy off", {"memory": {"useHierarchy": False}}, [("memory.use_hierarchy", "0")], None),
    ("kernel memory", {"memory": {"kernel": 5}}, [("memory.kmem.limit_in_bytes", "5")], None),
    ("kernel TCP memory", {"memory": {"kernelTCP": 5}}, [("memory.kmem.tcp.limit_in_bytes", "5")], None),
    ("no kernel limit", {"memory": {"kernel": -1}}, [("memory.kmem.limit_in_bytes", "-1")], []),
    ("shares", {"cpu": {"shares": 1024}}, [("cpu.shares", "1024")], [("cpu.weight", "100")]),
    (
        "quota, period and burst",
        {"cpu": {"burst": 10, "quota": 50, "period": 1000}},
        [("cpu.cfs_period_us", "1000"), ("cpu.cfs_quota_us", "50"), ("cpu.cfs_burst_us", "10")],
        [("cpu.max", "50 1000"), ("cpu.max.burst", "10")],
    ),
    ("quota alone", {"cpu": {"quota": 50}}, [("cpu.cfs_quota_us", "50")], [("cpu.max", "50 100000")]),
    ("no quota", {"cpu": {"quota": -1}}, [("cpu.cfs_quota_us", "-1")], [("cpu.max", "max 100000")]),
    ("period alone", {"cpu": {"period": 5000}}, [("cpu.cfs_period_us", "5000")], [("cpu.max", "max 5000")]),
    (
        "idle after the shares that an idle group refuses",
        {"cpu": {"idle": 1, "shares": 1024}},
        [("cpu.shares", "1024"), ("cpu.idle", "1")],
        [("cpu.weight", "100"), ("cpu.idle", "1")],
    ),
    (
        "not idle before the shares",
        {"cpu": {"idle": 0, "shares": 1024}},
        [("cpu.idle", "0"), ("cpu.shares", "1024")],
        [("cpu.idle", "0"), ("cpu.weight", "100")],
    ),
    (
        "real time",
        {"cpu": {"realtimeRuntime": 900, "realtimePeriod": 1000}},
        [("cpu.rt_period_us", "1000"), ("cpu.rt_runtime_us", "900")],
        None,
    ),
    (
        "cpuset",
        {"cpu": {"cpus": "0-1,3", "mems": "0"}},
        [("cpuset.cpus", "0-1,3"), ("cpuset.mems", "0")],
        [("cpuset.cpus", "0-1,3"), ("cpuset.mems", "0")],
    ),
    ("pids", {"pids": {"limit": 10}}, [("pids.max", "10")], [("pids.max", "10")]),
    ("no pids at all", {"pids": {"limit": 0}}, [("pids.max", "0")], [("pids.max", "1")]),
    ("any number of pids", {"pids": {"limit": -1}}, [("pids.max", "max")], [("pids.max", "max")]),
    ("weight", {"blockIO": {"weight": 10}}, [("blkio.bfq.weight", "10")], [("io.bfq.weight", "10")]),
    ("leaf weight", {"blockIO": {"leafWeight": 10}}, [("blkio.leaf_weight", "10")], None),
    (
        "weight of a device",
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}},
        [("blkio.bfq.weight_device", "8:0 500")],
        [("io.bfq.weight", "8:0 500")],
    ),
    (
        "leaf weight of a device",
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 500}]}},
        [("blkio.leaf_weight_device", "8:0 500")],
        None,
    ),
    (
        "throttles",
        {
            "blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
            }
        },
        [
            ("blkio.throttle.read_bps_device", "8:0 1"),
            ("blkio.throttle.write_bps_device", "8:0 2"),
            ("blkio.throttle.read_iops_device", "8:0 3"),
            ("blkio.throttle.write_iops_device", "8:0 0"),
        ],
        [("io.max", "8:0 rbps=1"), ("io.max", "8:0 wbps=2"), ("io.max", "8:0 riops=3"), ("io.max", "8:0 wiops=max")],
    ),
    (
        "huge pages",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4}]},
        [("hugetlb.2MB.limit_in_bytes", "4"), ("hugetlb.2MB.rsvd.limit_in_bytes", "4")],
        [("hugetlb.2MB.max", "4"), ("hugetlb.2MB.rsvd.max", "4")],
    ),
    ("class of packets", {"network": {"classID": 7}}, [("net_cls.classid", "7")], None),
    (
        "priority of packets",
        {"network": {"priorities": [{"name": "eth0", "priority": 5}]}},
        [("net_prio.ifpriomap", "eth0 5")],
        None,
    ),
    (
        "rdma",
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "rxe3": {"hcaObjects": 1}}},
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10"), ("rdma.max", "rxe3 hca_object=1")],
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10"), ("rdma.max", "rxe3 hca_object=1")],
    ),
    ("unified", {"unified": {"memory.high": "9"}}, None, [("memory.high", "9")]),
    (
        "each line of unified is a write",
        {"unified": {"io.max": "8:0 rbps=1\n8:16 wbps=2\n", "cgroup.max.depth": "3"}},
        None,
        [("io.max", "8:0 rbps=1"), ("io.max", "8:16 wbps=2"), ("cgroup.max.depth", "3")],
    ),
    ("nothing", {"memory": {}, "cpu": {}, "pids": {}, "blockIO": {"weight": 0}, "unified": {}}, [], []),
]


@pytest.mark.parametrize(("resources", "v1"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_v1(resources, v1):
    if v1 is None:
        refusal(resources, V1)
    else:
        assert writes(resources, V1) == v1


def converted(name, resources, v1, v2):
    """Return a parameter, with the clause where there is something for v1 that v2 has not."""
    clause = pytest.mark.clause("config-linux.md#unified/conversion-impossible")
    return pytest.param(resources, v2, marks=[clause] if v1 and v2 is None else [], id=name)


@pytest.mark.parametrize(("resources", "v2"), [converted(*case) for case in CASES])
def test_v2(resources, v2):
    if v2 is None:
        refusal(resources, V2)
    else:
        assert writes(resources, V2) == v2


@pytest.mark.parametrize("host", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"limit": 100, "swap": 99}}, "/linux/resources/memory/swap"),
        ({"memory": {"swap": 100}}, "/linux/resources/memory/swap"),
        ({"cpu": {"quota": 5, "burst": 6}}, "/linux/resources/cpu/burst"),
    ],
)
@pytest.mark.clause("config.md#valid-values/invalid-is-error")
def test_values_of_a_container_and_of_an_update_that_do_not_go_together_are_an_error(host, resources, pointer):
    assert refusal(resources, host).pointer == pointer


@pytest.mark.parametrize("shares", [1, 262145])
def test_shares_that_the_kernel_would_change_without_a_word_are_an_error_on_v1(shares):
    assert refusal({"cpu": {"shares": shares}}, V1).pointer == "/linux/resources/cpu/shares"


@pytest.mark.parametrize(
    ("resources", "missing"),
    [
        ({"memory": {"limit": 5}}, "memory"),
        ({"cpu": {"shares": 5}}, "cpu"),
        ({"cpu": {"cpus": "0"}}, "cpuset"),
        ({"pids": {"limit": 5}}, "pids"),
        ({"blockIO": {"weight": 50}}, "blkio"),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "hugetlb"),
        ({"network": {"classID": 1}}, "net_cls"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "net_prio"),
        ({"rdma": {"a": {"hcaObjects": 1}}}, "rdma"),
    ],
)
@pytest.mark.clause("runtime.md#lifecycle/environment-error")
def test_limit_without_its_controller_is_an_error_that_names_it(resources, missing):
    error = refusal(resources, BARE)
    assert f"controller {missing} is not mounted (cgroup v1)" in error.reason
    assert error.pointer.startswith("/linux/resources/")
    assert error.value is not None


def test_missing_controller_is_named_by_the_file_that_lacks_it_with_the_property_and_its_value():
    resources = {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}}
    bare = CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/"}, frozenset(["cpu"]))
    error = refusal(resources, bare)
    assert error.reason == "controller io is not enabled in /sys/fs/cgroup/cgroup.controllers"
    assert error.pointer.startswith("/linux/resources/blockIO/weightDevice")
    assert error.value is not None
    error = refusal({"pids": {"limit": 7}}, bare)
    assert (error.pointer, error.value) == ("/linux/resources/pids/limit", 7)
    error = refusal({"network": {"classID": 7}}, BARE)
    assert (error.reason, error.value) == ("controller net_cls is not mounted (cgroup v1)", 7)


def test_on_a_hybrid_host_both_places_are_named():
    bare = CgroupHost("hybrid", {"cpu": "/c/cpu"}, "/c/unified", {"": "/"}, frozenset())
    assert refusal({"blockIO": {"weight": 50}}, bare).reason == (
        "controller blkio is not mounted (cgroup v1) and controller io is not enabled in /c/unified/cgroup.controllers"
    )


@pytest.mark.parametrize("resources", [{"memory": {"limit": -1, "disableOOMKiller": False}}, {"pids": {"limit": -1}}])
def test_no_limit_needs_no_controller(resources):
    assert writes(resources, BARE) == []


def test_controller_that_only_the_unified_hierarchy_has_is_used_there_on_a_hybrid_host():
    resources = {"memory": {"limit": 5}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}
    steps, enable = compile_limits(resources, HYBRID)
    assert [step.args["file"] for step in steps] == ["memory.limit_in_bytes", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]
    assert enable == ["hugetlb"]


@pytest.mark.clause("config-linux.md#unified/controller-missing")
def test_unified_needs_the_unified_hierarchy_and_its_controller():
    assert "no unified" in refusal({"unified": {"memory.high": "1"}}, V1).reason
    assert "controller memory is not enabled in" in refusal({"unified": {"memory.high": "1"}}, HYBRID).reason
    assert writes({"unified": {"hugetlb.2MB.max": "1"}}, HYBRID) == [("hugetlb.2MB.max", "1")]


@pytest.mark.clause("config-linux.md#unified/controllers-enabled")
def test_v2_controllers_in_use_are_enabled_once():
    files = {"cpu.idle": "1", "misc.max": "x 1", "cgroup.max.depth": "1"}
    resources = {"cpu": {"shares": 5, "cpus": "0"}, "unified": files}
    assert compile_limits(resources, V2)[1] == ["cpu", "cpuset", "misc"]


def test_each_write_names_its_property_and_clause():
    steps, _ = compile_limits({"memory": {"limit": 5}, "blockIO": {"weight": 50}}, V1)
    assert [(step.pointer, step.clause) for step in steps] == [
        ("/linux/resources/memory/limit", "config-linux.md#memory"),
        ("/linux/resources/blockIO/weight", "config-linux.md#block-io"),
    ]


@pytest.mark.clause("config-linux.md#memory/check-before-update")
def test_check_before_update_compares_with_the_lower_limit_on_v2_only():
    resources = {"memory": {"limit": 100, "swap": 200, "checkBeforeUpdate": True}}
    steps, _ = compile_limits(resources, V2)
    assert (steps[0].op, steps[0].args["limit"]) == ("check_memory_usage", 100)
    assert all(step.op == "write_cgroup" for step in compile_limits(resources, V1)[0])


@pytest.mark.parametrize(("weight", "converted"), [(10, "1"), (100, "910"), (1000, "10000")])
def test_weight_is_converted_where_there_is_no_bfq(weight, converted):
    (step,) = compile_limits({"blockIO": {"weight": weight}}, V2)[0]
    assert step.args["instead"] == [["io.weight", converted]]


@pytest.mark.parametrize("weight", [9, 1001])
@pytest.mark.clause("config-linux.md#unified/conversion-impossible")
def test_weight_that_cannot_be_converted_is_an_error(weight):
    refusal({"blockIO": {"weight": weight}}, V2)


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (1024, 100), (262144, 10000), (10**9, 10000), (512, 59), (2048, 174)]
)
def test_shares_become_weights(shares, weight):
    assert weight_from_shares(shares) == weight


def test_more_shares_never_become_less_weight():
    weights = [weight_from_shares(shares) for shares in range(2, 20000)]
    assert weights == sorted(weights)


@pytest.mark.clause("config-linux.md#pids/zero-is-a-limit")
# On v2 init is made in its group, which a limit of 0 would refuse; it counts, so with 1 nobody else can be made either.
@pytest.mark.parametrize(("host", "value"), [(V1, "0"), (V2, "1")], ids=["v1", "v2"])
def test_no_processes_at_all_is_a_limit(host, value):
    assert writes({"pids": {"limit": 0}}, host) == [("pids.max", value)]


@pytest.mark.clause("config-linux.md#unified/unknown-written")
def test_unified_writes_what_it_has_never_heard_of():
    files = {"memory.of_a_later_kernel": "7", "misc.unheard": "a b", "cgroup.later": "x"}
    assert writes({"unified": files}, V2) == list(files.items())
