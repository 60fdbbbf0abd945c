"""Each controller of cgroup v2 limits what it is for, whoever made the cgroup (config-linux.md, cgroups(7))."""

import os

import pytest
from containers import CGROUPS, group_of, until
from running import with_python

from changes import linux, process, resources

MIB = 1 << 20
# The disk of the root filesystem, which is there to be throttled.
DISK = os.stat("/dev/vda").st_rdev
MAJOR, MINOR = os.major(DISK), os.minor(DISK)


def test_the_host_is_what_these_tests_are_about():
    assert (CGROUPS / "cgroup.controllers").read_text().split() == [
        *("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
    ]
    assert os.readlink("/proc/1/exe").endswith("systemd")


# ---- What is written ----


# What config.json says -> what the files of the group say then. A container takes seconds here, so one has many limits.
WRITTEN = (
    (
        {
            "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB},
            "cpu": {"quota": 20000, "period": 50000, "burst": 10000, "shares": 262144, "cpus": "0", "mems": "0"},
            "pids": {"limit": 42},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}],
            "blockIO": {
                "weight": 500,
                "throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": MIB}],
                "throttleWriteIOPSDevice": [{"major": MAJOR, "minor": MINOR, "rate": 77}],
            },
            "unified": {"memory.high": "50331648", "memory.oom.group": "1"},
        },
        {
            "memory.max": str(64 * MIB),
            "memory.low": str(32 * MIB),
            "memory.swap.max": str(32 * MIB),
            "memory.high": "50331648",
            "memory.oom.group": "1",
            "cpu.max": "20000 50000",
            "cpu.max.burst": "10000",
            "cpu.weight": "10000",
            "cpuset.cpus": "0",
            "cpuset.mems": "0",
            "pids.max": "42",
            "hugetlb.2MB.max": str(4 * MIB),
            "hugetlb.2MB.rsvd.max": str(4 * MIB),
            "io.max": f"{MAJOR}:{MINOR} rbps={MIB} wbps=max riops=max wiops=77",
        },
    ),
    (
        {
            "memory": {"limit": 64 * MIB, "swap": 64 * MIB},
            "cpu": {"quota": -1, "period": 50000, "idle": 1},
            "pids": {"limit": -1},
        },
        {"memory.swap.max": "0", "cpu.max": "max 50000", "cpu.idle": "1", "pids.max": "max"},
    ),
    (
        {"memory": {"limit": -1, "swap": -1}, "cpu": {"shares": 2}},
        {"memory.max": "max", "memory.swap.max": "max", "cpu.weight": "1"},
    ),
)


@pytest.mark.parametrize("number", range(len(WRITTEN)))
@pytest.mark.clause("config-linux.md#unified/controllers-enabled", "config-linux.md#unified/unknown-written")
def test_limits_are_written(either, number):
    limits, expected = WRITTEN[number]
    container = either.start(resources(**limits))
    assert {name: container.value(name) for name in expected} == expected
    weights = [container.value(name) for name in ("io.weight", "io.bfq.weight") if (container.group / name).exists()]
    assert "blockIO" not in limits or any(value not in ("default 100", "100") for value in weights), weights


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        ({"memory": {"swappiness": 50}}, "/linux/resources/memory/swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "/linux/resources/memory/disableOOMKiller"),
        ({"cpu": {"cpus": "900-901"}}, "/linux/resources/cpu/cpus"),
        ({"cpu": {"realtimeRuntime": 1000}}, "/linux/resources/cpu/realtimeRuntime"),
        ({"network": {"classID": 7}}, "/linux/resources/network/classID"),
        ({"hugepageLimits": [{"pageSize": "3MB", "limit": 4}]}, "/linux/resources/hugepageLimits/0"),
        ({"unified": {"no.such": "1"}}, "/linux/resources/unified/no.such"),
        ({"unified": {"memory.max": "much"}}, "/linux/resources/unified/memory.max"),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 7, "minor": 200, "rate": 1}]}},
            "/linux/resources/blockIO/throttleReadBpsDevice/0",
        ),
    ],
)
@pytest.mark.clause("config-linux.md#unified/conversion-impossible", "config-linux.md#unified/controller-missing")
def test_what_v2_cannot_do_is_an_error_that_says_where(containers, limits, pointer):
    assert pointer in containers.refused(resources(**limits))


# ---- What it does ----


def test_memory_beyond_the_limit_is_not_had(either):
    # What was killed gives its memory back only after a time. Meanwhile the kernel may choose another: not the shell.
    first = "echo 1000 > /proc/self/oom_score_adj"
    script = f"({first}; head -c 64m /dev/zero | tail -c 64m > /dev/null); echo $?"
    limits = resources(memory={"limit": 16 * MIB, "swap": 16 * MIB})
    assert either.run(script, limits).stdout.strip() == "137"
    assert either.run(script, resources(memory={"limit": 256 * MIB})).stdout.strip() == "0"


def test_a_process_more_than_allowed_cannot_be(either):
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done 2>/dev/null; echo all; kill -9 -1"
    assert "all" not in either.run(script, resources(pids={"limit": 4}), check=False).stdout
    assert "all" in either.run(script, resources(pids={"limit": 100}), check=False).stdout


def test_a_cpu_quota_slows(either):
    container = either.start(resources(cpu={"quota": 10000, "period": 100000}), script="while :; do :; done")
    until(lambda: "nr_throttled 0" not in container.value("cpu.stat"), "the first time without CPU")


def test_cpus_hold_for_the_process(either):
    text = either.run("grep Cpus_allowed_list /proc/self/status", resources(cpu={"cpus": "1"})).stdout
    assert text.split()[1] == "1"


def test_a_throttled_disk_is_slow(either):
    rate = {"major": MAJOR, "minor": MINOR, "rate": MIB}

    def disk(config):
        config["linux"]["devices"] = [{"path": "/dev/disk", "type": "b", "major": MAJOR, "minor": MINOR}]
        allowed = {"allow": True, "type": "b", "major": MAJOR, "minor": MINOR, "access": "rwm"}
        config["linux"]["resources"]["devices"].append(allowed)

    # At 1 MiB a second: that it takes long is certain, however slow the machine is.
    script = "start=$(cut -d. -f1 /proc/uptime); dd if=/dev/disk of=/dev/null bs=1M count=4 iflag=direct 2>/dev/null; "
    script += "echo $(($(cut -d. -f1 /proc/uptime) - start))"
    done = either.run(script, resources(blockIO={"throttleReadBpsDevice": [rate]}), disk)
    assert int(done.stdout) >= 2


HUGE = """
import mmap, sys
try:
    pages = mmap.mmap(-1, int(sys.argv[1]) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
    pages[0] = 1
    print("got it")
except OSError as error:
    print("errno", error.errno)
"""


def test_huge_pages_beyond_the_limit_are_not_had(either):
    limits = resources(hugepageLimits=[{"pageSize": "2MB", "limit": 4 * MIB}])
    for size, expected in ((4, "got it"), (8, "errno 12")):
        arguments = process(args=["/usr/bin/python3", "-c", HUGE, str(size)])
        assert either.run("", limits, with_python, arguments, own=True).stdout.strip() == expected


def test_limits_hold_for_the_whole_container(either):
    container = either.start(resources(pids={"limit": 30}), script="sleep 1000 & sleep 1000 & wait")
    processes = until(lambda: len(found := container.value("cgroup.procs").split()) == 3 and found, "two children")
    assert {group_of(pid) for pid in processes} == {container.group}


# ---- Devices: an eBPF program ----

FUSE = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
DENY = {"allow": False, "access": "rwm"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([DENY], "made"),
        ([DENY, FUSE], "made read wrote"),
        ([DENY, {**FUSE, "access": "m"}], "made"),
        ([DENY, {**FUSE, "access": "rm"}], "made read"),
        ([DENY, {**FUSE, "access": "wm"}], "made wrote"),
        ([DENY, FUSE, {**FUSE, "allow": False, "access": "w"}], "made read"),
        ([FUSE, DENY], "made"),
        ([{"allow": True, "access": "rwm"}], "made read wrote"),
        ([DENY, {"allow": True, "type": "c", "major": 10, "access": "rwm"}], "made read wrote"),
        ([DENY, {"allow": True, "type": "b", "major": 10, "minor": 229, "access": "rwm"}], "made"),
    ],
)
@pytest.mark.clause("config-linux.md#allowed-device-list/listed-order")
def test_device_rules_decide(containers, rules, expected):
    def change(config):
        config["linux"]["resources"]["devices"] = rules
        next(one for one in config["mounts"] if one["destination"] == "/dev/shm")["options"].remove("nodev")
        sets = ("bounding", "effective", "permitted")
        config["process"]["capabilities"] = dict.fromkeys(sets, ["CAP_MKNOD"])

    # To make a device node is allowed by default, as with runc: what counts is that it cannot be opened.
    # 10:229 is /dev/fuse, which the kernel opens where its module is loaded.
    script = "cd /dev/shm; mknod x c 10 229 2>/dev/null && echo made; (: <x) 2>/dev/null && echo read; "
    script += "test -e x && (: >>x) 2>/dev/null && echo wrote; true"
    assert " ".join(containers.run(script, change).stdout.split()) == expected


def test_the_default_devices_work_whatever_the_rules_say(either):
    script = "echo x > /dev/null && head -c 1 /dev/urandom | wc -c && head -c 1 /dev/zero | wc -c"
    assert either.run(script, resources(devices=[DENY])).stdout.split() == ["1", "1"]


# ---- Where, and whose ----


@pytest.mark.clause("config-linux.md#cgroups-path/absolute-below-mount")
def test_an_absolute_path_is_below_the_mount_point(containers, session):
    container = containers.start(linux(cgroupsPath=f"/{session}-a/b"))
    assert container.group == CGROUPS / f"{session}-a/b"
    container.delete("--force")
    assert not (CGROUPS / f"{session}-a").exists()


@pytest.mark.clause("runtime.md#state/status-extra-values")
def test_pause_and_delete_go_through_the_freezer(either):
    container = either.start()
    either.runtime(*either.driver, "pause", container.id)
    assert "frozen 1" in container.value("cgroup.events")
    assert container.state()["status"] == "paused"
    container.delete("--force")
    assert not container.group.exists()


def test_the_container_sees_its_own_cgroup_as_the_root(either):
    script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max; "
    script += "(echo 5 >/sys/fs/cgroup/pids.max) 2>/dev/null || echo locked"
    assert either.run(script, resources(pids={"limit": 99})).stdout.split() == ["0::/", "99", "locked"]


@pytest.mark.clause(
    "config-linux.md#cgroup-ownership/needs-writable-mount", "config-linux.md#cgroup-ownership/delegated-files-only"
)
def test_a_writable_cgroup_is_given_to_the_containers_root(either):
    def change(config):
        config["linux"]["namespaces"].append({"type": "user"})
        for kind in ("uidMappings", "gidMappings"):
            config["linux"][kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        next(one for one in config["mounts"] if one["type"] == "cgroup")["options"].remove("ro")

    container = either.start(change)
    assert os.stat(container.group).st_uid == 100000
    for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        assert os.stat(container.group / name).st_uid == 100000
    assert os.stat(container.group / "memory.max").st_uid == 0
    script = "mkdir /sys/fs/cgroup/sub && echo 0 >/sys/fs/cgroup/sub/cgroup.procs && cat /proc/self/cgroup"
    assert either.run(script, change).stdout.split()[-1] == "0::/sub"
