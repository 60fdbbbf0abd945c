"""What needs every capability of the kernel: this machine's root has them all (config.md#posix-process)."""

import re
from pathlib import Path

import pytest

from changes import process

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


@pytest.mark.clause("features-linux.md#capabilities/recognized")
def test_every_capability_can_be_had(containers):
    done = containers.run("cat /proc/self/status", capable(*NAMES))
    assert status(done.stdout) == dict.fromkeys(("Inh", "Prm", "Eff", "Bnd", "Amb"), ALL)
    assert "WARN" not in done.stderr.upper()


@pytest.mark.parametrize("bit", range(LAST.bit_length()))
def test_a_capability_is_the_one_of_its_name(containers, bit):
    """Those whose number has this bit: together these tests tell every two capabilities apart."""
    numbers = [number for number in range(LAST + 1) if number >> bit & 1]
    done = containers.run("cat /proc/self/status", capable(*(NAMES[number] for number in numbers)))
    expected = sum(1 << number for number in numbers)
    assert status(done.stdout) == dict.fromkeys(("Inh", "Prm", "Eff", "Bnd", "Amb"), expected)


@pytest.mark.clause("config.md#posix-process/rlimit-soft", "config.md#posix-process/rlimit-hard")
def test_hard_limits_can_be_raised(containers):
    """With CAP_SYS_RESOURCE, which the process itself does not get."""
    wanted = {
        "RLIMIT_NPROC": ("Max processes", 1000000),
        "RLIMIT_MEMLOCK": ("Max locked memory", 1 << 30),
        "RLIMIT_NOFILE": ("Max open files", 1000000),
        "RLIMIT_MSGQUEUE": ("Max msgqueue size", 1 << 30),
        "RLIMIT_RTPRIO": ("Max realtime priority", 99),
    }
    limits = [{"type": kind, "soft": value, "hard": value} for kind, (_, value) in wanted.items()]
    text = containers.run("cat /proc/self/limits", process(rlimits=limits), capable()).stdout
    found = {line[:26].strip(): line[26:].split()[:2] for line in text.splitlines()}
    assert {name: found[name] for name, _ in wanted.values()} == {n: [str(v)] * 2 for n, v in wanted.values()}


@pytest.mark.clause("config.md#linux-process/oom-score-set")
def test_scheduling_that_needs_privilege_can_be_had(containers):
    change = process(
        scheduler={"policy": "SCHED_FIFO", "priority": 7},
        ioPriority={"class": "IOPRIO_CLASS_RT", "priority": 3},
        oomScoreAdj=-900,
    )
    # Fields 40 and 41: priority and policy (proc(5)).
    script = "cut -d' ' -f40,41 /proc/self/stat; ionice; cat /proc/self/oom_score_adj"
    assert containers.run(script, change).stdout.splitlines() == ["7 1", "realtime: prio 3", "-900"]
