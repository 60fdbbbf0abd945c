"""The seccomp filter on the host's side: the profile is compiled by libseccomp, or comes from the cache.

Imported only for a configuration that has a profile (config-linux.md#seccomp).
"""

import pyruntime
from pyruntime import __version__
from pyruntime._stub import ffi, lib
from pyruntime.base import jsonio
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.engine.caller.console_socket import open_socket
from pyruntime.engine.seccomp import cache as filters
from pyruntime.plan.seccomp import CLAUSE, FAIL_UNKNOWN, FLAGS, NEW_LISTENER, POINTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from pyruntime.engine.child.host_files import HostFiles
    from pyruntime.plan.step import Step
    from pyruntime.spec.json_types import Config

_INSTRUCTION = 8  # bytes of struct sock_filter


class Filter:
    """A program for seccomp(2), ready to be loaded by the container's process.

    raw       `struct filter` of csrc/stub/seccomp_filter.h
    listener  the agent's socket (a descriptor), or -1; init may find it under another number
    metadata  listenerMetadata of config.json for the agent, or None
    """

    __slots__ = ("_pinned", "listener", "metadata", "raw")

    def __init__(self, step: "Step", program: bytes, listener: int, metadata: "str | None") -> None:
        self._pinned: list[object] = []
        self.listener = listener
        self.metadata = metadata
        self.raw: Any = ffi.new("struct filter *")
        self.raw.program = self._pin(ffi.from_buffer(program))
        self.raw.length = len(program) // _INSTRUCTION
        self.raw.flags = _flags(step)
        self.raw.capabilities = step.args["capabilities"]
        self.raw.agent = self.raw.ruleset = -1

    def _pin(self, memory: "Any") -> "Any":
        self._pinned.append(memory)
        return memory

    def address(self, pid: int, state: "dict[str, object]") -> None:
        """Prepare the document that the agent gets with the descriptor (config-linux.md#the-container-process-state).

        pid    of the process that the filter is for, as the runtime sees it
        state  of the container

        Upholds config-linux.md#seccomp/seccomp-fd, config-linux.md#the-container-process-state/version,
        config-linux.md#the-container-process-state/pid, config-linux.md#the-container-process-state/state.
        """
        if self.listener < 0:
            return
        document: dict[str, object] = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid}
        if self.metadata is not None:
            document["metadata"] = self.metadata
        text = jsonio.dumps({**document, "state": state}).encode()
        self.raw.message = self._pin(ffi.from_buffer(text))
        self.raw.size = len(text)
        self.raw.agent = self.listener

    def relay(self) -> None:
        """Let the process send the listener to the host, which calls `send`, and not to the agent."""
        self.raw.relayed = True
        self.raw.message, self.raw.size = self._pin(ffi.new("char[]", bytes([lib.MESSAGE_LISTENER]))), 1

    def send(self, fd: int) -> int:
        """Send the listener `fd` to the agent, after `address`; 0 or -errno. The agent's socket is closed."""
        sent: int = lib.pyr_send_fd(self.listener, fd, self.raw.message, self.raw.size)
        self.close()
        return sent

    def close(self) -> None:
        """Close the agent's socket."""
        if self.listener >= 0:
            os.close(self.listener)
        self.listener = -1


def open_filter(step: "Step", config: "Config", root: str, host_files: "HostFiles") -> Filter:
    """Return the filter of a "seccomp" step, its agent's socket connected and owned by `host_files`. Raises Error.

    Upholds config-linux.md#seccomp/listener-fails.
    """
    path = step.args["listener"]
    agent = open_socket(path) if path else -1
    if path and agent < 0:
        raise Error(
            f"cannot connect to the seccomp agent at {path}",
            pointer=f"{step.pointer}/listenerPath",
            value=path,
            clause=step.clause,
            errno=-agent,
        )
    if agent >= 0:
        host_files.own(agent)
    return prepare(step, config, root, agent)


def prepare(step: "Step", config: "Config", root: str, listener: int) -> Filter:
    """Return the filter of `config` for `step` of the plan.

    root      state root, where compiled programs are kept
    listener  socket connected to the agent, or -1

    Raises Error for a profile that libseccomp or the kernel refuses.
    """
    _check_flags(step)
    profile = config["linux"]["seccomp"]
    strict = (config.get("annotations") or {}).get(FAIL_UNKNOWN, "0") != "0"
    host = os.uname()
    parts = (
        profile["defaultAction"],
        profile.get("defaultErrnoRet"),
        profile.get("architectures"),
        profile.get("syscalls"),
    )
    # Which actions libseccomp offers depends on the kernel.
    key = repr((__version__, host.machine, host.release, strict, parts)).encode(errors="surrogatepass")
    program = filters.load(root, key)
    if not program:
        compiler = _compiler()
        program = compiler.compile_profile(profile, strict)
        filters.save(root, key, compiler.library(), program)
    return Filter(step, program, listener, profile.get("listenerMetadata"))


def _compiler() -> "ModuleType":
    """Return the module that compiles profiles. Raises Error when libseccomp cannot be loaded."""
    try:
        return pyruntime.engine.seccomp.compiler
    except ImportError as error:
        raise Error(
            "cannot load libseccomp",
            str(error),
            pointer=POINTER,
            clause=CLAUSE,
            advice="install libseccomp 2.5 or newer (Debian: libseccomp2)",
        ) from None


def _flags(step: "Step") -> int:
    flags = NEW_LISTENER if step.args["listener"] else 0
    for name in step.args["flags"]:
        flags |= FLAGS[name]
    return flags


def _check_flags(step: "Step") -> None:
    """Raise Error that names a flag which this kernel does not have (seccomp(2)), before anything is made."""
    if lib.pyr_filter_flags_known(_flags(step)):
        return
    listener = NEW_LISTENER if step.args["listener"] else 0
    for index, name in enumerate(step.args["flags"]):
        if not lib.pyr_filter_flags_known(FLAGS[name] | listener):
            raise Error(
                f"this kernel does not know {name}",
                pointer=f"{POINTER}/flags/{index}",
                value=name,
                clause=CLAUSE,
            )
    raise Error(
        "this kernel cannot load such a filter",
        pointer=POINTER,
        clause=CLAUSE,
        advice="it needs CONFIG_SECCOMP_FILTER, and Linux 5.0 or newer for SCMP_ACT_NOTIFY",
    )
