"""The container's control groups and their limits (config-linux.md#control-groups and below), on cgroup v1."""

import os
from pathlib import Path

import pytest
from containers import group_below, until

from changes import capable, linux, mapped, process, user

CGROUPS = pytest.mark.clause("config-linux.md#control-groups")
PATH = pytest.mark.clause("config-linux.md#cgroups-path")
DEVICES = pytest.mark.clause("config-linux.md#allowed-device-list")
MEMORY = pytest.mark.clause("config-linux.md#memory")
CPU = pytest.mark.clause("config-linux.md#cpu")
PIDS = pytest.mark.clause("config-linux.md#pids")
BLOCK_IO = pytest.mark.clause("config-linux.md#block-io")
HUGE_PAGES = pytest.mark.clause("config-linux.md#huge-page-limits")

ROOT = Path("/sys/fs/cgroup")


@pytest.fixture(autouse=True)
def _v1():
    if not (ROOT / "memory/cgroup.procs").exists():
        pytest.skip("needs cgroup v1")


@pytest.fixture
def group(containers):
    """A path of its own for a test's cgroup."""
    return f"/{containers.runtime.id()}"


def resources(**values):
    """Set limits beside the device rules of the default configuration."""
    return lambda config: config["linux"]["resources"].update(values)


def value(container, controller, name):
    """Return the content of a control file of the container's group."""
    return (ROOT / controller / group_below(container.pid, controller).lstrip("/") / name).read_text().strip()


# ---- Where ----


@PATH
@pytest.mark.clause("config-linux.md#cgroups-path/absolute-below-mount")
def test_an_absolute_path_is_below_the_mount_point_of_every_hierarchy(containers, group):
    container = containers.start(linux(cgroupsPath=f"{group}/sub"))
    for controller in ("memory", "pids", "cpu", "devices", "freezer"):
        assert group_below(container.pid, controller) == f"{group}/sub"
        assert str(container.pid) in (ROOT / controller / group.lstrip("/") / "sub/cgroup.procs").read_text().split()


@PATH
def test_parents_that_were_made_are_removed_or_left_empty(containers, group):
    container = containers.start(linux(cgroupsPath=f"{group}/sub"))
    container.delete("--force")
    assert not (ROOT / "memory" / group.lstrip("/") / "sub").exists()
    for controller in (
        "memory",
        "pids",
        "cpu",
        "devices",
        "freezer",
        "cpuset",
        "blkio",
        "cpuacct",
        "systemd",
        "unified",
    ):
        place = ROOT / controller / group.lstrip("/")
        if place.exists():
            place.rmdir()


@PATH
def test_a_group_that_was_there_is_left_as_it_was(containers, group):
    """A group that stayed frozen would refuse the next container."""
    places = [ROOT / controller / group.lstrip("/") for controller in ("freezer", "unified")]
    for place in places:
        place.mkdir()
    try:
        for force in ("--force", None):
            container = containers.start(linux(cgroupsPath=group))
            containers.runtime("pause", container.id)
            if force is None:
                containers.runtime("kill", container.id, "KILL")
            container.delete(*[force] if force else [])
            assert (places[0] / "freezer.state").read_text() == "THAWED\n"
            assert (places[1] / "cgroup.freeze").read_text() == "0\n"
        for place, file, frozen in zip(places, ("freezer.state", "cgroup.freeze"), ("FROZEN", "1"), strict=True):
            thawed = (place / file).read_text()
            (place / file).write_text(frozen)
            assert f"{place} exists and the group is frozen" in containers.refused(linux(cgroupsPath=group))
            assert (place / file).read_text() == f"{frozen}\n"
            (place / file).write_text(thawed)
    finally:
        for place in places:
            place.rmdir()


@PATH
@pytest.mark.clause("config-linux.md#cgroups-path/same-place")
def test_a_relative_path_is_the_same_place_each_time(containers, group):
    name = group.lstrip("/")
    one = containers.start(linux(cgroupsPath=name))
    places = {controller: group_below(one.pid, controller) for controller in ("memory", "pids")}
    one.delete("--force")
    other = containers.start(linux(cgroupsPath=name))
    assert {controller: group_below(other.pid, controller) for controller in ("memory", "pids")} == places
    assert all(place.endswith(group) for place in places.values())


@PATH
def test_without_a_path_each_container_has_a_group_of_its_own(containers):
    one, other = containers.start(), containers.start()
    assert group_below(one.pid, "pids") != group_below(other.pid, "pids")
    assert group_below(one.pid, "pids") != group_below("self", "pids")


@PATH
@pytest.mark.parametrize("path", ["/", "/..", "../up", "/a/../.."])
@pytest.mark.clause("config-linux.md#cgroups-path/invalid-is-error")
def test_a_path_that_cannot_be_a_containers_own_is_an_error(containers, path):
    assert "/linux/cgroupsPath" in containers.refused(linux(cgroupsPath=path))


@PATH
def test_a_group_that_is_there_already_is_used(containers, group):
    place = ROOT / "pids" / group.lstrip("/")
    place.mkdir()
    (place / "pids.max").write_text("77")
    container = containers.start(linux(cgroupsPath=group))
    assert group_below(container.pid, "pids") == group
    container.delete("--force")
    if place.exists():
        place.rmdir()


@CGROUPS
@pytest.mark.clause("config-linux.md#control-groups/unfit-cgroup")
def test_a_group_in_use_is_an_error_and_its_container_goes_on(containers, group):
    first = containers.start(linux(cgroupsPath=group))
    path, name = containers.bundle("true", linux(cgroupsPath=group)), containers.runtime.id()
    done = containers.runtime("create", "-b", path, name, check=False)
    assert done.returncode == 1
    assert "/linux/cgroupsPath" in done.stderr
    assert first.status == "running"
    assert str(first.pid) in (ROOT / "pids" / group.lstrip("/") / "cgroup.procs").read_text().split()
    containers.nothing_left(name)


@CGROUPS
@pytest.mark.clause("config-linux.md#cgroup-ownership/not-on-v1")
def test_the_groups_stay_the_roots_whoever_the_process_is(containers):
    def writable(config):
        entry = next(one for one in config["mounts"] if one["destination"] == "/sys/fs/cgroup")
        entry["options"].remove("ro")

    container = containers.start(writable, mapped(), user(uid=1000, gid=1000))
    for directory in container.cgroups().values():
        assert {path.stat().st_uid for path in (directory, *directory.iterdir())} == {0}


@CGROUPS
def test_processes_of_the_container_stay_in_its_groups(containers):
    container = containers.start(script="sleep 1000 & wait")
    children = until(
        lambda: Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split(), "the child"
    )
    assert group_below(children[0], "memory") == group_below(container.pid, "memory")


@CGROUPS
@pytest.mark.clause("runtime.md#delete/resources-deleted")
def test_the_groups_are_gone_after_delete(containers, group):
    container = containers.start(linux(cgroupsPath=group))
    container.delete("--force")
    assert not [path for path in ROOT.glob(f"*/{group.lstrip('/')}") if path.exists()]


# ---- Memory ----


@MEMORY
def test_the_memory_limit_is_set(containers):
    container = containers.start(resources(memory={"limit": 64 << 20}))
    assert value(container, "memory", "memory.limit_in_bytes") == str(64 << 20)


@MEMORY
def test_the_memory_limit_holds(containers):
    # The limit ends the program, not the runtime: 64 MiB in the shell's memory, or on a tmpfs, which is charged too.
    changes = (
        resources(memory={"limit": 16 << 20}),
        lambda config: config["mounts"].append(
            {"destination": "/home", "type": "tmpfs", "source": "tmpfs", "options": ["size=100m"]}
        ),
    )
    done = containers.run("dd if=/dev/zero of=/home/file bs=1M count=64", *changes, check=False)
    assert done.returncode != 0


@MEMORY
@pytest.mark.parametrize(
    ("limits", "file", "expected"),
    [
        ({"limit": 64 << 20, "reservation": 32 << 20}, "memory.soft_limit_in_bytes", str(32 << 20)),
        ({"limit": 64 << 20, "swap": 96 << 20}, "memory.memsw.limit_in_bytes", str(96 << 20)),
        ({"swappiness": 33}, "memory.swappiness", "33"),
        ({"limit": -1}, "memory.limit_in_bytes", None),
        ({"disableOOMKiller": True, "limit": 64 << 20}, "memory.oom_control", "oom_kill_disable 1"),
    ],
)
def test_other_limits_of_memory(containers, limits, file, expected):
    container = containers.start(resources(memory=limits))
    found = value(container, "memory", file)
    assert expected is None or expected in found.splitlines()[0]


@MEMORY
@pytest.mark.parametrize(
    ("limits", "file"),
    [
        ({"kernel": 32 << 20}, "memory.kmem.limit_in_bytes"),
        ({"kernelTCP": 32 << 20}, "memory.kmem.tcp.limit_in_bytes"),
        ({"useHierarchy": False}, "memory.use_hierarchy"),
    ],
)
@pytest.mark.clause("runtime.md#lifecycle/environment-error")
def test_what_this_kernel_no_longer_limits_is_an_error(containers, group, limits, file):
    # Linux 5.11 and 6.12 removed these limits: the kernel refuses one, and accepts the other without effect.
    ((name, asked),) = limits.items()
    place = ROOT / "memory" / group.lstrip("/")
    place.mkdir()
    try:
        (place / file).write_text(str(int(asked)))
        kept = int((place / file).read_text()) == asked
    except OSError:
        kept = False
    finally:
        place.rmdir()
    if kept:
        assert value(containers.start(resources(memory=limits)), "memory", file) == str(int(asked))
    else:
        assert f"/linux/resources/memory/{name}" in containers.refused(resources(memory=limits))


@MEMORY
@pytest.mark.parametrize(("limit", "swap"), [(64 << 20, 96 << 20), (64 << 20, -1), (-1, None)])
def test_a_group_that_had_lower_limits_gets_the_containers(containers, group, limit, swap):
    # The kernel never allows a memory limit above the limit of memory and swap together.
    place = ROOT / "memory" / group.lstrip("/")
    place.mkdir()
    unlimited = (place / "memory.limit_in_bytes").read_text().strip()
    for name, number in (("memory.limit_in_bytes", 16 << 20), ("memory.memsw.limit_in_bytes", 32 << 20)):
        (place / name).write_text(str(number))
    asked = {"limit": limit} if swap is None else {"limit": limit, "swap": swap}
    container = containers.start(linux(cgroupsPath=group), resources(memory=asked))
    expected = [str(number) if number and number > 0 else unlimited for number in (limit, swap)]
    assert [value(container, "memory", f"memory.{name}limit_in_bytes") for name in ("", "memsw.")] == expected
    container.delete("--force")
    if place.exists():
        place.rmdir()


@MEMORY
def test_a_limit_that_cannot_hold_the_process_is_an_error(containers):
    assert "memory limit" in containers.refused(resources(memory={"limit": 4096}))


# ---- CPU ----


@CPU
@pytest.mark.parametrize(
    ("limits", "controller", "file", "expected"),
    [
        ({"shares": 512}, "cpu", "cpu.shares", "512"),
        ({"quota": 20000, "period": 50000}, "cpu", "cpu.cfs_quota_us", "20000"),
        ({"quota": 20000, "period": 50000}, "cpu", "cpu.cfs_period_us", "50000"),
        ({"quota": -1}, "cpu", "cpu.cfs_quota_us", "-1"),
        ({"cpus": "0"}, "cpuset", "cpuset.cpus", "0"),
        ({"mems": "0"}, "cpuset", "cpuset.mems", "0"),
        ({"idle": 1}, "cpu", "cpu.idle", "1"),
        ({"quota": 20000, "burst": 7000}, "cpu", "cpu.cfs_burst_us", "7000"),
        ({"realtimeRuntime": 1000}, "cpu", "cpu.rt_runtime_us", "1000"),
        ({"realtimeRuntime": 1000, "realtimePeriod": 500000}, "cpu", "cpu.rt_period_us", "500000"),
    ],
)
def test_limits_of_the_cpu(containers, limits, controller, file, expected):
    container = containers.start(resources(cpu=limits))
    try:
        assert value(container, controller, file) == expected
    except FileNotFoundError:
        pytest.skip(f"this kernel has no {file}")


@CPU
def test_parents_that_are_made_for_the_container_have_its_real_time_too(containers, group):
    if not (ROOT / "cpu/cpu.rt_runtime_us").exists():
        pytest.skip("this kernel has no cpu.rt_runtime_us")
    limits = resources(cpu={"realtimeRuntime": 1000, "realtimePeriod": 500000})
    container = containers.start(linux(cgroupsPath=f"{group}/sub"), limits)
    assert value(container, "cpu", "cpu.rt_runtime_us") == "1000"
    assert (ROOT / "cpu" / group.lstrip("/") / "cpu.rt_period_us").read_text() == "500000\n"


@CPU
def test_a_group_that_had_a_quota_gets_a_shorter_period(containers, group):
    # With the former quota, the new period would exceed what the parent has.
    parent = ROOT / "cpu" / group.lstrip("/")
    place = parent / "sub"
    place.mkdir(parents=True)
    (parent / "cpu.cfs_quota_us").write_text("50000")
    (place / "cpu.cfs_quota_us").write_text("40000")
    limits = resources(cpu={"quota": 4000, "period": 10000})
    container = containers.start(linux(cgroupsPath=f"{group}/sub"), limits)
    found = [value(container, "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    assert found == ["4000", "10000"]
    container.delete("--force")
    for path in (place, parent):
        if path.exists():
            path.rmdir()


@CPU
def test_cpus_hold_for_the_process(inside):
    assert inside("grep Cpus_allowed_list /proc/self/status", resources(cpu={"cpus": "0"})).split()[1] == "0"


@CPU
def test_cpus_that_do_not_exist_are_an_error(containers):
    assert "/linux/resources/cpu/cpus" in containers.refused(resources(cpu={"cpus": "900-901"}))


# ---- Block I/O ----


@pytest.fixture
def disk():
    """Major and minor number of a disk of the host."""
    disks = sorted(path for path in Path("/sys/block").iterdir() if (path / "device").exists())
    if not disks:
        pytest.skip("the host has no disk")
    return [int(number) for number in (disks[0] / "dev").read_text().split(":")]


@BLOCK_IO
def test_the_weight_of_block_io(containers):
    if not (ROOT / "blkio/blkio.bfq.io_serviced").exists():
        pytest.skip("this kernel has no blkio.bfq.weight")
    assert value(containers.start(resources(blockIO={"weight": 300})), "blkio", "blkio.bfq.weight") == "300"


@BLOCK_IO
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ],
)
def test_block_io_of_a_device_is_throttled(containers, disk, name, file):
    major, minor = disk
    limits = {name: [{"major": major, "minor": minor, "rate": 123456}]}
    assert value(containers.start(resources(blockIO=limits)), "blkio", file) == f"{major}:{minor} 123456"


@BLOCK_IO
def test_a_device_that_is_not_there_is_an_error(containers):
    limits = {"throttleReadBpsDevice": [{"major": 4095, "minor": 1, "rate": 123456}]}
    assert "/linux/resources/blockIO/throttleReadBpsDevice/0" in containers.refused(resources(blockIO=limits))


# ---- Huge pages ----


@HUGE_PAGES
def test_huge_pages_are_limited_used_and_reserved(containers):
    if "hugetlb" not in (ROOT / "unified/cgroup.controllers").read_text().split():
        pytest.skip("the unified hierarchy has no hugetlb")
    container = containers.start(resources(hugepageLimits=[{"pageSize": "2MB", "limit": 4 << 20}]))
    place = ROOT / "unified" / group_below(container.pid, "").lstrip("/")
    for name in ("hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"):
        assert (place / name).read_text() == f"{4 << 20}\n"


# ---- PIDs ----


@PIDS
def test_the_limit_of_processes_is_set(containers):
    assert value(containers.start(resources(pids={"limit": 42})), "pids", "pids.max") == "42"


@PIDS
@pytest.mark.clause("config-linux.md#pids/zero-is-a-limit")
def test_a_limit_of_no_processes_is_a_limit(containers):
    container = containers.start(resources(pids={"limit": 0}), script="exec sleep 1000")
    assert value(container, "pids", "pids.max") == "0"
    done = containers.run("true | true", resources(pids={"limit": 0}), check=False)
    assert "can't fork" in done.stderr


@PIDS
def test_the_limit_of_processes_holds(containers):
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done 2>/dev/null; echo all"
    done = containers.run(script, resources(pids={"limit": 4}), check=False)
    assert "all" not in done.stdout
    assert containers.run(f"{script}; kill -9 -1", resources(pids={"limit": 100}), check=False).stdout == "all\n"


@PIDS
def test_minus_one_means_no_limit(containers):
    assert value(containers.start(resources(pids={"limit": -1})), "pids", "pids.max") == "max"


# ---- Devices ----


def rules(*entries):
    return lambda config: config["linux"]["resources"].update(devices=list(entries))


DENY_ALL = {"allow": False, "access": "rwm"}
OPEN = "mknod /dev/shm/x {kind} {number} && head -c 0 /dev/shm/x && echo open"
ALLOWED = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}


def devices_in_shm(config):
    """Let devices be opened in /dev/shm."""
    next(one for one in config["mounts"] if one["destination"] == "/dev/shm")["options"].remove("nodev")


def reach(containers, number, *changes, kind="c"):
    """Tell whether a container with CAP_MKNOD can make and open a device."""
    script = OPEN.format(kind=kind, number=number)
    return containers.run(script, capable("MKNOD"), devices_in_shm, *changes, check=False).stdout == "open\n"


@DEVICES
def test_a_denied_device_cannot_be_opened(containers):
    assert not reach(containers, "10 229", rules(DENY_ALL))


@DEVICES
def test_an_allowed_device_can_be_opened(containers):
    assert reach(containers, "10 229", rules(DENY_ALL, ALLOWED))


@DEVICES
@pytest.mark.clause("config-linux.md#allowed-device-list/listed-order")
def test_the_last_matching_rule_decides(containers):
    denied = {**ALLOWED, "allow": False}
    assert not reach(containers, "10 229", rules(DENY_ALL, ALLOWED, denied))
    assert reach(containers, "10 229", rules(denied, ALLOWED))


@DEVICES
def test_everything_can_be_allowed(containers):
    assert reach(containers, "10 229", rules({"allow": True, "access": "rwm"}))


@DEVICES
def test_access_is_by_kind(containers):
    script = "mknod /dev/shm/x c 10 229; exec 3>/dev/shm/x && echo wrote; exec 4</dev/shm/x && echo read"
    only_read = {**ALLOWED, "access": "rm"}
    done = containers.run(script, capable("MKNOD"), devices_in_shm, rules(DENY_ALL, only_read), check=False)
    assert "wrote" not in done.stdout
    script = "mknod /dev/shm/x c 10 229; exec 4</dev/shm/x && echo read"
    assert containers.run(script, capable("MKNOD"), devices_in_shm, rules(DENY_ALL, only_read)).stdout == "read\n"


@DEVICES
def test_default_devices_work_whatever_the_rules_say(containers):
    found = containers.run("echo x > /dev/null && head -c 1 /dev/urandom | wc -c", rules(DENY_ALL)).stdout
    assert found == "1\n"


@DEVICES
@pytest.mark.parametrize(
    "entry",
    [
        {"allow": False, "access": "rwx"},
        {"allow": False, "type": "d"},
        {"access": "rwm"},
        {"allow": True, "type": "c", "major": -2, "access": "r"},
    ],
)
def test_a_rule_that_cannot_be_is_an_error(containers, entry):
    assert "/linux/resources/devices/0" in containers.refused(rules(entry))


@CGROUPS
@pytest.mark.clause("runtime.md#lifecycle/resources-at-create")
def test_limits_are_there_before_the_program_starts(inside):
    found = inside(
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes",
        resources(pids={"limit": 30}, memory={"limit": 50 << 20}),
        process(noNewPrivileges=True),
    )
    assert found.split() == ["30", str(50 << 20)]
    assert os.geteuid() == 0
