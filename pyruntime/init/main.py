"""Init's road: report, wait for the host, finish the root, become the container's process, wait for start, execute.

Everything init needs is loaded before the clone. Once the root has changed, no host path means anything here and
every import would read the container's files, so importing is switched off first.
"""

import errno
import fcntl
import sys

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.init import execute, home, identity
from pyruntime.protocol import limits, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.seccomp.filter import Filter
    from pyruntime.plan.plan import Plan

NOWHERE = (-1, -1)


class Orders:
    """What init is given by the host.

    plan          the plan
    gate          listening socket of the start gate; -1 for exec, which waits for nobody
    at_once       the host starts over the socket to it, and nobody comes to the gate
    console       socket that receives the terminal's master, or -1
    preserve_fds  how many descriptors from 3 on the program inherits
    state         the state passed to hooks
    lock          descriptor that locks the container for create, or -1
    seccomp       the filter to load before the program, or None
    hook_files    where hooks in the container write to, by annotations: stdout and stderr, -1 for neither

    Added when the process is made (engine/child/launch.py):
    stub          `struct stub` of the steps that built the root filesystem
    enter         array of the plan's `enter` steps
    sync          socket to the host's create
    ruleset       Landlock's, made by init itself, or -1
    group         file to join the group by that limits the memory, where that comes last; otherwise -1
    """

    __slots__ = (
        "at_once",
        "console",
        "enter",
        "gate",
        "group",
        "hook_files",
        "lock",
        "plan",
        "preserve_fds",
        "ruleset",
        "seccomp",
        "state",
        "stub",
        "sync",
    )

    def __init__(
        self,
        plan: "Plan",
        *,
        gate: int,
        console: int,
        preserve_fds: int,
        state: "dict[str, object]",
        at_once: bool = False,
        lock: int = -1,
        seccomp: "Filter | None" = None,
        hook_files: "tuple[int, int]" = NOWHERE,
    ) -> None:
        _load(plan)
        self.plan = plan
        self.stub: Any = None
        self.enter: Any = None
        self.sync = self.group = self.ruleset = -1
        self.gate = gate
        self.at_once = at_once
        self.console = console
        self.preserve_fds = preserve_fds
        self.state = state
        self.lock = lock
        self.seccomp = seccomp
        self.hook_files = hook_files


def _load(plan: "Plan") -> None:
    """Import what only some plans need; where it is used, importing is switched off, and only finds what is there."""
    if plan.labels:
        from pyruntime.init import labels  # noqa: F401  # for init
    if plan.landlock:
        from pyruntime.init import landlock  # noqa: F401  # for init
    if plan.hooks["createContainer"] or plan.hooks["startContainer"]:
        from pyruntime.protocol import hooks  # noqa: F401  # for init


def main(orders: Orders) -> None:
    """Never returns: ends in execve or _exit(1) after reporting why.

    Upholds runtime.md#lifecycle/start-container, config.md#posix-platform-hooks/create-container-namespace,
    config.md#posix-platform-hooks/start-container-path, config.md#posix-platform-hooks/start-container-namespace,
    config.md#createcontainer-hooks/when, config.md#startcontainer-hooks/when.
    """
    # Where a failure is reported: to create, later to start. By orders, because the socket changes its number.
    channel: list[int] = []
    try:
        _switch_imports_off()
        # Once create is dead, a hook that goes on here must not keep others from deleting the container.
        if orders.lock >= 0:
            os.close(orders.lock)
        _create(orders)
        if orders.gate < 0:
            limits.lower(orders.plan.limits, orders.preserve_fds)
            execute.execute(orders.plan.execute[0], orders.sync, orders.preserve_fds, _restrictions(orders))
        _wait_for_start(orders, channel)
    except Error as error:
        messages.send(channel[0] if channel else orders.sync, messages.encode_error(error, orders.plan))
    except MemoryError:
        scarce = Error("out of memory", errno=errno.ENOMEM)
        messages.send(channel[0] if channel else orders.sync, messages.encode_error(scarce, orders.plan))
    except BaseException as error:  # whatever it is, it must not go back up into the host's code
        text = f"{type(error).__name__}: {error}"
        messages.send(
            channel[0] if channel else orders.sync, messages.encode_error(Error("init failed", text), orders.plan)
        )
    os._exit(1)


def _switch_imports_off() -> None:
    sys.meta_path.clear()
    # In the launcher there are none, as long as nothing needed them (pyruntime/startup/embedded.py).
    for name in ("path_hooks", "path"):
        getattr(sys, name, []).clear()


def _await_host(sync: int) -> bytes:
    """Return what the host says when it lets this process go on."""
    message = messages.read(sync)
    # A host that is gone leaves nothing behind, this process included.
    if message[:1] != messages.GO:
        os._exit(1)
    return message[1:]


def _join_group(orders: Orders) -> None:
    """Join the group that limits the memory, where that was put off: what follows is charged to the container."""
    if orders.group < 0:
        return
    try:
        os.write(orders.group, b"0")
    except OSError as error:
        doing, clause = "cannot join the container's cgroup", "config-linux.md#control-groups"
        raise Error(doing, clause=clause, step="write(cgroup)", errno=error.errno or 0) from None
    os.close(orders.group)
    orders.group = -1


def _create(orders: Orders) -> None:
    plan, stub = orders.plan, orders.stub
    late = orders.group >= 0
    if any(plan.hooks[kind] for kind in ("prestart", "createRuntime", "createContainer")):
        _join_group(orders)
        messages.send(orders.sync, messages.MOUNTED)
        _await_host(orders.sync)
    if plan.hooks["createContainer"]:
        from pyruntime.protocol import hooks

        hooks.run(plan.hooks["createContainer"], {**orders.state, "pid": os.getpid()}, orders.hook_files)
    done = lib.pyr_run(stub, orders.enter, len(plan.enter))
    if done != len(plan.enter):
        raise _stub_error(orders, done)
    if stub.console >= 0:
        _send_terminal(orders)
    if plan.labels:
        from pyruntime.init import labels

        for step in plan.labels:
            labels.apply(step, stub.proc)
    _close_the_rest(orders)
    for step in plan.process:
        identity.ACTIONS[step.op](step, stub)
    if plan.execute:
        program = plan.execute[0].args
        execute.check(plan.execute[0])
        program["env"] = home.with_home(program["env"], os.getuid())
    if plan.landlock:
        from pyruntime.init import landlock

        orders.ruleset = landlock.make(plan.landlock)
    ready = messages.READY + limits.apply_own(plan.limits, orders.preserve_fds)
    _join_group(orders)
    messages.send(orders.sync, ready)
    pid = int(_await_host(orders.sync))
    if orders.seccomp is not None:
        # To the agent this process is what it is to the runtime, outside of its pid namespace.
        orders.seccomp.address(pid, {**orders.state, "pid": orders.state["pid"] or pid})
    if orders.gate >= 0:
        if late:
            messages.send(orders.sync, messages.WAITS)
        if not orders.at_once:
            os.close(orders.sync)
            orders.sync = -1


def _stub_error(orders: Orders, index: int) -> Error:
    error, stub = ffi.errno, orders.stub
    return messages.step_error(orders.plan.enter[index], error, _text(stub.call), _text(stub.text))


def _text(pointer: "Any") -> str:
    return os.fsdecode(ffi.string(pointer))


def _send_terminal(orders: Orders) -> None:
    """Hand the terminal's master to who asked for it; the message is its name, as runc's console socket has it."""
    stub = orders.stub
    sent = lib.pyr_send_fd(orders.console, stub.console, b"/dev/ptmx", 9)
    if sent < 0:
        raise Error(
            "cannot send the terminal over the console socket",
            pointer="/process/terminal",
            clause="config.md#process",
            errno=-sent,
        )
    os.close(stub.console)
    stub.console = -1


def _close_the_rest(orders: Orders) -> None:
    """Close every descriptor but stdio, the caller's preserved ones and our few: none may lead out of the container.

    Before the working directory is entered and the program looked up, because both may name /proc/self/fd/N.
    """
    stub = orders.stub
    base = 3 + orders.preserve_fds
    listener = orders.seccomp.listener if orders.seccomp is not None else -1
    descriptors = {"sync": orders.sync, "gate": orders.gate, "listener": listener, "terminal": stub.terminal}
    descriptors["group"] = orders.group
    descriptors["stdout"], descriptors["stderr"] = orders.hook_files
    kept = {name: fd for name, fd in descriptors.items() if fd >= 0}
    # First out of each other's way, then down to the lowest places.
    apart = [os.call(fcntl.fcntl, fd, fcntl.F_DUPFD_CLOEXEC, base + len(kept)) for fd in kept.values()]
    for place, fd in enumerate(apart, base):
        os.dup2(fd, place, inheritable=False)
    execute.close_range(base + len(kept), at_exec=False)
    placed = dict(zip(kept, range(base, base + len(kept)), strict=True))
    orders.sync, orders.gate, orders.group = placed["sync"], placed.get("gate", -1), placed.get("group", -1)
    if orders.seccomp is not None:
        orders.seccomp.listener = placed.get("listener", -1)
    stub.terminal = placed.get("terminal", -1)
    orders.hook_files = placed.get("stdout", -1), placed.get("stderr", -1)
    stub.root = stub.proc = -1


def _wait_for_start(orders: Orders, channel: "list[int]") -> None:
    # Upholds runtime.md#lifecycle/program-waits-for-start.
    if orders.at_once:
        _await_host(orders.sync)
    else:
        channel.append(_accept(orders.gate))
    connection = channel[0] if channel else orders.sync
    plan = orders.plan
    if not plan.execute:
        raise Error("cannot start the container", "it has no process", pointer="/process", clause="runtime.md#start")
    restrictions = _restrictions(orders)
    if plan.hooks["startContainer"]:
        # These are the container's own files, run on its behalf: under its filter.
        execute.load(restrictions)
        restrictions = execute.restrictions(None, [], -1)
        from pyruntime.protocol import hooks

        state = {**orders.state, "status": "created", "pid": os.getpid()}
        hooks.run(plan.hooks["startContainer"], state, orders.hook_files)
    limits.lower(plan.limits, orders.preserve_fds)
    execute.execute(plan.execute[0], connection, orders.preserve_fds, restrictions)


def _restrictions(orders: Orders) -> "Any":
    return execute.restrictions(orders.seccomp, orders.plan.landlock, orders.ruleset)


def _accept(gate: int) -> int:
    """Return the connection of a `start`; who connects and says nothing only asked whether we still wait."""
    while True:
        connection = lib.pyr_accept(gate)
        if connection < 0:
            raise Error("cannot wait for start", errno=-connection)
        if messages.read(connection) == messages.GO:
            return connection
        os.close(connection)
