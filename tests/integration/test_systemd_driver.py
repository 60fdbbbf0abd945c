"""The systemd cgroup driver with a real systemd: the host's, or one that the test starts in namespaces of its own."""

import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup
from pyruntime.host import cgroups
from pyruntime.plan.cgroup.cgroup import compile_cgroup
from pyruntime.plan.facts import CgroupHost

HOST = cgroups.detect()
SYSTEMD = "/lib/systemd/systemd"
UNITS = Path("/lib/systemd/system")
PATIENCE = 60  # seconds for systemd's start

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0
    or not HOST.unified
    or not os.path.exists(SYSTEMD)
    or not (UNITS / "dbus.socket").exists()
    or not all(map(shutil.which, ("dbus-daemon", "unshare", "nsenter", "systemctl"))),
    reason="needs root, a unified hierarchy, systemd and dbus",
)
pytest.importorskip("jeepney")

# Makes the namespaces look like a v2 host, with an empty /run, and becomes systemd.
BOOT = """
mount --make-rprivate /
umount --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/dbus
export container=test SYSTEMD_UNIT_PATH="$1"
exec "$2" --system --unit=test.target --log-target=console --show-status=no
"""


def _start(directory, group):
    """Start a systemd of our own in the cgroup `group`; returns the process that ends it when it ends."""
    for name in ("basic.target", "sysinit.target", "dbus.socket", "dbus.service", "shutdown.target", "umount.target"):
        if (UNITS / name).exists():
            shutil.copy(UNITS / name, directory)
    target = "[Unit]\nDefaultDependencies=no\nWants=dbus.socket\nAfter=dbus.socket\n"
    (directory / "test.target").write_text(target)
    # It ends with this process, however that ends. Others can then use the controllers that it had.
    ends = ["setpriv", "--pdeathsig", "KILL"]
    command = [*ends, "unshare", "-C", "-m", "-p", "-u", "-i", "--fork", "--kill-child", "sh", "-euc", BOOT, "sh"]
    join = f'echo 0 > "{group}/cgroup.procs"; exec "$@"'
    log = (directory / "log").open("wb")
    with log:
        return subprocess.Popen(
            ["sh", "-euc", join, "sh", *command, str(directory), SYSTEMD],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _first_child(process):
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """The words before a command that run it where systemd is."""
    if HOST.mode == "v2" and os.path.isdir("/run/systemd/system"):
        yield []
        return
    group = f"{HOST.unified}/pyruntime-test-systemd-{os.getpid()}-{secrets.token_hex(4)}"
    os.mkdir(group)
    directory = tmp_path_factory.mktemp("systemd")
    process = _start(directory, group)
    ended = os.pidfd_open(process.pid)
    try:
        events = select.poll()
        events.register(ended, select.POLLIN)
        command = []
        deadline = time.monotonic() + PATIENCE
        while not command:
            assert not events.poll(20) and time.monotonic() < deadline, (directory / "log").read_text()
            try:
                enter = ["nsenter", "-t", str(_first_child(process)), "-m", "-p", "-C", "-u", "-i"]
            except IndexError:
                continue
            ready = subprocess.run([*enter, "test", "-S", "/run/dbus/system_bus_socket"], check=False)
            command = enter if ready.returncode == 0 else []
        yield command
    finally:
        os.close(ended)
        everything = cgroup.open({"paths": {"": group}, "made": [group]})
        everything.kill_all()
        process.wait()
        everything.remove()


PRELUDE = """
import json, os, signal, subprocess, sys
from pyruntime.cgroup import cgroup
from pyruntime.cgroup.files import read_file
from pyruntime.base.errors import Error
from pyruntime.host import cgroups
from pyruntime.plan.facts import CgroupHost
from pyruntime.plan.cgroup.cgroup import compile_cgroup, compile_update

HOST = cgroups.detect()

def make(path, controllers=(), **config):
    host = CgroupHost("v2", {}, HOST.unified, HOST.own, HOST.controllers | frozenset(controllers))
    resources = config.pop("resources", {})
    linux = {"cgroupsPath": path, "resources": resources}
    plan = compile_cgroup({"linux": linux, **config}, host, "c1", systemd=True)
    if controllers:  # systemd is told, the files are not there
        plan.enable, plan.steps = [], [step for step in plan.steps if step.op != "write_cgroup"]
    group = cgroup.prepare(plan)
    group.make()
    group.apply()
    return group

def join(group):
    pid = os.fork()
    if pid == 0:
        signal.pause()
    group.join(pid)
    return pid

def show(unit, *names):
    command = ["systemctl", "show", unit, *(f"--property={name}" for name in names)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in text.splitlines())

def loaded(unit):
    return show(unit, "LoadState")["LoadState"] != "not-found"
"""


@pytest.fixture
def run(inside):
    """A function that runs code where systemd is and returns what it gave to print as JSON; {name} is a unit's name."""
    name = f"test{secrets.token_hex(4)}"

    def call(code):
        command = [*inside, sys.executable, "-c", PRELUDE + code.replace("NAME", name)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return call


def test_scope_is_made_joined_and_removed(run):
    answer = run("""
group = make("pods-a.slice:pod:NAME")
before = group.pids()
pid = join(group)
group.settle()
there = show("pod-NAME.scope", "ActiveState", "Delegate", "ControlGroup", "Description")
answer = {"before": len(before), "after": group.pids() == [pid], "there": there, "directory": group.unified}
again = cgroup.open(json.loads(json.dumps(group.record)))
again.kill_all()
os.waitpid(pid, 0)
again.remove()
print(json.dumps({**answer, "left": os.path.exists(group.unified), "loaded": loaded("pod-NAME.scope")}))
""")
    assert answer["before"] == 1, "the scope was empty before its first process"
    assert answer["after"]
    there = answer["there"]
    assert (there["ActiveState"], there["Delegate"]) == ("active", "yes")
    assert there["ControlGroup"].startswith("/pods.slice/pods-a.slice/pod-test")
    assert there["Description"] == "pyruntime container c1"
    assert answer["directory"].endswith(there["ControlGroup"])
    assert not answer["left"]
    assert not answer["loaded"]


def test_systemd_takes_every_property(run):
    shown = run("""
resources = {
    "memory": {"limit": 50 << 20, "swap": 60 << 20, "reservation": 40 << 20},
    "pids": {"limit": 10},
    "cpu": {"quota": 12345, "period": 100000, "shares": 512, "cpus": "0", "mems": "0"},
    "unified": {"memory.high": "max", "memory.min": "4096"},
}
annotations = {
    "org.systemd.property.TimeoutStopSec": "7",
    "org.systemd.property.CollectMode": "'inactive-or-failed'",
}
group = make("system.slice:x:NAME", ["memory", "pids", "cpu", "cpuset"], resources=resources, annotations=annotations)
names = ("MemoryMax", "MemorySwapMax", "MemoryLow", "MemoryHigh", "MemoryMin", "TasksMax", "CPUQuotaPerSecUSec",
         "CPUQuotaPeriodUSec", "CPUWeight", "AllowedCPUs", "AllowedMemoryNodes", "TimeoutStopUSec", "CollectMode")
shown = show("x-NAME.scope", *names)
group.remove()
print(json.dumps(shown))
""")
    assert shown == {
        "MemoryMax": str(50 << 20),
        "MemorySwapMax": str(10 << 20),
        "MemoryLow": str(40 << 20),
        "MemoryHigh": "infinity",
        "MemoryMin": "4096",
        "TasksMax": "10",
        "CPUQuotaPerSecUSec": "130ms",
        "CPUQuotaPeriodUSec": "100ms",
        "CPUWeight": "59",
        "AllowedCPUs": "0",
        "AllowedMemoryNodes": "0",
        "TimeoutStopUSec": "7s",
        "CollectMode": "inactive-or-failed",
    }


def test_idle_is_told_as_the_weight_zero(run):
    shown = run("""
group = make("system.slice:x:NAME", ["cpu"], resources={"cpu": {"idle": 1}})
shown = show("x-NAME.scope", "CPUWeight")
group.remove()
print(json.dumps(shown))
""")
    assert shown["CPUWeight"] == "idle"


def test_limits_are_in_the_files_too(run):
    value = run("""
group = make("system.slice:x:NAME", resources={"unified": {"cgroup.max.depth": "3"}})
value = read_file(group.unified + "/cgroup.max.depth").strip()
group.remove()
print(json.dumps(value))
""")
    assert value == "3"


def test_update_is_told_before_it_is_written(run):
    shown = run("""
group = make("system.slice:x:NAME", ["memory"], resources={"memory": {"limit": 50 << 20}})
group = cgroup.open(group.record)
host = CgroupHost("v2", {}, HOST.unified, HOST.own, frozenset(["memory"]))
group.plan = compile_update({"memory": {"limit": 70 << 20}}, host, group.paths)
try:
    group.apply()
except Error as error:  # where the host has no such file
    assert error.pointer == "/linux/resources/memory/limit"
shown = show("x-NAME.scope", "MemoryMax")
group.remove()
print(json.dumps(shown))
""")
    assert shown["MemoryMax"] == str(70 << 20)


def test_unit_that_exists_is_an_error_and_stays(run):
    answer = run("""
group = make("system.slice:x:NAME")
try:
    make("system.slice:x:NAME")
    answer = ["made twice"]
except Error as error:
    answer = [error.log, error.pointer]
answer += [show("x-NAME.scope", "ActiveState")["ActiveState"], group.pids() == [group.keeper[0]]]
group.remove()
print(json.dumps(answer))
""")
    assert answer == ["org.freedesktop.systemd1.UnitExists", "/linux/cgroupsPath", "active", True]


def test_property_that_systemd_refuses_is_an_error_and_leaves_nothing(run):
    answer = run("""
try:
    make("system.slice:x:NAME", annotations={"org.systemd.property.NoSuchProperty": "1"})
    answer = ["made"]
except Error as error:
    answer = [error.reason]
try:
    os.waitpid(-1, 0)
    answer.append("a process is left")
except ChildProcessError:
    pass
print(json.dumps([*answer, loaded("x-NAME.scope")]))
""")
    assert "NoSuchProperty" in answer[0]
    assert answer[1:] == [False]


def test_scope_goes_by_itself_with_its_last_process_and_removal_agrees(run):
    answer = run("""
group = make("system.slice:x:NAME")
pid = join(group)
group.settle()
os.kill(pid, 9)
os.waitpid(pid, 0)
gone = group.wait_empty(10)
group.remove()
group.remove()
print(json.dumps([gone, os.path.exists(group.unified), loaded("x-NAME.scope")]))
""")
    assert answer == [True, False, False]


def test_container_s_own_groups_go_with_the_scope(run):
    answer = run("""
group = make("system.slice:x:NAME")
os.makedirs(group.unified + "/a/b")
group.remove()
print(json.dumps(os.path.exists(group.unified)))
""")
    assert answer is False


def test_limit_of_pids_does_not_count_what_keeps_the_scope(run):
    if "pids" not in HOST.controllers:
        pytest.skip("the unified hierarchy has no pids")
    answer = run("""
group = make("system.slice:x:NAME", resources={"pids": {"limit": 1}})
pid = join(group)
before = read_file(group.unified + "/pids.max").strip()
group.settle()
after = read_file(group.unified + "/pids.max").strip()
group.kill_all()
os.waitpid(pid, 0)
group.remove()
print(json.dumps([before, after]))
""")
    assert answer == ["2", "1"]


def test_bus_that_is_not_there_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    host = CgroupHost("v2", {}, HOST.unified, {"": "/"})
    group = cgroup.prepare(compile_cgroup({}, host, "c1", systemd=True))
    with pytest.raises(Error, match="unix:path=/nonexistent") as raised:
        group.make()
    assert raised.value.kernel.startswith("ENOENT")
