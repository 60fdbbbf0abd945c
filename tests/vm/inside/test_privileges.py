"""What needs every capability of the kernel: this machine's root has them all (config.md#posix-process)."""

import re
from pathlib import Path

import pytest

from conftest import process

LAST = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
ALL = (1 << LAST + 1) - 1
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
NAMES = [
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
]


def capable(*names):
    """Give the process the capabilities `names` in all sets."""
    return process(capabilities={kind: [f"CAP_{name}" for name in names] for kind in SETS})


def status(text):
    """Return the capability sets in a /proc/PID/status."""
    return {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s*(\w+)$", text, re.M)}


def test_every_capability_can_be_had(containers):
    done = containers.run("cat /proc/self/status", capable(*NAMES))
    assert status(done.stdout) == dict.fromkeys(("Inh", "Prm", "Eff", "Bnd", "Amb"), ALL)
    assert "WARN" not in done.stderr.upper()


@pytest.mark.parametrize("number", range(LAST + 1), ids=lambda number: NAMES[number])
def test_a_capability_is_the_one_of_its_name(containers, number):
    done = containers.run("cat /proc/self/status", capable(NAMES[number]))
    assert status(done.stdout) == dict.fromkeys(("Inh", "Prm", "Eff", "Bnd", "Amb"), 1 << number)


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("RLIMIT_NPROC", "-u", 1000000),
        ("RLIMIT_MEMLOCK", "-l", 1 << 30),
        ("RLIMIT_NOFILE", "-n", 1000000),
        ("RLIMIT_CORE", "-c", 1 << 30),
    ],
)
def test_a_hard_limit_can_be_raised(containers, kind, option, value):
    """With CAP_SYS_RESOURCE, which the process itself does not get."""
    limits = process(rlimits=[{"type": kind, "soft": value, "hard": value}])
    columns = containers.run("cat /proc/self/limits", limits, capable()).stdout
    assert str(value) in columns.split(), f"{option}\n{columns}"


def test_a_realtime_policy_can_be_had(containers):
    change = process(scheduler={"policy": "SCHED_FIFO", "priority": 7})
    assert containers.run("cut -d' ' -f40,41 /proc/self/stat", change).stdout.split() == ["7", "1"]


def test_the_score_of_the_oom_killer_can_be_lowered(containers):
    assert containers.run("cat /proc/self/oom_score_adj", process(oomScoreAdj=-900)).stdout.strip() == "-900"


def test_realtime_priority_of_io_can_be_had(containers):
    change = process(ioPriority={"class": "IOPRIO_CLASS_RT", "priority": 3})
    assert containers.run("ionice", change).stdout.strip() == "realtime: prio 3"
