"""Runs the init process of a new container, from the return of the stub to execve.

Steps of init, in order: report to the host, wait for it, finish the root, set user and privileges, wait for start.

This module is for containers in which Python has something to do (`Orders.needs_python` of protocol/orders.py). For the
others csrc/stub/init.c does the same in the same order, without Python's memory.

The stub carries out the steps; this module runs hooks between them, and reports failures. All modules that init needs
are loaded before the clone. After the root has changed, an import would read files of the container, so importing is
switched off first.
"""

import errno
import fcntl
import sys

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.protocol import messages, run_hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step
    from pyruntime.protocol.orders import Orders

_LIMITS = 256


def main(orders: "Orders") -> None:
    """Run init. Never returns: it ends in execve, or in _exit(1) after it has reported the failure.

    Upholds runtime.md#lifecycle/start-container, config.md#posix-platform-hooks/create-container-namespace,
    config.md#posix-platform-hooks/start-container-path, config.md#posix-platform-hooks/start-container-namespace,
    config.md#createcontainer-hooks/when, config.md#startcontainer-hooks/when.
    """
    # A failure is reported to create, later to start. The socket is read from `orders`, because its number changes.
    channel: list[int] = []
    try:
        _switch_imports_off()
        if log.events is not None:
            _tell_events(orders, channel)
        # If create is killed, a hook that still runs here must not prevent others from deleting the container.
        if orders.lock >= 0:
            os.close(orders.lock)
        _create(orders)
        _wait_for_start(orders, channel)
    except Error as error:
        sync = channel[0] if channel else orders.sync
        if orders.crosses:
            _name_filter(orders.plan, error)
        _report(sync, error, orders.plan)
        if error.step == "execve":
            _show_program(sync, orders.execution)
    except MemoryError:
        scarce = Error("out of memory", errno=errno.ENOMEM)
        _report(channel[0] if channel else orders.sync, scarce, orders.plan)
    except BaseException as error:  # no exception may return into the code of the host process
        text = f"{type(error).__name__}: {error}"
        _report(channel[0] if channel else orders.sync, Error("init failed", text), orders.plan)
    os._exit(1)


def _report(channel: int, error: Error, plan: "Plan") -> None:
    try:
        messages.send(channel, messages.encode_error(error, plan))
    except BaseException:  # noqa: BLE001, S110  # then the host sees only that this process ends
        pass


def _name_filter(plan: "Plan", error: Error) -> None:
    """Say of a failed call of an init that crosses that the filter is in force and may be the cause."""
    if not plan.filter or not error.errno:
        return
    step = plan.filter[0]
    error.pointer, error.clause = error.pointer or step.pointer, error.clause or step.clause
    error.advice = error.advice or f"init waits for start under the filter: let {step.pointer} allow this call"


def _show_program(channel: int, execution: "Any") -> None:
    """Send the beginning of the program that could not be executed, for the error message."""
    size = lib.pyr_program_head(execution)
    try:
        messages.send(channel, messages.PROGRAM + bytes(ffi.buffer(execution.home, size)))
    except BaseException:  # noqa: BLE001, S110  # then the message has less detail
        pass


def _tell_events(orders: "Orders", channel: "list[int]") -> None:
    """From now on send the events of this process to the host that asked for them: to create, later to start."""

    def send(message: bytes) -> None:
        sync = channel[0] if channel else orders.sync
        if sync >= 0:
            lib.pyr_send(sync, message, len(message))

    log.events = pyruntime.base.events.Teller(send)


def _tell(orders: "Orders", message: bytes) -> None:
    """Send `message` to the host, which waits for it. Exit if the host has exited: nothing may be left then."""
    if not messages.send(orders.sync, message):
        os._exit(1)


def _switch_imports_off() -> None:
    sys.meta_path.clear()
    # In the launcher these do not exist until something needs them (pyruntime/startup/embedded.py).
    for name in ("path_hooks", "path"):
        getattr(sys, name, []).clear()


def _await_host(sync: int) -> bytes:
    """Wait for the message with which the host lets this process continue; return its content."""
    message = messages.read(sync)
    # If the host has exited, nothing of the container may be left: this process exits, too.
    if message[:1] != messages.GO:
        os._exit(1)
    return message[1:]


def _create(orders: "Orders") -> None:
    plan = orders.plan
    if any(plan.hooks[kind] for kind in ("prestart", "createRuntime", "createContainer")):
        _tell(orders, messages.MOUNTED)
        _await_host(orders.sync)
    if plan.hooks["createContainer"]:
        run_hooks.run(plan.hooks["createContainer"], {**orders.state, "pid": os.getpid()}, orders.hook_files)
    _run(orders, orders.enter, plan.enter)
    # Written before the root's procfs is closed; labels take effect at execve. They are written here so that a profile
    # that is not loaded is an error of create, and because the hooks of startContainer are programs of the container
    # and must run under the label too.
    _run(orders, orders.labels, plan.labels)
    if log.events is not None:
        log.events.begin("close the host's descriptors")
    _close_the_rest(orders)
    if log.events is not None:
        log.events.end()
    steps = [*plan.process, *plan.landlock]
    left = b""
    if orders.crosses:
        # A child inherits the effect of every step but one. What comes after the filter is loaded needs its permission.
        session = next((index for index, step in enumerate(plan.process) if step.op == "setsid"), len(plan.process))
        _run(orders, orders.process, plan.process[:session])
        _run(orders, orders.process + session + 1, plan.process[session + 1 :])
        _find_program(orders)
        _tell(orders, messages.READY + _limit(orders, lib.SPARE_PROCESSES))
        _await_host(orders.sync)
        # The filter and Landlock too. But an agent of the filter must be told the sibling's pid first.
        notifies = orders.seccomp is not None and orders.seccomp.listener >= 0
        if not notifies:
            _restrict(orders)
        _cross(orders)
        if notifies:
            _restrict(orders)
        _run(orders, orders.process + session, plan.process[session : session + 1])
    else:
        _run(orders, orders.process, steps)
        _find_program(orders)
        left = _limit(orders, 0)
    if not orders.at_once:
        orders.signals = lib.pyr_hold_deadly_signals()
        if orders.signals < 0:
            raise Error("cannot wait for start", step="signalfd", errno=-orders.signals)
    if not orders.crosses and orders.execution != ffi.NULL and _goes_on_under_filter(orders.execution.filter):
        _load(orders)
    _tell(orders, messages.READY + left)
    _address(orders)
    if orders.late:
        _tell(orders, messages.WAITS)
    if not orders.at_once:
        os.close(orders.sync)
        orders.sync = -1


def _find_program(orders: "Orders") -> None:
    """Find the program, and HOME, for which the container's list of users is read. Raises Error."""
    if log.events is not None:
        log.events.begin("find the program and set limits")
    if orders.execution != ffi.NULL and lib.pyr_prepare(orders.execution, orders.stub) < 0:
        raise messages.stub_error(orders.plan, orders.stub)
    if log.events is not None:
        log.events.end()


def _limit(orders: "Orders", spare: int) -> bytes:
    """Set the limits of this process, RLIMIT_NPROC higher by `spare`; return the numbers of those left to the host."""
    if orders.execution == ffi.NULL:
        return b""
    left = ffi.new("uint8_t[]", _LIMITS)
    count = lib.pyr_limit_own(orders.execution, spare, left)
    return bytes(left[0:count])


def _address(orders: "Orders") -> None:
    """Wait for the host, which says what pid this process has outside: the filter's agent is told it."""
    pid = int(_await_host(orders.sync))
    if orders.seccomp is not None:
        orders.seccomp.address(pid, {**orders.state, "pid": orders.state["pid"] or pid})


def _restrict(orders: "Orders") -> None:
    """Enforce Landlock and load the filter, long before execve: processes of the container may trace this one.

    Raises Error.
    """
    if orders.execution == ffi.NULL:
        return
    _run(orders, orders.process + len(orders.plan.process), orders.plan.landlock)
    _load(orders)


def _goes_on_under_filter(raw: "Any") -> bool:
    """Tell whether this process can wait for start under its filter: if not, that is loaded right before execve."""
    return not raw.length or bool(lib.pyr_filter_lets_go_on(raw))


def _cross(orders: "Orders") -> None:
    """Continue in a sibling, which processes of another container can see and trace. Raises Error."""
    error = lib.pyr_cross(orders.sync)
    if error < 0:
        raise Error(
            "cannot make the container's first process",
            pointer="/linux/namespaces",
            clause="config-linux.md#namespaces",
            step="clone3",
            errno=-error,
        )
    _address(orders)


def _run(orders: "Orders", array: "Any", steps: "list[Step]") -> None:
    """Let the stub carry out `steps`; `array` has them in its form. Raises Error."""
    done = lib.pyr_run(orders.stub, array, len(steps))
    if done != len(steps):
        error, stub = ffi.errno, orders.stub
        raise messages.step_error(steps[done], error, messages.text_of(stub.call), messages.text_of(stub.text))


def _close_the_rest(orders: "Orders") -> None:
    """Close all descriptors but stdio, the preserved ones and those of init: none may lead out of the container.

    This is done before the working directory is entered and the program is looked up, because both paths may be
    /proc/self/fd/N.
    """
    stub = orders.stub
    base = 3 + orders.preserve_fds
    listener = orders.seccomp.listener if orders.seccomp is not None else -1
    descriptors = {"sync": orders.sync, "gate": orders.gate, "listener": listener, "terminal": stub.terminal}
    descriptors["stdout"], descriptors["stderr"] = orders.hook_files
    kept = {name: fd for name, fd in descriptors.items() if fd >= 0}
    # First to numbers above all targets, so that no target is in use; then down to the lowest free numbers.
    apart = [os.call(fcntl.fcntl, fd, fcntl.F_DUPFD_CLOEXEC, base + len(kept)) for fd in kept.values()]
    for place, fd in enumerate(apart, base):
        os.dup2(fd, place, inheritable=False)
    result = lib.pyr_close_range(base + len(kept), 0xFFFFFFFF, 0)
    if result < 0:
        raise Error("cannot close the host's descriptors", step="close_range", errno=-result)
    placed = dict(zip(kept, range(base, base + len(kept)), strict=True))
    orders.sync, orders.gate = placed["sync"], placed["gate"]
    if stub.marks >= 0:
        stub.marks = orders.sync
    if orders.seccomp is not None:
        orders.seccomp.listener = placed.get("listener", -1)
    stub.terminal = placed.get("terminal", -1)
    orders.hook_files = placed.get("stdout", -1), placed.get("stderr", -1)
    stub.root = stub.proc = -1


def _wait_for_start(orders: "Orders", channel: "list[int]") -> None:
    # Upholds runtime.md#lifecycle/program-waits-for-start.
    if orders.at_once:
        _await_host(orders.sync)
    else:
        channel.append(_accept(orders))
    connection = channel[0] if channel else orders.sync
    plan = orders.plan
    if not plan.execute:
        raise Error("cannot start the container", "it has no process", pointer="/process", clause="runtime.md#start")
    if plan.hooks["startContainer"]:
        # These hooks are files of the container, so they run under its filter.
        _load(orders)
        state = {**orders.state, "status": "created", "pid": os.getpid()}
        run_hooks.run(plan.hooks["startContainer"], state, orders.hook_files, _environment(orders))
    lib.pyr_execute(orders.execution, orders.stub, connection)
    raise messages.stub_error(plan, orders.stub)


def _environment(orders: "Orders") -> "list[str]":
    """Return the environment of the program, after pyr_prepare has completed it."""
    env = orders.execution.env
    entries: list[str] = []
    while env[len(entries)] != ffi.NULL:
        entries.append(messages.text_of(env[len(entries)]))
    return entries


def _load(orders: "Orders") -> None:
    """Enforce Landlock and load the filter unless that is done, but execute nothing. Raises Error.

    What still comes before execve needs calls that the filter must allow; the error names the one that it refuses.
    """
    if orders.execution == ffi.NULL:
        return
    raw = orders.execution.filter
    raw.ruleset = orders.stub.restriction
    if not raw.length and raw.ruleset < 0:
        return
    result = lib.pyr_filter_early(raw)
    if result < 0:
        raise messages.not_loaded(orders.plan, messages.text_of(raw.call), -result)
    raw.length = 0
    orders.stub.restriction = -1


def _accept(orders: "Orders") -> int:
    """Return the connection of a `start`. A connection without a message only checks whether init still waits.

    A signal that ends a process ends this one meanwhile, also if it is the first of its pid namespace; as with runc.
    """
    while True:
        lib.pyr_wait_or_end(orders.gate, orders.signals)
        connection = lib.pyr_accept(orders.gate)
        if connection < 0:
            raise Error("cannot wait for start", errno=-connection)
        lib.pyr_wait_or_end(connection, orders.signals)
        if messages.read(connection) == messages.GO:
            return connection
        os.close(connection)
