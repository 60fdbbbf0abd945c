"""The cgroup drivers on the hierarchies of this host (config-linux.md#control-groups, cgroups(7)).

Needs root and a host with v1 hierarchies and a unified one beside them. Each test has groups of its own name.
"""

import ctypes
import json
import os
import secrets
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup, v1, v2, write
from pyruntime.cgroup import walk as tree
from pyruntime.host import cgroups
from pyruntime.plan.cgroup.cgroup import compile_cgroup, compile_update
from pyruntime.plan.facts import CgroupHost

HOST = cgroups.detect()

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or HOST.mode != "hybrid", reason="needs root and a host with cgroup v1 and v2"
)

UNIFIED_ONLY = CgroupHost("v2", {}, HOST.unified, {"": "/"}, HOST.controllers)
V1_ONLY = CgroupHost("v1", HOST.mounts, own=HOST.own)


def mountpoints(host=HOST):
    return list(dict.fromkeys([*host.mounts.values(), *([host.unified] if host.unified else [])]))


@pytest.fixture
def name():
    """A name for groups directly below each mount point; whatever is left of them is removed."""
    name = f"pyruntime-test-{os.getpid()}-{secrets.token_hex(4)}"
    yield name
    for mountpoint in mountpoints():
        tree.remove(f"{mountpoint}/{name}")
        assert not os.path.exists(f"{mountpoint}/{name}")


@pytest.fixture
def start():
    """A factory of processes that end with the test: start(*command) or a sleeping one."""
    processes = []

    def run(*command):
        processes.append(subprocess.Popen(command or ["sleep", "1000"], stdout=subprocess.PIPE))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def plan(path, host=HOST, **resources):
    return compile_cgroup({"linux": {"cgroupsPath": path, "resources": resources}}, host, "c1")


def create(path, host=HOST, **resources):
    group = cgroup.create(plan(path, host, **resources))
    group.apply()
    return group


def read(group, controller, file):
    return Path(group.paths[controller], file).read_text().strip()


def memberships(pid):
    """Controller -> group, of the hierarchies that are mounted."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    found = {name: line.split(":", 2)[2] for line in lines for name in line.split(":", 2)[1].split(",")}
    return {name: group for name, group in found.items() if not name or name in HOST.mounts}


# ---- Made and removed ----


def test_group_is_made_in_every_hierarchy_and_removed_with_its_parents(name):
    group = create(f"/{name}/parent/leaf")
    for mountpoint in mountpoints():
        assert os.path.isdir(f"{mountpoint}/{name}/parent/leaf")
    group.remove()
    for mountpoint in mountpoints():
        assert not os.path.exists(f"{mountpoint}/{name}")


def test_prepare_changes_nothing(name):
    cgroup.prepare(plan(f"/{name}/leaf"))
    assert not any(os.path.exists(f"{mountpoint}/{name}") for mountpoint in mountpoints())


def test_group_is_found_again_from_its_record(name):
    record = json.loads(json.dumps(create(f"/{name}").record))
    again = cgroup.open(record)
    assert again.unified == f"{HOST.unified}/{name}"
    again.remove()
    assert not os.path.exists(again.unified)


def test_record_made_before_make_removes_what_a_killed_runtime_left(name):
    prepared = cgroup.prepare(plan(f"/{name}/leaf"))
    record = prepared.record
    os.makedirs(f"{HOST.unified}/{name}/leaf")  # as far as it came
    cgroup.open(record).remove()
    assert not os.path.exists(f"{HOST.unified}/{name}")


@pytest.mark.clause("runtime.md#delete/foreign-resources-kept")
def test_group_that_was_there_before_stays(name):
    there = f"{HOST.unified}/{name}"
    os.mkdir(there)
    group = create(f"/{name}")
    group.remove()
    assert os.path.isdir(there)
    assert not os.path.exists(f"{HOST.mounts['pids']}/{name}")


def test_parent_that_another_container_uses_stays_until_its_own_end(name):
    first, second = create(f"/{name}/1"), create(f"/{name}/2")
    first.remove()
    assert not os.path.exists(f"{HOST.unified}/{name}/1")
    assert os.path.isdir(f"{HOST.unified}/{name}/2")
    second.remove()


def test_parent_that_vanishes_after_prepare_is_made_again(name):
    parent = f"{HOST.unified}/{name}"
    os.mkdir(parent)
    group = cgroup.prepare(plan(f"/{name}/leaf"))
    os.rmdir(parent)
    group.make()
    assert os.path.isdir(f"{parent}/leaf")


@pytest.mark.clause("config-linux.md#control-groups/unfit-cgroup")
def test_group_with_processes_is_refused_and_unchanged(name, start):
    first = create(f"/{name}")
    process = start()
    first.join(process.pid)
    with pytest.raises(Error, match="has processes") as raised:
        cgroup.create(plan(f"/{name}"))
    assert raised.value.pointer == "/linux/cgroupsPath"
    assert first.pids() == [process.pid]


@pytest.mark.clause("config-linux.md#control-groups/unfit-cgroup")
def test_group_with_processes_further_down_is_refused(name, start):
    first = create(f"/{name}")
    below = create(f"/{name}/below")
    below.join(start().pid)
    with pytest.raises(Error, match="has processes"):
        cgroup.create(plan(f"/{name}"))
    assert first.unified


@pytest.mark.parametrize("host", [V1_ONLY, UNIFIED_ONLY], ids=["v1", "v2"])
@pytest.mark.clause("config-linux.md#control-groups/unfit-cgroup")
def test_frozen_group_is_refused(name, host):
    first = create(f"/{name}", host)
    first.freeze()
    with pytest.raises(Error, match="is frozen"):
        cgroup.create(plan(f"/{name}", host))
    first.thaw()
    cgroup.create(plan(f"/{name}", host))


def test_failure_half_way_leaves_nothing(name):
    os.mkdir(f"{HOST.unified}/{name}")  # the last hierarchy: the others are made by then
    os.mkdir(f"{HOST.unified}/{name}/leaf")
    Path(f"{HOST.unified}/{name}/leaf/cgroup.freeze").write_text("1")
    with pytest.raises(Error, match="is frozen"):
        cgroup.create(plan(f"/{name}/leaf"))
    for mountpoint in HOST.mounts.values():
        assert not os.path.exists(f"{mountpoint}/{name}")


def test_name_of_a_control_file_is_an_error_at_cgroups_path(name):
    with pytest.raises(Error) as raised:
        cgroup.create(plan(f"/{name}/cgroup.procs"))
    assert (raised.value.pointer, raised.value.kernel.split(":")[0]) == ("/linux/cgroupsPath", "ENOTDIR")
    assert not any(os.path.exists(f"{mountpoint}/{name}") for mountpoint in mountpoints())


# ---- Limits ----


def test_limits_reach_the_kernel(name):
    group = create(
        f"/{name}/leaf",
        memory={"limit": 50 << 20, "swap": 80 << 20, "reservation": 40 << 20, "swappiness": 20},
        cpu={"shares": 512, "quota": 20000, "period": 50000, "burst": 10000, "cpus": "0", "mems": "0"},
        pids={"limit": 33},
        hugepageLimits=[{"pageSize": "2MB", "limit": 4 << 20}],
    )
    assert read(group, "memory", "memory.limit_in_bytes") == str(50 << 20)
    assert read(group, "memory", "memory.memsw.limit_in_bytes") == str(80 << 20)
    assert read(group, "memory", "memory.soft_limit_in_bytes") == str(40 << 20)
    assert read(group, "memory", "memory.swappiness") == "20"
    assert read(group, "cpu", "cpu.shares") == "512"
    assert read(group, "cpu", "cpu.cfs_quota_us") == "20000"
    assert read(group, "cpu", "cpu.cfs_period_us") == "50000"
    assert read(group, "cpu", "cpu.cfs_burst_us") == "10000"
    assert read(group, "cpuset", "cpuset.cpus") == "0"
    assert read(group, "pids", "pids.max") == "33"
    if "hugetlb" in HOST.controllers:
        assert read(group, "", "hugetlb.2MB.max") == str(4 << 20)
        assert read(group, "", "hugetlb.2MB.rsvd.max") == str(4 << 20)


def test_real_time_budget_is_given_to_every_level_made(name):
    if not os.path.exists(f"{HOST.mounts['cpu']}/cpu.rt_runtime_us"):
        pytest.skip("the kernel has no CONFIG_RT_GROUP_SCHED")
    group = create(f"/{name}/a/b", cpu={"realtimePeriod": 1000000, "realtimeRuntime": 1000})
    assert read(group, "cpu", "cpu.rt_runtime_us") == "1000"
    assert Path(group.paths["cpu"], "../cpu.rt_runtime_us").read_text().strip() == "1000"


def test_new_cpuset_group_inherits_at_every_level(name):
    group = create(f"/{name}/a/b")
    root = Path(HOST.mounts["cpuset"])
    for file in ("cpuset.cpus", "cpuset.mems"):
        assert read(group, "cpuset", file) == (root / file).read_text().strip()
        assert (root / name / file).read_text() == (root / file).read_text()


@pytest.mark.parametrize(("limit", "swap"), [(100, 200), (10, 20), (30, -1), (-1, None), (300, 300)])
def test_memory_of_a_limited_group_can_go_up_and_down(name, limit, swap):
    group = create(f"/{name}", memory={"limit": 40 << 20, "swap": 60 << 20})
    wanted = {"limit": limit << 20 if limit > 0 else limit}
    if swap is not None:
        wanted["swap"] = swap << 20 if swap > 0 else swap
    group.plan = compile_update({"memory": wanted}, HOST, group.paths)
    group.apply()
    if limit > 0:
        assert read(group, "memory", "memory.limit_in_bytes") == str(limit << 20)
    if swap and swap > 0:
        assert read(group, "memory", "memory.memsw.limit_in_bytes") == str(swap << 20)


def test_period_that_the_old_quota_does_not_fit_is_written_after_the_new_quota(name):
    create(f"/{name}", cpu={"quota": 50000, "period": 100000})
    group = create(f"/{name}/leaf", cpu={"quota": 40000, "period": 100000})
    group.plan = compile_update({"cpu": {"quota": 4000, "period": 10000}}, HOST, group.paths)
    group.apply()  # 40000 in 10000 would be more than the parent has
    assert read(group, "cpu", "cpu.cfs_period_us") == "10000"
    assert read(group, "cpu", "cpu.cfs_quota_us") == "4000"


def test_refused_write_names_file_value_property_and_errno(name):
    with pytest.raises(Error) as raised:
        create(f"/{name}", cpu={"cpus": "4000"})
    error = raised.value
    assert f"{HOST.mounts['cpuset']}/{name}/cpuset.cpus" in error.doing
    assert "'4000'" in error.doing
    assert (error.pointer, error.clause) == ("/linux/resources/cpu/cpus", "config-linux.md#cpu")
    assert error.kernel


def test_limit_that_today_s_kernels_lack_says_what_is_missing(name):
    with pytest.raises(Error) as raised:
        create(f"/{name}", blockIO={"leafWeight": 100})
    assert raised.value.pointer == "/linux/resources/blockIO/leafWeight"
    assert "CFQ" in raised.value.advice


def test_huge_page_size_that_the_host_lacks_is_an_error(name):
    if "hugetlb" not in HOST.controllers:
        pytest.skip("the unified hierarchy has no hugetlb")
    with pytest.raises(Error) as raised:
        create(f"/{name}", hugepageLimits=[{"pageSize": "3MB", "limit": 1}])
    assert "huge pages of 3MB" in raised.value.advice


def test_update_keeps_a_limit_of_pids_in_force(name, start):
    group = create(f"/{name}", pids={"limit": 5})
    group.plan = compile_update({"pids": {"limit": 1}}, HOST, group.paths)
    group.apply()
    script = f"echo 0 > {group.paths['pids']}/cgroup.procs; (:) && echo forked"
    process = start("sh", "-c", script)
    assert process.stdout.read() == b""


# ---- Devices ----

TRY_DEVICES = """
import os, sys
for path in sys.argv[1:]:
    with open(path + "/cgroup.procs", "w") as file:
        file.write("0")
for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/kmsg"):
    try:
        os.close(os.open(path, os.O_RDWR))
        print(path)
    except PermissionError:
        pass
"""


def usable(group):
    command = [sys.executable, "-c", TRY_DEVICES, *group.directories]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


KMSG = {"type": "c", "major": 1, "minor": 11}


@pytest.mark.parametrize("host", [V1_ONLY, UNIFIED_ONLY], ids=["v1", "v2"])
class TestDevices:
    def test_default_devices_are_usable_and_others_not(self, name, host):
        assert usable(create(f"/{name}", host)) == ["/dev/null", "/dev/zero", "/dev/full"]

    def test_allowed_device_is_usable(self, name, host):
        rules = [{"allow": False, "access": "rwm"}, {"allow": True, **KMSG, "access": "rw"}]
        assert "/dev/kmsg" in usable(create(f"/{name}", host, devices=rules))

    def test_device_with_one_kind_of_access_cannot_be_opened_for_both(self, name, host):
        assert "/dev/kmsg" not in usable(create(f"/{name}", host, devices=[{"allow": True, **KMSG, "access": "r"}]))

    def test_update_replaces_the_rules(self, name, host):
        group = create(f"/{name}", host, devices=[{"allow": True, "access": "rwm"}])
        assert "/dev/kmsg" in usable(group)
        for allow in (False, True, False):
            rules = [{"allow": False, "access": "rwm"}, {"allow": allow, **KMSG, "access": "rwm"}]
            group.plan = compile_update({"devices": rules}, host, group.paths)
            group.apply()
            assert ("/dev/kmsg" in usable(group)) == allow


# ---- Joining ----


def test_join_moves_a_process_into_every_group(name, start):
    group = create(f"/{name}")
    process = start()
    group.join(process.pid)
    assert set(memberships(process.pid).values()) == {f"/{name}"}
    assert group.pids() == [process.pid]


def test_process_joins_v1_by_itself_through_descriptors_of_the_host(name):
    group = create(f"/{name}")
    fds = group.task_fds()
    pid = os.fork()
    if pid == 0:
        try:
            for fd in fds:
                os.write(fd, b"0")
            signal.pause()
        finally:
            os._exit(1)
    pidfd = os.pidfd_open(pid)
    try:
        events = select.poll()
        events.register(pidfd, select.POLLIN)
        # The unified one is for clone3: there it is where this process is.
        while memberships(pid) != {**dict.fromkeys(memberships(pid), f"/{name}"), "": memberships("self")[""]}:
            assert not events.poll(1), "the process ended"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for fd in (*fds, pidfd):
            os.close(fd)


class CloneArgs(ctypes.Structure):
    """struct clone_args of linux/sched.h."""

    _fields_ = [
        (field, ctypes.c_uint64)
        for field in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal"),
            *("stack", "stack_size", "tls", "set_tid", "set_tid_size", "cgroup"),
        )
    ]


def test_clone3_starts_a_process_in_the_unified_group(name):
    group = create(f"/{name}")
    args = CloneArgs(flags=0x200000000, exit_signal=signal.SIGCHLD, cgroup=group.fd)
    libc = ctypes.PyDLL(None, use_errno=True)
    pid = libc.syscall(435, ctypes.byref(args), ctypes.sizeof(args))
    if pid == 0:
        signal.pause()
        os._exit(0)
    assert pid > 0, os.strerror(ctypes.get_errno())
    try:
        assert memberships(pid)[""] == f"/{name}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        group.close()


# ---- Killing, waiting, freezing ----

HANDLES_SIGTERM = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
print(flush=True)
signal.pause()
"""

FORK = "while :; do (while :; do :; done) & sleep 0.001; done"


@pytest.mark.parametrize("host", [V1_ONLY, HOST, UNIFIED_ONLY], ids=["v1", "hybrid", "v2"])
class TestProcesses:
    def test_kill_reaches_processes_that_keep_forking(self, name, host, start):
        group = create(f"/{name}", HOST, pids={"limit": 30})
        join = "; ".join(f"echo 0 > {directory}/cgroup.procs" for directory in group.directories)
        process = start("sh", "-c", f"{join}; echo; {FORK}")
        process.stdout.readline()
        cgroup.prepare(plan(f"/{name}", host)).kill_all()
        assert group.wait_empty(10)
        assert process.wait(10) == -signal.SIGKILL

    def test_kill_reaches_a_process_that_had_only_begun_to_join(self, name, host, start):
        group = create(f"/{name}", host)
        process = start()
        Path(group.directories[0], "cgroup.procs").write_text(str(process.pid))
        group.kill_all()
        assert process.wait(10) == -signal.SIGKILL

    def test_other_signals_reach_every_process(self, name, host, start):
        group = create(f"/{name}", host)
        processes = [start() for _ in range(3)]
        for process in processes:
            group.join(process.pid)
        group.kill_all(signal.SIGTERM)
        assert [process.wait(10) for process in processes] == [-signal.SIGTERM] * 3
        assert not group.frozen

    def test_frozen_processes_are_killed(self, name, host, start):
        group = create(f"/{name}", host)
        process = start()
        group.join(process.pid)
        group.freeze()
        assert group.frozen
        group.kill_all()
        assert process.wait(10) == -signal.SIGKILL

    def test_signals_that_are_handled_wait_for_the_thaw(self, name, host, start):
        group = create(f"/{name}", host)
        process = start(sys.executable, "-c", HANDLES_SIGTERM)
        process.stdout.readline()
        group.join(process.pid)
        group.freeze()
        group.kill_all(signal.SIGTERM)
        assert group.frozen
        assert process.poll() is None
        group.thaw()
        assert process.wait(10) == 3

    def test_wait_tells_whether_the_group_is_empty(self, name, host, start):
        group = create(f"/{name}", host)
        process = start()
        group.join(process.pid)
        assert not group.wait_empty(0.01)
        process.kill()
        assert group.wait_empty(10)
        assert group.pids() == []

    def test_removal_waits_for_processes_that_are_about_to_end(self, name, host, start):
        group = create(f"/{name}", host)
        process = start()
        group.join(process.pid)
        group.kill_all()
        group.remove()
        assert not any(map(os.path.exists, group.directories))

    def test_removal_of_a_group_in_use_is_an_error_that_counts(self, name, host, start):
        group = create(f"/{name}", host)
        process = start()
        group.join(process.pid)
        with pytest.raises(Error, match="1 process is still in it"):
            group.remove(timeout=0.01)
        assert process.poll() is None

    def test_what_the_container_made_goes_with_it(self, name, host, start):
        group = create(f"/{name}", host)
        for directory in group.directories:
            os.makedirs(f"{directory}/a/b")
            os.mkdir(f"{directory}/a/c")
        inside = start()
        Path(group.directories[-1], "a/b/cgroup.procs").write_text(str(inside.pid))
        assert group.pids() == [inside.pid]
        assert group.pids(recursive=False) == []
        inside.kill()
        group.remove()
        assert not any(map(os.path.exists, group.directories))

    def test_everything_works_on_a_group_that_is_gone(self, name, host):
        group = create(f"/{name}", host)
        group.remove()
        assert group.pids() == []
        assert not group.frozen
        group.kill_all()
        assert group.wait_empty(1)
        group.thaw()
        group.remove()


def test_freeze_by_either_freezer_is_seen_and_undone(name):
    group = create(f"/{name}")
    for freezer, directory in ((v1, group.paths["freezer"]), (v2, group.unified)):
        freezer.freeze(directory)
        assert group.frozen
        group.thaw()
        assert not group.frozen


def test_kill_thaws_what_the_v1_freezer_holds(name, start):
    group = create(f"/{name}")
    process = start()
    group.join(process.pid)
    v1.freeze(group.paths["freezer"])
    group.kill_all()
    assert process.wait(10) == -signal.SIGKILL


def test_groups_nested_deeper_than_a_path_is_long_are_removed(name):
    group = create(f"/{name}", UNIFIED_ONLY)
    fd = os.open(group.unified, os.O_RDONLY)
    for _ in range(500):
        os.mkdir("deep-inside", dir_fd=fd)
        below = os.open("deep-inside", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert group.pids() == []
    group.remove()
    assert not os.path.exists(group.unified)


# ---- Controllers of the unified hierarchy ----


@pytest.fixture
def root_control():
    """The root's cgroup.subtree_control, put back to what it was."""
    file = Path(HOST.unified, "cgroup.subtree_control")
    before = file.read_text().split()
    yield file
    for controller in set(file.read_text().split()) - set(before):
        try:
            file.write_text(f"-{controller}")
        except OSError:
            pass  # somebody else uses it by now


needs_hugetlb = pytest.mark.skipif("hugetlb" not in HOST.controllers, reason="the unified hierarchy has no hugetlb")
LIMIT = [{"pageSize": "2MB", "limit": 4 << 20}]


@needs_hugetlb
@pytest.mark.clause("config-linux.md#unified/controllers-enabled")
def test_controllers_are_enabled_on_the_way_down(name, root_control):
    group = create(f"/{name}/a/b", UNIFIED_ONLY, hugepageLimits=LIMIT)
    assert read(group, "", "hugetlb.2MB.max") == str(4 << 20)
    assert Path(HOST.unified, name, "cgroup.subtree_control").read_text().split() == ["hugetlb"]
    assert Path(group.unified, "cgroup.subtree_control").read_text().split() == []


@needs_hugetlb
@pytest.mark.clause("config-linux.md#unified/controller-missing")
def test_controller_below_a_group_with_processes_is_an_error_that_says_so(name, root_control, start):
    parent = create(f"/{name}", UNIFIED_ONLY)
    parent.join(start().pid)
    with pytest.raises(Error) as raised:
        create(f"/{name}/leaf", UNIFIED_ONLY, hugepageLimits=LIMIT)
    assert "hugetlb" in raised.value.doing
    assert raised.value.kernel.startswith("EBUSY")
    assert "processes of its own" in raised.value.advice
    assert raised.value.pointer == "/linux/resources/hugepageLimits/0/limit"
    assert not os.path.exists(f"{parent.unified}/leaf")


@pytest.mark.clause("config-linux.md#unified/unknown-written")
def test_a_file_that_this_runtime_knows_nothing_of_is_written(name):
    group = create(f"/{name}", UNIFIED_ONLY, unified={"cgroup.max.descendants": "77", "cgroup.max.depth": "7"})
    assert read(group, "", "cgroup.max.descendants") == "77"
    assert read(group, "", "cgroup.max.depth") == "7"


@pytest.mark.clause("config-linux.md#unified/controller-missing")
def test_controller_that_is_not_there_is_an_error_that_says_where(name):
    host = CgroupHost("v2", {}, HOST.unified, {"": "/"}, frozenset(["imaginary"]))
    with pytest.raises(Error) as raised:
        create(f"/{name}/leaf", host, unified={"imaginary.max": "1"})
    assert raised.value.reason == f"controller imaginary is not enabled in {HOST.unified}/cgroup.controllers"
    assert raised.value.pointer == "/linux/resources/unified/imaginary.max"
    assert raised.value.clause == "config-linux.md#unified"
    assert not os.path.exists(f"{HOST.unified}/{name}")


@pytest.mark.clause(
    "config-linux.md#cgroup-ownership/delegated-files-only",
    "config-linux.md#cgroup-ownership/missing-files",
)
def test_delegated_group_belongs_to_the_user_with_exactly_the_listed_files(name):
    group = create(f"/{name}", UNIFIED_ONLY)
    v2.give_to(group.unified, 12345)
    listed = set(Path("/sys/kernel/cgroup/delegate").read_text().split())
    assert os.stat(group.unified).st_uid == 12345
    for file in os.listdir(group.unified):
        assert (os.stat(f"{group.unified}/{file}").st_uid == 12345) == (file in listed), file


@pytest.mark.clause("config-linux.md#cgroup-ownership/missing-files")
def test_listed_files_that_the_group_has_not_are_passed_over(name, monkeypatch):
    group = create(f"/{name}", UNIFIED_ONLY)
    monkeypatch.setattr(v2, "read_file", lambda _: "memory.of_a_later_kernel\ncgroup.procs\n")
    v2.give_to(group.unified, 12345)
    assert [file for file in os.listdir(group.unified) if os.stat(f"{group.unified}/{file}").st_uid == 12345] == [
        "cgroup.procs"
    ]


@pytest.mark.clause("config-linux.md#cgroup-ownership/fallback-list")
def test_without_the_kernels_list_three_files_change_their_owner(name, monkeypatch):
    def missing(path):
        raise FileNotFoundError(2, "no such file", path)

    group = create(f"/{name}", UNIFIED_ONLY)
    monkeypatch.setattr(v2, "read_file", missing)
    v2.give_to(group.unified, 12345)
    assert {file for file in os.listdir(group.unified) if os.stat(f"{group.unified}/{file}").st_uid == 12345} == {
        *("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
    }


@pytest.mark.clause("config-linux.md#memory/check-before-update")
def test_a_limit_below_the_usage_is_refused_where_that_is_asked_for(tmp_path):
    # Files in place of a group's: no hierarchy here has the controller and no processes beside.
    host = CgroupHost("v2", {}, str(tmp_path), {"": "/"}, frozenset(["memory"]))

    def change(limit, **more):
        (tmp_path / "memory.max").write_text("")
        update = compile_update({"memory": {"limit": limit, **more}}, host, {"": str(tmp_path)})
        write.carry_out(update.steps, {"": str(tmp_path)}, [])
        return (tmp_path / "memory.max").read_text()

    (tmp_path / "memory.current").write_text("5000\n")
    (tmp_path / "memory.swap.max").write_text("")
    with pytest.raises(Error, match="cannot set memory") as raised:
        change(4000, checkBeforeUpdate=True)
    assert "5000 bytes are in use" in raised.value.reason
    assert (tmp_path / "memory.max").read_text() == ""
    assert change(6000, checkBeforeUpdate=True) == "6000"
    assert change(4000) == "4000"
