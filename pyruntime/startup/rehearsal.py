"""Code that the build runs before it takes the snapshot (csrc/launcher/snapshot.c), to warm the interpreter up.

CPython specializes code that is executed often and caches attribute lookups. In a new process this takes time and
writes to pages. The rehearsal moves it into the build: it checks and compiles a configuration for an invented host,
which changes nothing. It also makes what is otherwise made on first use: functions and types of the stub, system calls
and the classes of their errors.
"""

import sys

from pyruntime._stub import ffi, lib
from pyruntime.base import errors, lean_os
from pyruntime.base.jsonio import dumps, loads
from pyruntime.cli.parse import parse_global, parse_verb
from pyruntime.engine.child.step_array import StepArrays
from pyruntime.engine.state_document import timestamp
from pyruntime.host import cgroups
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.plan.facts import Facts
from pyruntime.spec import check_config
from pyruntime.spec.default_config import default_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COMMANDS = (
    "--root /run/pyruntime --log /log --log-format json create --bundle /bundle --pid-file /pid ID",
    "run --bundle /bundle ID",
    "start ID",
    "state ID",
    "exec --process /process --detach --pid-file /pid ID",
    "exec ID true",
    "kill ID KILL",
    "delete --force ID",
)
_V1 = ("cpu", "cpuset", "memory", "pids", "devices", "freezer")
# C types as the package writes them.
_TYPES = """
    struct step[], struct stub *, struct spawn *, struct execution *, struct filter *, struct foreground *,
    struct join[], struct message_step *, struct pyr_process *, char *, char[], char *[], int *, int[], int[2],
    uint8_t[], uint64_t *, uint64_t[3], long[5]
"""
# CPython specializes a function at the eighth call (PEP 659).
_TIMES = 9


def rehearse() -> None:
    """Run the parts of the frequent verbs that need no kernel."""
    _make()
    everything = (1 << 41) - 1
    membership = "".join(f"{number}:{name}:/\n" for number, name in enumerate(_V1, 1)) + "0::/\n"
    for _ in range(_TIMES):
        for command in _COMMANDS:
            shared, rest = parse_global(command.split())
            parse_verb(shared, rest)
        host = cgroups.parse(_mountinfo(), membership)
        facts = Facts(host, euid=0, capabilities=everything, known_capabilities=everything, in_user_namespace=False)
        configs: list[Any] = [default_config(), _of_an_engine()]
        for config in configs:
            check_config(config)
            plan = compile_plan(Context(config, facts, "/bundle", "ID"))
            arrays = StepArrays()
            for steps in (plan.build, plan.enter, plan.process):
                arrays.array(steps)
            arrays.stub()
            loads(dumps(config))
            timestamp(1_700_000_000_123_456_789)  # not the time of the build, of which objects' places would depend


def _make() -> None:
    """Make what the frequent verbs would otherwise make in each process."""
    for name in dir(lib):
        getattr(lib, name)
    for name in _TYPES.split(","):
        kind = ffi.typeof(name.strip())
        if kind.item.kind == "struct":
            kind.item.fields  # noqa: B018  # cffi reads them now
    used: set[str] = set()
    for module in list(sys.modules.values()):
        if vars(module).get("os") is lean_os:
            for thing in vars(module).values():
                for function in vars(thing).values() if isinstance(thing, type) else (thing,):
                    if type(function) is type(_make):
                        used.update(function.__code__.co_names)
    lean_os.make_names(used)
    for kind in (FileNotFoundError, FileExistsError, PermissionError, ProcessLookupError, BlockingIOError):
        errors.kind_of(kind)


def _mountinfo() -> "list[str]":
    """Return the lines of a hybrid host's mountinfo that are about cgroups (proc(5))."""
    return [
        *(f"30 24 0:27 / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}" for name in _V1),
        "40 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    ]


def _of_an_engine() -> "Any":
    """Return a configuration with what container engines add to the default one."""
    config: Any = default_config()
    config["annotations"] = {"name": "value"}
    config["process"]["oomScoreAdj"] = 0
    config["mounts"].append(
        {"destination": "/etc/hosts", "type": "bind", "source": "/hosts", "options": ["rbind", "rprivate", "ro"]}
    )
    config["hooks"] = {"prestart": [{"path": "/hook", "args": ["hook"]}]}
    linux = config["linux"]
    linux["cgroupsPath"] = "/engine/ID"
    linux["sysctl"] = {"net.ipv4.ping_group_range": "0 0"}
    linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438}]
    linux["resources"] = {
        "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "access": "rwm"}],
        "memory": {"limit": 1 << 30, "swap": 1 << 30},
        "cpu": {"shares": 1024, "quota": 100000, "period": 100000, "cpus": "0"},
        "pids": {"limit": 100},
    }
    linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}],
    }
    return config
